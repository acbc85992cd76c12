"""Many scans at once: a worklist sorted by urgency that can be stopped, filtered, opened and downloaded."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pandas as pd
import streamlit as st

from medai_core.errors import MedAIError
from pages.ui import charts, loaders, uploads
from pages.ui.frame import page, problem
from pages.ui.gallery import SCAN_PAGE
from pages.ui.language import _, tell
from pages.ui.queue import Queue, Row, Upload, to_csv
from pages.ui.viewer import data_uri
from pages.ui.words import label_name, model_name, percent, refusal_title

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
    queue: Queue | None = st.session_state.get(QUEUE)
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
        type=uploads.FILE_TYPES,
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
        st.session_state[QUEUE] = Queue([Upload(file.name, file.getvalue()) for file in files], model)
        st.rerun()


def running() -> None:
    """Work for one slice, show what is done, and come back until all is read or the visitor stops it."""
    queue: Queue = st.session_state[QUEUE]
    with st.container(horizontal=True, vertical_alignment="center"):
        share = queue.seen / max(len(queue.uploads), 1)
        st.progress(min(share, 0.99), _("{n} read, upload {seen} of {all}").format(
            n=len(queue.rows), seen=max(queue.seen, 1), all=len(queue.uploads)
        ))  # fmt: skip
        st.button(_("Stop"), icon=":material/stop:", on_click=queue.stop, key="stop")
    table(queue.sorted_rows()[:20], "running", openable=False)
    if queue.state == "running":
        try:
            queue.work(loaders.reader(), SLICE_SECONDS)
        except MedAIError as error:
            queue.stop()
            problem(error)
            return
    st.rerun()


def finished(queue: Queue) -> None:
    """Show the worklist."""
    rows = queue.sorted_rows()
    tally = Counter(row.status for row in rows)
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        words = _("{n} files in {s} s").format(n=len(rows), s=f"{queue.seconds:.1f}")
        if queue.state == "stopped":
            st.warning(_("Stopped. What was read until then is below.") + " " + words, icon=":material/stop_circle:")
        else:
            st.markdown(f":material/check_circle: {words}")
        st.button(_("New worklist"), icon=":material/add:", on_click=start_over, key="start_over")
    for column, (name, value) in zip(st.columns(5), summary(rows, tally), strict=True):
        column.metric(name, value, border=True)
    if not rows:
        return
    chosen = filters(rows)
    table(chosen, "done", openable=True)
    st.download_button(
        _("Download CSV"), to_csv(chosen), file_name="medai-worklist.csv", mime="text/csv",
        icon=":material/download:", on_click="ignore", key="csv",
    )  # fmt: skip
    labels = Counter(result_name(row) for row in rows)
    st.subheader(_("Results"), anchor=False)
    charts.counts([name for name, _n in labels.most_common()], [n for _name, n in labels.most_common()], key="summary")


def summary(rows: list[Row], tally: Counter) -> list[tuple[str, int]]:
    """Return the figures on top of the worklist; what was not read is among those to look at."""
    refer = sum(row.status == "read" and row.outcome.refer for row in rows)
    return [
        (_("Needs a look"), sum(row.needs_look for row in rows)),
        (_("Read"), tally["read"]),
        (_("Refer to a reader"), refer),
        (_("Refused"), tally["refused"]),
        (_("Unreadable"), tally["error"]),
    ]


def start_over() -> None:
    del st.session_state[QUEUE]
    st.session_state[ROUND] = st.session_state.get(ROUND, 0) + 1


def filters(rows: list[Row]) -> list[Row]:
    """Show the filters and return what passes."""
    status = {"read": _("Read"), "refused": _("Refused"), "error": _("Unreadable")}
    with st.container(horizontal=True, vertical_alignment="bottom"):
        wanted = st.pills(
            _("Show"), list(status), format_func=status.__getitem__, selection_mode="multi", default=list(status),
            key="filter_status",
        )  # fmt: skip
        look = st.toggle(
            _("Only what needs a look"), key="filter_look",
            help=_("Above the threshold, to be referred, refused, or unreadable."),
        )  # fmt: skip
        text = st.text_input(_("Name contains"), key="filter_name", width=240)
    return [
        row for row in rows
        if row.status in wanted
        and (not look or row.needs_look)
        and text.lower() in row.name.lower()
    ]  # fmt: skip


def table(rows: list[Row], key: str, openable: bool) -> None:
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


def cells(row: Row) -> dict[str, object]:
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


def reason_to_look(row: Row) -> str:
    """Return in two or three words why a person should look; a dash where nothing calls for it."""
    if row.status != "read":
        return _("Not read")
    if row.outcome.refer:
        return _("Refer to a reader")
    return _("Above the threshold") if row.outcome.above_threshold else "–"


def result_name(row: Row) -> str:
    """Return the result in two or three words."""
    if row.status == "error":
        return _("Unreadable")
    return label_name(row.outcome.label) if row.status == "read" else refusal_title(row.outcome.code)


def open_row(rows: list[Row], click: str) -> None:
    """Put the clicked row's file on the scan page; the page switches on the rerun that follows."""
    row = rows[st.session_state[click].row]
    try:
        data = row.data()
    except MedAIError:
        data = row.upload.data
    uploads.let_go()
    uploads.hold(row.name, data)
    st.session_state["opened_from_worklist"] = True


if st.session_state.pop("opened_from_worklist", False):
    st.switch_page(SCAN_PAGE)
main()
