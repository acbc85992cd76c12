"""A stay as tables of 48 hours: what was measured in each hour, and how long ago each thing was measured last.

Hour ``h`` (1 to 48) holds what was recorded after minute ``60 (h - 1)`` up to and including minute ``60 h``; hour 1
also holds minute 0. Every row of every table depends on that hour and earlier ones only.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from medai_core.icu.variables import FIXED, INDEX, NAMES, SUMMED

HOURS = 48
NEVER = 48.0
"""Hours since measured, of what was not measured yet."""
DESCRIPTORS = ("Age", "Gender", "Height")


@dataclass(frozen=True, eq=False)
class Grid:
    """Hourly tables of one stay, or of many along a first axis.

    Attributes
    ----------
    mean, low, high : NDArray[np.float32], shape (..., 48, V)
        Mean (of urine: the sum), lowest and highest value of the hour, in the variable's unit; NaN where
        nothing was measured.
    fixed : NDArray[np.float32], shape (..., 3)
        Age in years, gender (1 male, 0 female), height in cm; NaN where not known.
    """

    mean: NDArray[np.float32]
    low: NDArray[np.float32]
    high: NDArray[np.float32]
    fixed: NDArray[np.float32]

    @property
    def measured(self) -> NDArray[np.bool_]:
        """Whether anything was measured, shape (..., 48, V)."""
        return ~np.isnan(self.mean)

    @property
    def hours_since(self) -> NDArray[np.float32]:
        """Hours since measured: 0 in the hour of a measurement, :data:`NEVER` before the first; (..., 48, V)."""
        hour = np.arange(HOURS, dtype=np.float32)[:, None]
        last = np.maximum.accumulate(np.where(self.measured, hour, -np.inf), axis=-2)
        return np.where(np.isinf(last), NEVER, hour - last).astype(np.float32)

    @property
    def carried(self) -> NDArray[np.float32]:
        """Last measured mean up to each hour, NaN before the first; shape (..., 48, V)."""
        return carry_forward(self.mean)


def carry_forward(table: NDArray[np.float32]) -> NDArray[np.float32]:
    """Fill NaN with the last number before it along the second-last axis (..., 48, V)."""
    hour = np.arange(table.shape[-2])[:, None]
    last = np.maximum.accumulate(np.where(np.isnan(table), 0, hour), axis=-2)
    return np.take_along_axis(table, last, axis=-2)


def hour_of(minutes: ArrayLike) -> NDArray[np.intp]:
    """Row (0 to 47) of the table a minute since admission falls in, shape as given."""
    return np.maximum(np.ceil(np.asarray(minutes, dtype=float) / 60).astype(np.intp) - 1, 0)


def to_grid(
    minutes: NDArray[np.floating], series: NDArray[np.integer], values: NDArray[np.floating], fixed: dict[str, float]
) -> Grid:
    """Sort measurements into hours.

    Parameters
    ----------
    minutes : NDArray, shape (N,)
        Since admission, 0 to 2880.
    series : NDArray, shape (N,)
        Number of the variable in :data:`~medai_core.icu.variables.NAMES`.
    values : NDArray, shape (N,)
    fixed : dict
        Descriptors by name; what is absent becomes NaN.
    """
    size = (HOURS, len(NAMES))
    cell = hour_of(minutes) * len(NAMES) + series
    order = np.argsort(cell, kind="stable")
    held, start, count = np.unique(cell[order], return_index=True, return_counts=True)
    tables = [np.full(HOURS * len(NAMES), np.nan, np.float32) for _ in range(3)]
    if held.size:
        ordered = np.asarray(values, dtype=float)[order]
        total = np.add.reduceat(ordered, start)
        tables[0][held] = np.where(held % len(NAMES) == INDEX[SUMMED], total, total / count)
        tables[1][held] = np.minimum.reduceat(ordered, start)
        tables[2][held] = np.maximum.reduceat(ordered, start)
    known = np.array([fixed.get(name, np.nan) for name in DESCRIPTORS], np.float32)
    return Grid(*(table.reshape(size) for table in tables), known)


def stack(grids: list[Grid]) -> Grid:
    """Many stays along a first axis."""
    return Grid(*(np.stack([getattr(g, name) for g in grids]) for name in ("mean", "low", "high", "fixed")))


assert set(DESCRIPTORS) <= set(FIXED)
