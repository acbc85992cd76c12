"""The viewer: window and level, zoom and pan, the prepared image beside the original, DICOM tags."""

from __future__ import annotations

import base64
import hashlib
import io
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import plotly.graph_objects as go
import streamlit as st
from PIL import Image

from medai_core.imaging.reading import Reading
from pages.ui.charts import dressed, show
from pages.ui.frame import chips, facts
from pages.ui.language import _
from pages.ui.loaders import KEEP

if TYPE_CHECKING:
    from medai_core.imaging.read import Scan

SHOWN_PX = 2500
HEIGHT_PX = 560
# Hounsfield windows in common use (centre, width); only offered for CT.
CT_WINDOWS = {"lung": (-600.0, 1500.0), "soft_tissue": (40.0, 400.0), "bone": (400.0, 1800.0), "brain": (40.0, 80.0)}
ZOOM = {
    "scrollZoom": True,
    "displaylogo": False,
    "displayModeBar": True,
    "modeBarButtons": [["zoom2d", "pan2d", "zoomIn2d", "zoomOut2d", "resetScale2d", "toImage"]],
    "toImageButtonOptions": {"filename": "medai-view", "format": "png"},
}


class View(NamedTuple):
    """The part of a picture that is shown: how many times enlarged, and its middle from 0 to 1."""

    zoom: float
    x: float
    y: float


WHOLE = View(1.0, 0.5, 0.5)
MAX_ZOOM = 12.0


@st.fragment
def viewer(scan: Scan, reading: Reading | None) -> None:
    """Show the scan with its controls; a fragment, so that moving the window redraws only this."""
    low, high = float(scan.stored.min()), float(scan.stored.max())
    span = high - low or 1.0
    step, digits = (1.0, "%.0f") if span > 20 else (span / 200, "%.3g")
    # A flat slice, or one that is nearly so, has windows narrower than the slider goes.
    windows = window_presets(scan, low, high).items()
    presets = {name: (centre, max(width, step)) for name, (centre, width) in windows}
    shown = f"{scan.digest[:12]}_{scan.plane}_{scan.frame}"
    centre_key, width_key, invert_key, preset_key = (
        f"{name}_{shown}" for name in ("level", "window", "invert", "preset")
    )

    def apply_preset() -> None:
        centre, width = presets[st.session_state[preset_key] or "default"]
        st.session_state[centre_key], st.session_state[width_key] = centre, width

    def reset() -> None:
        st.session_state[preset_key] = "default"
        st.session_state[invert_key] = False
        st.session_state[f"zoom_{shown}"] = 1.0
        apply_preset()

    picture, controls = st.columns([7, 3], gap="medium")
    with controls:
        for key, value in ((centre_key, presets["default"][0]), (width_key, presets["default"][1])):
            st.session_state.setdefault(key, value)
        st.selectbox(
            _("Preset"), list(presets), format_func=preset_name, key=preset_key, on_change=apply_preset,
            persist_state="session",
        )  # fmt: skip
        own, around = presets["default"]
        limits = [low, high, own - around / 2, own + around / 2, *(c for c, _w in presets.values())]
        centre = st.slider(
            _("Level (centre)"), min(limits), max(limits), step=step, format=digits, key=centre_key,
            persist_state="session",
        )  # fmt: skip
        widest = max(span * 1.5, *(w for _c, w in presets.values()))
        width = st.slider(
            _("Window (width)"), step, widest, step=step, format=digits, key=width_key, persist_state="session"
        )
        invert = st.toggle(_("Invert"), key=invert_key, persist_state="session")
        view = zoom_and_pan(shown)
        st.button(_("Reset view"), icon=":material/restart_alt:", on_click=reset, width="stretch", key="reset_view")
        st.caption(_("On the picture: scroll to zoom, drag to pan, double-click to fit."))
        if scan.curved:
            st.caption(_("As in the file: its own curve (VOI LUT or sigmoid). A moved slider shows a straight window."))
    with picture:
        untouched = (centre, width) == presets["default"] and not invert
        image = scan.display if untouched else scan.render(centre, width, invert)
        zoomable(image, scan.spacing_mm, f"viewer_{shown}", view)
    side_by_side(image, reading, scan.spacing_mm)
    facts(scan_facts(scan))


def window_presets(scan: Scan, low: float, high: float) -> dict[str, tuple[float, float]]:
    """Return ``{name: (centre, width)}``: the file's own window first, then what fits its values."""
    tight = np.percentile(scan.stored[:: max(1, scan.stored.shape[0] // 512)], [1, 99])
    presets = {
        "default": (float(scan.window[0]), max(float(scan.window[1]), 1e-3)),
        "full": ((low + high) / 2, max(high - low, 1e-3)),
        "contrast": (float(tight.mean()), max(float(tight[1] - tight[0]), 1e-3)),
    }
    return presets | CT_WINDOWS if scan.modality == "CT" else presets


def preset_name(code: str) -> str:
    """Return the name of a window."""
    return {
        "default": _("As in the file"),
        "full": _("Full range"),
        "contrast": _("High contrast"),
        "lung": _("Lung"),
        "soft_tissue": _("Soft tissue"),
        "bone": _("Bone"),
        "brain": _("Brain"),
    }[code]


def zoom_and_pan(shown: str) -> View:
    """Show what zooms and pans without a mouse, and return the part of the picture to show."""
    zoom = st.slider(_("Zoom"), 1.0, MAX_ZOOM, 1.0, 0.5, format="%.1f ×", key=f"zoom_{shown}", persist_state="session")
    margin, place = 0.5 / zoom, f"pan_{shown}"
    x, y = (min(max(at, margin), 1 - margin) for at in st.session_state.get(place, (0.5, 0.5)))

    def move(right: int, down: int) -> None:
        st.session_state[place] = x + right * margin / 2, y + down * margin / 2

    for pair in (
        ((_("Left"), "arrow_back", -1, 0), (_("Right"), "arrow_forward", 1, 0)),
        ((_("Up"), "arrow_upward", 0, -1), (_("Down"), "arrow_downward", 0, 1)),
    ):
        with st.container(horizontal=True, gap="xsmall"):
            for name, arrow, right, down in pair:
                st.button(
                    name, icon=f":material/{arrow}:", on_click=move, args=(right, down), disabled=zoom == 1,
                    width="stretch", key=f"pan_{arrow}_{shown}",
                )  # fmt: skip
    return View(zoom, x, y)


def zoomable(
    image: np.ndarray,
    spacing_mm: tuple[float, float] | None,
    key: str,
    view: View = WHOLE,
    box: str = "lightbox_viewer",
    height_px: int = HEIGHT_PX,
) -> None:
    """Show a grey image on black that can be zoomed and panned, in a container called ``box``."""
    height, width = image.shape
    figure = _zoomable(hashlib.sha256(image).hexdigest(), image, spacing_mm, key, view, height_px)
    with st.container(key=box):
        words = _("The scan, {width} × {height} pixels, {zoom} times enlarged")
        show(figure, key, words.format(width=width, height=height, zoom=f"{view.zoom:g}"), ZOOM)


# The last ones of a visitor: a page is drawn many times while its picture stays.
@st.cache_resource(max_entries=3, **KEEP)
def _zoomable(
    digest: str,
    _image: np.ndarray,
    spacing_mm: tuple[float, float] | None,
    key: str,
    view: View,
    height_px: int,
) -> go.Figure:
    """Return the figure of an image; nobody may change it."""
    height, width = _image.shape
    half = 0.5 / view.zoom
    figure = go.Figure()
    figure.add_layout_image(
        source=data_uri(_image, SHOWN_PX), xref="x", yref="y", x=0, y=0, sizex=width, sizey=height, sizing="stretch",
        layer="below",
    )  # fmt: skip
    # Plotly only draws axes that carry a trace.
    figure.add_scatter(
        x=[0, width], y=[0, height], mode="markers", marker_opacity=0, hoverinfo="skip", showlegend=False
    )
    figure.update_xaxes(range=[(view.x - half) * width, (view.x + half) * width], visible=False, constrain="range")
    figure.update_yaxes(
        range=[(view.y + half) * height, (view.y - half) * height], visible=False, scaleanchor="x",
        scaleratio=pixel_ratio(spacing_mm), constrain="range",
    )  # fmt: skip
    figure.update_layout(
        margin={"l": 0, "r": 0, "t": 0, "b": 0},
        dragmode="pan",
        # The same as long as the part shown is: then what was zoomed with the mouse stays.
        uirevision=f"{key}_{view}",
        modebar={"bgcolor": "rgba(0,0,0,.45)", "color": "#C9D3DC", "activecolor": "#FFFFFF"},
    )
    return dressed(figure, height_px)


def forget() -> None:
    """Drop what this visitor's session keeps of pictures."""
    _zoomable.clear()


def pixel_ratio(spacing_mm: tuple[float, float] | None) -> float:
    """Return height over width of a pixel, within reason; 1 where the file does not say."""
    return float(np.clip(spacing_mm[0] / spacing_mm[1], 0.1, 10)) if spacing_mm and min(spacing_mm) > 0 else 1.0


def in_proportion(image: np.ndarray, spacing_mm: tuple[float, float] | None, longest: int = SHOWN_PX) -> np.ndarray:
    """Return a picture (H, W) with square pixels, as large as it was but no side longer than ``longest``."""
    height, width = image.shape
    ratio = pixel_ratio(spacing_mm)
    size = (width, height * ratio) if ratio >= 1 else (width / ratio, height)
    shrink = min(1.0, longest / max(size))
    size = tuple(max(1, round(side * shrink)) for side in size)
    if size == (width, height):
        return image
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR))


def data_uri(image: np.ndarray, longest: int) -> str:
    """Return an image as a PNG data address, no side longer than ``longest``."""
    small = Image.fromarray(image)
    small.thumbnail((longest, longest), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    small.save(buffer, "PNG", compress_level=1)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def side_by_side(image: np.ndarray, reading: Reading | None, spacing_mm: tuple[float, float] | None) -> None:
    """Show what was opened beside what the network saw."""
    if reading is None or reading.prepared is None:
        return
    st.markdown(f"**{_('What was opened, and what the network saw')}**")
    with st.container(key="lightbox_pair"):
        one, two = st.columns(2)
        one.image(in_proportion(image, spacing_mm, 512), width="stretch", alt=_("What was opened"))
        size = reading.prepared.shape[0]
        seen = Image.fromarray(np.rint(np.clip(reading.prepared, 0, 1) * 255).astype(np.uint8))
        two.image(
            np.asarray(seen.resize((512, 512), Image.Resampling.NEAREST)),
            width="stretch",
            alt=_("What the network saw"),
        )
    st.caption(_("Left: as opened. Right: the {size} × {size} pixels the network saw.").format(size=size))
    chips(reading.trace)


def scan_facts(scan: Scan) -> list[tuple[str, str]]:
    """Return what the file says about itself."""
    height, width = scan.full_shape
    spacing = (
        " × ".join(f"{mm:.3g}" for mm in scan.spacing_mm) + " mm" if scan.spacing_mm else _("not stated in the file")
    )
    return [
        (_("Kind of file"), scan.kind),
        (_("Size"), f"{width} × {height} px"),
        (_("Pixel spacing"), spacing),
        (_("Modality"), scan.modality or ""),
        (_("Body part"), scan.body_part or ""),
        (_("View"), scan.view or ""),
    ]


@st.fragment
def tag_table(scan: Scan) -> None:
    """Show DICOM tags; identifying values stay masked until the visitor asks for this file's."""
    if not scan.tags:
        st.caption(_("Only DICOM files carry tags; this is a {kind} file.").format(kind=scan.kind))
        return
    hidden = sum(tag.identifying for tag in scan.tags)
    shown = st.checkbox(
        _("Show the {n} identifying values").format(n=hidden), key=f"reveal_{scan.digest}", disabled=not hidden
    )
    st.dataframe(
        {
            _("Tag"): [tag.tag for tag in scan.tags],
            _("Name"): [tag.name for tag in scan.tags],
            _("Value"): [("•" * 8 if tag.identifying and not shown else str(tag.value)) for tag in scan.tags],
            _("Identifying"): [tag.identifying for tag in scan.tags],
        },
        hide_index=True,
        height=420,
        key=f"tags_{scan.digest[:12]}",
    )
