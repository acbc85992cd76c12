"""The way in for a visitor with no data at hand."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from pages.ui import loaders, uploads
from pages.ui.language import _
from pages.ui.samples import GENERATED, Sample, samples

SCAN_PAGE = "pages/imaging/read_scan.py"


def sample_gallery(key: str, one_per_label: bool = False, per_row: int = 5) -> None:
    """Show the shipped synthetic images; one click opens one on the scan page."""
    scans = [sample for sample in samples() if sample.model in ("auto", *loaders.READING_MODELS)]
    # Of several that look alike on a card, the first.
    found: Sequence[Sample] = list({sample.title: sample for sample in reversed(scans)}.values())[::-1]
    if one_per_label:
        found = list({sample.label: sample for sample in reversed(found)}.values())[::-1]
    if not found:
        return
    st.subheader(_("Try a sample"), anchor=False)
    st.caption(_about({sample.made for sample in found if sample.model in loaders.READING_MODELS}))
    for start in range(0, len(found), per_row):
        for column, sample in zip(st.columns(per_row), found[start : start + per_row], strict=False):
            with column, st.container(border=True, height="stretch", vertical_alignment="distribute"):
                _card(sample, key)


def _about(made: set[str]) -> str:
    """Return what has to be known of the samples, by how they were made."""
    if made == {GENERATED}:
        return _(
            "These images are synthetic: made by a trained generator, of no patient, and marked so. "
            "They open as demonstrations. A title says what the generator was asked for; it is no diagnosis."
        )
    return _(
        "These images are synthetic: drawn by a computer, of no patient. "
        "A title says what the model reads, not what can be seen: the chest images are too soft to show disease, "
        "and the lesions on the brain images are only drawn."
    )


def _card(sample: Sample, key: str) -> None:
    title = _(sample.title)
    with st.container(gap="xsmall"):
        st.image(loaders.thumbnail(str(sample.path)), width="stretch", alt=title)
        st.caption(title)
    if st.button(_("Open"), key=f"{key}_open_{sample.path.name}", width="stretch"):
        open_sample(sample)


def open_sample(sample: Sample) -> None:
    """Open a sample on the scan page."""
    uploads.let_go()
    uploads.hold(sample.path.name, sample.path.read_bytes(), sample=True)
    st.switch_page(SCAN_PAGE)
