"""Worklist: what waits to be read, sorted by urgency, and how studies come in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from medai_core.cases.access import Action, User, allowed
from pages.ui import case_filters, case_kit, case_pacs, case_rows, case_upload
from pages.ui.case_kit import STATUS_SIGNS, status_name
from pages.ui.frame import bullets, page
from pages.ui.language import _
from pages.ui.samples import samples
from pages.ui.signin import current_user

if TYPE_CHECKING:
    from medai_core.cases.answers import Page

ROWS = 25
REFRESH_SECONDS = 5.0


def main() -> None:
    page(_("Worklist"), _("What waits to be read. The list refreshes itself."))
    case_kit.case_styles()
    user = current_user()
    with case_kit.answered():
        case_kit.workspace()
        if allowed(user, Action.RECEIVE):
            adding(user)
    case_filters.follow_address()
    st.fragment(listing, run_every=REFRESH_SECONDS)()


def adding(user: User) -> None:
    """Show where files are dropped and where the PACS is searched, folded away while nothing is going on there."""
    busy = case_upload.INTAKE in st.session_state
    # One key for each state: an expander keeps what the visitor did to it, also when it should open by itself.
    with st.expander(_("Add studies"), icon=":material/upload_file:", expanded=busy, key=f"case_adding_{busy}"):
        if busy:
            case_upload.upload_box(user)
            return
        names = [_("Files"), _("From the PACS")]
        before = names[case_pacs.FOUND in st.session_state]  # who fetched comes back to what was found
        files, pacs = st.tabs(names, default=before, key="case_adding_tabs", on_change="rerun")
        with files:
            case_upload.upload_box(user)
        if pacs.open:
            with pacs:
                case_pacs.search_box(user)


def listing() -> None:
    """Show filters, counts, rows and pages; a fragment that comes back by itself."""
    case_rows.go()
    user = current_user()
    wanted = case_filters.filter_bar()
    with case_kit.answered():
        found, withheld = asked(user, wanted)
    summary(found)
    if not found.rows:
        case_filters.write_address()
        nothing(user, wanted.narrowed)
        return
    case_rows.show_rows(found.rows, user, withheld)
    pages = -(-found.total // ROWS)
    if pages > 1:
        with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
            case_filters.pages(pages)
            first = min(wanted.page, pages - 1) * ROWS + 1
            words = _("{first} to {last} of {all} studies")
            st.caption(words.format(first=first, last=first + len(found.rows) - 1, all=f"{found.total:,}"))
    case_filters.write_address()


def asked(user: User, wanted: case_filters.Wanted) -> tuple[Page, bool]:
    """Ask the workspace for the page, or for the last one there is, and say whether it withholds the model's word."""
    space, withheld = case_kit.workspace(), case_kit.read_first()

    def page_of(place: int) -> Page:
        return space.worklist(
            user, wanted.filter(user), sort=wanted.sort, descending=wanted.descending, page=place, size=ROWS,
            reveal=not withheld,
        )  # fmt: skip

    found = page_of(wanted.page)
    if found.total and not found.rows:
        found = page_of(-(-found.total // ROWS) - 1)
    return found, withheld


def summary(found: Page) -> None:
    """Show how many studies stand where, and the switch of who reads first."""
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        cells = "".join(
            f"<span>{STATUS_SIGNS[status]} <b>{count:,}</b>{status_name(status)}</span>"
            for status, count in found.counts.items()
        )
        st.html(f'<p class="medai-tally">{cells}</p>', width="content")
        case_kit.read_first_switch("read_first_list")


def nothing(user: User, narrowed: bool) -> None:
    """Say that there is nothing, and what could be done about it."""
    if narrowed:
        st.info(_("No study fits these filters."), icon=":material/filter_alt_off:")
        st.button(_("Show all"), icon=":material/clear_all:", on_click=case_filters.clear, key="worklist_clear")
        return
    with st.container(border=True, key="worklist_empty"):
        st.subheader(_("Nothing has arrived yet"), anchor=False)
        st.write(_("Studies come in by any of these ways, are read by the models, and wait here to be reviewed:"))
        bullets(
            [
                _("Dropped into “Add studies” above, one by one or as a ZIP."),
                _("Put into a watched folder (MEDAI_WATCH_DIR)."),
                _("Sent by a scanner or an archive over DICOM (MEDAI_DICOM_PORT)."),
                _("Fetched from an archive over DICOMweb (MEDAI_DICOMWEB_URL)."),
            ]
        )
        if allowed(user, Action.RECEIVE) and samples():
            st.caption(_("To look around without data of your own: images and stays of no patient."))
            if st.button(
                _("Load the synthetic samples"), icon=":material/science:", type="primary", key="worklist_samples"
            ):
                case_upload.start_samples()
                st.rerun()


main()
