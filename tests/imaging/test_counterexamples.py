"""Wrong images: each is what its name says, another one each time, and the same from the same seed."""

from __future__ import annotations

import numpy as np
import pytest
from drawn_scans import draw_chest

from medai_core.imaging.counterexamples import DRAWN, SPOILED
from medai_core.imaging.gate import KINDS, MODELS
from medai_core.imaging.prepare import prepare

RIGHT = np.round(prepare(draw_chest(0, 1)).image[..., 0] * 255).astype(np.uint8)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_the_gate_knows_every_kind_that_is_made() -> None:
    assert {*MODELS, *DRAWN, *SPOILED} == set(KINDS)


@pytest.mark.parametrize("kind", DRAWN)
def test_drawn_images_have_the_form_of_prepared_ones(kind: str) -> None:
    generator = rng()
    for _ in range(12):
        image = DRAWN[kind](generator)
        assert image.shape == (128, 128) and image.dtype == np.uint8


@pytest.mark.parametrize("kind", [*DRAWN, *SPOILED])
def test_the_seed_decides(kind: str) -> None:
    def make(seed: int) -> np.ndarray:
        return DRAWN[kind](rng(seed)) if kind in DRAWN else SPOILED[kind](RIGHT, rng(seed))

    np.testing.assert_array_equal(make(3), make(3))
    if kind != "inverted":
        assert any((make(3) != make(seed)).any() for seed in range(4, 8))


@pytest.mark.parametrize("kind", SPOILED)
def test_spoiling_always_spoils_and_leaves_the_original_alone(kind: str) -> None:
    kept, generator = RIGHT.copy(), rng(1)
    for _ in range(60):
        image = SPOILED[kind](RIGHT, generator)
        assert image.shape == RIGHT.shape and image.dtype == np.uint8
        assert np.abs(image.astype(int) - RIGHT).mean() > 3
    np.testing.assert_array_equal(RIGHT, kept)


def test_a_negative_is_a_negative() -> None:
    np.testing.assert_array_equal(SPOILED["inverted"](RIGHT, rng()).astype(int) + RIGHT, 255)


def test_turned_images_are_quarter_turns_of_all_three_kinds() -> None:
    turns = {k: np.rot90(RIGHT, k).tobytes() for k in (1, 2, 3)}
    generator = rng()
    seen = {SPOILED["rotated"](RIGHT, generator).tobytes() for _ in range(40)}
    assert seen == set(turns.values())


def test_a_crop_shows_a_part_blown_up() -> None:
    ramp = np.tile(np.linspace(0, 255, 128).astype(np.uint8), (128, 1))
    for seed in range(20):
        part = SPOILED["cropped"](ramp, rng(seed)).astype(int)
        assert 0.15 < np.ptp(part) / 255 < 0.43


def test_shuffling_keeps_the_pixels_but_not_their_places() -> None:
    generator = rng()
    for _ in range(20):
        out = SPOILED["unlike_training"](RIGHT, generator)
        apart = np.abs(np.bincount(out.ravel(), minlength=256) - np.bincount(RIGHT.ravel(), minlength=256)).sum()
        assert apart <= 2 * (128**2 - 126**2)  # tiles of 42 pixels leave a black rim


def test_blank_is_blank_and_noise_is_not() -> None:
    generator = rng()
    for _ in range(20):
        assert np.abs(np.diff(DRAWN["blank"](generator).astype(int), axis=0)).mean() < 6
        assert DRAWN["noise"](generator).std() > 8
