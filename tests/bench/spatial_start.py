"""A small model that reads and writes whole words of one task, after a beginner's lesson.

Characters would make each reply five times as long and its learning as slow; the vocabulary is what
the task's train split and its demonstrations are made of.
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from harness.models import Sampling
from harness.types import Task
from trainers.policies.text import open_text
from trainers.policies.tiny_text import SPECIAL, TEMPLATE
from trainers.warm import WarmUp, shown, warm_up

WORD = r"<[^<>\s]{1,20}>| ?[A-Za-z]+ [0-9]| ?[A-Za-z]+| ?[0-9]|[^\sA-Za-z0-9]|\s"
"""What is one token. An object of a list with its place is one, as a patch of a picture is that
shows what stands where: else most of the lesson would go into finding which number is whose."""
CONTEXT = 512


def words(texts: Iterable[str]) -> list[str]:
    """The different words of texts, and single characters for all else that is ASCII."""
    found = {word for text in texts for word in re.findall(WORD, text)}
    return sorted(found | set(string.printable[:95]))


def tokenizer(vocabulary: list[str]) -> Any:
    """A token a word, with the space before it."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    table = {word: number for number, word in enumerate((*SPECIAL, *vocabulary))}
    inner = Tokenizer(models.WordLevel(table, unk_token="<|unk|>"))
    inner.pre_tokenizer = pre_tokenizers.Split(Regex(WORD), "isolated")
    inner.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=inner,
        pad_token="<|pad|>",
        unk_token="<|unk|>",
        eos_token="<|end|>",
        additional_special_tokens=list(SPECIAL[3:]),
        chat_template=TEMPLATE,
        padding_side="left",
        model_max_length=CONTEXT,
        clean_up_tokenization_spaces=False,
    )


def model(seed: int, size: int) -> Any:
    """Two layers, hidden size 64; random weights that depend on the seed alone."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=size,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=CONTEXT,
        bos_token_id=None,
        pad_token_id=0,
        eos_token_id=2,
        initializer_range=0.05,
        tie_word_embeddings=False,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LlamaForCausalLM(config)


def start(task: Task, seed: int, plan: WarmUp, folder: Path) -> Path:
    """The folder of such a model after its lesson; made if it is not there whole."""
    if (folder / "whole").exists():
        return folder
    pairs = shown(task, task.examples("train"))
    told = [str(message.content) for asked, _ in pairs for message in asked.spoken()]
    text = tokenizer(words([*told, *(said for _, said in pairs)]))
    raw = folder / "raw"
    text.save_pretrained(raw)
    model(seed, len(text)).save_pretrained(raw)
    policy = open_text(str(raw), Sampling(), dtype="float32", batch_size=64)
    warm_up(policy, task, plan)
    policy.save(folder)
    (folder / "whole").touch()
    return folder
