"""Charts of the treatment page: curves of the arms, differences with intervals, drivers, and policy values."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

import plotly.graph_objects as go

from pages.ui.charts import told
from pages.ui.language import _
from pages.ui.tabx_style import draw
from pages.ui.theme import BLUE, GREEN, ORANGE, PURPLE, SKY, VERMILLION, YELLOW, accent, dark, muted
from pages.ui.treat_words import Compared, gap, points, scale_of, share

if TYPE_CHECKING:
    from medai_core.metrics import Interval
    from medai_core.tabular.explain import Explanation
    from medai_core.tabular.treatment import Curves

DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot", "solid", "dash")
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "x", "star", "pentagon")
STEPS = "hv"
TOP = 10
"""Covariates with a bar of their own; the others are added up."""


def colours() -> tuple[str, ...]:
    """One colour for each arm; each can be told from the background."""
    light = (BLUE, VERMILLION, GREEN, ORANGE, PURPLE, "#56606A", SKY, "#8B6914")
    return (SKY, ORANGE, "#2FC59A", PURPLE, YELLOW, "#C9D1D9", VERMILLION, "#7C9CFF") if dark() else light


def stem_of(compared: Compared, what: str) -> str:
    """Return the name of a picture that is saved."""
    return f"medai-{'actg175' if compared.builtin else 'trial'}-{what}"


def faded(colour: str, opacity: float) -> str:
    red, green, blue = (int(colour[place : place + 2], 16) for place in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity})"


def arm_curves(compared: Compared, curves: Curves, key: str, *, bands: bool, stepped: bool = False) -> None:
    """Draw event-free probability over time under each arm, with 95 % intervals; the legend hides both."""
    unit, title = scale_of(float(curves.days[-1]))
    x, shape = curves.days / unit, STEPS if stepped else "linear"
    figure = go.Figure()
    for k in range(len(compared.arms) if bands else 0):
        for edge, fill in ((curves.high[k], None), (curves.low[k], "tonexty")):
            figure.add_scatter(
                x=x, y=edge, mode="lines", line={"width": 0, "shape": shape}, fill=fill, hoverinfo="skip",
                fillcolor=faded(colours()[k], 0.16), showlegend=False, legendgroup=str(k),
            )  # fmt: skip
    for k, arm in enumerate(compared.arms):
        figure.add_scatter(
            x=x, y=curves.survival[k], mode="lines", name=escape(compared.arm(arm)), legendgroup=str(k),
            line={"color": colours()[k], "width": 2.4, "dash": DASHES[k], "shape": shape},
            customdata=[f"{low:.1%}–{high:.1%}" for low, high in zip(curves.low[k], curves.high[k], strict=True)],
            hovertemplate="%{y:.1%} (%{customdata})",
        )  # fmt: skip
    bottom = float((curves.low if bands else curves.survival).min())
    figure.add_vline(x=compared.model.horizon / unit, line_width=1, line_dash="dot", line_color=muted())
    figure.update_layout(
        margin={"l": 0, "r": 12, "t": 8, "b": 0}, hovermode="x unified", hoverlabel_namelength=-1, dragmode=False,
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0, "traceorder": "normal"},
    )  # fmt: skip
    figure.update_xaxes(title=title, fixedrange=True, showgrid=False, hoverformat=".0f")
    figure.update_yaxes(
        title=_("Event-free"), tickformat=".0%", fixedrange=True, nticks=6,
        range=[max(0.0, bottom - 0.05), 1.01],
    )  # fmt: skip
    at = int(abs(curves.days - compared.model.horizon).argmin())
    words = [f"{compared.arm(arm)} {curves.survival[k, at]:.1%}" for k, arm in enumerate(compared.arms)]
    name = _("Event-free probability over time; at {time}").format(time=compared.after())
    draw(figure, key, told(name, words), 390, stem_of(compared, "curves"))


def intervals(
    names: Sequence[str], found: Sequence[Interval], key: str, *, title: str, difference: bool,
    places: Sequence[int] | None = None, brief: bool = False,
) -> None:  # fmt: skip
    """Draw estimates with their 95 % intervals, one line each; differences around a line at 0.

    Parameters
    ----------
    places : sequence of int, optional
        Which arm each is, for its colour and its symbol; -1 for none of them.
    brief : bool
        Only the estimates are written beside the points, where a table has the intervals.
    """
    arms = range(len(names)) if places is None else places
    words = [gap(one) if difference else share(one) for one in found]
    figure = go.Figure()
    for line, (name, one, whole, place) in enumerate(zip(names, found, words, arms, strict=True)):
        shown = (points(one.value) if difference else f"{one.value:.1%}") if brief else whole
        colour = accent() if place < 0 else colours()[place]
        figure.add_scatter(
            x=[one.value], y=[line], mode="markers+text", text=[shown], textposition="top center", cliponaxis=False,
            marker={"size": 11, "color": colour, "symbol": "star" if place < 0 else SYMBOLS[place]},
            error_x={
                "type": "data", "symmetric": False, "array": [one.high - one.value],
                "arrayminus": [one.value - one.low], "color": colour, "thickness": 2.4, "width": 5,
            },
            name=escape(name), hovertext=whole, hovertemplate="%{hovertext}", showlegend=False,
        )  # fmt: skip
    ends = [end for one in found for end in (one.low, one.high)] + ([0.0] if difference else [])
    room = max(0.12 * (max(ends) - min(ends)), 0.01)
    if difference:
        figure.add_vline(x=0, line_width=1.4, line_color=muted())
    figure.update_layout(margin={"l": 0, "r": 8, "t": 14, "b": 0}, dragmode=False)
    limits = [min(ends) - room, max(ends) + room]
    figure.update_xaxes(title=title, fixedrange=True, range=limits, zeroline=False, nticks=6, tickformat=".0%")
    if difference:
        values = _ticks(*limits)
        figure.update_xaxes(tickvals=values, ticktext=[points(value, 0) for value in values])
    figure.update_yaxes(
        fixedrange=True, range=[len(names) - 0.5, -0.7], automargin=True, ticksuffix="  ", showgrid=False,
        tickvals=list(range(len(names))), ticktext=[_broken(escape(name)) for name in names],
    )  # fmt: skip
    said = [f"{name} {shown}" for name, shown in zip(names, words, strict=True)]
    draw(figure, key, told(title, said), 72 + 56 * len(names), f"medai-{key.replace('_', '-')}")


def _ticks(low: float, high: float) -> list[float]:
    """Round values between two ends, with 0 among them."""
    step = next((s for s in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5) if (high - low) / s <= 7), 1.0)
    return [step * k for k in range(int(low / step) - 1, int(high / step) + 2) if low <= step * k <= high]


def _broken(name: str, width: int = 26) -> str:
    """A long name on two lines."""
    if len(name) <= width or " " not in name:
        return name
    middle = min((k for k, c in enumerate(name) if c == " "), key=lambda k: abs(k - len(name) / 2))
    return f"{name[:middle]}<br>{name[middle + 1 :]}"


def drivers(compared: Compared, found: Explanation, key: str) -> None:
    """Draw from the mean over drawn patients to this one's answer, a step for each covariate."""
    steps = found.waterfall(0, TOP)
    names = [
        _("{n} others").format(n=step.shown) if step.feature is None
        else f"{compared.name(step.name)} = {compared.value(step.name, found.x[0, step.feature])}"
        for step in steps
    ]  # fmt: skip
    first, last = _("Mean of drawn patients"), _("This patient")
    up, down = (ORANGE, SKY) if dark() else (VERMILLION, BLUE)
    answer = float(found.predictions[0])
    texts = [points(found.base_value), *(points(step.value) for step in steps), points(answer)]
    figure = go.Figure(
        go.Waterfall(
            orientation="h", measure=["absolute", *("relative" for _step in steps), "total"],
            y=[first, *map(escape, names), last], x=[found.base_value, *(step.value for step in steps), 0.0],
            text=[("▲ " if t.startswith("+") else "▼ " if t.startswith("−") else "") + t if 0 < k <= len(steps) else t
                  for k, t in enumerate(texts)],
            textposition="outside", cliponaxis=False, hovertemplate="%{y}: %{text}<extra></extra>",
            increasing={"marker_color": up}, decreasing={"marker_color": down},
            totals={"marker_color": muted()}, connector={"line": {"color": muted(), "width": 1, "dash": "dot"}},
        )
    )  # fmt: skip
    along = [0.0, found.base_value]
    for step in steps:
        along.append(along[-1] + step.value)
    room = 0.22 * (max(along) - min(along))
    limits = [min(along) - (room if min(along) < 0 else 0), max(along) + room]
    values = _ticks(*limits)
    figure.update_layout(margin={"l": 0, "r": 8, "t": 4, "b": 0}, dragmode=False, showlegend=False)
    figure.update_xaxes(
        title=_("Probability, in percentage points"), range=limits, fixedrange=True, tickvals=values,
        ticktext=[points(value, 0) for value in values],
    )  # fmt: skip
    figure.update_yaxes(autorange="reversed", fixedrange=True, automargin=True, ticksuffix="  ", showgrid=False)
    said = [f"{name} {text}" for name, text in zip([first, *names, last], texts, strict=True)]
    alt = told(_("From the mean of drawn patients to this patient"), said)
    draw(figure, key, alt, 60 + 30 * len(texts), stem_of(compared, "drivers"))
