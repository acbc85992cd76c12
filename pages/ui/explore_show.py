"""One case of any model: what it answers, why, and whether the why holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import streamlit as st

from medai_core.errors import MedAIError
from pages.ui import (
    answer,
    explore_cases,
    explore_faithful,
    icu_loaders,
    icu_why,
    loaders,
    tab_models,
    tabx_answer,
    tabx_figures,
    tabx_loaders,
    tabx_state,
    treat_charts,
    treat_loaders,
    treat_patient,
)
from pages.ui.explain_panel import explanation_panel
from pages.ui.explore_cases import OWN_TRIAL, Case
from pages.ui.frame import bullets, facts, problem
from pages.ui.language import _, tell
from pages.ui.tab_words import family_name
from pages.ui.tabx_state import View
from pages.ui.tabx_words import label_text, scale_title
from pages.ui.treat_words import Compared, points
from pages.ui.words import label_name, percent, plain

if TYPE_CHECKING:
    from streamlit.delta_generator import DeltaGenerator

AT_HOUR = 24
TOP = 10


def about(model: str) -> None:
    """Show whom a shipped model is for, and what it is not for."""
    found = loaders.bundle(model)
    if isinstance(found, MedAIError):
        return
    with st.container(border=True):
        st.subheader(_("About this model"), anchor=False)
        rows = [(_("Population"), _(str(found.card.get("population", ""))))]
        facts([*rows, (_("Version"), f"{found.version} · sha256 {found.digest[:12]}")])
        if found.card.get("not_for"):
            with st.expander(_("Not for"), icon=":material/block:"):
                bullets([_(item) for item in found.card["not_for"]])


def whose(case: Case) -> None:
    """Say where a sample comes from."""
    if case.sample:
        st.caption(_("Synthetic, made by a computer: no patient."))


def said(question: str, value: str, small: str = "") -> None:
    """Show the answer that is explained, in one line."""
    with st.container(border=True, key="explore_answer"):
        st.caption(question)
        st.markdown(f"### {plain(value)}")
        if small:
            st.caption(plain(small))


def others() -> str:
    """Say what stands for a value that is taken away from a row."""
    return _("What is away takes the values of other patients, over whom the answers are averaged.")


# ------------------------------------------------------------------------------------------------------- scans


def scan(model: str, bar: DeltaGenerator) -> None:
    """Explain the reading of a scan by a heat map; its panel holds the check."""
    with bar:
        case = explore_cases.choose_case(explore_cases.scan_cases(model), model)
    if case is None:
        return
    whose(case)
    found = _reading(model, case)
    if found is None:
        return
    reading, picture = found
    probability = reading.probabilities[reading.label]
    said(_("What the model answers"), f"{label_name(reading.label)} · {percent(probability)}",
         _("Scale of the explanation: log-odds of the label, calibrated."))  # fmt: skip
    explanation_panel(reading, picture, (case.digest, None, None, reading.model, reading.version))


def _reading(model: str, case: Case) -> tuple[Any, Any] | None:
    try:
        with st.spinner(_("Reading")):
            picture = loaders.scan(case.digest, case.data, None, None)
            reading = loaders.reading(case.digest, case.data, model, None, None, case.demonstration)
    except MedAIError as error:
        problem(error, case.name)
        return None
    if reading.status != "read":
        answer.refusal_card(reading)
        return None
    return reading, picture


# -------------------------------------------------------------------------------------------------------- stays


def stay(bar: DeltaGenerator) -> None:
    """Explain the risk at one hour of a stay."""
    with bar:
        case = explore_cases.choose_case(explore_cases.stay_cases(), "stay")
    if case is None:
        return
    whose(case)
    try:
        course = icu_loaders.stay(case.digest, case.data)
        at = course.hours
        if course.hours > 1:
            at = st.slider(
                _("Hour explained"), 1, course.hours, min(AT_HOUR, course.hours), width=420,
                key=f"explore_hour_{case.digest[:12]}", persist_state="session",
                help=_("Nothing recorded after it is used."),
            )  # fmt: skip
        with st.spinner(_("Computing the explanation")):
            told = icu_loaders.explanation(case.digest, (), course, at)
            check = explore_faithful.of_stay(case.digest, at, course, told)
    except MedAIError as error:
        problem(error, case.name)
        return
    said(_("Risk of death in hospital, from what was recorded up to hour {at}").format(at=at),
         percent(icu_why._risk(told.value)))  # fmt: skip
    st.info(
        _("Contributions show what moved this model's answer, from a stay with nothing measured. They are no causes."),
        icon=":material/info:",
    )
    left, right = st.columns(2, gap="large")
    with left:
        st.subheader(_("Main reasons"), anchor=False)
        icu_why.reasons(told)
        icu_why.quality(told)
    with right:
        st.subheader(_("Total of each variable"), anchor=False)
        icu_why.totals(told)
    explore_faithful.faithfulness_panel(
        check, _("Log-odds"), _("measurements"), _("What is away counts as not measured.")
    )
    st.subheader(_("When each variable counted"), anchor=False)
    icu_why.heat_map(told)


# ------------------------------------------------------------------------------------------------------- tables


def table(key: str) -> None:
    """Explain one row of a table."""
    model = tab_models.table_model(key)
    there = tabx_state.sources(key)
    patients = tabx_state.patients_of(key, model, there[0])
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        row = 0
        if len(patients) > 1:
            row = int(st.number_input(
                _("Patient, 1 to {n}").format(n=f"{len(patients):,}"), 1, len(patients),
                key=tabx_state.row_key(patients), persist_state="session", width=190,
            )) - 1  # fmt: skip
        family = st.selectbox(
            _("Answered by"), model.families, index=model.families.index(model.best), width=280,
            format_func=lambda name: family_name(name, model.task), key=f"tabx_family_{key}", persist_state="session",
        )  # fmt: skip
        seen = View(key, model, family, None, False, patients, row, {})
        labels = model.labels
        label = labels[1] if len(labels) == 2 else None
        if len(labels) > 2:
            own = tabx_loaders.prediction(seen).label or labels[0]
            label = st.selectbox(
                _("Explain the label"), labels, index=labels.index(own), width=220,
                format_func=lambda one: label_text(model, one), key=f"tabx_label_{key}", persist_state="session",
            )  # fmt: skip
    st.caption(_("The patients are those of the page “Explain predictions”."))
    seen = View(key, model, family, label, False, patients, row, {})
    with st.spinner(_("Computing the explanation")):
        found = tabx_loaders.prediction(seen)
        told = tabx_loaders.explanation(seen, own_scale=True)
        check = explore_faithful.of_row(seen.ident, family, label, tabx_loaders.values_of(seen), model, told)
    said(_("What the model answers"), tabx_answer.short_answer(seen, found))
    st.info(
        _("Contributions show what moved this model's answer, from the mean of other patients. They are no causes."),
        icon=":material/info:",
    )
    tabx_figures.waterfall(model, told, TOP, f"patient-{row + 1}")
    from medai_core.tabular.explain import METHODS

    st.caption(
        _("{method}; additivity error {error}; held against {n} patients; {s} s.").format(
            method=tell(METHODS[told.method]).capitalize(), error=f"{told.additivity_error:.0e}", n=told.background,
            s=f"{told.seconds:.2f}",
        )
    )  # fmt: skip
    explore_faithful.faithfulness_panel(check, scale_title(model, told), _("values"), others())


# --------------------------------------------------------------------------------------------------- treatments


def treatment(key: str) -> None:
    """Explain the difference between two treatments, or the risk under one, for one patient."""
    compared = explore_cases.own_trial() if key == OWN_TRIAL else treat_loaders.builtin()
    names = {"typed": _("The patient on “Compare treatments”")}
    names |= treat_patient.example_names(compared)
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        who = st.selectbox(
            _("Case"), list(names), format_func=names.__getitem__, key=f"explore_who_{compared.key}", width=300,
            persist_state="session",
        )  # fmt: skip
        arm, versus = treat_patient.choose_question(compared, "explore")
    row = treat_patient.typed(compared) if who == "typed" else treat_patient.example(compared, who)
    try:
        with st.spinner(_("Computing the explanation")):
            told = treat_loaders.explanation(compared, row, arm, versus)
            values = tuple(f"{name}={value!r}" for name, value in sorted(row.items()))
            check = explore_faithful.of_treatment(compared.key, arm, versus, values, compared, told)
    except MedAIError as error:
        problem(compared.worded(error))
        return
    value = float(told.predictions[0])
    what = treat_patient.question(compared, arm, versus)
    said(
        what, percent(value) if versus is None else f"{points(value)} {_('percentage points')}", patient(compared, row)
    )
    treat_charts.drivers(compared, told, "explore_drivers")
    treat_patient.about_drivers(compared, told, arm, versus)
    explore_faithful.faithfulness_panel(check, _("Probability"), _("values"), others())


def patient(compared: Compared, row: dict[str, Any]) -> str:
    """The values of a patient in one line."""
    x, _cautions = compared.model.read(row)
    return "; ".join(
        f"{compared.name(name)} {compared.value(name, float(x[k]))}"
        for k, name in enumerate(compared.model.encoder.names)
    )
