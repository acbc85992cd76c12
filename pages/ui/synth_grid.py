"""Synthetic images on a page: always with the visible mark, in a grid that fits the window."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, NamedTuple

import streamlit as st
from numpy.typing import NDArray

from pages.ui.language import _
from pages.ui.theme import dark
from pages.ui.viewer import data_uri
from pages.ui.words import label_name

if TYPE_CHECKING:
    import numpy as np

    from medai_core.synthesis.generator import SyntheticImage
    from pages.ui.synth_batch import Batch

PER_PAGE = 48
SIDE_PX = 128

CSS = """<style>
.stHtml .medai-grid {display: grid; grid-template-columns: repeat(auto-fill, minmax(8.6rem, 1fr)); gap: .7rem;}
.stHtml .medai-grid.wide {grid-template-columns: repeat(auto-fit, minmax(5.6rem, 1fr)); max-width: 62rem;}
.stHtml .medai-grid.single {grid-template-columns: minmax(10rem, 24rem);}
.stHtml .medai-grid figure {margin: 0; display: flex; flex-direction: column; gap: .2rem; min-width: 0;}
.stHtml .medai-grid img {width: 100%; aspect-ratio: 1; object-fit: contain; background: #000; border-radius: 6px;
  display: block; margin: 0;}
.stHtml .medai-grid figcaption {font-size: .8rem; line-height: 1.3; opacity: .8; font-variant-numeric: tabular-nums;
  overflow-wrap: anywhere;}
.medai-row-title {font-size: .88rem; opacity: .75; margin: 0;}
.st-key-synth_settings {border: 1px solid #D5DDE4; border-radius: 6px; padding: 1rem 1.1rem;}
.st-key-synth_running > :first-child {flex: 1 1 16rem;}
</style>"""
DARK_CSS = "<style>.st-key-synth_settings {border-color: #33414D;}</style>"


class Picture(NamedTuple):
    """An image (H, W) as it is shown, what stands below it, and what a screen reader says."""

    pixels: NDArray[np.uint8]
    caption: str
    alt: str


def grid_styles() -> None:
    """Put the style sheet into the page."""
    st.html(CSS + DARK_CSS if dark() else CSS)


def pictures(shown: Sequence[Picture], look: str = "") -> None:
    """Show images in a grid; ``look`` is empty, ``wide`` for a few large ones, or ``single``."""
    cells = "".join(
        f'<figure><img src="{data_uri(picture.pixels, SIDE_PX)}" alt="{escape(picture.alt)}" loading="lazy">'
        f"<figcaption>{escape(picture.caption)}</figcaption></figure>"
        for picture in shown
    )
    st.html(f'<div class="medai-grid {look}">{cells}</div>')


def marked(image: SyntheticImage) -> NDArray[np.uint8]:
    """Return the pixels of a generated image with the visible mark."""
    from medai_core import marks

    return marks.visible(image.pixels)


def picture_of(image: SyntheticImage) -> Picture:
    """Return a generated image ready to be shown: marked, with its label and number."""
    label = label_name(image.label)
    words = _("Synthetic image {n}, made for the label {label}").format(n=image.index, label=label)
    return Picture(marked(image), f"{label} · {image.index}", words)


@st.fragment
def batch_grid(batch: Batch) -> None:
    """Show the images of a batch, page by page where there are many."""
    count = len(batch.images)
    page = 1
    if count > PER_PAGE:
        page = st.pagination(-(-count // PER_PAGE), key=f"synth_page_{batch.key}")
    first = (page - 1) * PER_PAGE
    pictures([picture_of(image) for image in batch.images[first : first + PER_PAGE]])
    if count > PER_PAGE:
        last = min(first + PER_PAGE, count)
        st.caption(_("Images {first} to {last} of {all}").format(first=first + 1, last=last, all=count))
