"""The bundle of a scan model: calibrated on held-out folds alone, measured on the rest, complete."""

from __future__ import annotations

import numpy as np
import pytest
from drawn_scans import tiny_recipe

from medai_core.artifacts import load_arrays, load_model, read_bundle
from medai_core.calibration import VectorScaling
from medai_core.imaging import train_bundle
from medai_core.imaging.network import Middle
from medai_core.imaging.train import split_scans, train_members
from medai_core.settings import settings

MODELS = ("chest_xray", "brain_mri")


@pytest.fixture(params=MODELS)
def bundle(request: pytest.FixtureRequest, trained):
    return read_bundle(trained.assets / "models" / request.param)


def test_calibration_is_fitted_at_the_stated_prevalence() -> None:
    rng = np.random.default_rng(0)
    labels = rng.choice(3, 3000, p=[0.1, 0.6, 0.3])
    logits = (2 * np.eye(3)[labels] + rng.normal(0, 1, (3000, 3))).astype(np.float32)
    scaling, rule = train_bundle.calibrate("chest_xray", logits, labels, np.arange(3000).astype(str))
    probabilities = scaling(logits)
    weights = np.array(train_bundle.PREVALENCE["chest_xray"])[labels] / np.bincount(labels)[labels]
    # With a bias per class, a fitted softmax gives each class its weighted frequency on average.
    stated = (probabilities * weights[:, None]).sum(0) / weights.sum()
    np.testing.assert_allclose(stated, train_bundle.PREVALENCE["chest_xray"], atol=0.005)
    hit = [1 - row[label] <= rule.conformal_threshold for row, label in zip(probabilities, labels, strict=True)]
    assert np.average(hit, weights=weights) == pytest.approx(0.90, abs=0.01)


@pytest.mark.parametrize(("count", "means"), [(30, 1), (200, 5), (700, 16)])
def test_the_background_is_made_of_averages(count: int, means: int) -> None:
    rng = np.random.default_rng(0)
    levels = rng.integers(0, 5, count)[:, None, None] * 50
    images = (levels + rng.integers(0, 50, (count, 128, 128))).astype(np.uint8)
    found = train_bundle.background(images, 0)
    assert found.shape[1:] == (128, 128) and 1 <= len(found) <= means and found.dtype == np.uint8
    # The spread of single images is gone: nobody's picture is left.
    assert found.std((1, 2)).max() < 0.5 * images[0].std()


def test_background_images_come_with_the_bundle(bundle) -> None:
    images = load_arrays(bundle, "background")["images"]
    assert images.shape[1:] == (128, 128) and images.dtype == np.uint8 and images.min() < images.max()


def test_preprocessing_holds_what_a_reading_needs(bundle) -> None:
    stored = bundle.preprocessing
    assert (stored["size"], stored["via"]) == (128, 224)
    assert set(stored["positive"]["labels"]) < set(stored["labels"]) == set(stored["prevalence"])
    assert stored["conformal"]["coverage"] == 0.90 and 0 < stored["conformal"]["threshold"] <= 1
    point = stored["operating_point"]
    assert point["name"] and 0 < point["threshold"] < 1
    for name in ("sensitivity", "specificity"):
        assert 0 <= point[name]["low"] <= point[name]["value"] <= point[name]["high"] <= 1
    assert VectorScaling.from_dict(stored["calibration"]).scale.shape == (len(stored["labels"]),)


def test_the_operating_point_is_the_one_measured(bundle) -> None:
    point, name = bundle.preprocessing["operating_point"], bundle.preprocessing["positive"]["name"]
    unseen = {"chest_xray": "held-out sessions", "brain_mri": "held-out folds"}[bundle.id]
    rows = {row["metric"]: row for row in bundle.metrics["figures"] if row["split"] == unseen}
    for side in ("sensitivity", "specificity"):
        assert point[side]["value"] == rows[f"{side}, {name}"]["value"]


def test_metrics_are_complete(bundle) -> None:
    metrics, labels = bundle.metrics, bundle.preprocessing["labels"]
    counts = np.array(metrics["confusion"]["counts"])
    tested = bundle.card["split"]["test"]
    assert metrics["confusion"]["labels"] == labels and counts.shape == (len(labels),) * 2
    assert counts.sum() == tested == sum(part["n"] for part in metrics["reliability"])
    assert metrics["roc"]["fpr"][0] == metrics["roc"]["tpr"][0] == 0 and metrics["roc"]["tpr"][-1] == 1
    for row in metrics["figures"] + metrics["baseline"]:
        assert set(row) == {"metric", "value", "low", "high", "n", "split"}
        assert row["low"] <= row["high"] and row["n"] > 0
    rows = {(row["metric"], row["split"]): row for row in metrics["figures"]}
    assert rows["accuracy, all labels", "test"]["value"] == pytest.approx(np.trace(counts) / tested)


def test_weak_parts_have_rows_of_their_own(trained) -> None:
    chest, brain = (read_bundle(trained.assets / "models" / model).metrics["figures"] for model in MODELS)
    assert {row["split"] for row in chest} >= {"test", "held-out sessions", "held-out session 1", "held-out session 2"}
    removed = {row["split"]: row["n"] for row in brain if row["metric"] == "accuracy, all labels"}
    assert set(removed) == {
        "test",
        "held-out folds",
        "held-out folds, other devices imitated",
        "test, duplicates removed",
        "held-out folds, duplicates removed",
        "test, other devices imitated",
        "test, detail removed",
    }
    bare = [row for row in brain if row["split"] == "test, detail removed"]
    assert {row["metric"] for row in bare} == {"accuracy, all labels", "highest probability, mean"}
    assert not any(row["split"] == "test, detail removed" for row in chest)
    assert sum(n for name, n in removed.items() if "duplicates removed" in name) == 72 - 8


def test_the_card_is_complete(bundle) -> None:
    card = bundle.card
    wanted = {"id", "name", "version", "task", "summary", "intended_use", "not_for", "population", "labels"}
    wanted |= {"training_data", "split", "metrics_note", "failure_modes", "explanation_notes", "libraries", "seed"}
    assert wanted <= set(card) and "notes" not in card
    images = {"chest_xray": 64, "brain_mri": 72}[bundle.id]
    assert card["training_data"]["n_images"] == images == card["split"]["test"] + card["split"]["development"]
    assert ("n_patients" in card["training_data"]) == (bundle.id == "chest_xray")
    assert len(card["training_data"]["sha256"]) == 64 and card["recipe"]["members"] == 2
    assert card["split"]["folds"] == 2 and card["split"]["method"]


def test_the_test_part_has_no_say_in_the_thresholds(trained, chest_scans) -> None:
    recipe, work = tiny_recipe(3), trained.assets / "models" / "chest_xray.work"
    _, split, held_out, imitated = train_members("chest_xray", chest_scans, work, pytest.fail, recipe)
    mine = ~split.test
    both = np.concatenate([held_out[mine], imitated[mine]])
    scaling, rule = train_bundle.calibrate(
        "chest_xray",
        both,
        np.tile(chest_scans.labels[mine], 2),
        np.tile(chest_scans.groups[mine], 2),
        np.repeat([0.8, 0.2], mine.sum()),
    )
    stored = read_bundle(trained.assets / "models" / "chest_xray").preprocessing
    np.testing.assert_allclose(stored["calibration"]["scale"], scaling.scale, atol=1e-3)
    assert stored["conformal"]["threshold"] == pytest.approx(rule.conformal_threshold, abs=1e-3)
    again = split_scans("chest_xray", chest_scans, recipe)
    np.testing.assert_array_equal(again.test, split.test)


def test_the_network_of_the_bundle_is_the_average_of_the_members(trained, chest_scans) -> None:
    members, *_ = train_members(
        "chest_xray", chest_scans, trained.assets / "models" / "chest_xray.work", pytest.fail, tiny_recipe(3)
    )
    loaded = load_model(read_bundle(trained.assets / "models" / "chest_xray"))
    images = chest_scans.images[:5, ..., None].astype(np.float32) / 255
    shown = Middle(tiny_recipe(3).margin)(images)
    np.testing.assert_allclose(loaded(images), np.mean([member(shown)[1] for member in members], 0), atol=1e-5)
    assert loaded.get_layer("view").margin == tiny_recipe(3).margin and not loaded.trainable_variables
    assert [layer.name for layer in loaded.layers if layer.name.startswith("member_")] == ["member_0", "member_1"]


def test_the_registry_takes_them_when_pinned(shipped) -> None:
    from medai_core import registry

    assert registry.available() == ["chest_xray", "brain_mri", "scan_gate"]
    for model in registry.available():
        found = registry.bundle(model)
        assert found.id == model and found.size_mb < 10
    assert settings().assets_dir.name.startswith("assets")
