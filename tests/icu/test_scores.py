"""Both challenge scores worked by hand, the rest against scikit-learn and statistics' definitions."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score

from medai_core.errors import InputError
from medai_core.icu import scores


def test_event_1_by_hand():
    risk, died = [0.9, 0.8, 0.7, 0.4, 0.3, 0.1], [1, 0, 1, 1, 0, 0]
    # At 0.5 three are named and two of them died: +P 2/3; two of the three deaths are found: Se 2/3.
    assert scores.event_1(risk, died, 0.5) == pytest.approx(2 / 3)
    # At 0.85 one is named, rightly: +P 1, Se 1/3. At 0.2 five are named: Se 1, +P 3/5.
    assert scores.event_1(risk, died, 0.85) == pytest.approx(1 / 3)
    assert scores.event_1(risk, died, 0.2) == pytest.approx(3 / 5)
    assert scores.event_1(risk, died, 0.7) == pytest.approx(2 / 3)  # at the threshold counts as named
    assert scores.event_1(risk, died, 0.95) == 0.0
    assert math.isnan(scores.event_1(risk, [0] * 6, 0.5))


def test_best_threshold_by_hand():
    # The first four hold all three deaths: Se 1, +P 3/4, more than 2/3 with three or 3/5 with five.
    assert scores.best_threshold([0.9, 0.8, 0.7, 0.4, 0.3, 0.1], [1, 0, 1, 1, 0, 0]) == pytest.approx(0.35)


def test_equal_risks_stand_on_one_side():
    risk, died = np.array([0.6, 0.6, 0.6, 0.2]), np.array([1, 0, 0, 0])
    threshold = scores.best_threshold(risk, died)
    assert threshold == pytest.approx(0.4) and scores.event_1(risk, died, threshold) == pytest.approx(1 / 3)


@pytest.mark.parametrize("seed", range(3))
def test_best_threshold_against_trying_all(seed):
    rng = np.random.default_rng(seed)
    risk = np.round(rng.random(60), 1)
    died = rng.random(60) < risk
    best = max(scores.event_1(risk, died, t) for t in np.unique(risk))
    assert scores.event_1(risk, died, scores.best_threshold(risk, died)) == pytest.approx(best)


def test_event_2_by_hand():
    # Twenty stays, two to a decile, risks 0.05, 0.15 … 0.95; one of two dies in each decile from the sixth on.
    risk = np.repeat(np.arange(10) / 10 + 0.05, 2)
    died = np.r_[np.zeros(10, int), np.tile([0, 1], 5)]
    h = 0.0
    for pi, observed in zip(np.arange(10) / 10 + 0.05, [0] * 5 + [1] * 5, strict=True):
        h += (observed - 2 * pi) ** 2 / (2 * pi * (1 - pi) + 0.001)
    assert scores.event_2(risk, died) == pytest.approx(h / 0.9)
    # The first decile alone: (0 - 0.1)^2 / (0.095 + 0.001).
    assert pytest.approx(0.1041667, abs=1e-6) == 0.1**2 / 0.096


def test_event_2_of_certain_and_of_flat_answers():
    assert scores.event_2([0.0] * 10 + [1.0] * 10, [0] * 10 + [1] * 10) == 0.0
    assert math.isnan(scores.event_2([0.2] * 20, [0] * 20))
    assert math.isnan(scores.event_2([0.1] * 9, [0] * 9))


def test_event_2_does_not_depend_on_the_order():
    rng = np.random.default_rng(0)
    risk = rng.random(97)
    died = rng.random(97) < risk
    order = rng.permutation(97)
    assert scores.event_2(risk, died) == pytest.approx(scores.event_2(risk[order], died[order]))


@pytest.mark.parametrize("digits", [1, 9])
def test_average_precision_equals_scikit_learns(digits):
    rng = np.random.default_rng(1)
    risk = np.round(rng.random(300), digits)
    died = rng.random(300) < 0.2
    assert scores.average_precision(risk, died) == pytest.approx(average_precision_score(died, risk))
    assert math.isnan(scores.average_precision(risk, np.zeros(300, int)))


def test_calibration_of_a_known_distortion():
    rng = np.random.default_rng(2)
    z = rng.normal(-1.5, 1.2, 60000)
    died = rng.random(z.size) < 1 / (1 + np.exp(-z))
    assert scores.calibration_slope(1 / (1 + np.exp(-2 * z)), died) == pytest.approx(0.5, abs=0.02)
    assert scores.calibration_intercept(1 / (1 + np.exp(-(z - 0.7))), died) == pytest.approx(0.7, abs=0.05)


def test_logistic_equals_scikit_learns():
    rng = np.random.default_rng(3)
    x = rng.normal(size=(500, 2))
    died = rng.random(500) < 1 / (1 + np.exp(-(x @ [1.0, -0.5] - 1)))
    found = scores.logistic(np.column_stack([x, np.ones(500)]), died)
    other = LogisticRegression(C=1e9, tol=1e-9).fit(x, died)
    np.testing.assert_allclose(found, [*other.coef_[0], other.intercept_[0]], atol=1e-3)


def test_swapped_arguments_are_noticed():
    with pytest.raises(InputError):
        scores.event_2([0, 1] * 10, np.linspace(0.1, 0.9, 20))
