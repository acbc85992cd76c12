"""NIfTI volumes: every slice of every orientation against nibabel's own canonical volume."""

from __future__ import annotations

import gzip
import itertools

import nibabel
import numpy as np
import pytest

from medai_core.errors import InputError
from medai_core.imaging.read import read_scan, sniff

SHAPE = (7, 9, 11)
PLANES = {"sagittal": 0, "coronal": 1, "axial": 2}


def volume(dtype: type = np.int16, shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 100, shape).astype(dtype)


def nifti(data: np.ndarray, affine: np.ndarray | None = None, second: bool = False) -> bytes:
    kind = nibabel.Nifti2Image if second else nibabel.Nifti1Image
    return kind(data, np.eye(4) if affine is None else affine).to_bytes()


def radiological(canonical: np.ndarray, plane: str, frame: int) -> np.ndarray:
    """A slice of an RAS+ volume with the first axis (right, or front) leftwards and the second upwards."""
    return np.rot90(np.take(canonical, frame, axis=PLANES[plane]))[:, ::-1]


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
@pytest.mark.parametrize("signs", [(1, 1, 1), (-1, -1, 1), (1, -1, -1)])
def test_every_orientation_is_shown_upright(order: tuple[int, ...], signs: tuple[int, ...]) -> None:
    affine = np.zeros((4, 4))
    for file_axis, canonical_axis in enumerate(order):
        affine[canonical_axis, file_axis] = signs[file_axis] * 1.1
    affine[3, 3] = 1
    data = nifti(volume(), affine)
    canonical = nibabel.as_closest_canonical(nibabel.Nifti1Image.from_bytes(data)).get_fdata()
    for plane in PLANES:
        frames = canonical.shape[PLANES[plane]]
        for frame in (None, 0, frames - 1):
            scan = read_scan(data, plane=plane, frame=frame)
            chosen = frames // 2 if frame is None else frame
            assert np.array_equal(scan.values, radiological(canonical, plane, chosen))
            assert (scan.plane, scan.frame, scan.frames) == (plane, chosen, frames)


def test_which_side_is_where() -> None:
    data = np.zeros(SHAPE, np.int16)
    data[6, 8, 10] = 5  # right, anterior, superior
    for plane, last in (("axial", 10), ("coronal", 8), ("sagittal", 6)):
        assert read_scan(nifti(data), plane=plane, frame=last).values[0, 0] == 5, (
            "right and front left, front and head up"
        )


@pytest.mark.parametrize(("unit", "mm"), [("meter", 1000), ("mm", 1), ("micron", 0.001), ("unknown", 1)])
def test_spacing_is_in_millimetres(unit: str, mm: float) -> None:
    image = nibabel.Nifti1Image(volume(), np.diag([2.0, 3.0, 4.0, 1.0]))
    image.header.set_xyzt_units(unit)
    assert read_scan(image.to_bytes(), plane="axial").spacing_mm == pytest.approx((3 * mm, 2 * mm))


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32, np.float32, np.float64])
@pytest.mark.parametrize("second", [False, True])
@pytest.mark.parametrize("packed", [False, True])
def test_types_and_packing(dtype: type, second: bool, packed: bool) -> None:
    data = nifti(volume(dtype), second=second)
    scan = read_scan(gzip.compress(data) if packed else data)
    assert np.array_equal(scan.values, radiological(volume(), "axial", 5))
    assert sniff(gzip.compress(data)) == sniff(data) == scan.kind == "NIfTI"
    assert scan.planes == ("axial", "coronal", "sagittal")
    assert str(scan.trace[0]) == f"NIfTI volume of 7 × 9 × 11 voxels, {np.dtype(dtype)}"
    assert str(scan.trace[1]) == "axial slice 6 of 11"


def test_rescale_and_big_endian() -> None:
    image = nibabel.Nifti1Image(volume(), np.eye(4), header=nibabel.Nifti1Header(endianness=">"))
    image.header.set_slope_inter(2, -100)
    scan = read_scan(image.to_bytes())
    expected = nibabel.Nifti1Image.from_bytes(image.to_bytes()).get_fdata()
    assert np.allclose(scan.values, radiological(expected, "axial", 5))


def test_rescale_in_the_trace() -> None:
    data = bytearray(nifti(volume()))
    data[112:120] = np.array([2, -100], "<f4").tobytes()  # scl_slope, scl_inter
    scan = read_scan(bytes(data))
    assert np.allclose(scan.values, radiological(volume() * 2.0 - 100, "axial", 5))
    assert "rescale ×2 −100" in [str(message) for message in scan.trace]


def test_spacing_follows_the_plane() -> None:
    data = nifti(volume(), np.diag([0.9, 1.0, 1.2, 1]))
    assert read_scan(data).spacing_mm == pytest.approx((1.0, 0.9))
    assert read_scan(data, plane="coronal").spacing_mm == pytest.approx((1.2, 0.9))
    assert read_scan(data, plane="sagittal").spacing_mm == pytest.approx((1.2, 1.0))


def test_thick_slices_are_shown_as_acquired() -> None:
    assert read_scan(nifti(volume(), np.diag([1, 5.0, 1, 1]))).plane == "coronal"
    assert read_scan(nifti(volume(), np.diag([1, 1.2, 1, 1]))).plane == "axial"


def test_first_of_several_volumes() -> None:
    data = volume(shape=(*SHAPE, 4))
    for packed in (nifti(data), gzip.compress(nifti(data))):
        scan = read_scan(packed)
        assert np.array_equal(scan.values, radiological(data[..., 0], "axial", 5))
        assert "first of 4 volumes" in [str(message) for message in scan.trace]


def test_flat_volume() -> None:
    scan = read_scan(nifti(volume(shape=(7, 9, 1))))
    assert scan.planes == ("axial",) and scan.frames == 1 and scan.values.shape == (9, 7)
    assert read_scan(nifti(volume(shape=(7, 9)))).values.shape == (9, 7)
    with pytest.raises(InputError, match="`plane` must be one of axial, got 'coronal'"):
        read_scan(nifti(volume(shape=(7, 9, 1))), plane="coronal")


def test_display_is_the_middle_98_percent() -> None:
    scan = read_scan(nifti(volume(np.float32)))
    low, high = np.percentile(scan.values, (1, 99))
    assert scan.window == pytest.approx(((low + high) / 2, high - low))
    assert scan.display.min() == 0 and scan.display.max() == 255


def test_frame_outside() -> None:
    with pytest.raises(InputError, match="`frame` must be between 0 and 10, got 11"):
        read_scan(nifti(volume()), frame=11)
