"""The text policy against transformers itself, and what only text has: stops, budgets, turns."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from harness.errors import ModelError, UsageError
from harness.models import Sampling
from harness.types import Completion, Example, Message, Prompt, Rollout, Verdict
from trainers.policies.text import TextPolicy, open_text
from trainers.text.pieces import Pieces, Stop, cut, pieces

QUESTIONS = ("What is 12 + 30?", "Name a color.", "Count: 1 2 3", "x =   42\n\n\ty", "Why?")


def prompt(question: str, attempt: int = 0) -> Prompt:
    return Prompt(Example(question, {}, None), (Message("user", question),), attempt=attempt)


def tiny(sampling: Sampling | None = None, **settings: object) -> TextPolicy:
    return open_text("tiny", sampling or Sampling(max_tokens=16), **settings)


def rolled(*turns: tuple[Prompt, Completion]) -> Rollout:
    return Rollout(turns, Verdict({}), "")


def answered(policy: TextPolicy, asked: Prompt) -> Completion:
    ((_, completion),) = policy.answer([asked])
    return completion


@pytest.mark.parametrize("spec", ["tiny", pytest.param("smollm2", marks=pytest.mark.slow)])
@pytest.mark.parametrize("rows", [1, 3])
def test_greedy_equals_transformers_generate(spec: str, rows: int):
    policy = open_text(
        spec, Sampling(max_tokens=24, temperature=0), dtype="float32", batch_size=rows
    )
    answers = dict(policy.answer([prompt(question) for question in QUESTIONS]))
    for number, question in enumerate(QUESTIONS):
        ids = torch.tensor([policy.chat.ids(prompt(question))])
        theirs = policy.model.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=24, do_sample=False
        )
        assert answers[number].trace["ids"] == theirs[0, ids.shape[1] :].tolist()


def test_sampling_follows_the_models_distribution():
    """First tokens of many attempts against the softmax, by chi square."""
    policy = tiny(Sampling(max_tokens=1), batch_size=512)
    count = 4096
    drawn = [
        answer.trace["ids"][0]
        for _, answer in policy.answer([prompt("a", attempt) for attempt in range(count)])
    ]
    ids = torch.tensor([policy.chat.ids(prompt("a"))])
    with torch.no_grad():
        wanted = policy.model(ids).logits[0, -1].softmax(-1).numpy() * count
    found = np.bincount(drawn, minlength=len(wanted))
    surplus = ((found - wanted) ** 2 / wanted).sum() / (len(wanted) - 1)
    assert surplus < 1 + 5 * (2 / len(wanted)) ** 0.5


def test_greedy_breaks_no_law_of_review():
    policy = tiny(Sampling(max_tokens=8, temperature=0))
    rollout = rolled((prompt("a"), answered(policy, prompt("a"))))
    with torch.no_grad():
        live = policy.review([rollout])
    assert_allclose(live.logprobs[0], rollout.completion.logprobs, atol=1e-4)


def _by_hand(
    policy: TextPolicy, rollouts: list[Rollout]
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Log-probabilities and entropies, one turn at a time, the way a textbook writes it."""
    rows = []
    for rollout in rollouts:
        turns = []
        for _, completion in rollout.turns:
            read, ids = completion.trace["prompt"], completion.trace["ids"]
            logits = policy.model(torch.tensor([[*read, *ids]])).logits[0, len(read) - 1 : -1]
            scores = (logits / completion.trace["temperature"]).log_softmax(-1)
            taken = scores.gather(-1, torch.tensor(ids)[:, None])[:, 0]
            turns.append((taken, -(scores.exp() * scores).sum(-1)))
        rows.append(tuple(torch.cat(parts) for parts in zip(*turns, strict=True)))
    return rows


def _group(policy: TextPolicy) -> list[Rollout]:
    """Rollouts that share prompts, and one of two turns."""
    asked = [prompt(question, attempt) for question in QUESTIONS[:3] for attempt in range(3)]
    answers = dict(policy.answer(asked))
    rollouts = [rolled((asked[number], answers[number])) for number in range(len(asked))]
    first = rollouts[0].completion
    again = asked[0].then(first, "Are you sure?")
    return [*rollouts, rolled((asked[0], first), (again, answered(policy, again)))]


@pytest.mark.parametrize("settings", [{}, {"checkpointing": True}])
def test_review_has_the_value_and_gradient_of_the_plain_way(settings: dict):
    policy = tiny(Sampling(max_tokens=10, temperature=0.8), **settings)
    rollouts = _group(policy)
    live = policy.review(rollouts)
    pull = torch.randn(live.logprobs.shape, generator=torch.Generator().manual_seed(0))
    (live.logprobs * pull + 0.3 * live.entropy * pull).sum().backward()
    ours = [weight.grad.clone() for weight in policy.parameters()]
    policy.model.zero_grad()
    cost = torch.zeros(())
    for row, (logprobs, entropy) in enumerate(_by_hand(policy, rollouts)):
        steps = len(logprobs)
        torch.testing.assert_close(live.logprobs[row, :steps], logprobs, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(live.entropy[row, :steps], entropy, atol=1e-5, rtol=1e-5)
        assert live.mask[row].sum() == steps
        cost = cost + ((logprobs + 0.3 * entropy) * pull[row, :steps]).sum()
    cost.backward()
    for mine, weight in zip(ours, policy.parameters(), strict=True):
        torch.testing.assert_close(mine, weight.grad, atol=1e-5, rtol=1e-4)


def test_checkpointing_keeps_less():
    kept = []
    for settings in ({}, {"checkpointing": True}):
        policy = tiny(**settings)
        rollouts = _group(policy)
        sizes: list[int] = []
        with torch.autograd.graph.saved_tensors_hooks(
            lambda held, sizes=sizes: sizes.append(held.numel()) or held, lambda held: held
        ):
            policy.review(rollouts)
        kept.append(sum(sizes))
    assert kept[1] < kept[0] / 2


def test_models_that_change_their_logits_are_reviewed_through_themselves():
    policy = tiny()
    rollouts = _group(policy)
    direct = policy.review(rollouts)
    policy._reviewer = replace(policy._reviewer, bare_head=False)
    through = policy.review(rollouts)
    torch.testing.assert_close(direct.logprobs, through.logprobs, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(direct.entropy, through.entropy, atol=1e-5, rtol=1e-5)


def test_autocast_is_close():
    exact, fast = tiny(), tiny(autocast=True)
    rollouts = _group(exact)
    with torch.no_grad():
        gap = exact.review(rollouts).logprobs - fast.review(rollouts).logprobs
    assert 0 < gap.abs().max() < 0.1


def test_sampling_copy_follows_the_weights_when_refreshed():
    policy = tiny(sample_dtype="bfloat16")
    before = answered(policy, prompt("a"))
    with torch.no_grad():
        for weight in policy.parameters():
            weight.mul_(0.5)
    assert answered(policy, prompt("a")) == before
    policy.refresh()
    after = answered(policy, prompt("a"))
    assert after != before
    twin = tiny(sample_dtype="bfloat16")
    with torch.no_grad():
        for weight in twin.parameters():
            weight.mul_(0.5)
    twin.refresh()
    assert answered(twin, prompt("a")) == after
    assert policy.describe()["sample_dtype"] == "bfloat16"


def test_stop_strings_are_cut_from_the_text_and_kept_in_the_steps():
    free = tiny(Sampling(max_tokens=40))
    whole = answered(free, prompt("a"))
    stop = whole.output[10:13]
    stopped = answered(tiny(Sampling(max_tokens=40, stop=(stop,))), prompt("a"))
    assert stopped.output == whole.output[: whole.output.index(stop)]
    assert stopped.stopped == "done"
    assert stopped.steps < whole.steps
    assert "".join(stopped.pieces) == stopped.output + stop


def test_budget_and_end_are_told_apart():
    policy = tiny(Sampling(max_tokens=300))
    answers = [answer for _, answer in policy.answer([prompt("a", n) for n in range(20)])]
    assert {answer.stopped for answer in answers} == {"done", "budget"}
    for answer in answers:
        assert (answer.trace["ids"][-1] in policy.loaded.ends) == (answer.stopped == "done")
        assert (answer.steps == 300) == (answer.stopped == "budget")
        assert answer.output == "".join(answer.pieces)


def test_finished_rows_come_out_before_the_others():
    policy = tiny(Sampling(max_tokens=400), batch_size=16)
    steps = [answer.steps for _, answer in policy.answer([prompt("a", n) for n in range(16)])]
    assert steps == sorted(steps)
    assert len(set(steps)) > 1


def test_a_prompt_that_does_not_fit_fails_and_says_so():
    policy = tiny()
    long, short = prompt("a" * 5000), prompt("a")
    answers = dict(policy.answer([long, short]))
    assert answers[0].stopped == "failed"
    assert "5003 tokens" in answers[0].note
    assert "2048" in answers[0].note
    assert answers[1].stopped != "failed"


def test_an_answer_ends_where_the_context_does():
    policy = tiny(Sampling(max_tokens=2000))
    completion = answered(policy, prompt("a" * 2040))
    assert completion.stopped == "budget"
    assert completion.steps == 2048 - 2043


def test_content_that_is_no_text_fails_and_says_so():
    pixels = Prompt(Example("x", {}, None), (Message("user", np.zeros(3)),))
    assert "ndarray" in answered(tiny(), pixels).note


def test_weights_that_are_not_finite_fail_and_say_so():
    policy = tiny()
    with torch.no_grad():
        policy.parameters()[0].fill_(float("nan"))
    completion = answered(policy, prompt("a"))
    assert completion.stopped == "failed"
    assert "finite" in completion.note


def test_plain_text_only_where_asked_for():
    policy = tiny(chat=False)
    assert policy.chat.written(prompt("a").with_hint("b")) == "a\n\nb"
    assert answered(policy, prompt("ab")).trace["prompt"] == policy.chat.encode("ab")
    bare = copy.copy(policy.chat.tokenizer)
    bare.chat_template = None
    with pytest.raises(ModelError, match="--no-chat"):
        replace(policy.chat, tokenizer=bare, templated=True)


def test_thinking_reaches_the_template():
    policy = tiny(thinking=False)
    policy.chat.tokenizer.chat_template = "{{ 'think' if enable_thinking else 'quick' }}"
    assert policy.chat.written(prompt("a")) == "quick"


def test_resume_outside_the_completion_is_refused():
    policy = tiny()
    rollout = rolled((prompt("a"), answered(policy, prompt("a"))))
    with pytest.raises(UsageError, match="step 99"):
        policy.resume(rollout, 99)


def test_resume_with_nothing_left_gives_what_was_said():
    policy = tiny()
    rollout = rolled((prompt("a"), answered(policy, prompt("a"))))
    first, second = policy.resume(rollout, rollout.completion.steps, rollouts=2)
    assert first.output == second.output == rollout.completion.output


def test_size_counts_tokens_once_where_turns_go_on():
    policy = tiny()
    first = answered(policy, prompt("a"))
    again = prompt("a").then(first, "b")
    second = answered(policy, again)
    one = policy.size(rolled((prompt("a"), first)))
    assert one == len(first.trace["prompt"]) + first.steps
    both = policy.size(rolled((prompt("a"), first), (again, second)))
    assert one < both <= one + len(second.trace["prompt"]) + second.steps


def test_pieces_wait_for_whole_characters():
    class Bytes:
        """A tokenizer whose tokens are bytes."""

        def decode(self, ids: list[int], **_: object) -> str:
            return bytes(ids).decode("utf-8", "replace")

    written = "aé漢😀b"
    ids = list(written.encode())
    assert "".join(pieces(Bytes(), ids)) == written
    assert pieces(Bytes(), ids)[:3] == ("a", "", "é")
    assert "".join(pieces(Bytes(), ids[:-2])) == bytes(ids[:-2]).decode("utf-8", "replace")
    reader = Pieces(Bytes())
    assert [reader.add(byte) for byte in "é".encode()] == ["", "é"]


def test_stop_strings_are_seen_across_tokens():
    class Letters:
        def decode(self, ids: list[int], **_: object) -> str:
            return "".join(map(chr, ids))

    stop = Stop(Letters(), ("END", "\n\n"))
    told = [stop(ord(letter)) for letter in "the ENDE"]
    assert told == [False] * 6 + [True, False]
    assert cut("a\n\nbEND", ("END", "\n\n")) == "a"
    assert cut("a", ("b",)) == "a"


def test_half_products_are_autocasts_and_keep_less():
    """The same numbers and gradients as autocast alone gives, to its precision."""
    from trainers.memory import keeping

    policy = tiny(autocast=True)
    rollouts = _group(policy)
    found = []
    for checkpointing in (False, True):  # with checkpointing autocast stands alone
        policy = tiny(autocast=True, checkpointing=checkpointing)
        with keeping(policy.parameters()) as kept:
            live = policy.review(rollouts)
        assert kept.bytes > 0
        live = policy.review(rollouts)
        live.logprobs.sum().backward()
        flat = torch.cat([p.grad.flatten() for p in policy.parameters() if p.grad is not None])
        found.append((live.logprobs.detach(), flat))
    (ours, by_ours), (theirs, by_theirs) = found
    assert float((ours - theirs).abs().max()) < 0.05
    assert float(torch.nn.functional.cosine_similarity(by_ours, by_theirs, dim=0)) > 0.999
    assert len(by_ours) == sum(p.numel() for p in policy.parameters())
