"""Training the forecasts: the loss, what a batch holds, taking up an interrupted run, and what the bundle holds."""

from __future__ import annotations

import numpy as np
import pytest
from drawn_stays import small_forecast_recipe
from untraced import untraced

from medai_core import artifacts
from medai_core.icu.cohort import load_cohort
from medai_core.icu.forecast_calibration import KNOTS
from medai_core.icu.forecast_evaluate import baselines_of, tally
from medai_core.icu.forecast_evaluate import pinball as pinball_of
from medai_core.icu.forecast_inputs import COLUMNS, VARIABLES
from medai_core.icu.grid import HOURS
from medai_core.icu.train import split
from medai_core.icu.train_forecast import inputs_of, parts_of, truths_of
from medai_core.icu.train_forecast_network import AHEAD, ahead_of, batch_of, pinball_loss, starts, train_network

V = len(VARIABLES)
UNCHANCED = {"epochs": 2, "members": 1, "input_dropout": 0.0, "dropout": 0.0}
"""Without what is left out by chance, a run that was taken up ends exactly where one without a break does."""


def test_the_loss_is_the_pinball_loss_of_measured_hours():
    rng = np.random.default_rng(0)
    truth, quantiles = rng.normal(size=(2, 3, 4, V)), rng.normal(size=(2, 3, 2, 4, V, 5))
    seen, weight = rng.random(truth.shape) < 0.4, rng.random((4, V)).astype(np.float32)
    each = pinball_of(truth[:, :, None], quantiles).mean(2)  # over members
    wanted = (np.where(seen, each, 0) * weight).sum(-1).mean()
    found = pinball_loss(weight)(np.where(seen, truth, np.nan).astype(np.float32), quantiles.astype(np.float32))
    assert float(found) == pytest.approx(wanted, rel=1e-4)


def test_a_batch_asks_for_what_came_after():
    z = np.tile(np.arange(HOURS, dtype=np.float32)[None, :, None], (5, 1, V)) + 100 * np.arange(5)[:, None, None]
    x = np.zeros((5, HOURS, COLUMNS), np.float32)
    stays = np.array([3, 1])
    (_, asked, ahead), truth = batch_of(x, ahead_of(z.astype(np.float32)), stays, 7, np.random.default_rng(0))
    hour, far = asked.argmax(-1), ahead.argmax(-1) + 1
    assert truth.shape == (2, 7, len(AHEAD), V) and (hour < HOURS - 1).all() and len(set(hour[0])) == 7
    wanted = 100 * stays[:, None, None] + hour[:, :, None] + far[:, None, :]
    late = hour[:, :, None] + far[:, None, :] >= HOURS
    np.testing.assert_array_equal(truth[..., 0], np.where(late, np.nan, wanted))
    assert sorted(hours for each in AHEAD for hours in each) == list(range(1, KNOTS[-1] + 1))


def test_starts_are_least_squares(few, outlooks):
    x, z = inputs_of(few, outlooks.scaling), truths_of(few, outlooks.scaling)
    slope, error = starts(x, z)
    assert slope.shape[:2] == error.shape == (V, len(KNOTS)) and (error > 0).all() and np.isfinite(slope).all()
    assert (slope[VARIABLES.index("SaO2")] == 0).all()  # never measured here


def test_the_test_part_is_that_of_the_mortality_model(small_data):
    cohort = load_cohort(small_data)
    parts = parts_of(cohort, 2012)
    test = split(cohort, 2012)[1]
    np.testing.assert_array_equal(parts["test"].mean, cohort.grid.mean[test])
    assert [len(parts[name].mean) for name in ("train", "validation", "test")] == [60, 8, 12]
    every = np.concatenate([parts[name].fixed[:, 0] for name in parts])
    np.testing.assert_array_equal(np.sort(every), np.sort(cohort.grid.fixed[:, 0]))


def test_the_bundle_holds_what_a_forecast_needs(forecast_bundle):
    assert forecast_bundle.id == "icu_forecast" and forecast_bundle.size_mb <= artifacts.MAX_BUNDLE_MB
    figures = {(row["metric"], row["split"]) for row in forecast_bundle.metrics["figures"]}
    baseline = {row["metric"] for row in forecast_bundle.metrics["baseline"]}
    for hours in (1, 6, 12):
        assert (f"skill over the last value, HR, {hours} h", "test") in figures
        assert (f"MAE, HR, {hours} h", "validation") in figures and f"MAE, HR, {hours} h" in baseline
    assert ("coverage of 90 %", "test") in figures and ("coverage of 90 %, HR", "test") in figures
    assert list(forecast_bundle.preprocessing["variables"]) == list(VARIABLES)
    assert forecast_bundle.card["split"]["test"] == 12 and forecast_bundle.card["task"] == "forecast"


def test_training_is_taken_up_after_the_last_epoch(small_data, outlooks, tmp_path):
    told: list[dict[str, object]] = []

    def interrupted(row):
        told.append(row)
        if told == [row]:
            raise KeyboardInterrupt

    grid, recipe = parts_of(load_cohort(small_data), 0)["train"], small_forecast_recipe(**UNCHANCED)
    x, z = inputs_of(grid, outlooks.scaling), truths_of(grid, outlooks.scaling)
    with untraced():
        with pytest.raises(KeyboardInterrupt):
            train_network(x, z, recipe, tmp_path / "a", interrupted)
        resumed = train_network(x, z, recipe, tmp_path / "a", interrupted)
        assert [(row["part"], row["epoch"]) for row in told] == [("network", 1), ("network", 2)]
        straight = train_network(x, z, recipe, tmp_path / "b", lambda row: None)
    for one, other in zip(resumed.get_weights(), straight.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_finished_epochs_are_kept_beside_the_bundle(forecast_bundle):
    (done,) = forecast_bundle.path.with_name("icu_forecast.work").glob("forecast-*.json")
    assert done.read_text() == '{"epochs": 1}' and done.with_suffix("").with_suffix(".weights.h5").is_file()


def test_a_bundle_can_be_measured(small_data, outlooks):
    grid = load_cohort(small_data).grid
    found = tally(outlooks.from_inputs, grid, outlooks.scaling, baselines_of(outlooks), (12, 24))
    v = VARIABLES.index("HR")
    assert found.cells[:, v].sum() > 1000 and (found.rivals[3][:, v, 5] > 0).any()
