"""What to predict from what, with which models, under which name: everything chosen before a training."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import streamlit as st

from medai_core.errors import InputError
from pages.ui import tab_models, tabtrain_run
from pages.ui.frame import problem
from pages.ui.language import _, tell
from pages.ui.tab_words import duration, family_name, task_name
from pages.ui.tabtrain_table import Opened, faults, opened
from pages.ui.words import plain

if TYPE_CHECKING:
    from medai_core.tabular.leaks import Finding
    from medai_core.tabular.problem import Plan, Problem

PREPARED, WANTED = "tabtrain_prepared", "tabtrain_wanted"
KEEP = {"persist_state": "session"}


@dataclass(frozen=True, eq=False)
class Prepared:
    """The last plan that was checked against its table, and what came of it."""

    key: str
    plan: Plan
    outcome: Problem | InputError


def panel() -> None:
    """Show the choices; without a table say where to begin."""
    found = opened()
    if found is None:
        st.info(_("Open a table first, on the tab before this one."), icon=":material/table:")
        return
    target = ask_target(found)
    if target is None:
        st.caption(_("Choose the column that holds the outcome."))
        return
    left, right = st.columns(2, gap="medium")
    with left:
        plan, findings = ask_task(found, target)
    if plan is None:
        return
    with right:
        plan = ask_group(found, plan)
    shown = [one for one in findings if one not in found.findings] or findings_of(findings)
    if shown or not findings:  # what was found without a target stands beside the table
        faults(shown)
    plan = ask_columns(found, plan, findings)
    families = ask_families(plan)
    ready(found, plan, families)


def findings_of(findings: list[Finding]) -> list[Finding]:
    """Return what belongs to the target: the rest stands beside the table."""
    return [one for one in findings if one.kind in ("answer", "strong", "answer_missing", "repeated_patients")]


def ask_target(found: Opened) -> str | None:
    """Ask for the column to predict."""
    usable = [c.name for c in found.table.columns if c.distinct > 1 and c.kind in ("number", "category")]
    place = usable.index(found.target) if found.target in usable else None
    return st.selectbox(
        _("Column to predict"), usable, index=place, placeholder=_("Choose a column"), width=420,
        key=f"tabtrain_target_{found.key}", **KEEP,
    )  # fmt: skip


def ask_task(found: Opened, target: str) -> tuple[Plan | None, list[Finding]]:
    """Ask what kind of outcome it is, and what else that kind needs."""
    from medai_core.tabular.problem import BINARY, SURVIVAL

    proposed, findings = found.proposed(target, None)
    event_known = found.event if target == found.target else None
    task = st.segmented_control(
        _("Task"), possible_tasks(found, target), format_func=task_name, required=True,
        default=SURVIVAL if event_known else proposed.task, key=f"tabtrain_task_{found.key}_{target}", **KEEP,
    )  # fmt: skip
    if task == SURVIVAL:
        return ask_event(found, target)
    plan = replace(proposed, task=task)
    if task == BINARY:
        labels = list(found.table[target].levels)
        positive = st.selectbox(
            _("Outcome whose probability is given"), labels, key=f"tabtrain_positive_{found.key}_{target}",
            index=labels.index(plan.positive) if plan.positive in labels else 0, **KEEP,
        )  # fmt: skip
        return replace(plan, positive=positive), findings
    return replace(plan, positive=None), findings


def possible_tasks(found: Opened, target: str) -> list[str]:
    """Return the tasks that the values of a column allow."""
    from medai_core.tabular.problem import BINARY, CLASSES, MOST_CLASSES, SURVIVAL, VALUE

    column = found.table[target]
    number = column.kind == "number"
    allowed = {
        BINARY: column.distinct == 2,
        CLASSES: 2 < column.distinct <= MOST_CLASSES,
        VALUE: number and column.distinct > 2,
        SURVIVAL: number and column.distinct > 2 and bool(events(found, target)),
    }
    return [task for task, yes in allowed.items() if yes] or [CLASSES]


def events(found: Opened, target: str) -> list[str]:
    """Return the columns that may say whether the event was seen."""
    return [c.name for c in found.table.columns if c.distinct == 2 and c.name != target and c.levels]


def ask_event(found: Opened, target: str) -> tuple[Plan | None, list[Finding]]:
    """Ask for the column of the event, and for the value that says it was seen."""
    from medai_core.tabular.problem import positive_of

    columns = events(found, target)
    event = st.selectbox(
        _("Column that says whether the event was seen"), columns, placeholder=_("Choose a column"),
        index=columns.index(found.event) if found.event in columns else None,
        key=f"tabtrain_event_{found.key}_{target}", **KEEP,
    )  # fmt: skip
    if event is None:
        st.caption(_("Times of patients who were not seen to have the event count as longer than watched."))
        return None, []
    plan, findings = found.proposed(target, event)
    levels = list(found.table[event].levels)
    seen = st.selectbox(
        _("Value that means it was seen"), levels, index=levels.index(positive_of(found.table[event])),
        key=f"tabtrain_seen_{found.key}_{event}", **KEEP,
    )  # fmt: skip
    return replace(plan, positive=seen), findings


def ask_group(found: Opened, plan: Plan) -> Plan:
    """Ask which rows are of one patient, and by which columns figures are broken down."""
    from medai_core.tabular.problem import group_candidates

    table, taken = found.table, (plan.target, plan.event)
    likely = [name for name in group_candidates(table) if name not in taken]
    rest = [
        c.name for c in table.columns if c.kind in ("category", "text", "number") and c.name not in (*taken, *likely)
    ]
    choices = [None, *likely, *rest]
    group = st.selectbox(
        _("Column that names the patient"), choices, index=choices.index(plan.group),
        format_func=lambda name: _("none: every row is another patient") if name is None else name,
        key=f"tabtrain_group_{found.key}_{plan.target}", **KEEP,
        help=_("Rows of one patient stay on the same side of every split."),
    )  # fmt: skip
    usable = [
        c.name for c in table.columns if c.kind in ("category", "number") and c.name not in taken and c.distinct > 1
    ]
    subgroups = st.multiselect(
        _("Break figures down by"), usable, max_selections=8,
        default=[name for name in plan.subgroups if name in usable],
        key=f"tabtrain_subgroups_{found.key}_{plan.target}", **KEEP,
    )  # fmt: skip
    return replace(plan, group=group, subgroups=tuple(subgroups))


def ask_columns(found: Opened, plan: Plan, findings: list[Finding]) -> Plan:
    """Ask which columns are left out; those with a fault are, unless the visitor takes them in again."""
    taken = (plan.target, plan.event, plan.group)
    usable = [c.name for c in found.table.columns if c.kind in ("category", "number") and c.name not in taken]
    out = st.multiselect(
        _("Columns left out"), usable, default=[name for name in usable if name not in plan.features],
        key=f"tabtrain_out_{found.key}_{plan.target}_{plan.event}_{plan.group}", **KEEP,
        help=_("Leave out what is known only after the outcome."), placeholder=_("none"),
    )  # fmt: skip
    plan = replace(plan, features=tuple(name for name in usable if name not in out))
    for one in findings:
        if one.exclude and one.column in plan.features:
            st.warning(f"{_('Taken in although:')} {plain(tell(one.message))}", icon=":material/warning:")
    st.caption(_("{n} columns are used to predict.").format(n=len(plan.features)))
    return plan


def ask_families(plan: Plan) -> list[str]:
    """Ask which models are compared."""
    from medai_core.tabular.models import families_for

    families = families_for(plan.task)
    return st.pills(
        _("Models to compare"), families, selection_mode="multi", default=list(families),
        format_func=lambda family: family_name(family, plan.task), key=f"tabtrain_families_{plan.task}", **KEEP,
    )  # fmt: skip


def ready(found: Opened, plan: Plan, families: list[str]) -> None:
    """Say how long it will take, and start; or say in one sentence what is in the way."""
    from medai_core.tabular.compare import default_folds, estimate

    prepared = checked(found, plan)
    left, right = st.columns([3, 2], gap="medium", vertical_alignment="bottom")
    with left:
        title = st.text_input(
            _("Name of the model"), f"{plan.target} · {found.name}"[:80], max_chars=80,
            key=f"tabtrain_name_{found.key}_{plan.target}", **KEEP,
        )  # fmt: skip
    bad = isinstance(prepared, InputError)
    with right:
        st.button(
            _("Train and compare"), type="primary", icon=":material/play_arrow:", key="tabtrain_start",
            disabled=bad or not families, width="stretch", on_click=_wanted,
        )  # fmt: skip
    if bad or not families:
        st.session_state.pop(WANTED, None)
    if bad:
        problem(prepared)
        return
    for note in prepared.notes:
        st.caption(f":material/info: {plain(tell(note))}")
    if not families:
        st.caption(_("Choose at least one model."))
        return
    words = _(
        "{rows} rows, {folds}-fold cross-validation. About {time}; it can be stopped, and what is complete stays."
    )
    time = duration(estimate(prepared, families))
    st.caption(words.format(rows=f"{len(prepared.y):,}", folds=default_folds(prepared), time=time))
    if st.session_state.get(WANTED):
        del st.session_state[WANTED]
        start(found, prepared, families, title)


def _wanted() -> None:
    # Only noted: a click that comes while the page is still being drawn must not be lost, nor meet older choices.
    st.session_state[WANTED] = True


def start(found: Opened, prepared: Problem, families: list[str], title: str) -> None:
    """Begin the training."""
    try:
        tab_models.check_room()
    except InputError as error:
        problem(error)
        return
    tabtrain_run.begin(prepared, found.table, tuple(families), title.strip() or found.name)
    st.rerun()


def checked(found: Opened, plan: Plan) -> Problem | InputError:
    """Return what models would be fitted on, or what is in the way; the last plan's is kept."""
    from medai_core.tabular.problem import prepare

    last: Prepared | None = st.session_state.get(PREPARED)
    if last is not None and (last.key, last.plan) == (found.key, plan):
        return last.outcome
    outcome: Problem | InputError
    try:
        outcome = prepare(found.table, plan)
    except InputError as error:
        outcome = error
    st.session_state[PREPARED] = Prepared(found.key, plan, outcome)
    return outcome
