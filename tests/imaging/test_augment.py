"""Each step of the augmentation does what it says, to the image it says, and nothing outside training."""

from __future__ import annotations

import keras
import numpy as np
from drawn_scans import draw_chest

from medai_core.imaging.augment import OtherDevice, borrow_histogram, without_detail
from medai_core.imaging.prepare import prepare

IMAGES = np.stack([prepare(draw_chest(seed % 3, seed)).image for seed in range(6)])
GREY = 0.4 + 0.2 * IMAGES  # far from 0 and 1: nothing is clipped


def view(**settings) -> OtherDevice:
    return OtherDevice(**{"seed": 3, **settings})


# ----------------------------------------------------------------------------------------------- histogram


def histograms() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    mine = np.arange(256).repeat(64)[rng.permutation(128 * 128)].reshape(128, 128).astype(np.uint8)
    return mine, np.clip(rng.gamma(3, 20, (128, 128)), 0, 255).astype(np.uint8)


def test_a_share_of_one_reproduces_the_other_s_histogram() -> None:
    mine, other = histograms()
    got = borrow_histogram(mine, other, 1.0)
    percents = np.arange(1, 94)  # the last greys of `mine` are too coarse to follow the tail
    np.testing.assert_allclose(np.percentile(got, percents), np.percentile(other, percents), atol=1.5)
    assert got.dtype == np.uint8 and got.shape == mine.shape


def test_a_share_of_none_changes_nothing_and_a_half_goes_half_way() -> None:
    mine, other = histograms()
    np.testing.assert_array_equal(borrow_histogram(mine, other, 0.0), mine)
    whole, half = (borrow_histogram(mine, other, share).astype(float) for share in (1.0, 0.5))
    np.testing.assert_allclose(half, (mine + whole) / 2, atol=0.51)


def test_the_order_of_greys_is_kept() -> None:
    mine, other = histograms()
    got = borrow_histogram(mine, other, 0.8).ravel()[np.argsort(mine.ravel(), kind="stable")]
    assert (np.diff(got.astype(int)) >= 0).all()


# ------------------------------------------------------------------------------------- detail and patches


def head_with_a_lesion() -> np.ndarray:
    y, x = np.mgrid[:128, :128]
    head = 120.0 * (((y - 64) / 54) ** 2 + ((x - 64) / 44) ** 2 < 1)
    return (head + 100 * ((y - 60) ** 2 + (x - 50) ** 2 < 5**2)).astype(np.uint8)


def test_without_detail_no_lesion_is_left() -> None:
    image = head_with_a_lesion()
    for seed in range(8):
        bare = without_detail(image, np.random.default_rng(seed)).astype(float)
        lesion, around = bare[57:64, 47:54].mean(), bare[57:64, 70:77].mean()
        assert lesion - around < 0.25 * 100
        assert bare.shape == image.shape


def test_without_detail_the_outline_stays_sharp_half_of_the_time() -> None:
    image = head_with_a_lesion()
    steepest = [
        np.abs(np.diff(without_detail(image, np.random.default_rng(seed)).astype(float), axis=1)).max()
        for seed in range(40)
    ]
    sharp = np.array(steepest) > 60
    assert 8 <= sharp.sum() <= 32
    assert np.array(steepest)[~sharp].max() < 20


# ---------------------------------------------------------------------------------------------- whole view


def test_outside_training_it_is_the_identity() -> None:
    np.testing.assert_array_equal(view()(IMAGES), IMAGES)
    np.testing.assert_array_equal(view()(IMAGES, training=False), IMAGES)


def test_shape_and_range_are_kept() -> None:
    layer = view()
    for _ in range(3):
        seen = np.asarray(layer(IMAGES, training=True))
        assert seen.shape == IMAGES.shape and seen.dtype == np.float32
        assert np.isfinite(seen).all() and seen.min() >= 0 and seen.max() <= 1
        assert (np.abs(seen - IMAGES).mean((1, 2, 3)) > 0.01).all()


def test_the_seed_decides() -> None:
    one, same, other = (np.asarray(view(seed=seed)(IMAGES, training=True)) for seed in (3, 3, 4))
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()


def test_without_strength_little_is_left() -> None:
    seen = np.asarray(view(strength=0.0, flip=False)(GREY, training=True))
    # What stays: the middle of each range, that is a 4 % zoom, a slight blur, noise of at most 2 %.
    assert np.abs(seen - GREY).mean() < 0.03


def test_it_can_be_saved(tmp_path) -> None:
    layer = view(strength=0.7, flip=False)
    again = OtherDevice.from_config(layer.get_config())
    assert (again.strength, again.flip, again.seed) == (0.7, False, 3)
    image = keras.Input((128, 128, 1))
    model = keras.Model(image, layer(image))
    assert model.output_shape == (None, 128, 128, 1)
    model.save(tmp_path / "view.keras")
    loaded = keras.saving.load_model(tmp_path / "view.keras")
    np.testing.assert_array_equal(loaded(IMAGES, training=False), IMAGES)


# --------------------------------------------------------------------------------------------------- steps


def test_the_spectrum_step_keeps_phases_and_borrows_amplitudes() -> None:
    layer = view(strength=1.0)
    layer._each = lambda count, low, high: np.ones((count, 1, 1, 1), np.float32)
    layer._sometimes = lambda count, share: np.array([1, 0, 1, 0, 1, 0], np.float32).reshape(-1, 1, 1, 1)
    # Faint and of one mean, so that no image leaves 0 … 1 and the clip has nothing to do.
    faint = 0.5 + 0.1 * (IMAGES - IMAGES.mean((1, 2, 3), keepdims=True))
    before, after = (np.fft.fft2(np.asarray(x)[..., 0]) for x in (faint, layer._spectrum(faint)))
    np.testing.assert_allclose(after[1::2], before[1::2], atol=2e-2)
    lender = np.abs(np.roll(before, 1, axis=0))
    np.testing.assert_allclose(np.abs(after[::2]), lender[::2], rtol=1e-2, atol=3e-2)
    strong = (np.abs(before) > 1) & (lender > 1)
    turned = np.angle(after[strong] / before[strong])
    assert strong.sum() > 100 and np.abs(turned).max() < 0.02


def test_the_geometry_step_without_ranges_only_zooms() -> None:
    layer = view(strength=0.0, flip=False)
    middle = np.asarray(layer._geometry(GREY))[:, 8:-8, 8:-8]
    # Each output pixel is taken 0.96 times as far from the centre.
    at = 63.5 + 0.96 * (np.arange(128) - 63.5)
    low = np.floor(at).astype(int)
    part = (at - low).astype(np.float32)
    rows = GREY[:, low] * (1 - part)[None, :, None, None] + GREY[:, low + 1] * part[None, :, None, None]
    wanted = rows[:, :, low] * (1 - part)[None, None, :, None] + rows[:, :, low + 1] * part[None, None, :, None]
    np.testing.assert_allclose(middle, wanted[:, 8:-8, 8:-8], atol=1e-3)


def test_the_geometry_step_mirrors_when_allowed() -> None:
    asymmetric = np.zeros((64, 128, 128, 1), np.float32)
    asymmetric[:, :, 80:120] = 1
    for flip in (True, False):
        seen = np.asarray(view(flip=flip)._geometry(asymmetric))
        right = seen[:, :, 64:].mean((1, 2, 3)) > seen[:, :, :64].mean((1, 2, 3))
        assert right.all() if not flip else 10 < right.sum() < 54


def test_the_grey_step_keeps_places() -> None:
    seen = np.asarray(view()._grey(IMAGES))
    assert seen.min() >= 0 and seen.max() <= 1
    for one, other in zip(IMAGES[..., 0], seen[..., 0], strict=True):
        assert np.corrcoef(one.ravel(), other.ravel())[0, 1] > 0.7


def test_the_texture_step_blurs_or_sharpens() -> None:
    def roughness(x: np.ndarray) -> np.ndarray:
        return np.abs(np.diff(x[..., 0], axis=1)).mean((1, 2))

    layer = view()
    layer._sometimes = lambda count, share: np.zeros((count, 1, 1, 1), np.float32)
    for amount, sign in ((0.9, -1), (-1.0, 1), (0.0, 0)):
        layer._each = lambda count, low, high, a=amount: np.full((count, 1, 1, 1), a, np.float32)
        assert (np.sign((roughness(np.asarray(layer._texture(GREY))) - roughness(GREY)).round(6)) == sign).all()


def test_the_missing_step_takes_one_rectangle() -> None:
    layer = view()
    layer._sometimes = lambda count, share: np.ones((count, 1, 1, 1), np.float32)
    seen = np.asarray(layer._missing(GREY))
    for before, after in zip(GREY[..., 0], seen[..., 0], strict=True):
        rows, columns = np.nonzero(before != after)
        height, width = np.ptp(rows) + 1, np.ptp(columns) + 1
        assert 1 <= height <= 40 and 1 <= width <= 40
        gone = after[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
        assert np.ptp(gone) < 1e-6
