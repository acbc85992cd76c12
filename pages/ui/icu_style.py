"""The little CSS of the intensive-care pages."""

from __future__ import annotations

import streamlit as st

from pages.ui.theme import dark

CSS = """<style>
[data-testid="stLayoutWrapper"]:has(> .st-key-icu_scrubber) {position: sticky; top: 3.7rem; z-index: 50;}
.st-key-icu_scrubber {padding: .4rem .9rem .55rem; border-radius: 6px; border: 1px solid #D5DDE4; background: #FFFFFF;
  box-shadow: 0 2px 6px rgb(0 0 0 / 8%);}
.st-key-icu_scrubber [data-testid="stSlider"] {padding-bottom: .2rem;}
.st-key-icu_gallery {display: grid; grid-template-columns: repeat(auto-fill, minmax(11.5rem, 1fr)); gap: 1rem;}
.st-key-icu_gallery > * {width: auto !important; min-width: 0 !important;}
.st-key-icu_scrubber > :first-child {min-width: 15rem;}
.stHtml .medai-who {display: flex; flex-wrap: wrap; gap: .15rem 0; margin: 0; font-size: .95rem; opacity: .85;}
.medai-who span + span::before {content: "·"; padding: 0 .5rem;}
.stHtml .medai-risk {display: grid; grid-template-columns: repeat(auto-fit, minmax(7.4rem, 1fr)); gap: .6rem 1rem;}
.medai-risk > div {display: flex; flex-direction: column; line-height: 1.35;}
.medai-risk .name {font-size: .86rem; opacity: .75;}
.medai-risk .value {font-size: 1.5rem; line-height: 1.5; font-variant-numeric: tabular-nums;}
.medai-risk .main .value {font-size: 2.5rem; line-height: 1.05; font-weight: 650;}
.medai-risk .small {font-size: .82rem; opacity: .75; font-variant-numeric: tabular-nums;}
.stHtml .medai-delta {display: flex; flex-wrap: wrap; gap: .2rem .8rem; align-items: baseline; margin: .3rem 0;}
.medai-delta b {font-size: 1.5rem; font-variant-numeric: tabular-nums;}
</style>"""


DARK_CSS = """<style>
.st-key-icu_scrubber {background: #0F151B; border-color: #33414D;}
</style>"""


def icu_styles() -> None:
    """Put the style sheet into the page."""
    st.html(CSS + DARK_CSS if dark() else CSS)
