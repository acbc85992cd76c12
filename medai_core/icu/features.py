"""Summary features for the trees: everything known of a stay up to each hour, in one row per hour.

Each is built from running sums, minima and maxima along the hours, so a row never sees a later one.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from medai_core.icu.grid import DESCRIPTORS, HOURS, NEVER, Grid, carry_forward
from medai_core.icu.variables import INDEX, NAMES

RECENT_HOURS = 8
DERIVED = ("systolic", "diastolic", "mean pressure", "PaO2/FiO2", "HR/systolic", "BUN/Creatinine")
STATISTICS = (
    "last", "lowest", "highest", "mean", "spread", "first", "change", "recent mean", "trend", "hours measured", "hours since",
)  # fmt: skip
SERIES = (*NAMES, *DERIVED)
FEATURES = (*(f"{name}, {what}" for what in STATISTICS for name in SERIES), *DESCRIPTORS, "BMI", "hour")


def derived(mean: NDArray[np.float32]) -> NDArray[np.float32]:
    """Pressures from whichever cuff or line there is, and ratios of what was last known; (..., 48, 6).

    A ratio has a value in the hours in which either part was measured.
    """

    def of(name: str) -> NDArray[np.float32]:
        return mean[..., INDEX[name]]

    pressures = [np.where(np.isnan(of(a)), of(f"NI{a}"), of(a)) for a in ("SysABP", "DiasABP", "MAP")]
    columns = [*pressures]
    for top, bottom in ((of("PaO2"), of("FiO2")), (of("HR"), pressures[0]), (of("BUN"), of("Creatinine"))):
        known = carry_forward(np.stack([top, bottom], axis=-1))  # (..., 48, 2)
        fresh = ~(np.isnan(top) & np.isnan(bottom))
        columns.append(np.where(fresh, known[..., 0] / known[..., 1], np.nan))
    return np.stack(columns, axis=-1).astype(np.float32)


def features(grid: Grid) -> NDArray[np.float32]:
    """Rows (..., 48, F) of :data:`FEATURES`, NaN where a thing is not known yet."""
    extra = derived(grid.mean)
    mean, low, high = (np.concatenate([table, extra], axis=-1) for table in (grid.mean, grid.low, grid.high))
    seen = ~np.isnan(mean)
    hour = np.arange(HOURS, dtype=np.float32)[:, None]
    count = np.cumsum(seen, axis=-2, dtype=np.float32)
    with np.errstate(invalid="ignore", divide="ignore"):
        last, first = carry_forward(mean), _first(mean, count)
        average, spread = _moments(mean - first, seen, count)
        statistics = [
            last,
            np.minimum.accumulate(np.where(seen, low, np.inf), axis=-2),
            np.maximum.accumulate(np.where(seen, high, -np.inf), axis=-2),
            average + first,
            spread,
            first,
            last - first,
            _recent(mean, seen),
            _trend(mean - first, seen, count, hour),
            count,
            np.where(count > 0, hour - np.maximum.accumulate(np.where(seen, hour, 0), axis=-2), NEVER),
        ]
    statistics[1:3] = (np.where(np.isinf(table), np.nan, table) for table in statistics[1:3])
    fixed = np.concatenate([grid.fixed, _bmi(grid)], axis=-1)
    beside = np.broadcast_to(fixed[..., None, :], (*mean.shape[:-1], fixed.shape[-1]))
    hours = np.broadcast_to(hour + 1, (*mean.shape[:-1], 1))
    weight = last[..., INDEX["Weight"], None]
    beside = np.concatenate([beside[..., :-1], weight / (beside[..., -1:] / 100) ** 2], axis=-1)
    return np.concatenate([*statistics, beside, hours], axis=-1, dtype=np.float32)


def _bmi(grid: Grid) -> NDArray[np.float32]:
    """The height once more, (..., 1): the weight that goes with it changes by the hour."""
    return grid.fixed[..., DESCRIPTORS.index("Height"), None]


def _first(mean: NDArray[np.float32], count: NDArray[np.float32]) -> NDArray[np.float32]:
    """First measured value up to each hour, NaN before it."""
    found = np.argmax(~np.isnan(mean), axis=-2)[..., None, :]
    return np.where(count > 0, np.take_along_axis(mean, found, axis=-2), np.nan)


def _moments(
    centred: NDArray[np.float32], seen: NDArray[np.bool_], count: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    filled = np.where(seen, centred, 0)
    average = np.cumsum(filled, axis=-2) / count
    variance = np.cumsum(filled**2, axis=-2) / count - average**2
    return average, np.sqrt(np.maximum(variance, 0))


def _recent(mean: NDArray[np.float32], seen: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Mean of the last :data:`RECENT_HOURS` hours, NaN where nothing was measured in them."""
    total, count = np.cumsum(np.where(seen, mean, 0), axis=-2, dtype=float), np.cumsum(seen, axis=-2, dtype=float)
    for table in (total, count):
        table[..., RECENT_HOURS:, :] -= table[..., :-RECENT_HOURS, :].copy()
    return (total / np.where(count > 0, count, np.nan)).astype(np.float32)


def _trend(
    centred: NDArray[np.float32], seen: NDArray[np.bool_], count: NDArray[np.float32], hour: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Slope per hour of the least-squares line through the hourly means so far, NaN below two of them."""
    y, x = np.where(seen, centred, 0), np.where(seen, hour, 0)
    sx, sy, sxx, sxy = (np.cumsum(part, axis=-2, dtype=float) for part in (x, y, x * x, x * y))
    spread = sxx - sx**2 / count
    return np.where(count > 1, (sxy - sx * sy / count) / np.where(spread > 0, spread, np.nan), np.nan).astype(np.float32)
