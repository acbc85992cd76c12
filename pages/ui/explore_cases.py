"""What the explore page can show: every model with an explanation, and for each the cases that are at hand."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import streamlit as st

from pages.ui import icu_stay, loaders, tab_models, treat_loaders, treat_own, uploads
from pages.ui.language import _
from pages.ui.samples import samples
from pages.ui.treat_words import Compared
from pages.ui.words import model_name

SCAN, STAY, TABLE, TREATMENT = "scan", "stay", "table", "treatment"
OWN_TRIAL = "own_trial"
LOADED = "loaded"


@dataclass(frozen=True, eq=False)
class Case:
    """A scan or a stay: what is opened on its page, or a sample.

    Attributes
    ----------
    title : str
    name : str
        Of the file.
    data : bytes
    sample : bool
    demonstration : bool
        May be read although it is marked as synthetic.
    """

    title: str
    name: str
    data: bytes
    sample: bool
    demonstration: bool = False

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.data).hexdigest()


def models() -> dict[str, tuple[str, str]]:
    """Return kind and name of every model that has an explanation and is here, by key."""
    from medai_core import registry

    here = registry.available()
    found = {key: (SCAN, model_name(key)) for key in loaders.READING_MODELS if key in here}
    if "icu_mortality" in here:
        found["icu_mortality"] = (STAY, model_name("icu_mortality"))
    found |= {key: (TABLE, title) for key, title in tab_models.table_models().items()}
    if treat_loaders.BUILTIN in here:
        found[treat_loaders.BUILTIN] = (TREATMENT, model_name(treat_loaders.BUILTIN))
    if own_trial() is not None:
        found[OWN_TRIAL] = (TREATMENT, _("My own randomised trial"))
    return found


def shipped() -> list[str]:
    """Return the ids of the registered models, which have a card."""
    from medai_core import registry

    return registry.available()


def own_trial() -> Compared | None:
    """Return the model of the visitor's own trial, once it was made."""
    fit = st.session_state.get(treat_own.FIT)
    return None if fit is None or fit.model is None else Compared(fit.key, fit.model, False)


def choose_model(known: dict[str, tuple[str, str]]) -> str:
    """Ask for a model, by its kind."""
    kinds = {
        SCAN: _("Scan"), STAY: _("Intensive care"), TABLE: _("Clinical table"), TREATMENT: _("Treatments of a trial"),
    }  # fmt: skip
    there = [kind for kind in kinds if any(kind == its for its, _title in known.values())]
    kind = st.segmented_control(
        _("Kind of case"), there, default=there[0], required=True, format_func=kinds.__getitem__, key="explore_kind",
        persist_state="session",
    )  # fmt: skip
    mine = {key: title for key, (its, title) in known.items() if its == kind}
    if len(mine) == 1:
        return next(iter(mine))
    return st.selectbox(
        _("Model"), list(mine), format_func=mine.__getitem__, key=f"explore_model_{kind}", persist_state="session",
        width=240,
    )  # fmt: skip


def scan_cases(model: str) -> dict[str, Case]:
    """Return the scan that is open on its page, unless it is an archive, and the samples for a model."""
    found = {}
    held = uploads.held_scan()
    if held is not None and not held.sample and not loaders.is_archive(held.data):
        title = _("Open on “Read a scan”: {name}").format(name=held.name)
        found[LOADED] = Case(title, held.name, held.data, False, held.demonstration)
    for sample in samples():
        if sample.model == model:
            title = f"{_(sample.title)} · {sample.path.name}"
            found[sample.path.name] = Case(title, sample.path.name, sample.path.read_bytes(), True, True)
    return found


def stay_cases() -> dict[str, Case]:
    """Return the stay that is open on its page, and the demo stays."""
    found = {}
    held = icu_stay.held_stay()
    if held is not None and held.sample is None:
        title = _("Open on “Follow a patient”: {name}").format(name=held.name)
        found[LOADED] = Case(title, held.name, held.data, False)
    for sample in icu_stay.demo_stays():
        found[sample.path.name] = Case(_(sample.title), sample.path.name, sample.path.read_bytes(), True)
    return found


def choose_case(cases: dict[str, Case], key: str) -> Case | None:
    """Ask for a case; None where there is none."""
    if not cases:
        st.info(_("No case is here: open one on its own page first, then come back."), icon=":material/folder_open:")
        return None
    name = st.selectbox(
        _("Case"), list(cases), format_func=lambda one: cases[one].title, key=f"explore_case_{key}",
        persist_state="session", width=380,
    )  # fmt: skip
    return cases[name]
