"""The public layouts filled with drawn scans, and three bundles trained on them in seconds."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from drawn_scans import (
    BRAIN,
    BRAIN_LABELS,
    CHEST,
    SIDE,
    draw_brain,
    draw_chest,
    encode,
    keep_untrained,
    tiny_gate_recipe,
    tiny_recipe,
)
from PIL import Image
from untraced import untraced


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
        patch.setitem(train.RECIPES, BRAIN, tiny_recipe(4, bare_share=0.1))
        recipe = tiny_gate_recipe()
        patch.setattr(train_gate, "GateRecipe", lambda: recipe)
        patch.setattr(train_gate, "DRAWN_FOR_TEST", 5)
        patch.setattr(metrics, "bootstrap", partial(metrics.bootstrap, n=20))
        keep_untrained(assets / "models" / f"{BRAIN}.work", tiny_recipe(4, bare_share=0.1))
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
        made = ScanReader()
        made.prepare()  # all of it now: what is loaded later would be the bundles that ship
        return made
