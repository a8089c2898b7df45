"""tracking: where a run's numbers go. JSON lines always; TensorBoard, W&B and trackio if asked.

Names are TRL's where TRL has the number, so that dashboards carry over.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from harness.errors import UnknownName, UsageError, need
from harness.journal import Journal
from trainers.losses import CappedReinforce, Clipped, ClippedSequence, KLToReference
from trainers.recipe import Recipe

PLACES = ("tensorboard", "wandb", "trackio")


def about_loss(recipe: Recipe) -> str:
    """Why the printed loss says little of what is learned, in one line."""
    kinds = {type(loss) for loss in recipe.losses}
    watch = "watch reward, entropy and the dev score instead"
    if CappedReinforce in kinds:
        return (
            "it is a weighted sum of log-probabilities whose gradient is what counts, and may rise "
            f"or fall as the policy learns; {watch}"
        )
    if not kinds & {Clipped, ClippedSequence}:
        own = " and ".join(type(x).__name__ for x in recipe.losses)
        return f"it is the sum of {own}, which do not tell how good the answers are; {watch}"
    leash = [x for x in recipe.losses if isinstance(x, KLToReference) and x.beta != 0]
    more = ", and what is left is the KL term" if leash else ""
    ratio = "the ratio of new to old policy is 1 and a group's advantages add up to 0"
    when = "with one epoch" if recipe.epochs == 1 else "in the first epoch"
    return f"{when} {ratio}, so it is near 0 whatever is learned{more}; {watch}"


@runtime_checkable
class Tracker(Protocol):
    """Takes numbers of a step."""

    def log(self, step: int, numbers: Mapping[str, float]) -> None:
        """Numbers of one step."""
        ...

    def close(self) -> None:
        """Write what is not written yet."""
        ...


class Lines:
    """`metrics.jsonl`: a line a step, cut back to the checkpoint when a run goes on."""

    def __init__(self, path: Path) -> None:
        self.journal = Journal(path).open()

    def log(self, step: int, numbers: Mapping[str, float]) -> None:
        """One line."""
        self.journal.append({"step": step, **numbers})

    def prune(self, step: int) -> None:
        """Drop the lines after a step."""
        self.journal.prune(lambda line: line.get("step", step + 1) <= step)

    def close(self) -> None:
        """Give the writer's place back."""
        self.journal.close()


class _TensorBoard:
    def __init__(self, folder: Path, step: int) -> None:
        need("tensorboard", "tracking", "--report-to tensorboard")
        from torch.utils.tensorboard import SummaryWriter

        self.writer = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)

    def log(self, step: int, numbers: Mapping[str, float]) -> None:
        for name, value in numbers.items():
            self.writer.add_scalar(name, value, step)
        self.writer.flush()

    def close(self) -> None:
        self.writer.close()


class _Hosted:
    """W&B and trackio, which speak alike."""

    def __init__(self, place: str, folder: Path, settings: Mapping[str, Any]) -> None:
        self.module = need(place, "tracking", f"--report-to {place}")
        options: dict[str, Any] = {"project": "grpo-harness", "name": folder.name}
        if place == "wandb":
            options |= {"dir": str(folder), "id": folder.name, "resume": "allow"}
        else:
            options |= {"resume": "allow"}
        try:
            self.run = self.module.init(**options, config=dict(settings))
        except Exception as error:  # no account, no network, no room: whatever they raise
            would = {"wandb": "WANDB_MODE=offline", "trackio": "TRACKIO_DIR to a folder of yours"}
            reason = str(error).strip().rstrip(".") or type(error).__name__
            raise UsageError(
                f"--report-to {place} cannot begin: {reason}. Log in, or set {would[place]}"
            ) from error

    def log(self, step: int, numbers: Mapping[str, float]) -> None:
        self.module.log(dict(numbers), step=step)

    def close(self) -> None:
        self.module.finish()


def trackers(
    places: Sequence[str], folder: Path, step: int, settings: Mapping[str, Any]
) -> list[Tracker]:
    """Those asked for; MissingExtra where one is not installed. `step` is the last one done."""
    made: list[Tracker] = []
    for place in places:
        if place not in PLACES:
            raise UnknownName(place, "places to report to", PLACES)
        made.append(
            _TensorBoard(folder, step)
            if place == "tensorboard"
            else _Hosted(place, folder, settings)
        )
    return made
