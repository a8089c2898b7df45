"""What prompts begin with alike: every text is there once, whole, and nothing shared twice."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainers.text import branches as branching
from trainers.text.branches import Branch, branches, stretches

WORDS = st.lists(st.integers(0, 2), max_size=12).map(tuple)
TEXTS = st.lists(WORDS, min_size=1, max_size=12)


@pytest.fixture(scope="module", params=(1, 3, 64))
def least(request: pytest.FixtureRequest):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(branching, "LEAST", request.param)
        yield request.param


def spelled(found: list[Branch], number: int | None) -> tuple[int, ...]:
    """All tokens from the root to the end of a branch."""
    if number is None:
        return ()
    branch = found[number]
    assert branch.parent is None or branch.parent < number
    return spelled(found, branch.parent) + branch.text[branch.first : branch.last]


@given(texts=TEXTS)
def test_every_text_stands_whole_on_the_way_to_its_branch(texts, least):
    found, ends = branches(texts)
    assert {text: spelled(found, ends[text]) for text in texts} == {text: text for text in texts}


@given(texts=TEXTS)
def test_only_what_is_worth_it_is_shared(texts, least):
    found, _ = branches(texts)
    read = sum(branch.last - branch.first for branch in found)
    nodes = {text[:end] for text in texts for end in range(1, len(text) + 1)}
    assert len(nodes) <= read <= sum(map(len, set(texts)))
    if least == 1:
        assert read == len(nodes)
    leaves = set(range(len(found))) - {branch.parent for branch in found}
    assert all(found[n].last - found[n].first >= least for n in set(range(len(found))) - leaves)


@given(texts=TEXTS)
def test_planned_positions_are_those_read_but_for_less_than_a_stretch_a_branch(texts, least):
    found, _ = branches(texts)
    read = sum(branch.last - branch.first for branch in found)
    planned: dict[object, int] = {}
    for text in texts:
        planned |= stretches(text)
        assert sum(stretches(text).values()) == len(text)
    nodes = {text[:end] for text in texts for end in range(1, len(text) + 1)}
    assert len(nodes) <= sum(planned.values()) < read + least * len(found) * 2
