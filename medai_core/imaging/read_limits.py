"""Rules every reader holds a picture against before decoding it."""

from __future__ import annotations

from medai_core.errors import InputError
from medai_core.settings import settings


def check_frame(frame: int | None, default: int, frames: int) -> int:
    """The frame to read, or an :class:`InputError` that states the rule."""
    if frame is None:
        return default
    if not 0 <= frame < frames:
        raise InputError("`frame` must be between 0 and {last}, got {frame}", last=frames - 1, frame=frame)
    return frame


def check_pixels(width: int, height: int) -> None:
    """Refuse a picture by its size alone, before a byte of it is decoded."""
    limit = settings().max_megapixels
    if width * height > limit * 1_000_000:
        raise InputError(
            "The image is {width} × {height} pixels, more than the {limit} megapixels read here.",
            width=width,
            height=height,
            limit=limit,
        )
