"""What restoration works on and shows: the region chosen on the image, before, after, and what was changed."""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import partial
from html import escape

import numpy as np
import plotly.graph_objects as go
import streamlit as st
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from medai_core.synthesis.restore import LARGEST_HOLE, Restored
from medai_core.synthesis.restore_evaluate import with_noise
from pages.ui import synth_loaders
from pages.ui.charts import draw
from pages.ui.language import _
from pages.ui.loaders import KEEP
from pages.ui.theme import ORANGE
from pages.ui.viewer import data_uri

LONGEST_PX = 768
RECTANGLE, ELLIPSE = "rectangle", "ellipse"
ACROSS, DOWN = "restore_across", "restore_down"
"""Where the session keeps the sides of the region, in per cent of the image."""
FIRST_REGION = (35, 65)
PICK = "restore_pick"
BRIGHTER, DARKER = np.array([230, 159, 0]), np.array([86, 180, 233])
LEAST_SCALE = 24
"""Grey levels: a smaller change than this does not fill the colour scale."""


@dataclass(frozen=True)
class Region:
    """A part of an image, its sides as shares of width and height."""

    shape: str
    across: tuple[float, float]
    down: tuple[float, float]

    def mask(self, height: int, width: int) -> NDArray[np.bool_]:
        """Return which pixels (H, W) are inside; at least one."""
        x, y = (np.arange(width) + 0.5) / width, (np.arange(height) + 0.5) / height
        (left, right), (top, bottom) = self.across, self.down
        if self.shape == RECTANGLE:
            inside = ((y >= top) & (y <= bottom))[:, None] & ((x >= left) & (x <= right))[None, :]
        else:
            across = (x - (left + right) / 2) / max((right - left) / 2, 1e-6)
            down = (y - (top + bottom) / 2) / max((bottom - top) / 2, 1e-6)
            inside = down[:, None] ** 2 + across[None, :] ** 2 <= 1
        if not inside.any():
            inside[
                min(int(height * (top + bottom) / 2), height - 1), min(int(width * (left + right) / 2), width - 1)
            ] = True
        return inside


def working_copy(display: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return an image (H, W) no side of which is longer than what is worked on; the model sees less anyway."""
    small = Image.fromarray(display)
    small.thumbnail((LONGEST_PX, LONGEST_PX), Image.Resampling.BILINEAR)
    return np.asarray(small)


def region_controls(image: NDArray[np.uint8]) -> Region:
    """Ask for the region: drawn on the image, or with two sliders that the keyboard reaches."""
    names = {RECTANGLE: _("Rectangle"), ELLIPSE: _("Ellipse")}
    shape = st.segmented_control(
        _("Shape"), list(names), format_func=names.__getitem__, default=ELLIPSE, required=True, key="restore_shape",
        persist_state="session",
    )  # fmt: skip
    for key in (ACROSS, DOWN):
        st.session_state.setdefault(key, FIRST_REGION)
    across = st.slider(_("From left to right, %"), 0, 100, key=ACROSS, persist_state="session")
    down = st.slider(_("From top to bottom, %"), 0, 100, key=DOWN, persist_state="session")
    region = Region(shape, tuple(side / 100 for side in across), tuple(side / 100 for side in down))
    pick(image, region)
    st.caption(_("Draw a box on the image, or move the sliders."))
    return region


def too_large(region: Region, image: NDArray[np.uint8]) -> str | None:
    """Return why a region cannot be filled in, if it cannot."""
    share = float(region.mask(*image.shape).mean())
    if share <= LARGEST_HOLE:
        return None
    words = _("The region covers {share} of the image; at most {most} can be filled in. Make it smaller.")
    return words.format(share=f"{share:.0%}", most=f"{LARGEST_HOLE:.0%}")


def pick(image: NDArray[np.uint8], region: Region) -> None:
    """Show the image with the region; a box drawn on it becomes the region."""
    height, width = image.shape
    figure = go.Figure()
    # A figure takes a selection only where something can be selected: points that nobody sees.
    x, y = np.meshgrid(np.linspace(0, width, 15), np.linspace(0, height, 15))
    figure.add_scatter(x=x.ravel(), y=y.ravel(), mode="markers", marker_opacity=0, hoverinfo="skip", showlegend=False)
    figure.add_layout_image(
        source=data_uri(image, 512), x=0, y=0, sizex=width, sizey=height, xref="x", yref="y", sizing="stretch",
        layer="below",
    )  # fmt: skip
    (left, right), (top, bottom) = region.across, region.down
    figure.add_shape(
        type="rect" if region.shape == RECTANGLE else "circle", x0=left * width, x1=right * width, y0=top * height,
        y1=bottom * height, line={"color": ORANGE, "width": 2}, fillcolor="rgba(230,159,0,0.25)",
    )  # fmt: skip
    figure.update_layout(margin={"l": 0, "r": 0, "t": 0, "b": 0}, dragmode="select")
    figure.update_xaxes(range=[0, width], visible=False, fixedrange=True)
    figure.update_yaxes(range=[height, 0], visible=False, fixedrange=True, scaleanchor="x")
    draw(
        figure, PICK, _("The image with the region to fill in"), 290, on_select=partial(picked, height, width),
        selection_mode="box",
    )  # fmt: skip


def picked(height: int, width: int) -> None:
    """Make the box that was drawn the region."""
    boxes = st.session_state[PICK].get("selection", {}).get("box") or []
    if not boxes:
        return
    for key, sides, size in ((ACROSS, boxes[-1]["x"], width), (DOWN, boxes[-1]["y"], height)):
        low, high = sorted(int(np.clip(round(100 * side / size), 0, 100)) for side in (min(sides), max(sides)))
        st.session_state[key] = (low, high)


def difference_colours(change: NDArray[np.int16]) -> tuple[NDArray[np.uint8], int]:
    """Return a signed change (H, W) as colours (H, W, 3), black where nothing changed, and the full scale used."""
    scale = max(int(np.abs(change).max()), LEAST_SCALE)
    share = np.clip(np.abs(change) / scale, 0, 1)[..., None]
    colours = np.where(change[..., None] >= 0, BRIGHTER, DARKER)
    return np.rint(share * colours).astype(np.uint8), scale


@st.cache_data(max_entries=32, **KEEP)
def restored(
    digest: str, model: str, version: str, added: float, strength: float, region: Region | None,
    _image: NDArray[np.uint8],
) -> Restored:  # fmt: skip
    """Return what became of the image: of its noise, added or its own, or of a region."""
    ready = synth_loaders.ready_restorer(model)
    before = with_noise(_image, added, np.random.default_rng(0))
    if region is None:
        return ready.denoise(before, strength)
    return ready.inpaint(before, region.mask(*before.shape))


def before_after(found: Restored, noisy: bool) -> None:
    """Show before, with noise added where ``noisy``, after and difference beside each other."""
    change = found.difference
    colours, scale = difference_colours(change)
    shown = (
        (found.before, _("Before, with the noise added") if noisy else _("Before")),
        (marked(found.after), _("After: partly invented")),
        (colours, _("Difference")),
    )
    cells = "".join(
        f'<figure><img src="{data_uri(picture, 512)}" alt="{escape(words)}"><figcaption>{escape(words)}</figcaption>'
        "</figure>"
        for picture, words in shown
    )
    st.html(f'<div class="medai-grid wide">{cells}</div>')
    st.caption(
        _(
            "Difference: orange became brighter, blue became darker, black stayed. Full colour is {scale} of 255 grey "
            "levels; {share} of the pixels changed."
        ).format(scale=scale, share=f"{np.mean(np.abs(change) > 1):.0%}")
    )


def marked(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a restored image with the visible mark: part of it is no patient's."""
    from medai_core import marks

    return marks.visible(image)


def png_of(after: NDArray[np.uint8], model: str, region: Region | None) -> bytes:
    """Return a restored image as PNG with every mark, so that it is not read as a radiograph by mistake."""
    from medai_core import marks

    what = "noise taken out" if region is None else "a region painted anew"
    words = f"Partly SYNTHETIC: {what} by {model}. Restored content is invented, not measured."
    note = PngInfo()
    note.add_text("Software", "MedAI")
    note.add_text("Description", words)
    note.add_itxt("XML:com.adobe.xmp", marks.xmp(words))
    out = io.BytesIO()
    Image.fromarray(marked(marks.watermark(after))).save(out, "PNG", pnginfo=note)
    return out.getvalue()
