"""Looking into the latent space: one point as every label, directions with a measured meaning, the way to another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from pages.ui import synth_batch, synth_loaders
from pages.ui.language import _, tell
from pages.ui.synth_grid import Picture, pictures
from pages.ui.synth_make import TRUNCATION
from pages.ui.words import label_name, plain

if TYPE_CHECKING:
    from medai_core.synthesis.generator import Direction, Generator

LAST_INDEX = 999
STEPS = 25
PER_ROW = 3
FRAME_MS = 80


@st.fragment
def attributes(model: str, generator: Generator) -> None:
    """Show one latent point as every label, as drawn and with the sliders."""
    st.subheader(_("One drawing, every label"), anchor=False)
    st.write(
        _(
            "All images of a row come from the same random starting point: only the label differs. The sliders move "
            "that point along directions whose effect was measured."
        )
    )
    seed, index, truncation = _point(model)
    # Above the sliders, where it is seen while they are moved; filled when they are known.
    rows = st.columns(2, gap="medium")
    shifts = _sliders(model, generator.directions)
    for column, moved, title in zip(rows, ({}, shifts), (_("As drawn"), _("With the sliders")), strict=True):
        with column:
            _row(model, generator.labels, seed, index, truncation, moved, title)


def _sliders(model: str, directions: Sequence[Direction]) -> dict[str, float]:
    """Show one slider for each direction, three in a row, and a button that puts all back."""
    shifts = {}
    for start in range(0, len(directions), PER_ROW):
        for column, direction in zip(
            st.columns(PER_ROW, gap="medium"), directions[start : start + PER_ROW], strict=False
        ):
            with column:
                shifts[direction.name] = _shift(model, direction)
    if directions:
        st.button(
            _("Back to the middle"), icon=":material/restart_alt:", key=f"synth_reset_{model}", on_click=_reset,
            args=(model, tuple(shifts)), disabled=not any(shifts.values()),
        )  # fmt: skip
    return shifts


def _point(model: str) -> tuple[int, int, float]:
    """Ask which latent point: seed and number, at first those of the first image made, and the truncation."""
    batch = synth_batch.held(model)
    first = (batch.wish.seed, batch.images[0].index) if batch else (synth_batch.FIRST_SEED, 0)
    one, two, three = st.columns([2, 2, 4], gap="medium", vertical_alignment="bottom")
    seed = one.number_input(
        _("Seed"), 0, synth_batch.LAST_SEED, first[0], key=f"synth_point_seed_{model}", persist_state="session"
    )
    index = two.number_input(
        _("Image"), 0, LAST_INDEX, first[1], key=f"synth_point_index_{model}", persist_state="session",
        help=_("Its number, as it stands below each image of the grid."),
    )  # fmt: skip
    truncation = three.slider(
        _("Variety (truncation)"), *TRUNCATION, synth_batch.FIRST_TRUNCATION, 0.05, persist_state="session",
        key=f"synth_explore_truncation_{model}",
        help=_("Below 1 the images are more typical and less varied, above 1 the other way round."),
    )  # fmt: skip
    return seed, index, truncation


def _shift(model: str, direction: Direction) -> float:
    """Show the slider of one direction, with what was measured along it."""
    key = _shift_key(model, direction.name)
    st.session_state.setdefault(key, 0.0)
    step = round((direction.high - direction.low) / 20, 3)
    value = st.slider(
        plain(tell(direction.title)), float(direction.low), float(direction.high), step=step, key=key,
        persist_state="session", format="%+.2f",
    )  # fmt: skip
    st.caption(plain(tell(direction.measured)))
    return value


def _shift_key(model: str, name: str) -> str:
    return f"synth_shift_{name}_{model}"


def _reset(model: str, names: tuple[str, ...]) -> None:
    for name in names:
        st.session_state[_shift_key(model, name)] = 0.0


def _row(
    model: str, labels: tuple[str, ...], seed: int, index: int, truncation: float, shifts: dict[str, float], title: str
) -> None:
    moved = tuple((name, value) for name, value in shifts.items() if value)
    found = synth_loaders.variants(model, seed, index, truncation, moved)
    st.html(f'<p class="medai-row-title">{title}</p>')
    shown = zip(found.images, found.withheld, labels, strict=True)
    pictures([_drawn(pixels, gone, label_name(label), title) for pixels, gone, label in shown], "wide")


def _drawn(pixels: NDArray[np.uint8], withheld: bool, words: str, title: str) -> Picture:
    """Return an image that was only looked at: marked, or blank where it came out as a near-copy."""
    from medai_core import marks

    if withheld:
        words += " · " + _("withheld as a near-copy")
    return Picture(marks.visible(pixels), words, f"{title}: {words}")


@st.fragment
def way(model: str, generator: Generator) -> None:
    """Show the way from one seed's image to another's, as a slider and as a GIF."""
    from medai_core.synthesis import export

    st.subheader(_("From one seed to another"), anchor=False)
    left, right = st.columns([4, 7], gap="large")
    with left:
        label = st.segmented_control(
            _("Label"), generator.labels, default=generator.labels[0], required=True, format_func=label_name, wrap=True,
            key=f"synth_way_label_{model}", persist_state="session",
        )  # fmt: skip
        one, two = st.columns(2)
        start = one.number_input(
            _("From seed"), 0, synth_batch.LAST_SEED, 1, key=f"synth_from_{model}", persist_state="session"
        )
        end = two.number_input(
            _("To seed"), 0, synth_batch.LAST_SEED, 2, key=f"synth_to_{model}", persist_state="session"
        )
        place = st.slider(_("Step"), 1, STEPS, 1 + STEPS // 2, key=f"synth_step_{model}", persist_state="session")
        frames = synth_loaders.interpolation(model, label, start, end, STEPS)
        st.download_button(
            _("Download as GIF"), lambda: export.gif(frames.images, ms=FRAME_MS), mime="image/gif",
            file_name=f"{model}_{label}_seed{start}_to_{end}.gif", icon=":material/gif_box:", on_click="ignore",
            key="synth_gif",
        )  # fmt: skip
    with right:
        names = (
            (0, _("Seed {seed}").format(seed=start)),
            (place - 1, _("Step {k} of {n}").format(k=place, n=STEPS)),
            (STEPS - 1, _("Seed {seed}").format(seed=end)),
        )
        title = _("From one seed to another")
        pictures([_drawn(frames.images[at], frames.withheld[at], words, title) for at, words in names], "wide")
