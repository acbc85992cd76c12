"""Restoration of a damaged radiograph: less noise, or a region painted anew.

What is painted is invented: it looks like radiographs the network has seen, and tells nothing of the patient.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from medai_core import registry
from medai_core.artifacts import Bundle, load_model
from medai_core.errors import InputError

RESTORER = "chest_xray_restorer"
LARGEST_HOLE = 0.25
"""Largest share of the image that may be painted anew."""


@dataclass(frozen=True, eq=False)
class Restored:
    """An image before and after, both 8-bit (H, W).

    Attributes
    ----------
    difference : NDArray[np.int16]
        (H, W) after minus before, -255 to 255.
    """

    before: NDArray[np.uint8]
    after: NDArray[np.uint8]

    @property
    def difference(self) -> NDArray[np.int16]:
        return self.after.astype(np.int16) - self.before


class Restorer:
    """Runs the restoring network; safe to share between threads."""

    def __init__(self, bundle: Bundle) -> None:
        from medai_core.runtime import Compiled

        self.bundle = bundle
        self.size: int = bundle.preprocessing["size"]
        self._run = Compiled(load_model(bundle), (self.size, self.size, 2))

    def denoise(self, pixels: NDArray[np.uint8], strength: float = 1.0) -> Restored:
        """Take noise out of an image (H, W).

        Only what the network changes at 128 × 128 is applied, enlarged to the image's size: finer detail, noise
        included, stays.

        Parameters
        ----------
        strength : float
            0, nothing, to 1, all of what the network would change.
        """
        if not 0 <= strength <= 1:
            raise InputError("`strength` must be from 0 to 1, got {strength}", strength=strength)
        before = _checked(pixels)
        small = _resized(before, (self.size, self.size))
        change = self._painted(small, np.zeros_like(small)) - small
        after = before + strength * _resized(change, before.shape)
        return Restored(before, np.clip(np.round(after), 0, 255).astype(np.uint8))

    def inpaint(self, pixels: NDArray[np.uint8], mask: NDArray[np.bool_]) -> Restored:
        """Paint the pixels that `mask` (H, W) marks from what surrounds them; all others stay as they are.

        Raises
        ------
        InputError
            Shapes differ, nothing is marked, or more than a quarter of the image.
        """
        before, hole = _checked(pixels), np.asarray(mask, bool)
        if hole.shape != before.shape:
            raise InputError(
                "`mask` must have the image's shape {shape}, got {got}", shape=before.shape, got=hole.shape
            )
        if not 0 < hole.mean() <= LARGEST_HOLE:
            raise InputError(
                "`mask` must mark some of the image and at most {most:.0%}, got {share:.1%}",
                most=LARGEST_HOLE, share=float(hole.mean()),
            )  # fmt: skip
        shape = (self.size, self.size)
        missing = np.where(_resized(hole.astype(np.float32), shape) > 0, 1.0, 0.0)
        # Grey values under the mask must not leak into what surrounds it when the image is made smaller.
        visible = _resized((~hole).astype(np.float32), shape)
        small = _resized(np.where(hole, 0.0, before), shape) / np.maximum(visible, 1e-3)
        painted = _resized(self._painted(np.where(missing > 0, 127.5, small), missing), before.shape)
        after = np.where(hole, np.clip(np.round(painted), 0, 255), before)
        return Restored(before, after.astype(np.uint8))

    def _painted(self, small: NDArray[np.float32], missing: NDArray[np.float32]) -> NDArray[np.float32]:
        """The network's image (S, S) on the scale 0 to 255, for an image (S, S) and what is missing of it."""
        return self._run(np.stack([small / 255.0, missing], -1)[None])[0, ..., 0] * 255.0


def _checked(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    pixels = np.asarray(pixels)
    if pixels.ndim != 2 or pixels.dtype != np.uint8 or min(pixels.shape) < 16:
        raise InputError(
            "An image must be grey, 8 bits, and at least 16 × 16, got shape {shape} of {kind}",
            shape=pixels.shape, kind=str(pixels.dtype),
        )  # fmt: skip
    return pixels


def _resized(values: NDArray, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Resize (H, W) to `shape`, averaging when it becomes smaller."""
    picture = Image.fromarray(np.asarray(values, np.float32))
    return np.asarray(picture.resize((shape[1], shape[0]), Image.Resampling.BILINEAR), np.float32)


@cache
def load_restorer() -> Restorer:
    """The shipped restorer.

    Raises
    ------
    ArtifactError
        It is not installed.
    """
    from medai_core.synthesis import network  # noqa: F401 - the network's layers, by which Keras knows them

    return Restorer(registry.bundle(RESTORER))
