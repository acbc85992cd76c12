"""Two groups of patients side by side: what moves the model differently in them."""

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
from pages.ui.tabx_state import View
from pages.ui.tabx_style import draw
from pages.ui.tabx_words import label_text, scale_title, short, signed_plus, value_text
from pages.ui.theme import ORANGE, accent, muted

if TYPE_CHECKING:
    from medai_core.tabular.explain import Explanation
    from medai_core.tabular.importance import CohortBar

ANSWER, OUTCOME = "\0answer", "\0outcome"
"""Ways to split that are no column."""
SHOWN = 12
Mask = Any


def cohort_view(view: View, told: Explanation, rows: Any) -> None:
    """Ask for two groups of the explained patients, and compare their contributions."""
    from medai_core.tabular.importance import cohorts

    chosen = split(view, told, rows)
    if chosen is None:
        return
    first, second, names = chosen
    try:
        found = cohorts(told, first, second)
    except MedAIError as error:
        problem(error)
        return
    titles = [
        _("{group}, n = {n}").format(group=name, n=int(mine.sum()))
        for name, mine in zip(names, (first, second), strict=True)
    ]
    st.caption(_("Mean contribution in each group with its 95% interval over patients; the largest difference first."))
    figure_of(view, told, found[:SHOWN], titles)
    st.download_button(
        _("Download CSV"), cohorts_csv(found, titles), mime="text/csv", icon=":material/download:", on_click="ignore",
        file_name=f"medai-{view.key}-{view.family}-groups.csv", key="tabx_groups_csv",
    )  # fmt: skip


def split(view: View, told: Explanation, rows: Any) -> tuple[Mask, Mask, tuple[str, str]] | None:
    """Ask how to split; return both groups with their names, None where one of them is empty."""
    ways = {ANSWER: _("The model's answer")}
    if view.patients.outcome is not None and view.model.labels:
        ways[OUTCOME] = _("Recorded: {target}").format(target=view.model.target)
    ways |= {name: name for name in told.encoder.names}
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        way = st.selectbox(
            _("Split the patients by"), list(ways), format_func=ways.__getitem__, key=f"tabx_split_{view.patients.key}",
            persist_state="session", width=320,
        )  # fmt: skip
        if way == OUTCOME:
            return _by_outcome(view, rows)
        if way == ANSWER:
            return _at(view, "answer", told.predictions, scale_title(view.model, told), None)
        place = told.encoder.names.index(way)
        feature, x = told.encoder.features[place], told.x[:, place]
        if feature.levels:
            return _by_level(view, way, feature.levels, x)
        return _at(view, str(place), x, feature.name, feature)


def _by_outcome(view: View, rows: Any) -> tuple[Mask, Mask, tuple[str, str]] | None:
    recorded = view.patients.outcome[rows]
    known = sorted({text for text in recorded.tolist() if text})
    if len(known) < 2:
        st.info(_("All of these patients are in one group."), icon=":material/info:")
        return None
    label = st.selectbox(
        _("First group"), known, format_func=lambda text: label_text(view.model, text), width=220,
        key=f"tabx_split_outcome_{view.patients.key}",
    )  # fmt: skip
    first = recorded == label
    rest = (recorded != "") & ~first
    other = label_text(view.model, known[1 - known.index(label)]) if len(known) == 2 else _("all others")
    return first, rest, (label_text(view.model, label), other)


def _by_level(view: View, name: str, levels: tuple[str, ...], x: Any) -> tuple[Mask, Mask, tuple[str, str]]:
    place = st.selectbox(
        _("First group"), range(len(levels)), format_func=levels.__getitem__, width=220,
        key=f"tabx_split_level_{view.patients.key}_{name}",
    )  # fmt: skip
    other = levels[1 - place] if len(levels) == 2 else _("all others")
    return x == place, ~np.isnan(x) & (x != place), (levels[place], other)


def _at(view: View, name: str, x: Any, title: str, feature: Any) -> tuple[Mask, Mask, tuple[str, str]] | None:
    seen = x[~np.isnan(x)]
    if not seen.size or seen.min() == seen.max():
        st.info(_("All of these patients are in one group."), icon=":material/info:")
        return None
    middle = float(np.median(seen)) if feature is not None else 0.0
    if not seen.min() < middle <= seen.max():
        middle = float(np.median(seen))
    cut = st.number_input(
        _("First group: at least"), value=float(f"{middle:.4g}"), format="%.4g", width=220,
        key=f"tabx_split_at_{view.patients.key}_{view.family}_{name}_{view.probability}",
    )  # fmt: skip
    shown = value_text(feature, cut) if feature is not None else f"{cut:.4g}"
    names = (f"{short(title, 40)} ≥ {shown}", f"{short(title, 40)} < {shown}")
    return x >= cut, x < cut, names


def figure_of(view: View, told: Explanation, found: list[CohortBar], titles: list[str]) -> None:
    """Draw both means with their intervals."""
    figure = go.Figure()
    looks = ((accent(), "circle", -0.16), (ORANGE, "diamond", 0.16))
    for part, (title, (colour, symbol, shift)) in enumerate(zip(titles, looks, strict=True)):
        means = [bar.second if part else bar.first for bar in found]
        ends = [bar.second_interval if part else bar.first_interval for bar in found]
        figure.add_scatter(
            x=means, y=[place + shift for place in range(len(found))], mode="markers", name=short(title, 90),
            marker={"color": colour, "symbol": symbol, "size": 10},
            error_x={"type": "data", "symmetric": False, "thickness": 2, "width": 3, "color": colour,
                     "array": [high - mean for mean, (_low, high) in zip(means, ends, strict=True)],
                     "arrayminus": [mean - low for mean, (low, _high) in zip(means, ends, strict=True)]},
            customdata=[[short(bar.name), signed_plus(mean)] for bar, mean in zip(found, means, strict=True)],
            hovertemplate="%{customdata[0]}: %{customdata[1]}<extra>" + short(title, 40) + "</extra>",
        )  # fmt: skip
    figure.add_vline(x=0, line_width=1, line_color=muted())
    figure.update_layout(
        margin={"l": 0, "r": 10, "t": 34, "b": 44},
        legend={"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 0},
    )
    figure.update_xaxes(
        title=f"{_('Mean contribution')}, {scale_title(view.model, told)}", fixedrange=True, zeroline=False
    )
    figure.update_yaxes(
        tickvals=list(range(len(found))), ticktext=[short(bar.name) + "  " for bar in found], fixedrange=True,
        range=[len(found) - 0.4, -0.6], automargin=True, showgrid=False, zeroline=False,
    )  # fmt: skip
    words = [f"{bar.name} {signed_plus(bar.first)} / {signed_plus(bar.second)}" for bar in found]
    alt = charts.told(f"{_('Mean contribution')}, {' / '.join(titles)}", words)
    draw(figure, "tabx_groups", alt, 100 + 36 * len(found), f"medai-{view.key}-{view.family}-groups")


def cohorts_csv(found: list[CohortBar], titles: list[str]) -> bytes:
    """Return both means with their intervals, a line for each feature."""
    rows = [
        [bar.name, f"{bar.first:.6g}", *(f"{end:.6g}" for end in bar.first_interval), f"{bar.second:.6g}",
         *(f"{end:.6g}" for end in bar.second_interval)]
        for bar in found
    ]  # fmt: skip
    head = ["feature", *(f"{title}: {part}" for title in titles for part in ("mean SHAP value", "low", "high"))]
    return csv_table(head, rows)
