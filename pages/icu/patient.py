"""Follow one patient: where the course is heading, how sure that is, why, and what if a value were different."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import streamlit as st

from medai_core.errors import MedAIError
from pages.ui import icu_answer, icu_export, icu_loaders, icu_panels, icu_stay, icu_whatif, icu_why
from pages.ui.frame import page, problem
from pages.ui.icu_course import View, measured_names, view
from pages.ui.icu_measured import measured_panel
from pages.ui.icu_style import icu_styles
from pages.ui.icu_words import variable_name
from pages.ui.language import _

if TYPE_CHECKING:
    from medai_core.icu.stay import Stay
    from pages.ui.icu_stay import Held

HORIZONS = (6, 12, 24)
STEPS = (-6, -1, 1, 6)
FIRST_LABS = 3


def main() -> None:
    page(
        _("Follow a patient"),
        _("One stay in intensive care, hour by hour: the risk, where each value is heading, and why."),
    )
    icu_styles()
    held = icu_stay.held_stay()
    # Emptied at once when a stay is there, not only at the end of a run that first has to read it.
    asking = st.empty()
    if held is None:
        with asking.container():
            icu_stay.ask_for_stay()
        return
    icu_stay.stay_bar(held)
    try:
        stay = icu_loaders.stay(held.digest, held.data)
        with st.container(gap="xsmall"):
            icu_stay.stay_line(stay)
            icu_stay.intake(stay)
        icu_loaders.models()
    except MedAIError as error:
        problem(error, held.name)
        return
    follow(held, stay)


@st.fragment
def follow(held: Held, stay: Stay) -> None:
    """Show the stay from the chosen hour; a fragment, so that moving through the hours redraws only this."""
    at = scrubber(held, stay)
    horizon, ahead = (st.session_state.get(name, first) for name, first in (("icu_horizon", 12), ("icu_ahead", True)))
    try:
        seen = view(held, stay, icu_whatif.edits(held), at, horizon or 12, ahead)
    except MedAIError as error:
        problem(error, held.name)
        return
    left, right = st.columns([7, 5], gap="medium")
    with left:
        icu_answer.headline(seen)
    with right:
        icu_answer.model_facts(seen)
    icu_answer.no_forecasts(seen)
    tabs(seen)


def scrubber(held: Held, stay: Stay) -> int:
    """Show the slider of hours with its step buttons, and return the hour looked from."""
    key, last = f"icu_now_{held.key}", stay.hours
    recorded = min(int(np.ceil(stay.minutes[-1] / 60)) or 1, last)
    st.session_state.setdefault(key, min(icu_stay.DEMO_HOUR, last) if held.sample else recorded)
    if last == 1:
        return 1

    def step(hours: int) -> None:
        st.session_state[key] = int(np.clip(st.session_state[key] + hours, 1, last))

    with st.container(horizontal=True, vertical_alignment="bottom", key="icu_scrubber", gap="small"):
        at = st.slider(
            _("Now: hours since admission"), 1, last, key=key, persist_state="session",
            help=_("Everything shown uses only what was recorded up to this hour. Arrow keys move it by one hour."),
        )  # fmt: skip
        with st.container(horizontal=True, width="content", gap="xsmall"):
            for hours in STEPS:
                st.button(
                    f"{hours:+d} h".replace("-", "−"), on_click=step, args=(hours,), key=f"icu_step_{hours}",
                    disabled=not 1 <= at + hours // abs(hours) <= last,
                )  # fmt: skip
    return at


def tabs(seen: View) -> None:
    """Show the tabs; only the open one is computed."""
    panels: dict[str, tuple[str, Callable[[], None]]] = {
        "course": (_("Course"), lambda: course(seen)),
        "why": (_("Why"), lambda: icu_why.why_panel(seen)),
        "what_if": (_("What if"), lambda: icu_whatif.what_if_panel(seen)),
        "measured": (_("What was measured"), lambda: measured_panel(seen)),
        "downloads": (_("Downloads"), lambda: icu_export.downloads(seen)),
    }
    shown = st.tabs([name for name, _draw in panels.values()], key="icu_tabs", on_change="rerun")
    for tab, (_name, draw) in zip(shown, panels.values(), strict=True):
        if tab.open:
            with tab:
                draw()


def course(seen: View) -> None:
    """Show risk, vital signs and laboratory values over time."""
    held = measured_names(seen.stay)
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        st.segmented_control(
            _("Forecast ahead"), HORIZONS, default=12, required=True, format_func=lambda h: f"{h} h",
            key="icu_horizon", persist_state="session", disabled=isinstance(seen.outlook, MedAIError),
        )  # fmt: skip
        pressures = _pressures(held, seen)
        st.toggle(
            _("Show what came after"), value=True, key="icu_ahead", persist_state="session",
            help=_("Hollow points and a dotted risk: recorded after the hour looked from, and not used for it."),
        )  # fmt: skip
        labs = _labs(held, seen)
    icu_panels.course_chart(seen, pressures, labs, key="icu_course")
    kind = _("arterial line") if pressures == icu_panels.LINE else _("cuff")
    st.caption(
        _(
            "Blood pressure ({kind}): ▲ systolic, ● mean, ▼ diastolic; its green band is the normal range of the mean. "
            "Normal ranges are usual adult ones."
        ).format(kind=kind)
    )
    never = [
        variable_name(code) for code in ("HR", "RespRate", "SaO2", "FiO2", "Temp", "GCS", "Urine") if code not in held
    ]
    if never:
        st.caption(_("Never measured in this stay: {names}.").format(names=", ".join(never)))


def _pressures(held: set[str], seen: View) -> tuple[str, ...]:
    """Return the pressures to show: a choice where both kinds were measured."""
    both = {"line": icu_panels.LINE, "cuff": icu_panels.CUFF}
    there = [kind for kind, codes in both.items() if held & set(codes)]
    if len(there) < 2:
        return both[there[0]] if there else icu_panels.LINE
    names = {"line": _("arterial line"), "cuff": _("cuff")}
    return both[
        st.segmented_control(
            _("Pressures"), there, default="line", required=True, format_func=names.__getitem__,
            key=f"icu_pressures_{seen.held.key}", persist_state="session",
        )
    ]  # fmt: skip


def _labs(held: set[str], seen: View) -> list[str]:
    there = [code for code in icu_panels.LABS if code in held]
    return st.multiselect(
        _("Laboratory values"), there, default=there[:FIRST_LABS], format_func=variable_name,
        key=f"icu_labs_{seen.held.key}", persist_state="session",
    )  # fmt: skip


main()
