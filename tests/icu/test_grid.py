"""The fast tables against slow, obvious ones; and nothing later may move what is earlier."""

from __future__ import annotations

import math

import numpy as np
import pytest
from drawn_stays import entries, grid_of
from hypothesis import given, settings
from hypothesis import strategies as st

from medai_core.icu.blend import ANCHORS, anchor_weights
from medai_core.icu.features import (
    ACUITY,
    BOUNDS,
    DERIVED,
    FEATURES,
    RECENT_HOURS,
    SERIES,
    STATISTICS,
    acuities,
    derived,
    features,
    rolling,
)
from medai_core.icu.grid import HOURS, NEVER, Grid, hour_of, stack
from medai_core.icu.inputs import INPUTS, Scaling, network_inputs
from medai_core.icu.variables import INDEX, NAMES

rows_of_a_stay = st.lists(
    st.tuples(
        st.integers(0, 2880),
        st.sampled_from(["HR", "Urine", "SysABP", "NISysABP", "PaO2", "FiO2"]),
        st.floats(0.5, 300),
    ),
    max_size=60,
)


def slow_hour(minute: float) -> int:
    """The hour, 1 to 48, by walking through them."""
    for hour in range(1, HOURS + 1):
        if minute <= 60 * hour:
            return hour
    raise ValueError(minute)


def slow_cell(rows, name: str, hour: int) -> tuple[float, float, float]:
    values = [value for minute, what, value in rows if what == name and slow_hour(minute) == hour]
    if not values:
        return math.nan, math.nan, math.nan
    return (sum(values) if name == "Urine" else sum(values) / len(values)), min(values), max(values)


def slow_since(rows, name: str, hour: int) -> float:
    hours = [slow_hour(minute) for minute, what, _ in rows if what == name and slow_hour(minute) <= hour]
    return float(hour - max(hours)) if hours else NEVER


@settings(max_examples=30, deadline=None)
@given(rows_of_a_stay)
def test_fast_tables_equal_slow_ones(rows):
    grid = grid_of(rows)
    for name in {what for _, what, _ in rows} | {"HR"}:
        k = INDEX[name]
        wanted = np.array([slow_cell(rows, name, hour) for hour in range(1, HOURS + 1)])
        found = np.stack([grid.mean[:, k], grid.low[:, k], grid.high[:, k]], axis=1)
        np.testing.assert_allclose(found, wanted, rtol=1e-5)
        assert grid.hours_since[:, k].tolist() == [slow_since(rows, name, hour) for hour in range(1, HOURS + 1)]
        last, wanted_last = math.nan, []
        for value in wanted[:, 0]:
            last = last if math.isnan(value) else value
            wanted_last.append(last)
        np.testing.assert_allclose(grid.carried[:, k], wanted_last, rtol=1e-5)


@pytest.mark.parametrize(
    ("minute", "hour"), [(0, 1), (1, 1), (60, 1), (61, 2), (60.5, 2), (2820, 47), (2821, 48), (2880, 48)]
)
def test_hours(minute, hour):
    assert hour_of(minute) + 1 == hour == slow_hour(minute)


def test_an_empty_stay_is_all_missing():
    grid = grid_of([])
    assert not grid.measured.any() and (grid.hours_since == NEVER).all()
    assert np.isfinite(network_inputs(grid, unit_scaling())).all()


def unit_scaling() -> Scaling:
    size = len(NAMES) + len(DERIVED) + 3
    return Scaling(np.zeros(size), np.ones(size))


def slow_statistics(series: np.ndarray, low: np.ndarray, high: np.ndarray, hour: int) -> dict[str, float]:
    """Every statistic of one series at one hour, from its definition."""
    at = [h for h in range(hour) if not np.isnan(series[h])]
    found = dict.fromkeys(STATISTICS, math.nan) | {"hours measured": float(len(at)), "hours since": NEVER}
    if not at:
        return found
    values = [float(series[h]) for h in at]
    recent = [float(series[h]) for h in at if h >= hour - RECENT_HOURS]
    found |= {
        "last": values[-1], "lowest": min(low[h] for h in at), "highest": max(high[h] for h in at),
        "mean": np.mean(values), "spread": np.std(values), "first": values[0], "change": values[-1] - values[0],
        "recent mean": np.mean(recent) if recent else math.nan, "hours since": float(hour - 1 - at[-1]),
    }  # fmt: skip
    for span in (24, 12):
        inside = [h for h in at if h >= hour - span]
        if inside:
            found[f"mean of {span} h"] = np.mean([series[h] for h in inside])
            found[f"lowest of {span} h"] = min(low[h] for h in inside)
            found[f"highest of {span} h"] = max(high[h] for h in inside)
    if len(at) > 1:
        found["trend"] = np.polyfit(at, values, 1)[0]
    return found


@pytest.mark.parametrize("name", ["HR", "Urine", "Lactate", "systolic"])
def test_features_equal_slow_ones(name):
    grid = grid_of(entries(7))
    rows, k = features(grid), SERIES.index(name)
    tables = [np.concatenate([table, derived(grid.mean)], axis=1)[:, k] for table in (grid.mean, grid.low, grid.high)]
    for hour in (1, 2, 7, 9, 30, 48):
        wanted = slow_statistics(*tables, hour)
        for what, value in wanted.items():
            found = rows[hour - 1, FEATURES.index(f"{name}, {what}")]
            assert found == pytest.approx(value, rel=1e-3, abs=2e-3, nan_ok=True), (hour, what)


def slow_acuity(grid: Grid, hour: int) -> float:
    """Points of what was last known at an hour, each clause of the table written out."""
    both = np.concatenate([grid.mean, derived(grid.mean)], axis=1)
    last = {}
    for name in ("HR", "systolic", "Temp", "PaO2/FiO2", "BUN", "WBC", "K", "Na", "HCO3", "Bilirubin", "GCS"):
        values = [v for v in both[:hour, SERIES.index(name)] if not np.isnan(v)]
        last[name] = values[-1] if values else None
    day = slice(max(hour - 24, 0), hour)
    urine = np.nansum(grid.mean[day, INDEX["Urine"]]) * 24 / min(hour, 24)
    vent = not np.isnan(grid.mean[day, INDEX["MechVent"]]).all()
    age, x = grid.fixed[0], last
    total = 18 if age >= 80 else 16 if age >= 75 else 15 if age >= 70 else 12 if age >= 60 else 7 if age >= 40 else 0
    total += 11 if urine < 500 else 4 if urine < 1000 else 0
    if (v := x["HR"]) is not None:
        total += 11 if v < 40 else 2 if v < 70 else 0 if v < 120 else 4 if v < 160 else 7
    if (v := x["systolic"]) is not None:
        total += 13 if v < 70 else 5 if v < 100 else 0 if v < 200 else 2
    if (v := x["Temp"]) is not None:
        total += 3 if v >= 39 else 0
    if vent and (v := x["PaO2/FiO2"]) is not None:
        total += 11 if v < 100 else 9 if v < 200 else 6
    if (v := x["BUN"]) is not None:
        total += 0 if v < 28 else 6 if v < 84 else 10
    if (v := x["WBC"]) is not None:
        total += 12 if v < 1 else 0 if v < 20 else 3
    if (v := x["K"]) is not None:
        total += 3 if v < 3 or v >= 5 else 0
    if (v := x["Na"]) is not None:
        total += 5 if v < 125 else 0 if v < 145 else 1
    if (v := x["HCO3"]) is not None:
        total += 6 if v < 15 else 3 if v < 20 else 0
    if (v := x["Bilirubin"]) is not None:
        total += 0 if v < 4 else 4 if v < 6 else 9
    if (v := x["GCS"]) is not None:
        total += 26 if v < 6 else 13 if v < 9 else 7 if v < 11 else 5 if v < 14 else 0
    return total


@pytest.mark.parametrize("seed", range(4))
def test_acuity_equals_the_table_written_out(seed):
    rng = np.random.default_rng(seed)
    rows = [(m, n, v * rng.uniform(0.3, 2.0)) for m, n, v in entries(seed)] + [(m, "MechVent", 1.0) for m in (300, 900)]
    grid = grid_of(sorted(rows), {"Age": 35.0 + 15 * seed})
    for hour in (1, 2, 13, 30, 48):
        assert acuities(grid)[hour - 1, ACUITY.index("acuity as last known")] == slow_acuity(grid, hour)
    np.testing.assert_array_equal(acuities(grid), features(grid)[:, [FEATURES.index(name) for name in ACUITY]])


@pytest.mark.parametrize("hours", [1, 2, 3, 8, 12, 24, 47])
def test_rolling_extremes(hours):
    table = np.random.default_rng(hours).normal(size=(HOURS, 2)).astype(np.float32)
    table[np.random.default_rng(1).random(table.shape) < 0.6] = np.nan
    for fast, slow in ((np.fmin, min), (np.fmax, max)):
        found = rolling(table, hours, fast)
        for hour in range(HOURS):
            inside = [float(v) for v in table[max(0, hour - hours + 1) : hour + 1, 0] if not np.isnan(v)]
            assert found[hour, 0] == pytest.approx(slow(inside) if inside else math.nan, nan_ok=True)


def test_hours_beyond_a_bound_and_urine():
    grid = grid_of(
        [(30, "MAP", 55.0), (200, "MAP", 80.0), (30, "Urine", 100.0), (1800, "Urine", 60.0), (40, "Weight", 50.0)]
    )
    rows = features(grid)

    def at(name: str) -> list[float]:
        return rows[[0, 2, 3, 47], FEATURES.index(name)].tolist()

    assert at("hours of mean pressure below 60") == [1, 3, 3, 3]
    assert at("urine so far") == [100, 100, 100, 160] and at("urine of 24 h") == [100, 100, 100, 60]
    assert at("urine per kg of 24 h") == pytest.approx([2, 2, 2, 1.2])
    assert at("measurements") == [3, 3, 4, 5] and at("kinds measured") == [3, 3, 3, 3]
    assert len(BOUNDS) == len(set(BOUNDS))


def test_shapes_and_names(few):
    rows, inputs = features(few), network_inputs(few, Scaling.fit(few))
    assert rows.shape == (4, HOURS, len(FEATURES)) and len(set(FEATURES)) == len(FEATURES)
    assert inputs.shape == (4, HOURS, len(INPUTS)) and len(set(INPUTS)) == len(INPUTS)
    assert rows.dtype == inputs.dtype == np.float32
    assert not np.isinf(rows).any() and np.isfinite(inputs).all()


def test_one_stay_equals_a_batch(few):
    scaling = Scaling.fit(few)
    for k in range(4):
        one = Grid(few.mean[k], few.low[k], few.high[k], few.fixed[k])
        np.testing.assert_array_equal(features(one), features(few)[k])
        np.testing.assert_array_equal(network_inputs(one, scaling), network_inputs(few, scaling)[k])


@settings(max_examples=15, deadline=None)
@given(rows_of_a_stay, rows_of_a_stay, st.integers(1, 47))
def test_the_future_leaves_the_past_alone(rows, others, hour):
    past = [row for row in rows if row[0] <= 60 * hour]
    changed = past + [row for row in others if row[0] > 60 * hour]
    scaling = unit_scaling()
    for make in (features, lambda grid: network_inputs(grid, scaling)):
        np.testing.assert_array_equal(make(grid_of(rows))[:hour], make(grid_of(changed))[:hour])


def test_scaling_survives_storage(few):
    scaling = Scaling.fit(few)
    stored = Scaling.from_dict(scaling.to_dict())
    np.testing.assert_array_equal(stored.centre, scaling.centre)
    assert (scaling.spread > 0).all() and np.isfinite(scaling.centre).all()


def test_anchor_weights():
    weights = anchor_weights()
    np.testing.assert_allclose(weights.sum(1), 1)
    np.testing.assert_array_equal(weights[np.array(ANCHORS) - 1], np.eye(len(ANCHORS)))
    assert ((weights > 0).sum(1) <= 2).all()


def test_stacking():
    grids = [grid_of(entries(seed)) for seed in range(2)]
    np.testing.assert_array_equal(stack(grids).mean[1], grids[1].mean)
