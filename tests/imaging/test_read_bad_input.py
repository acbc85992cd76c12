"""One clear sentence for everything that is no readable scan, and no more work than needed to say it."""

from __future__ import annotations

import gzip
import io
import struct
import zipfile
import zlib
from collections.abc import Callable

import nibabel
import numpy as np
import pytest
import tifffile
from intake_files import bundled, colourful, dataset, dicom, ramp, raster, saved
from PIL import Image
from pydicom.encaps import encapsulate
from pydicom.uid import JPEG2000Lossless, JPEGBaseline8Bit, RLELossless

from medai_core.errors import InputError, MedAIError, RefusedInput
from medai_core.imaging.read import read_scan, sniff
from medai_core.settings import settings

pytestmark = [
    pytest.mark.usefixtures("fresh_settings"),
    pytest.mark.filterwarnings("ignore::UserWarning:pydicom"),
    pytest.mark.filterwarnings("ignore::UserWarning:PIL"),
    pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning"),
]


WEB_PAGE = "This is a web page, not a scan: a download that needed a sign-in often ends like this."
OFFICE = "This is an office document, not a scan; export the image itself as DICOM, PNG or JPEG."
UNKNOWN = "This is no kind of scan known here; DICOM, NIfTI, PNG, JPEG, TIFF, WebP, BMP and GIF can be read."


def sentence(data: bytes, error: type[MedAIError] = InputError, **options: object) -> str:
    with pytest.raises(error) as caught:
        read_scan(data, **options)
    return str(caught.value)


def zipped(name: str, data: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr(name, data)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", "The file is empty."),
        (b"Findings: clear lungs.\n" * 20, "This is a text file, not a scan."),
        ("Röntgen".encode("utf-16"), "This is a text file, not a scan."),
        ('{"key": "值"}'.encode(), "This is a text file, not a scan."),
        (b"\n <!DOCTYPE html><html></html>", WEB_PAGE),
        (b"%PDF-1.7\n%\xe2\xe3", "This is a PDF document, not a scan; export the image itself as DICOM, PNG or JPEG."),
        (zipped("[Content_Types].xml", b"<w/>"), OFFICE),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), OFFICE),
        (zipped("a.png", b"x"), "This is a ZIP archive inside another file; unpack it and give its files."),
        (gzip.compress(b"x" * 2000), "This is a gzip archive; unpack it, or give a ZIP archive."),
        (b"7z\xbc\xaf\x27\x1c" + bytes(60), "This is a 7-Zip archive; unpack it, or give a ZIP archive."),
        (b"Rar!\x1a\x07\x01\x00" + bytes(60), "This is a RAR archive; unpack it, or give a ZIP archive."),
        (bytes.fromhex("308006092a864886f70d010703") + bytes(50), "This file is encrypted; decrypt it first."),
        (b"\0\0\0\x18ftypheic" + bytes(40), "HEIC files cannot be read; export the image as DICOM, PNG or JPEG."),
        (b"\0\0\0\x18ftypmp42" + bytes(40), "MP4 files cannot be read; export the image as DICOM, PNG or JPEG."),
        (b"NRRD0004\n" + bytes(40), "NRRD files cannot be read; export the image as DICOM, PNG or JPEG."),
        (bytes(range(256)) * 4, UNKNOWN),
    ],
)  # fmt: skip
def test_no_scan_at_all(data: bytes, expected: str) -> None:
    assert sentence(data) == expected


def test_nifti_pair() -> None:
    header = nibabel.Nifti1Pair(np.zeros((2, 2, 2), np.int16), np.eye(4)).header.binaryblock
    assert sentence(header).startswith("This is half of a NIfTI pair")


def test_too_large_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDAI_MAX_FILE_MB", "1")
    assert sentence(bytes(1_000_001)) == "The file is larger than the 1 MB read here."


# --- cut off -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9, 0.98])
@pytest.mark.parametrize("at_least", [None, 32])
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"quality": 95}])
def test_cut_off_jpeg_is_no_grey_picture(share: float, at_least: int | None, options: dict[str, object]) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (160, 200), dtype=np.uint8)
    data = raster(noise, "JPEG", **options)
    message = sentence(data[: int(len(data) * share)], at_least=at_least)
    assert message == "The JPEG file is cut off: it ends before the image does."


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP", "BMP", "GIF"])
@pytest.mark.parametrize("share", [0.5, 0.9])
def test_cut_off_pictures(kind: str, share: float) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (60, 80), dtype=np.uint8)
    data = raster(noise, kind)
    name = "WebP" if kind == "WEBP" else kind
    assert sentence(data[: int(len(data) * share)]).startswith(f"The {name} file is ")


@pytest.mark.parametrize(
    "name", ["CT_small.dcm", "MR_small.dcm", "MR_small_RLE.dcm", "MR_small_jp2klossless.dcm", "SC_rgb_jpeg.dcm"]
)
@pytest.mark.parametrize("share", [0.6, 0.95])
def test_cut_off_dicom(name: str, share: float) -> None:
    data = bundled(name)
    assert sentence(data[: int(len(data) * share)]).startswith("The DICOM file is cut off: it ends before")


def test_cut_off_and_damaged_nifti() -> None:
    plain = nibabel.Nifti1Image(np.arange(9**3, dtype=np.int16).reshape(9, 9, 9), np.eye(4)).to_bytes()
    assert sentence(plain[:-5]) == "The NIfTI file is cut off: it ends before its volume does."
    packed = gzip.compress(plain)
    assert sentence(packed[:-40]) == "The NIfTI file is cut off: it ends before the image does."
    flipped = bytearray(packed)
    flipped[-6] ^= 1  # in the checksum
    assert sentence(bytes(flipped)) == "The NIfTI file is damaged: it cannot be decoded."


# --- damaged -------------------------------------------------------------------------------------------


def test_damaged_pictures() -> None:
    png = bytearray(raster(ramp(), "PNG"))
    png[60] ^= 0xFF
    assert sentence(bytes(png)) == "The PNG file is damaged: it cannot be decoded."
    assert sentence(b"\xff\xd8\xff\xe0" + bytes(200)).startswith("The JPEG file is ")


def test_damaged_dicom() -> None:
    lacking = dataset(ramp())
    del lacking.Rows, lacking.BitsAllocated
    assert sentence(saved(lacking)) == "The DICOM file lacks Rows, BitsAllocated, which an image must have."
    assert sentence(dicom(ramp(), Columns=0)) == (
        "The DICOM file is damaged: 24 rows, 0 columns and 1 samples per pixel make no image."
    )
    assert sentence(dicom(ramp(), Rows=30)) == "The DICOM file is cut off: it ends before the image does."
    assert sentence(dicom(ramp(), PhotometricInterpretation="HSV")) == (
        "The DICOM photometric interpretation HSV cannot be read; save the image as RGB or MONOCHROME2."
    )
    assert sentence(dicom(colourful(), PhotometricInterpretation="MONOCHROME2")).startswith("The DICOM file is damaged")
    assert sentence(b"\x08\x00\x05\x00CS\x0a\x00ISO_IR 100") == "The file starts like DICOM but holds no image."


def test_rescale_that_is_no_number() -> None:
    data = dicom(ramp(), RescaleSlope="1.25", RescaleIntercept="0").replace(b"1.25", b"1,25")
    assert sentence(data) == "The DICOM element RescaleSlope holds no usable number."


def test_damaged_rle_ends_in_a_sentence() -> None:
    """The decoder panics on this, which is no Exception in Python."""
    ds = dataset(ramp(np.uint16, (64, 64)))
    ds.compress(RLELossless)
    stream = bytearray(saved(ds))
    at = stream.index(struct.pack("<I", 64), len(stream) // 4)
    stream[at + 61 : at + 400] = b"\x7f" * 339
    assert sentence(bytes(stream)).startswith("The DICOM file is ")


# --- refused -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("test-SR.dcm", "Comprehensive SR Storage"),
        ("rtplan.dcm", "RT Plan Storage"),
        ("rtstruct.dcm", "RT Structure Set Storage"),
        ("waveform_ecg.dcm", "12-lead ECG Waveform Storage"),
        ("dicomdirtests/DICOMDIR", "Media Storage Directory Storage"),
    ],
)
def test_dicom_without_an_image(name: str, what: str) -> None:
    assert sentence(bundled(name), RefusedInput) == f"This DICOM object is no image but: {what}."


def test_pdf_in_dicom() -> None:
    ds = dataset(ramp())
    for element in ("PixelData", "Rows", "Columns"):
        delattr(ds, element)
    ds.SOPClassUID = "1.2.840.10008.5.1.4.1.1.104.1"
    ds.EncapsulatedDocument = b"%PDF-1.4"
    assert sentence(saved(ds), RefusedInput) == "This DICOM object is no image but: Encapsulated PDF Storage."


# --- transfer syntaxes ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("uid", "expected"),
    [
        (
            "1.2.840.10008.1.2.4.102",
            "(MPEG-4 AVC/H.264 High Profile / Level 4.1) is a video; export the wanted picture",
        ),
        ("1.2.840.10008.1.2.4.94", "(JPIP Referenced) cannot be decoded; save the file uncompressed, for example with"),
        ("1.2.840.113619.5.2", "cannot be decoded; save the file uncompressed, for example with `gdcmconv --raw`."),
    ],
)
def test_unsupported_transfer_syntax(uid: str, expected: str) -> None:
    message = sentence(saved_with_syntax(uid))
    assert message.startswith(f"The DICOM transfer syntax {uid} ") and expected in message


def saved_with_syntax(uid: str) -> bytes:
    ds = dataset(ramp())
    ds.PixelData = encapsulate([b"\0\0\0\0"])
    ds["PixelData"].VR = "OB"
    ds["PixelData"].is_undefined_length = True
    ds.file_meta.TransferSyntaxUID = uid
    stream = io.BytesIO()
    ds.save_as(stream, implicit_vr=False, little_endian=True)
    return stream.getvalue()


def test_missing_decoder_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from pydicom.pixels.decoders import JPEG2000LosslessDecoder

    ds = dataset(ramp(shape=(64, 80)))
    ds.compress(JPEG2000Lossless)
    monkeypatch.setattr(JPEG2000LosslessDecoder, "_available", {})
    monkeypatch.setattr(
        JPEG2000LosslessDecoder, "_unavailable", {"pylibjpeg": ("pylibjpeg>=2.0", "pylibjpeg-openjpeg>=2.0")}
    )
    message = sentence(saved(ds))
    assert "1.2.840.10008.1.2.4.90" in message and "needs a decoder that is not installed" in message
    assert "pylibjpeg-openjpeg>=2.0" in message


# --- bombs: refused by what the header says, before anything is decoded --------------------------------


def huge_png(width: int, height: int) -> bytes:
    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")


@pytest.mark.parametrize(("width", "height"), [(11_000, 10_000), (100_000, 100_000)])
def test_pixel_bomb_png(width: int, height: int) -> None:
    assert "megapixels read here." in sentence(huge_png(width, height))


def test_pixel_bomb_says_its_size() -> None:
    expected = "The image is 11000 × 10000 pixels, more than the 100 megapixels read here."
    assert sentence(huge_png(11_000, 10_000)) == expected
    assert sentence(dicom(ramp(), Rows=10_000, Columns=11_000)) == expected
    volume = bytearray(nibabel.Nifti1Image(np.zeros((2, 2, 2), np.int16), np.eye(4)).to_bytes())
    volume[42:48] = struct.pack("<3h", 11_000, 10_000, 2)
    assert sentence(bytes(volume)) == expected


def test_pixel_bomb_other_formats() -> None:
    for kind in ("TIFF", "BMP", "JPEG", "GIF"):
        data = bytearray(raster(ramp(), kind))
        if kind == "BMP":
            data[18:26] = struct.pack("<ii", 20_000, 20_000)
        elif kind == "GIF":
            data[6:10] = struct.pack("<HH", 20_000, 20_000)
        elif kind == "JPEG":
            at = data.index(b"\xff\xc0")
            data[at + 5 : at + 9] = struct.pack(">HH", 20_000, 20_000)
        else:
            for tag in (256, 257):
                at = data.index(struct.pack("<H", tag), 4)
                data[at + 2 : at + 12] = struct.pack("<HII", 4, 1, 20_000)
        assert "megapixels read here." in sentence(bytes(data)), kind


def test_limit_can_be_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDAI_MAX_MEGAPIXELS", "1")
    assert "more than the 1 megapixels" in sentence(raster(ramp(shape=(1001, 1000)), "PNG"))
    assert read_scan(raster(ramp(shape=(1000, 1000)), "PNG")).full_shape == (1000, 1000)


@pytest.mark.parametrize("kind", ["JPEG", "JPEG2000"])
def test_bomb_inside_a_compressed_frame(kind: str) -> None:
    """The header says 24 × 40, the compressed picture in it is larger: decoders believe the latter."""
    ds = dataset(ramp())
    ds.file_meta.TransferSyntaxUID = JPEGBaseline8Bit if kind == "JPEG" else JPEG2000Lossless
    ds.PixelData = encapsulate([raster(Image.new("L", (640, 480)), kind)])
    ds["PixelData"].VR = "OB"
    ds["PixelData"].is_undefined_length = True
    assert (
        sentence(saved(ds)) == "The DICOM file is damaged: its compressed pixel data do not fit its rows and columns."
    )


def test_deflate_bomb(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDAI_MAX_FILE_MB", "1")
    data = dicom(np.zeros((1500, 1500), np.uint8), syntax="1.2.840.10008.1.2.1.99")
    assert len(data) < 10_000
    assert sentence(data) == "The DICOM file inflates to more than the 1 MB read here."


def forged_length(data: bytes) -> bytes:
    """The meta group claims to be 4 GB long; pydicom takes no notice and inflates what follows its elements."""
    return data[:140] + (0xFFFFFFF0).to_bytes(4, "little") + data[144:]


def without_preamble(data: bytes) -> bytes:
    return data[132:]


def behind_a_command_set(data: bytes) -> bytes:
    """Elements of group 0000 between meta group and data set, which pydicom steps over; they too look like deflate.

    Taken for the data set, they would be a stored block of 256 bytes, and then the end of the stream.
    """
    at = 144 + int.from_bytes(data[140:144], "little")
    # (0000,FF01) with 255 + 251 bytes of value: 00 | 00 01 | FF FE in the eyes of an inflater.
    head = b"\0\0\x01\xff\xfe\x01\0\0"
    value = bytearray(0x1FE)
    value[0x100 - 3 : 0x100 + 2] = b"\x01\0\0\xff\xff"
    return data[:at] + head + bytes(value) + data[at:]


@pytest.mark.parametrize("forged", [forged_length, without_preamble, behind_a_command_set])
def test_a_forged_deflate_bomb(monkeypatch: pytest.MonkeyPatch, forged: Callable[[bytes], bytes]) -> None:
    small = forged(dicom(ramp(), syntax="1.2.840.10008.1.2.1.99"))
    assert np.array_equal(read_scan(small).display, ramp()), "pydicom reads it: the guard must find the same place"
    monkeypatch.setenv("MEDAI_MAX_FILE_MB", "1")
    settings.cache_clear()
    data = dicom(np.zeros((1500, 1500), np.uint8), syntax="1.2.840.10008.1.2.1.99")
    monkeypatch.setattr(zlib, "decompress", lambda *a, **k: pytest.fail("inflated whole"))
    assert sentence(forged(data)) == "The DICOM file inflates to more than the 1 MB read here."


def test_a_tiff_page_of_many_samples_is_not_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.BytesIO()
    pixels = np.zeros((60, 60, 100), np.float32)
    tifffile.imwrite(stream, pixels, photometric="minisblack", planarconfig="contig", compression="zlib")
    monkeypatch.setattr(tifffile.TiffPage, "asarray", lambda *a, **k: pytest.fail("decoded"))
    assert sentence(stream.getvalue()) == "A TIFF page of shape 60 × 60 × 100 is no single picture."


def test_volume_bomb(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDAI_MAX_FILE_MB", "1")
    data = gzip.compress(nibabel.Nifti1Image(np.zeros((100, 100, 100), np.int16), np.eye(4)).to_bytes())
    assert sentence(data) == "The NIfTI volume of 100 × 100 × 100 voxels is larger than the 1 MB read here."


def test_gzip_bomb_inflates_no_further_than_its_header_says() -> None:
    plain = nibabel.Nifti1Image(np.zeros((4, 4, 4), np.int16), np.eye(4)).to_bytes()
    assert read_scan(gzip.compress(plain + bytes(50_000_000))).frames == 4


def test_nifti_of_colour() -> None:
    colour = np.zeros((4, 4, 4), np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")]))
    message = sentence(nibabel.Nifti1Image(colour, np.eye(4)).to_bytes())
    assert message.startswith("NIfTI values of type") and message.endswith("save the volume as float32.")


def test_a_tiff_in_the_preamble_does_not_hide_a_dicom() -> None:
    """Whole-slide scanners write files that are both (PS3.10 7.1)."""
    data = bytearray(dicom(ramp()))
    data[:4] = b"II*\0"
    assert sniff(bytes(data)) == "DICOM" and np.array_equal(read_scan(bytes(data)).display, ramp())
