"""The models, loaded once for everyone, and results cached for one visitor.

Results are keyed on the SHA-256 of the bytes with the model's id and version: Streamlit samples large
arrays when it hashes them, so a small edit could otherwise return a stale result.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import streamlit as st
from PIL import Image

from medai_core.errors import ArtifactError, InputError

if TYPE_CHECKING:
    from medai_core.artifacts import Bundle
    from medai_core.imaging.explain import Explanation
    from medai_core.imaging.read import Scan
    from medai_core.imaging.reader import ScanReader
    from medai_core.imaging.reading import Reading

READING_MODELS = ("chest_xray", "brain_mri")
KEEP = {"ttl": "2h", "scope": "session", "show_spinner": False}


def load() -> ScanReader:
    """Load and warm the reader: about five seconds, TensorFlow's import included."""
    from medai_core.imaging.reader import load_reader

    return load_reader()


@st.cache_resource(show_spinner=False)
def loading() -> Future[ScanReader]:
    """Start loading in the background, so that the first page does not wait for TensorFlow."""
    worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="medai-models")
    future = worker.submit(load)
    worker.shutdown(wait=False)
    return future


def reader() -> ScanReader:
    """Return the reader, waiting for it if need be; a failed load is tried again next time."""
    future = loading()
    if not future.done():
        with st.spinner(_spinner()):
            future.exception()
    if future.exception() is not None:
        loading.clear()
    return future.result()


def _spinner() -> str:
    from pages.ui.language import _

    return _("Loading the models, once, for a few seconds")


def reader_state() -> str:
    """Return ``loading``, ``ready`` or ``failed`` without waiting."""
    future = loading()
    if not future.done():
        return "loading"
    return "failed" if future.exception() else "ready"


def bundle(model: str) -> Bundle | ArtifactError:
    """Return a model's bundle, or what is wrong with it."""
    from medai_core import registry

    try:
        return registry.bundle(model)
    except ArtifactError as error:
        return error


def model_ids() -> list[str]:
    """Return the ids of the shipped models that read scans, then the others."""
    from medai_core import registry

    return sorted(registry.MODELS, key=lambda m: (m not in READING_MODELS, m != "chest_xray", m))


def version(model: str) -> str:
    """Return a model's version for cache keys; an empty string when its bundle is not usable."""
    found = bundle(model)
    return "" if isinstance(found, ArtifactError) else f"{found.version}:{found.digest[:12]}"


def versions(model: str) -> tuple[str, ...]:
    """Return the versions that a reading with this choice of model depends on."""
    from medai_core import registry

    wanted = READING_MODELS if model == "auto" else (model,)
    gates = tuple(m for m in registry.MODELS if m not in READING_MODELS)
    return tuple(version(m) for m in (*wanted, *gates))


@st.cache_data(max_entries=4, **KEEP)
def scan(digest: str, _data: bytes, frame: int | None, plane: str | None) -> Scan:
    """Return the decoded scan."""
    from medai_core.imaging.read import read_scan

    return read_scan(_data, frame=frame, plane=plane)


def reading(digest: str, data: bytes, model: str, frame: int | None, plane: str | None) -> Reading:
    """Return the reading of one frame of one file."""
    return _reading(digest, data, model, versions(model), frame, plane)


@st.cache_data(max_entries=64, **KEEP)
def _reading(
    digest: str, _data: bytes, model: str, versions: tuple[str, ...], frame: int | None, plane: str | None
) -> Reading:
    return reader().read(_data, model=model, frame=frame, plane=plane)


@st.cache_data(max_entries=64, **KEEP)
def explanation(key: tuple[Any, ...], method: str, label: str, _reading: Reading) -> Explanation:
    """Return the heat map of one reading; ``key`` names file, frame, plane, model and version."""
    return reader().explain(_reading, method=method, label=label)


@st.cache_data(max_entries=16, **KEEP)
def archive_members(digest: str, name: str, _data: bytes) -> list[str]:
    """Return the names of the readable files in a ZIP, or the name itself when it is no ZIP."""
    from medai_core.imaging.read import unpack

    members = list(unpack(_data, name))
    usable = [member.name for member in members if member.error is None]
    if not usable and members:
        raise members[0].error
    return usable


def member_data(name: str, data: bytes, member: str) -> bytes:
    """Return the bytes of one member of a ZIP."""
    from medai_core.imaging.read import unpack

    for found in unpack(data, name):
        if found.name == member and found.error is None:
            return found.data
    raise InputError("The archive {name} holds no file {member}.", name=name, member=member)


@st.cache_data(max_entries=64, show_spinner=False)
def thumbnail(path: str) -> np.ndarray:
    """Return a shipped sample as a small picture (224, 224); samples are no one's, so all visitors share it."""
    from medai_core.imaging.read import read_scan

    small = Image.fromarray(read_scan(Path(path).read_bytes()).display)
    return np.asarray(small.resize((224, 224), Image.Resampling.BILINEAR))


def device() -> str:
    """Return the device the models run on; call it only once the reader is ready."""
    from medai_core.runtime import device_name

    return device_name()
