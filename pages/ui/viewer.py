"""The viewer: window and level, zoom and pan, the prepared image beside the original, DICOM tags."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go
import streamlit as st
from PIL import Image

from medai_core.imaging.reading import Reading
from pages.ui.charts import draw
from pages.ui.frame import chips, facts
from pages.ui.language import _

if TYPE_CHECKING:
    from medai_core.imaging.read import Scan

SHOWN_PX = 1400
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


@st.fragment
def viewer(scan: Scan, reading: Reading | None) -> None:
    """Show the scan with its controls; a fragment, so that moving the window redraws only this."""
    low, high = float(scan.stored.min()), float(scan.stored.max())
    presets = window_presets(scan, low, high)
    centre_key, width_key, invert_key, preset_key = (
        f"{name}_{scan.digest[:12]}_{scan.plane}_{scan.frame}" for name in ("level", "window", "invert", "preset")
    )

    def apply_preset() -> None:
        centre, width = presets[st.session_state[preset_key] or "default"]
        st.session_state[centre_key], st.session_state[width_key] = centre, width

    def reset() -> None:
        st.session_state[preset_key] = "default"
        st.session_state[invert_key] = False
        apply_preset()

    picture, controls = st.columns([7, 3], gap="medium")
    with controls:
        span = max(high - low, 1.0)
        step, digits = (1.0, "%.0f") if span > 20 else (span / 200, "%.3g")
        for key, value in ((centre_key, presets["default"][0]), (width_key, presets["default"][1])):
            st.session_state.setdefault(key, value)
        st.selectbox(_("Preset"), list(presets), format_func=preset_name, key=preset_key, on_change=apply_preset)
        own, around = presets["default"]
        limits = [low, high, own - around / 2, own + around / 2, *(c for c, _w in presets.values())]
        centre = st.slider(_("Level (centre)"), min(limits), max(limits), step=step, format=digits, key=centre_key)
        widest = max(span * 1.5, *(w for _c, w in presets.values()))
        width = st.slider(_("Window (width)"), step, widest, step=step, format=digits, key=width_key)
        invert = st.toggle(_("Invert"), key=invert_key)
        st.button(_("Reset view"), icon=":material/restart_alt:", on_click=reset, width="stretch", key="reset_view")
        st.caption(_("Scroll to zoom, drag to pan, double-click to fit."))
    with picture:
        untouched = (centre, width) == presets["default"] and not invert
        image = scan.display if untouched else scan.render(centre, width, invert)
        zoomable(image, scan.spacing_mm, f"viewer_{scan.digest[:12]}_{scan.plane}_{scan.frame}")
    side_by_side(image, reading)
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


def zoomable(image: np.ndarray, spacing_mm: tuple[float, float] | None, key: str) -> None:
    """Show a grey image on black that can be zoomed and panned."""
    height, width = image.shape
    ratio = spacing_mm[0] / spacing_mm[1] if spacing_mm and min(spacing_mm) > 0 else 1.0
    figure = go.Figure()
    figure.add_layout_image(
        source=data_uri(image, SHOWN_PX), xref="x", yref="y", x=0, y=0, sizex=width, sizey=height, sizing="stretch",
        layer="below",
    )  # fmt: skip
    # Plotly only draws axes that carry a trace.
    figure.add_scatter(
        x=[0, width], y=[0, height], mode="markers", marker_opacity=0, hoverinfo="skip", showlegend=False
    )
    figure.update_xaxes(range=[0, width], visible=False, constrain="range")
    figure.update_yaxes(range=[height, 0], visible=False, scaleanchor="x", scaleratio=ratio, constrain="range")
    figure.update_layout(
        margin={"l": 0, "r": 0, "t": 0, "b": 0},
        dragmode="pan",
        uirevision=key,
        modebar={"bgcolor": "rgba(0,0,0,.45)", "color": "#C9D3DC", "activecolor": "#FFFFFF"},
    )
    with st.container(key="lightbox_viewer"):
        draw(figure, key, _("The scan; zoom with the wheel, pan by dragging"), HEIGHT_PX, ZOOM)


def data_uri(image: np.ndarray, longest: int) -> str:
    """Return an image as a PNG data address, no side longer than ``longest``."""
    small = Image.fromarray(image)
    small.thumbnail((longest, longest), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    small.save(buffer, "PNG", compress_level=1)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def side_by_side(image: np.ndarray, reading: Reading | None) -> None:
    """Show what was opened beside what the network saw."""
    if reading is None or reading.prepared is None:
        return
    st.markdown(f"**{_('What was opened, and what the network saw')}**")
    small = Image.fromarray(image)
    small.thumbnail((512, 512))
    with st.container(key="lightbox_pair"):
        one, two = st.columns(2)
        one.image(np.asarray(small), width="stretch", alt=_("What was opened"))
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
