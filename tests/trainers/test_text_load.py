"""Opening checkpoints: what is missing, broken, pickled or foreign is named, with what would do."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from harness.digests import file_digest
from harness.errors import ModelError, UsageError
from harness.models import Sampling
from harness.types import Example, Message, Prompt, Rollout, Verdict
from trainers.policies.text import TextPolicy, open_text
from trainers.text import files
from trainers.text.settings import LoRA

SAMPLING = Sampling(max_tokens=8)
PROMPTS = [Prompt(Example("q", {}, None), (Message("user", "1 + 1"),), attempt=n) for n in range(4)]


def outputs(policy: TextPolicy) -> list[str]:
    return [answer.output for _, answer in sorted(policy.answer(PROMPTS), key=lambda pair: pair[0])]


def learn(policy: TextPolicy, steps: int = 3) -> None:
    """A few large steps that make some answers more likely."""
    answers = dict(policy.answer(PROMPTS))
    rollouts = [Rollout(((PROMPTS[n], answers[n]),), Verdict({}), "") for n in answers]
    optimizer = torch.optim.AdamW(policy.parameters(), lr=0.05)
    for _ in range(steps):
        (-policy.review(rollouts).logprobs.sum()).backward()
        optimizer.step()
        optimizer.zero_grad()
    policy.refresh()


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    open_text("tiny", SAMPLING, seed=5).save(tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def refused(spec: object, *words: str, **settings: object) -> None:
    with pytest.raises(ModelError) as caught:
        open_text(str(spec), SAMPLING, **settings)
    for word in words:
        assert word in str(caught.value)


def test_a_saved_policy_opens_as_any_checkpoint(saved: Path, cache: Path):
    policy = open_text(str(saved), SAMPLING, cache=cache)
    assert outputs(policy) == outputs(open_text("tiny", SAMPLING, seed=5))
    assert outputs(policy) != outputs(open_text("tiny", SAMPLING, seed=6))
    assert policy.describe()["weights"] == {
        "model.safetensors": file_digest(saved / "model.safetensors")
    }


def test_changed_weights_have_another_digest(saved: Path, cache: Path):
    policy = open_text(str(saved), SAMPLING, cache=cache)
    before = policy.describe()["weights"]
    learn(policy)
    assert policy.describe()["weights"] != before


@pytest.mark.parametrize("device", ["foo", "cuda:99"])
def test_a_device_that_is_not_there_is_a_usage_error(device: str):
    with pytest.raises(UsageError, match=f"no device {device} here"):
        open_text("tiny", SAMPLING, device=device)


def test_digests_are_made_again_when_the_file_changes(tmp_path: Path, cache: Path):
    file = tmp_path / "weights"
    file.write_bytes(b"one")
    assert files.known_sha256(file, cache) == files.known_sha256(file, cache) == file_digest(file)
    file.write_bytes(b"three")
    assert files.known_sha256(file, cache) == file_digest(file)


@pytest.mark.parametrize("spec", ["no/such/folder", "./nothing", "nothing", "nothing.gguf"])
def test_missing(spec: str):
    refused(spec, spec.removeprefix("./"), "tiny")


def test_a_folder_that_is_no_checkpoint(tmp_path: Path):
    refused(tmp_path, "config.json is missing")


def test_weights_missing(saved: Path):
    (saved / "model.safetensors").unlink()
    refused(saved, "model.safetensors is missing", "download or save it again")


@pytest.mark.parametrize("keep", [0, 5, 100, 0.5, 0.999])
def test_truncated(saved: Path, keep: float):
    file = saved / "model.safetensors"
    content = file.read_bytes()
    file.write_bytes(content[: int(keep if keep >= 5 else keep * len(content))])
    refused(saved, str(file), "download or save it again")


def test_garbage(saved: Path):
    (saved / "model.safetensors").write_bytes(b"\xff" * 1000)
    refused(saved, "no safetensors file")


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json"])
def test_broken_json(saved: Path, name: str):
    (saved / name).write_text("{")
    refused(saved, str(saved))


def test_unknown_architecture(saved: Path):
    config = json.loads((saved / "config.json").read_text())
    (saved / "config.json").write_text(json.dumps(config | {"model_type": "nonesuch"}))
    refused(saved, "cannot be opened", "architecture")


def test_weights_of_another_shape(saved: Path):
    config = json.loads((saved / "config.json").read_text())
    (saved / "config.json").write_text(json.dumps(config | {"intermediate_size": 96}))
    refused(saved, str(saved))


def test_a_shard_is_missing(saved: Path):
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors"}}
    (saved / "model.safetensors.index.json").write_text(json.dumps(index))
    refused(saved, "model-00001-of-00002.safetensors is missing")


def test_pickles_only_where_asked_for(saved: Path, cache: Path):
    from safetensors.torch import load_file

    before = outputs(open_text(str(saved), SAMPLING, cache=cache))
    torch.save(load_file(saved / "model.safetensors"), saved / "pytorch_model.bin")
    (saved / "model.safetensors").unlink()
    refused(saved, "pytorch_model.bin is a pickle", "--allow-pickle")
    policy = open_text(str(saved), SAMPLING, allow_pickle=True, cache=cache)
    assert outputs(policy) == before


def test_a_program_in_the_checkpoint_is_not_run(saved: Path):
    config = json.loads((saved / "config.json").read_text())
    config |= {
        "model_type": "mine",
        "auto_map": {"AutoConfig": "mine.C", "AutoModelForCausalLM": "mine.M"},
    }
    (saved / "config.json").write_text(json.dumps(config))
    (saved / "mine.py").write_text("raise SystemExit('it ran')")
    refused(saved, "--trust-remote-code")


def test_no_chat_template(saved: Path, cache: Path):
    (saved / "chat_template.jinja").unlink()
    refused(saved, "no chat template", "--no-chat")
    assert outputs(open_text(str(saved), SAMPLING, chat=False, cache=cache))


def test_load_state_of_another_model(saved: Path, tmp_path: Path):
    file = saved / "model.safetensors"
    from safetensors.torch import load_file, save_file

    state = load_file(file)
    policy = open_text("tiny", SAMPLING)
    before = outputs(policy)
    save_file({name: held for name, held in state.items() if "layers.1" not in name}, file)
    with pytest.raises(ModelError, match="does not hold the weights"):
        policy.load_state(saved)
    assert outputs(policy) == before


def test_settings_that_make_no_sense():
    with pytest.raises(UsageError, match="batch_size"):
        open_text("tiny", SAMPLING, batch_size=0)
    with pytest.raises(UsageError, match="float7"):
        open_text("tiny", SAMPLING, dtype="float7")


@pytest.fixture
def adapter(saved: Path, tmp_path: Path, cache: Path) -> Path:
    policy = open_text(str(saved), SAMPLING, adapter=LoRA(rank=4), cache=cache)
    learn(policy)
    policy.save(tmp_path / "adapter")
    return tmp_path / "adapter"


def test_only_the_adapter_learns_and_is_saved(saved: Path, adapter: Path, cache: Path):
    policy = open_text(str(saved), SAMPLING, adapter=LoRA(rank=4), cache=cache)
    assert outputs(policy) == outputs(open_text(str(saved), SAMPLING, cache=cache))
    assert sum(weight.numel() for weight in policy.parameters()) < 20_000
    assert (adapter / "adapter_model.safetensors").is_file()
    assert not (adapter / "model.safetensors").exists()


def test_an_adapter_opens_with_its_base_and_learns_on(saved: Path, adapter: Path, cache: Path):
    opened = open_text(str(adapter), SAMPLING, cache=cache)
    resumed = open_text(str(saved), SAMPLING, adapter=LoRA(rank=4), cache=cache)
    assert outputs(resumed) != outputs(opened)
    resumed.load_state(adapter)
    assert outputs(resumed) == outputs(opened)
    assert opened.parameters()
    names = set(opened.describe()["weights"])
    assert names == {"model.safetensors", "adapter_model.safetensors"}


def test_the_sampling_copy_has_the_adapter_in_it(saved: Path, adapter: Path, cache: Path):
    slow = open_text(str(adapter), SAMPLING, cache=cache)
    fast = open_text(str(adapter), SAMPLING, sample_dtype="float32", cache=cache)
    assert outputs(slow) == outputs(fast)
    learn(fast)
    slow.load_state(_saved(fast, adapter.parent / "again"))
    assert outputs(slow) == outputs(fast)


def _saved(policy: TextPolicy, folder: Path) -> Path:
    policy.save(folder)
    return folder


def test_frozen_beside_an_adapter_is_what_it_was(saved: Path, cache: Path):
    policy = open_text(str(saved), SAMPLING, adapter=LoRA(rank=4), cache=cache)
    frozen = policy.frozen()
    before = outputs(policy)
    learn(policy)
    assert outputs(policy) != before
    assert outputs(frozen) == before


def test_an_adapter_for_another_base(adapter: Path, tmp_path: Path, cache: Path):
    other = tmp_path / "other"
    shutil.copytree(adapter.parent / "model", other)
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig.from_pretrained(other)
    config.hidden_size = 32
    config.head_dim = 8
    LlamaForCausalLM(config).save_pretrained(other)
    refused(adapter, "another base", base=str(other), cache=cache)
    config.num_hidden_layers = 1
    config.hidden_size, config.head_dim = 64, 16
    LlamaForCausalLM(config).save_pretrained(other)
    refused(adapter, "another base", base=str(other), cache=cache)


def test_an_adapter_whose_base_is_gone(adapter: Path):
    shutil.rmtree(adapter.parent / "model")
    refused(adapter, "the base of adapter", "no model")


def test_an_adapter_in_half(adapter: Path):
    file = adapter / "adapter_model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    refused(adapter, "truncated")


def test_an_adapter_of_a_gone_layer_name(saved: Path):
    with pytest.raises(UsageError, match="nonesuch"):
        open_text(str(saved), SAMPLING, adapter=LoRA(targets=("nonesuch",)))


@pytest.mark.parametrize("content", [b"", b"GGUF", b"GGUF\x03" + b"\xff" * 60])
def test_broken_gguf(tmp_path: Path, content: bytes):
    (tmp_path / "m.gguf").write_bytes(content)
    refused(tmp_path / "m.gguf", "m.gguf")
