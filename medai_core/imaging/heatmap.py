"""Heat maps: how faithful one is to its network, and how it looks over the image."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Floats = NDArray[np.float32]

PATCH = 16
BLUR_PX = 12.0
SMOOTH_PX = 1.5
# Okabe & Ito's colour-blind-safe pair, their orange lightened to stand out on grey as much as the blue.
AGAINST, FOR = (0, 114, 178), (255, 140, 0)


@dataclass(frozen=True)
class Faithfulness:
    """Areas under the deletion and insertion curves, in the unit of the score, beside those of random orders.

    Attributes
    ----------
    random_deletion_auc, random_insertion_auc : float
        Mean over the random orders.
    faithful : bool
        Insertion exceeds deletion by more than along *every* random order, forwards or backwards: with 10 of
        them a random map passes in one case of 21.
    """

    deletion_auc: float
    insertion_auc: float
    random_deletion_auc: float
    random_insertion_auc: float
    faithful: bool


def blurred(image: NDArray[np.floating]) -> Floats:
    """Return the image (H, W) without detail: the baseline of deletion and insertion."""
    from scipy.ndimage import gaussian_filter

    return gaussian_filter(np.asarray(image, np.float32), BLUR_PX, mode="nearest")


def faithfulness(
    predict: Callable[[Floats], NDArray[np.floating]],
    image: NDArray[np.floating],
    heat: NDArray[np.floating],
    baseline: NDArray[np.floating] | None = None,
    *,
    steps: int = 16,
    random_orders: int = 10,
    seed: int = 0,
) -> Faithfulness:
    """Measure a heat map by deletion and insertion (Petsiuk et al. 2018, arXiv:1806.07421).

    Patches of 16 × 16 pixels are replaced by the baseline, hottest first (deletion), or put back into it,
    hottest first (insertion), and the area under the target's score over the share of patches, 0 to 1, is
    taken: its mean along the way. Inserting along an order shows the same images as deleting along its
    reverse, so one set of random curves serves both references.

    Parameters
    ----------
    predict : callable
        (B, H, W, 1) → score (B,) of the target; called once. Log-odds compare better than probabilities:
        a network that is sure stays above 0.99 through most of the deletion.
    image, heat, baseline : NDArray
        (H, W); ``baseline`` defaults to a strongly blurred image. Signed heat ranks by its signed sum.
    """
    image, heat = np.asarray(image, np.float32), np.asarray(heat, np.float32)
    baseline = blurred(image) if baseline is None else np.asarray(baseline, np.float32)
    rng = np.random.default_rng(seed)
    patches = _patches(image.shape)  # (H, W) number of each pixel's patch
    mass = np.bincount(patches.ravel(), heat.ravel())
    ranked = np.lexsort((rng.permutation(mass.size), -mass))  # equal patches in random order
    forwards = [ranked, *(rng.permutation(mass.size) for _ in range(random_orders))]
    orders = [order[::step] for order in forwards for step in (1, -1)]

    cuts = np.linspace(0, mass.size, steps + 1).round().astype(int)[1:-1]
    gone = [np.isin(patches, order[:cut]) for order in orders for cut in cuts]
    images = [image, baseline, *(np.where(mask, baseline, image) for mask in gone)]
    curve = np.asarray(predict(np.stack(images)[..., None]), np.float64)

    inner = curve[2:].reshape(len(orders), steps - 1)
    ends = np.ones((len(orders), 1))
    areas = np.trapezoid(np.hstack([ends * curve[0], inner, ends * curve[1]]), dx=1.0 / steps, axis=1)
    gaps, chance = areas[1::2] - areas[::2], float(areas[2:].mean())
    faithful = bool(gaps[0] > np.abs(gaps[1:]).max())
    return Faithfulness(float(areas[0]), float(areas[1]), chance, chance, faithful)


def _patches(shape: tuple[int, ...]) -> NDArray[np.int64]:
    rows, columns = (np.arange(side) // PATCH for side in shape)
    return rows[:, None] * (columns[-1] + 1) + columns[None, :]


def overlay(
    image: NDArray[np.generic], heat: NDArray[np.floating], opacity: float = 0.6, signed: bool = False
) -> NDArray[np.uint8]:
    """Return the image with the heat map over it, (H, W, 3).

    Colours are safe for colour-blind readers: viridis, or blue (against) and orange (for) when signed. Where
    the heat is zero the image shows through untouched. Signed maps speckle from pixel to pixel, so for
    display they are smoothed over 1.5 of their pixels and scaled by their 99.5th percentile.

    Parameters
    ----------
    image : NDArray
        (H, W) uint8, or float in [0, 1].
    heat : NDArray
        (h, w), resized to the image.
    opacity : float
        0 (image only) to 1.
    """
    grey = image if image.dtype == np.uint8 else np.rint(np.clip(image, 0, 1) * 255)
    heat = _smoothed(heat) if signed else np.asarray(heat, np.float32)
    heat = np.asarray(Image.fromarray(heat).resize(grey.shape[::-1], Image.Resampling.BILINEAR))
    top = float(np.percentile(np.abs(heat), 99.5)) if signed else float(heat.max())
    heat = np.clip(heat / top, -1 if signed else 0, 1) if top > 0 else np.zeros_like(heat)
    colour = np.where(heat[..., None] < 0, AGAINST, FOR) if signed else _viridis(heat)  # (H, W, 3)
    share = (np.clip(opacity, 0, 1) * np.abs(heat) ** (1.0 if signed else 0.5))[..., None]  # (H, W, 1)
    return np.rint(grey[..., None] * (1 - share) + colour * share).astype(np.uint8)


def _smoothed(heat: NDArray[np.floating]) -> Floats:
    from scipy.ndimage import gaussian_filter

    return gaussian_filter(np.asarray(heat, np.float32), SMOOTH_PX)


def _viridis(value: Floats) -> NDArray[np.float64]:
    """Return (H, W, 3) colours for values in 0 to 1."""
    from plotly.colors import hex_to_rgb, sequential

    table = np.array([hex_to_rgb(colour) for colour in sequential.Viridis])  # (10, 3)
    stops = np.linspace(0, 1, len(table))
    return np.stack([np.interp(value, stops, channel) for channel in table.T], axis=-1)
