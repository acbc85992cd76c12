"""Charts of explanations: one look, and a button that saves each as a picture."""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go
import streamlit as st

from pages.ui.language import _
from pages.ui.theme import BLUE, ORANGE, SKY, VERMILLION, dark

FORMAT = "tabx_format"
FORMATS = ("png", "svg")
# From blue to orange over a middle that stands out from both backgrounds: told apart in every colour blindness.
LIGHT_SCALE = ((0.0, "#0072B2"), (0.5, "#B79BB0"), (1.0, "#D55E00"))
DARK_SCALE = ((0.0, "#56B4E9"), (0.5, "#B9A7B6"), (1.0, "#E69F00"))
REMOVED = ["select2d", "lasso2d", "autoScale2d", "zoomIn2d", "zoomOut2d", "pan2d", "zoom2d", "resetScale2d"]


def draw(figure: go.Figure, key: str, alt: str, height: int, stem: str, **options: Any) -> None:
    """Show a figure that can be saved; ``stem`` becomes the picture's name, ``options`` go to ``st.plotly_chart``."""
    figure.update_layout(
        height=height, paper_bgcolor=paper(), plot_bgcolor=paper(), separators=".,", font_size=14,
        hoverlabel_font_size=13, dragmode=False,
    )  # fmt: skip
    figure.update_yaxes(tickfont_size=13)
    config = {
        "displaylogo": False, "scrollZoom": False, "doubleClick": False, "modeBarButtonsToRemove": REMOVED,
        "toImageButtonOptions": {
            "format": st.session_state.get(FORMAT) or "png", "filename": stem, "scale": 2, "height": height + 20,
            "width": 960,
        },
    }  # fmt: skip
    st.plotly_chart(figure, key=key, alt=alt, config=config, **options)


def picture_format() -> None:
    """Ask in which format the button of each chart saves it."""
    st.segmented_control(
        _("Save charts as"), FORMATS, default="png", required=True, format_func=str.upper, key=FORMAT,
        persist_state="session", help=_("Each chart has a camera button at its upper right corner."),
    )  # fmt: skip


def paper() -> str:
    """The page's own background: a picture that is saved keeps it, so that its letters can be read."""
    return "#0F151B" if dark() else "#FFFFFF"


def ink() -> str:
    return "#E8EDF2" if dark() else "#16202A"


def colours() -> tuple[str, str]:
    """What raises and what lowers a prediction."""
    return (ORANGE, SKY) if dark() else (VERMILLION, BLUE)


def scale() -> tuple[tuple[float, str], ...]:
    """Colours of low to high values."""
    return DARK_SCALE if dark() else LIGHT_SCALE
