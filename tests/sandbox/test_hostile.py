"""Programs that want out, or to pass without being right: none does, and none spoils the next."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sandbox.local import LocalBackend
from tests.sandbox import hostile
from tests.sandbox.boxes import all_gone, descendants

HOUSE = Path(__file__).resolve().parents[2]
NOBODY = 65534
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="boxes need Linux")


@pytest.fixture
def stored() -> list[str]:
    folder = os.environ.get("HARNESS_DATA")
    if not folder:
        pytest.skip("HARNESS_DATA names no folder: the stored hostile programs are not there")
    return ["--stored", str(Path(folder) / "code" / "hostile_programs.jsonl")]


def suite(folder: Path, words: list[str], python: str = sys.executable, **how: Any) -> set[str]:
    """Run the script, hold it to its table; the layers that were on."""
    before = mounts()
    process = subprocess.Popen(
        [python, str(folder / "tests" / "sandbox" / "hostile.py"), *words],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={"PYTHONDONTWRITEBYTECODE": "1", "SECRET_TOKEN": "918273"},
        **how,
    )
    try:
        out, err = process.communicate(timeout=300)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise
    assert process.returncode == 0, out[-2000:] + err[-4000:]
    said = [json.loads(line) for line in out.splitlines()]
    layers = set(said.pop()["layers"])
    wrong = [each for each in said if each["verdict"] not in each["allowed"]]
    assert not wrong
    assert len(said) >= 2 * 90
    assert mounts() == before
    return layers


def mounts() -> set[str]:
    """Where something is mounted, but for what a container engine beside us mounts."""
    socket = Path(os.environ.get("DOCKER_HOST", "").removeprefix("unix://"))
    engine = ("/var/lib/docker", "/run/docker", *([str(socket.parent)] if socket.name else []))
    places = (line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines())
    return {place for place in places if not place.startswith(engine)}


def test_own_programs_that_end_by_themselves():
    rows = [row for row in hostile.own() if "TLE" not in row.allowed]
    assert len(rows) > 60
    below = descendants()
    with LocalBackend(workers=2) as backend:
        said = list(hostile.judged(backend, rows))
        inside = descendants() - below
    assert len(said) == 2 * len(rows) + 1
    assert [each for each in said[:-1] if each["verdict"] not in each["allowed"]] == []
    assert inside
    assert all_gone(inside)


@pytest.mark.slow
def test_all_programs_behind_all_layers(stored: list[str]):
    layers = suite(HOUSE, stored)
    assert {"seccomp", "rlimits", "no_new_privs", "capabilities"} <= layers


@pytest.mark.slow
def test_all_programs_without_namespaces(stored: list[str]):
    layers = suite(HOUSE, [*stored, "--off", "namespaces"])
    most = {"capabilities", "landlock", "no_new_privs", "rlimits", "seccomp"}
    assert layers - {"cgroup"} == most


@pytest.fixture
def everybodys() -> Iterator[Path]:
    """A copy of the code that any user may read; the checkout may lie in somebody's home."""
    folder = Path(tempfile.mkdtemp(prefix="sandbox-"))
    shutil.copytree(HOUSE / "sandbox", folder / "sandbox")
    (folder / "tests" / "sandbox").mkdir(parents=True)
    for name in ("hostile.py", "own_programs.py"):
        shutil.copy(HOUSE / "tests" / "sandbox" / name, folder / "tests" / "sandbox" / name)
    (folder / "tests" / "__init__.py").touch()
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def python_of_everybody() -> str:
    """An interpreter that an ordinary user can start: 3.11 or newer, outside of all homes."""
    for name in ("/usr/bin/python3", "/usr/local/bin/python3"):
        if Path(name).exists():
            asked = [name, "-c", "import sys; print(sys.version_info >= (3, 11))"]
            if subprocess.run(asked, capture_output=True, text=True).stdout.strip() == "True":
                return name
    pytest.skip("no interpreter of 3.11 or newer that an ordinary user could start")


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="the other tests run as an ordinary user already")
def test_all_programs_as_an_ordinary_user(stored: list[str], everybodys: Path):
    data = everybodys / "hostile_programs.jsonl"
    shutil.copy(stored[1], data)
    data.chmod(0o644)
    who = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
    layers = suite(everybodys, ["--stored", str(data)], python_of_everybody(), **who)
    assert {"seccomp", "rlimits", "no_new_privs", "capabilities"} <= layers
