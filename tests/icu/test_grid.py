"""The fast tables against slow, obvious ones; and nothing later may move what is earlier."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medai_core.icu.blend import ANCHORS, anchor_weights
from medai_core.icu.features import DERIVED, FEATURES, RECENT_HOURS, SERIES, STATISTICS, features
from medai_core.icu.grid import HOURS, NEVER, Grid, hour_of, stack
from medai_core.icu.inputs import INPUTS, Scaling, network_inputs
from medai_core.icu.variables import INDEX, NAMES
from tests.icu.conftest import entries, grid_of

rows_of_a_stay = st.lists(
    st.tuples(st.integers(0, 2880), st.sampled_from(["HR", "Urine", "SysABP", "NISysABP", "PaO2", "FiO2"]), st.floats(0.5, 300)),
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


@pytest.mark.parametrize(("minute", "hour"), [(0, 1), (1, 1), (60, 1), (61, 2), (60.5, 2), (2820, 47), (2821, 48), (2880, 48)])
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
    if len(at) > 1:
        found["trend"] = np.polyfit(at, values, 1)[0]
    return found


@pytest.mark.parametrize("name", ["HR", "Urine", "Lactate", "systolic"])
def test_features_equal_slow_ones(name):
    from medai_core.icu.features import derived

    grid = grid_of(entries(7))
    rows, k = features(grid), SERIES.index(name)
    tables = [np.concatenate([table, derived(grid.mean)], axis=1)[:, k] for table in (grid.mean, grid.low, grid.high)]
    for hour in (1, 2, 7, 9, 30, 48):
        wanted = slow_statistics(*tables, hour)
        for what, value in wanted.items():
            found = rows[hour - 1, FEATURES.index(f"{name}, {what}")]
            assert found == pytest.approx(value, rel=1e-3, abs=2e-3, nan_ok=True), (hour, what)


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
