"""airquality: particulate forecasts two to five days ahead, judged as forecasters judge them.

Data     aotizhongxin, dingling, wanshouxigong: the hourly UCI set "Beijing Multi-Site Air Quality"
         (CC BY 4.0; Zhang et al. 2017), 2013-03 to 2017-02, trained to 2016-02-29 and tested from
         2016-03-01. embassy: the UCI set "PM2.5 Data of US Embassy in Beijing", 2010 to 2014,
         tested on 2014. Both are read from HARNESS_DATA (`air/`), as converted or as downloaded.
         world, world_text, world_grid: generated, an atmosphere with wind, rain and cities, 2001 to
         2003. cmaq_obs: CMAQ-OBS (hub 2na-97/FAKER-Air), East Asia in 128 x 174 cells of 27 km
         every 6 h, 2016 to 2022 trained and 2023 tested; read from HARNESS_DATA (`air/cmaq_obs/`,
         as downloaded or unpacked) or the hub.
         Stations: daily means of at least 18 valid hours. Every fifth 30 days of training are dev.
Scores   class_reward: over observed leads the mean of [right class] - 0.1 [false alarm]. For each
         lead class@Lh and observed_class@Lh, 0 to 3 or -1 for none; in the numeric form also
         forecast@Lh and observed@Lh in ug/m3, -1 for none. abstained: leads without forecast on
         days without issue-day mean; any other lead without forecast is a wrong class. Of fields,
         in cells: hits@Lh, false_alarms@Lh, misses@Lh, correct_negatives@Lh, right@Lh (class), and
         error@Lh, their mean absolute error in ug/m3, -1 for none; class_reward is a mean over the
         observed cells of each lead.
Metric   pss (POD - pofd) over all leads, then pod, far_ratio, pofd, csi, f1, bias, ets, hss, sedi,
         base_rate, the cost of false alarms and misses at 1:1, 1:3 and 1:10, macro_f1 and accuracy
         of four classes; all again at each lead. Numeric: mae, and for several rollouts (an
         ensemble) crps and brier (not of fields). Intervals resample blocks of 5 days.
Paper    FAKER-Air, arXiv 2511.22169, whose "FAR" is `pofd` here; measures of WMO/WWRP.
Answers  Classes are good, moderate, bad, very bad: PM2.5 up to 15, 35, 75 ug/m3, PM10 up to 30, 80,
         150. The event is bad or worse; `+event=75` after a member's name takes very bad alone
         (PM2.5 > 75), and `+pollutant=PM10` the other pollutant. Forecasters that ship:
         persistence, climatology, always, never.
Members  world          two stations of the generated atmosphere; arrays in, array out
         world_text     the same in words: JSON with a class for each lead
         world_grid     16 x 16 cells of that world; leads of 12, 24, 36 and 48 h
         cmaq_obs       observed fields of East Asia; leads of 48, 72, 96 and 120 h
         aotizhongxin   a city station in Beijing
         dingling       a rural station in the hills north of Beijing
         wanshouxigong  a city station in Beijing
         beijing        the three stations together
         embassy        the US embassy's station in Beijing
         text           aotizhongxin in words: JSON with a class for each lead
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache, partial
from typing import Any

from harness import Example, Task
from harness.data import in_folder, tell
from harness.errors import DataError, UnknownName
from tasks import _air_cmaq, _air_world
from tasks._air_cases import CLASSES, EDGES, LEADS, Periods, Site, Sites
from tasks._air_grid import Region
from tasks._air_grid_judging import metrics as field_metrics
from tasks._air_grid_judging import verify_fields
from tasks._air_grid_picture import picture
from tasks._air_judging import metrics, verify
from tasks._air_models import MODELS
from tasks._air_series import Series, read_series
from tasks._air_text import prompt as text_prompt
from tasks._settings import named, parted

__all__ = ["MODELS", "TASKS", "open_member"]

BEIJING = Periods(("2013-03-01", "2016-02-29"), ("2016-03-01", "2017-02-28"))
EMBASSY = Periods(("2010-01-01", "2013-12-31"), ("2014-01-01", "2014-12-31"))
WORLD = Periods(("2001-01-01", "2002-12-31"), ("2003-01-01", "2003-12-31"))
CMAQ_OBS = Periods(("2016-01-01", "2022-12-31"), ("2023-01-01", "2023-12-31"))
WHERE = "get the UCI sets 501 (multi-site) and 381 (embassy), put their CSV files into air/"
STATIONS: Mapping[str, Periods] = {
    "aotizhongxin": BEIJING,
    "dingling": BEIJING,
    "wanshouxigong": BEIJING,
    "us_embassy": EMBASSY,
}
MEMBERS: Mapping[str, tuple[str, ...]] = {
    "world": (),
    "world_text": (),
    "aotizhongxin": ("aotizhongxin",),
    "dingling": ("dingling",),
    "wanshouxigong": ("wanshouxigong",),
    "beijing": ("aotizhongxin", "dingling", "wanshouxigong"),
    "embassy": ("us_embassy",),
    "text": ("aotizhongxin",),
}
GRIDS: Mapping[str, tuple[int, ...]] = {"world_grid": (12, 24, 36, 48), "cmaq_obs": LEADS}
"""Leads of the members that are fields, in hours."""
DEFAULTS = {"event": "", "pollutant": "PM2.5"}


@lru_cache(maxsize=16)
def series_of(station: str, pollutant: str) -> Series:
    """A public station's series; DataError where its file is missing or cannot be used."""
    title = station.title().replace("Us_Embassy", "")
    names = [f"air/beijing_{station}_hourly.csv.gz", f"air/beijing_{station}_hourly.csv"]
    names += [f"air/PRSA_Data_{title}_*.csv"] if title else ["air/PRSA_data_2010*.csv"]
    found = read_series(in_folder(*names, where=WHERE), station, pollutant)
    tell(f"air/{station}", str(found))
    return found


@lru_cache(maxsize=16)
def sites(member: str, pollutant: str = "PM2.5") -> Sites:
    """The stations of a member; one without any value is left out and told, unless it is alone."""
    if not MEMBERS[member]:
        made = _air_world.stations()
        return Sites(member, tuple(Site(each, pollutant, WORLD) for each in made))
    found: list[Site] = []
    left_out: list[str] = []
    for station in MEMBERS[member]:
        try:
            found.append(Site(series_of(station, pollutant), pollutant, STATIONS[station]))
        except DataError as error:
            if len(MEMBERS[member]) == 1 or "no valid" not in str(error):
                raise
            left_out.append(str(error))
            tell(f"air/{station}", f"left out: {error}")
    return Sites(member, tuple(found), tuple(left_out))


@lru_cache(maxsize=4)
def region(member: str, pollutant: str = "PM2.5") -> Region:
    """The fields of a member; DataError where they are missing or cannot be used."""
    if member == "world_grid":
        grid, periods = _air_world.field(), WORLD
    else:
        grid, periods = _air_cmaq.archive(), CMAQ_OBS
        tell("air/cmaq_obs", str(grid))
    return Region(member, grid, pollutant, periods, GRIDS[member])


def open_member(name: str) -> Task:
    """The task of `aotizhongxin+event=75` and the like; UnknownName where there is none."""
    member, given = parted(name)
    if member not in (*MEMBERS, *GRIDS):
        raise UnknownName(f"airquality/{name}", "the airquality tasks", (*MEMBERS, *GRIDS))
    for key in given:
        if key not in DEFAULTS:
            raise UnknownName(key, f"the settings of airquality/{member}", DEFAULTS)
    settings = {**DEFAULTS, **given}
    pollutant = settings["pollutant"]
    if pollutant not in EDGES:
        raise UnknownName(pollutant, "the pollutants", EDGES)
    edges = [f"{edge:g}" for edge in EDGES[pollutant]]
    if settings["event"] and settings["event"] not in edges:
        raise UnknownName(settings["event"], f"the class edges of {pollutant}", edges)
    event = edges.index(settings["event"]) + 1 if settings["event"] else 2
    settings["event"] = "" if event == 2 else settings["event"]
    of = _fields if member in GRIDS else _task
    return of(member, named(member, settings, DEFAULTS), pollutant, event)


def _task(member: str, name: str, pollutant: str, event: int) -> Task:
    numeric = not member.endswith("text")
    where = partial(sites, member, pollutant)
    task = Task(
        name=f"airquality/{name}",
        version=1,
        examples=lambda split: where().examples(split),
        prompt=lambda example: where().prompt(example),
        verify=partial(verify, pollutant=pollutant, event=event, numeric=numeric),
        gold=_gold_values,
        metrics=metrics(event, numeric=numeric),
        reward={"class_reward": 1.0},
        cluster=lambda example: example.tags["block"],
        source="UCI Beijing air quality" if MEMBERS[member] else "generated",
        released="2019-09-20" if MEMBERS[member] else "",
        settings=_told(pollutant, event),
    )
    if numeric:
        return task
    return replace(
        task,
        prompt=lambda example: text_prompt(where().site(example), example, EDGES[pollutant]),
        gold=partial(_gold_words, edges=EDGES[pollutant]),
    )


def _fields(member: str, name: str, pollutant: str, event: int) -> Task:
    where, edges, leads = partial(region, member, pollutant), EDGES[pollutant], GRIDS[member]
    return Task(
        name=f"airquality/{name}",
        version=1,
        examples=lambda split: where().examples(split),
        prompt=lambda example: where().prompt(example),
        verify=lambda example, said: verify_fields(
            where().observed(example), said, leads=leads, edges=edges, event=event
        ),
        gold=lambda example: where().observed(example),
        metrics=field_metrics(leads),
        reward={"class_reward": 1.0},
        cluster=lambda example: example.tags["block"],
        picture=lambda example, said: picture(where().observed(example), said, leads, edges),
        source="generated" if member == "world_grid" else "CMAQ-OBS",
        released="" if member == "world_grid" else "2025-11-27",
        settings=_told(pollutant, event),
    )


def _told(pollutant: str, event: int) -> dict[str, Any]:
    return {
        "pollutant": pollutant,
        "event": f"> {EDGES[pollutant][event - 1]:g} ug/m3",
        "event_class": event,
    }


def _gold_values(example: Example) -> Any:
    """What was observed; NaN at leads that do not count."""
    import numpy as np

    return np.array([np.nan if y is None else y for y in example.target])


def _gold_words(example: Example, edges: tuple[float, ...]) -> str:
    """The observed classes as JSON."""
    import json

    from harness.verification import classes_of

    told = zip(LEADS, example.target, strict=True)
    found = {str(lead): y for lead, y in told if y is not None}
    numbers = classes_of(list(found.values()), edges).tolist()
    return json.dumps({lead: CLASSES[n] for lead, n in zip(found, numbers, strict=True)})


TASKS = [open_member(name) for name in (*MEMBERS, *GRIDS)]
