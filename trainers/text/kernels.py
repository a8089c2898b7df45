"""Compiled layers and Liger's kernels: the same model in fewer, larger steps.

Layers are compiled one by one, so that a model of many equal layers is compiled once, and what
stands between them (sharing, packing, shards, checkpointing) stays as it is. The head is ours in
any case: it keeps no logits and gives each step its own slope, which Liger's fused losses do not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from transformers.modeling_layers import GradientCheckpointingLayer

from harness.errors import ModelError, need

if TYPE_CHECKING:
    from transformers import PreTrainedModel

SHAPES = 64
"""Compiled versions of a layer that are kept before torch gives up and runs it as it is."""


def use_liger(model: PreTrainedModel) -> None:
    """Let Liger's kernels make norms, rotations and gates; ModelError where it has none."""
    liger = need("liger_kernel.transformers", "liger", "--kernels liger")
    if model.device.type != "cuda":
        raise ModelError(
            f"Liger's kernels run on cards, and this model is on {model.device}; leave --kernels"
        )
    kind = model.config.model_type
    from liger_kernel.transformers.monkey_patch import (  # type: ignore[import-not-found]
        MODEL_TYPE_TO_APPLY_LIGER_FN,
    )

    if kind not in MODEL_TYPE_TO_APPLY_LIGER_FN:
        known = ", ".join(sorted(MODEL_TYPE_TO_APPLY_LIGER_FN))
        raise ModelError(f"Liger has no kernels for '{kind}', but for {known}; leave --kernels")
    # what it does to the loss is never called: our reviews read hidden states
    liger._apply_liger_kernel_to_instance(model=model)


def compile_layers(model: PreTrainedModel, backend: str = "inductor") -> int:
    """Compile every decoder layer in place, for any number of rows and tokens; how many."""
    import torch._dynamo

    torch._dynamo.config.cache_size_limit = max(torch._dynamo.config.cache_size_limit, SHAPES)
    layers = [each for each in model.modules() if isinstance(each, GradientCheckpointingLayer)]
    if not layers:
        raise ModelError(
            f"the layers of a {type(model).__name__} are not marked, so none can be compiled; "
            "leave --compile"
        )
    for layer in layers:
        layer.compile(dynamic=True, backend=backend)
    return len(layers)
