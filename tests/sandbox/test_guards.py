"""What keeps strangers' programs in a box, and a verdict what it says it is."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sandbox import frames, identity, wire
from sandbox.comparators import comparator
from sandbox.errors import BadProgram, BadSpec, SandboxUnavailable
from sandbox.fleet import Patience
from sandbox.inside.seen import Seen
from sandbox.judge import MODES, Case, Mode, Submission, judge_one, verdict
from sandbox.local import LocalBackend
from sandbox.open import BACKENDS, open_backend, read
from sandbox.protocol import longest_reply, reply_to
from sandbox.remote import open_remote
from sandbox.routes import application
from sandbox.session import Session, environment
from sandbox.types import (
    UNSAFE,
    Backend,
    Call,
    Capabilities,
    Limits,
    Program,
    Result,
    Run,
    Stdin,
)
from sandbox.unsafe import UnsafeBackend
from tests.command_line import command
from tests.sandbox.services import ABLE, TOKEN, Scripted, says, served

ACCEPT = "--i-accept-unsandboxed-code"
ONE = Submission(source="print(1)", cases=(Case(Stdin(""), "1"),))
WRONG = (
    *("foo", "", ":", "Local", "local:", "local:2", "docker:", "remote", "remote:", "remote:,"),
    *("remote:http://", "remote:ftp://host", "remote:http://a:99999", "remote:http://[", "piston"),
    *("sandboxfusion", f"{UNSAFE}:", f"{UNSAFE}:2", f" {UNSAFE}"),
)


@pytest.fixture(scope="module")
def local() -> Iterator[Backend]:
    with LocalBackend(1) as backend:
        if not backend.capabilities().usable:
            pytest.skip(f"no local sandbox: {backend.capabilities().missing}")
        yield backend


# -- names


@pytest.mark.parametrize("accepted", [False, True])
@pytest.mark.parametrize("spec", WRONG)
def test_a_spec_that_names_no_backend_is_refused_and_told_how_it_is_written(
    spec: str, accepted: bool
):
    with pytest.raises(BadSpec, match=r"there are: local|write \w|looks like"):
        open_backend(spec, accepted=accepted)


def test_every_backend_can_be_named():
    for name, maker in BACKENDS.items():
        spec = f"{name}:http://127.0.0.1:1" if maker.needed else name
        assert read(spec, accepted=True)[0] == name
    assert read("docker:mine:3") == ("docker", "mine:3")


@pytest.mark.parametrize("spec", ["foo", "local:2", "remote", f"{UNSAFE}:"])
@pytest.mark.parametrize("words", ["eval coding/generated", "train coding/generated --recipe grpo"])
def test_a_wrong_spec_ends_a_command_before_its_model_is_opened(
    words: str, spec: str, tmp_path: Path
):
    end = ("--sandbox", spec, "-o", tmp_path, "--model", f"text:{tmp_path}/none")
    said = command(*words.split(), *end)
    assert (said.code, "no sandbox" in said.err) == (2, True), said.err


# -- what does not isolate


def test_without_isolation_nothing_is_opened_unless_that_was_accepted():
    with pytest.raises(SandboxUnavailable, match=ACCEPT):
        open_backend(UNSAFE)
    with pytest.raises(SandboxUnavailable, match=ACCEPT):
        Session(spec=UNSAFE).judged(ONE)
    open_backend(UNSAFE, accepted=True).close()


def test_training_cannot_accept_it(tmp_path: Path):
    words = ("train", "coding/generated", "--recipe", "grpo", "--model", "text:tiny")
    said = command(*words, "--sandbox", UNSAFE, "-o", tmp_path)
    assert (said.code, ACCEPT in said.err) == (8, True)


class Says:
    """A backend that is whatever it says."""

    name = "says"

    def __init__(self, known: Capabilities) -> None:
        self.known, self.asked = known, 0

    def capabilities(self) -> Capabilities:
        return self.known

    def run(self, programs: Sequence[Program]) -> Iterator[tuple[int, Result]]:
        for number, _ in enumerate(programs):
            self.asked += 1
            yield number, Result((Run("OK", b"1"),), self.name, (), "")

    def close(self) -> None:
        pass


KNOWN = Capabilities("local", True, {"seccomp": "on", "cgroup": "on"}, (), "cpython-3", build="b")


def test_the_mark_follows_what_a_backend_says_of_itself_and_not_its_name():
    mine = Session(opener=lambda _: Says(replace(KNOWN, backend=UNSAFE)))
    assert not mine.unsafe
    with pytest.raises(SandboxUnavailable, match="not accepted"):
        mine.judged(ONE)
    mine.accepted = True
    assert mine.judged(ONE).outcome == "AC"
    assert mine.unsafe


def test_the_command_runs_a_program_without_isolation_only_where_that_was_accepted(tmp_path: Path):
    program, trace = tmp_path / "program.py", tmp_path / "trace"
    program.write_text(f"open({str(trace)!r}, 'x'); print('ran')")
    words = ("sandbox", "run", program, "--backend", UNSAFE)
    said = command(*words)
    assert (said.code, ACCEPT in said.err, trace.exists()) == (8, True, False)
    assert command("sandbox", "check", "--backend", UNSAFE).code == 8
    program.write_text("print('ran')")
    assert "ran" in command(*words, ACCEPT).out


def test_it_is_never_served(tmp_path: Path):
    token = tmp_path / "token"
    said = command("sandbox", "serve", "--backend", UNSAFE, "--token-file", token)
    assert (said.code, token.exists()) == (8, False)
    assert command("sandbox", "serve", "--backend", UNSAFE, ACCEPT).code == 2
    backend = UnsafeBackend(1)
    try:
        with pytest.raises(SandboxUnavailable, match=UNSAFE):
            application(backend, TOKEN)
    finally:
        backend.close()


UNFIT: dict[str, tuple[dict[str, Any], str]] = {
    "unsafe": ({"backend": UNSAFE}, "isolates nothing"),
    "no layers": ({"layers": {}}, "seccomp: unknown"),
    "limits only": ({"layers": {"rlimits": "on", "seccomp": "off"}}, "seccomp: off"),
    "files seen": ({"layers": {**ABLE["layers"], "landlock": "Linux 4"}}, "landlock: Linux 4"),
}


@pytest.mark.parametrize("way", UNFIT)
def test_no_program_is_sent_to_a_service_that_does_not_isolate(way: str):
    change, told = UNFIT[way]
    good, bad = Scripted(ABLE, [says()]), Scripted({**ABLE, **change}, [says()])
    with served(good.app()) as one, served(bad.app()) as other:
        for urls in (other, f"{one},{other}"):
            with (
                open_remote(urls, token=TOKEN) as client,
                pytest.raises(SandboxUnavailable, match=told),
            ):
                client.run([Program("print(42)", (Stdin(""),))])
    assert not good.ids
    assert not bad.ids


def test_a_result_that_was_run_without_isolation_is_no_result():
    scripted = Scripted(ABLE, [says(backend=UNSAFE)])
    with served(scripted.app()) as url, open_remote(url, token=TOKEN) as client:
        [(_, result)] = client.run([Program("print(42)", (Stdin(""),))])
    assert [run.status for run in result.runs] == ["SE"]


# -- output


@pytest.mark.parametrize("mode", MODES)
def test_a_program_cannot_choose_to_be_a_fault_of_the_machinery(local: Backend, mode: Mode):
    source = (
        "import os\nb = bytes(range(128, 256)) * 8192\nfor _ in range(50):\n    os.write(1, b)\n"
    )
    found = judge_one(local, Submission(source=source, cases=ONE.cases * 64, mode=mode))
    assert (found.outcome, found.first) == ("OLE", 0)


def test_a_frame_holds_whatever_the_limits_admit():
    assert (
        max(len(frames.packed(bytes([n]).decode("latin-1"))) - 2 for n in range(256)) == wire.GROWTH
    )
    assert len(frames.packed("\ufffd")) - 2 == wire.GROWTH
    most = wire.GROWTH * (wire.STDOUT + wire.STDERR + 2 * wire.HELD)
    assert most < frames.LARGEST - (1 << 20)
    seen = Seen("OLE")
    seen.stdout, seen.stderr = b"\xff" * 1000, b"\xff" * 1000
    assert len(frames.packed(seen.row(0))) < wire.GROWTH * 2000 + 200
    for name, limit in (("stdout", wire.STDOUT), ("stderr", wire.STDERR)):
        wire.check(Program("", (Stdin(""),), Limits(**{name: limit})))
        with pytest.raises(BadProgram, match=f"limits.{name} is at most"):
            wire.check(Program("", (Stdin(""),), Limits(**{name: limit + 1})))


def test_a_service_may_answer_with_all_that_a_program_printed():
    limits = Limits(stdout=3000, stderr=1000)
    program = Program("", (Stdin(""),) * 70, limits)
    run = Run("OK", b"\xff" * limits.stdout, stderr="\ufffd" * limits.stderr)
    assert len(reply_to("x" * 64, Result((run,) * 70, "local", (), ""))) < longest_reply(program)


@pytest.mark.parametrize("seconds", ["inf", "nan"])
def test_a_limit_of_time_is_finite(seconds: str):
    with pytest.raises(BadProgram, match="finite"):
        wire.check(Program("", (Stdin(""),), Limits(cpu=float(seconds))))


# -- how many at once, and what a kept verdict follows from


def test_as_many_programs_are_judged_at_once_as_the_backend_has_room_for(local: Backend):
    assert Session(opener=lambda _: LocalBackend(5)).at_once() == 10
    assert Session(opener=lambda _: Says(replace(KNOWN, workers=1))).at_once() == 2
    scripted = Scripted({**ABLE, "workers": 7}, [says()])
    for most, wanted in ((4, 8), (32, 14)):
        with served(scripted.app()) as one, served(scripted.app()) as two:
            patience = Patience(at_once=most)
            with open_remote(f"{one},{two}", token=TOKEN, patience=patience) as client:
                assert client.capabilities().workers == wanted


CHANGES: dict[str, dict[str, Any]] = {
    "backend": {"backend": "docker"},
    "interpreter": {"interpreter": "cpython-4"},
    "layers": {"layers": {"seccomp": "on", "cgroup": "off"}},
    "packages": {"build": "c"},
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_kept_verdict_is_that_of_one_box(change: str, tmp_path: Path):
    first, other = Says(KNOWN), Says(replace(KNOWN, **CHANGES[change]))
    for backend in (first, first, other):
        Session(opener=lambda _, to=backend: to, folder=tmp_path).judged(ONE)
    assert (first.asked, other.asked) == (1, 1)


def test_a_kept_verdict_is_that_of_one_judge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    backend = Says(KNOWN)
    Session(opener=lambda _: backend, folder=tmp_path).judged(ONE)
    monkeypatch.setattr(identity, "sources", lambda: "another judge")
    Session(opener=lambda _: backend, folder=tmp_path).judged(ONE)
    assert backend.asked == 2


def test_any_change_of_the_judge_s_text_makes_it_another_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "inside").mkdir()
    file = tmp_path / "inside" / "rule.py"
    monkeypatch.setattr(identity, "ROOM", tmp_path)
    found: set[str] = set()
    for text in ("a = 1\n", "a = 2\n", "a = 2\n"):
        file.write_text(text)
        found.add(identity.sources.__wrapped__())
    assert len(found) == 2
    monkeypatch.undo()
    assert identity.sources() in identity.build()
    assert json.loads(environment(KNOWN))[-1] == identity.sources()


# -- types that JSON does not show


@pytest.mark.parametrize("text", ["[(1, 2)]", "[{1: 2}]"])
def test_strict_takes_no_tuple_for_a_list_and_no_number_for_a_key(local: Backend, text: str):
    expected = {"[(1, 2)]": "[[1, 2]]", "[{1: 2}]": '[{"1": 2}]'}[text]
    found = {
        rule: judge_one(
            local,
            Submission(
                source=f"def f():\n    return {value}\n",
                cases=(Case(Call("f", ()), expected),),
                comparator=rule,
            ),
        ).outcome
        for rule, value in (("strict", text), ("tokens", text), ("lenient", text))
    }
    assert found == {"strict": "WA", "tokens": "AC", "lenient": "AC"}
    same = Run("OK", value=expected)
    assert verdict(Case(Call("f", ()), expected), same, comparator("strict"))[0] == "AC"


# -- flags


@pytest.mark.parametrize(
    "words",
    [
        "run x.py --token-file x",
        "run x.py --port 8787",
        "run x.py --scientific",
        "check x.py",
        "check --seconds 3",
        "image --backend docker",
        "image --workers 2",
        "serve --stdin x",
        f"serve {ACCEPT}",
    ],
)
def test_a_flag_of_another_action_is_refused_and_not_ignored(words: str):
    said = command("sandbox", *words.split())
    assert (said.code, "has no use for" in said.err) == (2, True), said.err
