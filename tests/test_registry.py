from __future__ import annotations

import json
import subprocess
import sys

import pytest

from medai_core import artifacts, registry
from medai_core.errors import ArtifactError, InputError, Message
from medai_core.settings import settings

WINGS = {
    "icu_mortality": "icu",
    "icu_forecast": "icu",
    "chest_xray_gan": "synthesis",
    "brain_mri_gan": "synthesis",
    "chest_xray_restorer": "synthesis",
    "breast_cancer": "tabular",
    "actg175": "tabular",
}
DIGEST = "0123456789abcdef" * 4


@pytest.fixture
def pins(tmp_path, monkeypatch):
    """A private ``digests.json`` in place of the shipped one."""
    path = tmp_path / "digests.json"
    path.write_text("{}\n")
    monkeypatch.setattr(registry, "PINNED", path)
    registry._pinned.cache_clear()
    yield path
    registry._pinned.cache_clear()


@pytest.fixture
def assets(tmp_path, monkeypatch, fresh_settings):
    """An assets folder that holds only an unpinned ``scan_gate``."""
    folder = tmp_path / "assets"
    (folder / "models").mkdir(parents=True)
    monkeypatch.setenv("MEDAI_ASSETS", str(folder))
    settings.cache_clear()
    return folder


@pytest.fixture
def gate(assets, pins, tiny_model) -> artifacts.Bundle:
    card = {"id": "scan_gate", "version": "1"}
    return artifacts.save_bundle(assets / "models" / "scan_gate", tiny_model, card, {}, {})


def test_table():
    assert list(registry.MODELS) == ["chest_xray", "brain_mri", "scan_gate", *WINGS]
    for model_id, entry in registry.MODELS.items():
        wing = WINGS.get(model_id, "imaging")
        assert (entry.id, entry.wing, isinstance(entry.title, Message)) == (model_id, wing, True)


@pytest.mark.parametrize("model_id", registry.MODELS)
def test_shipped_bundle(model_id):
    if model_id not in registry.available():
        pytest.skip(f"the bundle of {model_id} is not trained yet")
    found = registry.bundle(model_id)
    assert found.digest == registry.MODELS[model_id].digest
    assert found.size_mb <= artifacts.MAX_BUNDLE_MB
    assert registry.bundle(model_id) is found


def test_pins_are_of_registered_models():
    pinned = json.loads(registry.PINNED.read_text())
    assert set(pinned) <= set(registry.MODELS)
    assert all(len(digest) == 64 for digest in pinned.values())


def test_pinning_changes_one_line(pins):
    registry.pin("scan_gate", DIGEST)
    registry.pin("chest_xray", DIGEST)
    before = pins.read_text().splitlines()
    registry.pin("chest_xray", DIGEST[::-1])
    after = pins.read_text().splitlines()
    assert sum(a != b for a, b in zip(before, after, strict=True)) == 1
    assert registry.MODELS["chest_xray"].digest == DIGEST[::-1]
    assert registry.MODELS["scan_gate"].digest == DIGEST
    assert registry.MODELS["brain_mri"].digest is None


@pytest.mark.parametrize(
    ("model_id", "digest"),
    [("cat", DIGEST), ("scan_gate", "abc"), ("scan_gate", DIGEST.upper()), ("scan_gate", "g" * 64)],
)
def test_impossible_pins_are_refused(pins, model_id, digest):
    with pytest.raises(InputError, match="must be"):
        registry.pin(model_id, digest)
    assert pins.read_text() == "{}\n"


def test_a_pinned_bundle_is_read_once(gate):
    registry.pin("scan_gate", gate.digest)
    assert registry.available() == ["scan_gate"]
    found = registry.bundle("scan_gate")
    assert (found.id, found.digest) == ("scan_gate", gate.digest)
    assert registry.bundle("scan_gate") is found


def test_an_unpinned_bundle_is_refused(gate):
    with pytest.raises(ArtifactError, match="scan_gate has no pinned digest"):
        registry.bundle("scan_gate")


def test_another_than_the_pinned_bundle_is_refused_until_pinned(gate):
    registry.pin("scan_gate", DIGEST)
    with pytest.raises(ArtifactError, match="is not the pinned one"):
        registry.bundle("scan_gate")
    registry.pin("scan_gate", gate.digest)
    assert registry.bundle("scan_gate").digest == gate.digest


def test_a_bundle_in_the_wrong_folder_is_refused(gate):
    gate.path.rename(gate.path.with_name("brain_mri"))
    registry.pin("brain_mri", gate.digest)
    with pytest.raises(ArtifactError, match="folder of brain_mri must have that id, got scan_gate"):
        registry.bundle("brain_mri")


def test_absent_and_unknown_models_are_told_apart(assets):
    assert registry.available() == []
    with pytest.raises(ArtifactError, match="The model chest_xray is not installed"):
        registry.bundle("chest_xray")
    with pytest.raises(InputError, match=f"must be one of {', '.join(registry.MODELS)}, got 'cat'"):
        registry.bundle("cat")


def test_reading_metadata_needs_no_network_library(gate):
    registry.pin("scan_gate", gate.digest)
    program = (
        "import sys, pathlib; from medai_core import registry;"
        f"registry.PINNED = pathlib.Path({str(registry.PINNED)!r});"
        "assert registry.bundle('scan_gate').version == '1';"
        "assert not {'tensorflow', 'keras'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
