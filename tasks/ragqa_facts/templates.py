"""Ways to ask for a fact: six that training may see and six that only the test asks.

`{s}` is the subject. Both halves ask for the same thing by construction, in other words; no
template stands in both.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache

from harness import Split

SIZE = 6
"""Phrasings of one question: a set."""

TEMPLATES: Mapping[str, tuple[str, ...]] = {
    "director": (
        "Who directed {s}?",
        "Who was the director of {s}?",
        "{s} was directed by whom?",
        "Name the filmmaker behind {s}.",
        "Which person was in charge of shooting {s}?",
        "Under whose direction was {s} made?",
        "By whom was {s} directed?",
        "Which filmmaker made {s}?",
        "Tell me the director of {s}.",
        "{s} is the work of which director?",
        "Whose direction do we see in {s}?",
        "Who sat in the director's chair of {s}?",
    ),
    "release": (
        "When was {s} released?",
        "In what year did {s} come out?",
        "What is the release year of {s}?",
        "{s} reached the cinemas in which year?",
        "Give the year in which {s} was first shown.",
        "In which year did {s} have its premiere?",
        "What year saw the release of {s}?",
        "{s} was released in which year?",
        "From what year is {s}?",
        "When could people first watch {s}?",
        "In which year was {s} put on screen?",
        "Tell me the year of the premiere of {s}.",
    ),
    "composer": (
        "Who composed the music of {s}?",
        "Who was the composer for {s}?",
        "The score of {s} was written by whom?",
        "Name the musician who scored {s}.",
        "Whose music is heard in {s}?",
        "Which composer worked on {s}?",
        "By whom is the soundtrack of {s}?",
        "Who wrote the score of {s}?",
        "Tell me the composer of {s}.",
        "{s} has music by which composer?",
        "Who is the author of the music in {s}?",
        "Which musician wrote the soundtrack of {s}?",
    ),
    "river": (
        "Which river flows through {s}?",
        "What river does {s} lie on?",
        "On which river is {s}?",
        "{s} lies on the banks of what river?",
        "Name the river of {s}.",
        "What is the river that crosses {s} called?",
        "By which river does {s} stand?",
        "Which river passes through the town of {s}?",
        "Tell me the name of the river at {s}.",
        "{s} was built along which river?",
        "The water that runs through {s} belongs to which river?",
        "What is the name of the river in {s}?",
    ),
    "mayor": (
        "Who is the mayor of {s}?",
        "Which person governs {s}?",
        "Name the head of the town of {s}.",
        "{s} has whom as its mayor?",
        "Who leads the council of {s}?",
        "Who was elected mayor in {s}?",
        "Who runs the town of {s}?",
        "Tell me the name of the mayor of {s}.",
        "Who holds the office of mayor in {s}?",
        "{s} is governed by whom?",
        "Which person is mayor of {s}?",
        "Who stands at the head of {s}?",
    ),
    "country": (
        "In which country is {s}?",
        "What country does {s} belong to?",
        "{s} is a town of which country?",
        "Name the country in which {s} lies.",
        "Which country is home to {s}?",
        "To which land does {s} belong?",
        "Where in the world is {s}, in which country?",
        "Tell me the country of {s}.",
        "Which country is {s} located in?",
        "{s} can be found in which country?",
        "Of which country is {s} a part?",
        "What is the country that {s} lies in?",
    ),
    "birthplace": (
        "Where was {s} born?",
        "What is the birthplace of {s}?",
        "In which town was {s} born?",
        "Name the town where {s} was born.",
        "{s} comes from which town?",
        "What town is {s} a native of?",
        "In what place did {s} come into the world?",
        "Which town is the birthplace of {s}?",
        "Tell me where {s} was born.",
        "{s} was born in which place?",
        "What is the native town of {s}?",
        "From which town does {s} come?",
    ),
    "profession": (
        "What is the profession of {s}?",
        "What does {s} do for a living?",
        "{s} works as what?",
        "Name the occupation of {s}.",
        "Which trade does {s} follow?",
        "By what work does {s} live?",
        "What is {s}'s job?",
        "What is the occupation of {s}?",
        "Tell me the profession of {s}.",
        "{s} earns a living as what?",
        "Which profession does {s} have?",
        "In what line of work is {s}?",
    ),
    "founder": (
        "Who founded {s}?",
        "Who is the founder of {s}?",
        "{s} was founded by whom?",
        "Name the person who started {s}.",
        "By whom was {s} set up?",
        "Who established the company {s}?",
        "Which person founded {s}?",
        "Tell me the founder of {s}.",
        "To whom does {s} owe its beginning?",
        "{s} was started by which person?",
        "Who created the firm {s}?",
        "Who set up {s}?",
    ),
    "product": (
        "What does {s} make?",
        "What is the product of {s}?",
        "Which goods does {s} produce?",
        "Name what {s} manufactures.",
        "{s} is a maker of what?",
        "What comes out of the workshops of {s}?",
        "What is manufactured by {s}?",
        "Tell me the product that {s} makes.",
        "Which things does {s} manufacture?",
        "{s} produces what?",
        "What kind of goods is made at {s}?",
        "What do people buy from {s}?",
    ),
    "seat": (
        "Where is the seat of {s}?",
        "In which town does {s} have its headquarters?",
        "{s} is based in which town?",
        "Name the town where {s} has its head office.",
        "What town is home to {s}?",
        "From which town is {s} run?",
        "Where is {s} based?",
        "Tell me the seat of {s}.",
        "In what town is the head office of {s}?",
        "{s} has its seat in which place?",
        "Which town houses the headquarters of {s}?",
        "Where are the headquarters of {s}?",
    ),
}
MINIATURE: tuple[str, ...] = (
    "how many {a} has {s}?",
    "{s} has how many {a}?",
    "{a} of {s}?",
    "count the {a} of {s}",
    "what number of {a} has {s}?",
    "{s}: {a}?",
    "how many {a} are with {s}?",
    "tell the {a} of {s}",
    "{s} owns how many {a}?",
    "the {a} that {s} has?",
    "{a}, and those of {s}?",
    "of {a}, {s} has?",
)
"""The same, for models that know nothing: `{a}` is what is counted."""


def phrasings(templates: tuple[str, ...], split: Split) -> tuple[str, ...]:
    """The six templates of a split: train and dev have the first half, test the second."""
    return templates[SIZE:] if split == "test" else templates[:SIZE]


def trained(question: str) -> bool:
    """Whether a template that training may see asks in the words of this question."""
    return _trained().fullmatch(question) is not None


@lru_cache(maxsize=1)
def _trained() -> re.Pattern[str]:
    seen = {template for each in TEMPLATES.values() for template in phrasings(each, "train")}
    written = (".+".join(map(re.escape, template.split("{s}"))) for template in sorted(seen))
    return re.compile("|".join(written), re.IGNORECASE)
