"""Images drawn in code, each another body, for tests of quality and privacy."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image
from scipy import ndimage

SIZE = 128


def draw_body(seed: int, label: int = 0) -> np.ndarray:
    """A body of smooth random structures (128, 128) uint8; those of one label share their broad shading."""
    rng = np.random.default_rng([label, seed])
    rows, columns = np.mgrid[-1 : 1 : SIZE * 1j, -1 : 1 : SIZE * 1j]
    lung = np.exp(-(((np.abs(columns) - 0.45) / 0.3) ** 2) - (rows / (0.6 + 0.1 * label)) ** 2)
    own = sum(ndimage.gaussian_filter(rng.standard_normal((SIZE, SIZE)), s) * s for s in (3, 6))
    return np.clip(150 - 70 * lung + 60 * own, 0, 255).astype(np.uint8)


def bodies(count: int, start: int = 0, label: int = 0) -> np.ndarray:
    return np.stack([draw_body(start + k, label) for k in range(count)])


def jpeg(image: np.ndarray, quality: int = 60) -> np.ndarray:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "JPEG", quality=quality)
    return np.asarray(Image.open(stream))


def moved(image: np.ndarray, down: float, right: float) -> np.ndarray:
    return ndimage.shift(image, (down, right), mode="nearest", order=1)


COPIES = {
    "the image itself": lambda image: image,
    "shifted": lambda image: moved(image, 3, -5),
    "shifted by half a pixel": lambda image: moved(image, -1.5, 4.5),
    "brighter": lambda image: np.clip(image * 1.1 + 15, 0, 255).astype(np.uint8),
    "less contrast": lambda image: (image * 0.6 + 40).astype(np.uint8),
    "compressed": jpeg,
    "mirrored": lambda image: image[:, ::-1],
    "mirrored, shifted and compressed": lambda image: jpeg(moved(image[:, ::-1], -4, 2)),
    "blurred": lambda image: ndimage.gaussian_filter(image, 1.2),
}
