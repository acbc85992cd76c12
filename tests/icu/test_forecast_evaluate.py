"""Figures and baselines of the forecasts against slow, obvious versions."""

from __future__ import annotations

import numpy as np
import pytest
from drawn_stays import entries, grid_of

from medai_core.icu import forecast_evaluate as measuring
from medai_core.icu.forecast_baselines import METHODS, TREND_HOURS, BoostedTrees, last_value, linear_trend
from medai_core.icu.forecast_evaluate import Tally, figures, pinball, tally, truth_after
from medai_core.icu.forecast_inputs import LAST, VARIABLES, standardise
from medai_core.icu.grid import Grid, stack
from medai_core.icu.inputs import Scaling
from medai_core.icu.outlook import QUANTILES
from medai_core.icu.variables import INDEX

V = len(VARIABLES)
MEAN = np.arange(V) + 20.0


def slow_pinball(truth: float, quantiles: list[float]) -> float:
    parts = []
    for level, q in zip(QUANTILES, quantiles, strict=True):
        parts.append(level * (truth - q) if truth >= q else (1 - level) * (q - truth))
    return sum(parts) / len(parts)


def test_pinball():
    rng = np.random.default_rng(0)
    truth, quantiles = rng.normal(size=(6, 4)), np.sort(rng.normal(size=(6, 4, 5)), axis=-1)
    wanted = [
        [slow_pinball(t, q.tolist()) for t, q in zip(*row, strict=True)] for row in zip(truth, quantiles, strict=True)
    ]
    np.testing.assert_allclose(pinball(truth, quantiles), wanted)
    assert pinball(np.zeros(1), np.zeros((1, 5))) == 0


def of(grid: Grid, k: int, name: str, at: int) -> np.ndarray:
    """Hours and means of one variable of one stay up to an hour, as rows."""
    values = grid.mean[k, :at, INDEX[name]]
    return np.array([(hour, value) for hour, value in enumerate(values) if not np.isnan(value)])


@pytest.mark.parametrize("at", [1, 3, 20, 47])
def test_last_value_and_trend(few, at):
    last, line = last_value(few, at, MEAN), linear_trend(few, at, MEAN)
    for k, name in ((0, "HR"), (1, "K"), (2, "Urine"), (3, "HR"), (3, "Na")):
        v, known = VARIABLES.index(name), of(few, k, name, at)
        wanted = known[-1, 1] if len(known) else MEAN[v]
        assert last[k, v] == pytest.approx(wanted)
        recent = [row for row in known if row[0] >= at - TREND_HOURS]
        if len(recent) > 1:
            slope, level = np.polyfit(*np.array(recent, float).T, 1)
            wanted = slope * (at - 1 + np.arange(1, 25)) + level
        low, high = measuring_range(name)
        np.testing.assert_allclose(line[k, v], np.clip(wanted, low, high) * np.ones(24), rtol=1e-4, atol=1e-3)


def measuring_range(name: str) -> tuple[float, float]:
    from medai_core.icu.variables import SERIES

    return SERIES[name].low, SERIES[name].high


def test_truth_after(few):
    found = truth_after(few.mean, 40)
    v = VARIABLES.index("HR")
    np.testing.assert_array_equal(found[0, v, :8], few.mean[0, 40:, INDEX["HR"]])
    assert np.isnan(found[..., 8:]).all() and found.shape == (4, V, 24)


def test_a_tally_counts_what_a_loop_counts(few):
    scaling, rng = Scaling.fit(few), np.random.default_rng(1)
    fans = {at: np.sort(rng.normal(80, 30, (4, V, 24, 5)), axis=-1) for at in (5, 30)}
    found = tally(lambda x, at: fans[at], few, scaling, {"mean": MEAN, "trees": BoostedTrees({})}, (5, 30))
    assert found.cells.shape == (4, V, 24) and found.rivals.shape == (4, 4, V, 24)
    for k, name, ahead in ((0, "HR", 1), (1, "MAP", 6), (2, "Urine", 18), (0, "K", 12), (3, "HR", 2)):
        v, sums = VARIABLES.index(name), np.zeros(5)
        for at, fan in fans.items():
            truth = few.mean[k, at + ahead - 1, INDEX[name]] if at + ahead <= 48 else np.nan
            if not np.isnan(truth):
                q = fan[k, v, ahead - 1].tolist()
                known = of(few, k, name, at)
                last = known[-1, 1] if len(known) else MEAN[v]
                sums += (1, abs(truth - q[2]), slow_pinball(truth, q), q[0] <= truth <= q[4], abs(truth - last))
        parts = (found.cells, found.error, found.pinball, found.inside, found.rivals[0])
        np.testing.assert_allclose([part[k, v, ahead - 1] for part in parts], sums, rtol=1e-5)


def test_figures_of_known_sums(monkeypatch):
    monkeypatch.setattr(measuring, "RESAMPLES", 50)
    size, rng = (40, V, 24), np.random.default_rng(0)
    cells = rng.integers(1, 4, size).astype(float)
    rivals = np.stack([cells * k for k in (4.0, 5.0, 8.0, 2.5)])
    found = Tally(cells, cells * 2.0, cells * 0.7, cells * 0.5, cells * 0.9, rivals)
    rows = {row["metric"]: row for row in figures(found, "x")}
    wanted = {
        "MAE, HR, 6 h": 2.0, "pinball loss, Na, 24 h": 0.7, "coverage of 90 %": 0.9, "coverage of 50 %": 0.5,
        "coverage of 90 %, GCS": 0.9, "skill over the last value, MAP, 1 h": 0.5,
        "skill over the training mean, Temp, 12 h": 0.6, "skill over the linear trend, K, 24 h": 0.75,
        "skill over the boosted trees, Urine, 6 h": 0.2, "MAE of the last value, HR, 6 h": 4.0,
        "skill over the last value, vital signs, 1, 6 and 12 h": 0.5,
        "skill over the boosted trees, vital signs, 1 h": 0.2,
        "skill over the last value, all variables, 1, 6 and 12 h": 0.5,
    }  # fmt: skip
    for name, value in wanted.items():
        row = rows[name]
        assert [row[part] for part in ("value", "low", "high")] == pytest.approx([value] * 3)
    assert rows["MAE, HR, 6 h"]["n"] == cells[:, 0, 5].sum() and rows["coverage of 90 %"]["n"] == cells.sum()
    assert "skill over the boosted trees, Na, 6 h" not in rows and "MAE of the boosted trees, HR, 24 h" not in rows
    assert all(row["split"] == "x" for row in rows.values())


def test_intervals_hold_the_value_and_narrow_with_more_stays(monkeypatch):
    monkeypatch.setattr(measuring, "RESAMPLES", 100)

    def width(stays: int) -> float:
        error = np.random.default_rng(0).exponential(1, (stays, V, 24))
        ones = np.ones_like(error)
        found = Tally(ones, error, error, ones, ones, np.stack([ones] * len(METHODS)))
        row = next(row for row in figures(found, "x") if row["metric"] == "MAE, HR, 1 h")
        assert row["low"] < row["value"] < row["high"]
        return row["high"] - row["low"]

    assert width(400) < 0.7 * width(50)


def test_trees_forecast_the_change_from_the_last_value():
    from medai_core.icu.train_forecast_trees import PARAMETERS, train_forecast_trees

    grid = stack([grid_of(entries(seed)) for seed in range(12)])
    scaling = Scaling.fit(grid)
    z = standardise(grid.mean[..., [INDEX[name] for name in VARIABLES]], scaling).astype(np.float32)
    x = measuring.forecast_inputs(grid, scaling)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PARAMETERS, "num_iterations", 1)
        patch.setitem(PARAMETERS, "learning_rate", 1e-9)
        stored = train_forecast_trees(x, z, 1, lambda row: None)
    assert "HR_6" in stored and "SaO2_1" not in stored  # nobody measured it
    found = BoostedTrees(stored)(x[:, 20], scaling)
    v = VARIABLES.index("HR")
    change = found[:, v, 5] - (x[:, 20, LAST][:, v] * scaling.spread[INDEX["HR"]] + scaling.centre[INDEX["HR"]])
    assert np.ptp(change) < 1e-3 and np.isnan(found[:, v, 2]).all()
