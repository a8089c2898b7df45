"""Sign flips of many pairs at once: p of each row of differences, as `harness.comparing` has it.

p is the share of the sign patterns of s_1 .. s_G whose sum is as far from 0 as the observed one.

right or wrong   McNemar's exact test from the numbers of discordant examples.
on a lattice     The sum's distribution from its characteristic function prod cos(s_g theta): exact
                 but for rounding. Where s_g are whole numbers with sum T, T + 1 frequencies do.
few clusters     All patterns, where there are at most 14.
anything else    Lugannani and Rice's saddlepoint formula with K(t) = sum log cosh(t s_g).

With r = (sum s)^2 / sum s^2, p is at least 1/10 for r <= 1 (Oleszkiewicz 1996) and at most
2 exp(-r / 2) (Hoeffding 1963): rows that these decide whatever Holm's correction does are not
tested, and where rounding hides a p below 1e-11 the second stands for it.
"""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

FINEST = 64
"""Largest denominator of a lattice that is looked for."""
WIDEST = 20_000
"""Most frequencies of a lattice."""
ROUNDING = 1e-11
FEW = 14
"""Clusters of which all sign patterns are tried."""
AT_ONCE = 2_000_000
"""Numbers of one array."""


def mcnemar(wins: Floats, losses: Floats) -> Floats:
    """Exact two-sided p from the numbers of discordant examples of either kind, any shape."""
    from scipy.special import bdtr

    fewer, both = np.minimum(wins, losses), wins + losses
    tail = bdtr(np.floor(fewer), np.maximum(both, 1).astype(np.int64), 0.5)
    return np.where(wins == losses, 1.0, np.minimum(1.0, 2 * tail))


def pvalues(sums: Floats, denominator: int, surely: float) -> Floats:
    """(B,) p of (B, G) sums in units of 1 / `denominator`, 0 where there is no lattice.

    Rows whose p the bounds show to be over 1/10, or below `surely`, get a bound instead.
    """
    spread = (sums**2).sum(axis=1)
    total = sums.sum(axis=1)
    ratio = np.divide(total**2, spread, out=np.zeros(len(sums)), where=spread > 0)
    bound = np.minimum(1.0, 2 * np.exp(-ratio / 2))
    found = np.where(ratio <= 1, _normal(ratio), bound)
    open_ = np.flatnonzero((ratio > 1) & (bound >= surely))
    for rows in np.array_split(open_, max(1, len(open_) * sums.shape[1] // AT_ONCE)):
        if len(rows):
            found[rows] = _tested(sums[rows], denominator, bound[rows])
    return found


def denominator_of(values: Floats) -> int:
    """The smallest d by which all values become whole numbers; 0 where none to 64 does."""
    known = np.unique(values[np.isfinite(values)])
    for d in range(1, FINEST + 1):
        if np.abs(known * d - np.rint(known * d)).max(initial=0.0) < 1e-6:
            return d
    return 0


def _normal(ratio: Floats) -> Floats:
    from scipy.special import erfc

    return np.maximum(erfc(np.sqrt(ratio / 2)), 0.1)


def _tested(sums: Floats, denominator: int, bound: Floats) -> Floats:
    """p of rows that the bounds leave open."""
    if denominator:
        steps = np.rint(np.abs(sums) * denominator).astype(np.int64)
        most = int(steps.sum(axis=1).max())
        if most < WIDEST and int(steps.max()) <= 4 * FINEST:
            reached = np.rint(np.abs(sums.sum(axis=1)) * denominator).astype(np.int64)
            exact = _lattice(steps, reached)
            return np.where(exact < ROUNDING, np.minimum(bound, ROUNDING), exact)
    if sums.shape[1] <= FEW:
        patterns = np.array(list(itertools.product((1.0, -1.0), repeat=sums.shape[1])))
        reached = np.abs(sums.sum(axis=1)) * (1 - 1e-12)
        return np.array(
            [(np.abs(patterns @ s) >= x).mean() for s, x in zip(sums, reached, strict=True)]
        )
    return np.minimum(_saddlepoint(np.abs(sums), np.abs(sums.sum(axis=1))), bound)


def _lattice(steps: NDArray[np.int64], reached: NDArray[np.int64]) -> Floats:
    """P(|sum of +-steps| >= reached), (B,): 1 - the mean over frequencies of phi times a kernel.

    The sum is T - 2 j with j = 0 .. T, so T + 1 frequencies pi m / (T + 1) tell all of it; the
    kernel sums cos(x theta) over the x of that parity with |x| < reached.
    """
    sizes = np.arange(1, int(steps.max()) + 1)
    counts = np.stack([(steps == size).sum(axis=1) for size in sizes], axis=1).astype(np.float64)
    used = counts.any(axis=0)
    sizes, counts = sizes[used], counts[:, used]
    points = int(steps.sum(axis=1).max()) + 1
    inside = np.zeros(len(steps))
    for theta in np.array_split(np.arange(points) * (np.pi / points), 1 + points // 4096):
        cosines = np.cos(np.outer(sizes, theta))
        with np.errstate(divide="ignore", invalid="ignore"):
            size = np.exp(counts @ np.log(np.maximum(np.abs(cosines), 1e-300)))
        odd = (counts % 2) @ (cosines < 0)
        phi = np.where(odd % 2 == 1, -size, size)
        # x = reached - 2, reached - 4, ... , 2 - reached: sin((reached - 1) theta) / sin(theta)
        sine = np.sin(theta)
        flat = np.abs(sine) < 1e-12
        ratio = np.sin(np.outer(reached - 1, theta)) / np.where(flat, 1.0, sine)
        inside += (phi * np.where(flat, (reached - 1)[:, None], ratio)).sum(axis=1)
    return np.clip(1 - inside / points, 0.0, 1.0)


def _saddlepoint(sizes: Floats, reached: Floats) -> Floats:
    """Twice P(sum of +-sizes >= reached), (B,), for 0 < reached < sum of sizes; 2^(1-G) at it."""
    from scipy.special import ndtr

    scale = np.sqrt((sizes**2).sum(axis=1))
    s, x = sizes / scale[:, None], reached / scale
    top = s.sum(axis=1)
    edge = x > top * (1 - 1e-9)
    x = np.minimum(x, top * (1 - 1e-9))
    t = x.copy()
    for _ in range(60):
        tanh = np.tanh(t[:, None] * s)
        slope = ((1 - tanh**2) * s**2).sum(axis=1)
        step = (x - (tanh * s).sum(axis=1)) / np.maximum(slope, 1e-12)
        t += np.clip(step, -0.5 * t, 1 + t)
        if np.abs(step).max() < 1e-9:
            break
    scaled = np.abs(t[:, None] * s)
    level = (scaled + np.log1p(np.exp(-2 * scaled)) - np.log(2)).sum(axis=1)
    slope = (s**2 / np.cosh(np.minimum(scaled, 300)) ** 2).sum(axis=1)
    w = np.sqrt(np.maximum(2 * (t * x - level), 1e-12))
    u = np.maximum(t * np.sqrt(slope), 1e-12)
    tail = ndtr(-w) + np.exp(-(w**2) / 2) / np.sqrt(2 * np.pi) * (1 / u - 1 / w)
    count = (sizes > 0).sum(axis=1)
    return np.clip(np.where(edge, 2.0 ** (1 - count), 2 * tail), 0.0, 1.0)
