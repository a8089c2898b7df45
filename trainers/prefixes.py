"""prefixes: rollouts of a group as a tree of what they have in common, and the values of its nodes.

A node is the prompt and the steps taken so far, by their numbers (`Policy.choices`), never by text:
different tokens can spell the same. Its value is the mean reward of all rollouts through it.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from harness.digests import prompt_digest
from harness.types import Prompt, Rollout
from trainers.batch import Batch

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


def value_gains(
    batch: Batch, taken: Int[Tensor, "N T"], paid: Float[Tensor, "N 1"]
) -> Float[Tensor, "N T"]:
    """V(s_t+1) - V(s_t) of every step; with one prompt a group, a row adds up to r - mean r.

    A rollout that is alone in its node, or over, is left out from there on, since its value stays:
    the cost is that of the part of the tree where rollouts are together.
    """
    choices, rewards = taken.cpu().numpy(), paid[:, 0].double().cpu().numpy()
    reads = _reads(batch.rollouts)
    gains = np.zeros(choices.shape)
    rows = np.arange(len(rewards))
    node, value, _ = _values(batch.group.cpu().numpy(), rewards)
    for step in range(choices.shape[1]):
        here = choices[rows, step] >= 0
        rows, node, value = rows[here], node[here], value[here]
        if step in reads:  # nobody is credited for what the policy was told
            number = np.zeros(len(rewards), np.int64)  # 0: read nothing here
            number[[row for row, _ in reads[step]]] = [told for _, told in reads[step]]
            node, value, _ = _values(_pairs(node, number[rows]), rewards[rows])
        node, after, count = _values(_pairs(node, choices[rows, step]), rewards[rows])
        gains[rows, step] = after - value
        together = count > 1
        rows, node, value = rows[together], node[together], after[together]
        if not len(rows):
            break
    return torch.from_numpy(gains).to(paid)


def _pairs(node: Ints, number: Ints) -> Ints:
    return (node << 31) + number


def _values(key: Ints, rewards: Floats) -> tuple[Ints, Floats, Ints]:
    """Of each row its node, numbered from 0, the mean reward of the node, and its size."""
    order = key.argsort()
    ranked = key[order]
    node = np.zeros(len(key), np.int64)
    node[order[1:]] = (ranked[1:] != ranked[:-1]).cumsum()
    count = np.bincount(node)
    mean = np.bincount(node, weights=rewards) / count
    return node, mean[node], count[node]


def _reads(rollouts: Sequence[Rollout]) -> dict[int, list[tuple[int, int]]]:
    """By step, which rollouts read something before it, and its number: a prompt, what was told."""
    keys: dict[tuple[int, tuple[str, ...]], Hashable] = {}
    numbers: dict[Hashable, int] = {}
    found: dict[int, list[tuple[int, int]]] = {}
    for row, rollout in enumerate(rollouts):
        step = 0
        for prompt, completion in rollout.turns:
            known = (id(prompt.messages), prompt.hints)  # attempts share their messages
            if known not in keys:
                keys[known] = _read(prompt)
            number = numbers.setdefault(keys[known], len(numbers) + 1)
            found.setdefault(step, []).append((row, number))
            step += completion.steps
    return found


def _read(prompt: Prompt) -> Hashable:
    """Equal where a model reads the same: the words, or the digest of pictures and words."""
    spoken = prompt.spoken()
    try:
        hash(spoken)
    except TypeError:
        return prompt_digest(prompt)
    return spoken
