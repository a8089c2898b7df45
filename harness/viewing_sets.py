"""Sets of a run as tables: what each phrasing was asked, what was said, how alike answers are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

from harness.codec import revive
from harness.similarity import jaccard, token_f1

MOST = 100
"""Sets that are shown."""
LARGEST = 24
"""Examples of a set that are shown."""
LONGEST = 400
"""Characters of a line."""


def sets(lines: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The first sets among stored rollouts, each with the first attempt at every example.

    A line that is no rollout is left out; so is a set of which one example alone is there.
    """
    found: dict[tuple[str, str, str], dict[str, Mapping[str, Any]]] = {}
    for line in lines:
        name, example = line.get("set"), line.get("example")
        if not name or not example or line.get("role") != "solver":
            continue
        key = (str(line.get("phase") or ""), str(line.get("step") or ""), str(name))
        if key in found or len(found) < MOST:
            members = found.setdefault(key, {})
            kept = members.get(str(example))
            if kept is None or _attempt(line) < _attempt(kept):
                members[str(example)] = line
    return [shown for key, members in found.items() if (shown := _shown(key, members))]


def _shown(
    key: tuple[str, str, str], members: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any] | None:
    if len(members) < 2:
        return None
    phase, step, name = key
    lines = [members[id] for id in sorted(members)[:LARGEST]]
    try:
        asked = [_asked(line) for line in lines]
        answers = [revive(line["verdict"]["answer"]) for line in lines]
        reasons = [str(line["verdict"]["reason"]) for line in lines]
    except (KeyError, TypeError, ValueError, AttributeError, IndexError):
        return None
    shared = [line for line in asked[0] if all(line in other for other in asked)]
    alike = [[_like(a, b) for b in answers] for a in answers]
    pairs = [alike[i][j] for i in range(len(lines)) for j in range(i)]
    return {
        "name": " ".join(filter(None, (phase, step and f"step {step}", name))),
        "shared": shared,
        "agreement": f"{sum(pairs) / len(pairs):.2f}",
        "members": [
            {
                "own": [line for line in own if line not in shared] or ["(the same)"],
                "answer": _cut("none" if answer is None else _text(answer)),
                "reason": reason,
                "alike": [{"heat": round(10 * x), "told": f"{x:.2f}"} for x in row],
            }
            for own, answer, reason, row in zip(asked, answers, reasons, alike, strict=True)
        ],
    }


def _asked(line: Mapping[str, Any]) -> list[str]:
    """Lines of what was asked in the first turn."""
    messages: Sequence[Any] = line["turns"][0]["messages"]
    text = "\n".join(_text(revive(content)) for _, content in messages)
    return [_cut(each) for each in text.splitlines() if each.strip()]


def _like(a: Any, b: Any) -> float:
    """Jaccard of rankings, token F1 of all else; no answer is like nothing."""
    if a is None or b is None:
        return 0.0
    if isinstance(a, list) and isinstance(b, list):
        return jaccard([*map(str, cast(list[Any], a))], [*map(str, cast(list[Any], b))])
    return token_f1(_text(a), _text(b))


def _attempt(line: Mapping[str, Any]) -> int:
    attempt = line.get("attempt")
    return attempt if isinstance(attempt, int) else 0


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, cast(list[Any], value)))
    return str(value)


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
