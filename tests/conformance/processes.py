"""The gradient of several processes, each of which reviews its share of the rollouts.

`python -m tests.conformance.processes FOLDER` is one of them; the first writes what all have.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from tests.conformance.cases import Case, Stored
from tests.conformance.settings import How, Settings

HOUSE = Path(__file__).resolve().parents[2]


def gradient(case: Case, settings: Settings, how: How, place: Path) -> dict[str, Tensor]:
    """By name of weight, as the first process holds it."""
    from safetensors.torch import load_file

    from trainers.launch import launch  # type: ignore[import-not-found]

    case.save(place / "policy")
    case.save(place / "reference", reference=True)
    job = {
        "settings": asdict(settings),
        "how": asdict(how),
        "rollouts": [asdict(rollout) for rollout in case.rollouts],
    }
    (place / "job.json").write_text(json.dumps(job), "utf-8")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(HOUSE), os.environ.get("PYTHONPATH", "")])
    code = launch(how.processes, [str(place)], "tests.conformance.processes")
    assert code == 0, f"{how.processes} processes ended with {code}"
    return load_file(place / "gradient.safetensors")


def main() -> None:
    """One process: its share of the gradient, and the sum of all shares."""
    import torch
    from safetensors.torch import save_file

    from tests.conformance.ours import Ours
    from trainers.world import joined  # type: ignore[import-not-found]

    torch.set_num_threads(1)
    place = Path(sys.argv[1])
    job: dict[str, Any] = json.loads((place / "job.json").read_text("utf-8"))
    rows = [
        {k: tuple(v) if isinstance(v, list) else v for k, v in r.items()} for r in job["rollouts"]
    ]
    case = Case(tuple(Stored(**row) for row in rows), {}, {})
    how = replace(How(**job["how"]), processes=1)
    with joined() as world:
        found = Ours(place=place, world=world).gradient(case, Settings(**job["settings"]), how)
        if world.first:
            save_file(found, place / "gradient.safetensors")


if __name__ == "__main__":
    main()
