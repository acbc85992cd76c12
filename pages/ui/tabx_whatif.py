"""What if a value were different: changes with undo, answers side by side, and how the answer moves with one value."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go
import streamlit as st

from medai_core.errors import MedAIError
from pages.ui import charts, tabx_loaders
from pages.ui.frame import problem
from pages.ui.language import _
from pages.ui.queue import csv_table
from pages.ui.tab_words import family_name, number
from pages.ui.tabx_answer import short_answer
from pages.ui.tabx_counter import counter_panel
from pages.ui.tabx_state import View, keep_edits
from pages.ui.tabx_style import draw
from pages.ui.tabx_why import stem
from pages.ui.tabx_words import axis_title, label_text, level_ticks, short, value_text
from pages.ui.theme import ORANGE, accent, muted
from pages.ui.words import percent, plain

if TYPE_CHECKING:
    from medai_core.tabular.counterfactual import Curves
    from medai_core.tabular.encoder import Feature

OTHERS = 40
"""Background patients drawn behind a curve."""


def what_if_panel(view: View) -> None:
    """Show the form and its changes, the curve of one value, and the smallest changes that flip the answer."""
    st.info(
        _(
            "Association, not effect: the answer changes because such values went with other outcomes in the training "
            "data. It does not say what would happen if somebody changed the value."
        ),
        icon=":material/info:",
    )
    left, right = st.columns([5, 6], gap="large")
    with left:
        st.subheader(_("Change a value"), anchor=False)
        feature = form(view)
    with right:
        st.subheader(_("Changes"), anchor=False)
        listing(view)
    if view.edits:
        comparison(view)
    st.subheader(_("How the answer moves with this value"), anchor=False)
    curve(view, feature)
    st.subheader(_("The smallest change that would flip the answer"), anchor=False)
    counter_panel(view)


def form(view: View) -> Feature:
    """Ask for one changed value; return the feature chosen."""
    known = {feature.name: feature for feature in view.features}
    name = st.selectbox(
        _("Column"), list(known), key=f"tabx_feature_{view.key}", persist_state="session",
        index=_strongest(view),
    )  # fmt: skip
    feature, place = known[name], view.model.encoder.names.index(name)
    now = float(view.x[0, place])
    key = f"tabx_value_{view.patients.key}_{view.row}_{place}_{now:g}"
    if feature.levels:
        levels = list(range(len(feature.levels)))
        st.selectbox(
            _("New value"), levels, index=None if now != now else int(now), format_func=feature.levels.__getitem__,
            key=key, placeholder=_("missing"),
        )  # fmt: skip
    else:
        step = 1.0 if feature.whole else _step(feature)
        st.number_input(
            f"{_('New value')}, {feature.unit}" if feature.unit else _("New value"), value=None if now != now else now,
            step=step, format="%.6g", key=key, placeholder=_("missing"),
            help=_("In training: {low} to {high}, usually {a} to {b}.").format(
                low=value_text(feature, feature.low), high=value_text(feature, feature.high),
                a=value_text(feature, feature.plausible_low), b=value_text(feature, feature.plausible_high),
            ),
        )  # fmt: skip
    st.button(
        _("Apply the change"), type="primary", icon=":material/edit:", key="tabx_apply", on_click=_apply,
        args=(view, name, key),
    )  # fmt: skip
    return feature


def _strongest(view: View) -> int:
    """The feature that moves this patient's answer most: the first one to try."""
    return int(np.argmax(np.abs(tabx_loaders.explanation(view.before, own_scale=True).values[0])))


def _step(feature: Feature) -> float:
    """A step of the size of the spread, in one digit."""
    size = max(feature.step, 1e-9) / 5
    return float(10.0 ** np.floor(np.log10(size)))


def _apply(view: View, name: str, key: str) -> None:
    """Make the change of what the form holds at the click."""
    value = st.session_state[key]
    keep_edits(view, {**view.edits, name: np.nan if value is None else float(value)})


def listing(view: View) -> None:
    """List the changes, each with its undo."""
    if not view.edits:
        st.caption(_("Nothing is changed yet. The answer and its explanation follow as soon as something is."))
        return
    start = dict(zip(view.model.encoder.names, view.patients.x[view.row].tolist(), strict=True))
    for feature in view.features:
        if feature.name not in view.edits:
            continue
        before, after = (value_text(feature, float(v)) for v in (start[feature.name], view.edits[feature.name]))
        with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
            st.markdown(f"**{plain(feature.name)}**: {plain(before)} → {plain(after)}")
            rest = {name: value for name, value in view.edits.items() if name != feature.name}
            st.button(
                _("Undo"), icon=":material/undo:", key=f"tabx_undo_{feature.name}", on_click=keep_edits,
                args=(view, rest), type="tertiary",
            )  # fmt: skip
    st.button(_("Undo all"), icon=":material/restart_alt:", key="tabx_undo_all", on_click=keep_edits, args=(view, {}))


def comparison(view: View) -> None:
    """Show every family's answer as recorded and with the changes."""
    rows = []
    with st.spinner(_("Asking every model")):
        for family in view.model.families:
            was, now = (tabx_loaders.prediction(one, family) for one in (view.before, view))
            rows.append(
                {
                    _("Model"): family_name(family, view.model.task),
                    _("As recorded"): short_answer(view, was),
                    _("With the changes"): short_answer(view, now),
                }
            )
    st.dataframe(rows, hide_index=True, key="tabx_compared", height="content")


# ---------------------------------------------------------------------------------------------- one curve


def curve(view: View, feature: Feature) -> None:
    """Draw how the answer moves with one value, all else as it is."""
    try:
        with st.spinner(_("Computing the curve")):
            found = tabx_loaders.curves(view, feature.name)
    except MedAIError as error:
        problem(error)
        return
    st.caption(
        _(
            "The thick line is this patient with the value moved and all else as it is (individual conditional "
            "expectation); thin lines are other patients, the dashed one their mean (partial dependence)."
        )
    )
    ice_figure(view, found)
    st.download_button(
        _("Download CSV"), curve_csv(found), file_name=stem(view, "curve") + ".csv", mime="text/csv",
        icon=":material/download:", on_click="ignore", key="tabx_curve_csv",
    )  # fmt: skip


def ice_figure(view: View, found: Curves) -> None:
    """Draw the curves; values outside the trained range are shaded."""
    feature, figure = found.feature, go.Figure()
    share = view.model.task != "number"
    for place, line in enumerate(found.others[:OTHERS]):
        figure.add_scatter(
            x=found.grid, y=line, mode="lines", line={"color": muted(), "width": 1}, opacity=0.22, hoverinfo="skip",
            name=_("Other patients"), legendgroup="others", showlegend=place == 0,
        )  # fmt: skip
    figure.add_scatter(
        x=found.grid, y=found.mean, mode="lines", name=_("Their mean"),
        line={"color": ORANGE, "dash": "dash", "width": 2.5}, hovertemplate=_hover(share),
    )  # fmt: skip
    figure.add_scatter(
        x=found.grid, y=found.rows[0], mode="lines", name=_("This patient"),
        line={"color": accent(), "width": 3.5}, hovertemplate=_hover(share),
    )  # fmt: skip
    now = float(found.now[0])
    if now == now:
        at = float(np.interp(now, found.grid, found.rows[0]))
        figure.add_scatter(
            x=[now], y=[at], mode="markers", name=_("Now"), hovertemplate=_hover(share),
            marker={"color": accent(), "size": 12, "symbol": "diamond", "line": {"width": 2, "color": "#FFFFFF"}},
        )  # fmt: skip
    _untrained(figure, found)
    figure.update_layout(
        margin={"l": 0, "r": 10, "t": 34, "b": 44},
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
    )
    figure.update_xaxes(title=axis_title(feature), fixedrange=True, zeroline=False, **level_ticks(feature))
    figure.update_yaxes(
        title=answer_title(view), fixedrange=True, zeroline=False,
        **({"tickformat": ".0%", "range": [-0.03, 1.03]} if share else {}),
    )  # fmt: skip
    shown = np.linspace(0, len(found.grid) - 1, min(6, len(found.grid))).round().astype(int)
    words = [f"{value_text(feature, float(found.grid[k]))} → {_value(float(found.rows[0, k]), share)}" for k in shown]
    title = _("Answer over {name}").format(name=feature.name)
    draw(figure, "tabx_ice", charts.told(title, words), 360, stem(view, "curve"))


def _untrained(figure: go.Figure, found: Curves) -> None:
    low, high = found.trained
    if not found.feature.levels:
        for start, end in ((found.grid[0], low), (high, found.grid[-1])):
            if end > start:
                figure.add_vrect(
                    x0=start, x1=end, fillcolor=muted(), opacity=0.18, line_width=0,
                    annotation={"text": _("outside training"), "font_size": 12},
                )  # fmt: skip


def _hover(share: bool) -> str:
    return "%{x:.4g} → %{y:.1%}<extra></extra>" if share else "%{x:.4g} → %{y:.4g}<extra></extra>"


def _value(value: float, share: bool) -> str:
    return percent(value) if share else number(value)


def answer_title(view: View) -> str:
    """Return what a model's answers are, for an axis."""
    model = view.model
    if model.task == "number":
        return short(model.target)
    label = view.label if len(model.labels) > 2 else model.labels[1]
    return _("Probability of {label}").format(label=short(label_text(model, label or model.labels[0])))


def curve_csv(found: Curves) -> bytes:
    """Return the curve of the patient and the mean of the others, in English."""
    rows = [
        [found.feature.text(float(value)), f"{mine:.6g}", f"{mean:.6g}",
         bool(found.trained[0] <= value <= found.trained[1])]
        for value, mine, mean in zip(found.grid, found.rows[0], found.mean, strict=True)
    ]  # fmt: skip
    return csv_table([found.feature.name, "this patient", "mean of the background", "within training"], rows)
