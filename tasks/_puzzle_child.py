"""The child process of `puzzles`: makes items and scores answers where it can be killed.

A script of its own: it reads one request a line (a Python literal) and writes one reply a line
(JSON). It runs with a fixed hash seed, since five generators walk over sets. Some scorers hand the
model's text to `eval` or to sympy's parser, which is the same; here they get a reader of literals
and a reader of expressions that refuses all but arithmetic. The process may not write, connect or
start anything, and has a memory limit.
"""

from __future__ import annotations

import ast
import importlib
import json
import math
import os
import re
import resource
import signal
import sys
import warnings
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

SIZE = 500
"""Of a dataset: some make all their items at once, and one cannot make more."""
MEMORY = 4 << 30
"""Bytes of address space; the libraries alone map about one GiB."""

LIFETIME = 900
"""Seconds for one request; the asking process is less patient."""

EVALUATED = (
    "algorithmic.string_insertion",
    "algorithmic.spiral_matrix",
    "algorithmic.binary_matrix",
    "games.n_queens",
)
"""Modules whose scorers call `eval` on the answer."""
PARSED = ("games.puzzle24", "games.countdown")
"""Modules that hold sympy's `parse_expr` under its own name; three more call `sympy.parse_expr`."""
REFUSED = (
    "subprocess.Popen",
    "os.system",
    "os.exec",
    "os.fork",
    "os.posix_spawn",
    "os.remove",
    "os.rename",
    "os.mkdir",
    "os.rmdir",
    "os.putenv",
    "shutil.rmtree",
    "socket.connect",
    "socket.getaddrinfo",
    "ctypes.dlopen",
)
TOKEN = re.compile(
    r"\d+(?:\.\d*)?|\.\d+|\*\*|[-+*/^(),\s]|"
    r"(?:a?(?:sin|cos|tan|sec|csc|cot)h?|exp|log|ln|sqrt|Abs|pi|[a-zA-Z])(?![a-zA-Z_\d])"
)
POWER = r"(?:\*\*|\^)\s*"
TOWER = re.compile(
    rf"{POWER}[\w.]+\s*{POWER}|{POWER}\([^()]*{POWER}|{POWER}\([^()]*\)\s*{POWER}"
    rf"|{POWER}\(*\s*-?\s*\d{{4}}"
)


def main() -> None:
    """Import once; serve from a fork, and from a new one whenever that is killed or dies.

    So a scorer that hangs costs its time limit, not the seconds that the libraries take to import.
    """
    warnings.simplefilter("ignore")
    disarm()
    while True:
        pid = os.fork()
        if pid == 0:
            serve()
            os._exit(0)
        _, status = os.waitpid(pid, 0)
        if status == 0:
            return


def serve() -> None:
    """Answer requests until the input ends."""
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    sys.stdout = sys.stderr  # a scorer that prints must not break the replies
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    sys.addaudithook(_refuse)
    print("\n" + json.dumps(["ready", os.getpid()]), file=replies, flush=True)
    for request in sys.stdin:
        signal.alarm(LIFETIME)  # nobody else ends it once the asking process is gone
        print(json.dumps(answer(request)), file=replies, flush=True)
        signal.alarm(0)


def answer(request: str) -> list[Any]:
    """`["ok", value]`, or `["raised", what]`."""
    try:
        verb, *given = ast.literal_eval(request)
        return ["ok", {"make": make, "score": score}[verb](*given)]
    except Exception as error:  # any scorer may raise anything on hostile text
        return ["raised", f"{type(error).__name__}: {error}"[:300]]


def make(name: str, seed: int, count: int) -> list[str]:
    """Those of the first `count` items of a seed that have a right answer, as Python literals.

    `{"item": ..., "right": text}`: the item as its scorer wants it, and what gets full marks.
    """
    items = dataset(name, seed)
    made: list[str] = []
    for number in range(count):
        try:
            item = _plain(items[number])
        except RuntimeError:  # maze: one in three hundred finds no path
            continue
        right = item["answer"] if item["answer"] is not None else _known(item["metadata"])
        doubtful = item["answer"] is None or "Integral(" in right
        if not doubtful or score(name, seed, right, item) == 1.0:
            made.append(repr({"item": item, "right": right}))
    return made


def _known(metadata: Mapping[str, Any]) -> str:
    """An answer that rules accept, where the item itself holds none."""
    for key in ("example_answer", "example_correct_answer", "possible_answer"):
        if key in metadata:
            found = metadata[key]
            return found if isinstance(found, str) else json.dumps(found)
    raise ValueError("no known answer")


def score(name: str, seed: int, text: str, item: Mapping[str, Any]) -> float:
    """What the dataset's own scorer gives for an answer, 0 to 1, corrected where it is wrong."""
    if re.search(r"\b(nan|inf|infinity)\b", text, re.I) and text != item["answer"]:
        return 0.0  # complex_arithmetic: min(1, exp(-|nan|)) is 1
    own = OWN.get(name)
    if own is not None and not own(text, item):
        return 0.0
    given = float(dataset(name, seed).score_answer(text, dict(item)))
    return min(1.0, max(0.0, given)) if math.isfinite(given) else 0.0


@lru_cache(maxsize=64)
def dataset(name: str, seed: int) -> Any:
    """The generator of that name."""
    return importlib.import_module("reasoning_gym").create_dataset(name, seed=seed, size=SIZE)


def disarm() -> None:
    """Give the scorers readers that run nothing in place of `eval` and sympy's parser."""
    importlib.import_module("reasoning_gym")
    sympy: Any = importlib.import_module("sympy")
    parse = sympy.parse_expr

    def arithmetic_only(text: str, *given: Any, **named: Any) -> Any:
        readable(str(text))
        return parse(text, *given, **named)

    sympy.parse_expr = arithmetic_only
    for module in PARSED:
        importlib.import_module(f"reasoning_gym.{module}").__dict__["parse_expr"] = arithmetic_only
    for module in EVALUATED:
        importlib.import_module(f"reasoning_gym.{module}").__dict__["eval"] = ast.literal_eval


def readable(text: str) -> None:
    """ValueError unless the text is arithmetic with known functions and no tower of powers."""
    end = 0
    while end < len(text):
        found = TOKEN.match(text, end)
        if found is None:
            raise ValueError(f"not arithmetic: {text[end : end + 20]!r}")
        end = found.end()
    if TOWER.search(text):
        raise ValueError("a tower of powers")


def _halting(text: str, item: Mapping[str, Any]) -> bool:
    """Its scorer takes every word for True."""
    return text.strip().lower() == str(item["answer"]).lower()


def _makes_24(text: str, item: Mapping[str, Any]) -> bool:
    """Its scorer takes any four numbers, and rounds."""
    readable(text)
    sympy: Any = importlib.import_module("sympy")
    used = sorted(int(number) for number in re.findall(r"\d+", text))
    return used == sorted(item["metadata"]["numbers"]) and sympy.parse_expr(text) == 24


OWN: Mapping[str, Callable[[str, Mapping[str, Any]], bool]] = {
    "game_of_life_halting": _halting,
    "puzzle24": _makes_24,
}


def _refuse(event: str, given: tuple[Any, ...]) -> None:
    writes = event == "open" and isinstance(given[1], str) and set(given[1]) & set("wax+")
    if writes or event in REFUSED:
        raise PermissionError(f"{event} is refused here")


def _plain(value: Any) -> Any:
    """The value as a literal: numpy's strings and numbers as Python's, other objects as text."""
    if isinstance(value, dict):
        return {_plain(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple | set):
        return type(value)(_plain(each) for each in value)
    if type(value).__module__ == "numpy":
        return value.tolist()
    return value if isinstance(value, str | int | float | bytes | None) else str(value)


if __name__ == "__main__":
    main()
