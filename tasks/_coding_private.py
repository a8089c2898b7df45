"""LiveCodeBench's test cases as they are stored: JSON, or base64 of zlib of a pickled JSON string.

No pickle is loaded. The opcodes are read one by one, and a pickle may hold one string and nothing
else: every opcode that would name, import, build or call something is refused.
"""

from __future__ import annotations

import base64
import binascii
import json
import pickletools
import zlib
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from harness.errors import DataError

LARGEST = 512 << 20
"""Bytes of the unpacked tests of one problem."""
FRAMING = frozenset(
    ("PROTO", "FRAME", "MEMOIZE", "BINPUT", "LONG_BINPUT", "PUT", "MARK", "POP_MARK", "STOP")
)
TEXT = frozenset(("SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8", "UNICODE"))


@lru_cache(maxsize=256)
def test_cases(stored: str, where: str) -> tuple[Mapping[str, Any], ...]:
    """The tests, each with `input`, `output` and `testtype`; DataError, naming `where`."""
    text = stored if stored.lstrip()[:1] in ("[", "") else _unpacked(stored, where)
    try:
        rows = json.loads(text or "[]")
    except (ValueError, RecursionError) as error:
        raise DataError(f"the tests of {where} are not JSON: {error}") from error
    if not isinstance(rows, list) or not all(map(_is_case, rows)):
        raise DataError(f"the tests of {where} are not rows of input, output and testtype")
    return tuple(rows)


def _is_case(row: Any) -> bool:
    return isinstance(row, dict) and all(isinstance(row.get(k), str) for k in ("input", "output"))


def _unpacked(stored: str, where: str) -> str:
    try:
        packed = base64.b64decode(stored, validate=True)
        reader = zlib.decompressobj()
        data = reader.decompress(packed, LARGEST)
    except (binascii.Error, zlib.error, ValueError) as error:
        raise DataError(f"the private tests of {where} cannot be unpacked: {error}") from error
    if reader.unconsumed_tail or not reader.eof:
        raise DataError(f"the private tests of {where} are cut, or larger than {LARGEST >> 20} MiB")
    return _one_string(data, where)


def _one_string(data: bytes, where: str) -> str:
    """The string that a pickle holds."""
    found: list[str] = []
    try:
        for opcode, argument, _ in pickletools.genops(data):
            if opcode.name in TEXT:
                found.append(str(argument))
            elif opcode.name not in FRAMING:
                raise DataError(
                    f"the private tests of {where} hold the pickle opcode {opcode.name}; only a "
                    "string is read. Do not trust this file"
                )
    except ValueError as error:
        raise DataError(f"the private tests of {where} are no pickled text: {error}") from error
    if len(found) != 1:
        raise DataError(f"the private tests of {where} hold {len(found)} strings, and not one")
    return found[0]
