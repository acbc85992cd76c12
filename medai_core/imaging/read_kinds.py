"""What kind of file some bytes are, by their content, never by their name."""

from __future__ import annotations

import zlib

from medai_core.errors import InputError, say

RASTER_KINDS = ("PNG", "JPEG", "TIFF", "WebP", "BMP", "GIF")

_MAGIC = (
    (128, b"DICM", "DICOM"),  # first: a DICOM preamble may hold another format's magic (PS3.10 7.1)
    (0, b"\x89PNG\r\n\x1a\n", "PNG"),
    (0, b"\xff\xd8\xff", "JPEG"),
    (0, b"II*\0", "TIFF"),
    (0, b"MM\0*", "TIFF"),
    (0, b"II+\0", "TIFF"),
    (0, b"MM\0+", "TIFF"),
    (8, b"WEBP", "WebP"),
    (0, b"GIF87a", "GIF"),
    (0, b"GIF89a", "GIF"),
    (344, b"n+1\0", "NIfTI"),
    (4, b"n+2\0\r\n\x1a\n", "NIfTI"),
    (344, b"ni1\0", "NIfTI pair"),
    (4, b"ni2\0\r\n\x1a\n", "NIfTI pair"),
    (0, b"PK\x03\x04", "ZIP"),
    (0, b"PK\x05\x06", "ZIP"),
    (0, b"%PDF-", "PDF"),
    (0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "Office"),
    (0, b"{\\rtf", "Office"),
    (0, b"\x1f\x8b", "gzip"),
    (0, b"BZh", "bzip2"),
    (0, b"\xfd7zXZ\0", "xz"),
    (0, b"7z\xbc\xaf\x27\x1c", "7-Zip"),
    (0, b"Rar!\x1a\x07", "RAR"),
    (257, b"ustar", "tar"),
    (4, b"ftyphei", "HEIC"),
    (4, b"ftyphev", "HEIC"),
    (4, b"ftypmif1", "HEIC"),
    (4, b"ftypavif", "AVIF"),
    (4, b"ftyp", "MP4"),
    (0, b"\0\0\0\x0cjP  ", "JPEG 2000"),
    (0, b"\xff\x4f\xff\x51", "JPEG 2000"),
    (0, b"NRRD", "NRRD"),
    (0, b"\x89HDF\r\n\x1a\n", "HDF5"),
    (0, b"\x93NUMPY", "NumPy"),
    (0, b"\x7fELF", "program"),
    (0, b"MZ", "program"),
)
_OFFICE_MEMBERS = (
    b"[Content_Types].xml",
    b"_rels/",
    b"docProps/",
    b"word/",
    b"xl/",
    b"ppt/",
    b"mimetypeapplication/vnd",
)
_HTML = (b"<!doctype html", b"<html", b"<head", b"<body")
_CMS_ENVELOPE = bytes.fromhex("06092a864886f70d0107")  # OID 1.2.840.113549.1.7, PS3.10 7.4 Secure DICOM File
_EXPLICIT_VRS = frozenset(
    b"AE AS AT CS DA DS DT FD FL IS LO LT OB OD OF OL OV OW PN SH SL SQ SS ST SV TM UC UI UL UN UR US UT UV".split()
)

_UNREADABLE = {
    "empty": say("The file is empty."),
    "text": say("This is a text file, not a scan."),
    "HTML": say("This is a web page, not a scan: a download that needed a sign-in often ends like this."),
    "PDF": say("This is a PDF document, not a scan; export the image itself as DICOM, PNG or JPEG."),
    "Office": say("This is an office document, not a scan; export the image itself as DICOM, PNG or JPEG."),
    "encrypted": say("This file is encrypted; decrypt it first."),
    "ZIP": say("This is a ZIP archive inside another file; unpack it and give its files."),
    "NIfTI pair": say("This is half of a NIfTI pair (.hdr and .img); save it as one .nii file."),
    "unknown": say("This is no kind of scan known here; DICOM, NIfTI, PNG, JPEG, TIFF, WebP, BMP and GIF can be read."),
}
_ARCHIVES = ("bzip2", "xz", "7-Zip", "RAR", "tar")


def sniff(data: bytes) -> str:
    """Name the kind of file that ``data`` is.

    Returns
    -------
    str
        ``DICOM``, ``NIfTI`` (also gzip-compressed), ``PNG``, ``JPEG``, ``TIFF``, ``WebP``, ``BMP``, ``GIF``
        or ``ZIP``; or what else it seems to be (``PDF``, ``text``, …), at worst ``unknown``.
    """
    if not data:
        return "empty"
    for offset, magic, kind in _MAGIC:
        if data[offset : offset + len(magic)] == magic:
            return _refine(kind, data)
    if data[:2] == b"BM" and data[14:18] in (b"\x0c\0\0\0", b"\x28\0\0\0", b"\x6c\0\0\0", b"\x7c\0\0\0"):
        return "BMP"
    if data[:1] == b"\x30" and _CMS_ENVELOPE in data[:32]:
        return "encrypted"
    if _bare_dicom(data):
        return "DICOM"
    return _text(data[:4096])


def refuse_kind(kind: str) -> InputError:
    """The sentence for a kind that holds no scan."""
    if kind in _UNREADABLE:
        return InputError(_UNREADABLE[kind].template)
    if kind == "gzip" or kind in _ARCHIVES:
        return InputError("This is a {kind} archive; unpack it, or give a ZIP archive.", kind=kind)
    return InputError("{kind} files cannot be read; export the image as DICOM, PNG or JPEG.", kind=kind)


def _refine(kind: str, data: bytes) -> str:
    if kind == "ZIP" and data[30:].startswith(_OFFICE_MEMBERS):
        return "Office"
    if kind == "gzip":
        try:
            inner = zlib.decompressobj(31).decompress(data[:4096], 1024)
        except zlib.error:
            return "gzip"
        return "NIfTI" if len(inner) > 348 and sniff(inner) == "NIfTI" else "gzip"
    return kind


def _bare_dicom(data: bytes) -> bool:
    """Whether the bytes start with a plausible first data element (PS3.5 7.1), with no preamble before it."""
    for order in ("little", "big"):
        group = int.from_bytes(data[:2], order)
        element = int.from_bytes(data[2:4], order)
        if group not in (0x0002, 0x0008) or element > 0x0070 or len(data) < 16:
            continue
        implicit_length = int.from_bytes(data[4:8], order)
        if data[4:6] in _EXPLICIT_VRS or implicit_length <= 128:
            return True
    return False


def _text(head: bytes) -> str:
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith(_HTML):
        return "HTML"
    if head[:2] in (b"\xff\xfe", b"\xfe\xff"):  # UTF-16
        return "text"
    return "unknown" if any(byte < 9 or 13 < byte < 32 for byte in head) else "text"
