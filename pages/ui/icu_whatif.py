"""What if a value were different: edits of a stay, their list with undo, and the answers side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import streamlit as st

from medai_core.errors import MedAIError, Message, say
from medai_core.icu.variables import FIXED, NAMES, SERIES
from pages.ui import icu_answer
from pages.ui.frame import problem
from pages.ui.icu_course import View, measured_names, quantiles
from pages.ui.icu_measured import ORDER
from pages.ui.icu_stay import EDITS, Held
from pages.ui.icu_words import amount, clock, digits, figure, unit_name, variable_name, with_unit
from pages.ui.language import _, tell
from pages.ui.words import plain

if TYPE_CHECKING:
    from medai_core.icu.edits import Edit
    from medai_core.icu.stay import Stay

REFUSED = "icu_edit_refused"
SHOWN = 8
"""Forecasts listed beside each other, those first that the edits moved most."""


def edits(held: Held) -> tuple[Edit, ...]:
    """Return the edits of a stay."""
    return st.session_state.get(EDITS, {}).get(held.digest, ())


def keep(held: Held, changed: tuple[Edit, ...]) -> None:
    """Keep the edits of a stay for the session."""
    st.session_state[EDITS] = st.session_state.get(EDITS, {}) | {held.digest: changed}


class _Measured(float):
    """A number that is written with its unit, in whichever format a sentence asks for."""

    unit = ""

    def __format__(self, spec: str) -> str:
        return f"{float(self):{spec}} {self.unit}".strip()


def worded(message: Message) -> str:
    """Return a sentence of the core with variables' names in words and their values with units."""
    code, told = message.values.get("variable"), dict(message.values)
    if code in SERIES | FIXED:
        told["variable"] = variable_name(code)
        if "unit" in told:
            told["unit"] = unit_name(code)
        elif isinstance(told.get("value"), int | float):
            told["value"] = _Measured(told["value"])
            told["value"].unit = unit_name(code)
    return tell(Message(message.template, told))


def what_if_panel(view: View) -> None:
    """Show the form, what was changed so far, and what it does."""
    icu_answer.association()
    left, right = st.columns([5, 6], gap="large")
    with left:
        st.subheader(_("Change the record"), anchor=False)
        form(view)
    with right:
        st.subheader(_("Changes"), anchor=False)
        listing(view)
    if view.edited:
        comparison(view)


def form(view: View) -> None:
    """Ask for one edit; nothing else of the page waits for it."""
    key, held = view.held.key, measured_names(view.stay)
    names = [code for code in ORDER if code in held] + [code for code in ORDER if code not in held]
    code = st.selectbox(_("Variable"), names, format_func=with_unit, key=f"icu_variable_{key}", persist_state="session")
    kinds = {"set": _("Change"), "delete": _("Delete"), "add": _("Add"), "shift": _("Shift all")}
    usable = list(kinds) if code in held else ["add"]
    kind = st.segmented_control(
        _("What to do"), usable, default=usable[0], required=True, format_func=kinds.__getitem__,
        key=f"icu_kind_{key}_{code in held}", persist_state="session",
    )  # fmt: skip
    when = _which(view, code) if kind in ("set", "delete") else _when(view) if kind == "add" else None
    what = None if kind == "delete" else _value(view, code, kind, st.session_state[when] if kind == "set" else None)
    st.button(
        _("Apply the change"), type="primary", icon=":material/edit:", key="icu_apply", on_click=_apply,
        args=(view, kind, code, when, what),
    )  # fmt: skip
    if refused := st.session_state.pop(REFUSED, None):
        problem(worded(refused))


def _which(view: View, code: str) -> str:
    """Ask which measurement, the last one before now first; return the key its minute is under in the session."""
    mine = view.stay.series == NAMES.index(code)
    minutes, values = view.stay.minutes[mine], view.stay.values[mine]
    choices = {float(minute): amount(code, value) for minute, value in zip(minutes, values, strict=True)}
    known = [minute for minute in choices if minute <= 60 * view.at] or list(choices)[:1]
    key = f"icu_which_{view.held.key}_{code}_{view.at}"
    st.selectbox(
        _("Measurement"), list(choices)[::-1], index=list(choices)[::-1].index(known[-1]), key=key,
        format_func=lambda minute: f"{clock(minute)} · {choices[minute]}" if minute in choices else clock(minute),
    )  # fmt: skip
    return key


def _when(view: View) -> str:
    """Ask for a time; return the key its hours are under in the session."""
    key = f"icu_when_{view.held.key}_{view.at}"
    st.number_input(
        _("Hours since admission"), 0.0, float(view.recorded.hours), value=float(view.at), step=0.25, format="%.2f",
        key=key,
    )  # fmt: skip
    return key


def _value(view: View, code: str, kind: str, minute: float | None) -> str:
    """Ask for the new value, or by how much to shift; return the key it is under in the session."""
    span, unit = SERIES[code], unit_name(code)
    mine = view.stay.series == NAMES.index(code)
    here = view.stay.values[mine & (view.stay.minutes == minute)] if minute is not None else view.stay.values[:0]
    usual = float(here[0]) if here.size else float(np.mean(span.normal)) if span.normal else float(span.low)
    places = max(digits(code, usual), digits(code, span.low))
    label = _("Shift by") if kind == "shift" else _("New value")
    limits = (span.low - span.high, span.high - span.low) if kind == "shift" else (span.low, span.high)
    key = f"icu_value_{view.held.key}_{code}_{kind}_{minute}"
    st.number_input(
        f"{label}, {unit}" if unit else label, float(limits[0]), float(limits[1]), key=key,
        value=0.0 if kind == "shift" else round(usual, places + 1), step=10.0**-places, format=f"%.{places}f",
        help=_("Plausible values are {low} to {high}.").format(
            low=amount(code, span.low), high=amount(code, span.high)
        ),
    )  # fmt: skip
    return key


def _apply(view: View, kind: str, code: str, when: str | None, what: str | None) -> None:
    """Make the edit of what the form holds at the click: a value typed just before is in the session by then."""
    from medai_core.icu.edits import Edit, apply

    minute = (
        None if when is None else round(60 * st.session_state[when], 4) if kind == "add" else st.session_state[when]
    )
    edit = Edit(kind, code, minute, None if what is None else st.session_state[what])
    try:
        changed = apply(view.stay, [edit])
    except MedAIError as error:
        st.session_state[REFUSED] = error.message
        return
    if np.array_equal(changed.values, view.stay.values):
        st.session_state[REFUSED] = say("That leaves every value of {variable} as it is.", variable=code)
        return
    keep(view.held, (*view.edits, edit))


def listing(view: View) -> None:
    """List the edits, each with its undo."""
    from medai_core.icu.edits import describe

    if not view.edited:
        st.caption(_("Nothing is changed yet. The risk and the forecasts answer as soon as something is."))
        return
    for place, edit in enumerate(view.edits):
        with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
            st.markdown(plain(worded(describe(edit))))
            st.button(
                _("Undo"), icon=":material/undo:", key=f"icu_undo_{place}", on_click=undo, args=(view, place),
                type="tertiary",
            )  # fmt: skip
    st.button(_("Undo all"), icon=":material/restart_alt:", key="icu_undo_all", on_click=keep, args=(view.held, ()))


def undo(view: View, place: int) -> None:
    """Take one edit back, and with it those after it that needed it."""
    keep(view.held, remaining(view.recorded, view.edits, place))


def remaining(stay: Stay, made: tuple[Edit, ...], place: int) -> tuple[Edit, ...]:
    """The edits without one of them, and without those that cannot be made then."""
    kept: tuple[Edit, ...] = ()
    for edit in made[:place] + made[place + 1 :]:
        if _possible(stay, (*kept, edit)):
            kept = (*kept, edit)
    return kept


def _possible(stay: Stay, wanted: tuple[Edit, ...]) -> bool:
    from medai_core.icu.edits import apply

    try:
        apply(stay, wanted)
    except MedAIError:
        return False
    return True


def comparison(view: View) -> None:
    """Show the risk and the forecasts that moved most, as recorded and with the changes."""
    before, after = view.recorded_risk(), view.risk()
    st.html(
        f'<p class="medai-delta"><span>{_("Risk at hour {at}").format(at=view.at)}</span>'
        f"<b>{before:.2f} → {after:.2f}</b><span>{icu_answer.points(after - before)} "
        f"{_('percentage points')}</span></p>"
    )
    rows = moved(view)
    if isinstance(view.outlook, MedAIError):
        icu_answer.no_forecasts(view)
    elif not rows:
        st.caption(_("No forecast moves noticeably."))
    else:
        st.caption(
            _("Forecasts {h} h ahead: median, with the 90% interval; those first that moved most.").format(
                h=view.horizon
            )
        )
        st.dataframe(pd.DataFrame(rows), hide_index=True, key="icu_moved", height="content")


def moved(view: View) -> list[dict[str, str]]:
    """Rows of the forecasts at the horizon that the edits moved, the largest move first, in interval widths."""
    found = []
    for code in ORDER:
        now, was = (quantiles(o, code, view.horizon) for o in (view.outlook, view.recorded_outlook))
        if now is None or was is None or code not in measured_names(view.stay):
            continue
        move = (now[-1, 2] - was[-1, 2]) / max(was[-1, 4] - was[-1, 0], 1e-9)
        if abs(move) >= 0.01:
            found.append((abs(move), code, was[-1], now[-1]))
    found.sort(key=lambda row: -row[0])
    return [
        {
            _("Variable"): with_unit(code),
            _("As recorded"): _range(code, was),
            _("With the changes"): _range(code, now),
        }
        for _move, code, was, now in found[:SHOWN]
    ]


def _range(code: str, fan: np.ndarray) -> str:
    return f"{figure(code, fan[2])} ({figure(code, fan[0])}–{figure(code, fan[4])})"
