"""Forgetting a case: what it means, and a confirmation that says so."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from medai_core.errors import MedAIError
from pages.ui import case_look
from pages.ui.case_kit import LIST_PAGE, refused, workspace
from pages.ui.frame import bullets
from pages.ui.language import _
from pages.ui.signin import current_user

if TYPE_CHECKING:
    from medai_core.cases.answers import Case

GONE = "case_gone"


def reason_words(reason: str) -> str:
    """Return the words for why a case is forgotten."""
    return {
        "request": _("The patient asks for it"),
        "retention": _("Its time of keeping is over"),
        "error": _("It came here by mistake"),
        "test": _("It was a test"),
    }[reason]


def forgetting(case: Case) -> None:
    """Say what forgetting does, and offer it."""
    studies = len(case.studies)
    files = sum(len(study.objects) for study in case.studies)
    reviews = sum(len(study.reviews) for study in case.studies)
    st.write(_("Forgetting this case removes, for everybody and for good:"))
    bullets(
        [
            _("studies: {studies}, files: {files}, and all the models said of them").format(
                studies=studies, files=files
            ),
            _("readings by people: {reviews}, and every report made here").format(reviews=reviews),
            _("the patient's name and numbers"),
        ]
    )
    st.caption(
        _(
            "What stays: the events in the audit log, which name nobody, and that the case was forgotten, by whom and "
            "why. Back-ups made before still hold it until they are replaced; files already exported are not reached."
        )
    )
    forget_form(case.case_id)


def forget_form(case_id: str) -> None:
    """Show the reason, the confirmation and the button."""
    from medai_core.cases.admin import REASONS

    reason = st.selectbox(
        _("Why"), REASONS, format_func=reason_words, index=None, key=f"case_forget_reason_{case_id}", width=360,
        filter_mode=None,
    )  # fmt: skip
    sure = st.checkbox(_("I know that this cannot be undone."), key=f"case_forget_sure_{case_id}")
    st.button(
        _("Forget this case"), icon=":material/delete_forever:", type="primary", disabled=not (sure and reason),
        key=f"case_forget_{case_id}", on_click=_forget, args=(case_id, reason),
    )  # fmt: skip


def _forget(case_id: str, reason: str) -> None:
    try:
        workspace().forget(current_user(), case_id, reason)
    except MedAIError as error:
        st.session_state[GONE] = error
        return
    case_look.forget()
    st.session_state[GONE] = case_id


def gone() -> bool:
    """Say that a case was forgotten just now, or why it was not; return whether it was."""
    found = st.session_state.pop(GONE, None)
    if isinstance(found, MedAIError):
        refused(found)
        return False
    if found is None:
        return False
    st.success(_("The case is forgotten. Its files and what was read in them are removed."), icon=":material/check:")
    st.page_link(LIST_PAGE, label=_("Back to the worklist"), icon=":material/arrow_back:")
    return True
