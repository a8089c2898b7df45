"""Files as one commit of a git branch: work tree and index are never touched.

The commit is made from blobs by git's own plumbing in an index of its own, and the branch moves to
it in one step, only if nobody moved it meanwhile. The branch holds what was published and nothing
else, so only a new branch, or one that was published to, is taken.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

from harness.errors import BusyError, DataError, UsageError

MARK = PurePosixPath(".published-by-harness")
"""The file by which a branch is known as one that holds what was published."""
NOBODY = "0" * 40


def publish_branch(
    branch: str, files: Mapping[PurePosixPath, bytes], message: str, folder: Path
) -> str:
    """Commit files as the whole of a branch of the repository around `folder`; gives the commit.

    The commit that is there is given again where nothing changed.
    """
    _git(folder, "check-ref-format", "--branch", branch)
    reference = f"refs/heads/{branch}"
    old = _git(folder, "rev-parse", "--verify", "--quiet", reference, fails=True)
    _check(branch, reference, old, folder)
    with tempfile.TemporaryDirectory() as scratch:
        own = {"GIT_INDEX_FILE": str(Path(scratch) / "index")}
        whole = {**files, MARK: b"", PurePosixPath(".nojekyll"): b""}
        names = _blobs(folder, list(whole.values()))
        lines = sorted(f"100644 {blob}\t{path}\0" for path, blob in zip(whole, names, strict=True))
        listed = "".join(lines).encode()
        _git(folder, "update-index", "-z", "--index-info", data=listed, more=own)
        tree = _git(folder, "write-tree", more=own)
    if old and _git(folder, "rev-parse", f"{old}^{{tree}}") == tree:
        return old
    parents = ["-p", old] if old else []
    commit = _git(folder, "commit-tree", tree, *parents, "-m", message)
    moved = _git(folder, "update-ref", reference, commit, old or NOBODY, fails=True, tells=True)
    if moved:
        raise BusyError(f"the branch {branch} was moved meanwhile: {moved}. Publish again")
    return commit


def _blobs(folder: Path, contents: Sequence[bytes]) -> list[str]:
    """The names of blobs, of which those that the repository lacks are added in one go."""
    kind = _git(folder, "rev-parse", "--show-object-format") or "sha1"
    heads = [b"blob %d\0" % len(data) for data in contents]
    names = [
        hashlib.new(kind, head + data, usedforsecurity=False).hexdigest()
        for head, data in zip(heads, contents, strict=True)
    ]
    asked = "".join(f"{name}\n" for name in names).encode()
    told = _git(folder, "cat-file", "--batch-check=%(objectname)", data=asked).splitlines()
    missing = {line.split()[0] for line in told if line.endswith(" missing")}
    new = {name: data for name, data in zip(names, contents, strict=True) if name in missing}
    if new:
        stream = b"".join(b"blob\ndata %d\n%s\n" % (len(data), data) for data in new.values())
        _git(folder, "fast-import", "--quiet", "--done", data=stream + b"done\n")
    return names


def _check(branch: str, reference: str, old: str, folder: Path) -> None:
    """UsageError for a branch that somebody works on, or that holds something else."""
    there = _git(folder, "worktree", "list", "--porcelain").splitlines()
    if f"branch {reference}" in there:
        raise UsageError(f"the branch {branch} is checked out: publish to one that is not")
    if old and not _git(folder, "ls-tree", "--name-only", old, str(MARK)):
        raise UsageError(
            f"the branch {branch} holds other files, which publishing would take away: "
            "name a new branch, such as git:pages"
        )


def _git(
    folder: Path,
    *words: str,
    data: bytes | None = None,
    more: Mapping[str, str] | None = None,
    fails: bool = False,
    tells: bool = False,
) -> str:
    """What git answers; its complaint where it `tells`. DataError unless it may fail."""
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *words],
            input=data,
            capture_output=True,
            env={**os.environ, **(more or {})},
        )
    except FileNotFoundError as error:
        raise UsageError("publishing to a branch needs git, which is not installed") from error
    if done.returncode and not fails:
        said = done.stderr.decode("utf-8", "replace").strip()[:500]
        raise DataError(f"git {words[0]} fails in {folder}: {said}")
    if tells:
        return done.stderr.decode("utf-8", "replace").strip() if done.returncode else ""
    return done.stdout.decode("utf-8", "replace").strip()
