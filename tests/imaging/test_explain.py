"""Explanations: against slow oracles, on a network whose right answer is known, and on one that knows nothing."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from medai_core import runtime
from medai_core.calibration import VectorScaling
from medai_core.errors import InputError
from medai_core.imaging import explain, heatmap
from medai_core.imaging.explain import Explainer, GradCam, GradientShap, faithfulness, log_odds, overlay, target_mask

SIZE, SIDE = 64, 16
NOTHING, BRIGHT, STRIPED = range(3)
CALIBRATION = VectorScaling(np.array([0.9, 1.1, 1.0]), np.array([0.1, -0.2, 0.1]))


def made_images(count: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Noise with nothing, a bright or a striped square somewhere: images, labels, masks of the square."""
    rng = np.random.default_rng(seed)
    images = rng.normal(0.4, 0.05, (count, SIZE, SIZE)).astype(np.float32)
    labels = rng.integers(0, 3, count)
    masks = np.zeros((count, SIZE, SIZE), bool)
    patterns = {BRIGHT: np.full((SIDE, SIDE), 0.35), STRIPED: np.tile([[0.3]] * 4 + [[-0.3]] * 4, (2, SIDE))}
    for image, label, mask in zip(images, labels, masks, strict=True):
        row, column = rng.integers(0, SIZE - SIDE, 2)
        if label != NOTHING:
            image[row : row + SIDE, column : column + SIDE] += patterns[label]
            mask[row : row + SIDE, column : column + SIDE] = True
    return np.clip(images, 0, 1)[..., None], labels, masks


def tiny_member(name: str) -> keras.Model:
    image = keras.Input((SIZE, SIZE, 1))
    x = keras.layers.Rescaling(8.0, -3.2)(image)
    for channels, stride in ((8, 2), (16, 2), (16, 2)):
        x = keras.layers.Conv2D(channels, 5, strides=stride, padding="same", activation="relu")(x)
    pooled = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(image, [x, keras.layers.Dense(3, name="head")(pooled)], name=name)


def tiny_network(seed: int, members: int = 2) -> keras.Model:
    keras.utils.set_random_seed(seed)
    image = keras.Input((SIZE, SIZE, 1))
    logits = [tiny_member(f"member_{i}")(image)[1] for i in range(members)]
    return keras.Model(image, keras.layers.Average()(logits) if members > 1 else logits[0])


@pytest.fixture(scope="module")
def network() -> keras.Model:
    net = tiny_network(seed=1)
    images, labels, _ = made_images(384, seed=0)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    net.compile(keras.optimizers.Adam(3e-3), loss, metrics=["accuracy"])
    net.fit(images, labels, batch_size=32, epochs=5, verbose=0)
    assert net.evaluate(*made_images(96, seed=1)[:2], verbose=0)[1] > 0.95
    return net


@pytest.fixture(scope="module")
def shown() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    images, labels, masks = made_images(40, seed=2)
    there = labels != NOTHING
    return images[there], labels[there], masks[there]


@pytest.fixture(scope="module")
def background() -> np.ndarray:
    return made_images(24, seed=3)[0]


def compiled(net: keras.Model) -> runtime.Compiled:
    return runtime.Compiled(net, (SIZE, SIZE, 1))


@pytest.fixture(scope="module")
def gradient_shap(network: keras.Model, background: np.ndarray) -> GradientShap:
    return GradientShap(network, compiled(network), background, CALIBRATION)


# -------------------------------------------------------------------------------------- what is explained


def test_log_odds_are_those_of_the_calibrated_probability() -> None:
    logits = np.random.default_rng(0).normal(0, 3, (7, 3))
    probabilities = CALIBRATION(logits)
    for target, p in ((1, probabilities[:, 1]), ((1, 2), probabilities[:, 1:].sum(1))):
        np.testing.assert_allclose(log_odds(logits, CALIBRATION, target), np.log(p / (1 - p)), rtol=1e-9)
    np.testing.assert_allclose(log_odds(logits + 5, None, 0), log_odds(logits, None, 0))


def test_tensors_and_arrays_give_the_same_log_odds() -> None:
    logits = np.random.default_rng(1).normal(0, 5, (7, 3)).astype(np.float32)
    for target in (0, (0, 2)):
        tensor = explain._log_odds_ops(logits, CALIBRATION.scale, CALIBRATION.bias, target_mask(target, 3))
        np.testing.assert_allclose(tensor, log_odds(logits, CALIBRATION, target), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("target", [(), 3, -1, (0, 1, 2), (0, 5)])
def test_a_target_must_be_some_but_not_all_classes(target: object) -> None:
    with pytest.raises(InputError, match="classes 0 to 2"):
        target_mask(target, 3)


# -------------------------------------------------------------------------------------------- Grad-CAM


def slow_cam(network: keras.Model, image: np.ndarray, target: int) -> np.ndarray:
    """Class activation mapping (Zhou et al. 2016): what Grad-CAM must be for pooling and one dense layer."""
    from PIL import Image

    members = [layer for layer in network.layers if layer.name.startswith("member_")]
    outputs = [[np.asarray(part)[0] for part in member(image[None])] for member in members]
    z = np.mean([logits for _, logits in outputs], axis=0) * CALIBRATION.scale + CALIBRATION.bias
    others = np.delete(np.arange(3), target)
    slope = np.zeros(3)
    slope[target] = 1.0
    slope[others] = -np.exp(z[others]) / np.exp(z[others]).sum()
    maps = [
        f @ (m.get_layer("head").kernel.numpy() @ (slope * CALIBRATION.scale))
        for m, (f, _) in zip(members, outputs, strict=False)
    ]
    big = [
        np.asarray(Image.fromarray(m.astype(np.float32)).resize((SIZE, SIZE), Image.Resampling.BILINEAR)) for m in maps
    ]
    heat = np.maximum(np.mean(big, axis=0), 0)
    return heat / heat.max()


def test_grad_cam_equals_class_activation_mapping(network: keras.Model, shown: tuple) -> None:
    cam = GradCam(network, CALIBRATION)
    for image, label in list(zip(*shown[:2], strict=False))[:4]:
        heat, score = cam(image[..., 0], int(label))
        np.testing.assert_allclose(heat, slow_cam(network, image, int(label)), atol=2e-3)
        assert score == pytest.approx(log_odds(compiled(network)(image[None]), CALIBRATION, int(label))[0], abs=1e-3)
        assert heat.shape == (SIZE, SIZE) and heat.dtype == np.float32
        assert heat.min() >= 0 and heat.max() == pytest.approx(1, abs=1e-5)


def test_one_trace_serves_all_classes(network: keras.Model, shown: tuple) -> None:
    cam = GradCam(network, CALIBRATION)
    for target in (0, 1, 2, (1, 2)):
        cam(shown[0][0], target)
    assert cam._cam.experimental_get_tracing_count() == 1


def test_a_network_of_one_member_is_explained_too(shown: tuple) -> None:
    assert GradCam(tiny_network(3, members=1))(shown[0][0], 1)[0].shape == (SIZE, SIZE)


def test_a_network_without_members_is_named() -> None:
    image = keras.Input((SIZE, SIZE, 1))
    flat = keras.Model(image, keras.layers.Dense(3)(keras.layers.Flatten()(image)), name="flat")
    with pytest.raises(InputError, match="flat has no layer named member_"):
        GradCam(flat)


# ------------------------------------------------------------------------------------------------ SHAP


def test_shap_states_its_gap_and_sampling_error(gradient_shap: GradientShap, shown: tuple) -> None:
    for image, label in list(zip(*shown[:2], strict=False))[:4]:
        found = gradient_shap(image[..., 0], int(label))
        assert found.values.shape == (SIZE, SIZE) and found.values.dtype == np.float32
        assert found.gap == pytest.approx(abs(found.base_value + found.values.sum() - found.score), abs=1e-2)
        assert found.gap < 5 * found.error
        assert found.relative_gap == pytest.approx(found.gap / abs(found.score - found.base_value))


def test_shap_adds_up_when_given_enough_samples(network: keras.Model, background: np.ndarray, shown: tuple) -> None:
    many = GradientShap(network, compiled(network), background, CALIBRATION, samples=2000)
    found = many(shown[0][0], int(shown[1][0]))
    assert found.relative_gap < 0.1 and found.gap < 4 * found.error


def test_shap_of_a_target_is_minus_that_of_all_the_rest(gradient_shap: GradientShap, shown: tuple) -> None:
    for_it, against = gradient_shap(shown[0][0], BRIGHT), gradient_shap(shown[0][0], (NOTHING, STRIPED))
    np.testing.assert_allclose(for_it.values, -against.values, atol=1e-4)
    np.testing.assert_array_equal(gradient_shap(shown[0][0], BRIGHT).values, for_it.values)


def test_shap_leaves_the_global_random_state_alone(gradient_shap: GradientShap, shown: tuple) -> None:
    np.random.seed(7)
    expected = np.random.random()
    np.random.seed(7)
    gradient_shap(shown[0][0], BRIGHT)
    assert np.random.random() == expected


@pytest.mark.parametrize("wrap", [lambda v: v, lambda v: v[..., None], lambda v: [v]])
def test_both_output_shapes_of_shap_are_understood(wrap) -> None:
    values = np.random.default_rng(0).normal(size=(2, 8, 8, 1))
    np.testing.assert_allclose(explain._single_output(wrap(values), (2, 8, 8)), values[..., 0], rtol=1e-6)


# -------------------------------------------------------------- do they show what the network goes by?


def hit(heat: np.ndarray, mask: np.ndarray) -> float:
    """Share of the positive heat that lies on the square (which covers 1/16 of the image)."""
    positive = np.maximum(heat, 0)
    return float(positive[mask].sum() / max(positive.sum(), 1e-12))


def rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    from scipy.stats import spearmanr

    return float(spearmanr(a.ravel()[::7], b.ravel()[::7]).statistic)


def test_both_maps_find_the_square(network: keras.Model, gradient_shap: GradientShap, shown: tuple) -> None:
    cam = GradCam(network, CALIBRATION)
    cases = list(zip(*shown, strict=False))[:10]
    assert np.mean([hit(cam(image, int(label))[0], mask) for image, label, mask in cases]) > 0.4
    assert np.mean([hit(gradient_shap(image, int(label)).values, mask) for image, label, mask in cases[:5]]) > 0.4


def test_maps_change_when_the_weights_are_drawn_anew(
    network: keras.Model, gradient_shap: GradientShap, background: np.ndarray, shown: tuple
) -> None:
    """Adebayo et al. 2018: a map that survives the loss of all that was learnt explains the image only."""
    fresh = tiny_network(seed=99)
    cams = GradCam(network, CALIBRATION), GradCam(fresh, CALIBRATION)
    shaps = gradient_shap, GradientShap(fresh, compiled(fresh), background, CALIBRATION)
    cases = list(zip(*shown, strict=False))[:5]
    # SHAP multiplies by the difference from the background, so some of the square shows whatever the weights.
    for trained, random, heat_of, times in (
        (*cams, lambda found: found[0], 2.0),
        (*shaps, lambda found: found.values, 1.3),
    ):
        pairs = [(heat_of(trained(i, int(t))), heat_of(random(i, int(t))), mask) for i, t, mask in cases]
        assert np.mean([rank_correlation(a, b) for a, b, _ in pairs]) < 0.5
        assert np.mean([hit(a, m) for a, _, m in pairs]) > times * np.mean([hit(b, m) for _, b, m in pairs])


def test_maps_change_when_only_the_head_is_drawn_anew(network: keras.Model, shown: tuple) -> None:
    headless = keras.models.clone_model(network)
    headless.set_weights([w if w.shape != (16, 3) else -w for w in network.get_weights()])
    image, label, mask = shown[0][0], int(shown[1][0]), shown[2][0]
    assert hit(GradCam(network)(image, label)[0], mask) > 2 * hit(GradCam(headless)(image, label)[0], mask)


# --------------------------------------------------------------------------------------- faithfulness


def patch_sums(weights: np.ndarray):
    """A score that is linear in the patches: Σ weight × mean of patch."""

    def predict(images: np.ndarray) -> np.ndarray:
        predict.calls += 1
        means = images[..., 0].reshape(len(images), 8, 16, 8, 16).mean(axis=(2, 4))  # (B, 8, 8)
        return (means * weights).sum(axis=(1, 2))

    predict.calls = 0
    return predict


def test_faithfulness_tells_a_true_map_from_a_false_one() -> None:
    weights = np.random.default_rng(0).exponential(size=(8, 8)) ** 2
    heat = np.kron(weights, np.ones((16, 16)))
    image, nothing = np.ones((128, 128)), np.zeros((128, 128))
    predict = patch_sums(weights)
    true = faithfulness(predict, image, heat, nothing)
    assert predict.calls == 1
    assert true.faithful and not faithfulness(predict, image, -heat, nothing).faithful
    assert true.random_deletion_auc == pytest.approx(weights.sum() / 2, rel=0.15)
    order = np.sort(weights.ravel())[::-1]
    slow = np.trapezoid([order[4 * k :].sum() for k in range(17)], dx=1 / 16)
    assert true.deletion_auc == pytest.approx(slow)
    assert true.insertion_auc == pytest.approx(weights.sum() - slow)


def test_faithfulness_of_a_flat_map_is_that_of_chance() -> None:
    predict = patch_sums(np.ones((8, 8)))
    flat = faithfulness(predict, np.ones((128, 128)), np.zeros((128, 128)), np.zeros((128, 128)))
    assert flat.deletion_auc == pytest.approx(flat.random_deletion_auc) and not flat.faithful


def test_random_maps_hardly_ever_pass() -> None:
    rng = np.random.default_rng(1)
    predict = patch_sums(rng.exponential(size=(8, 8)))
    image, nothing = np.ones((128, 128)), np.zeros((128, 128))
    passed = [
        faithfulness(predict, image, np.kron(rng.random((8, 8)), np.ones((16, 16))), nothing, seed=k).faithful
        for k in range(40)
    ]
    assert sum(passed) <= 4


def test_the_default_baseline_keeps_brightness_and_loses_detail(shown: tuple) -> None:
    image = shown[0][0, ..., 0]
    calm = heatmap.blurred(image)
    assert calm.mean() == pytest.approx(image.mean(), abs=0.02) and calm.std() < image.std()


# -------------------------------------------------------------------------------------------- together


def test_explainer_fills_every_figure(network: keras.Model, background: np.ndarray, shown: tuple) -> None:
    explainer = Explainer(network, compiled(network), CALIBRATION, lambda: background)
    image, label = shown[0][0], int(shown[1][0])
    for found in (explainer.grad_cam(image, label, "it"), explainer.shap(image, label, "it")):
        assert found.heat.shape == (SIZE, SIZE) and found.label == "it" and found.seconds > 0
        assert isinstance(found.faithful, bool)
        assert found.deletion_auc < found.random_deletion_auc == found.random_insertion_auc < found.insertion_auc
    assert found.method == "shap" and found.additivity_error > 0 and found.base_value < found.score
    unchecked = explainer.grad_cam(image, label, "it", check=False)
    assert unchecked.faithful is None and unchecked.additivity_gap is None


def test_shap_without_background_says_so(network: keras.Model, shown: tuple) -> None:
    with pytest.raises(InputError, match="background"):
        Explainer(network, compiled(network)).shap(shown[0][0], 0, "it")


# --------------------------------------------------------------------------------------------- overlay


def test_overlay_shows_the_image_where_nothing_is_to_be_shown() -> None:
    image = np.arange(64 * 48, dtype=np.uint8).reshape(64, 48)
    grey = np.repeat(image[..., None], 3, axis=2)
    heat = np.random.default_rng(0).random((8, 8)).astype(np.float32)
    np.testing.assert_array_equal(overlay(image, heat, 0.0), grey)
    np.testing.assert_array_equal(overlay(image, 0 * heat, 1.0), grey)
    np.testing.assert_array_equal(overlay(image, 0 * heat, 1.0, signed=True), grey)
    np.testing.assert_array_equal(overlay(image / 255.0, 0 * heat), grey)
    assert overlay(image, heat, 1.0).shape == (64, 48, 3)


def test_overlay_colours_for_orange_and_against_blue() -> None:
    heat = np.zeros((32, 32), np.float32)
    heat[4:12, 4:12], heat[20:28, 20:28] = 2.0, -2.0
    picture = overlay(np.full((32, 32), 0.5), heat, 1.0, signed=True).astype(int)
    red, blue = picture[..., 0], picture[..., 2]
    assert red[8, 8] > blue[8, 8] + 100 and blue[24, 24] > red[24, 24] + 100
    warm = overlay(np.full((32, 32), 0.5), np.maximum(heat, 0), 1.0)
    np.testing.assert_array_equal(warm[8, 8], (253, 231, 37))  # the yellow end of viridis
