"""Building again: whatever changed, the site is the one that a build from nothing makes."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.commands.sites import Built, build_site
from harness.errors import BusyError, DataError
from leaderboards.site import building, whole
from results.record import append
from tests.command_line import command
from tests.killing import harness, kill_at_random
from tests.leaderboards.site.small import a_run, a_training, some_records, sources

RECORDS = [r for r in some_records(5) if r.metric == "pass@1"]
MODELS = ("text:new", "served:other")
Change = Callable[[Path, random.Random], None]


def built(place: Path, **more: bool) -> Built:
    return build_site(sources(place), place / "site", **more)


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def fresh(place: Path) -> dict[str, bytes]:
    """The site that a build from nothing makes."""
    shutil.rmtree(place / "fresh", ignore_errors=True)
    build_site(sources(place), place / "fresh")
    return files(place / "fresh")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    append(RECORDS, tmp_path / "records")
    a_run(tmp_path, RECORDS[0])
    a_training(tmp_path, "train-grpo-0", "grpo", 1.0)
    return tmp_path


def one_record_more(place: Path, rng: random.Random) -> None:
    made = rng.choice(RECORDS)
    name = f"{rng.choice(MODELS)}-{rng.random()}"
    append([made.but(model=name, run=name)], place / "records")


def measured_again(place: Path, rng: random.Random) -> None:
    append([rng.choice(RECORDS).but(run=f"again-{rng.random()}")], place / "records")


def a_family_fewer(place: Path, rng: random.Random) -> None:
    (place / "records" / "coding.jsonl").unlink(missing_ok=True)


def a_run_gone_or_back(place: Path, rng: random.Random) -> None:
    if (place / "runs" / RECORDS[0].run).exists():
        shutil.rmtree(place / "runs" / RECORDS[0].run)
    else:
        a_run(place, RECORDS[0])


def a_training_more(place: Path, rng: random.Random) -> None:
    a_training(place, f"train-{rng.random()}", "dapo", rng.random())


def a_receipt_changed(place: Path, rng: random.Random) -> None:
    path = place / "runs" / RECORDS[0].run / "receipt.json"
    if path.exists():
        before = path.stat()
        told = {**json.loads(path.read_text()), "when": f"20{rng.randrange(10, 99)}-01-01"}
        path.write_text(json.dumps(told))
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def some_page(place: Path, rng: random.Random) -> Path:
    pages = sorted(p for p in (place / "site").rglob("*") if p.is_file() and p.name[0] != ".")
    return rng.choice([p for p in pages if p.name != building.MEMORY])


def a_page_edited(place: Path, rng: random.Random) -> None:
    """To the same size and time, as no look at either would notice."""
    page = some_page(place, rng)
    before, data = page.stat(), bytearray(page.read_bytes())
    data[rng.randrange(len(data))] ^= 1
    page.write_bytes(data)
    os.utime(page, ns=(before.st_atime_ns, before.st_mtime_ns))


def a_page_torn(place: Path, rng: random.Random) -> None:
    page = some_page(place, rng)
    page.write_bytes(page.read_bytes()[:-5])


def a_page_gone(place: Path, rng: random.Random) -> None:
    some_page(place, rng).unlink()


def a_page_that_is_a_link(place: Path, rng: random.Random) -> None:
    page = some_page(place, rng)
    (place / "mine.txt").write_text("mine")
    page.unlink()
    page.symlink_to(place / "mine.txt")


def the_memory_damaged(place: Path, rng: random.Random) -> None:
    path = place / "site" / building.MEMORY
    data = bytearray(path.read_bytes())
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(7)
    path.write_bytes(data)


def the_memory_gone(place: Path, rng: random.Random) -> None:
    (place / "site" / building.MEMORY).unlink()


def other_code(place: Path, rng: random.Random) -> None:
    """What a build of other code leaves: pages and a memory that tells that code's digest."""
    path = place / "site" / building.MEMORY
    memory = json.loads(path.read_bytes()) | {"code": "other"}
    old = building.msgspec.convert(memory, building.Memory)
    memory["seal"] = old.sealed
    some_page(place, rng).write_text("what other code made")
    path.write_text(json.dumps(memory))


CHANGES: list[Change] = [
    one_record_more,
    measured_again,
    a_run_gone_or_back,
    a_training_more,
    a_receipt_changed,
    a_page_edited,
    a_page_torn,
    a_page_gone,
    a_page_that_is_a_link,
    other_code,
]
ALONE: list[Change] = [a_family_fewer, the_memory_damaged, the_memory_gone]
"""Without a memory nobody knows which pages are of what went at the same time."""


def test_after_any_changes_a_build_equals_one_from_nothing(place: Path):
    rng = random.Random(0)
    built(place)
    for change in [*CHANGES, *ALONE]:
        change(place, rng)
        if change in CHANGES:
            rng.choice(CHANGES)(place, rng)
        built(place)
        assert files(place / "site") == fresh(place), change.__name__
    assert (place / "mine.txt").read_text() == "mine"


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_after_many_changes_a_build_equals_one_from_nothing(place: Path, seed: int):
    rng = random.Random(seed)
    built(place)
    for _ in range(8):
        names = rng.choice([rng.sample(CHANGES, 2), [rng.choice(ALONE)]])
        for change in names:
            change(place, rng)
        built(place)
        assert files(place / "site") == fresh(place), [change.__name__ for change in names]


def test_nothing_new_is_neither_drawn_nor_ranked(place: Path, monkeypatch: pytest.MonkeyPatch):
    built(place)

    def never(*_: object, **__: object) -> None:
        raise AssertionError("something was made again")

    for name in ("page", "script_file", "ranking_data", "values_data", "learning"):
        monkeypatch.setattr(whole, name, never)
    monkeypatch.setattr("leaderboards.site.ranks.ranking", never)
    monkeypatch.setattr("leaderboards.cards.model_index", never)
    found = built(place)
    assert (found.written, found.removed) == ([], [])


def test_one_record_more_leaves_other_tasks_alone(place: Path):
    built(place)
    new = next(r for r in RECORDS if r.task == "coding/small").but(model="text:new", run="new")
    append([new], place / "records")
    found = built(place)
    assert 0 < len(found.written) < 60
    pages = [path for path in found.written if path.startswith(("tasks/mathqa", "boards/mathqa"))]
    assert pages == []


def test_fresh_makes_all_again_and_writes_what_differs(place: Path):
    built(place)
    assert built(place, fresh=True).written == []
    (place / "site" / "index.html").write_text("mine")
    assert built(place, fresh=True).written == ["index.html"]


@pytest.mark.parametrize("page", [1, 7])
def test_a_build_that_was_stopped_goes_on(place: Path, page: int, monkeypatch: pytest.MonkeyPatch):
    left, draw = page, whole.page

    def stopped(*given: Any) -> str:
        nonlocal left
        left -= 1
        if not left:
            raise KeyboardInterrupt
        return draw(*given)

    with monkeypatch.context() as patch:
        patch.setattr(whole, "page", stopped)
        with pytest.raises(KeyboardInterrupt):
            built(place)
    there = len(files(place / "site"))
    found = built(place)
    assert found.unchanged >= there - 2  # the memory and the lock are no pages
    assert files(place / "site") == fresh(place)


def test_a_build_that_was_stopped_after_a_change_is_not_believed(place: Path):
    """A page of a record that is taken back meanwhile must not stay."""
    built(place)
    kept = (place / "records" / "coding.jsonl").read_bytes()
    one = next(r for r in RECORDS if r.task == "coding/small").but(model="text:new", run="new")
    append([one], place / "records")
    memory = (place / "site" / building.MEMORY).read_bytes()
    built(place)
    (place / "site" / building.MEMORY).write_bytes(memory)  # as kill -9 would leave it
    (place / "records" / "coding.jsonl").write_bytes(kept)
    built(place)
    found, wanted = files(place / "site"), fresh(place)
    assert all("new" in path for path in found.keys() - wanted.keys())  # of which no memory tells
    assert {path: found[path] for path in wanted} == wanted


def test_a_second_build_at_once_is_refused_and_harms_nothing(place: Path):
    built(place)
    before = files(place / "site")
    with building.building(place / "site", {}) as build:
        build._files = dict(build.memory.files)
        with pytest.raises(BusyError, match="another build"):
            built(place)
        assert files(place / "site") == before
    assert built(place).removed == []


def test_a_file_where_the_site_belongs_is_told(place: Path):
    (place / "site").write_text("mine")
    with pytest.raises(DataError, match="no site can be written"):
        built(place)
    assert (place / "site").read_text() == "mine"


def test_a_folder_where_a_page_belongs_is_told(place: Path):
    built(place)
    (place / "site" / "index.html").unlink()
    (place / "site" / "index.html").mkdir()
    with pytest.raises(DataError, match=r"cannot write .*index\.html"):
        built(place)
    (place / "site" / "index.html").rmdir()
    built(place)
    assert files(place / "site") == fresh(place)


def test_a_record_changed_by_hand_is_noticed_though_all_is_remembered(tmp_path: Path):
    results = tmp_path / "results"
    append(RECORDS, results / "records")
    assert command("publish", "--site", "-o", results).code == 0
    path = results / "records" / "coding.jsonl"
    before = path.stat()
    text = path.read_text()
    path.write_text(text.replace('"value":0.', '"value":1.', 1))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    said = command("publish", "--site", "-o", results)
    assert said.code == 3
    assert "changed after it was written" in said.err
    path.write_text(text)
    assert "wrote 0 files" in command("publish", "--site", "-o", results).out


def test_only_pages_are_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from harness.commands.destinations import contents

    append(RECORDS[:2], tmp_path / "records")
    built(tmp_path)
    sent = {str(path) for path in contents(tmp_path / "site")}
    assert "index.html" in sent
    assert not building.OWN & sent


@pytest.mark.slow
def test_killed_at_any_moment_the_next_build_is_whole(place: Path):
    rng = random.Random(1)
    words = ["publish", "--site", "-o", "."]
    for _ in range(3):
        one_record_more(place, rng)
        kill_at_random(words, place, within=3.0, rng=rng)
    harness(words, place)
    assert files(place / "site") == fresh(place)
