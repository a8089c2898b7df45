"""Every row of the conformance table, measured: ours to 1e-5, TRL's as the table says."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

from tests.conformance.cases import Case, stored
from tests.conformance.golden import DEFINITIONS, golden
from tests.conformance.ours import Ours
from tests.conformance.plain import Plain
from tests.conformance.rows import EXACT, NEAR, Row, every, held, measured, truth
from tests.conformance.settings import How, Settings, Trainer, cosine, flat, gap

ROWS = {row.name: row for row in every()}
LONG = [name for name, row in ROWS.items() if row.how.processes > 1]


@cache
def case() -> Case:
    return stored()


@cache
def right(settings: Settings, change: Any) -> Tensor:
    return truth(Row(name="", settings=settings, change=change), case())


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Ours:
    return Ours(place=tmp_path_factory.mktemp("ours"))


@pytest.fixture(scope="module")
def trl(tmp_path_factory: pytest.TempPathFactory) -> Trainer:
    pytest.importorskip("trl", reason="TRL is not installed: pip install '.[peers]'")
    from tests.conformance.peer_trl import TRL

    return TRL(place=tmp_path_factory.mktemp("trl"))


def kept(row: Row, trainer: Trainer) -> None:
    """The row is as the table promises; skips with the reason where it cannot be measured."""
    result = measured(row, trainer, case(), right(row.truth or row.settings, row.change))
    if result.status == "not available":
        pytest.skip(f"{trainer.name}: {result.why}")
    assert held(result, row), f"{result.said} {result.why}"


@pytest.mark.parametrize("name", [n for n in ROWS if n not in LONG and n not in DEFINITIONS])
def test_ours_gives_the_paper_s_gradient(name: str, ours: Ours):
    kept(ROWS[name], ours)


@pytest.mark.slow
@pytest.mark.parametrize("name", LONG)
def test_ours_gives_the_paper_s_gradient_in_several_processes(name: str, ours: Ours):
    kept(ROWS[name], ours)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # TRL's and its libraries' own
@pytest.mark.parametrize("name", ROWS)
def test_trl_agrees_or_differs_for_the_reason_given(name: str, trl: Trainer):
    kept(ROWS[name], trl)


@pytest.mark.parametrize("name", DEFINITIONS)
def test_the_golden_gradients_are_those_of_the_plain_reference(name: str):
    assert gap(right(DEFINITIONS[name], None), golden()[name]) < 1e-6


@pytest.mark.parametrize("name", DEFINITIONS)
def test_ours_gives_the_golden_gradients(name: str, ours: Ours):
    assert gap(flat(ours.gradient(case(), DEFINITIONS[name])), golden()[name]) < EXACT


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", DEFINITIONS)
def test_trl_gives_the_golden_gradients_where_it_has_the_definition(name: str, trl: Trainer):
    why = trl.lacks(DEFINITIONS[name], How()) or ROWS[name].differs.get(trl.name)
    if why:
        pytest.skip(why)
    found = flat(trl.gradient(case(), DEFINITIONS[name]))
    assert cosine(found, golden()[name]) > NEAR


# ---- the table can fail


def test_the_definitions_are_told_apart():
    """No two definitions have gradients so near that one could pass for the other."""
    known = golden()
    names = sorted(known)
    for n, name in enumerate(names):
        for other in names[n + 1 :]:
            assert gap(known[name], known[other]) > 1e-3, (name, other)


def test_clipping_matters_in_the_old_policies_rows():
    for name in ("grpo", "dapo", "dr_grpo", "gspo", "rloo"):
        found = DEFINITIONS["gspo" if name == "gspo" else f"{name}, old policy"]
        free = flat(Plain().gradient(case(), found.but(low=1.0, high=1e9)))
        assert gap(free, right(found, None)) > 0.02, name


def test_a_wrong_trainer_is_found_out(ours: Ours):
    """A mean over local steps, a forgotten clip, a shifted token: each breaks the promise."""

    class Wrong:
        name = "ours"

        def lacks(self, settings: Settings, how: How) -> str:
            return ""

        def gradient(self, case: Case, settings: Settings, how: How) -> dict[str, Tensor]:
            return ours.gradient(case, settings.but(high=settings.high + 0.08), how)

    row = ROWS["grpo, old policy"]
    result = measured(row, Wrong(), case(), right(row.settings, None))
    assert result.status == "differs"
    assert not held(result, row)


def test_the_reference_shares_nothing_with_the_trainers():
    source = Path(__file__).with_name("plain.py").read_text("utf-8")
    assert "from trainers" not in source
    assert "import trainers" not in source
