"""A scan as it was read: pixel values, a default rendering, and the trace of what was done to them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from medai_core.errors import Message

COLOUR_TOLERANCE = 5.0
"""Mean spread between channels (0 to 255) up to which a picture counts as grey.

JPEG chroma noise stays below 0.7 and a coloured marker on a grey slice below 4; a tinted photograph is above.
"""
_SAMPLED_PIXELS = 250_000


@dataclass(frozen=True)
class Tag:
    """One DICOM element for the viewer.

    Attributes
    ----------
    tag : str
        For example ``(0010,0010)``.
    value : str
        At most 120 characters; sequences and bulk data are only counted.
    identifying : bool
        Whether the value may point to a person, place or day, see :mod:`read_dicom_tags`.
    """

    tag: str
    keyword: str
    name: str
    value: str
    identifying: bool


@dataclass(frozen=True, eq=False)
class Scan:
    """One picture of a file: a radiograph, one frame, or one slice of a volume.

    Attributes
    ----------
    stored : NDArray
        (H, W), any number type: what :attr:`values` is made from. 8-bit pictures keep their bytes here, so
        that no full-size float copy is made unless someone asks.
    display : NDArray[np.uint8]
        (H, W), the default rendering: after window or VOI LUT, and after inversion.
    window : tuple[float, float]
        Centre and width, in the units of ``values``, that made ``display``.
    curved : bool
        A VOI LUT or a sigmoid made ``display`` instead; ``window`` is where it lies.
    inverted : bool
        Low values are shown bright (MONOCHROME1, TIFF white-is-zero).
    colour : NDArray[np.uint8] or None
        (H, W, 3), only when the channels really differ.
    full_shape : tuple[int, int]
        (H, W) of the picture in the file, upright; larger than ``display`` when decoded at reduced size.
    frame, frames : int
        Which picture of how many, counted from 0. For a volume: the slice along ``plane``, counted towards
        the patient's right, front or head.
    spacing_mm : tuple[float, float] or None
        Distance between rows and between columns of the file's picture, in mm.
    texts : Mapping[str, str]
        What a picture's file says in words: PNG keywords, EXIF description, comment, XMP. Of DICOM see :attr:`tags`.
    """

    stored: NDArray[np.generic]
    display: NDArray[np.uint8]
    window: tuple[float, float]
    kind: str
    digest: str
    full_shape: tuple[int, int]
    curved: bool = False
    inverted: bool = False
    colour: NDArray[np.uint8] | None = None
    frame: int = 0
    frames: int = 1
    plane: str | None = None
    planes: tuple[str, ...] = ()
    modality: str | None = None
    body_part: str | None = None
    view: str | None = None
    spacing_mm: tuple[float, float] | None = None
    tags: tuple[Tag, ...] = ()
    trace: tuple[Message, ...] = ()
    texts: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def values(self) -> NDArray[np.float32]:
        """(H, W) modality values (after rescale), or brightness 0 to 255 for a photograph."""
        return self.stored.astype(np.float32, copy=False)

    def render(self, centre: float, width: float, invert: bool = False) -> NDArray[np.uint8]:
        """Show the values through another window.

        Parameters
        ----------
        centre, width : float
            In units of ``values``; DICOM's LINEAR_EXACT function (PS3.3 C.11.2.1.3.2). A DICOM window is
            LINEAR by default, which is half a unit off: ``render(*window)`` can differ from ``display`` by that.
        invert : bool
            Swap black and white relative to ``display``.

        Returns
        -------
        NDArray[np.uint8]
            (H, W).
        """
        shown = apply_window(self.stored, centre - width / 2, centre + width / 2)
        return 255 - shown if invert != self.inverted else shown


def apply_window(values: NDArray[np.generic], low: float, high: float) -> NDArray[np.uint8]:
    """Map ``low`` … ``high`` linearly to 0 … 255 and clip; a step when both are equal."""
    if values.dtype == np.uint8 and (low, high) == (0, 255):
        return values
    if values.dtype in (np.uint8, np.uint16):
        # A table of all possible values costs less than arithmetic on every pixel.
        return _linear(np.arange(np.iinfo(values.dtype).max + 1), low, high)[values]
    return _linear(values, low, high)


def _linear(values: NDArray[np.generic], low: float, high: float) -> NDArray[np.uint8]:
    if not high > low:
        return np.where(values > low, np.uint8(255), np.uint8(0))
    # float32 cannot tell neighbouring 32-bit integers apart.
    exact = np.float64 if values.dtype.itemsize > 2 and values.dtype.kind in "iu" else np.float32
    scaled = (values.astype(exact) - exact(low)) * exact(255.0 / (high - low))
    return np.rint(np.clip(scaled, 0, 255)).astype(np.uint8)


def finite(values: NDArray[np.generic]) -> NDArray[np.float32]:
    """Floats as float32, with everything that is no sensible number (NaN, infinite, beyond 1e20) as 0."""
    with np.errstate(over="ignore", invalid="ignore"):
        values = values.astype(np.float32)
    values[~(np.abs(values) < 1e20)] = 0
    return values


def auto_window(values: NDArray[np.generic], keep: NDArray[np.bool_] | None = None) -> tuple[float, float]:
    """Low and high end of a window from the 1st to the 99th percentile of the values.

    Parameters
    ----------
    values : NDArray
        (H, W).
    keep : NDArray[np.bool_], optional
        (H, W), False where a pixel is padding.
    """
    step = max(1, round((values.size / _SAMPLED_PIXELS) ** 0.5))
    sample = values[::step, ::step].astype(np.float64)
    if keep is not None and keep[::step, ::step].any():
        sample = sample[keep[::step, ::step]]
    low, high = np.percentile(sample, (1, 99))
    if low == high:  # e.g. a small bright object on black
        low, high = values.min(), values.max()
    return float(low), float(high)


def grey_and_colour(rgb: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None]:
    """Brightness (ITU-R BT.601) of a picture, and the picture itself if it really has colour.

    Parameters
    ----------
    rgb : NDArray[np.uint8]
        (H, W, 3).
    """
    step = max(1, round((rgb.shape[0] * rgb.shape[1] / 65_536) ** 0.5))
    r, g, b = np.moveaxis(rgb[::step, ::step], 2, 0)
    # Spelled out: numpy's own max over an axis of three is twenty times slower.
    spread = (np.maximum(np.maximum(r, g), b) - np.minimum(np.minimum(r, g), b)).mean()
    from PIL import Image

    grey = np.asarray(Image.fromarray(rgb).convert("L"))
    return grey, rgb if spread > COLOUR_TOLERANCE else None
