"""The intake: bytes of a scan in, a :class:`Scan` out, or one sentence that says why not.

File names are never looked at. Whatever the bytes are, only :class:`InputError` (cannot be read) and
:class:`RefusedInput` (read, but nothing here is made for it) come out.
"""

from __future__ import annotations

import hashlib

from medai_core.errors import InputError, MedAIError
from medai_core.imaging.read_archive import Member, unpack
from medai_core.imaging.read_kinds import RASTER_KINDS, refuse_kind, sniff
from medai_core.imaging.scan import Scan, Tag
from medai_core.settings import settings

__all__ = ["Member", "Scan", "Tag", "read_scan", "sniff", "unpack", "unreadable"]

_CUT_OFF = (
    "truncat",
    "unexpected end",
    "end of file",
    "end-of-stream",
    "less than expected",
    "incomplete",
    "not enough",
)


def read_scan(data: bytes, *, frame: int | None = None, plane: str | None = None, at_least: int | None = None) -> Scan:
    """Read one picture of a file.

    Parameters
    ----------
    data : bytes
        DICOM, PNG, JPEG, TIFF, WebP, BMP, GIF or NIfTI (also gzip-compressed).
    frame : int, optional
        DICOM frame, TIFF page or NIfTI slice, counted from 0. Default: the first; of a volume or an MR stack
        the middle.
    plane : {"axial", "coronal", "sagittal"}, optional
        For volumes; ignored for flat pictures.
    at_least : int, optional
        Decode a JPEG at 1/2, 1/4 or 1/8 size as long as both sides keep this many pixels: everything after
        the decoder then has 4 to 64 times less to do.

    Raises
    ------
    InputError
        Not a scan, damaged, cut off, beyond a limit, or in an encoding that cannot be decoded.
    RefusedInput
        A DICOM object without an image (report, plan, waveform, …).

    Examples
    --------
    >>> from pathlib import Path
    >>> from medai_core.imaging.read import read_scan
    >>> scan = read_scan(Path("slice.nii.gz").read_bytes(), plane="coronal")  # doctest: +SKIP
    >>> " → ".join(map(str, scan.trace))  # doctest: +SKIP
    'NIfTI volume of 181 × 217 × 181 voxels, int16 → coronal slice 109 of 217 → …'
    """
    limit = settings().max_file_mb
    if len(data) > limit * 1_000_000:
        raise InputError("The file is larger than the {limit} MB read here.", limit=limit)
    kind = sniff(data)
    try:
        return _read(data, kind, frame, plane, at_least)
    except MedAIError:
        raise
    except Exception as error:
        # The one boundary to four decoding libraries with C code below them. Given damaged bytes they raise
        # nearly anything (fuzzing 130,000 files met 18 types, from struct.error to NotImplementedError).
        raise unreadable(kind, error) from error


def _read(data: bytes, kind: str, frame: int | None, plane: str | None, at_least: int | None) -> Scan:
    if kind in RASTER_KINDS:
        from medai_core.imaging.read_raster import read_raster

        return read_raster(data, kind, hashlib.sha256(data).hexdigest(), frame, at_least)
    if kind == "DICOM":
        from medai_core.imaging.read_dicom import read_dicom

        return read_dicom(data, hashlib.sha256(data).hexdigest(), frame)
    if kind == "NIfTI":
        from medai_core.imaging.read_nifti import read_nifti

        return read_nifti(data, hashlib.sha256(data).hexdigest(), frame, plane)
    raise refuse_kind(kind)


def unreadable(kind: str, error: Exception) -> InputError:
    """The sentence for an error that a decoder, or what follows it, did not mean to raise."""
    if isinstance(error, MemoryError):
        return InputError("Decoding the {kind} file needs more memory than there is.", kind=kind)
    if "decompression bomb" in str(error):
        return InputError(
            "The {kind} image is larger than the {limit} megapixels read here.",
            kind=kind,
            limit=settings().max_megapixels,
        )
    if isinstance(error, EOFError) or any(words in str(error).lower() for words in _CUT_OFF):
        return InputError("The {kind} file is cut off: it ends before the image does.", kind=kind)
    return InputError("The {kind} file is damaged: it cannot be decoded.", kind=kind)
