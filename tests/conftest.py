"""Shapes and types of the trainers are checked while tests run; nothing goes to a hub."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import pytest
import torch
from jaxtyping import install_import_hook

torch.set_num_threads(1)
_hook = install_import_hook("trainers", "beartype.beartype")


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    """Tests may change it; the next one starts from one again."""
    torch.set_num_threads(1)
