"""A local stand-in of the hub's HTTP interface: what `create_repo` and `create_commit` speak."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN = "hf_standin"


class Hub:
    """Repositories by `spaces/ORG/NAME` or `models/ORG/NAME`: files by path."""

    def __init__(self) -> None:
        self.files: dict[str, dict[str, bytes]] = {}
        self.made: list[dict[str, Any]] = []
        self.messages: list[str] = []
        self.address = ""


class _Answers(BaseHTTPRequestHandler):
    hub: Hub

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        chunked = self.headers.get("Transfer-Encoding") == "chunked"
        body = self._chunks() if chunked else self.rfile.read(length)
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self._say(401, {"error": "Invalid credentials"})
        words = self.path.split("/")[2:]
        if words == ["repos", "create"]:
            return self._create(json.loads(body))
        if words == ["validate-yaml"]:
            return self._say(200, {"errors": [], "warnings": []})
        name, action = "/".join(words[:3]), words[3]
        if name not in self.hub.files:
            return self._say(404, {"error": "Repository not found"})
        if action == "preupload":
            asked = json.loads(body)["files"]
            told = [
                {"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in asked
            ]
            return self._say(200, {"files": told})
        return self._commit(name, [json.loads(line) for line in body.splitlines()])

    def do_HEAD(self) -> None:
        self._file(body=False)

    def do_GET(self) -> None:
        self._file(body=True)

    def log_message(self, *_: Any) -> None:
        """Silent."""

    def _create(self, asked: dict[str, Any]) -> None:
        name = f"{asked.get('type', 'model')}s/{asked['organization']}/{asked['name']}"
        if name in self.hub.files:
            told = {"error": "You already created this repo", "url": f"{self.hub.address}/{name}"}
            return self._say(409, told)
        self.hub.files[name] = {}
        self.hub.made.append(asked)
        return self._say(200, {"url": f"{self.hub.address}/{name}"})

    def _commit(self, name: str, lines: list[dict[str, Any]]) -> None:
        for line in lines:
            value = line["value"]
            if line["key"] == "header":
                self.hub.messages.append(value["summary"])
            elif line["key"] == "file":
                data = base64.b64decode(value["content"])
                self.hub.files[name][value["path"]] = data
        url = f"{self.hub.address}/{name}/commit/{'c' * 40}"
        self._say(200, {"commitUrl": url, "commitOid": "c" * 40, "success": True})

    def _file(self, *, body: bool) -> None:
        words = self.path.split("/")
        if "resolve" not in words:
            return self._say(404, {"error": "not found"})
        place = words.index("resolve")
        name = "/".join(words[1:place])
        full = name if name.startswith("spaces/") else f"models/{name}"
        data = self.hub.files.get(full, {}).get("/".join(words[place + 2 :]))
        if data is None:
            code = "EntryNotFound" if full in self.hub.files else "RepoNotFound"
            return self._say(404, {"error": "not found"}, {"X-Error-Code": code})
        self.send_response(200)
        for key, value in {
            "ETag": f'"{hash(data):x}"',
            "X-Repo-Commit": "c" * 40,
            "Content-Length": str(len(data)),
        }.items():
            self.send_header(key, value)
        self.end_headers()
        if body:
            self.wfile.write(data)
        return None

    def _chunks(self) -> bytes:
        found = b""
        while size := int(self.rfile.readline(), 16):
            found += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return found

    def _say(self, code: int, value: Any, more: dict[str, str] | None = None) -> None:
        data = json.dumps(value).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        for key, each in (more or {}).items():
            self.send_header(key, each)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)


@contextmanager
def a_hub() -> Generator[Hub]:
    """A hub that listens on a port of this machine."""
    hub = Hub()
    answers = type("Answers", (_Answers,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), answers)
    hub.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
