"""Plotly figures that look the same on every page, in both themes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
import plotly.graph_objects as go
import streamlit as st

from pages.ui.language import _
from pages.ui.theme import ORANGE, SERIES, accent, dark, muted
from pages.ui.words import label_name, percent, signed

PLAIN = {"displayModeBar": False, "staticPlot": False, "scrollZoom": False, "doubleClick": False}


def draw(figure: go.Figure, key: str, alt: str, height: int, config: Mapping[str, Any] = PLAIN, **options: Any) -> None:
    """Show a figure with transparent background, fonts of the theme, and a description for screen readers.

    ``options`` go on to :func:`streamlit.plotly_chart`.
    """
    show(dressed(figure, height), key, alt, config, **options)


def dressed(figure: go.Figure, height: int) -> go.Figure:
    """Give a figure its height, a transparent background and the fonts of the theme, and return it."""
    return figure.update_layout(
        height=height,
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        separators=".,",
        font_size=14,
        hoverlabel_font_size=13,
    )


def show(figure: go.Figure, key: str, alt: str, config: Mapping[str, Any] = PLAIN, **options: Any) -> None:
    """Show a dressed figure, as :func:`draw` does."""
    st.plotly_chart(figure, key=key, alt=alt, config=dict(config), **options)


def told(title: str, values: Sequence[str]) -> str:
    """Return the description of a figure for those who do not see it: what it is, and its values."""
    return f"{title}: {'; '.join(values)}"


def probability_bars(probabilities: Mapping[str, float], chosen: Sequence[str], key: str) -> None:
    """Draw calibrated probabilities; labels of the prediction set carry a dot, the others are grey."""
    labels = sorted(probabilities, key=probabilities.__getitem__)
    values = [probabilities[label] for label in labels]
    inside = [label in chosen for label in labels]
    bar = go.Bar(
        y=[label_name(label) for label in labels],
        x=values,
        orientation="h",
        text=[percent(value) + ("  ●" if yes else "") for value, yes in zip(values, inside, strict=True)],
        textposition="outside",
        cliponaxis=False,
        marker={
            "color": [accent() if yes else muted() for yes in inside],
            "opacity": [1.0 if yes else 0.55 for yes in inside],
            "line_width": 0,
        },
        hovertemplate="%{y}: %{text}<extra></extra>",
    )
    figure = go.Figure(bar)
    figure.update_layout(margin={"l": 0, "r": 70, "t": 4, "b": 4}, bargap=0.42, showlegend=False)
    figure.update_xaxes(range=[0, 1], visible=False, fixedrange=True)
    figure.update_yaxes(fixedrange=True, ticks="", showgrid=False, automargin=True, ticksuffix="  ")
    words = ", ".join(f"{label_name(label)} {percent(probabilities[label])}" for label in reversed(labels))
    draw(figure, key, words, height=44 * len(labels) + 14)


def faithfulness_dots(figures: Mapping[str, tuple[float, float]], key: str) -> None:
    """Draw this map against a random order, for each test: ``{test: (this map, random)}`` in log-odds.

    Log-odds have no natural zero and may be negative, so points are drawn and not bars.
    """
    tests = list(figures)
    ends = [value for pair in figures.values() for value in pair]
    room = 0.15 * (max(ends) - min(ends) or 1.0)
    figure = go.Figure()
    for test, pair in figures.items():
        figure.add_scatter(
            x=list(pair), y=[test, test], mode="lines", line={"color": muted(), "width": 1.5}, hoverinfo="skip",
            showlegend=False,
        )  # fmt: skip
    for name, place, colour, symbol, side in (
        (_("This map"), 0, accent(), "circle", "top center"),
        (_("Random order"), 1, muted(), "diamond-open", "bottom center"),
    ):
        figure.add_scatter(
            name=name,
            y=tests,
            x=[figures[test][place] for test in tests],
            mode="markers+text",
            text=[signed(figures[test][place]) for test in tests],
            textposition=side,
            cliponaxis=False,
            marker={"color": colour, "symbol": symbol, "size": 11, "line_width": 2},
            hovertemplate="%{y}: %{text}<extra>" + name + "</extra>",
        )
    figure.update_layout(
        margin={"l": 0, "r": 10, "t": 28, "b": 0},
        legend={"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 0, "traceorder": "normal"},
    )
    figure.update_xaxes(
        title=_("Mean log-odds along the curve"), range=[min(ends) - room, max(ends) + room], nticks=6, zeroline=False,
        fixedrange=True,
    )  # fmt: skip
    figure.update_yaxes(
        fixedrange=True, range=[len(tests) - 0.3, -0.7], ticksuffix="  ", automargin=True, showgrid=False
    )
    words = [
        f"{test}: {signed(mine)}, {_('Random order')} {signed(random)}" for test, (mine, random) in figures.items()
    ]
    draw(figure, key, told(_("Faithfulness of the map against a random order"), words), height=220)


def predictive_values(curve: Mapping[str, Sequence[float]], prevalence: float, key: str) -> None:
    """Draw PPV and NPV over prevalence, with the chosen prevalence marked."""
    figure = go.Figure()
    for name, column, colour, dash in (("PPV", "ppv", accent(), "solid"), ("NPV", "npv", ORANGE, "dash")):
        figure.add_scatter(
            x=curve["prevalence"], y=curve[column], name=name, mode="lines", line={"color": colour, "dash": dash},
            hovertemplate=name + " %{y:.1%}<extra></extra>",
        )  # fmt: skip
    figure.add_vline(x=prevalence, line_width=1, line_dash="dot", line_color=muted())
    figure.update_layout(
        margin={"l": 0, "r": 8, "t": 8, "b": 0}, legend={"orientation": "h", "y": 1.02, "yanchor": "bottom"}
    )
    figure.update_xaxes(title=_("Prevalence"), tickformat=".0%", range=[0, 1], fixedrange=True)
    figure.update_yaxes(tickformat=".0%", range=[0, 1.02], fixedrange=True)
    ppv, npv = (float(np.interp(prevalence, curve["prevalence"], curve[column])) for column in ("ppv", "npv"))
    words = [f"{_('Prevalence')} {prevalence:.1%}: PPV {percent(ppv)}, NPV {percent(npv)}"]
    draw(figure, key, told(_("Predictive values over prevalence"), words), height=190)


def reliability(rows: Sequence[Mapping[str, float]], key: str) -> None:
    """Draw observed frequency over mean predicted probability; the size of a point is its count."""
    largest = max((row.get("n", 1) for row in rows), default=1) or 1
    figure = go.Figure()
    figure.add_scatter(
        x=[0, 1], y=[0, 1], mode="lines", line={"color": muted(), "dash": "dot"}, name=_("Perfect calibration"),
        hoverinfo="skip",
    )  # fmt: skip
    figure.add_scatter(
        x=[row["mean_probability"] for row in rows],
        y=[row["observed"] for row in rows],
        customdata=[row.get("n", 0) for row in rows],
        mode="lines+markers",
        name=_("This model"),
        line={"color": accent()},
        marker={"size": [7 + 13 * (row.get("n", 1) / largest) ** 0.5 for row in rows], "opacity": 0.9},
        hovertemplate="%{x:.2f} → %{y:.2f} (n = %{customdata})<extra></extra>",
    )
    square(figure, _("Predicted probability"), _("Observed frequency"))
    words = [f"{row['mean_probability']:.2f} → {row['observed']:.2f}" for row in rows]
    title = f"{_('Calibration plot')} ({_('Predicted probability')} → {_('Observed frequency')})"
    draw(figure, key, told(title, words), height=340)


def roc(curve: Mapping[str, Any], key: str) -> None:
    """Draw a receiver operating characteristic."""
    figure = go.Figure()
    figure.add_scatter(
        x=[0, 1], y=[0, 1], mode="lines", line={"color": muted(), "dash": "dot"}, name=_("Chance"), hoverinfo="skip"
    )
    figure.add_scatter(
        x=curve["fpr"], y=curve["tpr"], mode="lines", name=_("This model"), line={"color": accent(), "width": 2.5},
        hovertemplate="%{x:.2f} / %{y:.2f}<extra></extra>",
    )  # fmt: skip
    square(figure, _("1 − specificity"), _("Sensitivity"))
    words = [f"{fpr:.2f} / {np.interp(fpr, curve['fpr'], curve['tpr']):.2f}" for fpr in (0.01, 0.05, 0.1, 0.2, 0.5)]
    draw(figure, key, told(f"{_('ROC curve')} ({_('1 − specificity')} / {_('Sensitivity')})", words), height=340)


def square(figure: go.Figure, x: str, y: str) -> None:
    """Give a figure the unit square as axes and its legend on top."""
    figure.update_layout(
        margin={"l": 0, "r": 10, "t": 30, "b": 0},
        legend={"orientation": "h", "y": 1.01, "yanchor": "bottom", "x": 0},
    )
    figure.update_xaxes(title=x, range=[-0.04, 1.04], fixedrange=True, constrain="domain")
    figure.update_yaxes(title=y, range=[-0.04, 1.04], fixedrange=True)


def confusion(
    labels: Sequence[str], counts: Sequence[Sequence[int]], key: str, names: Sequence[str] | None = None
) -> None:
    """Draw a confusion matrix: rows are the truth, columns the model's label; shades are shares of a row.

    ``names`` are shown in place of those that :func:`label_name` knows.
    """
    plain = list(names) if names is not None else [label_name(label) for label in labels]
    names = [escape(name).replace(" ", "<br>") for name in plain]
    shares = [[count / (sum(row) or 1) for count in row] for row in counts]
    low, high = ("#1D2832", "#56B4E9") if dark() else ("#EEF3F7", "#0072B2")
    figure = go.Figure(
        go.Heatmap(
            z=shares,
            x=names,
            y=names,
            zmin=0,
            zmax=1,
            colorscale=[[0, low], [1, high]],
            showscale=False,
            xgap=2,
            ygap=2,
            hovertemplate="%{y} → %{x}: %{customdata}<extra></extra>",
            customdata=counts,
        )  # fmt: skip
    )
    for row, name in enumerate(names):
        for column, other in enumerate(names):
            strong = shares[row][column] > 0.5
            ink = ("#0F151B" if dark() else "#FFFFFF") if strong else ("#E8EDF2" if dark() else "#16202A")
            figure.add_annotation(
                x=other, y=name, text=f"<b>{counts[row][column]}</b><br>{shares[row][column]:.0%}",
                showarrow=False, font={"color": ink, "size": 12},
            )  # fmt: skip
    figure.update_layout(margin={"l": 0, "r": 10, "t": 8, "b": 0})
    figure.update_xaxes(title=_("Model's label"), side="bottom", fixedrange=True, showgrid=False, tickangle=0)
    figure.update_yaxes(title=_("Truth"), autorange="reversed", fixedrange=True, showgrid=False)
    words = [
        f"{name} → " + ", ".join(f"{other} {count}" for other, count in zip(plain, row, strict=True))
        for name, row in zip(plain, counts, strict=True)
    ]
    title = "{} ({} → {})".format(_("Confusion matrix"), _("Truth"), _("Model's label"))
    draw(figure, key, told(title, words), height=90 + 62 * len(labels))


def counts(names: Sequence[str], values: Sequence[int], key: str) -> None:
    """Draw how many files got which result."""
    figure = go.Figure(
        go.Bar(
            x=list(values),
            y=list(names),
            orientation="h",
            text=list(values),
            textposition="outside",
            cliponaxis=False,
            marker_color=[SERIES[0] if not dark() else accent()] * len(values),
            hovertemplate="%{y}: %{x}<extra></extra>",
        )  # fmt: skip
    )
    figure.update_layout(margin={"l": 0, "r": 40, "t": 4, "b": 4}, bargap=0.4)
    figure.update_xaxes(visible=False, fixedrange=True)
    figure.update_yaxes(autorange="reversed", fixedrange=True, ticksuffix="  ", automargin=True)
    words = [f"{name} {value}" for name, value in zip(names, values, strict=True)]
    draw(figure, key, told(_("Results by label"), words), height=34 * len(names) + 20)
