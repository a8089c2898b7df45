"""`harness verify`: records against what they were made of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

if TYPE_CHECKING:
    from harness.commands.proofs import Line, Proof, Verifier

Flag = typer.Option
SHOWN = 20
"""Complaints that are listed."""
MARKS = {"ok": "ok", "wrong": "WRONG", "unchecked": "-"}


def run(
    what: Annotated[
        str,
        typer.Argument(help="records (file, file:LINE, folder), a board, or a run; default all"),
    ] = "",
    task: Annotated[
        str | None, Flag("--task", help="where the task lies, if it was named by a path")
    ] = None,
    noted: Annotated[
        Path | None, Flag(help="chain.json of an earlier publish: nothing may be gone since")
    ] = None,
    seals: Annotated[
        bool, Flag("--seal", help="first chain the lines of files from before there was a chain")
    ] = False,
    strict: Annotated[bool, Flag("--strict", help="what could not be checked fails too")] = False,
    output: Annotated[Path, Flag("--output-dir", "-o", help="where records and runs lie")] = Path(
        "results"
    ),
    as_json: Annotated[bool, Flag("--json", help="machine-readable result")] = False,
) -> None:
    """Derive records again from their rollouts; tell what is wrong and what cannot be checked."""
    from harness.commands import screen
    from harness.commands.proofs import Verifier
    from results.record import seal

    if seals:
        for path in seal(output / "records"):
            screen.say(f"sealed {path}")
    verifier = Verifier(output, task)
    lines = _lines(what, output)
    proofs = [verifier.prove(line) for line in lines]
    files = sorted({line.path for line in lines})
    broken = _broken(verifier, files, lines)
    if noted is not None:
        broken += _gone(verifier, files or sorted((output / "records").glob("*.jsonl")), noted)
    if as_json:
        screen.emit(_told(proofs, broken))
    else:
        _present(proofs, broken)
    unchecked = any(f.outcome == "unchecked" for proof in proofs for f in proof.parts.values())
    if broken or any(proof.wrong for proof in proofs) or (strict and unchecked):
        raise typer.Exit(1)


def _lines(what: str, output: Path) -> list[Line]:
    """The records that are meant."""
    from harness.commands.proofs import lines_of
    from harness.errors import UnknownName, UsageError
    from results.run import find_run

    path, _, number = what.rpartition(":")
    if path and number.isdecimal() and Path(path).is_file():
        found = [line for line in lines_of(Path(path)) if line.number == int(number)]
        if not found:
            raise UsageError(f"no record that still counts in line {number} of {path}")
        return found
    place = Path(what or output)
    if place.suffix == ".jsonl" and place.is_file():
        return list(lines_of(place))
    if place.is_dir() and not (place / "manifest.json").exists():
        return list(lines_of(place / "records" if (place / "records").is_dir() else place))
    if not what:
        raise UsageError(f"no records in {output}; `harness eval` makes some")
    everything = list(lines_of(output / "records"))
    try:
        return _of_board(what, everything)
    except UnknownName:
        run = find_run(what, output).path.name
    found = [line for line in everything if line.record.run == run]
    if not found:
        raise UsageError(
            f"no record in {output / 'records'} is of run {run}; `harness rescore {run}` checks a "
            "run that has none"
        )
    return found


def _of_board(name: str, lines: Sequence[Line]) -> list[Line]:
    """The records that stand on a board."""
    from harness import registry
    from leaderboards.board import draw

    drawing = draw(registry.board(name), [line.record for line in lines])
    shown = {
        record.key
        for ranking in drawing.rankings
        for record in (*(place.record for place in ranking.places), *ranking.unranked)
    } | {record.key for record in drawing.reported}
    return [line for line in lines if line.record.key in shown]


def _broken(verifier: Verifier, files: Sequence[Path], lines: Sequence[Line]) -> list[str]:
    """Breaks of the chains at lines that are none of the proven records'."""
    proven = {(line.path, line.number) for line in lines}
    return [
        f"{path.name}:{found.line}: {found.why}"
        for path in files
        for found in verifier.chain_of(path).breaks
        if (path, found.line) not in proven
    ]


def _gone(verifier: Verifier, files: Sequence[Path], noted: Path) -> list[str]:
    """Ends that were noted once and are no longer in the chains."""
    from results.run import read_table

    chains = {path.stem: verifier.chain_of(path) for path in files}
    gone: list[str] = []
    for family, told in read_table(noted).items():
        ends = cast(list[Any], told) if isinstance(told, list) else [told]
        there = chains[family].links if family in chains else set[str]()
        gone += [
            f"{family}: the line with link {str(end)[:16]} was there when {noted} was written, and "
            "is gone"
            for end in ends
            if end not in there
        ]
    return gone


def _told(proofs: Sequence[Proof], broken: Sequence[str]) -> dict[str, Any]:
    rows = [
        {
            "place": proof.line.place,
            "model": proof.line.record.model,
            "task": proof.line.record.task,
            "metric": proof.line.record.metric,
            "origin": proof.line.record.origin,
            "parts": {
                name: {"outcome": f.outcome, "why": f.why} for name, f in proof.parts.items()
            },
        }
        for proof in proofs
    ]
    agrees = not broken and not any(proof.wrong for proof in proofs)
    return {"agrees": agrees, "records": rows, "broken": list(broken)}


def _present(proofs: Sequence[Proof], broken: Sequence[str]) -> None:
    from harness.commands import screen
    from harness.commands.proofs import PARTS
    from leaderboards.text import visible

    rows = [
        [
            proof.line.place,
            visible(proof.line.record.model, 40),
            f"{proof.line.record.task} {visible(proof.line.record.metric, 24)}",
            *(MARKS[proof.parts[part].outcome] for part in PARTS),
        ]
        for proof in proofs
    ]
    screen.table("", ["record", "model", "number", *PARTS], rows)
    told = {"wrong": Counter[str](), "unchecked": Counter[str](), "ok": Counter[str]()}
    for proof in proofs:
        for part in PARTS:
            found = proof.parts[part]
            told[found.outcome][f"{part}: {found.why}"] += 1
    wrong = [*broken, *told["wrong"]]
    for why in wrong[:SHOWN]:
        print(f"wrong: {visible(why, 600)}")
    if len(wrong) > SHOWN:
        print(f"and {len(wrong) - SHOWN} more")
    for why, count in told["unchecked"].most_common(SHOWN):
        print(f"not checked, {count} records: {visible(why, 600)}")
    print(
        "it does not agree" if wrong else f"all that could be checked agrees: {len(rows)} records"
    )
