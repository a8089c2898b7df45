"""A real OpenAI-compatible server on loopback that misbehaves when told to."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Asked = dict[str, Any]


@dataclass
class Reply:
    """What goes over the wire, and how."""

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    wait: float = 0.0
    drip: float = 0.0
    """Seconds between single bytes of the body."""
    drop: bool = False
    """Close in the middle of the body."""


@dataclass
class Wire:
    """The running server: what it was asked, and what it shall do next."""

    url: str = ""
    plan: list[Callable[[Asked], Reply]] = field(default_factory=list)
    """Used up one a request, before `always`."""
    always: Callable[[Asked], Reply] | None = None
    models: Reply | None = None
    asked: list[Asked] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    most_at_once: int = 0
    _now: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def reply(self, path: str, asked: Asked, key: str) -> Reply:
        with self._lock:
            self.asked.append({**asked, "path": path})
            self.keys.append(key)
            script = self.plan.pop(0) if self.plan else self.always
        return script(asked) if script else good(asked)


def answer(asked: Asked, texts: list[str], **more: Any) -> Reply:
    """A sound body with these texts."""
    if "messages" in asked:
        choices = [
            {"index": n, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
            for n, text in enumerate(texts)
        ]
    else:
        choices = [
            {"index": n, "finish_reason": "stop", "text": text} for n, text in enumerate(texts)
        ]
    usage = {"prompt_tokens": 7, "completion_tokens": sum(len(t) for t in texts)}
    return table({"id": "x", "model": "m-1", "choices": choices, "usage": usage, **more})


def good(asked: Asked) -> Reply:
    """Says the last message back, numbered by choice, with the seed."""
    said = asked["messages"][-1]["content"] if "messages" in asked else asked["prompt"]
    texts = [f"{said}|{asked.get('seed')}|{n}" for n in range(asked.get("n", 1))]
    return answer(asked, texts, system_fingerprint="fp")


def table(value: Any) -> Reply:
    return Reply(json.dumps(value).encode())


def error(status: int, message: str, **headers: str) -> Callable[[Asked], Reply]:
    body = json.dumps({"error": {"message": message, "type": "x", "code": None}}).encode()
    return lambda asked: Reply(body, status, headers)


def raw(body: bytes, **how: Any) -> Callable[[Asked], Reply]:
    return lambda asked: Reply(body, **how)


@contextmanager
def serving() -> Iterator[Wire]:
    """A server for the time of a test."""
    wire = Wire()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            listed = {"object": "list", "data": [{"id": "m", "object": "model"}]}
            self._send(wire.models or table(listed))

        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with wire._lock:
                wire._now += 1
                wire.most_at_once = max(wire.most_at_once, wire._now)
            try:
                reply = wire.reply(self.path, asked, self.headers["Authorization"])
                time.sleep(reply.wait)
            finally:  # before the answer leaves: the client may ask again at once
                with wire._lock:
                    wire._now -= 1
            self._send(reply)

        def _send(self, reply: Reply) -> None:
            try:
                self.send_response(reply.status)
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(reply.body)))
                self.end_headers()
                if reply.drop:
                    self.wfile.write(reply.body[: len(reply.body) // 2])
                    self.close_connection = True
                elif reply.drip:
                    for number in range(len(reply.body)):
                        self.wfile.write(reply.body[number : number + 1])
                        self.wfile.flush()
                        time.sleep(reply.drip)
                else:
                    self.wfile.write(reply.body)
            except OSError:
                self.close_connection = True

        def log_message(self, *_: Any) -> None:
            pass

    class Quiet(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 64
        block_on_close = False

        def handle_error(self, *_: Any) -> None:
            pass  # clients that hang up are part of the tests

    server = Quiet(("127.0.0.1", 0), Handler)
    wire.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield wire
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
