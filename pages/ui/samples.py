"""Synthetic images and stays for a visitor without data at hand."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

from medai_core.settings import settings

STAY = "icu"
"""What the list calls a stay, where an image has its label."""
DRAWN, GENERATED = "drawn", "generated"
"""How an image was made, as the list says; what it does not say was drawn."""


@dataclass(frozen=True)
class Sample:
    """One synthetic image or stay: its file, what it was made as, the model it is meant for, and how it was made."""

    path: Path
    label: str
    model: str
    title: str
    made: str = DRAWN


@cache
def samples() -> tuple[Sample, ...]:
    """Return the shipped samples; none where the folder is empty."""
    folder = Path(settings().assets_dir) / "samples"
    listing = folder.with_suffix(".yaml")
    if not listing.exists():
        return ()
    rows = yaml.safe_load(listing.read_text("utf-8")) or []
    if isinstance(rows, dict):
        rows = rows.get("samples", [])
    found = [
        Sample(
            folder / row["file"],
            row.get("label", ""),
            row.get("model", ""),
            row.get("title", row["file"]),
            row.get("made", DRAWN),
        )
        for row in rows
    ]
    return tuple(sample for sample in found if sample.path.is_file())


def icu_samples() -> tuple[Sample, ...]:
    """Return the shipped intensive-care stays alone."""
    return tuple(sample for sample in samples() if sample.label == STAY)
