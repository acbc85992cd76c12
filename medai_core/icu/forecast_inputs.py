"""What the forecasting network is shown of each hour, and the scale on which it forecasts.

Beside the columns of :mod:`medai_core.icu.inputs` stand, for each forecast variable, what was measured last and how
its means over several spans differ from that. Every row depends on its hour and earlier ones only.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from medai_core.icu.grid import HOURS, Grid, carry_forward
from medai_core.icu.inputs import INPUTS, Scaling, network_inputs
from medai_core.icu.variables import INDEX, SERIES

VARIABLES: tuple[str, ...] = (
    *("HR", "SysABP", "DiasABP", "MAP", "NISysABP", "NIDiasABP", "NIMAP", "RespRate", "Temp", "SaO2", "FiO2", "GCS"),
    *("Urine", "Glucose", "K", "Na", "HCO3", "BUN", "Creatinine", "HCT", "WBC", "Platelets", "Lactate", "pH"),
    *("PaO2", "PaCO2", "Mg"),
)
"""What is forecast: hourly means, of urine the hourly sum."""
PLACES = np.array([INDEX[name] for name in VARIABLES])
LOGARITHMIC = np.array([SERIES[name].log for name in VARIABLES])
LOW, HIGH = (np.array([getattr(SERIES[name], side) for name in VARIABLES]) for side in ("low", "high"))
SPANS_HOURS = (2.0, 8.0, np.inf)
"""Time constants of the running means; the last is the mean of everything so far."""
REACH = 8.0
"""Values are cut off this many standard deviations from the mean, the means' differences from them at half."""
COLUMNS = len(INPUTS) + (len(SPANS_HOURS) + 2) * len(VARIABLES)
LAST = slice(len(INPUTS), len(INPUTS) + len(VARIABLES))
"""Columns with what was measured last, standardised; 0 before the first measurement."""
AGE = [INPUTS.index(f"{name} age") for name in VARIABLES]
"""Columns with the time since measured, 1 before the first measurement."""


def own_columns() -> NDArray[np.intp]:
    """Numbers of the columns that are a variable's own, (V, O): what was measured last, the running means less that,
    how much was measured lately, and how long ago last.
    """
    return np.column_stack([*np.arange(LAST.start, COLUMNS).reshape(-1, len(VARIABLES)), AGE])


def standardise(values: NDArray[np.floating], scaling: Scaling) -> NDArray[np.float64]:
    """Natural units (..., V) to standard deviations from the training mean, skewed variables by logarithm."""
    x = np.asarray(values, dtype=float)
    return (np.where(LOGARITHMIC, np.log1p(x), x) - scaling.centre[PLACES]) / scaling.spread[PLACES]


def naturalise(z: NDArray[np.floating], scaling: Scaling) -> NDArray[np.float64]:
    """Inverse of :func:`standardise` for (..., V), held within the plausible ranges."""
    x = np.asarray(z, dtype=float) * scaling.spread[PLACES] + scaling.centre[PLACES]
    return np.clip(np.where(LOGARITHMIC, np.expm1(np.where(LOGARITHMIC, np.minimum(x, 50), 0)), x), LOW, HIGH)


def forecast_inputs(grid: Grid, scaling: Scaling) -> NDArray[np.float32]:
    """Rows (..., 48, :data:`COLUMNS`)."""
    z = np.clip(standardise(grid.mean[..., PLACES], scaling), -REACH, REACH).astype(np.float32)
    last = np.nan_to_num(carry_forward(z))
    means, weight = running_means(z)  # (S, ..., 48, V)
    unlike = [np.where(weight[k] > 0, np.clip(means[k] - last, -REACH / 2, REACH / 2), 0) for k in range(len(means))]
    return np.concatenate(
        [network_inputs(grid, scaling), last, *unlike, np.log1p(weight[1])], axis=-1, dtype=np.float32
    )


def running_means(z: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Means so far in which an hour counts ``exp(-age / span)``, and the sums of those weights.

    Parameters
    ----------
    z : NDArray, shape (..., 48, V)
        NaN where not measured.

    Returns
    -------
    means, weight : NDArray, shape (S, ..., 48, V)
        One per span of :data:`SPANS_HOURS`; means are 0 where the weight is 0.
    """
    fade = np.exp(-1 / np.array(SPANS_HOURS, np.float32)).reshape(-1, *[1] * (z.ndim - 1))
    parts = np.stack([np.nan_to_num(z), ~np.isnan(z)]).astype(np.float32)  # (2, ..., 48, V)
    sums = np.empty((2, len(SPANS_HOURS), *z.shape), np.float32)
    state = np.zeros_like(sums[..., 0, :])
    for hour in range(HOURS):
        state = state * fade + parts[:, None, ..., hour, :]
        sums[..., hour, :] = state
    return sums[0] / np.maximum(sums[1], 1e-6), sums[1]
