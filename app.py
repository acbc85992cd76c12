"""MedAI dashboard: navigation and the frame around every page, nothing else."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from medai_core import __version__
from pages.ui import icu_loaders, loaders, tour
from pages.ui.language import _, language_switch

LOGO = Path(__file__).parent / "assets" / "ui" / "logo.svg"
MARK = LOGO.with_name("mark.svg")

st.set_page_config(page_title="MedAI", page_icon=str(MARK), layout="wide", menu_items={"About": f"MedAI {__version__}"})
st.logo(str(LOGO), size="large", icon_image=str(MARK))
with st.sidebar:
    language_switch()
    st.caption(_("Not a medical device. For research and teaching."))

chosen = st.navigation(
    {
        "": [st.Page("pages/home/home.py", title=_("Home"), icon=":material/home:", default=True)],
        _("Imaging"): [
            st.Page("pages/imaging/read_scan.py", title=_("Read a scan"), icon=":material/radiology:"),
            st.Page("pages/imaging/worklist.py", title=_("Many scans"), icon=":material/checklist:"),
        ],
        _("Intensive care"): [
            st.Page("pages/icu/patient.py", title=_("Follow a patient"), icon=":material/ecg_heart:"),
            st.Page("pages/icu/cohort.py", title=_("Many patients"), icon=":material/patient_list:"),
        ],
        _("Synthetic images"): [
            st.Page("pages/synthesis/synthesize.py", title=_("Make images"), icon=":material/auto_awesome:"),
            st.Page("pages/synthesis/reader_test.py", title=_("Real or synthetic?"), icon=":material/quiz:"),
            st.Page("pages/synthesis/restore.py", title=_("Restore a radiograph"), icon=":material/healing:"),
        ],
        _("Tables"): [
            st.Page("pages/tabular/train_table.py", title=_("Train on a table"), icon=":material/model_training:"),
            st.Page("pages/tabular/explain_table.py", title=_("Explain predictions"), icon=":material/troubleshoot:"),
            st.Page("pages/tabular/treatment.py", title=_("Compare treatments"), icon=":material/balance:"),
        ],
        _("Evidence"): [
            st.Page("pages/models/models.py", title=_("Models"), icon=":material/monitoring:"),
            st.Page("pages/explore/explore.py", title=_("Explore explanations"), icon=":material/travel_explore:"),
        ],
    },
    expanded=True,  # or Streamlit hides those after the tenth
)
tour.bar(chosen.url_path or "home")
chosen.run()
# Last, so that the first page is not held up by TensorFlow's import.
loaders.loading()
icu_loaders.loading()
