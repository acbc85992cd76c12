"""Read one scan: upload, answer or refusal, explanation, viewer, tags, reports."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from medai_core.errors import InputError, MedAIError, RefusedInput
from medai_core.imaging.reading import Reading
from pages.ui import answer, loaders, reports, uploads, viewer
from pages.ui.explain_panel import explanation_panel
from pages.ui.frame import chips, page, problem
from pages.ui.gallery import sample_gallery
from pages.ui.language import _
from pages.ui.uploads import Opened
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
    try:
        name, data = chosen_member(held)
        digest = held.digest if name == held.name else f"{held.digest}/{name}"
        scan, frame, plane = chosen_frame(digest, data)
    except RefusedInput as refusal:
        answer.refusal_card(Reading("refused", "not_read", refusal.message, held.digest))
        return
    except MedAIError as error:
        problem(error, held.name)
        return
    model = chosen_model()
    reading = None
    try:
        with st.spinner(_("Reading")):
            reading = loaders.reading(digest, data, model, frame, plane)
    except MedAIError as error:
        problem(error, held.name)
    show(Opened(name, digest, scan, reading, frame, plane))


def ask_for_file() -> None:
    """Show the uploader and, for visitors without data, the samples."""
    file = st.file_uploader(
        _("Drop a scan here"),
        type=uploads.FILE_TYPES,
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
        st.markdown(words)
        st.button(_("Close this file"), icon=":material/close:", key="let_go", on_click=uploads.let_go)


def chosen_member(held: uploads.Held) -> tuple[str, bytes]:
    """Return name and bytes of the file to read: of a ZIP, the member that was chosen."""
    members = loaders.archive_members(held.digest, held.name, held.data)
    if members == [held.name]:
        return held.name, held.data
    if not members:
        raise InputError("The archive {name} holds no file that can be read.", name=held.name)
    member = st.selectbox(_("File in the archive"), members, key=f"member_{held.digest[:12]}")
    return member, loaders.member_data(held.name, held.data, member)


def chosen_frame(digest: str, data: bytes) -> tuple[Scan, int | None, str | None]:
    """Return the scan, and frame and plane as chosen where there is a choice."""
    key = digest[:12] + digest[64:]
    plane = st.session_state.get(f"plane_{key}")
    scan = loaders.scan(digest, data, None, plane)
    if len(scan.planes) < 2 and scan.frames < 2:
        return scan, None, None
    with st.container(border=True):
        if len(scan.planes) > 1:
            plane = st.segmented_control(
                _("Plane"), scan.planes, format_func=plane_name, default=scan.plane, required=True, key=f"plane_{key}"
            )
        frame = None
        if scan.frames > 1:
            frame = st.slider(
                _("Slice or frame"), 1, scan.frames, scan.frame + 1, key=f"frame_{key}_{plane}",
                help=_("The answer below is for this slice only."),
            ) - 1  # fmt: skip
    return loaders.scan(digest, data, frame, plane), frame, plane


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
            st.image(opened.scan.display, width="stretch", alt=_("The scan"))
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
    tabs(opened)


def tabs(opened: Opened) -> None:
    """Show the tabs; only the open one is computed. Without a reading, viewer and tags still work."""
    scan, reading = opened.scan, opened.reading
    panels = {
        "explain": (_("Explanation"), lambda: explanation_panel(reading, scan.display, opened.key)),
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
