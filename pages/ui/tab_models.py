"""The table models a visitor can work with: the shipped ones, and those trained or opened in this session.

Own models live in the session alone: their bundle is read into memory, and no file of it stays on the disk.
"""

from __future__ import annotations

import logging
import secrets
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

from medai_core.errors import ArtifactError, InputError, MedAIError
from pages.ui import loaders
from pages.ui.words import model_name

if TYPE_CHECKING:
    from medai_core.artifacts import Bundle
    from medai_core.tabular.risk_model import RiskModel
    from medai_core.tabular.tables import Table

KEPT, PENDING, CHOSEN = "table_models_kept", "table_models_run", "table_models_chosen"
TASK, SHIPPED_TABLE = "table", "breast_cancer"
MOST_KEPT = 8
"""More than these would fill the memory that visitors share."""
log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Trained:
    """What a training gave; no file of it is needed any more."""

    title: str
    model: RiskModel
    data: bytes
    table: Table | None


@dataclass(frozen=True, eq=False)
class Kept:
    """One own model.

    Attributes
    ----------
    key : str
        Of the session; it survives a change of the name.
    title : str
        The visitor's.
    model : RiskModel
        Needs no files any more.
    data : bytes
        Its bundle as a ZIP.
    table : Table or None
        What it was trained on; None where the bundle was opened from a file.
    """

    key: str
    title: str
    model: RiskModel
    data: bytes
    table: Table | None


def table_models() -> dict[str, str]:
    """Return the names of all table models by key: the shipped ones, then this session's own."""
    return {key: model_name(key) for key in shipped()} | {key: one.title for key, one in kept().items()}


def table_model(key: str) -> RiskModel:
    """Return a model.

    Raises
    ------
    ArtifactError
        If a shipped bundle is not usable.
    InputError
        If there is no such model in this session any more.
    """
    if key in kept():
        return kept()[key].model
    if key in shipped():
        return _shipped(key, loaders.version(key))
    raise InputError("This model is no longer in this session.")


def table_of_model(key: str) -> Table | None:
    """Return the table a model was trained on, where it is at hand."""
    if key in kept():
        return kept()[key].table
    if key != SHIPPED_TABLE:
        return None
    from medai_core.tabular.breast_cancer import sample_table

    return sample_table()


def shipped() -> list[str]:
    """Return the ids of the shipped table models that are here."""
    from medai_core import registry

    return [model for model in registry.available() if registry.MODELS[model].task == TASK]


def load(model: str) -> RiskModel:
    """Load a shipped model.

    Raises
    ------
    ArtifactError
        If its bundle is not usable, or, with the reason in the log, if anything else went wrong.
    """
    try:
        from medai_core.tabular.risk_model import load_risk_model

        return load_risk_model(model)
    except MedAIError:
        raise
    except Exception as error:
        log.exception("a table model could not be loaded")
        raise ArtifactError("The models could not be loaded; the log of the server says why.") from error


@st.cache_resource(show_spinner=False)
def _shipped(model: str, version: str) -> RiskModel:
    return load(model)


# ------------------------------------------------------------------------------------------------ own ones


def kept() -> dict[str, Kept]:
    """Return this session's own models by key, the oldest first."""
    collect()
    return st.session_state.get(KEPT, {})


def collect() -> None:
    """Keep what a training gave that ended since the last look, whatever page the visitor is on."""
    run = st.session_state.get(PENDING)
    if run is not None and run.trained is not None:
        found, run.trained = run.trained, None
        _add(found)


def check_room() -> None:
    """Raise InputError if no more models can be kept."""
    if len(kept()) >= MOST_KEPT:
        raise InputError("At most {limit} models are kept in a session; delete one first.", limit=MOST_KEPT)


def keep(found: Trained) -> str:
    """Keep a model and return its key; a name that is taken gets a number.

    Raises
    ------
    InputError
        If no more can be kept.
    """
    check_room()
    return _add(found)


def _add(found: Trained) -> str:
    one = Kept(f"own_{secrets.token_hex(4)}", free_title(found.title), found.model, found.data, found.table)
    st.session_state[KEPT] = kept() | {one.key: one}
    st.session_state[CHOSEN] = one.key
    return one.key


def free_title(title: str, own: str = "") -> str:
    """Return a name that no other model of this visitor has."""
    taken = {name for key, name in table_models().items() if key != own}
    shown, number = title, 2
    while shown in taken:
        shown, number = f"{title} ({number})", number + 1
    return shown


def rename(key: str, title: str) -> None:
    """Give a model another name, in its bundle as well."""
    from medai_core.tabular.cards import renamed

    one, title = kept()[key], free_title(title, key)
    st.session_state[KEPT] = kept() | {key: replace(one, title=title, data=renamed(one.data, title))}


def put_back(one: Kept, place: int) -> None:
    """Undo :func:`delete`."""
    rows = [*kept().items()]
    rows.insert(place, (one.key, one))
    st.session_state[KEPT] = dict(rows)


def delete(key: str) -> tuple[Kept, int]:
    """Take a model out of the session; return it with its place."""
    rows = kept()
    place = list(rows).index(key)
    st.session_state[KEPT] = {name: one for name, one in rows.items() if name != key}
    return rows[key], place


def unpacked(data: bytes) -> RiskModel:
    """Return the model of a bundle that was downloaded before; nothing of the file is run.

    Raises
    ------
    InputError, ArtifactError
        If the file is no bundle, or was changed.
    """
    from medai_core.tabular.bundles import from_zip

    try:
        with tempfile.TemporaryDirectory(prefix="medai-") as folder:
            return in_memory(from_zip(data, Path(folder)))
    except MedAIError:
        raise
    except Exception as error:
        # The digests in a file that anybody may have written prove nothing about what is in it.
        log.exception("a bundle of a visitor could not be opened")
        raise InputError("The file is no model bundle that can be read here.") from error


def in_memory(bundle: Bundle) -> RiskModel:
    """Return the model of a bundle whose folder may go away afterwards."""
    from medai_core.tabular.risk_model import RiskModel

    return RiskModel(bundle).whole()
