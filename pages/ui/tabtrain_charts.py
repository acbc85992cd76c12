"""Figures of a comparison of models: what was held out, as curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from pages.ui.charts import draw, square, told
from pages.ui.language import _
from pages.ui.tab_words import number
from pages.ui.theme import GREEN, ORANGE, PURPLE, SERIES, SKY, VERMILLION, accent, dark, muted

DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
FAMILIES = ("logistic", "svm", "forest", "boosting", "network", "blend")
MOST_POINTS = 2_000
SAVED = {
    "displaylogo": False, "modeBarButtonsToRemove": ["select2d", "lasso2d", "autoScale2d", "zoomIn2d", "zoomOut2d"],
    "toImageButtonOptions": {"format": "svg", "filename": "medai-figure"},
}  # fmt: skip
"""Every figure can be saved as SVG from its own bar."""

Curve = Mapping[str, Sequence[float]]
Named = Mapping[str, tuple[str, Curve]]


def style_of(family: str) -> dict[str, Any]:
    """Return colour and dash of a family, the same in every figure: never told by colour alone."""
    place = FAMILIES.index(family)
    colours = (muted(), ORANGE, GREEN, VERMILLION, PURPLE, accent())
    return {"color": colours[place], "dash": DASHES[place]}


def leaders(rows: Sequence[Mapping[str, Any]], names: Mapping[str, str], title: str, key: str) -> None:
    """Draw the leading figure of every family with its interval, the best on top."""
    figure = go.Figure()
    shown = [names[row["family"]] for row in rows]
    best = [place == 0 for place in range(len(rows))]
    figure.add_scatter(
        x=[row["value"] for row in rows], y=shown, mode="markers",
        marker={
            "size": 11, "color": [accent() if lead else muted() for lead in best],
            "symbol": ["diamond" if lead else "circle" for lead in best],
        },
        error_x={
            "type": "data", "symmetric": False, "array": [row["high"] - row["value"] for row in rows],
            "arrayminus": [row["value"] - row["low"] for row in rows], "color": muted(), "thickness": 1.5, "width": 5,
        },
        customdata=[[number(row["low"]), number(row["high"])] for row in rows],
        hovertemplate="%{y}: %{x:.3f} (%{customdata[0]}–%{customdata[1]})<extra></extra>",
    )  # fmt: skip
    figure.update_layout(margin={"l": 0, "r": 10, "t": 6, "b": 0}, showlegend=False)
    figure.update_xaxes(title=title, fixedrange=True, automargin=True, nticks=8)
    figure.update_yaxes(autorange="reversed", fixedrange=True, automargin=True, ticksuffix="  ")
    words = [f"{name} {number(row['value'])}" for name, row in zip(shown, rows, strict=True)]
    draw(figure, key, told(title, words), height=70 + 34 * len(rows), config=SAVED)


def rocs(curves: Named, chosen: str, key: str) -> None:
    """Draw the ROC curves of several families, the chosen one strong."""
    figure = _of_families(curves, chosen, "fpr", "tpr", (0, 1))
    square(figure, _("1 − specificity"), _("Sensitivity"))
    _under(figure)
    curve = curves[chosen][1]
    words = [f"{fpr:.2f} / {np.interp(fpr, curve['fpr'], curve['tpr']):.2f}" for fpr in (0.01, 0.05, 0.1, 0.2, 0.5)]
    draw(figure, key, told(f"{_('ROC curve')} ({_('1 − specificity')} / {_('Sensitivity')})", words), 420, SAVED)


def precision_recalls(curves: Named, chosen: str, share: float, key: str) -> None:
    """Draw precision over recall of several families, with the share of the outcome as what chance gives."""
    figure = _of_families(curves, chosen, "recall", "precision", (share, share))
    square(figure, _("Sensitivity (recall)"), _("Positive predictive value (precision)"))
    _under(figure)
    curve = curves[chosen][1]
    places = np.linspace(0, len(curve["recall"]) - 1, min(6, len(curve["recall"]))).astype(int)
    words = [f"{curve['recall'][k]:.2f} / {curve['precision'][k]:.2f}" for k in places]
    title = f"{_('Sensitivity (recall)')} / {_('Positive predictive value (precision)')}"
    draw(figure, key, told(title, words), 420, SAVED)


def _of_families(curves: Named, chosen: str, x: str, y: str, chance: tuple[float, float]) -> go.Figure:
    """One curve for each family, with thresholds, over the line of chance."""
    figure = go.Figure()
    figure.add_scatter(
        x=[0, 1], y=chance, mode="lines", line={"color": muted(), "dash": "dot", "width": 1}, name=_("Chance"),
        hoverinfo="skip",
    )  # fmt: skip
    for family, (name, curve) in curves.items():
        figure.add_scatter(
            x=curve[x], y=curve[y], customdata=curve["threshold"], name=name, **_line(family, chosen),
            hovertemplate=f"{_('Threshold')} %{{customdata:.2f}}: %{{x:.2f}} / %{{y:.2f}}<extra>{name}</extra>",
        )  # fmt: skip
    return figure


def _line(family: str, chosen: str) -> dict[str, Any]:
    mine = family == chosen
    line = {**style_of(family), "width": 3 if mine else 1.5}
    return {"mode": "lines", "line": line, "opacity": 1.0 if mine else 0.6}


def _under(figure: go.Figure) -> None:
    """Put the legend below, where six names have room."""
    figure.update_layout(
        margin={"l": 0, "r": 10, "t": 30, "b": 0},
        legend={"orientation": "h", "y": -0.2, "yanchor": "top", "x": 0, "font_size": 12},
    )


def calibration(rows: Sequence[Mapping[str, float]], key: str) -> None:
    """Draw observed frequency with Wilson intervals over the probability that was stated."""
    figure = go.Figure()
    figure.add_scatter(
        x=[0, 1], y=[0, 1], mode="lines", line={"color": muted(), "dash": "dot", "width": 1},
        name=_("Perfect calibration"), hoverinfo="skip",
    )  # fmt: skip
    figure.add_scatter(
        x=[row["mean_probability"] for row in rows], y=[row["observed"] for row in rows],
        mode="lines+markers", name=_("This model"), line={"color": accent()}, marker_size=8,
        error_y={
            "type": "data", "symmetric": False, "array": [row["high"] - row["observed"] for row in rows],
            "arrayminus": [row["observed"] - row["low"] for row in rows], "color": muted(), "thickness": 1.5,
        },
        customdata=[row["n"] for row in rows],
        hovertemplate="%{x:.2f} → %{y:.2f} (n = %{customdata})<extra></extra>",
    )  # fmt: skip
    square(figure, _("Predicted probability"), _("Observed frequency"))
    words = [f"{row['mean_probability']:.2f} → {row['observed']:.2f}" for row in rows]
    title = f"{_('Calibration plot')} ({_('Predicted probability')} → {_('Observed frequency')})"
    draw(figure, key, told(title, words), 380, SAVED)


def decision(curve: Curve, threshold: float, key: str) -> None:
    """Draw net benefit over the threshold at which one would act, beside acting on all and on none."""
    figure = go.Figure()
    lines = (
        ("all", _("Act on all"), {"color": ORANGE, "dash": "dash", "width": 1.5}),
        ("none", _("Act on none"), {"color": muted(), "dash": "dot", "width": 1.5}),
        ("model", _("By this model"), {"color": accent(), "width": 3}),
    )
    for name, title, line in lines:
        figure.add_scatter(
            x=curve["threshold"], y=curve[name], mode="lines", name=title, line=line,
            hovertemplate="%{x:.0%}: %{y:.3f}<extra>" + title + "</extra>",
        )  # fmt: skip
    top = max(*curve["model"], 0.01)
    figure.add_vline(x=threshold, line={"color": muted(), "width": 1})
    figure.update_layout(
        margin={"l": 0, "r": 10, "t": 30, "b": 0},
        legend={"orientation": "h", "y": 1.01, "yanchor": "bottom", "x": 0},
    )
    figure.update_xaxes(title=_("Threshold probability"), tickformat=".0%", range=[0, 1], fixedrange=True)
    figure.update_yaxes(title=_("Net benefit"), range=[-0.25 * top, 1.1 * top], fixedrange=True)
    words = [f"{x:.0%}: {np.interp(x, curve['threshold'], curve['model']):.3f}" for x in (0.1, 0.25, 0.5, 0.75)]
    draw(figure, key, told(f"{_('Net benefit')} / {_('Threshold probability')}", words), 380, SAVED)


def agreement(found: NDArray[np.float64], truth: NDArray[np.float64], target: str, key: str) -> None:
    """Draw predicted against observed values of held-out rows, of many rows some."""
    some = np.random.default_rng(0).permutation(len(truth))[:MOST_POINTS]
    ends = [float(min(found.min(), truth.min())), float(max(found.max(), truth.max()))]
    figure = go.Figure()
    figure.add_scatter(
        x=ends, y=ends, mode="lines", line={"color": muted(), "dash": "dot", "width": 1}, hoverinfo="skip",
        showlegend=False,
    )  # fmt: skip
    figure.add_scattergl(
        x=found[some], y=truth[some], mode="markers", marker={"color": accent(), "size": 6, "opacity": 0.5},
        hovertemplate="%{x:.4g} → %{y:.4g}<extra></extra>", showlegend=False,
    )  # fmt: skip
    figure.update_layout(margin={"l": 0, "r": 10, "t": 10, "b": 0})
    figure.update_xaxes(title=_("Predicted"), fixedrange=True)
    figure.update_yaxes(title=_("Observed"), fixedrange=True)
    correlation = float(np.corrcoef(found, truth)[0, 1]) if found.std() and truth.std() else 0.0
    words = [f"{_('Correlation')} {correlation:.2f}", f"n = {len(truth):,}"]
    draw(figure, key, told(f"{_('Predicted')} / {_('Observed')}: {target}", words), 400, SAVED)


def thirds(curves: Sequence[tuple[str, NDArray[np.float64], NDArray[np.float64]]], time: str, key: str) -> None:
    """Draw the share free of the event over time for thirds of the held-out risk."""
    figure, words = go.Figure(), []
    for place, (name, days, free) in enumerate(curves):
        figure.add_scatter(
            x=days, y=free, mode="lines", name=name, line={"shape": "hv", "width": 2.5, "dash": DASHES[place],
            "color": (SKY if dark() and place == 0 else SERIES[place])},
            hovertemplate="%{x:.4g}: %{y:.0%}<extra>" + name + "</extra>",
        )  # fmt: skip
        words.append(f"{name} {free[-1]:.0%}")
    figure.update_layout(
        margin={"l": 0, "r": 10, "t": 30, "b": 0},
        legend={"orientation": "h", "y": 1.01, "yanchor": "bottom", "x": 0},
    )
    figure.update_xaxes(title=time, rangemode="tozero", fixedrange=True)
    figure.update_yaxes(title=_("Free of the event"), tickformat=".0%", range=[0, 1.02], fixedrange=True)
    draw(figure, key, told(_("Free of the event"), words), 400, SAVED)
