"""What leaves the workspace from a case: each file is made when its button is pressed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import streamlit as st

from medai_core.cases.access import Action, User, allowed
from medai_core.errors import MedAIError
from pages.ui.case_kit import moment, refused, workspace
from pages.ui.language import _, tell
from pages.ui.words import plain

if TYPE_CHECKING:
    from medai_core.cases.answers import Case, Export, Study

MIMES = {
    "pdf": ("application/pdf", "pdf"), "sr": ("application/dicom", "dcm"), "capture": ("application/dicom", "dcm"),
    "fhir": ("application/fhir+json", "json"), "json": ("application/json", "json"),
}  # fmt: skip


@dataclass(eq=False)
class Making:
    """One export: made in a thread of the server once its button is pressed, while the page goes on.

    Attributes
    ----------
    finished : dict
        Of the session: what was made last for each button, so that the page can say what became of it.
    told : bool
        Whether the page has.
    """

    user: User
    study_id: str
    kind: str
    identified: bool
    finished: dict[str, Making]
    made: Export | None = None
    error: MedAIError | None = None
    told: bool = False

    @property
    def key(self) -> str:
        """What its button is called by."""
        return f"case_export_{self.kind}_{self.identified}_{self.study_id}"

    def __call__(self) -> bytes:
        try:
            self.made = workspace().export(self.user, self.study_id, self.kind, identified=self.identified)
            return self.made.data
        except MedAIError as error:
            self.error = error
            raise
        finally:
            self.finished[self.key] = self


def finished() -> dict[str, Making]:
    """Return what was made in this session, by button."""
    return st.session_state.setdefault("case_exports", {})


def news() -> bool:
    """Whether something was made, or could not be, that the page has not told of."""
    return any(not one.told for one in finished().values())


def kind_words(kind: str) -> tuple[str, str, str]:
    """Return name, icon and purpose of an export."""
    return {
        "pdf": (_("PDF report"), "picture_as_pdf", _("One document to read and to print.")),
        "sr": (_("DICOM report (SR)"), "clinical_notes", _("Coded findings for an archive, by TID 1500.")),
        "capture": (_("DICOM picture"), "image", _("The picture with the heat map, for an archive.")),
        "fhir": (_("FHIR bundle"), "share", _("DiagnosticReport, Observation and RiskAssessment, release 4.")),
        "json": (_("JSON report"), "data_object", _("The same to compute with.")),
        "dicom": (_("The files"), "folder_zip", _("As they arrived, without what identifies the patient.")),
    }[kind]


def exports(case: Case, study: Study, user: User) -> None:
    """Offer the exports of a study, and those made before."""
    identified = False
    if allowed(user, Action.EXPORT_IDENTIFIED):
        identified = st.toggle(
            _("With the patient's identity"), key=f"case_identified_{study.study_id}",
            help=_("Otherwise without all that identifies the patient, and with dates moved. Both are logged."),
        )  # fmt: skip
    if identified:
        st.warning(_("The files will name the patient. Who took them out, and when, is kept."), icon=":material/badge:")
    kinds = [kind for kind in (*MIMES, "dicom") if kind != "capture" or study.kind == "scan"]
    if study.withheld:
        st.caption(_("Reports hold the model's answer: they can be made once you have committed your own reading."))
        kinds = ["dicom"]
    for start in range(0, len(kinds), 3):
        for column, kind in zip(st.columns(3), kinds[start : start + 3], strict=False):
            with column, st.container(border=True, height="stretch", vertical_alignment="distribute"):
                offer(case, study, user, kind, identified)
    made_before(study)


def offer(case: Case, study: Study, user: User, kind: str, identified: bool) -> None:
    """Show one export with its button, and what became of it when it was pressed."""
    name, icon, words = kind_words(kind)
    with st.container(gap="xsmall"):
        st.markdown(f":material/{icon}: **{name}**")
        st.caption(_("As they arrived.") if kind == "dicom" and identified else words)
    mime, ending = MIMES.get(kind) or _of_files(study)
    making = Making(user, study.study_id, kind, identified, finished())
    # No run of the page on the click: it would put other callables in the place of the one that is asked for.
    st.download_button(
        _("Download"), making, file_name=f"{case.pseudonym}-{study.study_id[:8]}-{kind}.{ending}", mime=mime,
        key=making.key, icon=":material/download:", width="stretch", on_click="ignore",
    )  # fmt: skip
    last = finished().get(making.key)
    if last is not None:
        outcome(last)


def outcome(last: Making) -> None:
    """Say what became of an export that was asked for."""
    last.told = True
    if last.error is not None:
        refused(last.error)
    elif last.made is not None:
        st.caption(f":material/check: {_('Made, and kept in the log.')}")
        for warning in last.made.warnings:
            st.warning(plain(tell(warning)), icon=":material/visibility:")


def _of_files(study: Study) -> tuple[str, str]:
    """Media type and ending of a study's files: one as it is, several as an archive."""
    if len(study.objects) != 1:
        return "application/zip", "zip"
    known = {"DICOM": ("application/dicom", "dcm"), "PNG": ("image/png", "png"), "JPEG": ("image/jpeg", "jpg")}
    known |= {"stay": ("text/csv", "csv"), "row": ("text/csv", "csv"), "TIFF": ("image/tiff", "tiff")}
    known |= {"WebP": ("image/webp", "webp"), "NIfTI": ("application/octet-stream", "nii")}
    return known.get(study.objects[0].format, ("application/octet-stream", "bin"))


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
            _("By"): [one.by.partition("@")[0] for one in reversed(study.reports)],
        },
        hide_index=True, key=f"case_reports_{study.study_id}", height=min(38 + 35 * len(study.reports), 220),
        alt=_("Reports made before"),
    )  # fmt: skip
