"""TRL's GRPOTrainer on stored rollouts: only its generation is replaced.

TRL pads, scores, centers, scales, splits into micro-batches and differentiates by its own code
(`_generate_and_score_completions`, `training_step`). Older policies' log-probabilities, which TRL
takes from the weights that it has, are put in where the settings ask for the stored ones.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tests.conformance.cases import GROUP, Case, Stored
from tests.conformance.settings import ONCE, How, Settings

LOSSES = {"rollouts": "grpo", "steps": "dapo", "steps_locally": "bnpo", "length": "dr_grpo"}
SCALES = {"sample_std": "group", "none": "none"}
RLOO = Settings(scale="leave_one_out", ratio="product")


@dataclass
class TRL:
    """TRL 1.16, on a processor, in float32 unless asked otherwise."""

    name: str = "TRL 1.16"
    place: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="conformance-")))

    def lacks(self, settings: Settings, how: How) -> str:
        """What it has no setting for."""
        if settings.ratio == "product":
            same = settings.but(off_policy=False, recipe="") == RLOO
            return "" if same else "RLOOTrainer has one loss"
        if settings.scale not in SCALES:
            return f"no scale_rewards gives '{settings.scale}'"
        if settings.sampler_correction:
            return "only with vLLM: its own sampler is not corrected for"
        if settings.detached and settings.mean != "steps":
            return "its cispo has the mean of dapo"
        if how.head != "fused" or how.prefix != "shared" or how.packing != "own":
            return "no such switch in GRPOTrainer"
        if how.side != "own":
            return "it pads prompts on the left and completions on the right"
        if how.processes > 1:
            return "not run"
        return ""

    def gradient(self, case: Case, settings: Settings, how: How = ONCE) -> dict[str, Tensor]:
        """Gradients of all weights by name, after a whole window of micro-batches."""
        case = case.ordered(how.order)
        rows = [{"prompt": rollout.question} for rollout in case.rollouts]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            rloo = settings.ratio == "product"
            trainer = (self.rloo if rloo else self.trainer)(case, settings, how)
            trainer.model.train()
            trainer.current_gradient_accumulation_steps = how.parts
            inputs = trainer._generate_and_score_completions(rows)
            if settings.off_policy:
                old = right_padded(case.rollouts, inputs)
                inputs["old_logps" if rloo else "old_per_token_logps"] = old.sum(1) if rloo else old
            trainer._generate_and_score_completions = lambda rows: inputs
            for _ in range(how.parts):  # it shuffles and splits them itself, once
                trainer.training_step(trainer.model, rows, None)
        return {
            name: torch.zeros_like(weight) if weight.grad is None else weight.grad.float()
            for name, weight in trainer.model.named_parameters()
        }

    def rloo(self, case: Case, settings: Settings, how: How) -> Any:
        """TRL's RLOOTrainer; as it has no `rollout_func`, its `_generate` gives the stored ones."""
        from datasets import Dataset
        from trl import RLOOConfig, RLOOTrainer

        stored = (
            [list(rollout.prompt) for rollout in case.rollouts],
            [list(rollout.ids) for rollout in case.rollouts],
            ["" for _ in case.rollouts],
        )
        trainer = RLOOTrainer(
            str(case.save(self.place / "policy")),
            reward_funcs=lambda completions, **columns: [r.reward for r in case.rollouts],
            args=RLOOConfig(
                output_dir=str(self.place / "rloo"),
                use_cpu=True,
                bf16=how.dtype == "bfloat16",
                gradient_checkpointing=how.saving,
                per_device_train_batch_size=len(case.rollouts) // how.parts,
                gradient_accumulation_steps=how.parts,
                num_generations=GROUP,
                max_completion_length=settings.length,
                epsilon=settings.low,
                epsilon_high=settings.high,
                beta=0.0,
                report_to=[],
                model_init_kwargs={"dtype": "float32"},
            ),
            train_dataset=Dataset.from_list([{"prompt": r.question} for r in case.rollouts]),
        )
        generating: Any = trainer
        generating._generate = lambda prompts: stored
        return trainer

    def trainer(self, case: Case, settings: Settings, how: How) -> Any:
        """TRL's trainer of the case's weights, which is handed the stored rollouts."""
        from datasets import Dataset
        from trl import GRPOConfig, GRPOTrainer

        def replay(prompts: Sequence[Any], trainer: Any) -> dict[str, Any]:
            assert len(prompts) == len(case.rollouts)
            return {
                "prompt_ids": [list(rollout.prompt) for rollout in case.rollouts],
                "completion_ids": [list(rollout.ids) for rollout in case.rollouts],
                "logprobs": None,
            }

        def paid(completions: Sequence[Any], **columns: Any) -> list[float]:
            return [rollout.reward for rollout in case.rollouts]

        config = GRPOConfig(
            output_dir=str(self.place / "trl"),
            use_cpu=True,
            bf16=how.dtype == "bfloat16",
            gradient_checkpointing=how.saving,
            per_device_train_batch_size=len(case.rollouts) // how.parts,
            gradient_accumulation_steps=how.parts,
            num_generations=GROUP,
            max_completion_length=settings.length,
            temperature=settings.temperature,
            epsilon=settings.low,
            epsilon_high=settings.high,
            beta=settings.beta,
            use_bias_correction_kl=settings.corrected,
            scale_rewards=SCALES[settings.scale],
            loss_type="cispo" if settings.detached else LOSSES[settings.mean],
            importance_sampling_level=settings.ratio,
            mask_truncated_completions=settings.mask_truncated,
            pad_to_multiple_of=how.padding or None,
            report_to=[],
            model_init_kwargs={"dtype": "float32"},
        )
        trainer = GRPOTrainer(
            str(case.save(self.place / "policy")),
            reward_funcs=paid,
            args=config,
            train_dataset=Dataset.from_list([{"prompt": r.question} for r in case.rollouts]),
            rollout_func=replay,
        )
        if settings.beta:
            held = {n: torch.from_numpy(x) for n, x in case.reference.items()}
            trainer.accelerator.unwrap_model(trainer.ref_model).load_state_dict(held)
        return trainer


def right_padded(rollouts: Sequence[Stored], inputs: dict[str, Tensor]) -> Tensor:
    """The stored log-probabilities of older policies in the shape of TRL's completions."""
    made = torch.zeros(inputs["completion_ids"].shape)
    for row, rollout in enumerate(rollouts):
        made[row, : len(rollout.old)] = torch.tensor(rollout.old)
    return made
