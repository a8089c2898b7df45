"""`harness rescore`: every verdict and number of a run derived again, without the model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from results.run import RunFolder


def run(
    run: Annotated[str, typer.Argument(help="a run's folder, or the beginning of its id")],
    task: Annotated[
        str | None, typer.Option("--task", help="where the task lies, if it was named by a path")
    ] = None,
    output: Annotated[Path, typer.Option("--output-dir", "-o")] = Path("results"),
    sandbox: Annotated[
        str, typer.Option(help="where programs are judged: local, docker, remote:URL")
    ] = "local",
    as_json: Annotated[bool, typer.Option("--json", help="machine-readable receipt")] = False,
) -> None:
    """Derive a run's verdicts and numbers again without its model; exits with 0 if all agree."""
    from harness.commands import boxing, screen
    from harness.commands.receipts import receipt_of, write_receipt
    from results.run import find_run

    boxing.choose(sandbox)
    folder = find_run(run, output)
    receipt = receipt_of(folder, task)
    write_receipt(folder, receipt)
    if as_json:
        screen.emit(receipt)
    else:
        _print(folder, receipt)
    if not receipt["agrees"]:
        raise typer.Exit(1)


def _print(folder: RunFolder, receipt: Mapping[str, Any]) -> None:
    version = receipt["version"]
    print(f"{receipt['run']}: {receipt['task']}")
    for check in (each for each in receipt["checks"] if each.checked):
        wrong = f", {check.wrong} of them otherwise" if check.wrong else ""
        print(f"  {check.what:<18} {check.checked:>7} checked{wrong}")
        for complaint in check.first:
            print(f"    {complaint}")
    if version["then"] != version["now"]:
        print(
            f"  the task had version {version['then']} then and has {version['now']} now: its "
            "verdicts need not be the same. Check out the commit of then to compare like with like"
        )
    if receipt["rewards"] == "stages":
        print("  the recipe pays by stages of its own: its rewards are not derived from verdicts")
    moved = _moved(receipt["environment"])
    if moved:
        print(f"  other versions now: {', '.join(moved)}")
    print(f"  verdicts' digest   {receipt['rollouts_digest']}")
    print("all agrees" if receipt["agrees"] else "it does not agree")
    print(f"receipt: {folder.path / 'receipt.json'}")


def _moved(environment: Mapping[str, Any]) -> list[str]:
    """Packages whose version is another one now."""
    old, new = (_packages(environment[when]) for when in ("then", "now"))
    return [
        f"{name} {old.get(name, 'none')} -> {new.get(name, 'none')}"
        for name in sorted({*old, *new})
        if old.get(name) != new.get(name)
    ]


def _packages(environment: Mapping[str, Any] | None) -> dict[str, str]:
    return dict(environment["packages"]) if environment else {}
