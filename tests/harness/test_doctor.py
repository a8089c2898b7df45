"""The doctor names what is broken, and tells it from what is merely absent."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from harness.commands import checkup
from harness.commands.doctor import findings
from harness.journal import Journal

HOUSE = Path(__file__).resolve().parents[2]


def harness(*arguments: str, cwd: Path, **more: str) -> subprocess.CompletedProcess[str]:
    environment = {"PYTHONPATH": str(HOUSE), "PATH": "/usr/bin:/bin", "HOME": str(cwd), **more}
    return subprocess.run(
        [sys.executable, "-m", "harness", *arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
        timeout=100,
        env=environment,
    )


def test_here_the_core_works(tmp_path: Path) -> None:
    done = harness("doctor", "--json", cwd=tmp_path)
    told = json.loads(done.stdout)
    assert (told["works"], told["broken"], done.returncode) == (True, [], 0), done.stderr
    names = [finding["name"] for finding in told["findings"]]
    assert names[:4] == ["python", "packages", "results", "runs"]
    assert {"cache", "smollm2", "data", "[train]", "[docker]"} <= {*names}
    assert all(f["fix"] for f in told["findings"] if f["state"] != "ok")


def test_what_is_broken_is_named_and_fails(tmp_path: Path) -> None:
    done = harness("doctor", cwd=tmp_path, HARNESS_DATA=str(tmp_path / "gone"))
    assert done.returncode == 1
    assert "error: broken here: data" in done.stderr
    assert "is no folder" in done.stdout


def test_torch_is_not_imported_unless_deep(tmp_path: Path) -> None:
    program = (
        "import sys, pathlib; from harness.commands.doctor import findings;"
        f"list(findings(pathlib.Path({str(tmp_path)!r}), deep=False));"
        "print([m for m in ('torch', 'transformers', 'datasets', 'openai') if m in sys.modules])"
    )
    environment = {**os.environ, "PYTHONPATH": str(HOUSE)}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment
    )
    assert done.stdout.strip() == "[]", done.stderr


def test_versions_are_held_against_their_bounds() -> None:
    import numpy

    version = numpy.__version__
    assert checkup.requirement("numpy>=2") == ("numpy", version, "")
    assert checkup.requirement("numpy<1.0")[2] == f"numpy {version} is not <1.0"
    assert checkup.requirement("no-such-thing>=1")[2] == "no-such-thing is not installed"
    assert checkup.requirement("no-such-thing; python_version < '3'")[2] == ""
    (wrong, rest) = checkup.packages(["numpy<1.0", "msgspec"])
    assert (wrong.state, wrong.fix) == ("broken", "pip install 'numpy<1.0'")
    assert rest.told.startswith("1 in order: msgspec")
    assert checkup.python(">=3.99").state == "broken"


def test_extras_bring_those_they_name() -> None:
    declared = checkup.declared()
    assert declared.python.startswith(">=3.11")
    assert {*declared.of("train"), *declared.of("web")} <= {*declared.of("demo")}
    assert not any(need.startswith(checkup.NAME) for need in declared.of("peers"))
    missing = checkup.extra("docker", ["no-such-thing>=7"])
    assert missing.state == "absent"
    assert missing.fix == "pip install 'grpo-harness[docker]'"


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "data"
    for name in checkup.data_files():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.gz").write_bytes(b"rows")
    monkeypatch.setenv("HARNESS_DATA", str(folder))
    return folder


def test_data_are_looked_at_by_name_size_and_digest(data: Path) -> None:
    assert checkup.data_files()
    assert checkup.data(deep=False).state == "ok"
    (first, *_) = checkup.data_files()
    file = data / f"{first}.gz"
    row = f"{first}.gz\t1\t4\t{'0' * 64}\tcolumns"
    (data / "MANIFEST.tsv").write_text(f"path\trows\tbytes\tsha256\tcolumns\n{row}\n")
    assert checkup.data(deep=False).state == "ok"
    assert "not as MANIFEST.tsv says" in checkup.data(deep=True).told
    file.write_bytes(b"more rows")
    assert checkup.data(deep=False).state == "broken"
    shutil.rmtree(data / "math")
    assert "not there: " in checkup.data(deep=False).told


def test_a_folder_that_cannot_be_written_is_broken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert checkup.room("cache", tmp_path / "new" / "er").state == "ok"
    assert not (tmp_path / "new").exists()
    (tmp_path / "file").write_text("")
    assert checkup.room("cache", tmp_path / "file").state == "broken"
    monkeypatch.setattr(checkup, "ROOM", 2**70)
    assert "free" in checkup.room("cache", tmp_path).fix


def test_a_run_that_is_being_written_is_named(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "runs" / "eval-a" / "rollouts.jsonl").open()
    program = (
        "import sys, pathlib; from harness.commands.checkup import locks;"
        "print(locks(pathlib.Path(sys.argv[1])).told)"
    )
    asked = [sys.executable, "-c", program, str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(HOUSE)}
    busy = subprocess.run(asked, capture_output=True, text=True, env=environment, check=True)
    assert busy.stdout.strip() == "being written now: eval-a"
    journal.close()
    assert checkup.locks(tmp_path).told == "no other process writes there"


def test_a_program_that_dies_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkup, "TORCH", "import os; os._exit(139)")
    (finding,) = checkup.torch()
    assert (finding.state, finding.told) == ("broken", "it ended with 139")
    monkeypatch.setattr(checkup, "TORCH", "raise ImportError('libfoo.so')")
    (finding,) = checkup.torch()
    assert finding.told == "ImportError: libfoo.so"
    monkeypatch.setattr(checkup, "CORE", 'print(\'{"numpy": "ImportError: x"}\')')
    assert checkup.imports(["numpy"]).told == "numpy: ImportError: x"


def test_an_offline_hub_is_absent_not_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert checkup.hub().state == "absent"
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert "HF_HUB_OFFLINE" in checkup.hub().told


@pytest.mark.slow
def test_deep_looks_at_torch_and_imports(tmp_path: Path) -> None:
    found = {finding.name: finding for finding in findings(tmp_path, deep=True)}
    assert found["imports"].state == "ok", found["imports"].told
    assert "bf16" in found["torch"].told
    assert "gloo" in found["processes"].told
    assert {"cards", "kernels"} <= {*found}


def test_a_card_is_told_with_what_would_make_it_faster() -> None:
    card = {"cards": [["A card", 80 * 2**30, 9, 0]], "cuda": "13.0", "half": True, "triton": True}
    told = checkup._cards(card).told
    assert told == "A card (80 GiB, capability 9.0); CUDA 13.0, bfloat16 by itself"
    found = checkup._kernels({**card, "liger": False, "compiler": ""})
    assert (found.state, "[liger]" in found.fix) == ("absent", True)
    assert checkup._kernels({**card, "liger": True, "compiler": ""}).state == "ok"
