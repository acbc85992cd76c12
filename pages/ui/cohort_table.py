"""The table of stays: filters, sparklines, and a button that opens a row."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa
import streamlit as st
from numpy.typing import NDArray

from medai_core.icu.grid import HOURS
from pages.ui.cohort_rows import ORDERS, RISE_HOURS, StayRow, in_order
from pages.ui.language import _, tell
from pages.ui.theme import BLUE, GREEN, ORANGE, SKY, dark

ROW_PX, HEAD_PX, MOST_PX = 40, 46, 640
# Sparklines of one column share an axis, so that rows can be compared; values beyond are drawn at its ends.
HEART_RATE_RANGE, PRESSURE_RANGE = (40, 160), (40, 130)
LEAST_RISK_AXIS = 0.2


def filters(rows: Sequence[StayRow], count: int) -> list[StayRow]:
    """Show the filters and return what passes, in the order chosen.

    They stay while the visitor looks at other pages, and not for the next list: ``count`` tells lists apart.
    """
    with st.container(horizontal=True, vertical_alignment="bottom"):
        order = st.segmented_control(
            _("Sort by"), ORDERS, format_func=order_name, default="risk", required=True, key="cohort_order",
            persist_state="session",
        )  # fmt: skip
        text = st.text_input(_("Name contains"), key=f"cohort_name_{count}", width=140, persist_state="session")
        least = st.number_input(
            _("Risk at least, %"), 0, 100, 0, step=5, key=f"cohort_least_{count}", width=130, persist_state="session"
        )
        measured = st.number_input(
            _("Hours with data, at least"), 0, HOURS, 0, step=6, key=f"cohort_measured_{count}", width=172,
            persist_state="session",
        )  # fmt: skip
    return [
        row
        for row in in_order(rows, order)
        if row.outcome.now >= least / 100
        and row.outcome.measured_hours >= measured
        and text.lower() in row.name.lower()
    ]


def order_name(order: str) -> str:
    """Return the name of an order of rows."""
    return {
        "risk": _("Risk"),
        "rise": _("Rise over {n} h").format(n=RISE_HOURS),
        "name": _("Name"),
    }[order]


def table(rows: Sequence[StayRow], key: str, on_open: Callable[[StayRow], None] | None = None) -> None:
    """Show rows; where ``on_open`` is given, each has a button that calls it."""
    columns = column_config(rows)
    if on_open is not None:
        click = f"open_{key}"

        def clicked() -> None:
            on_open(rows[st.session_state[click].row])

        button = st.column_config.ButtonColumn("", on_click=clicked, key=click, width=66, pinned=True)
        columns = {"open": button} | columns
    st.dataframe(
        arrow(rows, with_button=on_open is not None),
        column_config=columns, column_order=list(columns), hide_index=True, key=f"table_{key}",
        row_height=ROW_PX, height=min(HEAD_PX + ROW_PX * len(rows), MOST_PX), alt=_("Stays in the order chosen"),
    )  # fmt: skip


def column_config(rows: Sequence[StayRow]) -> dict[str, object]:
    """Return what each column is called and how it is drawn."""
    column = st.column_config
    highest = max([LEAST_RISK_AXIS, *(float(row.outcome.risk.max()) for row in rows)])
    return {
        "file": column.TextColumn(_("Name"), width=158),
        "risk": column.ProgressColumn(
            _("Risk now"), min_value=0, max_value=100, format="%.1f%%", width=100,
            help=_("Risk of death in hospital at the last hour of the stay, from what was recorded up to then."),
        ),
        "rise": column.NumberColumn(
            _("Rise, {n} h").format(n=RISE_HOURS), format="%+.1f", width=76,
            help=_("Change of the risk over the last {n} hours, in percentage points.").format(n=RISE_HOURS),
        ),
        "course": column.LineChartColumn(
            _("Risk by hour"), y_min=0, y_max=highest, width=112, color=SKY if dark() else BLUE,
            help=_("All rows share the axis from 0 to {high:.0%}.").format(high=highest),
        ),
        "hours": column.NumberColumn(_("Hours"), width=52, help=_("How long the stay was followed.")),
        "measured": column.NumberColumn(_("With data"), width=70, help=_("Hours in which anything was measured.")),
        "heart_rate": spark(_("Heart rate"), HEART_RATE_RANGE, "/min", ORANGE),
        "pressure": spark(_("Mean pressure"), PRESSURE_RANGE, "mmHg", GREEN),
        "left_out": column.NumberColumn(_("Left out"), width=62, help=_("Entries of the file that are not used.")),
        "note": column.TextColumn(_("Note"), width="large"),
    }  # fmt: skip


def spark(name: str, span: tuple[int, int], unit: str, colour: str) -> object:
    """Return the column of a vital sign: last known value by hour, on one axis for all rows."""
    low, high = span
    text = _("Last known value at each hour; all rows share the axis from {low} to {high} {unit}.")
    return st.column_config.LineChartColumn(
        name, y_min=low, y_max=high, width=100, color=colour, help=text.format(low=low, high=high, unit=unit)
    )


def arrow(rows: Sequence[StayRow], with_button: bool = False) -> pa.Table:
    """Return the table as Arrow: thousands of sparklines go to the browser without a copy as Python lists."""
    courses = [row.outcome for row in rows]
    columns = {"open": pa.array([_("Open")] * len(rows), pa.string())} if with_button else {}
    columns |= {
        "file": pa.array([row.name for row in rows], pa.string()),
        "risk": pa.array([round(100 * course.now, 1) for course in courses], pa.float32()),
        "rise": pa.array([None if c.rise is None else round(100 * c.rise, 1) for c in courses], pa.float32()),
        "course": series([course.risk for course in courses], 3),
        "hours": pa.array([course.hours for course in courses], pa.int16()),
        "measured": pa.array([course.measured_hours for course in courses], pa.int16()),
        "heart_rate": series([np.clip(course.heart_rate, *HEART_RATE_RANGE) for course in courses], 0),
        "pressure": series([np.clip(course.pressure, *PRESSURE_RANGE) for course in courses], 0),
        "left_out": pa.array([course.left_out for course in courses], pa.int32()),
        "note": pa.array([note(row) for row in rows], pa.string()),
    }
    return pa.table(columns)


def series(rows: Sequence[NDArray[np.float32]], decimals: int) -> pa.ListArray:
    """Return rows of numbers as an Arrow column of lists; an empty row as a missing cell."""
    ends = np.cumsum([0, *(len(row) for row in rows)], dtype=np.int32)
    values = np.round(np.concatenate([np.empty(0, np.float32), *rows]), decimals)
    empty = pa.array([len(row) == 0 for row in rows], pa.bool_())
    return pa.ListArray.from_arrays(pa.array(ends), pa.array(values, pa.float32()), mask=empty)


def note(row: StayRow) -> str:
    """Return what was noticed about the first entry that was left out."""
    first = row.outcome.first_left_out
    return "" if first is None else tell(first)
