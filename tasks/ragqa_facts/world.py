"""The almanac: invented people, towns, films and companies, and an encyclopedia about them.

Every subject has an article with its facts and a notice that speaks of it without them, in words
that questions use too. So what is retrieved depends on how a question is put, as in life. All is
drawn from one seed; a hash of the subject's name decides the split of its questions.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

from harness import Split

SEED = 7
COUNT = 60
"""Subjects of each kind."""

VOWELS, STARTS = "aeiou", "b br d dr f g gr h k kl l m n p r s st t tr v z".split()
ENDS = "l m n r s sh th x nd rk".split()
COUNTRIES = "Ostravia Belmora Kandria Yelmark Sorvania Tirholm Quentaria Aldovia".split()
RIVERS = "Arvel Bessa Cordu Dorin Elvo Farrow Gavra Hesk Ilmer Jurra Kesten Lovat".split()
PROFESSIONS = (
    "beekeeper watchmaker surveyor cellist botanist glassblower translator locksmith "
    "cartographer baker veterinarian bookbinder"
).split()
PRODUCTS = (
    "bicycles|lanterns|violins|tea kettles|raincoats|typewriters|sailing boats|wool blankets|"
    "garden tools|fountain pens|music boxes|kites"
).split("|")
ADJECTIVES = "Silent Golden Broken Hidden Crimson Distant Frozen Wandering Hollow Burning".split()
NOUNS = "Harbor Orchard Mirror Lantern Winter Bridge Garden Compass Island Letter".split()
NOTICES: Mapping[str, tuple[str, ...]] = {
    "film": (
        "Critics who saw {s} praised the direction and the music; the director and the composer "
        "gave no interviews.",
        "A poster of {s} was sold last year. It names the filmmaker and the musician, and the year "
        "in which it was first shown.",
    ),
    "town": (
        "The council of {s} met to speak about the river, the bridges and the office of the mayor.",
        "A guide to {s} tells which country it belongs to, who governs the town and what flows "
        "through it.",
    ),
    "person": (
        "{s} was in town last week to speak about work, a native place and what one does for a "
        "living.",
        "A letter of {s} about birth, trade and occupation was found in the archive.",
    ),
    "company": (
        "The head office of {s} was asked who founded the firm, what it makes and where it is "
        "based; there was no reply.",
        "Workers of {s} met to talk about its products, its headquarters and its founder.",
    ),
}
ARTICLES: Mapping[str, tuple[str, ...]] = {
    "film": (
        "{s} is a film released in {release}. It was directed by {director}. "
        "The music was composed by {composer}.",
        "{s} came to the cinemas in {release}. The director was {director}; "
        "{composer} wrote the score.",
    ),
    "town": (
        "{s} is a town in {country}. It lies on the river {river}. Its mayor is {mayor}.",
        "The river {river} flows through {s}, a town of {country}. {mayor} is its mayor.",
    ),
    "person": (
        "{s} was born in {birthplace} and works as a {profession}.",
        "{s}, a {profession} by profession, is a native of {birthplace}.",
    ),
    "company": (
        "{s} makes {product}. The company was founded by {founder} and is based in {seat}.",
        "{s} was set up by {founder}. It has its seat in {seat} and produces {product}.",
    ),
}


@dataclass(frozen=True)
class Subject:
    """What an article is about."""

    id: str
    kind: str
    name: str
    facts: Mapping[str, str]
    """Relation to answer."""

    @property
    def split(self) -> Split:
        """Where its questions belong: two in ten are test, one in ten dev."""
        bucket = hashlib.sha256(self.name.encode()).digest()[0] % 10
        return "test" if bucket < 2 else "dev" if bucket == 2 else "train"


@lru_cache(maxsize=1)
def subjects() -> tuple[Subject, ...]:
    """All subjects, the same in every process."""
    draw = random.Random(SEED)
    people = _distinct(lambda: f"{_name(draw, 2)} {_name(draw, 2)}", COUNT)
    towns = _distinct(lambda: _name(draw, 3), COUNT)
    titles = [f"The {a} {n}" for a in ADJECTIVES for n in NOUNS]
    films = draw.sample(titles, COUNT)
    firms = _distinct(
        lambda: f"{_name(draw, 2)} {draw.choice(['Works', 'Brothers', 'Mills'])}", COUNT
    )
    made: list[Subject] = []
    for number in range(COUNT):
        made += [
            Subject(f"film{number}", "film", films[number], _film(draw, people)),
            Subject(f"town{number}", "town", towns[number], _town(draw, people)),
            Subject(f"person{number}", "person", people[number], _person(draw, towns)),
            Subject(f"company{number}", "company", firms[number], _company(draw, people, towns)),
        ]
    return tuple(made)


def articles() -> Iterator[tuple[str, str, str]]:
    """Id, title and text of all passages: an article and a notice for each subject."""
    for subject in subjects():
        draw = random.Random(f"{SEED}/{subject.id}")
        text = draw.choice(ARTICLES[subject.kind]).format(s=subject.name, **subject.facts)
        yield subject.id, subject.name, text
        notice = draw.choice(NOTICES[subject.kind]).format(s=subject.name)
        yield f"{subject.id}/notice", f"{subject.name} in the news", notice


def _film(draw: random.Random, people: list[str]) -> dict[str, str]:
    director, composer = draw.sample(people, 2)
    return {"release": str(draw.randint(1931, 1999)), "director": director, "composer": composer}


def _town(draw: random.Random, people: list[str]) -> dict[str, str]:
    return {
        "country": draw.choice(COUNTRIES),
        "river": draw.choice(RIVERS),
        "mayor": draw.choice(people),
    }


def _person(draw: random.Random, towns: list[str]) -> dict[str, str]:
    return {"birthplace": draw.choice(towns), "profession": draw.choice(PROFESSIONS)}


def _company(draw: random.Random, people: list[str], towns: list[str]) -> dict[str, str]:
    return {
        "founder": draw.choice(people),
        "product": draw.choice(PRODUCTS),
        "seat": draw.choice(towns),
    }


def _name(draw: random.Random, syllables: int) -> str:
    parts = [draw.choice(STARTS) + draw.choice(VOWELS) for _ in range(syllables - 1)]
    last = draw.choice(STARTS) + draw.choice(VOWELS) + draw.choice(ENDS)
    return "".join((*parts, last)).capitalize()


def _distinct(make: Callable[[], str], count: int) -> list[str]:
    found: dict[str, None] = {}
    while len(found) < count:
        found[make()] = None
    return list(found)
