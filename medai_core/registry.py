"""The one table of shipped models. A new model is a folder in ``assets/models`` and a row here."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from medai_core.artifacts import Bundle, read_bundle
from medai_core.errors import ArtifactError, InputError, Message, say
from medai_core.settings import settings

PINNED = Path(__file__).with_name("digests.json")
_lock = threading.Lock()


@dataclass(frozen=True)
class Entry:
    """A row of the table.

    Attributes
    ----------
    id : str
        Folder under ``assets/models``, and the name on the command line.
    task : str
        ``classification``, ``gate``, ``risk``, ``forecast``, ``generator``, ``restoration``, ``table`` or
        ``treatment``.
    wing : str
        The sub-package that runs it.
    title : Message
        For people.
    """

    id: str
    task: str
    wing: str
    title: Message

    @property
    def digest(self) -> str | None:
        """Pinned SHA-256 of the bundle; None while the model was never pinned."""
        return _pinned().get(self.id)

    @property
    def path(self) -> Path:
        return settings().assets_dir / "models" / self.id


MODELS: dict[str, Entry] = {
    entry.id: entry
    for entry in (
        Entry("chest_xray", "classification", "imaging", say("Chest radiograph")),
        Entry("brain_mri", "classification", "imaging", say("Brain MRI slice")),
        Entry("scan_gate", "gate", "imaging", say("Scan gate")),
        Entry("icu_mortality", "risk", "icu", say("Intensive care: death in hospital")),
        Entry("icu_forecast", "forecast", "icu", say("Intensive care: the coming hours")),
        Entry("chest_xray_gan", "generator", "synthesis", say("Generator of chest radiographs")),
        Entry("brain_mri_gan", "generator", "synthesis", say("Generator of brain MRI slices")),
        Entry("chest_xray_restorer", "restoration", "synthesis", say("Restorer of chest radiographs")),
        Entry("breast_cancer", "table", "tabular", say("Breast mass: benign or malignant")),
        Entry("actg175", "treatment", "tabular", say("HIV trial ACTG 175: treatments compared")),
    )
}


def available() -> list[str]:
    """Ids of the registered models whose folder is here, in the order of the table."""
    return [entry.id for entry in MODELS.values() if entry.path.is_dir()]


def bundle(model_id: str) -> Bundle:
    """The bundle of a registered model, verified on first use; needs no network library.

    Raises
    ------
    InputError
        If no model has this id.
    ArtifactError
        If the bundle is not here, not pinned, or not the pinned one.
    """
    if model_id not in MODELS:
        raise InputError("`model` must be one of {known}, got {name}", known=", ".join(MODELS), name=repr(model_id))
    entry = MODELS[model_id]
    if not entry.path.is_dir():
        raise ArtifactError("The model {model} is not installed: its folder is missing from the assets", model=model_id)
    if entry.digest is None:
        raise ArtifactError("The model {model} has no pinned digest, so it cannot be trusted", model=model_id)
    with _lock:
        return _verified(entry.id, entry.path, entry.digest)


@cache
def _verified(model_id: str, path: Path, digest: str) -> Bundle:
    found = read_bundle(path, digest)
    if found.id != model_id:
        raise ArtifactError(
            "The bundle in the folder of {model} must have that id, got {found}", model=model_id, found=found.id
        )
    return found


@cache
def _pinned() -> dict[str, str]:
    return json.loads(PINNED.read_text(encoding="utf-8"))


def pin(model_id: str, digest: str) -> None:
    """Make ``digest`` the one a model's bundle must have, by rewriting its line in ``digests.json``."""
    if model_id not in MODELS:
        raise InputError("`model` must be one of {known}, got {name}", known=", ".join(MODELS), name=repr(model_id))
    if len(digest) != 64 or not set(digest) <= set("0123456789abcdef"):
        raise InputError("`digest` must be 64 hexadecimal digits in lower case, got {digest}", digest=repr(digest))
    with _lock:
        digests = json.loads(PINNED.read_text(encoding="utf-8")) | {model_id: digest}
        PINNED.write_text(json.dumps(digests, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        _pinned.cache_clear()
