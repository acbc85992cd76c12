"""Inputs of the forecasts against a slow, obvious version, and that no row sees a later hour."""

from __future__ import annotations

import math

import numpy as np
from drawn_stays import entries, grid_of

from medai_core.icu.forecast_inputs import (
    AGE,
    COLUMNS,
    LAST,
    PLACES,
    SPANS_HOURS,
    VARIABLES,
    forecast_inputs,
    own_columns,
    running_means,
    standardise,
)
from medai_core.icu.inputs import Scaling


def slow_mean(values: list[float], span: float) -> tuple[float, float]:
    """Mean of one series up to its last hour, and the sum of its weights."""
    weights = [
        0.0 if math.isnan(value) else math.exp(-(len(values) - 1 - hour) / span) for hour, value in enumerate(values)
    ]
    total = sum(w * v for w, v in zip(weights, values, strict=True) if w)
    return (total / sum(weights) if sum(weights) else 0.0), sum(weights)


def test_running_means(few):
    z = standardise(few.mean[..., PLACES], Scaling.fit(few)).astype(np.float32)
    means, weight = running_means(z)
    for k, span in enumerate(SPANS_HOURS):
        for name, hour in (("HR", 0), ("HR", 20), ("K", 9), ("Lactate", 47), ("SaO2", 30)):
            v = VARIABLES.index(name)
            wanted = slow_mean(z[1, : hour + 1, v].tolist(), span)
            np.testing.assert_allclose((means[k, 1, hour, v], weight[k, 1, hour, v]), wanted, atol=2e-4)


def test_columns(few):
    scaling = Scaling.fit(few)
    x = forecast_inputs(few, scaling)
    assert x.shape == (4, 48, COLUMNS) and np.isfinite(x).all() and x.dtype == np.float32
    own, v = own_columns(), VARIABLES.index("HR")
    assert own.shape == (len(VARIABLES), len(SPANS_HOURS) + 3) and own[v, 0] == LAST.start + v and own[v, -1] == AGE[v]
    z = standardise(few.mean[..., PLACES], scaling)
    np.testing.assert_allclose(x[0, 47, LAST][v], z[0, ~np.isnan(z[0, :, v]), v][-1], atol=1e-5)
    never = VARIABLES.index("Platelets")
    assert (x[:, :, own[never]] == [0] * (len(SPANS_HOURS) + 2) + [1]).all()


def test_no_row_sees_a_later_hour():
    rows = entries(5)
    scaling = Scaling.fit(grid_of(rows))
    cut = [row for row in rows if row[0] <= 60 * 13]
    np.testing.assert_allclose(*(forecast_inputs(grid_of(each), scaling)[:13] for each in (rows, cut)), atol=1e-6)
