"""What the network is shown of each hour: values, whether they are new, how old they are, who the patient is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medai_core.errors import ArtifactError
from medai_core.icu.features import ACUITY, DERIVED, acuities, derived
from medai_core.icu.grid import DESCRIPTORS, NEVER, Grid, carry_forward
from medai_core.icu.variables import NAMES, SERIES

SPAN = 4.0
"""Standardised values are cut off here: one odd value must not drown the rest."""
POINTS = 20.0
"""Acuity is shown in units of this many points, from this many on."""
LOGARITHMIC = np.array([SERIES[name].log for name in NAMES] + [False] * len(DERIVED))
INPUTS = (
    *NAMES, *DERIVED, *(f"{n} measured" for n in NAMES), *(f"{n} age" for n in NAMES),
    *DESCRIPTORS, *(f"{n} known" for n in DESCRIPTORS), *ACUITY,
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Scaling:
    """Centre and spread of each series and descriptor, from the training stays, (V + 6 + 3,) each."""

    centre: NDArray[np.float64]
    spread: NDArray[np.float64]

    @classmethod
    def fit(cls, grid: Grid) -> Scaling:
        """Mean and standard deviation over measured hours of stays (N, 48, V), and over stays."""
        series = _flat(grid)
        columns = [*series.reshape(-1, series.shape[-1]).T, *grid.fixed.T]
        centre = np.array([np.nanmean(column) if (~np.isnan(column)).any() else 0.0 for column in columns])
        spread = np.array([np.nanstd(column) if (~np.isnan(column)).any() else 1.0 for column in columns])
        return cls(centre, np.where(spread > 0, spread, 1.0))

    def to_dict(self) -> dict[str, list[float]]:
        return {"centre": self.centre.tolist(), "spread": self.spread.tolist()}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Sequence[float]]) -> Scaling:
        size = len(NAMES) + len(DERIVED) + len(DESCRIPTORS)
        centre, spread = (np.array(stored.get(name, ()), dtype=float) for name in ("centre", "spread"))
        if centre.shape != (size,) or spread.shape != (size,) or not (spread > 0).all():
            raise ArtifactError("A scaling must hold {size} centres and spreads above 0", size=size)
        return cls(centre, spread)


def _flat(grid: Grid) -> NDArray[np.float32]:
    """Every series on the scale it is looked at, (..., 48, V + 6), NaN where not measured."""
    both = np.concatenate([grid.mean, derived(grid.mean)], axis=-1)
    both[..., LOGARITHMIC] = np.log1p(both[..., LOGARITHMIC])
    return both


def standardised(grid: Grid, scaling: Scaling) -> NDArray[np.float32]:
    """Every series in standard deviations from its mean, (..., 48, V + 6), NaN where not measured."""
    size = len(NAMES) + len(DERIVED)
    z = (_flat(grid) - scaling.centre[:size]) / scaling.spread[:size]
    return np.clip(z, -SPAN, SPAN).astype(np.float32)


def network_inputs(grid: Grid, scaling: Scaling) -> NDArray[np.float32]:
    """Rows (..., 48, D) of :data:`INPUTS`; what was never measured stands at its mean, 0."""
    size = len(NAMES) + len(DERIVED)
    last = np.nan_to_num(carry_forward(standardised(grid, scaling)))
    age = np.log1p(grid.hours_since) / np.log1p(NEVER)
    fixed = (grid.fixed - scaling.centre[size:]) / scaling.spread[size:]
    beside = np.concatenate([np.nan_to_num(np.clip(fixed, -SPAN, SPAN)), ~np.isnan(fixed)], axis=-1)
    beside = np.broadcast_to(beside[..., None, :], (*last.shape[:-1], beside.shape[-1]))
    points = acuities(grid) / POINTS - 1
    return np.concatenate([last, grid.measured, age, beside, points], axis=-1, dtype=np.float32)
