"""A generator measured as a whole, on drawn images: every figure is there, and says what it should."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
from drawn_bodies import bodies

from medai_core import metrics
from medai_core.errors import InputError
from medai_core.imaging.cards import CARDS as IMAGING_CARDS
from medai_core.synthesis import cards, evaluate, utility
from medai_core.synthesis.evaluate import Images
from medai_core.synthesis.privacy import Descriptors
from medai_core.synthesis.split import split
from medai_core.synthesis.utility import TrainingSet

LABELS = ("normal", "bacterial", "viral")
EACH = 40


class Drawn:
    """A generator that draws new bodies, of the label asked for."""

    labels = LABELS

    def __init__(self, descriptors: Descriptors) -> None:
        self.descriptors = descriptors
        self.asked: list[tuple[str, int, int]] = []

    def generate(self, label: str, count: int, seed: int):
        self.asked.append((label, count, seed))
        pixels = bodies(count, 10_000 + 1000 * seed, LABELS.index(label))
        return SimpleNamespace(images=[SimpleNamespace(pixels=image) for image in pixels], withheld=1)


def scan_answers(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Coarse thumbnails as features; normal for certain, whatever is shown."""
    assert images.dtype == np.uint8 and len(images) <= 64
    return images[:, 8::24, 8::24].reshape(len(images), -1) / 50, np.tile([0.8, 0.1, 0.1], (len(images), 1))


@pytest.fixture(scope="module")
def real() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    images = np.concatenate([bodies(EACH, 100 * label, label) for label in range(3)])
    return images, np.repeat(np.arange(3), EACH), np.array([f"p{k // 2}" for k in range(3 * EACH)])


@pytest.fixture(scope="module")
def generator(real) -> Drawn:
    images, labels, groups = real
    train, _ = split(groups, labels, share=0.25)
    return Drawn(Descriptors.build(images[train], groups[train], scan_answers(images[:1])[0].repeat(train.sum(), 0)))


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "bootstrap", partial(metrics.bootstrap, n=20))
    monkeypatch.setattr(evaluate, "LEAST_HELD_OUT", 20)
    monkeypatch.setattr(evaluate, "PAIRS", 10)


def test_a_generator_is_measured_as_a_whole(real, generator: Drawn, monkeypatch: pytest.MonkeyPatch) -> None:
    learnt = []

    def answers(train: TrainingSet, test: np.ndarray, classes: int, *, steps: int) -> np.ndarray:
        learnt.append((len(train.images), len(test), classes, steps))
        return np.random.default_rng(len(train.images)).dirichlet(np.ones(classes), len(test))

    monkeypatch.setattr(utility, "answers", answers)
    told = []
    rows = evaluate.evaluate(generator, *real, scan_answers, told.append, count=50, steps=2)
    found = {str(row["metric"]): row for row in rows}
    assert len(found) == len(rows) and all({"value", "low", "high", "n"} <= set(row) for row in rows)
    assert all(np.isfinite([row["value"], row["low"], row["high"]]).all() for row in rows)
    for name in ("Fréchet distance", "KID", "precision", "recall", "density", "coverage"):
        assert {name, f"{name}, real against real"} <= set(found)
    assert found["Fréchet distance, ratio to real against real"]["value"] > 0.3
    assert found["Fréchet distance"]["n"] == 50
    # The scan model calls everything normal, so it agrees with every normal image and no other.
    assert found["label agreement of the scan model, normal"]["value"] == 1
    assert found["label agreement of the scan model, viral"]["value"] == 0
    assert found["label agreement of the scan model, real images"]["value"] == pytest.approx(1 / 3)
    assert found["within the closest 0.1 % of real-to-real distances, pixels"]["value"] < 0.15
    assert found["withheld as near-copies, share of all made"]["value"] == pytest.approx(3 / 53)
    assert found["membership AUC, pixels"]["low"] < 0.5 < found["membership AUC, pixels"]["high"]
    assert {f"MS-SSIM within {label}, {kind}" for label in LABELS for kind in ("synthetic", "real")} <= set(found)
    trained = ("synthetic", "real", "a tenth of the real", "a tenth of the real and synthetic")
    assert all(f"AUC, normal or not, trained on {name}" in found for name in trained)
    (synthetic, tested, *rest), whole, tenth, both = learnt
    assert synthetic == 50 and rest == [3, 2] and tested == found["AUC, normal or not, trained on real"]["n"]
    assert whole[0] == 50 and 3 <= tenth[0] < 12 and both[0] == tenth[0] + 50
    less = found["AUC, normal or not, synthetic less real"]["value"]
    one, other = (found[f"AUC, normal or not, trained on {name}"]["value"] for name in ("synthetic", "real"))
    assert less == pytest.approx(one - other)
    assert [row["epoch"] for row in told] == list(range(1, evaluate.STAGES + 1))
    assert all(row["of"] == evaluate.STAGES for row in told)


def test_seeds_of_the_labels_differ_and_counts_follow_the_real_ones(generator: Drawn) -> None:
    generator.asked.clear()
    pixels, labels, withheld = evaluate.draw(generator, [2, 3, 1])
    assert generator.asked == [("normal", 2, 0), ("bacterial", 3, 1), ("viral", 1, 2)]
    assert labels.tolist() == [0, 0, 1, 1, 1, 2] and len(pixels) == 6 and withheld == 3
    assert evaluate.in_proportion(np.array([0, 0, 0, 1, 2, 2]), 3, 8) == [4, 1, 3]
    assert sum(evaluate.in_proportion(np.arange(7) % 3, 3, 100)) == 100


def test_a_folder_without_training_images_is_tested_on_half_of_its_patients(real) -> None:
    images, labels, groups = real
    everything = Images(images, labels, groups, np.zeros((len(labels), 1)), np.zeros((len(labels), 3)))
    learn, test = evaluate._parts(everything, np.zeros(len(labels), bool))
    assert not set(learn.groups) & set(test.groups) and len(learn) == len(test) == 60
    train, held = split(groups, labels, share=0.25)
    learn, test = evaluate._parts(everything, train)
    assert len(test) == held.sum() and not set(learn.groups) & set(test.groups)


def test_a_missing_label_is_named(real, generator: Drawn) -> None:
    images, labels, groups = real
    some = labels != 1
    with pytest.raises(InputError, match="none of bacterial"):
        evaluate.evaluate(generator, images[some], labels[some], groups[some], scan_answers)


def test_a_card_counts_what_was_trained_on(real) -> None:
    images, labels, groups = real
    _, held = split(groups, labels)
    card = cards.card_of("chest_xray_gan", images, labels, groups, held, {"seed": 7})
    assert (card["id"], card["version"], card["seed"]) == ("chest_xray_gan", cards.VERSION, 7)
    assert (card["training_data"]["n_images"], card["training_data"]["n_groups"]) == (120, 60)
    assert card["split"]["held_out"] + card["split"]["training"] == 120 and card["split"]["held_out"] == held.sum()
    other = cards.card_of("chest_xray_gan", images, (labels + 1) % 3, groups, held, {})
    assert other["training_data"]["sha256"] != card["training_data"]["sha256"]
    assert "n_images" not in cards.CARDS["chest_xray_gan"]["training_data"], "the words are shared and must stay"


def test_every_card_says_all_that_is_asked_of_a_card() -> None:
    wanted = set(IMAGING_CARDS["chest_xray"])
    for model, card in cards.CARDS.items():
        assert set(card) == wanted and card["not_for"] and card["failure_modes"], model


# ------------------------------------------------------------------------------------------------ small networks


def shaded(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Images (N, 32, 32), dark on the left or at the top by their label."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, count)
    ramp = np.linspace(60, 190, 32)
    images = np.where(labels[:, None, None] == 0, ramp[:, None], np.minimum(ramp, ramp[::-1])[None, None] * 1.5)
    return np.clip(images + rng.normal(0, 20, (count, 32, 32)), 0, 255).astype(np.uint8), labels


def test_the_small_network_learns_and_leaves_the_precision_as_it_was() -> None:
    from medai_core import runtime

    runtime.configure()
    import keras

    before = keras.mixed_precision.dtype_policy().name
    train, (test, truth) = TrainingSet.of(*shaded(100, 0)), shaded(60, 1)
    found = utility.answers(train, test, 2, steps=60)
    assert found.sum(1) == pytest.approx(1) and metrics.accuracy(found, truth) > 0.9
    assert keras.mixed_precision.dtype_policy().name == before
    with pytest.raises(ValueError):
        utility.answers(train, test, 2, steps=-1)
    assert keras.mixed_precision.dtype_policy().name == before


def test_joined_sets_share_every_batch_evenly() -> None:
    few, many = TrainingSet.of(*shaded(5, 0)), TrainingSet.of(*shaded(95, 1))
    both = few.joined(many)
    assert both.weights.sum() == pytest.approx(1) and both.weights[:5].sum() == pytest.approx(0.5)
    images, labels = utility.batch(both, np.random.default_rng(0))
    assert images.shape == (utility.BATCH, 32, 32, 1) and images.min() >= 0 and images.max() <= 1
    again = utility.batch(both, np.random.default_rng(0))
    np.testing.assert_array_equal(images, again[0])
    np.testing.assert_array_equal(labels, again[1])


def test_each_kind_of_label_has_its_figure() -> None:
    name, function = utility.figure_of(LABELS)
    probabilities, labels = np.array([[0.9, 0.1, 0], [0.2, 0.7, 0.1], [0.3, 0, 0.7]]), np.array([0, 2, 1])
    assert name.startswith("AUC") and function(probabilities, labels) == 1
    name, function = utility.figure_of(("glioma", "notumor"))
    assert name.startswith("accuracy") and function(probabilities, labels) == pytest.approx(1 / 3)
