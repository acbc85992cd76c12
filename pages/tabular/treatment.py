"""Compare treatments with the data of a randomised trial: for one patient, and for all."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from medai_core.errors import MedAIError
from pages.ui import treat_loaders, treat_own, treat_patient, treat_trial
from pages.ui.frame import page, problem
from pages.ui.language import _
from pages.ui.treat_words import Compared

BUILTIN, OWN = "builtin", "own"


def main() -> None:
    page(
        _("Compare treatments"),
        _("What a randomised trial says about its treatments, for one patient and for all, and where it says nothing."),
    )
    names = {BUILTIN: _("HIV trial ACTG 175"), OWN: _("My own randomised trial")}
    source = st.segmented_control(
        _("Trial"), list(names), default=BUILTIN, required=True, format_func=names.__getitem__, key="treat_source",
        persist_state="session", label_visibility="collapsed",
    )  # fmt: skip
    try:
        compared = treat_loaders.builtin() if source == BUILTIN else treat_own.own_trial()
    except MedAIError as error:
        problem(error)
        return
    if compared is not None:
        tabs(compared)


@st.fragment
def tabs(compared: Compared) -> None:
    """Show the tabs; only the open one is computed. A fragment, so that an edit redraws only this."""
    panels: dict[str, tuple[str, Callable[[Compared], None]]] = {
        "patient": (_("One patient"), treat_patient.patient_panel),
        "policy": (_("Is choosing worth it?"), treat_trial.policy_panel),
        "arms": (_("The whole trial"), treat_trial.arms_panel),
    }
    shown = st.tabs([name for name, _draw in panels.values()], key=f"treat_tabs_{compared.builtin}", on_change="rerun")
    for tab, (_name, draw) in zip(shown, panels.values(), strict=True):
        if tab.open:
            with tab:
                draw(compared)
                treat_trial.about(compared)


main()
