"""Drawing by hand: which token a uniform number stands for, and what truncation leaves."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from harness.models import Sampling
from trainers.text import draw as module
from trainers.text.draw import draw

LOGITS = torch.tensor([[0.5, 0.1, 0.0, 0.3, 0.1]]).log()


def drawn(uniform: float, **settings: float) -> tuple[int, float]:
    sampling = Sampling(**settings)  # type: ignore[arg-type]
    ids, logprobs = draw(LOGITS, torch.tensor([uniform], dtype=torch.float64), sampling)
    return int(ids), float(logprobs.exp())


@pytest.mark.parametrize(
    ("uniform", "token"), [(0.0, 0), (0.49, 0), (0.51, 1), (0.61, 3), (0.89, 3), (0.91, 4)]
)
def test_tokens_take_their_share_in_order(uniform: float, token: int):
    found, probability = drawn(uniform)
    assert found == token
    assert probability == pytest.approx(float(LOGITS[0, token].exp()), rel=1e-5)


def test_a_token_of_probability_0_is_never_drawn():
    uniforms = torch.linspace(0, 1, 10_001, dtype=torch.float64)[:-1]
    ids, _ = draw(LOGITS.expand(10_000, 5), uniforms, Sampling())
    assert 2 not in ids
    assert_close(torch.bincount(ids, minlength=5) / 10_000, LOGITS[0].exp(), atol=2e-4, rtol=0)


def test_the_last_uniform_number_is_still_a_token():
    assert drawn(1 - 2**-53)[0] == 4


def test_temperature_sharpens():
    _, probability = drawn(0.0, temperature=0.5)
    assert probability == pytest.approx(0.25 / (0.25 + 0.01 + 0.09 + 0.01), rel=1e-5)


def test_greedy_takes_the_best_with_its_plain_probability():
    assert drawn(0.99, temperature=0) == (0, pytest.approx(0.5))


def test_top_k_keeps_the_best_and_shares_anew():
    assert drawn(0.99, top_k=2) == (3, pytest.approx(0.3 / 0.8))
    assert drawn(0.99, top_k=1) == (0, pytest.approx(1.0))


def test_top_p_keeps_the_token_that_crosses():
    assert drawn(0.99, top_p=0.4) == (0, pytest.approx(1.0))
    assert drawn(0.99, top_p=0.6) == (3, pytest.approx(0.3 / 0.8))


def test_top_p_counts_after_top_k():
    # among the best two 0.5 is 0.625, which is 0.6 already
    assert drawn(0.99, top_k=2, top_p=0.6) == (0, pytest.approx(1.0))


def test_a_wide_nucleus_is_not_cut_by_the_shortcut(monkeypatch: pytest.MonkeyPatch):
    logits = torch.randn(4, 300, generator=torch.Generator().manual_seed(0)) * 0.1
    uniforms = torch.tensor([0.1, 0.5, 0.9, 0.999], dtype=torch.float64)
    whole = draw(logits, uniforms, Sampling(top_p=0.9))
    monkeypatch.setattr(module, "NUCLEI", (8, 20))
    assert_close(draw(logits, uniforms, Sampling(top_p=0.9)), whole)


def test_rows_do_not_see_each_other():
    logits = torch.randn(8, 50, generator=torch.Generator().manual_seed(0))
    uniforms = torch.rand(8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    together, _ = draw(logits, uniforms, Sampling())
    alone = [int(draw(logits[[n]], uniforms[[n]], Sampling())[0]) for n in range(8)]
    assert together.tolist() == alone


def test_kept_memory_does_not_show():
    scratch = module.Scratch()
    for rows, size in ((8, 300), (3, 520), (8, 257), (2, 300), (8, 513)):
        logits = torch.randn(rows, size, generator=torch.Generator().manual_seed(size))
        uniforms = torch.rand(rows, dtype=torch.float64)
        for sampling in (Sampling(), Sampling(temperature=0), Sampling(top_p=0.7)):
            kept = draw(logits, uniforms, sampling, scratch)
            assert_close(kept, draw(logits, uniforms, sampling))


def test_log_probabilities_are_those_of_the_softmax():
    logits = torch.randn(16, 700, generator=torch.Generator().manual_seed(0)) * 3
    uniforms = torch.rand(16, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    for temperature, sharpened in ((1.0, 1.0), (0.5, 0.5), (0.0, 1.0)):
        ids, logprobs = draw(logits, uniforms, Sampling(temperature=temperature))
        wanted = (logits / sharpened).log_softmax(-1).gather(-1, ids[:, None])[:, 0]
        assert_close(logprobs, wanted, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("sampling", [Sampling(), Sampling(temperature=0), Sampling(top_p=0.5)])
def test_logits_that_are_not_finite_show(bad: float, sampling: Sampling):
    logits = torch.zeros(1, 300)
    logits[0, 7] = bad
    _, logprobs = draw(logits, torch.tensor([0.5], dtype=torch.float64), sampling)
    assert not bool(logprobs.isfinite())
