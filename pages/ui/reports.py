"""The reports of one reading: a page to print, and JSON to compute with."""

from __future__ import annotations

from datetime import datetime
from pathlib import PurePath
from typing import TYPE_CHECKING

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from medai_core.errors import MedAIError
from medai_core.imaging.heatmap import overlay
from medai_core.imaging.reading import Reading
from pages.ui import loaders
from pages.ui.frame import problem
from pages.ui.language import _
from pages.ui.words import report_word

if TYPE_CHECKING:
    from medai_core.imaging.explain import Explanation
    from medai_core.imaging.read import Scan

MAP_OPACITY = 0.55


def downloads(name: str, scan: Scan, reading: Reading, key: tuple[object, ...]) -> None:
    """Offer the PDF and the JSON report."""
    st.write(
        _(
            "One page with the answer, its limits, the scan and the heat map. It holds the file's name but "
            "none of its DICOM tags."
        )
    )
    try:
        with st.spinner(_("Writing the report")):
            explained, picture = heat_map(key, scan, reading)
            pdf, json_bytes = written(name, reading, explained, picture)
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
            _("Download JSON"), json_bytes, file_name=f"{stem}-reading.json", mime="application/json",
            icon=":material/data_object:", on_click="ignore", key="download_json",
        )  # fmt: skip
    st.caption(_("The PDF is in the language of this page; the JSON is in English."))


def heat_map(
    key: tuple[object, ...], scan: Scan, reading: Reading
) -> tuple[Explanation | None, NDArray[np.uint8] | None]:
    """Return Grad-CAM of the answer and its picture; a refusal has neither."""
    if reading.status != "read":
        return None, None
    found = loaders.explanation(key, "grad_cam", reading.label, reading)
    return found, overlay(scan.display, found.heat, MAP_OPACITY)


def written(
    name: str, reading: Reading, explained: Explanation | None, picture: NDArray[np.uint8] | None
) -> tuple[bytes, bytes]:
    """Return the report as PDF and as JSON."""
    from medai_core.imaging.report import report_json, report_pdf

    bundle = loaders.bundle(reading.model) if reading.model else None
    about = {"card": None}
    if bundle is not None and not isinstance(bundle, MedAIError):
        about = {"card": bundle.card, "metrics": bundle.metrics, "model_digest": bundle.digest}
    about |= {"explanation": explained, "created": datetime.now().astimezone().isoformat(timespec="minutes")}
    pdf = report_pdf(reading, name, overlay_image=picture, translate=report_word, **about)
    return pdf, report_json(reading, name, **about)
