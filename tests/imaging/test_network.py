"""The networks: the form explanations rely on, their size, and that they survive a file."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
from drawn_scans import tiny_recipe

from medai_core.imaging import network
from medai_core.imaging.gate import KINDS
from medai_core.imaging.network import Middle, NetworkConfig, Standardise, average, build_member
from medai_core.imaging.train import RECIPES

IMAGES = np.random.default_rng(0).random((3, 128, 128, 1), np.float32)
TINY = tiny_recipe(3).network


@pytest.fixture(scope="module")
def members() -> list[keras.Model]:
    keras.utils.set_random_seed(0)
    return [network.build_member(TINY, f"member_{k}") for k in range(3)]


def test_standardise_takes_brightness_and_contrast_away() -> None:
    out = np.asarray(Standardise()(IMAGES))
    np.testing.assert_allclose(out.mean((1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(out.std((1, 2)), 1, atol=0.01)
    np.testing.assert_allclose(Standardise()(0.4 * IMAGES + 0.3), out, atol=0.02)
    assert not np.asarray(Standardise()(np.full((1, 8, 8, 1), 0.7, np.float32))).any()


def test_a_member_gives_features_and_logits() -> None:
    member = network.build_member(NetworkConfig(4))
    features, logits = member(IMAGES)
    assert features.shape == (3, 8, 8, 112) and logits.shape == (3, 4)


def test_a_member_s_head_is_pooling_and_one_dense_layer(members) -> None:
    features, logits = (np.asarray(part) for part in members[0](IMAGES))
    kernel, bias = members[0].get_layer("head").get_weights()
    np.testing.assert_allclose(features.mean((1, 2)) @ kernel + bias, logits, atol=1e-5)


def test_the_average_has_the_form_explanations_need(members) -> None:
    joined = network.average(members)
    names = [layer.name for layer in joined.layers if layer.name.startswith("member_")]
    assert names == ["member_0", "member_1", "member_2"]
    assert joined.input_shape == (None, 128, 128, 1) and joined.output_shape == (None, 3)
    np.testing.assert_allclose(joined(IMAGES), np.mean([m(IMAGES)[1] for m in members], 0), atol=1e-5)


def test_one_member_alone_is_its_own_average(members) -> None:
    joined = network.average(members[:1])
    np.testing.assert_allclose(joined(IMAGES), members[0](IMAGES)[1], atol=1e-6)
    assert joined.get_layer("member_0") is members[0]


def test_the_average_survives_a_file(members, tmp_path: Path) -> None:
    joined = network.average(members)
    joined.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", compile=False, safe_mode=True)
    np.testing.assert_allclose(loaded(IMAGES), joined(IMAGES), atol=1e-6)
    features, logits = loaded.get_layer("member_1")(IMAGES)
    np.testing.assert_allclose(logits, members[1](IMAGES)[1], atol=1e-6)
    assert features.shape == (3, 8, 8, 8)


@pytest.mark.parametrize("model", RECIPES)
def test_a_shipped_average_fits_its_bundle(model: str) -> None:
    recipe = RECIPES[model]
    # A stored weight takes 12 bits and what deflating leaves of its exponent.
    megabytes = recipe.members * network.build_member(recipe.network).count_params() * 2.5 / 1e6
    assert megabytes < 9.5


def test_the_baseline_is_image_to_logits() -> None:
    assert network.build_baseline(4)(IMAGES).shape == (3, 4)


def test_the_gate_joins_classifier_and_autoencoder() -> None:
    classifier, autoencoder = network.build_gate_classifier(len(KINDS)), network.build_autoencoder()
    out = network.join_gate(classifier, autoencoder)(IMAGES)
    shapes = {name: tuple(part.shape) for name, part in out.items()}
    small = (3, 64, 64, 1)
    assert shapes == {"features": (3, 64), "kinds": (3, 11), "original": small, "reconstruction": small}
    np.testing.assert_allclose(out["original"], IMAGES.reshape(3, 64, 2, 64, 2, 1).mean((2, 4)), atol=1e-6)
    drawn = np.asarray(out["reconstruction"])
    assert drawn.min() >= 0 and drawn.max() <= 1


def test_the_middle_leaves_training_mode_alone() -> None:
    ramp = np.broadcast_to(np.arange(128, dtype=np.float32)[None, :, None, None], (1, 128, 128, 1))
    shown = np.asarray(Middle(6)(ramp))
    assert shown.shape == ramp.shape and shown[0, 0, 0, 0] == pytest.approx(6, abs=0.6)
    np.testing.assert_array_equal(np.asarray(Middle(0)(ramp)), ramp)
    network = average([build_member(NetworkConfig(3, (4, 7, 4), ((4, 2),)))], 6)
    noise = np.random.default_rng(0).random((2, 128, 128, 1)).astype(np.float32)
    before = [weight.copy() for weight in network.get_weights()]
    np.testing.assert_allclose(network(noise), network(noise, training=False), atol=1e-6)
    for one, other in zip(before, network.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
