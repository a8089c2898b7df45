"""forecast: a network that forecasts concentrations lead by lead, and learns by policy gradient.

Idea     A step is a lead. A forecast is drawn from a Gaussian of the scaled log concentration at
         each lead, given what was drawn for the lead before; `max_tokens` is the horizon in leads.
         Without drawing (temperature 0) it is the mean concentration, or the median.
         Attempts 2k and 2k + 1 are antithetic: one draw, both signs.
Names    forecast:tiny (untrained, 32 hidden units), forecast:small (96), forecast:FOLDER.
Trace    z: what was drawn for each lead, scaled; NaN where nobody decided. temperature: drawn at.
Limits   Log-probabilities are densities of z, so they may be above 0. Reads the prompts of numeric
         tasks (arrays), not text; inserting text while resuming is refused.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import Parameter

from harness.errors import ModelError, UsageError
from harness.journal import write_whole
from harness.models import Sampling, row_seed
from harness.types import Completion, Prompt, Rollout
from trainers.forecast.context import Context, content_of, read
from trainers.forecast.network import StationNetwork
from trainers.forecast.settings import ForecastSettings
from trainers.policy import Extent, Live

KNOWN = {"tiny": ForecastSettings(), "small": ForecastSettings(hidden=96)}
HIGHEST = 2000.0
"""ug/m3 that a forecast never exceeds: a draw from a wide tail is no reason for infinity."""
SETTINGS, WEIGHTS = "forecast.json", "model.safetensors"
HALF_LOG_TAU = 0.5 * float(np.log(2 * np.pi))


def open_forecast(spec: str, sampling: Sampling, **changes: Any) -> ForecastPolicy:
    """Open what follows `forecast:`; `changes` are fields of ForecastSettings.

    Raises ModelError where there is no such model, or its folder is broken.
    """
    if spec in KNOWN:
        settings = replace(KNOWN[spec], **changes)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            network = StationNetwork(settings)
        return ForecastPolicy(spec, network, sampling)
    path = Path(spec)
    if not (path / SETTINGS).is_file():
        raise ModelError(
            f"no forecaster '{spec}': forecast:tiny, forecast:small or a folder with {SETTINGS} "
            "is asked for"
        )
    settings = replace(_settings(path), **changes)
    policy = ForecastPolicy(spec, StationNetwork(settings), sampling)
    policy.load_state(path)
    policy.changed = False
    return policy


def _settings(path: Path) -> ForecastSettings:
    try:
        table = json.loads((path / SETTINGS).read_text("utf-8"))
        return ForecastSettings(**{**table, "channels": tuple(table["channels"])})
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ModelError(f"{path / SETTINGS} cannot be read: {error}") from error


Noise = Callable[[int], NDArray[np.float32]]
"""Leads to standard normal numbers (L,)."""


@dataclass(frozen=True)
class Taken:
    """A turn's steps: what was drawn, at which temperature."""

    z: NDArray[np.float32]
    temperature: float = 1.0


class ForecastPolicy:
    """A station forecaster as a policy."""

    independent = False
    """Sums depend in their last bits on the shape of the batch."""

    def __init__(self, spec: str, network: StationNetwork, sampling: Sampling) -> None:
        self.name = f"forecast:{spec}"
        self.network = network.eval()
        self.sampling = sampling
        self.changed = False

    @property
    def settings(self) -> ForecastSettings:
        """What the network is made of."""
        return self.network.settings

    # ---- answering

    def answer(self, prompts: Sequence[Prompt]) -> Iterator[tuple[int, Completion]]:
        """One forecast a prompt; see `harness.models.Model`."""
        noise = [partial(self._draw, prompt) for prompt in prompts]
        begun = [Taken(np.zeros(0, np.float32))] * len(noise)
        most = [self.sampling.max_tokens] * len(noise)
        yield from enumerate(self._forecast(prompts, begun, noise, explore=True, most=most))

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
            branch = partial(self._branch, prompt, step, number)
            noise.append(partial(self._draw, later[-1]) if step == 0 else branch)
            most.append(self.sampling.max_tokens if budget is None else step + budget)
        return self._forecast(later, begun, noise, explore=explore, most=most)

    def _draw(self, prompt: Prompt, leads: int) -> NDArray[np.float32]:
        """(L,) standard normal: of a prompt and attempt, whatever the horizon and the neighbors."""
        sign, source = 1.0, prompt
        if self.settings.antithetic:
            sign = 1.0 if prompt.attempt % 2 == 0 else -1.0
            source = prompt.but(attempt=prompt.attempt // 2)
        rng = np.random.default_rng(row_seed(self.sampling.seed, source))
        return (sign * rng.standard_normal(leads)).astype(np.float32)

    def _branch(self, prompt: Prompt, step: int, number: int, leads: int) -> NDArray[np.float32]:
        """(L,) of the number-th continuation."""
        seed = (*row_seed(self.sampling.seed, prompt), step, number)
        return np.random.default_rng(seed).standard_normal(leads).astype(np.float32)

    @torch.no_grad()
    def _forecast(
        self,
        prompts: Sequence[Prompt],
        begun: Sequence[Taken],
        noise: Sequence[Noise],
        *,
        explore: bool,
        most: Sequence[int],
    ) -> list[Completion]:
        """Of each row at most so many leads, those begun with included."""
        if not prompts:
            return []
        context, state = self._read(prompts)
        leads = context.lead.shape[1]
        steps = [min(leads, each) for each in most]
        temperature = self.sampling.temperature if explore else 0.0
        fixed = torch.full((len(prompts), leads), torch.nan)
        for row, each in enumerate(begun):
            fixed[row, : len(each.z)] = torch.from_numpy(each.z)
        drawn = torch.from_numpy(np.stack([draw(leads) for draw in noise]))

        def choose(step: int, mean: Tensor, spread: Tensor) -> Tensor:
            if temperature:
                z = mean + temperature * spread * drawn[:, step]
            elif self.settings.point == "mean":
                z = mean + spread**2 * context.spread / 2  # of a log-normal, in its own scale
            else:
                z = mean
            ceiling = (np.log1p(HIGHEST) - context.center) / context.spread
            z = torch.minimum(z, ceiling)
            return torch.where(fixed[:, step].isnan(), z, fixed[:, step])

        z, mean, spread = self.network.roll(context, state, max(steps), choose)
        told = _density(z, mean, spread * (temperature or 1.0)).numpy()
        values = context.concentration(_padded(z, leads)).double().numpy()
        return [
            Completion(
                values[row, :said],
                stopped="done" if said == leads else "budget",
                steps=said,
                logprobs=told[row, :said] if explore else None,
                trace={"z": z[row, :said].numpy(), "temperature": temperature or 1.0},
            )
            for row, said in enumerate(steps)
        ]

    def spell(self, prompt: Prompt, output: Any) -> Completion:
        """The draws that would give these concentrations (L,); NaN is no decision."""
        context = read([content_of(prompt)], self.settings.channels)
        leads = context.lead.shape[1]
        try:
            told = np.asarray(output, np.float64).reshape(-1)
        except (TypeError, ValueError):
            told = np.zeros(0)
        values = np.full(leads, np.nan)
        values[: len(told)] = told[:leads]
        values = np.where(values >= 0, np.minimum(values, HIGHEST), np.nan)
        z = context.scaled(torch.from_numpy(values)[None].float())[0, : len(told)].numpy()
        return Completion(output, steps=len(z), trace={"z": z, "temperature": 1.0})

    # ---- reviewing

    def review(self, rollouts: Sequence[Rollout], *, temperature: float | None = None) -> Live:
        """Log-densities of exactly the draws that were made; see `trainers.policy.Policy`."""
        mask = self.decided(rollouts)
        columns = mask.shape[1]
        turns = [turn for rollout in rollouts for turn in rollout.turns]
        taken = [self._taken(*turn) for turn in turns]
        longest = max((len(each.z) for each in taken), default=0)
        if not longest:
            nothing = torch.zeros((len(rollouts), columns))
            return Live(nothing, nothing, mask)
        z = torch.full((len(turns), longest), torch.nan)
        for row, each in enumerate(taken):
            z[row, : len(each.z)] = torch.from_numpy(each.z)
        heat = torch.tensor([each.temperature if temperature is None else temperature
                             for each in taken])[:, None]  # fmt: skip
        context, state = self._read([prompt for prompt, _ in turns])
        _, mean, spread = self.network.roll(context, state, longest, lambda step, *_: z[:, step])
        logprobs = torch.where(z.isnan(), 0.0, _density(z.nan_to_num(), mean, spread * heat))
        entropy = torch.log(spread * heat) + 0.5 + HALF_LOG_TAU
        sizes = [[len(self._taken(*turn).z) for turn in r.turns] for r in rollouts]
        told = (logprobs, entropy, mean, spread * heat)
        placed = [_placed(each, sizes, columns) * mask for each in told]
        return Live(placed[0], placed[1], mask, placed[2], placed[3])

    def decided(self, rollouts: Sequence[Rollout]) -> Bool[Tensor, "N T"]:
        """Leads that were drawn; see `trainers.policy.Policy`."""
        own = [
            np.concatenate([~np.isnan(self._taken(*turn).z) for turn in rollout.turns])
            for rollout in rollouts
        ]
        mask = torch.zeros((len(own), max(map(len, own), default=0)), dtype=torch.bool)
        for row, kept in enumerate(own):
            mask[row, : len(kept)] = torch.from_numpy(kept)
        return mask

    def choices(self, rollouts: Sequence[Rollout]) -> Int[Tensor, "N T"]:
        """Draws by their place among all that were drawn here; see `trainers.policy.Policy`."""
        drawn = [
            np.concatenate([self._taken(*turn).z for turn in rollout.turns]) for rollout in rollouts
        ]
        table = torch.full((len(drawn), max(map(len, drawn), default=0)), -1)
        if drawn:
            places = np.unique(np.concatenate(drawn), return_inverse=True)[1]
            ends = np.cumsum([len(z) for z in drawn])[:-1]
            for row, own in enumerate(np.split(places, ends)):
                table[row, : len(own)] = torch.from_numpy(own)
        return table

    def size(self, rollout: Rollout) -> int:
        """Leads."""
        return rollout.steps

    def extent(self, rollout: Rollout) -> Extent:
        """Leads of its own, and the history, which rollouts of one example share."""
        hours = len(content_of(rollout.prompt)["history"]) // self.settings.stride
        shared: dict[Hashable, int] = {rollout.example.id: hours}
        return Extent(sum(len(self._taken(*turn).z) for turn in rollout.turns), shared)

    def _taken(self, prompt: Prompt, completion: Completion) -> Taken:
        """A turn's draws; those of an answer that nobody drew are spelled."""
        if completion.stopped == "failed":
            return Taken(np.zeros(0, np.float32))
        trace = completion.trace
        if "z" not in trace:
            trace = self.spell(prompt, completion.output).trace
        return Taken(np.asarray(trace["z"], np.float32), float(trace["temperature"]))

    def _read(self, prompts: Sequence[Prompt]) -> tuple[Context, Float[Tensor, "N D"]]:
        """What every prompt tells, and the state after its history; each history is read once."""
        places: dict[str, int] = {}
        for prompt in prompts:
            places.setdefault(prompt.example.id, len(places))
        asked = {prompt.example.id: prompt for prompt in prompts}
        found = read([content_of(asked[name]) for name in places], self.settings.channels)
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
        twin = StationNetwork(self.settings)
        twin.load_state_dict(self.network.state_dict())
        twin.requires_grad_(False)
        return ForecastPolicy(self.name.partition(":")[2], twin, self.sampling)

    def save(self, path: Path) -> None:
        """Settings as JSON, weights as safetensors."""
        from safetensors.torch import save

        path.mkdir(parents=True, exist_ok=True)
        tensors = {name: x.contiguous() for name, x in self.network.state_dict().items()}
        write_whole(path / SETTINGS, json.dumps(asdict(self.settings), indent=1))
        write_whole(path / WEIGHTS, save(tensors))

    def load_state(self, path: Path) -> None:
        """Take over the weights of a folder that `save` wrote."""
        from safetensors.torch import load_file

        try:
            self.network.load_state_dict(load_file(path / WEIGHTS))
        except Exception as error:  # safetensors raises an error of its own, torch a RuntimeError
            raise ModelError(f"{path / WEIGHTS} cannot be read: {error}") from error
        self.refresh()

    def describe(self) -> Mapping[str, Any]:
        """What a manifest must hold."""
        digest = hashlib.sha256()
        for name, weight in sorted(self.network.state_dict().items()):
            digest.update(name.encode() + weight.numpy().tobytes())
        return {
            "weights": digest.hexdigest()[:16],
            "changed": self.changed,
            "network": {**asdict(self.settings), "channels": list(self.settings.channels)},
            "dtype": "float32",
            "engine": "torch",
            "threads": torch.get_num_threads(),
            "sampling": asdict(self.sampling),
        }


def _density(z: Tensor, mean: Tensor, spread: Tensor) -> Tensor:
    """Log-density of a Gaussian."""
    return -0.5 * ((z - mean) / spread) ** 2 - torch.log(spread) - HALF_LOG_TAU


def _padded(z: Tensor, columns: int) -> Tensor:
    return torch.nn.functional.pad(z, (0, columns - z.shape[1]))


def _placed(x: Tensor, sizes: Sequence[Sequence[int]], columns: int) -> Tensor:
    """(turns, T) to (N, T): the turns of a rollout one after the other."""
    rows: list[Tensor] = []
    turn = 0
    for lengths in sizes:
        parts = [x[turn + number, :length] for number, length in enumerate(lengths)]
        turn += len(lengths)
        rows.append(torch.nn.functional.pad(torch.cat(parts), (0, columns - sum(lengths))))
    return torch.stack(rows)
