"""Fields of airquality: worked tables, splits, no look into the future, and files of CMAQ-OBS."""

from __future__ import annotations

import base64
import io
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness import Completion, Rollout, registry
from harness.contracts import measure
from harness.errors import DataError
from harness.pictures import held
from harness.play import play, rows
from tasks import _air_cmaq, _air_world, airquality
from tasks._air_cases import Periods
from tasks._air_cmaq import read_archive
from tasks._air_grid import FRAMES, Grid, Region
from tasks._air_grid_judging import confusion, contingency, verify_fields
from tasks._air_judging import verify

LEADS = (12, 24)
EDGES = (15.0, 35.0, 75.0)


def verdict(observed: Any, said: Any, *, event: int = 2) -> Any:
    return verify_fields(
        np.asarray(observed, float), Completion(said), leads=LEADS, edges=EDGES, event=event
    )


# -- one forecast

OBSERVED = np.array([[[10, 20], [40, 80]], [[35, np.nan], [np.nan, np.nan]]])
SAID = np.array([[[12.0, 40], [50, 30]], [[36, 900], [0, 0]]])


def test_fields_are_judged_by_hand():
    """12 h: right, false alarm, right, miss. 24 h: a false alarm at the edge, since 35 is below."""
    found = verdict(OBSERVED, SAID)
    names = ("hits", "false_alarms", "misses", "correct_negatives", "right")
    assert [found.scores[f"{name}@12h"] for name in names] == [1, 1, 1, 1, 2]
    assert [found.scores[f"{name}@24h"] for name in names] == [0, 1, 0, 0, 0]
    assert found.scores["class_reward"] == pytest.approx(((2 - 0.1) / 4 - 0.1) / 2)
    assert found.scores["error@12h"] == pytest.approx((2 + 20 + 10 + 50) / 4)
    assert found.answer[1][1][2] == 1
    assert verdict(OBSERVED, OBSERVED).reason == "ok"


def test_a_cell_without_forecast_is_a_wrong_class_and_one_without_observation_counts_nowhere():
    found = verdict(OBSERVED, np.full((1, 2, 2), np.nan))
    assert found.reason == "no_answer"
    assert [found.scores[f"{n}@12h"] for n in ("hits", "false_alarms", "misses")] == [0, 2, 2]
    assert found.scores["error@12h"] == found.scores["error@24h"] == -1
    assert np.array(found.answer).sum() == 5


@pytest.mark.parametrize(
    "said",
    ["fog", [[1, 2]], np.ones((3, 2, 2)), np.ones((2, 2, 3)), {}, np.ones((2, 2, 2), complex)],
)
def test_what_is_no_field_is_told_so(said: Any):
    assert verdict(OBSERVED, said).reason == "bad_format"


def test_a_field_of_one_cell_is_judged_as_a_station_is():
    """Scores of both families, from the same series, by two ways."""
    rng = np.random.default_rng(3)
    from harness import Example

    for _ in range(50):
        observed, said = rng.uniform(0, 110, (2, 4))
        observed[rng.random(4) < 0.2] = np.nan
        said[rng.random(4) < 0.2] = np.nan
        target = [None if np.isnan(y) else float(y) for y in observed]
        station = verify(
            Example("a", {"known": True}, target), Completion(said),
            pollutant="PM2.5", event=2, numeric=True,
        )  # fmt: skip
        field = verify_fields(
            observed[:, None, None], Completion(said[:, None, None]),
            leads=(48, 72, 96, 120), edges=EDGES, event=2,
        )  # fmt: skip
        assert field.scores["class_reward"] == pytest.approx(station.scores["class_reward"])
        told = sum(field.scores[f"{n}@48h"] for n in ("hits", "misses"))
        assert told == float(station.scores["observed_class@48h"] >= 2)


def test_tables_agree_with_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(1)
    said, seen = rng.integers(0, 4, (2, 500))
    table = confusion(said, seen)
    np.testing.assert_array_equal(table[:, :4], metrics.confusion_matrix(seen, said))
    quiet, false, miss, hit = metrics.confusion_matrix(seen >= 2, said >= 2).ravel()
    assert contingency(table, 2) == [hit, false, miss, quiet]


def test_a_picture_shows_forecast_above_observation():
    pillow = pytest.importorskip("PIL.Image")
    task = registry.task("airquality/world_grid")
    example = task.examples("dev")[0]
    observed = task.gold(example)
    assert task.picture is not None
    for said, same in ((observed, True), (np.full_like(observed, 900.0), False), ("fog", False)):
        shown = held(task.picture(example, Completion(said)))
        assert shown["image"], "no image that a page shows"
        data = base64.b64decode(shown["image"].partition(",")[2])
        image = np.asarray(pillow.open(io.BytesIO(data)))
        assert image.shape == (shown["height"], shown["width"], 3)
        half = (int(shown["height"]) - 8) // 2
        assert np.array_equal(image[:half], image[-half:]) == same
        assert "Forecast above" in shown["caption"]


# -- the generated world


def test_the_baselines_of_the_world():
    """Skill falls with the lead, and is none for an alarm everywhere."""
    task = registry.task("airquality/world_grid")
    asked = [task.prompt(example) for example in task.examples("dev")[::4]]
    found: dict[str, dict[str, float]] = {}
    for name in ("persistence", "always"):
        model = registry.task_models(task.name)[name](task, "dev", None)
        made = [each for each in play(task, asked, model) if isinstance(each, Rollout)]
        assert len(made) == len(asked)
        judged = rows(made, [prompt.example.id for prompt in asked])
        found[name] = {m.name: measure(m, judged) for m in task.metrics if m.needs == 1}
    skill = [found["persistence"][f"pss@{lead}h"] for lead in (12, 24, 36, 48)]
    assert skill[0] > 0.5 > 0 < skill[-1] < skill[0]
    assert (found["always"]["pss"], found["always"]["pod"]) == (0.0, 1.0)
    assert 0.05 < found["always"]["base_rate"] < 0.5


def test_poisoning_the_future_changes_no_prompt():
    """All frames younger than the issue time are set to nonsense: the prompt stays to the bit.

    But for the first test days, whose climate is that of the whole training period, which ends
    after their issue time: there the history stays.
    """
    clean = _air_world.field()
    frames = np.stack([clean.frame(n) for n in range(len(clean.present))])
    asked = airquality.region("world_grid").examples("test")
    for place in (0, 1, 100, -1):
        issued = asked[place].inputs["issued"]
        poisoned = frames.copy()
        poisoned[clean.number(issued) + 1 :] = 1e6
        later = Grid(clean.name, clean.start, clean.columns, poisoned.__getitem__,
                     clean.present, clean.cells, {})  # fmt: skip
        one, other = (
            Region("world_grid", grid, "PM2.5", airquality.WORLD, (12, 48)).content(issued)
            for grid in (clean, later)
        )
        trained = issued[:10] < airquality.WORLD.train[1]
        for name in ["history"] if trained else one:
            np.testing.assert_array_equal(one[name], other[name], err_msg=name)
        assert one["history"].shape == (FRAMES, 7, 16, 16)
        np.testing.assert_array_equal(
            one["history"][-1], frames[clean.number(issued)], err_msg="the newest frame"
        )
    assert asked[100].inputs["issued"][:10] >= airquality.WORLD.train[1]


def test_an_example_has_all_its_targets_in_its_split():
    found = airquality.region("world_grid")
    seen: dict[str, set[str]] = {}
    for split in ("train", "dev", "test"):
        for example in found.examples(split):
            issue = found.grid.number(example.inputs["issued"])
            days = {str(found.days[issue + lead // 6]) for lead in found.leads}
            seen.setdefault(split, set()).update(days)
    assert not seen["train"] & seen["dev"]
    assert not (seen["train"] | seen["dev"]) & seen["test"]
    assert min(seen["test"]) >= airquality.WORLD.test[0]


def test_the_world_of_the_stations_is_what_it_was():
    fields, _ = _air_world.world(20)
    assert fields.shape == (160, 12, 12)
    assert fields[100, 3, 4] == pytest.approx(138.6099428, rel=1e-6)


# -- CMAQ-OBS: files of its layout, made here

PERIODS = Periods(("2016-01-01", "2016-01-08"), ("2016-01-09", "2016-01-16"))
SHAPE = (5, 7)


def observations(number: int) -> np.ndarray:
    rng = np.random.default_rng(number)
    values = np.exp(rng.normal(3, 0.5, (6, *SHAPE)))
    values[:, 0, :3] = 0  # no station near
    return values.astype(np.float32)


def day_and_hour(number: int) -> tuple[str, str]:
    time = np.datetime64("2016-01-01T00", "h") + 6 * number
    return str(time)[:10].replace("-", ""), str(time)[11:13]


def written(folder: Path, frames: int = 64, *, weather: bool = True) -> Path:
    """The unpacked layout: obs_npz_27km/ and cmaq_only_npy/YYYY/MM/DD/NIER_27_01/."""
    for number in range(frames):
        day, hour = day_and_hour(number)
        place = folder / "obs_npz_27km" / f"{day}{hour}_obs.npz"
        place.parent.mkdir(parents=True, exist_ok=True)
        np.savez(place, obs_channels=observations(number))
        if weather and hour == "00":
            place = folder / "cmaq_only_npy" / day[:4] / day[4:6] / day[6:] / "NIER_27_01"
            place.mkdir(parents=True)
            layers = np.ones((5, 33, 1, *SHAPE), np.float32)
            layers[:, 17], layers[:, 3], layers[:, 4], layers[:, 16] = 283.15, 101325, 2, 90
            np.save(place / f"{day}_x_metcro2d.npy", layers)
    return folder


def test_files_of_the_layout_become_frames(tmp_path: Path):
    grid = read_archive(written(tmp_path))
    assert grid.columns == ("PM2.5", "PM10", "TEMP", "PRES", "U", "V", "PBL")
    assert grid.present.tolist() == [True] * 64
    assert grid.faults["cells that are never observed"] == 3
    assert not grid.cells[0, :3].any()
    assert grid.cells[0, 3:].all()
    frame = grid.frame(6)
    np.testing.assert_array_equal(frame[:2, 1:], observations(6)[:2, 1:])
    assert np.isnan(frame[:2, 0, :3]).all()
    assert frame[2:, 2, 2] == pytest.approx([10, 1013.25, -2, 0, 1], abs=1e-5)
    assert "64 frames of 5 x 7 cells" in str(grid)


def test_packed_and_unpacked_files_are_read_alike(tmp_path: Path):
    plain = read_archive(written(tmp_path / "plain", 12))
    packed = tmp_path / "packed" / "data" / "packed_obs"
    packed.mkdir(parents=True)
    with tarfile.open(packed / "2016.tar", "w") as archive:
        for path in sorted((tmp_path / "plain").rglob("*.np*")):
            archive.add(path, path.relative_to(tmp_path / "plain"))
    found = read_archive(tmp_path / "packed")
    for number in range(12):
        np.testing.assert_array_equal(found.frame(number), plain.frame(number))
    assert found.origin == plain.origin


def test_a_region_of_it_is_asked_about_and_missing_files_are_left_out_and_counted(tmp_path: Path):
    written(tmp_path, weather=False)
    (tmp_path / "obs_npz_27km" / "2016010406_obs.npz").unlink()
    (tmp_path / "obs_npz_27km" / "2016011218_obs.npz").unlink()
    grid = read_archive(tmp_path)
    assert grid.columns == ("PM2.5", "PM10")
    assert grid.faults["frames without a file"] == 2
    region = Region("cmaq_obs", grid, "PM2.5", PERIODS, (48, 72, 96, 120))
    asked = region.examples("test")
    assert asked
    assert "2016-01-12T18" not in {e.inputs["issued"] for e in asked}
    content = region.content("2016-01-05T18")
    assert np.isnan(content["history"][1]).all()
    assert np.isfinite(content["normal"][:, grid.cells]).all()
    observed = region.observed(asked[0])
    assert observed.shape == (4, *SHAPE)
    assert np.isnan(observed[:, 0, :3]).all()
    for example in asked:
        said = verify_fields(observed, Completion(observed), leads=region.leads,
                             edges=EDGES, event=2)  # fmt: skip
        assert said.scores["class_reward"] == 1.0, example.id


def test_an_archive_without_the_training_period_says_so(tmp_path: Path):
    grid = read_archive(written(tmp_path, 64, weather=False))
    later = Periods(("2014-01-01", "2015-12-31"), ("2016-01-03", "2016-01-16"))
    region = Region("cmaq_obs", grid, "PM2.5", later, (48,))
    with pytest.raises(DataError, match="no frame from 2014-01-01 to 2015-12-31"):
        region.prompt(region.examples("test")[0])


def with_hour(folder: Path) -> None:
    np.savez(folder / "obs_npz_27km" / "2016010103_obs.npz", obs_channels=observations(0))


def with_date(folder: Path) -> None:
    np.savez(folder / "obs_npz_27km" / "2016130106_obs.npz", obs_channels=observations(0))


def cut(folder: Path) -> None:
    path = folder / "obs_npz_27km" / "2016010106_obs.npz"
    path.write_bytes(path.read_bytes()[:200])


def without_key(folder: Path) -> None:
    np.savez(folder / "obs_npz_27km" / "2016010106_obs.npz", channels=observations(0))


def of_one_layer(folder: Path) -> None:
    np.savez(folder / "obs_npz_27km" / "2016010106_obs.npz", obs_channels=observations(0)[0])


def of_another_size(folder: Path) -> None:
    np.savez(folder / "obs_npz_27km" / "2016010106_obs.npz", obs_channels=np.ones((6, 3, 3)))


def of_objects(folder: Path) -> None:
    np.savez(folder / "obs_npz_27km" / "2016010106_obs.npz",
             obs_channels=np.array([{}], dtype=object))  # fmt: skip


def in_milligrams(folder: Path) -> None:
    for number in range(8):
        day, hour = day_and_hour(number)
        np.savez(folder / "obs_npz_27km" / f"{day}{hour}_obs.npz",
                 obs_channels=observations(number) / 1000)  # fmt: skip


def silent(folder: Path) -> None:
    for path in (folder / "obs_npz_27km").iterdir():
        np.savez(path, obs_channels=np.zeros((6, *SHAPE)))


def torn(folder: Path) -> None:
    (folder / "2017.tar").write_bytes(b"no archive" * 100)


def empty(folder: Path) -> None:
    for path in (folder / "obs_npz_27km").iterdir():
        path.unlink()


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (with_hour, "2016010103_obs.npz stands between the hours"),
        (with_date, "20161301 06 is no time"),
        (cut, "2016010106_obs.npz of .* cannot be read"),
        (without_key, "with obs_channels"),
        (of_one_layer, r"\(5, 7\); \(C, Y, X\) is expected"),
        (of_another_size, "differ in size"),
        (of_objects, "cannot be read"),
        (in_milligrams, r"may be one in mg/m3"),
        (silent, "no PM2.5 at all"),
        (torn, "is no whole .tar"),
        (empty, "holds no YYYYMMDDHH_obs.npz"),
    ],
)
def test_what_is_not_as_expected_is_named(
    tmp_path: Path, spoil: Callable[[Path], None], words: str
):
    spoil(written(tmp_path, 8, weather=False))
    with pytest.raises(DataError, match=words):
        read_archive(tmp_path)


def test_weather_of_another_form_is_named(tmp_path: Path):
    written(tmp_path, 8)
    path = next(tmp_path.rglob("20160102_x_metcro2d.npy"))
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(DataError, match=r"20160102_x_metcro2d\.npy of .* does not fit into 5000"):
        read_archive(tmp_path).frame(5)
    path = next(tmp_path.rglob("20160101_x_metcro2d.npy"))
    buffer = io.BytesIO()
    np.save(buffer, np.ones((5, 20, *SHAPE), np.float32))
    path.write_bytes(buffer.getvalue())
    with pytest.raises(DataError, match=r"\(5, 20, 5, 7\); \(T, 33, 5, 7\) is expected"):
        read_archive(tmp_path).frame(1)


def test_a_folder_without_the_set_says_where_it_is_to_be_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("HARNESS_DATA", str(tmp_path))
    _air_cmaq.archive.cache_clear()
    airquality.region.cache_clear()
    with pytest.raises(DataError, match="hf download 2na-97/FAKER-Air"):
        registry.task("airquality/cmaq_obs").examples("test")
    written(tmp_path / "air" / "cmaq_obs", 8, weather=False)
    task = registry.task("airquality/cmaq_obs")
    assert task.examples("test") == ()
    from harness.data import origins

    assert "8 frames of 5 x 7 cells" in origins()["air/cmaq_obs"]
    _air_cmaq.archive.cache_clear()
    airquality.region.cache_clear()
