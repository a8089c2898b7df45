"""`harness publish`: boards from records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from leaderboards.board import Drawing
    from results.chain import Chain
    from results.record import Record

Flag = typer.Option
KINDS = "md,csv,tex,html"
SHOWN = 6
"""Columns of a ranking that a terminal has room for: model, rank, value, interval, n, k."""


def run(
    output: Annotated[Path, Flag("--output-dir", "-o", help="where records and runs lie")] = Path(
        "results"
    ),
    to: Annotated[
        str | None,
        Flag(
            help="folder (default leaderboards/tables or OUTPUT/tables), git:BRANCH, "
            "hub:space/ORG/NAME or hub:model/ORG/NAME"
        ),
    ] = None,
    model: Annotated[
        str | None, Flag(help="for hub:model, whose scores: a folder's name below cards")
    ] = None,
    unseen: Annotated[
        bool, Flag("--unseen", help="only rows whose examples are younger than their model")
    ] = False,
    board: Annotated[
        list[str] | None, Flag("--board", help="only this one; a name, or a path ending in .py")
    ] = None,
    formats: Annotated[str, Flag("--format", help="of md, csv, tex, html, json")] = KINDS,
    site: Annotated[
        bool, Flag("--site", help="a static site of linked pages, into OUTPUT/site or --to")
    ] = False,
    fresh: Annotated[
        bool, Flag("--fresh", help="with --site: make every page again, whatever was remembered")
    ] = False,
    pictures: Annotated[bool, Flag("--pictures", help="plots of boards, recipes and runs")] = False,
    dry_run: Annotated[bool, Flag("--dry-run", help="print what would be written")] = False,
    as_json: Annotated[bool, Flag("--json", help="boards and files as JSON")] = False,
) -> None:
    """Draw the boards from the records, and write tables and model-card metadata."""
    from harness import registry
    from harness.commands import screen
    from harness.commands.destinations import Destination
    from harness.commands.picturing import draw_pictures
    from harness.commands.sites import Sources, build_site, present
    from harness.errors import DataError, IncompleteRun, UnknownName, UsageError
    from harness.journal import write_whole
    from leaderboards.board import draw
    from leaderboards.render import FORMATS, to_json
    from results.record import load

    kinds = [kind.strip() for kind in formats.split(",") if kind.strip()]
    for kind in kinds:
        if kind not in FORMATS:
            raise UnknownName(kind, "formats", FORMATS)
    if fresh and not site:
        raise UsageError(
            "--fresh is about the pages of a site, and tables are always made again: "
            "say --site, too"
        )
    boards = [registry.board(name) for name in board or [c.name for c in registry.cards("boards")]]
    links: dict[Path, Chain] = {}
    found = load(output / "records", screen.say, links)
    unbroken(links)
    records = complete(found, output)
    if unseen:
        whole, records = records, [record for record in records if record.seen is False]
        screen.say(f"{len(whole) - len(records)} rows may be of examples that their model knew")
        if whole and not records:
            raise DataError(
                "no row is known to be of examples younger than its model, so nothing is written: "
                "both need a date, and most models tell none"
            )
    destination = Destination.of(to, output / "site" if site else default_folder(output), model)
    with destination.folder() as folder:
        built = None
        if site:
            ends = {path.stem: each.ends for path, each in links.items()}
            sources = Sources(boards, records, output, ends)
            built = build_site(sources, folder, dry_run=dry_run, fresh=fresh)
            drawings = built.drawings
            written = [str(folder / path) for path in built.written]
        else:
            drawings = [draw(each, records) for each in boards]
            files = tables(drawings, kinds, folder)
            if not board:
                beside = {**_cards(records), **news(records, output)}
                files |= {folder / path: text for path, text in beside.items()}
            if not dry_run:
                for path, text in files.items():
                    write_whole(path, text)
            written = list(map(str, files))
        if pictures:
            written += draw_pictures(drawings, output, folder / "pictures", dry_run=dry_run)
        if destination.kind != "folder":
            written = [str(Path(path).relative_to(folder)) for path in written]
            sent = "" if dry_run else destination.send(folder, len(records))
            screen.say(f"{'would send to' if dry_run else 'sent to'} {to} {sent}".strip())
    if built:
        there = Path(destination.name) if destination.kind == "folder" else None
        present(built, there, len(records), dry_run=dry_run, as_json=as_json)
    elif as_json:
        import msgspec

        drawn = [msgspec.json.decode(to_json(drawing)) for drawing in drawings]
        screen.emit({"records": len(records), "boards": drawn, "files": written})
    else:
        _present(drawings, written, dry_run=dry_run)
    if not records:
        screen.say(f"no records in {output / 'records'}; `harness eval` makes some")
    if found and not records:
        raise IncompleteRun("every record belongs to a run that is not complete")


def tables(drawings: Sequence[Drawing], kinds: Sequence[str], folder: Path) -> dict[Path, str]:
    """The text of every file of tables, by its place."""
    from leaderboards.render import FORMATS

    return {
        folder / f"{drawing.board.name}.{kind}": FORMATS[kind](drawing)
        for drawing in drawings
        for kind in kinds
    }


def unbroken(links: Mapping[Path, Chain]) -> None:
    """DataError where a record was changed or taken out after it was written."""
    from harness.errors import DataError

    for path, found in links.items():
        for broken in found.breaks:
            raise DataError(
                f"{path}, line {broken.line}: {broken.why}. Nothing is published from it; "
                "`harness verify` tells more, and the file's history has the line as it was"
            )


def _cards(records: list[Record]) -> dict[PurePosixPath, str]:
    """Metadata for the cards of all models."""
    from leaderboards.cards import card_files

    return {"cards" / path: text for path, text in card_files(records).items()}


def news(records: list[Record], output: Path) -> dict[PurePosixPath, str]:
    """Feed, changes, badges, and the ends of the chains, by which a later `verify` knows."""
    from harness.commands.proofs import noted_ends, told_ends
    from leaderboards.feed import atom, badges, changes

    ends = noted_ends(sorted((output / "records").glob("*.jsonl")))
    return {
        PurePosixPath("feed.xml"): atom(records),
        PurePosixPath("changes.md"): changes(records),
        PurePosixPath("chain.json"): told_ends(ends),
        **badges(records),
    }


def default_folder(output: Path) -> Path:
    """The house's own tables for the house's own results; else a folder beside the records."""
    from harness.registry import HOUSE

    own = (HOUSE / "pyproject.toml").exists() and output.resolve() == HOUSE / "results"
    return HOUSE / "leaderboards" / "tables" if own else output / "tables"


def complete(records: list[Record], output: Path) -> list[Record]:
    """The records without those of runs that lie here and are not complete, which are told."""
    from harness.commands import screen
    from results.record import by_run
    from results.run import RunFolder

    refused: set[str] = set()
    for run in by_run(records):
        folder = RunFolder(output / "runs" / Path(run).name)
        if (folder.path / "manifest.json").exists():
            report = folder.report
            if report is None or report.get("complete") is not True:
                refused.add(run)
                screen.say(
                    f"run {run} is not complete, so its numbers are left out: "
                    "the command that began it goes on from there"
                )
    return [record for record in records if record.run not in refused]


def _present(drawings: list[Drawing], written: list[str], *, dry_run: bool) -> None:
    from harness.commands import screen
    from leaderboards.text import visible

    for drawing in drawings:
        for sheet in drawing.sheets:
            columns = None if drawing.board.layout == "matrix" else SHOWN
            rows = [[visible(cell) for cell in row[:columns]] for row in sheet.rows]
            title = f"{drawing.board.title}: {visible(sheet.title)}"
            screen.table(title, [visible(column) for column in sheet.columns[:columns]], rows)
            for note in sheet.notes:
                print(f"  {visible(note, 500)}")
            print()
    print(f"{'would write' if dry_run else 'wrote'} {len(written)} files:")
    cards = [path for path in written if "/cards/" in path]
    for path in written:
        if path not in cards:
            print(f"  {path}")
    if cards:
        folder = cards[0].partition("/cards/")[0]
        print(f"  {folder}/cards: {len(cards)} files, metadata for model cards")
