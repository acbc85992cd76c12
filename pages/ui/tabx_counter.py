"""The smallest changes within plausible ranges that would flip an answer, with columns that must stay."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pandas as pd
import streamlit as st

from medai_core.errors import InputError, MedAIError
from pages.ui import tabx_loaders
from pages.ui.frame import problem
from pages.ui.language import _
from pages.ui.tab_words import number
from pages.ui.tabx_state import View, keep_edits
from pages.ui.tabx_words import label_text, value_text
from pages.ui.words import percent, plain

if TYPE_CHECKING:
    from medai_core.tabular.counterfactual import Counterfactual, Goal

LIMITS = "tabx_limits"
UNCHANGEABLE = re.compile(r"\b(age|sex|gender|birth|race|ethnicity|history|smoker|id)\b", re.IGNORECASE)
MOST_CHANGES = 4


def counter_panel(view: View) -> None:
    """Ask what counts as flipped and what must stay, and show the smallest changes of the recorded patient."""
    st.caption(
        _("Searched from the patient as recorded, within what was usual in training (1st to 99th percentile). A change "
          "that flips the model's answer is not a change that would help the patient.")
    )  # fmt: skip
    asked = goal(view)
    locked = locks(view)
    ranges = limits(view, locked)
    if asked is None:
        st.info(_("Choose another label than the one the patient has now."), icon=":material/flag:")
        return
    try:
        with st.spinner(_("Searching for the smallest changes")):
            found = tabx_loaders.flips(view, asked, locked, ranges, MOST_CHANGES)
    except MedAIError as error:
        problem(error)
        return
    if not found:
        st.info(_("Nothing within these limits flips the answer, changing up to {n} values.").format(n=MOST_CHANGES),
                icon=":material/block:")  # fmt: skip
        return
    for place, (column, one) in enumerate(zip(st.columns(len(found)), found, strict=True)):
        with column, st.container(border=True, height="stretch"):
            card(view, one, place)


def goal(view: View) -> Goal | None:
    """Ask for the label wanted and its probability, or for the value to be passed; None where it is so already."""
    from medai_core.tabular.counterfactual import Goal

    now = tabx_loaders.prediction(view.before)
    if now.value is not None:
        wanted = st.number_input(
            _("Value to be passed"), value=float(f"{1.1 * now.value:.3g}"), format="%.6g", width=280,
            key=f"tabx_goal_{view.patients.key}_{view.row}",
        )  # fmt: skip
        return Goal(None, float(wanted))
    others = [label for label in view.model.labels if label != now.label]
    others.sort(key=lambda label: -now.probabilities[label])
    with st.container(horizontal=True, vertical_alignment="bottom", gap="large"):
        label = others[0]
        if len(others) > 1:
            label = st.selectbox(
                _("Label wanted"), others, format_func=lambda name: label_text(view.model, name), width=240,
                key=f"tabx_goal_{view.patients.key}_{view.row}",
            )  # fmt: skip
        else:
            st.markdown(_("Label wanted: {label}").format(label=f"**{plain(label_text(view.model, label))}**"))
        if len(view.model.labels) > 2:
            return Goal(label)
        share = st.slider(
            _("Probability to reach"), 5, 95, 50, 5, format="%d%%", width=280, persist_state="session",
            key=f"tabx_goal_share_{view.key}",
        )  # fmt: skip
    return None if now.probabilities[label] >= share / 100 else Goal(label, share / 100)


def locks(view: View) -> tuple[str, ...]:
    """Ask which columns must stay; those that nobody can change are proposed."""
    names = list(view.model.encoder.names)
    first = [name for name in names if UNCHANGEABLE.search(name.replace("_", " "))]
    return tuple(
        st.multiselect(
            _("Columns that must stay as they are"), names, default=first, key=f"tabx_locked_{view.key}",
            persist_state="session", placeholder=_("None: every column may change"),
        )
    )  # fmt: skip


def limits(view: View, locked: tuple[str, ...]) -> tuple[tuple[str, float, float], ...]:
    """Let the visitor set other limits than the plausible ones; return those that differ."""
    free = [f for f in view.features if f.name not in locked and not f.levels]
    if not free:
        return ()
    kept = st.session_state.setdefault(LIMITS, {})
    with st.expander(_("Limits of each column"), icon=":material/straighten:"):
        own = kept.get(view.key, {})
        rows = pd.DataFrame(
            {
                "name": [f"{f.name}, {f.unit}" if f.unit else f.name for f in free],
                "low": [own.get(f.name, (f.plausible_low, 0))[0] for f in free],
                "high": [own.get(f.name, (0, f.plausible_high))[1] for f in free],
            }
        )
        edited = st.data_editor(
            rows, hide_index=True, key=f"tabx_limits_{view.key}_{len(free)}_{hash(tuple(sorted(own.items())))}",
            disabled=["name"], height=min(38 + 35 * len(rows), 320),
            column_config={
                "name": st.column_config.TextColumn(_("Column")),
                "low": st.column_config.NumberColumn(_("From"), required=True, format="%.6g"),
                "high": st.column_config.NumberColumn(_("To"), required=True, format="%.6g"),
            },
        )  # fmt: skip
    found = {}
    for feature, low, high in zip(free, edited["low"].astype(float), edited["high"].astype(float), strict=True):
        if low > high:
            problem(InputError("The range of {column} must begin below its end, got {low:g} to {high:g}.",
                               column=feature.name, low=low, high=high))  # fmt: skip
        elif (low, high) != (feature.plausible_low, feature.plausible_high):
            found[feature.name] = (low, high)
    if found != {name: ends for name, ends in own.items() if name in {f.name for f in free}}:
        kept[view.key] = {**{n: e for n, e in own.items() if n in locked}, **found}
    return tuple((name, low, high) for name, (low, high) in sorted(found.items()))


def card(view: View, one: Counterfactual, place: int) -> None:
    """Show one way to flip the answer, and let the visitor take it over."""
    known = {feature.name: feature for feature in view.features}
    show = (lambda v: number(v)) if view.model.task == "number" else (lambda v: percent(v))
    st.markdown(f"**{plain(show(one.answer_before))} → {plain(show(one.answer_after))}**")
    for change in one.changes:
        before, after = (value_text(known[change.name], value) for value in (change.before, change.after))
        st.markdown(f"{plain(change.name)}: {plain(before)} → **{plain(after)}**")
    st.button(
        _("Try these changes"), icon=":material/edit:", key=f"tabx_take_{place}", on_click=keep_edits,
        args=(view, {change.name: change.after for change in one.changes}),
    )  # fmt: skip
