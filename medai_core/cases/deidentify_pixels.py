"""Words that travel with pixels: in JPEG markers, behind the last pixel, and in bits that no pixel uses.

Pixels themselves are neither decoded nor compressed again here: what a reader shows stays the same to the bit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from medai_core.errors import InputError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_SOI, _EOI, _SOS, _COM = 0xD8, 0xD9, 0xDA, 0xFE
_APP0, _APP8, _APP14, _APP15 = 0xE0, 0xE8, 0xEE, 0xEF
_STANDALONE = (0x01, *range(0xD0, 0xD8))
_JFIF_BYTES = 14  # without its thumbnail
_J2K_START, _J2K_TILE, _J2K_DATA, _J2K_COM, _J2K_END = 0xFF4F, 0xFF90, 0xFF93, 0xFF64, 0xFFD9


def strip_jpeg(data: bytes, *, insert: bytes = b"") -> bytes:
    """Leave out of a JPEG or JPEG-LS stream what no decoder needs: comments, EXIF, XMP, IPTC, thumbnails, colour
    profiles, and whatever follows its end.

    Parameters
    ----------
    data : bytes
        Starting with SOI.
    insert : bytes
        Segments to write behind the first ones, markers and lengths included.

    Raises
    ------
    InputError
        If the stream ends before its end marker, or is none.
    """
    if data[:2] != b"\xff\xd8":
        raise InputError("The {kind} file is damaged: it cannot be decoded.", kind="JPEG")
    out, at, placed = [data[:2]], 2, not insert
    while True:
        at, marker = _next_marker(data, at)
        if marker == _EOI:
            return b"".join([*out, b"\xff\xd9"])
        if marker in _STANDALONE:
            continue
        end = at + int.from_bytes(data[at : at + 2], "big")
        if end > len(data) or end < at + 2:
            raise InputError("The {kind} file is cut off: it ends before the image does.", kind="JPEG")
        segment, at = data[at:end], end
        if not placed and marker != _APP0:
            out.append(insert)
            placed = True
        if kept := _kept_segment(marker, segment):
            out.append(bytes((0xFF, marker)) + kept)
        if marker == _SOS:
            at = _end_of_scan(data, at)
            out.append(data[end:at])


def _next_marker(data: bytes, at: int) -> tuple[int, int]:
    """Where a marker's segment begins, and the marker; any number of fill bytes may stand before it."""
    if data[at : at + 1] == b"\xff":
        while data[at : at + 1] == b"\xff":
            at += 1
        if at < len(data):
            return at + 1, data[at]
    raise InputError("The {kind} file is cut off: it ends before the image does.", kind="JPEG")


def _kept_segment(marker: int, segment: bytes) -> bytes:
    if marker == _APP0:  # JFIF says how samples lie; its extension holds nothing but a thumbnail
        return b"\0\x10" + segment[2:_JFIF_BYTES] + b"\0\0" if segment[2:7] == b"JFIF\0" else b""
    if marker == _APP14:  # says whether colours are YCbCr
        return segment[:14] if segment[2:7] == b"Adobe" and segment[:2] == b"\0\x0e" else b""
    if marker == _APP8:  # says the same in JPEG-LS
        return segment if segment[2:6] == b"mrfx" and len(segment) == 7 else b""
    return b"" if _APP0 < marker <= _APP15 or marker == _COM else segment


def _end_of_scan(data: bytes, at: int) -> int:
    """Where the compressed samples end. 0xFF among them is followed by 0 (in JPEG-LS by less than 0x80)."""
    while True:
        at = data.find(b"\xff", at)
        if at < 0 or at + 1 >= len(data):
            raise InputError("The {kind} file is cut off: it ends before the image does.", kind="JPEG")
        if data[at + 1] >= 0x80 and data[at + 1] not in _STANDALONE:
            return at
        at += 2 if data[at + 1] != 0xFF else 1


def blank_jpeg2000(data: bytes) -> bytes:
    """Zero the comments of a JPEG 2000 codestream, and leave out boxes round it and bytes behind it.

    Parameters
    ----------
    data : bytes
        A codestream, or one inside JP2 boxes.

    Notes
    -----
    The length of every marker stays, since tile-parts are found by theirs (ISO/IEC 15444-1 A.4.2).
    """
    start = data.find(b"\xff\x4f\xff\x51")
    if start < 0:
        raise InputError("The {kind} file is damaged: it cannot be decoded.", kind="JPEG 2000")
    out, at, tile_end = bytearray(data[start:]), 2, 0
    while at + 4 <= len(out):
        marker, length = int.from_bytes(out[at : at + 2], "big"), int.from_bytes(out[at + 2 : at + 4], "big")
        if marker == _J2K_END:
            return bytes(out[: at + 2])
        if marker == _J2K_TILE:
            part = int.from_bytes(out[at + 6 : at + 10], "big")
            tile_end = at + part if part else len(out)  # 0: to the end of the codestream
        if marker == _J2K_COM:
            out[at + 4 : at + 2 + length] = bytes(length - 2)
        at = max(at + 2, tile_end) if marker == _J2K_DATA else at + 2 + length
    return bytes(out[: at + 2])


def clean_pixel_data(dataset: Dataset) -> None:
    """Clear what pixel data hold beside pixels; the data set is changed.

    Parameters
    ----------
    dataset : pydicom.dataset.Dataset
        With ``file_meta.TransferSyntaxUID``; may be without pixels.

    Raises
    ------
    InputError
        If the pixel data are damaged, so that nothing can be said about what is in them.
    """
    if "PixelData" not in dataset or not isinstance(dataset.PixelData, bytes) or not dataset.PixelData:
        return
    if dataset.file_meta.TransferSyntaxUID.is_encapsulated:
        _clean_frames(dataset)
    elif all(dataset.get(name) for name in ("Rows", "Columns", "BitsAllocated", "SamplesPerPixel")):
        _clean_native(dataset)


def _clean_frames(dataset: Dataset) -> None:
    from pydicom.encaps import encapsulate, encapsulate_extended, generate_frames
    from pydicom.uid import JPEG2000TransferSyntaxes, JPEGLSTransferSyntaxes, JPEGTransferSyntaxes

    syntax, count = dataset.file_meta.TransferSyntaxUID, int(dataset.get("NumberOfFrames") or 1)
    jpeg = [*JPEGTransferSyntaxes, *JPEGLSTransferSyntaxes]
    strip = strip_jpeg if syntax in jpeg else blank_jpeg2000 if syntax in JPEG2000TransferSyntaxes else None
    if strip is None:  # run lengths and video
        return
    frames = []
    for frame in generate_frames(dataset.PixelData, number_of_frames=count):
        stripped = strip(frame)
        frames.append(stripped + b"\0" * (len(stripped) % 2))
    if "ExtendedOffsetTable" in dataset:
        data, dataset.ExtendedOffsetTable, dataset.ExtendedOffsetTableLengths = encapsulate_extended(frames)
    else:
        data = encapsulate(frames)
    dataset.PixelData = data
    dataset["PixelData"].is_undefined_length = True


def _clean_native(dataset: Dataset) -> None:
    from pydicom.pixels.utils import get_expected_length

    data, expected = dataset.PixelData, get_expected_length(dataset)
    padded = expected + expected % 2
    if len(data) >= padded:
        # Of 16-bit words in big-endian order, the last pixel comes after the padding.
        swapped = not dataset.file_meta.TransferSyntaxUID.is_little_endian and dataset["PixelData"].VR == "OW"
        data = data[:padded] if swapped else data[:expected] + bytes(padded - expected)
    dataset.PixelData = _without_unused_bits(dataset, data, expected)


def _without_unused_bits(dataset: Dataset, data: bytes, expected: int) -> bytes:
    """Clear the bits outside the stored ones, where overlays used to be kept (PS3.5 8.1.1)."""
    allocated, stored = int(dataset.BitsAllocated), int(dataset.get("BitsStored") or dataset.BitsAllocated)
    high = int(dataset.get("HighBit", stored - 1))
    if allocated not in (8, 16, 32) or not 0 < stored < allocated or not stored - 1 <= high < allocated:
        return data
    little = dataset.file_meta.TransferSyntaxUID.is_little_endian
    values = np.frombuffer(data[: expected - expected % (allocated // 8)], f"{'<' if little else '>'}u{allocated // 8}")
    low = high + 1 - stored
    cleared = values & values.dtype.type(((1 << stored) - 1) << low)
    if dataset.get("PixelRepresentation") and high < allocated - 1:  # the sign goes on to the highest bit
        above = values.dtype.type(((1 << allocated) - 1) ^ ((1 << (high + 1)) - 1))
        cleared = np.where(values >> values.dtype.type(high) & values.dtype.type(1), cleared | above, cleared)
    return cleared.astype(values.dtype, copy=False).tobytes() + data[values.nbytes :]
