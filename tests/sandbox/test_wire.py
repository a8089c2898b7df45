"""Frames and results: what comes out of a box is checked, and is never a pass by accident."""

from __future__ import annotations

import json
import os
import struct
import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox import frames
from sandbox.errors import BadProgram
from sandbox.pool import Gate, Workers
from sandbox.types import Assertions, Call, Limits, Program, Run, Stdin
from sandbox.wire import BadReply, pool_of, program_of, program_to, run_of, run_to
from sandbox.worker import Broken, Worker
from tests.sandbox.boxes import stdin

READY = {"ready": {"layers": {"seccomp": "on"}, "interpreter": "x", "modules": []}}
FINE = run_to(Run("OK", stdout=b"3\n"), 0)


class Canned:
    """A box that says what it was told to say."""

    def __init__(self, *said: Any, raw: bytes = b"") -> None:
        self._said = b"".join(map(frames.pack, said)) + raw
        self.closed = 0

    def write(self, data: bytes) -> None:
        assert self.closed == 0

    def read(self, most: int, seconds: float) -> bytes:
        part, self._said = self._said[:7], self._said[7:]
        return part

    def close(self) -> str:
        self.closed += 1
        return "its last words"


def asked(*said: Any, raw: bytes = b"", tests: int = 1) -> list[Run]:
    program = stdin("", *["x"] * tests)
    return list(Worker(Canned(READY, *said, raw=raw), {}).run(program, "lean"))


def ended(*runs: Any) -> dict[str, Any]:
    """The last frame of a job."""
    return {"runs": runs, "end": True}


def test_a_well_formed_answer_is_read():
    (run,) = asked(ended(FINE))
    assert run == Run("OK", stdout=b"3\n")


def test_answers_may_come_in_one_frame_or_in_several():
    second = {**FINE, "run": 1}
    assert asked(ended(FINE, second), tests=2) == asked({"runs": [FINE]}, ended(second), tests=2)


WRONG: dict[str, list[Any]] = {
    "nothing": [],
    "no end": [{"runs": [FINE]}],
    "an end that is none": [{"runs": [FINE], "end": 1}],
    "end at once": [ended()],
    "end alone": [{"end": True}],
    "twice": [ended(FINE, FINE)],
    "twice, in two frames": [{"runs": [FINE]}, ended(FINE)],
    "other number": [ended({**FINE, "run": 1})],
    "no object": [ended([1])],
    "no frame": [[1]],
    "no list": [{"runs": FINE, "end": True}],
    "unknown status": [ended({**FINE, "status": "AC"})],
    "status is no text": [ended({**FINE, "status": ["OK"]})],
    "no status": [ended({"run": 0})],
    "output is no text": [ended({**FINE, "stdout": 3})],
    "output is no bytes": [ended({**FINE, "stdout": "\u0663"})],
    "negative time": [ended({**FINE, "cpu": -1})],
    "time is not a number": [ended({**FINE, "cpu": float("nan")})],
    "time is true": [ended({**FINE, "wall": True})],
    "endless memory": [ended({**FINE, "memory": 1e300})],
    "value is a number": [ended({**FINE, "value": 3})],
    "fault": [{"runs": [], "fault": "x"}],
}


@pytest.mark.parametrize("name", WRONG)
def test_any_other_answer_is_a_fault_of_the_machinery(name: str):
    with pytest.raises(Broken):
        asked(*WRONG[name])


@pytest.mark.parametrize(
    "raw",
    [
        b"\xff\xff\xff\xff",
        b"\x00\x00\x00\x02{",
        b"\x00\x00\x00\x02{{",
        b"\x00\x00",
        struct.pack(">I", 200_000) + b"[" * 200_000,
        struct.pack(">I", 4) + b"\xff\xfe\xfd\xfc",
    ],
    ids=["too long", "short", "no json", "no head", "too deep", "no text"],
)
def test_a_bad_frame_is_a_fault_of_the_machinery(raw: bytes):
    with pytest.raises(Broken):
        asked(raw=raw)


@pytest.mark.parametrize(
    "said", [{}, {"ready": 1}, {"ready": {"layers": 3, "interpreter": "x", "modules": []}}, []]
)
def test_a_box_that_does_not_introduce_itself_is_ended(said: Any):
    box = Canned(said)
    with pytest.raises(Broken, match="its last words"):
        Worker(box, {})
    assert box.closed == 1


def test_a_fault_is_tried_on_another_box_and_then_it_is_se():
    boxes: list[Canned] = []

    def start(pool: str) -> Worker:
        boxes.append(Canned(READY, {"runs": [FINE], "fault": "x"}))
        return Worker(boxes[-1], {})

    workers = Workers("canned", 1, start)
    two = stdin("", "1", "2")
    (result,) = dict(workers.run([two])).values()
    workers.close()
    # what the first box told of the first test stands; the second box was asked for the rest
    assert [run.status for run in result.runs] == ["OK", "SE"]
    assert len(result.notes) == 2
    assert [box.closed for box in boxes] == [1, 1]


def test_a_backend_whose_boxes_do_not_start_gives_se():
    def start(pool: str) -> Worker:
        raise OSError("no more processes")

    workers = Workers("canned", 2, start)
    found = dict(workers.run([stdin("")] * 5))
    workers.close()
    assert [found[index].runs[0].status for index in range(5)] == ["SE"] * 5
    assert "no more processes" in found[0].runs[0].detail


def test_a_late_test_is_run_again_alone():
    late = run_to(Run("TLE", cpu=0.4, wall=5.0), 0)
    box = Canned(READY, ended(late), ended(FINE))
    workers = Workers("canned", 1, lambda pool: Worker(box, {}))
    program = stdin("", limits=Limits(cpu=1.0))
    (result,) = dict(workers.run([program])).values()
    workers.close()
    assert [run.status for run in result.runs] == ["OK"]
    assert result.notes == ("test 0 was run again alone",)


@pytest.mark.parametrize(("cpu", "wall"), [(0.6, 5.0), (0.001, 5.0), (0.4, 4.9)])
def test_a_test_that_had_its_share_or_slept_is_not(cpu: float, wall: float):
    late = run_to(Run("TLE", cpu=cpu, wall=wall), 0)
    workers = Workers("canned", 1, lambda pool: Worker(Canned(READY, ended(late)), {}))
    (result,) = dict(workers.run([stdin("", limits=Limits(cpu=1.0))])).values()
    workers.close()
    assert [run.status for run in result.runs] == ["TLE"]
    assert result.notes == ()


def test_alone_means_alone():
    gate, inside, most, alone = Gate(), 0, 0, []
    lock = threading.Lock()

    def shared() -> None:
        nonlocal inside, most
        for _ in range(200):
            with gate.shared():
                with lock:
                    inside += 1
                    most = max(most, inside)
                with lock:
                    inside -= 1

    def by_itself() -> None:
        for _ in range(50):
            with gate.alone():
                alone.append(inside)

    threads = [
        threading.Thread(target=act) for act in (shared, shared, shared, by_itself, by_itself)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert alone == [0] * 100


# -- programs and runs as JSON

programs = st.builds(
    Program,
    source=st.text(),
    tests=st.lists(
        st.builds(Stdin, st.text())
        | st.builds(Call, st.text(), st.tuples(st.integers(), st.lists(st.text())))
        | st.builds(Assertions, st.text(), st.text(), st.booleans()),
        min_size=1,
    ).map(tuple),
    limits=st.builds(Limits, cpu=st.floats(0.1, 99), wall=st.none() | st.floats(0.1, 99)),
    prefix=st.text(),
    pool=st.sampled_from(["auto", "lean", "scientific"]),
    isolation=st.sampled_from(["program", "test"]),
    stop_at_fault=st.booleans(),
)


@given(programs)
def test_a_program_crosses_as_json(program: Program):
    assert program_of(json.loads(json.dumps(program_to(program)))) == program


@given(
    st.builds(
        Run, status=st.just("OK"), stdout=st.binary(), cpu=st.floats(0, 9), weak=st.booleans()
    )
)
def test_a_run_crosses_as_json(run: Run):
    assert run_of(json.loads(json.dumps(run_to(run, 3))), 3) == run
    with pytest.raises(BadReply):
        run_of(run_to(run, 3), 2)


@pytest.mark.parametrize(
    "said",
    [
        None, 3, [], {}, {"source": ""}, {"source": "", "tests": []}, {"source": 3, "tests": [1]},
        {"source": "", "tests": [{"kind": "other"}]}, {"source": "", "tests": [{"kind": "stdin"}]},
        {"source": "", "tests": [{"kind": "stdin", "text": 3}]},
        {"source": "", "tests": [{"kind": "stdin", "text": ""}], "limits": {"cpu": "x"}},
        {"source": "", "tests": [{"kind": "stdin", "text": ""}], "limits": {"unknown": 1}},
        {"source": "", "tests": [{"kind": "stdin", "text": ""}], "pool": "other"},
        {"source": "", "tests": [{"kind": "call", "name": "f", "arguments": "{"}]},
    ],
)  # fmt: skip
def test_what_is_no_program_is_refused(said: Any):
    with pytest.raises(BadProgram):
        program_of(said)


@pytest.mark.parametrize(
    ("source", "pool"),
    [
        ("import numpy as np", "scientific"),
        ("from pandas import DataFrame", "scientific"),
        ("import math  # numpyish", "lean"),
        ("x = 'sympy'", "scientific"),
    ],
)
def test_the_pool_is_chosen_by_the_names_in_the_text(source: str, pool: str):
    assert pool_of(stdin(source)) == pool
    assert pool_of(stdin(source, pool="lean")) == "lean"


def test_frames_cross_a_pipe_whole():
    inbound, outbound = os.pipe()
    value = {"text": "x" * 300_000, "n": [1, None]}
    thread = threading.Thread(target=frames.send, args=(outbound, value))
    thread.start()
    assert frames.receive(inbound) == value
    thread.join()
    os.write(outbound, b"\x00\x00\x00\x09{")
    os.close(outbound)
    with pytest.raises(frames.BadFrame, match="ended"):
        frames.receive(inbound)
    with pytest.raises(EOFError):
        frames.receive(inbound)
    os.close(inbound)
