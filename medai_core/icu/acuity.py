"""Points for how far from normal a patient is: the SAPS II table on whatever part of a stay is known.

Le Gall, Lemeshow, Saulnier, "A New Simplified Acute Physiology Score (SAPS II)", JAMA 270:2957, 1993. Chronic
disease and the kind of admission are not in the record, so this is an input to the models and no SAPS II.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Of = Callable[[str], Array]

# Edges of a variable's bands, and the points of each band; once for its lowest and once for its highest value.
_LOWEST: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "HR": ((40, 70), (11, 2, 0)),
    "systolic": ((70, 100), (13, 5, 0)),
    "WBC": ((1,), (12, 0)),
    "K": ((3,), (3, 0)),
    "Na": ((125,), (5, 0)),
    "HCO3": ((15, 20), (6, 3, 0)),
    "GCS": ((6, 9, 11, 14), (26, 13, 7, 5, 0)),
}
_HIGHEST: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "HR": ((120, 160), (0, 4, 7)),
    "systolic": ((200,), (0, 2)),
    "Temp": ((39,), (0, 3)),
    "BUN": ((28, 84), (0, 6, 10)),
    "WBC": ((20,), (0, 3)),
    "K": ((5,), (0, 3)),
    "Na": ((145,), (0, 1)),
    "Bilirubin": ((4, 6), (0, 4, 9)),
}
USED = tuple(sorted({*_LOWEST, *_HIGHEST, "PaO2/FiO2"}))
"""The series that points are given for."""
_AGE = ((40, 60, 70, 75, 80), (0, 7, 12, 15, 16, 18))
_OXYGENATION = ((100, 200), (11, 9, 6))
_URINE = ((500, 1000), (11, 4, 0))


def points(value: Array, bands: tuple[tuple[float, ...], tuple[float, ...]]) -> Array:
    """Points of each value, 0 where it is not known; shape as given."""
    edges, worth = bands
    found = np.array(worth, np.float32)[np.digitize(value, edges)]
    return np.where(np.isnan(value), np.float32(0), found)


def acuity(lowest: Of, highest: Of, urine_ml_per_day: Array, ventilated: NDArray[np.bool_], age_years: Array) -> Array:
    """Points of a part of a stay.

    Parameters
    ----------
    lowest, highest : callable
        A series' name to its extremes; NaN where not known. All arrays have or broadcast to one shape.
    urine_ml_per_day, age_years : Array
    ventilated : NDArray[np.bool_]
        Oxygenation counts only then.
    """
    both = {*_LOWEST, *_HIGHEST}
    low = {name: points(lowest(name), _LOWEST[name]) for name in _LOWEST}
    high = {name: points(highest(name), _HIGHEST[name]) for name in _HIGHEST}
    total = sum(np.maximum(low.get(name, np.float32(0)), high.get(name, np.float32(0))) for name in sorted(both))
    oxygen = np.where(ventilated, points(lowest("PaO2/FiO2"), _OXYGENATION), np.float32(0))
    return total + oxygen + points(urine_ml_per_day, _URINE) + points(age_years, _AGE)
