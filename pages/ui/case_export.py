"""What leaves the workspace from a case: each file is made when its button is pressed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import streamlit as st

from medai_core.cases.access import Action, User, allowed
from medai_core.errors import MedAIError
from pages.ui import case_send
from pages.ui.case_kit import moment, read_first, refused, workspace
from pages.ui.language import _, tell
from pages.ui.words import plain

if TYPE_CHECKING:
    from medai_core.cases.answers import Export, Study

KINDS = ("pdf", "sr", "capture", "fhir", "json", "dicom")
LAST = "case_export_last"


@dataclass(frozen=True, eq=False)
class Made:
    """What became of the export that was asked for last; the session keeps no other."""

    key: str
    export: Export | None = None
    error: MedAIError | None = None


def kind_words(kind: str) -> tuple[str, str, str]:
    """Return name, icon and purpose of an export."""
    return {
        "pdf": (_("PDF report"), "picture_as_pdf", _("One document to read and to print.")),
        "sr": (case_send.report_name("sr"), "clinical_notes", _("Coded findings for an archive, by TID 1500.")),
        "capture": (case_send.report_name("capture"), "image", _("The picture with the heat map, for an archive.")),
        "fhir": (_("FHIR bundle"), "share", _("DiagnosticReport, Observation and RiskAssessment, release 4.")),
        "json": (_("JSON report"), "data_object", _("The same to compute with.")),
        "dicom": (_("The files"), "folder_zip", _("As they arrived, without what identifies the patient.")),
    }[kind]


@st.fragment
def exports(study: Study, user: User) -> None:
    """Offer the exports of a study, and list those made before; a fragment, so that making one redraws only this."""
    identified = False
    if allowed(user, Action.EXPORT_IDENTIFIED):
        identified = st.toggle(
            _("With the patient's identity"), key=f"case_identified_{study.study_id}",
            help=_("Otherwise without all that identifies the patient, and with dates moved. Both are logged."),
        )  # fmt: skip
    if identified:
        st.warning(_("The files will name the patient. Who took them out, and when, is kept."), icon=":material/badge:")
    kinds = [kind for kind in KINDS if kind != "capture" or study.kind == "scan"]
    if study.withheld:
        st.caption(_("Reports hold the model's answer: they can be made once you have committed your own reading."))
        kinds = ["dicom"]
    for start in range(0, len(kinds), 3):
        for column, kind in zip(st.columns(3), kinds[start : start + 3], strict=False):
            with column, st.container(border=True, height="stretch", vertical_alignment="distribute"):
                offer(study, user, kind, identified)
    case_send.send_panel(study, user)
    made_before(study)


def offer(study: Study, user: User, kind: str, identified: bool) -> None:
    """Show one export with the button that makes it, and what became of it."""
    name, icon, words = kind_words(kind)
    with st.container(gap="xsmall"):
        st.markdown(f":material/{icon}: **{name}**")
        st.caption(_("As they arrived.") if kind == "dicom" and identified else words)
    key = f"case_export_{kind}_{identified}_{study.study_id}"
    last: Made | None = st.session_state.get(LAST)
    if st.button(_("Make"), icon=":material/output:", width="stretch", key=key):
        with st.spinner(_("Writing the report")):
            last = st.session_state[LAST] = make(study, user, kind, identified, key)
    if last is not None and last.key == key:
        outcome(last)


def make(study: Study, user: User, kind: str, identified: bool, key: str) -> Made:
    """Make an export, or find out why it cannot be made."""
    try:
        # Asked anew: a model may have read the study since the page was drawn.
        reveal = not read_first()
        made = workspace().export(user, study.study_id, kind, identified=identified, reveal=reveal, translate=tell)
        return Made(key, made)
    except MedAIError as error:
        return Made(key, error=error)


def outcome(last: Made) -> None:
    """Say what a person should look at first, then offer the file; or say why there is none."""
    if last.export is None:
        refused(last.error)
        return
    for warning in last.export.warnings:
        st.warning(plain(tell(warning)), icon=":material/visibility:")
    st.download_button(
        _("Save the file"), last.export.data, file_name=last.export.name, mime=last.export.mime, type="primary",
        icon=":material/download:", on_click="ignore", width="stretch", key=f"{last.key}_save",
    )  # fmt: skip


def made_before(study: Study) -> None:
    """List the reports that were made of a study."""
    if not study.reports:
        return
    st.markdown(f"**{_('Made before')}**")
    yes, no = _("with identity"), _("without identity")
    st.dataframe(
        {
            _("When"): [moment(one.at) for one in reversed(study.reports)],
            _("Report"): [kind_words(one.kind)[0] for one in reversed(study.reports)],
            _("Identity"): [yes if one.identified else no for one in reversed(study.reports)],
            _("By"): [one.by_name for one in reversed(study.reports)],
        },
        hide_index=True, key=f"case_reports_{study.study_id}", height=min(38 + 35 * len(study.reports), 220),
        alt=_("Reports made before"),
    )  # fmt: skip
