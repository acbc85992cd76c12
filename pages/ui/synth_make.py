"""Asking for synthetic images: labels, how many, seed, truncation."""

from __future__ import annotations

import secrets
from collections.abc import Sequence

import streamlit as st

from pages.ui import synth_batch
from pages.ui.language import _
from pages.ui.synth_batch import Batch, Wish
from pages.ui.words import label_name, percent

TRUNCATION = (0.3, 1.3)


@st.fragment
def settings(model: str, labels: Sequence[str]) -> None:
    """Show the settings; a fragment, so that moving one does not draw the images again."""
    from medai_core.synthesis.generator import MAX_COUNT

    with st.container(key="synth_settings"):
        wanted = st.pills(
            _("Labels"), labels, selection_mode="multi", default=list(labels), format_func=label_name,
            key=f"synth_labels_{model}", persist_state="session",
        )  # fmt: skip
        left, middle, right = st.columns([3, 5, 5], gap="medium", vertical_alignment="bottom")
        most = MAX_COUNT // max(len(wanted), 1)
        with left:
            each = st.number_input(
                _("Images of each label"), 1, most, synth_batch.FIRST_EACH, key=f"synth_each_{len(wanted)}_{model}",
                persist_state="session", help=_("At most {n} images at once.").format(n=f"{MAX_COUNT:,}"),
            )  # fmt: skip
        with middle:
            seed = _seed(model)
        with right:
            truncation = st.slider(
                _("Variety (truncation)"), *TRUNCATION, synth_batch.FIRST_TRUNCATION, 0.05, persist_state="session",
                key=f"synth_truncation_{model}",
                help=_("Below 1 the images are more typical and less varied, above 1 the other way round."),
            )  # fmt: skip
        ordered = tuple(label for label in labels if label in wanted)
        wish = Wish(model, ordered, each, seed, truncation)
        _make(wish)


def _seed(model: str) -> int:
    """Ask for the seed, with a button that draws a new one."""
    key = f"synth_seed_{model}"
    st.session_state.setdefault(key, synth_batch.FIRST_SEED)
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        seed = st.number_input(
            _("Seed"), 0, synth_batch.LAST_SEED, key=key, persist_state="session", width="stretch",
            help=_("The same seed gives the same images, whatever the count."),
        )  # fmt: skip
        st.button(
            _("New seed"), icon=":material/casino:", key=f"synth_new_seed_{model}", on_click=_draw_seed, args=(key,)
        )
    return seed


def _draw_seed(key: str) -> None:
    # Short enough to be read out, long enough not to come twice.
    st.session_state[key] = secrets.randbelow(1_000_000)


def _make(wish: Wish) -> None:
    """Offer to make what the settings say."""
    shown = synth_batch.held(wish.model)
    same = shown is not None and shown.wish == wish and not shown.stopped
    with st.container(horizontal=True, vertical_alignment="center"):
        words = _("Make {n} images").format(n=wish.total) if wish.labels else _("Make images")
        if st.button(
            words, type="primary", icon=":material/auto_awesome:", key=f"synth_make_{wish.model}",
            disabled=same or not wish.labels,
        ):  # fmt: skip
            synth_batch.order(wish)
            st.rerun()
        if not wish.labels:
            st.caption(_("Choose at least one label."))
        elif same:
            st.caption(_("These are the images below."))


def said_of(batch: Batch) -> None:
    """Say what the images are, and how many were withheld."""
    wish = batch.wish
    if batch.stopped:
        st.warning(
            _("Stopped: {n} of {all} images were finished.").format(n=len(batch.images), all=wish.total),
            icon=":material/stop_circle:",
        )
    words = _("{n} images in {s} s · seed {seed} · truncation {truncation}").format(
        n=len(batch.images), s=f"{batch.seconds:.1f}", seed=wish.seed, truncation=f"{wish.truncation:g}"
    )
    st.caption(f"{words} · {_('every image carries the mark SYNTHETIC')}")
    withheld(batch)


def withheld(batch: Batch) -> None:
    """Say how many images were withheld as near-copies of a training image."""
    tried = len(batch.images) + batch.withheld
    if not batch.withheld:
        st.markdown(
            ":material/verified_user: "
            + _("None of them had to be withheld: no image came as close to a training image as a near-copy.")
        )
    else:
        st.info(
            _(
                "{k} of {n} drawn images ({share}) came too close to a training image. They were withheld, and the "
                "next ones of the seed took their place."
            ).format(k=batch.withheld, n=tried, share=percent(batch.withheld / tried)),
            icon=":material/shield:",
        )
