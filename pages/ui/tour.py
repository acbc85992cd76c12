"""The guided tour: a bar below every page with what to look at, next and back; it can be left and resumed.

What a step opens is put where its page keeps what a visitor opened. What the visitor had open there is kept aside and
comes back when the tour is left.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import streamlit as st

from pages.ui.language import _
from pages.ui.tour_steps import Step, steps

TOUR = "tour"
PARAMETER = "tour"

CSS = """<style>
.st-key-tour {border: 1px solid #0072B2; border-left-width: 5px; border-radius: 6px; padding: .7rem 1rem;
  max-width: 1160px; margin: 0 auto;}
[data-testid="stBottomBlockContainer"]:has(.st-key-tour) {padding: .6rem 1.5rem 1rem;}
.stHtml .medai-tour {margin: 0; font-size: .95rem; line-height: 1.45;}
.medai-tour b {display: block; font-size: 1.05rem;}
.medai-tour small {opacity: .75; font-variant-numeric: tabular-nums;}
</style>"""


@dataclass(eq=False)
class Tour:
    """Where a visitor is, what the tour opened on the pages, and what the visitor had there before."""

    at: int = 0
    active: bool = True
    jump: bool = True
    placed: dict[str, object] = field(default_factory=dict)
    kept: dict[str, object] = field(default_factory=dict)

    def place(self, found: dict[str, object]) -> None:
        """Put values into the session; those of the visitor that they replace are kept aside."""
        for key, value in found.items():
            if key not in self.placed or st.session_state.get(key) is not self.placed[key]:
                self.kept[key] = st.session_state.get(key)
            self.placed[key] = st.session_state[key] = value

    def clear(self) -> None:
        """Take away what the tour opened, unless the visitor opened something else since."""
        for key, value in self.placed.items():
            if st.session_state.get(key) is not value:
                continue
            if self.kept.get(key) is None:
                st.session_state.pop(key, None)
            else:
                st.session_state[key] = self.kept[key]
        self.placed, self.kept = {}, {}


def held() -> Tour | None:
    """Return the tour of the session, also one that was left."""
    return st.session_state.get(TOUR)


def start(at: int = 0) -> None:
    """Begin the tour, or go on with it, at one step."""
    tour = held() or Tour()
    tour.at, tour.active, tour.jump = at, True, True
    st.session_state[TOUR] = tour


def leave() -> None:
    """Leave the tour; the step is remembered."""
    tour = held()
    tour.active = False
    tour.clear()


def finish() -> None:
    """End the tour: the next one starts at the beginning."""
    leave()
    held().at = 0


def from_address() -> None:
    """Begin at the step of the address (``?tour=3``) where this session knows of no tour yet."""
    wanted = st.query_params.get(PARAMETER)
    if wanted is None or held() is not None:
        return
    with suppress(ValueError):
        start(min(max(int(wanted), 1), len(steps())) - 1)


def bar(here: str) -> None:
    """Show the step below the page, and go to its page first where that was asked for.

    Parameters
    ----------
    here : str
        Name of the page's file, without folder and ending.
    """
    from_address()
    tour = held()
    if tour is None or not tour.active:
        st.query_params.pop(PARAMETER, None)
        return
    found = steps()
    tour.at = min(tour.at, len(found) - 1)
    step = found[tour.at]
    if tour.jump:
        tour.jump = False
        tour.place(step.opens())
        if Path(step.page).stem != here:
            st.switch_page(step.page)
    st.query_params[PARAMETER] = str(tour.at + 1)
    with st.bottom, st.container(key="tour"):
        st.html(CSS)
        _content(tour, step, found, away=Path(step.page).stem != here)


def _content(tour: Tour, step: Step, found: Sequence[Step], away: bool) -> None:
    where = _("Tour, step {n} of {all}").format(n=tour.at + 1, all=len(found))
    words = _("You left the page of this step. The tour waits here.") if away else step.words
    left, right = st.columns([5, 3], vertical_alignment="center")
    left.html(f'<p class="medai-tour" role="status"><small>{where}</small><b>{step.title}</b>{words}</p>')
    with right, st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.button(
            _("Back"), icon=":material/arrow_back:", key="tour_back", on_click=start, args=(tour.at - 1,),
            disabled=not tour.at,
        )  # fmt: skip
        if away:
            st.button(_("Return to this step"), type="primary", key="tour_return", on_click=start, args=(tour.at,))
        elif tour.at + 1 < len(found):
            st.button(
                _("Next"), type="primary", icon=":material/arrow_forward:", icon_position="right", key="tour_next",
                on_click=start, args=(tour.at + 1,),
            )  # fmt: skip
        else:
            st.button(_("End the tour"), type="primary", icon=":material/check:", key="tour_end", on_click=finish)
        st.button(_("Leave"), type="tertiary", icon=":material/close:", key="tour_leave", on_click=leave)


def invitation() -> None:
    """Offer the tour on the home page, or to go on with one that was left."""
    tour = held()
    if tour is not None and tour.active:
        return
    count = len(steps())
    with st.container(
        border=True, horizontal=True, wrap=False, vertical_alignment="center", horizontal_alignment="distribute",
        key="tour_invite",
    ):  # fmt: skip
        words = _("Three minutes through every part, on built-in samples. Leave and resume as you like.")
        st.markdown(f":material/tour: **{_('Guided tour')}** · {words}", width="stretch")
        if tour is not None and tour.at:
            st.button(
                _("Resume at step {n} of {all}").format(n=tour.at + 1, all=count), type="primary",
                icon=":material/play_arrow:", key="tour_resume", on_click=start, args=(tour.at,),
            )  # fmt: skip
            st.button(_("From the start"), icon=":material/replay:", key="tour_start", on_click=start)
        else:
            st.button(
                _("Start the tour"), type="primary", icon=":material/play_arrow:", key="tour_start", on_click=start
            )
