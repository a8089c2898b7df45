"""The site's pages: complete, linked, escaped, and built again only where something changed."""

from __future__ import annotations

import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pandas as pd
import pytest

from harness.commands.sites import Built, build_site
from leaderboards.site.building import HOUSE
from leaderboards.site.pages import POLICY
from results.record import Record, append, load
from tests.leaderboards.site.small import ATTACKS, a_world, some_records, sources

LINKS = {"a": "href", "link": "href", "script": "src", "img": "src"}


class Page(HTMLParser):
    """Tags with their attributes, and the text of islands."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.island = ""
        self._inside = False
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._inside = tag == "script" and dict(attrs).get("type") == "application/json"

    def handle_endtag(self, tag: str) -> None:
        self._inside = False

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.island += data


def built(place: Path, folder: Path | None = None, **more: bool) -> Built:
    return build_site(sources(place), folder or place / "site", **more)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = a_world(tmp_path_factory.mktemp("world"))
    built(place)
    return place


def test_every_link_leads_to_a_file(world: Path):
    site = world / "site"
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 150
    for path in pages:
        if path.name.endswith("-rollouts.html"):
            continue
        page = Page(path)
        addresses = [a[LINKS[tag]] for tag, a in page.tags if tag in LINKS and a.get(LINKS[tag])]
        for address in addresses:
            parts = urlsplit(address or "")
            if parts.scheme == "data" or not parts.path:
                continue
            assert not parts.scheme
            assert not parts.netloc
            assert (path.parent / unquote(parts.path)).is_file(), (path.name, address)
        for cell in _cells(json.loads(page.island) if page.island else {}):
            assert (site / cell.partition("#")[0]).is_file(), cell


def _cells(island: dict[str, Any]) -> list[str]:
    """Addresses in the grids of a page."""
    found: list[str] = []
    for grid in island.get("grids", []):
        kinds = [column["kind"] for column in grid["columns"]]
        for row in grid["rows"]:
            found += [c[1] for c, kind in zip(row, kinds, strict=True) if kind == "link" and c]
    return found


def test_no_page_runs_anything_but_the_sites_own_files(world: Path):
    for path in (world / "site").rglob("*.html"):
        if path.name.endswith("-rollouts.html"):
            continue  # `harness view` makes it, with a policy of its own
        page = Page(path)
        (policy,) = [a["content"] for _, a in page.tags if a.get("http-equiv")]
        assert policy == POLICY
        for tag, attributes in page.tags:
            assert tag not in ("iframe", "object", "embed", "form", "base", "img", "style") or (
                tag == "form" and attributes == {"class": "choice"}
            )
            assert not [name for name in attributes if name.startswith("on") or name == "style"]
            if tag == "script" and "src" not in attributes:
                assert attributes["type"] == "application/json"


def test_the_policy_allows_no_inline_code():
    assert "default-src 'none'" in POLICY
    assert "script-src 'self';" in POLICY
    assert "unsafe" not in POLICY
    assert "http" not in POLICY


def test_direction_marks_are_visible_on_every_page(world: Path):
    hidden = re.compile("[\u200b-\u200f\u202a-\u202e\u2066-\u2069\x00-\x08\x1b]")
    for path in [*(world / "site").rglob("*.html"), *(world / "site").rglob("data/*.js")]:
        if not path.name.endswith("-rollouts.html"):
            assert not hidden.search(path.read_text("utf-8")), path


def test_building_again_writes_nothing(world: Path):
    again = built(world)
    assert again.written == []
    assert again.removed == []
    assert again.unchanged > 300


def test_what_is_gone_is_taken_away_and_nothing_else(tmp_path: Path):
    append(some_records(3), tmp_path / "records")
    built(tmp_path)
    (tmp_path / "site" / "mine.html").write_text("kept")
    (tmp_path / "records" / "coding.jsonl").unlink()
    found = built(tmp_path)
    assert any(path.startswith("tasks/coding-small") for path in found.removed)
    assert (tmp_path / "site" / "mine.html").read_text() == "kept"
    assert not list((tmp_path / "site" / "tasks").glob("coding*"))


def test_a_dry_run_writes_nothing(tmp_path: Path):
    append(some_records(2), tmp_path / "records")
    assert built(tmp_path, dry_run=True).written
    assert not (tmp_path / "site").exists()


def test_without_records_there_is_a_site_that_says_so(tmp_path: Path):
    built(tmp_path)
    assert "No numbers yet" in (tmp_path / "site" / "index.html").read_text()


def test_every_format_of_a_board_holds_its_numbers(world: Path):
    boards = world / "site" / "boards"
    frame = pd.read_parquet(boards / "coding.parquet")
    table = pd.read_csv(boards / "coding.csv")
    told = json.loads((boards / "coding.json").read_text("utf-8"))
    assert len(frame) == len(table) == len(told["rows"]) == 24
    assert frame["value"].tolist() == pytest.approx(table["value"].tolist())
    assert frame["ranking"].dtype == "Int64"
    assert "model-23" in (boards / "coding.md").read_text("utf-8")
    assert r"\toprule" in (boards / "coding.tex").read_text("utf-8")


def test_a_number_leads_to_its_run_and_the_run_to_its_receipt(world: Path):
    site = world / "site"
    (data,) = [
        p
        for p in site.glob("data/ranking-*.js")
        if _ranking(p)["title"].endswith("mathqa/arith1 v1 test: pass@1")
    ]
    ranking = _ranking(data)
    (row,) = [row for row in ranking["rows"] if row["name"] == "text:model-00"]
    assert row["command"] == "harness eval mathqa/arith1 -m text:model-00"
    assert row["receipt"] == {
        "agrees": True,
        "when": "2026-01-31T12:00:00+00:00",
        "checks": [{"what": "verdicts", "checked": 60, "wrong": 0}],
    }
    assert "all agrees" in (site / row["run_address"]).read_text("utf-8")
    rollouts = (site / row["rollouts"]).read_text("utf-8")
    assert "attack()" in rollouts
    assert "<script>attack" not in rollouts


def test_values_files_tell_the_examples_of_each_row(world: Path):
    records = {
        r.model: r
        for r in load(world / "records")
        if r.task == "mathqa/arith2" and r.metric == "pass@1"
    }
    for path in (world / "site" / "data").glob("ranking-*.js"):
        ranking = _ranking(path)
        if ranking["title"] == "mathqa/arith2 v1 test: pass@1":
            values = _handed(world / "site" / ranking["values"])
            for row, told in zip(ranking["rows"], values["rows"], strict=True):
                letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
                found = [values["levels"][letters.index(c)] for c in told]
                assert found == pytest.approx(records[row["name"]].values)
            assert [len(row) for row in values["p"]] == list(range(len(ranking["rows"])))
            return
    raise AssertionError("no such ranking")


def _handed(path: Path) -> dict[str, Any]:
    """What a data file hands over: JSON in a JavaScript string."""
    text = path.read_text("utf-8")
    quoted = re.fullmatch(r"harnessData\('[\w-]+','(.*)'\);\n", text, re.S)
    assert quoted
    return json.loads(quoted[1].replace("\\'", "'").replace("\\\\", "\\"))


def _ranking(path: Path) -> dict[str, Any]:
    return _handed(path)


def test_the_bundle_is_that_of_its_sources():
    told = json.loads((HOUSE / "assets" / "digests.json").read_text())
    sources = {f"src/{p.name}" for p in (HOUSE / "src").iterdir()}
    assert sources <= told.keys()
    for name, digest in told.items():
        found = hashlib.sha256((HOUSE / name).read_bytes()).hexdigest()
        assert found == digest, f"{name} changed: run `make assets`"


def test_libraries_are_pinned_and_their_licenses_lie_beside_them():
    pinned = json.loads((HOUSE / "package.json").read_text())["devDependencies"]
    licenses = (HOUSE / "assets" / "LICENSES.txt").read_text()
    for name, version in pinned.items():
        assert re.fullmatch(r"\d+\.\d+\.\d+", version)
        assert (f"{name} {version}" in licenses) == (name != "esbuild")


def test_own_scripts_only_ever_write_text():
    for path in (HOUSE / "src").glob("*.js"):
        script = path.read_text("utf-8")
        ways = ("innerHTML", "outerHTML", "insertAdjacent", "document.write", "eval(", "Function(")
        assert not [way for way in ways if way in script], path.name


def test_there_are_fifty_attacks():
    assert len(set(ATTACKS)) >= 50


def test_names_that_differ_in_case_or_signs_have_pages_of_their_own(tmp_path: Path):
    names = ["a/b", "a-b", "A-B", "a b", ".", "..", "con", "日本"]
    base = some_records(1)[0]
    records: list[Record] = [base.but(model=name, run=name) for name in names]
    append(records, tmp_path / "records")
    built(tmp_path)
    pages = {path.name.lower() for path in (tmp_path / "site" / "models").glob("*.html")}
    assert len(pages) == len(names) + 1
