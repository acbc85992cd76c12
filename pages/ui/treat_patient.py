"""One patient under each arm of a trial: what is asked, the curves side by side, the differences, what drives them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import streamlit as st

from medai_core.errors import MedAIError
from medai_core.tabular.columns import CATEGORY
from medai_core.tabular.treatment import FEWEST_SHOWN
from pages.ui import treat_charts, treat_loaders
from pages.ui.frame import bullets, problem, table
from pages.ui.language import _
from pages.ui.queue import csv_table
from pages.ui.tabx_style import picture_format
from pages.ui.treat_words import Compared, figure, share
from pages.ui.words import plain

if TYPE_CHECKING:
    from medai_core.metrics import Interval
    from medai_core.tabular.encoder import Feature
    from medai_core.tabular.explain import Explanation
    from medai_core.tabular.treatment import Assessment

Row = dict[str, Any]
PATIENTS: Mapping[str, Row] = {
    "new": {"age": 32.0, "karnof": 100.0, "symptom": 0.0, "preanti": 0.0, "cd40": 420.0, "cd80": 850.0},
    "treated": {"age": 40.0, "karnof": 90.0, "symptom": 0.0, "preanti": 700.0, "cd40": 250.0, "cd80": 900.0},
    "ill": {"age": 46.0, "karnof": 80.0, "symptom": 1.0, "preanti": 1100.0, "cd40": 210.0, "cd80": 1500.0},
}
"""Made-up patients of the built-in trial."""
FIRST, TYPED = "treated", "treat_typed"
LEVELS = 3
"""Up to so many levels of a category stand side by side."""


def patient_panel(compared: Compared) -> None:
    """Ask for a patient, and show the arms side by side."""
    examples(compared)
    left, right = st.columns([4, 9], gap="large")
    with left:
        row = form(compared)
    try:
        with st.spinner(_("Comparing the treatments")):
            found = compared.model.assess(row)
    except MedAIError as error:
        with right:
            problem(compared.worded(error))
        return
    with right:
        for caution in found.cautions:
            st.warning(plain(compared.worded(caution)), icon=":material/warning:")
        verdict(compared, row, found)
        side_by_side(compared, row, found)
    st.subheader(_("How the treatments differ for this patient"), anchor=False)
    differences(compared, row)
    st.subheader(_("What drives it"), anchor=False)
    drivers(compared, row)
    download(compared, row, found)


# ------------------------------------------------------------------------------------------------- the patient


def examples(compared: Compared) -> None:
    """Offer patients that fill the form."""
    names = example_names(compared)
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        words = _("Made-up patients, to begin with:") if compared.builtin else _("To begin with:")
        st.caption(words, width="content")
        for name, shown in names.items():
            st.button(shown, key=f"treat_example_{name}", on_click=_fill, args=(compared, name))


def example_names(compared: Compared) -> dict[str, str]:
    """Return what the ready-made patients are called: of a visitor's own trial there is one."""
    if not compared.builtin:
        return {"usual": _("The trial's usual patient")}
    return {"new": _("Not treated before"), "treated": _("Treated for two years"), "ill": _("With symptoms")}


def example(compared: Compared, name: str) -> Row:
    """Return a ready-made patient."""
    return {feature.name: first_value(compared, feature, name) for feature in compared.model.encoder.features}


def typed(compared: Compared) -> Row:
    """Return the patient as typed on the page of treatments, or what stands there at first."""
    return example(compared, FIRST) | st.session_state.get(TYPED, {}).get(compared.key, {})


def form(compared: Compared) -> Row:
    """Ask for the covariates; what was typed stays when the page is left."""
    st.subheader(_("The patient"), anchor=False)
    st.caption(_("As known before treatment began."))
    known = typed(compared)
    for feature in compared.model.encoder.features:
        value = known[feature.name]
        shown = bool(value) if compared.yes_no(feature.name) else value
        st.session_state.setdefault(key_of(compared, feature), shown)
    found = {feature.name: ask(compared, feature) for feature in compared.model.encoder.features}
    # Kept apart from the widgets, whose own memory gives way to a first value when the page is entered again.
    st.session_state[TYPED] = st.session_state.get(TYPED, {}) | {compared.key: found}
    return found


def key_of(compared: Compared, feature: Feature) -> str:
    """What the widget of a covariate is called."""
    return f"treat_{compared.key}_{feature.name}"


def first_value(compared: Compared, feature: Feature, example: str = FIRST) -> object:
    """What stands in the form at first: of a visitor's own trial the commonest value."""
    value = PATIENTS[example][feature.name] if compared.builtin else feature.usual
    if compared.yes_no(feature.name):
        return bool(value)
    return feature.levels[int(value)] if feature.kind == CATEGORY else float(value)


def _fill(compared: Compared, example: str) -> None:
    for feature in compared.model.encoder.features:
        st.session_state[key_of(compared, feature)] = first_value(compared, feature, example)


def ask(compared: Compared, feature: Feature) -> object:
    """Ask for one covariate; empty where it may be missing or was cleared."""
    key, label = key_of(compared, feature), plain(compared.with_unit(feature.name))
    if compared.yes_no(feature.name):
        words = {False: _("no"), True: _("yes")}
        chosen = st.segmented_control(label, list(words), format_func=words.__getitem__, required=True, key=key)
        return float(bool(chosen))
    if feature.kind == CATEGORY:
        return st.selectbox(
            label, feature.levels, index=None, key=key,
            placeholder=_("unknown") if feature.missing else _("choose"),
        )  # fmt: skip
    low, high, _whole = compared.model.limits.get(feature.name, (None, None, False))
    spread = max(feature.plausible_high - feature.plausible_low, 1e-9)
    step = 1.0 if feature.whole else 10.0 ** round(_order(spread) - 1)
    return st.number_input(
        label, low, high, value=None, step=step, key=key, format=_format(feature, step),
        placeholder=_("unknown") if feature.missing else None,
        help=_("In the trial mostly {low} to {high}.").format(
            low=figure(feature.plausible_low), high=figure(feature.plausible_high)
        ),
    )  # fmt: skip


def _order(value: float) -> int:
    """Power of ten of a number."""
    return int(f"{value:e}".split("e")[1])


def _format(feature: Feature, step: float) -> str:
    return "%.0f" if feature.whole else f"%.{max(-_order(step), 0)}f"


# ------------------------------------------------------------------------------------------------- the answer


def side_by_side(compared: Compared, row: Row, found: Assessment) -> None:
    """Show the curves with their bands, and beneath them what holds at the horizon."""
    st.subheader(_("Event-free under each treatment"), anchor=False)
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        bands = st.toggle(_("95% intervals"), value=True, key="treat_bands", persist_state="session", width="content")
        picture_format()
    treat_charts.arm_curves(compared, found.curves, "treat_curves", bands=bands)
    st.caption(
        _(
            "Bands: how much the curve changes with other patients of the same trial (95%, refitted on resampled "
            "patients). A click on a name hides its curve. The dotted line is at {time}; the axis may not begin at 0."
        ).format(time=compared.after())
    )
    few = _("fewer than {n}").format(n=FEWEST_SHOWN)
    similar = [_("Similar patients in the trial")] if compared.model.cells.columns else []
    head = [_("Treatment"), _("Event-free at {time} (95% interval)").format(time=compared.after()), *similar]
    rows = [
        [compared.arm(arm), share(found.event_free[arm]),
         *([few if found.similar[arm] is None else str(found.similar[arm])] if similar else [])]
        for arm in compared.arms
    ]  # fmt: skip
    table(head, rows)
    if similar:
        st.caption(alike(compared, row))


def alike(compared: Compared, row: Row) -> str:
    """Say in what similar patients are alike with this one."""
    cells, bands = compared.model.cells, []
    places = cells.bands(compared.model.read(row)[0])
    for place, column, edges in zip(places, cells.columns, cells.edges, strict=True):
        feature = compared.model.encoder.features[column]
        bands.append(f"{compared.name(feature.name)}: {band(compared, feature, edges, place)}")
    return _(
        "Similar: alike in what moves the prediction most ({bands}). Few similar patients mean little evidence for "
        "patients like this one."
    ).format(bands=plain("; ".join(bands)))


def band(compared: Compared, feature: Feature, edges: tuple[float, ...], place: int) -> str:
    """The range of one covariate within which patients count as similar."""
    if feature.kind == CATEGORY:
        return feature.levels[place]
    if compared.yes_no(feature.name):
        return compared.value(feature.name, float(place))
    unit = f" {compared.unit(feature.name)}".rstrip()
    low, high = ([None, *edges, None][place + end] for end in (0, 1))
    if low is None and high is None:
        return _("any")
    if low is None:
        return _("below {high}").format(high=figure(high)) + unit
    if high is None:
        return _("{low} or more").format(low=figure(low)) + unit
    return _("{low} to below {high}").format(low=figure(low), high=figure(high)) + unit


# ------------------------------------------------------------------------------------------------- differences


def differences(compared: Compared, row: Row) -> None:
    """Show how the other arms differ from a chosen one, drawn and in words."""
    left, right = st.columns([3, 2], gap="large")
    with left:
        versus = st.selectbox(
            _("Compare with"), compared.arms, format_func=compared.arm, key=f"treat_versus_{compared.key}",
            persist_state="session", width=340,
        )  # fmt: skip
        others = [arm for arm in compared.arms if arm != versus]
        values = [compared.model.difference(row, arm, versus) for arm in others]
        words = _(
            "More (+) or fewer (−) patients like this one event-free at {time} than under {arm}, with 95% intervals."
        )
        st.caption(plain(words.format(time=compared.after(), arm=compared.within(versus))))
        treat_charts.intervals(
            [compared.arm(arm) for arm in others], values, "treat_differences", difference=True,
            title=_("Percentage points"), places=[compared.arms.index(arm) for arm in others],
        )  # fmt: skip
    with right:
        bullets([in_words(compared, arm, versus, value) for arm, value in zip(others, values, strict=True)])


def in_words(compared: Compared, arm: str, versus: str, value: Interval) -> str:
    """One difference in a sentence: an interval that holds 0 tells the two not apart."""
    if value.low > 0:
        words = _("{arm}: more event-free than under {versus}; the whole interval is above 0.")
    elif value.high < 0:
        words = _("{arm}: fewer event-free than under {versus}; the whole interval is below 0.")
    else:
        words = _("{arm} and {versus} cannot be told apart for this patient: the interval holds 0.")
    return words.format(arm=compared.arm(arm), versus=compared.within(versus))


def verdict(compared: Compared, row: Row, found: Assessment) -> None:
    """Say what may be concluded about choosing for this patient, or that nothing is recommended."""
    advised = found.recommendation
    with st.container(border=True, key="treat_verdict"):
        if advised.arm is None:
            st.markdown(f"**:material/block: {_('No treatment is recommended')}**")
        else:
            title = _("Highest for this patient: {arm}").format(arm=compared.within(advised.arm))
            st.markdown(f"**:material/info: {plain(title)}**")
        st.markdown(plain(compared.worded(advised.reason)))
        if advised.arm is not None:
            st.markdown(plain(compared.worded(compared.model.verdict())))
            for arm in compared.arms:
                if arm != advised.arm and _alike(compared, row, advised.arm, arm):
                    words = _("For this patient {arm} and {versus} cannot be told apart: the interval holds 0.")
                    st.markdown(plain(words.format(arm=compared.within(advised.arm), versus=compared.within(arm))))
        st.caption(_("A statement about patients of this trial; it does not direct anybody's care."))


def _alike(compared: Compared, row: Row, arm: str, versus: str) -> bool:
    """Whether the interval of the difference between two arms holds 0."""
    gap = compared.model.difference(row, arm, versus)
    return gap.low <= 0 <= gap.high


# ------------------------------------------------------------------------------------------------- what drives it


def drivers(compared: Compared, row: Row) -> None:
    """Explain the difference between two arms, or the risk under one, by SHAP values."""
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        arm, versus = choose_question(compared, "treat")
    try:
        with st.spinner(_("Computing the explanation")):
            found = treat_loaders.explanation(compared, row, arm, versus)
    except MedAIError as error:
        problem(compared.worded(error))
        return
    treat_charts.drivers(compared, found, "treat_drivers")
    about_drivers(compared, found, arm, versus)


def choose_question(compared: Compared, key: str) -> tuple[str, str | None]:
    """Ask what to explain: the arm, and for a difference the one it is held against."""
    names = {"difference": _("Difference between two"), "risk": _("Risk under one")}
    asked = st.segmented_control(
        _("What to explain"), list(names), default="difference", required=True, format_func=names.__getitem__,
        key=f"{key}_asked", persist_state="session",
    )  # fmt: skip
    arm = st.selectbox(
        _("Treatment"), compared.arms, index=1, format_func=compared.arm, key=f"{key}_arm_{compared.key}",
        persist_state="session", width=260,
    )  # fmt: skip
    if asked != "difference":
        return arm, None
    others = [one for one in compared.arms if one != arm]
    return arm, st.selectbox(
        _("Less"), others, format_func=compared.arm, key=f"{key}_less_{compared.key}_{arm}", persist_state="session",
        width=260,
    )  # fmt: skip


def question(compared: Compared, arm: str, versus: str | None) -> str:
    """Say what is explained."""
    if versus is None:
        words = _("Probability of the event by {time} under {arm}.")
        return words.format(time=compared.after(), arm=compared.within(arm))
    return _("Event-free probability at {time} under {arm}, less that under {versus}.").format(
        time=compared.after(), arm=compared.within(arm), versus=compared.within(versus)
    )


def about_drivers(compared: Compared, found: Explanation, arm: str, versus: str | None) -> None:
    """Say what was explained, on which scale, how exactly, and what it does not mean."""
    how = _("SHAP values in probability, from all subsets of the covariates (exact)")
    if not found.exact:
        how = _(
            "SHAP values in probability, from random orders of the covariates (approximate: standard error at most {e} "
            "percentage points)"
        ).format(e=f"{100 * found.sampling_error:.2g}")
    rest = _("additivity error {error}; held against {n} drawn patients, of whom none is real").format(
        error=f"{found.additivity_error:.0e}", n=found.background
    )
    st.caption(f"{plain(question(compared, arm, versus))} {how}; {rest}.")
    st.info(
        _(
            "Treatments were assigned by chance, so what differs between them is an effect of treatment in this trial. "
            "What one value adds to it is association: changing the value need not change the outcome."
        ),
        icon=":material/info:",
    )


def download(compared: Compared, row: Row, found: Assessment) -> None:
    """Offer the curves as a table, in English."""
    curves = found.curves
    lines = [
        [arm, f"{day:g}", *(f"{table[k, t]:.6f}" for table in (curves.survival, curves.low, curves.high))]
        for k, arm in enumerate(compared.arms)
        for t, day in enumerate(curves.days)
    ]
    st.download_button(
        _("Download the curves, CSV"), csv_table(["arm", "day", "event_free", "low", "high"], lines),
        file_name="treatment-curves.csv", mime="text/csv", icon=":material/download:", on_click="ignore",
        key="treat_csv",
    )  # fmt: skip
