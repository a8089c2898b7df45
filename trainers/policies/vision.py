"""vision: a language model that sees, answers in words and learns by policy gradient.

Idea     A text policy whose prompts may hold images: uint8 arrays (H, W, 3) among the parts of a
         message. The image part of the model gives features where an image's tokens stand; they
         are computed once for all rollouts of a prompt, as is the prompt itself, and learn too.
Names    vision:tiny (random Idefics3, for tests), vision:ORG/NAME@REVISION (hub), vision:FOLDER
         (checkpoint with its processor, or a PEFT adapter). Idefics3, SmolVLM, LLaVA, Qwen2-VL,
         Qwen2.5-VL, Qwen3-VL, and whatever else of transformers' image-text-to-text models reads
         features among words: that is tried when it is opened.
Trace    As of `text`; tokens of an image stand in `prompt` as numbers of their own (see
         `trainers/vision/pictures.py`). images: of each image {"given": [w, h], "seen": [w, h]},
         its size as handed in and as the model saw it. Boxes in the answer are in pixels of `seen`;
         where the processor cut off the sides, "corner" is where in `seen` the rest begins.
Limits   No video. Images of more than 67 million pixels are refused. Weights are not spread over
         processes. Where a processor tiles an image in a way that is not known here (LLaVA-NeXT),
         `seen` is `given`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from harness.errors import UsageError
from harness.models import Sampling
from trainers.policies.text import TextPolicy
from trainers.text import load
from trainers.text.settings import TextSettings
from trainers.world import ALONE, World


def open_vision(
    spec: str,
    sampling: Sampling,
    settings: TextSettings | None = None,
    *,
    world: World = ALONE,
    **changes: Any,
) -> TextPolicy:
    """Open what follows `vision:` in a model's name; `changes` are fields of TextSettings.

    Raises ModelError for a checkpoint that is missing, broken, without a processor, or blind.
    """
    settings = replace(settings or TextSettings(), **changes)
    if settings.sharding != "none":
        raise UsageError("the weights of a vision policy cannot be spread; leave --sharding none")
    if spec == "smollm2":
        raise UsageError("smollm2 does not see; open it as text:smollm2")
    return TextPolicy(load.load(spec, settings, "vision"), sampling, settings, world)
