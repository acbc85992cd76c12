"""One way to draw measured figures of a generator: points with their intervals beside what to hold them against."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go

from medai_core.errors import MedAIError
from pages.ui import loaders
from pages.ui.charts import draw, told
from pages.ui.language import _
from pages.ui.theme import accent, muted

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Line:
    """One line of a figure: a measured row, and the same among real images where there is one.

    ``plain`` lines hold what the others are compared with.
    """

    name: str
    row: Row
    real: Row | None = None
    plain: bool = False


def figures(model: str) -> dict[str, Row]:
    """Return the figures in a bundle by their names; none where it is not usable."""
    found = loaders.bundle(model)
    rows = [] if isinstance(found, MedAIError) else found.metrics.get("figures", [])
    return {row["metric"]: row for row in rows}


def shown(row: Row, form: str) -> str:
    """Return a figure with the ends of its 95 % interval."""
    value = format(row["value"], form).replace("-", "−")
    if row.get("low") is None or row.get("high") is None:
        return value
    return f"{value} ({row['low']:{form}} … {row['high']:{form}})".replace("-", "−")


def dots(
    lines: Sequence[Line], key: str, title: str, *, form: str = ".2f", span: tuple[float, float] | None = None,
    reference: tuple[float, str] | None = None,
) -> None:  # fmt: skip
    """Draw one line below the other: filled points are measured, hollow diamonds are real images among themselves."""
    figure = go.Figure()
    for place, line in enumerate(lines):
        colour = muted() if line.plain else accent()
        _point(figure, line.row, place, form, colour, "diamond" if line.plain else "circle", line.name, "top center")
        if line.real is not None:
            name = f"{line.name}, {_('real images')}"
            _point(figure, line.real, place, form, muted(), "diamond-open", name, "bottom center")
    if reference is not None:
        figure.add_vline(x=reference[0], line_dash="dot", line_color=muted(), line_width=2)
        figure.add_annotation(
            x=reference[0], y=1, yref="paper", yanchor="bottom", showarrow=False, text=reference[1],
            font={"color": muted(), "size": 13},
        )  # fmt: skip
    figure.update_layout(margin={"l": 0, "r": 16, "t": 28, "b": 0}, showlegend=False)
    axis = list(span) if span else _span(lines, reference)
    figure.update_xaxes(range=axis, fixedrange=True, zeroline=False, nticks=6)
    if form.endswith("%"):
        figure.update_xaxes(tickformat=".0%")
    figure.update_yaxes(
        tickvals=list(range(len(lines))), ticktext=[line.name for line in lines], range=[len(lines) - 0.4, -0.75],
        fixedrange=True, ticksuffix="  ", showgrid=False, zeroline=False, automargin=True,
    )  # fmt: skip
    draw(figure, key, told(title, [_said(line, form) for line in lines]), height=64 + 50 * len(lines))


def _point(figure: go.Figure, row: Row, place: int, form: str, colour: str, symbol: str, name: str, side: str) -> None:
    """Add one point with its interval and its value."""
    if row.get("low") is not None and row.get("high") is not None:
        figure.add_scatter(
            x=[row["low"], row["high"]], y=[place, place], mode="lines", opacity=0.45, hoverinfo="skip",
            line={"color": colour, "width": 5},
        )  # fmt: skip
    figure.add_scatter(
        x=[row["value"]], y=[place], mode="markers+text", text=[format(row["value"], form)], textposition=side,
        cliponaxis=False, hovertemplate=f"{name}: {shown(row, form)}<extra></extra>", textfont_size=13,
        marker={"color": colour, "size": 12, "symbol": symbol, "line": {"color": colour, "width": 2}},
    )  # fmt: skip


def _said(line: Line, form: str) -> str:
    words = f"{line.name} {shown(line.row, form)}"
    return words if line.real is None else f"{words}, {_('real images')} {shown(line.real, form)}"


def _span(lines: Sequence[Line], reference: tuple[float, str] | None) -> list[float]:
    rows = [row for line in lines for row in (line.row, line.real) if row is not None]
    ends = [row[end] for row in rows for end in ("value", "low", "high") if row.get(end) is not None]
    ends += [reference[0]] if reference else []
    room = 0.08 * ((max(ends) - min(ends)) or 1.0)
    return [min(ends) - room, max(ends) + room]
