"""Training of the gate: what it is shown, where its limits come from, and what its bundle says."""

from __future__ import annotations

import json

import numpy as np
import pytest
from drawn_scans import draw_brain, draw_chest, tiny_gate_recipe

from medai_core.artifacts import read_bundle
from medai_core.imaging import train_gate
from medai_core.imaging.counterexamples import DRAWN, SPOILED
from medai_core.imaging.gate import KINDS, MODELS, SIGNALS, Limits
from medai_core.imaging.prepare import prepare


def prepared(draw, count: int, first: int) -> np.ndarray:
    images = [prepare(draw(k % 3, first + k)).image[..., 0] for k in range(count)]
    return np.round(np.stack(images) * 255).astype(np.uint8)


@pytest.fixture(scope="module")
def right() -> dict[str, np.ndarray]:
    return {"chest_xray": prepared(draw_chest, 12, 0), "brain_mri": prepared(draw_brain, 12, 0)}


def made_outputs(features: np.ndarray, doubt: np.ndarray) -> dict[str, np.ndarray]:
    """Outputs of a gate that doubts both models alike and redraws perfectly."""
    count = len(features)
    kinds = np.full((count, len(KINDS)), -50.0)
    kinds[:, :2] = np.log(np.maximum(1 - doubt, 1e-9) / 2)[:, None]
    kinds[:, 2] = np.log(np.maximum(doubt, 1e-9))
    original = np.random.default_rng(0).random((count, 4, 4, 1))
    return {"features": features, "kinds": kinds, "original": original, "reconstruction": original + 0.1}


# ------------------------------------------------------------------------------------------------- batches


def test_half_of_a_batch_is_right_and_the_same_each_time(right) -> None:
    recipe = tiny_gate_recipe()
    kinds = train_gate.Kinds(right, train_gate.draw(3, 0), recipe)
    images, labels = kinds[2]
    assert images.shape == (recipe.batch, 128, 128, 1) and images.dtype == np.float32
    assert images.min() >= 0 and images.max() <= 1 and len(kinds) == recipe.steps
    assert set(labels[: recipe.batch // 2]) <= {0, 1} and set(labels[recipe.batch // 2 :]) <= set(range(2, len(KINDS)))
    np.testing.assert_array_equal(kinds[2][0], images)
    kinds.on_epoch_end()
    assert (kinds[2][0] != images).any()


def test_images_belong_to_their_kind(right) -> None:
    drawn = train_gate.draw(3, 0)
    images, labels = train_gate.Kinds(right, drawn, tiny_gate_recipe(batch=64))[0]
    for image, label in zip(np.round(images[..., 0] * 255).astype(np.uint8), labels, strict=True):
        kind = KINDS[label]
        pool = right | drawn | {"inverted": 255 - np.concatenate(list(right.values()))}
        if kind in pool:
            assert (pool[kind] == image).all((1, 2)).any()


def test_the_autoencoder_is_shown_right_images_only(right) -> None:
    recipe = tiny_gate_recipe()
    pairs = train_gate.Pairs(train_gate.Kinds(right, train_gate.draw(3, 0), recipe))
    images, targets = pairs[0]
    np.testing.assert_array_equal(images, targets)
    everyone = np.concatenate(list(right.values()))
    assert len(images) == recipe.batch // 2 and len(pairs) == recipe.steps
    assert all((everyone == np.round(image * 255)).all((1, 2)).any() for image in images[..., 0])


def test_wrong_images_of_training_and_test_differ(right) -> None:
    for kind, images in train_gate.draw(3, 31).items():
        assert images.shape == (3, 128, 128) and (images != train_gate.draw(3, 32)[kind]).any()
    assert set(train_gate.spoil(right["brain_mri"], 0)) == set(SPOILED)


# -------------------------------------------------------------------------------------------------- limits


@pytest.mark.parametrize("refused", [0.003, 0.05])
def test_each_signal_refuses_at_most_the_asked_share_of_held_out_images(monkeypatch, refused: float) -> None:
    rng = np.random.default_rng(1)
    said = {
        name: made_outputs(rng.gamma(2, 1, (count, 6)), rng.beta(1, 30, count))
        for name, count in (("known", 400), ("held_out", 300))
    }
    monkeypatch.setattr(train_gate, "outputs_of", lambda gate, images: said[images])
    known, held_out = (dict.fromkeys(MODELS, name) for name in said)
    recipe = tiny_gate_recipe(refused=refused, slack=1.0)
    limits = train_gate.set_limits(None, known, held_out, recipe)
    wide = train_gate.set_limits(None, known, held_out, tiny_gate_recipe(refused=refused, slack=1.2))
    for model in MODELS:
        beyond = train_gate.excess(None, limits, model, "held_out") > 1 + 1e-6
        assert beyond.shape == (300, len(SIGNALS)) and (beyond.mean(0)[1:] <= refused).all()
        assert wide.limits[model]["distance"] == pytest.approx(1.2 * limits.limits[model]["distance"])
        assert limits.limits[model]["kind"] == 0.5


def test_statistics_are_those_of_the_known_features(monkeypatch) -> None:
    rng = np.random.default_rng(3)
    features = rng.normal(0, [1, 2, 5], (2000, 3)) + [1, 0, -4]
    said = made_outputs(features, np.full(2000, 0.01))
    monkeypatch.setattr(train_gate, "outputs_of", lambda gate, images: said)
    limits = train_gate.set_limits(None, dict.fromkeys(MODELS), dict.fromkeys(MODELS), tiny_gate_recipe())
    np.testing.assert_allclose(limits.means["brain_mri"], features.mean(0), atol=1e-4)
    ridge = 1e-2 * features.var() * np.eye(3)
    np.testing.assert_allclose(np.linalg.inv(limits.precisions["brain_mri"]) - ridge, np.cov(features.T), atol=0.05)


# ------------------------------------------------------------------------------------------------- figures


def test_rows_count_what_is_refused() -> None:
    right, wrong = np.full((10, 3), 0.5), np.full((4, 3), 0.5)
    right[0, 0], wrong[:3, 1] = 1.2, 2.0
    measured = {"chest_xray": {"chest_xray": right, "noise": wrong}}
    rows = {row["metric"]: row for row in train_gate.rows_of(measured)}
    assert rows["chest_xray: right images refused"]["value"] == pytest.approx(0.1)
    assert rows["chest_xray: noise refused"]["value"] == pytest.approx(0.75)
    # Of 40 pairs the wrong image is ahead in 30, and of the other ten one is behind and nine are ties.
    assert rows["chest_xray: AUROC against noise"]["value"] == pytest.approx((30 + 4.5) / 40)
    alone = {row["metric"]: row["value"] for row in train_gate.rows_of(measured, ("kind",))}
    assert alone["chest_xray: noise refused"] == 0


def test_the_bundle_measures_every_kind_for_both_models(trained) -> None:
    bundle = read_bundle(trained.assets / "models" / "scan_gate")
    for part in ("figures", "baseline"):
        rows = bundle.metrics[part]
        metrics = {row["metric"] for row in rows}
        for model in MODELS:
            assert f"{model}: right images refused" in metrics
            for kind in (*SPOILED, *DRAWN, "other_modality"):
                assert {f"{model}: AUROC against {kind}", f"{model}: {kind} refused"} <= metrics
        assert all(row["low"] <= row["value"] <= row["high"] and row["n"] > 0 for row in rows)
    assert bundle.metrics["notes"]


def test_the_bundle_says_how_it_was_made(trained) -> None:
    bundle = read_bundle(trained.assets / "models" / "scan_gate")
    assert (bundle.id, bundle.card["seed"]) == ("scan_gate", tiny_gate_recipe().seed)
    assert bundle.preprocessing["kinds"] == list(KINDS) and "keras" in bundle.card["libraries"]
    assert "notes" not in bundle.card
    for model, total in (("chest_xray", 64), ("brain_mri", 72)):
        parts = bundle.card["split"][model]
        assert set(parts) == {"known", "held_out", "test"} and sum(parts.values()) == total
    assert set(bundle.preprocessing["limits"]) == set(MODELS)
    json.dumps(bundle.card)


def test_a_trained_gate_is_loaded_instead_of_trained(trained, right) -> None:
    work = trained.assets / "models" / "scan_gate.work"
    gate = train_gate.train_networks(right, tiny_gate_recipe(), work, pytest.fail)
    limits = Limits.from_bundle(read_bundle(trained.assets / "models" / "scan_gate"))
    assert train_gate.excess(gate, limits, "chest_xray", right["chest_xray"]).shape == (12, 3)
