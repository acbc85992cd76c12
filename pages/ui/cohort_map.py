"""A map of the patients: stays that the networks see alike lie close together, in groups that are described."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from html import escape
from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go
import streamlit as st

from medai_core.errors import MedAIError
from pages.ui import charts
from pages.ui.cohort_rows import StayRow
from pages.ui.frame import bullets, problem
from pages.ui.icu_words import amount, figure, variable_name
from pages.ui.language import _, language
from pages.ui.theme import ORANGE, accent, dark, muted
from pages.ui.words import percent, signed

if TYPE_CHECKING:
    from medai_core.icu.landscape import ClusterNote, Difference, Landscape

MAPS, OPENINGS = "cohort_maps", "cohort_map_openings"
METHODS = ("pca", "umap")
LEAST_STAYS = 5
COUNTS = (0, *range(2, 9))
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "star", "hexagon", "x")
GLYPHS = ("●", "■", "◆", "▲", "✚", "★", "⬢", "✖")
# From blue over orange, which every form of colour blindness tells apart, away from the background's lightness.
LIGHT_SCALE = ((0.0, "#A6C4DA"), (0.35, "#E69F00"), (1.0, "#8A1C05"))
DARK_SCALE = ((0.0, "#3D6A8C"), (0.35, "#E69F00"), (1.0, "#FFEFC2"))
LEAST_TOP, TOP_QUANTILE = 0.3, 0.98
SHARES = ("Gender", "MechVent")
CLEAR = 0.2
INTERACTIVE = {"displaylogo": False, "modeBarButtonsToRemove": ["select2d", "lasso2d", "toImage", "autoScale2d"]}


def patient_map(rows: Sequence[StayRow], on_open: Callable[[StayRow], None]) -> None:
    """Show the map, which opens the patient of a point that is clicked, and what sets each group apart."""
    if len(rows) < LEAST_STAYS:
        st.info(_("A map needs at least {n} stays that could be read.").format(n=LEAST_STAYS), icon=":material/map:")
        return
    with st.container(horizontal=True, vertical_alignment="bottom"):
        method = st.segmented_control(
            _("Layout"), METHODS, format_func=method_name, default="pca", required=True, key="cohort_method",
            persist_state="session",
            help=_(
                "PCA keeps the directions in which the stays differ most. UMAP keeps neighbours together; distances "
                "between its groups mean little, and the first time takes some seconds, half a minute for thousands."
            ),
        )  # fmt: skip
        wanted = st.selectbox(
            _("Groups"), COUNTS, format_func=lambda n: str(n) if n else _("Automatic"), key="cohort_groups", width=150,
            persist_state="session", help=_("Automatic takes the number with the highest silhouette."),
        )  # fmt: skip
    try:
        made = grouped_map(rows, method, wanted or None)
    except MedAIError as error:
        problem(error)
        return
    st.caption(
        _(
            "Each point is a stay, placed by the networks' hidden state at its last hour. Shapes are groups found by "
            "k-means; the axes have no unit. Click a point to open that patient."
        )
    )
    points(rows, made, on_open)
    if made.about:
        groups(made)


def method_name(method: str) -> str:
    """Return the name of a way to lay stays out."""
    return {"pca": "PCA", "umap": "UMAP"}[method]


def grouped_map(rows: Sequence[StayRow], method: str, count: int | None) -> Landscape:
    """Return the map in one layout with so many groups; a layout does not depend on the groups."""
    groups = drawn_map(rows, "pca", count)
    return groups if method == "pca" else replace(groups, xy=drawn_map(rows, method, None).xy, method=method)


def drawn_map(rows: Sequence[StayRow], method: str, count: int | None) -> Landscape:
    """Return a map of these rows, made once."""
    maps = st.session_state.setdefault(MAPS, {})
    if (method, count) not in maps:
        from medai_core.icu.grid import Grid
        from medai_core.icu.landscape import landscape

        courses = [row.outcome for row in rows]
        # What sets groups apart is told from the last known values alone: a table of one hour holds them.
        latest = np.stack([course.latest for course in courses])[:, None]
        grid = Grid(latest, latest, latest, np.stack([course.fixed for course in courses]))
        states = np.stack([course.state for course in courses])
        with st.spinner(_("Drawing the map of {n} stays").format(n=f"{len(rows):,}"), show_time=True):
            maps[method, count] = landscape(states, grid, 1, [course.now for course in courses], method, count)
    return maps[method, count]


def forget() -> None:
    """Drop the maps of a list that is closed."""
    st.session_state.pop(MAPS, None)


def points(rows: Sequence[StayRow], made: Landscape, on_open: Callable[[StayRow], None]) -> None:
    """Draw the stays: colour is risk, shape is group."""
    risk = np.array([row.outcome.now for row in rows])
    top = max(LEAST_TOP, float(np.quantile(risk, TOP_QUANTILE)))
    figure = go.Figure()
    for group in sorted(set(made.cluster.tolist())):
        figure.add_trace(_trace(rows, np.flatnonzero(made.cluster == group), made, group, risk))
        # The legend shows shapes alone, in a colour that is no risk.
        figure.add_scatter(
            x=[None], y=[None], mode="markers", name=group_name(group),
            marker={"symbol": symbol(group), "size": 9, "color": muted()},
        )  # fmt: skip
    ticks = np.linspace(0, top, 4)
    figure.update_layout(
        margin={"l": 0, "r": 0, "t": 34, "b": 0},
        legend={
            "orientation": "h", "y": 1.01, "yanchor": "bottom", "x": 0, "itemclick": False, "itemdoubleclick": False,
        },
        clickmode="event+select",
        dragmode="pan",
        coloraxis={
            "cmin": 0, "cmax": top, "colorscale": DARK_SCALE if dark() else LIGHT_SCALE,
            "colorbar": {
                "title": {"text": _("Risk now"), "side": "top"}, "thickness": 12, "outlinewidth": 0, "tickvals": ticks,
                "ticktext": [f"{tick:.0%}" for tick in ticks[:-1]] + [f"≥ {top:.0%}"],
            },
        },
    )  # fmt: skip
    quiet = {"showticklabels": False, "zeroline": False, "showgrid": False, "ticks": ""}
    figure.update_xaxes(title=_("First axis"), **quiet)
    figure.update_yaxes(title=_("Second axis"), **quiet)
    # A new key after each opening: a selection that is kept would open the same patient again.
    key = f"cohort_map_{made.method}_{st.session_state.get(OPENINGS, 0)}"

    def clicked() -> None:
        if chosen := st.session_state[key].selection.points:
            st.session_state[OPENINGS] = st.session_state.get(OPENINGS, 0) + 1
            on_open(rows[int(chosen[0]["customdata"][0])])

    charts.draw(
        figure, key, _("Map of the patients, coloured by risk"), height=520, config=INTERACTIVE, on_select=clicked,
        selection_mode="points",
    )  # fmt: skip


def _trace(rows: Sequence[StayRow], place: np.ndarray, made: Landscape, group: int, risk: np.ndarray) -> go.Scatter:
    size = 9 if len(rows) <= 500 else 6
    return go.Scatter(
        x=made.xy[place, 0], y=made.xy[place, 1], mode="markers", name=group_name(group), showlegend=False,
        customdata=[[int(k)] for k in place],
        text=[f"{escape(rows[k].name)}<br>{_('Risk now')}: {percent(float(risk[k]))}" for k in place],
        hovertemplate="%{text}<extra>" + group_name(group) + "</extra>",
        marker={
            "symbol": symbol(group), "size": size, "color": risk[place], "coloraxis": "coloraxis", "opacity": 0.9,
            "line": {"width": 0.5, "color": "#0F151B" if dark() else "#FFFFFF"},
        },
        # A click must not fade the rest: the page changes.
        unselected={"marker": {"opacity": 0.9}},
    )  # fmt: skip


def symbol(group: int) -> str:
    return SYMBOLS[group % len(SYMBOLS)] if group >= 0 else "circle-open"


def group_name(group: int) -> str:
    """Return what a group is called; they are numbered from the lowest mean risk."""
    return _("Group {n}").format(n=group + 1) if group >= 0 else _("No group")


def groups(made: Landscape) -> None:
    """Say what distinguishes each group, in words and as bars."""
    st.subheader(_("What sets the groups apart"), anchor=False)
    st.caption(
        _(
            "Last known values, against all other stays; bars are differences of the means in standard deviations. "
            "Groups describe these stays; they are no diagnoses. Silhouette {silhouette}: 1 is well apart, 0 is one "
            "cloud cut up."
        ).format(silhouette=signed(made.silhouette))
    )
    span = max((abs(d.standardised) for note in made.about for d in note.distinguishing), default=1.0)
    per_row = 2 if len(made.about) in (2, 4) else 3
    for start in range(0, len(made.about), per_row):
        row = made.about[start : start + per_row]
        for column, note in zip(st.columns(per_row), row, strict=False):
            with column, st.container(border=True, height="stretch", gap="small"):
                card(note, span)


def card(note: ClusterNote, span: float) -> None:
    """Show one group."""
    size = _("{n} stays, mean risk {risk}").format(n=f"{note.n:,}", risk=percent(note.mean_risk))
    st.markdown(f"**{GLYPHS[note.cluster % len(GLYPHS)]} {group_name(note.cluster)}** · {size}")
    sentences = in_words(note)
    bullets(sentences or [_("Nothing measured sets it clearly apart.")])
    if note.distinguishing:
        bars(note, span)


def in_words(note: ClusterNote) -> list[str]:
    """Return what is clearly higher and what is clearly lower in a group, a sentence each."""
    comma = "；" if language() == "zh_CN" else "; "
    sentences = []
    for template, sign in ((_("Higher: {things}."), 1), (_("Lower: {things}."), -1)):
        things = [difference(d) for d in note.distinguishing if d.standardised * sign >= CLEAR]
        if things:
            sentences.append(template.format(things=comma.join(things)))
    return sentences


def difference(found: Difference) -> str:
    """Return one difference: the mean in the group against that elsewhere."""
    code, text = found.variable, _("{name} {here} against {elsewhere}")
    if code in SHARES:
        name = _("Men") if code == "Gender" else variable_name(code)
        return text.format(name=name, here=f"{found.mean:.0%}", elsewhere=f"{found.elsewhere:.0%}")
    return text.format(name=variable_name(code), here=figure(code, found.mean), elsewhere=amount(code, found.elsewhere))


def short_name(code: str) -> str:
    """Return a name that fits beside a bar."""
    return {"Gender": _("Men"), "MechVent": _("Ventilated"), "Age": _("Age"), "Height": _("Height")}.get(code, code)


def bars(note: ClusterNote, span: float) -> None:
    """Draw the differences of a group; all groups share the axis."""
    found = note.distinguishing
    values = [d.standardised for d in found]
    figure_ = go.Figure(
        go.Bar(
            x=values, y=[short_name(d.variable) for d in found], orientation="h",
            marker_color=[ORANGE if value > 0 else accent() for value in values],
            text=[signed(value, 1) for value in values], textposition="outside", cliponaxis=False,
            customdata=[difference(d) for d in found], hovertemplate="%{customdata}<extra></extra>",
        )
    )  # fmt: skip
    figure_.update_layout(margin={"l": 0, "r": 8, "t": 2, "b": 2}, bargap=0.35)
    figure_.update_xaxes(visible=False, range=[-1.35 * span, 1.35 * span], fixedrange=True)
    figure_.update_yaxes(autorange="reversed", fixedrange=True, ticksuffix="  ", automargin=True, showgrid=False)
    figure_.add_vline(x=0, line_width=1, line_color=muted())
    charts.draw(figure_, f"cohort_group_{note.cluster}", " ".join(in_words(note)), height=28 * len(found) + 10)
