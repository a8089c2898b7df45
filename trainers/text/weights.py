"""Copies of weights: the one that answers, the frozen one, and the one on disk."""

from __future__ import annotations

import copy
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from harness.errors import ModelError
from trainers.shards import put, whole

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from trainers.text.load import Loaded


def sampling_copy(loaded: Loaded, dtype: str | None) -> PreTrainedModel:
    """The model itself, or a copy of it in that precision with any adapter merged in."""
    model = loaded.model
    if dtype is None or (model.dtype == getattr(torch, dtype) and loaded.peft is None):
        return model
    return _merged_copy(loaded).to(getattr(torch, dtype))


def frozen_copy(loaded: Loaded) -> Loaded:
    """The same weights, to be read and never changed.

    The base of an adapter does not learn, so both share it, and only the adapter is copied.
    """
    if loaded.peft is None:
        return replace(loaded, model=_merged_copy(loaded))
    # what a copy finds in its memo it takes as it is
    base = [weight for weight in loaded.peft.parameters() if not weight.requires_grad]
    twin: Any = copy.deepcopy(loaded.peft, {id(weight): weight for weight in base})
    twin = twin.requires_grad_(False).eval()
    return replace(loaded, model=twin.get_base_model(), peft=None)


def _reopened(loaded: Loaded, path: Path) -> dict[str, Tensor]:
    """The weights of a folder by the names of the model: files of those that see have others."""
    from trainers.text.load import quiet

    with quiet():
        twin = type(loaded.model).from_pretrained(path, local_files_only=True, dtype="auto")
    return twin.state_dict()


def _merged_copy(loaded: Loaded) -> Any:
    twin: Any = copy.deepcopy(loaded.model if loaded.peft is None else loaded.peft)
    if loaded.peft is not None:
        twin = twin.merge_and_unload()
    return twin.requires_grad_(False).eval()


@torch.no_grad()
def copy_shards(source: Loaded, target: Loaded) -> None:
    """Give a model that is spread alike the same weights, and let it learn no more."""
    there = dict(source.model.named_parameters())
    for name, weight in target.model.named_parameters():
        weight.copy_(there[name])
    target.model.requires_grad_(False)


@torch.no_grad()
def renew(twin: PreTrainedModel, model: PreTrainedModel) -> None:
    """Bring a sampling copy up to date."""
    if twin is model:
        return
    modules = dict(model.named_modules())
    for name, module in twin.named_modules():
        source = modules[name]
        for key, weight in module.named_parameters(recurse=False):
            weight.copy_(whole(merged(source, key)))


def merged(module: nn.Module, key: str) -> Tensor:
    """A parameter with the adapter's change added, where there is one."""
    if "peft" not in sys.modules:  # without it nothing is adapted, and it takes seconds to import
        return getattr(module, key)
    from peft.tuners.tuners_utils import BaseTunerLayer

    if not isinstance(module, BaseTunerLayer):
        return getattr(module, key)
    layer: Any = module
    weight = getattr(layer.get_base_layer(), key)
    if key == "weight":
        for adapter in layer.active_adapters:
            weight = weight + layer.get_delta_weight(adapter)
    return weight


@torch.no_grad()
def load_state(loaded: Loaded, path: Path) -> None:
    """Copy the weights of a saved folder into the model, exactly."""
    from trainers.text.files import tensors

    if loaded.peft is not None:
        from peft import set_peft_model_state_dict

        found = tensors(path, "adapter_model")
        result = set_peft_model_state_dict(loaded.peft, found)
        lost = result.unexpected_keys
    else:
        state = loaded.model.state_dict(keep_vars=True)  # tied names then give one object
        found = tensors(path, "model") if loaded.chat.eye is None else _reopened(loaded, path)
        lost = sorted(set(found) - set(state))
        held = {id(state[name]) for name in found if name in state}
        lost += sorted(name for name, held_by in state.items() if id(held_by) not in held)
        for name in set(found) & set(state):
            if state[name].shape != found[name].shape:
                lost.append(name)
            elif not lost:
                put(state[name], found[name])
    if lost:
        raise ModelError(
            f"{path} does not hold the weights of this model ({', '.join(lost[:3])} differ); "
            "resume with the model that the run was started with"
        )
