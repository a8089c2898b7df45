"""Any causal model: sliding windows, capped or scaled logits, learned positions, recurrence."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import transformers
from numpy.testing import assert_allclose

from harness.models import Sampling
from harness.types import Example, Message, Prompt, Rollout, Verdict
from trainers.policies.text import TextPolicy, open_text
from trainers.policies.tiny_text import tiny_tokenizer
from trainers.text.cache import is_plain

COMMON = {
    "vocab_size": 104,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "pad_token_id": 0,
    "bos_token_id": None,
    "eos_token_id": 2,
    "initializer_range": 0.2,
}
KINDS = {
    "Mistral": {"sliding_window": 8},
    "Qwen2": {},
    "Qwen3": {"head_dim": 8},
    "Gemma2": {"head_dim": 8, "sliding_window": 8, "query_pre_attn_scalar": 8},
    "Gemma3Text": {"head_dim": 8, "sliding_window": 8, "query_pre_attn_scalar": 8},
    "Granite": {"logits_scaling": 3.0},
    "Cohere": {"logit_scale": 0.25},
    "GPT2": {"n_embd": 32, "n_head": 4, "n_layer": 2, "n_positions": 256},
    "Lfm2": {"layer_types": ["conv", "full_attention"], "conv_L_cache": 3},
}


def opened(kind: str, folder: Path) -> TextPolicy:
    shared = {k: v for k, v in COMMON.items() if kind != "GPT2" or k.endswith(("id", "size"))}
    shared.pop("hidden_size") if kind == "GPT2" else None
    shared.pop("intermediate_size") if kind == "GPT2" else None
    config = getattr(transformers, f"{kind}Config")(**{**shared, **KINDS[kind]})
    torch.manual_seed(0)
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    sampling = Sampling(max_tokens=24, temperature=0.7)
    return open_text(str(folder), sampling, batch_size=8, cache=folder)


def prompts() -> list[Prompt]:
    questions = ["a", "What is it?", "Count to twenty, please."]
    return [
        Prompt(Example(question, {}, None), (Message("user", question),), attempt=attempt)
        for question in questions
        for attempt in range(2)
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_every_architecture_reviews_what_it_sampled(kind: str, tmp_path: Path):
    policy = opened(kind, tmp_path)
    asked = prompts() if is_plain(policy.model) else prompts()[2:4]
    answers = dict(policy.answer(asked))
    rollouts = [Rollout(((asked[n], answers[n]),), Verdict({}), "") for n in sorted(answers)]
    live = policy.review(rollouts)
    for row, rollout in enumerate(rollouts):
        steps = rollout.steps
        found = live.logprobs[row, :steps].detach()
        assert_allclose(found, rollout.completion.logprobs, atol=2e-4)
    live.logprobs.sum().backward()
    assert all(weight.grad is not None for weight in policy.parameters())


@pytest.mark.parametrize("kind", KINDS)
def test_every_architecture_is_greedy_as_transformers_is(kind: str, tmp_path: Path):
    policy = opened(kind, tmp_path)
    policy.sampling = Sampling(max_tokens=24, temperature=0)
    asked = prompts()[::2]
    answers = dict(policy.answer(asked if is_plain(policy.model) else asked[:1]))
    for number, answer in answers.items():
        ids = torch.tensor([policy.chat.ids(asked[number])])
        theirs = policy.model.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=24, do_sample=False
        )
        assert answer.trace["ids"] == theirs[0, ids.shape[1] :].tolist()
