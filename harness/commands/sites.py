"""`harness publish --site`: the pages, with what stands beside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from leaderboards.board import Board, Drawing
    from results.record import Record


@dataclass
class Built:
    """What a build did."""

    drawings: list[Drawing]
    written: list[str] = field(default_factory=list[str])
    unchanged: int = 0
    removed: list[str] = field(default_factory=list[str])


def build_site(
    boards: Sequence[Board], records: list[Record], output: Path, folder: Path, *, dry_run: bool
) -> Built:
    """Bring the site in a folder up to date with the records and the run folders beside them."""
    from harness.commands.publish import news
    from leaderboards.board import draw
    from leaderboards.cards import card_files
    from leaderboards.site.building import Build
    from leaderboards.site.folders import folders
    from leaderboards.site.ranks import Ranks
    from leaderboards.site.whole import Site
    from leaderboards.site.world import World

    build = Build.begin(folder, dry=dry_run)
    ranks = Ranks(known=build.memory.ranks)
    drawings = [draw(board, records, ranks.of) for board in boards]
    there = folders(output, [record.run for record in records])
    Site(World(records, drawings, there, ranks), build).write()
    cards = {"cards" / path: text for path, text in card_files(records).items()}
    beside: dict[PurePosixPath, str] = {**cards, **news(records, output, ranks.of)}
    for path, text in beside.items():
        build.add(str(path), text, text.encode)
    build.end(ranks.used)
    return Built(drawings, build.written, build.unchanged, build.removed)


def present(
    built: Built, folder: Path | None, records: int, *, dry_run: bool, as_json: bool
) -> None:
    """What was built, and where it is read; no folder where it was sent elsewhere."""
    from harness.commands import screen

    site = str(folder / "index.html") if folder else ""
    if as_json:
        told = {"files": built.written, "unchanged": built.unchanged, "removed": built.removed}
        screen.emit({"records": records, "site": site, **told})
        return
    would = "would write" if dry_run else "wrote"
    taken = f", took away {len(built.removed):,}" if built.removed else ""
    print(f"{would} {len(built.written):,} files, left {built.unchanged:,} as they were{taken}")
    if site and not dry_run:
        print(f"read it from {site}, or put the folder on any static host")
