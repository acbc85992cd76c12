"""Training of the gate: what it is shown, where its limits come from, and what its bundle says."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from drawn_scans import draw_brain, draw_chest, tiny_gate_recipe, tiny_recipe
from untraced import untraced

from medai_core.artifacts import read_bundle
from medai_core.errors import ArtifactError
from medai_core.imaging import train_gate
from medai_core.imaging.counterexamples import DRAWN, SPOILED, colour_photograph
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
    pairs = train_gate.Pairs(right, train_gate.draw(3, 0), recipe)
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
    right, wrong = np.full((10, 4), 0.5), np.full((4, 4), 0.5)
    right[0, 0], wrong[:2, 1], wrong[2, 3] = 1.2, 2.0, np.inf
    mine, theirs = np.arange(10).astype(str), np.array(["a", "b", "c", "d"])
    measured = {"chest_xray": {"chest_xray": (right, mine), "noise": (wrong, theirs)}}
    rows = {row["metric"]: row for row in train_gate.rows_of(measured)}
    assert rows["chest_xray: right images refused"]["value"] == pytest.approx(0.1)
    assert rows["chest_xray: noise refused"]["value"] == pytest.approx(0.75)
    # Of 40 pairs the wrong image is ahead in 30, and of the other ten one is behind and nine are ties.
    assert rows["chest_xray: AUROC against noise"]["value"] == pytest.approx((30 + 4.5) / 40)
    alone = {row["metric"]: row["value"] for row in train_gate.rows_of(measured, ("kind",))}
    assert alone["chest_xray: noise refused"] == 0


def test_intervals_are_over_patients() -> None:
    rng = np.random.default_rng(0)
    bad = rng.random(20) < 0.3  # patients, with ten images each that are refused or not as one
    right = np.zeros((200, 4))
    right[:, 0] = np.repeat(np.where(bad, 2.0, 0.5), 10)
    wrong = np.repeat(rng.uniform(0.4, 2.2, 20), 10)[:, None] * [1, 0, 0, 0]

    def widths(mine: np.ndarray) -> dict[str, float]:
        measured = {"chest_xray": {"chest_xray": (right, mine), "cropped": (wrong, mine)}}
        return {row["metric"]: row["high"] - row["low"] for row in train_gate.rows_of(measured)}

    patients, images = widths(np.repeat(np.arange(20), 10).astype(str)), widths(np.arange(200).astype(str))
    assert len(patients) == 3 and all(patients[metric] > 2 * images[metric] for metric in patients)


@pytest.mark.parametrize("model", MODELS)
def test_colour_and_emptiness_are_measured_as_a_reading_meets_them(monkeypatch, right, model: str) -> None:
    monkeypatch.setattr(train_gate, "excess", lambda gate, limits, model, images: np.zeros((len(images), 3)))
    rng = np.random.default_rng(0)
    grey = [rng.integers(90, 92, (128, 128), np.uint8), right[model][0]]
    assert train_gate.checked(None, None, model, np.stack(grey))[:, 3].tolist() == [np.inf, 0]
    colour = np.stack([colour_photograph(rng) for _ in range(5)])
    assert train_gate.checked(None, None, model, colour)[:, 3].tolist() == [np.inf] * 5
    tinted = np.stack([right[model][0]] * 3, -1)
    assert train_gate.checked(None, None, model, tinted[None])[0, 3] == 0


def test_the_bundle_measures_every_kind_for_both_models(trained) -> None:
    bundle = read_bundle(trained.assets / "models" / "scan_gate")
    for part in ("figures", "baseline"):
        rows = bundle.metrics[part]
        metrics = {row["metric"] for row in rows}
        for model in MODELS:
            assert f"{model}: right images refused" in metrics
            for kind in (*SPOILED, *DRAWN, "colour_photograph", "other_modality"):
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


class Interrupted(Exception):
    pass


def test_a_resumed_gate_equals_an_uninterrupted_one(right, tmp_path) -> None:
    recipe = tiny_gate_recipe(epochs=2, autoencoder_epochs=2, steps=2, batch=4, drawn=2)

    def trained_in(name: str, stop: tuple[str, int] | None = None):
        def progress(row: dict[str, object]) -> None:
            heard.append((row["part"], row["epoch"]))
            if heard[-1] == stop:
                raise Interrupted

        return train_gate.train_networks(right, recipe, tmp_path / name, progress)

    heard: list[tuple[object, object]] = []
    parts = [(part, epoch) for part in ("gate_classifier_training", "autoencoder_training") for epoch in (1, 2)]
    with untraced():
        straight = trained_in("straight")
        assert heard == parts
        heard.clear()
        for stop in (parts[1], parts[2]):
            with pytest.raises(Interrupted):
                trained_in("resumed", stop)
        resumed = trained_in("resumed")
    assert heard == parts, "no epoch is trained twice"
    for one, other in zip(straight.get_weights(), resumed.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


@pytest.mark.parametrize("changed", ["recipe", "images", "split"])
def test_what_something_else_made_is_not_taken_up(
    public, chest_folder, brain_folder, tmp_path, monkeypatch, changed: str
) -> None:
    class Made(Exception):
        pass

    def networks(*_: object) -> None:
        raise Made

    recipe, other = tiny_gate_recipe(), tiny_gate_recipe(seed=99)
    for model, classes in (("chest_xray", 3), ("brain_mri", 4)):
        monkeypatch.setitem(train_gate.RECIPES, model, tiny_recipe(classes))
    monkeypatch.setattr(train_gate, "GateRecipe", lambda: recipe)
    monkeypatch.setattr(train_gate, "train_networks", networks)
    for _ in range(2):
        with pytest.raises(Made):
            train_gate.train_gate(public, tmp_path / "gate", print)
    if changed == "recipe":
        monkeypatch.setattr(train_gate, "GateRecipe", lambda: other)
    elif changed == "split":
        monkeypatch.setitem(train_gate.RECIPES, "brain_mri", tiny_recipe(4, seed=77))
    else:
        real = train_gate.load_scans
        darker = lambda *a, **k: dataclasses.replace(scans := real(*a, **k), images=scans.images // 2)  # noqa: E731
        monkeypatch.setattr(train_gate, "load_scans", darker)
    with pytest.raises(ArtifactError, match=r"gate\.work holds checkpoints of another recipe or of other images"):
        train_gate.train_gate(public, tmp_path / "gate", print)


def test_the_gate_s_folds_are_its_own(public, chest_folder, brain_folder, tmp_path, monkeypatch) -> None:
    known: list[int] = []
    recipe = tiny_gate_recipe()

    class Made(Exception):
        pass

    def networks(right: dict[str, np.ndarray], *_: object) -> None:
        known.append(len(right["brain_mri"]))
        raise Made

    monkeypatch.setattr(train_gate, "train_networks", networks)
    monkeypatch.setattr(train_gate, "GateRecipe", lambda: recipe)
    for members in (2, 3):
        for model, labels in (("chest_xray", 3), ("brain_mri", 4)):
            monkeypatch.setitem(train_gate.RECIPES, model, tiny_recipe(labels, members=members))
        with pytest.raises(Made):
            train_gate.train_gate(public, tmp_path / f"{members}", print)
    assert known[0] == known[1]


def test_a_trained_gate_is_loaded_instead_of_trained(trained, right) -> None:
    work = trained.assets / "models" / "scan_gate.work"
    gate = train_gate.train_networks(right, tiny_gate_recipe(), work, pytest.fail)
    limits = Limits.from_bundle(read_bundle(trained.assets / "models" / "scan_gate"))
    assert train_gate.excess(gate, limits, "chest_xray", right["chest_xray"]).shape == (12, 3)
