"""What a site of 10,000 records costs: to build, to build again, and to open in Chromium.

Run it with `make bench-site`; it makes its own records and writes `results/bench_site.md`. 300
models, 40 tasks of 4 families, 200 examples each, 2 metrics a run.
"""

from __future__ import annotations

import argparse
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from results.record import Record, append
from tests.records import a_record

HOUSE = Path(__file__).resolve().parents[2]
PAGE = HOUSE / "results" / "bench_site.md"
MODELS, TASKS, RECORDS, EXAMPLES = 300, 40, 10_000, 200
FAMILIES = ("mathqa", "coding", "search", "tooluse")
COMMAND = "from harness.commands import main; main()"


def records(seed: int = 0) -> list[Record]:
    """The records of a world in which models and tasks differ in one number each."""
    rng = np.random.default_rng(seed)
    skill = rng.normal(0, 1, MODELS)
    made: list[Record] = []
    for model in range(MODELS):
        for task in sorted(rng.choice(TASKS, 1 + RECORDS // MODELS // 2, replace=False)):
            chance = 1 / (1 + np.exp(-(skill[model] + (task - 20) / 10)))
            right = rng.binomial(4, chance, EXAMPLES)
            family = FAMILIES[task % len(FAMILIES)]
            told = {"task": f"{family}/set{task:02}", "run": f"{family}-{task:02}-{model:03}"}
            for metric, values in (("pass@1", right / 4), ("pass@4", (right > 0) * 1.0)):
                name = f"served:lab-{model % 17:02}/model-{model:03}-instruct"
                made.append(a_record(name, values.tolist(), metric=metric, rollouts=4, **told))
    return made[:RECORDS]


def published(place: Path) -> tuple[float, float, str]:
    """Seconds, peak GB so far and what was said by `harness publish --site` as a process."""
    began = time.perf_counter()
    words = [sys.executable, "-c", COMMAND, "publish", "--site", "-o", str(place)]
    done = subprocess.run(words, cwd=HOUSE, capture_output=True, text=True, check=True)
    seconds = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e6
    return seconds, peak, done.stdout.strip().splitlines()[0]


def opened(site: Path, path: str) -> tuple[float, float]:
    """Seconds from the address to rows on the screen, and MB transferred; the median of five."""
    from playwright.sync_api import sync_playwright

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(site)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    times: list[float] = []
    size = 0
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        for _ in range(5):
            page = browser.new_context(viewport={"width": 1280, "height": 860}).new_page()
            bodies: list[int] = []
            page.on("response", lambda r, kept=bodies: kept.append(len(r.body())))
            began = time.perf_counter()
            page.goto(f"http://127.0.0.1:{server.server_port}/{path}")
            page.wait_for_selector(".ag-cell.opens .value")
            times.append(time.perf_counter() - began)
            size = sum(bodies)
            page.context.close()
        browser.close()
    server.shutdown()
    server.server_close()
    return sorted(times)[2], size / 1e6


def main() -> None:
    """Measure, print, and write the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--keep", type=Path, help="a folder that keeps records and site")
    parser.add_argument("--write", action="store_true", help=f"write {PAGE.name}")
    asked = parser.parse_args()
    place = asked.keep or Path(tempfile.mkdtemp())
    if not (place / "records").exists():
        append(records(), place / "records")
    shutil.rmtree(place / "site", ignore_errors=True)
    lines = [("from nothing", *published(place)), ("nothing new", *published(place))]
    new = records(seed=1)[0].but(run=f"new-{time.time_ns()}", model="served:new/model")
    append([new], place / "records")
    lines.append(("one record more", *published(place)))
    shown = ("boards/overall.html", "boards/mathqa.html")
    pages = [(path, *opened(place / "site", path)) for path in shown]
    text = page(lines, pages, sum(1 for p in (place / "site").rglob("*") if p.is_file()))
    print(text)
    if asked.write:
        PAGE.write_text(text, "utf-8")
    if not asked.keep:
        shutil.rmtree(place)


def page(lines: list[Any], pages: list[Any], files: int) -> str:
    """What was measured, as Markdown."""
    told = [
        "# What a site of 10,000 records costs",
        "",
        f"{MODELS} models, {TASKS} tasks, {EXAMPLES} examples each; {files:,} files. "
        f"One process on {platform.system()} {platform.machine()}, Python "
        f"{platform.python_version()}; `make bench-site` measures it again.",
        "",
        "| build | seconds | peak GB | |",
        "|---|--:|--:|---|",
        *(
            f"| {name} | {seconds:.1f} | {peak:.2f} | {said} |"
            for name, seconds, peak, said in lines
        ),
        "",
        "| page, headless Chromium | seconds to rows | MB transferred, uncompressed |",
        "|---|--:|--:|",
        *(f"| {path} | {seconds:.2f} | {size:.2f} |" for path, seconds, size in pages),
    ]
    return "\n".join(told) + "\n"


if __name__ == "__main__":
    main()
