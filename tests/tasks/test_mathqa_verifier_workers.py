"""Algebra runs in processes that can be killed, and leaves none behind."""

import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tasks.mathqa_verifier import equal, forget, judge, workers

ROOT = Path(__file__).resolve().parents[2]
ALGEBRA = r"\lim_{x\to 0}\frac{\sin x}{x}"
SLOW = r"\lim_{n\to\infty} \frac{(n!)^{1/n}}{n}"
ENDLESS = r"\int_0^1 \int_0^x e^{\sin(xy)}\,dy\,dx"


@pytest.fixture(autouse=True)
def _fresh_verdicts():
    forget()


def script(body: str, folder: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run a script without a main guard from a file, as a user would."""
    path = folder / "script.py"
    path.write_text(textwrap.dedent(body), "utf-8")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **settings}
    return subprocess.run(
        [sys.executable, str(path)],
        capture_output=True,
        text=True,
        timeout=60,
        env=environment,
        check=False,
    )


def alive(pid: int) -> bool:
    """Whether a process runs; a dead one that nobody has waited for does not."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text("utf-8")
    except OSError:
        return False


def test_common_answers_need_neither_sympy_nor_a_process(tmp_path: Path):
    done = script(
        r"""
        import sys
        from tasks.mathqa_verifier import equal, judge, workers
        for gold, answer in [("18", "18.0"), (r"\frac{1}{2}", "0.5"), ("(1,2)", "1, 2"),
                             (r"\sqrt{12}", r"2\sqrt3"), ("x^2-1", "(x-1)(x+1)"), ("5", "x=5")]:
            assert equal(gold, answer), (gold, answer)
            assert judge(gold, "#### " + answer).scores["earned"] == 1
        assert "sympy" not in sys.modules and "pebble" not in sys.modules, "imported"
        assert workers._pool.pool is None
        """,
        tmp_path,
    )
    assert done.returncode == 0, done.stderr


def test_a_pair_without_end_costs_its_worker_not_the_caller():
    assert equal("1", ALGEBRA)  # warm
    start = time.perf_counter()
    assert not equal("7", ENDLESS)
    assert time.perf_counter() - start < 2.5
    assert equal(r"\frac12", r"\int_0^1 x\,dx")


def test_a_time_limit_is_a_counted_reason(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(workers, "LIMIT", 0.05)
    output = f"\\boxed{{{SLOW}}}"
    verdict = judge("1/e", output)
    assert (verdict.reason, verdict.scores["correct"]) == ("timeout", 0.0)
    monkeypatch.setattr(workers, "LIMIT", 20.0)
    assert judge("1/e", output).reason != "timeout"  # a failure is not remembered


def test_a_dead_worker_is_a_counted_reason():
    assert equal("1", ALGEBRA)  # warm
    forget()
    with ThreadPoolExecutor(1) as thread:
        verdict = thread.submit(judge, "7", f"\\boxed{{{ENDLESS}}}")
        time.sleep(0.3)
        for child in multiprocessing.active_children():
            os.kill(child.pid or 0, signal.SIGKILL)
        assert verdict.result(timeout=30).reason == "crash"
    assert judge("1", f"\\boxed{{{ALGEBRA}}}").reason == "ok"


def test_many_threads_share_the_workers():
    answers = [rf"\lim_{{x\to 0}}\frac{{\sin {n}x}}{{x}}" for n in range(2, 10)]
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(equal, map(str, range(2, 10)), answers))
        wrong = list(threads.map(equal, map(str, range(3, 11)), answers))
    assert found == [True] * 8
    assert wrong == [False] * 8


def _in_child(answer: str) -> None:
    raise SystemExit(0 if equal("1", answer) else 1)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_forked_child_starts_workers_of_its_own():
    assert equal("1", ALGEBRA)
    forget()
    child = multiprocessing.get_context("fork").Process(target=_in_child, args=(ALGEBRA,))
    child.daemon = False
    child.start()
    child.join(30)
    if child.exitcode is None:
        child.kill()
    assert child.exitcode == 0


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
def test_a_script_without_guard_runs_once_and_leaves_no_process(tmp_path: Path):
    done = script(
        r"""
        import multiprocessing
        print("begun", flush=True)
        from tasks.mathqa_verifier import equal
        assert equal("1", r"\lim_{x\to 0}\frac{\sin x}{x}")
        print(*(child.pid for child in multiprocessing.active_children()), flush=True)
        """,
        tmp_path,
    )
    assert done.returncode == 0, done.stderr
    begun, pids = done.stdout.splitlines()
    assert begun == "begun"
    assert pids
    assert not any(alive(int(pid)) for pid in pids.split())


def test_verdicts_do_not_depend_on_the_hash_seed(tmp_path: Path):
    body = r"""
    from tasks.mathqa_verifier import equal, same
    pairs = [("a+b+c", "c+b+a"), (r"\{1,2,3\}", r"\{3,1,2\}"), ("xy+1", "yx+1"),
             (r"\binom{n}{k}", r"\frac{n!}{k!(n-k)!}"), ("x+y>1", "1<y+x"), ("x^2", "t^2")]
    print([(equal(*pair), same(*pair)) for pair in pairs])
    """
    shown = {script(body, tmp_path, PYTHONHASHSEED=seed).stdout for seed in ("0", "1", "77")}
    assert len(shown) == 1
    assert shown.pop().count("True, True") == 5
