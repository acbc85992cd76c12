"""A visitor's own randomised trial in place of the built-in one: its table, the roles of its columns, the statement."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import streamlit as st

from medai_core.errors import InputError, MedAIError
from medai_core.tabular.columns import CATEGORY, NUMBER
from medai_core.tabular.trial import DAYS, TWO_YEARS, Roles
from pages.ui import treat_loaders
from pages.ui.frame import bullets, problem
from pages.ui.language import _, tell
from pages.ui.loaders import KEEP
from pages.ui.treat_example import NAME, made_up_trial
from pages.ui.treat_fit import CHOOSING, COMPARING, RESAMPLING, Fit
from pages.ui.treat_words import Compared
from pages.ui.words import megabytes, plain

if TYPE_CHECKING:
    from medai_core.tabular.tables import Table

OWN, FIT, BALANCE, REFUSED, ROUND = "treat_own", "treat_fit", "treat_balance", "treat_refused", "treat_round"
LOOK_SECONDS = 1.0


@dataclass(frozen=True, eq=False)
class Held:
    """A trial's file as it was uploaded."""

    name: str
    data: bytes
    digest: str

    @property
    def key(self) -> str:
        """What widgets about it are called by."""
        return f"treat_{self.digest[:12]}"


def hold(name: str, data: bytes) -> None:
    """Open a table, replacing the one before."""
    let_go()
    st.session_state[OWN] = Held(name, data, hashlib.sha256(data).hexdigest())


def let_go() -> None:
    """Stop the work, and forget the table, its model and the uploader's copy of it."""
    if fit := st.session_state.get(FIT):
        fit.stop()
    for kept in (OWN, FIT, BALANCE, REFUSED):
        st.session_state.pop(kept, None)
    st.session_state[ROUND] = st.session_state.get(ROUND, 0) + 1
    treat_loaders.forget()
    _table.clear()


@st.cache_resource(max_entries=2, **KEEP)
def _table(digest: str, _name: str, _data: bytes) -> Table:
    from medai_core.tabular.tables import read_table

    return read_table(_data, _name)


def own_trial() -> Compared | None:
    """Lead from a table to its model; None until that is there."""
    held = st.session_state.get(OWN)
    if held is None:
        ask_for_table()
        return None
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        made_up = f" · {_('made up, no patients')}" if held.data == made_up_trial() else ""
        st.markdown(f":material/description: **{plain(held.name)}** · {megabytes(len(held.data))}{made_up}")
        st.button(_("Close this trial"), icon=":material/close:", key="treat_let_go", on_click=let_go)
    try:
        with st.spinner(_("Reading the table")):
            table = _table(held.digest, held.name, held.data)
    except MedAIError as error:
        problem(error, held.name)
        return None
    fit = st.session_state.get(FIT)
    ready = fit is not None and fit.state == "done"
    with st.expander(_("Which column is what"), icon=":material/table_chart:", expanded=not ready):
        roles(held, table)
    if fit is None:
        return None
    return _result(fit)


def ask_for_table() -> None:
    """Show the uploader, what a table must hold, and a made-up trial."""
    file = st.file_uploader(_("Drop the table of a randomised trial here"), key=f"treat_upload_{_round()}")
    st.caption(_("CSV, Parquet or Excel, one row for each patient. It stays in this session and is not stored."))
    if file is not None:
        hold(file.name, file.getvalue())
        st.rerun()
    left, right = st.columns([3, 2], gap="large")
    with left:
        st.markdown(f"**{_('What the table must hold')}**")
        bullets(
            [
                _("The treatment that chance assigned, 2 to 8 different ones, each with at least 20 patients."),
                _("The time to the event, or to the end of observation, and whether the event was seen."),
                _("What was known of each patient before assignment. Nothing recorded later."),
            ]
        )
    with right:
        st.markdown(f"**{_('No table at hand?')}**")
        st.button(
            _("Open a made-up trial"), icon=":material/casino:", on_click=hold, args=(NAME, made_up_trial()),
            key="treat_made_up",
        )  # fmt: skip
        st.caption(_("400 patients who never were; the new treatment helps some of them and harms the others."))


def _round() -> int:
    return st.session_state.get(ROUND, 0)


# ------------------------------------------------------------------------------------------------------- roles


def roles(held: Held, table: Table) -> None:
    """Ask which column is what, for the statement that assignment was random, and for the start."""
    from medai_core.tabular.trial import propose_roles

    for note in table.notes:
        st.caption(plain(tell(note)))
    found = propose_roles(table)
    names = [column.name for column in table.columns if column.kind in (NUMBER, CATEGORY)]
    numbers = [column.name for column in table.columns if column.kind == NUMBER]
    one, two, three = st.columns(3, gap="medium")
    with one:
        arm = _choice(held, "arm", _("Treatment assigned"), names, found and found.arm)
        event = _choice(held, "event", _("Event"), names, found and found.event)
        value = _event_value(held, table, event)
    with two:
        time = _choice(held, "time", _("Time to the event or to the end of observation"), numbers, found and found.time)
        units = {"days": _("days"), "weeks": _("weeks"), "months": _("months"), "years": _("years")}
        unit = st.selectbox(
            _("The time is in"), list(units), format_func=units.__getitem__, key=f"{held.key}_unit",
            persist_state="session",
        )  # fmt: skip
    with three:
        horizon = _horizon(held, table, time, unit, units)
    taken = {arm, time, event}
    free = [name for name in names if name not in taken]
    proposed = [name for name in (found.covariates if found else ()) if name in free]
    covariates = st.multiselect(
        _("Known before assignment"), free, default=proposed, key=f"{held.key}_covariates_{_taken_key(taken)}",
        persist_state="session", help=_("Only what was recorded before: a later value can hold the outcome."),
    )  # fmt: skip
    stated = st.checkbox(
        _("I state that chance alone assigned the treatments in this table."), key=f"{held.key}_stated",
        persist_state="session",
    )  # fmt: skip
    # No callback: it would get what the form held before a value that was typed just now.
    if st.button(_("Compare the treatments"), type="primary", icon=":material/play_arrow:", key="treat_start"):
        chosen = None if None in taken else Roles(arm, time, event, tuple(covariates), value, unit)
        with st.spinner(_("Checking the trial")):
            _start(held, table, chosen, horizon, stated)
        st.rerun()
    if refused := st.session_state.get(REFUSED):
        problem(refused)


def _taken_key(taken: set[str | None]) -> str:
    return hashlib.sha256(repr(sorted(map(str, taken))).encode()).hexdigest()[:8]


def _choice(held: Held, role: str, label: str, names: list[str], first: str | None) -> str | None:
    return st.selectbox(
        label, names, index=names.index(first) if first in names else None, key=f"{held.key}_{role}",
        persist_state="session", placeholder=_("choose"),
    )  # fmt: skip


def _event_value(held: Held, table: Table, event: str | None) -> str | None:
    """Ask which of two values means that the event was seen."""
    if event is None or table[event].distinct != 2:
        return None
    from medai_core.tabular.problem import as_levels, positive_of

    column = table[event]
    levels = sorted(as_levels(table.frame[event].dropna()).unique())
    likely = positive_of(column) if column.levels else levels[-1]
    return st.segmented_control(
        _("The event was seen where it is"), levels, default=likely if likely in levels else levels[-1], required=True,
        key=f"{held.key}_value_{event}", persist_state="session",
    )  # fmt: skip


def _horizon(held: Held, table: Table, time: str | None, unit: str, units: dict[str, str]) -> float:
    """Ask after how long treatments are compared; return it in days."""
    first = TWO_YEARS / DAYS[unit]
    if time is not None and (times := table.frame[time].dropna()).size:
        first = min(first, float(f"{max(times.quantile(0.6), 0.0):.2g}"))
    key = f"{held.key}_after_{unit}_{time}"
    return DAYS[unit] * st.number_input(
        _("Compare after, {unit}").format(unit=units[unit]), 0.0, value=first or 1.0, key=key,
        persist_state="session", format="%g",
        help=_("Long enough for events to happen, and no longer than most patients were watched."),
    )  # fmt: skip


def _start(held: Held, table: Table, chosen: Roles | None, horizon: float, stated: bool) -> None:
    """Check the table against the roles, and begin; what cannot be compared is said in one sentence."""
    from medai_core.tabular.survival_metrics import check_arms
    from medai_core.tabular.trial import balance, make_trial

    st.session_state.pop(REFUSED, None)
    try:
        if chosen is None:
            raise InputError("Choose the columns of treatment, time and event first.")
        trial = make_trial(table, chosen, randomised=stated)
        check_arms(trial.time, trial.event, trial.arm, horizon)
        st.session_state[BALANCE] = balance(trial)
    except MedAIError as error:
        st.session_state[REFUSED] = error
        return
    if fit := st.session_state.get(FIT):
        fit.stop()
    key = hashlib.sha256(repr((held.digest, chosen, horizon)).encode()).hexdigest()[:12]
    st.session_state[FIT] = Fit(key, trial, horizon).start()


# --------------------------------------------------------------------------------------------------- the work


def _result(fit: Fit) -> Compared | None:
    if found := st.session_state.get(BALANCE):
        words, icon = plain(tell(found.message)), "warning" if found.suspect else "balance"
        (st.warning if found.suspect else st.caption)(f":material/{icon}: {words}")
    for note in fit.trial.notes:
        st.caption(plain(tell(note)))
    if fit.state == "running":
        st.fragment(_progress, run_every=LOOK_SECONDS)(fit)
    elif fit.state == "stopped":
        st.info(
            _("Stopped. Nothing was kept of the work; start again whenever you like."), icon=":material/stop_circle:"
        )
    elif fit.state == "failed":
        problem(fit.failure)
    elif fit.model is not None:
        return Compared(fit.key, fit.model, False)
    return None


def _progress(fit: Fit) -> None:
    """Show how far the work is, with a way to stop it."""
    if fit.state != "running":
        st.rerun()
    names = {
        COMPARING: _("Comparing survival models by cross-validation"),
        CHOOSING: _("Measuring what choosing for each patient is worth"),
        RESAMPLING: _("Refitting on resampled patients, for the intervals"),
    }
    left = "" if fit.seconds_left is None else " · " + _("about {s} s left").format(s=f"{fit.seconds_left:.0f}")
    words = _("Another training is under way; this one waits for it") if fit.waiting else names[fit.part] + left
    st.progress(fit.share, text=words)
    st.button(_("Stop"), icon=":material/stop:", key="treat_stop", on_click=fit.stop)
