"""What moves the model, one column at a time, and how stable the strongest columns are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import plotly.graph_objects as go
import streamlit as st

from pages.ui import charts
from pages.ui.language import _
from pages.ui.tabx_state import View, open_patient
from pages.ui.tabx_style import draw, paper, scale
from pages.ui.tabx_words import axis_title, level_ticks, scale_title, short, signed_plus, value_text
from pages.ui.theme import accent, muted

if TYPE_CHECKING:
    from medai_core.tabular.encoder import Feature
    from medai_core.tabular.explain import Explanation
    from medai_core.tabular.importance import Dependence

Rows = Any
OPENINGS = "tabx_openings"
RANKED = 15


def clickable(view: View, figure: go.Figure, name: str, alt: str, height: int, stem: str) -> None:
    """Show a figure whose points open their patient."""
    # A new key after each opening: a selection that is kept would open the same patient again.
    key = f"{name}_{view.patients.key}_{st.session_state.get(OPENINGS, 0)}"

    def clicked() -> None:
        if chosen := st.session_state[key].selection.points:
            st.session_state[OPENINGS] = st.session_state.get(OPENINGS, 0) + 1
            place = chosen[0]["customdata"]
            open_patient(view.patients, int(place[0] if isinstance(place, list | tuple) else place), _("Why"))

    draw(figure, key, alt, height, stem, on_select=clicked, selection_mode="points")


def point_text(row: int, values: Sequence[tuple[Feature, float]], contribution: float) -> str:
    """Return what stands beside a point: the patient, the values, the contribution."""
    lines = [f"{short(feature.name)} = {short(value_text(feature, value))}" for feature, value in values]
    return "<br>".join([_("Patient {n}").format(n=row + 1), *lines, signed_plus(contribution)])


def spread(values: Rows, bins: int = 60) -> Rows:
    """Return a place between -1 and 1 for each point, so that points in one spot stand beside each other."""
    found = np.zeros(len(values))
    if len(values) < 2 or np.ptp(values) == 0:
        return found + (np.arange(len(values)) % 2 * 2 - 1) * np.arange(len(values)) / max(1, len(values))
    spot = np.minimum(((values - values.min()) / np.ptp(values) * bins).astype(int), bins - 1)
    fullest = max(int(np.bincount(spot).max()), 8)
    for each in np.unique(spot):
        mine = np.flatnonzero(spot == each)
        step = (np.arange(len(mine)) + 1) // 2
        found[mine] = step * (np.arange(len(mine)) % 2 * 2 - 1) * 2 / fullest
    return found


# ----------------------------------------------------------------------------------------------- one column


def one_column(view: View, told: Explanation, rows: Rows) -> None:
    """Show the contributions of one column over its values, coloured by the column it seems to interact with."""
    from medai_core.tabular.importance import bars, dependence

    names = told.encoder.names
    order = [bar.feature for bar in bars(told)]
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        k = st.selectbox(
            _("Column"), order, format_func=names.__getitem__, key=f"tabx_one_{view.key}", persist_state="session",
            width=320,
        )  # fmt: skip
        with st.spinner(_("Looking for interactions")):
            found = dependence(told, k)
        by = st.selectbox(
            _("Coloured by"), [None, *found.candidates], key=f"tabx_by_{view.key}_{k}", width=360,
            format_func=lambda place: (
                _("strongest interaction: {name}").format(name=names[found.by]) if place is None else names[place]
            ),
        )  # fmt: skip
    dependence_figure(view, told, rows, found if by is None else dependence(told, k, by))


def dependence_figure(view: View, told: Explanation, rows: Rows, found: Dependence) -> None:
    """Draw contributions over values."""
    feature, other = (told.encoder.features[place] for place in (found.feature, found.by))
    known = ~np.isnan(found.x)
    x = found.x + (0.25 * spread(found.values) if feature.levels else 0.0)
    texts = [
        point_text(int(row), [(feature, float(a)), (other, float(b))], float(v))
        for row, a, b, v in zip(rows, found.x, found.colour, found.values, strict=True)
    ]
    figure = go.Figure(
        go.Scatter(
            x=x[known], y=found.values[known], mode="markers", customdata=rows[known][:, None].tolist(),
            text=[text for text, yes in zip(texts, known, strict=True) if yes],
            hovertemplate="%{text}<extra></extra>", unselected={"marker": {"opacity": 0.9}},
            marker={"size": 7, "opacity": 0.9, "color": found.colour[known], "colorscale": scale(),
                    "line": {"width": 0.5, "color": paper()}, **_colourbar(other, found.colour)},
        )
    )  # fmt: skip
    figure.add_hline(y=0, line_width=1, line_color=muted())
    figure.update_layout(margin={"l": 0, "r": 0, "t": 8, "b": 44}, clickmode="event+select", showlegend=False)
    figure.update_xaxes(title=axis_title(feature), fixedrange=True, zeroline=False, **level_ticks(feature))
    figure.update_yaxes(title=f"{_('Contribution')}, {scale_title(view.model, told)}", fixedrange=True, zeroline=False)
    words = [f"{value_text(feature, float(a))} → {signed_plus(float(v))}"
             for a, v in list(zip(found.x, found.values, strict=True))[:8]]  # fmt: skip
    alt = charts.told(_("Contribution of {name} over its values").format(name=feature.name), words)
    clickable(view, figure, f"tabx_dependence_{found.feature}", alt, 440, f"medai-{view.key}-{view.family}-dependence")
    if gone := int((~known).sum()):
        st.caption(_("{n} patients without a value are not drawn.").format(n=gone))
    st.caption(
        _("A point is a patient. Where points of one value spread by colour, the two columns seem to interact in the "
          "model. Click a point to open the patient.")
    )  # fmt: skip


def _colourbar(other: Any, colour: Rows) -> dict[str, Any]:
    seen = colour[~np.isnan(colour)]
    low, high = np.quantile(seen, [0.02, 0.98]) if seen.size else (0.0, 1.0)
    bar: dict[str, Any] = {"title": {"text": short(other.name, 20), "side": "top"}, "thickness": 10, "outlinewidth": 0}
    if other.levels:
        low, high = 0.0, float(max(1, len(other.levels) - 1))
        bar |= {"tickvals": list(range(len(other.levels))), "ticktext": [short(level, 14) for level in other.levels]}
    return {"cmin": float(low), "cmax": float(high) if high > low else float(low) + 1.0, "colorbar": bar}


# ------------------------------------------------------------------------------------------------- stability


def stability(view: View) -> None:
    """Show in which places each feature came when the model was trained on other parts of the table."""
    rows = view.model.bundle.metrics.get("stability", {}).get(view.family)
    if not rows:
        st.info(_("The bundle holds no measurement of stability for this model."), icon=":material/info:")
        return
    st.caption(
        _("Place of each column by mean size of its contribution, over models trained on other parts of the table: "
          "median, and the line from best to worst. At the right, how often it was among the five strongest.")
    )  # fmt: skip
    top = rows[:RANKED]
    ranks = [row["rank"] for row in top]
    figure = go.Figure(
        go.Scatter(
            x=ranks, y=list(range(len(top))), mode="markers", marker={"color": accent(), "size": 11},
            error_x={"type": "data", "symmetric": False, "thickness": 2, "width": 4, "color": muted(),
                     "array": [row["rank_high"] - row["rank"] for row in top],
                     "arrayminus": [row["rank"] - row["rank_low"] for row in top]},
            customdata=[
                [short(row["name"]), row["rank_low"], row["rank_high"], f"{row['top_share']:.0%}"] for row in top
            ],
            hovertemplate="%{customdata[0]}: %{x} (%{customdata[1]}–%{customdata[2]}), %{customdata[3]}<extra></extra>",
        )
    )  # fmt: skip
    for place, row in enumerate(top):
        figure.add_annotation(
            x=1, xref="paper", xanchor="left", y=place, text=f"  {row['top_share']:.0%}", showarrow=False,
            font={"size": 13},
        )  # fmt: skip
    worst = max(row["rank_high"] for row in top)
    figure.update_layout(margin={"l": 0, "r": 60, "t": 8, "b": 44}, showlegend=False)
    figure.update_xaxes(
        title=_("Place (1 is the strongest)"), range=[0.3, worst + 0.7], fixedrange=True, zeroline=False
    )
    figure.update_yaxes(
        tickvals=list(range(len(top))), ticktext=[short(row["name"]) + "  " for row in top], fixedrange=True,
        range=[len(top) - 0.4, -0.6], automargin=True, showgrid=True,
    )  # fmt: skip
    words = [f"{row['name']} {row['rank']:g} ({row['rank_low']}–{row['rank_high']})" for row in top]
    stem = f"medai-{view.key}-{view.family}-stability"
    draw(
        figure, "tabx_stability", charts.told(_("Stability of the strongest columns"), words), 90 + 30 * len(top), stem
    )
