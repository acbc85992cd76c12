"""Constants that turn the network's answer into forecasts: what they promise, they keep."""

from __future__ import annotations

import numpy as np
import pytest

from medai_core.icu.forecast_calibration import (
    GROUPS,
    HOURS_AHEAD,
    KNOTS,
    Calibration,
    between_knots,
    group_of_hours,
)
from medai_core.icu.forecast_inputs import AGE, COLUMNS, LAST, VARIABLES, naturalise, standardise
from medai_core.icu.grid import Grid
from medai_core.icu.inputs import Scaling
from medai_core.icu.variables import NAMES, SERIES

V, K, NORMAL = len(VARIABLES), len(KNOTS), np.array([-1.645, -0.674, 0, 0.674, 1.645])


@pytest.fixture(scope="module")
def scaling() -> Scaling:
    rng = np.random.default_rng(0)
    low, high = (np.array([getattr(SERIES[name], side) for name in NAMES]) for side in ("low", "high"))
    mean = (low + (high - low) * rng.uniform(0.3, 0.5, (50, 48, len(NAMES)))).astype(np.float32)
    return Scaling.fit(Grid(mean, mean, mean, np.tile(np.float32([60, 1, 170]), (50, 1))))


def rows(n: int, last: float = 0.0, known: bool = True) -> np.ndarray:
    found = np.zeros((n, COLUMNS), np.float32)
    found[:, LAST], found[:, AGE] = last, 0.1 if known else 1.0
    return found


def drawn(n: int, spread: float, width: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Fans (N, V, K, 5) of standard deviation `width` about a median, and truths of `spread` about it."""
    rng = np.random.default_rng(seed)
    median = rng.normal(0, 0.5, (n, V, 1))
    fans = np.broadcast_to(median[..., None] + width * NORMAL, (n, V, K, 5))
    return fans, median + rng.normal(0, spread, (n, V, HOURS_AHEAD))


def test_scale_and_back(scaling):
    values = np.array([(SERIES[name].low + SERIES[name].high) / 2 for name in VARIABLES])
    np.testing.assert_allclose(naturalise(standardise(values, scaling), scaling), values, rtol=1e-9)
    for far, side in ((-99.0, "low"), (99.0, "high")):
        edge = [getattr(SERIES[name], side) for name in VARIABLES]
        np.testing.assert_array_equal(naturalise(np.full(V, far * 1e6), scaling), edge)


def test_hours_between_knots_are_interpolated():
    table = between_knots()
    np.testing.assert_allclose(table.sum(1), 1)
    np.testing.assert_allclose(table @ np.array(KNOTS), np.arange(1, 25))
    np.testing.assert_allclose(table @ np.square(KNOTS), np.interp(np.arange(1, 25), KNOTS, np.square(KNOTS)))
    assert [group_of_hours()[hour - 1] for hour in GROUPS] == list(range(len(GROUPS)))


@pytest.mark.parametrize("width", [0.5, 1.0, 1.6])
def test_fans_too_narrow_or_too_wide_are_set_right(scaling, width):
    fans, truth = drawn(3000, 1.0, width)
    found = Calibration.fit(fans, rows(3000, last=9.0), truth)
    np.testing.assert_allclose(found.outer, 1 / width, rtol=0.1)
    np.testing.assert_allclose(found.inner, 1 / width, rtol=0.1)
    fans, truth = drawn(2000, 1.0, width, seed=1)
    low, inner_low, _, inner_high, high = np.moveaxis(found(fans, rows(2000, last=9.0), scaling), -1, 0)
    natural = np.moveaxis(naturalise(np.moveaxis(truth, 1, -1), scaling), -1, 1)
    free = [k for k, name in enumerate(VARIABLES) if name not in ("GCS", "FiO2")]
    inside = ((low <= natural) & (natural <= high))[:, free].mean((0, 2))
    half = ((inner_low <= natural) & (natural <= inner_high))[:, free].mean((0, 2))
    np.testing.assert_allclose(inside, 0.9, atol=0.02)
    np.testing.assert_allclose(half, 0.5, atol=0.03)


def test_what_hardly_moves_stays_where_it_was(scaling):
    rng = np.random.default_rng(0)
    fans = np.broadcast_to(rng.normal(0, 0.08, (500, V, 1, 1)) + NORMAL, (500, V, K, 5))
    truth = np.where(rng.random((500, V, HOURS_AHEAD)) < 0.8, 0.0, rng.normal(0, 1, (500, V, HOURS_AHEAD)))
    found = Calibration.fit(fans, rows(500), truth)
    assert (found.still > 0.1).all()
    k, hr = [VARIABLES.index("HR")], VARIABLES.index("HR")
    at_mean = found(fans, rows(500), scaling)[:, k, :, 2]
    np.testing.assert_allclose(at_mean, naturalise(np.zeros(V), scaling)[hr])
    moved = found(fans, rows(500, known=False), scaling)[:, k, :, 2]
    assert np.abs(moved - at_mean).mean() > 0  # nothing to stay at before the first measurement


def test_without_measurements_nothing_is_changed():
    fans, truth = drawn(50, 1, 1)
    found = Calibration.fit(fans, rows(50), np.full_like(truth, np.nan))
    assert (found.still == 0).all() and (found.inner == 1).all() and (found.outer == 1).all()


def test_scores_are_forecast_in_their_steps(scaling):
    fans, _ = drawn(200, 1, 1)
    neutral = Calibration(*(np.full((V, len(GROUPS)), value) for value in (0.0, 1.0, 1.0)))
    found = neutral(fans, rows(200), scaling)
    assert (np.diff(found, axis=-1) >= 0).all()
    for name, step in (("GCS", 1.0), ("FiO2", 0.05)):
        steps = found[:, VARIABLES.index(name), :, 2] / step
        np.testing.assert_allclose(steps, np.round(steps), atol=1e-4)
    stored = Calibration.from_dict(neutral.to_dict())
    np.testing.assert_array_equal(stored(fans, rows(200), scaling), found)
