"""Train on a table of patients: look for faults, choose, compare models honestly, keep them, answer new rows."""

from __future__ import annotations

import streamlit as st

from pages.ui import (
    tabtrain_kept,
    tabtrain_results,
    tabtrain_run,
    tabtrain_score,
    tabtrain_setup,
    tabtrain_table,
)
from pages.ui.frame import page
from pages.ui.language import _
from pages.ui.words import plain

TABS = "tabtrain_tabs"


def main() -> None:
    page(
        _("Train on a table"),
        _("Bring a table of patients, or take an example: honest models in minutes, and what they are worth."),
    )
    ended = tabtrain_run.seen()
    if ended is not None:
        tabtrain_run.say_end(ended)
    panels = {
        _("1 · Table"): tabtrain_table.panel,
        _("2 · Train"): train,
        _("3 · Results"): tabtrain_results.panel,
        _("4 · New rows"): tabtrain_score.panel,
        _("My models"): tabtrain_kept.panel,
    }
    names = list(panels)
    if ended is not None and ended.error is None:
        if st.session_state.get(TABS) == names[1]:
            st.session_state[TABS] = names[2]
        else:
            st.toast(_("The training of {name} has ended.").format(name=plain(ended.title)), icon=":material/check:")
    shown = st.tabs(names, key=TABS, on_change="rerun")
    for tab, draw in zip(shown, panels.values(), strict=True):
        if tab.open:
            with tab:
                draw()


def train() -> None:
    """Show the choices, or a training that is under way."""
    if tabtrain_run.running() is not None:
        tabtrain_run.panel()
    else:
        tabtrain_setup.panel()


main()
