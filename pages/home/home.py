"""Home: what the dashboard does and does not, the tasks, the models' state, and a way in without data."""

from __future__ import annotations

import streamlit as st

from medai_core.errors import MedAIError
from pages.ui import loaders
from pages.ui.frame import bullets, page, problem
from pages.ui.gallery import SCAN_PAGE, sample_gallery
from pages.ui.language import _, tell
from pages.ui.words import model_name, plain

WORKLIST_PAGE = "pages/imaging/worklist.py"
MODELS_PAGE = "pages/models/models.py"


def main() -> None:
    page("MedAI", _("Calibrated, explained readings of chest radiographs and brain MRI slices, on your own machine."))
    tiles()
    does_and_does_not()
    sample_gallery("home", one_per_label=True, per_row=4)
    status()


def tiles() -> None:
    """One tile per task."""
    tasks = (
        (SCAN_PAGE, "radiology", _("Read a scan"), _("Open a scan"),
         _(
             "Drop in one file as it left the scanner: an answer with its uncertainty, heat maps that "
             "check themselves, a viewer, and a report."
         )),
        (WORKLIST_PAGE, "checklist", _("Many scans"), _("Start a worklist"),
         _("Drop in many files or a ZIP: a table sorted by urgency, which you can stop, filter, open and download.")),
        (MODELS_PAGE, "monitoring", _("Models"), _("See the evidence"),
         _("What each model is for and not for, how it did on patients it never saw, and where it is known to fail.")),
    )  # fmt: skip
    for column, (target, icon, title, action, words) in zip(st.columns(3), tasks, strict=True):
        with column, st.container(border=True, height="stretch", vertical_alignment="distribute", key=f"tile_{icon}"):
            with st.container(gap="xsmall"):
                st.markdown(f"#### :material/{icon}: {title}")
                st.write(words)
            st.page_link(target, label=f"**{action}**", icon=":material/arrow_forward:", icon_position="right")


def does_and_does_not() -> None:
    """Say plainly what to expect."""
    left, right = st.columns(2, gap="medium")
    with left:
        st.subheader(_("What it does"), anchor=False)
        bullets(
            [
                _("Chest radiographs of children: normal, bacterial or viral pneumonia."),
                _("Single slices of brain MRI: glioma, meningioma, pituitary tumour, or no tumour."),
                _("Gives probabilities calibrated on held-out patients, and says when more than one answer fits."),
                _("Refuses what its models were not made for, and says why."),
                _("Works offline: nothing you open leaves this computer or is kept after the session."),
            ]
        )
    with right:
        st.subheader(_("What it does not"), anchor=False)
        bullets(
            [
                _("It does not diagnose. It is no medical device and was not tested in a clinic."),
                _("It does not find other disease: a normal answer says nothing about fractures, masses or devices."),
                _("It does not read adult chest radiographs or whole MRI studies."),
                _("It does not localise: heat maps show what moved the model, not where disease is."),
                _("It does not replace a reader, and its answers do not order any treatment."),
            ]
        )


def status() -> None:
    """Show which models are here, whether they are the pinned ones, and what they run on."""
    st.subheader(_("Models and device"), anchor=False)
    waiting = loaders.reader_state() == "loading"
    st.fragment(device_line, run_every=1.0 if waiting else None)(waiting)
    rows = [model_row(model) for model in loaders.model_ids()]
    columns = (_("Model"), _("Version"), _("Digest"), _("Size"))
    st.table(
        {name: [row[place] for row in rows] for place, name in enumerate(columns)}, border="horizontal", hide_index=True
    )


def device_line(waiting: bool) -> None:
    """Show the device, and look again while the models are still loading."""
    state = loaders.reader_state()
    if state == "ready":
        st.badge(_("Ready on {device}").format(device=loaders.device()), icon=":material/check_circle:", color="green")
    elif state == "failed":
        failed = loaders.loading().exception()
        problem(
            failed
            if isinstance(failed, MedAIError)
            else _("The models could not be loaded; the log of the server says why.")
        )
    else:
        st.badge(_("Loading the models"), icon=":material/hourglass_top:", color="gray")
    if waiting and state != "loading":
        st.rerun()


def model_row(model: str) -> tuple[str, str, str, str]:
    """Return name, version, state of the digest, and size."""
    found = loaders.bundle(model)
    if isinstance(found, MedAIError):
        return model_name(model), "–", f":material/error: {plain(tell(found))}", "–"
    digest = f":material/verified: {_('verified')} `{found.digest[:12]}`"
    return model_name(model), plain(found.version), digest, f"{found.size_mb:.1f} MB"


main()
