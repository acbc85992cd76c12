"""Home: the tasks, what the dashboard does and does not, a way in without data, and the models' state."""

from __future__ import annotations

from typing import NamedTuple

import streamlit as st

from medai_core.errors import MedAIError
from pages.ui import loaders, tour
from pages.ui.frame import bullets, page, problem, table
from pages.ui.gallery import SCAN_PAGE, sample_gallery
from pages.ui.icu_stay import PATIENT_PAGE
from pages.ui.language import _, tell
from pages.ui.words import model_name

CASES_PAGE, WORKLIST_PAGE = "pages/cases/case_list.py", "pages/imaging/worklist.py"
COHORT_PAGE = "pages/icu/cohort.py"
SYNTHESIZE_PAGE, READER_TEST_PAGE = "pages/synthesis/synthesize.py", "pages/synthesis/reader_test.py"
RESTORE_PAGE = "pages/synthesis/restore.py"
TRAIN_PAGE, EXPLAIN_PAGE = "pages/tabular/train_table.py", "pages/tabular/explain_table.py"
TREATMENT_PAGE = "pages/tabular/treatment.py"
MODELS_PAGE, EXPLORE_PAGE = "pages/models/models.py", "pages/explore/explore.py"
# Streamlit collects garbage after each look, which holds up the loading that is looked at.
LOOK_AGAIN_SECONDS = 3.0


class Tile(NamedTuple):
    """A task: its page, and what stands on its tile."""

    page: str
    icon: str
    title: str
    action: str
    words: str


def main() -> None:
    page(
        "MedAI",
        _("Calibrated, explained readings of scans, stays and tables, and synthetic images with proof."),
    )
    tour.invitation()
    tiles()
    does_and_does_not()
    sample_gallery("home", one_per_label=True, per_row=4)
    status()


def tiles() -> None:
    """One tile per task: the workspace, a block for each kind of data, and below them what to trust it on."""
    st.caption(f"**{_('Workspace')}**")
    tile(
        Tile(CASES_PAGE, "inbox", _("Worklist"), _("Open the worklist"),
             _("Studies that arrived and wait to be read, the most urgent first: review them beside the model's "
               "reading, and send standard reports."))
    )  # fmt: skip
    imaging = (
        Tile(SCAN_PAGE, "radiology", _("Read a scan"), _("Open a scan"),
             _("One file as it left the scanner: an answer with its uncertainty, heat maps that check themselves, "
               "a viewer, and a report.")),
        Tile(WORKLIST_PAGE, "checklist", _("Many scans"), _("Open many scans"),
             _("Many files or a ZIP: a table sorted by urgency, which you can stop, filter, open and download.")),
    )  # fmt: skip
    care = (
        Tile(PATIENT_PAGE, "ecg_heart", _("Follow a patient"), _("Open a stay"),
             _("The risk at every hour and where each value is heading, how sure that is, why, and what if a value "
               "were different.")),
        Tile(COHORT_PAGE, "patient_list", _("Many patients"), _("Score stays"),
             _("Many stays or a ZIP: who is at risk, whose risk is rising, and a map of which patients are alike.")),
    )  # fmt: skip
    synthetic = (
        Tile(SYNTHESIZE_PAGE, "auto_awesome", _("Make images"), _("Make some"),
             _("Labelled images of no patient, from a seed: sliders, downloads, and proof of quality and privacy.")),
        Tile(READER_TEST_PAGE, "quiz", _("Real or synthetic?"), _("Start a test"),
             _("A reader test over your own images and generated ones, with a confidence interval.")),
        Tile(RESTORE_PAGE, "healing", _("Restore a radiograph"), _("Open an image"),
             _("Take noise away or fill in a region, and see what was invented.")),
    )  # fmt: skip
    tables = (
        Tile(TRAIN_PAGE, "model_training", _("Train on a table"), _("Open a table"),
             _("Your own table of patients: what must not be used, models compared honestly, a bundle to keep.")),
        Tile(EXPLAIN_PAGE, "troubleshoot", _("Explain predictions"), _("Explain a patient"),
             _("SHAP for one patient and for all, by every model; what if, and what would have to change.")),
        Tile(TREATMENT_PAGE, "balance", _("Compare treatments"), _("Compare"),
             _("A trial's treatments side by side for one patient, and whether choosing for each is worth it.")),
    )  # fmt: skip
    evidence = (
        Tile(MODELS_PAGE, "monitoring", _("Models"), _("See the evidence"),
             _("What each model is for and not for, how it did on cases it never saw, and where it is known to fail.")),
        Tile(EXPLORE_PAGE, "travel_explore", _("Explore explanations"), _("Explore"),
             _("Any model, any case: its explanation, and whether it holds against a random one.")),
    )  # fmt: skip
    kinds = (
        (_("Imaging"), imaging), (_("Intensive care"), care), (_("Synthetic images"), synthetic), (_("Tables"), tables),
    )  # fmt: skip
    for pair in (kinds[:2], kinds[2:]):
        for column, (section, members) in zip(st.columns(2), pair, strict=True):
            with column, st.container(height="stretch"):
                st.caption(f"**{section}**")
                for member in members:
                    tile(member)
    st.caption(f"**{_('Evidence')}**")
    for column, member in zip(st.columns(2), evidence, strict=True):
        with column:
            tile(member)


def tile(task: Tile) -> None:
    """Show what a task is, with the link to its page."""
    with st.container(border=True, height="stretch", vertical_alignment="distribute", key=f"tile_{task.icon}"):
        with st.container(gap="xsmall"):
            st.markdown(f"#### :material/{task.icon}: {task.title}")
            st.write(task.words)
        st.page_link(task.page, label=f"**{task.action}**", icon=":material/arrow_forward:", icon_position="right")


def does_and_does_not() -> None:
    """Say plainly what to expect."""
    left, right = st.columns(2, gap="medium")
    with left:
        st.subheader(_("What it does"), anchor=False)
        bullets(
            [
                _("Chest radiographs of children: normal, bacterial or viral pneumonia."),
                _("Single slices of brain MRI: glioma, meningioma, pituitary tumour, or no tumour."),
                _("Stays in intensive care: the risk of death in hospital at every hour, and forecasts of each value."),
                _("Gives probabilities calibrated on held-out cases, and says how sure it is."),
                _("Trains models on your own table, compares them honestly and takes any prediction apart."),
                _("Makes labelled synthetic images that are marked as such, with proof of quality and of privacy."),
                _("Refuses what its models were not made for, and says why."),
                _("Keeps a worklist with reviews, standard reports and an audit log, encrypted on this server."),
                _("Works offline: nothing you open leaves this server, and outside the workspace nothing is kept."),
            ]
        )
    with right:
        st.subheader(_("What it does not"), anchor=False)
        bullets(
            [
                _("It does not diagnose. It is no medical device and was not tested in a clinic."),
                _("It does not find other disease: a normal answer says nothing about fractures, masses or devices."),
                _("It does not read adult chest radiographs or whole MRI studies, nor stays beyond 48 hours."),
                _("It does not say what a treatment would do: what-if answers are association, not effect."),
                _("It does not make evidence: synthetic and restored images are invented and show no one's disease."),
                _("It does not localise: heat maps show what moved the model, not where disease is."),
                _("It does not replace a reader, and its answers do not order any treatment."),
            ]
        )


def status() -> None:
    """Show which models are here, whether they are the pinned ones, and what they run on."""
    st.subheader(_("Models and device"), anchor=False)
    table((_("Model"), _("Version"), _("Digest"), _("Size")), [model_row(model) for model in loaders.model_ids()])
    # Last of the page: asking starts TensorFlow's import, which would hold up all that is drawn after it.
    waiting = loaders.reader_state() == "loading"
    st.fragment(device_line, run_every=LOOK_AGAIN_SECONDS if waiting else None)(waiting)


def device_line(waiting: bool) -> None:
    """Show the device, and look again while the models are still loading."""
    state = loaders.reader_state()
    if state == "ready":
        st.badge(_("Ready on {device}").format(device=loaders.device()), icon=":material/check_circle:", color="green")
    elif state == "failed":
        problem(loaders.loading().future.exception())
    else:
        st.badge(_("Loading the models"), icon=":material/hourglass_top:", color="gray")
    if waiting and state != "loading":
        st.rerun()


def model_row(model: str) -> tuple[str, str, str, str]:
    """Return name, version, state of the digest, and size."""
    found = loaders.bundle(model)
    if isinstance(found, MedAIError):
        return model_name(model), "–", f"⚠ {tell(found)}", "–"
    return model_name(model), found.version, f"✓ {_('verified')} {found.digest[:12]}", f"{found.size_mb:.1f} MB"


main()
