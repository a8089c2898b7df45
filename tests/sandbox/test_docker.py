"""Boxes in containers of a real engine: the same verdicts, and nothing that stays behind.

Where HARNESS_REQUIRE_DOCKER is 1, a missing engine is a failure; elsewhere these tests are skipped.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sandbox import engine, image
from sandbox.docker_backend import Box, DockerBackend
from sandbox.errors import BadProgram, SandboxUnavailable
from sandbox.local import LocalBackend
from sandbox.remote import open_remote
from sandbox.routes import application
from sandbox.types import Backend, Limits, Program, Result, Stdin
from sandbox.witness import CONTROL, attempts, examine
from tests.sandbox import hostile
from tests.sandbox.programs import KNOWN, SHORT, Known
from tests.sandbox.services import TOKEN, served

HOUSE = Path(__file__).resolve().parent.parent.parent
DOUBLE = Program("print(int(input()) * 2)", (Stdin("21"),), SHORT)


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    """The engine's, with the lean image made anew."""
    try:
        client = engine.connect()
    except SandboxUnavailable as error:
        if os.environ.get("HARNESS_REQUIRE_DOCKER") == "1":
            pytest.fail(f"docker is required here: {error}")
        pytest.skip(str(error))
    image.build(client)
    yield client
    assert not ours(client)
    client.close()


@pytest.fixture(scope="module")
def backend(client: Any) -> Iterator[DockerBackend]:
    with DockerBackend(workers=2) as backend:
        yield backend


def ours(client: Any) -> list[str]:
    """The containers of this process; another one may run the same tests."""
    return mine(client, os.getpid())


def only(backend: Backend, program: Program) -> Result:
    ((_, result),) = backend.run([program])
    return result


@pytest.mark.docker
@pytest.mark.parametrize("known", KNOWN, ids=lambda known: known.name)
def test_a_program_ends_in_a_container_as_it_must(backend: DockerBackend, known: Known):
    result = only(backend, known.program)
    run = result.runs[0]
    assert run.status == known.status, run
    if known.output is not None:
        assert (run.value or run.stdout.decode()) == known.output
    assert {"container", "landlock", "rlimits", "seccomp"} <= set(result.layers)


@pytest.mark.docker
def test_every_attempt_to_get_out_is_refused(backend: DockerBackend):
    seen = list(examine(backend))
    assert len(seen) == len(list(attempts()))
    assert [each for each in seen if not each.fine] == []


@pytest.mark.docker
def test_a_container_has_what_the_settings_say(client: Any):
    with DockerBackend(workers=1, box=Box(memory=1 << 30, processes=99)) as backend:
        before = set(ours(client))
        only(backend, DOUBLE)
        (new,) = set(ours(client)) - before
        told = client.api.inspect_container(new)
    host, user = told["HostConfig"], told["Config"]["User"]
    assert host["NetworkMode"] == "none"
    assert host["ReadonlyRootfs"] is True
    assert host["Memory"] == host["MemorySwap"] == 1 << 30
    assert host["PidsLimit"] == 99
    assert host["CapDrop"] == ["ALL"]
    assert host["SecurityOpt"] == ["no-new-privileges"]
    assert host["IpcMode"] == "private"
    assert host["LogConfig"]["Type"] == "none"
    assert host["AutoRemove"]
    assert host["Init"]
    assert user == "65534:65534"
    assert not host["Binds"]
    assert not host["Privileged"]


@pytest.mark.docker
def test_more_memory_than_the_container_has_is_mle(client: Any):
    greedy = "x = []\nwhile True: x.append(bytearray(1 << 20))"
    with DockerBackend(workers=1, box=Box(memory=128 << 20)) as backend:
        limits = Limits(cpu=20, memory=128 << 20)
        assert only(backend, Program(greedy, (Stdin(""),), limits)).runs[0].status == "MLE"
        assert only(backend, DOUBLE_SMALL).runs[0].stdout == b"42\n"
        with pytest.raises(BadProgram, match="container"):
            backend.run([DOUBLE])


DOUBLE_SMALL = Program(DOUBLE.source, DOUBLE.tests, Limits(memory=100 << 20))


@pytest.mark.docker
def test_numpy_is_there_where_a_program_names_it(client: Any):
    try:
        import numpy  # noqa: F401
    except ImportError:
        pytest.skip("numpy is not installed here")
    image.build(client, "scientific")
    source = "import numpy as np\nprint(np.linalg.inv(np.eye(2)).trace())"
    with DockerBackend(workers=1) as backend:
        assert only(backend, Program(source, (Stdin(""),))).runs[0].stdout == b"2.0\n"


# -- faults


@pytest.mark.docker
def test_a_container_that_is_killed_gives_no_pass_and_is_replaced(client: Any):
    sleepy = Program("import time; time.sleep(1.5); print(42)", (Stdin(""),), SHORT)
    before = set(ours(client))
    with DockerBackend(workers=1) as backend:
        only(backend, DOUBLE)
        results = backend.run([sleepy, DOUBLE])
        time.sleep(0.5)
        for container in set(ours(client)) - before:
            client.api.kill(container)
        found = dict(results)
    assert found[0].runs[0].status == "OK", "a fault of the machinery is tried once more"
    assert any("fault" in note for note in found[0].notes)
    assert found[1].runs[0].stdout == b"42\n"


@pytest.mark.docker
def test_containers_that_are_killed_again_and_again_are_a_fault(client: Any):
    import docker.errors

    sleepy = Program("import time; time.sleep(3); print(42)", (Stdin(""),), SHORT)
    stop, before = threading.Event(), set(ours(client))

    def murder() -> None:
        while not stop.wait(0.3):
            for container in set(ours(client)) - before:
                with contextlib.suppress(docker.errors.APIError):  # it was gone already
                    client.api.kill(container)

    killer = threading.Thread(target=murder)
    killer.start()
    try:
        with DockerBackend(workers=1) as backend:
            backend._known = usable()
            run = only(backend, sleepy).runs[-1]
    finally:
        stop.set()
        killer.join()
    assert run.status == "SE"
    assert run.stdout == b""


def usable() -> Any:
    from sandbox.types import Capabilities

    return Capabilities("docker", True, {})


@pytest.mark.docker
def test_a_harness_that_is_killed_leaves_no_container(client: Any):
    code = (
        "from sandbox.docker_backend import DockerBackend\n"
        "from sandbox.types import Program, Stdin, Limits\n"
        "backend = DockerBackend(workers=2)\n"
        "sleepy = Program('import time; time.sleep(50)', (Stdin(''),), Limits(cpu=60))\n"
        "results = backend.run([sleepy] * 2)\n"
        "print('running', flush=True)\n"
        "list(results)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(HOUSE)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "running\n"
    until = time.monotonic() + 60
    while len(mine(client, process.pid, status="running")) < 2 and time.monotonic() < until:
        time.sleep(0.1)
    assert len(mine(client, process.pid, status="running")) == 2
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    while mine(client, process.pid) and time.monotonic() < until:
        time.sleep(0.1)
    assert not mine(client, process.pid)


@pytest.mark.docker
def test_what_was_made_and_not_started_is_removed_by_the_next(client: Any):
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    here = engine.owner().partition("@")[2]
    owners = [f"{gone.pid}@{here}", f"{os.getpid()}@{here}", f"{gone.pid}@elsewhere"]
    made = [
        client.api.create_container(image.name(), "x", labels={engine.OWNER: owner})["Id"]
        for owner in owners
    ]
    try:
        engine.sweep(client)
        left = [each["Id"] for each in client.api.containers(all=True)]
        assert [each in left for each in made] == [False, True, True]
    finally:
        for each in made[1:]:
            client.api.remove_container(each)


def mine(client: Any, pid: int, **more: str) -> list[str]:
    """The containers of a process; looked at as one list, since each may go at any time."""
    owner = f"{pid}@{engine.owner().partition('@')[2]}"
    asked = {"label": f"{engine.OWNER}={owner}", **more}
    return [each["Id"] for each in client.api.containers(all=True, filters=asked)]


# -- refusals


def test_an_engine_that_is_not_there_is_refused_with_what_would_do(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    with pytest.raises(SandboxUnavailable, match=r"no engine answers.*DOCKER_HOST"):
        engine.connect()
    with DockerBackend(workers=1) as backend:
        assert not backend.capabilities().usable
        with pytest.raises(SandboxUnavailable, match="start it"):
            backend.run([CONTROL])


@pytest.mark.docker
def test_an_image_that_is_not_there_is_refused_with_what_would_do(client: Any):
    with (
        DockerBackend("sandbox-python:none", workers=1) as backend,
        pytest.raises(SandboxUnavailable, match="harness sandbox image"),
    ):
        backend.run([CONTROL])


@pytest.mark.docker
def test_a_runtime_that_is_not_there_is_refused(client: Any):
    with (
        DockerBackend(workers=1, box=Box(runtime="runsc-of-nobody")) as backend,
        pytest.raises(SandboxUnavailable, match="runsc-of-nobody"),
    ):
        backend.run([CONTROL])


@pytest.mark.docker
def test_a_required_layer_that_is_switched_off_is_refused(client: Any):
    with (
        DockerBackend(workers=1, off=("landlock",)) as backend,
        pytest.raises(SandboxUnavailable, match="landlock"),
    ):
        backend.run([CONTROL])


def test_an_image_is_named_after_all_that_runs_in_it():
    assert image.name("lean") != image.name("scientific")
    assert image.digest() == image.digest()
    targets = dict(image.contents())
    assert f"{image.HOME}/sandbox/inside/boot.py" in targets
    assert f"{image.HOME}/sandbox/local.py" not in targets
    assert image.plan()["python"] in targets
    assert any(path.endswith("/json/__init__.py") for path in targets)
    assert not [path for path in targets if "site-packages" in path or "/harness/" in path]


# -- hostile programs, and all backends beside each other


@pytest.mark.docker
@pytest.mark.slow
def test_hostile_programs_end_in_a_container_as_they_may(backend: DockerBackend, client: Any):
    rows = list(hostile.own())
    if folder := os.environ.get("HARNESS_DATA"):
        rows += hostile.stored(Path(folder) / "code" / "hostile_programs.jsonl")
    said = list(hostile.judged(backend, rows))
    assert "container" in said.pop()["layers"]
    assert len(said) == 2 * len(rows)
    assert [each for each in said if each["verdict"] not in each["allowed"]] == []
    assert (
        len(ours(client)) <= 4
    )  # two workers hold a container of each kind, with numpy or without


@pytest.mark.docker
@pytest.mark.slow
def test_local_docker_and_remote_give_the_same_verdicts(backend: DockerBackend):
    programs = [each for n in range(300) if (each := variant(n))]
    with (
        LocalBackend(2) as local,
        served(application(local, TOKEN)) as url,
        open_remote(url, token=TOKEN, workers=4) as remote,
    ):
        found = [verdicts(each, programs) for each in (local, backend, remote)]
    assert len(found[0]) == 300
    assert found[0] == found[1] == found[2]


def variant(n: int) -> Program:
    """One of 300 programs: all known ends but the slow one, with other numbers and more tests."""
    known = [each for each in KNOWN if each.name != "endless"][n % (len(KNOWN) - 1)]
    tests = (known.test,) * (1 + n % 3)
    limits = Limits(cpu=4.0, wall=30.0, memory=256 << 20, stdout=1 << 16)
    source = f"{known.source}\n# {n}\n"
    return Program(source, tests, limits, stop_at_fault=bool(n % 2))


def verdicts(backend: Backend, programs: list[Program]) -> dict[int, list[tuple[Any, ...]]]:
    return {
        index: [(run.status, run.stdout, run.value, run.weak) for run in result.runs]
        for index, result in backend.run(programs)
    }
