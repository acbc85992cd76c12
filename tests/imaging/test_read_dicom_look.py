"""Modality, VOI and inversion: what the header says about values and brightness, against pydicom and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from intake_files import dataset, dicom, lut_item, ramp, saved
from pydicom.dataset import Dataset
from pydicom.pixels import apply_modality_lut, apply_voi_lut, pixel_array

from medai_core.imaging.read import Scan, read_scan

pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning:pydicom"),
    pytest.mark.filterwarnings("ignore:overflow encountered in exp"),  # in the oracle
]


def trace(scan: Scan) -> list[str]:
    return [str(message) for message in scan.trace]


def full_range(values: np.ndarray, low: float, high: float) -> np.ndarray:
    return np.rint(np.clip((values.astype(np.float64) - low) / (high - low), 0, 1) * 255)


@pytest.mark.parametrize("slope,intercept", [(1, -1024), (2.5, -7), (-1, 4095), (-0.5, 0)])
def test_rescale(slope: float, intercept: float) -> None:
    pixels = ramp(np.uint16, high=4095)
    scan = read_scan(dicom(pixels, bits=12, RescaleSlope=slope, RescaleIntercept=intercept))
    assert np.allclose(scan.values, pixels * float(slope) + intercept)
    brightest = np.unravel_index(scan.values.argmax(), pixels.shape)
    assert scan.display[brightest] == 255, "a negative slope must not turn the picture round"
    assert any(line.startswith("rescale ×") for line in trace(scan))


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
@pytest.mark.parametrize("centre,width", [(40, 400), (0, 1), (-600, 1500), (500.5, 2)])
def test_window_agrees_with_pydicom(function: str, centre: float, width: float) -> None:
    ds = dataset(
        ramp(np.uint16, high=4095),
        bits=12,
        RescaleSlope=1,
        RescaleIntercept=-1024,
        WindowCenter=centre,
        WindowWidth=width,
        VOILUTFunction=function,
    )
    shown = apply_voi_lut(apply_modality_lut(pixel_array(ds), ds), ds)
    scan = read_scan(saved(ds))
    assert np.abs(scan.display - full_range(shown, -1024, 3071)).max() <= 1
    assert scan.window == (centre, width)


def test_window_of_wrong_slope_direction_is_computed_by_hand() -> None:
    """Rescale, then window, then inversion: 100 − p seen through 0…100, MONOCHROME1, is p / 100."""
    pixels = ramp(np.uint16, high=100)
    elements = {"RescaleSlope": -1, "RescaleIntercept": 100, "WindowCenter": 50, "WindowWidth": 100}
    ds = dataset(pixels, VOILUTFunction="LINEAR_EXACT", PhotometricInterpretation="MONOCHROME1", **elements)
    scan = read_scan(saved(ds))
    assert np.abs(scan.display - np.rint(pixels * 2.55)).max() <= 1
    assert trace(scan) == ["16-bit MONOCHROME1", "rescale ×−1 +100", "window 100/50", "inverted"]
    assert scan.inverted


def test_trace_reads_like_the_viewer_shows_it() -> None:
    elements = {"RescaleSlope": 1, "RescaleIntercept": -1024, "WindowCenter": -600, "WindowWidth": 1500}
    scan = read_scan(dicom(ramp(np.uint16, high=3000), PhotometricInterpretation="MONOCHROME1", **elements))
    assert trace(scan) == ["16-bit MONOCHROME1", "rescale ×1 −1024", "window 1500/−600", "inverted"]


def test_first_of_several_windows() -> None:
    pixels = ramp(np.uint16, high=4095)
    several = read_scan(dicom(pixels, WindowCenter=[1000, 50], WindowWidth=[500, 100]))
    one = read_scan(dicom(pixels, WindowCenter=1000, WindowWidth=500))
    assert several.window == one.window == (1000, 500)
    assert np.array_equal(several.display, one.display)


@pytest.mark.parametrize("bits", [8, 12, 16])
@pytest.mark.parametrize("first", [0, 100])
def test_voi_lut_agrees_with_pydicom_and_wins_over_a_window(bits: int, first: int) -> None:
    entries = np.rint(np.linspace(0, 1, 200) ** 2 * (2**bits - 1)).astype(int)
    # Above 255, pydicom 3.0 wraps the indices of 8-bit tables.
    ds = dataset(ramp(np.uint16, high=250 if bits == 8 else 400), WindowCenter=50, WindowWidth=20)
    ds.VOILUTSequence = [lut_item(entries, first, bits)]
    shown = apply_voi_lut(pixel_array(ds), ds, prefer_lut=True)
    scan = read_scan(saved(ds))
    assert np.abs(scan.display - full_range(shown, 0, 2**bits - 1)).max() <= 1
    assert "VOI LUT of 200 entries" in trace(scan)


def test_long_voi_lut_of_8_bit_entries() -> None:
    """pydicom 3.0 wraps these indices at 256."""
    pixels = ramp(np.uint16, high=1023)
    ds = dataset(pixels, bits=10, VOILUTSequence=[lut_item(np.arange(1024) // 4, 0, 8)])
    assert np.array_equal(read_scan(saved(ds)).display, pixels // 4)


def test_voi_lut_after_a_rescale_to_negative_values() -> None:
    pixels = ramp(np.uint16, high=2000)
    ds = dataset(pixels, RescaleSlope=1, RescaleIntercept=-1000)
    ds.VOILUTSequence = [lut_item(np.arange(2001), 64536, 16)]  # −1000, written as unsigned
    ds.VOILUTSequence[0].LUTDescriptor = [2001, 64536, 11]
    assert np.abs(read_scan(saved(ds)).display - full_range(pixels, 0, 2047)).max() <= 1


@pytest.mark.parametrize("bits", [8, 16])
def test_modality_lut_agrees_with_pydicom(bits: int) -> None:
    entries = (np.arange(300) * 7) % (2**bits)
    ds = dataset(ramp(np.uint16, high=400), ModalityLUTSequence=[lut_item(entries, 20, bits)])
    expected = apply_modality_lut(pixel_array(ds).astype(np.int32), ds)
    assert np.array_equal(read_scan(saved(ds)).values, expected.astype(np.float32))


def test_lut_data_as_bytes() -> None:
    entries = np.arange(256, dtype="<u2") * 257
    item = lut_item(entries, 0, 16)
    item.add_new("LUTData", "OW", entries.tobytes())
    assert np.array_equal(read_scan(dicom(ramp(), VOILUTSequence=[item])).display, ramp())


def test_monochrome1_is_the_mirror_of_monochrome2() -> None:
    for dtype, high in ((np.uint8, 255), (np.uint16, 4095)):
        pixels = ramp(dtype, high=high)
        two = read_scan(dicom(pixels))
        one = read_scan(dicom(pixels, PhotometricInterpretation="MONOCHROME1"))
        assert np.array_equal(one.display, 255 - two.display)
        assert np.array_equal(one.values, two.values)
        assert one.inverted and not two.inverted


def test_no_window() -> None:
    eight = read_scan(dicom(ramp(low=30, high=90)))
    assert np.array_equal(eight.display, ramp(low=30, high=90)), "8 bits are shown as they are"
    rescaled = read_scan(dicom(ramp(), RescaleSlope=2, RescaleIntercept=-5))
    assert np.array_equal(rescaled.display, ramp())
    pixels = ramp(np.uint16, high=4095)
    pixels[0, 0] = 65535  # one hot pixel
    twelve = read_scan(dicom(pixels))
    low, high = np.percentile(pixels, (1, 99))
    assert np.abs(twelve.display - full_range(pixels, low, high)).max() <= 1


def test_padding_is_left_out_of_the_automatic_window() -> None:
    pixels = ramp(np.int16, low=1000, high=2000)
    pixels[:, :20] = -2000
    padded = read_scan(dicom(pixels, PixelPaddingValue=-2000))
    assert padded.window[0] - padded.window[1] / 2 >= 1000
    plain = read_scan(dicom(pixels))
    assert plain.window[0] - plain.window[1] / 2 == -2000


@pytest.mark.parametrize("window", [(40, 0), (40, -5), ("", ""), (100_000, 10)])
def test_useless_windows_are_ignored(window: tuple[object, object]) -> None:
    scan = read_scan(dicom(ramp(np.uint16, high=4095), WindowCenter=window[0], WindowWidth=window[1]))
    assert scan.display.min() == 0 and scan.display.max() == 255


def test_a_constant_image_stays_constant() -> None:
    scan = read_scan(dicom(np.full((8, 8), 700, np.uint16)))
    assert scan.display.min() == scan.display.max()


def test_functional_groups_of_enhanced_objects() -> None:
    def group(slope: float, centre: float) -> Dataset:
        transformation, voi, measures, item = Dataset(), Dataset(), Dataset(), Dataset()
        transformation.RescaleSlope, transformation.RescaleIntercept = slope, -10
        voi.WindowCenter, voi.WindowWidth = centre, 300
        measures.PixelSpacing = [0.5, 0.25]
        item.PixelValueTransformationSequence = [transformation]
        item.FrameVOILUTSequence = [voi]
        item.PixelMeasuresSequence = [measures]
        return item

    pixels = np.stack([ramp(np.uint16, high=1000)] * 2)
    data = dicom(pixels, NumberOfFrames=2, PerFrameFunctionalGroupsSequence=[group(2, 100), group(3, 200)])
    scan = read_scan(data, frame=1)
    assert np.allclose(scan.values, pixels[1] * 3.0 - 10)
    assert scan.window == (200, 300) and scan.spacing_mm == (0.5, 0.25)


def test_a_curve_is_told_from_a_window() -> None:
    pixels, table = ramp(np.uint16, high=400), [lut_item(np.arange(200) ** 2 // 160, 0, 8)]
    window = {"WindowCenter": 200, "WindowWidth": 300}
    assert read_scan(dicom(pixels, VOILUTSequence=table)).curved
    assert read_scan(dicom(pixels, VOILUTFunction="SIGMOID", **window)).curved
    assert not read_scan(dicom(pixels, **window)).curved
    assert not read_scan(dicom(pixels, VOILUTFunction="SIGMOID")).curved, "no window to bend"
    useless = read_scan(dicom(pixels, VOILUTFunction="SIGMOID", WindowCenter=1e6, WindowWidth=1))
    assert "shows nothing and was ignored" in str(useless.trace) and not useless.curved


def test_render_is_display_and_can_be_inverted() -> None:
    pixels = ramp(np.uint16, high=4095)
    for photometric in ("MONOCHROME1", "MONOCHROME2"):
        scan = read_scan(dicom(pixels, WindowCenter=2000, WindowWidth=1500, PhotometricInterpretation=photometric))
        assert np.abs(scan.render(*scan.window).astype(int) - scan.display).max() <= 1
        assert np.array_equal(scan.render(*scan.window, invert=True), 255 - scan.render(*scan.window))
