"""Words burned into pixels: found by the shape of a line of writing, with OpenCV's classical means.

Strokes brighter or darker than their surroundings (top-hat) that are as high as letters are joined along the line.
What results is a line of writing if it is long for its height, is crossed by many strokes on every height, and is of
one brightness, as writing is and ribs, tubes and electrodes are not. Nothing is read: a warning asks a person to look.
A side marker (L, R) or a projection (A-P) has too few letters to be called a line.

On images that no threshold was chosen on: of 300 paediatric chest radiographs of 224 pixels, most with a side marker,
three were flagged, two of them for a time of day and one for a cut A-P; of 300 brain MR slices twelve, one for
writing, one for a ruler and ten for anatomy. White lines written into the corners of 80 radiographs were found in 64 %
(10 pixels), 78 % (12), 98 % (14) and all (18 and 24), grey ones (200) in 35 to 51 %, since half of the corners were
bright tissue. So no warning is no proof.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medai_core.errors import InputError, Message, say

Box = tuple[int, int, int, int]

_HAT = 9  # wider than the strokes of letters up to 40 pixels high
_CONTRASTS = (40, 90)  # grey levels by which strokes stand out: the low one joins letters with noise, the high one not
_WHITE, _WHITE_CONTRAST = 235, 14
_LETTER_HEIGHTS = (5, 34)
_MAX_LETTER_WIDTH = 10  # in heights, since letters of small print touch
_LINE_HEIGHTS = (6, 40)
_MIN_LINE_WIDTH = 3.0  # in heights: A-P has 2.2, a date in figures 5
_MIN_STROKES = 5.0  # crossed on the middle of the line: A-P has 4 at most
_MIN_STROKES_INSIDE = 7.0  # away from the edges, where writing is rare and folds of a brain look like it
_EDGE = 0.15  # of the picture's sides
_STROKES_PER_HEIGHT = (1.0, 5.0)
_FILL = (0.12, 0.68)
_MAX_UNEVENNESS = 0.22  # of the contrast along the line, deviation by mean
_MAX_UNEVEN_GREY = 0.08  # of the grey level
_SIDES = (160, 1600)  # pixels of the longer side at which is looked
_SCALES = (1.0, 0.5)


@dataclass(frozen=True)
class Finding:
    """Where lines of writing seem to be.

    Attributes
    ----------
    boxes : tuple[tuple[int, int, int, int], ...]
        Left, top, width, height in pixels of the image, from the top down.
    share : float
        Of the image's area, what the boxes cover.
    """

    boxes: tuple[Box, ...]
    share: float

    @property
    def warning(self) -> Message | None:
        """What to tell a person, None if nothing was found."""
        if not self.boxes:
            return None
        return say(
            "Words seem to be burned into the picture (places found: {count}): look before it leaves the house.",
            count=len(self.boxes),
        )


def burned_in_text(pixels: NDArray[np.uint8]) -> Finding:
    """Look for lines of writing in a picture.

    Parameters
    ----------
    pixels : NDArray[np.uint8]
        (H, W) or (H, W, 3), as displayed.

    Returns
    -------
    Finding

    Raises
    ------
    InputError
        If ``pixels`` is of another kind or shape.
    """
    import cv2

    if pixels.dtype != np.uint8 or pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[2] != 3):
        raise InputError(
            "`{name}` must be 8-bit grey (H, W) or colour (H, W, 3), got {value}",
            name="pixels",
            value=f"{pixels.dtype} {pixels.shape}",
        )
    # Coloured writing may be as bright as what is round it; its strongest channel is not.
    grey = np.ascontiguousarray(pixels if pixels.ndim == 2 else pixels.max(axis=2))
    longest = max(grey.shape)
    boxes: list[Box] = []
    for scale in _SCALES:
        factor = scale * min(1.0, _SIDES[1] / longest)
        if scale < 1 and longest * factor < _SIDES[0] * 2:
            continue
        small = cv2.resize(grey, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA) if factor < 1 else grey
        boxes += [tuple(round(side / factor) for side in box) for box in _lines(small)]
    boxes = _merged(boxes)
    return Finding(tuple(boxes), sum(wide * high for _, _, wide, high in boxes) / grey.size)


def _lines(grey: NDArray[np.uint8]) -> Iterator[Box]:
    import cv2

    kernel = cv2.getStructuringElement(cv2.MORPH_RECT, (_HAT, _HAT))
    for shown in (grey, 255 - grey):
        hat = cv2.morphologyEx(shown, cv2.MORPH_TOPHAT, kernel)
        strokes = [hat >= contrast for contrast in _CONTRASTS]
        # On bright tissue, writing stands out little but is still as white as can be.
        strokes.append((hat >= _WHITE_CONTRAST) & (shown >= _WHITE))
        for mask in strokes:
            letters = _letters(mask.astype(np.uint8))
            for reach in (7, 15, 25):
                yield from _joined(shown, hat, letters, reach)


def _letters(strokes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Strokes that belong to something as high as a letter, (H, W) of 0 and 1."""
    import cv2

    _, labels, stats, _ = cv2.connectedComponentsWithStats(strokes, connectivity=8)
    high, wide = stats[:, cv2.CC_STAT_HEIGHT], stats[:, cv2.CC_STAT_WIDTH]
    kept = (high >= _LETTER_HEIGHTS[0]) & (high <= _LETTER_HEIGHTS[1]) & (wide <= _MAX_LETTER_WIDTH * high)
    kept[0] = False
    return kept[labels].astype(np.uint8)


def _joined(grey: NDArray[np.uint8], hat: NDArray[np.uint8], strokes: NDArray[np.uint8], reach: int) -> Iterator[Box]:
    """Boxes round strokes that are lines of writing when joined across gaps of up to ``reach`` pixels."""
    import cv2

    closed = cv2.morphologyEx(strokes, cv2.MORPH_CLOSE, np.ones((1, reach), np.uint8))
    _, labels, stats, _ = cv2.connectedComponentsWithStats(closed, connectivity=8)
    high, wide = stats[:, cv2.CC_STAT_HEIGHT], stats[:, cv2.CC_STAT_WIDTH]
    lines = (high >= _LINE_HEIGHTS[0]) & (high <= _LINE_HEIGHTS[1]) & (wide >= _MIN_LINE_WIDTH * high)
    lines &= reach <= 1.6 * high  # farther apart are words of different lines
    lines[0] = False
    for number in np.flatnonzero(lines):
        left, top, wide, high = stats[number, :4]
        at = np.s_[top : top + high, left : left + wide]
        line = strokes[at] * (labels[at] == number)
        beside = min(left + wide / 2, grey.shape[1] - left - wide / 2) / grey.shape[1]
        above = min(top + high / 2, grey.shape[0] - top - high / 2) / grey.shape[0]
        least = _MIN_STROKES if min(beside, above) < _EDGE else _MIN_STROKES_INSIDE
        if _is_writing(line.astype(bool), grey[at], hat[at], least):
            yield int(left), int(top), int(wide), int(high)


def _is_writing(line: NDArray[np.bool_], grey: NDArray[np.uint8], hat: NDArray[np.uint8], least: float) -> bool:
    high, wide = line.shape
    if not _FILL[0] <= line.mean() <= _FILL[1]:
        return False
    middle = line[high // 5 : high - high // 5]
    starts = (np.diff(middle.astype(np.int8), axis=1, prepend=0) == 1).sum(axis=1)  # strokes crossed, per row
    crossed = float(np.median(starts))
    low, most = _STROKES_PER_HEIGHT
    if crossed < least or not low <= crossed * high / wide <= most:
        return False
    # Cores of strokes: the brightest pixel of each column that has one.
    columns = line.any(axis=0)
    return _uneven(line, hat, columns) <= _MAX_UNEVENNESS or _uneven(line, grey, columns) <= _MAX_UNEVEN_GREY


def _uneven(line: NDArray[np.bool_], values: NDArray[np.uint8], columns: NDArray[np.bool_]) -> float:
    cores = np.where(line, values, 0).max(axis=0)[columns].astype(float)
    return float(np.std(cores) / np.mean(cores))


def _merged(boxes: list[Box]) -> list[Box]:
    """Boxes that overlap as one, from the top down."""
    merged: list[Box] = []
    for left, top, wide, high in sorted(boxes, key=lambda box: (box[1], box[0])):
        right, bottom = left + wide, top + high
        for other in [box for box in merged if _touch(box, (left, top, right - left, bottom - top))]:
            merged.remove(other)
            left, top = min(left, other[0]), min(top, other[1])
            right, bottom = max(right, other[0] + other[2]), max(bottom, other[1] + other[3])
        merged.append((left, top, right - left, bottom - top))
    return sorted(merged, key=lambda box: (box[1], box[0]))


def _touch(one: Box, other: Box) -> bool:
    return all(
        one[axis] <= other[axis] + other[axis + 2] and other[axis] <= one[axis] + one[axis + 2] for axis in (0, 1)
    )
