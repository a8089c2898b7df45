"""_air_cmaq: CMAQ-OBS (hub 2na-97/FAKER-Air) as a grid: what was observed, and the weather beside.

What is read, in any folders, unpacked or within the hub's *.tar files:
    YYYYMMDDHH_obs.npz        obs_channels (C, Y, X): PM2.5, PM10, SO2, NO2, O3, CO in this order,
                              at 0, 6, 12 and 18 h UTC; the first two are needed; 0 is no value
    YYYYMMDD_x_metcro2d.npy   (T, 33, Y, X) or (T, 33, 1, Y, X) of the same four hours: of the
                              weather model temperature, pressure, wind and height of mixing
Observations alone are targets: where the published system falls back on its model (`x_conc`), a
cell counts as missing here. The set has many gigabytes and is never fetched unasked.
"""

from __future__ import annotations

import io
import math
import os
import re
import tarfile
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from harness.data import FOLDER
from harness.digests import digest
from harness.errors import DataError
from tasks._air_grid import HOURS, Fields, Grid
from tasks._air_series import concentration_in_micrograms

HUB = "2na-97/FAKER-Air"
PLACE = "air/cmaq_obs"
OBSERVED = ("PM2.5", "PM10")
GIVEN = ("PM2.5", "PM10", "SO2", "NO2", "O3", "CO")
WEATHER = ("TEMP", "PRES", "U", "V", "PBL")
TEMPERATURE, PRESSURE, SPEED, DIRECTION, MIXING = 17, 3, 4, 16, 8
"""Of the 33 layers of a day's weather: K, Pa, m/s, degrees where the wind comes from, m."""
LAYERS = 33
PROBED = 60
"""Frames, evenly spread, that tell which cells are ever observed, and in which unit."""
CURE = (
    f"get it with `hf download {HUB} --repo-type dataset --include '*obs*' '*cmaq*'` and put the "
    f"files, packed or not, below {PLACE}/ of the folder that {FOLDER} names"
)
HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
NAME = re.compile(r"(\d{8})(\d\d)_obs\.npz|(\d{8})_x_metcro2d\.npy")


@dataclass(frozen=True)
class Place:
    """Where a file's bytes lie: a file of its own, or a part of an archive."""

    path: Path
    begin: int
    size: int

    def layers(self, name: str, key: str) -> NDArray[np.generic]:
        """The array of that key in an .npz; DataError where there is none."""
        try:
            with self.path.open("rb") as file:
                file.seek(self.begin)
                with np.load(io.BytesIO(file.read(self.size))) as found:
                    return _numbers(found[key])
        except (OSError, ValueError, EOFError, KeyError, TypeError, zipfile.BadZipFile) as error:
            raise DataError(
                f"{name} of {self.path} cannot be read as arrays with {key}: {error}; get it again"
            ) from error

    def mapped(self, name: str) -> NDArray[np.generic]:
        """The array of an .npy, of which no more is read than is looked at; DataError likewise."""
        try:
            with self.path.open("rb") as file:
                file.seek(self.begin)
                shape, fortran, kind = HEADERS[npy.read_magic(file)](file)
                begin = file.tell()
            if begin - self.begin + math.prod(shape) * kind.itemsize > self.size:
                raise ValueError(f"{shape} of {kind} does not fit into {self.size} bytes")
            order = "F" if fortran else "C"
            return _numbers(np.memmap(self.path, kind, "r", begin, shape, order))
        except (OSError, ValueError, EOFError, KeyError, TypeError) as error:
            raise DataError(
                f"{name} of {self.path} cannot be read as an array: {error}; get it again"
            ) from error


def _numbers(found: NDArray[np.generic]) -> NDArray[np.generic]:
    if found.dtype.kind not in "fiu":
        raise ValueError(f"it holds {found.dtype}, not numbers")
    return found


@lru_cache(maxsize=2)
def archive() -> Grid:
    """The set below HARNESS_DATA, or as the hub's client has stored it; DataError without it."""
    return read_archive(_folder())


def _folder() -> Path:
    given = os.environ.get(FOLDER, "")
    if given:
        if not (Path(given) / PLACE).is_dir():
            raise DataError(f"no folder {PLACE} in {FOLDER}={given}; {CURE}")
        return Path(given) / PLACE
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(HUB, repo_type="dataset", local_files_only=True))
    except Exception as error:  # the hub's client raises errors of many kinds
        raise DataError(f"{HUB} is not among the hub's files on this machine; {CURE}") from error


def read_archive(folder: Path) -> Grid:
    """All frames from the first day's to the last one's; DataError where files are not as told."""
    files = dict(sorted(_files(folder)))
    times = {_time(name): name for name in files if name.endswith("_obs.npz")}
    if not times:
        there = sorted({path.name for path in folder.rglob("*") if path.is_file()})
        raise DataError(
            f"{folder} holds no YYYYMMDDHH_obs.npz, unpacked or in a .tar; it holds "
            f"{', '.join(there[:6]) or 'nothing'}. {CURE}"
        )
    start = min(times).astype("datetime64[D]").astype("datetime64[h]")
    count = int((max(times) - start).astype(int)) // HOURS + 1
    if count > 100 * 366 * 24 // HOURS:
        raise DataError(
            f"times from {min(times)} to {max(times)}: more than a century is no archive"
        )
    reader = Reader(files, start, times)
    names = [times.get(start + number * np.timedelta64(HOURS, "h")) for number in range(count)]
    present = np.array([name is not None for name in names])
    cells = reader.probed(np.flatnonzero(present))
    weather = any(name.endswith("_x_metcro2d.npy") for name in files)
    faults = {
        "frames without a file": int((~present).sum()),
        "cells that are never observed": int((~cells).sum()),
        "files of weather": 0 if not weather else sum(n.endswith("2d.npy") for n in files),
    }
    marks = digest([[name, place.size] for name, place in files.items()])[:16]
    columns = OBSERVED + (WEATHER if weather else ())
    frame = lru_cache(maxsize=64)(reader.frame if weather else reader.observed)
    return Grid("east_asia", start, columns, frame, present, cells, faults,
                f"folder:{PLACE} {len(files)} files {marks}")  # fmt: skip


def _files(folder: Path) -> Iterator[tuple[str, Place]]:
    """Names of the known kinds, wherever they lie."""
    for path in sorted(folder.rglob("*")):
        if NAME.fullmatch(path.name) and path.is_file():
            yield path.name, Place(path, 0, path.stat().st_size)
        elif path.suffix == ".tar" and path.is_file():
            yield from _packed(path)


def _packed(path: Path) -> Iterator[tuple[str, Place]]:
    try:
        with tarfile.open(path, "r:") as packed:
            for member in packed:
                name = Path(member.name).name
                if NAME.fullmatch(name) and member.isreg():
                    yield name, Place(path, member.offset_data, member.size)
    except (tarfile.TarError, OSError, EOFError) as error:
        raise DataError(f"{path} is no whole .tar: {error}; get it again") from error


def _time(name: str) -> np.datetime64:
    day, hour = name[:8], name[8:10]
    try:
        time = np.datetime64(f"{day[:4]}-{day[4:6]}-{day[6:]}T{hour}", "h")
    except ValueError as error:
        raise DataError(f"{name}: {day} {hour} is no time, YYYYMMDDHH") from error
    if int(hour) % HOURS:
        raise DataError(f"{name} stands between the hours 00, 06, 12 and 18")
    return time


@dataclass(frozen=True, eq=False)
class Reader:
    """Reads frames of files by their number."""

    files: Mapping[str, Place]
    start: np.datetime64
    times: Mapping[np.datetime64, str]

    def observed(self, number: int) -> Fields:
        """(2, Y, X) PM2.5 and PM10 in ug/m3."""
        name = self.times[self.start + number * np.timedelta64(HOURS, "h")]
        found = self.files[name].layers(name, "obs_channels")
        if found.ndim != 3 or len(found) < len(OBSERVED):
            raise DataError(
                f"obs_channels of {name} is {found.shape}; (C, Y, X) is expected, with the layers "
                f"{', '.join(GIVEN)} in this order, of which the first two are needed"
            )
        values = found[: len(OBSERVED)].astype(np.float32)
        return np.where(np.isfinite(values) & (values > 0), values, np.float32(np.nan))

    def frame(self, number: int) -> Fields:
        """(C, Y, X) with the weather; NaN where its file is missing."""
        observed = self.observed(number)
        day = self.start + number * np.timedelta64(HOURS, "h")
        name = str(day.astype("datetime64[D]")).replace("-", "") + "_x_metcro2d.npy"
        shape = observed.shape[1:]
        if name not in self.files:
            return np.concatenate([observed, np.full((len(WEATHER), *shape), np.nan, np.float32)])
        found = self.files[name].mapped(name)
        found = found[:, :, 0] if found.ndim == 5 else found
        hour = int((day - day.astype("datetime64[D]")).astype(int)) // HOURS
        if found.ndim != 4 or len(found) <= hour or found.shape[1:] != (LAYERS, *shape):
            raise DataError(
                f"{name} is {found.shape}; (T, {LAYERS}, {shape[0]}, {shape[1]}) is expected, T at "
                f"least {hour + 1}: an entry every {HOURS} h on the grid of the observations"
            )
        return np.concatenate([observed, _weather(found[hour])])

    def probed(self, numbers: NDArray[np.intp]) -> NDArray[np.bool_]:
        """(Y, X) cells of which anything was observed in some frames.

        DataError where frames differ in size, hold nothing, or cannot be in ug/m3.
        """
        chosen = numbers[np.linspace(0, len(numbers) - 1, min(PROBED, len(numbers))).astype(int)]
        frames = [self.observed(int(number)) for number in chosen]
        shapes = {frame.shape[1:] for frame in frames}
        if len(shapes) > 1:
            raise DataError(f"the frames of the observations differ in size: {sorted(shapes)}")
        layers = np.stack(frames)
        for place, name in enumerate(OBSERVED):
            concentration_in_micrograms(
                layers[:, place], name, f"obs_channels[{place}]", "Convert it"
            )
        cells = np.asarray(~np.isnan(layers[:, 0]).all(axis=0))
        if not cells.any():
            raise DataError(f"no PM2.5 at all in {len(frames)} frames of the observations")
        return cells


def _weather(layers: NDArray[np.generic]) -> Fields:
    """(33, Y, X) to WEATHER: degrees C, hPa, m/s to the east and to the north, m."""
    kelvin, pascal, speed, degrees, mixing = (
        np.asarray(layers[n], np.float32) for n in (TEMPERATURE, PRESSURE, SPEED, DIRECTION, MIXING)
    )
    angle = np.deg2rad(degrees)
    east, north = -speed * np.sin(angle), -speed * np.cos(angle)
    return np.stack([kelvin - 273.15, pascal / 100, east, north, mixing]).astype(np.float32)
