"""Phrasings: noise keeps what is asked, filters refuse what is not the same question."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest

from harness import Completion
from tasks.ragqa_phrasing.filters import entities, refusal, same_answer
from tasks.ragqa_phrasing.maker import Question, made, proposals, reasons
from tasks.ragqa_phrasing.noise import ASKING, OTHERS, WAYS, noisy, slipped, typo

FILM = "Who directed Free Guy in 2021?"


class Table:
    """Answers by what the prompt holds; keeps what it was asked."""

    name, independent = "table", True

    def __init__(self, table: Mapping[str, str]) -> None:
        self.table = table
        self.asked: list[str] = []

    def answer(self, prompts):
        for number, prompt in enumerate(prompts):
            text = str(prompt.messages[-1].content)
            self.asked.append(text)
            yield number, Completion(next((v for k, v in self.table.items() if k in text), ""))

    def describe(self) -> Mapping[str, Any]:
        return {}


@pytest.mark.parametrize(
    ("proposal", "why"),
    [
        ("Free Guy (2021) was made by which director?", ""),
        ("Who was the director of Free Guy in 2021?", ""),
        ("who directed Free Guy in 2021", "copy"),
        ("Who was the director of Free Guy?", "names"),
        ("Who was the director of Free Guy in 2020?", "names"),
        ("Who was the Canadian director of Free Guy in 2021?", "names"),
        ("Was it Shawn Levy who made Free Guy in 2021?", "names"),
        ("Free Guy of 2021 has a director.", "form"),
        ("Who made Free Guy?\nIn 2021?", "one line"),
        ("", "one line"),
        ("Who " + "x" * 500 + "?", "one line"),
    ],
)
def test_proposals_are_refused_for_a_reason(proposal: str, why: str):
    found = refusal(FILM, proposal, ["Shawn Levy"])
    assert bool(found) == bool(why)
    assert why in found


def test_a_proposal_that_holds_the_answer_is_refused():
    asked = "What color has the house of Ann?"
    assert "answer" in refusal(
        asked, "Is red or else what, the color for the house of Ann?", ["red"]
    )
    assert refusal("Is it red or blue at Ann?", "Which is it at Ann, red or blue?", ["red"]) == ""


def test_entities_are_capitalized_words_and_numbers():
    assert entities("Who saw Pál Gábor's film of 1932?") == {"pál", "gábor", "1932"}
    assert entities("In which town is Kino based?") == {"kino"}
    assert entities("Kino lies where?") == {"kino"}


def test_answers_are_the_same_by_half_of_their_words():
    assert same_answer("Shawn Levy", "levy")
    assert not same_answer("Shawn Levy", "Ryan Reynolds")
    assert not same_answer(None, None)


def test_noise_is_the_same_every_time_and_keeps_names_and_letters():
    assert noisy(FILM) == noisy(FILM)
    assert len(noisy(FILM)) == 1 + len(WAYS)
    for text in noisy(FILM)[1:]:
        assert "free guy" in text.lower()
        assert "2021" in text
        assert sorted(set("directed")) == sorted(set("directed") & set(text.lower()))
    assert noisy("?") == noisy("?")
    assert noisy("") == noisy("")


@pytest.mark.parametrize(
    "question",
    [
        "What happened in 1995's match?",
        "Which of O'Brien's 3rd-party co-stars met Ludwig van beethoven2 at mid-day?",
        "who sang bantam menace from the tree",
        "when was the form of united paris released",
        "Who plays quinn in the office",
        "",
        "?",
    ],
)
def test_a_slip_leaves_names_and_numbers_and_makes_no_other_word(question: str):
    named = any(word != word.lower() for word in question.split()[1:])
    for seed in range(40):
        words = question.split(" ")
        found = typo(question, random.Random(seed)).split(" ")
        assert len(found) == len(words)
        changed = [(a, b) for a, b in zip(words, found, strict=True) if a != b]
        assert len(changed) <= 1
        for word, slip in changed:
            assert re.fullmatch("[a-z]{4,}", word)
            assert named or word in ASKING
            assert Counter(word) == Counter(slip)
            assert (word[0], word[-1]) == (slip[0], slip[-1])
            assert slip not in OTHERS


def test_words_that_become_others_slip_elsewhere_or_not_at_all():
    assert slipped("from") == []
    assert slipped("there") == ["tehre"]
    assert all(set(slipped(word)).isdisjoint(OTHERS) for word in OTHERS)
    assert all(any(Counter(a) == Counter(b) and a != b for b in OTHERS) for a in OTHERS), (
        "every word of the list is made of another one of it"
    )
    assert [slipped(word) for word in ("1995's", "match?", "Free", "née", "of")] == [[]] * 5


def test_replies_are_read_line_by_line():
    assert proposals('1. "Who?"\n\n- Which one?\n* What\n2) And how?') == [
        *("Who?", "Which one?", "What", "And how?")
    ]


def test_the_maker_keeps_what_passes_and_never_tells_the_answer():
    reply = (
        "1. Who was the director of Free Guy in 2021?\n"
        "2. Who was the director of Free Guy in 2021?\n"
        "3. Who starred in Free Guy in 2021?\n"
        "4. Who directed Free Guy in 2021?\n"
        "5. Which filmmaker made Free Guy?"
    )
    maker = Table({"Free Guy": reply})
    reader = Table(
        {"starred": "<answer>Ryan Reynolds</answer>", "direct": "<answer>Shawn Levy</answer>"}
    )
    question = Question("f", FILM, ("Shawn Levy",), "Free Guy: a film by Shawn Levy.")
    [found] = made([question], maker, reader)
    assert found.phrasings == (FILM, "Who was the director of Free Guy in 2021?")
    assert sorted(why.split()[0] for _, why in found.refused) == ["comes", "is", "is", "names"]
    assert not any("Levy" in text for text in maker.asked)
    assert reasons([found])["is read otherwise"] == 1
    assert found.row("table")["phrasing"] == "model table"


@pytest.mark.parametrize("said", ["", "\u0000", "?" * 10_000, "1.\n2.\n"])
def test_a_maker_that_says_nothing_leaves_the_original(said: str):
    [found] = made([Question("f", FILM, ("x",))], Table({"": said}))
    assert found.phrasings == (FILM,)
