"""Administration: people, storage, models and how often they are overruled, queue, failures, audit, back-ups."""

from __future__ import annotations

import streamlit as st

from medai_core.cases.access import Action, User, allowed
from pages.ui import case_admin, case_audit, case_end, case_kit
from pages.ui.frame import page
from pages.ui.language import _
from pages.ui.signin import current_user

REFRESH_SECONDS = 10.0


def main() -> None:
    page(_("Administration"), _("People, storage, models, queue and events. No patient is named here."))
    case_kit.case_styles()
    user = current_user()
    with case_kit.answered():
        found = case_admin.state()
    case_admin.key_warning(found)
    st.fragment(live, run_every=REFRESH_SECONDS)()
    names = [_("Models"), _("Failures"), _("People"), _("Audit log"), _("Set-up and back-up"), _("Forget a case")]
    models, failures, people, audit, set_up, forget = st.tabs(names, key="admin_tabs", on_change="rerun")
    with models:
        st.subheader(_("What readers made of the models"), anchor=False)
        case_admin.versions(found.versions)
    with failures:
        case_admin.failures(found.failures, found.failed)
    with people:
        case_admin.people(found.users)
    if audit.open and allowed(user, Action.AUDIT):
        with audit:
            case_audit.log()
    with set_up:
        left, right = st.columns(2, gap="large")
        with left:
            st.subheader(_("Set-up"), anchor=False)
            case_admin.set_up(found)
        with right:
            st.subheader(_("Back-up"), anchor=False)
            case_admin.backups()
    with forget:
        forgetting(user)


def live() -> None:
    """Show the figures; a fragment that comes back by itself."""
    with case_kit.answered():
        case_admin.figures(case_admin.state())


def forgetting(user: User) -> None:
    """Forget a case by its id: those who run the workspace need not see into it."""
    if not allowed(user, Action.FORGET):
        return
    case_end.gone()
    st.write(_("Removes all files, readings, reviews and reports of a case for good; the events in the log stay."))
    text = st.text_input(
        _("Id of the case, or the address of its page"), key="admin_forget", width=420, max_chars=400
    ).strip()
    case_id = text.partition("case=")[2].partition("&")[0] or text
    if case_id:
        case_end.forget_form(case_id)


main()
