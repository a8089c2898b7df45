"""precipitation: daily rain at a gauge, judged by the Kling-Gupta efficiency, median over gauges.

Data     world, world_blocked: generated storms over 60 gauges, two years, and three products that
         see them with noise and bias; the second year is judged. Half of the gauges train: at
         random, or those in the west. noaa: daily rain of Seattle and New York (NOAA, public
         domain, after the sample of vega-datasets), 2015 judged. beijing: daily sums of the RAIN
         column of three stations of the UCI set (CC BY 4.0), all days judged. Both are read from
         HARNESS_DATA (`precip/`, `air/`). Gauges of fewer than 10 wet days (>= 1 mm) are left out.
Scores   kge_2012, kge_2009 in [-10, 1] (lower ones are -10, as is no answer), and their parts r,
         alpha (ratio of std), beta (ratio of means), gamma (ratio of coefficients of variation);
         constant: 1 where the estimate never changes and r was set to 0; days: pairs; wet-day hits,
         false_alarms, misses and correct_negatives at 1 mm.
Metric   Medians over gauges of kge_2012 (the headline) and the others; pod, far_ratio, csi and bias
         of wet days, pooled. Units are mm/day. The mean of the observations has a KGE of -0.414.
Paper    MSWEP V3; Kling et al. 2012 and Gupta et al. 2009 for the two forms.
Answers  An answer is one number a day, in mm. Baselines that ship: persistence and climatology
         (noaa), from_STATION and mean_of_others (beijing), product_1 to product_3, stack (fitted on
         the training gauges) and corrected (the stack, corrected by nearby gauges, never by the
         gauge itself).
Members  world          estimate unseen gauges from three products and gauges nearby
         world_blocked  the same where all training gauges lie elsewhere
         noaa           tomorrow's rain from today's and the season
         beijing        estimate one gauge from the two others and its own weather
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness import Completion, Example, Message, Metric, Prompt, Sampling, Split, Task, Verdict
from harness.data import in_folder, tell
from harness.digests import file_digest
from harness.errors import DataError, UsageError
from harness.kling_gupta import kling_gupta
from harness.metrics import of_sums, scored, share
from harness.types import Row, Sums
from harness.verification import EVENT_SCORES, Counts
from tasks._air_series import CHANNELS, read_series
from tasks._precip_world import Rain, rain

WET = 1.0
"""mm a day."""
FEWEST_WET = 10
WORST = -10.0
WETTEST = 5000.0
"""mm a day; more is no rain."""
PARTS = ("r", "alpha", "beta", "gamma")
STATIONS = ("aotizhongxin", "dingling", "wanshouxigong")
NOAA = "precip/noaa_daily_seattle_newyork_2012_2015.csv"
YEAR = 365
Floats = NDArray[np.float64]


def verify(example: Example, completion: Completion) -> Verdict:
    """Both efficiencies and their parts over the days that were observed."""
    observed = np.array(example.target, np.float64)
    read = _read(completion.output, len(observed))
    if isinstance(read, str):
        wet = observed >= WET
        dry = np.zeros(len(observed), bool)
        scores = {"kge_2012": WORST, "kge_2009": WORST, **dict.fromkeys(PARTS, 0.0)}
        return Verdict({**scores, **_wet_days(dry, wet), "constant": 1.0, "days": 0.0}, None, read)
    found = kling_gupta(read, observed)
    told = {"kge_2012": found.kge_2012, "kge_2009": found.kge_2009}
    told |= {part: getattr(found, part) for part in PARTS}
    known = {name: round(x, 12) if np.isfinite(x) else WORST for name, x in told.items()}
    scores = {name: float(np.clip(x, WORST, -WORST)) for name, x in known.items()}
    scores |= _wet_days(read >= WET, observed >= WET)
    scores |= {"constant": float(found.constant), "days": float(found.n)}
    right = scores["kge_2012"] == 1.0
    note = f"r {found.r:.3f}, beta {found.beta:.3f}, gamma {found.gamma:.3f}"
    return Verdict(scores, round(scores["kge_2012"], 6), "ok" if right else "wrong", note)


def _read(output: Any, days: int) -> Floats | str:
    """(D,) mm, or why there are none."""
    if output is None:
        return "no_answer"
    try:
        found = np.asarray(output)
        if found.dtype.kind not in "fiu" or found.shape != (days,):
            return "bad_format"
        values = found.astype(np.float64)
    except (TypeError, ValueError, OverflowError):
        return "bad_format"
    sound = np.isfinite(values).all() and (values >= 0).all() and (values <= WETTEST).all()
    return values if sound else "bad_format"


def _wet_days(said: NDArray[np.bool_], seen: NDArray[np.bool_]) -> dict[str, float]:
    table = Counts.of(said, seen)
    names = ("hits", "false_alarms", "misses", "correct_negatives")
    return {name: float(getattr(table, name)) for name in names}


# -- metrics


def _median(score: str, *, better: Any = "neither", low: float = WORST, high: float = 10) -> Metric:
    def value(rows: Sequence[Row]) -> float:
        return float(np.median([np.mean([scored(v, score) for v in row]) for row in rows]))

    return Metric(score, compute=value, better=better, low=low, high=high)


def _wet(name: str) -> Metric:
    score = EVENT_SCORES[name]

    def each(row: Row) -> list[float]:
        names = ("hits", "false_alarms", "misses", "correct_negatives")
        return [sum(scored(v, name) for v in row) for name in names]

    sums = Sums(each, lambda cells: score.of(Counts.stacked(cells)))
    return of_sums(f"wet_{name}", sums, better=score.better, low=score.low, high=score.high)


METRICS = (
    _median("kge_2012", better="higher", high=1),
    _median("kge_2009", better="higher", high=1),
    _median("r", better="higher", low=-1, high=1),
    *(_median(part) for part in PARTS[1:]),
    *(_wet(name) for name in ("pod", "far_ratio", "csi", "bias")),
    share("no_answer"),
    share("bad_format"),
)


# -- what is asked


def prompt(example: Example) -> Prompt:
    """Columns by the day, and what they are."""
    content = {"gauge": example.inputs["gauge"], "unit": "mm/day", **_columns(example)}
    return Prompt(example, (Message("user", content),))


def _columns(example: Example) -> dict[str, Any]:
    member, gauge = example.id.split("/")[0], example.inputs["gauge"]
    return {"noaa": _noaa, "beijing": _beijing}.get(member, _generated)()[gauge][0]


def examples(member: str, split: Split) -> Sequence[Example]:
    """One gauge each; public members are scored only."""
    if member in ("noaa", "beijing"):
        table = (_noaa if member == "noaa" else _beijing)() if split == "test" else {}
    else:
        kept = _split_of(member)
        table = {name: each for name, each in _generated().items() if kept[name] == split}
    found: list[Example] = []
    for name, (_, observed) in table.items():
        if (observed >= WET).sum() < FEWEST_WET:
            tell(f"precipitation/{member}/{name}", "left out: fewer than 10 wet days")
            continue
        target = [None if np.isnan(x) else float(x) for x in observed]
        found.append(Example(f"{member}/{split}/{name}", {"gauge": name}, _numbers(target)))
    return tuple(found)


def _numbers(target: Sequence[float | None]) -> list[float]:
    """NaN where nothing was observed."""
    return [float("nan") if x is None else x for x in target]


Gauges = Mapping[str, tuple[dict[str, Any], Floats]]
"""Name to what is told of a gauge, and what it measured."""


@lru_cache(maxsize=1)
def _generated() -> Gauges:
    world = rain()
    days = slice(YEAR, None)
    found: dict[str, tuple[dict[str, Any], Floats]] = {}
    for gauge in range(world.rain.shape[1]):
        near, weights = world.near(gauge)
        told = [world.products[kind, days, gauge] for kind in range(3)]
        told += [world.products[kind][days][:, near] @ weights for kind in range(3)]
        told += [world.rain[days][:, near] @ weights]
        names = [f"product_{kind + 1}" for kind in range(3)]
        names += [f"{name}_nearby" for name in names] + ["gauges_nearby"]
        values = np.stack(told, axis=1).astype(np.float32)
        found[f"gauge{gauge:02}"] = ({"columns": names, "values": values}, world.rain[days, gauge])
    return found


def _split_of(member: str) -> dict[str, Split]:
    """Half of the gauges train; some of the others are dev."""
    world: Rain = rain()
    count = len(world.place)
    if member == "world_blocked":
        order = np.argsort(world.place[:, 0])
    else:
        order = np.random.default_rng(3).permutation(count)
    taught, tuned = count // 2, count // 10
    shares: tuple[tuple[Split, int], ...] = (
        ("train", taught),
        ("dev", tuned),
        ("test", count - taught - tuned),
    )
    kinds: list[Split] = [kind for kind, often in shares for _ in range(often)]
    return {f"gauge{gauge:02}": kind for gauge, kind in zip(order, kinds, strict=True)}


@lru_cache(maxsize=1)
def _noaa() -> Gauges:
    """2015 of both places; the season is a 31-day running mean over 2012 to 2014."""
    import pandas as pd

    path = in_folder(NOAA, where="it is the Seattle and New York weather of vega-datasets")
    tell(NOAA, f"sha256:{file_digest(path)[:16]}")
    try:
        frame = pd.read_csv(path, parse_dates=["date"])
        groups = list(frame.groupby("location"))
    except (KeyError, ValueError) as error:
        raise DataError(f"{path} does not have the columns location, date, ...: {error}") from error
    found: dict[str, tuple[dict[str, Any], Floats]] = {}
    for place, group in groups:
        daily: Any = group.set_index("date")["precipitation"].sort_index().asfreq("D")
        past = daily[:"2014"]
        season = past.groupby(past.index.day_of_year).mean()
        season = season.rolling(31, center=True, min_periods=1).mean()
        judged = daily["2015"]
        told = [daily.shift(1)["2015"], season.reindex(judged.index.day_of_year)]
        values = np.stack([np.asarray(x, np.float64) for x in told], axis=1)
        told = {"columns": ["yesterday", "season"], "values": values}
        found[str(place).lower().replace(" ", "_")] = (told, judged.to_numpy(np.float64))
    return found


@lru_cache(maxsize=1)
def _beijing() -> Gauges:
    """Daily sums of all days; the weather of the gauge's own station as daily means."""
    series = {}
    for name in STATIONS:
        path = in_folder(f"air/beijing_{name}_hourly.csv.gz", where="see the airquality card")
        series[name] = read_series(path, name)
        tell(f"air/{name}", str(series[name]))
    sums = {name: 24 * each.daily("RAIN") for name, each in series.items()}
    found: dict[str, tuple[dict[str, Any], Floats]] = {}
    for name in STATIONS:
        others = [other for other in STATIONS if other != name]
        weather = [column for column in CHANNELS if column in ("TEMP", "PRES", "DEWP")]
        values = [sums[other] for other in others] + [series[name].daily(c) for c in weather]
        found[name] = ({"columns": [*others, *weather], "values": np.stack(values, 1)}, sums[name])
    return found


# -- baselines


class Estimator:
    """A rule that gives a series from the columns of a prompt."""

    independent = True

    def __init__(self, name: str, rule: Callable[[Mapping[str, Floats]], Floats]) -> None:
        self.name = name
        self.rule = rule

    def answer(self, prompts: Sequence[Prompt]) -> Iterator[tuple[int, Completion]]:
        """One series a prompt; days about which nothing is told are dry."""
        for number, asked in enumerate(prompts):
            told = columns_of(asked.messages[0].content)
            series = np.maximum(np.nan_to_num(self.rule(told)), 0.0)
            yield number, Completion(series, steps=len(series))

    def describe(self) -> Mapping[str, Any]:
        """Nothing but its name."""
        return {"engine": self.name}


def columns_of(content: Mapping[str, Any]) -> dict[str, Floats]:
    """(D,) of each column by its name."""
    values = np.asarray(content["values"], np.float64)
    return {name: values[:, place] for place, name in enumerate(content["columns"])}


def _column(name: str, told: Mapping[str, Floats]) -> Floats:
    if name not in told:
        raise UsageError(f"this gauge is not told '{name}'; there are: {', '.join(told)}")
    return told[name]


def _from_other(name: str, told: Mapping[str, Floats]) -> Floats:
    """Another gauge's rain; the gauge itself is estimated by the mean of the others."""
    return told[name] if name in told else mean_of_others(told)


def mean_of_others(told: Mapping[str, Floats]) -> Floats:
    """The mean of the other gauges."""
    return np.mean([x for name, x in told.items() if name in STATIONS], axis=0)


def _features(told: Mapping[str, Floats], mark: str = "") -> Floats:
    """(D, 7): the products, their square roots and a constant."""
    base = np.stack([_column(f"product_{kind}{mark}", told) for kind in (1, 2, 3)], axis=1)
    return np.concatenate([base, np.sqrt(base), np.ones((len(base), 1))], axis=1)


def _stack(task: Task) -> Floats:
    """(7,) weights of a ridge regression over all days of the training gauges."""
    taught = list(task.examples("train"))
    x = [_features(columns_of(task.prompt(e).messages[0].content)) for e in taught]
    features, rains = np.concatenate(x), np.concatenate([np.array(e.target) for e in taught])
    ridge = 1e-3 * len(features) * np.eye(features.shape[1])
    return np.linalg.solve(features.T @ features + ridge, features.T @ rains).astype(np.float64)


def _stacked(weights: Floats, told: Mapping[str, Floats]) -> Floats:
    return np.maximum(_features(told) @ weights, 0.0)


def _corrected(weights: Floats, told: Mapping[str, Floats]) -> Floats:
    """The stack times what nearby gauges measured over what the stack says there."""
    there = np.maximum(_features(told, "_nearby") @ weights, 0.0)
    factor = (_column("gauges_nearby", told) + 1.0) / (there + 1.0)
    return _stacked(weights, told) * np.clip(factor, 0.1, 10.0)


Factory = Callable[[Task, Split, Sampling], Estimator]


def _plain(name: str, rule: Callable[[Mapping[str, Floats]], Floats]) -> Factory:
    return lambda task, split, sampling: Estimator(name, rule)


def _fitted(name: str, rule: Callable[[Floats, Mapping[str, Floats]], Floats]) -> Factory:
    return lambda task, split, sampling: Estimator(name, partial(rule, _stack(task)))


MODELS: Mapping[str, Factory] = {
    "persistence": _plain("persistence", partial(_column, "yesterday")),
    "climatology": _plain("climatology", partial(_column, "season")),
    "mean_of_others": _plain("mean_of_others", mean_of_others),
    **{f"from_{n}": _plain(f"from_{n}", partial(_from_other, n)) for n in STATIONS},
    **{f"product_{k}": _plain(f"product_{k}", partial(_column, f"product_{k}")) for k in (1, 2, 3)},
    "stack": _fitted("stack", _stacked),
    "corrected": _fitted("corrected", _corrected),
}


def _gold(example: Example) -> Floats:
    """What was measured; a day without observation is as good as dry."""
    return np.nan_to_num(np.array(example.target, np.float64))


def _task(member: str) -> Task:
    public = member in ("noaa", "beijing")
    return Task(
        name=f"precipitation/{member}",
        version=1,
        examples=partial(examples, member),
        prompt=prompt,
        verify=verify,
        gold=_gold,
        metrics=METRICS,
        reward={"kge_2012": 1.0},
        source="NOAA / UCI" if public else "generated",
        settings={"wet_day": f">= {WET:g} mm", "unit": "mm/day"},
    )


TASKS = [_task(name) for name in ("world", "world_blocked", "noaa", "beijing")]
