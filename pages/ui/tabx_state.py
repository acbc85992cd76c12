"""What the page of explanations looks at: a model, its patients, one of them, and the values that were changed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from medai_core.errors import InputError
from pages.ui import tab_models
from pages.ui.loaders import KEEP

if TYPE_CHECKING:
    import pandas as pd

    from medai_core.tabular.encoder import Feature
    from medai_core.tabular.risk_model import RiskModel
    from medai_core.tabular.tables import Table

EDITS, OPENED, TABS = "tabx_edits", "tabx_opened", "tabx_tabs"
TABLE, BACKGROUND, UPLOAD = "table", "background", "upload"
EMPTY = frozenset(("", "nan", "none", "<na>"))


@dataclass(frozen=True, eq=False)
class Patients:
    """Rows that a model can answer for.

    Attributes
    ----------
    source : str
        ``table`` the model was trained on, ``background`` rows that it keeps, or ``upload``.
    name : str
        Of the file, for people.
    frame : pd.DataFrame
        The columns the model reads, and any others.
    x : NDArray, shape (N, D)
        The rows, encoded.
    outcome : NDArray or None, shape (N,)
        What is recorded in the column of the target, as text; "" where nothing is.
    digest : str
    """

    source: str
    name: str
    frame: pd.DataFrame
    x: NDArray[np.float64]
    outcome: NDArray[Any] | None
    digest: str

    def __len__(self) -> int:
        return len(self.frame)

    @property
    def key(self) -> str:
        """What widgets about these rows are called by."""
        return self.digest[:12]


@dataclass(frozen=True, eq=False)
class View:
    """One patient before one family of a model.

    Attributes
    ----------
    key : str
        The model, as :func:`pages.ui.tab_models.table_models` calls it.
    family : str
    label : str or None
        Whose probability is explained; None of a number.
    probability : bool
        Whether explanations are on the scale of the probability.
    row : int
        The patient's, from 0.
    edits : mapping
        Values that were changed, encoded, by the feature's name.
    """

    key: str
    model: RiskModel
    family: str
    label: str | None
    probability: bool
    patients: Patients
    row: int
    edits: Mapping[str, float]

    @property
    def ident(self) -> tuple[str, str]:
        """What results of the model are cached under."""
        return self.key, str(self.model.bundle.digest)

    @property
    def features(self) -> tuple[Feature, ...]:
        return self.model.encoder.features

    @cached_property
    def recorded(self) -> dict[str, Any]:
        """The patient as recorded."""
        row = self.patients.frame.iloc[self.row]
        return {feature.name: row[feature.name] for feature in self.features}

    @cached_property
    def record(self) -> dict[str, Any]:
        """The patient with the changes."""
        return self.recorded | {
            feature.name: raw(feature, self.edits[feature.name]) for feature in self.features
            if feature.name in self.edits
        }  # fmt: skip

    @cached_property
    def x(self) -> NDArray[np.float64]:
        """The patient with the changes, encoded, (1, D)."""
        found = self.patients.x[[self.row]].copy()
        for place, feature in enumerate(self.features):
            found[0, place] = self.edits.get(feature.name, found[0, place])
        return found

    @property
    def before(self) -> View:
        """The same patient without the changes."""
        return replace(self, edits={})

    @property
    def outcome(self) -> str:
        """What is recorded for the patient; empty where nothing is."""
        return "" if self.patients.outcome is None else str(self.patients.outcome[self.row])


def raw(feature: Feature, value: float) -> Any:
    """Return an encoded value as it stands in a table; None where it is missing."""
    if np.isnan(value):
        return None
    return feature.levels[int(value)] if feature.levels else float(value)


# ------------------------------------------------------------------------------------------------ patients


def sources(key: str) -> list[str]:
    """Return what patients there are for a model, what was opened last first."""
    own = [UPLOAD] if key in st.session_state.get(OPENED, {}) else []
    known = tab_models.table_of_model(key)
    return [*own, BACKGROUND if known is None else TABLE]


def patients_of(key: str, model: RiskModel, source: str) -> Patients:
    """Return the patients of one source.

    Raises
    ------
    InputError
        If the rows lack a column the model reads, or it holds no numbers.
    """
    if source == BACKGROUND:
        return _background(key, str(model.bundle.digest), model)
    table = st.session_state[OPENED][key] if source == UPLOAD else tab_models.table_of_model(key)
    return _patients(key, str(model.bundle.digest), source, table.digest, model, table)


@st.cache_resource(max_entries=3, **KEEP)
def _patients(key: str, version: str, source: str, digest: str, _model: RiskModel, _table: Table) -> Patients:
    from medai_core.tabular.columns import level_text

    frame, outcome = _table.frame, None
    if _model.target in frame and _model.horizon is None:
        outcome = np.array(["" if str(v).lower() in EMPTY else level_text(v) for v in frame[_model.target]], object)
    lacking = [name for name in _model.encoder.names if name not in frame]
    if lacking:
        raise InputError("The table lacks {count} of the columns the model reads: {names}.", count=len(lacking),
                         names=", ".join(lacking[:5]))  # fmt: skip
    return Patients(source, _table.name, frame, _model.read(frame)[0], outcome, digest)


@st.cache_resource(max_entries=3, **KEEP)
def _background(key: str, version: str, _model: RiskModel) -> Patients:
    import pandas as pd

    x = _model.background
    columns = {f.name: [raw(f, value) for value in x[:, k]] for k, f in enumerate(_model.encoder.features)}
    digest = hashlib.sha256(x.tobytes()).hexdigest()
    return Patients(BACKGROUND, "", pd.DataFrame(columns), x, None, digest)


def open_rows(key: str, model: RiskModel, name: str, data: bytes) -> None:
    """Read a file of patients for a model, and keep it for the session.

    Raises
    ------
    InputError
        If the file is no table, or not one that the model can read.
    """
    from medai_core.tabular.breast_cancer import read_breast_cancer
    from medai_core.tabular.tables import read_table

    reads = read_breast_cancer if key == tab_models.SHIPPED_TABLE else read_table
    table = reads(data, name)
    _patients(key, str(model.bundle.digest), UPLOAD, table.digest, model, table)
    known = tab_models.table_models()  # what was opened or changed for a model that is gone goes too
    held = {name: one for name, one in st.session_state.get(OPENED, {}).items() if name in known}
    st.session_state[OPENED] = held | {key: table}
    st.session_state[EDITS] = {one: made for one, made in st.session_state.get(EDITS, {}).items() if one[0] in known}


def close_rows(key: str) -> None:
    """Forget the patients that were opened for a model."""
    st.session_state[OPENED] = {name: table for name, table in st.session_state[OPENED].items() if name != key}


# ------------------------------------------------------------------------------------- one patient, changes


def row_key(patients: Patients) -> str:
    """Return the key under which the number of the patient, from 1, is kept."""
    return f"tabx_row_{patients.key}"


def open_patient(patients: Patients, row: int, tab: str) -> None:
    """Go to one patient, at one tab; of a callback."""
    st.session_state[row_key(patients)] = row + 1
    st.session_state[TABS] = tab


def edits_of(key: str, patients: Patients, row: int) -> dict[str, float]:
    """Return the changes made to one patient."""
    return st.session_state.get(EDITS, {}).get((key, patients.digest, row), {})


def keep_edits(view: View, edits: Mapping[str, float]) -> None:
    """Keep the changes made to a patient; those that change nothing are dropped."""
    start = dict(zip(view.model.encoder.names, view.patients.x[view.row].tolist(), strict=True))
    made = {name: value for name, value in edits.items() if not same(value, start[name])}
    kept = st.session_state.get(EDITS, {})
    st.session_state[EDITS] = kept | {(view.key, view.patients.digest, view.row): made}


def same(a: float, b: float) -> bool:
    """Whether two encoded values are one, missing ones too."""
    return a == b or bool(np.isnan(a) and np.isnan(b))
