"""MedAI dashboard: navigation and the frame around every page, nothing else."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

import streamlit as st
from streamlit.runtime.pages_manager import PagesManager
from streamlit.runtime.scriptrunner import StopException

from pages.ui import door

LOGO = Path(__file__).parent / "assets" / "ui" / "logo.svg"
MARK = LOGO.with_name("mark.svg")


def frame() -> None:
    """Show the frame, and in it the page of the address, or why it is not shown."""
    # Here, because the server needs none of it to start.
    from medai_core import __version__
    from medai_core.cases.access import Action
    from pages.ui import case_worker, icu_loaders, loaders, signin, tour
    from pages.ui.language import _, language_switch

    # The pages that not everybody may open, by the name of their file.
    needed = {"case_list": Action.LIST, "case": Action.VIEW, "administration": Action.ADMINISTER}
    st.set_page_config(
        page_title="MedAI", page_icon=str(MARK), layout="wide", menu_items={"About": f"MedAI {__version__}"}
    )
    st.logo(str(LOGO), size="large", icon_image=str(MARK))
    user = signin.enter()
    with st.sidebar:
        language_switch()
        signin.who()
        st.caption(_("Not a medical device. For research and teaching."))

    def page(file: str, title: str, icon: str) -> st.Page:
        action = needed.get(Path(file).stem)
        seen = action is None or signin.may(user, action)
        return st.Page(f"pages/{file}", title=title, icon=icon, visibility="visible" if seen else "hidden")

    chosen = st.navigation(
        {
            "": [st.Page("pages/home/home.py", title=_("Home"), icon=":material/home:", default=True)],
            _("Workspace"): [
                page("cases/case_list.py", _("Worklist"), ":material/inbox:"),
                page("cases/case.py", _("Case"), ":material/folder_shared:"),
                page("cases/administration.py", _("Administration"), ":material/admin_panel_settings:"),
            ],
            _("Imaging"): [
                page("imaging/read_scan.py", _("Read a scan"), ":material/radiology:"),
                page("imaging/worklist.py", _("Many scans"), ":material/checklist:"),
            ],
            _("Intensive care"): [
                page("icu/patient.py", _("Follow a patient"), ":material/ecg_heart:"),
                page("icu/cohort.py", _("Many patients"), ":material/patient_list:"),
            ],
            _("Synthetic images"): [
                page("synthesis/synthesize.py", _("Make images"), ":material/auto_awesome:"),
                page("synthesis/reader_test.py", _("Real or synthetic?"), ":material/quiz:"),
                page("synthesis/restore.py", _("Restore a radiograph"), ":material/healing:"),
            ],
            _("Tables"): [
                page("tabular/train_table.py", _("Train on a table"), ":material/model_training:"),
                page("tabular/explain_table.py", _("Explain predictions"), ":material/troubleshoot:"),
                page("tabular/treatment.py", _("Compare treatments"), ":material/balance:"),
            ],
            _("Evidence"): [
                page("models/models.py", _("Models"), ":material/monitoring:"),
                page("explore/explore.py", _("Explore explanations"), ":material/travel_explore:"),
            ],
        },
        # Hidden, but there: the address of the page that was asked for stays until its visitor has signed in.
        position="sidebar" if user else "hidden",
        expanded=True,  # or Streamlit hides those after the tenth
    )
    if user is None:
        signin.page()
        return
    here = chosen.url_path or "home"
    tour.bar(here)
    if here in needed and not signin.may(user, needed[here]):
        signin.no_right(chosen.title, needed[here])
    else:
        # Streamlit drops the fragments of the page before only when a run comes to its end: a live list would be
        # drawn once more, over the page that stopped.
        with contextlib.suppress(StopException):
            chosen.run()
    # Last, so that the first page is not held up by TensorFlow's import.
    loaders.loading()
    icu_loaders.loading()
    case_worker.working()
    loaders.tidy()


if __name__ == "__main__":  # a visitor's run of the page
    frame()
else:  # imported by the server as it starts
    # Of many visitors' threads one computes at a time, and each lets go at every file looked at and every message sent.
    # With Python's five milliseconds a turn, a page of a hundred such moments waits for seconds where others compute.
    sys.setswitchinterval(0.0005)
    # Until `st.navigation` has run once, Streamlit takes `pages` for its own kind of folder, and a link into the app
    # that is the first request of all would find no page.
    PagesManager.uses_pages_directory = False
    app = st.App(__file__)
    app = door.guarded(app)
