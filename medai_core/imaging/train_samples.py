"""Synthetic scans for demonstrations: decoded by the gate's autoencoder, nobody's picture.

Per label a Gaussian is fitted to the codes of the training images; a drawn code is decoded, enlarged, and
kept when the shipped reader reads it with the intended label. Soft, as autoencoders draw, and marked as
synthetic in the file's own metadata.
"""

from __future__ import annotations

import io
from pathlib import Path

import keras
import numpy as np
import yaml
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin

from medai_core import registry
from medai_core.artifacts import load_model
from medai_core.errors import ArtifactError
from medai_core.imaging.counterexamples import document
from medai_core.imaging.dataset import LABELS, PUBLIC_TEST, load_scans
from medai_core.imaging.prepare import VIA
from medai_core.imaging.reader import ScanReader, load_reader

PER_LABEL = 2
TRIES = 200
SPREAD = 0.8
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


def draw_label(
    decoder: keras.Model,
    codes: NDArray[np.float32],
    model: str,
    label: str,
    reader: ScanReader,
    rng: np.random.Generator,
) -> list[bytes]:
    """Return pictures (PNG) drawn from the codes (N, L) of one label that the reader reads as that label.

    Raises
    ------
    ArtifactError
        The reader agreed with too few.
    """
    drawn = rng.multivariate_normal(codes.mean(0), np.cov(codes.T) * SPREAD, TRIES).astype(np.float32)
    kept = []
    for picture in decoder.predict(drawn, verbose=0)[..., 0]:
        data = _png(_enlarged(picture))
        reading = reader.read(data, model=model)
        if reading.label == label:
            kept.append((reading.probabilities[label], data))
    if len(kept) < PER_LABEL:
        raise ArtifactError(
            "Only {n} of {tries} drawn images were read as {label}.", n=len(kept), tries=TRIES, label=label
        )
    kept.sort(key=lambda pair: -pair[0])
    return [data for _, data in kept[:PER_LABEL]]


def make_samples(data: Path, out: Path, seed: int = 7) -> list[dict[str, str]]:
    """Write the demonstration scans to `out` and their rows to ``<out>.yaml``, before those of other wings."""
    rng = np.random.default_rng(seed)
    keras.utils.set_random_seed(seed)
    reader = load_reader()
    encoder, decoder = split_autoencoder(load_model(registry.bundle("scan_gate")))
    out.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, str]] = []

    def keep(name: str, content: bytes, **row: str) -> None:
        (out / name).write_bytes(content)
        rows.append({"file": name, **row})

    for model, labels in LABELS.items():
        scans = load_scans(model, data, leave_out=PUBLIC_TEST)
        codes = encoder.predict(scans.images[..., None].astype(np.float32) / 255.0, batch_size=64, verbose=0)
        for number, label in enumerate(labels):
            pictures = draw_label(decoder, codes[scans.labels == number], model, label, reader, rng)
            for index, content in enumerate(pictures, 1):
                keep(f"{model}_{label}_{index}.png", content, label=label, model=model, title=TITLES[label])
        pixels = np.asarray(Image.open(io.BytesIO(pictures[0])))
        keep(f"{model}_{label}.dcm", _dicom(pixels, model), label=label, model=model, title=f"{TITLES[label]} (DICOM)")
    keep("page_of_text.png", _png(document(rng)), label="refused", model="auto", title="A page of text, to be refused")
    listing = out.with_suffix(".yaml")
    listed = yaml.safe_load(listing.read_text("utf-8")) or [] if listing.exists() else []
    others = [row for row in listed if row["model"] not in {*LABELS, "auto"}]
    listing.write_text(yaml.safe_dump(rows + others, sort_keys=False, allow_unicode=True))
    return rows
