"""Many stays at once: a table by risk, a map of the patients, and a way to open any of them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import numpy as np
import pandas as pd
import streamlit as st

from medai_core.errors import MedAIError
from pages.ui import icu_loaders, icu_stay, loaders
from pages.ui.cohort_map import forget, patient_map
from pages.ui.cohort_rows import RISE_HOURS, StayRow, courses, in_order, to_csv
from pages.ui.cohort_table import filters, table
from pages.ui.frame import bullets, page, problem
from pages.ui.language import _, tell
from pages.ui.queue import NotReached, Queue, Upload
from pages.ui.words import percent

QUEUE = "cohort"
ROUND = "cohort_round"
OPENED = "opened_from_cohort"
SLICE_SECONDS = 1.0
RUNNING_ROWS = 10
# A risk that rose by more than this over six hours is counted as rising.
STEEP = 0.05


def main() -> None:
    page(
        _("Many patients"),
        _("Drop in many stays or a ZIP: who is at risk, whose risk is rising, and which patients are alike."),
    )
    queue: Queue[StayRow] | None = st.session_state.get(QUEUE)
    # Emptied at once when the work begins, not only at the end of the first slice.
    asking = st.empty()
    if queue is None:
        with asking.container():
            ask_for_files()
    elif queue.state == "running":
        running(queue)
    else:
        finished(queue)


def ask_for_files() -> None:
    """Show the uploader, the demo stays, and start."""
    files = st.file_uploader(
        _("Drop stays or ZIP archives here"),
        accept_multiple_files=True,
        key=f"cohort_upload_{st.session_state.get(ROUND, 0)}",
    )
    st.caption(
        _(
            "One file per stay: PhysioNet 2012 text, long or wide CSV, FHIR R4 Bundle, or ZIPs of these. "
            "The files stay in this session and are not stored."
        )
    )
    demo = icu_stay.demo_stays()
    with st.container(horizontal=True):
        if st.button(
            _("Score the stays"), type="primary", disabled=not files, icon=":material/play_arrow:", key="cohort_start"
        ):  # fmt: skip
            start([Upload(file.name, file.getvalue()) for file in files])
        if demo and st.button(
            _("Use the {n} demo stays").format(n=len(demo)), icon=":material/science:", key="cohort_demo",
            help=_("Synthetic stays: drawn by a computer, of no patient."),
        ):  # fmt: skip
            start([Upload(sample.path.name, sample.path.read_bytes()) for sample in demo])
    with st.expander(_("How a file must look: an example of each layout"), icon=":material/description:"):
        icu_stay.examples()
    st.subheader(_("What you get"), anchor=False)
    bullets(
        [
            _("The risk of death in hospital at every hour of every stay, each from what was known by then."),
            _("A table to sort by risk or by its rise over the last {n} hours, to filter, and to download.").format(
                n=RISE_HOURS
            ),
            _("A map of the patients, with groups of stays that the networks see alike and what sets them apart."),
            _("Files that cannot be read, listed with the reason; they never stop the rest."),
        ]
    )


def start(uploads: list[Upload]) -> None:
    st.session_state[QUEUE] = Queue(uploads, lambda items: courses(icu_loaders.models().forecaster, items), StayRow)
    st.rerun()


def running(queue: Queue[StayRow]) -> None:
    """Work for one slice, show the highest risks so far, and come back until all is read or the visitor stops it."""
    done, expected = len(queue.rows), max(queue.expected, 1)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.progress(min(done / expected, 0.99), _("{n} of {all} files").format(n=done, all=expected))
        st.button(_("Stop"), icon=":material/stop:", on_click=queue.stop, key="cohort_stop")
    if first := in_order(queue.rows, "risk")[:RUNNING_ROWS]:
        st.caption(_("Highest risks so far"))
        table(first, "cohort_running")
    with suppress(MedAIError):  # then the queue is stopped, and what is shown next says why
        queue.work(SLICE_SECONDS)
    st.rerun()


def finished(queue: Queue[StayRow]) -> None:
    """Show figures, then the table, the map, or what could not be read."""
    read = [row for row in queue.rows if row.read]
    unread = [row for row in queue.rows if not row.read]
    if queue.failure is not None:
        problem(queue.failure)
    threshold = headline(queue)
    summary(read, len(unread) - sum(isinstance(row.outcome, NotReached) for row in unread), threshold)
    views = {
        "table": (_("Table"), read, lambda: listing(queue, read)),
        "map": (_("Map of the patients"), read, lambda: patient_map(read, open_row)),
        "unread": (_("Not read"), unread, lambda: not_read(unread)),
    }
    offered = [view for view, (_name, rows, _show) in views.items() if rows]
    if not offered:
        return
    view = st.segmented_control(
        _("View"), offered, format_func=lambda view: views[view][0], default=offered[0], required=True,
        key="cohort_view", label_visibility="collapsed", persist_state="session",
    )  # fmt: skip
    views[view][2]()


def headline(queue: Queue[StayRow]) -> float:
    """Say how long it took; return the visitor's threshold."""
    answered = sum(not isinstance(row.outcome, NotReached) for row in queue.rows)
    words = _("{n} files in {s} s").format(n=f"{answered:,}", s=f"{queue.seconds:.1f}")
    with st.container(horizontal=True, vertical_alignment="bottom"):
        with st.container(width="stretch"):
            if queue.state == "stopped":
                st.warning(
                    _("Stopped. What was read until then is below.") + " " + words, icon=":material/stop_circle:"
                )
            else:
                st.markdown(f":material/check_circle: {words}")
        threshold = st.number_input(
            _("Threshold, %"), 1, 99, default_threshold(), key="cohort_threshold", width=150, persist_state="session",
            help=_("For the count of stays above it. The model's own threshold balances sensitivity and precision."),
        )  # fmt: skip
        st.button(_("New list"), icon=":material/add:", on_click=start_over, key="cohort_start_over")
    return threshold / 100


def start_over() -> None:
    forget()
    del st.session_state[QUEUE]
    st.session_state[ROUND] = st.session_state.get(ROUND, 0) + 1


def summary(read: Sequence[StayRow], unreadable: int, threshold: float) -> None:
    """Show how many stays there are, how ill, and how many are above the visitor's threshold."""
    risks = [row.outcome.now for row in read]
    rising = sum((row.outcome.rise or 0) > STEEP for row in read)
    figures = [
        (_("Stays"), f"{len(read):,}"),
        (_("Median risk"), percent(float(np.median(risks))) if risks else "–"),
        (_("Above {x:.0%}").format(x=threshold), f"{sum(risk > threshold for risk in risks):,}"),
        (_("Up {points:.0f} points in {n} h").format(points=100 * STEEP, n=RISE_HOURS), f"{rising:,}"),
        (_("Unreadable"), f"{unreadable:,}"),
    ]
    for column, (name, value) in zip(st.columns(len(figures)), figures, strict=True):
        column.metric(name, value, border=True)


def default_threshold() -> int:
    """Return the threshold that the model's card chose, in per cent."""
    found = loaders.bundle(icu_loaders.RISK)
    stored = {} if isinstance(found, MedAIError) else found.preprocessing.get("thresholds", {})
    return round(100 * stored.get("blend", 0.3))


def listing(queue: Queue[StayRow], read: Sequence[StayRow]) -> None:
    """Show the table with its filters, and the download of all that is in it."""
    chosen = filters(read, st.session_state.get(ROUND, 0))
    if chosen:
        table(chosen, "cohort", open_row)
        open_by_keyboard(chosen)
    else:
        st.info(_("No stay passes these filters."), icon=":material/filter_alt:")
    unread = [row for row in queue.rows if not row.read]
    with st.container(horizontal=True, vertical_alignment="center"):
        st.download_button(
            _("Download CSV"), lambda: to_csv([*chosen, *unread], loaders.version(icu_loaders.RISK)),
            file_name="medai-stays.csv", mime="text/csv", icon=":material/download:", on_click="ignore",
            key="cohort_csv",
        )  # fmt: skip
        st.caption(
            _("{n} of {all} stays, with the risk at every hour.").format(n=f"{len(chosen):,}", all=f"{len(read):,}")
        )


def open_by_keyboard(rows: Sequence[StayRow]) -> None:
    """Offer the same by keyboard: the table is drawn on a canvas, and its buttons are out of reach."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        place = st.selectbox(
            _("File to open"), range(len(rows)), format_func=lambda k: f"{k + 1} · {rows[k].name}",
            key="cohort_choice", width=420,
        )  # fmt: skip
        st.button(
            _("Open the file"), icon=":material/open_in_new:", key="cohort_open_chosen", on_click=open_row,
            args=(rows[place],),
        )  # fmt: skip


def not_read(rows: Sequence[StayRow]) -> None:
    """List what was not read, each with its one sentence."""
    st.dataframe(
        pd.DataFrame({"file": [row.name for row in rows], "why": [tell(row.outcome) for row in rows]}),
        column_config={
            "file": st.column_config.TextColumn(_("Name"), width=220),
            "why": st.column_config.TextColumn(_("Why"), width=700),
        },
        hide_index=True, key="cohort_unread", alt=_("What was not read"),
    )  # fmt: skip


def open_row(row: StayRow) -> None:
    """Put the row's stay on the patient page; the page switches on the rerun that follows."""
    icu_stay.hold(row.name, row.data())
    st.session_state[OPENED] = True


if st.session_state.pop(OPENED, False):
    st.switch_page(icu_stay.PATIENT_PAGE)
main()
