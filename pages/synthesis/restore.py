"""Restore a radiograph: take noise away, or fill in a region, and see what was invented."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from typing import TYPE_CHECKING

import streamlit as st

from medai_core.errors import MedAIError
from pages.ui import loaders, restore_view, synth_about, synth_loaders, uploads
from pages.ui.frame import page, problem
from pages.ui.language import _, tell
from pages.ui.samples import samples
from pages.ui.synth_grid import grid_styles
from pages.ui.uploads import Held
from pages.ui.words import megabytes, plain

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

HELD = "restore_held"
ROUND = "restore_round"
NOISE, REGION = "noise", "region"
SAMPLES_SHOWN = 6
# Where the session keeps the noise to add, and how much of it a sample gets, which has none of its own.
ADDED, TRY_OUT = "restore_added", 0.1


def main() -> None:
    page(
        _("Restore a radiograph"),
        _("The generator's other use: take noise away, or fill in a part that is covered or missing."),
    )
    grid_styles()
    st.warning(
        _(
            "Restored content is invented: it is what such images usually look like, not what was measured in this "
            "patient. A restored image must not be read, and never replaces the original."
        ),
        icon=":material/warning:",
    )
    found = synth_loaders.restorer_ids()
    if not found:
        synth_about.not_installed(
            _("No model of restoration is installed here. The rest of the dashboard works without it."),
            [
                _("Noise taken away, as strongly as you choose."),
                _("A rectangle or an ellipse filled in, with everything outside left as it is."),
                _("Before, after, and the difference, so that nothing invented goes unseen."),
            ],
        )
        return
    held: Held | None = st.session_state.get(HELD)
    asking = st.empty()
    if held is None:
        with asking.container():
            ask_for_image()
        return
    file_bar(held)
    try:
        image = restore_view.working_copy(loaders.scan(held.digest, held.data, None, None).display)
        synth_loaders.restorer(found[0])
    except MedAIError as error:
        problem(error, held.name)
        return
    caution(held)
    restore(found[0], held, image)
    synth_about.about(found[0])


def ask_for_image() -> None:
    """Show the uploader and the chest samples."""
    file = st.file_uploader(_("Drop a chest radiograph here"), key=f"restore_upload_{st.session_state.get(ROUND, 0)}")
    st.caption(_("DICOM, PNG, JPEG, TIFF or WebP. The file stays in this session and is not stored."))
    if file is not None:
        hold(file.name, file.getvalue())
        st.rerun()
    chest = [sample for sample in samples() if sample.model == "chest_xray" and sample.path.suffix == ".png"]
    if chest:
        st.subheader(_("Try a sample"), anchor=False)
        st.caption(_("These images are synthetic: they are of no patient."))
    for column, sample in zip(st.columns(SAMPLES_SHOWN), chest[:SAMPLES_SHOWN], strict=False):
        with column, st.container(border=True, height="stretch", vertical_alignment="distribute"):
            title = _(sample.title)
            with st.container(gap="xsmall"):
                st.image(loaders.thumbnail(str(sample.path)), width="stretch", alt=title)
                st.caption(title)
            if st.button(_("Open"), key=f"restore_open_{sample.path.name}", width="stretch"):
                hold(sample.path.name, sample.path.read_bytes(), sample=True)
                st.rerun()


def hold(name: str, data: bytes, sample: bool = False) -> None:
    """Keep an image for this page. A visitor's own is worked on as it is, until they ask for noise."""
    st.session_state[ADDED] = TRY_OUT if sample else 0.0
    st.session_state[HELD] = uploads.Held(name, data, hashlib.sha256(data).hexdigest(), sample)


def let_go() -> None:
    st.session_state.pop(HELD, None)
    st.session_state[ROUND] = st.session_state.get(ROUND, 0) + 1
    restore_view.restored.clear()
    loaders.forget()


def file_bar(held: Held) -> None:
    """Show which image is open, and let it go."""
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        words = f":material/description: **{plain(held.name)}** · {megabytes(held.size)}"
        if held.sample:
            words += f" · {_('synthetic sample, no patient')}"
        st.markdown(words)
        st.button(_("Close this file"), icon=":material/close:", key="restore_let_go", on_click=let_go)


def caution(held: Held) -> None:
    """Say so where the scan page would refuse the image; a noisy radiograph may be restored all the same."""
    with suppress(MedAIError):  # the scan models are not needed here
        reading = loaders.reading(held.digest, held.data, "chest_xray", None, None, demonstration=True)
        if reading.status == "refused":
            st.warning(
                _(
                    "The scan model refuses this image: {reason} The restorer knows chest radiographs alone, and makes "
                    "anything look like one."
                ).format(reason=plain(tell(reading.reason))),
                icon=":material/block:",
            )


@st.fragment
def restore(model: str, held: Held, image: NDArray[np.uint8]) -> None:
    """Ask what to do, and show what came of it."""
    left, right = st.columns([1, 2], gap="medium")
    with left:
        names = {NOISE: _("Remove noise"), REGION: _("Fill in a region")}
        what = st.segmented_control(
            _("What to do"), list(names), format_func=names.__getitem__, default=NOISE, required=True,
            key="restore_what", persist_state="session",
        )  # fmt: skip
        if what == NOISE:
            added, strength, region = *noise_controls(), None
        else:
            added, strength, region = 0.0, 0.0, restore_view.region_controls(image)
    with right:
        if region is not None and (refusal := restore_view.too_large(region, image)):
            st.info(refusal, icon=":material/crop:")
            return
        try:
            found = restore_view.restored(held.digest, model, loaders.version(model), added, strength, region, image)
        except MedAIError as error:
            problem(error, held.name)
            return
        restore_view.before_after(found, noisy=added > 0)
        st.download_button(
            _("Download the restored image"), lambda: restore_view.png_of(found.after, model, region),
            file_name="medai-restored.png", mime="image/png", icon=":material/download:", on_click="ignore",
            key="restore_download",
        )  # fmt: skip
        st.caption(_("The file carries the mark SYNTHETIC, in sight and out of sight."))


def noise_controls() -> tuple[float, float]:
    """Ask for the noise to add first, and how strongly to take noise away."""
    added = st.slider(
        _("Noise added first, to try it out"), 0.0, 0.3, step=0.01, key=ADDED, persist_state="session",
        help=_("Standard deviation of the grey levels, as a share of white."),
    )  # fmt: skip
    strength = st.slider(
        _("Strength"), 0.0, 1.0, 0.7, 0.05, key="restore_strength", persist_state="session",
        help=_("0 leaves the image as it is, 1 makes every change that the model proposes."),
    )  # fmt: skip
    return added, strength


main()
