"""The models of intensive care, loaded once for everyone, and results cached for one visitor.

As in :mod:`pages.ui.loaders`: results are keyed on the SHA-256 of the file's bytes, the edits, and the models'
versions.
"""

from __future__ import annotations

import logging
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import streamlit as st

from medai_core.errors import ArtifactError, MedAIError
from pages.ui import loaders
from pages.ui.loaders import KEEP

if TYPE_CHECKING:
    from medai_core.icu.edits import Edit
    from medai_core.icu.explain import RiskExplanation
    from medai_core.icu.forecaster import Forecaster, Risks
    from medai_core.icu.outlook import Outlook, Outlooks
    from medai_core.icu.stay import Stay

RISK, OUTLOOK = "icu_mortality", "icu_forecast"
Edits = tuple["Edit", ...]
log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Models:
    """The two models; without the second, what is wrong with it."""

    forecaster: Forecaster
    outlooks: Outlooks | MedAIError


@dataclass(frozen=True, eq=False)
class Loading:
    """Models on their way; they start once the scan reader is warm, or at once when somebody needs them."""

    future: Future[Models]
    wanted: threading.Event


def load() -> Models:
    """Load both models.

    Raises
    ------
    ArtifactError
        If the model of the risk is not usable, or, with the reason in the log, if anything else went wrong.
    """
    try:
        from medai_core.icu.forecaster import load_forecaster

        return Models(load_forecaster(), _outlooks())
    except MedAIError:
        raise
    except Exception as error:
        log.exception("the models of intensive care could not be loaded")
        raise ArtifactError("The models could not be loaded; the log of the server says why.") from error


def _outlooks() -> Outlooks | MedAIError:
    from medai_core.icu.outlook import load_outlooks

    try:
        return load_outlooks()
    except MedAIError as error:
        return error


def warm(ready: Models) -> None:
    """Load what explains the risk, which the first explanation would wait for; a failure is only logged."""
    try:
        from medai_core.icu.explain import explain_risk
        from medai_core.icu.records import read_stay

        explain_risk(ready.forecaster, read_stay(b"minutes,parameter,value\n10,HR,80\n"), 1)
    except Exception:
        log.exception("the explanations of intensive care could not be warmed")


@st.cache_resource(show_spinner=False)
def loading() -> Loading:
    """Start the background loading: after the scan reader's, so that the two do not fight for the processor."""
    wanted = threading.Event()
    loaders.loading().warmed.add_done_callback(lambda _done: wanted.set())
    worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="medai-icu")

    def when_wanted() -> Models:
        wanted.wait()
        return load()

    future = worker.submit(when_wanted)
    worker.submit(lambda: warm(future.result()))
    worker.shutdown(wait=False)
    return Loading(future, wanted)


def models() -> Models:
    """Return the models, waiting for them if need be; a failed load is tried again next time."""
    begun = loading()
    begun.wanted.set()
    if not begun.future.done():
        with st.spinner(loaders._spinner()):
            begun.future.exception()
    if begun.future.exception() is not None:
        loading.clear()
    return begun.future.result()


def versions() -> tuple[str, str]:
    """Return the versions of both models, for cache keys."""
    return loaders.version(RISK), loaders.version(OUTLOOK)


@st.cache_data(max_entries=8, **KEEP)
def stay(digest: str, _data: bytes) -> Stay:
    """Return the stay in a file."""
    from medai_core.icu.records import read_stay

    return read_stay(_data)


@st.cache_data(max_entries=8, **KEEP)
def edited(digest: str, edits: Edits, _stay: Stay) -> Stay:
    """Return a stay with the edits made."""
    from medai_core.icu.edits import apply

    return apply(_stay, edits)


def risks(digest: str, edits: Edits, held: Stay) -> Risks:
    """Return the risk at all 48 hours, each from the data up to then; tables (1, 48)."""
    return _risks(digest, edits, loaders.version(RISK), held)


@st.cache_data(max_entries=32, **KEEP)
def _risks(digest: str, edits: Edits, version: str, _held: Stay) -> Risks:
    from medai_core.icu.grid import stack

    return models().forecaster.risks(stack([_held.grid()]))


def outlook(digest: str, edits: Edits, held: Stay, at: int) -> Outlook:
    """Return the forecasts from one hour, 24 hours ahead.

    Raises
    ------
    MedAIError
        If the model of forecasts is not there.
    """
    return _outlook(digest, edits, versions(), at, held)


@st.cache_data(max_entries=256, **KEEP)
def _outlook(digest: str, edits: Edits, versions: tuple[str, str], at: int, _held: Stay) -> Outlook:
    found = models().outlooks
    if isinstance(found, MedAIError):
        raise found
    return found.outlook(_held, at)


def explanation(digest: str, edits: Edits, held: Stay, at: int) -> RiskExplanation:
    """Return why the risk at one hour is what it is; about a second the first time."""
    return _explanation(digest, edits, loaders.version(RISK), at, held)


@st.cache_data(max_entries=64, **KEEP)
def _explanation(digest: str, edits: Edits, version: str, at: int, _held: Stay) -> RiskExplanation:
    from medai_core.icu.explain import explain_risk

    return explain_risk(models().forecaster, _held, at)


def forget() -> None:
    """Drop what is cached of this visitor's stays."""
    for cached in (stay, edited, _risks, _outlook, _explanation):
        cached.clear()
