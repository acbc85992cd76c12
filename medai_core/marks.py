"""The marks of a synthetic image: one to see, one to read, and one that outlives both.

The visible mark is the word on a plate in the lower left corner; the metadata say it in standard fields; the
watermark is blind-watermark's (DWT, DCT and SVD, guofei9987/blind_watermark). On 128 × 128 grey images that were
enlarged to 224 and stored as JPEG of quality 75, the library's own decoding gets up to a quarter of the bits wrong;
so nothing is decoded here. The known bits are correlated with the phases of all blocks instead, and the sum is held
against a threshold: it was at least 0.46 for 400 images treated so, and at most 0.16 for 10,940 scans of patients
(the visible mark's: at least 0.95, and at most 0.23).

Everything is recognised at 128 × 128, to which a picture of any size is first brought.
"""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any
from unittest import mock

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from PIL import Image
from scipy.fft import dct
from scipy.ndimage import correlate1d

from medai_core.errors import ArtifactError, InputError, Message, say

TEXT = "SYNTHETIC"
STATEMENT = "Synthetic image made by MedAI: no patient. For teaching, demonstration and research."
SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
"""The IPTC's Digital Source Type of media made by a trained model."""
SIDE = 128
VISIBLE_LIMIT, WATERMARK_LIMIT = 0.6, 0.32
"""Correlations from which a mark counts as found: halfway between marked images and those of patients."""

# ------------------------------------------------------------------------------------------------ visible

_GLYPHS = {
    "S": (0b01111, 0b10000, 0b10000, 0b01110, 0b00001, 0b00001, 0b11110),
    "Y": (0b10001, 0b10001, 0b01010, 0b00100, 0b00100, 0b00100, 0b00100),
    "N": (0b10001, 0b11001, 0b11001, 0b10101, 0b10011, 0b10011, 0b10001),
    "T": (0b11111, 0b00100, 0b00100, 0b00100, 0b00100, 0b00100, 0b00100),
    "H": (0b10001, 0b10001, 0b10001, 0b11111, 0b10001, 0b10001, 0b10001),
    "E": (0b11111, 0b10000, 0b10000, 0b11110, 0b10000, 0b10000, 0b11111),
    "I": (0b01110, 0b00100, 0b00100, 0b00100, 0b00100, 0b00100, 0b01110),
    "C": (0b01111, 0b10000, 0b10000, 0b10000, 0b10000, 0b10000, 0b01111),
}
_MARGIN, _SHIFT = 2, 1


@cache
def _plate() -> NDArray[np.uint8]:
    """The word in white on black, one letter six pixels wide: (11, 57)."""
    letters = [[[int(bit) for bit in f"{row:05b}0"] for row in _GLYPHS[letter]] for letter in TEXT]
    return np.pad(np.hstack(letters).astype(np.uint8) * 255, ((2, 2), (2, 1)))


def visible(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return an image with the word SYNTHETIC burned into its lower left corner.

    Parameters
    ----------
    pixels : NDArray[np.uint8]
        (H, W); the mark grows with the image.

    Raises
    ------
    InputError
        If ``pixels`` is no grey image of bytes.
    """
    height, width = _checked(pixels).shape
    plate = _plate()
    canvas = np.zeros((2, SIDE, SIDE), np.uint8)  # the plate's ink, and where it lies
    place = np.s_[SIDE - _MARGIN - len(plate) : SIDE - _MARGIN, _MARGIN : _MARGIN + plate.shape[1]]
    canvas[0][place], canvas[1][place] = plate, 255
    ink, cover = (np.asarray(_resized(layer, width, height), np.float32) for layer in canvas)
    return np.rint(pixels * (1 - cover / 255) + ink).astype(np.uint8)


def _visible_score(small: NDArray[np.uint8]) -> float:
    """Best correlation, -1 to 1, of the plate with the corner of an image (128, 128), a pixel's shift allowed."""
    plate = _plate()
    (height, width), low = plate.shape, SIDE - _MARGIN - len(plate)
    corner = small[low - _SHIFT : low + height + _SHIFT, _MARGIN - _SHIFT : _MARGIN + width + _SHIFT]
    windows = sliding_window_view(corner.astype(np.float32), plate.shape).reshape(-1, plate.size)
    wanted = plate.ravel() - plate.mean()
    spread = windows.std(1) * wanted.std() * plate.size
    return float(((windows @ wanted) / np.maximum(spread, 1.0)).max())


# ---------------------------------------------------------------------------------------------- watermark

_KEY = 1
_STEP, _WEAK_STEP = 36, 20
"""The library's steps for the two largest singular values of a block, of which the first is read back."""
_BLOCK, _BLOCKS = 4, (SIDE // 8) ** 2
_BITS = np.unpackbits(np.frombuffer(hashlib.sha256(TEXT.encode()).digest()[:8], np.uint8))  # (64,)
_SHARPER = np.array([-0.12, 1.24, -0.12])
_DOUBT = 0.12, 0.5
_lock = threading.Lock()


def watermark(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return an image with the invisible watermark; it differs from the input by less than 2 levels on average.

    Parameters
    ----------
    pixels : NDArray[np.uint8]
        (H, W). An image of another size than 128 × 128 gets the enlarged difference that its small copy gets.

    Raises
    ------
    InputError
        If ``pixels`` is no grey image of bytes.
    ArtifactError
        If the library cannot be loaded: without it nothing may be marked half.
    """
    _checked(pixels)
    small = _canonical(pixels)
    marked = _embedded(small)
    if pixels.shape == marked.shape:
        return marked
    change = Image.fromarray(marked.astype(np.float32) - small)
    change = np.asarray(change.resize(pixels.shape[::-1], Image.Resampling.BICUBIC))
    return np.clip(np.rint(pixels + change), 0, 255).astype(np.uint8)


def _embedded(small: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return (128, 128) with the bits in it, four times each. Only brightness is written: a grey image has no more."""
    from pywt import idwt2

    core = _library()(password_img=_KEY)
    core.d1, core.d2 = _STEP, _WEAK_STEP
    core.read_img_arr(np.repeat(small[..., None], 3, 2))
    core.read_wm(_BITS)
    core.init_block_index()
    blocks, shuffles = core.ca_block[0], _shuffles()
    for number, place in enumerate(core.block_index):
        blocks[place] = core.block_add_wm((blocks[place], shuffles[number], number))
    coarse = blocks.swapaxes(1, 2).reshape(SIDE // 2, SIDE // 2)
    return np.clip(np.rint(idwt2((coarse, core.hvd[0]), "haar")), 0, 255).astype(np.uint8)


@cache
def _library() -> Any:
    """The library's class. It is imported by the first image that is marked, never by reading a scan."""
    # As it is imported it sets how processes start, for all of Python, and raises if that was set before (#103).
    with _lock, mock.patch("multiprocessing.set_start_method"):
        try:
            from blind_watermark.bwm_core import WaterMarkCore
        except ImportError as error:  # OpenCV may miss a library of the system
            raise ArtifactError(
                "The watermark cannot be written, so no synthetic image is made: {why}.", why=str(error)
            ) from error
    return WaterMarkCore


@cache
def _shuffles() -> NDArray[np.intp]:
    """In which order the library takes the 16 frequencies of each block: (256, 16)."""
    return np.random.RandomState(_KEY).random((_BLOCKS, _BLOCK**2)).argsort(1)


@cache
def _cosines() -> NDArray[np.float32]:
    return dct(np.eye(_BLOCK, dtype=np.float32), axis=0, norm="ortho")


def block_strengths(small: NDArray[np.generic]) -> NDArray[np.float32]:
    """Largest singular value of each shuffled block, as the library finds it: (128, 128) → (256,)."""
    quads = small.reshape(SIDE // 2, 2, SIDE // 2, 2).astype(np.float32)
    coarse = quads.sum((1, 3)) / 2  # Haar's approximation, (64, 64)
    side = SIDE // 2 // _BLOCK
    blocks = coarse.reshape(side, _BLOCK, side, _BLOCK).swapaxes(1, 2).reshape(_BLOCKS, _BLOCK, _BLOCK)
    waves = (_cosines() @ blocks @ _cosines().T).reshape(_BLOCKS, _BLOCK**2)
    shuffled = np.take_along_axis(waves, _shuffles(), 1).reshape(blocks.shape)
    return np.linalg.svd(shuffled, compute_uv=False)[:, 0]


def _watermark_score(small: NDArray[np.uint8]) -> float:
    """Correlation, -1 to 1, of the known bits with the phases of all blocks of an image (128, 128).

    Where it leaves doubt, the image is looked at once more with the fine detail that bilinear enlarging took away.
    """
    score = _phases(small)
    if not _DOUBT[0] < score < _DOUBT[1]:
        return score
    sharp = correlate1d(correlate1d(small.astype(np.float32), _SHARPER, 0), _SHARPER, 1)
    return max(score, _phases(sharp))


def _phases(small: NDArray[np.generic]) -> float:
    """Correlation of the bits with the phases: one of 0 leaves a block a quarter into a step, of 1 three quarters."""
    wanted = np.resize(1.0 - 2.0 * _BITS, _BLOCKS)
    return float((wanted - wanted.mean()) @ np.sin(2 * np.pi / _STEP * block_strengths(small)) / _BLOCKS)


# ------------------------------------------------------------------------------------------------ metadata


def xmp(description: str = STATEMENT) -> str:
    """Return the XMP packet that says in the IPTC's terms that a trained model made the image."""
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" '
        'xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" '
        f'Iptc4xmpExt:DigitalSourceType="{SOURCE_TYPE}"><dc:description><rdf:Alt><rdf:li xml:lang="x-default">'
        f"{description}</rdf:li></rdf:Alt></dc:description></rdf:Description></rdf:RDF></x:xmpmeta>"
        '<?xpacket end="w"?>'
    )


def _told(name: str, value: str) -> bool:
    """Whether one field says that the image is synthetic."""
    text = value.casefold()
    if name == "SyntheticData":  # DICOM (0008,001C), PS3.3 C.12.1
        return text.strip() == "yes"
    if name in ("PatientName", "PatientID"):
        return "synthetic" in re.split("[^a-z]+", text)
    # A tomosynthesis or a synthetic MR contrast is of a patient: "synthetic" alone says too little.
    return ("synthetic image" in text and "no patient" in text) or SOURCE_TYPE.partition("//cv.")[2].casefold() in text


# ----------------------------------------------------------------------------------------------- recognise

_NAMES = {
    "visible": say("the word SYNTHETIC in the image"),
    "metadata": say("the file's own description"),
    "watermark": say("an invisible watermark"),
}


@dataclass(frozen=True)
class Marks:
    """Which marks an image carries.

    Attributes
    ----------
    visible_score, watermark_score : float
        Correlations from -1 to 1, above `VISIBLE_LIMIT` and `WATERMARK_LIMIT` where the mark is there.
    """

    visible: bool
    metadata: bool
    watermark: bool
    visible_score: float = 0.0
    watermark_score: float = 0.0

    @property
    def any(self) -> bool:
        return self.visible or self.metadata or self.watermark

    def names(self) -> tuple[Message, ...]:
        """The marks that were found, in words."""
        return tuple(name for mark, name in _NAMES.items() if getattr(self, mark))


def recognise(pixels: NDArray[np.uint8], metadata: Mapping[str, str] | None = None) -> Marks:
    """Return which marks of a synthetic image an image carries.

    Parameters
    ----------
    pixels : NDArray[np.uint8]
        (H, W), of any size.
    metadata : Mapping[str, str], optional
        Text fields of the file: PNG keywords, EXIF and XMP, or DICOM keywords.

    Raises
    ------
    InputError
        If ``pixels`` is no grey image of bytes.
    """
    small = _canonical(_checked(pixels))
    seen, hidden = _visible_score(small), _watermark_score(small)
    told = any(_told(name, value) for name, value in (metadata or {}).items())
    return Marks(seen > VISIBLE_LIMIT, told, hidden > WATERMARK_LIMIT, seen, hidden)


def _canonical(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return (128, 128). Of a large picture only every n-th pixel is looked at: an enlarged mark has nothing finer."""
    height, width = pixels.shape
    step = max(1, (min(height, width) // (2 * SIDE) - 1) | 1)  # odd: the pixels taken lie in the middle of theirs
    taken = pixels[step // 2 :: step, step // 2 :: step]
    rest = 0, 0, min(width / step, taken.shape[1]), min(height / step, taken.shape[0])
    return np.asarray(_resized(taken, SIDE, SIDE, Image.Resampling.LANCZOS, rest))


def _resized(
    pixels: NDArray[np.uint8],
    width: int,
    height: int,
    way: Image.Resampling = Image.Resampling.BILINEAR,
    box: tuple[float, float, float, float] | None = None,
) -> Image.Image:
    image = Image.fromarray(np.ascontiguousarray(pixels))
    return image if image.size == (width, height) else image.resize((width, height), way, box)


def _checked(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    if pixels.ndim != 2 or pixels.dtype != np.uint8 or not pixels.size:
        raise InputError(
            "`pixels` must be a grey image (H, W) of bytes, got {dtype} of shape {shape}",
            dtype=str(pixels.dtype),
            shape=" × ".join(map(str, pixels.shape)),
        )
    return pixels
