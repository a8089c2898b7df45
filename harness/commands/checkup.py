"""What works on this machine and why not: one function a thing, each gives findings, none raises.

Nothing heavy is imported here; what is slow or may crash (torch) runs in a process of its own.
"""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any, Literal, cast

from harness.registry import HOUSE

State = Literal["ok", "absent", "broken"]
NAME = "grpo-harness"
ROOM = 2 * 2**30
"""Bytes that a converted checkpoint and a long run may want."""
CORE = """
import importlib, json, sys
found = {}
for name in sys.argv[1:]:
    try:
        importlib.import_module(name)
    except BaseException as error:
        found[name] = f"{type(error).__name__}: {error}"[:300]
print(json.dumps(found))
"""
TORCH = """
import importlib.util, json, shutil, torch
def fsdp():
    try:
        from torch.distributed.fsdp import fully_shard
    except ImportError:
        return False
    return torch.distributed.is_available()
def backends():
    d = torch.distributed
    known = [("gloo", "is_gloo_available"), ("nccl", "is_nccl_available")]
    return [name for name, asked in known if d.is_available() and getattr(d, asked)()]
def bf16():
    a = torch.ones(4, 4, dtype=torch.bfloat16)
    return bool((a @ a == 4).all())
cuda = torch.cuda.is_available()
print(json.dumps({
    "version": torch.__version__, "threads": torch.get_num_threads(), "bf16": bf16(),
    "device": torch.cuda.get_device_name(0) if cuda else
    "mps" if torch.backends.mps.is_available() else "cpu",
    "capability": torch.backends.cpu.get_cpu_capability(),
    "cuda": torch.version.cuda, "cards": [
        [card.name, card.total_memory, card.major, card.minor] for card in
        map(torch.cuda.get_device_properties, range(torch.cuda.device_count()))
    ],
    "half": cuda and torch.cuda.is_bf16_supported(including_emulation=False),
    "compiler": shutil.which("c++") or shutil.which("g++") or shutil.which("clang++") or "",
    "triton": bool(importlib.util.find_spec("triton")),
    "liger": bool(importlib.util.find_spec("liger_kernel")),
    "fsdp": fsdp(), "backends": backends(),
}))
"""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    name: str
    state: State
    """`absent` is optional and not here; `broken` keeps the core from working."""
    told: str
    fix: str = ""
    """What would do."""


@dataclass(frozen=True)
class Declared:
    """What this distribution says it needs."""

    python: str
    core: tuple[str, ...]
    extras: dict[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])

    def of(self, extra: str) -> tuple[str, ...]:
        """The requirements of an extra, those of extras that it names included."""
        from packaging.requirements import Requirement

        found: dict[str, None] = {}
        for text in self.extras.get(extra, ()):
            need = Requirement(text)
            if need.name == NAME:
                named = (each for other in sorted(need.extras) for each in self.of(other))
                found.update(dict.fromkeys(named))
            else:
                found[text] = None
        return tuple(found)


def declared() -> Declared:
    """From the checkout's pyproject.toml, or from the installed distribution."""
    file = HOUSE / "pyproject.toml"
    if file.is_file():
        import tomllib

        table = tomllib.loads(file.read_text("utf-8")).get("project", {})
        if table.get("name") == NAME:
            optional = table.get("optional-dependencies", {})
            extras = {name: tuple(needs) for name, needs in optional.items()}
            return Declared(table["requires-python"], tuple(table["dependencies"]), extras)
    return _installed()


def _installed() -> Declared:
    from packaging.requirements import Requirement

    about = metadata.metadata(NAME)
    core: list[str] = []
    extras: dict[str, list[str]] = {e: [] for e in about.get_all("Provides-Extra") or ()}
    for text in metadata.requires(NAME) or ():
        marker = Requirement(text).marker
        named = [e for e in extras if marker and re.search(rf"extra == ['\"]{e}['\"]", text)]
        plain = text.partition(";")[0].strip()
        for extra in named:
            extras[extra].append(plain)
        if not named:
            core.append(text)
    return Declared(
        about["Requires-Python"],
        tuple(core),
        {name: tuple(needs) for name, needs in extras.items()},
    )


def python(bounds: str) -> Finding:
    """The interpreter against its bounds."""
    from packaging.specifiers import SpecifierSet

    version = ".".join(map(str, sys.version_info[:3]))
    good = SpecifierSet(bounds).contains(version)
    fix = "" if good else f"make an environment with a Python {bounds}"
    return Finding("python", "ok" if good else "broken", f"{version} (needs {bounds})", fix)


def packages(needs: Iterable[str]) -> Iterator[Finding]:
    """Each package of the core against its bounds; those in order are told together."""
    good: list[str] = []
    for text in needs:
        name, version, wrong = requirement(text)
        if wrong:
            yield Finding(name, "broken", wrong, f"pip install '{text}'")
        else:
            good.append(f"{name} {version}")
    yield Finding("packages", "ok", f"{len(good)} in order: {', '.join(good)}")


def extra(name: str, needs: Iterable[str]) -> Finding:
    """Whether everything that an extra brings is here."""
    wrong = [told for text in needs if (told := requirement(text)[2])]
    fix = f"pip install '{NAME}[{name}]'" if wrong else ""
    return Finding(f"[{name}]", "absent" if wrong else "ok", "; ".join(wrong) or "all here", fix)


def requirement(text: str) -> tuple[str, str, str]:
    """A requirement's name, the version here, and what is wrong with it."""
    from packaging.requirements import Requirement

    need = Requirement(text)
    if need.marker is not None and not need.marker.evaluate({"extra": ""}):
        return need.name, "not needed here", ""
    try:
        version = metadata.version(need.name)
    except metadata.PackageNotFoundError:
        return need.name, "", f"{need.name} is not installed"
    if need.specifier.contains(version, prereleases=True):
        return need.name, version, ""
    return need.name, version, f"{need.name} {version} is not {need.specifier}"


def imports(needs: Iterable[str]) -> Finding:
    """Whether the core's packages can be imported at all; tried in a process of its own."""
    wanted = {requirement(text)[0].lower().replace("_", "-") for text in needs}
    modules = sorted(
        module
        for module, owners in metadata.packages_distributions().items()
        if not module.startswith("_")
        and wanted & {owner.lower().replace("_", "-") for owner in owners}
    )
    found = _process(CORE, modules)
    if not isinstance(found, dict):
        return Finding("imports", "broken", str(found), "install the packages again")
    broken = cast(dict[str, str], found)
    told = "; ".join(f"{name}: {error}" for name, error in broken.items())
    fix = "install again what does not import" if broken else ""
    return Finding("imports", "broken" if broken else "ok", told or f"{len(modules)} modules", fix)


def torch() -> Iterator[Finding]:
    """Version, device, bf16 and threads; cards, compilers and processes. In one of its own."""
    if requirement("torch")[2]:
        yield Finding("torch", "absent", "not installed", f"pip install '{NAME}[train]'")
        return
    answer = _process(TORCH, [])
    if not isinstance(answer, dict):
        yield Finding("torch", "broken", str(answer), "install torch again")
        return
    found = cast(dict[str, Any], answer)
    yield _torch_itself(found)
    yield _cards(found)
    yield _processes(found)
    yield _kernels(found)


def _cards(found: Mapping[str, Any]) -> Finding:
    if not found["cards"]:
        build = f"torch is built for CUDA {found['cuda']}" if found["cuda"] else "a CPU build"
        fix = "nothing is needed to train small models; for a card, a torch built for it"
        return Finding("cards", "absent", f"none is seen, {build}", fix)
    half = "bfloat16 by itself" if found["half"] else "no bfloat16 of its own, so float32"
    listed = ", ".join(
        f"{name} ({memory / 2**30:.0f} GiB, capability {major}.{minor})"
        for name, memory, major, minor in found["cards"]
    )
    return Finding("cards", "ok", f"{listed}; CUDA {found['cuda']}, {half}")


def _processes(found: Mapping[str, Any]) -> Finding:
    if not found["backends"]:
        fix = "a torch built with torch.distributed; one process works as ever"
        return Finding("processes", "absent", "several cannot train together", fix)
    sharding = "--sharding fsdp" if found["fsdp"] else "no sharding: torch has no fully_shard"
    return Finding("processes", "ok", f"several by {', '.join(found['backends'])}; {sharding}")


def _kernels(found: Mapping[str, Any]) -> Finding:
    compiles = found["triton"] if found["cards"] else found["compiler"]
    wanted = "triton" if found["cards"] else "a C++ compiler"
    told = f"--compile {'has what it needs' if compiles else f'lacks {wanted}'}"
    if not found["cards"]:
        return Finding("kernels", "ok", f"{told}; graphs and Liger are for cards")
    told += f"; graphs of decode steps; Liger {'is here' if found['liger'] else 'is not'}"
    fix = "" if found["liger"] else f"pip install '{NAME}[liger]' makes reviews faster"
    return Finding("kernels", "ok" if found["liger"] else "absent", told, fix)


def _torch_itself(found: Mapping[str, Any]) -> Finding:
    told = (
        f"{found['version']} on {found['device']}, {found['capability']}, "
        f"bf16 {'works' if found['bf16'] else 'does not work'}, {found['threads']} threads"
    )
    return Finding("torch", "ok", told)


def data(*, deep: bool) -> Finding:
    """HARNESS_DATA: which files that tasks read are there; with `deep`, their digests too."""
    import harness.data

    place = os.environ.get(harness.data.FOLDER, "")
    if not place:
        told = f"{harness.data.FOLDER} is not set: public sets come from the hub"
        return Finding("data", "absent", told, f"export {harness.data.FOLDER}=FOLDER")
    folder = Path(place)
    if not folder.is_dir():
        told = f"{harness.data.FOLDER}={folder} is no folder"
        return Finding("data", "broken", told, "correct it, or unset it to read from the hub")
    read = data_files()
    gone = [name for name in read if not _there(folder, name)]
    damaged = list(_damaged(folder, deep=deep))
    told = f"{folder}: {len(read) - len(gone)} of the {len(read)} files that tasks read"
    if gone:
        told += f"; not there: {', '.join(gone)}"
    if damaged:
        told += f"; not as MANIFEST.tsv says: {', '.join(damaged[:10])}"
    state: State = "broken" if damaged else "absent" if gone else "ok"
    return Finding("data", state, told, "get these files again" if gone or damaged else "")


def data_files() -> list[str]:
    """Files below HARNESS_DATA that tasks name in their source, read without importing it."""
    found: set[str] = set()
    for source in sorted((HOUSE / "tasks").glob("*.py")):
        found.update(re.findall(r"\bfile=\"([^\"\s]+/[^\"\s]+)\"", source.read_text("utf-8")))
    return sorted(found)


def room(name: str, folder: Path) -> Finding:
    """Whether a folder can be written, and how much room there is."""
    near = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    try:
        with tempfile.TemporaryFile(dir=near):
            free = shutil.disk_usage(near).free
    except OSError as error:
        told = f"{folder} cannot be written: {error.strerror or error}"
        return Finding(name, "broken", told, "give it back to you, or name another folder")
    told = f"{folder} can be written, {free / 2**30:.1f} GiB free"
    if free < ROOM:
        return Finding(name, "broken", told, f"free {ROOM // 2**30} GiB")
    return Finding(name, "ok", told)


def locks(output: Path) -> Finding:
    """Runs that another process is writing now."""
    from filelock import FileLock, Timeout

    busy: list[str] = []
    for lock in sorted((output / "runs").glob("*/.*.lock")):
        try:
            with FileLock(lock, timeout=0):
                pass
        except (Timeout, OSError):
            busy.append(lock.parent.name)
    told = f"being written now: {', '.join(busy)}" if busy else "no other process writes there"
    return Finding("runs", "ok", told)


def hub() -> Finding:
    """Whether the model and dataset hub answers, within three seconds."""
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
        return Finding("hub", "absent", "switched off by HF_HUB_OFFLINE", "unset it")
    from urllib.error import HTTPError, URLError
    from urllib.request import Request, urlopen

    address = os.environ.get("HF_ENDPOINT", "") or "https://huggingface.co"
    fix = "work from local folders, HARNESS_DATA and text:smollm2, or connect"
    try:
        with urlopen(Request(address, method="HEAD"), timeout=3):
            return Finding("hub", "ok", f"{address} answers")
    except HTTPError as error:
        return Finding("hub", "ok", f"{address} answers ({error.code})")
    except (URLError, OSError, ValueError) as error:
        return Finding("hub", "absent", f"{address} cannot be reached: {error}", fix)


def _there(folder: Path, name: str) -> Path | None:
    plain = name.removesuffix(".gz")
    places = (folder / name, folder / plain, folder / f"{plain}.gz")
    return next((place for place in places if place.is_file()), None)


def _damaged(folder: Path, *, deep: bool) -> Iterator[str]:
    """Files that differ from the folder's own list, where it has one."""
    from harness.digests import file_digest

    try:
        with (folder / "MANIFEST.tsv").open(encoding="utf-8", newline="") as lines:
            listed = list(csv.DictReader(lines, delimiter="\t"))
    except (OSError, ValueError, csv.Error):
        return
    for row in listed:
        file = folder / (row.get("path") or "")
        if not file.is_file():
            continue
        same = str(file.stat().st_size) == row.get("bytes")
        if not same or (deep and file_digest(file) != row.get("sha256")):
            yield str(row["path"])


def _process(program: str, arguments: list[str]) -> Any:
    """What a Python program printed as JSON, or the last line of what it died with."""
    try:
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", program, *arguments],
            capture_output=True,
            text=True,
            timeout=180,
            cwd=tempfile.gettempdir(),
        )
    except (OSError, subprocess.SubprocessError) as error:
        return f"{type(error).__name__}: {error}"
    try:
        return json.loads(done.stdout.splitlines()[-1])
    except (ValueError, IndexError):
        last = done.stderr.strip().splitlines()[-1:] or [f"it ended with {done.returncode}"]
        return last[0][:300]
