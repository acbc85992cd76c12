"""Figures of one patient's explanation: waterfall and force, with probabilities beside log-odds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go

from pages.ui import charts
from pages.ui.language import _
from pages.ui.tab_words import number
from pages.ui.tabx_style import colours, draw, ink, paper
from pages.ui.tabx_words import scale_title, short, signed_plus, value_text
from pages.ui.theme import muted
from pages.ui.words import signed

if TYPE_CHECKING:
    from medai_core.tabular.explain import Explanation, Step
    from medai_core.tabular.risk_model import RiskModel

TICKS = (0.001, 0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99, 0.999)
FORCE_LABELS = 4


def step_name(told: Explanation, step: Step, row: int = 0) -> str:
    """Return what stands beside a bar."""
    if step.feature is None:
        return _("{n} others together").format(n=step.shown)
    value = value_text(told.encoder.features[step.feature], float(told.x[row, step.feature]))
    return f"{short(step.name)} = {short(value, 18)}"


def waterfall(model: RiskModel, told: Explanation, top: int, stem: str) -> None:
    """Draw how the base value becomes the prediction, the strongest feature first."""
    steps = told.waterfall(0, top)
    prediction, base = float(told.predictions[0]), told.base_value
    starts = base + np.r_[0.0, np.cumsum([step.value for step in steps])]
    raises, lowers = colours()
    figure = go.Figure(
        go.Bar(
            x=[step.value for step in steps], base=starts[:-1], y=list(range(len(steps))), orientation="h",
            marker={"color": [raises if step.value > 0 else lowers for step in steps], "line_width": 0},
            text=[("▲ " if s.value > 0 else "▼ ") + signed_plus(s.value) for s in steps], textposition="outside",
            cliponaxis=False, customdata=[step_name(told, step) for step in steps],
            hovertemplate="%{customdata}: %{text}<extra></extra>", xaxis="x",
        )
    )  # fmt: skip
    for place, level in enumerate(starts[1:-1]):
        figure.add_shape(
            type="line", x0=level, x1=level, y0=place - 0.3, y1=place + 1.3, line={"color": muted(), "width": 1}
        )
    span = max(float(starts.max() - starts.min()), 1e-9)
    limits = [float(starts.min()) - 0.2 * span, float(starts.max()) + 0.2 * span]
    _marks(figure, told, {base: False, prediction: True}, len(steps), limits)
    above = 60 if told.link == "log-odds" else 34
    figure.update_layout(margin={"l": 0, "r": 12, "t": above, "b": 44}, bargap=0.32, showlegend=False)
    figure.update_xaxes(title=scale_title(model, told), range=limits, fixedrange=True, zeroline=False)
    figure.update_yaxes(
        tickvals=list(range(len(steps))), ticktext=[step_name(told, step) + "  " for step in steps], fixedrange=True,
        range=[len(steps) - 0.4, -0.6], automargin=True, showgrid=False, zeroline=False,
    )  # fmt: skip
    _probabilities(figure, told, limits)
    words = [f"{step_name(told, step)} {signed_plus(step.value)}" for step in steps]
    title = _("Waterfall from {base} to {prediction}, {scale}").format(
        base=number(base), prediction=number(prediction), scale=scale_title(model, told)
    )
    draw(figure, "tabx_waterfall", charts.told(title, words), height=150 + 31 * len(steps), stem=stem)


def _marks(figure: go.Figure, told: Explanation, ends: dict[float, bool], count: int, limits: list[float]) -> None:
    """Mark where the steps begin and, in bold, where they end."""
    for at, strong in ends.items():
        colour = ink() if strong else muted()
        figure.add_shape(
            type="line", x0=at, x1=at, y0=-0.6, y1=count - 0.4,
            line={"color": colour, "width": 1.5, "dash": "solid" if strong else "dot"},
        )  # fmt: skip
        figure.add_annotation(
            x=at, y=1, yref="paper", yanchor="bottom", yshift=28 if told.link == "log-odds" else 4, showarrow=False,
            text=_end_words(at, strong), xanchor=_anchor(at, limits), font={"color": colour, "size": 13},
        )  # fmt: skip


def _end_words(at: float, strong: bool) -> str:
    text = (_("this patient {value}") if strong else _("average {value}")).format(value=signed(at))
    return f"<b>{text}</b>" if strong else text


def _probabilities(figure: go.Figure, told: Explanation, limits: list[float]) -> None:
    """Write probabilities on top of log-odds."""
    if told.link != "log-odds":
        return
    ticks = [(float(np.log(p / (1 - p))), p) for p in TICKS]
    ticks = [(at, p) for at, p in ticks if limits[0] <= at <= limits[1]]
    room = (limits[1] - limits[0]) / 11
    kept: list[tuple[float, float]] = []
    for at, p in sorted(ticks, key=lambda tick: abs(tick[1] - 0.5)):
        if all(abs(at - other) >= room for other, _p in kept):
            kept.append((at, p))
    figure.add_scatter(x=[None], y=[None], xaxis="x2", showlegend=False, hoverinfo="skip")
    figure.update_layout(
        xaxis2={
            "overlaying": "x", "side": "top", "range": limits, "fixedrange": True, "showgrid": False,
            "tickvals": [at for at, _p in kept], "ticktext": [f"{p:.1%}" if p < 0.01 or p > 0.99 else f"{p:.0%}"
                                                             for _at, p in kept],
            "tickfont": {"color": muted(), "size": 12}, "ticks": "outside", "tickcolor": muted(), "zeroline": False,
        }
    )  # fmt: skip


def force(model: RiskModel, told: Explanation, stem: str) -> None:
    """Draw contributions as arrows that push against each other at the prediction."""
    values, prediction = told.values[0], float(told.predictions[0])
    raises, lowers = colours()
    figure = go.Figure()
    ends = [told.base_value, prediction]
    for mine, colour, way in ((values > 0, raises, -1), (values < 0, lowers, 1)):
        at, order = prediction, np.flatnonzero(mine)[np.argsort(-np.abs(values[mine]), kind="stable")]
        for rank, k in enumerate(order):
            far = at + way * abs(float(values[k]))
            _arrow(figure, told, int(k), at, far, colour)
            if rank < FORCE_LABELS:
                _force_label(figure, told, int(k), (at + far) / 2, rank, way)
            at = far
        ends.append(at)
    span = max(ends) - min(ends) or 1.0
    limits = [min(ends) - 0.1 * span, max(ends) + 0.1 * span]
    for at, strong in ((told.base_value, False), (prediction, True)):
        figure.add_shape(
            type="line", x0=at, x1=at, y0=-0.1, y1=1.25,
            line={"color": ink() if strong else muted(), "width": 2, "dash": "solid" if strong else "dot"},
        )  # fmt: skip
        figure.add_annotation(
            x=at, y=1.75 if strong else 1.4, showarrow=False, text=_end_words(at, strong),
            xanchor=_anchor(at, limits), font={"color": ink() if strong else muted(), "size": 13},
        )  # fmt: skip
    figure.update_layout(margin={"l": 10, "r": 10, "t": 4, "b": 44}, showlegend=False)
    figure.update_xaxes(title=scale_title(model, told), range=limits, fixedrange=True, zeroline=False, showgrid=False)
    figure.update_yaxes(visible=False, range=[-1.75, 2.0], fixedrange=True)
    words = [f"{step_name(told, step)} {signed_plus(step.value)}" for step in told.waterfall(0, 2 * FORCE_LABELS)]
    draw(figure, "tabx_force", charts.told(_("Contributions that push against each other"), words), 230, stem)


def _anchor(at: float, limits: list[float]) -> str:
    share = (at - limits[0]) / (limits[1] - limits[0])
    return "left" if share < 0.2 else "right" if share > 0.75 else "center"


def _arrow(figure: go.Figure, told: Explanation, k: int, near: float, far: float, colour: str) -> None:
    """One arrow from its tail at `far` to its tip at `near`."""
    tip = 0.25 * (near - far)
    x = [far, near - tip, near, near - tip, far, far + tip, far]
    value = value_text(told.encoder.features[k], float(told.x[0, k]))
    name = f"{short(told.encoder.names[k])} = {short(value)}"
    figure.add_scatter(
        x=x, y=[0, 0, 0.5, 1, 1, 0.5, 0], fill="toself", fillcolor=colour, mode="lines", hoveron="fills",
        line={"color": paper(), "width": 1}, text=f"{name}: {signed_plus(float(told.values[0, k]))}", hoverinfo="text",
    )  # fmt: skip


def _force_label(figure: go.Figure, told: Explanation, k: int, at: float, rank: int, way: int) -> None:
    """Name one arrow below it, away from the prediction, where there is room."""
    feature, colour = told.encoder.features[k], colours()[(way + 1) // 2]
    figure.add_annotation(
        x=at, y=-0.05, ax=0, ay=20 + 17 * rank, yanchor="top", xanchor="right" if way < 0 else "left",
        arrowcolor=colour, arrowwidth=1, arrowhead=0, font={"size": 12, "color": ink()},
        text=f"{short(feature.name, 24)} = {short(value_text(feature, float(told.x[0, k])), 14)}",
    )  # fmt: skip
