"""Shapes and types of the trainers are checked while tests run; nothing goes to a hub."""

import os
import sys
from pathlib import Path
from types import ModuleType

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import pytest
import torch
from beartype import BeartypeConf, beartype
from jaxtyping import install_import_hook

torch.set_num_threads(1)
# the hook takes the name of a checker only, and an int is to be a float, as it is to everybody else
_checker = ModuleType("_checker")
_checker.__dict__["checked"] = beartype(conf=BeartypeConf(is_pep484_tower=True))
sys.modules["_checker"] = _checker
HOUSE = Path(__file__).resolve().parent.parent
# settings come from people: they are to meet our own words, not the type checker's
_modules = [
    ".".join(path.relative_to(HOUSE).with_suffix("").parts)
    for path in sorted((HOUSE / "trainers").rglob("*.py"))
    if path.stem not in ("__init__", "settings")
]
_hook = install_import_hook(_modules, "_checker.checked")


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    """Tests may change it; the next one starts from one again."""
    torch.set_num_threads(1)
