"""What is not DICOM, and what stands between the pixels of what is."""

from __future__ import annotations

import gzip
import io
import json
import struct

import nibabel
import numpy as np
import pytest
from PIL import Image, PngImagePlugin
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import JPEG2000Lossless, JPEGBaseline8Bit

from medai_core import marks
from medai_core.cases.deidentify_files import deidentify_file
from medai_core.cases.deidentify_pixels import blank_jpeg2000, strip_jpeg
from medai_core.errors import InputError, RefusedInput
from medai_core.imaging.read import read_scan

KEY, NAME = bytes(range(32)), "Zyxwvut Quorra"


def leaks(data: bytes) -> bool:
    return any(NAME[:7].lower().encode(codec) in data.lower() for codec in ("ascii", "utf-16-le", "utf-16-be"))


def picture() -> np.ndarray:
    """Soft shapes (48, 80) that differ under every flip and turn."""
    rows, columns = np.mgrid[:48, :80]
    return (rows * 2 + columns + 20 * np.sin(rows / 5)).astype(np.uint8)


def exif(orientation: int = 1) -> Image.Exif:
    tags = Image.Exif()
    tags[0x010E], tags[0x013B], tags[0x0112] = NAME, NAME, orientation  # description, artist
    tags.get_ifd(0x8825)[1] = NAME  # GPS
    return tags


def saved(kind: str, pixels: np.ndarray | None = None, **options: object) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(picture() if pixels is None else pixels).save(stream, kind, **options)
    return stream.getvalue()


def png(orientation: int = 1) -> bytes:
    texts = PngImagePlugin.PngInfo()
    texts.add_text("Title", NAME)
    texts.add_itxt("Author", NAME, zip=False)
    texts.add(b"tIME", b"\x07\xe8\1\1\1\1\1")
    return saved("PNG", pnginfo=texts, exif=exif(orientation)) + NAME.encode()


def jpeg(orientation: int = 1, **options: object) -> bytes:
    data = saved("JPEG", exif=exif(orientation), comment=NAME, xmp=NAME.encode(), quality=90, **options)
    iptc = f"Photoshop 3.0\0{NAME}".encode()
    thumbnail = b"JFXX\0\x10" + NAME.encode()
    for marker, body in ((b"\xff\xed", iptc), (b"\xff\xe0", thumbnail)):
        data = data[:2] + marker + struct.pack(">H", len(body) + 2) + body + data[2:]
    return data + NAME.encode()


def nifti() -> bytes:
    volume = nibabel.Nifti1Image(np.arange(4 * 5 * 6, dtype=np.int16).reshape(4, 5, 6), np.eye(4))
    volume.header["descrip"], volume.header["aux_file"], volume.header["db_name"] = NAME, NAME, NAME[:17]
    volume.header.extensions.append(nibabel.nifti1.Nifti1Extension(6, NAME.encode()))
    return volume.to_bytes()


def pages() -> bytes:
    stream = io.BytesIO()
    more = [Image.fromarray(picture()[::-1].copy())]
    Image.fromarray(picture()).save(stream, "TIFF", save_all=True, append_images=more, description=NAME, artist=NAME)
    return stream.getvalue()


FILES = {
    "PNG": png(),
    "PNG turned": png(6),
    "JPEG": jpeg(),
    "JPEG turned": jpeg(8),
    "progressive JPEG": jpeg(progressive=True),
    "WebP": saved("WebP", exif=exif(), xmp=NAME.encode(), lossless=True),
    "WebP turned": saved("WebP", exif=exif(3), xmp=NAME.encode(), lossless=True),
    "TIFF": pages(),
    "deep TIFF": saved("TIFF", picture().astype(np.uint16) * 200, description=NAME),
    "GIF": saved("GIF", comment=NAME.encode()),
    "BMP": saved("BMP") + NAME.encode(),
    "NIfTI": nifti(),
    "packed NIfTI": gzip.compress(nifti()),
}


@pytest.mark.parametrize("what", FILES)
def test_words_go_and_pixels_stay(what: str) -> None:
    source = FILES[what]
    assert leaks(gzip.decompress(source) if what.startswith("packed") else source)
    clean, notes = deidentify_file(source, key=KEY, patient="x")
    assert not leaks(gzip.decompress(clean) if what.startswith("packed") else clean)
    before, after = read_scan(source), read_scan(clean)
    assert np.array_equal(before.values, after.values) and np.array_equal(before.display, after.display)
    assert notes.warnings == ()


def test_a_jpeg_is_not_compressed_again() -> None:
    clean, _ = deidentify_file(jpeg(), key=KEY, patient="x")
    plain = saved("JPEG", quality=90)
    assert clean[-len(plain) // 2 :] == plain[-len(plain) // 2 :]
    assert len(clean) <= len(plain)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_a_synthetic_image_still_says_so(kind: str) -> None:
    texts = PngImagePlugin.PngInfo()
    texts.add_itxt("XML:com.adobe.xmp", marks.xmp())
    options = {"pnginfo": texts} if kind == "PNG" else {"xmp": marks.xmp().encode()}
    clean, _ = deidentify_file(saved(kind, **options), key=KEY, patient="x")
    assert marks.SOURCE_TYPE.encode() in clean
    assert marks.SOURCE_TYPE.encode() not in deidentify_file(saved(kind), key=KEY, patient="x")[0]


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize("what", ["PNG", "JPEG", "progressive JPEG", "WebP", "TIFF", "GIF", "BMP", "NIfTI"])
def test_damaged_files_are_refused_in_words(what: str) -> None:
    source = FILES[what]
    for cut in (40, len(source) // 3):
        with pytest.raises((InputError, RefusedInput)):
            deidentify_file(source[:cut], key=KEY, patient="x")


def test_other_files_are_refused() -> None:
    for data in (b"%PDF-1.7", b"PK\x03\x04" + bytes(40), b""):
        with pytest.raises((InputError, RefusedInput)):
            deidentify_file(data, key=KEY, patient="x")


# ------------------------------------------------------------------------------- inside DICOM pixel data


def _object(frames: list[bytes], syntax: str) -> bytes:
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = syntax
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID = "1.2.3"
    ds.Rows, ds.Columns, ds.NumberOfFrames = 48, 80, len(frames)
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PixelRepresentation = 1, "MONOCHROME2", 0
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 8, 8, 7
    ds.PixelData = encapsulate(frames)
    ds["PixelData"].is_undefined_length = True
    stream = io.BytesIO()
    ds.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def _jpeg2000() -> bytes:
    data = saved("JPEG2000", no_jp2=True)
    body = struct.pack(">H", 1) + NAME.encode()
    at = 4 + int.from_bytes(data[4:6], "big")  # behind SOC and SIZ
    return data[:at] + b"\xff\x64" + struct.pack(">H", len(body) + 2) + body + data[at:] + NAME.encode()


@pytest.mark.parametrize(("frame", "syntax"), [(jpeg(), JPEGBaseline8Bit), (_jpeg2000(), JPEG2000Lossless)])
def test_words_inside_compressed_frames(frame: bytes, syntax: str) -> None:
    source = _object([frame, frame], syntax)
    assert leaks(source)
    clean, _ = deidentify_file(source, key=KEY, patient="x")
    assert not leaks(clean)
    for number in (0, 1):
        assert np.array_equal(read_scan(source, frame=number).values, read_scan(clean, frame=number).values)


def test_codestreams_that_are_none() -> None:
    for broken in (b"", b"\xff\xd8", b"\xff\xd8\xff\xe1\0", jpeg()[:600]):
        with pytest.raises(InputError):
            strip_jpeg(broken)
    with pytest.raises(InputError):
        blank_jpeg2000(b"no codestream")


@pytest.mark.parametrize("signed", [0, 1])
def test_overlays_in_unused_bits_go(signed: int) -> None:
    values = np.arange(-400, 400, dtype=np.int16).reshape(20, 40)
    stored = values.view(np.uint16) & 0x0FFF if signed else (values + 400).view(np.uint16)
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1"
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID = "1.2.3"
    ds.Rows, ds.Columns = values.shape
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PixelRepresentation = 1, "MONOCHROME2", signed
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 16, 12, 11
    drawn = (stored | (np.indices(values.shape)[1] % 2 << 15)).astype("<u2")
    ds.PixelData = drawn.tobytes()
    ds["PixelData"].VR = "OW"
    stream = io.BytesIO()
    ds.save_as(stream, enforce_file_format=True)
    clean, _ = deidentify_file(stream.getvalue(), key=KEY, patient="x")
    after = np.frombuffer(clean[-drawn.nbytes :], "<u2")
    expected = values.view(np.uint16) if signed else stored
    assert np.array_equal(after.reshape(values.shape), expected)
    assert np.array_equal(read_scan(clean).values, read_scan(stream.getvalue()).values)


# ------------------------------------------------------------------------------------------ stays and rows


def _text(source: str) -> tuple[str, dict[str, int]]:
    clean, notes = deidentify_file(source.encode(), key=KEY, patient="x")
    return clean.decode(), notes.done


def test_a_physionet_record_gets_another_number() -> None:
    clean, done = _text("Time,Parameter,Value\n00:00,RecordID,132539\n00:00,Age,54\n00:07,HR,73\n")
    assert "132539" not in clean and done == {"replaced": 1}
    assert clean.endswith("\n00:00,Age,54\n00:07,HR,73\n")
    assert clean == _text("Time,Parameter,Value\n00:00,RecordID,132539\n00:00,Age,54\n00:07,HR,73\n")[0]


def test_columns_of_a_table() -> None:
    clean, done = _text(
        "patient_id;Last Name;toxicity;In-hospital_death;visit date;notes\n"
        f"4711;{NAME};2;0;2024-03-15 10:00;fell\n4711;;;1;soon;\n"
    )
    rows = [line.split(";") for line in clean.splitlines()]
    assert rows[1][0] == rows[2][0] != "4711" and rows[1][1] == rows[1][5] == ""
    assert rows[1][2:4] == ["2", "0"] and rows[1][4].endswith(" 10:00") and not rows[1][4].startswith("2024-03-15")
    assert done == {"replaced": 2, "emptied": 2, "shifted": 1}


def test_a_long_table_whose_parameters_are_called_names() -> None:
    clean, _ = _text("stay_id,charttime,name,value\n9,2024-03-15 10:00,HR,73\n")
    assert clean.splitlines()[1].endswith(",HR,73")


def test_a_fhir_bundle_is_still_the_same_stay() -> None:
    from medai_core.icu.records import read_stay

    coding = {"coding": [{"system": "http://loinc.org", "code": "8867-4", "display": NAME}], "text": NAME}
    observation = {
        "resourceType": "Observation", "id": "obs", "status": "final", "code": coding, "note": [{"text": NAME}],
        "subject": {"reference": "Patient/4711", "display": NAME}, "effectiveDateTime": "2024-03-15T10:00:00+01:00",
        "valueQuantity": {"value": 73, "unit": "/min"},
    }  # fmt: skip
    patient = {"resourceType": "Patient", "id": "4711", "gender": "female", "birthDate": "1961-02-03",
               "name": [{"family": NAME}], "address": [{"line": [NAME]}]}  # fmt: skip
    bundle = {"resourceType": "Bundle", "type": "collection",
              "entry": [{"fullUrl": f"urn:{NAME}", "resource": one} for one in (patient, observation)]}  # fmt: skip
    clean, _ = _text(json.dumps(bundle))
    assert NAME not in clean and "4711" not in clean and "1961-02-03" not in clean and "2024-03-15" not in clean
    before, after = (read_stay(text.encode()) for text in (json.dumps(bundle), clean))
    assert np.array_equal(before.values, after.values) and np.array_equal(before.minutes, after.minutes)
    assert abs(before.fixed.pop("Age") - after.fixed.pop("Age")) < 0.6 and before.fixed == after.fixed


@pytest.mark.parametrize("text", ["just words\n", "{not json", '{"a": '])
def test_text_that_is_no_table(text: str) -> None:
    with pytest.raises((RefusedInput, InputError)):
        _text(text)
