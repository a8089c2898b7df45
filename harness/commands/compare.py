"""`harness compare`: two or more runs or models on the same examples."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from harness.commands.sides import Side

Flag = typer.Option
LEVEL = 0.05


def run(
    names: Annotated[list[str], typer.Argument(help="run ids, run folders, or models of records")],
    task: Annotated[str | None, Flag(help="only this one; default all in common")] = None,
    metric: Annotated[str | None, Flag(help="default each task's headline")] = None,
    show: Annotated[int, Flag(help="discordant examples listed on either side", min=0)] = 3,
    output: Annotated[Path, Flag("--output-dir", "-o", help="where records and runs lie")] = Path(
        "results"
    ),
    as_json: Annotated[bool, Flag("--json", help="machine-readable result")] = False,
) -> None:
    """Compare runs or models example by example: difference, interval, p, and where they differ."""
    from harness.commands import screen
    from harness.commands.sides import aligned, find, gather, sampling_differences, topics
    from harness.errors import UsageError
    from results.record import load

    if len(names) < 2:
        raise UsageError("name at least two runs or models, as in `harness compare A B`")
    records = load(output / "records", screen.say)
    found = [find(name, records, output) for name in names]
    results: list[dict[str, Any]] = []
    for topic in topics(found, task, metric):
        sides = aligned(gather(found, topic, output))
        for line in sampling_differences(sides):
            screen.say(line)
        result = compared(sides, show)
        results.append(result)
        if not as_json:
            _present(result)
    if as_json:
        screen.emit(results)


def compared(sides: Sequence[Side], show: int) -> dict[str, Any]:
    """All pairs of sides, with Holm's correction where there is more than one."""
    from harness.comparing import compare, holm

    record = sides[0].record
    pairs: list[dict[str, Any]] = []
    for a, b in itertools.combinations(sides, 2):
        common = sorted(a.values.keys() & b.values.keys())
        left, right = ({id: side.values[id] for id in common} for side in (a, b))
        paired = compare(left, right, a.clusters)
        gaps = {id: abs(left[id] - right[id]) for id in common}
        discordant = [
            id
            for ids in (paired.a_better, paired.b_better)
            for id in _widest(ids, gaps, a.clusters or {})[:show]
        ]
        pairs.append(
            {
                "a": a.name,
                "b": b.name,
                "mean_a": sum(left.values()) / len(left),
                "mean_b": sum(right.values()) / len(right),
                "n": paired.n,
                "clusters": paired.clusters,
                "n_a": len(a.values),
                "n_b": len(b.values),
                "difference": paired.difference,
                "low": paired.low,
                "high": paired.high,
                "p": paired.p,
                "method": paired.method,
                "a_higher": len(paired.a_better),
                "b_higher": len(paired.b_better),
                "detectable": paired.mde,
                "needed": paired.needed,
                "examples": _examples(a, b, discordant),
            }
        )
    for pair, p in zip(pairs, holm([pair["p"] for pair in pairs]), strict=True):
        pair["p_holm"] = p
        pair["separated"] = p < LEVEL
    return {
        "task": record.task,
        "version": record.version,
        "split": record.split,
        "metric": record.metric,
        "better": record.better,
        "pairs": pairs,
    }


def _widest(
    ids: Sequence[str], gaps: Mapping[str, float], clusters: Mapping[str, str]
) -> list[str]:
    """One example of each cluster, where the two differ most; the widest gaps first."""
    found: dict[str, str] = {}
    for id in sorted(ids, key=lambda id: (-gaps[id], id)):
        found.setdefault(clusters.get(id, id), id)
    return list(found.values())


def _examples(a: Side, b: Side, ids: Sequence[str]) -> list[dict[str, Any]]:
    """What was asked and answered where the two differ."""
    from harness.commands.sides import attempts

    stored = [attempts(side, ids) for side in (a, b)]
    listed: list[dict[str, Any]] = []
    for id in ids:
        told: dict[str, Any] = {"id": id, "prompt": ""}
        for key, side, rows in (("a", a, stored[0][id]), ("b", b, stored[1][id])):
            if rows and not told["prompt"]:
                told["prompt"] = _asked(rows[0])
            told[key] = {"value": side.values[id], "answers": [_verdict(row) for row in rows]}
        listed.append(told)
    return listed


def _asked(row: dict[str, Any]) -> str:
    try:
        return str(row["turns"][0]["messages"][-1][1])
    except (KeyError, IndexError, TypeError):
        return ""


def _verdict(row: dict[str, Any]) -> dict[str, Any]:
    if not isinstance(row.get("verdict"), dict):
        return {"answer": None, "reason": "damaged"}
    verdict: dict[str, Any] = row["verdict"]
    return {"answer": verdict.get("answer"), "reason": verdict.get("reason")}


def _present(result: dict[str, Any]) -> None:
    from harness.commands import screen
    from leaderboards.text import number, span, visible

    pairs = result["pairs"]
    holm = ["p (Holm)"] if len(pairs) > 1 else []
    rows: list[list[str]] = []
    for pair in pairs:
        rows.append(
            [
                f"{visible(pair['a'])} - {visible(pair['b'])}",
                number(pair["difference"], (pair["high"] - pair["low"]) / 2),
                span(pair["low"], pair["high"]),
                _p(pair["p"]),
                *([_p(pair["p_holm"])] if holm else []),
                f"{pair['a_higher']} / {pair['b_higher']}",
                _count(pair),
            ]
        )
    title = f"{result['task']} v{result['version']}, {result['split']}: {result['metric']}"
    columns = ["pair", "difference", "95 % interval", "p", *holm, "higher in", "n"]
    screen.table(visible(title), columns, rows)
    for pair in pairs:
        print(sentence(pair, result["better"]))
        if any(example[key]["answers"] for example in pair["examples"] for key in ("a", "b")):
            for example in pair["examples"]:
                _print_example(pair, example)


def sentence(pair: dict[str, Any], better: str) -> str:
    """The finding in words, and how sharp the comparison could be."""
    from leaderboards.text import number, visible

    half = (pair["high"] - pair["low"]) / 2
    a, b = (f"{visible(pair[k])} ({number(pair[f'mean_{k}'], half)})" for k in ("a", "b"))
    partly = {pair["n_a"], pair["n_b"]} != {pair["n"]}
    on = f" on the {pair['n']} examples in common" if partly else ""
    sharp = f"{pair['method']}; detectable with 80 % power: {number(pair['detectable'], half)}"
    if pair["separated"]:
        higher, lower = (a, b) if pair["difference"] > 0 else (b, a)
        if better == "lower":
            return f"{lower} is better than {higher}{on} ({sharp})"
        word = "better" if better == "higher" else "higher"
        return f"{higher} is {word} than {lower}{on} ({sharp})"
    more = ""
    if pair["needed"]:
        more = f"; about {pair['needed']:,} more examples{_sets(pair)} would do it"
    return f"{a} and {b} are not told apart{on} ({sharp}{more})"


def _count(pair: dict[str, Any]) -> str:
    """Examples, and the sets that they stand in where these are what was compared."""
    alone = pair["clusters"] == pair["n"]
    return f"{pair['n']}" if alone else f"{pair['n']} in {pair['clusters']} sets"


def _sets(pair: dict[str, Any]) -> str:
    if pair["clusters"] == pair["n"]:
        return ""
    return f" ({math.ceil(pair['needed'] * pair['clusters'] / pair['n']):,} sets)"


def _print_example(pair: dict[str, Any], example: dict[str, Any]) -> None:
    from leaderboards.text import visible

    print(f"  {visible(example['id'])}: {visible(example['prompt'], 160)}")
    for key in ("a", "b"):
        side = example[key]
        told = ", ".join(
            f"{visible(str(each['answer']), 40)} ({visible(str(each['reason']), 20)})"
            for each in side["answers"][:4]
        )
        rest = len(side["answers"]) - 4
        more = f", and {rest} more" if rest > 0 else ""
        print(f"    {visible(pair[key])}: {side['value']:.4g}{': ' if told else ''}{told}{more}")


def _p(p: float) -> str:
    return f"{p:.3f}" if p >= 0.001 else f"{p:.1e}"
