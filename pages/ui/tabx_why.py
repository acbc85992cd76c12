"""Why one patient got the answer: in words, as waterfall and as force, and how far the models agree about it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go
import streamlit as st

from medai_core.errors import MedAIError
from pages.ui import charts, tabx_figures, tabx_loaders
from pages.ui.frame import problem
from pages.ui.language import _, tell
from pages.ui.queue import csv_table
from pages.ui.tab_words import duration, family_name
from pages.ui.tabx_answer import every_family
from pages.ui.tabx_state import View
from pages.ui.tabx_style import colours, draw, ink, picture_format
from pages.ui.tabx_words import quality, short, signed_plus, unit_of
from pages.ui.theme import dark
from pages.ui.words import plain

if TYPE_CHECKING:
    from medai_core.tabular.explain import Explanation
    from medai_core.tabular.importance import Agreement

SENTENCES, AGREED = 5, 10
SHOWN = (5, 10, 15, 20, 30)
WAIT_SECONDS = 3.0
"""Longer than this is announced before it starts."""


def stem(view: View, what: str) -> str:
    """Return the name of a file about this patient."""
    return f"medai-{view.key}-{view.family}-patient-{view.row + 1}-{what}"


def association() -> None:
    """Say what contributions are worth."""
    st.info(
        _("Contributions show what moved this model's answer away from its average. Association is not cause."),
        icon=":material/info:",
    )


def why_panel(view: View) -> None:
    """Explain the answer to one patient."""
    association()
    try:
        with st.spinner(_("Computing the explanation")):
            found = tabx_loaders.explanation(view)
    except MedAIError as error:
        problem(error)
        return
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        counts = [n for n in SHOWN if n < len(view.features)] + [len(view.features)]
        top = st.select_slider(
            _("Features shown"), counts, value=min(10, counts[-1]), key=f"tabx_top_{len(view.features)}",
            persist_state="session", width=260,
        ) if len(counts) > 1 else counts[0]  # fmt: skip
        picture_format()
    left, right = st.columns([7, 3], gap="medium")
    with left:
        st.subheader(_("From the average to this patient"), anchor=False)
        tabx_figures.waterfall(view.model, found, top, stem(view, "waterfall"))
    with right:
        st.subheader(_("Main reasons"), anchor=False)
        reasons(found)
    quality(found)
    st.subheader(_("What pushes against what"), anchor=False)
    tabx_figures.force(view.model, found, stem(view, "force"))
    st.download_button(
        _("Download CSV"), contributions_csv(found), file_name=stem(view, "contributions") + ".csv", mime="text/csv",
        icon=":material/download:", on_click="ignore", key="tabx_why_csv",
    )  # fmt: skip


def reasons(found: Explanation) -> None:
    """Say in words what moved the answer most."""
    steps = [step for step in found.waterfall(0, SENTENCES) if step.feature is not None and step.value]
    lines = [
        f"- {'▲' if step.value > 0 else '▼'} {plain(tell(sentence))} ({signed_plus(step.value)} {unit_of(found)})"
        for step, sentence in zip(steps, found.sentences(0, SENTENCES), strict=True)
    ]
    st.markdown("\n".join(lines) or _("Nothing moved the answer away from the average."))


def contributions_csv(found: Explanation) -> bytes:
    """Return one line per feature, in English, the strongest first."""
    order = np.argsort(-np.abs(found.values[0]), kind="stable")
    rows: list[list[object]] = [
        [found.encoder.names[k], found.encoder.features[k].text(float(found.x[0, k])), f"{found.values[0, k]:.6g}"]
        for k in order
    ]
    rows += [["(base value)", "", f"{found.base_value:.6g}"], ["(prediction)", "", f"{found.predictions[0]:.6g}"]]
    return csv_table(["feature", "value", f"SHAP value ({found.link}, {'exact' if found.exact else 'approximate'})"],
                     rows)  # fmt: skip


# -------------------------------------------------------------------------------------------- every model


def models_panel(view: View) -> None:
    """Show what every family answers, and how far they agree on why."""
    st.subheader(_("What each model answers"), anchor=False)
    every_family(view)
    st.subheader(_("Do the models agree on why?"), anchor=False)
    found = all_explanations(view)
    if found is None:
        return
    if len(found) < 2:
        st.caption(_("There is only one model here to explain."))
        return
    from medai_core.tabular.importance import agreement

    try:
        agreed = agreement(found)
    except MedAIError as error:
        problem(error)
        return
    same, shared = st.columns(2)
    same.metric(_("Of the five strongest features, pushed the same way by all"), f"{agreed.same_direction:.0%}",
                border=True)  # fmt: skip
    shared.metric(_("Of the five strongest of one model, among those of another"), f"{agreed.shared_top:.0%}",
                  border=True)  # fmt: skip
    heat_map(view, agreed, next(iter(found.values())))
    sampled = [family_name(family, view.model.task) for family, one in found.items() if not one.exact]
    if sampled:
        st.caption(_("Approximate: {families}. The others are exact.").format(families=plain(", ".join(sampled))))


def all_explanations(view: View) -> dict[str, Explanation] | None:
    """Return every family's explanation on its own scale; what takes long is first announced, with its time."""
    with st.spinner(_("Estimating the time")):
        times = {family: view.model.estimate(1, family) for family in view.model.families}
    slow = [(family, seconds) for family, seconds in times.items() if seconds > WAIT_SECONDS]
    wanted = [family for family, seconds in times.items() if seconds <= WAIT_SECONDS]
    if slow:
        names = ", ".join(family_name(family, view.model.task) for family, _seconds in slow)
        time = duration(sum(seconds for _family, seconds in slow))
        words = _("Also explain: {families} (about {time})").format(families=names, time=time)
        if st.toggle(plain(words), key="tabx_slow", persist_state="session"):
            wanted += [family for family, _seconds in slow]
    with st.spinner(_("Explaining by every model")):
        try:
            return {
                family: tabx_loaders.explanation(view, family, own_scale=True)
                for family in view.model.families if family in wanted
            }  # fmt: skip
        except MedAIError as error:
            problem(error)
            return None


def heat_map(view: View, agreed: Agreement, told: Explanation) -> None:
    """Draw contributions, family by feature, diverging from none."""
    values = agreed.values[:, :AGREED]
    limit = float(np.abs(values).max()) or 1.0
    raises, lowers = colours()
    middle = "#1B242D" if dark() else "#F4F6F8"
    names = [family_name(family, view.model.task) for family in agreed.families]
    figure = go.Figure(
        go.Heatmap(
            z=values.T, x=names, y=list(range(values.shape[1])), zmin=-limit, zmax=limit, xgap=2, ygap=2,
            colorscale=[[0, lowers], [0.5, middle], [1, raises]], showscale=False,
            customdata=[[short(name)] * len(names) for name in agreed.names[:AGREED]],
            hovertemplate="%{customdata} · %{x}: %{z:+.3f}<extra></extra>",
        )
    )  # fmt: skip
    for column, name in enumerate(names):
        for row, value in enumerate(values[column]):
            strong = abs(value) > 0.55 * limit
            figure.add_annotation(
                x=name, y=row, text=signed_plus(float(value)), showarrow=False,
                font={"size": 12, "color": ("#0F151B" if dark() else "#FFFFFF") if strong else ink()},
            )  # fmt: skip
    figure.update_layout(margin={"l": 0, "r": 8, "t": 8, "b": 8})
    figure.update_xaxes(side="top", fixedrange=True, showgrid=False, tickangle=0)
    figure.update_yaxes(
        tickvals=list(range(values.shape[1])), ticktext=[short(name) + "  " for name in agreed.names[:AGREED]],
        autorange="reversed", fixedrange=True, showgrid=False, automargin=True,
    )  # fmt: skip
    words = [f"{name}: " + ", ".join(f"{n} {v:+.2f}" for n, v in zip(agreed.names, line, strict=False))
             for name, line in zip(names, values, strict=True)]  # fmt: skip
    title = _("Contributions by each model, {unit}").format(unit=unit_of(told))
    st.caption(title)
    draw(figure, "tabx_agreement", charts.told(title, words), 74 + 30 * values.shape[1], stem(view, "models"))
