"""DICOM intake: every depth, photometric interpretation and encoding against an independent oracle."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pydicom
import pytest
from intake_files import bundled, bundled_names, colourful, dataset, dicom, ramp, raster, saved
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.pixels import apply_modality_lut, convert_color_space, pixel_array
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    RLELossless,
)

from medai_core.errors import InputError, MedAIError
from medai_core.imaging.read import Scan, read_scan

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom")


def trace(scan: Scan) -> list[str]:
    return [str(message) for message in scan.trace]


@pytest.mark.parametrize(
    ("dtype", "bits"),
    [
        (np.uint8, 8),
        (np.int8, 8),
        (np.uint16, 10),
        (np.uint16, 12),
        (np.int16, 12),
        (np.uint16, 16),
        (np.int16, 16),
        (np.uint32, 20),
    ],
)
def test_values_are_what_was_stored(dtype: type, bits: int) -> None:
    signed = np.dtype(dtype).kind == "i"
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    pixels = ramp(dtype, low=low, high=high)
    scan = read_scan(dicom(pixels, bits=bits))
    assert np.array_equal(scan.values, pixels.astype(np.float32))
    assert scan.values.dtype == np.float32 and scan.display.dtype == np.uint8
    assert (scan.kind, scan.frame, scan.frames, scan.full_shape) == ("DICOM", 0, 1, pixels.shape)
    assert trace(scan)[0] == f"{bits}-bit MONOCHROME2"


@pytest.mark.parametrize("keyword", ["FloatPixelData", "DoubleFloatPixelData"])
def test_float_pixel_data(keyword: str) -> None:
    pixels = ramp(float, low=-3, high=5).astype("<f4" if keyword == "FloatPixelData" else "<f8")
    pixels[0, 0] = np.nan
    ds = dataset(np.zeros(pixels.shape, np.uint32))
    del ds.PixelData, ds.BitsStored, ds.HighBit, ds.PixelRepresentation
    ds.BitsAllocated = pixels.itemsize * 8
    setattr(ds, keyword, pixels.tobytes())
    scan = read_scan(saved(ds))
    assert scan.values[0, 0] == 0 and np.allclose(scan.values.ravel()[1:], pixels.ravel()[1:])
    assert scan.display.min() == 0 and scan.display.max() == 255


def test_overlay_bits_above_the_stored_ones_are_dropped() -> None:
    pixels = ramp(np.uint16, high=4095)
    scan = read_scan(dicom(pixels | 0x8000, bits=12))
    assert np.array_equal(scan.values, pixels)


def test_rgb_and_planar_configuration() -> None:
    pixels = colourful()
    interleaved = read_scan(dicom(pixels))
    planar = dataset(pixels, PlanarConfiguration=1)
    planar.PixelData = np.ascontiguousarray(np.moveaxis(pixels, 2, 0)).tobytes()
    for scan in (interleaved, read_scan(saved(planar))):
        assert np.array_equal(scan.colour, pixels)
        assert np.abs(scan.display - pixels @ (0.299, 0.587, 0.114)).max() <= 1
        assert np.array_equal(scan.values, scan.display)


def test_16_bit_colour() -> None:
    scan = read_scan(dicom(colourful().astype(np.uint16) * 257))
    assert np.array_equal(scan.colour, colourful())


def test_ybr_full() -> None:
    pixels = convert_color_space(colourful(), "RGB", "YBR_FULL")
    scan = read_scan(dicom(pixels, PhotometricInterpretation="YBR_FULL"))
    assert np.abs(scan.colour.astype(int) - colourful()).max() <= 2


def test_equal_channels_are_no_colour() -> None:
    scan = read_scan(dicom(np.repeat(ramp()[..., None], 3, axis=2)))
    assert scan.colour is None
    assert np.array_equal(scan.display, ramp())


@pytest.mark.parametrize("bits", [8, 16])
def test_palette(bits: int) -> None:
    factor = 1 if bits == 8 else 257
    table = np.stack([np.arange(256), 255 - np.arange(256), np.arange(256) // 2]) * factor
    ds = dataset(ramp(), PhotometricInterpretation="PALETTE COLOR")
    for name, entries in zip(("Red", "Green", "Blue"), table, strict=True):
        setattr(ds, f"{name}PaletteColorLookupTableDescriptor", [256, 0, bits])
        setattr(ds, f"{name}PaletteColorLookupTableData", entries.astype(f"<u{bits // 8}").tobytes())
    scan = read_scan(saved(ds))
    assert np.array_equal(scan.colour, np.moveaxis(table // factor, 0, 1)[ramp()])


@pytest.mark.parametrize(
    "syntax",
    [
        ImplicitVRLittleEndian,
        ExplicitVRLittleEndian,
        ExplicitVRBigEndian,
        DeflatedExplicitVRLittleEndian,
        RLELossless,
        JPEG2000Lossless,
    ],
)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16])
def test_transfer_syntaxes_give_the_same_values(syntax: str, dtype: type) -> None:
    low, high = (-500, 3000) if dtype == np.int16 else (0, 3000 if dtype == np.uint16 else 255)
    pixels = ramp(dtype, (64, 80), low=low, high=high)
    if syntax == ExplicitVRBigEndian:
        raw = pixels.astype(pixels.dtype.newbyteorder(">"))
        data = dicom(raw, syntax=syntax)
    elif syntax in (RLELossless, JPEG2000Lossless):
        ds = dataset(pixels)
        ds.compress(syntax)
        data = saved(ds)
    else:
        data = dicom(pixels, syntax=syntax)
    assert np.array_equal(read_scan(data).values, pixels.astype(np.float32))


@pytest.mark.parametrize(
    ("compressed", "plain"),
    [
        ("MR_small_RLE.dcm", "MR_small.dcm"),
        ("MR_small_jpeg_ls_lossless.dcm", "MR_small.dcm"),
        ("MR_small_jp2klossless.dcm", "MR_small.dcm"),
        ("MR_small_bigendian.dcm", "MR_small.dcm"),
        ("MR_small_implicit.dcm", "MR_small.dcm"),
        ("SC_rgb_jpeg_gdcm.dcm", "SC_rgb_rle.dcm"),  # JPEG Lossless, selection value 1
    ],
)
def test_lossless_encodings_of_the_same_image(compressed: str, plain: str) -> None:
    a, b = read_scan(bundled(compressed)), read_scan(bundled(plain))
    assert np.array_equal(a.values, b.values) and np.array_equal(a.display, b.display)


def test_jpeg_baseline() -> None:
    ds = dataset(ramp())
    ds.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    ds.PixelData = encapsulate([raster(ramp(), "JPEG", quality=95)])
    ds["PixelData"].VR = "OB"
    ds["PixelData"].is_undefined_length = True
    assert np.abs(read_scan(saved(ds)).values - ramp()).max() < 12


@pytest.mark.parametrize("name", bundled_names(400_000))
def test_every_bundled_image_agrees_with_pydicom(name: str) -> None:
    ds = pydicom.dcmread(io.BytesIO(bundled(name)), force=True)
    try:
        pixels = pixel_array(ds, index=0)
        expected = apply_modality_lut(pixels, ds)
    except Exception:  # what pydicom cannot decode must end in a sentence here
        with pytest.raises(MedAIError):
            read_scan(bundled(name))
        return
    scan = read_scan(bundled(name))
    assert scan.display.shape == pixels.shape[:2]
    if ds.PhotometricInterpretation.startswith("MONO"):
        assert np.allclose(scan.values, expected)
    elif scan.colour is not None and pixels.dtype == np.uint8 and pixels.ndim == 3:
        assert np.array_equal(scan.colour, pixels)


def test_without_preamble_and_without_file_meta() -> None:
    data = dicom(ramp(np.uint16, high=4095), Modality="CR")
    bare = data[132:]
    assert np.array_equal(read_scan(bare).values, read_scan(data).values)
    for syntax in (ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian):
        ds = dataset(ramp(np.uint16, high=4095), Modality="CR")
        if syntax == ExplicitVRBigEndian:
            ds.PixelData = ramp(">u2", high=4095).tobytes()
        stream = io.BytesIO()
        implicit, little = syntax == ImplicitVRLittleEndian, syntax != ExplicitVRBigEndian
        del ds.file_meta
        ds.save_as(stream, implicit_vr=implicit, little_endian=little)
        scan = read_scan(stream.getvalue())
        assert np.array_equal(scan.values, ramp(np.uint16, high=4095)) and scan.modality == "CR"


def test_frames() -> None:
    pixels = np.stack([ramp(np.uint16, high=1000 * (n + 1)) for n in range(12)])
    data = dicom(pixels, NumberOfFrames=12)
    assert np.array_equal(read_scan(data).values, pixels[0])
    third = read_scan(data, frame=2)
    assert np.array_equal(third.values, pixels[2])
    assert (third.frame, third.frames) == (2, 12) and "frame 3 of 12" in trace(third)
    for frame in (-1, 12):
        with pytest.raises(InputError, match=f"`frame` must be between 0 and 11, got {frame}"):
            read_scan(data, frame=frame)


def test_an_mr_stack_opens_in_its_middle() -> None:
    pixels = np.stack([ramp(np.uint16, high=1000 * (n + 1)) for n in range(9)])
    stack = dicom(pixels, NumberOfFrames=9, Modality="MR")
    scan = read_scan(stack)
    assert scan.frame == 4 and np.array_equal(scan.values, pixels[4]) and "frame 5 of 9" in trace(scan)
    assert read_scan(stack, frame=0).frame == 0
    assert read_scan(dicom(pixels, NumberOfFrames=9, Modality="XA")).frame == 0


def test_only_the_chosen_frame_is_decoded() -> None:
    ds = dataset(np.stack([ramp(), ramp()]), NumberOfFrames=2)
    ds.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    ds.PixelData = encapsulate([raster(ramp(), "JPEG"), b"\xff\xd8 no picture at all"])
    ds["PixelData"].is_undefined_length = True
    assert read_scan(saved(ds), frame=0).display.shape == ramp().shape
    with pytest.raises(InputError):
        read_scan(saved(ds), frame=1)


def test_spacing_and_descriptors() -> None:
    assert read_scan(dicom(ramp())).spacing_mm is None
    scan = read_scan(
        dicom(ramp(), ImagerPixelSpacing=[0.14, 0.15], Modality="DX", BodyPartExamined="CHEST", ViewPosition="PA")
    )
    assert scan.spacing_mm == (0.14, 0.15)
    assert (scan.modality, scan.body_part, scan.view) == ("DX", "CHEST", "PA")
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "12738006", "SCT", "Brain"
    assert read_scan(dicom(ramp(), AnatomicRegionSequence=[code])).body_part == "Brain"


def test_tags_mark_what_identifies() -> None:
    ds = dataset(
        ramp(),
        PatientName="Doe^Jane",
        PatientID="4711",
        PatientBirthDate="19800101",
        PatientSex="F",
        PatientAge="043Y",
        StudyDate="20240229",
        StudyTime="101010",
        AccessionNumber="A1",
        InstitutionName="Somewhere",
        ReferringPhysicianName="Roe^R",
        StudyDescription="Chest of Jane Doe",
        PatientComments="x" * 500,
        StudyInstanceUID="1.2.3",
        StationName="ROOM1",
        DeviceSerialNumber="77",
        Modality="DX",
        Manufacturer="Maker",
        WindowCenter=[10, 20],
        WindowWidth=[30, 40],
    )
    ds.private_block(0x0011, "ACME", create=True).add_new(1, "LO", "Doe")
    ds.OtherPatientIDsSequence = [Dataset(), Dataset()]
    tags = {tag.keyword or tag.tag: tag for tag in read_scan(saved(ds)).tags}
    masked = {name for name, tag in tags.items() if tag.identifying}
    assert {
        "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "PatientAge", "StudyDate", "StudyTime",
        "AccessionNumber", "InstitutionName", "ReferringPhysicianName", "StudyDescription", "PatientComments",
        "StudyInstanceUID", "SOPInstanceUID", "StationName", "DeviceSerialNumber", "(0011,1001)",
    } <= masked  # fmt: skip
    assert not {"Modality", "Rows", "Manufacturer", "SOPClassUID", "TransferSyntaxUID", "WindowCenter"} & masked
    assert len(tags["PatientComments"].value) == 120
    assert tags["OtherPatientIDsSequence"].value == "2 items"
    assert tags["WindowCenter"].value == "10.0\\20.0"
    assert tags["PatientName"].tag == "(0010,0010)" and tags["PatientName"].name == "Patient's Name"
    assert "PixelData" not in tags


def test_threads_give_what_one_thread_gives() -> None:
    names = [
        "CT_small.dcm",
        "MR_small_RLE.dcm",
        "MR_small_jp2klossless.dcm",
        "SC_rgb_jpeg.dcm",
        "JPEGLSNearLossless_08.dcm",
    ]
    files = [bundled(name) for name in names] * 8
    with ThreadPoolExecutor(4) as pool:
        shown = [scan.display for scan in pool.map(read_scan, files)]
    assert all(np.array_equal(a, read_scan(data).display) for a, data in zip(shown, files, strict=True))
