"""What moves the model over all patients: importance, one column at a time, two groups, and how stable it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import plotly.graph_objects as go
import streamlit as st

from medai_core.errors import MedAIError
from pages.ui import charts
from pages.ui.frame import problem
from pages.ui.language import _
from pages.ui.queue import csv_table
from pages.ui.tab_words import duration
from pages.ui.tabx_cohorts import cohort_view
from pages.ui.tabx_columns import clickable, one_column, point_text, spread, stability
from pages.ui.tabx_state import View
from pages.ui.tabx_style import draw, picture_format, scale
from pages.ui.tabx_why import association
from pages.ui.tabx_words import (
    quality,
    scale_title,
    short,
    unit_of,
)
from pages.ui.tabx_work import Work, work_of
from pages.ui.theme import accent, muted

if TYPE_CHECKING:
    from medai_core.tabular.explain import Explanation
    from medai_core.tabular.importance import Bar

Rows = Any
COUNTS = (50, 100, 250, 500, 1000, 2000)
FIRST_COUNT = 1000
START_AT_ONCE_SECONDS, SLICE_SECONDS = 2.0, 1.0
SWARM, BARS = 10, 15
GL_POINTS = 6000
"""More points than this are drawn by the graphics card."""


def all_patients(view: View) -> None:
    """Explain many patients, then show what is asked for."""
    association()
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        names = {
            "importance": _("Importance"), "one": _("One column"), "groups": _("Two groups"),
            "stability": _("Stability"),
        }  # fmt: skip
        shown = st.segmented_control(
            _("Show"), list(names), default="importance", required=True, format_func=names.__getitem__,
            key="tabx_view", persist_state="session",
        )  # fmt: skip
        count = how_many(view)
        picture_format()
    if shown == "stability":
        stability(view)
        return
    found = explained(view, count)
    if found is None:
        return
    told, rows = found
    {"importance": importance, "one": one_column, "groups": cohort_view}[shown](view, told, rows)
    quality(told)
    st.download_button(
        _("Download all values, CSV"), lambda: values_csv(told, rows), mime="text/csv", icon=":material/download:",
        file_name=f"medai-{view.key}-{view.family}-shap.csv", on_click="ignore", key="tabx_all_csv",
    )  # fmt: skip


def how_many(view: View) -> int:
    """Ask how many patients to explain."""
    total = len(view.patients)
    counts = [count for count in COUNTS if count < total] + ([total] if total <= COUNTS[-1] else [])
    if len(counts) < 2:
        return counts[0]
    first = max(count for count in counts if count <= FIRST_COUNT)
    return st.select_slider(
        _("Patients explained"), counts, value=first, key=f"tabx_count_{view.patients.key}", persist_state="session",
        width=220, help=_("Fewer than all are drawn at random, always the same ones."),
    )  # fmt: skip


def explained(view: View, count: int) -> tuple[Explanation, Rows] | None:
    """Return the explanations of so many patients, None while they are not there."""
    try:
        with st.spinner(_("Estimating the time")):
            work = work_of(view, count)
        if work.state == "waiting" and work.seconds <= START_AT_ONCE_SECONDS:
            work.start()
        if work.state in ("waiting", "running"):
            progress(view, work)
    except MedAIError as error:
        problem(error)
        return None
    if work.state == "waiting":
        return None
    if work.state == "stopped":
        with st.container(horizontal=True, vertical_alignment="center"):
            st.caption(_("Stopped: {n} of {all} patients are explained.").format(n=work.done, all=len(work.rows)))
            st.button(_("Go on"), icon=":material/play_arrow:", on_click=work.start, key="tabx_resume")
    return work.result


def progress(view: View, work: Work) -> None:
    """Say how long it will take and wait for the start, or work for one slice and come back."""
    if work.state == "waiting":
        st.write(_("Explaining {n} patients by this model takes about {time}.").format(
            n=f"{len(work.rows):,}", time=duration(work.seconds)
        ))  # fmt: skip
        st.button(
            _("Explain all patients"), type="primary", icon=":material/play_arrow:", on_click=work.start,
            key="tabx_start",
        )  # fmt: skip
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        words = _("{n} of {all} patients").format(n=work.done, all=len(work.rows))
        left = _("about {time} left").format(time=duration(work.left_seconds))
        st.progress(min(work.done / max(1, len(work.rows)), 0.99), f"{words}, {left}")
        st.button(_("Stop"), icon=":material/stop:", on_click=work.stop, key="tabx_stop")
    work.work(SLICE_SECONDS)
    st.rerun()


# ------------------------------------------------------------------------------------------------ importance


def importance(view: View, told: Explanation, rows: Rows) -> None:
    """Show the beeswarm beside the bars."""
    from medai_core.tabular.importance import bars

    found = bars(told)
    left, right = st.columns([3, 2], gap="medium")
    with left:
        st.subheader(_("Every patient"), anchor=False)
        st.caption(_("A point is a patient; its colour is the value, low to high. Click a point to open the patient."))
        beeswarm(view, told, rows, found)
    with right:
        st.subheader(_("On average"), anchor=False)
        st.caption(
            _("Mean size of the contribution, {unit}; lines are 95% intervals over patients.").format(
                unit=unit_of(told)
            )
        )
        bar_chart(view, told, found)


def beeswarm(view: View, told: Explanation, rows: Rows, found: list[Bar]) -> None:
    """Draw every patient's contributions, a row for each feature."""
    from medai_core.tabular.importance import colours

    shade = colours(told)
    top = [bar.feature for bar in found[:SWARM]]
    kind = go.Scattergl if len(top) * len(told.x) > GL_POINTS else go.Scatter
    figure = go.Figure()
    for place, k in enumerate(top):
        known = ~np.isnan(shade[:, k])
        for mine, symbol in ((known, "circle"), (~known, "circle-open")):
            if mine.any():
                figure.add_trace(_swarm(view, told, rows, k, place, mine, symbol, shade, kind))
    figure.add_vline(x=0, line_width=1, line_color=muted())
    names = [short(told.encoder.names[k]) + "  " for k in top]
    figure.update_layout(
        margin={"l": 0, "r": 0, "t": 8, "b": 44}, showlegend=False, clickmode="event+select",
        coloraxis={
            "cmin": 0, "cmax": 1, "colorscale": scale(),
            "colorbar": {"title": {"text": _("Value"), "side": "top"}, "thickness": 10, "outlinewidth": 0,
                         "tickvals": [0, 1], "ticktext": [_("low"), _("high")], "len": 0.8},
        },
    )  # fmt: skip
    figure.update_xaxes(title=f"{_('Contribution')}, {scale_title(view.model, told)}", fixedrange=True, zeroline=False)
    figure.update_yaxes(
        tickvals=list(range(len(top))), ticktext=names, fixedrange=True, range=[len(top) - 0.4, -0.6], automargin=True,
        showgrid=False, zeroline=False,
    )  # fmt: skip
    words = [f"{bar.name} {bar.mean:.3g}" for bar in found[:SWARM]]
    clickable(
        view, figure, "tabx_swarm", charts.told(_("Contributions of every patient"), words), 90 + 44 * len(top),
        f"medai-{view.key}-{view.family}-beeswarm",
    )  # fmt: skip


def _swarm(
    view: View, told: Explanation, rows: Rows, k: int, place: int, mine: Rows, symbol: str, shade: Rows, kind: Any
) -> Any:
    feature, values = told.encoder.features[k], told.values[mine, k]
    texts = [
        point_text(int(row), [(feature, float(x))], float(v))
        for row, x, v in zip(rows[mine], told.x[mine, k], values, strict=True)
    ]
    size = 6 if len(told.x) <= 600 else 4
    look = {"color": shade[mine, k], "coloraxis": "coloraxis"} if symbol == "circle" else {"color": muted()}
    return kind(
        x=values, y=place + 0.38 * spread(values), mode="markers", customdata=rows[mine][:, None].tolist(),
        text=texts, hovertemplate="%{text}<extra></extra>",
        marker={"size": size, "symbol": symbol, "opacity": 0.85, **look}, unselected={"marker": {"opacity": 0.85}},
    )  # fmt: skip


def bar_chart(view: View, told: Explanation, found: list[Bar]) -> None:
    """Draw the mean size of the contributions."""
    top = found[:BARS]
    figure = go.Figure(
        go.Bar(
            x=[bar.mean for bar in top], y=list(range(len(top))), orientation="h", cliponaxis=False,
            marker={"color": accent(), "line_width": 0},
            customdata=[[short(bar.name), f"{bar.share:.0%}"] for bar in top],
            error_x={"type": "data", "symmetric": False, "array": [bar.high - bar.mean for bar in top],
                     "arrayminus": [bar.mean - bar.low for bar in top], "thickness": 1.5, "width": 3,
                     "color": muted()},
            hovertemplate="%{customdata[0]}: %{x:.3g} (%{customdata[1]})<extra></extra>",
        )
    )  # fmt: skip
    figure.update_layout(margin={"l": 0, "r": 8, "t": 8, "b": 44}, bargap=0.35)
    figure.update_xaxes(title=_("Mean size, {unit}").format(unit=unit_of(told)), fixedrange=True, nticks=5)
    figure.update_yaxes(
        tickvals=list(range(len(top))), ticktext=[short(bar.name, 26) + "  " for bar in top], fixedrange=True,
        range=[len(top) - 0.4, -0.6], automargin=True, showgrid=False,
    )  # fmt: skip
    words = [f"{bar.name} {bar.mean:.3g} ({bar.low:.3g}–{bar.high:.3g})" for bar in top]
    height = 90 + 44 * min(SWARM, len(found))
    stem = f"medai-{view.key}-{view.family}-importance"
    draw(figure, "tabx_bars", charts.told(_("Mean size of the contributions"), words), height, stem)


def values_csv(told: Explanation, rows: Rows) -> bytes:
    """Return every value of every patient explained, in English."""
    frame = told.to_frame()
    frame.insert(0, "patient", np.asarray(rows) + 1)
    return csv_table(list(map(str, frame.columns)), frame.sort_values("patient").itertuples(index=False))
