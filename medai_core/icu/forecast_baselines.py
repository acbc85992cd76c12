"""What a forecast has to beat: last value carried forward, the training mean, a linear trend, boosted trees.

Where a variable was not measured yet, the first and the third give the training mean, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medai_core.icu.forecast_calibration import HOURS_AHEAD
from medai_core.icu.forecast_inputs import HIGH, LAST, LOW, PLACES, VARIABLES, naturalise
from medai_core.icu.grid import Grid, carry_forward
from medai_core.icu.inputs import Scaling

METHODS = ("last value", "training mean", "linear trend", "boosted trees")
VITAL_SIGNS = VARIABLES[:10]
TREE_VARIABLES, TREE_HOURS = VARIABLES[:13], (1, 6, 12)
TREND_HOURS = 12
"""The line is laid through the hourly means of this many hours."""

Array = NDArray[np.float64]


def last_value(grid: Grid, at: int, mean: Array) -> Array:
    """Last hourly mean up to hour `at`, (N, V), of what was measured; else `mean` (V,)."""
    last = carry_forward(grid.mean[:, :at][..., PLACES])[:, -1].astype(float)
    return np.where(np.isnan(last), mean, last)


def linear_trend(grid: Grid, at: int, mean: Array) -> Array:
    """Least-squares line through the last hourly means, (N, V, 24), in the plausible range.

    From one mean it is the last value.
    """
    y = grid.mean[:, max(at - TREND_HOURS, 0) : at][..., PLACES].astype(float)  # (N, T, V)
    seen, x = ~np.isnan(y), np.arange(y.shape[1], dtype=float)[:, None]
    count = np.maximum(seen.sum(1), 1)
    centre, level = (np.where(seen, part, 0).sum(1) / count for part in (np.broadcast_to(x, y.shape), y))  # (N, V)
    dx = np.where(seen, x - centre[:, None], 0)
    spread = (dx**2).sum(1)
    slope = (dx * np.where(seen, y - level[:, None], 0)).sum(1) / np.where(spread > 0, spread, 1)
    ahead = y.shape[1] - 1 + np.arange(1, HOURS_AHEAD + 1)
    line = (level - slope * centre)[..., None] + slope[..., None] * ahead
    known = (seen.sum(1) > 1)[..., None]
    line = np.where(known, line, last_value(grid, at, mean)[..., None])
    return np.clip(line, LOW[:, None], HIGH[:, None])


class BoostedTrees:
    """One set of trees for each of a few variables and hours ahead; each gives the change from the last value.

    Parameters
    ----------
    stored : mapping
        LightGBM's text as bytes (uint8) by :func:`tree_name`.
    """

    def __init__(self, stored: Mapping[str, NDArray[np.uint8]]) -> None:
        import lightgbm

        self._boosters = {
            (name, hours): lightgbm.Booster(model_str=bytes(stored[tree_name(name, hours)]).decode())
            for name, hours in product(TREE_VARIABLES, TREE_HOURS)
            if tree_name(name, hours) in stored
        }

    def __call__(self, rows: NDArray[np.float32], scaling: Scaling) -> Array:
        """Forecasts (N, V, 24) in natural units from inputs (N, D); NaN for what there are no trees of."""
        z = np.full((len(rows), HOURS_AHEAD, len(VARIABLES)), np.nan)
        for (name, hours), booster in self._boosters.items():
            v = VARIABLES.index(name)
            z[:, hours - 1, v] = rows[:, LAST][:, v] + booster.predict(rows, num_threads=1)
        return np.moveaxis(naturalise(z, scaling), 1, 2)


def tree_name(variable: str, hours: int) -> str:
    return f"{variable}_{hours}"


def forecasts(grid: Grid, at: int, rows: NDArray[np.float32], scaling: Scaling, known: Mapping[str, Any]) -> Array:
    """Every method's forecast from hour `at`, (M, N, V, 24), in the order of :data:`METHODS`.

    Parameters
    ----------
    rows : NDArray, shape (N, D)
        Inputs of that hour.
    known : mapping
        ``mean`` (V,) and ``trees``, from training.
    """
    mean = np.asarray(known["mean"], dtype=float)
    shape = (len(rows), len(VARIABLES), HOURS_AHEAD)
    return np.stack(
        [
            np.broadcast_to(last_value(grid, at, mean)[..., None], shape),
            np.broadcast_to(mean[:, None], shape),
            linear_trend(grid, at, mean),
            known["trees"](rows, scaling),
        ]
    )
