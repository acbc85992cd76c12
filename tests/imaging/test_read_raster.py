"""PNG, JPEG, TIFF, WebP, BMP and GIF: round trips against the arrays they were made from."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
import tifffile
from intake_files import colourful, ramp, raster
from PIL import Image, ImageOps

from medai_core.errors import InputError
from medai_core.imaging.read import Scan, read_scan, sniff
from medai_core.imaging.scan import COLOUR_TOLERANCE

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")
ORIENTATION = 0x0112


def trace(scan: Scan) -> list[str]:
    return [str(message) for message in scan.trace]


def stretched(values: np.ndarray) -> np.ndarray:
    low, high = np.percentile(values, (1, 99))
    return np.rint(np.clip((values.astype(float) - low) / (high - low), 0, 1) * 255)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP", "GIF"])
def test_8_bit_grey_is_kept_to_the_bit(kind: str) -> None:
    scan = read_scan(raster(ramp(), kind))
    assert np.array_equal(scan.display, ramp()) and np.array_equal(scan.values, ramp())
    assert scan.values.dtype == np.float32
    assert (scan.kind, scan.colour, scan.window) == (kind, None, (127.5, 255.0))
    assert scan.spacing_mm is None and scan.modality is None and scan.tags == ()
    assert np.array_equal(scan.render(*scan.window), scan.display)


@pytest.mark.parametrize(
    ("kind", "options"), [("JPEG", {"quality": 97}), ("WEBP", {"quality": 97}), ("JPEG", {"progressive": True})]
)
def test_lossy_grey(kind: str, options: dict[str, object]) -> None:
    scan = read_scan(raster(ramp(), kind, **options))
    assert np.abs(scan.display.astype(int) - ramp()).mean() < 4
    assert scan.kind == ("WebP" if kind == "WEBP" else kind)


@pytest.mark.parametrize(("kind", "options"), [("PNG", {}), ("TIFF", {}), ("BMP", {}), ("WEBP", {"lossless": True})])
def test_colour(kind: str, options: dict[str, object]) -> None:
    scan = read_scan(raster(colourful(), kind, **options))
    assert np.array_equal(scan.colour, colourful())
    assert np.abs(scan.display - colourful() @ (0.299, 0.587, 0.114)).max() <= 1
    assert trace(scan)[-1] == "colour reduced to brightness"


def test_grey_stored_as_colour_is_grey() -> None:
    rgb = np.repeat(ramp()[..., None], 3, axis=2)
    assert read_scan(raster(rgb, "PNG")).colour is None
    noisy = np.clip(rgb + np.random.default_rng(0).normal(0, COLOUR_TOLERANCE / 4, rgb.shape), 0, 255)
    assert read_scan(raster(noisy.astype(np.uint8), "JPEG", quality=60)).colour is None


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bit_grey(kind: str) -> None:
    pixels = ramp(np.uint16, high=40_000)
    scan = read_scan(raster(pixels, kind))
    assert np.array_equal(scan.values, pixels)
    assert np.abs(scan.display - stretched(pixels)).max() <= 1
    assert trace(scan) == [f"16-bit {kind}", "no window: 1st to 99th percentile shown"]
    assert np.abs(scan.render(*scan.window).astype(int) - scan.display).max() <= 1


def test_alpha_is_composited_on_black() -> None:
    alpha = ramp()[::-1]
    for base in (ramp()[..., None], colourful()):
        pixels = np.concatenate([base, alpha[..., None]], axis=2)
        scan = read_scan(raster(Image.fromarray(pixels, "LA" if base.shape[2] == 1 else "RGBA"), "PNG"))
        expected = base.astype(float) * (alpha / 255.0)[..., None]
        shown = scan.colour if base.shape[2] == 3 else scan.display[..., None]
        assert np.abs(shown - expected).max() <= 1.5
        assert "alpha composited on black" in trace(scan)


def test_opaque_alpha_is_not_mentioned() -> None:
    pixels = np.dstack([colourful(), np.full(ramp().shape, 255, np.uint8)])
    scan = read_scan(raster(pixels, "PNG"))
    assert np.array_equal(scan.colour, colourful()) and "alpha composited on black" not in trace(scan)


def deep_png(channels: np.ndarray, orientation: int = 1) -> bytes:
    """A PNG of (H, W, 2 to 4) uint16, written by hand: Pillow cannot save it. Each row is filtered its own way."""
    colour_type = {2: 4, 3: 2, 4: 6}[channels.shape[2]]
    step = 2 * channels.shape[2]
    raw, above = b"", bytes(channels.shape[1] * step)
    for number, row in enumerate(channels.astype(">u2")):
        line = row.tobytes()
        before = (bytes(len(line)), bytes(step) + line[:-step], above)[number % 3]  # no filter, Sub, Up
        raw += bytes([number % 3]) + bytes((a - b) % 256 for a, b in zip(line, before, strict=True))
        above = line

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    header = struct.pack(">IIBBBBB", channels.shape[1], channels.shape[0], 16, colour_type, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"eXIf", exif.tobytes()[6:]), (b"IDAT", zlib.compress(raw)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*one) for one in chunks)


@pytest.mark.parametrize("channels", [2, 3, 4])
@pytest.mark.parametrize("high", [4095, 65535])
def test_16_bit_png_keeps_its_depth_with_colour_or_alpha(channels: int, high: int) -> None:
    """12-bit values in 16-bit words lie in the lower byte and a half, which is what Pillow cuts off."""
    grey = ramp(np.uint16, high=high)
    opaque = [np.full(grey.shape, 65535, np.uint16)] * (channels % 2 == 0)
    scan = read_scan(deep_png(np.stack([grey] * (channels - len(opaque)) + opaque, axis=2)))
    assert np.array_equal(scan.values, grey) and scan.colour is None
    assert np.abs(scan.display - stretched(grey)).max() <= 1
    assert trace(scan) == ["16-bit PNG", "no window: 1st to 99th percentile shown"]


def test_16_bit_alpha_and_colour_png() -> None:
    grey, half = ramp(np.uint16, high=65535), np.full(ramp().shape, 32768, np.uint16)
    faint = read_scan(deep_png(np.stack([grey, half], axis=2)))
    assert np.abs(faint.values - grey / 2).max() <= 1 and "alpha composited on black" in trace(faint)
    rgb = colourful().astype(np.uint16) * 257
    coloured = read_scan(deep_png(rgb))
    assert np.array_equal(coloured.colour, colourful()) and "colour reduced to brightness" in trace(coloured)
    assert np.abs(coloured.values - rgb @ (0.299, 0.587, 0.114)).max() <= 1


@pytest.mark.parametrize("orientation", range(1, 9))
def test_16_bit_png_is_turned_by_its_exif(orientation: int) -> None:
    grey = ramp(np.uint16, high=60000)
    upright = Image.fromarray(grey)
    upright.getexif()[ORIENTATION] = orientation
    scan = read_scan(deep_png(np.stack([grey] * 3, axis=2), orientation))
    assert np.array_equal(scan.values, np.asarray(ImageOps.exif_transpose(upright)))
    assert scan.full_shape == scan.display.shape


def test_palette_and_one_bit() -> None:
    palette = Image.fromarray(colourful()).quantize(64)
    assert np.array_equal(read_scan(raster(palette, "PNG")).colour, np.asarray(palette.convert("RGB")))
    bilevel = ramp() > 100
    scan = read_scan(raster(Image.fromarray(bilevel), "PNG"))
    assert np.array_equal(scan.display, bilevel * np.uint8(255)) and trace(scan)[0] == "1-bit PNG"
    assert np.array_equal(
        read_scan(raster(Image.fromarray(bilevel), "TIFF", compression="group4")).display, scan.display
    )


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_exif_rotation(kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    options = {"JPEG": {"quality": 95}, "WEBP": {"lossless": True}}.get(kind, {})
    upright = Image.fromarray(ramp())
    upright.getexif()[ORIENTATION] = orientation
    expected = np.asarray(ImageOps.exif_transpose(upright)).astype(int)
    scan = read_scan(raster(ramp(), kind, exif=exif, **options))
    assert scan.display.shape == expected.shape == scan.full_shape
    assert np.abs(scan.display - expected).mean() < 3
    assert ("EXIF rotation applied" in trace(scan)) == (orientation > 1)


def test_damaged_exif_does_not_cost_the_picture() -> None:
    scan = read_scan(raster(ramp(), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\x7f" + b"\xff" * 40))
    assert scan.display.shape == ramp().shape


def test_cmyk_jpeg() -> None:
    image = Image.fromarray(colourful()).convert("CMYK")
    scan = read_scan(raster(image, "JPEG", quality=97))
    assert "CMYK converted to RGB" in trace(scan)
    assert np.abs(scan.colour.astype(int) - colourful()).mean() < 12


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize(
    ("shape", "at_least", "factor"),
    [((600, 750), 150, 4), ((600, 750), 301, 1), ((1200, 1500), 448, 2), ((1200, 1500), 100, 8)],
)
def test_reduced_decoding(mode: str, shape: tuple[int, int], at_least: int, factor: int) -> None:
    image = Image.fromarray(ramp(shape=shape)).convert(mode)
    data = raster(image, "JPEG")
    scan, full = read_scan(data, at_least=at_least), read_scan(data)
    assert scan.full_shape == full.full_shape == shape
    assert (
        scan.display.shape == (-(-shape[0] // factor), -(-shape[1] // factor)) and min(scan.display.shape) >= at_least
    )
    assert (f"decoded at 1/{factor} size" in trace(scan)) == (factor > 1)
    smaller = np.asarray(Image.fromarray(full.display).reduce(factor))
    assert np.abs(scan.display[: smaller.shape[0]].astype(int) - smaller).mean() < 2


def test_reduced_decoding_turns_too() -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    scan = read_scan(raster(ramp(shape=(200, 400)), "JPEG", exif=exif), at_least=64)
    assert scan.full_shape == (400, 200) and scan.display.shape == (200, 100)


def test_no_float_copy_until_asked() -> None:
    scan = read_scan(raster(ramp(shape=(200, 300)), "JPEG"))
    assert scan.stored.dtype == np.uint8 and "values" not in vars(scan)
    assert scan.values is scan.values


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"])
def test_tiff_compressions(compression: str) -> None:
    scan = read_scan(raster(ramp(), "TIFF", compression=compression))
    assert np.abs(scan.display.astype(int) - ramp()).mean() < (4 if compression == "jpeg" else 0.001)


@pytest.mark.parametrize("dtype", [np.uint16, np.int16, np.int32, np.float32, np.float64, np.float16])
@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_deep_tiff(dtype: type, byteorder: str) -> None:
    pixels = ramp(dtype, high=2000, low=0 if dtype == np.uint16 else -500)
    stream = io.BytesIO()
    tifffile.imwrite(stream, pixels, byteorder=byteorder, photometric="minisblack")
    scan = read_scan(stream.getvalue())
    assert np.allclose(scan.values, pixels)
    assert np.abs(scan.display - stretched(pixels)).max() <= 1


def test_float_tiff_with_gaps() -> None:
    pixels = ramp(float, low=-1, high=1).astype(np.float32)
    pixels[0, :3] = np.nan, np.inf, -np.inf
    stream = io.BytesIO()
    tifffile.imwrite(stream, pixels, photometric="minisblack")
    scan = read_scan(stream.getvalue())
    assert np.isfinite(scan.values).all() and scan.display.max() == 255


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_white_is_zero_tiff(dtype: type) -> None:
    pixels = ramp(dtype, high=np.iinfo(dtype).max)
    black, white = io.BytesIO(), io.BytesIO()
    tifffile.imwrite(black, pixels, photometric="minisblack")
    tifffile.imwrite(white, pixels.max() - pixels, photometric="miniswhite")
    a, b = read_scan(black.getvalue()), read_scan(white.getvalue())
    assert np.abs(a.display.astype(int) - b.display).max() <= 1


def test_16_bit_and_planar_colour_tiff() -> None:
    for pixels, options in ((colourful().astype(np.uint16) * 257, {}), (colourful(), {"planarconfig": "separate"})):
        stream = io.BytesIO()
        shaped = np.moveaxis(pixels, 2, 0) if options else pixels
        tifffile.imwrite(stream, shaped, photometric="rgb", **options)
        assert np.abs(read_scan(stream.getvalue()).colour.astype(int) - colourful()).max() <= 3


def test_tiff_pages_are_frames() -> None:
    pages = [Image.fromarray(ramp()), Image.fromarray(ramp()[::-1].copy()), Image.fromarray(colourful())]
    data = raster(pages[0], "TIFF", save_all=True, append_images=pages[1:])
    assert np.array_equal(read_scan(data).display, ramp())
    second = read_scan(data, frame=1)
    assert np.array_equal(second.display, ramp()[::-1])
    assert (second.frame, second.frames, trace(second)[1]) == (1, 3, "frame 2 of 3")
    assert read_scan(data, frame=2).colour is not None
    with pytest.raises(InputError, match="`frame` must be between 0 and 2, got 3"):
        read_scan(data, frame=3)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_first_picture_of_an_animation(kind: str) -> None:
    pages = [Image.fromarray(ramp()), Image.fromarray(ramp()[::-1].copy())]
    options = {"lossless": True} if kind == "WEBP" else {}
    scan = read_scan(raster(pages[0], kind, save_all=True, append_images=pages[1:], **options))
    assert np.array_equal(scan.display, ramp()) and "first picture of an animation" in trace(scan)


def test_flat_pictures_have_one_frame() -> None:
    assert read_scan(raster(ramp(), "PNG"), frame=0, plane="axial").plane is None
    with pytest.raises(InputError, match="`frame` must be between 0 and 0, got 1"):
        read_scan(raster(ramp(), "PNG"), frame=1)


def test_kinds_are_told_by_content() -> None:
    assert [sniff(raster(ramp(), kind)) for kind in ("PNG", "JPEG", "TIFF", "WEBP", "BMP", "GIF")] == [
        "PNG", "JPEG", "TIFF", "WebP", "BMP", "GIF",
    ]  # fmt: skip


def test_digest_is_of_the_bytes() -> None:
    import hashlib

    data = raster(ramp(), "PNG")
    assert read_scan(data).digest == hashlib.sha256(data).hexdigest()
