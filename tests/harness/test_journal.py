"""Journals lose nothing that was written, whenever the process or the disk gives up."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import zstandard

from harness.errors import BusyError, DataError
from harness.journal import Journal, write_whole


def written(path: Path, count: int, *, close: bool = False) -> Journal:
    journal = Journal(path)
    with journal:
        for n in range(count):
            journal.append({"n": n})
        if close:
            journal.close(compress=True)
    return journal


@contextmanager
def at_most(size: int) -> Iterator[None]:
    """Files may grow to `size` bytes: a full disk, for this process alone."""
    import signal

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.parametrize("close", [False, True])
def test_lines_come_back_in_order(tmp_path: Path, close: bool):
    journal = written(tmp_path / "lines.jsonl", 100, close=close)
    assert journal.path.exists() is not close
    assert journal.closed_path.exists() is close
    assert [line["n"] for line in journal.read()] == list(range(100))


def test_a_journal_that_is_not_there_has_no_lines(tmp_path: Path):
    assert list(Journal(tmp_path / "none.jsonl").read()) == []


@pytest.mark.parametrize("cut", range(1, 12))
def test_a_half_written_line_is_cut_off_and_the_rest_kept(tmp_path: Path, cut: int):
    journal = written(tmp_path / "lines.jsonl", 3)
    data = journal.path.read_bytes()
    journal.path.write_bytes(data[:-cut])
    kept = data[:-cut].count(b"\n")
    with journal:
        journal.append({"n": 99})
    assert [line["n"] for line in journal.read()] == [*range(kept), 99]
    assert journal.damaged == 0


@pytest.mark.parametrize(
    "garbage", [b"{nonsense}\n", b"\xff\xfe\n", b"[1, 2]\n", b"[" * 99999 + b"\n"]
)
def test_a_damaged_line_is_counted_and_the_rest_kept(tmp_path: Path, garbage: bytes):
    journal = written(tmp_path / "lines.jsonl", 3)
    journal.path.write_bytes(garbage + journal.path.read_bytes())
    assert [line["n"] for line in journal.read()] == [0, 1, 2]
    assert journal.damaged == 1
    with journal:
        assert journal.prune(lambda line: line["n"] != 1) == 1
    assert [line["n"] for line in journal.read()] == [0, 2]
    assert journal.damaged == 0


def test_a_closed_journal_goes_on_when_opened(tmp_path: Path):
    journal = written(tmp_path / "lines.jsonl", 3, close=True)
    with journal:
        journal.append({"n": 3})
    assert [line["n"] for line in journal.read()] == [0, 1, 2, 3]
    assert not journal.closed_path.exists()


def test_a_closed_journal_that_was_cut_off_is_read_as_far_as_it_goes(tmp_path: Path):
    journal = written(tmp_path / "lines.jsonl", 0)
    with journal:
        for n in range(2000):
            journal.append({"n": n, "noise": os.urandom(30).hex()})
        journal.close(compress=True)
    packed = journal.closed_path.read_bytes()
    journal.closed_path.write_bytes(packed[: len(packed) // 2])
    found = [line["n"] for line in journal.read()]
    assert found == list(range(len(found)))
    assert journal.damaged >= 1


def test_a_closed_journal_with_a_wrong_byte_is_refused_with_its_place(tmp_path: Path):
    journal = written(tmp_path / "lines.jsonl", 500, close=True)
    packed = bytearray(journal.closed_path.read_bytes())
    packed[len(packed) // 2] ^= 0xFF
    journal.closed_path.write_bytes(bytes(packed))
    with pytest.raises(DataError, match=r"lines\.jsonl\.zst is damaged"):
        list(journal.read())
    with pytest.raises(DataError), journal:
        pass
    written(tmp_path / "other.jsonl", 1)
    journal.closed_path.unlink()
    with journal:  # the failed opening gave the writer's place back
        journal.append({"n": 0})


def test_frames_after_one_another_are_one_journal(tmp_path: Path):
    frames = [zstandard.compress(b'{"n":%d}\n' % n) for n in range(3)]
    (tmp_path / "lines.jsonl.zst").write_bytes(b"".join(frames))
    journal = Journal(tmp_path / "lines.jsonl")
    assert [line["n"] for line in journal.read()] == [0, 1, 2]
    assert journal.damaged == 0


def test_two_writers_are_one_too_many(tmp_path: Path):
    with Journal(tmp_path / "lines.jsonl") as journal:
        with pytest.raises(BusyError, match="another process writes"):
            Journal(tmp_path / "lines.jsonl").open()
        journal.append({"n": 0})
        code = (
            "import sys; from pathlib import Path; from harness.journal import Journal\n"
            "Journal(Path(sys.argv[1])).open()"
        )
        other = subprocess.run(
            [sys.executable, "-c", code, str(journal.path)],
            env={"PYTHONPATH": ":".join(sys.path)},
            capture_output=True,
            text=True,
        )
        assert "BusyError" in other.stderr
    with Journal(tmp_path / "lines.jsonl") as journal:
        journal.append({"n": 1})
    assert [line["n"] for line in journal.read()] == [0, 1]


def test_a_killed_writer_leaves_its_place_and_its_lines(tmp_path: Path):
    code = (
        "import os, sys; from pathlib import Path; from harness.journal import Journal\n"
        "journal = Journal(Path(sys.argv[1])).open()\n"
        "for n in range(5): journal.append({'n': n})\n"
        "os.write(journal._file, b'{\"n\":')\n"
        "os.kill(os.getpid(), 9)"
    )
    path = tmp_path / "lines.jsonl"
    killed = subprocess.run(
        [sys.executable, "-c", code, str(path)], env={"PYTHONPATH": ":".join(sys.path)}
    )
    assert killed.returncode == -9
    with Journal(path) as journal:
        journal.append({"n": 5})
    assert [line["n"] for line in journal.read()] == list(range(6))


def test_a_full_disk_leaves_what_was_there(tmp_path: Path):
    journal = written(tmp_path / "lines.jsonl", 10)
    before = journal.path.read_bytes()
    with journal, at_most(len(before) + 10):
        with pytest.raises(DataError, match="run the same command again"):
            journal.append({"n": "x" * 50})
        assert journal.path.read_bytes() == before
        with pytest.raises(DataError):
            write_whole(journal.path, b"y" * 4096)
        assert journal.path.read_bytes() == before
    with journal:
        journal.append({"n": 10})
    assert [line["n"] for line in journal.read()] == list(range(11))
    assert [p for p in tmp_path.iterdir() if p.suffix == ".part"] == []


def test_a_full_disk_keeps_an_open_journal_usable(tmp_path: Path):
    journal = written(tmp_path / "lines.jsonl", 200)
    before = journal.path.read_bytes()
    with journal:
        with at_most(64):
            with pytest.raises(DataError):
                journal.prune(lambda line: line["n"] % 2 == 0)
            with pytest.raises(DataError):
                journal.close(compress=True)
        assert journal.path.read_bytes() == before
    assert len(list(journal.read())) == 200


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_device_says_that_the_disk_is_full(tmp_path: Path):
    path = tmp_path / "lines.jsonl"
    path.symlink_to("/dev/full")
    journal = Journal(path)
    with journal, pytest.raises(DataError, match="the disk is full"):
        journal.append({"n": 0})


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(DataError, match="cannot write"):
        Journal(tmp_path / "file" / "lines.jsonl").open()
    with pytest.raises(DataError, match="cannot write"):
        write_whole(tmp_path / "file" / "report.json", "{}")


def test_a_reader_sees_the_old_file_or_the_new_one(tmp_path: Path):
    path = tmp_path / "report.json"
    write_whole(path, "old")
    reader = path.open()
    write_whole(path, "new" * 1000)
    with reader:
        assert reader.read() == "old"
    assert path.read_text() == "new" * 1000
    assert list(tmp_path.iterdir()) == [path]
