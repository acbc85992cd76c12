"""The stay a visitor follows: how it comes in, what was noticed on the way, and how it is let go."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import streamlit as st

from medai_core.icu.stay import MAX_MB
from medai_core.icu.variables import INDEX
from pages.ui import icu_loaders
from pages.ui.icu_examples import EXAMPLES
from pages.ui.icu_words import described, layout_name
from pages.ui.language import _, tell
from pages.ui.samples import Sample, icu_samples
from pages.ui.theme import BLUE, VERMILLION
from pages.ui.words import megabytes, plain

if TYPE_CHECKING:
    from medai_core.icu.stay import Stay

STAY = "icu_stay"
"""Where the session keeps ``(name, bytes)``; the page of many stays puts its choice there too."""
EDITS = "icu_edits"
"""Where the session keeps the changes to each stay, by the digest of its bytes."""
ROUND = "icu_upload_round"
PATIENT_PAGE = "pages/icu/patient.py"
DEMO_HOUR = 24
SPARKS = (("HR", "HR"), ("MAP", "NIMAP"))
"""What a card draws of a stay: two variables, each with what stands in for it."""


@dataclass(frozen=True, eq=False)
class Held:
    """A stay's file: its name as the visitor gave it, its bytes, their SHA-256, and the sample it is, if any."""

    name: str
    data: bytes
    digest: str
    sample: Sample | None

    @property
    def key(self) -> str:
        """What widgets about this stay are called by."""
        return self.digest[:12]


def held_stay() -> Held | None:
    """Return the stay that is open, if any."""
    if STAY not in st.session_state:
        return None
    name, data = st.session_state[STAY]
    digest = hashlib.sha256(data).hexdigest()
    return Held(name, data, digest, _sample_of(digest))


def hold(name: str, data: bytes) -> None:
    """Open a stay, replacing the one before."""
    st.session_state[STAY] = (name, data)


def let_go() -> None:
    """Forget the stay, its results and the uploader's copy of it."""
    for kept in (STAY, EDITS):
        st.session_state.pop(kept, None)
    st.session_state[ROUND] = st.session_state.get(ROUND, 0) + 1
    icu_loaders.forget()


def demo_stays() -> list[Sample]:
    """Return the shipped synthetic stays."""
    return list(icu_samples())


def _sample_of(digest: str) -> Sample | None:
    return next((s for s in demo_stays() if _digest_of(str(s.path)) == digest), None)


@st.cache_data(max_entries=64, show_spinner=False)
def _digest_of(path: str) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def ask_for_stay() -> None:
    """Show the uploader, an example of each layout and, for visitors without data, the demo stays."""
    file = st.file_uploader(
        _("Drop a stay here"),
        max_upload_size=MAX_MB,
        key=f"icu_upload_{st.session_state.get(ROUND, 0)}",
        help=_("What a file is, its content decides, not its name."),
    )
    st.caption(
        _(
            "One patient's first 48 hours or less: PhysioNet 2012 text, long CSV (time, parameter, value), wide CSV "
            "(a column per parameter), or a FHIR R4 Bundle of Observations. The file stays in this session and is "
            "not stored."
        )
    )
    if file is not None:
        hold(file.name, file.getvalue())
        st.rerun()
    with st.expander(_("How a file must look: an example of each layout"), icon=":material/description:"):
        examples()
    gallery()


def examples() -> None:
    """Offer a made-up file of each layout."""
    st.caption(
        _(
            "Six made-up hours, the same in each file. Parameters have the names of the PhysioNet challenge, or LOINC "
            "codes in FHIR; units are converted where they are stated."
        )
    )
    with st.container(horizontal=True):
        for layout, (name, kind, written) in EXAMPLES.items():
            st.download_button(
                layout_name(layout), written(), file_name=name, mime=kind, icon=":material/download:",
                on_click="ignore", key=f"icu_example_{layout}",
            )  # fmt: skip


def gallery() -> None:
    """Show the demo stays; one click opens one."""
    found = demo_stays()
    if not found:
        return
    st.subheader(_("Follow a demo stay"), anchor=False)
    st.caption(
        _(
            "These courses are synthetic: drawn by a computer, of no patient. On the cards, heart rate (solid) and "
            "mean blood pressure (dashed)."
        )
    )
    with st.container(horizontal=True, key="icu_gallery"):
        for sample in found:
            with st.container(border=True, height="stretch", vertical_alignment="distribute"):
                _card(sample)


def _card(sample: Sample) -> None:
    with st.container(gap="xsmall"):
        st.image(_sparkline(str(sample.path)), width="stretch", alt=_("Heart rate and mean pressure over the stay"))
        st.markdown(f"**{plain(_(sample.title))}**")
    if st.button(_("Open"), key=f"icu_open_{sample.path.name}", width="stretch"):
        icu_loaders.forget()
        hold(sample.path.name, sample.path.read_bytes())
        st.switch_page(PATIENT_PAGE)


@st.cache_data(max_entries=64, show_spinner=False)
def _sparkline(path: str) -> str:
    """Return a small drawing of heart rate and mean pressure; demo stays are no one's, so all visitors share it."""
    from medai_core.icu.records import read_stay

    stay = read_stay(Path(path).read_bytes())
    lines = []
    for place, names in enumerate(SPARKS):
        name = max(names, key=lambda code: int((stay.series == INDEX[code]).sum()))
        mine = stay.series == INDEX[name]
        points = " ".join(
            f"{minute / 18:.1f},{52 - (np.clip(value, 30, 150) - 30) / 2.6:.1f}"
            for minute, value in zip(stay.minutes[mine], stay.values[mine], strict=True)
        )
        look = f'stroke="{(BLUE, VERMILLION)[place]}"' + (' stroke-dasharray="4 2.5"' if place else "")
        lines.append(f'<polyline points="{points}" fill="none" stroke-width="1.2" {look}/>')
    return f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 160 56">{"".join(lines)}</svg>'


def stay_bar(held: Held) -> None:
    """Show which stay is open, and let it go."""
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute", key="stay_bar"):
        if held.sample is not None:
            words = f":material/ecg_heart: **{plain(_(held.sample.title))}** · {_('synthetic stay, no patient')}"
        else:
            words = f":material/description: **{plain(held.name)}** · {megabytes(len(held.data))}"
        st.markdown(words)
        st.button(_("Close this stay"), icon=":material/close:", key="icu_let_go", on_click=let_go)


def stay_line(stay: Stay) -> None:
    """Show who the patient is as far as the file says, and how much was recorded."""
    rows = [value for _name, value in described(stay.fixed)]
    rows.append(_("followed for {n} hours").format(n=stay.hours))
    rows.append(_("{n} measurements of {k} variables").format(n=f"{len(stay.values):,}", k=len(np.unique(stay.series))))
    rows.append(layout_name(stay.layout))
    st.html('<p class="medai-who">' + "".join(f"<span>{escape(row)}</span>" for row in rows) + "</p>")


def intake(stay: Stay) -> None:
    """Say how many entries were converted or left out, and list them on demand."""
    left, used = len(stay.left_out), len(stay.flags) - len(stay.left_out)
    if not stay.flags:
        st.caption(f":material/check_circle: {_('Every entry of the file was used as it is.')}")
        return
    parts = [_("Entries left out: {n}").format(n=left)] if left else []
    parts += [_("converted or read in a particular way: {n}").format(n=used)] if used else []
    with st.expander(" · ".join(parts), icon=":material/rule:"):
        st.dataframe(
            {
                _("Row"): [flag.row for flag in stay.flags],
                _("Column"): [flag.column for flag in stay.flags],
                _("Left out"): [flag.left_out for flag in stay.flags],
                _("What was noticed"): [tell(flag.message) for flag in stay.flags],
            },
            hide_index=True,
            key="icu_flags",
            height=min(38 + 35 * len(stay.flags), 300),
        )
