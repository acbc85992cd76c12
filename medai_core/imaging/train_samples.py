"""Synthetic scans for demonstrations, nobody's picture: of a generator's images, those the shipped reader is surest of.

A sample thus shows what the reader answers to a generated image, never what a disease looks like; each is marked as
synthetic.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np
import yaml
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin

from medai_core.errors import ArtifactError
from medai_core.imaging.counterexamples import document
from medai_core.imaging.dataset import LABELS
from medai_core.imaging.reader import ScanReader, load_reader

Source = Callable[[str], Iterable[tuple[bytes, bytes]]]
"""Label → generated images, each as PNG and as DICOM."""

PER_LABEL = 2
MARK = "Synthetic image drawn by MedAI: no patient. For demonstration only."
TITLES = {
    "normal": "Chest radiograph, normal",
    "bacterial": "Chest radiograph, bacterial pneumonia",
    "viral": "Chest radiograph, viral pneumonia",
    "glioma": "Brain MRI slice, glioma",
    "meningioma": "Brain MRI slice, meningioma",
    "notumor": "Brain MRI slice, no tumour",
    "pituitary": "Brain MRI slice, pituitary tumour",
}


def _png(pixels: NDArray[np.uint8]) -> bytes:
    info = PngImagePlugin.PngInfo()
    info.add_text("Description", MARK)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", pnginfo=info, optimize=True)
    return file.getvalue()


def chosen(
    candidates: Iterable[tuple[bytes, bytes]], model: str, label: str, reader: ScanReader
) -> list[tuple[bytes, bytes]]:
    """Return the generated images that the reader reads as their label, surest first.

    Raises
    ------
    ArtifactError
        The reader agreed with too few.
    """
    tried, sure = list(candidates), []
    for both in tried:
        reading = reader.read(both[0], model=model, demonstration=True)
        if reading.label == label:
            sure.append((reading.probabilities[label], both))
    if len(sure) < PER_LABEL:
        raise ArtifactError(
            "Only {n} of {tries} images were read as {label}.", n=len(sure), tries=len(tried), label=label
        )
    return [both for _, both in sorted(sure, key=lambda one: -one[0])[:PER_LABEL]]


def make_samples(out: Path, sources: Mapping[str, Source], seed: int = 7) -> list[dict[str, str]]:
    """Write the demonstration scans to `out` and their rows to ``<out>.yaml``, before those of other wings.

    Parameters
    ----------
    sources : mapping
        Generated images by scan model.
    """
    reader = load_reader()
    out.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, str]] = []
    for model, labels in LABELS.items():
        for label in labels:
            both = chosen(sources[model](label), model, label, reader)
            about = {"label": label, "model": model, "title": TITLES[label], "made": "generated"}
            for index, (png, _) in enumerate(both, 1):
                rows.append({"file": f"{model}_{label}_{index}.png", **about})
                (out / rows[-1]["file"]).write_bytes(png)
        rows.append({"file": f"{model}_{label}.dcm", **about, "title": f"{TITLES[label]} (DICOM)"})
        (out / rows[-1]["file"]).write_bytes(both[0][1])
    page = {"file": "page_of_text.png", "label": "refused", "model": "auto", "title": "A page of text, to be refused"}
    (out / page["file"]).write_bytes(_png(document(np.random.default_rng(seed))))
    rows.append(page)
    listing = out.with_suffix(".yaml")
    listed = yaml.safe_load(listing.read_text("utf-8")) or [] if listing.exists() else []
    others = [row for row in listed if row["model"] not in {*LABELS, "auto"}]
    listing.write_text(yaml.safe_dump(rows + others, sort_keys=False, allow_unicode=True))
    return rows
