"""The worker that lets the models read what has arrived, started once in this process."""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from itertools import groupby
from typing import TYPE_CHECKING

import streamlit as st

from medai_core.errors import MedAIError
from pages.ui import icu_loaders, loaders
from pages.ui.samples import samples

if TYPE_CHECKING:
    from medai_core.cases.worker import Worker
    from medai_core.icu.forecaster import Forecaster
    from medai_core.imaging.reader import ScanReader
    from medai_core.imaging.reading import Reading

log = logging.getLogger(__name__)
_settled = threading.Event()


@st.cache_resource(show_spinner=False)
def working() -> Future[Worker | None]:
    """Start the worker in the background, so that no page waits for the database or for TensorFlow."""
    starter = ThreadPoolExecutor(max_workers=1, thread_name_prefix="medai-worker-start")
    future = starter.submit(start)
    starter.shutdown(wait=False)
    return future


def start() -> Worker | None:
    """Start the worker; where the workspace cannot be opened the pages say why, and this is only logged."""
    try:
        from medai_core.cases.worker import Worker
        from medai_core.cases.workspace import open_workspace

        space = open_workspace()
        space.store.load_reader = _reader  # reports draw heat maps with it: one copy of the networks is enough
        worker = Worker(space, Reader, forecaster_factory=_forecaster)
        worker.start()
        return worker
    except Exception as error:  # its text may quote the settings
        log.error("the worker could not be started: %s", type(error).__name__)
        return None


class Reader:
    """The scan reader that the pages share; built-in samples, which are marked as synthetic, it reads all the same."""

    def read_many(self, items: Iterable[tuple[str, bytes]]) -> Iterator[tuple[str, Reading | MedAIError]]:
        """As :meth:`medai_core.imaging.reader.ScanReader.read_many`."""
        reader = _reader()
        for built_in, some in groupby(items, key=lambda item: hashlib.sha256(item[1]).hexdigest() in _built_in()):
            yield from reader.read_many(some, demonstration=built_in)


def _reader() -> ScanReader:
    return loaders.loading().future.result()


@cache
def _built_in() -> frozenset[str]:
    """Digests of the built-in samples."""
    return frozenset(hashlib.sha256(sample.path.read_bytes()).hexdigest() for sample in samples())


def _forecaster() -> Forecaster:
    begun = icu_loaders.loading()
    begun.wanted.set()
    forecaster = begun.future.result().forecaster
    if not _settled.is_set():
        _settled.set()
        loaders.settle()
    return forecaster
