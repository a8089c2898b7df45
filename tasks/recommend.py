"""recommend: what is recommended should not hang on how it was asked for.

Data     A shop invented here: 96 articles of 8 kinds, each for 3 purposes. A set is a wish (a kind
         and a purpose) before one shelf, in six phrasings; train and test phrasings differ, and so
         do the wishes: both shelves of a wish are in one split. A prompt lists twelve articles of
         the shop, those that fit among them.
Scores   fitting: share of the articles named that are of the kind and for the purpose. grounded:
         share that the prompt lists. complete: share of the fitting articles that are named.
         listed: 1 if any article is named in the form asked for. information: entropy of the
         reply's words over the logarithm of their number. same_first: share of the replies to
         other phrasings whose first article is the same. alike: mean Jaccard of the articles with
         theirs. steady: 1 - mean distance of information from theirs. Range 0 to 1.
Metric   fitting comes first; consistency (same_first, alike, steady) stands beside it. The unit of
         resampling is the set, which is also the group of training.
Paper    arXiv:2512.12858.
Limits   Entropy tells nothing of content: steady replies may recommend different things.
Members  phrasing  name three articles of the shop for a wish, in six phrasings
"""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Sequence
from functools import lru_cache
from itertools import product

from harness import Completion, Example, Message, Prompt, Rollout, Split, Task, Verdict
from harness.metrics import mean, share
from harness.reading import after_thinking
from harness.similarity import agreement, entropy, jaccard, tokens

KINDS = "lamp chair kettle backpack jacket bicycle radio tent".split()
PURPOSES = {
    "travel": "Nomad Rover Wander Atlas".split(),
    "the garden": "Fern Meadow Thistle Clover".split(),
    "a small flat": "Compact Nook Studio Pocket".split(),
}
ASKED = 3
"""Articles that are asked for."""
LISTED = 12
"""Articles that a prompt shows."""
LONGEST = 2_000
"""Characters of a reply that are read."""
TEMPLATES = (
    "I am looking for a {kind} for {purpose}. What do you recommend?",
    "Which {kind} would you buy for {purpose}?",
    "Recommend a {kind} that is made for {purpose}.",
    "My friend wants a {kind} for {purpose}; what should it be?",
    "What is a good {kind} for {purpose}?",
    "For {purpose} I need a {kind}. Any advice?",
    "Could you suggest a {kind} that suits {purpose}?",
    "Help me to choose a {kind} for {purpose}.",
    "I would like to have a {kind}. It is for {purpose}.",
    "A {kind} for {purpose}, please: which one?",
    "Tell me the right {kind} for {purpose}.",
    "We need a {kind} and it is meant for {purpose}. What fits?",
)
SIZE = 6


@lru_cache(maxsize=1)
def articles() -> dict[str, tuple[str, str]]:
    """All articles: name to kind and purpose."""
    return {
        f"{word} {kind}": (kind, purpose)
        for kind in KINDS
        for purpose, words in PURPOSES.items()
        for word in words
    }


def split_of(wish: str) -> Split:
    """Where a wish, `lamp for travel`, belongs with all its shelves; its hash decides."""
    bucket = hashlib.sha256(wish.encode()).digest()[0] % 10
    return "test" if bucket < 3 else "dev" if bucket == 3 else "train"


@lru_cache(maxsize=4)
def examples(split: Split) -> tuple[Example, ...]:
    """Every wish of a split in its six phrasings, over two different shelves."""
    found: list[Example] = []
    chosen = TEMPLATES[SIZE:] if split == "test" else TEMPLATES[:SIZE]
    for kind, purpose, shelf in product(KINDS, PURPOSES, range(2)):
        if split_of(f"{kind} for {purpose}") != split:
            continue
        wish = f"{kind} for {purpose}, shelf {shelf}"
        fitting, shown = _shelf(kind, purpose, wish)
        for number, template in enumerate(chosen):
            inputs = {"question": template.format(kind=kind, purpose=purpose), "shelf": shown}
            name = wish.replace(" ", "_").replace(",", "")
            id = f"phrasing/{split}/{name}/{number}"
            found.append(Example(id, inputs, fitting, {"set": f"phrasing/{split}/{name}"}))
    return tuple(found)


def _shelf(kind: str, purpose: str, wish: str) -> tuple[list[str], list[str]]:
    """Three fitting articles, and the shelf on which they stand."""
    draw = random.Random(wish)
    whole = articles()
    fitting = draw.sample([a for a, of in whole.items() if of == (kind, purpose)], ASKED)
    near = [a for a, of in whole.items() if of[0] == kind and of[1] != purpose]
    far = [a for a, of in whole.items() if of[0] != kind]
    shown = [*fitting, *draw.sample(near, 4), *draw.sample(far, LISTED - ASKED - 4)]
    draw.shuffle(shown)
    return sorted(fitting), shown


def prompt(example: Example) -> Prompt:
    """The shelf, the wish, and the form of the answer."""
    listed = "; ".join(f"{name} ({_for(name)})" for name in example.inputs["shelf"])
    text = (
        f"In the shop: {listed}.\n\n{example.inputs['question']}\n"
        f"Name {ASKED} articles of the shop, one a line, and nothing else."
    )
    return Prompt(example, (Message("user", text),))


def _for(name: str) -> str:
    return f"for {articles()[name][1]}"


def named(text: str) -> list[str]:
    """Articles of the shop that a reply names in lines of their own, in its order."""
    known = {name.lower(): name for name in articles()}
    lines = (line.strip(" \t-*.,;0123456789)").lower() for line in text[:LONGEST].splitlines())
    return list(dict.fromkeys(known[line] for line in lines if line in known))


def verify(example: Example, completion: Completion) -> Verdict:
    """What was named, and whether it fits."""
    output = completion.output
    text = (after_thinking(output) or "") if isinstance(output, str) else ""
    found, right = named(text), set(example.target)
    shown = set(example.inputs["shelf"])
    words = tokens(text)
    scores = {
        "fitting": sum(each in right for each in found) / len(found) if found else 0.0,
        "grounded": sum(each in shown for each in found) / len(found) if found else 0.0,
        "complete": len(right & set(found)) / len(right),
        "listed": float(bool(found)),
        "information": entropy(words) / math.log(len(words)) if len(words) > 1 else 0.0,
    }
    if not found:
        reason = "no_answer" if not text.strip() else "bad_format"
        cut = completion.stopped == "budget"
        return Verdict(scores, None, "truncated" if cut else reason, "names no article in a line")
    if scores["grounded"] < 1:
        return Verdict(scores, found, "ungrounded", "names what the prompt does not list")
    ok = scores["fitting"] == scores["complete"] == 1
    note = "" if ok else f"fitting: {', '.join(example.target)}"
    return Verdict(scores, found, "ok" if ok else "wrong", note)


def compare(rollouts: Sequence[Rollout]) -> list[dict[str, float]]:
    """How a reply agrees with those to the other phrasings of its wish."""
    rows: dict[str, list[Rollout]] = {}
    for rollout in rollouts:
        rows.setdefault(rollout.example.id, []).append(rollout)
    lists = [[_named(each) for each in row] for row in rows.values()]
    whole = [["; ".join(one) or None for one in row] for row in lists]
    first = [[one[0] if one else None for one in row] for row in lists]
    told = [[f"{r.verdict.scores['information']:.6f}" for r in row] for row in rows.values()]
    columns = (
        agreement(first, lambda a, b: float(a == b)),
        agreement(whole, lambda a, b: jaccard(a.split("; "), b.split("; "))),
        agreement(told, lambda a, b: max(1 - abs(float(a) - float(b)), 0.0)),
    )
    names = ("same_first", "alike", "steady")
    return [
        {name: column[i][j] for name, column in zip(names, columns, strict=True)}
        for i, row in enumerate(lists)
        for j in range(len(row))
    ]


def _named(rollout: Rollout) -> list[str]:
    return list(rollout.verdict.answer or ())


def set_of(example: Example) -> str:
    """The wish of which an example is a phrasing."""
    return str(example.tags["set"])


TASKS = [
    Task(
        name="recommend/phrasing",
        version=2,
        examples=examples,
        prompt=prompt,
        verify=verify,
        gold=lambda example: "\n".join(example.target),
        metrics=(
            *(mean(n) for n in ("fitting", "complete", "grounded", "listed")),
            *(mean(n) for n in ("same_first", "alike", "steady")),
            mean("information", better="neither"),
            *(share(reason) for reason in ("truncated", "no_answer", "bad_format", "ungrounded")),
        ),
        reward={"fitting": 0.5, "complete": 0.5},
        compare=compare,
        set=set_of,
        group=set_of,
        source="generated",
    )
]
