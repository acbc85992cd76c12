from __future__ import annotations

import math

import numpy as np
import pytest
import sklearn.metrics
from hypothesis import given
from hypothesis import strategies as st

from medai_core import metrics
from medai_core.errors import InputError


def binary_case(n: int = 200, seed: int = 0, digits: int = 2) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    outcome = rng.integers(0, 2, n)
    return np.round(np.clip(rng.normal(0.4 + 0.2 * outcome, 0.2), 0, 1), digits), outcome


def class_case(n: int = 200, k: int = 4, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.dirichlet(np.ones(k), n), rng.integers(0, k, n)


def auc_by_pairs(score, outcome) -> float:
    pairs = [(a > b) + 0.5 * (a == b) for a in score[outcome == 1] for b in score[outcome == 0]]
    return sum(pairs) / len(pairs)


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=2, max_size=40))
def test_auc_counts_pairs(cases):
    score, outcome = np.array([s for s, _ in cases]), np.array([int(y) for _, y in cases])
    got = metrics.roc_auc(score, outcome)
    if len(set(outcome)) < 2:
        assert math.isnan(got)
    else:
        assert got == pytest.approx(auc_by_pairs(score, outcome), abs=1e-12)
        assert got == pytest.approx(sklearn.metrics.roc_auc_score(outcome, score), abs=1e-12)


def test_sensitivity_and_specificity_count_the_threshold_as_positive():
    score, outcome = np.array([0.2, 0.5, 0.5, 0.9]), np.array([0, 0, 1, 1])
    assert metrics.sensitivity(score, outcome, 0.5) == 1.0
    assert metrics.specificity(score, outcome, 0.5) == 0.5
    assert metrics.sensitivity(score, outcome, 0.6) == 0.5
    assert math.isnan(metrics.sensitivity(score[:2], outcome[:2], 0.5))
    assert math.isnan(metrics.specificity(score[2:], outcome[2:], 0.5))


@pytest.mark.parametrize("prevalence", [0.0, 0.01, 0.3, 1.0])
def test_predictive_values_count_a_population(prevalence):
    ill = round(100_000 * prevalence)
    well = 100_000 - ill
    ppv, npv = metrics.ppv_npv(0.9, 0.8, prevalence)
    assert ppv == pytest.approx(0.9 * ill / (0.9 * ill + 0.2 * well))
    assert npv == pytest.approx(0.8 * well / (0.8 * well + 0.1 * ill))


def test_predictive_values_are_undefined_where_no_answer_falls():
    assert math.isnan(metrics.ppv_npv(0.9, 1.0, 0.0)[0])
    with pytest.raises(InputError, match=r"`prevalence` must be between 0 and 1, got 1.2"):
        metrics.ppv_npv(0.9, 0.8, 1.2)


@pytest.mark.parametrize(
    ("k", "n", "low", "high"), [(0, 10, 0.0, 0.27753), (81, 263, 0.25527, 0.36624), (10, 10, 0.72247, 1.0)]
)
def test_wilson_known_values(k, n, low, high):
    # 81 of 263: Newcombe, Statistics in Medicine 17 (1998), table I.
    got = metrics.wilson(k, n)
    assert (got.value, got.low, got.high) == pytest.approx((k / n, low, high), abs=2e-4)


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_holds_its_share(counts):
    got = metrics.wilson(*counts)
    assert 0 <= got.low <= got.value <= got.high <= 1


def test_wilson_refuses_impossible_counts():
    with pytest.raises(InputError, match="got 3 of 2"):
        metrics.wilson(3, 2)


def test_accuracy_and_confusion_agree_with_counting():
    probs, labels = class_case()
    answer = probs.argmax(axis=1)
    counts = np.zeros((4, 4), int)
    for truth, said in zip(labels, answer, strict=True):
        counts[truth, said] += 1
    np.testing.assert_array_equal(metrics.confusion(probs, labels, 4), counts)
    np.testing.assert_array_equal(metrics.confusion(answer, labels, 4), counts)
    assert metrics.accuracy(probs, labels) == metrics.accuracy(answer, labels) == counts.trace() / counts.sum()


def test_brier_agrees_with_its_definition():
    probs, labels = class_case()
    by_hand = sum((p - (k == y)) ** 2 for row, y in zip(probs, labels, strict=True) for k, p in enumerate(row)) / 200
    assert metrics.brier(probs, labels) == pytest.approx(by_hand)
    score, outcome = binary_case()
    assert metrics.brier(score, outcome) == pytest.approx(sklearn.metrics.brier_score_loss(outcome, score))
    assert metrics.brier(np.stack([1 - score, score], 1), outcome) == pytest.approx(2 * metrics.brier(score, outcome))


def ece_by_loop(stated, right, bins: int) -> float:
    total = 0.0
    for b in range(bins):
        inside = [i for i, p in enumerate(stated) if min(int(p * bins), bins - 1) == b]
        if inside:
            gap = np.mean([stated[i] for i in inside]) - np.mean([right[i] for i in inside])
            total += len(inside) / len(stated) * abs(gap)
    return total


@pytest.mark.parametrize("bins", [1, 10, 15])
def test_calibration_error_agrees_with_a_loop(bins):
    score, outcome = binary_case()
    score[:2] = 0.0, 1.0
    assert metrics.expected_calibration_error(score, outcome, bins) == pytest.approx(ece_by_loop(score, outcome, bins))
    probs, labels = class_case()
    by_loop = ece_by_loop(probs.max(axis=1), probs.argmax(axis=1) == labels, bins)
    assert metrics.expected_calibration_error(probs, labels, bins) == pytest.approx(by_loop)


@pytest.mark.parametrize("metric", [metrics.roc_auc, metrics.brier, metrics.expected_calibration_error])
def test_swapped_arguments_are_refused(metric):
    score, outcome = binary_case()
    with pytest.raises(InputError, match="`outcome` must hold only 0 and 1"):
        metric(outcome, score)


@pytest.mark.parametrize(
    "call",
    [
        lambda: metrics.roc_auc([], []),
        lambda: metrics.roc_auc([0.1], [0, 1]),
        lambda: metrics.roc_auc([math.nan, 0.2], [0, 1]),
        lambda: metrics.brier([[0.4, 0.6]], [2]),
        lambda: metrics.brier([[0.4, 0.6]], [0.5]),
        lambda: metrics.confusion([3], [0], 3),
        lambda: metrics.bootstrap(metrics.accuracy, [1, 2], [1]),
        lambda: metrics.bootstrap(metrics.accuracy, [1, 2], [1, 2], groups=[1]),
    ],
)
def test_what_cannot_be_measured_is_refused(call):
    with pytest.raises(InputError):
        call()


def test_bootstrap_is_repeatable_and_holds_the_value():
    score, outcome = binary_case()
    first, again = (metrics.bootstrap(metrics.roc_auc, score, outcome, seed=3) for _ in range(2))
    assert first == again
    assert first.value == metrics.roc_auc(score, outcome)
    assert first.low < first.value < first.high
    assert first != metrics.bootstrap(metrics.roc_auc, score, outcome, seed=4)


def test_bootstrap_of_a_mean_agrees_with_theory():
    x = np.random.default_rng(1).normal(size=400)
    got = metrics.bootstrap(np.mean, x, n=4000)
    half = 1.96 * x.std() / 20
    assert (got.low, got.high) == pytest.approx((x.mean() - half, x.mean() + half), abs=0.01)


def test_bootstrap_draws_whole_groups():
    groups = np.repeat(np.arange(30), 5)
    np.random.default_rng(0).shuffle(groups)
    drawn = []

    def collect(g):
        drawn.append(np.unique(g, return_counts=True)[1])
        return 0.0

    metrics.bootstrap(collect, groups, groups=groups, n=50)
    assert all((counts % 5 == 0).all() and counts.sum() == 150 for counts in drawn)
    assert any((counts > 5).any() for counts in drawn)


def test_bootstrap_over_groups_is_wider_where_images_repeat():
    x = np.repeat(np.random.default_rng(2).normal(size=50), 8)
    apart, together = metrics.bootstrap(np.mean, x), metrics.bootstrap(np.mean, x, groups=np.arange(400) // 8)
    assert together.high - together.low > 2 * (apart.high - apart.low)


def test_bootstrap_leaves_out_undefined_resamples():
    got = metrics.bootstrap(metrics.roc_auc, [0.1, 0.4, 0.9], [0, 0, 1], n=200)
    assert (got.value, got.low, got.high) == (1.0, 1.0, 1.0)
    alone = metrics.bootstrap(metrics.roc_auc, [0.1, 0.4], [0, 0], n=20)
    assert math.isnan(alone.value)
    assert math.isnan(alone.low)


def test_interval_is_a_plain_record():
    got = metrics.Interval(0.5, 0.4, 0.6)
    assert metrics.Interval(**got.to_dict()) == got
    with pytest.raises(AttributeError):
        got.value = 1.0
