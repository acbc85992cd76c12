"""Preparation: one road for a clinic's image and its stretched copy, and a floor under what is read."""

from __future__ import annotations

import numpy as np
import pytest
from drawn_scans import draw_chest, encode
from PIL import Image

from medai_core.errors import RefusedInput
from medai_core.imaging.prepare import MIN_SIDE, SIZE, VIA, prepare
from medai_core.imaging.read import read_scan

WIDE = draw_chest(1, seed=3, side=1500)[:1200]


@pytest.mark.parametrize("pixels", [WIDE, WIDE.T, WIDE[:, ::3], draw_chest(0, 1), draw_chest(0, 2, 97)])
def test_any_shape_becomes_the_network_s(pixels: np.ndarray) -> None:
    prepared = prepare(pixels)
    assert prepared.image.shape == (SIZE, SIZE, 1) and prepared.image.dtype == np.float32
    assert 0 <= prepared.image.min() < prepared.image.max() <= 1
    assert str(prepared.trace[0]) == "stretched to 224×224, then 128×128"


@pytest.mark.parametrize("resample", [Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.BOX])
def test_a_large_image_and_its_stretched_copy_are_alike(resample: Image.Resampling) -> None:
    copy = np.asarray(Image.fromarray(WIDE).resize((VIA, VIA), resample))
    apart = np.abs(prepare(WIDE).image - prepare(copy).image)
    assert apart.mean() < 0.004 and apart.max() < 0.06


def test_a_jpeg_decoded_at_reduced_size_is_alike() -> None:
    data = encode(WIDE)  # the reader asks for 448 pixels a side
    full, reduced = (prepare(read_scan(data, at_least=least).display).image for least in (None, 448))
    assert np.abs(full - reduced).mean() < 0.004


def test_brightness_is_kept() -> None:
    for level in (0, 1, 128, 255):
        np.testing.assert_allclose(prepare(np.full((300, 500), level, np.uint8)).image, level / 255, rtol=1e-6)


@pytest.mark.parametrize("shape", [(MIN_SIDE - 1, 400), (400, MIN_SIDE - 1), (1, 1)])
def test_too_small_is_refused_with_both_sides(shape: tuple[int, int]) -> None:
    with pytest.raises(RefusedInput, match=f"{shape[1]} × {shape[0]} pixels; each side must have at least 96"):
        prepare(np.zeros(shape, np.uint8))


def test_the_smallest_is_read() -> None:
    assert prepare(np.zeros((MIN_SIDE, MIN_SIDE), np.uint8)).image.shape == (SIZE, SIZE, 1)
