"""Figures of the restorer, beside what image processing without learning makes of the same damage.

Noise and holes are drawn in code. Noise is taken away by non-local means (Buades et al. 2005) as the baseline, with
the strength it is told; holes are painted by fast marching (Telea 2004).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

from medai_core.metrics import bootstrap
from medai_core.synthesis.quality import ms_ssim
from medai_core.synthesis.restore import Restorer

Figures = list[dict[str, object]]
Image = NDArray[np.uint8]
Note = Callable[[dict[str, object]], None]

SIGMAS = (0.05, 0.1, 0.2)
"""Standard deviations of the noise, as shares of white."""
SEED, SPLIT = 40, "held-out patients"
TELEA_RADIUS = 3


def hole_in(shape: tuple[int, int], rng: np.random.Generator) -> NDArray[np.bool_]:
    """Draw a region of an image (H, W), an ellipse or all but a rectangle: True inside, a fifth of it at most."""
    height, width = shape
    y, x = np.mgrid[:height, :width]
    half_height, half_width = rng.uniform(0.05, 0.22, 2) * (height, width)
    down, right = np.abs(y - rng.uniform(0.1, 0.9) * height), np.abs(x - rng.uniform(0.1, 0.9) * width)
    power = rng.choice([2, 20])
    return (down / half_height) ** power + (right / half_width) ** power <= 1


def with_noise(image: Image, sigma: float, rng: np.random.Generator) -> Image:
    """Add normal noise of a standard deviation, a share of white, to an 8-bit image."""
    noisy = image + 255 * sigma * rng.standard_normal(image.shape)
    return np.clip(np.round(noisy), 0, 255).astype(np.uint8)


def psnr(mean_square: NDArray[np.float64]) -> float:
    """Peak signal-to-noise ratio in dB of 8-bit images, from their mean squared errors (N,): the mean over images."""
    return float(np.mean(10 * np.log10(255.0**2 / np.maximum(mean_square, 1e-6))))


def _of_noise(restorer: Restorer, images: Image, sigma: float) -> Iterator[tuple[Image, Image]]:
    """Each image with noise taken away again: by the restorer, and by the baseline."""
    import cv2

    for k, image in enumerate(images):
        noisy = with_noise(image, sigma, np.random.default_rng([SEED, k]))
        plain = cv2.fastNlMeansDenoising(noisy, None, h=255 * sigma, templateWindowSize=5, searchWindowSize=15)
        yield restorer.denoise(noisy).after, plain


def _of_holes(restorer: Restorer, images: Image) -> Iterator[tuple[float, float]]:
    """Mean absolute error inside a hole of each image, as a share of white: restored and by the baseline."""
    import cv2

    for k, image in enumerate(images):
        hole = hole_in(image.shape, np.random.default_rng([SEED + 1, k]))
        made = (
            restorer.inpaint(image, hole).after,
            cv2.inpaint(image, hole.astype(np.uint8), TELEA_RADIUS, cv2.INPAINT_TELEA),
        )
        yield tuple(float(np.abs(one[hole].astype(float) - image[hole]).mean() / 255) for one in made)


def figures_of(
    restorer: Restorer, images: Image, groups: ArrayLike, progress: Note = lambda row: None
) -> tuple[Figures, Figures]:
    """Measure on images (N, 128, 128) as prepared, with 95 % intervals over groups (N,), patients.

    Returns
    -------
    tuple
        Figures of the restorer, and the same of the baseline.
    """
    figures: Figures = []
    baseline: Figures = []

    def add(metric: str, statistic: Callable[..., float], ours: ArrayLike, theirs: ArrayLike) -> None:
        for table, values in ((figures, ours), (baseline, theirs)):
            found = bootstrap(statistic, np.asarray(values), groups=groups)
            table.append({"metric": metric, **found.to_dict(), "n": len(images), "split": SPLIT})

    for stage, sigma in enumerate(SIGMAS, 1):
        made = [np.stack(part) for part in zip(*_of_noise(restorer, images, sigma), strict=True)]  # (N, 128, 128) each
        squares = [((part.astype(np.float64) - images) ** 2).mean((1, 2)) for part in made]
        add(f"PSNR, noise of {sigma:.0%}", psnr, *squares)
        add(f"MS-SSIM, noise of {sigma:.0%}", np.mean, *(ms_ssim(part, images) for part in made))
        progress({"part": "figures", "epoch": stage, "of": len(SIGMAS) + 1})
    add("mean absolute error in a hole", np.mean, *zip(*_of_holes(restorer, images), strict=True))
    progress({"part": "figures", "epoch": len(SIGMAS) + 1, "of": len(SIGMAS) + 1})
    return figures, baseline
