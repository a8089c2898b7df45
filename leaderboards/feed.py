"""What a board's readers may subscribe to, and what its owners may show: rows as they were added.

feed.xml    Atom 1.0 (RFC 4287), the newest rows first
changes.md  the same rows by day, for people
badges/     one SVG a model and headline, with value, interval and rank
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import PurePosixPath
from xml.etree import ElementTree

from harness.codec import plain
from harness.digests import digest
from leaderboards.board import Rank, headlines
from leaderboards.rank import Ranking, rankings
from leaderboards.sheets import interval, row_name, shown
from leaderboards.text import markdown, visible
from results.record import Record

ATOM = "http://www.w3.org/2005/Atom"
TITLE = "Rows of the boards"
NEWEST = 100
"""Rows of a feed."""
BEGINNING = "1970-01-01T00:00:00+00:00"
WIDTH, SLIM = 6.6, 11
"""Pixels of a character of Verdana at 11 pixels, about, and of the margins."""
NARROW = frozenset("iljtfr.,:;|!'()[] ")


def rows_added(records: Iterable[Record]) -> list[Record]:
    """The headline rows, the newest first."""
    found = [*headlines(list(records)), *(r for r in records if not r.ranked)]
    return sorted(found, key=lambda r: (r.when, r.run, r.task, r.metric), reverse=True)


def sentence(record: Record) -> str:
    """`model: mathqa/sums v1, test, pass@1 0.69 [0.61, 0.76] (measured)`."""
    value = " ".join(part for part in (shown(record), interval(record)) if part)
    place = f"{record.task} v{record.version}, {record.split}"
    return visible(f"{row_name(record)}: {place}, {record.metric} {value} ({record.origin})", 300)


def atom(records: Iterable[Record], title: str = TITLE) -> str:
    """The newest rows as an Atom feed; equal records give equal bytes."""
    newest = rows_added(records)[:NEWEST]
    ElementTree.register_namespace("", ATOM)
    feed = ElementTree.Element(f"{{{ATOM}}}feed")
    _text(feed, "title", title)
    _text(feed, "id", f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, title)}")
    _text(feed, "updated", newest[0].when or BEGINNING if newest else BEGINNING)
    author = ElementTree.SubElement(feed, f"{{{ATOM}}}author")
    _text(author, "name", "harness")
    for record in newest:
        entry = ElementTree.SubElement(feed, f"{{{ATOM}}}entry")
        _text(entry, "title", sentence(record))
        name = f"{digest(record.key)}{digest(plain(record))}"
        _text(entry, "id", f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, name)}")
        _text(entry, "updated", record.when or BEGINNING)
        counts = f"n={record.examples}, k={record.rollouts}, seeds {record.seeds}"
        _text(entry, "summary", f"{counts}, run {record.run}, commit {record.commit}")
    return ElementTree.tostring(feed, "unicode", xml_declaration=True) + "\n"


def changes(records: Iterable[Record]) -> str:
    """All rows by the day they were measured, as Markdown."""
    lines = ["# Rows, the newest first"]
    day = None
    for record in rows_added(records):
        if record.when[:10] != day:
            day = record.when[:10]
            lines += ["", f"## {day or 'without a date'}", ""]
        lines.append(f"- {markdown(sentence(record))}")
    return "\n".join(lines) + "\n"


def badges(records: Sequence[Record], ranked: Rank = rankings) -> dict[PurePosixPath, str]:
    """An SVG for each model and headline metric that is ranked."""
    files: dict[PurePosixPath, str] = {}
    for ranking in ranked(headlines(records)):
        for number, place in enumerate(ranking.places):
            record = place.record
            rank = f"#{place.rank} of {len(ranking.places)}"
            text = " ".join(part for part in (shown(record), interval(record), rank) if part)
            name = f"{row_name(record)}--{record.task}--{record.metric}"
            key = digest([ranking.setting, name, record.model_digest])[:8]
            safe = re.sub(r"[^A-Za-z0-9.]+", "-", name).strip("-.")[:80]
            path = PurePosixPath("badges", f"{safe}-{key}.svg")
            files[path] = badge(f"{record.task} {record.metric}", text, best=_best(ranking, number))
    return files


def _best(ranking: Ranking, number: int) -> bool:
    """Whether nobody is better beyond doubt."""
    return ranking.places[number].first == 1


def badge(label: str, text: str, *, best: bool = False) -> str:
    """A badge of two fields, as an SVG without script, font or link."""
    label, text = visible(label, 60), visible(text, 60)
    left, right = _width(label), _width(text)
    color = "#2563a8" if best else "#59636e"
    said = escape(f"{label}: {text}")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + right}" height="20" role="img" '
        f'aria-label="{said}"><title>{said}</title>'
        f'<rect width="{left}" height="20" rx="3" fill="#3d444d"/>'
        f'<rect x="{left}" width="{right}" height="20" rx="3" fill="{color}"/>'
        f'<g fill="#fff" text-anchor="middle" font-family="Verdana,sans-serif" font-size="11">'
        f'<text x="{left / 2:g}" y="14" textLength="{left - SLIM}">{escape(label)}</text>'
        f'<text x="{left + right / 2:g}" y="14" textLength="{right - SLIM}">{escape(text)}</text>'
        "</g></svg>\n"
    )


def _width(text: str) -> int:
    return SLIM + round(sum(WIDTH * (0.6 if c in NARROW else 1.0) for c in text))


def _text(parent: ElementTree.Element, name: str, text: str) -> None:
    ElementTree.SubElement(parent, f"{{{ATOM}}}{name}").text = visible(text, 400)
