"""Whose case it is, who else is there, and which of its studies is looked at."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from medai_core.cases.access import Action, User, allowed
from medai_core.errors import Conflict, MedAIError
from pages.ui import case_kit
from pages.ui.case_kit import LIST_PAGE, STATUS_COLOURS, age, person, refused, status_name, study_title, workspace
from pages.ui.case_timeline import CURRENT
from pages.ui.language import _
from pages.ui.words import plain

if TYPE_CHECKING:
    from medai_core.cases.answers import Case, Study

PRIOR, PRIOR_OF, WRITTEN = "case_prior", "case_prior_of", "case_written"
NONE = ""
FAILURE = "case_failure"


def top_bar(back: dict[str, str]) -> bool:
    """Show the way back and the switch of who reads first; return the switch."""
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        st.page_link(LIST_PAGE, label=_("Back to the worklist"), icon=":material/arrow_back:", query_params=back)
        return case_kit.read_first_switch("read_first_case")


def who(case: Case) -> None:
    """Show whose case it is, as far as this user may know."""
    with st.container(key="case_head", gap="xsmall"):
        known = case.identity
        st.header(plain(known.name or known.patient_id or case.pseudonym) if known else case.pseudonym, anchor=False)
        parts = []
        if known is not None:
            sexes = {"F": _("female"), "M": _("male"), "O": _("other")}
            parts = [
                known.patient_id and f"{_('Patient number')} {known.patient_id}",
                known.birth_date and f"{_('born')} {known.birth_date.isoformat()}",
                sexes.get(known.sex, ""),
                case.pseudonym if known.name or known.patient_id else "",
            ]
        if case.group != "default":
            parts.append(f"{_('Department')} {case.group}")
        st.caption(" · ".join(plain(str(part)) for part in parts if part))


def others(case: Case, user: User) -> None:
    """Say who else has the case open."""
    with case_kit.answered():
        found = workspace().here(user, case.case_id)
    if found:
        names = ", ".join(plain(one.name) for one in found)
        st.info(_("Here now: {names}").format(names=f"**{names}**"), icon=":material/group:")


def choose(case: Case) -> tuple[Study, Study | None]:
    """Show which study is looked at and which beside it, and keep both in the address."""
    known = {study.study_id: study for study in case.studies}
    state, asked = st.session_state, st.query_params.get("study", "")
    if state.get(CURRENT) not in known or state.get(WRITTEN) != (case.case_id, asked):  # a link, or another case
        state[CURRENT] = asked if asked in known else case.studies[0].study_id
        state[PRIOR] = st.query_params.get("beside", NONE)
        state[PRIOR_OF] = state[CURRENT] if "beside" in st.query_params else None
    if state.get(PRIOR_OF) != state[CURRENT]:
        state[PRIOR], state[PRIOR_OF] = prior_of(case, known[state[CURRENT]]), state[CURRENT]
    if state.get(PRIOR) not in known or state[PRIOR] == state[CURRENT]:
        state[PRIOR] = NONE
    if len(known) > 1:
        selectors(case, known)
    current, prior = known[st.session_state[CURRENT]], known.get(st.session_state[PRIOR])
    if asked != current.study_id:
        st.query_params["study"] = current.study_id
    state[WRITTEN] = (case.case_id, current.study_id)
    if st.query_params.get("beside", NONE) != state[PRIOR]:
        st.query_params["beside"] = state[PRIOR]
    return current, prior


def prior_of(case: Case, current: Study) -> str:
    """Return the id of the scan before a scan, made by the same kind of device; empty where there is none."""
    later = [study.study_id for study in case.studies].index(current.study_id) + 1
    same = (one for one in case.studies[later:] if (one.kind, one.modality) == ("scan", current.modality))
    found = next(same, None) if current.kind == "scan" else None
    return found.study_id if found is not None else NONE


def selectors(case: Case, known: dict[str, Study]) -> None:
    """Show the two lists, of the current study and of what stands beside it."""
    left, right = st.columns(2, gap="medium")
    with left:
        st.selectbox(
            _("Study"), list(known), format_func=lambda one: study_title(known[one]), key=CURRENT, filter_mode=None
        )
    rest = [one for one in known if one != st.session_state[CURRENT]]
    with right:
        st.selectbox(
            _("Beside it"), [NONE, *rest], key=PRIOR, filter_mode=None,
            format_func=lambda one: study_title(known[one]) if one else _("Nothing"),
            help=_("An earlier study of the same patient, to compare with."),
        )  # fmt: skip


def standing(study: Study, user: User) -> None:
    """Show where a study stands and to whom it is assigned, with the buttons that change that."""
    with st.container(horizontal=True, vertical_alignment="center", key=f"case_standing_{study.study_id[:8]}"):
        st.badge(status_name(study.status), color=STATUS_COLOURS[study.status], icon=_icon(study.status))
        arrived = case_kit.moment(study.arrived)
        if not case_kit.month_only(study.arrived):
            arrived += f" ({age((workspace().store.now() - study.arrived).total_seconds())})"
        assigned = plain(person(study.assignee, study.assignee_name, user))
        st.caption(_("Arrived {at} · assigned to {who}").format(at=arrived, who=f"**{assigned}**"))
        if allowed(user, Action.ASSIGN):
            me = study.assignee == user.subject
            st.button(
                _("Release") if me else _("Assign to me"), key=f"case_assign_{study.study_id}",
                icon=":material/person_remove:" if me else ":material/person_add:", on_click=_assign,
                args=(study, None if me else user.subject, user),
            )  # fmt: skip
    failure = st.session_state.pop(FAILURE, None)
    if isinstance(failure, Conflict):
        st.info(_("Somebody else was quicker: this is how the study stands now."), icon=":material/sync_problem:")
    elif failure is not None:
        refused(failure)


def _icon(status: str) -> str:
    icons = {"new": "fiber_new", "reading": "visibility", "done": "check_circle", "refused": "block"}
    return f":material/{icons[status]}:"


def _assign(study: Study, subject: str | None, user: User) -> None:
    from pages.ui.case_review import desk

    at = desk(study)
    try:
        version = workspace().assign(user, study.study_id, subject, study.version)
    except MedAIError as error:
        st.session_state[FAILURE] = error
        return
    if at.base == study.version:  # the reader's own doing is no change behind their back
        at.base = version
