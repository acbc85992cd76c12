"""Drawn scans in the public layouts, and the three bundles trained on them in seconds.

Nothing here is anyone's picture: a "chest" is two dark ovals in a grey trunk, a "brain" a bright shell on black.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pytest
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
    for _ in range(4):
        field += 0.15 * _oval(side, *rng.uniform(0.3, 0.7, 2), 0.05, 0.03)
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


def dicom(pixels: np.ndarray, **elements: object) -> bytes:
    """An 8-bit MONOCHROME2 file with the given elements, such as ``Modality="CR"``."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid

    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID = SecondaryCaptureImageStorage
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID = generate_uid()
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


# ------------------------------------------------------------------------------------------------- folders


def _write(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode(pixels))


@pytest.fixture(scope="session")
def public(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("public")


@pytest.fixture(scope="session")
def chest_folder(public: Path) -> Path:
    """64 radiographs of 48 patients: normal studies in both numberings, persons with one label or both."""
    folder, seed = public / "chest", iter(range(1000))
    for study in range(115, 127):
        _write(folder / f"train/NORMAL/IM-0{study}-0001.jpeg", draw_chest(0, next(seed)))
        _write(folder / f"train/NORMAL/NORMAL2-IM-0{study}-0001.jpeg", draw_chest(0, next(seed)))
    for person in range(1, 17):
        for number in range(2):
            label, name = ((1, "bacteria"), (2, "virus"))[person % 2 if person < 15 else number]
            path = folder / f"train/PNEUMONIA/person{person}_{name}_{3 * person + number}.jpeg"
            _write(path, draw_chest(label, next(seed)))
    for number in range(8):
        _write(folder / f"val/NORMAL/NORMAL2-IM-{1427 + number}-0001-0002.jpeg", draw_chest(0, next(seed)))
    (folder / "train/NORMAL/notes.txt").write_text("no image, and not named like one")
    (folder / "train/PNEUMONIA/.person9_virus_1.jpeg").write_text("left by a file manager")
    return folder


@pytest.fixture(scope="session")
def brain_folder(public: Path) -> Path:
    """72 slices, 18 of each label; the last two of a label are near-copies of its first, one down a chain."""
    folder, seed = public / "brain", iter(range(5000, 9000))
    for label, name in enumerate(BRAIN_LABELS):
        drawn = [draw_brain(label, next(seed)) for _ in range(16)]
        brighter = np.clip(drawn[0].astype(int) + 6, 0, 255).astype(np.uint8)
        drawn += [brighter, np.asarray(Image.fromarray(brighter).resize((200, 200)).resize((SIDE, SIDE)))]
        for number, pixels in enumerate(drawn):
            _write(folder / f"Training/{name}/Tr-{name[:2]}_{number:04}.jpg", pixels)
    return folder


@pytest.fixture(scope="session")
def chest_scans(chest_folder: Path):
    from medai_core.imaging.dataset import load_scans

    return load_scans(CHEST, chest_folder)


@pytest.fixture(scope="session")
def brain_scans(brain_folder: Path):
    from medai_core.imaging.dataset import load_scans

    return load_scans(BRAIN, brain_folder)


# ------------------------------------------------------------------------------------------------ training


def tiny_recipe(classes: int, **changes: object):
    """Two members of one block, one epoch."""
    from medai_core.imaging.network import NetworkConfig
    from medai_core.imaging.train import Recipe

    settings = {"epochs": 1, "members": 2, "batch": 8, "test_share": 0.25, "precision": "float32", **changes}
    network = NetworkConfig(classes, stem=(4, 7, 8), blocks=((8, 2),))
    return Recipe(network, shares=(1 / classes,) * classes, **settings)


def tiny_gate_recipe(**changes: object):
    from medai_core.imaging.train_gate import GateRecipe

    settings = {"epochs": 3, "autoencoder_epochs": 1, "batch": 32, "steps": 10, "drawn": 12, "strength": 0.2}
    return GateRecipe(**settings | changes)


@contextmanager
def untraced() -> Iterator[None]:
    """Train step by step: for a handful of steps, tracing and compiling costs ten times the work itself."""
    import tensorflow as tf

    before = tf.config.functions_run_eagerly()
    tf.config.run_functions_eagerly(True)
    try:
        yield
    finally:
        tf.config.run_functions_eagerly(before)


def keep_untrained(work: Path, recipe) -> None:
    """Leave weights as an earlier run would have, so that nothing is trained."""
    import keras

    from medai_core.imaging.network import build_baseline, build_member

    work.mkdir(parents=True)
    keras.utils.set_random_seed(5)
    for number in range(recipe.members):
        build_member(recipe.network, f"member_{number}").save_weights(work / f"member_{number}.weights.h5")
    build_baseline(recipe.network.classes).save_weights(work / "baseline.weights.h5")


@dataclass(frozen=True)
class Trained:
    """Folder of assets with three bundles, the digests to pin, and what training reported."""

    assets: Path
    pinned: Path
    progress: list[dict[str, object]]


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, public: Path, chest_folder: Path, brain_folder: Path) -> Trained:
    """All three models trained end to end by the functions behind ``python -m medai_core train``."""
    from medai_core import metrics
    from medai_core.imaging import train, train_bundle, train_gate

    assets = tmp_path_factory.mktemp("assets")
    progress: list[dict[str, object]] = []
    with pytest.MonkeyPatch.context() as patch, untraced():
        patch.setitem(train.RECIPES, CHEST, tiny_recipe(3))
        patch.setitem(train.RECIPES, BRAIN, tiny_recipe(4))
        recipe = tiny_gate_recipe()
        patch.setattr(train_gate, "GateRecipe", lambda: recipe)
        patch.setattr(train_gate, "DRAWN_FOR_TEST", 8)
        patch.setattr(metrics, "bootstrap", partial(metrics.bootstrap, n=20))
        keep_untrained(assets / "models" / f"{BRAIN}.work", tiny_recipe(4))
        bundles = [
            train_bundle.train_scan_model(CHEST, chest_folder, assets / "models" / CHEST, progress.append),
            train_bundle.train_scan_model(BRAIN, brain_folder, assets / "models" / BRAIN, progress.append),
            train_gate.train_gate(public, assets / "models" / "scan_gate", progress.append),
        ]
    pinned = assets / "digests.json"
    pinned.write_text(json.dumps({bundle.id: bundle.digest for bundle in bundles}))
    return Trained(assets, pinned, progress)


@contextmanager
def _registry_of(trained: Trained) -> Iterator[None]:
    from medai_core import registry
    from medai_core.settings import settings

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MEDAI_ASSETS", str(trained.assets))
        patch.setattr(registry, "PINNED", trained.pinned)
        settings.cache_clear()
        registry._pinned.cache_clear()
        try:
            yield
        finally:
            patch.undo()
            settings.cache_clear()
            registry._pinned.cache_clear()


@pytest.fixture
def shipped(trained: Trained) -> Iterator[None]:
    """The registry as if the tiny bundles were the shipped ones."""
    with _registry_of(trained):
        yield


@pytest.fixture(scope="session")
def reader(trained: Trained):
    """A reader of the tiny bundles."""
    from medai_core.imaging.reader import ScanReader

    with _registry_of(trained):
        return ScanReader()
