"""What the pages of the workspace share: the workspace itself, its words, and its little CSS."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, tzinfo
from typing import TYPE_CHECKING

import streamlit as st

from medai_core.errors import MedAIError, NotAllowed, NotFound, Unavailable
from pages.ui.frame import problem
from pages.ui.language import _, tell
from pages.ui.words import plain

if TYPE_CHECKING:
    from medai_core.cases.access import User
    from medai_core.cases.answers import Row, Study
    from medai_core.cases.workspace import Workspace

LIST_PAGE, CASE_PAGE = "pages/cases/case_list.py", "pages/cases/case.py"
READ_FIRST = "read_first"
HIGH, RAISED = 0.75, 0.5
CSS = """<style>
.stHtml .medai-tally {display: flex; flex-wrap: wrap; gap: .35rem 1.4rem; margin: 0; font-size: .95rem;}
.medai-tally b {font-size: 1.35rem; font-weight: 650; font-variant-numeric: tabular-nums; margin-right: .35rem;}
.stHtml .medai-steps {list-style: none; margin: 0; padding: 0; font-size: .92rem; line-height: 1.45;}
.stHtml .medai-steps li {margin: 0 0 .55rem; padding: 0 0 0 .8rem;
  border-left: 2px solid color-mix(in srgb, currentColor 25%, transparent);}
.medai-steps .when {opacity: .72; font-size: .84rem;}
.medai-steps .free {opacity: .9; white-space: pre-wrap; overflow-wrap: anywhere;}
.st-key-case_head h2 {padding-top: 0;}
.st-key-worklist_box [data-testid="stElementToolbar"],
.st-key-pacs_box [data-testid="stElementToolbar"],
.st-key-case_receipts_box [data-testid="stElementToolbar"] {display: none;}
.stHtml .medai-digest {font-family: monospace; font-size: .84rem; overflow-wrap: anywhere; margin: 0;}
</style>"""


def case_styles() -> None:
    """Put the style sheet into the page."""
    st.html(CSS)


def workspace() -> Workspace:
    """Return the workspace of this server.

    Raises
    ------
    MedAIError
        If it cannot be opened: its key is another one, or its database is away.
    """
    from medai_core.cases.workspace import open_workspace

    return open_workspace()


@contextmanager
def answered() -> Iterator[None]:
    """Show what the workspace refuses in plain words, and end this run of the page there."""
    try:
        yield
    except MedAIError as error:
        refused(error)
        st.stop()


def refused(error: MedAIError) -> None:
    """Say why the workspace did not do something."""
    if isinstance(error, Unavailable):
        words = _("Nothing was lost: try again in a moment.")
        st.error(f"{plain(tell(error))} {words}", icon=":material/cloud_off:")
    elif isinstance(error, NotAllowed):
        st.info(plain(tell(error)), icon=":material/block:")
    elif isinstance(error, NotFound):
        st.info(plain(tell(error)), icon=":material/search_off:")
    else:
        problem(error)


def status_name(status: str) -> str:
    """Return the word for where a study stands."""
    return {"new": _("New"), "reading": _("Being read"), "done": _("Done"), "refused": _("Refused")}[status]


STATUS_SIGNS = {"new": "●", "reading": "◐", "done": "✓", "refused": "⊘"}
"""Signs of different shape, so that they can be told apart without colour."""
STATUS_COLOURS = {"new": "blue", "reading": "orange", "done": "green", "refused": "gray"}


def kind_name(kind: str) -> str:
    """Return the word for what a study is."""
    return {"scan": _("Scan"), "stay": _("Intensive-care stay"), "row": _("Row of a table")}[kind]


def urgency_name(row: Row, withheld: bool) -> str:
    """Return the urgency in a word, or why there is none."""
    if row.urgency is None:
        waits = {"waiting": _("Not read yet"), "running": _("With the model"), "failed": _("Not readable")}
        return waits.get(row.model_state) or (_("Withheld") if withheld else _("No reading"))
    if row.urgency >= HIGH:
        return _("High")
    return _("Raised") if row.urgency >= RAISED else _("Low")


def age(seconds: float) -> str:
    """Return for how long something has waited, in the largest unit that fits."""
    for unit, length in ((_("{n} d"), 86_400), (_("{n} h"), 3600), (_("{n} min"), 60)):
        if seconds >= length:
            return unit.format(n=int(seconds // length))
    return _("< 1 min")


def lasted(seconds: float) -> str:
    """Return a short time: ``1 min 20 s``."""
    minutes, rest = divmod(round(seconds), 60)
    if minutes >= 60:
        return age(seconds)
    return _("{m} min {s} s").format(m=minutes, s=rest) if minutes else _("{s} s").format(s=rest)


def moment(at: datetime) -> str:
    """Return a moment to the minute, in the time of the visitor's computer where that is known, or its month.

    Some users are told the month alone; see :func:`medai_core.cases.access.knows_moments`.
    """
    if month_only(at):
        return f"{at:%Y-%m}"
    return at.astimezone(zone()).strftime("%Y-%m-%d %H:%M")


def month_only(at: datetime) -> bool:
    """Whether only the month of this moment is told."""
    from medai_core.cases.access import month_of

    return at == month_of(at)


def zone() -> tzinfo:
    """Return the visitor's time zone; UTC where the browser does not say."""
    from zoneinfo import ZoneInfo

    try:
        return ZoneInfo(st.context.timezone or "UTC")
    except (ValueError, OSError):  # a browser may say what is no zone here
        return UTC


def person(subject: str | None, name: str | None, user: User) -> str:
    """Return who somebody is for the reader: *You*, *Nobody*, or their name."""
    if not subject:
        return _("Nobody")
    return _("You") if subject == user.subject else name or subject


def study_title(study: Study) -> str:
    """Return what a study is called in lists: its day, its kind, what was examined."""
    about = study.description or " ".join(part for part in (study.modality, study.body_part) if part)
    return " · ".join(part for part in (study_day(study), about or kind_name(study.kind)) if part)


def study_day(study: Study) -> str:
    """Return the day a study was made, else the day it arrived."""
    if study.acquired is None and month_only(study.arrived):
        return moment(study.arrived)
    return (study.acquired or study.arrived.astimezone(zone()).date()).isoformat()


def read_first() -> bool:
    """Return whether the model's answers are hidden until the reader has committed one."""
    return st.session_state.setdefault(READ_FIRST, st.query_params.get("first") == "1")


def read_first_switch(key: str) -> bool:
    """Show the switch of :func:`read_first`, and return it."""

    def switched() -> None:
        st.session_state[READ_FIRST] = st.session_state[key]

    st.session_state[key] = read_first()
    st.toggle(
        _("Read first"), key=key, on_change=switched,
        help=_("Hides what the model says of a study until you have committed your own reading of it."),
    )  # fmt: skip
    if st.session_state[READ_FIRST]:
        st.query_params["first"] = "1"
    else:
        st.query_params.pop("first", None)
    return st.session_state[READ_FIRST]
