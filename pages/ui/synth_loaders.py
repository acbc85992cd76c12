"""The generators and the restorer, loaded once for everyone, and what was made for one visitor.

Generated images are nobody's, and the same seed gives the same images; still each visitor keeps their own, so that
one visitor's thousand images do not push out another's.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import streamlit as st

from medai_core.errors import ArtifactError, MedAIError
from pages.ui import loaders
from pages.ui.loaders import KEEP

if TYPE_CHECKING:
    from medai_core.synthesis.generator import Generator, Rendered
    from medai_core.synthesis.restore import Restorer

GENERATION, RESTORATION = "generator", "restoration"
"""Tasks of the registry."""
log = logging.getLogger(__name__)


def generator_ids() -> list[str]:
    """Return the generators whose bundle is here, in the order of the registry."""
    return _installed(GENERATION)


def restorer_ids() -> list[str]:
    """Return the restorers whose bundle is here."""
    return _installed(RESTORATION)


def _installed(task: str) -> list[str]:
    from medai_core import registry

    return [model for model in registry.available() if registry.MODELS[model].task == task]


def load(model: str) -> Generator:
    """Load a generator.

    Raises
    ------
    ArtifactError
        If its bundle is not usable, or, with the reason in the log, if anything else went wrong.
    """
    from medai_core.synthesis.generator import load_generator

    return load_generator(model)


def load_restorer() -> Restorer:
    """Load the restorer; raises as :func:`load` does."""
    from medai_core.synthesis import restore

    return restore.load_restorer()


@st.cache_resource(show_spinner=False)
def _generator(model: str, version: str) -> Generator:
    return _loaded(lambda: load(model))


@st.cache_resource(show_spinner=False)
def _restorer(version: str) -> Restorer:
    return _loaded(load_restorer)


def _loaded(get: Any) -> Any:
    try:
        found = get()
        loaders.settle()
        return found
    except MedAIError:
        raise
    except Exception as error:
        log.exception("a model of synthetic images could not be loaded")
        raise ArtifactError("The models could not be loaded; the log of the server says why.") from error


def generator(model: str) -> Generator:
    """Return a generator, waiting for it if need be; a failed load is tried again next time."""
    with st.spinner(loaders._spinner()):
        return _ready(model)


def _ready(model: str) -> Generator:
    """The same for results that are cached, in which nothing may be drawn."""
    return _generator(model, loaders.version(model))


def restorer(model: str) -> Restorer:
    """Return the restorer, waiting for it if need be."""
    with st.spinner(loaders._spinner()):
        return ready_restorer(model)


def ready_restorer(model: str) -> Restorer:
    """The same for results that are cached, in which nothing may be drawn."""
    return _restorer(loaders.version(model))


@st.cache_data(max_entries=24, **KEEP)
def _interpolation(model: str, version: str, label: str, seed_from: int, seed_to: int, steps: int) -> Rendered:
    return _ready(model).interpolate(label, seed_from, seed_to, steps)


def interpolation(model: str, label: str, seed_from: int, seed_to: int, steps: int) -> Rendered:
    """Return the images on the way from one seed's first image to another's."""
    return _interpolation(model, loaders.version(model), label, seed_from, seed_to, steps)


@st.cache_data(max_entries=64, **KEEP)
def _variants(
    model: str, version: str, seed: int, index: int, truncation: float, shifts: tuple[tuple[str, float], ...]
) -> Rendered:
    return _ready(model).across(seed, index, truncation=truncation, shifts=dict(shifts))


def variants(
    model: str, seed: int, index: int, truncation: float, shifts: tuple[tuple[str, float], ...] = ()
) -> Rendered:
    """Return one latent point drawn as every label of its generator."""
    return _variants(model, loaders.version(model), seed, index, truncation, shifts)
