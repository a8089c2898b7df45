"""The engine in this process: what stands together never shows in what is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Any

import pytest
import torch
from numpy.testing import assert_allclose

from harness.errors import UsageError
from harness.models import Sampling
from harness.types import Completion, Example, Message, Prompt, Rollout, Verdict
from trainers.engine import Drawn, Job
from trainers.policies.text import TextPolicy, open_text
from trainers.text import prefill, rolling, stream
from trainers.text.engine import TorchEngine, half_is_fast
from trainers.text.fused import Fused
from trainers.text.settings import LoRA, TextSettings
from trainers.text.stream import Limits, Stream, order, what_is_shared

SEED = torch.Generator().manual_seed(0)
WORDS = ("a", "Why?", "What is 12 + 30?", "Name a color.", "Count to twenty, and then back again")


def prompts(times: int, words: Sequence[str] = WORDS) -> list[Prompt]:
    return [
        Prompt(Example(word, {}, None), (Message("user", word),), attempt=attempt)
        for word in words
        for attempt in range(times)
    ]


def tiny(most: int = 40, **settings: Any) -> TextPolicy:
    return open_text("tiny", Sampling(max_tokens=most), **settings)


def fused(policy: TextPolicy) -> Fused:
    assert isinstance(policy._engine, TorchEngine)
    assert policy._engine.fused is not None
    return policy._engine.fused


def said(policy: TextPolicy, asked: Sequence[Prompt]) -> list[tuple[int, ...]]:
    answers = dict(policy.answer(asked))
    return [tuple(answers[number].trace["ids"]) for number in range(len(asked))]


def jobs(policy: TextPolicy, budgets: Sequence[int], prompt: str = "a") -> list[Job]:
    ids = tuple(policy.chat.ids(prompts(1, [prompt])[0]))
    return [Job(number, ids, budget, (number,)) for number, budget in enumerate(budgets)]


def jobs_of(policy: TextPolicy, asked: Sequence[Prompt]) -> list[Job]:
    told = [tuple(policy.chat.ids(prompt)) for prompt in asked]
    return [Job(number, ids, 5, (number,)) for number, ids in enumerate(told)]


@pytest.fixture(scope="module")
def alone() -> list[tuple[int, ...]]:
    """Each answer drawn by itself, through transformers' own forward."""
    policy = tiny(batch_size=1, fused=False)
    return [said(policy, [prompt])[0] for prompt in prompts(5)]


@pytest.mark.parametrize("rows", [1, 3, 8, 64])
def test_the_number_of_rows_does_not_show(rows: int, alone: list[tuple[int, ...]]):
    assert said(tiny(batch_size=rows), prompts(5)) == alone


def test_a_shuffled_list_gives_the_same_answers(alone: list[tuple[int, ...]]):
    order = torch.randperm(len(alone), generator=SEED).tolist()
    asked = prompts(5)
    found = said(tiny(batch_size=4), [asked[number] for number in order])
    assert found == [alone[number] for number in order]


def test_the_same_list_gives_the_same_bits():
    asked = prompts(6)
    first, again = (dict(tiny(batch_size=7).answer(asked)) for _ in range(2))
    for number in range(len(asked)):
        assert first[number] == again[number]
        assert (first[number].logprobs == again[number].logprobs).all()


def test_what_was_left_half_way_is_the_same_when_asked_again():
    policy, asked = tiny(batch_size=4), prompts(5)
    whole = dict(policy.answer(asked))
    begun = dict(islice(policy.answer(asked), 7))
    assert len(begun) == 7
    assert all(begun[number] == whole[number] for number in begun)
    assert dict(policy.answer(asked)) == whole


def test_room_that_runs_out_does_not_show(
    alone: list[tuple[int, ...]], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(rolling, "BUCKET", 1)
    monkeypatch.setattr(rolling, "ROOM", 1)
    assert said(tiny(batch_size=6), prompts(5)) == alone


@pytest.mark.parametrize("shortest", [1, 10**6])
def test_a_shared_beginning_does_not_show(
    shortest: int, alone: list[tuple[int, ...]], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(prefill, "SHORTEST", shortest)
    monkeypatch.setattr(prefill, "POSITIONS", 8)
    assert said(tiny(batch_size=6), prompts(5)) == alone


@pytest.mark.parametrize("rows", [1, 5, 64])
@pytest.mark.parametrize("times", [1, 5])
def test_standing_on_shared_texts_does_not_show(
    rows: int, times: int, alone: list[tuple[int, ...]], monkeypatch: pytest.MonkeyPatch
):
    """Whole prompts where each is asked five times, the beginning where each is asked once."""
    monkeypatch.setattr(stream, "LEAST", 0)
    monkeypatch.setattr(prefill, "SHORTEST", 1)
    policy, asked = tiny(batch_size=rows), prompts(times)
    wanted = alone if times == 5 else alone[::5]
    shared = Stream(fused(policy), jobs_of(policy, asked), Sampling(), frozenset()).shared
    assert shared == ("prompts" if times == 5 else "beginning")
    assert said(policy, asked) == wanted


def test_what_saves_most_is_shared():
    long, other = tuple(range(200)), (*range(150), *range(50))
    assert what_is_shared({long: 8, other: 8}, 150) == "prompts"
    assert what_is_shared({(*long, n): 1 for n in range(20)}, 150) == "beginning"
    assert what_is_shared({long: 1, other: 1}, 150) == "nothing"
    assert what_is_shared({(1, 2): 64}, 0) == "nothing"


def test_long_prompts_are_read_by_the_fused_kernel(monkeypatch: pytest.MonkeyPatch):
    asked = prompts(2)
    wanted = said(tiny(), asked)
    monkeypatch.setattr(prefill, "SCORES", 1)
    assert said(tiny(), asked) == wanted


def test_prefixes_end_before_the_shortest_prompt_does():
    begin = tuple(range(20))
    assert prefill.common_prefix([(*begin, 1), (*begin, 2, 3)]) == begin
    assert prefill.common_prefix([begin, (*begin, 2)]) == begin[:-1]
    assert prefill.common_prefix([(*begin[:5], 9), begin]) == ()
    assert prefill.common_prefix([begin, begin]) == ()
    assert prefill.common_prefix([]) == ()


class Counted:
    """Tokens that go through the model, pass by pass."""

    def __init__(self, policy: TextPolicy, monkeypatch: pytest.MonkeyPatch) -> None:
        self.passes: list[int] = []
        forward = fused(policy).forward

        def counting(ids: torch.Tensor, *rest: Any) -> torch.Tensor:
            self.passes.append(len(ids))
            return forward(ids, *rest)

        monkeypatch.setattr(fused(policy), "forward", counting)


def test_each_distinct_prompt_is_read_once(monkeypatch: pytest.MonkeyPatch):
    policy = tiny(1, batch_size=3)  # groups of 8 straddle what enters together
    counted = Counted(policy, monkeypatch)
    asked = prompts(8)
    said(policy, asked)
    read = {tuple(policy.chat.ids(prompt)) for prompt in asked}
    padded = len(read) * max(map(len, read))
    assert sum(map(len, read)) <= sum(counted.passes) <= padded
    assert len(counted.passes) == len(read)


def test_a_common_beginning_is_read_once(monkeypatch: pytest.MonkeyPatch):
    policy = tiny(1, batch_size=64)
    counted = Counted(policy, monkeypatch)
    said(policy, prompts(2, [f"{'x' * 50}{last}" for last in "abcd"]))
    assert counted.passes == [1 + 50, 4 * 3]  # <|user|> and xs; then a letter and two more tokens


def test_finished_rows_make_place_for_those_that_wait(monkeypatch: pytest.MonkeyPatch):
    """Half of the answers are short: with places given on, a third of the passes is saved."""
    policy = tiny()
    counted = Counted(policy, monkeypatch)
    asked = jobs(policy, [4, 60] * 16)
    drawn = list(Stream(fused(policy), asked, Sampling(), frozenset()).run(Limits(8, 10**6)))
    assert {job.number for job, _ in drawn} == set(range(32))
    assert all(len(each.ids) == job.budget for job, each in drawn)
    tokens = sum(job.budget for job in asked)
    computed = sum(counted.passes) - len(asked[0].ids)
    assert computed < 1.3 * tokens < 32 * 60 * 0.8


def test_rows_are_held_within_the_budget_of_positions(monkeypatch: pytest.MonkeyPatch):
    policy = tiny()
    counted = Counted(policy, monkeypatch)
    asked = jobs(policy, [20] * 12)
    need = len(asked[0].ids) + 20
    list(Stream(fused(policy), asked, Sampling(), frozenset()).run(Limits(64, 3 * need)))
    assert max(counted.passes[1:]) == 3
    drawn = list(Stream(fused(policy), asked, Sampling(), frozenset()).run(Limits(64, 1)))
    assert len(drawn) == 12  # one at a time, where nothing fits


def test_equal_prompts_stand_side_by_side_and_the_longest_come_first():
    def job(number: int, *ids: int) -> Job:
        return Job(number, ids, 5, (number,))

    found = order([job(0, 1), job(1, 2, 2), job(2, 3, 3), job(3, 2, 2), job(4, 1)])
    assert [each.number for each in found] == [1, 3, 2, 0, 4]


def test_weights_that_changed_answer_though_nobody_said_so():
    """Without a copy in another precision it is the model itself that answers."""
    policy, twin = tiny(), tiny(fused=False)
    before = said(policy, prompts(1))
    for each in (policy, twin):
        with torch.no_grad():
            for weight in each.parameters():
                weight.mul_(0.5)
    assert said(policy, prompts(1)) == said(twin, prompts(1)) != before


def test_a_copy_that_rested_while_the_model_learned_answers_as_before():
    policy, asked = tiny(), prompts(2)
    before = said(policy, asked)
    rollouts = [
        Rollout(((prompt, answer),), Verdict({}, reason="ok"), prompt.example.id)
        for prompt, (_, answer) in zip(asked, sorted(policy.answer(asked)), strict=True)
    ]
    with torch.no_grad():
        policy.review(rollouts)
    assert not fused(policy).resting
    policy.review(rollouts)
    assert fused(policy).resting
    assert said(policy, asked) == before
    assert not fused(policy).resting


def test_an_adapter_that_learned_answers_merged():
    policy = tiny(adapter=LoRA(rank=4))
    with torch.no_grad():
        for weight in policy.parameters():
            weight.add_(torch.randn(weight.shape, generator=SEED) * 0.1)
    policy.refresh()
    asked = prompts(1)
    answers = dict(policy.answer(asked))
    rollouts = [Rollout(((asked[n], answers[n]),), Verdict({}), "") for n in sorted(answers)]
    with torch.no_grad():
        live = policy.review(rollouts)
    for row, rollout in enumerate(rollouts):
        found = live.logprobs[row, : rollout.steps]
        assert_allclose(found, rollout.completion.logprobs, atol=2e-4)
    assert said(policy, asked) != said(tiny(), asked)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_half_precision_is_near_the_reference(temperature: float):
    exact, half = tiny(), tiny(sample_dtype="bfloat16")
    sampling = Sampling(max_tokens=30, temperature=temperature)
    exact.sampling = half.sampling = sampling
    asked = prompts(3)
    answers = dict(half.answer(asked))
    rollouts = [Rollout(((asked[n], answers[n]),), Verdict({}), "") for n in sorted(answers)]
    with torch.no_grad():
        live = exact.review(rollouts)
    gaps = [
        (live.logprobs[row, : rollout.steps] - torch.tensor(rollout.completion.logprobs)).abs()
        for row, rollout in enumerate(rollouts)
    ]
    assert 0 < torch.cat(gaps).mean() < 0.02


def test_what_is_fused_says_so_in_the_manifest():
    told = [tiny(fused=each).describe() for each in (True, False)]
    assert told[0]["kernels"].startswith("fused")
    assert told[1]["kernels"] == "transformers"
    assert told[0]["batch"] == {"rows": 16, "order": "longest prompt first", "positions": 131_072}


def test_a_model_that_computes_otherwise_is_left_to_transformers():
    """A forward that was changed from outside is seen by trying, and then used."""
    policy = tiny()
    layer: Any = policy.model.get_decoder().layers[0]
    layer.register_forward_hook(lambda module, inputs, output: output * -1)
    engine = TorchEngine(policy.loaded, policy.settings)
    assert engine.fused is None


def test_auto_takes_the_precision_that_the_hardware_multiplies():
    fast = half_is_fast(torch.device("cpu"))
    policy = tiny(sample_dtype="auto")
    assert policy.describe()["sample_dtype"] == ("bfloat16" if fast else "float32")
    assert fused(policy).shape.dtype == (torch.bfloat16 if fast else torch.float32)


@pytest.mark.parametrize("wrong", [{"engine": "abacus"}, {"batch_tokens": 0}])
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, Any]):
    with pytest.raises(UsageError, match=next(iter(wrong))):
        TextSettings(**wrong)


def test_drawn_ends_by_budget_by_end_token_and_by_what_is_not_finite():
    job = Job(0, (1,), 2, (0,), ended=lambda token: token == 7)
    for tokens, logprob, over in (([5], -1, 0), ([5, 5], -1, 1), ([2], -1, 1), ([7], -1, 1)):
        drawn = Drawn()
        for token in tokens:
            drawn.add(token, logprob)
        assert drawn.over(job, frozenset({2})) == bool(over)
        assert drawn.ended == (tokens in ([2], [7]))
    broken = Drawn()
    broken.add(5, float("nan"))
    assert broken.over(job, frozenset())
    assert broken.broken


def test_a_completion_without_logprobs_keeps_none():
    policy = tiny()

    class Silent:
        """An engine that does not tell."""

        independent = True

        def draw(self, jobs: Sequence[Job], sampling: Sampling):
            for job in jobs:
                yield job, Drawn([5, 6], None, ended=True)

    policy._engine = Silent()  # type: ignore[assignment]
    ((_, completion),) = policy.answer(prompts(1, ["a"]))
    assert isinstance(completion, Completion)
    assert completion.logprobs is None
    assert completion.steps == 2
