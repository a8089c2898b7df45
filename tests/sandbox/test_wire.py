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
from sandbox.inside.seen import Seen
from sandbox.pool import Gate, Workers
from sandbox.types import Assertions, Call, Limits, Program, Run, Stdin
from sandbox.wire import ROW, BadReply, pool_of, program_of, program_to, run_in, run_of, run_to
from sandbox.worker import Broken, Worker
from tests.sandbox.boxes import stdin

READY = {"ready": {"layers": {"seccomp": "on"}, "interpreter": "x", "modules": []}}


def row(run: Run, index: int = 0, /, **other: Any) -> list[Any]:
    """What a box tells of a run, with values that are other than the run's."""
    times = {"cpu": round(run.cpu * 1e6), "wall": round(run.wall * 1e6)}
    told = {**run_to(run, index), **times, **other}
    return [told[name] for name in ROW]


FINE = Run("OK", stdout=b"3\n")


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
    assert asked(ended(row(FINE))) == [FINE]


def test_answers_may_come_in_one_frame_or_in_several():
    first, second = row(FINE), row(FINE, 1)
    both = asked(ended(first, second), tests=2)
    assert both == asked({"runs": [first]}, ended(second), tests=2) == [FINE, FINE]


def test_a_row_of_the_keeper_is_read_as_the_run_that_it_saw():
    seen = Seen("RE", "why")
    seen.stdout, seen.stderr, seen.value, seen.flattened = b"\xff\0", b"\xff", "[1]", "t"
    seen.cpu, seen.wall, seen.memory, seen.weak, seen.used = 0.25, 0.4999997, 1 << 40, True, False
    said = json.loads(json.dumps(seen.row(7)))
    run = Run("RE", b"\xff\0", "[1]", "t", "\ufffd", "why", 0.25, 0.5, 1 << 40, True)
    assert run_in(said, 7) == run
    assert said == row(run, 7)


def test_a_run_that_does_not_tell_of_its_process_is_taken_for_one_of_a_used_process():
    told = run_to(FINE, 0)
    assert run_of(told, 0) == FINE
    del told["used"]
    assert run_of(told, 0).used


WRONG: dict[str, list[Any]] = {
    "nothing": [],
    "no end": [{"runs": [row(FINE)]}],
    "an end that is none": [{"runs": [row(FINE)], "end": 1}],
    "end at once": [ended()],
    "end alone": [{"end": True}],
    "twice": [ended(row(FINE), row(FINE))],
    "twice, in two frames": [{"runs": [row(FINE)]}, ended(row(FINE))],
    "no row": [ended(1)],
    "an object": [ended(run_to(FINE, 0))],
    "no frame": [[1]],
    "no list": [{"runs": dict.fromkeys("01234567"), "end": True}],
    "fault": [{"runs": [], "fault": "x"}],
}
MISSHAPEN: dict[str, list[Any]] = {
    "a value is missing": row(FINE)[:-1],
    "a value too many": [*row(FINE), False],
    "another number": row(FINE, 1),
    "its number is a truth": row(FINE, run=False),
    "its number is a fraction": row(FINE, run=0.0),
    "unknown status": row(FINE, status="AC"),
    "status is no text": row(FINE, status=["OK"]),
    "no status": row(FINE, status=None),
    "output is no text": row(FINE, stdout=3),
    "output is no bytes": row(FINE, stdout="\u0663"),
    "error output is no text": row(FINE, stderr=None),
    "detail is no text": row(FINE, detail=["x"]),
    "what was flattened is no text": row(FINE, flattened=True),
    "negative time": row(FINE, cpu=-1),
    "time is not a number": row(FINE, cpu=float("nan")),
    "time is endless": row(FINE, wall=float("inf")),
    "time is true": row(FINE, wall=True),
    "time is text": row(FINE, wall="1"),
    "endless memory": row(FINE, memory=1e300),
    "value is a number": row(FINE, value=3),
    "weak is a number": row(FINE, weak=0),
    "used is a number": row(FINE, used=0),
}


@pytest.mark.parametrize("name", WRONG)
def test_any_other_answer_is_a_fault_of_the_machinery(name: str):
    with pytest.raises(Broken):
        asked(*WRONG[name])


@pytest.mark.parametrize("name", MISSHAPEN)
def test_a_row_of_which_anything_is_misshapen_is_no_run(name: str):
    with pytest.raises(Broken):
        asked(ended(MISSHAPEN[name]))
    if len(MISSHAPEN[name]) == len(ROW):  # nor is it where results cross as objects
        with pytest.raises(BadReply):
            run_of(dict(zip(ROW, MISSHAPEN[name], strict=True)), 0)


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
        boxes.append(Canned(READY, {"runs": [row(FINE)], "fault": "x"}))
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
    late = row(Run("TLE", cpu=0.4, wall=5.0))
    box = Canned(READY, ended(late), ended(row(FINE)))
    workers = Workers("canned", 1, lambda pool: Worker(box, {}))
    program = stdin("", limits=Limits(cpu=1.0))
    (result,) = dict(workers.run([program])).values()
    workers.close()
    assert [run.status for run in result.runs] == ["OK"]
    assert result.notes == ("test 0 was run again alone",)


@pytest.mark.parametrize(("cpu", "wall"), [(0.6, 5.0), (0.001, 5.0), (0.4, 4.9)])
def test_a_test_that_had_its_share_or_slept_is_not(cpu: float, wall: float):
    late = row(Run("TLE", cpu=cpu, wall=wall))
    workers = Workers("canned", 1, lambda pool: Worker(Canned(READY, ended(late)), {}))
    (result,) = dict(workers.run([stdin("", limits=Limits(cpu=1.0))])).values()
    workers.close()
    assert [run.status for run in result.runs] == ["TLE"]
    assert result.notes == ()


class Scripted(Canned):
    """A box that answers each job with the frames that are next, and notes what it was given."""

    def __init__(self, *answers: Any) -> None:
        super().__init__()
        self._answers = [READY, *answers]
        self.given: list[str] = []

    def write(self, data: bytes) -> None:
        told = frames.unpack(data[4:])
        self.given += [told["source"]] if told else []
        answer = self._answers.pop(0)
        for each in answer if isinstance(answer, list) else [answer]:
            self._said += each if isinstance(each, bytes) else frames.pack(each)


def numbered(count: int) -> list[Program]:
    return [stdin(f"# {number}", limits=Limits(cpu=1.0)) for number in range(count)]


def test_a_box_works_on_the_next_program_while_its_results_are_read():
    given: list[list[str]] = []
    box = Scripted(*[ended(row(FINE))] * 3)
    workers = Workers("canned", 1, lambda pool: Worker(box, {}))

    def noted(run: Any) -> Any:
        given.append(list(box.given))
        return run

    results = workers.run(numbered(3))
    found = {index: noted(result).runs for index, result in results}
    workers.close()
    assert found == dict.fromkeys(range(3), (FINE,))
    assert box.given == ["# 0", "# 1", "# 2"]
    assert all(len(seen) >= min(3, done + 2) for done, seen in enumerate(given))


def test_what_was_given_ahead_to_a_box_that_breaks_is_done_by_another():
    late = row(Run("TLE", cpu=0.4, wall=5.0))
    boxes = [
        Scripted(ended(row(FINE, 9)), ended(row(FINE))),
        Scripted(*[ended(row(FINE))] * 2, ended(late), ended(row(FINE))),
    ]
    left = list(boxes)
    workers = Workers("canned", 1, lambda pool: Worker(left.pop(0), {}))
    found = dict(workers.run(numbered(3)))
    workers.close()
    assert [found[index].runs for index in range(3)] == [(FINE,)] * 3
    # the last needed the box alone: nothing that was given ahead is still inside
    assert [len(found[index].notes) for index in range(3)] == [1, 0, 1]
    assert boxes[0].given == ["# 0", "# 1"]
    assert boxes[1].given == ["# 0", "# 1", "# 2", "# 2"]
    assert [box.closed for box in boxes] == [1, 1]


@pytest.mark.parametrize("frame", ["one", "two"])
def test_nothing_is_given_ahead_where_a_test_may_have_to_be_run_again(frame: str):
    late = row(Run("TLE", cpu=0.4, wall=5.0))
    first = ended(late) if frame == "one" else [{"runs": [late]}, ended()]
    box = Scripted(first, ended(row(FINE)), ended(row(FINE)))
    workers = Workers("canned", 1, lambda pool: Worker(box, {}))
    found = dict(workers.run(numbered(2)))
    workers.close()
    assert [found[index].runs for index in range(2)] == [(FINE,)] * 2
    assert box.given == ["# 0", "# 0", "# 1"]


def test_a_box_that_hides_that_a_test_ran_out_of_time_is_ended():
    late = row(Run("TLE", cpu=0.4, wall=5.0))
    hidden = frames.packed(ended(late)).replace(b"TLE", b"\\u0054LE")
    boxes = [
        Scripted(frames.HEAD.pack(len(hidden)) + hidden, ended(row(FINE))),
        Scripted(*[ended(row(FINE))] * 2),
    ]
    left = list(boxes)
    workers = Workers("canned", 1, lambda pool: Worker(left.pop(0), {}))
    found = dict(workers.run(numbered(2)))
    workers.close()
    assert "hid it" in found[0].notes[0]
    assert found[1].runs == (FINE,)
    assert [box.closed for box in boxes] == [1, 1]


def test_alone_means_alone():
    gate, inside, most, alone = Gate(), 0, 0, []
    lock = threading.Lock()

    def shared() -> None:
        nonlocal inside, most
        for _ in range(200):
            gate.enter()
            times = 1 + gate.enter_again()
            with lock:
                inside += times
                most = max(most, inside)
            with lock:
                inside -= times
            for _ in range(times):
                gate.leave()

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
