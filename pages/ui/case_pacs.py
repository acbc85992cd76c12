"""Searching the PACS, and fetching studies from it into the worklist."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import TYPE_CHECKING

import streamlit as st

from medai_core.errors import MedAIError
from pages.ui import case_upload
from pages.ui.case_kit import refused, workspace
from pages.ui.language import _

if TYPE_CHECKING:
    from medai_core.cases.access import User
    from medai_core.cases.answers import Receipt
    from medai_core.cases.dicomweb import Query, RemoteStudy

FOUND, TABLE, BOX = "pacs_found", "pacs_table", "pacs_box"
MODALITIES = ("CR", "DX", "CT", "MR", "US", "MG", "NM", "PT", "XA")
MAX_CHARS = 64
ROW_PX, ROWS_SHOWN = 35, 8


@dataclass(frozen=True, eq=False)
class Found:
    """What the PACS answered to the last search, or why it did not."""

    studies: Sequence[RemoteStudy] = ()
    error: MedAIError | None = None


@dataclass(eq=False)
class Fetch(case_upload.Intake):
    """Studies on their way from the PACS into the workspace; what has a receipt is kept."""

    studies: Sequence[RemoteStudy] = ()

    @property
    def expected(self) -> int:
        """How many files the PACS says there are."""
        return max(sum(study.instances for study in self.studies), len(self.receipts), 1)

    def _receive(self, user: User) -> Iterator[Receipt]:
        from medai_core.cases.dicomweb import fetch_study

        for study in self.studies:
            # To a reader the UIDs, by which the workspace calls these files, say nothing.
            about = " · ".join(part for part in (shown_name(study), day(study.study_date), study.description) if part)
            for number, receipt in enumerate(fetch_study(workspace(), user, study.study_uid, self.group), 1):
                yield replace(receipt, name=f"{about} · {number}")


def search_box(user: User) -> None:
    """Show the search and what it found, or how a PACS is set up."""
    if not workspace().store.settings.dicomweb_url:
        st.caption(
            _(
                "No PACS to search is set up here yet. Those who run MedAI name one in the setting MEDAI_DICOMWEB_URL: "
                "the address of its DICOMweb services. Files can be added in the other tab at any time."
            )
        )
        return
    query = asked()
    if query is not None:
        with st.spinner(_("Asking the PACS")):
            st.session_state[FOUND] = search(user, query)
    found: Found | None = st.session_state.get(FOUND)
    if found is not None:
        answer(found, user)


def asked() -> Query | None:
    """Show the form, and return what to look for once it is sent."""
    from medai_core.cases.dicomweb import Query, name_pattern

    with st.form("pacs_form", border=False):
        columns = st.columns([2, 3, 3, 2, 1.5], vertical_alignment="bottom")
        number = columns[0].text_input(_("Patient number"), key="pacs_number", max_chars=MAX_CHARS)
        name = columns[1].text_input(
            _("Name"), key="pacs_name", max_chars=MAX_CHARS, placeholder=_("Family name, given name"),
            help=_("The start of the name is enough; * stands for any letters."),
        )  # fmt: skip
        days = columns[2].date_input(
            _("Examined"), value=(), key="pacs_days", format="YYYY-MM-DD",
            help=_("One day, or the first and the last day."),
        )  # fmt: skip
        modality = columns[3].selectbox(
            _("Modality"), MODALITIES, index=None, key="pacs_modality", placeholder=_("All"), filter_mode=None
        )
        sent = columns[4].form_submit_button(
            _("Search"), type="primary", icon=":material/search:", width="stretch", key="pacs_search"
        )
    if not sent:
        return None
    return Query(number.strip(), name_pattern(name), study_date=period(days), modality=modality or "")


def period(days: tuple[date, ...]) -> str:
    """Return a day, or the first and the last day, as DICOM writes them (PS3.4 C.2.2.2.5.1)."""
    return "-".join(f"{day:%Y%m%d}" for day in days)


def search(user: User, query: Query) -> Found:
    """Ask the PACS, or find out why it does not answer."""
    from medai_core.cases.dicomweb import find_studies

    try:
        return Found(find_studies(workspace(), user, query))
    except MedAIError as error:
        return Found(error=error)


def answer(found: Found, user: User) -> None:
    """Show what was found, with the button that fetches what is chosen of it."""
    from medai_core.cases.dicomweb import MAX_STUDIES

    if found.error is not None:
        refused(found.error)
        return
    if not found.studies:
        st.info(_("The PACS has no study that fits."), icon=":material/search_off:")
        return
    if len(found.studies) >= MAX_STUDIES:
        words = _("Only the first {n} are shown. Say more about what you look for.")
        st.warning(words.format(n=MAX_STUDIES), icon=":material/filter_list:")
    with st.container(key=BOX):
        st.dataframe(
            cells(found.studies), column_config=columns(), hide_index=True, key=TABLE, row_height=ROW_PX,
            height=38 + ROW_PX * min(len(found.studies), ROWS_SHOWN), on_select="rerun", selection_mode="multi-row",
            alt=_("Studies found in the PACS, the newest first"),
        )  # fmt: skip
    fetching(len(found.studies), user)


def ticked() -> list[RemoteStudy]:
    """Return what is ticked now."""
    studies, rows = st.session_state[FOUND].studies, st.session_state[TABLE]["selection"]["rows"]
    return [studies[row] for row in rows if row < len(studies)]


def fetching(total: int, user: User) -> None:
    """Show the button that fetches what is ticked."""
    chosen = ticked()
    with st.container(horizontal=True, vertical_alignment="center"):
        group = case_upload.department(user, "pacs_group")
        st.button(
            _("Fetch"), type="primary", icon=":material/download:", disabled=not chosen, key="pacs_fetch",
            on_click=start, args=(group,),
        )  # fmt: skip
        files = sum(study.instances for study in chosen)
        words = _("Ticked: {n} of {total} · files: {files}") if chosen else _("Found: {total}. Tick what to fetch.")
        st.caption(words.format(n=len(chosen), total=total, files=f"{files:,}"))


def start(group: str | None) -> None:
    """Begin to fetch what is ticked at the click, which may be more than when the button was drawn."""
    st.session_state[case_upload.INTAKE] = Fetch((), group, studies=ticked())


def cells(studies: Sequence[RemoteStudy]) -> dict[str, list[object]]:
    """Return the table; its cells show text as it is, whatever a name holds."""
    here = ["✓" if study.here else "" for study in studies]
    return {
        "patient": [shown_name(study) for study in studies],
        "number": [study.patient_id for study in studies],
        "day": [day(study.study_date) for study in studies],
        "modality": [", ".join(study.modalities) for study in studies],
        "study": [study.description for study in studies],
        "files": [study.instances for study in studies],
    } | ({"here": here} if any(here) else {})


def shown_name(study: RemoteStudy) -> str:
    """Return the patient's name as people write it."""
    from medai_core.cases.report_facts import person

    return person(study.patient_name)


def day(text: str) -> str:
    """Return a DICOM date as people write it; what is none stays as it is."""
    return f"{text[:4]}-{text[4:6]}-{text[6:]}" if len(text) == 8 and text.isdecimal() else text


def columns() -> dict[str, object]:
    """Return titles and widths."""
    column = st.column_config
    return {
        "patient": column.TextColumn(_("Patient"), width=190),
        "number": column.TextColumn(_("Patient number"), width=110),
        "day": column.TextColumn(_("Examined"), width=88),
        "modality": column.TextColumn(_("Modality"), width=76),
        "study": column.TextColumn(_("Study"), width=190),
        "files": column.NumberColumn(_("Files"), width=52),
        "here": column.TextColumn(_("Received"), width=76),
    }
