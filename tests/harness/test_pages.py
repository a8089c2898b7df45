"""What a step frees, the next one gets without the kernel's help."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HOUSE = Path(__file__).resolve().parents[2]
FAULTS = """
import resource
from harness.commands.pages import keep_pages
kept = keep_pages()
def again():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    bytearray(b"x") * (64 << 20)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
again()
print(kept, again() + again())
"""


def faults(**environment: str) -> tuple[str, int]:
    plain = {k: v for k, v in os.environ.items() if not k.startswith("MALLOC_")}
    asked = [sys.executable, "-c", FAULTS]
    whole = {**plain, "PYTHONPATH": str(HOUSE), **environment}
    kept, count = subprocess.run(
        asked, env=whole, capture_output=True, text=True, check=True
    ).stdout.split()
    return kept, int(count)


def test_freed_memory_comes_back_without_faults_and_the_environment_decides():
    kept, count = faults()
    if kept == "False":
        pytest.skip("this C library has no mallopt")
    assert count < 100
    kept, count = faults(MALLOC_ARENA_MAX="2")
    assert kept == "False"
    assert count > 1000
