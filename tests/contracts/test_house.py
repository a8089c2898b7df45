"""The house keeps its own rules: sizes, names, doors, speed, and what it says about itself.

`python tests/contracts/test_house.py` writes flags.txt anew after a flag was added on purpose.
"""

from __future__ import annotations

import ast
import functools
import json
import os
import re
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

HOUSE = Path(__file__).resolve().parent.parent.parent
FLAGS = Path(__file__).with_name("flags.txt")
ROOMS = ("harness", "tasks", "trainers", "leaderboards", "results", "sandbox")
FILE, FUNCTION, PARAMETERS = 400, 60, 5

LARGE: dict[str, str] = {
    "harness/commands/eval.py run": "its parameters are the flags",
    "harness/commands/publish.py run": "its parameters are the flags",
    "harness/commands/train.py run": "its parameters are the flags",
    "harness/commands/evaluation.py make_records": "one record's fields, one after another",
}
"""Files and functions above the limits, and why they may be."""
WIDE: dict[str, str] = {
    "harness/commands/evaluation.py carry_out": "what is asked, of whom, and what becomes of it",
    "harness/commands/evaluation.py evaluate": "a question, who answers, where to, and provenance",
    "harness/metrics.py mean_where": "the optional fields of Metric",
    "harness/metrics.py ratio": "the optional fields of Metric",
    "harness/play.py play": "what is played, by whom, and three settings that change no number",
    "leaderboards/recipe_sheets.py _sheet": "the fields of a sheet, and what orders its rows",
    "trainers/text/decode.py decode": "what is drawn and how, and where its steps are recorded",
    "trainers/text/attention.py attend": "queries, keys and values are one thing in three",
    "trainers/text/attention.py _two_products": "queries, keys and values are one thing in three",
    "trainers/text/head.py forward": "a loss's tensors; torch hands them over one by one",
    "trainers/text/tree_attention.py forward": "an attention's tensors, handed over likewise",
}
"""Functions of more than five parameters, and why; the flags of commands do not count."""
FOREIGN: dict[str, str] = {
    "harness/commands/view.py do_GET": "http.server calls it by that name",
    "trainers/text/cache.py get_seq_length": "transformers calls it by that name",
    "trainers/text/graphs.py get_seq_length": "transformers calls it by that name",
}
"""Names that others chose."""
RUNS_CODE: dict[str, str] = {
    "sandbox/inside/runner.py": "the one place where a submission runs, behind all layers",
}
"""Files that may call exec, and why."""
BANNED = re.compile(r"(get|compute|handle|do|process)_|.*(_helper|_util)s?$")
BANNED_CLASSES = re.compile(r".*(Manager|Helper|Util|Utils|Handler|Processor|Factory)$")
BANNED_FILES = {"utils", "util", "helpers", "helper", "common", "misc", "base", "core"}
UNSAFE = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}
HEAVY = {"torch", "scipy", "pandas", "sympy", "datasets", "transformers", "openai", "numpy"}

FILES = sorted(
    str(path.relative_to(HOUSE)) for room in ROOMS for path in (HOUSE / room).rglob("*.py")
)


@functools.cache
def tree(file: str) -> ast.Module:
    return ast.parse((HOUSE / file).read_text("utf-8"))


def functions(file: str) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree(file)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def parameters(function: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
    found = function.args
    named = [*found.posonlyargs, *found.args, *found.kwonlyargs]
    return [each.arg for each in named if each.arg not in ("self", "cls")]


def too_large() -> Iterator[str]:
    for file in FILES:
        if len((HOUSE / file).read_text("utf-8").splitlines()) > FILE:
            yield file
        for function in functions(file):
            assert function.end_lineno is not None
            if function.end_lineno - function.lineno >= FUNCTION:
                yield f"{file} {function.name}"


def too_wide() -> Iterator[str]:
    for file in FILES:
        for function in functions(file):
            command = file.startswith("harness/commands/") and function.name == "run"
            if len(parameters(function)) > PARAMETERS and not command:
                yield f"{file} {function.name}"


def badly_named() -> Iterator[str]:
    for file in FILES:
        if Path(file).stem in BANNED_FILES:
            yield file
        for node in ast.walk(tree(file)):
            banned = {ast.ClassDef: BANNED_CLASSES, ast.FunctionDef: BANNED}.get(type(node))
            if banned is not None and banned.match(node.name):  # type: ignore[attr-defined]
                yield f"{file} {node.name}"


@pytest.mark.parametrize(
    ("found", "listed"),
    [(too_large, LARGE), (too_wide, WIDE), (badly_named, FOREIGN)],
    ids=["sizes", "parameters", "names"],
)
def test_exceptions_are_listed_with_a_reason_and_no_longer_than_they_are_needed(
    found: Any, listed: dict[str, str]
):
    assert sorted(found()) == sorted(listed)
    assert all(len(reason) > 10 for reason in listed.values())


@pytest.mark.parametrize("file", FILES)
def test_every_module_says_what_it_is(file: str):
    assert ast.get_docstring(tree(file)), f"{file} begins without a docstring"


@pytest.mark.parametrize("file", FILES)
def test_no_room_runs_text_as_code_or_loads_pickles(file: str):
    for node in ast.walk(tree(file)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            banned = ("eval",) if file in RUNS_CODE else ("eval", "exec")
            assert node.func.id not in banned, f"{file}:{node.lineno}"
        if isinstance(node, ast.Import):
            names = {alias.name.partition(".")[0] for alias in node.names}
            assert not names & UNSAFE, f"{file}:{node.lineno}"
        if isinstance(node, ast.ImportFrom):
            assert (node.module or "").partition(".")[0] not in UNSAFE, f"{file}:{node.lineno}"
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("torch.load", "np.load"):
            safe = {word.arg: ast.unparse(word.value) for word in node.keywords}
            if ast.unparse(node.func) == "np.load":
                assert safe.get("allow_pickle", "False") == "False", f"{file}:{node.lineno}"
            else:
                assert "weights_only" in safe, f"{file}:{node.lineno}"


# -- doors


def test_import_contracts_are_kept():
    linter = Path(sys.executable).with_name("lint-imports")
    if not linter.exists():
        pytest.skip("import-linter is not installed")
    done = subprocess.run(
        [linter, "--no-cache"],
        cwd=HOUSE,
        env={**os.environ, "PYTHONPATH": str(HOUSE)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr
    assert re.search(r"[3-9] kept, 0 broken", done.stdout)


# -- speed


LANGUAGE = "import harness"
LISTING = "from harness.commands import main; main(['list'])"
TELL = (
    "\nimport atexit, json, sys\n"
    "def tell(): print('modules', json.dumps(sorted(sys.modules)), file=sys.stderr)\n"
    "atexit.register(tell)\n"
)


def python(code: str) -> tuple[subprocess.CompletedProcess[str], float]:
    """What a fresh process says, and the processor seconds that it takes.

    Not seconds of the clock: those measure what else the machine does.
    """
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(HOUSE)},
        capture_output=True,
        text=True,
        check=True,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return done, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@pytest.mark.parametrize(("code", "limit"), [(LANGUAGE, 0.25), (LISTING, 0.5)])
def test_quick_commands_are_quick(code: str, limit: float):
    python(code)  # compiles what is new
    assert min(python(code)[1] for _ in range(5)) < limit


@pytest.mark.parametrize("code", [LANGUAGE, LISTING])
def test_quick_commands_load_nothing_heavy(code: str):
    done, _ = python(TELL + code)
    (told,) = (line for line in done.stderr.splitlines() if line.startswith("modules "))
    loaded = {name.partition(".")[0] for name in json.loads(told.removeprefix("modules "))}
    assert "harness" in loaded
    assert not loaded & HEAVY
    assert not loaded & {"tasks", "trainers", "leaderboards"}


# -- what the house says of itself


def options() -> dict[str, Any]:
    """Every command's parameters, as the command line has them."""
    import typer

    from harness import commands

    found: Any = typer.main.get_command(commands._app([]))  # type: ignore[arg-type]
    return {name: command.params for name, command in found.commands.items()}


def flags() -> str:
    """A line for each flag and argument of each command."""
    lines = []
    for name, found in options().items():
        for each in found:
            if each.param_type_name == "argument":
                lines.append(f"{name} {each.name.upper()}")
            else:
                words = " ".join([*each.opts, *each.secondary_opts])
                several = " ..." if each.multiple else ""
                kind = "" if each.is_flag else " VALUE"
                lines.append(f"{name} {words}{kind}{several}")
    return "\n".join(sorted(lines)) + "\n"


def test_flags_change_only_on_purpose():
    assert flags() == FLAGS.read_text("utf-8"), "run `python tests/contracts/test_house.py`"


def test_every_command_is_documented_by_its_own_docstring():
    from harness.commands import NAMES

    assert set(options()) == set(NAMES)
    for name in NAMES:
        module = ast.parse((HOUSE / "harness" / "commands" / f"{name}.py").read_text("utf-8"))
        run = next(n for n in module.body if isinstance(n, ast.FunctionDef) and n.name == "run")
        assert ast.get_docstring(run), name


def told_commands() -> list[tuple[str, str]]:
    """Every `harness ...` line in a code block of the pages, with its place."""
    found = []
    for page in ("README.md", "CONTRIBUTING.md"):
        path = HOUSE / page
        text = path.read_text("utf-8") if path.exists() else ""
        for block in re.findall(r"^```\w*\n(.*?)^```", text, re.M | re.S):
            for line in block.splitlines():
                for part in line.partition("#")[0].split(";"):
                    if part.strip().startswith("harness "):
                        found.append((page, part.strip()))
    return found


def test_pages_tell_of_commands_and_flags_that_there_are():
    known, pages = options(), told_commands()
    assert pages
    for page, told in pages:
        words = told.split()[1:]
        assert words[0] in known, f"{page}: {told}"
        there = {flag for each in known[words[0]] for flag in (*each.opts, *each.secondary_opts)}
        for word in words[1:]:
            if word.startswith("-"):
                assert word.partition("=")[0] in {*there, "--help", "-h"}, f"{page}: {told}"


def test_help_in_pages_is_current():
    """A block that follows `<!-- harness COMMAND --help -->` is what the command prints."""
    from tests.command_line import command

    for page in ("README.md", "CONTRIBUTING.md"):
        text = (HOUSE / page).read_text("utf-8")
        for words, block in re.findall(
            r"<!-- harness ([\w -]+?) -->\n```\w*\n(.*?)```", text, re.S
        ):
            assert command(*words.split()).out.strip() == block.strip(), f"{page}: harness {words}"


if __name__ == "__main__":
    sys.path.insert(0, str(HOUSE))
    FLAGS.write_text(flags(), "utf-8")
