"""Lines of writing are found by their shape; side markers and anatomy are not."""

from __future__ import annotations

import io

import numpy as np
import pytest
from drawn_dicom import draw, encoded
from PIL import Image, ImageDraw, ImageFont
from pydicom.uid import (
    MPEG2MPML,
    JPEG2000Lossless,
    JPEGLSLossless,
    MultiFrameGrayscaleByteSecondaryCaptureImageStorage,
    RLELossless,
)

from medai_core.cases.burned_in import burned_in_text
from medai_core.cases.deidentify_files import MOST_LOOKED_AT, deidentify_file
from medai_core.errors import InputError

LINES = ("DOE JANE", "MUELLER, A.", "12.03.1961", "2021-04-30 10:12", "ID 4711-0815", "Nguyen Thi Lan")
SIZES = (10, 12, 14, 18, 24)


def chest(seed: int, side: int = 224) -> np.ndarray:
    """Two dark lungs crossed by ribs in a grey trunk on black, (side, side) uint8."""
    rng = np.random.default_rng(seed)
    across, down = np.meshgrid(np.linspace(-1, 1, side), np.linspace(-1, 1, side))
    trunk = 1 / (1 + np.exp(12 * (np.hypot(across / 0.85, (down - 0.2) / 1.1) - 1)))
    lungs = sum(1 / (1 + np.exp(10 * (np.hypot((across - x) / 0.3, down / 0.6) - 1))) for x in (-0.4, 0.4))
    ribs = np.sin(14 * (down + 0.5 * across**2) + rng.uniform(0, 6)) > 0.6
    field = 0.7 * trunk - 0.4 * lungs + 0.12 * ribs * lungs + rng.normal(0, 0.01, trunk.shape)
    return np.round(255 * np.clip(field, 0, 1)).astype(np.uint8)


def written(pixels: np.ndarray, words: str, size: int, corner: int, fill: int = 255) -> np.ndarray:
    image = Image.fromarray(pixels)
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(size)
    left, top, right, bottom = draw.textbbox((0, 0), words, font=font)
    x = 4 if corner in (0, 2) else image.width - (right - left) - 4
    y = 4 if corner < 2 else image.height - (bottom - top) - 4
    draw.text((x - left, y - top), words, font=font, fill=fill)
    return np.asarray(image)


def test_no_warning_without_writing() -> None:
    assert not [seed for seed in range(12) if burned_in_text(chest(seed)).boxes]
    assert burned_in_text(np.zeros((64, 64), np.uint8)) == burned_in_text(np.full((64, 64), 255, np.uint8))
    noise = np.random.default_rng(0).integers(0, 256, (224, 224), np.uint8)
    assert burned_in_text(noise).boxes == ()


@pytest.mark.parametrize("marker", ["L", "R", "A-P", "PA", "RT", "L1"])
def test_side_markers_alone_do_not_warn(marker: str) -> None:
    for size in (12, 18, 24, 32):
        for corner in (0, 3):
            assert burned_in_text(written(chest(size + corner), marker, size, corner)).boxes == ()


def test_names_and_dates_in_the_corners_are_found() -> None:
    for size in SIZES:
        shown = [written(chest(k), LINES[k % len(LINES)], size, k % 4) for k in range(12)]
        found = sum(bool(burned_in_text(pixels).boxes) for pixels in shown)
        assert found >= 11, size


def test_the_box_covers_the_line_and_the_share_is_its_area() -> None:
    pixels = written(np.zeros((200, 300), np.uint8), "DOE JANE 1961", 20, 3)
    finding = burned_in_text(pixels)
    left, top, wide, high = finding.boxes[0]
    rows, columns = np.nonzero(pixels > 128)
    assert abs(left - columns.min()) < 6 and abs(left + wide - columns.max()) < 12
    assert abs(top - rows.min()) < 6 and abs(top + high - rows.max()) < 6
    assert finding.share == pytest.approx(wide * high / pixels.size)
    assert "places found: 1" in str(finding.warning)


def test_dark_and_coloured_writing() -> None:
    light = np.full((200, 300), 200, np.uint8)
    assert burned_in_text(written(light, "DOE JANE 1961", 18, 0, fill=0)).boxes
    colour = np.zeros((200, 300, 3), np.uint8)
    colour[..., 2] = written(np.zeros((200, 300), np.uint8), "DOE JANE 1961", 18, 1)
    assert burned_in_text(colour).boxes


def test_large_pictures() -> None:
    plain = chest(3, 1000)
    assert burned_in_text(plain).boxes == ()
    assert burned_in_text(written(plain, "DOE JANE 12.03.1961", 36, 2)).boxes


def warnings_of(data: bytes) -> str:
    return " ".join(map(str, deidentify_file(data, key=bytes(16), patient="x")[1].warnings))


def saved(kind: str, *pictures: np.ndarray) -> bytes:
    stream = io.BytesIO()
    first, *rest = map(Image.fromarray, pictures)
    first.save(stream, kind, **({"save_all": True, "append_images": rest} if rest else {}))
    return stream.getvalue()


def dicom(*frames: np.ndarray, syntax: str = "") -> bytes:
    ds = draw(1, side=frames[0].shape[0], SOPClassUID=MultiFrameGrayscaleByteSecondaryCaptureImageStorage)
    ds.NumberOfFrames, ds.PixelData = len(frames), np.stack(frames).tobytes()
    if syntax:
        ds.compress(syntax)
    return encoded(ds)


WRITTEN = written(chest(1), "DOE JANE 1961", 18, 0)


def test_an_export_warns() -> None:
    assert "burned into the picture (places found: 1)" in warnings_of(saved("PNG", WRITTEN))
    assert warnings_of(saved("PNG", chest(1))) == ""


@pytest.mark.parametrize("syntax", ["", RLELossless, JPEGLSLossless, JPEG2000Lossless])
def test_compressed_pixels_are_looked_at(syntax: str) -> None:
    assert "burned into the picture" in warnings_of(dicom(WRITTEN, syntax=syntax))
    assert warnings_of(dicom(chest(1), syntax=syntax)) == ""


def test_what_cannot_be_decoded_is_said_to_be_unchecked() -> None:
    ds = draw(1)
    ds.compress(RLELossless)
    ds.file_meta.TransferSyntaxUID = MPEG2MPML  # under the name of what no decoder here reads
    assert "nobody has looked for words" in warnings_of(encoded(ds))


def test_floating_point_pixels_are_looked_at() -> None:
    ds = draw(1, side=WRITTEN.shape[0], BitsAllocated=32)
    del ds.PixelData
    ds.FloatPixelData = WRITTEN.astype("<f4").tobytes()
    assert "burned into the picture" in warnings_of(encoded(ds))


@pytest.mark.parametrize("syntax", ["", RLELossless, JPEG2000Lossless])
def test_every_frame_is_looked_at(syntax: str) -> None:
    plain = [chest(k) for k in range(3)]
    told = warnings_of(dicom(*plain, WRITTEN, syntax=syntax))
    assert told.startswith("Words seem to be burned into 1 of the 4 pictures in the file, first into number 4")
    assert warnings_of(dicom(*plain, syntax=syntax)) == ""


def test_of_many_frames_it_is_said_how_many_were_looked_at() -> None:
    told = warnings_of(dicom(*[chest(1)] * (MOST_LOOKED_AT + 1), WRITTEN))
    assert f"Of the {MOST_LOOKED_AT + 2} pictures in the file only {MOST_LOOKED_AT} were looked through" in told
    assert f"first into number {MOST_LOOKED_AT + 2}" in told, "the first and the last are always among them"


def test_pages_are_looked_at_and_animations_said_to_be_unchecked() -> None:
    assert "1 of the 2 pictures" in warnings_of(saved("TIFF", chest(1), WRITTEN))
    for kind in ("PNG", "WebP"):
        assert "Of the 2 pictures in the file only 1" in warnings_of(saved(kind, chest(1), WRITTEN)), kind


def test_coloured_writing_in_a_file_is_found() -> None:
    colour = np.zeros((200, 300, 3), np.uint8)
    colour[..., 2] = written(np.zeros((200, 300), np.uint8), "DOE JANE 1961", 18, 1, fill=120)
    assert "burned into the picture" in warnings_of(saved("PNG", colour))


@pytest.mark.parametrize("pixels", [np.zeros((4, 4)), np.zeros((4, 4, 2), np.uint8), np.zeros(4, np.uint8)])
def test_what_is_no_picture(pixels: np.ndarray) -> None:
    with pytest.raises(InputError, match="`pixels`"):
        burned_in_text(pixels)
