"""The file a visitor is looking at, kept for the session so that changing pages does not lose it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import streamlit as st
from streamlit.runtime.memory_uploaded_file_manager import MemoryUploadedFileManager
from streamlit.runtime.scriptrunner import get_script_run_ctx

from pages.ui.queue import Upload

if TYPE_CHECKING:
    from streamlit.runtime.uploaded_file_manager import UploadedFile

    from medai_core.imaging.read import Scan
    from medai_core.imaging.reading import Reading

SCAN = "held_scan"
ROUND = "upload_round"


@dataclass(frozen=True, eq=False)
class Held:
    """An uploaded file: its name as the visitor gave it, its bytes, their SHA-256.

    Attributes
    ----------
    sample : bool
        One of the built-in samples.
    demonstration : bool
        May be read although it is marked as synthetic: a sample always, another file where the visitor says so.
    """

    name: str
    data: bytes
    digest: str
    sample: bool = False
    demonstration: bool = False

    @property
    def size(self) -> int:
        return len(self.data)


@dataclass(frozen=True, eq=False)
class Opened:
    """What the scan page shows: one frame of one file, and its reading if there is one."""

    name: str
    digest: str
    scan: Scan
    reading: Reading | None
    frame: int | None
    plane: str | None

    @property
    def read(self) -> bool:
        return self.reading is not None and self.reading.status == "read"

    @property
    def key(self) -> tuple[object, ...]:
        """What results about this reading are cached under."""
        model = (self.reading.model, self.reading.version) if self.reading else ()
        return self.digest, self.frame, self.plane, *model


def hold(name: str, data: bytes, sample: bool = False) -> Held:
    """Keep a file for the scan page, replacing the one before."""
    held = Held(name, data, hashlib.sha256(data).hexdigest(), sample, demonstration=sample)
    st.session_state[SCAN] = held
    return held


def held_scan() -> Held | None:
    """Return the file of the scan page."""
    return st.session_state.get(SCAN)


def open_as_demonstration() -> None:
    """Let the file of the scan page be read although it is marked as synthetic."""
    st.session_state[SCAN] = replace(st.session_state[SCAN], demonstration=True)


def let_go() -> None:
    """Forget the file, its results and the uploader's copy of it."""
    from pages.ui import loaders

    held = st.session_state.pop(SCAN, None)
    st.session_state[ROUND] = st.session_state.get(ROUND, 0) + 1
    if held is not None:
        loaders.forget()


def uploader_key(name: str) -> str:
    """Return a widget key that changes when the file is let go, which empties the uploader."""
    return f"{name}_{st.session_state.get(ROUND, 0)}"


def take(files: Sequence[UploadedFile]) -> list[Upload]:
    """Return what was dropped into an uploader, and drop Streamlit's own copies.

    It would keep them as long as the page is open in the browser, also when the uploader is empty again: at a desk
    where studies are added all day, all of them.
    """
    here = get_script_run_ctx()
    taken = [Upload(file.name, file.getvalue()) for file in files]
    if here is not None and isinstance(here.uploaded_file_mgr, MemoryUploadedFileManager):
        for file in files:
            here.uploaded_file_mgr.remove_file(here.session_id, file.file_id)
    return taken
