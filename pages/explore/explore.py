"""Explore: any model and any case, the explanation in one place, and whether it holds against the model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from medai_core.errors import MedAIError
from pages.ui import explore_cases, explore_show
from pages.ui.explore_cases import SCAN, STAY, TABLE
from pages.ui.frame import page, problem
from pages.ui.language import _

if TYPE_CHECKING:
    from streamlit.delta_generator import DeltaGenerator


def main() -> None:
    page(
        _("Explore explanations"),
        _("Any model, any case: why it answers so, and whether that explanation holds against a random one."),
    )
    known = explore_cases.models()
    if not known:
        st.info(_("No model with an explanation is installed here."), icon=":material/inventory_2:")
        return
    bar = st.container(horizontal=True, vertical_alignment="bottom", gap="medium", key="explore_bar")
    with bar:
        model = explore_cases.choose_model(known)
    kind, _title = known[model]
    try:
        show(kind, model, bar)
    except MedAIError as error:
        problem(error)
    if model in explore_cases.shipped():
        explore_show.about(model)


def show(kind: str, model: str, bar: DeltaGenerator) -> None:
    """Show one case of one model; the bar is where the case is asked for."""
    if kind == SCAN:
        explore_show.scan(model, bar)
    elif kind == STAY:
        explore_show.stay(bar)
    elif kind == TABLE:
        explore_show.table(model)
    else:
        explore_show.treatment(model)


main()
