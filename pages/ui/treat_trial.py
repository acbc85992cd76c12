"""What became of the trial's patients, arm by arm, and what choosing for each patient would have been worth."""

from __future__ import annotations

import numpy as np
import streamlit as st

from medai_core.errors import MedAIError
from medai_core.metrics import Interval
from pages.ui import loaders, treat_charts, treat_loaders
from pages.ui.frame import bullets, facts, table
from pages.ui.language import _
from pages.ui.tabx_style import picture_format
from pages.ui.treat_words import Compared, gap, scale_of, share
from pages.ui.words import interval, plain

MOMENTS = 6
"""Times at which the numbers at risk are listed."""


def arms_panel(compared: Compared) -> None:
    """Show the arms' Kaplan-Meier curves with the numbers at risk."""
    population = compared.model.population
    st.subheader(_("Event-free in the trial, by treatment"), anchor=False)
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        bands = st.toggle(
            _("95% intervals"), value=True, key="treat_bands_trial", persist_state="session", width="content"
        )
        picture_format()
    treat_charts.arm_curves(compared, population.curves, "treat_population", bands=bands, stepped=True)
    st.caption(
        _(
            "Kaplan–Meier curves of all patients of the trial, whoever they were, with Greenwood's 95% intervals on "
            "the log-log scale. The axis may not begin at 0."
        )
    )
    at = observed(compared)
    head = [_("Treatment"), _("Patients"), _("Events"), _("Event-free at {time} (95% interval)").format(
        time=compared.after())]  # fmt: skip
    table(
        head,
        [
            [compared.arm(arm), str(population.patients[k]), str(population.events[k]), share(at[k])]
            for k, arm in enumerate(compared.arms)
        ],
    )
    st.markdown(f"**{_('Still watched and event-free')}**")
    days = population.curves.days
    places = np.unique(np.linspace(0, len(days) - 1, MOMENTS).round().astype(int))
    unit, title = scale_of(float(days[-1]))
    table(
        [title, *(f"{days[t] / unit:.0f}" for t in places)],
        [[compared.arm(arm), *(str(population.at_risk[k, t]) for t in places)] for k, arm in enumerate(compared.arms)],
    )


def observed(compared: Compared) -> list[Interval]:
    """Event-free share of each arm at the horizon, with its interval."""
    curves = compared.model.population.curves
    at = int(np.searchsorted(curves.days, compared.model.horizon, side="right")) - 1
    tables = (curves.survival, curves.low, curves.high)
    return [Interval(*(float(table[k, at]) for table in tables)) for k in range(len(compared.arms))]


def policy_panel(compared: Compared) -> None:
    """Show what choosing for each patient is worth, beside one treatment for everybody."""
    value = compared.model.policy
    st.subheader(_("Is it worth choosing for each patient?"), anchor=False)
    with st.container(border=True, key="treat_policy_verdict"):
        icon = "block" if not value.evidence else "check_circle"
        title = _("No treatment is recommended") if not value.evidence else _("Choosing for each patient did better")
        st.markdown(f"**:material/{icon}: {title}**")
        st.markdown(plain(compared.worded(compared.model.verdict())))
    picture_format()
    everybody = [_("{arm} for everybody").format(arm=compared.arm(arm)) for arm in compared.arms]
    arms, numbers = [compared.arm(arm) for arm in compared.arms], range(len(compared.arms))
    left, right = st.columns(2, gap="large")
    with left:
        st.caption(_("If all were treated by one rule: event-free at {time}").format(time=compared.after()))
        treat_charts.intervals(
            [_("Choice for each patient"), *arms], [value.individual, *value.single], "treat_policy",
            difference=False, title=_("Event-free at {time}").format(time=compared.after()), places=[-1, *numbers],
            brief=True,
        )  # fmt: skip
    with right:
        st.caption(_("Gain (+) or loss (−) of choice for each patient against one treatment for everybody"))
        treat_charts.intervals(
            arms, value.gain, "treat_gain", difference=True, title=_("Percentage points"), places=numbers, brief=True
        )
    table(
        [_("Rule"), _("Event-free at {time} (95% interval)").format(time=compared.after()),
         _("Gain of choice for each patient, percentage points")],
        [[_("Choice for each patient"), share(value.individual), "–"],
         *([name, share(one), gap(gain)] for name, one, gain in zip(everybody, value.single, value.gain, strict=True))],
    )  # fmt: skip
    st.markdown(f"**{_('How this was measured')}**")
    bullets(
        [
            _("Choice for each patient: the treatment with the best predicted outcome, by models that did not see "
              "that patient."),
            _("A patient counts for a rule where chance gave what the rule would have chosen: {followed} of {n} did "
              "for the choice for each patient.").format(followed=value.followed, n=value.n),
            _("Weighted by one over the probability of that treatment, and of being watched until {time} (inverse-"
              "probability weighting).").format(time=compared.after()),
            _("Evidence would be a gain whose whole 95% interval lies above 0 against every single treatment."),
        ]
    )  # fmt: skip


def about(compared: Compared) -> None:
    """Show what the model is for and not for, and how it did on patients it never saw."""
    with st.container(border=True):
        st.subheader(_("About this model"), anchor=False)
        found = loaders.bundle(treat_loaders.BUILTIN) if compared.builtin else None
        if found is None or isinstance(found, MedAIError):
            facts(
                [
                    (_("Patients"), str(sum(compared.model.population.patients))),
                    (_("Events"), str(sum(compared.model.population.events))),
                    (_("Model"), family_name(compared.model.members.terms.kind)),
                    (_("Intervals"), _("from {n} refits on resampled patients").format(
                        n=len(compared.model.members.coefficients) - 1)),
                ]
            )  # fmt: skip
            st.caption(_("Made in this session from your table. It was not measured on other patients."))
            return
        card, figures = found.card, {(row["metric"], row["split"]): row for row in found.metrics["figures"]}
        named = {"concordance": _("Concordance, unseen patients"), "calibration slope": _("Calibration slope")}
        named["integrated Brier score"] = _("Integrated Brier score")
        facts(
            [
                (_("Population"), _(str(card.get("population", "")))),
                *((words, interval(figures[name, "test"])) for name, words in named.items()
                  if (name, "test") in figures),
                (_("Version"), f"{found.version} · sha256 {found.digest[:12]}"),
            ]
        )  # fmt: skip
        with st.expander(_("Not for"), icon=":material/block:", expanded=True):
            bullets([_(item) for item in card.get("not_for", [])])


def family_name(family: str) -> str:
    """Return the name of a family of survival models."""
    from medai_core.tabular.survival import FAMILIES
    from pages.ui.language import tell

    return tell(FAMILIES[family].title) if family in FAMILIES else family
