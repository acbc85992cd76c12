"""The reports of one reading: a page to print, and JSON to compute with."""

from __future__ import annotations

from pathlib import PurePath
from typing import TYPE_CHECKING

import streamlit as st

from medai_core.errors import MedAIError
from medai_core.imaging.reading import Reading
from pages.ui import loaders
from pages.ui.frame import problem
from pages.ui.language import _

if TYPE_CHECKING:
    from medai_core.imaging.read import Scan


def downloads(name: str, scan: Scan, reading: Reading, key: tuple[object, ...]) -> None:
    """Offer the PDF and the JSON report."""
    st.write(_("One page with the answer, its limits, the scan and the heat map. No DICOM tag that identifies a person is in it."))
    try:
        with st.spinner(_("Writing the report")):
            pdf, json_text = written(key, name, scan, reading)
    except MedAIError as error:
        problem(error)
        return
    stem = PurePath(name).stem or "scan"
    with st.container(horizontal=True):
        st.download_button(
            _("Download PDF"), pdf, file_name=f"{stem}-reading.pdf", mime="application/pdf", type="primary",
            icon=":material/picture_as_pdf:", on_click="ignore", key="download_pdf",
        )  # fmt: skip
        st.download_button(
            _("Download JSON"), json_text, file_name=f"{stem}-reading.json", mime="application/json",
            icon=":material/data_object:", on_click="ignore", key="download_json",
        )  # fmt: skip


def written(key: tuple[object, ...], name: str, scan: Scan, reading: Reading) -> tuple[bytes, str]:
    """Return the PDF and the JSON report, with Grad-CAM of the answer."""
    from medai_core.imaging import report

    explained = loaders.explanation(key, "grad_cam", reading.label, reading)
    return report.pdf(reading, scan, explained, name=name), report.to_json(reading, name=name)
