"""image: a container image made of the running interpreter, without any registry.

An image holds the interpreter, its standard library, the shared libraries that its loader names,
and the part of this library that runs inside the box: nothing else, not even a shell. The
scientific one adds numpy, sympy, pandas and scipy, as far as they are installed here. Its tag is a
digest of what it runs, so a backend never meets an image of another version of itself.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import platform
import re
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
from collections.abc import Iterable, Iterator
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from sandbox.errors import SandboxUnavailable

if TYPE_CHECKING:
    from docker import DockerClient

    from sandbox.types import Pool

REPOSITORY = "sandbox-python"
HOME = "/opt/sandbox"
"""Folder of the image that holds this library's own part."""
PYTHON, PACKAGES = "/opt/python", f"{HOME}/packages"
"""Where an interpreter that lives outside of /usr, and its packages, are put: never below a folder
that a container covers, such as /tmp, and telling nothing of this machine's own folders."""
LABEL = "sandbox.plan"
"""Label of an image: its interpreter, and what a box there imports, as JSON."""
SCIENTIFIC = ("numpy", "sympy", "pandas", "scipy")
TAIL = re.compile(r"\.opt-[12]\.pyc$|^_(tkinter|test|ctypes_test|xxtest)\w*\.[\w.-]*so$")
"""Files that no program needs; tkinter would bring a window system's libraries."""
WITHOUT = {"test", "tests", "idlelib", "tkinter", "turtledemo", "ensurepip", "lib2to3"}
"""Folders of the standard library and of packages that no program needs."""
PART = ("__init__.py", "frames.py", "inside", "layers")
"""What of this library runs inside the box."""
ROOM = Path(__file__).resolve().parent


def name(pool: Pool = "lean") -> str:
    """The image that this version of the library runs on this interpreter."""
    return f"{REPOSITORY}:{pool}-{digest()}"


@cache
def digest() -> str:
    """Of the interpreter's version and of all that runs inside the box; 12 hexadecimal digits."""
    found = hashlib.sha256(f"{platform.python_version()} {platform.machine()}".encode())
    for path in _part():
        found.update(str(path.relative_to(ROOM)).encode() + b"\0" + path.read_bytes() + b"\0")
    return found.hexdigest()[:12]


def plan(pool: Pool = "lean") -> dict[str, Any]:
    """What a backend must know of the image: the interpreter, and what a box is to import."""
    science = pool == "scientific"
    return {
        "python": place(_executable()),
        "paths": [PACKAGES] if science else [],
        "modules": [each for each in SCIENTIFIC if science and _installed(each)],
    }


def place(path: Path) -> str:
    """Where a file or folder of this machine lies in the image."""
    prefix = Path(sys.base_prefix).resolve()
    for folder in _folders():
        if path.is_relative_to(folder):
            return f"{PACKAGES}/{path.relative_to(folder)}"
    if prefix not in (Path("/usr"), Path("/")) and path.is_relative_to(prefix):
        return f"{PYTHON}/{path.relative_to(prefix)}"
    return str(path)


def build(client: DockerClient, pool: Pool = "lean") -> str:
    """Import the image into the engine; gives its name."""
    import docker.errors

    repository, _, tag = name(pool).partition(":")
    changes = [
        f"LABEL {LABEL}={json.dumps(json.dumps(plan(pool)))}",
        "ENV LANG=C.UTF-8",
        f"ENV LD_LIBRARY_PATH={PYTHON}/lib",
    ]
    api: Any = client.api
    with tempfile.NamedTemporaryFile(prefix="sandbox-image-") as file:
        write(cast(io.BufferedIOBase, file), pool)
        file.flush()
        try:
            told = api.import_image(src=file.name, repository=repository, tag=tag, changes=changes)
        except docker.errors.APIError as error:
            raise SandboxUnavailable(f"the engine took no image: {error.explanation}") from error
    if '"error"' in str(told):
        raise SandboxUnavailable(f"the engine took no image: {told}")
    return name(pool)


def write(file: io.BufferedIOBase, pool: Pool = "lean") -> int:
    """The image's root file system as a tar; gives the number of its files."""
    count = 0
    with tarfile.open(fileobj=file, mode="w") as archive:
        made: set[str] = set()
        for target, source in contents(pool):
            for folder in reversed(Path(target).parents):
                if str(folder) not in made and str(folder) != "/":
                    made.add(str(folder))
                    archive.addfile(_member(tarfile.TarInfo(str(folder)[1:]), folder=True))
            # links are followed: the name that a loader looks for holds the file itself
            info = archive.gettarinfo(str(Path(source).resolve()), arcname=target[1:])
            info.type, info.linkname = tarfile.REGTYPE, ""
            info.size = Path(source).stat().st_size
            with Path(source).open("rb") as content:
                archive.addfile(_member(info), content)
            count += 1
    return count


def _member(info: tarfile.TarInfo, *, folder: bool = False) -> tarfile.TarInfo:
    """Of root, readable and startable by all, writable by nobody."""
    if folder:
        info.type = tarfile.DIRTYPE
    info.mode = 0o555 if folder or info.mode & 0o111 else 0o444
    info.uid = info.gid = 0
    info.uname = info.gname = "root"
    return info


def contents(pool: Pool = "lean") -> Iterator[tuple[str, Path]]:
    """Every file of the image: its path there, and where it lies here."""
    found: dict[str, Path] = {}
    files: Iterable[Path] = (_executable(), *_library_files(_stdlib()), *_packages(pool))
    for source in (*files, *libraries(pool)):
        found.setdefault(place(source), source)
    for source in _part():
        found[f"{HOME}/sandbox/{source.relative_to(ROOM)}"] = source
    yield from found.items()


@cache
def libraries(pool: Pool = "lean") -> tuple[Path, ...]:
    """The shared libraries, and the loader, that interpreter and extension modules name."""
    files = (*_library_files(_stdlib()), *_packages(pool))
    binaries = [_executable(), *(path for path in files if ".so" in path.suffixes)]
    try:
        told = subprocess.run(
            ["ldd", *map(str, binaries)], capture_output=True, text=True, timeout=120
        ).stdout
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SandboxUnavailable(
            f"no image can be made here, since `ldd` fails ({error}); "
            "build one from sandbox/Dockerfile on a machine with a registry"
        ) from error
    found = re.findall(r"(?:=>|^)\s+(/\S+) \(0x", told, re.M)
    # not resolved: a loader looks for the name, which may be a link; but `..` of an rpath goes
    plain = dict.fromkeys(os.path.normpath(path) for path in found)
    return tuple(Path(path) for path in plain if Path(path).is_file())


def _executable() -> Path:
    """The interpreter itself, not the link of a virtual environment."""
    return Path(getattr(sys, "_base_executable", None) or sys.executable).resolve()


def _stdlib() -> Path:
    return Path(sysconfig.get_path("stdlib")).resolve()


@cache
def _library_files(folder: Path) -> tuple[Path, ...]:
    """All files of a folder of modules, but for tests, site packages and build parts."""
    found: list[Path] = []
    for where, folders, files in os.walk(folder):
        folders[:] = sorted(
            each
            for each in folders
            if each not in {*WITHOUT, "site-packages", "dist-packages"}
            and not each.startswith("config-")
        )
        # a link to nowhere, as some distributions ship, is passed over
        kept = (Path(where) / each for each in sorted(files) if not TAIL.search(each))
        found += [path for path in kept if path.is_file()]
    return tuple(found)


def _part() -> list[Path]:
    found: list[Path] = []
    for each in PART:
        path = ROOM / each
        found += sorted(path.rglob("*.py")) if path.is_dir() else [path]
    return found


def _installed(package: str) -> bool:
    try:
        metadata.distribution(package)
    except metadata.PackageNotFoundError:
        return False
    return True


@cache
def _folders() -> tuple[Path, ...]:
    """The site folders that hold what the scientific image adds."""
    found = (Path(str(metadata.distribution(each).locate_file(""))) for each in _needed())
    return tuple(dict.fromkeys(path.resolve() for path in found))


@cache
def _needed() -> tuple[str, ...]:
    """The scientific packages that are installed, with what they require."""
    found: dict[str, None] = {}
    waiting = [each for each in SCIENTIFIC if _installed(each)]
    while waiting:
        package = waiting.pop()
        if package in found or not _installed(package):
            continue
        found[package] = None
        for text in metadata.requires(package) or ():
            if "extra ==" not in text:
                waiting += re.findall(r"^[\w.-]+", text)
    return tuple(found)


def _packages(pool: Pool) -> list[Path]:
    """The files of those packages, tests left out."""
    found: list[Path] = []
    for package in _needed() if pool == "scientific" else ():
        for file in metadata.files(package) or ():
            path = Path(str(file.locate()))
            # numpy's own testing module reads one file of its tests
            kept = not WITHOUT & set(file.parts) or file.name in ("_natype.py", "__init__.py")
            kept &= ".." not in file.parts and not TAIL.search(file.name)
            if kept and path.is_file():
                found.append(path.resolve())
    return found
