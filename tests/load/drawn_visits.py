"""Files that visitors bring: each carries its visitor's mark in its text and in its pixels."""

from __future__ import annotations

import io
import re
from pathlib import Path

import numpy as np
from PIL import Image

from tests.cases.drawn_dicom import draw, encoded

SAMPLES = Path(__file__).parents[2] / "assets" / "samples"
BASES = ("chest_xray_normal_1", "chest_xray_bacterial_1", "chest_xray_viral_2")
SIDE, BLOCK, GRAIN = 1024, 16, 3.0
NAME, NOTE = "Planted", "Noted"
MARKS = re.compile(rb"(Planted|Noted)(\d\d)q(\d\d)")


def picture(visitor: int, turn: int) -> np.ndarray:
    """A grainy synthetic radiograph (1024, 1024) uint8 with the visitor's mark: 16 black and white blocks."""
    sample = SAMPLES / f"{BASES[visitor % len(BASES)]}.png"
    base = np.asarray(Image.open(sample).convert("L").resize((SIDE, SIDE), Image.Resampling.BICUBIC), np.float32)
    grain = np.random.default_rng([visitor, turn]).normal(0, GRAIN, base.shape)
    drawn = np.clip(base + grain, 1, 254).astype(np.uint8)
    bits = np.unpackbits(np.array([visitor, turn], np.uint8)).reshape(4, 4)
    drawn[: 4 * BLOCK, : 4 * BLOCK] = np.kron(bits * 255, np.ones((BLOCK, BLOCK), np.uint8))
    return drawn


def mark_of(drawn: np.ndarray) -> tuple[int, int]:
    """Visitor and turn of a picture as it is shown."""
    blocks = drawn[: 4 * BLOCK, : 4 * BLOCK].reshape(4, BLOCK, 4, BLOCK).mean((1, 3))
    visitor, turn = np.packbits((blocks > 127).ravel())
    return int(visitor), int(turn)


def file_of(visitor: int, turn: int) -> tuple[str, bytes]:
    """Name and bytes of a file: DICOM with a name in it, or, of every third visitor, a PNG named so."""
    drawn, word = picture(visitor, turn), f"{NAME}{visitor:02d}q{turn:02d}"
    if visitor % 3 == 2:
        stream = io.BytesIO()
        Image.fromarray(drawn).save(stream, "PNG")
        return f"{word}.png", stream.getvalue()
    tags = {"PatientName": f"{word}^Nobody", "PatientID": f"P{visitor:02d}q{turn:02d}", "PixelData": drawn.tobytes()}
    return f"{word}.dcm", encoded(draw(visitor * 100 + turn, SIDE, **tags))
