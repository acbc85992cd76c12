"""Colours and the little CSS that Streamlit's own theme does not cover."""

from __future__ import annotations

import streamlit as st

# Okabe and Ito (2008): distinguishable with every common form of colour blindness.
BLUE, SKY, ORANGE, GREEN = "#0072B2", "#56B4E9", "#E69F00", "#009E73"
VERMILLION, PURPLE, YELLOW = "#D55E00", "#CC79A7", "#F0E442"
SERIES = (BLUE, ORANGE, GREEN, VERMILLION, PURPLE, SKY, YELLOW)

CSS = """<style>
.stMainBlockContainer {max-width: 1240px; padding: 3rem 2.5rem;}
@media (max-width: 900px) {
  .stMainBlockContainer {padding: 3.5rem 1.25rem;}
  [data-testid="stHorizontalBlock"]:has(> [data-testid="stColumn"]) {flex-wrap: wrap;}
  [data-testid="stColumn"] {min-width: min(100%, 14rem);}
  [data-testid="stColumn"]:has([data-testid="stMetric"]),
  [data-testid="stColumn"]:has([data-testid="stImage"]):not(:has([data-testid="stColumn"], .st-key-lightbox_scan))
    {min-width: min(100%, 8rem);}
  [data-testid="stColumn"]:has(.st-key-answer, .st-key-refusal) {order: -1;}
}
[data-testid="stHeadingWithActionElements"] h1 {letter-spacing: -0.01em;}
.medai-lead {opacity: .78; font-size: 1.02rem; line-height: 1.5; margin: 0; max-width: 62rem;}
.medai-notice {display: flex; gap: .6rem; align-items: baseline; font-size: .86rem; line-height: 1.4;
  padding: .5rem .8rem; border-left: 3px solid #E69F00; border-radius: 4px;
  background: color-mix(in srgb, #E69F00 10%, transparent);}
.medai-notice b {white-space: nowrap;}
.medai-answer {font-size: 1.8rem; font-weight: 650; line-height: 1.2; margin: 0;}
.stHtml .medai-stats {display: grid; grid-template-columns: 1fr 1fr; gap: .5rem 1rem; margin: 0; padding: 0;}
.medai-stats > div {display: flex; flex-direction: column; line-height: 1.35;}
.medai-stats .name {font-size: .88rem; opacity: .75;}
.medai-stats .value {font-size: 1.55rem; line-height: 1.25;}
.medai-stats .small {font-size: .82rem; opacity: .72;}
.medai-chips {display: flex; flex-wrap: wrap; gap: .3rem .1rem; align-items: center; font-size: .8rem; margin: 0;}
.medai-chips span {padding: .12rem .55rem; border-radius: 1rem; overflow-wrap: anywhere; min-width: 0;
  border: 1px solid color-mix(in srgb, currentColor 22%, transparent);}
.medai-chips i {opacity: .5; font-style: normal; padding: 0 .15rem;}
.stHtml .medai-facts {display: grid; grid-template-columns: fit-content(42%) 1fr; gap: .3rem 1rem; font-size: .9rem;
  margin: 0; padding: 0;}
.medai-facts dt {opacity: .7;}
.stHtml .medai-facts dd {margin: 0; overflow-wrap: anywhere;}
.stHtml .medai-facts dt {margin: 0; font-weight: 400;}
.stHtml .medai-table {width: 100%; border-collapse: collapse; font-size: .9rem; margin: 0;}
.stHtml .medai-table th, .stHtml .medai-table td {text-align: left; padding: .4rem .6rem .4rem 0; border: 0;
  border-bottom: 1px solid color-mix(in srgb, currentColor 18%, transparent); overflow-wrap: anywhere;}
.stHtml .medai-table th {font-weight: 600; opacity: .75;}
.stHtml .medai-list {margin: 0; padding-left: 1.1rem; font-size: .95rem; line-height: 1.5;}
.stHtml .medai-list li {margin: 0 0 .3rem;}
[class*="st-key-lightbox"] {background: #000; border-radius: 6px; padding: .4rem;}
[class*="st-key-lightbox"] img {object-fit: contain; max-height: 30rem;}
</style>"""
# Streamlit writes white on the primary colour, which is too light for that in the dark theme.
DARK_CSS = """<style>
[data-testid="stBaseButton-primary"], [data-testid="stBaseButton-primary"]:hover {color: #0B1117;}
</style>"""


def dark() -> bool:
    """Whether the visitor's theme is dark, as far as the browser has told yet."""
    return st.context.theme.type == "dark"


def accent() -> str:
    """The blue that stands out from this visitor's background."""
    return SKY if dark() else BLUE


def muted() -> str:
    """A grey that can be told from both backgrounds."""
    return "#8A97A3" if dark() else "#66727D"


def styles() -> None:
    """Put the style sheet into the page."""
    st.html(CSS + DARK_CSS if dark() else CSS)
