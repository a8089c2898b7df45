"""The service and its client: the verdicts of the backend behind it, and none where none was."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from sandbox.desk import Settings
from sandbox.errors import BadProgram, SandboxUnavailable
from sandbox.fleet import Patience
from sandbox.local import LocalBackend
from sandbox.open import open_backend
from sandbox.protocol import able_of, request_to, token_of, write_token
from sandbox.remote import Client, open_remote
from sandbox.routes import application
from sandbox.types import Backend, Limits, Program, Result, Stdin
from tests.sandbox.programs import KNOWN, SHORT, Known
from tests.sandbox.services import ABLE, RUN, TOKEN, Scripted, says, served, status

DOUBLE = Program("print(int(input()) * 2)", (Stdin("21"),), SHORT)
HASTE = Patience(queue=20.0, turn=10.0, margin=20.0, tries=3)
HOUSE = Path(__file__).resolve().parent.parent.parent
BEARER = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture(scope="module")
def local() -> Iterator[LocalBackend]:
    with LocalBackend(2) as backend:
        if not backend.capabilities().usable:
            pytest.skip(f"no local sandbox: {backend.capabilities().missing}")
        yield backend


@pytest.fixture(scope="module")
def service(local: LocalBackend) -> Iterator[str]:
    with served(application(Kept(local), TOKEN)) as url:
        yield url


class Kept:
    """A backend that outlives the service."""

    name = "local"

    def __init__(self, backend: Backend) -> None:
        self.capabilities, self.run = backend.capabilities, backend.run

    def close(self) -> None:
        pass


def only(backend: Backend, program: Program) -> Result:
    ((index, result),) = backend.run([program])
    assert index == 0
    return result


# -- verdicts


@pytest.fixture(scope="module")
def client(service: str) -> Iterator[Client]:
    with open_remote(service, token=TOKEN) as client:
        yield client


@pytest.mark.parametrize("known", KNOWN, ids=lambda known: known.name)
def test_a_program_ends_on_the_service_as_it_must(client: Client, known: Known):
    result = only(client, known.program)
    run = result.runs[0]
    assert run.status == known.status, run
    if known.output is not None:
        assert (run.value or run.stdout.decode()) == known.output
    assert result.backend == "remote"
    assert "seccomp" in result.layers
    assert result.interpreter.startswith(sys.implementation.name)


def test_bytes_and_surrogates_cross_the_border_as_they_are(client: Client, local: LocalBackend):
    every = "import sys; sys.stdout.buffer.write(bytes(range(256)))"
    programs = [
        Program(every, (Stdin(""),), SHORT),
        Program("print('\ud800')", (Stdin(""),), SHORT),
        Program(
            "import sys; print(ascii(sys.stdin.buffer.read()))", (Stdin("\ud800\x00é"),), SHORT
        ),
    ]
    there = dict(client.run(programs))
    here = dict(local.run(programs))
    for index in here:
        assert there[index].runs[0].stdout == here[index].runs[0].stdout
        assert there[index].runs[0].status == here[index].runs[0].status
    assert there[0].runs[0].stdout == bytes(range(256))


def test_every_program_of_a_long_list_has_its_own_result(client: Client):
    programs = [Program("print(input())", (Stdin(str(n)),), SHORT) for n in range(60)]
    found = dict(client.run(programs))
    assert {n: int(result.runs[0].stdout) for n, result in found.items()} == {
        n: n for n in range(60)
    }


def test_a_program_that_makes_no_sense_is_refused_here():
    with open_remote("http://127.0.0.1:1", token=TOKEN) as client, pytest.raises(BadProgram):
        client.run([Program("pass", (), SHORT)])


def test_a_backend_is_opened_by_its_address(service: str):
    client = open_backend(f"remote:{service}", token=TOKEN, workers=3)
    try:
        assert only(client, DOUBLE).runs[0].stdout == b"42\n"
    finally:
        client.close()


# -- whom it serves


@pytest.mark.parametrize("path", ["/v1/capabilities", "/metrics"])
@pytest.mark.parametrize(
    "header", ["", "Bearer", f"Bearer {TOKEN}x", f"bearer {TOKEN}", "Bearer é"]
)
def test_nothing_is_told_without_the_token(service: str, path: str, header: str):
    given = {"Authorization": header.encode("latin-1")} if header else {}
    answer = httpx.get(service + path, headers=given)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"


def test_nothing_is_run_without_the_token(service: str):
    assert httpx.post(f"{service}/v1/run", content=request_to(DOUBLE)).status_code == 401
    with (
        open_remote(service, token="some-other-token-of-mine") as client,
        pytest.raises(SandboxUnavailable, match="does not know the token"),
    ):
        client.run([DOUBLE])


def test_health_is_told_to_all_and_says_nothing(service: str):
    answer = httpx.get(f"{service}/health")
    assert (answer.status_code, answer.json()) == (200, {"ok": True})
    assert "server" not in answer.headers or "uvicorn" in answer.headers["server"]


@pytest.mark.parametrize(
    "token", ["", "short", "with blanks in the middle", "nön-äscii-tökens-here"]
)
def test_a_service_without_a_good_token_is_not_begun(token: str):
    from sandbox.serve import serve

    with pytest.raises(SandboxUnavailable, match="token"):
        serve(LocalBackend(1), token)


def test_a_token_file_is_its_owners_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    file = tmp_path / "token"
    token = write_token(file)
    assert token_of(file) == token
    file.chmod(0o640)
    with pytest.raises(SandboxUnavailable, match="chmod 600"):
        token_of(file)
    monkeypatch.delenv("SANDBOX_TOKEN", raising=False)
    with pytest.raises(SandboxUnavailable, match="SANDBOX_TOKEN"):
        token_of()


# -- what it is sent


@pytest.mark.parametrize(
    ("body", "headers", "code"),
    [
        (b"{", {}, 400),
        (b"[" * 100_000, {}, 400),
        (b'{"program": {}}', {}, 400),
        (b'{"program": {"source": "", "tests": []}}', {}, 400),
        (b'{"program": {"source": "", "tests": [{"kind": "stdin", "text": 1}]}}', {}, 400),
        (
            b'{"program": {"source": "", "tests": [{"kind": "file"}], "limits": {"cpu": -1}}}',
            {},
            400,
        ),
        (None, {"X-Request-Id": "../../etc"}, 400),
        (None, {"X-Request-Id": "x" * 65}, 400),
        (None, {"X-Deadline": "nan"}, 400),
        (None, {"X-Deadline": "-1"}, 400),
        (None, {"X-Deadline": "soon"}, 400),
    ],
    ids=[
        *("no-json", "deep", "no-source", "no-tests", "number", "kind"),
        *("path", "long-id", "nan", "negative", "word"),
    ],
)
def test_a_request_that_makes_no_sense_is_refused(
    service: str, body: bytes | None, headers: dict[str, str], code: int
):
    sent = request_to(DOUBLE) if body is None else body
    answer = httpx.post(f"{service}/v1/run", content=sent, headers={**BEARER, **headers})
    assert answer.status_code == code, answer.text


def test_a_request_has_an_upper_size(local: LocalBackend):
    with served(application(Kept(local), TOKEN, Settings(body=1000))) as url:
        answer = httpx.post(f"{url}/v1/run", content=b"x" * 1001, headers=BEARER)
    assert answer.status_code == 413


def test_a_request_that_comes_twice_is_run_once(local: LocalBackend):
    sleepy = Program("import time; time.sleep(0.5); print(1)", (Stdin(""),), SHORT)
    headers = {**BEARER, "X-Request-Id": "once"}
    answers: list[httpx.Response] = []
    with served(application(Kept(local), TOKEN)) as url:

        def send() -> None:
            sent = request_to(sleepy)
            answers.append(httpx.post(f"{url}/v1/run", content=sent, headers=headers, timeout=60))

        threads = [threading.Thread(target=send) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        send()
        metrics = httpx.get(f"{url}/metrics", headers=BEARER).text
        other = httpx.post(f"{url}/v1/run", content=request_to(DOUBLE), headers=headers)
    assert {answer.text for answer in answers} == {answers[0].text}
    assert [answer.status_code for answer in answers] == [200] * 4
    assert 'sandbox_runs_total{status="OK"} 1.0' in metrics
    assert other.status_code == 409


@pytest.mark.slow
def test_a_full_queue_sends_away_at_once_and_the_client_comes_again(local: LocalBackend):
    sleepy = Program("import time; time.sleep(0.2)", (Stdin(""),), SHORT)
    with served(application(Kept(local), TOKEN, Settings(workers=1, queue=1))) as url:
        with open_remote(url, token=TOKEN, patience=Patience(at_once=4)) as client:
            found = dict(client.run([sleepy] * 4))
        metrics = httpx.get(f"{url}/metrics", headers=BEARER).text
    assert [found[n].runs[0].status for n in range(4)] == ["OK"] * 4
    assert 'sandbox_answers_total{code="429"}' in metrics
    assert 'sandbox_runs_total{status="OK"} 4.0' in metrics


def test_a_deadline_that_passes_in_the_queue_is_told(local: LocalBackend):
    sleepy = request_to(Program("import time; time.sleep(0.8)", (Stdin(""),), SHORT))
    with served(application(Kept(local), TOKEN, Settings(workers=1))) as url:
        send = {"url": f"{url}/v1/run", "content": sleepy, "headers": BEARER, "timeout": 60}
        first = threading.Thread(target=lambda: httpx.post(**send))
        first.start()
        while "sandbox_running 1.0" not in httpx.get(f"{url}/metrics", headers=BEARER).text:
            time.sleep(0.02)
        late = httpx.post(**{**send, "headers": {**BEARER, "X-Deadline": "0.1"}})
        first.join()
    assert late.status_code == 504


# -- what it answers


GOOD: dict[str, Any] = RUN
LIES = {
    "no-runs": says(runs=[]),
    "too-many": says(runs=[GOOD, {**GOOD, "run": 1}]),
    "twice": says(runs=[GOOD, GOOD]),
    "out-of-range": says(runs=[{**GOOD, "run": 7}]),
    "unknown-status": says(runs=[{**GOOD, "status": "AC"}]),
    "no-status": says(runs=[{key: value for key, value in GOOD.items() if key != "status"}]),
    "nan": says(runs=[{**GOOD, "cpu": float("nan")}]),
    "negative": says(runs=[{**GOOD, "wall": -1}]),
    "no-text": says(runs=[{**GOOD, "stdout": 42}]),
    "wide": says(runs=[{**GOOD, "stdout": "\u4e2d"}]),
    "too-much": says(runs=[{**GOOD, "stdout": "x" * (SHORT.stdout + 1)}]),
    "no-result": lambda name, asked: status(200, None, b'{"request": "x"}')(name, asked),
    "another": lambda name, asked: says()("another", asked),
    "no-json": status(200, None, b"OK"),
    "deep": status(200, None, b"[" * 200_000),
    "nothing": status(200, None, b""),
    "server-error": status(500),
    "not-found": status(404),
    "moved": status(302, {"Location": "http://127.0.0.1:1/"}),
}


@pytest.mark.parametrize("lie", LIES)
def test_an_answer_that_is_no_result_is_a_fault_and_never_a_pass(lie: str):
    scripted = Scripted(ABLE, [LIES[lie]])
    with (
        served(scripted.app()) as url,
        open_remote(url, token=TOKEN, patience=HASTE) as client,
    ):
        result = only(client, DOUBLE)
    assert [run.status for run in result.runs] == ["SE"]
    assert len(scripted.ids) == 1, "such an answer is not asked for again"


def test_fewer_runs_than_tests_need_a_fault_that_ended_them():
    two = Program("pass", (Stdin(""), Stdin("")), SHORT)
    scripted = Scripted(ABLE, [says(), says(runs=[{**GOOD, "status": "RE"}])])
    with served(scripted.app()) as url, open_remote(url, token=TOKEN, patience=HASTE) as client:
        assert [run.status for run in only(client, two).runs] == ["SE"]
        assert [run.status for run in only(client, two).runs] == ["RE"]


@pytest.mark.parametrize("code", [429, 502, 503, 504])
def test_a_fault_of_transport_is_tried_again_under_the_same_id(code: int):
    scripted = Scripted(ABLE, [status(code, {"Retry-After": "0"}), says()])
    with served(scripted.app()) as url, open_remote(url, token=TOKEN, patience=HASTE) as client:
        assert only(client, DOUBLE).runs[0].status == "OK"
    assert len(scripted.ids) == 2
    assert len(set(scripted.ids)) == 1


def test_tries_come_to_an_end():
    scripted = Scripted(ABLE, [status(503)])
    with served(scripted.app()) as url, open_remote(url, token=TOKEN, patience=HASTE) as client:
        run = only(client, DOUBLE).runs[0]
    assert run.status == "SE"
    assert "503" in run.detail
    assert len(scripted.ids) == HASTE.tries


def test_a_time_limit_of_the_program_is_an_answer():
    late = {**GOOD, "status": "TLE", "stderr": "Resource temporarily unavailable"}
    scripted = Scripted(ABLE, [says(runs=[late])])
    with served(scripted.app()) as url, open_remote(url, token=TOKEN, patience=HASTE) as client:
        assert only(client, DOUBLE).runs[0].status == "TLE"
    assert len(scripted.ids) == 1


# -- addresses


def test_a_dead_address_costs_no_result(service: str):
    with open_remote(f"http://127.0.0.1:{closed()},{service}", token=TOKEN) as client:
        silent = [name for name in client.capabilities().layers if name.startswith("http")]
        found = dict(client.run([DOUBLE] * 20))
    assert len(silent) == 1
    assert {result.runs[0].stdout for result in found.values()} == {b"42\n"}


def test_an_address_that_was_dropped_is_taken_back(service: str):
    broken = [status(503)] * 2
    scripted = Scripted(ABLE, [*broken, says()])
    with (
        served(scripted.app()) as url,
        open_remote(url, token=TOKEN, patience=Patience(tries=9, at_once=2)) as client,
    ):
        found = dict(client.run([DOUBLE] * 10))
    assert [result.runs[0].status for result in found.values()] == ["OK"] * 10


def test_where_no_address_answers_nothing_is_run():
    with open_remote(f"http://127.0.0.1:{closed()}", token=TOKEN) as client:
        assert not client.capabilities().usable
        with pytest.raises(SandboxUnavailable, match="harness sandbox serve"):
            client.run([DOUBLE])


@pytest.mark.parametrize("url", ["", "ftp://here", "http://", "http://me:secret@here"])
def test_what_is_no_address_is_refused(url: str):
    with (
        open_remote(url, token=TOKEN) as client,
        pytest.raises(SandboxUnavailable, match="address"),
    ):
        client.run([DOUBLE])


def test_a_service_that_says_nothing_is_given_up():
    with socket.create_server(("127.0.0.1", 0)) as mute:
        scripted = Scripted(ABLE, [says()])
        with served(scripted.app()) as url:
            patience = Patience(queue=0.5, turn=0.1, margin=0.1, tries=1)
            quick = Program("pass", (Stdin(""),), Limits(cpu=0.1, wall=0.1))
            both = f"http://127.0.0.1:{mute.getsockname()[1]},{url}"
            with open_remote(both, token=TOKEN, patience=patience) as client:
                client._known = able_of(json.dumps(ABLE).encode())
                found = dict(client.run([quick] * 3))
    assert {result.runs[0].status for result in found.values()} <= {"SE", "OK"}
    assert "SE" in {result.runs[0].status for result in found.values()}


def closed() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


# -- ends


def test_a_client_that_is_closed_while_it_runs_ends_its_run(service: str):
    sleepy = Program("import time; time.sleep(3)", (Stdin(""),), SHORT)
    client = open_remote(service, token=TOKEN)
    results = client.run([sleepy] * 2)
    client.close()
    client.close()
    with pytest.raises(SandboxUnavailable, match="closed"):
        list(results)


@pytest.mark.slow
def test_a_service_that_is_ended_finishes_what_it_has_begun(tmp_path: Path):
    write_token(tmp_path / "token")
    words = ["sandbox", "serve", "--port", "0", "--workers", "1"]
    process = subprocess.Popen(
        [sys.executable, "-m", "harness", *words, "--token-file", "token"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(HOUSE)},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        url = process.stdout.readline().split()[-1]
        sleepy = Program("import time; time.sleep(2); print(1)", (Stdin(""),), SHORT)
        with open_remote(url, token_file=tmp_path / "token") as client:
            results = client.run([sleepy])
            bearer = {"Authorization": f"Bearer {token_of(tmp_path / 'token')}"}
            while "sandbox_running 1.0" not in httpx.get(f"{url}/metrics", headers=bearer).text:
                time.sleep(0.05)
            process.send_signal(signal.SIGTERM)
            ((_, result),) = results
        assert process.wait(60) in (0, -signal.SIGTERM)
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()
    assert result.runs[0].stdout == b"1\n"
