"""All that a case holds on one time line: studies by kind, and what was done with them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import plotly.graph_objects as go
import streamlit as st

from pages.ui.case_kit import kind_name, moment, status_name, study_title, zone
from pages.ui.charts import PLAIN, draw, told
from pages.ui.language import _, tell
from pages.ui.theme import GREEN, ORANGE, PURPLE, accent, dark, muted

if TYPE_CHECKING:
    from medai_core.cases.answers import Case, Moment, Study

LANES = ("scan", "stay", "row")
LOOKS = {"arrived": ("circle-open", 9), "read": ("diamond", 9), "reviewed": ("star", 13), "report": ("square", 9)}
"""Symbol and size of what was done: told apart by shape as well as by colour."""
CURRENT = "case_study"
HALF_DAY_MS = 43_200_000


def time_line(case: Case, current: Study, prior: Study | None) -> None:
    """Draw the time line; a click on a study makes it the current one."""
    lanes = [kind for kind in LANES if any(study.kind == kind for study in case.studies)]
    traces = [
        _studies(kind, [study for study in case.studies if study.kind == kind], current, prior) for kind in lanes
    ]
    names = [*[kind_name(kind) for kind in lanes], _("Events")]
    # From plain parts at once: put together piece by piece, a figure is checked anew for every piece.
    figure = go.Figure(data=[*traces, *_moments(case.timeline)], layout=_layout(names, _span(case)))
    st.session_state["case_points"] = [
        [study.study_id for study in case.studies if study.kind == kind] for kind in lanes
    ]
    words = [f"{study_title(study)}, {status_name(study.status)}" for study in case.studies]
    draw(
        figure, f"case_time_line_{len(case.timeline)}", told(_("Time line of the case"), words), 96 + 46 * len(names),
        PLAIN, on_select=_clicked_on(f"case_time_line_{len(case.timeline)}"), selection_mode="points",
    )  # fmt: skip


def _clicked_on(key: str) -> Any:
    def choose() -> None:
        for point in st.session_state[key]["selection"]["points"]:
            lanes = st.session_state["case_points"]
            lane, place = point["curve_number"], point["point_index"]
            if lane < len(lanes) and place < len(lanes[lane]):
                st.session_state[CURRENT] = lanes[lane][place]

    return choose


def _at(study: Study) -> datetime:
    """When a study is drawn: at noon of its day, or when it arrived where the file does not say."""
    if study.acquired is None:
        return study.arrived.astimezone(zone())
    day = study.acquired
    return datetime(day.year, day.month, day.day, 12, tzinfo=zone())


def _studies(kind: str, studies: Sequence[Study], current: Study, prior: Study | None) -> dict[str, Any]:
    shown = {current.study_id: _("current"), **({prior.study_id: _("beside it")} if prior else {})}
    below = prior.study_id if prior else None  # or the words of two days near each other would meet
    marked = [study.study_id in shown for study in studies]
    return {
        "type": "scatter",
        "x": [_naive(_at(study)) for study in studies],
        "y": [kind_name(kind)] * len(studies),
        "mode": "markers+text",
        "text": [shown.get(study.study_id, "") for study in studies],
        "textposition": ["bottom center" if study.study_id == below else "top center" for study in studies],
        "textfont": {"size": 12},
        "cliponaxis": False,
        "name": kind_name(kind),
        "showlegend": False,
        "marker": {
            "size": [17 if yes else 12 for yes in marked],
            "color": [accent() if yes else muted() for yes in marked],
            "symbol": ["circle" if study.status == "done" else "circle-open" for study in studies],
            "line": {"width": 2.5},
        },
        "customdata": [[study_title(study), status_name(study.status)] for study in studies],
        "hovertemplate": "%{customdata[0]}<br>%{customdata[1]}<extra></extra>",
        "selected": {"marker": {"opacity": 1}},
        "unselected": {"marker": {"opacity": 1}},
    }


def _moments(moments: Sequence[Moment]) -> Iterator[dict[str, Any]]:
    names = {"arrived": _("Arrived"), "read": _("Model"), "reviewed": _("Reader"), "report": _("Report")}
    colours = {"arrived": muted(), "read": ORANGE, "reviewed": GREEN, "report": PURPLE}
    for kind, name in names.items():
        mine = [one for one in moments if one.kind == kind]
        if not mine:
            continue
        symbol, size = LOOKS[kind]
        yield {
            "type": "scatter",
            "x": [_naive(one.at.astimezone(zone())) for one in mine],
            "y": [_("Events")] * len(mine),
            "mode": "markers",
            "name": name,
            "marker": {
                "symbol": symbol,
                "size": size,
                "color": colours[kind],
                "line": {"width": 1.5 if symbol.endswith("open") else 0},
            },
            "customdata": [[tell(one.text), moment(one.at)] for one in mine],
            "hovertemplate": "%{customdata[0]}<br>%{customdata[1]}<extra></extra>",
        }


def _naive(at: datetime) -> datetime:
    """Plotly draws moments without a zone as they stand."""
    return at.replace(tzinfo=None)


def _span(case: Case) -> tuple[datetime, datetime]:
    ends = [_naive(_at(study)) for study in case.studies] + [_naive(one.at.astimezone(zone())) for one in case.timeline]
    room = max((max(ends) - min(ends)) * 0.06, timedelta(minutes=2))
    return min(ends) - room, max(ends) + room


def _layout(names: Sequence[str], span: tuple[datetime, datetime]) -> dict[str, Any]:
    grid = {"showgrid": True, "gridcolor": "#26323C" if dark() else "#E4EAEF", "fixedrange": True, "zeroline": False}
    return {
        "margin": {"l": 0, "r": 12, "t": 30, "b": 0},
        "legend": {
            "orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 0, "itemclick": False, "itemdoubleclick": False,
        },
        "clickmode": "event+select", "dragmode": False, "hovermode": "closest",
        "xaxis": grid | {
            "range": list(span), "nticks": 8,
            "tickformatstops": [
                {"dtickrange": [None, HALF_DAY_MS], "value": "%H:%M\n%Y-%m-%d"},
                {"dtickrange": [HALF_DAY_MS, "M1"], "value": "%Y-%m-%d"},
                {"dtickrange": ["M1", None], "value": "%Y-%m"},
            ],
        },
        "yaxis": grid | {
            "categoryorder": "array", "categoryarray": list(reversed(names)), "range": [-0.6, len(names) - 0.35],
            "ticksuffix": "  ", "automargin": True,
        },
    }  # fmt: skip
