"""Answers of ragqa: read out of replies, judged against aliases, and compared within their set.

The answer is what stands in the last `<answer>` pair, or else the whole reply if it is one short
line. Replies that refuse are one class and one answer, however they are worded; an alias is never
read as a refusal.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import combinations
from typing import Any

from harness import Completion, Example, Rollout, Verdict
from harness.reading import after_thinking, tagged
from harness.similarity import SIMILARITIES, agreement, form, jaccard, token_f1
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
_ABOUT_THE_QUESTION = frozenset(
    "a an the it its it's this that there to of in on from by with for and or about is are was "
    "were be been answer question information passage passages text texts context article articles "
    "document documents given provided available here sorry unfortunately but who what when where "
    "which how".split()
)
"""Words that say nothing of their own beside a refusal."""
_WORD = re.compile(r"[\w']+")
_BEFORE = re.compile(r"(?:the )?answer(?: is\b\s*:?|\s*:)\s*", re.IGNORECASE)
"""What a line says before its answer."""
LONGEST = 200
"""Characters of an answer; a longer reply without tags holds none."""
SHOWN = ("token_f1", "bleu1", "rouge_l")
"""Similarities that are always reported."""


def read(completion: Completion, aliases: Iterable[str] = ()) -> tuple[str | None, bool]:
    """The answer, None where there is none; and whether it was asked for in this form (tags).

    One of the aliases is an answer even where it is worded like a refusal.
    """
    output = completion.output
    if not isinstance(output, str):
        return None, False
    text = after_thinking(output[-20_000:])
    if text is None:
        return None, False
    found = tagged(text, "answer")
    told = found if found is not None else _only_line(text)
    told = " ".join(told.split())[:LONGEST]
    if not told:
        return None, found is not None
    declined = _declines(told) and form(told) not in set(map(form, aliases))
    return (REFUSAL if declined else told), found is not None


def _declines(told: str) -> bool:
    """Whether most of an answer is a refusal: of `unknown origin` it is not."""
    rest, times = _REFUSES.subn(" ", told)
    if not times:
        return False
    others = sum(word not in _ABOUT_THE_QUESTION for word in _WORD.findall(rest.lower()))
    return len(_WORD.findall(told)) - len(_WORD.findall(rest)) > others


def _only_line(text: str) -> str:
    line = text.strip()
    if "\n" in line or len(line) > LONGEST or "<answer>" in line:
        return ""
    said = _BEFORE.match(line)
    return line[said.end() :] if said else line


def verify(example: Example, completion: Completion) -> Verdict:
    """Exact match and token F1 against the best alias, and what was retrieved, if anything was."""
    aliases: Sequence[str] = example.target["answers"]
    answer, in_tags = read(completion, aliases)
    refused = answer == REFUSAL
    correct = answer is not None and form(answer) in set(map(form, aliases))
    f1 = 0.0
    if answer is not None and not refused:
        f1 = 1.0 if correct else max(token_f1(answer, alias) for alias in aliases)
    scores = {
        "correct": float(correct),
        "f1": f1,
        **_retrieved(example),
        "refused": float(refused),
        "tagged": float(in_tags),
        **_wording(example),
    }
    note = "" if correct else f"right would be {' or '.join(aliases[:3])}"
    return Verdict(scores, answer, _reason(completion, answer, correct), note)


def _retrieved(example: Example) -> dict[str, float]:
    """Whether all that is needed is shown; of several passages also the share (context recall)."""
    gold, shown = example.target["gold"], set(_shown(example))
    if not gold:
        return {}
    held = sum(id in shown for id in gold) / len(gold)
    share = {"found_share": held} if len(gold) > 1 else {}
    return {"found": float(held == 1), **share}


def _shown(example: Example) -> Sequence[str]:
    """Ids of the passages that are shown, or of which windows are."""
    return example.inputs.get("parents", example.inputs["passages"])


def _wording(example: Example) -> dict[str, float]:
    """Whether training asks in the same words, where that is told of the question."""
    told = example.tags.get("wording")
    return {f"{each}_wording": float(each == told) for each in ("trained", "new") if told}


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
    columns: dict[str, list[list[float]]] = {
        "agreement": agreement(answers, SIMILARITIES["token_f1"]),
        **{f"agreement_{name}": agreement(answers, SIMILARITIES[name]) for name in SHOWN[1:]},
        "same_class": same_class(rows),
    }
    alike = _alike([row[0].example for row in rows])
    found: list[dict[str, float]] = []
    for i, row in enumerate(rows):
        for j in range(len(row)):
            scores = {name: values[i][j] for name, values in columns.items()}
            found.append({**scores, "all_correct": right, **alike[i]})
    return found


def _alike(examples: Sequence[Example]) -> list[dict[str, float]]:
    """How far the phrasings have the same passages; nothing where they are asked without any."""
    if not any(example.target["gold"] for example in examples):
        return [{} for _ in examples]
    found = retrieved_alike([_shown(example) for example in examples])
    return [{"retrieved_alike": value} for value in found]


def same_class(rows: Sequence[Sequence[Rollout]]) -> list[list[float]]:
    """Share of the answers to other phrasings in the same class.

    One class: equal after normalization, or both right by their aliases. No answer is in no class.
    """
    classes = [[_class(each.verdict) for each in row] for row in rows]
    return agreement(classes, lambda a, b: float(a == b))


def _class(verdict: Verdict) -> str | None:
    if verdict.scores["correct"] == 1:
        return "right"
    return None if verdict.answer is None else f"said {form(verdict.answer)}"


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
