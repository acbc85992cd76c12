"""Statistics of synthetic images: the same as a slow oracle's, or as worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from drawn_bodies import bodies
from scipy import linalg

from medai_core.errors import InputError
from medai_core.synthesis import quality


def cloud(n: int, size: int = 6, seed: int = 0, shift: float = 0.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, size)) @ np.diag(np.arange(1, size + 1)) + shift


# ---------------------------------------------------------------------------------------------- Fréchet distance


def test_frechet_distance_of_a_line_is_worked_out_by_hand() -> None:
    # Means 1 and 4, variances 1 and 4: 3² + 1 + 4 - 2 · √(1 · 4) = 10.
    a, b = np.array([[0.0], [1], [2]]), np.array([[2.0], [4], [6]])
    assert quality.frechet(a, b) == pytest.approx(10)


def test_frechet_distance_agrees_with_the_matrix_square_root() -> None:
    a, b = cloud(200), cloud(150, seed=1, shift=0.5) @ np.random.default_rng(2).standard_normal((6, 6))
    one, other = np.cov(a.T), np.cov(b.T)
    oracle = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(one + other - 2 * linalg.sqrtm(one @ other).real)
    assert quality.frechet(a, b) == pytest.approx(oracle)
    assert quality.frechet(b, a) == pytest.approx(oracle)


def test_frechet_distance_to_itself_is_nothing_also_with_fewer_images_than_features() -> None:
    few = cloud(5, size=20)
    assert quality.frechet(few, few) == pytest.approx(0, abs=1e-4)


# ------------------------------------------------------------------------------------------------------------ KID


def test_kid_agrees_with_a_slow_sum_over_pairs() -> None:
    a, b = cloud(9), cloud(7, seed=1, shift=1.0)

    def kernel(x, y):
        return (x @ y / 6 + 1) ** 3

    within = np.mean([kernel(x, y) for i, x in enumerate(a) for j, y in enumerate(a) if i != j])
    within += np.mean([kernel(x, y) for i, x in enumerate(b) for j, y in enumerate(b) if i != j])
    across = np.mean([kernel(x, y) for x in a for y in b])
    assert quality.kid(a, b) == pytest.approx(within - 2 * across)


def test_kid_is_nothing_on_average_between_halves_and_grows_with_a_shift() -> None:
    same = [quality.kid(cloud(80, seed=2 * k), cloud(80, seed=2 * k + 1)) for k in range(60)]
    assert abs(np.mean(same)) < 3 * np.std(same) / np.sqrt(60)
    assert np.min(same) < 0 < np.max(same)
    assert quality.kid(cloud(80), cloud(80, seed=1, shift=2.0)) > 5 * np.std(same)


def test_kid_of_subsets_estimates_that_of_all() -> None:
    a, b = cloud(300), cloud(300, seed=1, shift=1.0)
    assert quality.kid(a, b, subsets=40, size=100) == pytest.approx(quality.kid(a, b), rel=0.15)


# ------------------------------------------------------------------------- precision, recall, density, coverage


def slow_prdc(real: np.ndarray, fake: np.ndarray, k: int) -> dict[str, float]:
    def reach(points):
        return [sorted(np.linalg.norm(x - y) for y in points)[k] for x in points]

    of_real, of_fake = reach(real), reach(fake)
    inside = [[np.linalg.norm(r - f) < of_real[i] for f in fake] for i, r in enumerate(real)]
    return {
        "precision": np.mean([any(inside[i][j] for i in range(len(real))) for j in range(len(fake))]),
        "recall": np.mean([any(np.linalg.norm(r - f) < of_fake[j] for j, f in enumerate(fake)) for r in real]),
        "density": np.mean([sum(inside[i][j] for i in range(len(real))) for j in range(len(fake))]) / k,
        "coverage": np.mean([any(row) for row in inside]),
    }


@pytest.mark.parametrize("k", [1, 3])
def test_prdc_agrees_with_a_slow_oracle(k: int) -> None:
    real, fake = cloud(40, size=3), cloud(30, size=3, seed=1, shift=0.8)
    assert quality.prdc(real, fake, k) == pytest.approx(slow_prdc(real, fake, k))


def test_one_image_made_over_and_over_is_precise_but_covers_little() -> None:
    real = cloud(100)
    found = quality.prdc(real, np.repeat(real[:1], 100, 0) + 1e-6 * cloud(100, seed=5))
    assert found["precision"] == 1
    assert found["recall"] < 0.05 and found["coverage"] < 0.3


# --------------------------------------------------------------------------------------------- against the floor


def patients(n: int) -> np.ndarray:
    return np.array([f"p{k // 3}" for k in range(n)])


def test_halves_are_equal_and_share_no_patient() -> None:
    groups = patients(201)
    one, other = quality.halves(groups, 0)
    assert not set(groups[one]) & set(groups[other])
    assert len(one) == len(other) and 97 <= len(one) <= 100
    assert len(quality.halves(groups, 0, 20)[0]) == 20
    assert set(one) != set(quality.halves(groups, 1)[0])
    assert not set(one) & set(other) and len(set(one)) == len(one)
    with pytest.raises(InputError, match="two patients"):
        quality.halves(["p"] * 9, 0)


def test_halves_have_one_mix_of_labels_and_whole_patients() -> None:
    rng = np.random.default_rng(0)
    groups = np.array([f"p{k}" for k in rng.integers(0, 80, 300)])
    labels = np.where(np.arange(300) % 7 == 0, 2, np.unique(groups, return_inverse=True)[1] % 2)
    one, other = quality.halves(groups, 3, labels=labels)
    np.testing.assert_array_equal(np.bincount(labels[one]), np.bincount(labels[other]))
    assert not set(groups[one]) & set(groups[other]) and len(one) > 120
    few = quality.halves(groups, 3, 40, labels)
    np.testing.assert_array_equal(np.bincount(labels[few[0]]), np.bincount(labels[few[1]]))
    assert 38 <= len(few[0]) <= 40


def test_a_mix_of_labels_is_no_distance() -> None:
    labels = np.repeat([0, 1], 200)
    real = cloud(400) + 20 * labels[:, None]
    fake = cloud(400, seed=1) + 20 * labels[:, None]
    found = quality.scores(real, fake, np.arange(400) // 5, labels, repeats=4)
    careless = quality.scores(real, fake, np.arange(400) // 5, repeats=4)
    assert found["frechet_floor"].value < 0.7 * careless["frechet_floor"].value


def test_images_of_the_same_kind_have_a_ratio_near_one_and_others_a_large_one() -> None:
    real = cloud(600)
    same = quality.scores(real, cloud(300, seed=1), patients(600), repeats=4)
    other = quality.scores(real, cloud(300, seed=1, shift=2.0), patients(600), repeats=4)
    assert 0.5 < same["frechet_ratio"].value < 2
    assert other["frechet_ratio"].value > 10 and other["kid_ratio"].value > 10
    assert abs(same["kid"].value) < 5 * same["kid_floor"].value
    assert same["frechet_floor"].value == pytest.approx(other["frechet_floor"].value)
    assert same["precision"].value == pytest.approx(same["precision_floor"].value, abs=0.1)
    assert all(found.low <= found.value <= found.high for found in (*same.values(), *other.values()))
    assert same["frechet_ratio"].value == pytest.approx(same["frechet"].value / same["frechet_floor"].value)


def test_a_quick_look_finds_no_neighbours_and_the_same_distance() -> None:
    real, fake = cloud(120), cloud(60, seed=1)
    quick = quality.scores(real, fake, patients(120), repeats=2, neighbours=False)
    assert "precision" not in quick
    assert quick["frechet"] == quality.scores(real, fake, patients(120), repeats=2)["frechet"]


@pytest.mark.parametrize(
    ("a", "b", "problem"),
    [
        (cloud(5), cloud(5, size=4), "one D"),
        (cloud(5)[0], cloud(5)[0], "shape"),
        (cloud(1), cloud(5), "At least 2"),
        (cloud(5) * np.nan, cloud(5), "finite"),
    ],
)
def test_features_that_cannot_be_compared_are_named(a, b, problem) -> None:
    with pytest.raises(InputError, match=problem):
        quality.frechet(a, b)


# -------------------------------------------------------------------------------------------- likeness of pairs


def test_ms_ssim_agrees_with_tensorflow() -> None:
    tensorflow = pytest.importorskip("tensorflow", reason="the oracle is TensorFlow's")
    images = bodies(6)
    one, other = images[:4], np.stack([images[0], images[1] // 2 + 40, images[4], images[5]])
    weights = (quality.SCALE_WEIGHTS[:4] / quality.SCALE_WEIGHTS[:4].sum()).tolist()
    oracle = tensorflow.image.ssim_multiscale(one[..., None], other[..., None], 255, power_factors=weights).numpy()
    assert quality.ms_ssim(one, other) == pytest.approx(oracle, abs=1e-4)
    assert quality.ms_ssim(one, one) == pytest.approx(1)
    assert 0.1 < oracle[2] < 0.9, "the case must not be trivial"


def test_the_same_body_over_and_over_is_less_diverse() -> None:
    several = bodies(12)
    noise = np.random.default_rng(0).integers(-6, 7, (12, 128, 128))
    same = np.clip(several[0] + noise, 0, 255).astype(np.uint8)
    diverse, poor = (quality.ms_ssim_diversity(images, pairs=30) for images in (several, same))
    assert diverse.high < poor.low
    assert quality.ms_ssim_diversity(several, pairs=30) == diverse


def test_pairs_of_one_patient_are_passed_over() -> None:
    images = np.repeat(bodies(3), 3, 0)
    groups = np.repeat(["a", "b", "c"], 3)
    apart, careless = quality.ms_ssim_diversity(images, 60, groups=groups), quality.ms_ssim_diversity(images, 60)
    assert careless.value > apart.value + 0.1, "a third of careless pairs show the same image twice"
    with pytest.raises(InputError, match="two patients"):
        quality.ms_ssim_diversity(images, groups=["a"] * 9)


def test_images_too_small_for_the_scales_are_named() -> None:
    small = np.zeros((2, 64, 64), np.uint8)
    with pytest.raises(InputError, match="at least 88 pixels"):
        quality.ms_ssim(small, small)
    assert quality.ms_ssim(small, small, scales=3) == pytest.approx(1)
