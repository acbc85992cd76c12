"""The way in for a visitor with no data at hand."""

from __future__ import annotations

import streamlit as st

from pages.ui import uploads
from pages.ui.language import _
from pages.ui.samples import Sample, samples

SCAN_PAGE = "pages/imaging/read_scan.py"
PER_ROW = 4


def sample_gallery(key: str) -> None:
    """Show the shipped synthetic images; one click opens one on the scan page."""
    found = samples()
    if not found:
        return
    st.subheader(_("Try a sample"), anchor=False)
    st.caption(_("These images are synthetic: drawn by a computer, of no patient."))
    for start in range(0, len(found), PER_ROW):
        for column, sample in zip(st.columns(PER_ROW), found[start : start + PER_ROW], strict=False):
            with column, st.container(border=True, key=f"{key}_sample_{sample.path.stem}"):
                _card(sample, key)


def _card(sample: Sample, key: str) -> None:
    st.image(str(sample.path), width="stretch", alt=_(sample.title))
    st.caption(_(sample.title))
    if st.button(_("Open"), key=f"{key}_open_{sample.path.stem}", width="stretch"):
        open_sample(sample)


def open_sample(sample: Sample) -> None:
    """Open a sample on the scan page."""
    uploads.let_go()
    uploads.hold(sample.path.name, sample.path.read_bytes(), sample=_(sample.title))
    st.switch_page(SCAN_PAGE)
