"""The built-in trial's model, loaded once for everyone, and explanations cached for one visitor."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import streamlit as st

from medai_core.errors import ArtifactError, MedAIError
from pages.ui import loaders
from pages.ui.loaders import KEEP
from pages.ui.treat_words import Compared

if TYPE_CHECKING:
    from medai_core.tabular.explain import Explanation
    from medai_core.tabular.treatment import TreatmentModel

BUILTIN = "actg175"
Values = tuple[tuple[str, object], ...]
log = logging.getLogger(__name__)


def load() -> TreatmentModel:
    """Load the model of the built-in trial.

    Raises
    ------
    ArtifactError
        If the bundle is not usable, or, with the reason in the log, if anything else went wrong.
    """
    try:
        from medai_core.tabular.treatment import load_treatment

        return load_treatment()
    except MedAIError:
        raise
    except Exception as error:
        log.exception("the treatment model could not be loaded")
        raise ArtifactError("The models could not be loaded; the log of the server says why.") from error


@st.cache_resource(show_spinner=False)
def _builtin(version: str) -> TreatmentModel:
    return load()


def builtin() -> Compared:
    """Return the model of the built-in trial."""
    version = loaders.version(BUILTIN)
    with st.spinner(loaders._spinner()):
        return Compared(f"{BUILTIN}_{version[-12:]}", _builtin(version), True)


def explanation(compared: Compared, row: dict[str, object], arm: str, versus: str | None) -> Explanation:
    """Return what drives the risk under an arm, or the difference to another."""
    return _explanation(compared.key, tuple(sorted(row.items())), arm, versus, compared.model)


@st.cache_data(max_entries=64, **KEEP)
def _explanation(
    key: str, values: Values, arm: str, versus: str | None, _model: TreatmentModel
) -> Explanation:  # fmt: skip
    from medai_core.tabular.treatment_explain import explain

    return explain(_model, dict(values), arm, versus)


def forget() -> None:
    """Drop what is cached of this visitor's patients."""
    _explanation.clear()
