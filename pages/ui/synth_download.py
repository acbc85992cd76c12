"""Taking synthetic images away: as PNG or DICOM in a ZIP, or as a contact sheet."""

from __future__ import annotations

import streamlit as st

from pages.ui.language import _
from pages.ui.synth_batch import Batch

MARKED, CLEAN = "marked", "clean"
SHEET_COLUMNS = 8


@st.fragment
def downloads(batch: Batch) -> None:
    """Offer the images; leaving out the visible mark is a choice that has to be confirmed."""
    from medai_core.synthesis import export

    clean, allowed = _without_mark()
    name = f"{batch.wish.model}_seed{batch.wish.seed}"
    images, columns = batch.images, min(SHEET_COLUMNS, len(batch.images))
    offered = (
        ("png", _("ZIP of PNG images"), "folder_zip", f"{name}_png.zip", "application/zip",
         lambda: export.zip_of(images, kind="png", clean=clean)),
        ("dicom", _("ZIP of DICOM images"), "folder_zip", f"{name}_dicom.zip", "application/zip",
         lambda: export.zip_of(images, kind="dicom", clean=clean)),
        ("sheet", _("Contact sheet"), "grid_on", f"{name}_sheet.png", "image/png",
         lambda: export.grid(images, columns)),
    )  # fmt: skip
    with st.container(horizontal=True):
        for kind, label, icon, file, mime, data in offered:
            st.download_button(
                label, data, file_name=file, mime=mime, icon=f":material/{icon}:", on_click="ignore",
                key=f"synth_download_{kind}", disabled=kind != "sheet" and not allowed,
            )  # fmt: skip
    st.caption(
        _(
            "Each ZIP holds the labels as a table. Every file says in its metadata, and in a watermark that cannot be "
            "seen, that it is synthetic; the contact sheet always carries the visible mark."
        )
    )


def _without_mark() -> tuple[bool, bool]:
    """Ask whether the visible mark stays; return whether it goes, and whether the files may be had."""
    names = {MARKED: _("With the visible mark"), CLEAN: _("Without it, for training models")}
    choice = st.segmented_control(
        _("Files"), list(names), format_func=names.__getitem__, default=MARKED, required=True, key="synth_mark",
    )  # fmt: skip
    if choice != CLEAN:
        return False, True
    confirmed = st.checkbox(
        _("I use these for training models and will keep them marked as synthetic in my records"),
        key="synth_confirmed",
    )
    return True, confirmed
