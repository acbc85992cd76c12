"""The models, loaded once for everyone, and results cached for one visitor.

Results are keyed on the SHA-256 of the bytes with the model's id and version: Streamlit samples large
arrays when it hashes them, so a small edit could otherwise return a stale result.
"""

from __future__ import annotations

import gc
import logging
import sys
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import streamlit as st
from PIL import Image

from medai_core.errors import ArtifactError, InputError, MedAIError

if TYPE_CHECKING:
    from medai_core.artifacts import Bundle
    from medai_core.imaging.explain import Explanation
    from medai_core.imaging.read import Scan
    from medai_core.imaging.reader import ScanReader
    from medai_core.imaging.reading import Reading

READING_MODELS = ("chest_xray", "brain_mri")
SETTLE_SECONDS = 120.0
KEEP = {"ttl": "2h", "scope": "session", "show_spinner": False}
log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Loading:
    """The reader on its way, and after it what later visitors would otherwise wait for."""

    future: Future[ScanReader]
    warmed: Future[None]


def load() -> ScanReader:
    """Load the reader with its gate: about four seconds, TensorFlow's import included.

    Raises
    ------
    ArtifactError
        If a bundle is not usable, or, with the reason in the log, if anything else went wrong.
    """
    try:
        from medai_core import runtime
        from medai_core.imaging.reader import load_reader

        runtime.configure()
        keep_keras()
        found = load_reader(whole=False)
        settle()
        return found
    except MedAIError:
        raise
    except Exception as error:
        log.exception("the scan models could not be loaded")
        raise ArtifactError("The models could not be loaded; the log of the server says why.") from error


def keep_keras() -> None:
    """Keep Streamlit from clearing what Keras holds for all threads.

    It does so after every run of a page, whatever other visitors compute or load just then, drops the compiled kernels,
    and collects garbage once more.
    """
    import keras

    keras.backend.clear_session = lambda free_memory=True: None


def settle() -> None:
    """Take what was loaded out of garbage collection; what was taken out before and is not needed any more, goes.

    Streamlit collects after every run of a page; to walk through TensorFlow's half a million objects takes a fifth of
    a second each time, in which nothing else runs.
    """
    global _settled
    with _settling:
        gc.unfreeze()
        gc.collect()
        gc.freeze()
        _settled = len(sys.modules), time.monotonic()


_settling = threading.Lock()
_settled = 0, 0.0


def tidy() -> None:
    """Settle again after a page has loaded more libraries, which stay, and now and then: visitors leave."""
    modules, at = _settled
    if loading().warmed.done() and (len(sys.modules) > modules or time.monotonic() - at > SETTLE_SECONDS):
        settle()


def warm(ready: ScanReader) -> None:
    """Load both scan networks and what explains them: nobody waits for it, so a failure is only logged."""
    try:
        ready.prepare(explanations=True)
        import shap  # noqa: F401  seconds, which the first explanation by SHAP would wait

        settle()
    except Exception:
        log.exception("the scan models could not be warmed")


@st.cache_resource(show_spinner=False)
def loading() -> Loading:
    """Start loading in the background, so that the first page does not wait for TensorFlow."""
    worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="medai-models")
    future = worker.submit(load)
    warmed = worker.submit(lambda: warm(future.result()))
    worker.shutdown(wait=False)
    return Loading(future, warmed)


def reader() -> ScanReader:
    """Return the reader, waiting for it if need be; a failed load is tried again next time."""
    future = loading().future
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
    future = loading().future
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


# Kept as they are, where `cache_data` would copy a large picture on every rerun: the last two of a visitor.
@st.cache_resource(max_entries=2, **KEEP)
def scan(digest: str, _data: bytes, frame: int | None, plane: str | None) -> Scan:
    """Return the decoded scan; ask for what :func:`layout` gives by itself with None, or it is decoded twice."""
    from medai_core.imaging.read import read_scan

    return read_scan(_data, frame=frame, plane=plane)


class Layout(NamedTuple):
    """What there is to choose from in a file, and what is shown first."""

    planes: tuple[str, ...]
    plane: str | None
    frames: int
    frame: int


@st.cache_data(max_entries=64, **KEEP)
def layout(digest: str, _data: bytes, plane: str | None) -> Layout:
    """Return planes and frames of a file along one plane, None for the file's own."""
    found = scan(digest, _data, None, plane)
    return Layout(found.planes, found.plane, found.frames, found.frame)


def reading(
    digest: str, data: bytes, model: str, frame: int | None, plane: str | None, demonstration: bool = False
) -> Reading:
    """Return the reading of one frame of one file; of one that is marked as synthetic only as a demonstration."""
    return _reading(digest, data, model, versions(model), frame, plane, demonstration)


@st.cache_data(max_entries=64, **KEEP)
def _reading(
    digest: str,
    _data: bytes,
    model: str,
    versions: tuple[str, ...],
    frame: int | None,
    plane: str | None,
    demonstration: bool,
) -> Reading:
    return reader().read(_data, model=model, frame=frame, plane=plane, demonstration=demonstration)


@st.cache_data(max_entries=64, **KEEP)
def explanation(key: tuple[Any, ...], method: str, label: str, _reading: Reading) -> Explanation:
    """Return the heat map of one reading; ``key`` names file, frame, plane, model and version."""
    return reader().explain(_reading, method=method, label=label)


def is_archive(data: bytes) -> bool:
    """Whether the bytes are a ZIP; their name does not matter."""
    from medai_core.imaging.read import sniff

    return sniff(data) == "ZIP"


@st.cache_data(max_entries=16, **KEEP)
def archive_members(digest: str, name: str, _data: bytes) -> list[tuple[int, str]]:
    """Return place and name of the readable files in a ZIP; names may repeat, places do not.

    Raises
    ------
    InputError
        Where nothing in it can be read, why the first file cannot.
    """
    from medai_core.imaging.read import unpack

    usable, first_error = [], None
    for place, member in enumerate(unpack(_data, name)):  # one in memory at a time
        if member.error is None:
            usable.append((place, member.name))
        first_error = first_error or member.error
    if not usable:
        raise first_error or InputError("The archive {name} holds no file that can be read.", name=name)
    return usable


@st.cache_resource(max_entries=2, **KEEP)
def member_data(digest: str, name: str, _data: bytes, place: int) -> bytes:
    """Return the bytes of the file at one place of a ZIP."""
    from medai_core.imaging.read import unpack

    found = next(islice(unpack(_data, name), place, None))
    if found.error is not None:
        raise found.error
    return found.data


def forget() -> None:
    """Drop what is cached of this visitor's scans."""
    from pages.ui import viewer  # which needs this module

    for cached in (scan, layout, _reading, explanation, archive_members, member_data):
        cached.clear()
    viewer.forget()


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
