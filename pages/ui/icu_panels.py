"""The course as stacked panels over one axis of hours: risk, vital signs, laboratory values, forecasts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from medai_core.errors import MedAIError
from medai_core.icu.variables import INDEX, SUMMED
from pages.ui.charts import draw
from pages.ui.icu_course import View, latest, quantiles, series
from pages.ui.icu_words import clock, figure, unit_name, variable, variable_name
from pages.ui.language import _
from pages.ui.theme import GREEN, ORANGE, PURPLE, VERMILLION, accent, dark, muted
from pages.ui.words import percent

LINE, CUFF = ("SysABP", "MAP", "DiasABP"), ("NISysABP", "NIMAP", "NIDiasABP")
VITALS = ("HR", "pressure", "RespRate", "SaO2", "FiO2", "Temp", "GCS", SUMMED)
LABS = (
    "Lactate", "Creatinine", "BUN", "K", "Na", "HCO3", "Mg", "Glucose", "HCT", "WBC", "Platelets", "pH", "PaO2",
    "PaCO2", "Bilirubin", "Albumin", "ALT", "AST", "ALP", "TroponinI", "TroponinT", "Cholesterol", "Weight",
)  # fmt: skip
RISK_PX, PANEL_PX, TITLE_PX, TOP_PX, BOTTOM_PX = 132, 84, 30, 48, 40
MARKS, SIGNS = ("triangle-up", "circle", "triangle-down"), "▲●▼"
MEDIAN = 2
Trace = dict[str, Any]


@dataclass(frozen=True)
class Panel:
    """One row: its title, what it shows, and its height in pixels."""

    title: str
    codes: tuple[str, ...]
    height: int = PANEL_PX


def panels(view: View, pressures: Sequence[str], labs: Sequence[str]) -> list[Panel]:
    """Return the rows under the risk: vital signs that were measured, then the laboratory values asked for."""
    held = set(np.unique(view.stay.series).tolist())
    rows = []
    for name in (*VITALS, *labs):
        codes = tuple(pressures) if name == "pressure" else (name,)
        if any(INDEX[code] in held for code in codes):
            rows.append(Panel(_title(codes), codes, PANEL_PX + 34 * (len(codes) > 1)))
    return rows


def _title(codes: Sequence[str]) -> str:
    if len(codes) == 1:
        unit = unit_name(codes[0]) + (_(" per hour") if codes[0] == SUMMED else "")
        return f"<b>{variable_name(codes[0])}</b>" + (f"  {unit}" if unit.strip() else "")
    return f"<b>{_('Blood pressure')}</b>  mmHg"


def course_chart(view: View, pressures: Sequence[str], labs: Sequence[str], key: str) -> None:
    """Draw the whole course."""
    rows = [Panel(f"<b>{_('Risk of death in hospital')}</b>", (), RISK_PX), *panels(view, pressures, labs)]
    shown, height = course_figure(view, rows)
    words = _("Course over the hours since admission, seen from hour {at}: {names}").format(
        at=view.at, names=", ".join(variable_name(code) for row in rows for code in row.codes)
    )
    draw(shown, key, words, height)


def course_figure(view: View, rows: Sequence[Panel]) -> tuple[go.Figure, int]:
    """Return the figure and its height in pixels; the first row is the risk."""
    height = sum(row.height + TITLE_PX for row in rows)
    traces, shapes, notes, axes = list(_legend(view)), [], [], {}
    top = 0
    for place, row in enumerate(rows):
        ends = (1 - (top + TITLE_PX + row.height) / height, 1 - (top + TITLE_PX) / height)
        top += TITLE_PX + row.height
        axis = f"y{place + 1}" if place else "y"
        found = _risk_traces(view) if place == 0 else [t for code in row.codes for t in _traces(view, row, code)]
        traces += [trace | {"xaxis": "x", "yaxis": axis} for trace in found]
        low, high = _span(found, row)
        axes[f"yaxis{place + 1}" if place else "yaxis"] = _y_axis(ends, low, high, place == 0)
        shapes += [_future(view, axis), *_normal(row, axis), _now(view, axis)]
        notes += _headings(view, row, ends[1], place == 0)
    notes.append(_now_words(view))
    layout = axes | {
        "xaxis": _x_axis(view, len(rows)),
        "shapes": shapes,
        "annotations": notes,
        "margin": {"l": 46, "r": 8, "t": TOP_PX, "b": BOTTOM_PX},
        "legend": {"orientation": "h", "x": 0, "y": 1 + 20 / height, "yanchor": "bottom", "itemclick": False,
                   "itemdoubleclick": False, "traceorder": "normal", "font": {"size": 12.5}},
        "hovermode": "closest",
        "hoversubplots": "single",
        "dragmode": False,
    }  # fmt: skip
    return go.Figure(data=traces, layout=layout), height + TOP_PX + BOTTOM_PX


def _x_axis(view: View, rows: int) -> dict[str, Any]:
    return {
        "range": [-0.4, view.recorded.hours + view.horizon + 0.4], "dtick": 6, "fixedrange": True, "zeroline": False,
        "title": {"text": _("Hours since admission"), "standoff": 6}, "anchor": f"y{rows}" if rows > 1 else "y",
        "showgrid": True, "gridcolor": _grid(),
    }  # fmt: skip


def _y_axis(ends: tuple[float, float], low: float, high: float, is_risk: bool) -> dict[str, Any]:
    return {
        "domain": list(ends), "range": [low, high], "fixedrange": True, "zeroline": False, "nticks": 4, "ticks": "",
        "gridcolor": _grid(), "tickfont": {"size": 12}, "tickformat": ".0%" if is_risk else None,
    }  # fmt: skip


def _risk_traces(view: View) -> list[Trace]:
    """The risk with its range over the members, up to now; fainter after it; and as recorded where there are edits."""
    hours = np.arange(1, view.recorded.hours + 1)
    risk, low, high = (table[0, : len(hours)] for table in (view.risks.blend, view.risks.low, view.risks.high))
    was = view.recorded_risks.blend[0, : len(hours)]
    known, later = hours <= view.at, hours >= view.at
    parts = [(known, 0.26, 2.6, "solid")] + ([(later, 0.10, 1.6, "dot")] if view.ahead and later.sum() > 1 else [])
    found = []
    for part, strength, width, dash in parts:
        found.append(_area(hours[part], low[part], high[part], accent(), strength))
        found.append(
            {
                "type": "scatter", "mode": "lines", "x": hours[part], "y": risk[part], "showlegend": False,
                "line": {"color": accent(), "width": width, "dash": dash}, "customdata": np.c_[low, high][part],
                "hovertemplate": "%{y:.1%} (%{customdata[0]:.1%}–%{customdata[1]:.1%})<extra>"
                + _("hour") + " %{x}</extra>",
            }
        )  # fmt: skip
        if view.edited:
            found.append(_line(hours[part], was[part], "%{y:.1%}<extra>" + _("as recorded") + "</extra>"))
    found.append(
        {
            "type": "scatter", "mode": "markers", "x": [view.at], "y": [view.risk()], "showlegend": False,
            "marker": {"color": accent(), "size": 12, "line": {"color": _paper(), "width": 2}}, "hoverinfo": "skip",
        }
    )  # fmt: skip
    return found


def _traces(view: View, row: Panel, code: str) -> list[Trace]:
    """One variable: forecast fan below, then what was measured, what came after, and what was changed."""
    colour, symbol = _look(row, code)
    return [
        *_fan(view, code, colour, faint=len(row.codes) > 1),
        *_measured(view, code, colour, symbol),
        *_changed(view, code),
    ]


def _look(row: Panel, code: str) -> tuple[str, str]:
    if len(row.codes) == 1:
        return accent(), "circle"
    place = row.codes.index(code)
    return (accent(), GREEN, PURPLE)[place], MARKS[place]


def _fan(view: View, code: str, colour: str, faint: bool) -> list[Trace]:
    fan = quantiles(view.outlook, code, view.horizon)
    if fan is None:
        return []
    hours = np.arange(view.at, view.at + view.horizon) + 0.5
    strength = (0.10, 0.20) if faint else (0.16, 0.30)
    low, high = fan[:, 0], fan[:, -1]
    median = {
        "type": "scatter", "mode": "lines", "x": hours, "y": fan[:, MEDIAN], "showlegend": False,
        "line": {"color": colour, "width": 2, "dash": "dash"}, "customdata": np.c_[low, high],
        "hovertemplate": f"{variable_name(code)} %{{y:.4~g}} (%{{customdata[0]:.4~g}}–%{{customdata[1]:.4~g}})"
        f"<extra>{_('forecast')}</extra>",
    }  # fmt: skip
    found = [_area(hours, low, high, colour, strength[0]), _area(hours, fan[:, 1], fan[:, 3], colour, strength[1])]
    was = quantiles(view.recorded_outlook, code, view.horizon) if view.edited else None
    if was is not None and not np.allclose(was, fan):
        found.append(_line(hours, was[:, MEDIAN], "%{y:.4~g}<extra>" + _("forecast as recorded") + "</extra>"))
    return [*found, median]


def _measured(view: View, code: str, colour: str, symbol: str) -> list[Trace]:
    hours, values = series(view.stay, code)
    known = hours <= view.at
    times = np.array([clock(60 * hour) for hour in hours], dtype=object)
    name = f"{variable_name(code)} %{{y:.4~g}} {unit_name(code)}<extra>%{{customdata}}</extra>"
    dots = {
        "type": "scatter", "mode": "lines+markers", "x": hours[known], "y": values[known], "showlegend": False,
        "line": {"color": _fade(colour, 0.45), "width": 1.2}, "customdata": times[known],
        "marker": {"color": colour, "size": 6, "symbol": symbol}, "hovertemplate": name,
    }  # fmt: skip
    after = {
        "type": "scatter", "mode": "markers", "x": hours[~known], "y": values[~known], "showlegend": False,
        "marker": {"color": colour, "size": 6, "symbol": f"{symbol}-open", "opacity": 0.8}, "hovertemplate": name,
        "customdata": times[~known],
    }  # fmt: skip
    return [dots, after] if view.ahead and not known.all() else [dots]


def _changed(view: View, code: str) -> list[Trace]:
    """Points that an edit made, and crosses where recorded ones were."""
    if not view.edited:
        return []
    (hours, values), (had_hours, had_values) = series(view.stay, code), series(view.recorded, code)
    now, before = set(zip(hours, values, strict=True)), set(zip(had_hours, had_values, strict=True))
    limit = np.inf if view.ahead else view.at
    new, gone = ([p for p in sorted(points) if p[0] <= limit] for points in (now - before, before - now))
    found = []
    for points, mark, words in (
        (gone, {"symbol": "x-thin", "size": 8, "line": {"color": muted(), "width": 1.5}}, _("as recorded")),
        (
            new,
            {"symbol": "diamond", "size": 10, "color": ORANGE, "line": {"color": _ink(), "width": 1.2}},
            _("changed"),
        ),
    ):
        if points:
            x, y = zip(*points, strict=True)
            found.append(
                {
                    "type": "scatter", "mode": "markers", "x": x, "y": y, "marker": mark, "showlegend": False,
                    "hovertemplate": f"{variable_name(code)} %{{y:.4~g}}<extra>{words}</extra>",
                }
            )  # fmt: skip
    return found


def _area(x: NDArray[Any], low: NDArray[Any], high: NDArray[Any], colour: str, strength: float) -> Trace:
    return {
        "type": "scatter", "mode": "lines", "x": np.r_[x, x[::-1]], "y": np.r_[high, low[::-1]], "fill": "toself",
        "fillcolor": _fade(colour, strength), "line": {"width": 0}, "hoverinfo": "skip", "showlegend": False,
    }  # fmt: skip


def _line(x: NDArray[Any], y: NDArray[Any], hover: str) -> Trace:
    """What would be shown without the edits."""
    return {
        "type": "scatter", "mode": "lines", "x": x, "y": y, "hovertemplate": hover, "showlegend": False,
        "line": {"color": muted(), "width": 1.6, "dash": "dashdot"},
    }  # fmt: skip


def _legend(view: View) -> list[Trace]:
    """Entries that explain the marks; the legend has no other."""
    blank = {"type": "scatter", "x": [None], "y": [None], "hoverinfo": "skip"}
    dot = {"color": accent(), "size": 7}
    found = [blank | {"name": _("measured"), "mode": "markers", "marker": dot}]
    if not isinstance(view.outlook, MedAIError):
        line = {"color": accent(), "dash": "dash", "width": 2}
        square = {"symbol": "square", "size": 12}
        found += [
            blank | {"name": _("forecast, median"), "mode": "lines", "line": line},
            blank | {"name": "50%", "mode": "markers", "marker": square | {"color": _fade(accent(), 0.42)}},
            blank | {"name": "90%", "mode": "markers", "marker": square | {"color": _fade(accent(), 0.16)}},
        ]
    if view.ahead and view.at < view.recorded.hours:
        found.append(
            blank | {"name": _("what came after"), "mode": "markers", "marker": dot | {"symbol": "circle-open"}}
        )
    if view.edited:
        mark = {"symbol": "diamond", "size": 9, "color": ORANGE, "line": {"color": _ink(), "width": 1}}
        line = {"color": muted(), "dash": "dashdot", "width": 1.6}
        found.append(blank | {"name": _("changed"), "mode": "markers", "marker": mark})
        found.append(blank | {"name": _("as recorded"), "mode": "lines", "line": line})
    mark = {"symbol": "square", "size": 12, "color": _fade(GREEN, 0.3)}
    return [*found, blank | {"name": _("normal range"), "mode": "markers", "marker": mark}]


def _headings(view: View, row: Panel, top: float, is_risk: bool) -> list[dict[str, Any]]:
    """The title of a row on the left; on the right, in figures, what is known last and what is expected."""
    base = {"xref": "paper", "yref": "paper", "y": top, "yanchor": "bottom", "showarrow": False, "font": {"size": 13}}
    found = [base | {"x": 0, "xanchor": "left", "text": row.title, "font": {"size": 13, "color": _ink()}}]
    words = risk_words(view) if is_risk else _last_words(view, row)
    if words:
        found.append(base | {"x": 1, "xanchor": "right", "text": words, "font": {"size": 12.5, "color": muted()}})
    return found


def risk_words(view: View) -> str:
    """Return the risk now with its range."""
    low, high = view.band()
    return f"<b>{percent(view.risk())}</b> ({percent(low)}–{percent(high)})"


def _last_words(view: View, row: Panel) -> str:
    last = [latest(view.stay, code, view.at) for code in row.codes]
    parts = []
    if any(last):
        marks = SIGNS if len(row.codes) > 1 else ("",)
        shown = [
            f"{mark}{figure(code, pair[1])}" for mark, code, pair in zip(marks, row.codes, last, strict=True) if pair
        ]
        parts.append(_("last {value}").format(value=f"<b>{' '.join(shown)}</b>"))
    else:
        parts.append(_("not measured yet"))
    code = row.codes[len(row.codes) // 2]
    fan = quantiles(view.outlook, code, view.horizon)
    if fan is not None:
        low, middle, high = (figure(code, fan[-1, place]) for place in (0, MEDIAN, 4))
        mark = SIGNS[1] if len(row.codes) > 1 else ""
        parts.append(_("in {h} h {value}").format(h=view.horizon, value=f"<b>{mark}{middle}</b> ({low}–{high})"))
    return "  ·  ".join(parts)


def _span(found: Sequence[Trace], row: Panel) -> tuple[float, float]:
    """Limits of a row's axis: all that is drawn, and the nearer end of the normal range."""
    drawn = np.concatenate([np.asarray(trace["y"], float) for trace in found])
    if not drawn.size:  # measured only later, and what came after is not shown
        drawn = np.array([end for code in row.codes for end in variable(code).normal or ()] or [0.0])
    low, high = float(np.nanmin(drawn)), float(np.nanmax(drawn))
    if not row.codes:
        return 0.0, max(1.15 * high, 0.05)
    if row.codes == ("GCS",):
        return 2.3, 15.7
    for code in row.codes:
        for end in variable(code).normal or ():
            near = abs(end - np.clip(end, low, high)) <= 1.5 * max(high - low, 0.15 * abs(end))
            low, high = (min(low, end), max(high, end)) if near else (low, high)
    room = 0.08 * (high - low) or 0.5
    return low - room, high + room


def _normal(row: Panel, axis: str) -> list[dict[str, Any]]:
    """The usual adult range as a band; of pressures, that of the mean alone."""
    limits = variable(row.codes[len(row.codes) // 2]).normal if row.codes else None
    if limits is None:
        return []
    base = {"xref": "paper", "x0": 0, "x1": 1, "yref": axis, "y0": limits[0], "y1": limits[1], "layer": "below"}
    if limits[0] == limits[1]:
        return [base | {"type": "line", "line": {"color": _fade(GREEN, 0.6), "width": 1.5}}]
    return [base | {"type": "rect", "fillcolor": _fade(GREEN, 0.13), "line": {"width": 0}}]


def _future(view: View, axis: str) -> dict[str, Any]:
    return {
        "type": "rect", "xref": "x", "x0": view.at, "x1": view.recorded.hours + view.horizon + 0.4,
        "yref": f"{axis} domain", "y0": 0, "y1": 1, "layer": "below",
        "fillcolor": _fade(muted(), 0.07), "line": {"width": 0},
    }  # fmt: skip


def _now(view: View, axis: str) -> dict[str, Any]:
    """The line of now, row by row, so that it does not cross the headings."""
    base = {"type": "line", "xref": "x", "x0": view.at, "x1": view.at, "yref": f"{axis} domain", "y0": 0, "y1": 1}
    return base | {"line": {"color": VERMILLION, "width": 1.6}}


def _now_words(view: View) -> dict[str, Any]:
    return {
        "xref": "x", "x": view.at, "yref": "paper", "y": 1, "yanchor": "bottom", "showarrow": False,
        "text": f"<b>{_('now, hour {at}').format(at=view.at)}</b>", "font": {"size": 12, "color": VERMILLION},
    }  # fmt: skip


def _fade(colour: str, strength: float) -> str:
    red, green, blue = (int(colour[k : k + 2], 16) for k in (1, 3, 5))
    return f"rgba({red},{green},{blue},{strength})"


def _grid() -> str:
    return _fade(muted(), 0.16)


def _paper() -> str:
    return "#0F151B" if dark() else "#FFFFFF"


def _ink() -> str:
    return "#E8EDF2" if dark() else "#16202A"
