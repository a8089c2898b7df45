"""Everything here needs an accelerator: `pytest -m gpu tests/gpu`; without one it says so."""

import pytest
import torch


@pytest.fixture(autouse=True)
def _card() -> None:
    """Skips without a card; each test begins with its memory given back."""
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device here: torch.cuda.is_available() is False")
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
