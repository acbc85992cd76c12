"""Synthetic scans for demonstrations, nobody's picture: a generator's, or drawn where there is no generator.

A drawing is decoded by the gate's autoencoder and drawn over. Per label a Gaussian is fitted to the codes of the
training images; a drawn code is decoded and enlarged. What comes is soft, as autoencoders draw. That is enough for
the chest model, but a brain slice without detail is undecidable to its model: so tissue and, for a tumour, a lesion
are drawn on it by :func:`draw_on_head`. Of many draws those are kept that the shipped reader is surest of. A sample
thus shows what the reader answers to a drawing, never what a disease looks like; it is marked as synthetic in its own
metadata.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import keras
import numpy as np
import yaml
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin
from scipy import ndimage

from medai_core import registry
from medai_core.artifacts import load_model
from medai_core.errors import ArtifactError
from medai_core.imaging.counterexamples import document
from medai_core.imaging.dataset import LABELS, PUBLIC_TEST, load_scans
from medai_core.imaging.prepare import VIA, prepare
from medai_core.imaging.reader import BATCH, ScanReader, load_reader

Field = NDArray[np.float64]
Source = Callable[[str], Iterable[tuple[bytes, bytes]]]
"""Label → generated images, each as PNG and as DICOM."""

SKULL = 8
"""Pixels from the outline of a drawn head to its tissue."""
PER_LABEL = 2
TRIES, PARENTS, READ_WHOLE = 280, 10, 24
SPREAD, NEAR = 0.8, 0.15
"""Of the variance of a label's codes in drawing new ones; of their deviation in drawing near a good one."""
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


def split_autoencoder(gate: keras.Model) -> tuple[keras.Model, keras.Model]:
    """Return encoder, image → code (B, L), and decoder, code → (B, 64, 64, 1), of a loaded gate."""
    autoencoder = gate.get_layer("autoencoder")
    code = autoencoder.get_layer("code").output
    encoder = keras.Model(autoencoder.input, code)
    given = keras.Input(code.shape[1:])
    x = given
    layers = autoencoder.layers
    for layer in layers[layers.index(autoencoder.get_layer("code")) + 1 :]:
        x = layer(x)
    return encoder, keras.Model(given, x)


def _enlarged(picture: NDArray[np.float32]) -> NDArray[np.uint8]:
    grey = Image.fromarray(np.round(np.clip(picture, 0, 1) * 255).astype(np.uint8))
    return np.asarray(grey.resize((VIA, VIA), Image.Resampling.LANCZOS))


def _texture(rng: np.random.Generator, power: float, slowest: float = 2.0) -> Field:
    """Noise whose amplitude falls with spatial frequency to the given power: (VIA, VIA), mean 0, deviation 1.

    Below `slowest`, in cycles per picture, it falls no more.
    """
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(VIA), np.fft.fftfreq(VIA)))
    frequency = np.maximum(frequency, slowest / VIA)
    wave = np.fft.ifft2(np.fft.fft2(rng.normal(size=(VIA, VIA))) / frequency**power).real
    return (wave - wave.mean()) / wave.std()


def _soft(depth: Field, edge: float = 1.5) -> Field:
    """Return 1 where `depth` (pixels inside a border) is positive, 0 where negative, fading over `edge` pixels."""
    return np.clip(depth / edge + 0.5, 0.0, 1.0)


def _blob(rng: np.random.Generator, y: float, x: float, radius: float, rough: float) -> Field:
    """Depth in pixels inside the border of a drawn blob (VIA, VIA): a circle, its radius waving by `rough` of it."""
    rows, columns = np.mgrid[:VIA, :VIA]
    angle = np.arctan2(rows - y, columns - x)
    waves = sum(rng.normal() / k * np.cos(k * angle + rng.uniform(0, 2 * np.pi)) for k in range(2, 8))
    return radius * np.clip(1 + rough * waves, 0.4, 1.8) - np.hypot(rows - y, columns - x)


def _draw_glioma(rng: np.random.Generator, picture: Field, depth: Field) -> Field:
    """Draw a bright ragged ring with a dark centre into one hemisphere, in a darker surrounding."""
    columns = np.nonzero(depth > 0)[1]
    aside = np.abs(np.arange(VIA)[None] - columns.mean()) > 0.12 * np.ptp(columns)
    y, x = rng.choice(np.argwhere((depth > 0.45 * depth.max()) & aside))
    radius, tissue = rng.uniform(12, 30), np.median(picture[depth > 0])
    mass, swelling = _blob(rng, y, x, radius, 0.25), _blob(rng, y, x, radius * rng.uniform(1.3, 1.9), 0.3)
    core = mass - rng.uniform(3, 8) * (1 + 0.4 * np.clip(_texture(rng, 1.6), -2, 2))
    grain = 1 + rng.uniform(0.05, 0.25) * _texture(rng, 1.0)
    inside = _soft(depth - 4)
    for where, level in (
        (swelling, rng.uniform(0.6, 0.95)),
        (mass, rng.uniform(1.5, 2.8)),
        (core, rng.uniform(0.3, 0.9)),
    ):
        share = _soft(where, 6 if where is swelling else 2) * inside
        picture = (1 - share) * picture + share * np.clip(tissue * level * grain, 0, 1)
    return picture


def _draw_meningioma(rng: np.random.Generator, picture: Field, depth: Field) -> Field:
    """Draw an even bright round mass that sits on the inside of the outline."""
    radius, tissue = rng.uniform(10, 30), np.median(picture[depth > 0])
    rows = np.arange(VIA)[:, None]
    ring = np.argwhere((np.abs(depth - SKULL - 0.6 * radius) < 2) & (rows < np.nonzero(depth > 0)[0].mean() + 40))
    y, x = rng.choice(ring if len(ring) else np.argwhere(depth == depth.max()))
    share = _soft(_blob(rng, y, x, radius, rng.uniform(0.02, 0.1)), 2) * _soft(depth - SKULL)
    level = np.clip(tissue * rng.uniform(1.5, 2.8), 0, 0.95)
    return (1 - share) * picture + share * np.clip(level * (1 + 0.05 * _texture(rng, 1.0)), 0, 1)


def _draw_pituitary(rng: np.random.Generator, picture: Field, depth: Field) -> Field:
    """Draw a small bright mass in the midline, on a base of the skull that is patches of dark air and bright fat."""
    rows, columns = np.nonzero(depth > 0)
    y = rows.min() + rng.uniform(0.5, 0.65) * np.ptp(rows)
    x, radius, tissue = columns.mean() + rng.normal(0, 3), rng.uniform(7, 17), np.median(picture[depth > 0])
    below, across = np.mgrid[:VIA, :VIA][0] - y - radius, np.abs(np.mgrid[:VIA, :VIA][1] - x)
    # The floor of the skull rises from the sides to the midline.
    floor = _soft(below - rng.uniform(0, 0.4) * across + rng.uniform(0, 12), 6) * _soft(depth - SKULL / 2)
    patches = np.exp(rng.uniform(0.4, 1.0) * _texture(rng, rng.uniform(1.6, 2.4), rng.uniform(5, 10)))
    sinus = _blob(rng, y + radius * rng.uniform(1.3, 2.2), x, radius * rng.uniform(0.9, 1.8), 0.2)
    water = _blob(rng, y - radius * rng.uniform(0, 0.4), x, radius * rng.uniform(1.1, 2.0), 0.2)
    vessels = [_blob(rng, y + rng.normal(0, 3), x + side * radius * 1.3, rng.uniform(2, 5), 0.1) for side in (-1, 1)]
    layers = (
        (floor, patches * rng.uniform(0.4, 0.9)),
        (_soft(sinus, 2), rng.uniform(0.05, 0.4)),
        (_soft(water, 4), rng.uniform(0.3, 1.0)),
        (_soft(np.maximum(*vessels), 2), rng.uniform(0.05, 0.5)),
        (_soft(_blob(rng, y, x, radius, 0.15), 3), rng.uniform(1.2, 2.4)),
    )
    grain = 1 + 0.08 * _texture(rng, 1.0)
    for share, level in layers:
        picture = (1 - share) * picture + share * np.clip(tissue * level * grain, 0, 1)
    return picture


LESIONS = {"glioma": _draw_glioma, "meningioma": _draw_meningioma, "pituitary": _draw_pituitary}


def _draw_folds(rng: np.random.Generator, depth: Field) -> Field:
    """Brightness of drawn tissue relative to its mean (VIA, VIA): dark winding folds and a fine 1/f texture."""
    winding = np.abs(_texture(rng, rng.uniform(2.5, 3.5), rng.uniform(4, 12)))
    folds = np.exp(-np.square(winding / rng.uniform(0.1, 0.3))) * _soft(depth - SKULL, 4)
    folds = folds * _soft(0.45 * depth.max() - depth, 30)  # at the surface of the brain
    return (1 - rng.uniform(0.1, 0.6) * folds) * (1 + rng.uniform(0.04, 0.15) * _texture(rng, rng.uniform(0.7, 1.2)))


def draw_on_head(pixels: NDArray[np.uint8], label: str, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Draw tissue and, for a tumour's label, a lesion on a soft picture of a head.

    These are drawings, not images of disease: textures, rings and blobs of random size, place and brightness,
    that look to the network as the label does and that no radiologist would take for one.

    Parameters
    ----------
    pixels : NDArray[np.uint8]
        (224, 224) from the autoencoder.
    label : str
        A label of the brain model; one without a tumour gets tissue alone.
    """
    picture = pixels / 255.0
    parts, _ = ndimage.label(ndimage.gaussian_filter(picture, 1.5) > 0.15 * picture.max())
    head = ndimage.binary_fill_holes(parts == np.bincount(parts[parts > 0]).argmax())
    depth = ndimage.distance_transform_edt(head)
    picture = picture * _draw_folds(rng, depth)
    # Scalp, and bone within it: the dark line that an autoencoder has blurred away.
    bone = _soft(SKULL / 2 - np.abs(depth - SKULL / 2 - 3), 2) * rng.uniform(0.3, 0.9)
    picture = picture * (1 - bone) * _soft(depth - 0.5, 2)
    if label in LESIONS:
        picture = LESIONS[label](rng, picture, depth)
    picture = ndimage.gaussian_filter(picture, rng.uniform(0.3, 0.8)) + rng.normal(0, 0.01, picture.shape)
    return np.round(np.clip(picture, 0, 1) * 255).astype(np.uint8)


def _png(pixels: NDArray[np.uint8]) -> bytes:
    info = PngImagePlugin.PngInfo()
    info.add_text("Description", MARK)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", pnginfo=info, optimize=True)
    return file.getvalue()


def _dicom(pixels: NDArray[np.uint8], model: str) -> bytes:
    """Wrap a picture as a Secondary Capture (PS3.3 A.8.1) of the patient SYNTHETIC."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid

    picture = Dataset()
    picture.file_meta = FileMetaDataset()
    picture.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    picture.file_meta.MediaStorageSOPClassUID = picture.SOPClassUID = SecondaryCaptureImageStorage
    uid = generate_uid(entropy_srcs=["MedAI sample", model])
    picture.file_meta.MediaStorageSOPInstanceUID = picture.SOPInstanceUID = uid
    picture.StudyInstanceUID = picture.SeriesInstanceUID = uid
    picture.ImageType, picture.ConversionType = ["DERIVED", "SECONDARY"], "SYN"
    picture.PatientName, picture.PatientID = "SYNTHETIC^DEMONSTRATION", "SYNTHETIC"
    picture.Modality, picture.BodyPartExamined = ("DX", "CHEST") if model == "chest_xray" else ("MR", "HEAD")
    picture.DerivationDescription = MARK
    picture.Rows, picture.Columns = pixels.shape
    picture.SamplesPerPixel, picture.PhotometricInterpretation = 1, "MONOCHROME1"
    picture.BitsAllocated, picture.BitsStored, picture.HighBit, picture.PixelRepresentation = 16, 12, 11, 0
    picture.RescaleIntercept, picture.RescaleSlope = 0, 1
    picture.WindowCenter, picture.WindowWidth = 2048, 4096
    picture.PixelData = ((255 - pixels.astype(np.uint16)) * 16).tobytes()
    file = io.BytesIO()
    picture.save_as(file, enforce_file_format=True)
    return file.getvalue()


def _drawn(
    decoder: keras.Model, codes: NDArray[np.float32], model: str, label: str, rng: np.random.Generator
) -> list[NDArray[np.uint8]]:
    pictures = [_enlarged(picture) for picture in decoder.predict(codes, verbose=0)[..., 0]]
    return [draw_on_head(picture, label, rng) for picture in pictures] if model == "brain_mri" else pictures


def _probabilities(pictures: list[NDArray[np.uint8]], model: str, label: str, reader: ScanReader) -> Field:
    """Return the probability (N,) of one label for pictures (224, 224), the gate passed over."""
    scanner = reader.model(model)
    images = np.stack([prepare(picture).image for picture in pictures])
    parts = [scanner.predict(images[start : start + BATCH]) for start in range(0, len(images), BATCH)]
    return np.concatenate(parts)[:, scanner.rule.labels.index(label)]


def draw_label(
    decoder: keras.Model,
    codes: NDArray[np.float32],
    model: str,
    label: str,
    reader: ScanReader,
    rng: np.random.Generator,
) -> list[bytes]:
    """Return drawings (PNG) from the codes (N, L) of one label that the reader reads as that label, surest first.

    Half of the tries draw new codes, half draw anew on the best of these.

    Raises
    ------
    ArtifactError
        The reader agreed with too few.
    """
    tried = rng.multivariate_normal(codes.mean(0), np.cov(codes.T) * SPREAD, TRIES // 2).astype(np.float32)
    pictures = _drawn(decoder, tried, model, label, rng)
    best = np.argsort(-_probabilities(pictures, model, label, reader))[:PARENTS]
    near = rng.normal(tried[rng.choice(best, TRIES - len(tried))], NEAR * codes.std(0)).astype(np.float32)
    pictures += _drawn(decoder, near, model, label, rng)
    kept = []
    for number in np.argsort(-_probabilities(pictures, model, label, reader))[:READ_WHOLE]:
        data = _png(pictures[number])
        if reader.read(data, model=model, demonstration=True).label == label:
            kept.append(data)
    if len(kept) < PER_LABEL:
        raise ArtifactError("Only {n} of {tries} images were read as {label}.", n=len(kept), tries=TRIES, label=label)
    return kept[:PER_LABEL]


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


def make_samples(
    data: Path, out: Path, generated: Mapping[str, Source] | None = None, seed: int = 7
) -> list[dict[str, str]]:
    """Write the demonstration scans to `out` and their rows to ``<out>.yaml``, before those of other wings.

    Parameters
    ----------
    generated : mapping, optional
        Generated images by scan model; for the others, images are drawn.
    """
    rng = np.random.default_rng(seed)
    keras.utils.set_random_seed(seed)
    reader = load_reader()
    out.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, str]] = []
    for model, labels in LABELS.items():
        source = (generated or {}).get(model)
        made = {} if source is None else {"made": "generated"}
        drawings = _drawings(model, data, reader, rng) if source is None else {}
        for label in labels:
            both = drawings[label] if source is None else chosen(source(label), model, label, reader)
            about = {"label": label, "model": model, "title": TITLES[label], **made}
            for index, (png, _) in enumerate(both, 1):
                rows.append({"file": f"{model}_{label}_{index}.png", **about})
                (out / rows[-1]["file"]).write_bytes(png)
        rows.append({"file": f"{model}_{label}.dcm", **about, "title": f"{TITLES[label]} (DICOM)"})
        (out / rows[-1]["file"]).write_bytes(both[0][1])
    page = {"file": "page_of_text.png", "label": "refused", "model": "auto", "title": "A page of text, to be refused"}
    (out / page["file"]).write_bytes(_png(document(rng)))
    rows.append(page)
    listing = out.with_suffix(".yaml")
    listed = yaml.safe_load(listing.read_text("utf-8")) or [] if listing.exists() else []
    others = [row for row in listed if row["model"] not in {*LABELS, "auto"}]
    listing.write_text(yaml.safe_dump(rows + others, sort_keys=False, allow_unicode=True))
    return rows


def _drawings(
    model: str, data: Path, reader: ScanReader, rng: np.random.Generator
) -> dict[str, list[tuple[bytes, bytes]]]:
    """Drawings by label, each as PNG and as DICOM."""
    encoder, decoder = split_autoencoder(load_model(registry.bundle("scan_gate")))
    scans = load_scans(model, data, leave_out=PUBLIC_TEST)
    codes = encoder.predict(scans.images[..., None].astype(np.float32) / 255.0, batch_size=64, verbose=0)
    found = {}
    for number, label in enumerate(LABELS[model]):
        drawn = draw_label(decoder, codes[scans.labels == number], model, label, reader, rng)
        found[label] = [(png, _dicom(np.asarray(Image.open(io.BytesIO(png))), model)) for png in drawn]
    return found
