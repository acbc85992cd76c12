"""The rows of the worklist: a table that keeps its place, and the keys that walk through it."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import streamlit as st

from pages.ui.case_kit import (
    CASE_PAGE,
    STATUS_SIGNS,
    age,
    moment,
    month_only,
    person,
    read_first,
    status_name,
    urgency_name,
)
from pages.ui.language import _

if TYPE_CHECKING:
    from medai_core.cases.access import User
    from medai_core.cases.answers import Row

TABLE, CLICK, HERE = "worklist_table", "worklist_click", "▶"
BOX = "worklist_box"
CHOSEN, SHOWN = "worklist_chosen", "worklist_shown"
"""The id of the chosen study, and those of all on the page: rows move while the list refreshes itself."""
MOVED = "worklist_moved"
"""When another study came to stand on some row, and what stood on the rows before."""
STILL_SECONDS = 1.5
GO = "worklist_go"
ROW_PX = 40


def show_rows(rows: Sequence[Row], user: User, withheld: bool) -> None:
    """Show a page of the worklist with its keys."""
    place_rows([(row.study_id, row.case_id) for row in rows])
    keys(rows)
    with st.container(key=BOX):
        st.dataframe(
            _cells(rows, user, withheld), column_config=_columns(), hide_index=True, key=TABLE, row_height=ROW_PX,
            height=38 + ROW_PX * len(rows), on_select=_choose, selection_mode="single-cell",
            alt=_("Worklist"),
        )  # fmt: skip


def place_rows(shown: list[tuple[str, str]]) -> None:
    """Note which study and case stand on each row from now on."""
    before = st.session_state.get(SHOWN, shown)
    if before != shown:
        st.session_state[MOVED] = time.monotonic(), before
    st.session_state[SHOWN] = shown


def keys(rows: Sequence[Row]) -> None:
    """Show what walks through the rows by keyboard, and what is chosen."""
    place = _place()
    with st.container(horizontal=True, vertical_alignment="center", key="worklist_keys"):
        st.button(
            _("Next study"), icon=":material/arrow_downward:", shortcut="J", on_click=_step, args=(1,),
            key="worklist_next", disabled=place == len(rows) - 1,
        )  # fmt: skip
        st.button(
            _("Previous study"), icon=":material/arrow_upward:", shortcut="K", on_click=_step, args=(-1,),
            key="worklist_previous", disabled=not place,
        )  # fmt: skip
        st.button(
            _("Open the case"), icon=":material/folder_open:", shortcut="O", on_click=_open, key="worklist_open",
            type="primary", disabled=place is None,
        )  # fmt: skip


def go() -> None:
    """Open the case that was clicked on, if one was."""
    if GO in st.session_state:
        study, case = st.session_state.pop(GO)
        first = {"first": "1"} if read_first() else {}
        st.switch_page(CASE_PAGE, query_params={"case": case, "study": study} | first)


def _place() -> int | None:
    """Return where the chosen study stands on the page, None where it is not there."""
    chosen = st.session_state.get(CHOSEN)
    return next((k for k, (study, _case) in enumerate(st.session_state[SHOWN]) if study == chosen), None)


def _choose() -> None:
    """Choose the row whose cell was clicked, or reached by the arrow keys within the table."""
    cells, shown = st.session_state[TABLE]["selection"]["cells"], st.session_state[SHOWN]
    if cells and cells[0][0] < len(shown):
        st.session_state[CHOSEN] = shown[cells[0][0]][0]


def _step(by: int) -> None:
    shown, place = st.session_state[SHOWN], _place()
    if shown:
        to = 0 if place is None else min(max(place + by, 0), len(shown) - 1)
        st.session_state[CHOSEN] = shown[to][0]


def _open() -> None:
    place = _place()
    if place is not None:
        st.session_state[GO] = st.session_state[SHOWN][place]


def _clicked() -> None:
    """Open the row whose button was clicked; only choose it if another study stood there a moment ago.

    The browser tells the number of the row. Had the list just refreshed, the click may have been meant for the study
    that stood there before, and another patient's case would open.
    """
    shown, row = st.session_state[SHOWN], st.session_state[CLICK].row
    if row >= len(shown):
        return
    st.session_state[CHOSEN] = shown[row][0]
    since, before = st.session_state.get(MOVED, (-math.inf, shown))
    if time.monotonic() - since < STILL_SECONDS and before[row : row + 1] != shown[row : row + 1]:
        st.toast(_("The list moved under the click. The study now on that row is marked, not opened."))
    else:
        st.session_state[GO] = shown[row]


def _cells(rows: Sequence[Row], user: User, withheld: bool) -> dict[str, list[object]]:
    place = _place()
    return {
        "here": [HERE if k == place else "" for k in range(len(rows))],
        "open": [_("Open")] * len(rows),
        "urgency": [row.urgency for row in rows],
        "word": [urgency_name(row, withheld) for row in rows],
        "patient": [row.patient for row in rows],
        "study": [row.description or row.modality for row in rows],
        "modality": [row.modality for row in rows],
        "status": [f"{STATUS_SIGNS[row.status]} {status_name(row.status)}" for row in rows],
        "age": [waited(row) for row in rows],
        "assignee": [person(row.assignee, row.assignee_name, user) if row.assignee else "–" for row in rows],
        "files": [row.objects for row in rows],
    }


def waited(row: Row) -> str:
    """Return for how long a study has waited, or the month in which it came where no more is told."""
    return moment(row.arrived) if month_only(row.arrived) else age(row.age_seconds)


def _columns() -> dict[str, object]:
    column = st.column_config
    return {
        "here": column.TextColumn("", width=26, pinned=True),
        "open": column.ButtonColumn("", on_click=_clicked, key=CLICK, width=66, pinned=True),
        "urgency": column.ProgressColumn(
            _("Urgency"), min_value=0, max_value=1, format="%.2f", width=100,
            help=_("Probability of the finding by the model; at least 0.50 where a person should look in any case."),
        ),
        "word": column.TextColumn("", width=106),
        "patient": column.TextColumn(_("Patient"), width=110),
        "study": column.TextColumn(_("Study"), width=130),
        "modality": column.TextColumn(
            _("Modality"), width=70, help=_("OT: not stated, as of an uploaded picture. ICU: an intensive-care stay.")
        ),
        "status": column.TextColumn(_("Status"), width=98),
        "age": column.TextColumn(_("Waiting"), width=62),
        "assignee": column.TextColumn(_("Assigned to"), width=84),
        "files": column.NumberColumn(_("Files"), width=48),
    }  # fmt: skip
