"""The imports that model answers take for granted, in LiveCodeBench's order.

Star imports first, builtins late, so that `pow` and `open` are the built-ins again. Many answers
use `List` or `defaultdict` without an import: without this prefix scores are not comparable.
"""

from __future__ import annotations

STARS = (
    "string re datetime collections heapq bisect copy math random statistics itertools functools "
    "operator io sys json builtins typing"
).split()
PLAIN = [name for name in STARS if name not in ("builtins", "typing")]
RECURSION = 50_000
DIGITS = 50_000
"""Of an integer that may become text."""

IMPORTS = "".join(
    [f"from {name} import *\n" for name in STARS] + [f"import {name}\n" for name in PLAIN]
)
LIVECODEBENCH = f"{IMPORTS}sys.setrecursionlimit({RECURSION})\n"
"""Exactly what LiveCodeBench puts before a program."""
PREFIX = f"{LIVECODEBENCH}sys.set_int_max_str_digits({DIGITS})\n"
"""The same, with the limit on digits that its process sets elsewhere."""
