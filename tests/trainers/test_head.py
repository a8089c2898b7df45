"""The head's own gradient: equal to autograd's through whole logits, kept probabilities or not."""

from __future__ import annotations

import pytest
import torch

from trainers.text import head

STEPS, VOCABULARY, WIDTH = 21, 50, 12


def plain(hidden, weight, ids, temperatures):
    scores = (hidden @ weight.t() / temperatures[:, None]).log_softmax(-1)
    taken = scores.gather(-1, ids[:, None]).squeeze(-1)
    return taken, -(scores.exp() * scores).sum(-1)


def drawn(scale=1.0):
    draw = torch.Generator().manual_seed(5)
    hidden = scale * torch.randn(STEPS, WIDTH, generator=draw)
    weight = torch.randn(VOCABULARY, WIDTH, generator=draw)
    ids = torch.randint(VOCABULARY, (STEPS,), generator=draw)
    temperatures = torch.tensor([1.0, 0.7, 1.3])[torch.arange(STEPS) % 3]
    by = torch.randn(2, STEPS, generator=draw)
    return hidden.requires_grad_(), weight.requires_grad_(), ids, temperatures, by


def slopes(hidden, weight, found, by, with_entropy):
    total = found[0] @ by[0] + (found[1] @ by[1] if with_entropy else 0)
    return torch.autograd.grad(total, (hidden, weight))


@pytest.mark.parametrize("with_entropy", [False, True])
@pytest.mark.parametrize("kept", [0, 1 << 20])
def test_slopes_are_those_of_whole_logits(monkeypatch, kept, with_entropy):
    monkeypatch.setattr(head, "KEPT", kept)
    monkeypatch.setattr(head, "TOGETHER", 8)
    hidden, weight, ids, temperatures, by = drawn()
    steps = head.Steps(ids, temperatures)
    ours = head.judge_steps(hidden, weight, steps, torch.float32, chunk=4)
    theirs = plain(hidden, weight, ids, temperatures)
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(
        slopes(hidden, weight, ours, by, with_entropy),
        slopes(hidden, weight, theirs, by, with_entropy),
    )


def test_a_step_that_was_all_but_certain_keeps_its_slope_in_bfloat16():
    """Rounded to bfloat16 its probability is 1, and 1 - p would be 0."""
    hidden, weight = torch.zeros(1, 2).add_(1).requires_grad_(), torch.zeros(2, 2)
    weight[0] = 3.5
    weight.requires_grad_()
    steps = head.Steps(torch.tensor([0]), torch.ones(1))
    (logprob, _) = head.judge_steps(hidden, weight, steps, torch.bfloat16)
    (slope,) = torch.autograd.grad(logprob.sum(), weight)
    away = -torch.expm1(logprob.detach())
    torch.testing.assert_close(slope[0], away.expand(2), rtol=0.01, atol=0)


def test_a_second_backward_pass_gives_the_same_slopes():
    hidden, weight, ids, temperatures, by = drawn()
    found = head.judge_steps(hidden, weight, head.Steps(ids, temperatures), torch.float32)
    total = found[0] @ by[0]
    first = torch.autograd.grad(total, (hidden, weight), retain_graph=True)
    torch.testing.assert_close(torch.autograd.grad(total, (hidden, weight)), first)
