"""Where a number was made: versions, machine and code, read without importing anything heavy."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from harness.data import origins

PACKAGES = (
    "grpo-harness",
    "numpy",
    "scipy",
    "sympy",
    "latex2sympy2_extended",
    "datasets",
    "torch",
    "transformers",
    "tokenizers",
    "peft",
    "openai",
    "reasoning-gym",
)
HOUSE = Path(__file__).resolve().parent.parent


def environment() -> dict[str, Any]:
    """Versions of what may move a number, what data was read so far, and the machine."""
    return {
        "data": origins(),
        "python": platform.python_version(),
        "packages": {name: found for name in PACKAGES if (found := _version(name))},
        "machine": machine(),
        "commit": commit(),
    }


def machine() -> str:
    """One line: system, processor and cores."""
    return f"{platform.system()} {_processor()}, {os.cpu_count()} cores"


def commit() -> str:
    """The code's commit, with a + when files differ from it; the version outside a checkout."""
    git = ["git", "-C", str(HOUSE)]
    try:
        top = subprocess.run(
            [*git, "rev-parse", "--show-toplevel", "HEAD"],
            capture_output=True,
            text=True,
            timeout=5,
        )
        if top.returncode or Path(top.stdout.splitlines()[0]) != HOUSE:
            raise FileNotFoundError
        code = ["harness", "tasks", "trainers", "leaderboards", "pyproject.toml"]
        changed = subprocess.run(
            [*git, "status", "--porcelain", "--", *code], capture_output=True, text=True, timeout=5
        )
        return top.stdout.splitlines()[1][:12] + ("+" if changed.stdout.strip() else "")
    except (OSError, subprocess.SubprocessError, IndexError):
        return f"v{_version('grpo-harness') or '0'}"


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
