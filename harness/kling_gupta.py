"""kling_gupta: the Kling-Gupta efficiency of a simulated series, in its two forms, with its parts.

r      correlation of simulation s and observation o
alpha  std(s) / std(o)
beta   mean(s) / mean(o)
gamma  (std(s) / mean(s)) / (std(o) / mean(o)) = alpha / beta
2009   1 - sqrt((r - 1)^2 + (alpha - 1)^2 + (beta - 1)^2)
2012   1 - sqrt((r - 1)^2 + (gamma - 1)^2 + (beta - 1)^2)

Standard deviations are of the population in all places. A constant simulation has no correlation:
r is set to 0 and the result says so, which gives 1 - sqrt(2) = -0.414 to the mean as a forecast.

Sources: Gupta et al. 2009; Kling et al. 2012; Knoben et al. 2019 (the mean benchmark).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

MEAN_BENCHMARK = 1 - 2**0.5
"""KGE of forecasting the observed mean every day."""


@dataclass(frozen=True)
class KlingGupta:
    """Both forms and their parts; NaN where the observation has no spread or no mean."""

    r: float
    alpha: float
    beta: float
    gamma: float
    n: int
    """Pairs: times at which both have a number."""
    constant: bool
    """The simulation never changes: r is undefined, and was set to 0."""

    @property
    def kge_2009(self) -> float:
        """With the ratio of standard deviations."""
        return _efficiency(self.r, self.alpha, self.beta)

    @property
    def kge_2012(self) -> float:
        """With the ratio of coefficients of variation."""
        return _efficiency(self.r, self.gamma, self.beta)


def kling_gupta(simulated: ArrayLike, observed: ArrayLike) -> KlingGupta:
    """The parts over pairs where both are finite; arrays of one shape."""
    s, o = np.asarray(simulated, np.float64).ravel(), np.asarray(observed, np.float64).ravel()
    kept = np.isfinite(s) & np.isfinite(o)
    s, o = s[kept], o[kept]
    nan = float("nan")
    if len(s) < 2 or _flat(o) or o.mean() == 0:
        return KlingGupta(nan, nan, nan, nan, len(s), constant=False)
    constant = _flat(s)
    spread = 0.0 if constant else float(s.std())
    beta, alpha = float(s.mean() / o.mean()), spread / float(o.std())
    r = 0.0 if constant else float(((s - s.mean()) * (o - o.mean())).mean() / (spread * o.std()))
    gamma = alpha / beta if beta else (0.0 if constant else nan)
    return KlingGupta(min(max(r, -1.0), 1.0), alpha, beta, gamma, len(s), constant)


def _flat(x: np.ndarray) -> bool:
    """Whether a series never changes, apart from the dust of rounding."""
    return bool(np.ptp(x) <= 1e-12 * np.abs(x).max(initial=0.0))


def _efficiency(r: float, spread: float, beta: float) -> float:
    return 1 - float(np.sqrt((r - 1) ** 2 + (spread - 1) ** 2 + (beta - 1) ** 2))
