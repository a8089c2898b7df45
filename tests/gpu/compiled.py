"""Compares the gradient of compiled layers with that of eager ones; exits with 0 if they agree."""

import torch

from tests.bench.shapes import SHAPES, random_policy
from tests.gpu.test_numbers import paid, written
from tests.trainers.test_learner import RECIPES, gradient


def main() -> None:
    for changes in ({}, {"autocast": True}):
        eager = random_policy(SHAPES["small"], "cuda", **changes)
        compiled = random_policy(SHAPES["small"], "cuda", compiled=True, **changes)
        rollouts = paid(written(eager))
        found = [
            gradient(policy, RECIPES["steps"], rollouts, positions=10**9)
            for policy in (eager, compiled)
        ]
        near = float(torch.nn.functional.cosine_similarity(found[0], found[1], dim=0))
        assert near > (0.99 if changes else 0.99999), near


if __name__ == "__main__":
    main()
