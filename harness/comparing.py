"""Comparing two runs on the same examples: how much they differ, and whether that could be luck.

The unit is the example, or the cluster that the task declares: with d_i = a_i - b_i and s_g the sum
of cluster g, luck would have given every s_g either sign.

p         Share of the sign patterns of the s_g whose sum is as far from 0 as the observed one.
          Exact where the sums lie on a lattice (right or wrong, or averages of n rollouts), by
          convolution, and where there are up to 12 of them, by trying all; else from 99,999 drawn
          patterns. For right or wrong it is McNemar's exact test.
interval  mean d -+ t se with se = sqrt(G / (G - 1) sum u_g^2) / N, u_g = s_g - N_g mean d, over
          the clusters and two more: one won and one lost by the size that a discordant one has. For
          right or wrong this is the adjusted interval of Bonett and Price, so it has a width even
          where nothing differs.

Sources: Edgington and Onghena 2007 (randomization tests), Bonett and Price 2012 (paired
proportions), Holm 1979.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.errors import DataError

Floats = NDArray[np.float64]

POWER_Z = 0.8416
"""Normal quantile of a power of 80 %."""
FINEST = 256
"""Largest denominator of a lattice that is looked for."""
WIDEST = 200_000
"""Most lattice points that a convolution is made over."""
SPLITS = 200_000
"""Most splits of two samples that are all tried: 8 values of each have 12,870."""
FEW = 12
"""Up to so many clusters every pattern of signs is tried, on a lattice or not."""
DRAWS = 99_999


@dataclass(frozen=True)
class Paired:
    """How run a differs from run b; `difference` is a minus b, in units of the metric."""

    difference: float
    low: float
    high: float
    p: float
    """Two-sided, before any correction for several comparisons."""
    method: str
    n: int
    """Examples that both have."""
    clusters: int
    a_better: tuple[str, ...]
    """Ids of the examples on which a has the larger value."""
    b_better: tuple[str, ...]
    mde: float
    """Least true difference that so many examples show with 80 % power."""
    needed: int | None
    """About so many examples more would show the observed difference with 80 % power; None where
    nothing differs, or it is shown already."""

    @property
    def separated(self) -> bool:
        """Whether luck is unlikely to have made the difference (p < 0.05)."""
        return self.p < 0.05


def compare(
    a: Mapping[str, float],
    b: Mapping[str, float],
    clusters: Mapping[str, str] | None = None,
    *,
    level: float = 0.95,
    seed: int = 0,
) -> Paired:
    """Compare values by example id; ids that only one side has, and NaNs, are left out.

    `clusters` names the cluster of each id. DataError where nothing is left to compare.
    """
    ids = sorted(id for id in a.keys() & b.keys() if not math.isnan(a[id] - b[id]))
    if not ids:
        raise DataError("the two runs have no example in common that both have a value for")
    d = np.array([a[id] - b[id] for id in ids], dtype=np.float64)
    if not np.isfinite(d).all():
        raise DataError("values to compare must be finite numbers")
    sums, sizes = _by_cluster(d, [(clusters or {}).get(id, id) for id in ids])
    p, method = _sign_flips(sums, seed)
    mean = math.fsum(d) / len(ids)
    if abs(mean) < 1e-12 * float(np.abs(d).max(initial=0.0)):
        mean = 0.0  # the dust of rounding is no difference that more examples would show
    se, half = spread(sums, sizes, level)
    z = _normal_quantile(level)
    shares = all(0.0 <= side[id] <= 1.0 for side in (a, b) for id in ids)
    least = -1.0 if shares else -math.inf
    wanted = math.ceil(len(ids) * ((z + POWER_Z) * se / abs(mean)) ** 2) if mean else 0
    return Paired(
        difference=mean,
        low=max(mean - half, least),
        high=min(mean + half, -least),
        p=p,
        method=method,
        n=len(ids),
        clusters=len(sums),
        a_better=tuple(id for id, gap in zip(ids, d, strict=True) if gap > 0),
        b_better=tuple(id for id, gap in zip(ids, d, strict=True) if gap < 0),
        mde=(z + POWER_Z) * se,
        needed=max(wanted - len(ids), 1) if mean and p >= 1 - level else None,
    )


def permuted(a: Sequence[float], b: Sequence[float], *, seed: int = 0) -> float:
    """Two-sided p of the difference of two means, when any split of the values was as likely.

    Fisher's and Pitman's test: exact up to `SPLITS` splits, beyond that from 99,999 drawn ones. It
    needs no pairs; where values come in pairs that go up and down together, it is on the safe side.
    """
    values = np.array([*a, *b], dtype=np.float64)
    if not len(a) or not len(b) or not np.isfinite(values).all():
        raise DataError("two samples of finite numbers can be compared, and neither may be empty")
    total, share = float(values.sum()), len(a) / len(values)
    least = abs(math.fsum(a) - share * total) * (1 - 1e-12) - 1e-12
    if math.comb(len(values), len(a)) <= SPLITS:
        rows = np.array([*itertools.combinations(range(len(values)), len(a))])
        return float((abs(values[rows].sum(axis=1) - share * total) >= least).mean())
    rng = np.random.default_rng(seed)
    drawn = (rng.permutation(values)[: len(a)].sum() for _ in range(DRAWS))
    return (1 + sum(abs(x - share * total) >= least for x in drawn)) / (1 + DRAWS)


def holm(pvalues: Sequence[float]) -> list[float]:
    """Holm's correction of several p-values, in their order: step down, never below, at most 1."""
    order = sorted(range(len(pvalues)), key=lambda number: pvalues[number])
    corrected = [0.0] * len(pvalues)
    largest = 0.0
    for rank, number in enumerate(order):
        largest = max(largest, min(1.0, (len(pvalues) - rank) * pvalues[number]))
        corrected[number] = largest
    return corrected


def _by_cluster(d: Floats, labels: Sequence[str]) -> tuple[Floats, Floats]:
    """Sum and size of each cluster, both (G,)."""
    place = {label: number for number, label in enumerate(dict.fromkeys(labels))}
    index = np.array([place[label] for label in labels])
    return np.bincount(index, d).astype(np.float64), np.bincount(index).astype(np.float64)


def spread(sums: Floats, sizes: Floats, level: float) -> tuple[float, float]:
    """Standard error of the mean difference, and half the width of its interval."""
    from scipy.special import stdtrit

    nonzero = sums[sums != 0]
    typical = float(np.sqrt(np.mean(nonzero**2))) if len(nonzero) else float(sizes.mean())
    sums = np.concatenate([sums, [typical, -typical]])
    sizes = np.concatenate([sizes, [sizes.mean()] * 2])
    count = len(sums)
    residuals = sums - sizes * sums.sum() / sizes.sum()
    se = math.sqrt(count / (count - 1) * float(residuals @ residuals)) / float(sizes.sum())
    return se, se * float(stdtrit(count - 1, 0.5 + level / 2))


def _normal_quantile(level: float) -> float:
    from scipy.special import ndtri

    return float(ndtri(0.5 + level / 2))


def _sign_flips(sums: Floats, seed: int) -> tuple[float, str]:
    """Two-sided p of the sum of `sums` when every sign could as well be the other."""
    sums = sums[np.abs(sums) > 1e-12]
    if not len(sums):
        return 1.0, "nothing differs"
    on_lattice = _lattice(sums)
    if on_lattice is not None:
        return _convolved(on_lattice), "exact sign flips"
    rng = np.random.default_rng(seed)
    size = abs(sums)
    if len(size) <= FEW:
        patterns = np.array([*itertools.product((1.0, -1.0), repeat=len(size))])
        least = abs(float(sums.sum())) * (1 - 1e-12)
        return float((abs(patterns @ size) >= least).mean()), "exact sign flips"
    reached = abs(float(sums.sum())) * (1 - 1e-12)
    hits = 0
    for start in range(0, DRAWS, 1000):
        signs = rng.integers(0, 2, (min(1000, DRAWS - start), len(size))) * 2 - 1
        hits += int((abs(signs @ size) >= reached).sum())
    return (1 + hits) / (1 + DRAWS), f"{DRAWS:,} drawn sign flips"


def _lattice(sums: Floats) -> NDArray[np.int64] | None:
    """The sums in units of their common lattice; None where there is none that is coarse enough."""
    for denominator in range(1, FINEST + 1):
        steps = sums * denominator
        whole = np.rint(steps)
        if np.abs(steps - whole).max() < 1e-6:
            unit = np.gcd.reduce(whole.astype(np.int64))
            found = whole.astype(np.int64) // unit
            return found if int(abs(found).sum()) <= WIDEST else None
    return None


def _convolved(steps: NDArray[np.int64]) -> float:
    """P(|sum of +-steps| >= |sum of steps|), by the distribution of the sum of positive ones."""
    sizes = np.abs(steps)
    chance = np.zeros(int(sizes.sum()) + 1)
    chance[0] = 1.0
    filled = 1
    for size in sizes:
        chance[size : filled + size] = 0.5 * (chance[size : filled + size] + chance[:filled])
        chance[:size] *= 0.5
        filled += int(size)
    return _tails(chance, abs(int(steps.sum())))


def _tails(chance: Floats, reached: int) -> float:
    """`chance[k]` is that of a sum of 2k - total."""
    total = len(chance) - 1
    sums = 2 * np.arange(total + 1) - total
    return min(1.0, float(chance[np.abs(sums) >= reached].sum()))
