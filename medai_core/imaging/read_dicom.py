"""DICOM to a :class:`Scan`: one frame decoded, then modality LUT, VOI and inversion in that order (PS3.4 N.2)."""

from __future__ import annotations

import io
import logging
import warnings
import zlib
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from medai_core.errors import InputError, Message, RefusedInput, say
from medai_core.imaging.read_dicom_look import Look, element_text, find_look
from medai_core.imaging.read_dicom_tags import printable, read_tags
from medai_core.imaging.read_limits import check_frame, check_pixels
from medai_core.imaging.scan import Scan, apply_window, auto_window, finite, grey_and_colour
from medai_core.settings import settings

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

# pydicom's warnings quote the values they complain about, which may be a name: nothing of that is logged.
logging.getLogger("pydicom").setLevel(logging.CRITICAL)
warnings.filterwarnings("ignore", module="pydicom")

_PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
_NEEDED = ("Rows", "Columns", "SamplesPerPixel", "PhotometricInterpretation", "BitsAllocated")
_GREY = ("MONOCHROME1", "MONOCHROME2")
_COLOUR = ("PALETTE COLOR", "RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")
_VIDEO = ("1.2.840.10008.1.2.4.10",)  # MPEG-2, MPEG-4 and HEVC are 1.2.840.10008.1.2.4.100 to .108


def read_dicom(data: bytes, digest: str, frame: int | None) -> Scan:
    """Read one frame of a DICOM file.

    Parameters
    ----------
    data : bytes
        With or without preamble and file meta information.
    digest : str
        SHA-256 of ``data``.
    frame : int or None
        Counted from 0; None is the first, and of an MR stack the middle, where most of the organ is.

    Raises
    ------
    InputError
        Damaged, beyond a limit, or in a transfer syntax that cannot be decoded.
    RefusedInput
        A DICOM object without an image.
    """
    ds = open_image(data)
    frames = int(ds.get("NumberOfFrames") or 1)
    modality = element_text(ds, "Modality")
    frame = check_frame(frame, frames // 2 if modality == "MR" else 0, frames)
    _require_sane_size(ds)
    _require_decoder(ds)
    pixels = _decode(ds, frame, frames)
    grey = ds.PhotometricInterpretation in _GREY
    look = find_look(ds, frame)
    fields = _grey(ds, pixels, look) if grey else _coloured(ds, pixels)
    trace = [say("{bits}-bit {photometric}", bits=_bits(ds), photometric=str(ds.PhotometricInterpretation))]
    if frames > 1:
        trace.append(say("frame {number} of {total}", number=frame + 1, total=frames))
    return Scan(
        **{**fields, "trace": (*trace, *fields["trace"])},
        kind="DICOM",
        digest=digest,
        full_shape=pixels.shape[:2],
        frame=frame,
        frames=frames,
        modality=modality,
        body_part=element_text(ds, "BodyPartExamined", "AnatomicRegionSequence"),
        view=element_text(ds, "ViewPosition", "ViewCodeSequence"),
        spacing_mm=look.spacing_mm,
        tags=read_tags(ds),
    )


def open_image(data: bytes) -> Dataset:
    """The data set of a DICOM image; its pixels are not decoded.

    Raises
    ------
    InputError
        Cut off, beyond a limit, or without what an image must have.
    RefusedInput
        A DICOM object without an image.
    """
    ds = open_dicom(data)
    _require_image(ds)
    return ds


def open_dicom(data: bytes) -> Dataset:
    """The data set as it is, with a transfer syntax; elements are decoded when they are asked for."""
    import pydicom

    _refuse_deflate_bomb(data)
    ds = pydicom.dcmread(io.BytesIO(data), force=True)
    if not ds.file_meta.get("TransferSyntaxUID"):
        implicit, little = ds.original_encoding
        uid = pydicom.uid
        explicit = uid.ExplicitVRLittleEndian if little else uid.ExplicitVRBigEndian
        ds.file_meta.TransferSyntaxUID = uid.ImplicitVRLittleEndian if implicit else explicit
    return ds


def _refuse_deflate_bomb(data: bytes) -> None:
    """Inflate a deflated data set once without keeping it: pydicom would inflate it whole, whatever its size.

    Its start is found by pydicom's own steps: a forged group length or a missing preamble must not lead elsewhere.
    """
    from pydicom import filereader
    from pydicom.uid import DeflatedExplicitVRLittleEndian

    stream = io.BytesIO(data)
    filereader.read_preamble(stream, force=True)
    meta = filereader._read_file_meta_info(stream)
    filereader._read_command_set_elements(stream)
    if meta.get("TransferSyntaxUID") != DeflatedExplicitVRLittleEndian:
        return
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    left, packed = settings().max_file_mb * 1_000_000, stream.read()
    while packed and not inflater.eof:
        left -= len(inflater.decompress(packed, 1 << 20))
        packed = inflater.unconsumed_tail
        if left < 0:
            raise InputError(
                "The DICOM file inflates to more than the {limit} MB read here.", limit=settings().max_file_mb
            )


def _require_image(ds: Dataset) -> None:
    if any(name in ds for name in _PIXELS):
        missing = [name for name in _NEEDED if ds.get(name) is None]
        if missing:
            raise InputError("The DICOM file lacks {names}, which an image must have.", names=", ".join(missing))
        return
    from pydicom.uid import UID

    sop_class = printable(UID(str(ds.get("SOPClassUID") or ds.file_meta.get("MediaStorageSOPClassUID") or "")).name, 64)
    if "Rows" in ds or "Image Storage" in sop_class:
        raise InputError("The DICOM file is cut off: it ends before its pixel data.")
    if not sop_class:
        raise InputError("The file starts like DICOM but holds no image.")
    raise RefusedInput("This DICOM object is no image but: {sop_class}.", sop_class=sop_class)


def _require_sane_size(ds: Dataset) -> None:
    rows, columns, samples = int(ds.Rows), int(ds.Columns), int(ds.SamplesPerPixel)
    if rows < 1 or columns < 1 or samples not in (1, 3):
        raise InputError(
            "The DICOM file is damaged: {rows} rows, {columns} columns and {samples} samples per pixel make no image.",
            rows=rows,
            columns=columns,
            samples=samples,
        )
    check_pixels(columns, rows)
    if ds.PhotometricInterpretation not in _GREY + _COLOUR:
        raise InputError(
            "The DICOM photometric interpretation {photometric} cannot be read; save the image as RGB or MONOCHROME2.",
            photometric=printable(str(ds.PhotometricInterpretation), 64),
        )


def _require_decoder(ds: Dataset) -> None:
    from pydicom.pixels import get_decoder

    syntax = ds.file_meta.TransferSyntaxUID
    values = {"uid": printable(str(syntax), 64), "name": printable(syntax.name, 80)}
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError:
        if str(syntax).startswith(_VIDEO):
            raise InputError(
                "The DICOM transfer syntax {uid} ({name}) is a video; export the wanted picture as an image.", **values
            ) from None
        raise InputError(
            "The DICOM transfer syntax {uid} ({name}) cannot be decoded; save the file uncompressed, for example "
            "with `gdcmconv --raw`.",
            **values,
        ) from None
    if not decoder.is_available:
        raise InputError(
            "The DICOM transfer syntax {uid} ({name}) needs a decoder that is not installed: {packages}.",
            packages="; ".join(decoder.missing_dependencies),
            **values,
        )


def _decode(ds: Dataset, frame: int, frames: int) -> NDArray[np.generic]:
    """(H, W) or (H, W, 3), native byte order; YBR is RGB already."""
    from pydicom.pixels import pixel_array

    if "PixelData" in ds and ds.file_meta.TransferSyntaxUID.is_encapsulated:
        _require_matching_codestream(ds, frame, frames)
    try:
        pixels = pixel_array(ds, index=frame)
    except BaseException as error:
        # The RLE decoder is written in Rust: on damaged bytes it panics, which is no Exception in Python.
        if type(error).__name__ == "PanicException":
            raise InputError("The DICOM file is damaged: its compressed pixel data cannot be decoded.") from None
        raise
    if pixels.shape[:2] != (ds.Rows, ds.Columns):
        raise InputError("The DICOM file is damaged: its pixel data do not fit its rows and columns.")
    pixels = pixels.astype(pixels.dtype.newbyteorder("="), copy=False)
    return finite(pixels) if pixels.dtype.kind == "f" else pixels


def _require_matching_codestream(ds: Dataset, frame: int, frames: int) -> None:
    """Hold the size inside the compressed frame against the header: decoders allocate by the former.

    Run lengths hold no size, and any bytes, also those that begin a JPEG 2000 codestream.
    """
    from pydicom.encaps import get_frame
    from pydicom.uid import RLELossless

    if ds.file_meta.TransferSyntaxUID == RLELossless:
        return
    stream = get_frame(ds.PixelData, frame, number_of_frames=frames)
    found = _codestream_size(stream)
    if found and found != (ds.Columns, ds.Rows, ds.SamplesPerPixel):
        raise InputError("The DICOM file is damaged: its compressed pixel data do not fit its rows and columns.")


def _codestream_size(stream: bytes) -> tuple[int, int, int] | None:
    """Width, height and components of a JPEG, JPEG-LS or JPEG 2000 codestream; None for anything else."""

    def number(at: int, length: int) -> int:
        return int.from_bytes(stream[at : at + length], "big")

    if stream[:2] == b"\xff\xd8":
        at = 2
        while at + 10 <= len(stream):
            marker, length = stream[at + 1], number(at + 2, 2)
            if marker == 0xF7 or (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)):  # a frame header
                return number(at + 7, 2), number(at + 5, 2), stream[at + 9]
            at += 1 if marker == 0xFF else 2 + length  # any number of fill bytes may stand before a marker
        raise InputError("The DICOM file is damaged: its compressed pixel data hold no image.")
    start = stream.find(b"\xff\x4f\xff\x51", 0, 4096)  # SOC and SIZ, maybe inside JP2 boxes
    if start < 0:
        return None
    return (
        number(start + 8, 4) - number(start + 16, 4),
        number(start + 12, 4) - number(start + 20, 4),
        number(start + 40, 2),
    )


def _bits(ds: Dataset) -> int:
    return int(ds.get("BitsStored") or ds.BitsAllocated)


def _grey(ds: Dataset, pixels: NDArray[np.generic], look: Look) -> dict[str, object]:
    if pixels.ndim != 2:
        raise InputError("The DICOM file is damaged: a grey image with several samples per pixel.")
    values, trace = look.modality(pixels)
    display, window, note = look.voi(values)
    curved = look.curved
    if display is None or (display.min() == display.max() and values.min() != values.max()):
        if display is not None:
            trace.append(say("{what} shows nothing and was ignored", what=str(note)))
        display, window, note = _fallback(pixels, values, look, _bits(ds))
        curved = False
    trace.append(note)
    inverted = ds.PhotometricInterpretation == "MONOCHROME1"
    if inverted:
        display = 255 - display
        trace.append(say("inverted"))
    fields = {"stored": values, "display": display, "window": window, "curved": curved}
    return {**fields, "inverted": inverted, "trace": trace}


def _fallback(
    pixels: NDArray[np.generic], values: NDArray[np.generic], look: Look, bits: int
) -> tuple[NDArray[np.uint8], tuple[float, float], Message]:
    """Show all of an 8-bit image, and the middle 98 % of a deeper one, padding left out."""
    if bits <= 8 and pixels.dtype.kind in "iu" and not look.modality_lut:
        lowest = 0 if pixels.dtype.kind == "u" else -(2 ** (bits - 1))
        slope, intercept = look.rescale or (1.0, 0.0)
        low, high = sorted(slope * value + intercept for value in (lowest, lowest + 2**bits - 1))
        note = say("no window: full range shown")
    else:
        low, high = auto_window(values, look.not_padding(pixels))
        note = say("no window: 1st to 99th percentile shown")
    return apply_window(values, low, high), ((low + high) / 2, float(high - low)), note


def _coloured(ds: Dataset, pixels: NDArray[np.generic]) -> dict[str, object]:
    if ds.PhotometricInterpretation == "PALETTE COLOR":
        from pydicom.pixels import apply_color_lut

        pixels = apply_color_lut(pixels, ds)[..., :3]
        # Some writers put 8-bit entries into 16-bit tables.
        bits = 8 if pixels.max() < 256 else 16
    else:
        bits = _bits(ds)
    if pixels.ndim != 3:
        raise InputError("The DICOM file is damaged: a colour image with one sample per pixel.")
    if bits != 8:
        pixels = np.rint(pixels * (255.0 / (2**bits - 1))).clip(0, 255)
    display, colour = grey_and_colour(np.ascontiguousarray(pixels, dtype=np.uint8))
    trace = [say("colour reduced to brightness")] if colour is not None else []
    return {"stored": display, "display": display, "window": (127.5, 255.0), "colour": colour, "trace": trace}
