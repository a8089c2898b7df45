"""SandboxFusion and Piston, by their own schemas: the verdicts that our own boxes give."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from fastapi import FastAPI, Request, Response

from sandbox.adapters import foreign
from sandbox.adapters.foreign import Reply
from sandbox.errors import SandboxUnavailable
from sandbox.fleet import Patience
from sandbox.local import LocalBackend
from sandbox.open import open_backend
from sandbox.remote import Client
from sandbox.types import Assertions, Backend, Program, Run, Stdin
from tests.sandbox import services
from tests.sandbox.programs import KNOWN, SHORT, Known
from tests.sandbox.services import served

HASTE = Patience(queue=20.0, turn=5.0, margin=20.0, tries=3)
DOUBLE = Program("print(int(input()) * 2)", (Stdin("21"),), SHORT)
APPS: dict[str, Callable[[Backend], FastAPI]] = {
    "sandboxfusion": services.sandboxfusion,
    "piston": services.piston,
}
CALM = [known for known in KNOWN if known.name in ("double", "exit status", "greedy", "call")]


@pytest.fixture(scope="module")
def local() -> Iterator[LocalBackend]:
    with LocalBackend(2) as backend:
        if not backend.capabilities().usable:
            pytest.skip(f"no local sandbox: {backend.capabilities().missing}")
        yield backend


@pytest.fixture(scope="module", params=APPS)
def client(request: pytest.FixtureRequest, local: LocalBackend) -> Iterator[Client]:
    with served(APPS[request.param](local)) as url:
        backend = open_backend(f"{request.param}:{url}", patience=HASTE)
        assert isinstance(backend, Client)
        with backend:
            yield backend


def only(backend: Backend, program: Program) -> Run:
    ((_, result),) = backend.run([program])
    return result.runs[-1]


@pytest.mark.parametrize("known", KNOWN, ids=lambda known: known.name)
def test_a_program_ends_there_as_in_our_own_boxes(client: Client, known: Known):
    run = only(client, known.program)
    if known.status == "MLE":  # a service may not tell why it refused memory
        assert run.status in ("MLE", "RE")
    else:
        assert run.status == known.status, run
    if known.output is not None:
        assert (run.value or run.stdout.decode()) == known.output
    assert run.weak == isinstance(known.test, Assertions)


def test_results_tell_that_isolation_there_is_not_verified(client: Client):
    ((_, result),) = client.run([DOUBLE])
    assert result.backend == client.name
    assert result.layers == (f"unverified.{client.name}",)
    assert "not known" in client.capabilities().layers["seccomp"]


def test_tests_end_with_the_first_fault_or_go_on(client: Client):
    tests = (Stdin("1"), Stdin("x"), Stdin("3"))
    source = "print(int(input()))"
    ((_, stopped),) = client.run([Program(source, tests, SHORT)])
    assert [run.status for run in stopped.runs] == ["OK", "RE"]
    ((_, all_of_it),) = client.run([Program(source, tests, SHORT, stop_at_fault=False)])
    assert [run.status for run in all_of_it.runs] == ["OK", "RE", "OK"]


def test_a_prefix_and_a_future_import_are_kept_apart(client: Client):
    source = "from __future__ import annotations\nprint(sqrt(49), f.__annotations__ if 0 else '')"
    run = only(client, Program(source, (Stdin(""),), SHORT, prefix="from math import sqrt"))
    assert run.stdout == b"7.0 \n"


def test_what_a_program_says_of_itself_is_no_fault_of_the_service(client: Client):
    source = f"import sys\nprint({foreign.OVERLOAD!r}, file=sys.stderr)\nsys.exit(11)"
    assert only(client, Program(source, (Stdin(""),), SHORT)).status == "RE"


def test_too_much_source_is_not_sent(client: Client):
    assert only(client, Program("#" * (SHORT.source + 1), (Stdin(""),), SHORT)).status == "CE"


# -- services that fail


def answering(told: list[Any]) -> tuple[FastAPI, list[Any]]:
    """A service that answers with each of these in turn, the last one for ever."""
    app, asked = FastAPI(), []

    async def execute(request: Request) -> Response:
        asked.append(json.loads(await request.body()))
        answer = told.pop(0) if len(told) > 1 else told[0]
        return Response(json.dumps(answer))

    execute.__annotations__ = {"request": Request}
    app.post("/run_code")(execute)
    app.post("/api/v2/execute")(execute)
    return app, asked


def fusion(**process: Any) -> dict[str, Any]:
    whole = {"status": "Finished", "return_code": 0, "stdout": "", "stderr": "", **process}
    return {"status": "Success", "message": "", "run_result": whole}


def pistons(**run: Any) -> dict[str, Any]:
    whole = {"stdout": "", "stderr": "", "code": 0, "signal": None, **run}
    return {"run": whole, "language": "python", "version": "3.12.0"}


BROKEN = {
    "sandboxfusion": [
        {"status": "SandboxError", "message": "no pod", "run_result": None},
        {"status": "Success", "message": "", "run_result": None},
        {"status": "Success", "run_result": []},
        fusion(),
        fusion(stdout="42\n"),
        fusion(status="Error"),
        fusion(stderr=foreign.OVERLOAD, return_code=1),
        {"status": "Passed", "run_result": fusion()["run_result"]},
        [],
        42,
    ],
    "piston": [
        {"message": "runtime is unknown"},
        {"run": None},
        pistons(),
        pistons(stdout="42\n"),
        pistons(code=None, signal=None),
        pistons(code=None, signal="SIGNOTHING"),
        pistons(status="XX", message="no isolate"),
        pistons(stderr=foreign.OVERLOAD, code=1),
        [],
        None,
    ],
}


@pytest.mark.parametrize(
    ("name", "answer"),
    [(name, answer) for name, answers in BROKEN.items() for answer in answers],
    ids=[f"{name}-{number}" for name, answers in BROKEN.items() for number in range(len(answers))],
)
def test_an_answer_that_shows_no_run_of_ours_is_a_fault_and_never_a_pass(name: str, answer: Any):
    app, _ = answering([answer])
    with served(app) as url:
        backend = open_backend(f"{name}:{url}", patience=HASTE)
        assert isinstance(backend, Client)
        with backend:
            backend._known = usable(name)
            assert only(backend, DOUBLE).status == "SE"


def usable(name: str) -> Any:
    from sandbox.types import Capabilities

    return Capabilities(name, True, {})


def test_an_overloaded_service_is_asked_again(local: LocalBackend):
    overloaded = fusion(stderr=f"bash: fork: retry: {foreign.OVERLOAD}", return_code=254)
    app, asked = answering([overloaded, overloaded, fusion()])
    with served(app) as url:
        backend = open_backend(f"sandboxfusion:{url}", patience=HASTE)
        assert isinstance(backend, Client)
        with backend:
            backend._known = usable("sandboxfusion")
            only(backend, DOUBLE)
    assert len(asked) == 3


@pytest.mark.parametrize("name", APPS)
def test_a_service_that_runs_nothing_is_refused(name: str):
    app, _ = answering([{}])
    with served(app) as url:
        backend = open_backend(f"{name}:{url}", patience=HASTE)
        with pytest.raises(SandboxUnavailable, match=name):
            backend.run([DOUBLE])
        backend.close()


@pytest.mark.slow
def test_an_old_piston_that_kills_without_a_word_is_never_a_pass(local: LocalBackend):
    with served(services.piston(local, explains=False)) as url:
        backend = open_backend(f"piston:{url}", patience=HASTE)
        for known in CALM:
            run = only(backend, known.program)
            assert run.status == known.status or "MLE" in (known.status, run.status), known.name
        endless = Program("while True: pass", (Stdin(""),), replace(SHORT, wall=2.0))
        assert only(backend, endless).status == "TLE"
        backend.close()


def test_a_report_that_the_program_forged_says_no_more_than_its_output():
    parcel = foreign.pack(DOUBLE, 0)
    report = json.dumps({"status": "O", "text": "", "cpu": "NaN", "memory": -1})
    forged = f"{parcel.nonce} begun x\n{parcel.nonce} ended {report}\n"
    run = foreign.run_of(DOUBLE, 0, parcel, Reply("wrong", forged, code=0))
    assert (run.status, run.stdout, run.cpu, run.memory) == ("OK", b"wrong", 0.0, 0)
    killed = foreign.run_of(DOUBLE, 0, parcel, Reply("42", forged, code=137))
    assert killed.status == "MLE"
    stopped = foreign.run_of(DOUBLE, 0, parcel, Reply("42", forged, code=0, stopped="TLE"))
    assert stopped.status == "TLE"
    deep = f"{parcel.nonce} begun x\n{parcel.nonce} ended {'[' * 100_000}\n"
    assert foreign.run_of(DOUBLE, 0, parcel, Reply("42", deep, code=1)).status == "RE"
