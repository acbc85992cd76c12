"""From the network's answer to forecasts in natural units: hours between the knots, and how wide the fans are.

The widths are those that cover what they say on patients kept for it: split conformal prediction with the distance
from the median in units of the forecast's own (Romano, Patterson and Candès, Conformalized Quantile Regression, 2019).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medai_core.errors import ArtifactError
from medai_core.icu.forecast_inputs import AGE, LAST, VARIABLES, naturalise
from medai_core.icu.inputs import Scaling

KNOTS = (1, 2, 3, 4, 6, 8, 12, 18, 24)
"""Hours ahead the network answers for; those between are interpolated."""
HOURS_AHEAD = KNOTS[-1]
GROUPS = (1, 3, 6, 12, 24)
"""Last hour ahead of each group of hours that share their constants."""
STILL = (0.0, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.6)
"""Distances from the last value that are tried as too small to be forecast, in standard deviations."""
STEPS = {"GCS": 1.0, "FiO2": 0.05}
"""Variables that are charted in steps: their median is one, too."""
LEAST_CELLS = 40
NARROWEST, WIDEST = 0.25, 3.0
LOW, INNER_LOW, MEDIAN, INNER_HIGH, HIGH = range(5)

Array = NDArray[np.float64]


def between_knots() -> Array:
    """How much each knot counts for 1 to 24 hours ahead, shape (24, K); rows sum to 1."""
    hours = np.arange(1, HOURS_AHEAD + 1)
    return np.stack([np.interp(hours, KNOTS, row) for row in np.eye(len(KNOTS))], axis=1)


def group_of_hours() -> NDArray[np.intp]:
    """Number of the group of each of 1 to 24 hours ahead."""
    return np.searchsorted(GROUPS, np.arange(1, HOURS_AHEAD + 1))


@dataclass(frozen=True, eq=False)
class Calibration:
    """Constants by variable and group of hours ahead, (V, G) each.

    Attributes
    ----------
    still : Array
        A median nearer than this to the last value becomes the last value, in standard deviations: most
        variables are charted in steps, and often do not change.
    inner, outer : Array
        Factors on the distances of the 50 % and the 90 % interval's ends from the median.
    """

    still: Array
    inner: Array
    outer: Array

    def __call__(self, answer: NDArray[np.floating], rows: NDArray[np.float32], scaling: Scaling) -> Array:
        """Quantiles (N, V, 24, 5) in natural units.

        Parameters
        ----------
        answer : NDArray, shape (N, V, K, 5)
            Standardised, at the knots.
        rows : NDArray, shape (N, D)
            Inputs of the hour looked from.
        """
        group = group_of_hours()
        z = np.einsum("nvkq,hk->nvhq", np.asarray(answer, dtype=float), between_knots())
        z = centred(z, *last_of(rows), self.still[:, group])
        factor = np.stack([self.outer, self.inner, np.zeros_like(self.inner), self.inner, self.outer], axis=-1)
        z = z[..., [MEDIAN]] + (z - z[..., [MEDIAN]]) * factor[:, group]
        found = np.moveaxis(naturalise(np.moveaxis(z, 1, -1), scaling), -1, 1)
        return _in_steps(_ordered(found))

    def to_dict(self) -> dict[str, Any]:
        return {name: values.tolist() for name, values in vars(self).items()}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Calibration:
        shape = (len(VARIABLES), len(GROUPS))
        parts = {name: np.array(stored.get(name, ()), dtype=float) for name in ("still", "inner", "outer")}
        if not all(part.shape == shape and np.isfinite(part).all() and (part >= 0).all() for part in parts.values()):
            raise ArtifactError("A calibration must hold {shape} numbers of at least 0 for each constant", shape=shape)
        return cls(**parts)

    @classmethod
    def fit(cls, answer: NDArray[np.floating], rows: NDArray[np.float32], truth: NDArray[np.floating]) -> Calibration:
        """Choose the constants on patients the network was not trained on.

        Parameters
        ----------
        answer, rows
            As for calling.
        truth : NDArray, shape (N, V, 24)
            What was measured, standardised; NaN where nothing was.
        """
        parts = np.empty((3, len(VARIABLES), len(GROUPS)))
        last, known = last_of(rows)
        for v, g, hours in _cells():
            at = np.asarray(answer, dtype=float)[:, v]
            z = np.einsum("nkq,hk->nhq", at, between_knots()[hours])[:, None]  # (N, 1, hours, 5)
            own = last[:, [v]], known[:, [v]]
            parts[:, v, g] = _constants(z, *own, truth[:, [v]][..., hours])
        return cls(*parts)


def last_of(rows: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """What was measured last, standardised, and whether anything was, (N, V) each, from inputs (N, D)."""
    return rows[:, LAST], rows[:, AGE] < 1


def centred(
    z: Array, last: NDArray[np.floating], known: NDArray[np.bool_], still: NDArray[np.floating] | float
) -> Array:
    """Quantiles (N, V, H, 5) whose median is the last value (N, V) where it is nearer to it than `still` (V, H)."""
    last, known = last[..., None], known[..., None]
    z = z.copy()
    z[..., MEDIAN] = np.where(known & (np.abs(z[..., MEDIAN] - last) < still), last, z[..., MEDIAN])
    return _ordered(z)


def _ordered(z: Array) -> Array:
    """Quantiles (..., 5) moved outwards from the median where they would cross."""
    z = z.copy()
    for outer, inner in ((INNER_LOW, MEDIAN), (LOW, INNER_LOW)):
        z[..., outer] = np.minimum(z[..., outer], z[..., inner])
    for outer, inner in ((INNER_HIGH, MEDIAN), (HIGH, INNER_HIGH)):
        z[..., outer] = np.maximum(z[..., outer], z[..., inner])
    return z


def _in_steps(quantiles: Array) -> Array:
    """Natural units (N, V, H, 5) with the medians of what is charted in steps rounded to one."""
    for name, step in STEPS.items():
        mine = quantiles[:, VARIABLES.index(name)]
        mine[..., MEDIAN] = np.round(np.round(mine[..., MEDIAN] / step) * step, 6)
    return _ordered(quantiles)


def _cells() -> Iterator[tuple[int, int, NDArray[np.intp]]]:
    """Variable, group, and places of the group's hours."""
    group = group_of_hours()
    for v in range(len(VARIABLES)):
        for g in range(len(GROUPS)):
            yield v, g, np.flatnonzero(group == g)


def _constants(z: Array, last: Array, known: NDArray[np.bool_], truth: NDArray[np.floating]) -> list[float]:
    """Still, inner and outer of one variable and group."""
    seen = ~np.isnan(truth)
    if seen.sum() < LEAST_CELLS:
        return [0.0, 1.0, 1.0]
    errors = [np.abs(centred(z, last, known, still)[..., MEDIAN] - truth)[seen].mean() for still in STILL]
    still = STILL[int(np.argmin(errors))]
    z, y = centred(z, last, known, still)[seen], truth[seen]
    inner, outer = (
        np.clip(_share(z[:, low], z[:, MEDIAN], z[:, high], y, covered), NARROWEST, WIDEST)
        for low, high, covered in ((INNER_LOW, INNER_HIGH, 0.5), (LOW, HIGH, 0.9))
    )
    return [still, float(inner), float(outer)]


def _share(low: Array, median: Array, high: Array, truth: Array, covered: float) -> float:
    """The factor on the distances from the median with which the interval covers this share of the truth."""
    above = truth >= median
    distance = np.where(above, high - median, median - low)
    score = np.abs(truth - median) / np.maximum(distance, 1e-6)
    return float(np.quantile(score, min(covered * (1 + 1 / len(score)), 1), method="higher"))
