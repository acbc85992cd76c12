"""Summary features for the trees: everything known of a stay up to each hour, in one row per hour.

Each is built from running or rolling sums, minima and maxima along the hours, so a row never sees a later one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medai_core.icu.acuity import USED, acuity
from medai_core.icu.grid import DESCRIPTORS, HOURS, NEVER, Grid, carry_forward
from medai_core.icu.variables import INDEX, NAMES, SUMMED

Array = NDArray[np.float32]

RECENT_HOURS, HALF_DAY_HOURS, DAY_HOURS = 8, 12, 24
USUAL_KG = 80.0
DERIVED = ("systolic", "diastolic", "mean pressure", "PaO2/FiO2", "HR/systolic", "BUN/Creatinine")
SERIES = (*NAMES, *DERIVED)
PLACE = {name: k for k, name in enumerate(SERIES)}
STATISTICS = (
    *("last", "lowest", "highest", "mean", "spread", "first", "change", "recent mean", "trend", "hours measured"),
    *("hours since", "mean of 24 h", "lowest of 24 h", "highest of 24 h"),
    *("mean of 12 h", "lowest of 12 h", "highest of 12 h"),
)
# Hours in which what was last known lay below or above a bound.
BOUNDS: tuple[tuple[str, str, float], ...] = (
    ("mean pressure", "below", 60), ("mean pressure", "below", 65), ("systolic", "below", 90), ("HR", "above", 110),
    ("HR", "above", 130), ("HR", "below", 50), ("Temp", "below", 36), ("Temp", "above", 38.5), ("SaO2", "below", 90),
    ("GCS", "below", 9), ("GCS", "below", 6), ("PaO2/FiO2", "below", 200), ("PaO2/FiO2", "below", 100),
    ("HR/systolic", "above", 1), ("pH", "below", 7.3), ("Lactate", "above", 4), ("RespRate", "above", 30),
    ("FiO2", "above", 0.6),
)  # fmt: skip
URINE = (
    "urine so far",
    "urine of 24 h",
    "urine of 12 h",
    "urine of 6 h",
    "urine per kg so far",
    "urine per kg of 24 h",
)
AMOUNTS = ("measurements", "measurements of 24 h", "kinds measured", "measurements of the gravely ill")
GRAVE = ("Lactate", "pH", "PaO2", "Bilirubin", "Albumin", "TroponinT", "TroponinI")
ACUITY = ("acuity so far", "acuity of 24 h", "acuity of 12 h", "acuity as last known")
FEATURES = (
    *(f"{name}, {what}" for what in STATISTICS for name in SERIES),
    *(f"hours of {name} {side} {bound:g}" for name, side, bound in BOUNDS),
    *URINE, *AMOUNTS, *ACUITY, *DESCRIPTORS, "BMI", "hour",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class _Extremes:
    """Lowest and highest values of a part of a stay up to each hour, (..., 48, S), NaN where not measured."""

    low: Array
    high: Array


def derived(mean: Array) -> Array:
    """Pressures from whichever cuff or line there is, and ratios of what was last known; (..., 48, 6).

    A ratio has a value in the hours in which either part was measured.
    """

    def of(name: str) -> Array:
        return mean[..., INDEX[name]]

    pressures = [np.where(np.isnan(of(a)), of(f"NI{a}"), of(a)) for a in ("SysABP", "DiasABP", "MAP")]
    columns = [*pressures]
    for top, bottom in ((of("PaO2"), of("FiO2")), (of("HR"), pressures[0]), (of("BUN"), of("Creatinine"))):
        known = carry_forward(np.stack([top, bottom], axis=-1))  # (..., 48, 2)
        fresh = ~(np.isnan(top) & np.isnan(bottom))
        columns.append(np.where(fresh, known[..., 0] / known[..., 1], np.nan))
    return np.stack(columns, axis=-1).astype(np.float32)


def features(grid: Grid) -> Array:
    """Rows (..., 48, F) of :data:`FEATURES`, NaN where a thing is not known yet."""
    extra = derived(grid.mean)
    mean, low, high = (np.concatenate([table, extra], axis=-1) for table in (grid.mean, grid.low, grid.high))
    whole = _Extremes(np.fmin.accumulate(low, axis=-2), np.fmax.accumulate(high, axis=-2))
    day, half = (_Extremes(rolling(low, h, np.fmin), rolling(high, h, np.fmax)) for h in (DAY_HOURS, HALF_DAY_HOURS))
    last = carry_forward(mean)
    with np.errstate(invalid="ignore", divide="ignore"):
        columns = [*_statistics(mean, last, whole)]
        for hours, part in ((DAY_HOURS, day), (HALF_DAY_HOURS, half)):
            columns += [_rolling_mean(mean, hours), part.low, part.high]
        columns += [_hours_beyond(last), _urine(mean, last), _amounts(grid.measured)]
        columns += [_acuities(grid, whole, day, half, last, PLACE), _beside(grid, last)]
    return np.concatenate(columns, axis=-1, dtype=np.float32)


def features_at(grid: Grid, hour: int) -> Array:
    """The row (..., F) of :func:`features` at one hour, 1 to 48, in a fraction of the time.

    Sums and extremes over the hours up to then take the place of running ones.
    """
    grid = Grid(*(table[..., :hour, :] for table in (grid.mean, grid.low, grid.high)), grid.fixed)
    extra = derived(grid.mean)
    mean, low, high = (np.concatenate([table, extra], axis=-1) for table in (grid.mean, grid.low, grid.high))

    def extremes(hours: int) -> _Extremes:
        recent = slice(max(hour - hours, 0), None)
        return _Extremes(np.fmin.reduce(low[..., recent, :], axis=-2), np.fmax.reduce(high[..., recent, :], axis=-2))

    whole, day, half = (extremes(hours) for hours in (HOURS, DAY_HOURS, HALF_DAY_HOURS))
    last = _last(mean)
    with np.errstate(invalid="ignore", divide="ignore"):
        columns = [*_statistics_at(mean, last, whole)]
        for hours, part in ((DAY_HOURS, day), (HALF_DAY_HOURS, half)):
            columns += [_recent_mean(mean, hours), part.low, part.high]
        columns += [_hours_beyond_at(mean), _urine_at(mean, last), _amounts_at(grid.measured)]
        columns += [_acuities_at(grid, whole, day, half, last), _beside_at(grid, last, hour)]
    return np.concatenate(columns, axis=-1, dtype=np.float32)


def acuities(grid: Grid) -> Array:
    """The four :data:`ACUITY` scores alone, (..., 48, 4)."""
    extra, used = derived(grid.mean), [PLACE[name] for name in USED]
    mean, low, high = (np.concatenate([t, extra], axis=-1)[..., used] for t in (grid.mean, grid.low, grid.high))
    parts = [_Extremes(np.fmin.accumulate(low, axis=-2), np.fmax.accumulate(high, axis=-2))]
    parts += [_Extremes(rolling(low, h, np.fmin), rolling(high, h, np.fmax)) for h in (DAY_HOURS, HALF_DAY_HOURS)]
    return _acuities(grid, *parts, carry_forward(mean), {name: k for k, name in enumerate(USED)})


def rolling(table: Array, hours: int, smaller: Callable[[Array, Array], Array]) -> Array:
    """Minimum or maximum over the last `hours` hours, NaN where there is none; shape as given.

    Windows of one, two, four, … hours are joined, which takes a handful of passes for any length.
    """
    found, covered, window, size = None, 0, table, 1
    while True:
        if hours & size:
            found = window if found is None else smaller(found, _later(window, covered))
            covered += size
        if covered == hours:
            return found
        window, size = smaller(window, _later(window, size)), size * 2


def _later(table: Array, hours: int) -> Array:
    """The table moved to later hours, NaN in front."""
    moved = np.full_like(table, np.nan)
    moved[..., hours:, :] = table[..., : table.shape[-2] - hours, :]
    return moved


def _total(table: Array, hours: int | None = None) -> NDArray[np.float64]:
    """Sum over the last `hours` hours, or all so far, along the second-last axis."""
    total = np.cumsum(table, axis=-2, dtype=float)
    if hours is not None:
        total[..., hours:, :] -= total[..., :-hours, :].copy()
    return total


def _rolling_mean(mean: Array, hours: int) -> Array:
    seen = ~np.isnan(mean)
    count = _total(seen, hours)
    return (_total(np.where(seen, mean, 0), hours) / np.where(count > 0, count, np.nan)).astype(np.float32)


def _statistics(mean: Array, last: Array, whole: _Extremes) -> list[Array]:
    """The first eleven of :data:`STATISTICS`, (..., 48, S) each."""
    seen, hour = ~np.isnan(mean), np.arange(HOURS, dtype=np.float32)[:, None]
    count = np.cumsum(seen, axis=-2, dtype=np.float32)
    found = np.argmax(seen, axis=-2)[..., None, :]
    first = np.where(count > 0, np.take_along_axis(mean, found, axis=-2), np.nan)
    centred = np.where(seen, mean - first, 0)  # sums of small numbers keep their digits
    average = np.cumsum(centred, axis=-2) / count
    spread = np.sqrt(np.maximum(np.cumsum(centred**2, axis=-2) / count - average**2, 0))
    since = np.where(count > 0, hour - np.maximum.accumulate(np.where(seen, hour, 0), axis=-2), NEVER)
    return [
        *(last, whole.low, whole.high, average + first, spread, first, last - first),
        *(_rolling_mean(mean, RECENT_HOURS), _trend(centred, seen, count, hour), count, since),
    ]


def _trend(centred: Array, seen: NDArray[np.bool_], count: Array, hour: Array) -> Array:
    """Slope per hour of the least-squares line through the hourly means so far, NaN below two of them."""
    x = np.where(seen, hour, 0)
    sx, sy, sxx, sxy = (np.cumsum(part, axis=-2, dtype=float) for part in (x, centred, x * x, x * centred))
    spread = sxx - sx**2 / count
    slope = (sxy - sx * sy / count) / np.where(spread > 0, spread, np.nan)
    return np.where(count > 1, slope, np.nan).astype(np.float32)


def _hours_beyond(last: Array) -> Array:
    columns = [
        last[..., PLACE[n]] < bound if side == "below" else last[..., PLACE[n]] > bound for n, side, bound in BOUNDS
    ]
    return np.cumsum(np.stack(columns, axis=-1), axis=-2, dtype=np.float32)


def _urine(mean: Array, last: Array) -> Array:
    """Millilitres, and millilitres per kg of the last known weight; (..., 48, 6)."""
    made = np.nan_to_num(mean[..., INDEX[SUMMED], None])
    sums = [_total(made, hours) for hours in (None, DAY_HOURS, HALF_DAY_HOURS, 6)]
    weight = np.nan_to_num(last[..., INDEX["Weight"], None], nan=USUAL_KG)
    return np.concatenate([*sums, sums[0] / weight, sums[1] / weight], axis=-1, dtype=np.float32)


def _amounts(measured: NDArray[np.bool_]) -> Array:
    each = measured.sum(-1, keepdims=True)
    kinds = np.maximum.accumulate(measured, axis=-2).sum(-1, keepdims=True)
    grave = measured[..., [INDEX[name] for name in GRAVE]].sum(-1, keepdims=True)
    return np.concatenate([_total(each), _total(each, DAY_HOURS), kinds, _total(grave)], axis=-1, dtype=np.float32)


def _acuities(
    grid: Grid, whole: _Extremes, day: _Extremes, half: _Extremes, last: Array, place: Mapping[str, int]
) -> Array:
    made, vent = np.nan_to_num(grid.mean[..., INDEX[SUMMED], None]), grid.measured[..., INDEX["MechVent"], None]
    followed = np.arange(1, HOURS + 1)[:, None]
    age = np.broadcast_to(grid.fixed[..., None, DESCRIPTORS.index("Age")], last.shape[:-1])

    def one(part: _Extremes, hours: int) -> Array:
        daily = _total(made, hours) * (24 / np.minimum(followed, hours))
        ventilated = _total(vent, hours)[..., 0] > 0
        return acuity(
            lambda n: part.low[..., place[n]], lambda n: part.high[..., place[n]], daily[..., 0], ventilated, age
        )

    now = _Extremes(last, last)
    parts = ((whole, HOURS), (day, DAY_HOURS), (half, HALF_DAY_HOURS), (now, DAY_HOURS))
    return np.stack([one(part, hours) for part, hours in parts], axis=-1)


def _beside(grid: Grid, last: Array) -> Array:
    """Descriptors, body-mass index and the hour, (..., 48, 5)."""
    fixed = np.broadcast_to(grid.fixed[..., None, :], (*last.shape[:-1], len(DESCRIPTORS)))
    height_m = fixed[..., DESCRIPTORS.index("Height"), None] / 100
    hour = np.broadcast_to(np.arange(1, HOURS + 1)[:, None], (*last.shape[:-1], 1))
    return np.concatenate([fixed, last[..., INDEX["Weight"], None] / height_m**2, hour], axis=-1, dtype=np.float32)


# ---------------------------------------------------------------------------------------- one hour alone


def _sum(table: Array, hours: int | None = None) -> NDArray[np.float64]:
    """The last row of :func:`_total`, digit for digit."""
    total = np.sum(table, axis=-2, dtype=float)
    if hours is not None and hours < table.shape[-2]:
        total -= np.sum(table[..., : table.shape[-2] - hours, :], axis=-2, dtype=float)
    return total


def _recent_mean(mean: Array, hours: int) -> Array:
    seen = ~np.isnan(mean)
    count = _sum(seen, hours)
    return (_sum(np.where(seen, mean, 0), hours) / np.where(count > 0, count, np.nan)).astype(np.float32)


def _at(table: Array, row: NDArray[np.intp]) -> Array:
    """The values (..., S) of a table (..., T, S) in one row for each series, (..., S)."""
    return np.take_along_axis(table, row[..., None, :], axis=-2)[..., 0, :]


def _last(mean: Array) -> Array:
    """Last number of each series, (..., S), NaN where there is none."""
    back = np.argmax(~np.isnan(mean)[..., ::-1, :], axis=-2)
    return _at(mean, mean.shape[-2] - 1 - back)


def _statistics_at(mean: Array, last: Array, whole: _Extremes) -> list[Array]:
    """The last row of :func:`_statistics`."""
    seen, hours = ~np.isnan(mean), mean.shape[-2]
    hour = np.arange(hours, dtype=np.float32)[:, None]
    count = np.sum(seen, axis=-2, dtype=np.float32)
    first = _at(mean, np.argmax(seen, axis=-2))
    centred = np.where(seen, mean - first[..., None, :], 0)
    average = np.sum(centred, axis=-2) / count
    spread = np.sqrt(np.maximum(np.sum(centred**2, axis=-2) / count - average**2, 0))
    since = np.where(count > 0, hours - 1 - np.max(np.where(seen, hour, 0), axis=-2), NEVER)
    x = np.where(seen, hour, 0)
    sx, sy, sxx, sxy = (np.sum(part, axis=-2, dtype=float) for part in (x, centred, x * x, x * centred))
    width = sxx - sx**2 / count
    trend = np.where(count > 1, (sxy - sx * sy / count) / np.where(width > 0, width, np.nan), np.nan)
    return [
        *(last, whole.low, whole.high, average + first, spread, first, last - first),
        *(_recent_mean(mean, RECENT_HOURS), trend.astype(np.float32), count, since),
    ]


def _hours_beyond_at(mean: Array) -> Array:
    known = carry_forward(mean[..., [PLACE[name] for name, _, _ in BOUNDS]])
    edges = np.array([bound for _, _, bound in BOUNDS], np.float32)
    below = np.array([side == "below" for _, side, _ in BOUNDS])
    return np.sum(np.where(below, known < edges, known > edges), axis=-2, dtype=np.float32)


def _urine_at(mean: Array, last: Array) -> Array:
    made = np.nan_to_num(mean[..., INDEX[SUMMED], None])
    sums = [_sum(made, hours) for hours in (None, DAY_HOURS, HALF_DAY_HOURS, 6)]
    weight = np.nan_to_num(last[..., INDEX["Weight"], None], nan=USUAL_KG)
    return np.concatenate([*sums, sums[0] / weight, sums[1] / weight], axis=-1, dtype=np.float32)


def _amounts_at(measured: NDArray[np.bool_]) -> Array:
    each = measured.sum(-1, keepdims=True)
    kinds = measured.any(-2).sum(-1, keepdims=True)
    grave = measured[..., [INDEX[name] for name in GRAVE]].sum(-1, keepdims=True)
    return np.concatenate([_sum(each), _sum(each, DAY_HOURS), kinds, _sum(grave)], axis=-1, dtype=np.float32)


def _acuities_at(grid: Grid, whole: _Extremes, day: _Extremes, half: _Extremes, last: Array) -> Array:
    made, vent = np.nan_to_num(grid.mean[..., INDEX[SUMMED], None]), grid.measured[..., INDEX["MechVent"], None]
    age, followed = grid.fixed[..., DESCRIPTORS.index("Age")], grid.mean.shape[-2]

    def one(part: _Extremes, hours: int) -> Array:
        daily = _sum(made, hours)[..., 0] * (24 / min(followed, hours))
        low, high = (lambda n: part.low[..., PLACE[n]]), (lambda n: part.high[..., PLACE[n]])
        return acuity(low, high, daily, _sum(vent, hours)[..., 0] > 0, age)

    now = _Extremes(last, last)
    parts = ((whole, HOURS), (day, DAY_HOURS), (half, HALF_DAY_HOURS), (now, DAY_HOURS))
    return np.stack([one(part, hours) for part, hours in parts], axis=-1)


def _beside_at(grid: Grid, last: Array, hour: int) -> Array:
    height_m = grid.fixed[..., DESCRIPTORS.index("Height"), None] / 100
    hours = np.full((*last.shape[:-1], 1), hour, np.float32)
    return np.concatenate([grid.fixed, last[..., INDEX["Weight"], None] / height_m**2, hours], axis=-1)
