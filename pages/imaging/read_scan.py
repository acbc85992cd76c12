"""Read one scan: upload, answer or refusal, explanation, viewer, tags, reports."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import streamlit as st

from medai_core.errors import MedAIError, RefusedInput
from medai_core.imaging.reading import Reading
from pages.ui import answer, loaders, reports, uploads, viewer
from pages.ui.explain_panel import explanation_panel
from pages.ui.frame import chips, page, problem
from pages.ui.gallery import sample_gallery
from pages.ui.language import _
from pages.ui.uploads import Opened
from pages.ui.viewer import in_proportion
from pages.ui.words import megabytes, model_name, plain

if TYPE_CHECKING:
    from medai_core.imaging.read import Scan


def main() -> None:
    page(
        _("Read a scan"),
        _("One chest radiograph or brain MRI slice: a calibrated answer with its reasons, or a clear refusal."),
    )
    held = uploads.held_scan()
    # Emptied at once when a file is there, not only at the end of a run that first has to read it.
    asking = st.empty()
    if held is None:
        with asking.container():
            ask_for_file()
        return
    file_bar(held)
    name, data = held.name, held.data
    try:
        name, digest, data = chosen_member(held)
        scan, frame, plane = chosen_frame(digest, data)
    except RefusedInput as refusal:
        answer.refusal_card(Reading("refused", "not_read", refusal.message, hashlib.sha256(data).hexdigest()))
        return
    except MedAIError as error:
        problem(error, name)
        return
    model = chosen_model()
    reading = None
    try:
        with st.spinner(_("Reading")):
            reading = loaders.reading(digest, data, model, frame, plane, held.demonstration)
    except MedAIError as error:
        problem(error, name)
    show(Opened(name, digest, scan, reading, frame, plane))


def ask_for_file() -> None:
    """Show the uploader and, for visitors without data, the samples."""
    file = st.file_uploader(
        _("Drop a scan here"),
        key=uploads.uploader_key("scan_upload"),
        help=_("What a file is, its bytes decide, not its name."),
    )
    st.caption(
        _("DICOM, PNG, JPEG, TIFF, WebP, NIfTI, or a ZIP of these. The file stays in this session and is not stored.")
    )
    if file is not None:
        uploads.hold(file.name, file.getvalue())
        st.rerun()
    sample_gallery("scan")


def file_bar(held: uploads.Held) -> None:
    """Show which file is open, and let it go."""
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute", key="file_bar"):
        words = f":material/description: **{plain(held.name)}** · {megabytes(held.size)}"
        if held.sample:
            words += f" · {_('synthetic sample, no patient')}"
        elif held.demonstration:
            words += f" · {_('opened as a demonstration')}"
        st.markdown(words)
        st.button(_("Close this file"), icon=":material/close:", key="let_go", on_click=uploads.let_go)


def chosen_member(held: uploads.Held) -> tuple[str, str, bytes]:
    """Return name, cache key and bytes of the file to read: of a ZIP, the member that was chosen."""
    if not loaders.is_archive(held.data):
        return held.name, held.digest, held.data
    with st.spinner(_("Opening the file")):
        members = dict(loaders.archive_members(held.digest, held.name, held.data))
    place = st.selectbox(
        _("File in the archive"), list(members), format_func=members.__getitem__, key=f"member_{held.digest[:12]}",
        persist_state="session",
    )  # fmt: skip
    with st.spinner(_("Opening the file")):
        return members[place], f"{held.digest}/{place}", loaders.member_data(held.digest, held.name, held.data, place)


def chosen_frame(digest: str, data: bytes) -> tuple[Scan, int | None, str | None]:
    """Return the scan, and frame and plane as chosen; None stands for what the file shows by itself."""
    key = digest[:12] + digest[64:]
    with st.spinner(_("Opening the file")):
        layout = loaders.layout(digest, data, None)
    plane = frame = None
    if len(layout.planes) > 1 or layout.frames > 1:
        with st.container(border=True):
            if len(layout.planes) > 1:
                asked = st.segmented_control(
                    _("Plane"), layout.planes, format_func=plane_name, default=layout.plane, required=True,
                    key=f"plane_{key}", persist_state="session",
                )  # fmt: skip
                if asked != layout.plane:
                    plane = asked
                    with st.spinner(_("Opening the file")):
                        layout = loaders.layout(digest, data, plane)
            frame = chosen_slice(layout, f"frame_{key}_{plane}")
    with st.spinner(_("Opening the file")):
        return loaders.scan(digest, data, frame, plane), frame, plane


def chosen_slice(layout: loaders.Layout, key: str) -> int | None:
    """Return the chosen slice or frame, None for the one shown first."""
    if layout.frames < 2:
        return None
    chosen = st.slider(
        _("Slice or frame"), 1, layout.frames, layout.frame + 1, key=key, persist_state="session",
        help=_("The answer below is for this slice only."),
    ) - 1  # fmt: skip
    return None if chosen == layout.frame else chosen


def plane_name(plane: str) -> str:
    return {"axial": _("axial"), "coronal": _("coronal"), "sagittal": _("sagittal")}.get(plane, plane)


def chosen_model() -> str:
    return st.segmented_control(
        _("Model"), ("auto", *loaders.READING_MODELS), format_func=model_name, default="auto", required=True,
        key="scan_model", persist_state="session",
        help=_("Automatic chooses by the file's tags and by the image itself."),
    )  # fmt: skip


def show(opened: Opened) -> None:
    """Show the answer beside the scan, then everything else in tabs."""
    reading = opened.reading
    left, right = st.columns([5, 6], gap="medium")
    with left:
        with st.container(key="lightbox_scan"):
            picture = in_proportion(opened.scan.display, opened.scan.spacing_mm)
            st.image(picture, width="stretch", alt=_("The scan"))
        chips(reading.trace if reading else opened.scan.trace)
        if opened.read:
            with st.container(border=True):
                answer.model_panel(reading.model)
    with right:
        if opened.read:
            answer.answer_card(reading)
            with st.container(border=True):
                answer.operating_point(reading)
        elif reading is not None:
            answer.refusal_card(reading)
            if reading.code == "synthetic":
                st.button(
                    _("Open as a demonstration"), icon=":material/co_present:", key="open_demonstration",
                    on_click=uploads.open_as_demonstration,
                    help=_("The image is then read like a scan, and the reading says that it shows no patient."),
                )  # fmt: skip
    tabs(opened)


def tabs(opened: Opened) -> None:
    """Show the tabs; only the open one is computed. Without a reading, viewer and tags still work."""
    scan, reading = opened.scan, opened.reading
    panels = {
        "explain": (_("Explanation"), lambda: explanation_panel(reading, scan, opened.key)),
        "viewer": (_("Viewer"), lambda: viewer.viewer(scan, reading)),
        "gate": (_("Input check"), lambda: answer.gate_panel(reading)),
        "tags": (_("DICOM tags"), lambda: viewer.tag_table(scan)),
        "report": (_("Report"), lambda: reports.downloads(opened.name, scan, reading, opened.key)),
    }
    wanted = ["viewer", "tags"] if reading is None else ["gate", "viewer", "tags", "report"]
    wanted = list(panels) if opened.read else wanted
    # One key for each file and set of tabs: with one for all, the browser shows the first tab of the next
    # file while the server still computes the one that was open before.
    key = uploads.uploader_key(f"scan_tabs_{len(wanted)}")
    shown = st.tabs([panels[panel][0] for panel in wanted], key=key, on_change="rerun")
    for tab, panel in zip(shown, wanted, strict=True):
        if tab.open:
            with tab:
                panels[panel][1]()


main()
