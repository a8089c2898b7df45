"""A run as one HTML page that needs nothing else: no network, no other file, no trust.

What models wrote is data inside the page, escaped, and put on screen as text only; the page's
policy allows its own script and style by their hashes, and no request at all.
"""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import msgspec
import numpy as np

from harness.codec import plain, revive
from harness.pictures import Draw
from harness.viewing_sets import sets

LONGEST_TEXT = 20_000
"""Characters of one text; of longer ones the first three and the last quarter are shown."""
MOST_TEXT = 64_000_000
"""Characters of completions in all: with many rollouts each gets less, but 2,000 at least."""
MOST_TOKENS = 500_000
"""Tokens in all that are stored with their log-probability."""
MOST_PICTURES = 2_000
"""Rollouts that are shown with a picture."""
MOST_LINES, MOST_POINTS = 4, 200
"""Columns of an array that are drawn, and points of each."""
HOUSE = Path(__file__).parent / "page"

Text = str | list[Any]
"""A text, or of a long one its beginning, its end and how many characters lie between."""


@dataclass
class Rows:
    """Rollouts as the page reads them; prompts stand once."""

    rows: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    prompts: list[list[tuple[str, Text]]] = field(default_factory=list[list[tuple[str, Text]]])
    plots: dict[int, list[dict[str, Any]]] = field(default_factory=dict[int, list[dict[str, Any]]])
    """Arrays of prompts as lines to draw, by the prompt's number."""
    left_out: int = 0
    """Rollouts beyond the limit."""
    damaged: int = 0
    untold: int = 0
    """Completions whose log-probabilities were left out, for size."""
    undrawn: str = ""
    """Why rollouts are without the pictures that their task has."""
    sets: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    """Examples that were asked together, as `harness.viewing_sets` shows them."""
    _numbers: dict[str, int] = field(default_factory=dict[str, int])
    _tokens: int = 0

    def add(self, line: Mapping[str, Any], longest: int, draw: Draw | None = None) -> None:
        """One stored rollout; a line that is none is counted as damaged."""
        try:
            row = self._row(line, longest)
            if draw is not None:
                row["picture"] = draw(line)
        except (KeyError, TypeError, ValueError, AttributeError, IndexError):
            self.damaged += 1
        else:
            self.rows.append(row)

    def _row(self, line: Mapping[str, Any], longest: int) -> dict[str, Any]:
        verdict = line["verdict"]
        step = line.get("step")
        answer = revive(verdict["answer"])
        return {
            "id": str(line["example"]),
            "attempt": int(line["attempt"]),
            "role": str(line["role"]),
            "phase": str(line.get("phase") or ""),
            "step": step if isinstance(step, int) else None,
            "reason": str(verdict["reason"]),
            "note": _short(str(verdict["note"])),
            "answer": None if answer is None else _short(_text(answer)),
            "scores": {
                str(name): _rounded(score)
                for name, score in revive(verdict["scores"]).items()
                if isinstance(score, int | float)
            },
            "turns": self._turns(line["turns"], longest),
        }

    def _turns(self, turns: Sequence[Mapping[str, Any]], longest: int) -> list[dict[str, Any]]:
        shown: list[dict[str, Any]] = []
        earlier: list[Any] = []
        for turn in turns:
            messages: list[Any] = turn["messages"]
            goes_on = earlier and messages[: len(earlier)] == earlier
            before, earlier = (len(earlier) + 1 if goes_on else 0), messages  # a reply lies between
            reasoning = turn["trace"].get("reasoning")
            shown.append(
                {
                    "prompt": self._prompt(messages[before:], turn["hints"]),
                    "output": cut(_text(revive(turn["output"])), longest),
                    "plots": plots({"forecast": revive(turn["output"])}),
                    "reasoning": cut(reasoning, longest) if isinstance(reasoning, str) else "",
                    "stopped": str(turn["stopped"]),
                    "steps": int(turn["steps"]),
                    "note": _short(str(turn["note"])),
                    **self._tokens_of(turn),
                }
            )
        return shown

    def _prompt(self, messages: Sequence[Any], hints: Sequence[str]) -> int:
        spoken = [(str(who), cut(_text(revive(said)), LONGEST_TEXT)) for who, said in messages]
        spoken += [("hint", cut(str(hint), LONGEST_TEXT)) for hint in hints]
        told = [revive(said) for _, said in messages]
        drawn = [plot for each in told for plot in plots(_table(each))]
        key = hashlib.sha256(msgspec.json.encode([spoken, drawn])).hexdigest()
        if key not in self._numbers:
            self._numbers[key] = len(self.prompts)
            self.prompts.append(spoken)
            if drawn:
                self.plots[self._numbers[key]] = drawn
        return self._numbers[key]

    def _tokens_of(self, turn: Mapping[str, Any]) -> dict[str, Any]:
        logprobs, pieces = revive(turn["logprobs"]), turn["pieces"]
        if logprobs is None or not pieces or np.ndim(logprobs) != 1:
            return {}
        if len(pieces) != len(logprobs) or not np.isfinite(logprobs).all():
            return {}
        if self._tokens + len(pieces) > MOST_TOKENS:
            self.untold += 1
            return {}
        self._tokens += len(pieces)
        return {
            "pieces": [str(piece)[:LONGEST_TEXT] for piece in pieces],
            "logprobs": [round(float(p), 2) for p in logprobs],
        }


def rows(lines: Iterable[Mapping[str, Any]], limit: int, draw: Draw | None = None) -> Rows:
    """The first `limit` rollouts of a journal's lines, with their pictures if they can be drawn."""
    kept: list[Mapping[str, Any]] = []
    made = Rows()
    for line in lines:
        if len(kept) < limit:
            kept.append(line)
        else:
            made.left_out += 1
    longest = min(LONGEST_TEXT, max(2_000, MOST_TEXT // max(len(kept), 1)))
    for line in kept:
        made.add(line, longest, draw if len(made.rows) < MOST_PICTURES else None)
    if draw is not None and len(made.rows) > MOST_PICTURES:
        made.undrawn = f"those beyond the first {MOST_PICTURES:,}"
    made.sets = sets(kept)
    return made


def page(
    title: str,
    manifest: Mapping[str, Any],
    report: Mapping[str, Any] | None,
    of: Rows,
    alarms: Sequence[Mapping[str, Any]] = (),
) -> str:
    """The whole page; `alarms` are those that a training run raised."""
    import jinja2
    from markupsafe import Markup

    costs = _table(report).get("costs")
    style, script = _file("view.css"), _file("view.js")
    template = jinja2.Environment(autoescape=True).from_string(_file("view.html"))
    return template.render(
        title=title,
        policy=policy(style, script),
        style=Markup(style),
        script=Markup(script),
        data=Markup(embedded({"rows": of.rows, "prompts": of.prompts, "plots": of.plots})),
        facts=_facts(manifest, report, of),
        notices=_notices(report, of) + _about_training(manifest, alarms),
        numbers=_numbers(report),
        sets=of.sets,
        complete=bool(_table(report).get("complete")),
        manifest=_short(_json(manifest), LONGEST_TEXT),
        costs=_short(_json(costs), LONGEST_TEXT) if costs else "",
    )


def policy(style: str | None = None, script: str | None = None) -> str:
    """The Content-Security-Policy: this very script and style, and nothing from anywhere."""
    style = _file("view.css") if style is None else style
    script = _file("view.js") if script is None else script
    return (
        f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(style)}'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )


def cut(text: str, longest: int) -> Text:
    """The text, or the two ends of a long one."""
    if len(text) <= longest:
        return text
    head, tail = longest * 3 // 4, longest // 4
    return [text[:head], text[-tail:], len(text) - head - tail]


def plots(content: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The numeric series among these values as lines to draw; long ones are thinned to means.

    (T,) is one line, (T, C) one line a column (named by `columns` where that fits), (T, Y, X) and
    (T, C, Y, X) the means over the field. Each line has its own scale, told by its least and
    largest value.
    """
    found: list[dict[str, Any]] = []
    for name, value in content.items():
        if not isinstance(value, np.ndarray) or cast(Any, value).dtype.kind not in "fiu":
            continue
        array = cast("np.ndarray[Any, Any]", value).astype(np.float64)
        if not 1 <= array.ndim <= 4 or len(array) < 2:
            continue
        if array.ndim > 2:
            array = _field_means(array)
        table = array.reshape(len(array), -1)[:, :MOST_LINES]
        columns = content.get("columns")
        named = isinstance(columns, list) and len(cast(list[Any], columns)) >= table.shape[1]
        names = [str(c) for c in cast(list[Any], columns)] if named and array.ndim == 2 else []
        lines = [
            {"name": names[place] if names else str(name), "y": _thinned(table[:, place])}
            for place in range(table.shape[1])
            if np.isfinite(table[:, place]).any()
        ]
        found.append({"title": str(name), "lines": lines})
    return found


def _field_means(fields: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """(..., Y, X) to (...) means of what is known; NaN where nothing is."""
    known = np.isfinite(fields)
    count = known.sum(axis=(-2, -1))
    total = np.where(known, fields, 0.0).sum(axis=(-2, -1))
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _thinned(series: np.ndarray[Any, Any]) -> list[float | None]:
    """At most MOST_POINTS numbers: means of equal stretches; None where nothing is known."""
    stretch = -(-len(series) // MOST_POINTS)
    parts = [series[n : n + stretch] for n in range(0, len(series), stretch)]
    known = [part[np.isfinite(part)] for part in parts]
    return [float(f"{part.mean():.5g}") if len(part) else None for part in known]


def _short_series(array: np.ndarray[Any, Any]) -> bool:
    return array.ndim == 1 and 0 < len(array) <= 16 and array.dtype.kind in "fiu"


def _facts(
    manifest: Mapping[str, Any], report: Mapping[str, Any] | None, of: Rows
) -> list[tuple[str, str]]:
    asks = _table(manifest.get("asks"))
    model, environment = _table(asks.get("model")), _table(manifest.get("environment"))
    told = _table(report)
    found = {
        "task": asks.get("task"),
        "version": asks.get("version"),
        "split": asks.get("split"),
        "model": model.get("name"),
        "recipe": asks.get("recipe"),
        "started": manifest.get("started"),
        "commit": environment.get("commit"),
        "tokens": told.get("tokens"),
        "seconds": told.get("seconds"),
        "rollouts": len(of.rows) + of.left_out,
    }
    return [(name, _short(str(fact))) for name, fact in found.items() if fact not in (None, "")]


def _notices(report: Mapping[str, Any] | None, of: Rows) -> list[str]:
    notices: list[str] = []
    if of.left_out:
        notices.append(
            f"{of.left_out:,} rollouts beyond the first {len(of.rows):,} are not on this page "
            "(--limit)."
        )
    if of.damaged:
        notices.append(f"{of.damaged:,} lines of the file could not be read.")
    if of.untold:
        notices.append(f"{of.untold:,} completions are without log-probabilities, for size.")
    if of.undrawn:
        notices.append(f"Without pictures: {_short(of.undrawn)}.")
    told = _table(report)
    if told.get("missing"):
        notices.append(f"{told['missing']} rollouts could not be made or judged.")
    for note, count in list(_table(told.get("faults")).items())[:20]:
        notices.append(f"{count} x {_short(str(note))}")
    return notices


def _about_training(manifest: Mapping[str, Any], alarms: Sequence[Mapping[str, Any]]) -> list[str]:
    """What the loss means, and every alarm with the rollouts that show it."""
    about = manifest.get("about_loss")
    notices = [f"On the printed loss: {_short(str(about))}."] if about else []
    for alarm in alarms[:50]:
        listed = alarm.get("rollouts")
        shown = (
            [_table(each) for each in cast(list[Any], listed)] if isinstance(listed, list) else []
        )
        told = "; ".join(
            f"{each.get('example')} attempt {each.get('attempt')} ({each.get('reason')}): "
            f"{_short(str(each.get('said')), 100)!r}"
            for each in shown[:3]
        )
        text = f"Alarm at step {alarm.get('step')}, {alarm.get('kind')}: {alarm.get('text')}"
        notices.append(_short(f"{text}. {told}" if told else text))
    return notices


def _numbers(report: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """The report's metrics as rows of a table, each with where to draw it between 0 and 1.

    A training run has no intervals: its last look at the dev split and its last reward are shown.
    """
    told = _table(report)
    listed = told.get("metrics")
    if listed is None and told.get("complete"):
        last = {**_table(told.get("dev_last")), "reward": _table(told.get("last")).get("reward")}
        listed = [{"metric": f"{name}, at the end", "value": last[name]} for name in last]
    made: list[dict[str, Any]] = []
    for each in cast(list[Any], listed) if isinstance(listed, list) else []:
        number = _table(each)
        value, low, high = (_number(number.get(name)) for name in ("value", "low", "high"))
        whole = value is not None and low is not None and high is not None
        row = {
            "metric": " ".join(filter(None, (str(number.get("metric")), number.get("unit")))),
            "value": "none" if value is None else f"{value:.4g}",
            "interval": f"[{low:.4g}, {high:.4g}]" if whole else "",
            "drawn": False,
        }
        if value is not None and low is not None and high is not None and 0 <= low <= high <= 1:
            places = {"low": low, "at": value, "high": high}
            row |= {"drawn": True, **{k: round(120 * place, 1) for k, place in places.items()}}
        made.append(row)
    return made


def _table(value: Any) -> Mapping[str, Any]:
    return cast(Mapping[str, Any], value) if isinstance(value, Mapping) else {}


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def _rounded(score: float) -> float | None:
    return round(float(score), 6) if math.isfinite(score) else None


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, np.ndarray):
        array = cast("np.ndarray[Any, Any]", value)
        shape = " x ".join(map(str, array.shape)) or "one number"
        listed = f": {', '.join(f'{x:.4g}' for x in array)}" if _short_series(array) else ""
        return f"[array of {array.dtype}, {shape}{listed}]"
    if isinstance(value, Mapping):
        pairs = cast(Mapping[str, Any], value)
        if any(isinstance(each, np.ndarray) for each in pairs.values()):
            return "\n".join(f"{name}: {_text(each)}" for name, each in pairs.items())
    if isinstance(value, list | tuple):
        parts = cast(list[Any], value)
        if any(isinstance(part, str) for part in parts):
            return "\n".join(_text(part) for part in parts)
    return "" if value is None else _json(value)


def _short(text: str, longest: int = 1_000) -> str:
    rest = len(text) - longest
    return text if rest <= 0 else f"{text[:longest]} … {rest:,} characters are not shown here"


def _json(value: Any) -> str:
    return msgspec.json.format(msgspec.json.encode(plain(value)), indent=1).decode()


def embedded(value: Any) -> str:
    """JSON that cannot end the element it stands in."""
    text = msgspec.json.encode(value).decode()
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _file(name: str) -> str:
    return (HOUSE / name).read_text("utf-8")
