"""Sending a report of a study to a PACS."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import streamlit as st

from medai_core.cases.access import Action, User, allowed
from medai_core.errors import MedAIError
from pages.ui.case_kit import moment, read_first, refused, workspace
from pages.ui.language import _
from pages.ui.words import plain

if TYPE_CHECKING:
    from medai_core.cases.answers import Study
    from medai_core.cases.send import Sent

LAST, ROUND = "case_sent_last", "case_sent_round"


@dataclass(frozen=True, eq=False)
class Outcome:
    """What became of the report that was sent last."""

    study_id: str
    sent: Sent | None = None
    error: MedAIError | None = None


def report_name(kind: str) -> str:
    """Return the word for a report that a PACS takes."""
    return {"sr": _("DICOM report (SR)"), "capture": _("DICOM picture")}[kind]


def place_name(place: str) -> str:
    """Return the word for a destination: a PACS by its application entity title, an archive by its host."""
    from medai_core.cases.send import DICOMWEB

    host = urlsplit(workspace().store.settings.dicomweb_url).hostname
    return f"{host} ({DICOMWEB})" if host and place == DICOMWEB else place


def send_panel(study: Study, user: User) -> None:
    """Offer to send a report, or say how a PACS is set up; nothing for those who may not name the patient."""
    from medai_core.cases.send import destinations

    if study.withheld or not allowed(user, Action.EXPORT_IDENTIFIED):
        return
    st.markdown(f"**{_('Send to a PACS')}**")
    places = destinations(workspace().store.settings)
    if not places:
        st.caption(
            _(
                "No PACS is set up here yet. Those who run MedAI name one in the setting MEDAI_DICOM_PEERS, as "
                "AET@host:port, or in MEDAI_DICOMWEB_URL; after a restart it can be chosen here."
            )
        )
    else:
        send_form(study, user, places)
    sent_before(study)


def send_form(study: Study, user: User, places: Sequence[str]) -> None:
    """Show what can be sent where."""
    from medai_core.cases.send import KINDS

    with st.container(border=True, key=f"case_send_{study.study_id}"):
        with st.container(horizontal=True, vertical_alignment="bottom"):
            kind = st.segmented_control(
                _("Report"), [kind for kind in KINDS if kind != "capture" or study.kind == "scan"], default=KINDS[0],
                format_func=report_name, required=True, key=f"case_send_kind_{study.study_id}",
            )  # fmt: skip
            place = st.selectbox(
                _("To"), places, format_func=place_name, key=f"case_send_to_{study.study_id}", width=300,
                filter_mode=None,
            )  # fmt: skip
            send_button(study, user, kind, place)
        st.caption(
            _("It names the patient, so that the PACS files it beside the images. Who sent it, and when, is kept.")
        )
        outcome(study)


def sent_before(study: Study) -> None:
    """List what was sent before, and whether it was taken."""
    if not study.sent:
        return
    newest = study.sent[::-1]
    st.dataframe(
        {
            _("When"): [moment(one.at) for one in newest],
            _("Report"): [report_name(one.kind) for one in newest],
            _("To"): [place_name(one.destination) for one in newest],
            _("Outcome"): [_("confirmed") if one.taken else _("not taken") for one in newest],
            _("By"): [one.by_name for one in newest],
        },
        hide_index=True, key=f"case_sent_{study.study_id}", height=min(38 + 35 * len(newest), 220),
        alt=_("Reports sent before"),
    )  # fmt: skip


def send_button(study: Study, user: User, kind: str, place: str) -> None:
    """Show the button that sends, and send when it is pressed."""
    # A button of its own for each round: a second click while the first one's report is under way sends nothing.
    number = st.session_state.get(ROUND, 0)
    if not st.button(
        _("Send"), type="primary", icon=":material/send:", key=f"case_send_button_{number}_{study.study_id}"
    ):
        return
    with st.spinner(_("Making the report, and sending it to {place}").format(place=plain(place_name(place)))):
        st.session_state[LAST] = send(study, user, kind, place)
        st.session_state[ROUND] = number + 1
    st.rerun()  # the list of the reports made before has one more


def send(study: Study, user: User, kind: str, place: str) -> Outcome:
    """Send a report, or find out why it cannot be sent."""
    from medai_core.cases.send import send_report

    try:
        sent = send_report(workspace(), user, study.study_id, kind, place, reveal=not read_first())
        return Outcome(study.study_id, sent)
    except MedAIError as error:
        return Outcome(study.study_id, error=error)


def outcome(study: Study) -> None:
    """Say what became of the last report of this study."""
    last: Outcome | None = st.session_state.get(LAST)
    if last is None or last.study_id != study.study_id:
        return
    if last.sent is None:
        refused(last.error)
        return
    words = _("Sent: {place} has confirmed that it has the {report}.")
    st.success(
        words.format(place=plain(place_name(last.sent.destination)), report=plain(report_name(last.sent.kind))),
        icon=":material/check_circle:",
    )
