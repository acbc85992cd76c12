"""PNG, JPEG, TIFF, WebP, BMP and GIF to a :class:`Scan`."""

from __future__ import annotations

import io
import logging
import warnings
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from medai_core.errors import InputError, Message, say
from medai_core.imaging.read_limits import check_frame, check_pixels
from medai_core.imaging.scan import Scan, apply_window, auto_window, finite, grey_and_colour
from medai_core.settings import settings

# Pillow warns about every odd tag and tifffile logs what it then raises: a picture is read, or an error says why.
warnings.filterwarnings("ignore", module="PIL")
logging.getLogger("tifffile").setLevel(logging.CRITICAL)

_ORIENTATION, _DESCRIPTION, _XMP = 0x0112, 0x010E, 700
_MAX_TEXT = 20_000
_TURNED = (5, 6, 7, 8)  # EXIF orientations that swap width and height
_BITS_PER_SAMPLE, _PHOTOMETRIC, _WHITE_IS_ZERO = 258, 262, 0
_CUT_TO_8 = ("RGB", "RGBA")
_DEEP = ("I", "F")  # and the I;16 family


@dataclass
class _Picture:
    """Pixels on their way to a scan."""

    pixels: NDArray[np.generic]  # (H, W), or (H, W, 3) uint8 or uint16
    bits: int
    full_shape: tuple[int, int]
    frame: int = 0
    frames: int = 1
    inverted: bool = False
    trace: list[Message] = field(default_factory=list)
    texts: dict[str, str] = field(default_factory=dict)


def read_raster(data: bytes, kind: str, digest: str, frame: int | None, at_least: int | None) -> Scan:
    """Read a picture; of a TIFF with several pages, the chosen one.

    Parameters
    ----------
    data : bytes
        One of :data:`read_kinds.RASTER_KINDS`, as ``kind`` says.
    digest : str
        SHA-256 of ``data``.
    frame : int or None
        TIFF page, counted from 0; None is the first.
    at_least : int or None
        A JPEG may be decoded at 1/2, 1/4 or 1/8 size as long as both sides keep this many pixels.

    Raises
    ------
    InputError
        Damaged, or beyond a limit.
    """
    # Pillow only warns between its limit and twice that; ours is checked right after opening.
    Image.MAX_IMAGE_PIXELS = settings().max_megapixels * 1_000_000
    if kind == "TIFF":
        picture = _read_tiff(data, frame)
    else:
        check_frame(frame, 0, 1)
        if kind == "PNG":
            _verify(data)
        with Image.open(io.BytesIO(data), formats=(kind.upper(),)) as image:
            check_pixels(*image.size)
            picture = _decode(image, data, kind, at_least)
    return _scan(picture, kind, digest)


def _verify(data: bytes) -> None:
    """Hold a PNG's checksums against its bytes: decoding leaves them out, and shows wrong pixels instead."""
    with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
        check_pixels(*image.size)
        image.verify()


def _scan(picture: _Picture, kind: str, digest: str) -> Scan:
    trace = [say("{bits}-bit {kind}", bits=picture.bits, kind=kind)]
    if picture.frames > 1:
        trace.append(say("frame {number} of {total}", number=picture.frame + 1, total=picture.frames))
    trace += picture.trace
    colour = None
    values = picture.pixels
    if values.ndim == 3:
        values, colour = _deep_grey(values) if values.dtype == np.uint16 else grey_and_colour(values)
        if colour is not None:
            trace.append(say("colour reduced to brightness"))
    low, high = 0.0, 255.0
    if values.dtype != np.uint8:
        low, high = auto_window(values)
        trace.append(say("no window: 1st to 99th percentile shown"))
    display = apply_window(values, low, high)
    if picture.inverted:
        display = 255 - display
        trace.append(say("inverted"))
    return Scan(
        stored=values,
        display=display,
        window=((low + high) / 2, high - low),
        kind=kind,
        digest=digest,
        full_shape=picture.full_shape,
        inverted=picture.inverted,
        colour=colour,
        frame=picture.frame,
        frames=picture.frames,
        trace=tuple(trace),
        texts=picture.texts,
    )


def _deep_grey(rgb: NDArray[np.uint16]) -> tuple[NDArray[np.uint16], NDArray[np.uint8] | None]:
    """As :func:`grey_and_colour`, of (H, W, 3) uint16; the brightness keeps its depth."""
    grey = np.rint(rgb @ np.array([0.299, 0.587, 0.114], np.float32)).astype(np.uint16)
    return grey, grey_and_colour((rgb >> 8).astype(np.uint8))[1]


def _decode(image: Image.Image, data: bytes, kind: str, at_least: int | None = None) -> _Picture:
    width, height = image.size
    trace: list[Message] = []
    orientation = _orientation(image, trace)
    if kind == "JPEG" and at_least:
        image.draft(None, (at_least, at_least))
    if kind in ("PNG", "WebP", "GIF") and getattr(image, "is_animated", False):
        image.seek(0)  # asking made a GIF go on to its second picture
        trace.append(say("first picture of an animation"))
    bits = _bits(image, data, kind)
    white_is_zero = kind == "TIFF" and image.tag_v2.get(_PHOTOMETRIC) == _WHITE_IS_ZERO
    deep = _deep_png(image, data, trace) if kind == "PNG" and bits == 16 and image.mode in _CUT_TO_8 else None
    image.load()
    texts = _texts(image, kind)  # after loading: those of a PNG may follow its pixels
    if (factor := round(max(width, height) / max(image.size))) > 1:
        trace.append(say("decoded at 1/{factor} size", factor=factor))
    if orientation > 1:
        if kind != "TIFF":  # Pillow turns a TIFF, and its size, by itself
            ImageOps.exif_transpose(image, in_place=True)
            width, height = (height, width) if orientation in _TURNED else (width, height)
        trace.append(say("EXIF rotation applied"))
    pixels = _pixels(image, trace) if deep is None else _turned(deep, orientation)
    return _Picture(
        pixels=pixels,
        bits=bits,
        full_shape=(height, width),
        # Pillow has turned 8-bit white-is-zero round, deeper ones it leaves as stored.
        inverted=white_is_zero and pixels.dtype != np.uint8,
        trace=trace,
        texts=texts,
    )


def _texts(image: Image.Image, kind: str) -> dict[str, str]:
    """Return what a file says in words, each field cut to a length that no description has.

    Comment, XMP and EXIF come as bytes; of EXIF, letters among other bytes are left.
    """
    fields = {str(name): value for name, value in image.info.items()}
    if kind == "TIFF":
        fields |= {"ImageDescription": image.tag_v2.get(_DESCRIPTION), "xmp": image.tag_v2.get(_XMP)}
    texts = {
        name: value.decode("utf-8", "ignore") if isinstance(value, bytes) else value for name, value in fields.items()
    }
    return {name: text[:_MAX_TEXT] for name, text in texts.items() if isinstance(text, str)}


def _orientation(image: Image.Image, trace: list[Message]) -> int:
    try:
        value = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # a damaged EXIF block says nothing about the pixels, which are checked on their own
        trace.append(say("EXIF data damaged and ignored"))
        image.info.pop("exif", None)
        return 1
    return value if value in range(1, 9) else 1


def _bits(image: Image.Image, data: bytes, kind: str) -> int:
    """Bits per channel in the file, which Pillow may already have reduced to 8."""
    if kind == "PNG":
        return data[24]
    if kind == "TIFF":
        return int(max(image.tag_v2.get(_BITS_PER_SAMPLE, (1,))))
    return 1 if image.mode == "1" else 8


def _deep_png(image: Image.Image, data: bytes, trace: list[Message]) -> NDArray[np.uint16]:
    """(H, W) or (H, W, 3) of a 16-bit PNG with colour or alpha, of which Pillow keeps only the high bytes.

    Read a second time as if its numbers were little-endian, the same file gives the low bytes. Grey with alpha
    has four bytes per pixel, as 8-bit RGBA has.
    """
    with Image.open(io.BytesIO(data), formats=("PNG",)) as again:
        tile = again.tile[0]
        grey = tile.args == "LA;16B"
        again.tile = [tile._replace(args="RGBA" if grey else tile.args.replace("16B", "16L"))]
        low = np.asarray(again)
    # (H, W, 2), or (H, W, 3 or 4)
    channels = low.view(">u2").astype(np.uint16) if grey else np.asarray(image).astype(np.uint16) << 8 | low
    if channels.shape[2] == 3:
        return channels
    colours, alpha = channels[..., :-1], channels[..., -1:]
    if alpha.min() < 65535:
        trace.append(say("alpha composited on black"))
        colours = np.rint(colours * (alpha / 65535.0)).astype(np.uint16)
    return colours[..., 0] if grey else colours


def _turned(pixels: NDArray[np.uint16], orientation: int) -> NDArray[np.uint16]:
    """Upright by its EXIF orientation, as Pillow's ``exif_transpose`` does for what Pillow can hold."""
    if orientation in _TURNED:
        pixels = pixels.swapaxes(0, 1)
    down, across = (-1 if orientation in flipped else 1 for flipped in ((3, 4, 7, 8), (2, 3, 6, 7)))
    return np.ascontiguousarray(pixels[::down, ::across])


def _pixels(image: Image.Image, trace: list[Message]) -> NDArray[np.generic]:
    """(H, W) of any number type, or (H, W, 3) uint8."""
    if image.mode == "L":
        return np.asarray(image)
    if image.mode.startswith("I;16"):
        return np.asarray(image).astype(np.uint16, copy=False)
    if image.mode in _DEEP:
        values = np.asarray(image)
        return finite(values) if image.mode == "F" else values
    if image.mode == "1":
        return np.asarray(image.convert("L"))
    if image.mode == "CMYK":
        trace.append(say("CMYK converted to RGB"))
    if image.has_transparency_data:
        image = _without_alpha(image, trace)
    return np.asarray(image.convert("RGB"))


def _without_alpha(image: Image.Image, trace: list[Message]) -> Image.Image:
    image = image.convert("RGBA")
    if image.getextrema()[3][0] == 255:
        return image
    trace.append(say("alpha composited on black"))
    return Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), image)


def _read_tiff(data: bytes, frame: int | None) -> _Picture:
    """Pillow first; tifffile for the layouts that Pillow does not know."""
    try:
        with Image.open(io.BytesIO(data), formats=("TIFF",)) as image:
            frames = image.n_frames
            frame = check_frame(frame, 0, frames)
            image.seek(frame)
            check_pixels(*image.size)
            picture = _decode(image, data, "TIFF")
    except (InputError, MemoryError):
        raise
    except Exception:  # Pillow raises OSError, SyntaxError, ValueError, …: tifffile then has the last word
        picture, frames, frame = _read_tiff_page(data, frame)
    picture.frame, picture.frames = frame, frames
    return picture


def _no_picture(shape: tuple[int, ...]) -> InputError:
    return InputError("A TIFF page of shape {shape} is no single picture.", shape=" × ".join(map(str, shape)))


def _read_tiff_page(data: bytes, frame: int | None) -> tuple[_Picture, int, int]:
    import tifffile

    with tifffile.TiffFile(io.BytesIO(data)) as tiff:
        frames = len(tiff.pages)
        frame = check_frame(frame, 0, frames)
        page = tiff.pages[frame]
        check_pixels(page.imagewidth, page.imagelength * page.imagedepth)
        if page.samplesperpixel not in (1, 3, 4):  # before it is decoded: hundreds of them unpack from next to nothing
            raise _no_picture(page.shape)
        pixels = page.asarray()
        axes = page.axes
        white_is_zero = page.photometric == tifffile.PHOTOMETRIC.MINISWHITE
        bits = int(page.bitspersample)
    if axes.startswith("S"):  # one plane per channel
        pixels = np.moveaxis(pixels, 0, -1)
    if pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[2] not in (3, 4)):
        raise _no_picture(pixels.shape)
    pixels = finite(pixels) if pixels.dtype.kind == "f" else pixels.astype(pixels.dtype.newbyteorder("="), copy=False)
    trace: list[Message] = []
    if pixels.ndim == 3:
        if pixels.dtype != np.uint8:
            low, high = auto_window(pixels[..., 1])
            trace.append(say("no window: 1st to 99th percentile shown"))
            pixels = apply_window(pixels, low, high)
        pixels = np.ascontiguousarray(pixels[..., :3])
    shape = pixels.shape[0], pixels.shape[1]
    return _Picture(pixels, bits, shape, inverted=white_is_zero, trace=trace), frames, frame
