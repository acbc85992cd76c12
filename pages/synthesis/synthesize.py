"""Make synthetic images: by label and seed, into the latent space, with proof of quality and of privacy."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import streamlit as st

from medai_core.errors import MedAIError
from pages.ui import (
    synth_about,
    synth_batch,
    synth_download,
    synth_explore,
    synth_loaders,
    synth_make,
    synth_privacy,
    synth_quality,
)
from pages.ui.frame import page, problem
from pages.ui.language import _
from pages.ui.synth_grid import batch_grid, grid_styles
from pages.ui.words import model_name

if TYPE_CHECKING:
    from medai_core.synthesis.generator import Generator

TABS = "synth_tabs"


def main() -> None:
    page(
        _("Make images"),
        _("Labelled images of no patient: for teaching, for demonstrations, and for training models."),
    )
    grid_styles()
    found = synth_loaders.generator_ids()
    if not found:
        synth_about.not_installed(
            _("No generator of images is installed here. The rest of the dashboard works without it."),
            [
                _("As many labelled images as you need, and the same ones again from the same seed."),
                _("Sliders whose effect on the image was measured, and the way from one image to another."),
                _("PNG or DICOM files, each marked as synthetic so that no reader takes it for a patient's."),
                _("Measured figures of how good the images are, and of whether they are anyone's copy."),
            ],
        )
        return
    model = chosen(found)
    try:
        generator = synth_loaders.generator(model)
    except MedAIError as error:
        problem(error)
        return
    tabs(model, generator)


def chosen(found: list[str]) -> str:
    """Return the generator to use."""
    if len(found) == 1:
        return found[0]
    return st.segmented_control(
        _("Kind of image"), found, format_func=model_name, default=found[0], required=True, key="synth_model",
        persist_state="session", label_visibility="collapsed",
    )  # fmt: skip


def tabs(model: str, generator: Generator) -> None:
    """Show the tabs; only the open one is computed."""
    panels: dict[str, tuple[str, Callable[[], None]]] = {
        "make": (_("Make"), lambda: make(model, generator)),
        "explore": (_("Look inside"), lambda: explore(model, generator)),
        "quality": (_("How good are they?"), lambda: synth_quality.quality_panel(model, generator.labels)),
        "privacy": (_("Is it anyone's copy?"), lambda: synth_privacy.privacy_panel(model, generator.labels)),
    }
    shown = st.tabs([name for name, _draw in panels.values()], key=TABS, on_change="rerun")
    for tab, (_name, draw) in zip(shown, panels.values(), strict=True):
        if tab.open:
            with tab:
                draw()


def make(model: str, generator: Generator) -> None:
    """Show the settings, then what they gave."""
    synth_make.settings(model, generator.labels)
    batch = synth_batch.current(model, generator.labels)
    if batch is not None:
        synth_make.said_of(batch)
        batch_grid(batch)
        st.subheader(_("Take them away"), anchor=False)
        synth_download.downloads(batch)
        synth_about.about(model)


def explore(model: str, generator: Generator) -> None:
    """Show what can be done with single points of the latent space."""
    try:
        synth_explore.attributes(model, generator)
        st.divider()
        synth_explore.way(model, generator)
    except MedAIError as error:
        problem(error)


main()
