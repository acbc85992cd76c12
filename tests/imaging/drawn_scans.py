"""Drawn scans and tiny recipes that stand in for the public images and the shipped training.

Nothing here is anyone's picture: a "chest" is two dark ovals in a grey trunk, a "brain" a bright shell on black.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image

SIDE = 224
CHEST, BRAIN = "chest_xray", "brain_mri"
BRAIN_LABELS = ("glioma", "meningioma", "notumor", "pituitary")


# ------------------------------------------------------------------------------------------------ drawings


def _oval(side: int, x: float, y: float, wide: float, high: float) -> np.ndarray:
    """Soft oval (side, side) in [0, 1]; centre and radii as shares of the side."""
    across, down = np.meshgrid((np.arange(side) + 0.5) / side, (np.arange(side) + 0.5) / side)
    return 1 / (1 + np.exp(12 * (np.hypot((across - x) / wide, (down - y) / high) - 1)))


def draw_chest(label: int, seed: int, side: int = SIDE) -> np.ndarray:
    """A trunk with two dark lungs, (side, side) uint8; 1 a bright patch in one lung, 2 both lungs hazy."""
    rng = np.random.default_rng(seed)
    shift = rng.uniform(-0.02, 0.02)
    field = 0.1 + 0.6 * _oval(side, 0.5 + shift, 0.55, 0.46, 0.6)
    lungs = _oval(side, 0.3 + shift, 0.5, 0.14, 0.3) + _oval(side, 0.7 + shift, 0.5, 0.14, 0.3)
    field -= (0.5, 0.5, 0.25)[label] * lungs
    if label == 1:
        field += 0.45 * _oval(side, 0.3 + shift, rng.uniform(0.5, 0.65), 0.1, 0.1)
    field += 0.04 * np.sin(np.arange(side) / side * 60 + rng.uniform(0, 6))[:, None]
    return _noisy(field * rng.uniform(0.85, 1.1), rng)


def draw_brain(label: int, seed: int, side: int = SIDE) -> np.ndarray:
    """A bright shell on black, (side, side) uint8, with a bright tumour where its label has it (none for 2)."""
    rng = np.random.default_rng(seed)
    x, y, size = 0.5 + rng.uniform(-0.05, 0.05), 0.5 + rng.uniform(-0.05, 0.05), rng.uniform(0.28, 0.36)
    field = 0.8 * _oval(side, x, y, size, size * 1.25) - 0.55 * _oval(side, x, y, size * 0.85, size * 1.08)
    for _ in range(8):
        field += 0.25 * _oval(side, *rng.uniform(0.25, 0.75, 2), 0.05, 0.04)
    if label != BRAIN_LABELS.index("notumor"):
        at = {0: (0.42, 0.4), 1: (0.66, 0.4), 3: (0.5, 0.66)}[label]
        field += 0.5 * _oval(side, *at, 0.07, 0.07)
    return _noisy(field, rng)


def _noisy(field: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.round(255 * np.clip(field + rng.normal(0, 0.01, field.shape), 0, 1)).astype(np.uint8)


def encode(pixels: np.ndarray, kind: str = "JPEG", **options: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **({"quality": 95} if kind == "JPEG" else {}) | options)
    return file.getvalue()


def dicom(pixels: np.ndarray | None, **elements: object) -> bytes:
    """An 8-bit MONOCHROME2 file (without an image for None) with the given elements, such as ``Modality="CR"``."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid

    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID = SecondaryCaptureImageStorage
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID = generate_uid()
    if pixels is not None:
        ds.Rows, ds.Columns = pixels.shape
        ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PixelRepresentation = 1, "MONOCHROME2", 0
        ds.BitsAllocated, ds.BitsStored, ds.HighBit = 8, 8, 7
        ds.WindowCenter, ds.WindowWidth = 128, 256
        ds.PixelData = pixels.tobytes()
    for keyword, value in elements.items():
        setattr(ds, keyword, value)
    file = io.BytesIO()
    ds.save_as(file, enforce_file_format=True)
    return file.getvalue()


# ------------------------------------------------------------------------------------------- tiny training


def tiny_recipe(classes: int, **changes: object):
    """Two members of one block, one epoch."""
    from medai_core.imaging.network import NetworkConfig
    from medai_core.imaging.train import Recipe

    settings = {"epochs": 1, "members": 2, "batch": 8, "test_share": 0.25, "precision": "float32", **changes}
    network = NetworkConfig(classes, stem=(4, 7, 8), blocks=((8, 2),))
    return Recipe(network, shares=(1 / classes,) * classes, **settings)


def tiny_gate_recipe(**changes: object):
    from medai_core.imaging.train_gate import GateRecipe

    settings = {"epochs": 3, "autoencoder_epochs": 1, "batch": 16, "steps": 8, "drawn": 8, "strength": 0.2}
    return GateRecipe(**settings | changes)


def keep_untrained(work: Path, recipe) -> None:
    """Leave weights as an earlier run would have, so that nothing is trained."""
    import keras

    from medai_core.imaging.network import build_baseline, build_member

    work.mkdir(parents=True)
    keras.utils.set_random_seed(5)
    for number in range(recipe.members):
        build_member(recipe.network, f"member_{number}").save_weights(work / f"member_{number}.weights.h5")
    build_baseline(recipe.network.classes).save_weights(work / "baseline.weights.h5")
