"""Answers of ragqa: read out of replies, judged against aliases, and compared within their set.

The answer is what stands in the last `<answer>` pair, or else the whole reply if it is one short
line. Replies that refuse are one class and one answer, however they are worded.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import combinations
from typing import Any

from harness import Completion, Example, Rollout, Verdict
from harness.reading import after_thinking, tagged
from harness.similarity import SIMILARITIES, agreement, jaccard, normalized, token_f1
from harness.types import REASONS

REASON_WORDS = REASONS | {"refused"}
REFUSAL = "I don't know"
"""What every refusal is read as."""
_REFUSES = re.compile(
    r"\b(i (do not|don.?t|cannot|can.?t) (know|answer|tell|find|say)|unanswerable|"
    r"(is|are|was|were)?\s?not (known|mentioned|provided|stated|given|specified|available)|"
    r"(cannot|can.?t|can not) be (answered|determined|found)|"
    r"no (information|answer|mention)|unknown)\b",
    re.IGNORECASE,
)
LONGEST = 200
"""Characters of an answer; a longer reply without tags holds none."""
SHOWN = ("token_f1", "bleu1", "rouge_l")
"""Similarities that are always reported."""


def read(completion: Completion) -> tuple[str | None, bool]:
    """The answer, None where there is none; and whether it was asked for in this form (tags)."""
    output = completion.output
    if not isinstance(output, str):
        return None, False
    text = after_thinking(output[-20_000:])
    if text is None:
        return None, False
    found = tagged(text, "answer")
    told = found if found is not None else _only_line(text)
    told = " ".join(told.split())[:LONGEST]
    if not normalized(told):
        return None, found is not None
    return (REFUSAL if _REFUSES.search(told) else told), found is not None


def _only_line(text: str) -> str:
    line = text.strip()
    if "\n" in line or len(line) > LONGEST or "<answer>" in line:
        return ""
    return re.sub(r"^(the )?answer( is)?\s*:?\s*", "", line, flags=re.IGNORECASE)


def verify(example: Example, completion: Completion) -> Verdict:
    """Exact match and token F1 against the best alias, and what was retrieved."""
    answer, in_tags = read(completion)
    aliases: Sequence[str] = example.target["answers"]
    refused = answer == REFUSAL
    correct = answer is not None and normalized(answer) in {normalized(each) for each in aliases}
    f1 = 0.0
    if answer is not None and not refused:
        f1 = 1.0 if correct else max(token_f1(answer, alias) for alias in aliases)
    scores = {
        "correct": float(correct),
        "f1": f1,
        "found": float(any(id in example.inputs["passages"] for id in example.target["gold"])),
        "refused": float(refused),
        "tagged": float(in_tags),
    }
    note = "" if correct else f"right would be {' or '.join(aliases[:3])}"
    return Verdict(scores, answer, _reason(completion, answer, correct), note)


def _reason(completion: Completion, answer: str | None, correct: bool) -> str:
    if correct:
        return "ok"
    if completion.stopped == "budget":
        return "truncated"
    if answer is None:
        return "bad_format" if str(completion.output or "").strip() else "no_answer"
    return "refused" if answer == REFUSAL else "wrong"


# -- sets


def by_example(rollouts: Sequence[Rollout]) -> dict[str, list[Rollout]]:
    """The rollouts of a set, a row a phrasing; in their order."""
    rows: dict[str, list[Rollout]] = {}
    for rollout in rollouts:
        rows.setdefault(rollout.example.id, []).append(rollout)
    return rows


def compare(rollouts: Sequence[Rollout]) -> list[dict[str, float]]:
    """How far answers agree with those to other phrasings; what the whole set got right."""
    rows = list(by_example(rollouts).values())
    answers = [[each.verdict.answer for each in row] for row in rows]
    right = 1.0
    for row in rows:
        right *= sum(each.verdict.scores["correct"] for each in row) / len(row)
    alike = retrieved_alike([row[0].example.inputs["passages"] for row in rows])
    columns: dict[str, list[list[float]]] = {
        "agreement": agreement(answers, SIMILARITIES["token_f1"]),
        **{f"agreement_{name}": agreement(answers, SIMILARITIES[name]) for name in SHOWN[1:]},
        "same_class": same_class(rows),
    }
    found: list[dict[str, float]] = []
    for i, row in enumerate(rows):
        for j in range(len(row)):
            scores = {name: values[i][j] for name, values in columns.items()}
            found.append({**scores, "all_correct": right, "retrieved_alike": alike[i]})
    return found


def same_class(rows: Sequence[Sequence[Rollout]]) -> list[list[float]]:
    """Share of the answers to other phrasings in the same class.

    One class: equal after normalization, or both right by their aliases. No answer is in no class.
    """
    classes = [[_class(each.verdict) for each in row] for row in rows]
    return agreement(classes, lambda a, b: float(a == b))


def _class(verdict: Verdict) -> str | None:
    if verdict.scores["correct"] == 1:
        return "right"
    return None if verdict.answer is None else f"said {normalized(verdict.answer)}"


def retrieved_alike(retrieved: Sequence[Sequence[str]]) -> list[float]:
    """For each phrasing, mean Jaccard of its passages with those of the others; 0 for one alone."""
    sums = [0.0] * len(retrieved)
    for i, j in combinations(range(len(retrieved)), 2):
        shared = jaccard(retrieved[i], retrieved[j])
        sums[i] += shared
        sums[j] += shared
    return [total / max(len(retrieved) - 1, 1) for total in sums]


def compare_levels(rollouts: Sequence[Rollout]) -> list[dict[str, float]]:
    """As `compare`, with the same of answers to fixed passages, and what retrieval costs."""
    own = compare(rollouts)
    fixed = compare([replace(r, verdict=verify(r.example, r.turns[-1][1])) for r in rollouts])
    found: list[dict[str, float]] = []
    for here, there in zip(own, fixed, strict=True):
        lost = {f"lost_{n}": there[n] - here[n] for n in ("agreement", "same_class", "all_correct")}
        generator = {f"generator_{n}": there[n] for n in ("agreement", "same_class", "all_correct")}
        found.append({**here, **generator, **lost})
    return found


def cosine_compare(rollouts: Sequence[Rollout], encoder: str) -> list[dict[str, float]]:
    """As `compare`, with the mean cosine of the answers' vectors, cut at 0."""
    from harness.registry import encoder as opened

    texts = sorted({str(r.verdict.answer) for r in rollouts if r.verdict.answer is not None})
    vectors = opened(encoder).encode(texts) if texts else []
    place = {text: number for number, text in enumerate(texts)}

    def cosine(a: str, b: str) -> float:
        return min(max(float(vectors[place[a]] @ vectors[place[b]]), 0.0), 1.0)

    answers = [[r.verdict.answer for r in row] for row in by_example(rollouts).values()]
    flat = [value for row in agreement(answers, cosine) for value in row]
    name = f"agreement_{encoder}"
    return [{**s, name: v} for s, v in zip(compare(rollouts), flat, strict=True)]


def comparison(settings: Mapping[str, Any]) -> Any:
    """What compares a set, by the settings `level` and `cosine`."""
    if settings["level"] == "attribution":
        return compare_levels
    if settings["cosine"] != "none":
        return partial(cosine_compare, encoder=settings["cosine"])
    return compare
