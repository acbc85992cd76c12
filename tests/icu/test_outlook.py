"""The contract of the forecasts: causal, ordered, plausible, the same one by one and in batches, refusing bad hours."""

from __future__ import annotations

import numpy as np
import pytest
from drawn_stays import entries, grid_of, physionet

from medai_core.errors import ArtifactError, InputError
from medai_core.icu.forecast_calibration import Calibration
from medai_core.icu.forecast_inputs import COLUMNS, HIGH, LOW
from medai_core.icu.grid import stack
from medai_core.icu.outlook import HORIZON, QUANTILES, VARIABLES, Outlook, asked_at
from medai_core.icu.records import read_stay
from medai_core.icu.variables import NAMES, SERIES


def test_the_variables_are_ours_each_once():
    assert set(VARIABLES) <= set(NAMES) and len(set(VARIABLES)) == len(VARIABLES) == 27


def test_a_fan_for_each_variable(outlooks):
    found = outlooks.outlook(read_stay(physionet(entries(1), 11)), 36, 12)
    assert (found.stay, found.at, found.hours) == ("11", 36, tuple(range(37, 49)))
    assert found.quantiles.shape == (len(VARIABLES), 12, len(QUANTILES)) and found.quantiles.dtype == np.float64
    assert (np.diff(found.quantiles, axis=-1) >= 0).all() and (np.ptp(found.quantiles, axis=-1) > 0).any()
    for name in VARIABLES:
        assert found.of(name).min() >= SERIES[name].low and found.of(name).max() <= SERIES[name].high


@pytest.mark.parametrize("hour", [1, 7, 24, 47])
def test_the_future_changes_nothing(outlooks, hour):
    rows = entries(2)
    past = [row for row in rows if row[0] <= 60 * hour]
    wild = past + [(minute, name, SERIES[name].high) for minute, name, _ in rows if minute > 60 * hour]
    whole, cut, changed = (stack([grid_of(each)]) for each in (rows, past, wild))
    seen = outlooks.at_hour(whole, hour)
    np.testing.assert_array_equal(seen, outlooks.at_hour(cut, hour))
    np.testing.assert_array_equal(seen, outlooks.at_hour(changed, hour))
    assert np.abs(seen - outlooks.at_hour(changed, 48)).max() > 0.1
    stays = [read_stay(physionet(each)) for each in (rows, wild)]
    np.testing.assert_array_equal(*(outlooks.outlook(stay, hour).quantiles for stay in stays))


def test_the_network_itself_sees_no_later_hour(outlooks):
    x = np.random.default_rng(0).normal(size=(2, 48, COLUMNS)).astype(np.float32)
    later = x.copy()
    later[:, 20:] = 5
    np.testing.assert_allclose(*(outlooks.network(asked_at(each, 20)) for each in (x, later)), atol=1e-6)


def test_from_the_last_hour_by_default_and_beyond_the_48th(outlooks):
    short = outlooks.outlook(read_stay(b"hours,HR\n0,80\n4.5,90\n"))
    assert (short.at, short.hours) == (5, tuple(range(6, 30)))
    late = outlooks.outlook(read_stay(physionet(entries(3))), horizon=1)
    assert (late.at, late.hours, late.quantiles.shape[1]) == (48, (49,), 1) and np.isfinite(late.quantiles).all()


def test_what_was_never_measured_has_a_forecast(outlooks):
    alone = outlooks.outlook(read_stay(b"hours,HR\n0.5,85\n"))
    assert np.isfinite(alone.quantiles).all() and (alone.of("Na")[:, 4] > alone.of("Na")[:, 0]).all()


def test_a_batch_equals_single_stays(outlooks, few):
    whole = outlooks.at_hour(few, 30)
    assert whole.shape == (4, len(VARIABLES), HORIZON, len(QUANTILES))
    for k in range(len(few.mean)):
        alone = stack([type(few)(few.mean[k], few.low[k], few.high[k], few.fixed[k])])
        np.testing.assert_allclose(outlooks.at_hour(alone, 30)[0], whole[k], rtol=1e-4, atol=1e-4)


def test_files_keep_their_order_and_errors_their_place(outlooks):
    files = [
        ("a", physionet(entries(1), 1)),
        ("b", b"junk"),
        ("c", b"hours,HR\n0,80\n"),
        ("d", physionet(entries(2), 2)),
    ]
    found = list(outlooks.outlook_many(iter(files), horizon=3))
    assert [name for name, _ in found] == list("abcd") and isinstance(found[1][1], InputError)
    assert [(found[k][1].stay, found[k][1].at) for k in (0, 2, 3)] == [("1", 48), ("", 1), ("2", 48)]
    direct = outlooks.outlook(read_stay(files[2][1]), horizon=3)
    np.testing.assert_array_equal(found[2][1].quantiles, direct.quantiles)
    assert {answer.at for _, answer in outlooks.outlook_many(files[:1], 12)} == {12}


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ((0,), "`at_hour` must be between 1 and 48, got 0"),
        ((49,), "`at_hour` must be between 1 and 48, got 49"),
        ((5, 0), "`horizon` must be between 1 and 24 hours, got 0"),
        ((5, 25), "`horizon` must be between 1 and 24 hours, got 25"),
    ],
)
def test_impossible_hours_are_refused(outlooks, arguments, named):
    with pytest.raises(InputError, match=named):
        outlooks.outlook(read_stay(physionet(entries(1))), *arguments)
    with pytest.raises(InputError, match=named):
        list(outlooks.outlook_many([("a", b"hours,HR\n0,80\n")], *arguments))


def test_a_variable_that_is_not_forecast():
    found = Outlook("", 1, (2,), np.zeros((len(VARIABLES), 1, 5)))
    with pytest.raises(InputError, match="must be one that is forecast, got Weight"):
        found.of("Weight")


def test_ranges_are_those_of_the_variables():
    assert (LOW < HIGH).all() and LOW[VARIABLES.index("GCS")] == 3 and HIGH[VARIABLES.index("SaO2")] == 100


@pytest.mark.parametrize("change", [{}, {"still": [[1.0]]}, {"inner": np.full((27, 5), -1.0).tolist()}])
def test_an_incomplete_calibration_is_refused(outlooks, change):
    stored = outlooks.calibration.to_dict() | change if change else {}
    with pytest.raises(ArtifactError, match="A calibration must hold"):
        Calibration.from_dict(stored)
