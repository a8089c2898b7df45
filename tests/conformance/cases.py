"""Stored rollouts and the tiny model that is to learn from them, as they lie in `golden/`.

A case is plain data: token ids, rewards and log-probabilities, and weights that any trainer can
read. Nothing of ours is needed to compute its gradients.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM

GOLDEN = Path(__file__).with_name("golden")
GROUP, END = 4, 2
QUESTIONS = ("7", "ab12", "what is 3 + 4?", "q", "count to nine, please", "zz9")


@dataclass(frozen=True)
class Stored:
    """One rollout."""

    question: str
    """Also names the group."""
    prompt: tuple[int, ...]
    ids: tuple[int, ...]
    reward: float
    old: tuple[float, ...]
    """Log-probability of each step under an older policy, in nats, at temperature 1."""
    sampled: tuple[float, ...]
    """As the sampler had it."""

    @property
    def ended(self) -> bool:
        """False where the length limit cut it."""
        return self.ids[-1:] == (END,)


@dataclass(frozen=True)
class Case:
    """Rollouts in groups of `GROUP`, in order, and weights by name."""

    rollouts: tuple[Stored, ...]
    weights: dict[str, np.ndarray]
    reference: dict[str, np.ndarray]

    def but(self, rollouts: Sequence[Stored]) -> Case:
        """The same model with other rollouts."""
        return replace(self, rollouts=tuple(rollouts))

    def model(self, dtype: torch.dtype, *, reference: bool = False) -> LlamaForCausalLM:
        """The policy, or what its KL is taken to."""
        model = shape()
        held = self.reference if reference else self.weights
        model.load_state_dict({name: torch.from_numpy(x) for name, x in held.items()})
        return model.to(dtype).eval()  # type: ignore[arg-type]

    def save(self, folder: Path, *, reference: bool = False) -> Path:
        """The model as a checkpoint folder with its tokenizer."""
        from trainers.policies.tiny_text import tiny_tokenizer

        if not folder.exists():
            self.model(torch.float32, reference=reference).save_pretrained(folder)
            tiny_tokenizer().save_pretrained(folder)
        return folder

    def ordered(self, seed: int | None) -> Case:
        """Groups in another order, and rollouts in another order within them."""
        if seed is None:
            return self
        rng = np.random.default_rng(seed)
        groups: dict[str, list[Stored]] = {}
        for rollout in self.rollouts:
            groups.setdefault(rollout.question, []).append(rollout)
        names = list(groups)
        return self.but(
            [
                groups[names[group]][row]
                for group in rng.permutation(len(names))
                for row in rng.permutation(len(groups[names[group]]))
            ]
        )


def shape() -> LlamaForCausalLM:
    """Two layers of hidden size 8: 2,840 weights, small enough to store a dozen gradients of."""
    from transformers import LlamaConfig, LlamaForCausalLM

    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=104,
            hidden_size=8,
            intermediate_size=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=1,
            max_position_embeddings=256,
            bos_token_id=None,
            pad_token_id=0,
            eos_token_id=END,
            initializer_range=0.4,
            tie_word_embeddings=False,
        )
    )


def stored() -> Case:
    """The case that lies in `golden/`."""
    rows = json.loads((GOLDEN / "rollouts.json").read_text("utf-8"))
    with np.load(GOLDEN / "weights.npz", allow_pickle=False) as held:
        weights = {name.partition("/")[2]: held[name] for name in held if name[0] == "p"}
        reference = {name.partition("/")[2]: held[name] for name in held if name[0] == "r"}
    rollouts = [
        Stored(**{k: tuple(v) if isinstance(v, list) else v for k, v in row.items()})
        for row in rows
    ]
    return Case(tuple(rollouts), weights, reference)


def write(case: Case) -> None:
    """Put a case into `golden/`."""
    GOLDEN.mkdir(exist_ok=True)
    lines = ",\n".join(json.dumps(asdict(rollout)) for rollout in case.rollouts)
    (GOLDEN / "rollouts.json").write_text(f"[\n{lines}\n]\n", "utf-8")
    held: dict[str, Any] = {f"policy/{name}": x for name, x in case.weights.items()}
    held |= {f"reference/{name}": x for name, x in case.reference.items()}
    np.savez_compressed(GOLDEN / "weights.npz", **held)


def drawn(seed: int = 0) -> Case:
    """A new case: ragged groups of 1 to 12 steps, one-token answers, cut ones, one flat group."""
    from tests.conformance.plain import step_logprobs
    from trainers.policies.tiny_text import tiny_tokenizer

    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    policy = {name: x.numpy().copy() for name, x in shape().state_dict().items()}
    moved = {
        name: (x + 0.1 * rng.standard_normal(x.shape)).astype(np.float32)
        for name, x in policy.items()
    }
    tokenizer = tiny_tokenizer()
    rollouts: list[Stored] = []
    for question in QUESTIONS:
        asked = tokenizer.apply_chat_template(
            [{"role": "user", "content": question}], add_generation_prompt=True, return_dict=False
        )
        for _ in range(GROUP):
            number = len(rollouts)
            steps = 1 + 5 * number % 12
            ids = [int(token) for token in rng.integers(7, 104 - 2, size=steps)]
            if number % 3:
                ids[-1] = END
            flat = question == QUESTIONS[-1]
            reward = 0.5 if flat else (number * 7 % 11) / 10
            rollouts.append(Stored(question, tuple(asked), tuple(ids), reward, (), ()))
    case = Case(tuple(rollouts), policy, moved)
    model = case.model(torch.float64)
    told = []
    for rollout in rollouts:
        with torch.no_grad():
            now = torch.stack(step_logprobs(model, rollout, 1.0)).numpy()
        old = np.float32(now + 0.4 * rng.standard_normal(len(now)))
        sampled = np.float32(now + 0.2 * rng.standard_normal(len(now)))
        told.append(replace(rollout, old=tuple(old.tolist()), sampled=tuple(sampled.tolist())))
    return case.but(told)
