"""Many scans at once: a worklist sorted by urgency that can be stopped, filtered, opened and downloaded."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress

import numpy as np
import pandas as pd
import streamlit as st

from medai_core.errors import MedAIError
from pages.ui import charts, loaders, uploads
from pages.ui.frame import page, problem
from pages.ui.gallery import SCAN_PAGE
from pages.ui.language import _, tell
from pages.ui.queue import Queue, Upload
from pages.ui.viewer import data_uri
from pages.ui.words import label_name, model_name, percent, refusal_title
from pages.ui.worklist_rows import ScanRow, by_urgency, to_csv

QUEUE = "worklist"
ROUND = "worklist_round"
SLICE_SECONDS = 0.5
THUMB_PX = 72
ROW_PX = 64


def main() -> None:
    page(
        _("Many scans"),
        _("Upload files or ZIP archives. Each is read on its own; one bad file never stops the rest."),
    )
    queue: Queue[ScanRow] | None = st.session_state.get(QUEUE)
    if queue is None:
        ask_for_files()
    elif queue.state == "running":
        running()
    else:
        finished(queue)


def ask_for_files() -> None:
    """Show the uploader and start."""
    files = st.file_uploader(
        _("Drop scans or ZIP archives here"),
        accept_multiple_files=True,
        key=f"worklist_upload_{st.session_state.get(ROUND, 0)}",
    )
    st.caption(
        _("DICOM, PNG, JPEG, TIFF, WebP, NIfTI, or ZIPs of these. The files stay in this session and are not stored.")
    )
    model = st.segmented_control(
        _("Model"), ("auto", *loaders.READING_MODELS), format_func=model_name, default="auto", required=True,
        key="worklist_model", persist_state="session",
    )  # fmt: skip
    if st.button(
        _("Read {n} files").format(n=len(files)) if files else _("Read the files"),
        type="primary", disabled=not files, icon=":material/play_arrow:", key="start",
    ):  # fmt: skip
        st.session_state[QUEUE] = Queue(
            [Upload(file.name, file.getvalue()) for file in files],
            lambda items: loaders.reader().read_many(items, model=model),
            ScanRow,
        )
        st.rerun()


def running() -> None:
    """Work for one slice, show what is done, and come back until all is read or the visitor stops it."""
    queue: Queue[ScanRow] = st.session_state[QUEUE]
    with st.container(horizontal=True, vertical_alignment="center"):
        done, expected = len(queue.rows), max(queue.expected, 1)
        st.progress(min(done / expected, 0.99), _("{n} of {all} files").format(n=done, all=expected))
        st.button(_("Stop"), icon=":material/stop:", on_click=queue.stop, key="stop")
    table(by_urgency(queue.rows)[:20], "running", openable=False)
    with suppress(MedAIError):  # then the queue is stopped, and what is shown next says why
        queue.work(SLICE_SECONDS)
    st.rerun()


def finished(queue: Queue[ScanRow]) -> None:
    """Show the worklist."""
    rows = by_urgency(queue.rows)
    tally = Counter(row.status for row in rows)
    if queue.failure is not None:
        problem(queue.failure)
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        words = _("{n} files in {s} s").format(n=len(rows) - tally["not_reached"], s=f"{queue.seconds:.1f}")
        if queue.state == "stopped":
            said = [_("Stopped. What was read until then is below."), words]
            said += [_("{n} files were not reached.").format(n=queue.missed)] if queue.missed else []
            st.warning(" ".join(said), icon=":material/stop_circle:")
        else:
            st.markdown(f":material/check_circle: {words}")
        st.button(_("New worklist"), icon=":material/add:", on_click=start_over, key="start_over")
    figures = summary(rows, tally)
    for column, (name, value) in zip(st.columns(len(figures)), figures, strict=True):
        column.metric(name, value, border=True)
    if not rows:
        return
    chosen = filters(rows)
    table(chosen, "done", openable=True)
    open_by_keyboard(chosen)
    st.download_button(
        _("Download CSV"), to_csv(chosen), file_name="medai-worklist.csv", mime="text/csv",
        icon=":material/download:", on_click="ignore", key="csv",
    )  # fmt: skip
    labels = Counter(result_name(row) for row in rows)
    st.subheader(_("Results"), anchor=False)
    charts.counts([name for name, _n in labels.most_common()], [n for _name, n in labels.most_common()], key="summary")


def summary(rows: list[ScanRow], tally: Counter) -> list[tuple[str, int]]:
    """Return the figures on top of the worklist; what was not read is among those to look at."""
    refer = sum(row.status == "read" and row.outcome.refer for row in rows)
    found = [
        (_("Needs a look"), sum(row.needs_look for row in rows)),
        (_("Read"), tally["read"]),
        (_("Refer to a reader"), refer),
        (_("Refused"), tally["refused"]),
        (_("Unreadable"), tally["error"]),
    ]
    return found + ([(_("Not reached"), tally["not_reached"])] if tally["not_reached"] else [])


def start_over() -> None:
    del st.session_state[QUEUE]
    st.session_state[ROUND] = st.session_state.get(ROUND, 0) + 1


def filters(rows: list[ScanRow]) -> list[ScanRow]:
    """Show the filters and return what passes."""
    status = {"read": _("Read"), "refused": _("Refused"), "error": _("Unreadable")}
    if any(row.status == "not_reached" for row in rows):
        status["not_reached"] = _("Not reached")
    # Filters are of one list: they stay while the visitor looks at other pages, and not for the next list.
    count = st.session_state.get(ROUND, 0)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        wanted = st.pills(
            _("Show"), list(status), format_func=status.__getitem__, selection_mode="multi", default=list(status),
            key=f"filter_status_{count}", persist_state="session",
        )  # fmt: skip
        look = st.toggle(
            _("Only what needs a look"), key=f"filter_look_{count}", persist_state="session",
            help=_("Above the threshold, to be referred, refused, or unreadable."),
        )  # fmt: skip
        text = st.text_input(_("Name contains"), key=f"filter_name_{count}", width=240, persist_state="session")
    return [
        row for row in rows
        if row.status in wanted
        and (not look or row.needs_look)
        and text.lower() in row.name.lower()
    ]  # fmt: skip


def table(rows: list[ScanRow], key: str, openable: bool) -> None:
    """Show rows with thumbnails; a click on *Open* opens one on the scan page."""
    if not rows:
        return
    frame = pd.DataFrame([cells(row) for row in rows])
    columns = {
        "open": None,
        "image": st.column_config.ImageColumn(_("Image"), width=80),
        "file": st.column_config.TextColumn(_("File"), width="medium"),
        "urgency": st.column_config.ProgressColumn(_("Urgency"), min_value=0, max_value=1, format="%.2f", width=110),
        "look": st.column_config.TextColumn(_("Needs a look"), width=130),
        "result": st.column_config.TextColumn(_("Result")),
        "probability": st.column_config.TextColumn(_("Probability")),
        "set": st.column_config.TextColumn(_("Prediction set")),
        "note": st.column_config.TextColumn(_("Note"), width="large"),
    }
    if openable:
        frame.insert(0, "open", _("Open"))
        click = f"open_{key}"
        columns["open"] = st.column_config.ButtonColumn(
            "", on_click=open_row, args=(rows, click), key=click, width=80, pinned=True
        )
    st.dataframe(
        frame, column_config=columns, column_order=list(columns), hide_index=True, key=f"table_{key}",
        row_height=ROW_PX, height=min(46 + ROW_PX * len(rows), 620), alt=_("Worklist, what needs a look first"),
    )  # fmt: skip


def cells(row: ScanRow) -> dict[str, object]:
    """Return one line of the table."""
    blank = {"image": None, "file": row.name, "urgency": None, "result": result_name(row), "probability": "", "set": ""}
    blank |= {"look": reason_to_look(row), "note": ""}
    if isinstance(row.outcome, MedAIError):
        return blank | {"note": tell(row.outcome)}
    reading = row.outcome
    seen = reading.prepared if reading.prepared is not None else (reading.gate.original if reading.gate else None)
    image = data_uri(np.rint(np.clip(seen, 0, 1) * 255).astype(np.uint8), THUMB_PX) if seen is not None else None
    if reading.status == "refused":
        return blank | {
            "image": image,
            "note": tell(reading.reason) if reading.reason else "",
        }
    return blank | {
        "image": image,
        "urgency": reading.urgency,
        "probability": percent(reading.probabilities[reading.label]),
        "set": " · ".join(label_name(label) for label in reading.prediction_set),
        "note": model_name(reading.model),
    }


def reason_to_look(row: ScanRow) -> str:
    """Return in two or three words why a person should look; a dash where nothing calls for it."""
    if row.status != "read":
        return _("Not read")
    if row.outcome.refer:
        return _("Refer to a reader")
    return _("Above the threshold") if row.outcome.above_threshold else "–"


def result_name(row: ScanRow) -> str:
    """Return the result in two or three words."""
    if isinstance(row.outcome, MedAIError):
        return _("Unreadable") if row.status == "error" else _("Not reached")
    return label_name(row.outcome.label) if row.status == "read" else refusal_title(row.outcome.code)


def open_by_keyboard(rows: list[ScanRow]) -> None:
    """Offer the same by keyboard: the table is drawn on a canvas, and its buttons are out of reach."""
    if not rows:
        return
    with st.container(horizontal=True, vertical_alignment="bottom"):
        place = st.selectbox(
            _("File to open"), range(len(rows)), format_func=lambda k: f"{k + 1} · {rows[k].name}", key="open_choice",
            width=420,
        )  # fmt: skip
        st.button(
            _("Open the file"), icon=":material/open_in_new:", key="open_chosen", on_click=open_scan,
            args=(rows[place],),
        )  # fmt: skip


def open_row(rows: list[ScanRow], click: str) -> None:
    """Open the clicked row."""
    open_scan(rows[st.session_state[click].row])


def open_scan(row: ScanRow) -> None:
    """Put a row's file on the scan page; the page switches on the rerun that follows."""
    try:
        data = row.data()
    except MedAIError:
        data = row.upload.data
    uploads.let_go()
    uploads.hold(row.name, data, sample=row.upload.sample)
    st.session_state["opened_from_worklist"] = True


if st.session_state.pop("opened_from_worklist", False):
    st.switch_page(SCAN_PAGE)
main()
