"""Whether two DICOM files are one object: the same image comes by several ways, each writing it in its own manner.

A scanner's export, a C-STORE and a DICOMweb answer differ in file meta information, value representations, group
lengths and transfer syntax. None of that makes another object of it (PS3.4 B.4.1).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_PIXELS = 0x7FE00010
_PADDING = 0xFFFCFFFC


def same_object(one: bytes, other: bytes) -> bool:
    """Whether two DICOM files hold the same values and the same pixels; False for what cannot be compared.

    Private elements are left out: without their dictionary their values cannot be told from their encoding.
    """
    from medai_core.imaging.read_dicom import open_dicom

    try:
        first, second = open_dicom(one), open_dicom(other)
        return list(_values(first)) == list(_values(second)) and _same_pixels(first, second)
    except Exception:
        # One of them was taken in before, the other comes from outside: damaged in a way that shows only here, it is
        # not the same.
        return False


def _values(ds: Dataset) -> Iterator[tuple[int, Any]]:
    for element in ds:
        tag = element.tag
        if tag.is_private or tag.element == 0 or tag in (_PIXELS, _PADDING):
            continue
        value = element.value
        yield int(tag), [list(_values(item)) for item in value] if element.VR == "SQ" else value or None


def _same_pixels(first: Dataset, second: Dataset) -> bool:
    if ("PixelData" in first) != ("PixelData" in second):
        return False
    if "PixelData" not in first or first.PixelData == second.PixelData:
        return True
    syntaxes = {ds.file_meta.TransferSyntaxUID for ds in (first, second)}
    if len(syntaxes) == 1 or not any(syntax.is_encapsulated or not syntax.is_little_endian for syntax in syntaxes):
        return False
    from pydicom.pixels import pixel_array

    return np.array_equal(pixel_array(first), pixel_array(second))
