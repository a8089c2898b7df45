from __future__ import annotations

import ast
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from harness import Completion, Example, registry
from harness.errors import DataError, MissingExtra, UnknownName

reasoning_gym = pytest.importorskip("reasoning_gym", reason="the extra 'puzzles' is not installed")

from tasks import puzzles  # noqa: E402
from tasks._puzzle_child import EVALUATED, PARSED, readable  # noqa: E402
from tasks._puzzle_scorer import CHILD, Child  # noqa: E402

HOME = Path(reasoning_gym.__file__).parent


def first(name: str) -> Example:
    return puzzles.examples(name, "test")[0]


def scored(name: str, answer: str, number: int = 0) -> float:
    example = puzzles.examples(name, "test")[number]
    return puzzles.verify(example, Completion(f"<answer>{answer}</answer>")).scores["points"]


# -- what is bridged


def test_the_card_lists_every_dataset_but_those_left_out() -> None:
    from reasoning_gym.factory import DATASETS

    assert set(puzzles.names()) | set(puzzles.LEFT_OUT) == set(DATASETS)
    assert not set(puzzles.names()) & set(puzzles.LEFT_OUT)
    assert puzzles.names() == sorted(puzzles.names())


def test_an_unknown_dataset_is_met_with_near_names() -> None:
    with pytest.raises(UnknownName, match="Did you mean puzzles/countdown"):
        registry.task("puzzles/count_down")


def test_a_dataset_that_is_left_out_says_why() -> None:
    with pytest.raises(DataError, match="puzzles/boxnet is left out: it knows no right answer"):
        registry.task("puzzles/boxnet")


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "reasoning_gym", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"pip install 'grpo-harness\[puzzles\]'"):
        puzzles.open_member("countdown")


def test_listing_and_opening_do_not_import_the_library() -> None:
    text = (
        "import sys; from harness import registry; registry.cards('tasks'); "
        "registry.task('puzzles/countdown'); print('reasoning_gym' in sys.modules)"
    )
    path = os.pathsep.join(p for p in sys.path if p)
    done = subprocess.run(
        [sys.executable, "-c", text],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "False"


# -- answers


@pytest.mark.parametrize(
    ("output", "answer"),
    [
        ("so <answer>42</answer>", "42"),
        ("<answer>1</answer> no, <answer>\n2\n3\n</answer>", "2\n3"),
        ("I think\n\n  it is 42  \n\n", "it is 42"),
        ("<think><answer>1</answer></think>\n<answer>2</answer> and more", "2"),
        ("<think><answer>1</answer>", None),
        ("<answer>42", None),
        ("42</answer>", None),
        ("<answer> </answer>", None),
        ("\n \n", None),
        ("", None),
        (None, None),
        (b"<answer>42</answer>", None),
        (float("nan"), None),
    ],
)
def test_the_answer_is_in_the_last_tags_or_the_last_line(
    output: object, answer: str | None
) -> None:
    assert puzzles.extract(output) == answer


def test_a_cut_reply_without_an_answer_is_truncated() -> None:
    cut = Completion("<think>well", stopped="budget")
    assert puzzles.verify(first("countdown"), cut).reason == "truncated"
    assert puzzles.verify(first("countdown"), Completion("<think>well")).reason == "no_answer"


def test_an_answer_without_end_is_not_given_to_a_scorer() -> None:
    verdict = puzzles.verify(first("countdown"), Completion(f"<answer>{'1' * 200_000}</answer>"))
    assert verdict.reason == "bad_format"
    assert len(verdict.answer) == puzzles.LONGEST


# -- scorers that are wrong


def test_any_word_is_not_true() -> None:
    for number in range(5):
        right = puzzles.examples("game_of_life_halting", "test")[number].target["right"]
        assert scored("game_of_life_halting", right, number) == 1.0
        assert scored("game_of_life_halting", right.lower(), number) == 1.0
        for word in ("zzz wrong", "False" if right == "True" else "True", "1"):
            assert scored("game_of_life_halting", word, number) == 0.0


def test_nan_is_not_a_complex_number_that_is_right() -> None:
    for number in ("nan", "nan+nanj", "inf", "-inf+infj", "NaN"):
        assert scored("complex_arithmetic", number) == 0.0


def test_24_is_made_of_the_given_numbers_and_exactly() -> None:
    given = first("puzzle24").target["item"]["metadata"]["numbers"]
    assert sorted(given) != [1, 1, 4, 6]
    assert scored("puzzle24", "4*6*1*1") == 0.0
    assert scored("puzzle24", first("puzzle24").target["right"]) == 1.0


def test_the_integral_of_the_question_is_no_answer() -> None:
    for example in puzzles.examples("intermediate_integration", "test")[:5]:
        metadata = example.target["item"]["metadata"]
        told = f"Integral({metadata['integrand']}, {metadata['variable']}) + C"
        completion = Completion(f"<answer>{told}</answer>")
        assert puzzles.verify(example, completion).scores["points"] == 0.0
        assert "Integral" not in example.target["right"]


def test_a_scorer_that_raises_has_judged_the_form() -> None:
    verdict = puzzles.verify(first("prime_factorization"), Completion("zzz wrong"))
    assert verdict.scores == {"correct": 0.0, "points": 0.0}
    assert verdict.reason == "bad_format"
    assert "ValueError" in verdict.note


def test_puzzles_without_one_right_answer_take_any_that_rules_accept() -> None:
    for name in ("graph_color", "propositional_logic", "rubiks_cube"):
        for example in puzzles.examples(name, "test")[:10]:
            assert example.target["item"]["answer"] is None
            verdict = puzzles.verify(example, Completion(puzzles.gold(example)))
            assert verdict.scores["correct"] == 1.0


# -- hostile answers


def test_every_scorer_that_reads_code_is_known() -> None:
    """A release that adds one fails here: give it a reader that runs nothing."""
    known = {
        *EVALUATED,
        *PARSED,
        "algebra.simple_integration",
        "algebra.intermediate_integration",
        "algebra.polynomial_multiplication",
        "algorithmic.number_sorting",  # its own gold only
        "logic.propositional_logic",  # a parser of its own, of that name
    }
    found: set[str] = set()
    for path in HOME.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.FunctionDef) and node.name == "score_answer":
                called = {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}
                called |= {n.attr for n in ast.walk(node) if isinstance(n, ast.Attribute)}
                if called & {"eval", "exec", "parse_expr", "sympify", "S", "simplify"}:
                    found.add(".".join(path.relative_to(HOME).with_suffix("").parts))
    assert found <= known


INJECTED = "[open({path!r}, 'w'), __import__('os').system('touch {path}')]"


@pytest.mark.parametrize(
    "name",
    "string_insertion spiral_matrix binary_matrix n_queens puzzle24 countdown simple_integration "
    "intermediate_integration polynomial_multiplication".split(),
)
def test_an_answer_is_never_run(name: str, tmp_path: Path) -> None:
    path = str(tmp_path / "ran")
    assert scored(name, INJECTED.format(path=path)) < 0.1
    assert scored(name, f"__import__('pathlib').Path({path!r}).touch()") < 0.1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "text",
    [
        "9**9**9",
        "2**(3**4)",
        "x**12345",
        "9**(9)**9",
        "x.diff",
        "a_b",
        "__import__",
        "lambda: 7",
        "5!",
    ],
)
def test_expressions_are_arithmetic_only(text: str) -> None:
    with pytest.raises(ValueError, match=r"not arithmetic|a tower of powers"):
        readable(text)


@pytest.mark.parametrize(
    "text", ["1*(7*4 - 4)", "x*asin(3*x) + sqrt(1 - 9*x**2)/3 + C", "-2*x**4*y**3 + (x**2 + 1)**2"]
)
def test_arithmetic_is_read(text: str) -> None:
    readable(text)


def test_moves_without_end_do_not_hang() -> None:
    begin = time.perf_counter()
    verdict = puzzles.verify(first("rubiks_cube"), Completion("<answer>R99999999999</answer>"))
    assert verdict.scores["correct"] == 0.0
    assert time.perf_counter() - begin < 20


def test_a_scorer_that_hangs_is_ended_and_the_next_one_is_judged() -> None:
    child = Child()
    try:
        assert child.ask(("make", "countdown", 0, 1), 60)[0] == "ok"
        assert child.process is not None
        process, worker = child.process.pid, child.worker
        for _ in range(3):
            assert child.ask(("make", "knight_swap", 0, 400), 0.2) == ("timeout", "")
            assert child.ask(("make", "countdown", 0, 1), 60)[0] == "ok"
        assert child.process.pid == process
        assert child.worker != worker
    finally:
        child.end()


def test_a_worker_that_dies_at_work_is_a_crash_and_is_replaced() -> None:
    child = Child()
    try:
        assert child.ask(("make", "countdown", 0, 1), 60)[0] == "ok"
        killer = threading.Timer(0.5, lambda: os.kill(child.worker, signal.SIGKILL))
        killer.start()
        assert child.ask(("make", "knight_swap", 0, 400), 60) == ("crash", "")
        killer.join()
        assert child.ask(("make", "countdown", 0, 1), 60)[0] == "ok"
    finally:
        child.end()


def test_workers_end_with_the_process_that_asked() -> None:
    text = (
        "from tasks._puzzle_scorer import CHILD_PROCESS as child; import os, sys\n"
        "child.ask(('make', 'countdown', 0, 1), 60)\n"
        "print(child.worker, flush=True); os._exit(1)"
    )
    path = os.pathsep.join(p for p in sys.path if p)
    done = subprocess.run(
        [sys.executable, "-c", text],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    worker = int(done.stdout)
    for _ in range(100):
        try:
            os.kill(worker, 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    pytest.fail(f"worker {worker} is still there")


def test_a_process_that_dies_is_a_crash_and_comes_back() -> None:
    child = Child()
    try:
        made = child.ask(("make", "countdown", 0, 2), 60)
        assert child.process is not None
        child.process.kill()
        child.process.wait()
        assert child.ask(("make", "countdown", 0, 2), 60) == made
    finally:
        child.end()


def test_the_process_may_not_write_or_start_anything(tmp_path: Path) -> None:
    text = CHILD.read_text("utf-8").replace("    main()\n", "")
    tried = f"""
sys.addaudithook(_refuse)
refused = 0
for attempt in (
    lambda: open({str(tmp_path / "a")!r}, "w"),
    lambda: os.system("true"),
    lambda: __import__("subprocess").run(["true"]),
    lambda: __import__("socket").create_connection(("127.0.0.1", 9)),
    lambda: os.mkdir({str(tmp_path / "b")!r}),
):
    try:
        attempt()
    except PermissionError:
        refused += 1
print(refused)
"""
    done = subprocess.run(
        [sys.executable, "-c", re.sub(r"if __name__.*", "", text) + tried],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "5"


def test_the_same_item_is_in_one_split_only() -> None:
    for name in ("prime_factorization", "game_of_life_halting"):
        found = [
            {e.inputs["question"] for e in puzzles.examples(name, s)}
            for s in ("train", "dev", "test")
        ]
        assert sum(map(len, found)) == len(set().union(*found))
        assert len(found[2]) > 80
