"""Whatever the bytes: only InputError and RefusedInput come out, and what is read is a picture."""

from __future__ import annotations

import gzip
import io
import zipfile
from functools import cache

import nibabel
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from intake_files import bundled, bundled_names, colourful, ramp, raster
from PIL import Image

from medai_core.errors import InputError, RefusedInput
from medai_core.imaging.read import read_scan, sniff, unpack

pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning:pydicom"),
    pytest.mark.filterwarnings("ignore::UserWarning:PIL"),
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),
]
quick = settings(max_examples=250, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
HEADER_BYTES = 1500


@cache
def dicom_files() -> dict[str, bytes]:
    return {name: bundled(name) for name in bundled_names(40_000)}


@cache
def other_files() -> dict[str, bytes]:
    volume = nibabel.Nifti1Image(np.arange(720, dtype=np.int16).reshape(12, 10, 6), np.diag([1, 2, 3, 1.0])).to_bytes()
    exif = Image.Exif()
    exif[0x0112] = 6
    pages = {"save_all": True, "append_images": [Image.fromarray(colourful())]}
    return {
        "grey.png": raster(ramp(), "PNG"),
        "deep.png": raster(ramp(np.uint16, high=60_000), "PNG"),
        "alpha.png": raster(Image.fromarray(colourful()).convert("RGBA"), "PNG"),
        "palette.png": raster(Image.fromarray(colourful()).convert("P"), "PNG"),
        "grey.jpg": raster(ramp(), "JPEG", exif=exif),
        "progressive.jpg": raster(colourful(), "JPEG", progressive=True),
        "deep.tif": raster(ramp(np.uint16), "TIFF"),
        "lzw.tif": raster(colourful(), "TIFF", compression="tiff_lzw"),
        "pages.tif": raster(ramp(), "TIFF", **pages),
        "a.webp": raster(colourful(), "WEBP"),
        "a.bmp": raster(colourful(), "BMP"),
        "a.gif": raster(Image.fromarray(colourful()), "GIF"),
        "a.nii": volume,
        "a.nii.gz": gzip.compress(volume),
    }


@cache
def archive() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as file:
        for name in ("grey.png", "a.nii"):
            file.writestr(name, other_files()[name])
        file.writestr("ct.dcm", bundled("MR_small.dcm"))
    return stream.getvalue()


def check(data: bytes, **options: object) -> None:
    """Read, and hold whatever comes out against what the intake promises."""
    try:
        scan = read_scan(data, **options)
    except (InputError, RefusedInput) as error:
        assert "{" not in str(error) and len(str(error)) < 400 and "\n" not in str(error)
        return
    assert scan.display.ndim == 2 and scan.display.dtype == np.uint8 and scan.display.size
    assert scan.values.shape == scan.display.shape and scan.values.dtype == np.float32
    assert np.isfinite(scan.values).all()
    assert scan.render(*scan.window).shape == scan.display.shape
    assert 0 <= scan.frame < max(scan.frames, 1)
    assert all(len(tag.value) <= 120 for tag in scan.tags)
    assert all(str(message) for message in scan.trace)


@st.composite
def damaged(draw: st.DrawFn, files: dict[str, bytes]) -> bytes:
    """A file with flipped bits, overwritten bytes, a piece put in, or its end cut off; the header suffers most."""
    data = bytearray(files[draw(st.sampled_from(sorted(files)))])
    where = st.one_of(st.integers(0, min(len(data), HEADER_BYTES) - 1), st.integers(0, len(data) - 1))
    for at in draw(st.lists(where, max_size=12)):
        data[at] ^= 1 << draw(st.integers(0, 7))
    for at in draw(st.lists(where, max_size=3)):
        data[at] = draw(st.sampled_from((0, 1, 0x7F, 0x80, 0xFF)))
    if draw(st.booleans()):
        at = draw(where)
        data[at:at] = draw(st.binary(max_size=8))
    if draw(st.booleans()):
        data = data[: draw(where)]
    return bytes(data)


@quick
@given(st.deferred(lambda: damaged(dicom_files())))
def test_damaged_dicom(data: bytes) -> None:
    check(data)


@quick
@given(st.deferred(lambda: damaged(other_files())), st.sampled_from((None, 8, 16)))
def test_damaged_pictures_and_volumes(data: bytes, at_least: int | None) -> None:
    check(data, at_least=at_least)


@quick
@given(st.binary(max_size=600))
def test_random_bytes(data: bytes) -> None:
    sniff(data)
    check(data)


@quick
@given(
    st.sampled_from(
        [value[:n] for value in (*other_files().values(), bundled("CT_small.dcm")) for n in (4, 8, 12, 60, 150)]
    ),
    st.binary(max_size=400),
)
def test_random_bytes_behind_a_true_beginning(head: bytes, tail: bytes) -> None:
    check(head + tail)
    check(head.ljust(132, b"\0")[:128] + b"DICM" + tail)


@settings(quick, max_examples=150)
@given(st.deferred(lambda: damaged({"a.zip": archive()})))
def test_damaged_archives(data: bytes) -> None:
    members = list(unpack(data, "a.zip"))
    for member in members:
        assert member.error is None or (isinstance(member.error, InputError) and member.data == b"")
        if member.error is None:
            check(member.data)


@pytest.mark.parametrize("name", ["CT_small.dcm", "MR_small_RLE.dcm", "SC_rgb_small_odd_jpeg.dcm", "rtdose_1frame.dcm"])
def test_every_truncation_of_a_header(name: str) -> None:
    data = bundled(name)
    for end in range(0, min(len(data), HEADER_BYTES), 7):
        check(data[:end])


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_no_truncation_is_read_as_a_whole_picture(kind: str) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (48, 64), dtype=np.uint8)
    data = raster(noise, kind)
    whole = read_scan(data).display
    for end in range(1, len(data), 11):
        try:
            shown = read_scan(data[:end]).display
        except (InputError, RefusedInput):
            continue
        assert np.array_equal(shown, whole), f"{end} of {len(data)} bytes"


@pytest.mark.parametrize("frame", [-1, 0, 1, 10**9])
@pytest.mark.parametrize("plane", [None, "axial", "oblique"])
def test_any_frame_and_plane(frame: int, plane: str | None) -> None:
    for data in (*other_files().values(), bundled("rtdose.dcm")):
        check(data, frame=frame, plane=plane)
