"""De-identification of a whole file of any kind that is kept here: DICOM, pictures, volumes, stays and table rows.

What is done with files that are not DICOM:

- PNG, JPEG and WebP lose every chunk or segment that no decoder needs (EXIF, XMP, text, comments, time, colour
  profile, thumbnails, whatever follows the end); pixels are not compressed again. Only the orientation is kept, and
  on a synthetic image the statement that it is one.
- TIFF, GIF and BMP scatter their words over the file, so the picture is written anew, lossless: TIFF page by page as
  TIFF, the others as PNG.
- NIfTI loses its texts (description, names of other files) and its header extensions.
- Stays (PhysioNet text, CSV, FHIR) and table rows hold no names in their known columns, but record numbers, and a
  long table may hold clock times. Record numbers are replaced by numbers derived from the key, cells of columns that
  are named like an identity are emptied, and dates of cells go back by the patient's days. Free text in other
  columns is not looked into, and a warning says so.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator

from medai_core.cases.burned_in import Finding, burned_in_text
from medai_core.cases.deidentify import Notes, deidentify
from medai_core.cases.deidentify_pixels import strip_jpeg
from medai_core.cases.deidentify_tables import clean_table
from medai_core.cases.deidentify_values import Disguise
from medai_core.errors import InputError, MedAIError, Message, RefusedInput, say
from medai_core.imaging.read import Scan, read_scan, sniff

MOST_LOOKED_AT = 32
"""Pictures of one file that are looked through for burned-in words."""
_PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
_PNG_KEPT = frozenset(b"IHDR PLTE IDAT IEND tRNS gAMA cHRM sRGB sBIT bKGD pHYs acTL fcTL fdAT".split())
_WEBP_KEPT = frozenset(b"VP8X|VP8 |VP8L|ALPH|ANIM|ANMF".split(b"|"))
_WEBP_EXIF, _WEBP_SAID = 0x08, 0x20 | 0x08 | 0x04  # flags of VP8X: colour profile, EXIF, XMP
_ORIENTATION = 0x0112
_NIFTI1, _NIFTI2 = 348, 540
_TEXTS = {_NIFTI1: ((4, 32), (148, 252), (328, 344)), _NIFTI2: ((240, 344), (508, 524), (525, 540))}


def deidentify_file(
    data: bytes, *, key: bytes, patient: str, pseudonym: str = "", keep_characteristics: bool = False
) -> tuple[bytes, Notes]:
    """De-identify a file, told by its content.

    Parameters
    ----------
    data : bytes
        DICOM, PNG, JPEG, WebP, TIFF, GIF, BMP, NIfTI, or text of a stay or of table rows.
    key, patient, pseudonym, keep_characteristics
        As for :func:`medai_core.cases.deidentify.deidentify`.

    Returns
    -------
    bytes
        Of the same kind (GIF and BMP become PNG); read by :func:`medai_core.imaging.read.read_scan`, the same pixels.
    Notes

    Raises
    ------
    InputError
        If the file is damaged: nothing could then be said about what is in it.
    RefusedInput
        If files of this kind cannot be de-identified.
    """
    disguise, kind = Disguise(key, patient, pseudonym), sniff(data)
    if kind == "DICOM":
        return _dicom(data, key, patient, pseudonym, keep_characteristics)
    if kind == "text":
        clean, done = clean_table(data, disguise)
        return clean, Notes(disguise.pseudonym, done, (_FREE_TEXT,) if done else ())
    if kind not in _STRIPPERS:
        raise RefusedInput("{kind} files cannot be de-identified, so none is exported.", kind=kind)
    try:
        clean = _STRIPPERS[kind](data)
    except MedAIError:
        raise
    except Exception as error:  # as in the intake: decoders raise nearly anything on damaged bytes
        raise InputError("The {kind} file is damaged: it cannot be decoded.", kind=kind) from error
    return clean, Notes(disguise.pseudonym, {}, tuple(_seen(clean)))


_FREE_TEXT = say("Cells of text were not looked into: see that no name stands in them.")


def _dicom(data: bytes, key: bytes, patient: str, pseudonym: str, characteristics: bool) -> tuple[bytes, Notes]:
    from medai_core.imaging.read_dicom import open_dicom

    clean, notes = deidentify(
        open_dicom(data), key=key, patient=patient, pseudonym=pseudonym, keep_characteristics=characteristics
    )
    stream = io.BytesIO()
    clean.save_as(stream, enforce_file_format=bool(clean.file_meta.MediaStorageSOPClassUID))
    data = stream.getvalue()
    warned = (*notes.warnings, *_seen(data)) if any(name in clean for name in _PIXELS) else notes.warnings
    return data, Notes(notes.pseudonym, notes.done, warned)


def _seen(data: bytes) -> list[Message]:
    """What the pixels themselves say: those of every frame, page or slice, or of so many evenly spaced ones."""
    import gzip

    if data.startswith(b"\x1f\x8b"):
        data = gzip.decompress(data)  # once, not for every slice
    try:
        first = read_scan(data, frame=0)
        numbers = sorted({round(k * (first.frames - 1) / (MOST_LOOKED_AT - 1)) for k in range(MOST_LOOKED_AT)})
        found = [_words(first), *(_words(read_scan(data, frame=number)) for number in numbers[1:])]
    except MedAIError:
        return [say("The picture could not be decoded, so nobody has looked for words burned into it.")]
    total = max(first.frames, _moving_pictures(data))
    if total == 1:
        return [found[0].warning] if found[0].warning else []
    return list(
        _seen_of_several(total, numbers, [number for number, one in zip(numbers, found, strict=True) if one.boxes])
    )


def _seen_of_several(total: int, looked_at: list[int], flagged: list[int]) -> Iterator[Message]:
    if flagged:
        yield say(
            "Words seem to be burned into {count} of the {total} pictures in the file, first into number {number}: "
            "look before it leaves the house.",
            count=len(flagged),
            total=total,
            number=flagged[0] + 1,
        )
    if len(looked_at) < total:
        yield say(
            "Of the {total} pictures in the file only {looked} were looked through for burned-in words.",
            total=total,
            looked=len(looked_at),
        )


def _words(scan: Scan) -> Finding:
    return burned_in_text(scan.display if scan.colour is None else scan.colour)


def _moving_pictures(data: bytes) -> int:
    """How many pictures an animation holds, of which only the first can be looked at; 1 for anything else."""
    from PIL import Image

    if sniff(data) not in ("PNG", "WebP"):
        return 1
    with Image.open(io.BytesIO(data)) as image:
        return int(getattr(image, "n_frames", 1))


# ------------------------------------------------------------------------------------------------ pictures


def _orientation_and_marks(data: bytes) -> tuple[bytes, bytes]:
    """EXIF with nothing but the orientation, and XMP that says the image is synthetic; each may be empty."""
    from PIL import Image

    from medai_core import marks

    with Image.open(io.BytesIO(data)) as image:
        image.load()
        said = [str(value) for value in image.info.values()]
        turned = image.getexif().get(_ORIENTATION, 1)
    exif = Image.Exif()
    exif[_ORIENTATION] = turned
    synthetic = any(marks.STATEMENT in text or marks.SOURCE_TYPE in text for text in said)
    return exif.tobytes() if turned in range(2, 9) else b"", marks.xmp().encode() if synthetic else b""


def _jpeg(data: bytes) -> bytes:
    exif, xmp = _orientation_and_marks(data)
    bodies = [exif, xmp and b"http://ns.adobe.com/xap/1.0/\0" + xmp]
    segments = [b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body for body in bodies if body]
    return strip_jpeg(data, insert=b"".join(segments))


def _png(data: bytes) -> bytes:
    exif, xmp = _orientation_and_marks(data)
    out, at = [data[:8]], 8
    while True:
        length, name = struct.unpack_from(">I4s", data, at)
        if at + 12 + length > len(data):
            raise InputError("The {kind} file is cut off: it ends before the image does.", kind="PNG")
        if name == b"IDAT" and exif:
            out.append(_chunk(b"eXIf", exif.removeprefix(b"Exif\0\0")))
            exif = b""
        if name == b"IEND" and xmp:
            out.append(_chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp))
        if name in _PNG_KEPT:
            out.append(data[at : at + 12 + length])
        at += 12 + length
        if name == b"IEND":
            return b"".join(out)


def _chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def _webp(data: bytes) -> bytes:
    exif, _ = _orientation_and_marks(data)
    end, at, out = 8 + int.from_bytes(data[4:8], "little"), 12, []
    while at + 8 <= end:
        name, length = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        body = data[at + 8 : at + 8 + length]
        if name == b"VP8X":
            body = bytes([body[0] & ~_WEBP_SAID | (_WEBP_EXIF if exif else 0)]) + body[1:]
        if name in _WEBP_KEPT:
            out.append(_riff(name, body))
        at += 8 + length + length % 2
    if exif:
        out.append(_riff(b"EXIF", exif))
    return _riff(b"RIFF", b"WEBP" + b"".join(out))


def _riff(name: bytes, body: bytes) -> bytes:
    return name + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2)


def _as_png(data: bytes) -> bytes:
    from PIL import Image

    with Image.open(io.BytesIO(data)) as image:
        image.load()
        image.info = {name: image.info[name] for name in ("transparency",) if name in image.info}
        stream = io.BytesIO()
        image.save(stream, "PNG")
    return stream.getvalue()


def _tiff(data: bytes) -> bytes:
    """Every page as its reader shows it, in a new file; what only tifffile can read is refused."""
    from PIL import Image, ImageSequence

    with Image.open(io.BytesIO(data), formats=("TIFF",)) as image:
        # Loading turns a page upright; white-is-zero pages of more than 8 bits need that said again.
        pages, inverted = [], image.tag_v2.get(262) == 0 and image.mode.startswith(("I", "F"))
        for page in ImageSequence.Iterator(image):
            fresh = Image.fromarray(_array(page))
            if page.mode == "P":
                fresh = page.convert("RGB")
            pages.append(fresh)
    if inverted:
        raise RefusedInput("White-is-zero TIFF files of more than 8 bits cannot be de-identified; save as PNG.")
    for page in pages:
        page.info = {}
    stream = io.BytesIO()
    pages[0].save(stream, "TIFF", save_all=True, append_images=pages[1:], compression="tiff_adobe_deflate")
    return stream.getvalue()


def _array(page: object) -> object:
    import numpy as np

    return np.asarray(page)


# ------------------------------------------------------------------------------------------------ volumes


def _nifti(data: bytes) -> bytes:
    import gzip

    if data[:2] == b"\x1f\x8b":
        # A gzip header may hold a file name and a time: the new one has neither.
        return gzip.compress(_nifti(gzip.decompress(data)), mtime=0)
    order = "<" if struct.unpack_from("<I", data)[0] in (_NIFTI1, _NIFTI2) else ">"
    size = struct.unpack_from(f"{order}I", data)[0]
    if size not in _TEXTS:
        raise InputError("The {kind} file is damaged: it cannot be decoded.", kind="NIfTI")
    at = (
        struct.unpack_from(f"{order}f", data, 108)[0]
        if size == _NIFTI1
        else struct.unpack_from(f"{order}q", data, 168)[0]
    )
    out = bytearray(data)
    for start, end in (*_TEXTS[size], (size, int(at))):
        out[start:end] = bytes(end - start)
    return bytes(out)


_STRIPPERS = {
    "PNG": _png, "JPEG": _jpeg, "WebP": _webp, "TIFF": _tiff, "GIF": _as_png, "BMP": _as_png, "NIfTI": _nifti,
}  # fmt: skip
