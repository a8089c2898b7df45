"""airquality: worked numbers, the baselines' table, hostile files, no look into the future."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from harness import Completion, Example, Rollout, registry
from harness.contracts import measure
from harness.errors import DataError, UnknownName
from harness.play import play, rows
from tasks import _air_world, airquality
from tasks._air_cases import HISTORY, LEADS, Periods, Site
from tasks._air_judging import verify
from tasks._air_series import CHANNELS, Series, read_series

public = pytest.mark.skipif(not os.environ.get("HARNESS_DATA"), reason="HARNESS_DATA is not set")


def measured(name: str, model: str) -> dict[str, float]:
    """Every metric of a baseline on the test split."""
    task = registry.task(f"airquality/{name}")
    answering = registry.task_models(task.name)[model](task, "test", None)
    asked = [task.prompt(example) for example in task.examples("test")]
    found = [each for each in play(task, asked, answering) if isinstance(each, Rollout)]
    assert len(found) == len(asked)
    judged = rows(found, [prompt.example.id for prompt in asked])
    return {m.name: round(measure(m, judged), 4) for m in task.metrics if m.needs == 1}


# Station, event, forecast, lead, then POD, far_ratio, pofd, CSI, F1 and PSS.
TABLE = [
    ("aotizhongxin", "35", "persistence", 48, 0.7213, 0.2787, 0.6476, 0.5641, 0.7213, 0.0737),
    ("aotizhongxin", "35", "persistence", 120, 0.6885, 0.3086, 0.7143, 0.5266, 0.6899, -0.0258),
    ("aotizhongxin", "35", "always", 48, 1.0, 0.3025, 1.0, 0.6975, 0.8218, 0.0),
    ("aotizhongxin", "75", "persistence", 48, 0.4255, 0.5714, 0.3846, 0.2715, 0.4270, 0.0409),
    ("aotizhongxin", "75", "climatology", 48, 0.8601, 0.5376, 0.6682, 0.4301, 0.6015, 0.1919),
    ("dingling", "35", "persistence", 48, 0.6089, 0.3971, 0.5510, 0.4346, 0.6059, 0.0579),
    ("dingling", "75", "persistence", 48, 0.3942, 0.6204, 0.2735, 0.2398, 0.3868, 0.1208),
    ("dingling", "75", "persistence", 120, 0.3010, 0.7048, 0.3045, 0.1751, 0.2981, -0.0036),
]


@public
@pytest.mark.parametrize("row", TABLE, ids=lambda row: "-".join(map(str, row[:4])))
def test_the_table_of_baselines(row: tuple[str, str, str, int, float]):
    station, event, model, lead, *wanted = row
    found = measured(f"{station}+event={event}", model)
    names = ("pod", "far_ratio", "pofd", "csi", "f1", "pss")
    assert [found[f"{name}@{lead}h"] for name in names] == wanted


@public
@pytest.mark.parametrize(
    ("station", "accuracy", "macro_f1"),
    [("aotizhongxin", 0.3181, 0.2591), ("dingling", 0.3037, 0.2951)],
)
def test_four_classes_of_persistence(station: str, accuracy: float, macro_f1: float):
    found = measured(station, "persistence")
    assert (found["accuracy@48h"], found["macro_f1@48h"]) == (accuracy, macro_f1)


def test_never_and_always_have_no_skill():
    for model, pod in (("never", 0.0), ("always", 1.0)):
        found = measured("world", model)
        assert (found["pss"], found["pod"], found["pofd"]) == (0.0, pod, pod)
        assert np.isnan(found["sedi"])


# -- one forecast


def an_example(*observed: float | None, known: bool = True) -> Example:
    return Example("a", {"station": "s", "issued": "2016-03-01", "known": known}, list(observed))


def verdict(example: Example, output: object, event: int = 2, *, numeric: bool = True):
    return verify(
        example, Completion(output), pollutant="PM2.5", event=event, numeric=numeric
    )  # fmt: skip


def test_the_class_reward_by_hand():
    """Right, false alarm at the edge of the event (35 is moderate), miss, right."""
    found = verdict(an_example(10.0, 35.0, 80.0, 60.0), np.array([12.0, 36.0, 75.0, 40.0]))
    assert found.scores["class_reward"] == pytest.approx((1 - 0.1 + 0 + 1) / 4)
    assert [found.scores[f"class@{lead}h"] for lead in LEADS] == [0, 2, 2, 2]
    assert [found.scores[f"observed_class@{lead}h"] for lead in LEADS] == [0, 1, 3, 2]


def test_a_lead_without_forecast_is_a_wrong_class_and_never_dropped():
    found = verdict(an_example(10.0, 40.0, 80.0, None), np.array([np.nan, -5.0]))
    assert found.scores["abstained"] == 0
    assert [found.scores[f"class@{lead}h"] for lead in LEADS] == [-1] * 4
    table = _pooled(found)
    assert table == [0, 1, 2, 0]


def test_where_nothing_was_known_a_forecaster_may_abstain():
    found = verdict(an_example(10.0, 40.0, 80.0, None, known=False), np.full(4, np.nan))
    assert found.scores["abstained"] == 3
    assert _pooled(found) == [0, 0, 0, 0]


def _pooled(found: object) -> list[float]:
    from tasks._air_judging import event_counts

    return event_counts([found], 2, LEADS)  # type: ignore[list-item]


@pytest.mark.parametrize(
    ("said", "reason", "classes"),
    [
        ('{"48": "bad", "72": "good", "96": "very bad", "120": "moderate"}', "wrong", [2, 0, 3, 1]),
        ('{"48": "good", "72": "bad", "96": "very bad"}', "ok", [0, 2, 3, -1]),
        ('{"48": "awful", "72": "bad"}', "wrong", [-1, 2, -1, -1]),
        ('{"48": "bad", "48": "good"}', "bad_format", [-1] * 4),
        ('I say {"48": "bad"}', "bad_format", [-1] * 4),
        ('{"48": "bad", "24": "good"}', "bad_format", [2, -1, -1, -1]),
        ("", "no_answer", [-1] * 4),
        ("[" * 3000, "bad_format", [-1] * 4),
    ],
)
def test_words_are_read_strictly(said: str, reason: str, classes: list[int]):
    found = verdict(an_example(10.0, 40.0, 80.0, None), said, numeric=False)
    assert found.reason == reason
    assert [found.scores[f"class@{lead}h"] for lead in LEADS] == classes


def test_settings_are_part_of_the_name_and_unknown_ones_are_refused():
    assert registry.task("airquality/world+event=75").name == "airquality/world+event=75"
    assert registry.task("airquality/world+event=35").name == "airquality/world"
    for wrong in ("world+event=40", "world+pollutant=O3", "world+x=1", "nowhere+event=75"):
        with pytest.raises(UnknownName):
            registry.task(f"airquality/{wrong}")


# -- no look into the future


def test_poisoning_the_future_changes_no_prompt():
    """All that is younger than the issue day is set to nonsense: the prompt stays to the bit.

    But for the first five days of the test, whose climate is that of the whole training period,
    which ends after their issue day: there the history stays.
    """
    clean = _air_world.stations()[0]
    periods = airquality.WORLD
    site = Site(clean, "PM2.5", periods)
    cases = site.cases("test")
    for place in (0, 1, 2, 3, 4, 5, 150, -1):
        day = cases[place]
        poisoned = clean.values.copy()
        poisoned[24 * (day + 1) :] = 1e6
        later = Site(Series(clean.station, clean.start, poisoned, {}), "PM2.5", periods)
        issued = str(clean.first_day + day)
        one, other = site.content(issued), later.content(issued)
        trained = issued < periods.train[1]
        for name in ["history"] if trained else one:
            np.testing.assert_array_equal(one[name], other[name], err_msg=name)
        assert one["history"].shape == (HISTORY, len(CHANNELS))
    assert str(clean.first_day + cases[4]) >= periods.train[1]


def test_climate_comes_from_the_training_period_alone():
    clean = _air_world.stations()[0]
    first_test = int((np.datetime64(airquality.WORLD.test[0]) - clean.first_day).astype(int))
    poisoned = clean.values.copy()
    poisoned[24 * first_test :] = 1e6
    one, other = (
        Site(Series("s", clean.start, values, {}), "PM2.5", airquality.WORLD)
        for values in (clean.values, poisoned)
    )
    np.testing.assert_array_equal(one.normals, other.normals)
    np.testing.assert_array_equal(one.scales, other.scales)


def test_no_target_belongs_to_two_splits_and_dev_has_an_embargo():
    splits = Periods(("2001-01-01", "2001-12-31"), ("2002-01-01", "2002-03-01")).splits(
        np.datetime64("2001-01-01"), 450
    )
    dev = np.flatnonzero(splits == "dev")
    train = np.flatnonzero(splits == "train")
    assert dev[0] == 90
    assert np.abs(dev[:, None] - train[None]).min() > 5
    assert train.max() == 364 - 5
    assert (splits[365:425] == "test").all()
    assert (splits[425:] == "").all()


# -- bad files

HEADER = "time,PM2.5,PM10,TEMP"


def rows_of(days: int = 4) -> list[str]:
    start = np.datetime64("2020-01-01T00", "h")
    return [f"{start + hour}:00,{40 + hour % 24},60,3" for hour in range(24 * days)]


def a_file(folder: Path, lines: list[str], header: str = HEADER) -> Path:
    path = folder / "station.csv"
    path.write_text("\n".join([header, *lines]) + "\n")
    return path


def dropped(lines: list[str]) -> list[str]:
    return lines[:30] + lines[35:]


def repeated(lines: list[str]) -> list[str]:
    return [*lines[:10], lines[9], *lines[10:]]


def contradicted(lines: list[str]) -> list[str]:
    return [*lines[:10], lines[9].replace(",49,", ",480,"), *lines[10:]]


def shuffled(lines: list[str]) -> list[str]:
    return [lines[1], lines[0], *lines[2:]]


def negative(lines: list[str]) -> list[str]:
    return [lines[0].replace(",40,", ",-999,"), *lines[1:]]


def scrawled(lines: list[str]) -> list[str]:
    return [lines[0].replace(",40,", ",calm,"), lines[1].replace(",41,", ",inf,"), *lines[2:]]


@pytest.mark.parametrize(
    ("mangle", "told", "missing"),
    [
        (dropped, {"hours that are not in the file": 5}, 5),
        (repeated, {"repeats of an hour": 1}, 0),
        (contradicted, {"repeats of an hour": 1, "values masked since an hour has several": 1}, 1),
        (shuffled, {"rows out of order": 1}, 0),
        (negative, {"negative values of PM2.5": 1}, 1),
        (scrawled, {"unreadable cells of PM2.5": 1, "infinite values of PM2.5": 1}, 2),
    ],
)
def test_what_can_be_mended_is_masked_and_counted(
    tmp_path: Path, mangle: Callable[[list[str]], list[str]], told: dict[str, int], missing: int
):
    found = read_series(a_file(tmp_path, mangle(rows_of())), "s")
    faults = {name: count for name, count in found.faults.items() if count}
    assert faults.pop("missing hours of PM2.5", 0) == missing
    assert faults == told
    assert found.values.shape == (96, len(CHANNELS))
    for name, count in told.items():
        assert f"{count} {name}" in str(found)


def test_zones_are_moved_and_units_are_converted(tmp_path: Path):
    zoned = [line.replace(":00,", ":00Z,", 1) for line in rows_of()]
    moved = read_series(a_file(tmp_path, zoned), "s")
    assert moved.faults["times moved to UTC+8"] == 96
    assert np.isnan(moved.values[:8, 0]).all()
    assert moved.values[8, 0] == 40
    small = [f"{line.split(',')[0]},0.04,0.06,3" for line in rows_of()]
    header = "time,PM2.5 (mg/m3),PM10 [mg/m³],TEMP"
    found = read_series(a_file(tmp_path, small, header), "s")
    assert found.values[0, :2].tolist() == [40, 60]
    assert found.faults["values of PM2.5 converted from mg/m3"] == 96


@pytest.mark.parametrize(
    ("lines", "header", "words"),
    [
        ([f"{r.split(',')[0]},0.04,60,3" for r in rows_of()], HEADER, "mg/m3"),
        ([f"{r.split(',')[0]},40000,60,3" for r in rows_of()], HEADER, "ng/m3"),
        ([f"{r.split(',')[0]},,60,3" for r in rows_of()], HEADER, "no valid PM2.5"),
        ([rows_of()[0].replace("T00:00", "T00:30"), *rows_of()[1:]], HEADER, "between the hours"),
        ([rows_of()[0].replace(":00,", ":00Z,", 1), *rows_of()[1:]], HEADER, "with a zone"),
        (["yesterday,1,2,3"], HEADER, "no time"),
        (rows_of(), "time,CO2,PM10,TEMP", "no column PM2.5"),
        (rows_of(), "time,PM2.5 (ppm),PM10,TEMP", "'ppm'"),
        (rows_of(), "when,PM2.5,PM10,TEMP", "no column time"),
        ([], HEADER, "no rows"),
        (["0020-01-01T00:00,1,2,3", "2020-01-01T00:00,1,2,3"], HEADER, "century"),
    ],
)
def test_what_cannot_be_mended_is_refused_with_its_reason(
    tmp_path: Path, lines: list[str], header: str, words: str
):
    with pytest.raises(DataError, match=words):
        read_series(a_file(tmp_path, lines, header), "s")


def test_a_damaged_archive_and_an_absent_one_say_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    whole = gzip.compress("\n".join([HEADER, *rows_of()]).encode())
    path = tmp_path / "cut.csv.gz"
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="cannot be read"):
        read_series(path, "s")
    monkeypatch.setenv("HARNESS_DATA", str(tmp_path))
    airquality.series_of.cache_clear()
    with pytest.raises(DataError, match="no file air/beijing_dingling"):
        airquality.series_of("dingling", "PM2.5")


def test_a_station_without_values_is_left_out_of_several(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    folder = tmp_path / "air"
    folder.mkdir()
    for station in ("aotizhongxin", "dingling", "wanshouxigong"):
        lines = [f"{r.split(',')[0]},{'' if station == 'dingling' else 40},60,3" for r in rows_of()]
        (folder / f"beijing_{station}_hourly.csv").write_text("\n".join([HEADER, *lines]))
    monkeypatch.setenv("HARNESS_DATA", str(tmp_path))
    for cached in (airquality.series_of, airquality.sites):
        cached.cache_clear()
    found = airquality.sites("beijing")
    assert [site.series.station for site in found.sites] == ["aotizhongxin", "wanshouxigong"]
    assert "no valid PM2.5" in found.left_out[0]
    from harness.data import origins

    assert origins()["air/dingling"].startswith("left out")
    for cached in (airquality.series_of, airquality.sites):
        cached.cache_clear()


def test_downloads_of_the_uci_sets_are_read_as_they_are(tmp_path: Path):
    header = "No,year,month,day,hour,PM2.5,PM10,SO2,NO2,CO,O3,TEMP,PRES,DEWP,RAIN,wd,WSPM,station"
    lines = [
        f"{n},2013,3,{1 + n // 24},{n % 24},4,{n},3,7,300,77,-0.7,1023,-18.8,0,NNW,4.4,A"
        for n in range(48)
    ]
    found = read_series(a_file(tmp_path, lines, header), "a")
    assert found.days == 2
    assert found.values[25, CHANNELS.index("PM10")] == 25
    north = found.values[0, CHANNELS.index("WIND_NORTH")]
    assert north == pytest.approx(np.cos(np.pi / 8))


def test_the_text_form_tells_no_answer_and_gold_is_json():
    task = registry.task("airquality/world_text")
    example = task.examples("train")[40]
    text = task.prompt(example).messages[0].content
    assert "Daily means of the last 7 days" in text
    told = json.loads(task.gold(example))
    assert set(told) <= {str(lead) for lead in LEADS}
    assert example.inputs["issued"] in text
