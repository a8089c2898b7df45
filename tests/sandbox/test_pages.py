"""The memory of a zygote is arranged anew, and holds what it held."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="boxes need Linux")

ROOT = Path(__file__).resolve().parents[2]

MERGED = """
from sandbox.inside import boot, pages
boot._import_all({})

def mappings():
    lines = [line.split(None, 5) for line in open("/proc/self/maps")]
    return [(each[1], each[5].strip()) for each in lines if len(each) == 6 and ".so" in each[5]]

before = mappings()
pages.merge()
after = mappings()
assert {path for _, path in after} == {path for _, path in before}
assert not [each for each in after if "w" in each[0] and "x" in each[0]], after
assert len(after) <= len(before) // 2, (len(before), len(after))
import decimal, math, random  # what was merged still works, and what is loaded now does
import zlib, colorsys
assert math.isqrt(99) == 9 and str(decimal.Decimal(1) / 3)[:4] == "0.33"
assert random.Random(1).random() == 0.13436424411240122
assert zlib.crc32(b"text") == 999008199
"""
LARGE = """
import ctypes, hashlib
from sandbox.inside import pages

def digests():
    return [
        hashlib.sha256(ctypes.string_at(start, end - start)).hexdigest() for start, end in texts
    ]

pages.merge()
texts = [
    (each.start, each.end)
    for each in pages._parts()
    if each.allowed == "r-xp" and each.end - each.start > pages.HUGE
]
before = digests()
pages.enlarge_text()
assert digests() == before
assert compile("sum([1, 2])", "", "eval").co_names == ("sum",)
assert sorted("text") == ["e", "t", "t", "x"]
"""
OBJECTS = """
room = [bytes(479) for _ in range(12_000)][::500]
from sandbox.inside import boot, pages
boot._import_all({})
made = [[str(number) for number in range(start, 5000)] for start in (0, 1, 2)]
found = pages.stretches()
assert found and all(size >= pages.HUGE for _, size in found)
pages.enlarge(found)
assert made == [[f"{number}" for number in range(start, 5000)] for start in (0, 1, 2)]
import fractions, statistics
assert statistics.mean([fractions.Fraction(1, 3)] * 3) == fractions.Fraction(1, 3)
"""
FRESH = """
import gc
from sandbox.inside import boot, pages
boot._import_all({})

def pool(thing):
    return id(thing) // pages.POOL

found = {}
waiting = [*gc.get_objects(), *sys.modules.values()]
while waiting:
    each = waiting.pop()
    if id(each) not in found:
        found[id(each)] = each
        waiting += gc.get_referents(each)
old = {pool(each) for each in found.values()}
assert len(old) > 50
sizes = range(16, pages.SMALL + 1, 16)

def beside_old(made):
    return [size for size, each in zip(sizes, made) if pool(each) in old]

as_it_was = [pages._object_of(size) for size in sizes]
assert len(beside_old(as_it_was)) > len(sizes) * 3 // 4
pages.fresh()
new = [pages._object_of(size) for size in sizes]
beside = beside_old(new)
assert len(beside) <= len(sizes) // 4, beside  # filling frees a few itself: three to five are seen
assert len({pool(each) for each in new}) == len(new)
"""


@pytest.mark.parametrize(
    "source", [MERGED, LARGE, OBJECTS, FRESH], ids=["merged", "text", "objects", "fresh"]
)
def test_what_is_rearranged_holds_what_it_held(source: str):
    command = [sys.executable, "-S", "-s", "-B", "-c", f"import sys\n{source}"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
