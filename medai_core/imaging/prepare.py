"""From a displayed scan to the square the networks see.

The training radiographs are copies stretched to 224 × 224, whatever their shape; a clinic's image keeps
its own. Both take the same road here (first to 224 × 224 without regard to aspect, then to the
network's size), so that a radiograph and its stretched copy get the same answer.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from medai_core.errors import Message, RefusedInput, say

VIA = 224
SIZE = 128
MIN_SIDE = 96


@dataclass(frozen=True, eq=False)
class Prepared:
    """``image`` is (size, size, 1) float32 in [0, 1]; ``trace`` says what was done to get there."""

    image: NDArray[np.float32]
    trace: tuple[Message, ...]


def prepare(display: NDArray[np.uint8], size: int = SIZE) -> Prepared:
    """Return what the networks see of a displayed scan.

    Parameters
    ----------
    display : NDArray[np.uint8]
        (H, W) luminance as a viewer shows it.
    size : int
        Side of the result in pixels.

    Raises
    ------
    RefusedInput
        Either side is shorter than 96 pixels: too little is left to judge.
    """
    height, width = display.shape
    if min(height, width) < MIN_SIDE:
        raise RefusedInput(
            "The image is {width} × {height} pixels; each side must have at least {least}.",
            width=width,
            height=height,
            least=MIN_SIDE,
        )
    image = Image.fromarray(display)
    if image.size != (VIA, VIA):
        image = image.resize((VIA, VIA), Image.Resampling.BILINEAR, reducing_gap=3.0)
    image = image.resize((size, size), Image.Resampling.BILINEAR)
    pixels = np.asarray(image, np.float32)[..., None] / 255.0
    return Prepared(pixels, (say("stretched to {via}×{via}, then {size}×{size}", via=VIA, size=size),))
