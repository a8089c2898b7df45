"""Records for tests: made of per-example values, so that their parts agree."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from harness.digests import digest
from results.record import Record

HOSTILE = (
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    '"><svg onload=alert(1)>',
    "a | b `c` [d](javascript:alert(1)) **e** $x^2$ ~f~",
    "\u202egpj.exe\u202c \u200f\u2067",
    "\x1b[31mred\x1b[0m\x07\x00",
    '=HYPERLINK("http://x","y")',
    r"\input{/etc/passwd} 100% & #1 _{x} ^",
    "line\nbreak\r\n| --- |\ttab",
    "{{ 7*7 }}{% raw %}",
    "../../../etc/passwd",
    "\ud800 lone",
    "[x]: http://example.org",
    "z" * 1_900,
)
"""Names that a table must show as text."""


def a_record(model: str, values: Sequence[float], **changes: Any) -> Record:
    """A measured record whose value is the mean of its values, with an interval around it."""
    known = [value for value in values if not math.isnan(value)]
    mean = sum(known) / len(known)
    reach = 1.96 * (0.25 / len(values)) ** 0.5
    fields: dict[str, Any] = {
        "task": "mathqa/arith1",
        "version": 1,
        "split": "test",
        "metric": "pass@1",
        "value": mean,
        "low": mean - reach,
        "high": mean + reach,
        "model": model,
        "model_digest": digest(model),
        "examples": len(values),
        "values": [float(value) for value in values],
        "example_ids_digest": digest(len(values)),
        "sampling": {"temperature": 1.0, "max_tokens": 16, "seed": 0},
        "settings": {"limit": None, "prompts": "abcd"},
        "reasons": {"ok": 0.5, "wrong": 0.5},
        "run": f"eval-{digest(model)}",
        "when": "2026-01-31T12:00:00+00:00",
        "engine": "transformers",
    }
    return Record(**{**fields, **changes})
