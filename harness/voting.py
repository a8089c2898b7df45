"""Voting: which answers are the same, and what a vote among some of them is worth."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Same = Callable[[Any, Any], bool]

EXACT = 128
"""Rollouts up to which the expectation over all subsets is computed exactly."""
SUBSETS = 1000


def clusters(answers: Sequence[Any], same: Same | None = None) -> list[list[int]]:
    """Indices of answers that are the same, in order of appearance.

    Union-find: a = b and b = c puts a and c together, whatever `same` says of that pair. It is
    asked once for each pair of differing answers that are not yet together.
    """
    parent = list(range(len(answers)))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    for i, answer in enumerate(answers):
        for j in range(i):
            one, other = root(i), root(j)
            if one != other and (_equal(answers[j], answer) or (same and same(answers[j], answer))):
                parent[max(one, other)] = min(one, other)
    found: dict[int, list[int]] = {}
    for i in range(len(answers)):
        found.setdefault(root(i), []).append(i)
    return list(found.values())


def vote_credit(sizes: tuple[int, ...], j: int, n: int, k: int) -> float:
    """Chance that answer j wins a vote of k of n rollouts, a tie of t counting 1/t.

    sizes[i] rollouts gave answer i, the others do not vote; without votes nobody wins.
    """
    others = tuple(sorted(sizes[:j] + sizes[j + 1 :]))
    return _credit(sizes[j], others, n, k) if n <= EXACT else _drawn(sizes[j], others, n, k)


@lru_cache(maxsize=4096)
def _credit(size: int, others: tuple[int, ...], n: int, k: int) -> float:
    """Sum over v, the votes for the answer, and t, the others with exactly v, of ways / (t + 1)."""
    silent = n - size - sum(others)
    silent_ways = np.array([math.comb(silent, i) for i in range(k + 1)], dtype=np.float64)
    wins = 0.0
    for votes in range(1, min(size, k) + 1):
        rest = k - votes
        # ways[t, total]: t others tie, all others together have `total` votes
        ways: NDArray[np.float64] = np.zeros((len(others) + 1, rest + 1))
        ways[0, 0] = 1.0
        for other in others:
            ways = _with(ways, other, votes)
        shares = 1 / np.arange(1, len(others) + 2)
        wins += math.comb(size, votes) * float(shares @ ways @ silent_ways[rest::-1])
    return wins / math.comb(n, k)


def _with(ways: NDArray[np.float64], other: int, votes: int) -> NDArray[np.float64]:
    """One answer of `other` rollouts more, that gets at most `votes`."""
    made = ways.copy()
    rest = ways.shape[1] - 1
    for given in range(1, min(other, votes, rest) + 1):
        more = math.comb(other, given) * ways[:, : rest + 1 - given]
        if given == votes:
            made[1:, given:] += more[:-1]
        else:
            made[:, given:] += more
    return made


@lru_cache(maxsize=4096)
def _drawn(size: int, others: tuple[int, ...], n: int, k: int) -> float:
    silent = n - size - sum(others)
    colors = np.array([size, *others, silent], dtype=np.int64)
    rng = np.random.default_rng(0)
    votes = rng.multivariate_hypergeometric(colors, k, size=SUBSETS)[:, :-1]
    most = votes.max(axis=1)
    won = (votes[:, 0] == most) & (most > 0)
    return float((won / (votes == most[:, None]).sum(axis=1)).mean())


def _equal(a: Any, b: Any) -> bool:
    # answers are hostile: arrays compare elementwise, some objects raise
    try:
        return type(a) is type(b) and bool(a == b)
    except Exception:
        return False
