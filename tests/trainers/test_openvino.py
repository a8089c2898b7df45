"""The openvino engine against the model itself: tiny models of each kind, and what it refuses."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from numpy.testing import assert_allclose

from harness.errors import ModelError, UsageError
from harness.models import Sampling
from harness.types import Example, Message, Prompt
from trainers.policies.text import TextPolicy, open_text
from trainers.policies.tiny_text import TEMPLATE
from trainers.text.export import export
from trainers.text.files import user_cache
from trainers.text.gguf import llama_weights, read

pytest.importorskip("openvino_genai", reason="needs the extra openvino")

SPECIAL = ("<|pad|>", "<|end|>", "<|user|>", "<|assistant|>")
WORDS = ("a", "Why?", "What is 12 + 30?", "Name a color.", "Count to twenty, and then back again")
KINDS = {"Llama": {"num_key_value_heads": 1}, "Qwen2": {}, "Qwen3": {"head_dim": 64}}


def tokenizer() -> Any:
    """Bytes, and the merges that two lines of text teach."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    teacher = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    inner.train_from_iterator([*WORDS, "the then there"] * 3, teacher)
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=inner,
        pad_token="<|pad|>",
        eos_token="<|end|>",
        additional_special_tokens=list(SPECIAL[2:]),
        chat_template=TEMPLATE,
        model_max_length=512,
        clean_up_tokenization_spaces=False,
    )


def saved(kind: str, folder: Path, **more: Any) -> Path:
    """A random checkpoint."""
    spoken = tokenizer()
    config = getattr(transformers, f"{kind}Config")(
        **{
            "vocab_size": len(spoken),
            "hidden_size": 128,
            "intermediate_size": 256,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 2,
            "max_position_embeddings": 512,
            "eos_token_id": 1,
            "pad_token_id": 0,
            "initializer_range": 0.1,
            "tie_word_embeddings": True,
            **KINDS[kind],
            **more,
        }
    )
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(config)
    with torch.no_grad():  # what the file can hold, so that both compute with the same numbers
        for name, weight in model.named_parameters():
            if name.endswith("bias"):
                weight.normal_(std=0.1)
            weight.copy_(weight.half().float())
    model.save_pretrained(folder)
    spoken.save_pretrained(folder)
    return folder


def prompts(times: int = 1) -> list[Prompt]:
    return [
        Prompt(Example(word, {}, None), (Message("user", word),), attempt=attempt)
        for word in WORDS
        for attempt in range(times)
    ]


def both(folder: Path, sampling: Sampling) -> tuple[TextPolicy, TextPolicy]:
    opened = {"dtype": "float32", "cache": folder / "cache"}
    return (
        open_text(str(folder), sampling, engine="openvino", **opened),
        open_text(str(folder), sampling, **opened),
    )


@pytest.mark.parametrize("kind", KINDS)
def test_greedy_answers_are_those_of_torch(kind: str, tmp_path: Path):
    fast, own = both(saved(kind, tmp_path), Sampling(temperature=0, max_tokens=20))
    found, wanted = dict(fast.answer(prompts())), dict(own.answer(prompts()))
    for number, answer in wanted.items():
        assert found[number].trace["ids"] == answer.trace["ids"]
        told, wanted_too = found[number].logprobs, answer.logprobs
        assert told is not None
        assert wanted_too is not None
        assert_allclose(told, wanted_too, atol=0.02)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[TextPolicy, TextPolicy]:
    return both(saved("Llama", tmp_path_factory.mktemp("llama")), Sampling(max_tokens=20))


def test_each_attempt_has_its_own_chance_and_keeps_it(pair: tuple[TextPolicy, TextPolicy]):
    fast, _ = pair
    first, again = (dict(fast.answer(prompts(4))) for _ in range(2))
    assert first == again
    assert len({answer.output for answer in first.values()}) > 10
    assert dict(fast.answer(prompts(4)[7:8]))[0] == first[7]


def test_log_probabilities_are_told_where_they_are_those_drawn_from(
    pair: tuple[TextPolicy, TextPolicy],
):
    from harness.types import Rollout, Verdict

    fast, own = pair
    asked = prompts()
    answers = dict(fast.answer(asked))
    rollouts = [Rollout(((asked[n], answers[n]),), Verdict({}), "") for n in sorted(answers)]
    with torch.no_grad():
        live = own.review(rollouts)
    for row, rollout in enumerate(rollouts):
        found = live.logprobs[row, : rollout.steps]
        told = rollout.completion.logprobs
        assert told is not None
        assert_allclose(found, told, atol=0.02)
    for change in ({"temperature": 0.7}, {"top_p": 0.8}, {"top_k": 5}):
        fast.sampling = replace(Sampling(max_tokens=5), **change)
        assert all(answer.logprobs is None for _, answer in fast.answer(asked))
    fast.sampling = Sampling(max_tokens=20)


def test_stop_strings_and_budgets_end_answers(pair: tuple[TextPolicy, TextPolicy]):
    fast, _ = pair
    whole = dict(fast.answer(prompts()))[2]
    stop = whole.output[4:6]
    fast.sampling = Sampling(max_tokens=20, stop=(stop,))
    stopped = dict(fast.answer(prompts()))[2]
    fast.sampling = Sampling(max_tokens=20)
    assert stopped.output == whole.output[: whole.output.index(stop)]
    assert stopped.stopped == "done"
    assert whole.steps == 20 or whole.stopped == "done"


def test_answers_left_half_way_do_not_come_back(pair: tuple[TextPolicy, TextPolicy]):
    fast, _ = pair
    whole = dict(fast.answer(prompts()))
    left = fast.answer(prompts())
    next(left)
    left.close()  # type: ignore[attr-defined]
    assert dict(fast.answer(prompts())) == whole


def test_weights_that_change_are_refused(pair: tuple[TextPolicy, TextPolicy]):
    with pytest.raises(UsageError, match="engine='torch'"):
        pair[0].refresh()


def test_the_manifest_says_what_answered(pair: tuple[TextPolicy, TextPolicy]):
    told = pair[0].describe()
    assert told["engine"] == "openvino-genai"
    assert "float16 weights, f32" in told["kernels"]


def test_the_exported_file_holds_the_weights(pair: tuple[TextPolicy, TextPolicy]):
    own = pair[1]
    assert own.settings.cache is not None
    file = export(own.loaded, own.settings.cache)
    state = own.model.state_dict()
    for name, weight in llama_weights(read(file)).items():
        np.testing.assert_array_equal(weight, state[name])
    assert export(own.loaded, own.settings.cache) == file


def test_what_cannot_be_exported_is_refused(tmp_path: Path):
    with pytest.raises(ModelError, match="byte-level"):
        open_text("tiny", Sampling(), engine="openvino", cache=tmp_path)
    scaled = {"rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 1e4}}
    with pytest.raises(ModelError, match="scales its positions"):
        both(saved("Llama", tmp_path, **scaled), Sampling())


@pytest.mark.slow
def test_a_real_model_answers_as_torch_does():
    opened = {"dtype": "float32", "cache": user_cache()}
    sampling = Sampling(temperature=0, max_tokens=32)
    fast = open_text("smollm2", sampling, engine="openvino", **opened)
    own = open_text("smollm2", sampling, **opened)
    found, wanted = dict(fast.answer(prompts())), dict(own.answer(prompts()))
    assert [found[n].output for n in wanted] == [answer.output for answer in wanted.values()]
