"""Real services for tests: ours, those of others, and one that answers what it is told to."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from fastapi import FastAPI, Request, Response
from pydantic import BaseModel

from sandbox.types import Backend, Limits, Program, Run, Stdin

TOKEN = "a-token-of-the-tests-1234"


@contextlib.contextmanager
def served(app: Any, **settings: Any) -> Iterator[str]:
    """The app on a free port of the loopback; its address."""
    config = uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error", **settings)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    until = time.monotonic() + 60
    while not server.started:
        assert thread.is_alive()
        assert time.monotonic() < until
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(60)
        assert not thread.is_alive()


Answer = Callable[[str, dict[str, Any]], Response]


@dataclass
class Scripted:
    """A service that answers each request to run something with the next of its answers."""

    able: dict[str, Any]
    answers: list[Answer]
    ids: list[str] = field(default_factory=list)

    def app(self) -> FastAPI:
        app = FastAPI()

        @app.get("/v1/capabilities")
        async def able() -> dict[str, Any]:
            return self.able

        async def run(request: Request) -> Response:
            name = request.headers["x-request-id"]
            self.ids.append(name)
            answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
            return answer(name, json.loads(await request.body()))

        app.post("/v1/run")(run)
        run.__annotations__ = {"request": Request}
        return app


ABLE = {
    "backend": "local",
    "usable": True,
    "layers": dict.fromkeys(
        ("rlimits", "no_new_privs", "capabilities", "seccomp", "landlock"), "on"
    ),
    "missing": [],
    "interpreter": "cpython-3.11.7-linux-x86_64",
}
RUN = {
    "run": 0,
    "status": "OK",
    "stdout": "42\n",
    "value": None,
    "flattened": "",
    "stderr": "",
    "detail": "",
    "cpu": 0.01,
    "wall": 0.01,
    "memory": 1000,
    "weak": False,
}


def says(**changes: Any) -> Answer:
    """A good answer of one run, with these parts of its result changed."""

    def answer(name: str, _: dict[str, Any]) -> Response:
        told = {"runs": [RUN], "backend": "local", "layers": [], "interpreter": "", "notes": []}
        return Response(json.dumps({"request": name, "result": {**told, **changes}}))

    return answer


def status(code: int, headers: dict[str, str] | None = None, body: bytes = b"no") -> Answer:
    """An answer with this status."""
    return lambda name, asked: Response(body, code, headers)


# -- services of others, which run what they are sent in our own boxes


def _only(backend: Backend, code: str, text: str, seconds: float) -> Run:
    limits = Limits(cpu=seconds, wall=seconds, memory=2 << 30, source=1 << 20)
    ((_, result),) = backend.run([Program(code, (Stdin(text),), limits)])
    return result.runs[0]


def _exit_status(run: Run) -> int:
    words = run.detail.split()
    if run.status == "OK":
        return 0
    return int(words[2]) if words[:2] == ["exit", "status"] else 137 if run.status == "MLE" else 1


class RunCode(BaseModel):
    """SandboxFusion's RunCodeRequest."""

    compile_timeout: float = 10
    run_timeout: float = 10
    memory_limit_MB: int = -1
    code: str
    stdin: str | None = None
    language: str
    files: dict[str, str | None] = {}
    fetch_files: list[str] = []
    args: list[str] = []


def sandboxfusion(backend: Backend) -> FastAPI:
    """Its `/run_code`, by its own schema."""
    app = FastAPI()

    @app.post("/run_code")
    def run_code(asked: RunCode) -> dict[str, Any]:
        assert asked.language == "python"
        run = _only(backend, asked.code, asked.stdin or "", asked.run_timeout)
        late = run.status == "TLE"
        process = {
            "status": "TimeLimitExceeded" if late else "Finished",
            "execution_time": run.wall,
            "return_code": None if late else _exit_status(run),
            "stdout": run.stdout.decode("utf-8", "replace"),
            "stderr": run.stderr,
        }
        fine = run.status == "OK"
        return {
            "status": "Success" if fine else "Failed",
            "message": "",
            "compile_result": None,
            "run_result": process,
            "executor_pod_name": None,
            "files": {},
        }

    return app


class Execute(BaseModel):
    """The body of Piston's `/api/v2/execute`."""

    language: str
    version: str
    files: list[dict[str, str]]
    stdin: str = ""
    args: list[str] = []
    run_timeout: int = 3000
    compile_timeout: int = 10000
    run_memory_limit: int = -1
    compile_memory_limit: int = -1


def piston(backend: Backend, *, explains: bool = True) -> FastAPI:
    """Its `/api/v2`, by its own documentation; an old one does not explain why it killed."""
    app = FastAPI()

    @app.get("/api/v2/runtimes")
    def runtimes() -> list[dict[str, Any]]:
        return [{"language": "python", "version": "3.12.0", "aliases": ["py", "python3"]}]

    @app.post("/api/v2/execute")
    def execute(asked: Execute) -> dict[str, Any]:
        assert asked.language == "python"
        run = _only(backend, asked.files[0]["content"], asked.stdin, asked.run_timeout / 1000)
        late = run.status == "TLE"
        told = {
            "stdout": run.stdout.decode("utf-8", "replace"),
            "stderr": run.stderr,
            "output": "",
            "code": None if late else _exit_status(run),
            "signal": "SIGKILL" if late else None,
        }
        if explains:
            why = {"TLE": "TO", "OLE": "OL", "OK": None}.get(run.status, "RE")
            told |= {"status": why, "message": None, "cpu_time": 1, "wall_time": 1, "memory": 1}
        return {"run": told, "language": "python", "version": "3.12.0"}

    return app
