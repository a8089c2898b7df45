"""What this repository publishes agrees with itself."""

from __future__ import annotations

from pathlib import Path

from tests.command_line import command

HOUSE = Path(__file__).resolve().parents[2]


def test_the_records_of_this_house_verify():
    said = command("verify", "-o", HOUSE / "results")
    assert said.code == 0, said.out
    assert "all that could be checked agrees" in said.out
