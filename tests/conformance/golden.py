"""Golden gradients: what the plain reference gives for the stored rollouts, kept in `golden/`.

`python tests/conformance/golden.py` draws the rollouts and computes the gradients anew.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.conformance.cases import GOLDEN, drawn, stored, write
from tests.conformance.plain import Plain
from tests.conformance.settings import Settings, flat

DEFINITIONS: Mapping[str, Settings] = {
    "grpo": Settings(),
    "grpo, old policy": Settings(off_policy=True),
    "grpo, population std": Settings(scale="population_std"),
    "grpo, temperature 0.7": Settings(temperature=0.7),
    "grpo, KL": Settings(beta=0.04, off_policy=True),
    "grpo, KL times ratio": Settings(beta=0.04, corrected=True, off_policy=True),
    "grpo, sampler corrected": Settings(sampler_correction=1.2),
    "grpo, truncated masked": Settings(mask_truncated=True),
    "dapo": Settings(mean="steps", high=0.28),
    "dapo, old policy": Settings(mean="steps", high=0.28, off_policy=True),
    "dapo, truncated masked": Settings(mean="steps", high=0.28, mask_truncated=True),
    "dr_grpo": Settings(mean="length", scale="none"),
    "dr_grpo, old policy": Settings(mean="length", scale="none", off_policy=True),
    "gspo": Settings(ratio="sequence", off_policy=True),
    "gspo, its clip range": Settings(ratio="sequence", off_policy=True, low=3e-4, high=4e-4),
    "cispo": Settings(mean="steps", detached=True, high=1.2, off_policy=True),
    "rloo": Settings(scale="leave_one_out", ratio="product"),
    "rloo, old policy": Settings(scale="leave_one_out", ratio="product", off_policy=True),
}
"""Each by the name that the table gives it."""


def golden() -> dict[str, Tensor]:
    """The stored gradients, each in one row of float64 (see `settings.flat`)."""
    with np.load(GOLDEN / "gradients.npz", allow_pickle=False) as held:
        return {name: torch.from_numpy(held[name]).double() for name in held}


def main() -> None:
    """Write everything in `golden/` anew."""
    write(drawn())
    case = stored()
    found = {
        name: flat(Plain().gradient(case, settings)).float().numpy()
        for name, settings in DEFINITIONS.items()
    }
    np.savez_compressed(GOLDEN / "gradients.npz", **found)  # type: ignore[arg-type]
    for name, row in found.items():
        print(f"{name:28s} |g| = {np.linalg.norm(row):.4f}")


if __name__ == "__main__":
    main()
