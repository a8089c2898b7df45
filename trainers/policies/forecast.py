"""forecast: a network that forecasts concentrations lead by lead, and learns by policy gradient.

Idea     A step is a lead: one number at a station, a field on a grid. A forecast is drawn from a
         Gaussian of the scaled log concentration at each lead (and in each cell), given what was
         drawn for the lead before, or from the probabilities of classes; `max_tokens` is the
         horizon in leads. Without drawing (temperature 0) it is the mean concentration, or the
         median. Attempts 2k and 2k + 1 are antithetic: one draw, both signs.
Names    forecast:tiny (station, untrained, 32 hidden units), forecast:small (96),
         forecast:grid-tiny (fields, 16), forecast:grid-small (48, halved three times);
         each with -classes for a class head; forecast:FOLDER.
Trace    z: what was drawn for each lead (and cell): scaled, or a class's number; NaN where nobody
         decided. temperature: drawn at.
Limits   Log-probabilities of Gaussians are densities of z, so they may be above 0; a field's step
         has the mean of its cells', unless settings say the sum. Cells are drawn independently,
         given the lead before. Reads the prompts of numeric tasks (arrays), not text; inserting
         text while resuming is refused.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import Parameter

from harness.errors import ModelError, UsageError
from harness.models import Sampling
from harness.types import Completion, Prompt, Rollout
from trainers.forecast import files
from trainers.forecast.context import Context, content_of, read
from trainers.forecast.drawing import Noise, Taken, branch, fresh, placed, stacked_draws
from trainers.forecast.heads import HIGHEST, Classes, Gaussian, Told, head_of
from trainers.forecast.rolling import Network, network_of, roll
from trainers.forecast.settings import GRID_CHANNELS, ForecastSettings
from trainers.policy import Extent, Live

GRID = ForecastSettings(kind="grid", channels=GRID_CHANNELS, hidden=16)
KNOWN = {
    "tiny": ForecastSettings(),
    "small": ForecastSettings(hidden=96),
    "grid-tiny": GRID,
    "grid-small": replace(GRID, hidden=48, depth=3),
}
KNOWN |= {f"{name}-classes": replace(each, head="classes") for name, each in KNOWN.items()}


def open_forecast(spec: str, sampling: Sampling, **changes: Any) -> ForecastPolicy:
    """Open what follows `forecast:`; `changes` are fields of ForecastSettings.

    Raises ModelError where there is no such model, or its folder is broken.
    """
    if spec in KNOWN:
        return ForecastPolicy(spec, network_of(replace(KNOWN[spec], **changes)), sampling)
    path = Path(spec)
    if not (path / files.SETTINGS).is_file():
        raise ModelError(
            f"no forecaster '{spec}': {', '.join(f'forecast:{name}' for name in KNOWN)} or a "
            f"folder with {files.SETTINGS} is asked for"
        )
    settings = replace(files.settings_in(path), **changes)
    policy = ForecastPolicy(spec, network_of(settings), sampling)
    policy.load_state(path)
    policy.changed = False
    return policy


@dataclass(frozen=True)
class Asked:
    """Forecasts to be made together: a row each."""

    prompts: Sequence[Prompt]
    begun: Sequence[Taken]
    """What is drawn already."""
    noise: Sequence[Noise]
    most: Sequence[int]
    """Leads, those begun with included."""


class ForecastPolicy:
    """A forecaster of stations or of grids as a policy."""

    independent = False
    """Sums depend in their last bits on the shape of the batch."""

    def __init__(self, spec: str, network: Network, sampling: Sampling) -> None:
        self.name = f"forecast:{spec}"
        self.network = network.eval()
        self.head = head_of(network.settings)
        self.sampling = sampling
        self.changed = False

    @property
    def settings(self) -> ForecastSettings:
        """What the network is made of."""
        return self.network.settings

    # ---- answering

    def answer(self, prompts: Sequence[Prompt]) -> Iterator[tuple[int, Completion]]:
        """One forecast a prompt; see `harness.models.Model`."""
        begun = [Taken(np.zeros(0, np.float32))] * len(prompts)
        most = [self.sampling.max_tokens] * len(prompts)
        asked = Asked(prompts, begun, [self._fresh(prompt) for prompt in prompts], most)
        yield from enumerate(self._forecast(asked, explore=True))

    def resume(
        self,
        rollout: Rollout,
        step: int,
        *,
        insert: str | None = None,
        rollouts: int = 1,
        explore: bool = True,
    ) -> list[Completion]:
        """Go on from lead number `step`; see `trainers.policy.Policy`."""
        cuts = [(rollout, step, number) for number in range(rollouts)]
        return self._resumed(cuts, insert, None, explore=explore)

    def resume_all(
        self,
        cuts: Sequence[tuple[Rollout, int]],
        *,
        insert: str | None = None,
        budget: int | None = None,
    ) -> list[Completion]:
        """Many forecasts, each from a lead of its own; see `trainers.policy.Policy`."""
        return self._resumed([(*cut, 0) for cut in cuts], insert, budget, explore=True)

    def _resumed(
        self,
        cuts: Sequence[tuple[Rollout, int, int]],
        insert: str | None,
        budget: int | None,
        *,
        explore: bool,
    ) -> list[Completion]:
        """Continuations of (rollout, step, number), drawn together."""
        if insert:
            raise UsageError("a forecast is made of numbers: no text can be inserted into it")
        later: list[Prompt] = []
        begun: list[Taken] = []
        noise: list[Noise] = []
        most: list[int] = []
        for rollout, step, number in cuts:
            prompt, completion = rollout.turns[-1]
            taken = self._taken(prompt, completion)
            if not 0 <= step <= len(taken.z):
                raise UsageError(f"resume at step {step} of a forecast of {len(taken.z)} leads")
            later.append(prompt.but(attempt=prompt.attempt + number))
            begun.append(replace(taken, z=taken.z[:step]))
            anew = partial(branch, self.sampling.seed, prompt, (step, number))
            noise.append(self._fresh(later[-1]) if step == 0 else anew)
            most.append(self.sampling.max_tokens if budget is None else step + budget)
        return self._forecast(Asked(later, begun, noise, most), explore=explore)

    def _fresh(self, prompt: Prompt) -> Noise:
        return partial(fresh, self.sampling.seed, self.settings.antithetic, prompt)

    @torch.no_grad()
    def _forecast(self, asked: Asked, *, explore: bool) -> list[Completion]:
        """Of each row at most so many leads as are asked for."""
        if not asked.prompts:
            return []
        context, state = self._read(asked.prompts)
        shape = tuple(context.normal.shape[1:])
        steps = [min(shape[0], each) for each in asked.most]
        temperature = self.sampling.temperature if explore else 0.0
        fixed = stacked_draws([each.z for each in asked.begun], shape)
        drawn = torch.from_numpy(np.stack([noise(shape) for noise in asked.noise]))

        def choose(step: int, told: Told) -> Tensor:
            if temperature:
                z = told.tempered(temperature).draw(drawn[:, step])
            else:
                z = told.point(self.settings.point, context)
            z = self.head.limited(z, context).masked_fill(~context.cells, torch.nan)
            return torch.where(fixed[:, step].isnan(), z, fixed[:, step])

        z, told = roll(self.network, context, state, max(1, *steps), choose)
        heat = temperature or 1.0
        logprobs = self._of_steps(z, told.tempered(heat))[0].numpy()
        values = self.head.concentration(z, context).double().numpy()
        return [
            Completion(
                values[row, :said],
                stopped="done" if said == shape[0] else "budget",
                steps=said,
                logprobs=logprobs[row, :said] if explore else None,
                trace={"z": z[row, :said].numpy(), "temperature": heat},
            )
            for row, said in enumerate(steps)
        ]

    def _of_steps(
        self, z: Float[Tensor, "N T *cells"], told: Told
    ) -> tuple[Float[Tensor, "N T"], Float[Tensor, "N T"], Float[Tensor, "N T *cells"]]:
        """Log-probability and entropy of each step, and what each of its cells counts."""
        decided = ~z.isnan()
        own, entropy = told.logprobs(z.nan_to_num()), told.entropy()
        if z.dim() == 2:
            return torch.where(decided, own, 0.0), entropy, decided.to(own)
        count = decided.flatten(2).sum(2).clamp(min=1)[..., None, None]
        share = decided / (count if self.settings.cells == "mean" else 1)
        own = torch.where(decided, own, 0.0)
        return (own * share).sum((2, 3)), (entropy * share).sum((2, 3)), share

    def spell(self, prompt: Prompt, output: Any) -> Completion:
        """The draws that would give these concentrations (L, *cells); NaN is no decision."""
        context = read([content_of(prompt)], self.settings)
        leads, *cells = context.normal.shape[1:]
        try:
            told = np.asarray(output, np.float64)
        except (TypeError, ValueError):
            told = np.zeros(0)
        if not cells:
            told = told.reshape(-1)
        elif told.shape[1:] != tuple(cells):
            told = np.zeros((0, *cells))
        values = np.full((leads, *cells), np.nan)
        values[: len(told)] = told[:leads]
        values = np.where(values >= 0, np.minimum(values, HIGHEST), np.nan)
        values[:, ~context.cells[0].numpy()] = np.nan
        z = self.head.spelled(torch.from_numpy(values)[None].float(), context)
        z = z[0, : len(told)].numpy()
        return Completion(output, steps=len(z), trace={"z": z, "temperature": 1.0})

    # ---- reviewing

    def review(self, rollouts: Sequence[Rollout], *, temperature: float | None = None) -> Live:
        """Log-densities of exactly the draws that were made; see `trainers.policy.Policy`."""
        mask = self.decided(rollouts)
        turns = [turn for rollout in rollouts for turn in rollout.turns]
        taken = [self._taken(*turn) for turn in turns]
        longest = max((len(each.z) for each in taken), default=0)
        if not longest:
            nothing = torch.zeros(mask.shape)
            return Live(nothing, nothing, mask)
        context, state = self._read([prompt for prompt, _ in turns])
        z = stacked_draws([each.z for each in taken], (longest, *context.normal.shape[2:]))
        heat = torch.tensor([each.temperature if temperature is None else temperature
                             for each in taken]).view(-1, *(1,) * (z.dim() - 1))  # fmt: skip
        _, told = roll(self.network, context, state, longest, lambda step, _: z[:, step])
        told = told.tempered(heat)
        sizes = [[len(self._taken(*turn).z) for turn in r.turns] for r in rollouts]
        place = partial(placed, sizes=sizes, columns=mask.shape[1])
        logprobs, entropy, share = (place(each) for each in self._of_steps(z, told))
        told = told.each(place)
        return Live(
            logprobs * mask,
            entropy * mask,
            mask,
            told.mean if isinstance(told, Gaussian) else None,
            told.spread if isinstance(told, Gaussian) else None,
            told.logits if isinstance(told, Classes) else None,
            share if share.dim() > 2 else None,
        )

    def decided(self, rollouts: Sequence[Rollout]) -> Bool[Tensor, "N T"]:
        """Leads that were drawn; see `trainers.policy.Policy`."""
        own = [
            np.concatenate([self._taken(*turn).decided for turn in rollout.turns])
            for rollout in rollouts
        ]
        mask = torch.zeros((len(own), max(map(len, own), default=0)), dtype=torch.bool)
        for row, kept in enumerate(own):
            mask[row, : len(kept)] = torch.from_numpy(kept)
        return mask

    def choices(self, rollouts: Sequence[Rollout]) -> Int[Tensor, "N T"]:
        """Draws by the order in which they are met here; see `trainers.policy.Policy`."""
        places: dict[bytes, int] = {}
        taken = [
            [number for turn in rollout.turns for number in self._taken(*turn).numbered(places)]
            for rollout in rollouts
        ]
        table = torch.full((len(taken), max(map(len, taken), default=0)), -1)
        for row, own in enumerate(taken):
            table[row, : len(own)] = torch.tensor(own)
        return table

    def size(self, rollout: Rollout) -> int:
        """Leads."""
        return rollout.steps

    def extent(self, rollout: Rollout) -> Extent:
        """Leads of its own, and the history, which rollouts of one example share.

        Of a field each lead has a position for so many cells as are one in the network's middle.
        """
        frames, _, *cells = np.shape(content_of(rollout.prompt)["history"])
        coarse = math.prod(-(-each // 2**self.settings.depth) for each in cells)
        read_once = coarse if cells else frames // self.settings.stride
        shared: dict[Hashable, int] = {rollout.example.id: read_once}
        return Extent(coarse * sum(len(self._taken(*turn).z) for turn in rollout.turns), shared)

    def _taken(self, prompt: Prompt, completion: Completion) -> Taken:
        """A turn's draws; those of an answer that nobody drew are spelled."""
        if completion.stopped == "failed":
            return Taken(np.zeros(0, np.float32))
        trace = completion.trace
        if "z" not in trace:
            trace = self.spell(prompt, completion.output).trace
        return Taken(np.asarray(trace["z"], np.float32), float(trace["temperature"]))

    def _read(self, prompts: Sequence[Prompt]) -> tuple[Context, Float[Tensor, "N D *cells"]]:
        """What every prompt tells, and the state after its history; each history is read once."""
        places: dict[str, int] = {}
        for prompt in prompts:
            places.setdefault(prompt.example.id, len(places))
        asked = {prompt.example.id: prompt for prompt in prompts}
        found = read([content_of(asked[name]) for name in places], self.settings)
        rows = [places[prompt.example.id] for prompt in prompts]
        return found.take(rows), self.network.encode(found)[rows]

    # ---- learning

    def parameters(self) -> list[Parameter]:
        """All weights that learn."""
        return [weight for weight in self.network.parameters() if weight.requires_grad]

    def refresh(self) -> None:
        """Nothing is kept of the weights but that they changed."""
        self.changed = True

    def frozen(self) -> ForecastPolicy:
        """A copy that learns no more."""
        twin = network_of(self.settings)
        twin.load_state_dict(self.network.state_dict())
        twin.requires_grad_(False)
        return ForecastPolicy(self.name.partition(":")[2], twin, self.sampling)

    def save(self, path: Path) -> None:
        """Settings as JSON, weights as safetensors."""
        files.write(self.network, self.settings, path)

    def load_state(self, path: Path) -> None:
        """Take over the weights of a folder that `save` wrote."""
        files.restore(self.network, path)
        self.refresh()

    def describe(self) -> Mapping[str, Any]:
        """What a manifest must hold."""
        digest = hashlib.sha256()
        for name, weight in sorted(self.network.state_dict().items()):
            digest.update(name.encode() + weight.numpy().tobytes())
        return {
            "weights": digest.hexdigest()[:16],
            "changed": self.changed,
            "network": {
                **asdict(self.settings),
                "channels": list(self.settings.channels),
                "edges": list(self.settings.edges),
            },
            "dtype": "float32",
            "engine": "torch",
            "threads": torch.get_num_threads(),
            "sampling": asdict(self.sampling),
        }
