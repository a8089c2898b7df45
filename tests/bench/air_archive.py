"""A ten-year archive of a hundred stations: how long, and how much memory? `make bench-air`.

Generated: 3,652 days, 100 stations, 4 leads, observations and forecasts in ug/m3 with gaps. Judged:
every event score by lead, by station and by month, four classes, and 1,000 bootstrap draws over
blocks of five days for every score and lead.
"""

from __future__ import annotations

import json
import resource
import time

import numpy as np

from tasks._air_archive import Archive, verified

DAYS, STATIONS, LEADS = 3652, 100, (48, 72, 96, 120)


def archive(seed: int = 0) -> Archive:
    """Lognormal concentrations with a memory; forecasts that know a part of them."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=(DAYS, STATIONS)).astype(np.float32)
    level = np.empty_like(noise)
    level[0] = noise[0]
    for day in range(1, DAYS):
        level[day] = 0.6 * level[day - 1] + 0.8 * noise[day]
    observed = np.exp(3.4 + 0.8 * level)
    forecast = np.stack(
        [np.exp(3.4 + 0.5 * level + 0.6 * rng.normal(size=level.shape)) for _ in LEADS]
    ).astype(np.float32)
    observed[rng.random(observed.shape) < 0.03] = np.nan
    first = np.datetime64("2011-01-01")
    return Archive(forecast, observed, LEADS, first)


def main() -> None:
    """Prints seconds, peak memory and a few scores."""
    start = time.perf_counter()
    made = archive()
    generated = time.perf_counter() - start
    start = time.perf_counter()
    found = verified(made, edges=(15, 35, 75), event=2)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    shown = {name: found["lead"]["48"][name] for name in ("pod", "far_ratio", "pofd", "pss")}
    told = {"generated_s": generated, "seconds": seconds, "peak_gb": peak, "at 48 h": shown}
    told["pairs"] = found["pairs"]
    print(json.dumps(told, indent=1))


if __name__ == "__main__":
    main()
