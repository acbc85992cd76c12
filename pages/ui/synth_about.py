"""What a generator or restorer is for and not for, whom it imitates, and what is known to be wrong with its images."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from medai_core.errors import MedAIError
from pages.ui import loaders
from pages.ui.frame import bullets, facts
from pages.ui.language import _, tell
from pages.ui.words import label_name, plain


def not_installed(said: str, gains: Sequence[str]) -> None:
    """Say kindly that a model is not here, and what its page does once it is."""
    st.info(said, icon=":material/inventory_2:")
    st.subheader(_("What you get with one"), anchor=False)
    bullets(gains)


def about(model: str) -> None:
    """Show the card in short, beside what the model made."""
    found = loaders.bundle(model)
    if isinstance(found, MedAIError):
        st.caption(plain(tell(found)))
        return
    card = found.card
    with st.container(border=True):
        st.subheader(_("About this model"), anchor=False)
        facts(
            [
                (_("Population"), _(str(card.get("population", "")))),
                (_("Labels"), " · ".join(label_name(label) for label in found.preprocessing.get("labels", []))),
                (_("Version"), f"{found.version} · sha256 {found.digest[:12]}"),
            ]
        )
        lists = ((_("Not for"), "not_for"), (_("What is wrong with the images"), "failure_modes"))
        for column, (title, field) in zip(st.columns(2, gap="medium"), lists, strict=True):
            if card.get(field):
                with column:
                    st.markdown(f"**{title}**")
                    bullets([_(item) for item in card[field]])
