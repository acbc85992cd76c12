"""The audit log: a page of it at a time, the check that nobody changed it, and the whole of it as CSV."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import streamlit as st

from medai_core.errors import MedAIError
from pages.ui.case_kit import answered, moment, refused, workspace
from pages.ui.language import _, tell
from pages.ui.signin import current_user
from pages.ui.words import plain

if TYPE_CHECKING:
    from medai_core.cases.access import User
    from medai_core.cases.audit import Verification

ROWS = 50
CHECKED = "audit_checked"


def action_names() -> dict[str, str]:
    """Return the words for what can have happened."""
    return {
        "received": _("received"), "turned away": _("turned away"), "read": _("read by a model"),
        "failed": _("not readable"), "viewed": _("viewed"), "saw readings": _("saw readings"), "opened": _("opened"),
        "assigned": _("assigned"), "reviewed": _("reviewed"), "exported": _("exported"), "forgot": _("forgotten"),
        "report sent": _("report sent to a PACS"), "report not sent": _("report not taken by a PACS"),
        "pacs searched": _("PACS searched"), "report came back": _("own report came back"),
        "refused": _("refused to a user"), "association refused": _("connection of a device refused"),
        "signed in": _("signed in"), "signed out": _("signed out"), "session ended": _("session ended"),
        "sign-in refused": _("sign-in not believed"), "backed up": _("backed up"), "restored": _("restored"),
        "verified audit": _("log checked"), "exported audit": _("log exported"),
    }  # fmt: skip


@st.fragment
def log() -> None:
    """Show the log with its check; a fragment, so that turning its pages redraws only this."""
    user = current_user()
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.button(
            _("Check the log"), icon=":material/verified_user:", type="primary", key="audit_verify", on_click=_check
        )
        st.download_button(
            _("Download CSV"), lambda: "".join(workspace().audit_csv(user)), file_name="medai-audit.csv",
            mime="text/csv", icon=":material/download:", on_click="ignore", key="audit_csv",
        )  # fmt: skip
        names = action_names()
        action = st.selectbox(
            _("Event"), [None, *names], format_func=lambda one: names[one] if one else _("All events"), width=220,
            key="audit_action", filter_mode=None,
        )  # fmt: skip
        about = st.text_input(
            _("About"), key="audit_object", width=300, max_chars=64,
            placeholder=_("Id of a case, study or file"),
        )  # fmt: skip
    checked()
    listed(user, action, about.strip() or None)


def listed(user: User, action: str | None, about: str | None) -> None:
    """Show a page of events, the newest first."""
    turned = f"audit_page_{action}_{about}"  # another question begins on its first page
    number = st.session_state.get(turned, 1) - 1
    place = st.container()
    with answered():
        found = workspace().events(user, page=number, size=ROWS, action=action, object_id=about)
    if not found.events:
        st.caption(_("No event fits."))
        return
    names = action_names()
    with place:
        st.dataframe(
            {
                _("No."): [one.seq for one in found.events],
                _("When"): [moment(one.at) for one in found.events],
                _("Who"): [one.actor for one in found.events],
                _("What"): [names.get(one.action, one.action) for one in found.events],
                _("About"): [one.object for one in found.events],
                _("Details"): [details(one.details) for one in found.events],
                _("Digest"): [one.digest for one in found.events],
            },
            hide_index=True, key="audit_events", height=420, alt=_("Audit log, the newest first"),
            column_config={_("No."): st.column_config.NumberColumn(width=64, pinned=True),
                           _("Digest"): st.column_config.TextColumn(width="small")},
        )  # fmt: skip
    pages = -(-found.total // ROWS)
    if pages > 1:
        st.pagination(pages, key=turned)
    st.caption(_("{n} events").format(n=f"{found.total:,}"))


def details(given: Mapping[str, Any]) -> str:
    """Return the details of an event as the log keeps them."""
    return json.dumps(given, ensure_ascii=False, sort_keys=True) if given else ""


def _check() -> None:
    try:
        st.session_state[CHECKED] = workspace().verify_audit(current_user())
    except MedAIError as error:
        st.session_state[CHECKED] = error


def checked() -> None:
    """Show what the check found."""
    found: Verification | MedAIError | None = st.session_state.get(CHECKED)
    if found is None:
        return
    if isinstance(found, MedAIError):
        refused(found)
        return
    if found.ok:
        words = _("The log is whole: {n} events, each follows the one before it, and none was changed.")
        st.success(words.format(n=f"{found.count:,}"), icon=":material/verified:")
    else:
        words = _("The log was tampered with, or is damaged:")
        st.error(
            "\n\n".join([f"**{words}**", *(plain(tell(one)) for one in found.problems)]), icon=":material/gpp_bad:"
        )
    st.caption(
        _("Digest of the last event. Keep it elsewhere: it proves later that nothing before it was changed or removed.")
    )
    st.html(f'<p class="medai-digest">{found.digest}</p>')
