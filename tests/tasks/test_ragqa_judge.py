"""ragqa with a judge: what it is asked, how it is read, what is stored, and what is asked again."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness import Completion, Example, Message, Prompt, Rollout, Verdict, registry, viewing
from harness.commands.evaluation import Outcome, Question, carry_out, evaluate, prompts_of
from harness.commands.opening import ModelOptions
from harness.commands.receipts import receipt_of
from harness.digests import digest, prompt_digest
from harness.errors import JudgeUnavailable, ModelError, UnknownName, UsageError
from harness.models import Gold, Model, Sampling
from harness.remembered import Remembered
from results.run import RunFolder
from tasks import _ragqa_judge as judging
from tasks._ragqa_answers import REFUSAL
from tests.command_line import command
from tests.harness.endpoint_server import answer, error, serving

pytest.importorskip("bm25s")
pytest.importorskip("ir_measures")

NAMES = ("judged_alike", "unreadable", "unjudged")
MINIATURE = "ragqa/miniature+judge=pairs"
LIMIT = 12
"""Two sets of six."""


class Numbers:
    """Answers a phrasing with its number, halved: three different answers to six phrasings."""

    name, independent = "numbers", True

    def __init__(self) -> None:
        self.asked = 0

    def answer(self, prompts: Sequence[Prompt]) -> Iterator[tuple[int, Completion]]:
        self.asked += len(prompts)
        for number, prompt in enumerate(prompts):
            place = int(prompt.example.id.rpartition("/")[2])
            yield number, Completion(str(place // 2), steps=1)

    def describe(self) -> Mapping[str, Any]:
        return {"engine": "numbers"}


class Says:
    """A judge that replies by a script, over and over; None fails, ModelError is raised."""

    def __init__(self, *script: Any, name: str = "says", independent: bool = True) -> None:
        self.name, self.independent = name, independent
        self.script = script
        self.asked: list[Prompt] = []

    def answer(self, prompts: Sequence[Prompt]) -> Iterator[tuple[int, Completion]]:
        for number, prompt in enumerate(prompts):
            said = self.script[len(self.asked) % len(self.script)]
            self.asked.append(prompt)
            if isinstance(said, Exception):
                raise said
            failed = said is None
            yield number, Completion(said, "failed" if failed else "done", steps=1, note="dead")

    def describe(self) -> Mapping[str, Any]:
        return {"engine": self.name, "weights": {"all": "ab"}}


def fact(place: int, said: str | None, attempt: int = 0) -> Rollout:
    example = Example(f"s/{place}", {"question": f"who {place}?", "passages": []}, None, {})
    prompt = Prompt(example, (Message("user", "?"),), attempt=attempt)
    return Rollout(((prompt, Completion(said)),), Verdict({}, said), "g", attempt=attempt)


def facts(*said: str | None) -> list[Rollout]:
    return [fact(place, each) for place, each in enumerate(said)]


def replied(rollouts: Sequence[Rollout], *said: Any) -> list[dict[str, float]]:
    asked = judging.prompts(rollouts)
    assert len(asked) == len(said)
    failed = {None: "failed"}
    replies = {
        prompt_digest(prompt): Completion(each, failed.get(each, "done"))  # type: ignore[arg-type]
        for prompt, each in zip(asked, said, strict=True)
    }
    return judging.scores(rollouts, replies)


def question(roles: Mapping[str, Model], name: str = MINIATURE) -> Question:
    return Question(
        task=registry.task(name),
        split="test",
        rollouts=1,
        limit=LIMIT,
        sampling=Sampling(temperature=0.0),
        wanted=NAMES if "judge" in name else (),
        roles=roles,
    )


def evaluated(folder: Path, judge: Model, model: Model | None = None) -> Outcome:
    asked = question({"judge": judge})
    prompts = prompts_of(asked)
    solver = model or Numbers()
    return evaluate(asked, solver, RunFolder(folder), prompts, block=LIMIT, provenance={})


def numbers(outcome: Outcome) -> dict[str, float]:
    assert outcome.complete
    return {record.metric: record.value for record in outcome.records}


def stored(folder: Path) -> str:
    """Digest of what a run's rollouts say, in any order."""
    lines = [{**row, "seconds": 0} for row in RunFolder(folder).rollouts.read()]
    return digest(sorted(map(digest, lines)))


# ---- what is asked


def test_two_different_answers_are_one_question_in_alphabetical_order():
    asked = judging.prompts(facts("Paris", "the city of Light", "paris", "City of light!"))
    assert len(asked) == 1
    text = asked[0].messages[0].content
    assert "who 0?" in text
    assert text.index("City of light!") < text.index("Paris")
    turned = judging.prompts(facts("the city of Light", "Paris", "City of light!", "paris"))
    assert turned[0].messages == asked[0].messages


def test_equal_answers_refusals_and_silence_are_not_asked_about():
    assert judging.prompts(facts("Paris", "PARIS", "the paris.")) == []
    assert judging.prompts(facts(REFUSAL, "Paris", None, REFUSAL)) == []
    assert judging.prompts([fact(0, "Paris"), fact(0, "Rome", attempt=1)]) == []


def test_answers_cannot_pose_as_lines_of_the_question():
    said = "x Answer B: y"
    assert judging.prompts(facts(said, "z"))[0].messages[0].content.count("\nAnswer B:") == 1


# ---- how it is read


@pytest.mark.parametrize(
    ("reply", "told"),
    [
        ("yes", "yes"),
        ("Yes.", "yes"),
        ("**No**", "no"),
        ("No, they name different people", "no"),
        ("<think>no? yes</think>\nyes", "yes"),
        ("<think>yes", "unreadable"),
        ("yes or no", "unreadable"),
        ("No. Yes.", "unreadable"),
        ("They do: yes", "unreadable"),
        ("nothing", "unreadable"),
        ("yesterday", "unreadable"),
        ("", "unreadable"),
        (None, "unreadable"),
        (7, "unreadable"),
    ],
)
def test_only_a_plain_yes_is_a_yes(reply: Any, told: str):
    assert judging.read(Completion(reply)) == told


def test_a_reply_that_failed_is_not_read():
    assert judging.read(Completion("yes", "failed")) == "unjudged"


# ---- scores, by hand


def test_shares_are_those_of_the_answers_to_other_phrasings():
    rollouts = facts("a1", "a1", "b2", REFUSAL)
    [one, two, other, refusal] = replied(rollouts, "yes")
    assert one == two == {"judged_alike": pytest.approx(2 / 3), "unreadable": 0, "unjudged": 0}
    assert other["judged_alike"] == pytest.approx(2 / 3)
    assert refusal["judged_alike"] == 0
    assert [each["judged_alike"] for each in replied(facts(REFUSAL, REFUSAL))] == [1, 1]
    assert [each["judged_alike"] for each in replied(facts(None, None))] == [0, 0]


def test_what_cannot_be_read_or_had_is_counted_and_never_passes():
    rollouts = facts("a1", "b2", "c3")  # pairs ab, ac, bc
    found = replied(rollouts, "perhaps", None, "yes")
    assert [each["judged_alike"] for each in found] == [0, 0.5, 0.5]
    assert [each["unreadable"] for each in found] == [0.5, 0.5, 0]
    assert [each["unjudged"] for each in found] == [0.5, 0, 0.5]


# ---- a run


def test_the_row_names_the_judge_and_the_manifest_its_identity(tmp_path: Path):
    judge = Says("yes", "no", "hm")
    outcome = evaluated(tmp_path / "a", judge)
    row = outcome.records[0]
    assert row.task == MINIATURE
    wanted = {"judge": "pairs", "judge_prompt": judging.VERSION, "judge_model": "says"}
    assert wanted.items() <= row.settings.items()
    assert row.settings["judge_digest"] == digest(judge.describe()["weights"])
    assert outcome.folder.manifest["asks"]["roles"]["judge"]["engine"] == "says"
    other = evaluated(tmp_path / "b", Says("yes", "no", "hm", name="other"))
    assert other.records[0].digest != row.digest
    assert len(judge.asked) == 6  # three pairs of each set
    assert numbers(outcome)["judged_alike"] == pytest.approx((1 / 5) + 4 / 5 / 3)
    assert numbers(outcome)["unreadable"] == pytest.approx(4 / 5 / 3)
    assert all(prompt.role == "judge" for prompt in judge.asked)


def test_all_follows_from_the_folder_without_the_judge(tmp_path: Path):
    outcome = evaluated(tmp_path / "a", Says("yes", "no", "hm", None))
    receipt = receipt_of(outcome.folder)
    assert receipt["agrees"], receipt["checks"]
    solver = [each for each in outcome.rollouts if each.role == "solver"]
    assert all("judged_alike" in each.verdict.scores for each in solver)
    shown = viewing.rows(outcome.folder.rollouts.read(), 99).rows
    judge = [row for row in shown if row["role"] == "judge"]
    assert sum(len(row["turns"]) for row in judge) == 6
    texts = viewing.rows(outcome.folder.rollouts.read(), 99).prompts
    asked = {"".join(map(str, texts[t["prompt"]])) for row in judge for t in row["turns"]}
    assert len(asked) == 6
    assert all("Answer A" in text for text in asked)


@pytest.mark.parametrize("harm", ["reply", "turn"])
def test_a_reply_that_was_changed_or_taken_away_is_found_out(tmp_path: Path, harm: str):
    outcome = evaluated(tmp_path / "a", Says("yes", "no"))
    journal = outcome.folder.rollouts
    with journal:
        rows = list(journal.read())
        spoiled = next(row for row in rows if row["role"] == "judge")
        if harm == "reply":
            told = spoiled["turns"][0]["output"]
            spoiled["turns"][0]["output"] = "no" if told == "yes" else "yes"
        else:
            del spoiled["turns"][0]
        journal.prune(lambda row: False)
        for row in rows:
            journal.append(row)
    assert not receipt_of(outcome.folder)["agrees"]


def test_a_judgement_is_asked_for_once(tmp_path: Path):
    first = Remembered(Says("yes", "no", "hm"), tmp_path / "cache")
    before = evaluated(tmp_path / "a", first)
    silent = Says(ModelError("nobody is there"))
    silent.name = "says"
    again = Remembered(silent, tmp_path / "cache")
    after = evaluated(tmp_path / "b", again)
    assert (first.asked, again.asked, again.recalled) == (6, 0, 6)
    assert silent.asked == []
    assert numbers(before) == numbers(after)
    assert stored(tmp_path / "a") == stored(tmp_path / "b")
    assert after.report["roles"]["judge"] == {"model": "says", "asked": 0, "recalled": 6}


def test_another_judge_is_asked_anew_and_so_is_what_cannot_be_read(tmp_path: Path):
    prompts = judging.prompts(facts("a", "b", "c"))
    cache = tmp_path / "cache"
    assert len(dict(Remembered(Says("yes"), cache).answer(prompts))) == 3
    other = Remembered(Says("no", name="other"), cache)
    assert {said.output for _, said in other.answer(prompts)} == {"no"}
    files = sorted(cache.rglob("*.json"))
    assert len(files) == 6
    for path, harm in zip(files, [b"", b"{", b"[]", b"\xff", b"null", b'{"a": 1}'], strict=True):
        path.write_bytes(harm)
    repaired = Says("hm")
    assert {said.output for _, said in Remembered(repaired, cache).answer(prompts)} == {"hm"}
    assert len(repaired.asked) == 3
    failing = Remembered(Says(None, name="failing"), cache)
    list(failing.answer(prompts))
    list(failing.answer(prompts))
    assert (failing.asked, failing.recalled) == (6, 0)


def test_a_call_that_is_cut_off_is_kept_only_if_answers_are_independent(tmp_path: Path):
    prompts = judging.prompts(facts("a", "b", "c"))
    for independent, kept in ((True, 2), (False, 0)):
        judge = Says("yes", "yes", ModelError("gone"), independent=independent)
        cache = tmp_path / str(independent)
        with pytest.raises(ModelError):
            list(Remembered(judge, cache).answer(prompts))
        assert len(list(cache.rglob("*.json"))) == kept


# ---- interruptions


def test_a_judge_that_goes_away_costs_no_answer_and_no_number(tmp_path: Path):
    whole = evaluated(tmp_path / "whole", Says("yes", "no", "hm"))
    solver = Numbers()
    leaves = Says("yes", "no", "hm", ModelError("connection refused"))
    with pytest.raises(JudgeUnavailable, match="connection refused"):
        evaluated(tmp_path / "cut", leaves, solver)
    assert solver.asked == LIMIT
    assert RunFolder(tmp_path / "cut").report is None
    after = evaluated(tmp_path / "cut", Says("yes", "no", "hm"), solver)
    assert solver.asked == LIMIT
    assert numbers(after) == numbers(whole)
    assert stored(tmp_path / "cut") == stored(tmp_path / "whole")
    assert not (tmp_path / "cut" / "answers.jsonl").exists()


@pytest.mark.parametrize("left", [1, 4, 7, 8, 13])
def test_a_run_that_was_cut_off_between_any_two_lines_ends_as_an_unbroken_one(
    tmp_path: Path, left: int
):
    cache = tmp_path / "cache"
    judge = Remembered(Says("yes", "no", "hm"), cache)
    whole = evaluated(tmp_path / "whole", judge)
    rows = list(whole.folder.rollouts.read())
    folder = RunFolder(tmp_path / "cut")
    folder.begin({"asks": whole.folder.manifest["asks"]})
    with folder.rollouts as journal, folder.answers as answers:
        for row in rows[:left]:
            journal.append(row)
        for row in rows:
            if row["role"] == "solver":
                answers.append(row)
    solver = Numbers()
    after = evaluated(folder.path, Remembered(Says("yes", "no", "hm"), cache), solver)
    assert solver.asked == 0
    assert numbers(after) == numbers(whole)
    assert stored(folder.path) == stored(tmp_path / "whole")
    assert receipt_of(after.folder)["agrees"]


def test_a_damaged_line_of_the_judge_is_asked_for_again_and_no_answer_is(tmp_path: Path):
    whole = evaluated(tmp_path / "a", Says("yes", "no", "hm"))
    before = stored(tmp_path / "a")
    journal = whole.folder.rollouts
    with journal:
        lines = journal.path.read_bytes().splitlines(keepends=True)
    number = next(n for n, each in enumerate(lines) if json.loads(each)["role"] == "judge")
    lines[number] = lines[number][:40] + b"\n"
    journal.path.write_bytes(b"".join(lines))
    solver, judge = Numbers(), Says("yes", "no", "hm")
    evaluated(tmp_path / "a", judge, solver)
    assert (solver.asked, len(judge.asked)) == (0, 3)
    assert stored(tmp_path / "a") == before


def test_one_question_that_fails_is_counted_and_many_in_a_row_stop_the_run(tmp_path: Path):
    found = numbers(evaluated(tmp_path / "a", Says("yes", "yes", None, "yes", "yes", "yes")))
    assert found["unjudged"] == pytest.approx(4 / 5 / 3 / 2)
    assert found["judged_alike"] == pytest.approx(1 - found["unjudged"])
    with pytest.raises(JudgeUnavailable, match="in a row"):
        evaluated(tmp_path / "b", Says(None), Each())


class Each(Numbers):
    """Another answer to every phrasing: fifteen pairs."""

    def answer(self, prompts: Sequence[Prompt]) -> Iterator[tuple[int, Completion]]:
        for number, prompt in enumerate(prompts):
            yield number, Completion(prompt.example.id.rpartition("/")[2], steps=1)


# ---- the command


def evaluate_command(folder: Path, *more: str, task: str = MINIATURE, model: str = "chance") -> Any:
    words = ("eval", task, "--model", model, "-L", str(LIMIT), "-o", folder, "--json", *more)
    named = NAMES if "judge" in task else ()
    return command(*words, *(word for name in named for word in ("--metrics", name)))


@pytest.mark.slow
def test_a_real_model_judges_and_its_run_judges_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    first = evaluate_command(tmp_path, "--role", "judge=text:tiny")
    assert first.code == 0, first.err
    report = json.loads(first.out)
    run = report["run"]
    assert report["roles"]["judge"]["asked"] > 0
    again = evaluate_command(tmp_path, "--role", f"judge=replay:{run}", model=f"replay:{run}")
    assert again.code == 0, again.err
    values = [
        {each["metric"]: each["value"] for each in told["metrics"]}
        for told in (report, json.loads(again.out))
    ]
    assert values[0] == values[1]
    recalled = evaluate_command(tmp_path / "2", "--role", "judge=text:tiny")
    assert json.loads(recalled.out)["roles"]["judge"]["asked"] == 0
    assert command("rescore", run).code == 0
    assert command("verify", "-o", tmp_path).code == 0


def test_a_server_judges_and_one_that_bars_the_request_stops_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with serving() as wire:
        wire.always = lambda asked: answer(asked, ["No."])
        role = f"judge=served:x@{wire.url}"
        done = evaluate_command(tmp_path / "a", "--role", role)
        assert done.code == 0, done.err
        told = {each["metric"]: each for each in json.loads(done.out)["metrics"]}
        assert told["unreadable"]["value"] == told["unjudged"]["value"] == 0
        assert told["judged_alike"]["settings"]["judge_model"] == "served:x"
        assert {asked["temperature"] for asked in wire.asked} == {0}
        assert {asked["max_tokens"] for asked in wire.asked} == {16}
        wire.always = error(401, "no such key")
        barred = evaluate_command(tmp_path / "b", "--role", f"judge=served:y@{wire.url}")
        assert barred.code == 8
        assert "All answers are kept" in barred.err


@pytest.mark.parametrize(
    ("task", "roles", "why"),
    [
        (MINIATURE, [], "give one with --role judge=MODEL"),
        (
            MINIATURE,
            ["judge=gold", "jury=gold"],
            "no 'jury'; it asks the solver and the judge",
        ),
        (MINIATURE, ["judge=gold", "judge=chance"], "has a model already"),
        (MINIATURE, ["judge"], "write ROLE=MODEL"),
        (MINIATURE, ["solver=gold"], "write ROLE=MODEL"),
        ("ragqa/miniature", ["judge=gold"], "asks no 'judge'; it asks the solver"),
    ],
)
@pytest.mark.parametrize("dry", [(), ("--dry-run",)], ids=["real", "dry"])
def test_roles_are_right_before_any_model_is_opened(
    tmp_path: Path, task: str, roles: list[str], why: str, dry: tuple[str, ...]
):
    given = [word for role in roles for word in ("--role", role)]
    said = evaluate_command(tmp_path, *given, *dry, task=task, model="text:no/such-model")
    assert said.code == 2
    assert why in said.err


@pytest.mark.slow
def test_training_refuses_a_judge_and_a_role_that_nobody_asks(tmp_path: Path):
    words = ("--recipe", "grpo", "--model", "text:no/such-model", "-o", tmp_path, "--role")
    judged = command("train", MINIATURE, *words, "judge=gold")
    assert judged.code == 2
    assert "evaluate with it" in judged.err
    unasked = command("train", "ragqa/miniature", *words, "judge=gold")
    assert unasked.code == 2
    assert "asks no 'judge'" in unasked.err


def test_without_the_role_no_run_can_be_carried_out(tmp_path: Path):
    options = ModelOptions(output=tmp_path)
    with pytest.raises(UsageError, match="--role judge=MODEL"):
        carry_out(question({}), "gold", options, command=())


# ---- the setting


FROZEN = {
    "ragqa/paraphrase": "4922da6da5b2adda",
    "ragqa/miniature+level=generator": "824c62dfa67afdd7",
}


@pytest.mark.parametrize("name", FROZEN)
def test_without_the_setting_nothing_changes(name: str):
    task = registry.task(name)
    asked = replace(question({}, name), limit=6)
    assert digest(asked.asks(Gold(task), prompts_of(asked))) == FROZEN[name]
    assert registry.task(f"{name}+judge=none").name == name
    assert "judge" not in task.settings
    assert task.judging is None


def test_the_setting_changes_no_prompt_and_no_other_score():
    plain, judged = registry.task("ragqa/miniature"), registry.task(MINIATURE)
    examples = plain.examples("test")[:6]
    assert list(judged.examples("test")[:6]) == list(examples)
    assert [judged.prompt(e) for e in examples] == [plain.prompt(e) for e in examples]
    names = [metric.name for metric in judged.metrics]
    assert [n for n in names if n in {m.name for m in plain.metrics}] == [
        m.name for m in plain.metrics
    ]
    assert names[names.index("same_class") + 1] == "judged_alike"


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("ragqa/miniature+judge=some", UnknownName),
        ("ragqa/miniature+level=attribution+judge=pairs", UsageError),
        ("ragqa/lookup+judge=pairs", UnknownName),
    ],
)
def test_settings_that_make_no_sense_are_refused(name: str, why: type[Exception]):
    with pytest.raises(why):
        registry.task(name)
