"""The site in Chromium: what a reader does, on a page that hostile names and answers stand on."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from harness.commands.sites import build_site
from tests.leaderboards.site.small import a_world, sources

pytestmark = pytest.mark.browser
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "chrome"))), None)
PATIENCE = 60_000
"""Milliseconds; the machine may be loaded."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if not CHROMIUM and os.environ.get("HARNESS_REQUIRE_BROWSER"):
        pytest.fail("no chromium on PATH")
    if not CHROMIUM:
        pytest.skip("no chromium on PATH: apt-get install chromium")
    sync_playwright = pytest.importorskip("playwright.sync_api").sync_playwright
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = a_world(tmp_path_factory.mktemp("browsed"))
    build_site(sources(place), place / "site")
    return place / "site"


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing."""


@pytest.fixture(scope="module")
def origin(site: Path) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(site)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


@dataclass
class Reader:
    """A page, and what it said and asked for."""

    page: Any
    origin: str
    said: list[str] = field(default_factory=list[str])
    asked: list[str] = field(default_factory=list[str])

    def open(self, path: str) -> Any:
        self.page.goto(f"{self.origin}{path}")
        return self.page

    def content(self) -> None:
        """Nothing was complained of, and nothing was asked of anybody else."""
        assert self.said == []
        outside = [url for url in self.asked if not url.startswith((self.origin, "data:", "blob:"))]
        assert outside == []


@pytest.fixture
def reader(browser: Any, origin: str) -> Iterator[Reader]:
    yield from a_reader(browser, origin)


def a_reader(browser: Any, origin: str, **how: Any) -> Iterator[Reader]:
    context = browser.new_context(viewport={"width": 1280, "height": 860}, **how)
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    found = Reader(page, origin)
    page.on("console", lambda told: found.said.append(f"{told.type}: {told.text}"))
    page.on("pageerror", lambda error: found.said.append(str(error)))
    page.on("request", lambda request: found.asked.append(request.url))
    page.on("dialog", lambda dialog: found.said.append("a dialog") or dialog.dismiss())
    page.add_init_script(
        "window.attack = () => { window.attacked = true; console.error('attack') }"
    )
    yield found
    context.close()


def names(page: Any) -> list[str]:
    """The names in sight, from the top."""
    page.wait_for_selector(".ag-grid-pinned-left-cells .ag-cell, .ag-cell.name")
    return page.evaluate(
        """() => [...document.querySelectorAll("[data-grid] [role=row]")]
        .filter(row => row.getAttribute("row-index") !== null)
        .sort((a, b) => a.getAttribute("row-index") - b.getAttribute("row-index"))
        .map(row => row.querySelector(".ag-cell.name")?.textContent).filter(Boolean)"""
    )


def until(page: Any, truth: str, argument: Any = None) -> None:
    """Waits for what a script says; a page of this policy lets no script wait by `eval`."""
    for _ in range(PATIENCE // 100):
        if page.evaluate(truth, argument):
            return
        page.wait_for_timeout(100)
    raise AssertionError(f"never: {truth}")


def rows_told(page: Any, text: str) -> None:
    until(
        page, "text => document.querySelector('.toolbar [role=status]').textContent === text", text
    )


def test_a_board_is_sorted_searched_and_filtered_and_its_address_holds_it(reader: Reader):
    page = reader.open("boards/coding.html")
    rows_told(page, "24 rows")
    assert names(page)[0] == "text:model-23"  # best first
    header = page.get_by_role("columnheader", name="model").first
    header.click()
    until(page, "location.hash.includes('board.sort=0%3Aasc')")
    assert names(page)[0] == "text:model-00"
    page.get_by_label("Search").fill("model-1")
    rows_told(page, "10 of 24 rows")
    assert names(page)[0] == "text:model-10"
    address = page.url
    page.goto("about:blank")
    page.goto(address)  # as one who was sent it
    rows_told(page, "10 of 24 rows")
    assert names(page)[0] == "text:model-10"
    page.get_by_role("button", name="Clear filters").click()
    rows_told(page, "24 rows")
    assert "#" not in page.url
    reader.content()


def test_a_filter_on_numbers_stands_in_the_address(reader: Reader):
    model = '{"1":{"filterType":"number","type":"greaterThan","filter":0.5}}'
    page = reader.open(f"boards/coding.html#board.filter={model}")
    until(
        page,
        "/^1\\d of 24 rows$/.test(document.querySelector('.toolbar [role=status]').textContent)",
    )
    reader.content()


def test_an_address_that_makes_no_sense_harms_nothing(reader: Reader):
    page = reader.open("boards/coding.html#board.filter=<x>&board.sort=99:up&cell=../x:1&board.q=")
    rows_told(page, "24 rows")
    reader.content()


def test_behind_a_number_stand_its_run_and_where_it_differs(reader: Reader):
    page = reader.open("boards/mathqa.html#board.q=model-00")
    page.locator(".ag-cell.opens").first.click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_text("harness eval mathqa/arith1 -m text:model-00").wait_for()
    assert "all agrees" in dialog.inner_text()
    dialog.get_by_label("Compare with").select_option(index=1)
    dialog.get_by_role("region", name="Discordant examples").wait_for()
    assert "of 60 examples in common" in dialog.inner_text().lower()
    assert "cell=" in page.url
    address = page.url
    page.keyboard.press("Escape")
    until(page, "!location.hash.includes('cell=')")
    page.goto("about:blank")
    page.goto(address)
    dialog.get_by_text("harness eval mathqa/arith1 -m text:model-00").wait_for()
    dialog.get_by_role("link", name="Sampled rollouts").click()
    page.get_by_text("rollouts").first.wait_for()
    page.locator("article").first.wait_for()
    assert not page.evaluate("window.attacked")
    reader.content()


def test_the_keyboard_alone_opens_a_number(reader: Reader):
    page = reader.open("boards/mathqa.html")
    page.locator(".ag-cell.name").first.focus()
    page.keyboard.press("ArrowRight")  # the recipe
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    page.get_by_role("dialog").get_by_role("heading", name="Verdicts").wait_for()
    page.keyboard.press("Escape")
    page.get_by_role("dialog").wait_for(state="hidden")
    reader.content()


def test_a_task_shows_any_of_its_rankings_with_dots_and_wins(reader: Reader, site: Path):
    (task,) = (site / "tasks").glob("mathqa-arith1-*.html")
    page = reader.open(f"tasks/{task.name}")
    rows_told(page, "24 rows")
    page.locator("#ranking").select_option(index=1)
    until(page, "document.querySelector('.ag-header').textContent.includes('pass@4')")
    assert "ranking=" in page.url
    page.locator("#dots").scroll_into_view_if_needed()
    page.locator("#dots[data-drawn] svg").first.wait_for()
    page.get_by_role("region", name="Table of wins").wait_for()
    reader.content()


def test_dark_mode_follows_the_system_and_the_button_and_is_kept(browser: Any, origin: str):
    for found in a_reader(browser, origin, color_scheme="dark"):
        page = found.open("index.html")
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(21, 23, 26)"
        page.get_by_role("button", name="Light").click()
        light = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert light == "rgb(251, 251, 249)"
        page.goto(f"{origin}boards/coding.html")
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == light
        found.content()


@pytest.mark.parametrize("path", ["index.html", "boards/mathqa.html", "runs/index.html"])
def test_a_phone_scrolls_down_but_not_sideways(browser: Any, origin: str, path: str):
    for found in a_reader(browser, origin):
        found.page.set_viewport_size({"width": 375, "height": 760})
        page = found.open(path)
        page.wait_for_load_state("networkidle")
        width = page.evaluate("document.documentElement.scrollWidth")
        assert width <= 375
        found.content()


def test_only_rows_and_columns_in_sight_are_drawn(reader: Reader):
    page = reader.open("runs/index.html")
    page.wait_for_selector(".ag-cell.name")
    drawn = page.locator("[data-grid] .ag-cell.name").count()
    told = page.locator(".toolbar [role=status]").inner_text()
    assert int(told.split()[0]) > 130
    assert drawn < 60
    reader.content()


def test_charts_are_fetched_only_when_they_come_into_sight(reader: Reader):
    page = reader.open("recipes/index.html")
    page.wait_for_selector(".ag-cell.name")
    page.locator(".plot").last.scroll_into_view_if_needed()
    page.locator(".plot[data-drawn]").last.wait_for()
    assert [url for url in reader.asked if "plotly.js" in url]
    page.get_by_text("The numbers of this chart").first.click()
    page.locator(".chart table").first.wait_for()
    reader.content()
    other = reader.open("boards/coding.html")
    other.wait_for_selector(".ag-cell.name")
    assert len([url for url in reader.asked if "plotly.js" in url]) == 1


def test_a_board_of_forecasts_draws_its_performance_with_named_guides(reader: Reader):
    page = reader.open("boards/airquality.html")
    page.locator(".plot.square").first.scroll_into_view_if_needed()
    page.locator(".plot.square[data-drawn]").first.wait_for()
    told = page.locator(".plot.square").first.inner_text()
    assert "CSI 0.4" in told
    assert "bias 2" in told
    assert "persistence" in told
    page.get_by_text("The numbers of this chart").first.click()
    rows = page.locator(".chart table tbody tr")
    rows.first.wait_for()
    assert rows.count() == 3  # guides are no numbers
    assert page.evaluate("window.attacked") is None
    reader.content()


def test_a_page_from_the_disk_works_as_one_from_a_host(browser: Any, site: Path):
    for found in a_reader(browser, site.as_uri() + "/"):
        page = found.open("boards/mathqa.html#board.q=model-03")
        page.locator(".ag-cell.opens").first.click()
        page.get_by_role("dialog").get_by_role("heading", name="Verdicts").wait_for()
        found.content()


def test_no_attack_runs(reader: Reader, site: Path):
    (task,) = (site / "tasks").glob("mathqa-attacked-*.html")
    (run,) = (site / "runs").glob("mathqa-arith1-00-*-rollouts.html")
    pages = [
        "index.html",
        "boards/mathqa.html",
        "boards/overall.html",
        "models/index.html",
        "recipes/index.html",
        "runs/index.html",
        f"tasks/{task.name}",
        f"runs/{run.name}",
    ]
    for folder in ("models", "recipes", "runs"):
        own = [p.name for p in (site / folder).glob("*script*.html")]
        pages += [f"{folder}/{name}" for name in sorted(own)[:4]]
    for path in pages:
        page = reader.open(path)
        page.wait_for_load_state("networkidle")
        assert page.evaluate("window.attacked") is None, path
    page = reader.open(f"tasks/{task.name}")
    page.locator("#dots").scroll_into_view_if_needed()
    page.locator("#dots[data-drawn] svg").first.wait_for()
    page.locator("[data-grid]").scroll_into_view_if_needed()
    for number in range(3):
        page.locator(".ag-cell.opens").nth(number).click()
        reader.page.get_by_role("dialog").get_by_role("heading", name="Digests").wait_for()
        reader.page.keyboard.press("Escape")
    assert reader.page.evaluate("window.attacked") is None
    assert reader.page.evaluate("({}).polluted") is None
    reader.content()


PAGES = [
    "index.html",
    "boards/mathqa.html",
    "boards/airquality.html",
    "models/index.html",
    "recipes/index.html",
]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(browser: Any, origin: str, site: Path, scheme: str):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    more = [
        next((site / "tasks").glob("mathqa-arith1-*.html")),
        next(p for p in (site / "runs").glob("mathqa-arith1-00-*.html") if "roll" not in p.name),
    ]
    paths = [*PAGES, *(str(path.relative_to(site)) for path in more)]
    for found in a_reader(browser, origin, color_scheme=scheme, reduced_motion="reduce"):
        for path in paths:
            page = found.open(path)
            page.wait_for_load_state("networkidle")
            serious(axe.run(page), path)
        page = found.open("boards/mathqa.html")
        page.locator(".ag-cell.opens").first.click()
        page.get_by_role("dialog").get_by_role("heading", name="Digests").wait_for()
        serious(axe.run(page), "the dialog")


def serious(results: Any, path: str) -> None:
    found = [
        (v["id"], v["help"], [node["html"][:200] for node in v["nodes"][:3]])
        for v in results.response["violations"]
        if v["impact"] in ("serious", "critical")
    ]
    assert found == [], path
