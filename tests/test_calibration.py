from __future__ import annotations

import json
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medai_core import calibration
from medai_core.calibration import VectorScaling
from medai_core.errors import ArtifactError, InputError
from medai_core.metrics import expected_calibration_error


def overconfident(n: int = 4000, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits three times too large and shifted for class 0, with labels drawn from the true softmax."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(n, 3))
    labels = np.array([rng.choice(3, p=row) for row in softmax(z)])
    return 3 * z + [1.0, 0.0, 0.0], labels


def softmax(z: np.ndarray) -> np.ndarray:
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def loss(scaling: VectorScaling, z, y, w=None) -> float:
    return float(np.average(-np.log(scaling(z)[np.arange(len(y)), y]), weights=w))


def test_fit_recovers_scale_and_bias():
    z, y = overconfident()
    fitted = VectorScaling.fit(z, y)
    np.testing.assert_allclose(fitted.scale, 1 / 3, atol=0.05)
    np.testing.assert_allclose(fitted.bias, [-2 / 9, 1 / 9, 1 / 9], atol=0.07)
    assert expected_calibration_error(softmax(z), y) > 0.1
    assert expected_calibration_error(fitted(z), y) < 0.03


@pytest.mark.parametrize("shared", [False, True])
def test_fit_is_a_minimum(shared):
    z, y = overconfident(500)
    w = np.random.default_rng(1).uniform(0.2, 3, 500)
    fitted = VectorScaling.fit(z, y, w, shared=shared)
    best = loss(fitted, z, y, w)
    assert best < loss(VectorScaling(np.ones(3), np.zeros(3)), z, y, w)
    for k in range(3):
        for step in (-0.01, 0.01):
            at = slice(None) if shared else k
            scale, bias = fitted.scale.copy(), fitted.bias.copy()
            scale[at] += step
            assert loss(VectorScaling(scale, fitted.bias), z, y, w) > best
            bias[k] += step
            assert shared or loss(VectorScaling(fitted.scale, bias), z, y, w) > best


def test_shared_scale_is_a_temperature():
    z, y = overconfident(500)
    fitted = VectorScaling.fit(z, y, shared=True)
    assert len(set(fitted.scale)) == 1
    assert not fitted.bias.any()
    np.testing.assert_array_equal(fitted(z).argmax(axis=1), z.argmax(axis=1))


def test_weights_count_as_repeats():
    z, y = overconfident(300)
    times = np.random.default_rng(2).integers(1, 4, 300)
    weighted = VectorScaling.fit(z, y, times)
    repeated = VectorScaling.fit(np.repeat(z, times, axis=0), np.repeat(y, times))
    np.testing.assert_allclose(weighted(z), repeated(z), atol=1e-4)


def test_separable_classes_give_finite_probabilities():
    z = np.array([[5.0, -5.0], [-5.0, 5.0]] * 10)
    fitted = VectorScaling.fit(z, np.array([0, 1] * 10))
    assert np.isfinite(fitted.scale).all()
    assert np.isfinite(fitted.bias).all()
    assert np.isfinite(fitted(z * 1000)).all()


def test_probabilities_sum_to_one_in_any_shape():
    scaling = VectorScaling(np.array([0.5, 1.0, 2.0]), np.array([0.1, 0.0, -0.1]))
    z = np.random.default_rng(0).normal(0, 50, (7, 3))
    np.testing.assert_allclose(scaling(z).sum(axis=1), 1)
    np.testing.assert_allclose(scaling(z)[2], scaling(z[2]), rtol=1e-12)
    with pytest.raises(InputError, match="`logits` must have 3 columns"):
        scaling(z[:, :2])


def test_dict_round_trip_is_exact():
    fitted = VectorScaling.fit(*overconfident(200))
    again = VectorScaling.from_dict(json.loads(json.dumps(fitted.to_dict())))
    np.testing.assert_array_equal(again.scale, fitted.scale)
    np.testing.assert_array_equal(again.bias, fitted.bias)


@pytest.mark.parametrize(
    "stored",
    [
        {},
        {"scale": [1.0]},
        {"scale": [1.0], "bias": [0.0, 0.0]},
        {"scale": ["a"], "bias": [0]},
        {"scale": [], "bias": []},
        {"scale": [math.nan], "bias": [0.0]},
        {"scale": None, "bias": None},
    ],
)
def test_damaged_calibration_is_refused(stored):
    with pytest.raises(ArtifactError):
        VectorScaling.from_dict(stored)


@pytest.mark.parametrize("labels", [[0, 3], [0.0, 1.0], [0], [-1, 0], [[0], [1]]])
def test_fit_refuses_labels_that_are_no_columns(labels):
    with pytest.raises(InputError):
        VectorScaling.fit(np.zeros((2, 3)), np.array(labels))


@pytest.mark.parametrize("weights", [[1.0], [-1.0, 1.0], [0.0, 0.0], [math.nan, 1.0]])
def test_fit_refuses_impossible_weights(weights):
    with pytest.raises(InputError, match="`weights` must be"):
        VectorScaling.fit(np.zeros((2, 3)), np.array([0, 1]), weights)


def test_prevalence_weights_impose_the_prevalence():
    labels = np.array([0] * 70 + [1] * 20 + [2] * 10)
    w = calibration.prevalence_weights(labels, [0.2, 0.3, 0.5])
    assert w.mean() == pytest.approx(1)
    assert [w[labels == k].sum() / 100 for k in range(3)] == pytest.approx([0.2, 0.3, 0.5])
    with pytest.raises(InputError, match="counts"):
        calibration.prevalence_weights(labels, [0.2, 0.3, 0.4, 0.1])
    with pytest.raises(InputError, match="counts"):
        calibration.prevalence_weights(labels, [0.5, 0.5])


def threshold_by_hand(probs, labels, coverage) -> float:
    scores = sorted(1 - row[y] for row, y in zip(probs, labels, strict=True))
    rank = math.ceil((len(scores) + 1) * Fraction(str(coverage)))
    return scores[rank - 1] if rank <= len(scores) else 1.0


@given(st.integers(1, 60), st.sampled_from([0.5, 0.8, 0.9, 0.95]), st.integers(0, 10_000))
def test_conformal_threshold_agrees_with_sorting(n, coverage, seed):
    rng = np.random.default_rng(seed)
    probs, labels = rng.dirichlet(np.ones(3), n), rng.integers(0, 3, n)
    wanted = threshold_by_hand(probs, labels, coverage)
    assert calibration.conformal_threshold(probs, labels, coverage) == wanted
    assert calibration.conformal_threshold(probs, labels, coverage, np.full(n, 0.3)) == wanted


def test_conformal_weights_follow_the_imposed_prevalence():
    rng = np.random.default_rng(0)
    probs, labels = rng.dirichlet([4, 1, 1], 900), np.array([0] * 700 + [1] * 200)
    w = calibration.prevalence_weights(labels, [0.1, 0.9])
    threshold = calibration.conformal_threshold(probs, labels, 0.9, w)
    inside = 1 - probs[np.arange(900), labels] <= threshold
    assert np.average(inside, weights=w) == pytest.approx(0.9, abs=0.01)
    assert threshold > calibration.conformal_threshold(probs, labels, 0.9)


def test_sets_keep_their_promise_on_new_cases():
    rng = np.random.default_rng(0)
    probs = softmax(rng.normal(0, 2, (4000, 4)))
    labels = np.array([rng.choice(4, p=row) for row in probs])
    threshold = calibration.conformal_threshold(probs[:2000], labels[:2000])
    sets = [calibration.prediction_set(row, threshold) for row in probs[2000:]]
    covered = np.mean([y in chosen for y, chosen in zip(labels[2000:], sets, strict=True)])
    assert covered == pytest.approx(0.9, abs=0.025)


def test_prediction_set_is_ordered_and_holds_two_where_none_is_probable_enough():
    assert calibration.prediction_set([0.3, 0.5, 0.2], 0.0) == (1, 0)
    assert calibration.prediction_set([0.3, 0.5, 0.2], 0.5) == (1,)
    assert calibration.prediction_set([0.3, 0.5, 0.2], 0.7) == (1, 0)
    assert calibration.prediction_set([0.3, 0.5, 0.2], 1.0) == (1, 0, 2)
    assert calibration.prediction_set(np.array([1.0, 0.0], np.float32), 1.0) == (0, 1)


@pytest.mark.parametrize("coverage", [0.0, 1.0, 90, math.nan])
def test_coverage_must_be_a_share(coverage):
    with pytest.raises(InputError, match="`coverage` must be between 0 and 1"):
        calibration.conformal_threshold([[0.5, 0.5]], [0], coverage)


def test_reliability_curve_agrees_with_a_loop():
    rng = np.random.default_rng(0)
    p = rng.uniform(0, 0.6, 300)
    p[0] = 1.0
    y = (rng.uniform(size=300) < p).astype(int)
    curve = calibration.reliability_curve(p, y, bins=10)
    wanted = []
    for b in range(10):
        inside = [i for i in range(300) if min(int(p[i] * 10), 9) == b]
        if inside:
            wanted.append((np.mean(p[inside]), np.mean(y[inside]), len(inside)))
    assert [(row["mean_probability"], row["observed"], row["n"]) for row in curve] == [pytest.approx(w) for w in wanted]
    json.dumps(curve)
    with pytest.raises(InputError):
        calibration.reliability_curve(p, y[:-1])


def test_at_prevalence_against_counting() -> None:
    from medai_core.calibration import at_prevalence

    # 1000 patients at 50 %: of 500 ill 400 look so, of 500 well 100 do. At 10 %: 100 ill, 900 well.
    assert at_prevalence(400 / 500, 0.5, 0.1) == pytest.approx(80 / (80 + 180))
    assert at_prevalence(0.37, 0.3, 0.3) == pytest.approx(0.37)
    assert (at_prevalence(0.0, 0.5, 0.9), at_prevalence(1.0, 0.5, 0.1)) == (0.0, 1.0)
    with pytest.raises(InputError, match="`prevalence` must be between 0 and 1, got 1"):
        at_prevalence(0.5, 0.5, 1)
