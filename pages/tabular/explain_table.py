"""Take a table model's prediction apart: what it answers for one patient, why, what if, and what moves it overall."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import streamlit as st

from medai_core.errors import MedAIError
from pages.ui import tab_models, tabx_answer, tabx_global, tabx_loaders, tabx_state, tabx_whatif, tabx_why
from pages.ui.frame import page, problem
from pages.ui.language import _
from pages.ui.tab_words import family_name
from pages.ui.tabx_state import BACKGROUND, TABLE, TABS, UPLOAD, View
from pages.ui.tabx_words import label_text
from pages.ui.words import plain

if TYPE_CHECKING:
    from medai_core.tabular.risk_model import RiskModel
    from pages.ui.tabx_state import Patients

FAULT = "tabx_fault"


def main() -> None:
    page(
        _("Explain predictions"),
        _("One patient of a table: what every model answers, how sure it is, why, and what if a value were different."),
    )
    known = tab_models.table_models()
    if not known:
        st.info(_("No table model is here yet. Train one from your own table, then come back."),
                icon=":material/table_chart:")  # fmt: skip
        return
    try:
        with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
            key = st.selectbox(
                _("Model"), list(known), format_func=known.__getitem__, key="tabx_model", persist_state="session",
                width=300,
            )  # fmt: skip
            model = tab_models.table_model(key)
            patients = choose_patients(key, model)
        if patients is not None:
            explain(key, model, patients)
    except MedAIError as error:
        problem(error)


def choose_patients(key: str, model: RiskModel) -> Patients | None:
    """Ask whose rows are explained, and offer to open others."""
    names = {
        TABLE: _("Its training table"), BACKGROUND: _("Patients it keeps for explanations"),
        UPLOAD: _("Opened patients"),
    }  # fmt: skip
    there = tabx_state.sources(key)
    source = there[0]
    if len(there) > 1:
        source = st.segmented_control(
            _("Patients"), there, default=there[0], required=True, format_func=names.__getitem__,
            key=f"tabx_source_{key}", persist_state="session",
        )  # fmt: skip
    with st.popover(_("Open other patients"), icon=":material/upload_file:"):
        upload(key, model)
    if UPLOAD in there:
        st.button(
            _("Close them"), icon=":material/close:", type="tertiary", key="tabx_close", on_click=tabx_state.close_rows,
            args=(key,),
        )  # fmt: skip
    return tabx_state.patients_of(key, model, source)


def upload(key: str, model: RiskModel) -> None:
    """Ask for a file with the columns that the model reads."""
    version = st.session_state.get("tabx_round", 0)
    file = st.file_uploader(_("Drop a table of patients here"), key=f"tabx_upload_{key}_{version}")
    st.caption(
        _("CSV, Parquet or Excel with the {n} columns the model reads: {names}. It stays in this session.").format(
            n=len(model.encoder.names), names=plain(", ".join(model.encoder.names[:6]) + " …")
        )
    )
    if file is not None:
        try:
            with st.spinner(_("Reading the table")):
                tabx_state.open_rows(key, model, file.name, file.getvalue())
        except MedAIError as error:
            problem(error, file.name)
            return
        st.session_state["tabx_round"] = version + 1
        st.session_state.pop(f"tabx_source_{key}", None)
        st.rerun()


def explain(key: str, model: RiskModel, patients: Patients) -> None:
    """Show one patient, and below it the tabs."""
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium", key="tabx_bar"):
        row = choose_row(patients)
        family = st.selectbox(
            _("Answered by"), model.families, index=model.families.index(model.best), width=280,
            format_func=lambda name: family_name(name, model.task) + (f" ({_('best')})" if name == model.best else ""),
            key=f"tabx_family_{key}", persist_state="session",
        )  # fmt: skip
        edits = tabx_state.edits_of(key, patients, row)
        seen = View(key, model, family, None, False, patients, row, edits)
        label = choose_label(seen)
        probability = choose_scale(model)
    seen = View(key, model, family, label, probability, patients, row, edits)
    left, right = st.columns([7, 5], gap="medium")
    with left:
        tabx_answer.headline(seen)
        unlike = st.empty()
    with right:
        tabx_answer.model_facts(seen)
    tabs(seen)
    # Last: the first time, it waits for the networks' library.
    with unlike.container():
        tabx_answer.unlikeness(seen)


def choose_row(patients: Patients) -> int:
    """Ask for a patient by number; return the row."""
    key, last = tabx_state.row_key(patients), len(patients)

    if last == 1:
        return 0
    number = st.number_input(
        _("Patient, 1 to {n}").format(n=f"{last:,}"), 1, last, key=key, persist_state="session", width=190
    )
    return int(number) - 1


def choose_label(view: View) -> str | None:
    """Return the label that is explained: of several the one asked for, by default the patient's own."""
    labels = view.model.labels
    if not labels:
        return None
    if len(labels) == 2:
        return labels[1]
    first = tabx_loaders.prediction(view.before).label or labels[0]
    return st.selectbox(
        _("Explain the label"), labels, index=labels.index(first), format_func=lambda one: label_text(view.model, one),
        key=f"tabx_label_{view.key}", persist_state="session", width=220,
    )  # fmt: skip


def choose_scale(model: RiskModel) -> bool:
    """Ask for the scale of explanations; return whether it is the probability."""
    if model.task not in ("binary", "classes"):
        return False
    names = {False: _("Log-odds"), True: _("Probability")}
    return st.segmented_control(
        _("Scale of explanations"), [False, True], default=False, required=True, format_func=names.__getitem__,
        key="tabx_scale", persist_state="session",
        help=_("On log-odds most models are explained exactly; on the probability always approximately."),
    )  # fmt: skip


def tabs(view: View) -> None:
    """Show the tabs; only the open one is computed."""
    panels: dict[str, Callable[[View], None]] = {
        _("Why"): tabx_why.why_panel,
        _("Every model"): tabx_why.models_panel,
        _("What if"): tabx_whatif.what_if_panel,
        _("All patients"): tabx_global.all_patients,
    }
    shown = st.tabs(list(panels), key=TABS, on_change="rerun")
    for tab, draw in zip(shown, panels.values(), strict=True):
        if tab.open:
            with tab:
                draw(view)


main()
