"""The restorer: how it learns, its bundle, and its figures beside those of plain image processing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from medai_core import runtime
from medai_core.errors import InputError

runtime.configure()

from medai_core import artifacts  # noqa: E402 - after the runtime has set Keras up
from medai_core.synthesis import restore_evaluate, train_restorer  # noqa: E402
from medai_core.synthesis.network import NetworkConfig  # noqa: E402
from medai_core.synthesis.restore import Restored, Restorer  # noqa: E402
from medai_core.synthesis.train_painters import PainterRecipe  # noqa: E402

TINY = NetworkConfig(2, widths=(4, 6, 8), latent_channels=3, patch_widths=(4, 4, 4), size=32)
RECIPE = PainterRecipe(epochs=8, batch=8, rate=5e-3, adversarial_after=1.0, precision="float32")


def test_damage_says_where_it_took_pixels_away() -> None:
    clean = np.full((40, 32, 32, 1), 0.2, np.float32)
    given = train_restorer.damaged(clean, np.random.default_rng(0))
    missing = given[..., 1] > 0
    assert set(np.unique(given[..., 1])) == {0.0, 1.0}
    assert (given[..., 0][missing] == 0.5).all()
    assert (np.abs(given[..., 0] - 0.2).max((1, 2)) > 0.005).all(), "no image may come through undamaged"
    assert (missing.mean((1, 2)) < 0.25).all()


def test_the_restorer_learns(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    grey = np.repeat(rng.integers(40, 216, 64), 32 * 32).reshape(64, 32, 32).astype(np.uint8)
    rows: list[dict] = []
    restorer = train_restorer.train_network(grey, TINY, RECIPE, tmp_path, rows.append)
    assert restorer.output_shape == (None, 32, 32, 1)
    assert rows[-1]["loss"] < 0.8 * rows[0]["loss"]


class Same:
    """Takes nothing away, and paints a hole in one grey."""

    def denoise(self, pixels: np.ndarray) -> Restored:
        return Restored(pixels, pixels)

    def inpaint(self, pixels: np.ndarray, mask: np.ndarray) -> Restored:
        return Restored(pixels, np.where(mask, 128, pixels).astype(np.uint8))


def test_figures_are_those_of_the_definition() -> None:
    images = np.full((6, 128, 128), 128, np.uint8)
    figures, baseline = restore_evaluate.figures_of(Same(), images, np.arange(6))
    ours, theirs = ({row["metric"]: row["value"] for row in table} for table in (figures, baseline))
    assert list(ours) == list(theirs)
    # The error of an untouched image is the noise itself: 20 log10(1 / sigma).
    assert ours["PSNR, noise of 10%"] == pytest.approx(20, abs=0.1)
    assert ours["PSNR, noise of 5%"] == pytest.approx(26.0, abs=0.1)
    assert theirs["PSNR, noise of 10%"] > 25, "on a plain image any smoothing helps"
    assert ours["MS-SSIM, noise of 20%"] < ours["MS-SSIM, noise of 5%"] < 1
    assert ours["mean absolute error in a hole"] == theirs["mean absolute error in a hole"] == 0
    assert all(row["low"] <= row["value"] <= row["high"] and row["n"] == 6 for row in figures)


@pytest.fixture(scope="module")
def restorer(tmp_path_factory: pytest.TempPathFactory) -> Restorer:
    """An untrained network of the true size, out of a bundle."""
    network = train_restorer.build_restorer(replace(TINY, size=128))
    card = {"id": "chest_xray_restorer", "version": "0"}
    return Restorer(
        artifacts.save_bundle(tmp_path_factory.mktemp("restorer") / "made", network, card, {"size": 128}, {})
    )


def waves(height: int, width: int) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    return (120 + 60 * np.sin(x / 9) * np.cos(y / 14)).astype(np.uint8)


@pytest.mark.parametrize("shape", [(128, 128), (300, 260), (16, 500)])
def test_noise_is_taken_out_as_strongly_as_asked(restorer: Restorer, shape: tuple[int, int]) -> None:
    image = waves(*shape)
    none, half, whole = (restorer.denoise(image, strength) for strength in (0.0, 0.5, 1.0))
    assert not none.difference.any() and whole.after.shape == shape and whole.after.dtype == np.uint8
    inside = (whole.after > 0) & (whole.after < 255)
    assert np.abs(half.difference - whole.difference / 2)[inside].max() <= 1 and whole.difference.any()


def test_outside_of_a_region_nothing_changes_and_inside_nothing_of_it_is_left(restorer: Restorer) -> None:
    image = waves(300, 260)
    hole = np.zeros(image.shape, bool)
    hole[100:180, 60:150] = True
    made = restorer.inpaint(image, hole)
    assert np.array_equal(made.after[~hole], image[~hole]) and made.difference[hole].any()
    # What stood there must not shine through: another content, the same result.
    assert np.array_equal(restorer.inpaint(np.where(hole, 255 - image, image), hole).after, made.after)


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        (lambda restorer, image: restorer.denoise(image, 1.5), "`strength` must be from 0 to 1, got 1.5"),
        (lambda restorer, image: restorer.denoise(image, float("nan")), "`strength` must be from 0 to 1, got nan"),
        (lambda restorer, image: restorer.denoise(image / 255), "must be grey, 8 bits"),
        (lambda restorer, image: restorer.denoise(image[:8]), "at least 16 × 16"),
        (lambda restorer, image: restorer.inpaint(image, image[:20] > 0), "`mask` must have the image's shape"),
        (lambda restorer, image: restorer.inpaint(image, image > 300), "`mask` must mark some of the image"),
        (lambda restorer, image: restorer.inpaint(image, image >= 0), "at most 25%, got 100.0%"),
    ],
)
def test_what_cannot_be_restored_is_one_sentence(restorer: Restorer, ask, words: str) -> None:
    with pytest.raises(InputError) as error:
        ask(restorer, waves(128, 128))
    assert words in str(error.value)


def test_a_bundle_holds_both_tables_of_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train_restorer, "NETWORK", replace(TINY, size=128))
    monkeypatch.setattr(train_restorer, "RECIPE", replace(RECIPE, epochs=1))
    images = np.random.default_rng(0).integers(0, 256, (40, 128, 128)).astype(np.uint8)
    groups, labels = np.array([f"p{k // 2}" for k in range(40)]), np.arange(40) // 2 % 2
    made = train_restorer.train_restorer(images, labels, groups, tmp_path / "made", [].append)
    assert made.id == "chest_xray_restorer" and made.card["split"]["held_out"] == 4
    assert [row["metric"] for row in made.metrics["figures"]] == [row["metric"] for row in made.metrics["baseline"]]
    assert Restorer(made).denoise(images[0]).after.shape == (128, 128)
    again = train_restorer.train_restorer(images, labels, groups, tmp_path / "made", [].append)
    assert again.metrics == made.metrics
