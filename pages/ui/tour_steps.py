"""The steps of the guided tour: which page, what is opened there, and what to look at."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import streamlit as st

from pages.ui import icu_loaders, icu_stay, loaders, synth_loaders, tab_models, tabx_state, uploads
from pages.ui.language import _
from pages.ui.queue import Answers, Queue, Upload
from pages.ui.samples import Sample, samples

HIGH_RISK, CALM_STAY = "icu_synthetic_rising_late.txt", "icu_synthetic_high_risk.txt"
NORMAL, ILL, DOCUMENT = "normal", "bacterial", "refused"
"""Labels of the samples that are opened; of stays, names."""
DOUBTFUL = 216
"""Patient of the table of breast masses whose prediction set holds both labels, counted from 1."""
WORKLIST, COHORT, RESTORE = "worklist", "cohort", "restore_held"
"""Where the pages keep what is open on them."""


def nothing() -> dict[str, object]:
    return {}


@dataclass(frozen=True)
class Step:
    """One stop: its page, what stands in the bar, and what is put into the session for the page."""

    page: str
    title: str
    words: str
    opens: Callable[[], dict[str, object]] = nothing


def steps() -> list[Step]:
    """Return the steps through every part that is here."""
    here = {sample.label for sample in samples()} | {sample.path.name for sample in icu_stay.demo_stays()}
    found = [_welcome(), *_scan_steps(here)]
    if icu_stay.demo_stays():
        found += _icu_steps(here)
    if tab_models.SHIPPED_TABLE in tab_models.shipped():
        found.append(_table_step())
    if synth_loaders.generator_ids():
        found += _synthetic_steps()
    if synth_loaders.restorer_ids() and ILL in here:
        found.append(_restore_step())
    return [*found, _evidence()]


def _welcome() -> Step:
    return Step(
        "pages/home/home.py",
        _("Welcome"),
        _("Each tile is one task. Images and courses on this tour are synthetic, of no patient; the table is a public "
          "one without names."),
    )  # fmt: skip


def _scan_steps(here: set[str]) -> list[Step]:
    page = "pages/imaging/read_scan.py"
    found = [
        Step(page, _("An answer that says how sure it is"),
             _("A chest radiograph was opened. Look at the calibrated probabilities and the prediction set: when that "
               "holds several labels, the model says that it does not know."),
             lambda: _scan(NORMAL)),
        Step(page, _("Why, and whether the why can be trusted"),
             _("Scroll to the heat map: it shows what moved the model, and is checked against a random order. It does "
               "not show where disease is."),
             lambda: _scan(ILL)),
        Step(page, _("An input it was not made for"),
             _("A page of text was opened as if it were a scan. It is refused, with the reason and no probability."),
             lambda: _scan(DOCUMENT)),
        Step("pages/imaging/worklist.py", _("Many scans, the urgent ones first"),
             _("All samples are being read. What needs a look stands on top, and any row can be opened."),
             _worklist),
    ]  # fmt: skip
    return found if {NORMAL, ILL, DOCUMENT} <= here else []


def _icu_steps(here: set[str]) -> list[Step]:
    page = "pages/icu/patient.py"
    found = [
        Step("pages/icu/cohort.py", _("Many patients, and whose risk is rising"),
             _("All demo stays are being scored. Sort by risk or by its rise, or see on the map who is alike."),
             _cohort),
    ]  # fmt: skip
    if not {HIGH_RISK, CALM_STAY} <= here:
        return found
    return [
        Step(page, _("A stay in intensive care, hour by hour"),
             _("Move the hour: the risk and the forecasts use only what was known by then. Hollow points came after."),
             lambda: _stay(HIGH_RISK, _("Course"))),
        Step(page, _("What if a value were different?"),
             _("The heart rate was lowered by 20 a minute, and the risk answered at once. Further down, change another "
               "value: the page says that this is association, not the effect of a treatment."),
             lambda: _stay(CALM_STAY, _("What if"), lower_heart_rate=True)),
        *found,
    ]  # fmt: skip


def _table_step() -> Step:
    return Step(
        "pages/tabular/explain_table.py",
        _("A table's answer, taken apart"),
        _("This mass leaves the model in doubt. Each bar shows what moved the answer; Every model says whether the "
          "others agree, and What if lets you change a value."),
        lambda: _patient(DOUBTFUL),
    )  # fmt: skip


def _synthetic_steps() -> list[Step]:
    page = "pages/synthesis/synthesize.py"
    return [
        Step(page, _("Images of no patient"),
             _("Choose labels, a number and a seed: the same seed gives the same images. Each one carries its mark."),
             lambda: {"synth_tabs": _("Make")}),
        Step(page, _("What the generator has learnt"),
             _("One drawing as every label. Move a slider: what it does to the image was measured."),
             lambda: {"synth_tabs": _("Look inside")}),
        Step(page, _("Proof of quality"),
             _("Every distance stands beside what two sets of real images reach: nothing can be better than that."),
             lambda: {"synth_tabs": _("How good are they?")}),
        Step(page, _("Proof of privacy"),
             _("How close each image is to the training image most like it, against how close real images are to each "
               "other. Near-copies are withheld."),
             lambda: {"synth_tabs": _("Is it anyone's copy?")}),
        Step("pages/synthesis/reader_test.py", _("Can you tell them apart?"),
             _("With a folder of your own images this becomes a reader test with a confidence interval; without, "
               "practise on generated ones.")),
    ]  # fmt: skip


def _restore_step() -> Step:
    return Step(
        "pages/synthesis/restore.py",
        _("Restoration, and what it invents"),
        _("Noise was added and taken away again. The difference shows what changed, and the page says that the rest is "
          "invented."),
        lambda: {RESTORE: _held(ILL)},
    )  # fmt: skip


def _evidence() -> Step:
    return Step(
        "pages/models/models.py",
        _("The evidence for all of it"),
        _("What each model is for and not for, how it did on cases it never saw, and where it fails. End here, and "
          "try your own data."),
    )  # fmt: skip


def _held(label: str) -> uploads.Held:
    sample = next(sample for sample in samples() if sample.label == label)
    data = sample.path.read_bytes()
    return uploads.Held(sample.path.name, data, hashlib.sha256(data).hexdigest(), sample=True, demonstration=True)


def _scan(label: str) -> dict[str, object]:
    # Another round, so that the page begins with its first tab.
    st.session_state[uploads.ROUND] = st.session_state.get(uploads.ROUND, 0) + 1
    return {uploads.SCAN: _held(label)}


def _uploads(found: list[Sample]) -> list[Upload]:
    return [Upload(sample.path.name, sample.path.read_bytes(), sample=True) for sample in found]


def _worklist() -> dict[str, object]:
    from pages.ui.worklist_rows import ScanRow

    scans = [sample for sample in samples() if sample.label != "icu"]

    def answer(items: Iterable[tuple[str, bytes]]) -> Answers:
        return loaders.reader().read_many(items, model="auto", demonstration=True)

    return {WORKLIST: Queue(_uploads(scans), answer, ScanRow)}


def _cohort() -> dict[str, object]:
    from pages.ui.cohort_rows import StayRow, courses

    stays = _uploads(icu_stay.demo_stays())
    return {COHORT: Queue(stays, lambda items: courses(icu_loaders.models().forecaster, items), StayRow)}


def _stay(name: str, tab: str, lower_heart_rate: bool = False) -> dict[str, object]:
    from medai_core.icu.edits import Edit

    sample = next(sample for sample in icu_stay.demo_stays() if sample.path.name == name)
    data = sample.path.read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    found = {icu_stay.STAY: (name, data), "icu_tabs": tab}
    if lower_heart_rate:
        edit = Edit("shift", "HR", None, -20.0)
        found[icu_stay.EDITS] = st.session_state.get(icu_stay.EDITS, {}) | {digest: (edit,)}
    return found


def _patient(number: int) -> dict[str, object]:
    model = tab_models.SHIPPED_TABLE
    patients = tabx_state.patients_of(model, tab_models.table_model(model), tabx_state.TABLE)
    return {"tabx_model": model, tabx_state.TABS: _("Why"), tabx_state.row_key(patients): number}
