from __future__ import annotations

from dataclasses import FrozenInstanceError, fields
from pathlib import Path

import pytest

from medai_core.errors import InputError
from medai_core.settings import Peer, Settings, settings

pytestmark = pytest.mark.usefixtures("fresh_settings")
VARIABLES = {f.metadata["env"]: f for f in fields(Settings)}


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


def test_defaults():
    got = settings()
    assert (got.device, got.threads, got.max_file_mb, got.max_megapixels) == ("auto", 0, 512, 100)
    assert (got.max_archive_files, got.max_archive_mb) == (5000, 2048)
    assert got.assets_dir == Path(__file__).resolve().parents[1] / "assets"
    assert settings() is got
    with pytest.raises(FrozenInstanceError):
        got.device = "cpu"


def test_each_variable_is_read(monkeypatch, tmp_path):
    given = {"int": ("7", 7), "bool": ("1", True), "str": ("Ab", "Ab")}
    special = {"MEDAI_DEVICE": ("CPU", "cpu"), "MEDAI_DICOM_PEERS": ("PACS@host:104", "PACS@host:104")}
    wanted = {}
    for name, f in VARIABLES.items():
        value, wanted[f.name] = special.get(name) or given.get(f.type, (str(tmp_path), tmp_path))
        monkeypatch.setenv(name, value)
    got = settings()
    assert {name: getattr(got, name) for name in wanted} == wanted


def test_peers_are_taken_apart(monkeypatch):
    monkeypatch.setenv("MEDAI_DICOM_PEERS", "PACS@pacs.example:104, ORTHANC@[::1]:4242")
    assert settings().peers == (Peer("PACS", "pacs.example", 104), Peer("ORTHANC", "::1", 4242))


def test_secrets_are_not_shown(monkeypatch):
    monkeypatch.setenv("MEDAI_KEY", "secret")
    monkeypatch.setenv("MEDAI_DATABASE_URL", "postgresql://user:secret@host/medai")
    assert "secret" not in repr(settings())


def test_an_empty_variable_is_an_unset_one(monkeypatch):
    monkeypatch.setenv("MEDAI_THREADS", "")
    assert settings().threads == 0


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("MEDAI_DEVICE", "tpu", "`MEDAI_DEVICE` must be one of auto, cpu, gpu, got 'tpu'"),
        ("MEDAI_THREADS", "two", "`MEDAI_THREADS` must be a whole number, got 'two'"),
        ("MEDAI_THREADS", "-1", "`MEDAI_THREADS` must be at least 0, got -1"),
        ("MEDAI_MAX_FILE_MB", "0", "`MEDAI_MAX_FILE_MB` must be at least 1, got 0"),
        ("MEDAI_OPEN", "yes", "`MEDAI_OPEN` must be 0 or 1, got 'yes'"),
        ("MEDAI_DICOM_PEERS", "PACS", "`MEDAI_DICOM_PEERS` must hold AET@host:port separated by commas, got 'PACS'"),
    ],
)
def test_errors_state_rule_name_and_value(monkeypatch, name, value, sentence):
    monkeypatch.setenv(name, value)
    with pytest.raises(InputError) as error:
        settings()
    assert str(error.value) == sentence


@pytest.mark.parametrize("name", sorted(VARIABLES))
def test_readme_documents_each_variable(name):
    readme = (Path(__file__).resolve().parents[1] / "README.md").read_text(encoding="utf-8")
    assert f"`{name}`" in readme, f"README.md must have a table row for {name}: {VARIABLES[name].metadata['meaning']}"
