"""`harness publish --site`: the pages, with what stands beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from harness.digests import file_digest

if TYPE_CHECKING:
    from leaderboards.board import Board, Drawing
    from leaderboards.diagrams import Reliable
    from leaderboards.site.building import Build
    from leaderboards.site.folders import Folder
    from leaderboards.site.ranks import Ranks
    from results.record import Record


@dataclass(frozen=True)
class Sources:
    """What a site is made of."""

    boards: Sequence[Board]
    records: list[Record]
    output: Path
    """Where the run folders lie."""
    ends: dict[str, list[str]]
    """Ends of the chains of the files that the records were read from, by family."""


@dataclass
class Built:
    """What a build did."""

    drawings: list[Drawing]
    written: list[str] = field(default_factory=list[str])
    unchanged: int = 0
    removed: list[str] = field(default_factory=list[str])


def build_site(of: Sources, folder: Path, *, dry_run: bool = False, fresh: bool = False) -> Built:
    """Bring the site in a folder up to date with the records and the run folders beside them.

    `fresh`: everything is made again, whatever an earlier build left.
    """
    from leaderboards.board import draw
    from leaderboards.site.building import building
    from leaderboards.site.folders import folders
    from leaderboards.site.ranks import Ranks
    from leaderboards.site.whole import Site
    from leaderboards.site.world import World

    ranks = Ranks()
    with building(folder, ranks.used, dry=dry_run, fresh=fresh) as build:
        ranks.known = build.memory.ranks
        drawings = [draw(board, of.records, ranks.of) for board in of.boards]
        there = folders(of.output, [record.run for record in of.records])
        told = _reliable(of, build, there)
        Site(World(of.records, drawings, there, ranks, told), build).write()
        _beside(of, build, ranks)
    return Built(drawings, build.written, build.unchanged, build.removed)


def _reliable(of: Sources, build: Build, there: Mapping[str, Folder]) -> dict[str, Reliable]:
    """What the rollouts that lie here tell of the probabilities of forecasts, by run."""
    from harness.commands.forecasts import FAMILY, reliable

    runs = [record.run for record in of.records if record.family == FAMILY]
    here = [run for run in dict.fromkeys(runs) if run in there and there[run].has_rollouts]
    if not here:
        return {}
    from leaderboards.diagrams import Reliable
    from results.run import RunFolder
    from tasks import _air_cases, _air_judging, _air_report

    code = [
        file_digest(Path(str(each.__file__))) for each in (_air_cases, _air_judging, _air_report)
    ]
    found: dict[str, Reliable] = {}
    for run in here:
        folder = RunFolder(there[run].path)
        name = ["reliable", run, there[run].stamp, code]
        told = build.recall(name, Reliable | None, lambda folder=folder: reliable(folder))
        if told is not None:
            found[run] = told
    return found


def _beside(of: Sources, build: Build, ranks: Ranks) -> None:
    """What stands beside the pages: feed, changes, badges, the chains' ends, models' cards."""
    from harness.commands.proofs import told_ends
    from leaderboards.cards import cards
    from leaderboards.feed import atom, badges, changes

    everything = ranks.group_digest(of.records)
    build.add("feed.xml", everything, lambda: atom(of.records))
    build.add("changes.md", everything, lambda: changes(of.records))
    build.add("chain.json", of.ends, lambda: told_ends(of.ends))
    for path, drawn in badges(of.records, ranks.of).items():
        build.add(str(path), drawn, drawn.encode)
    for folder, card in cards(of.records, ranks.key_of).items():
        told = [card.name, ranks.group_digest(card.records)]
        for name, write in card.files.items():
            build.add(f"cards/{folder / name}", told, write)


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
