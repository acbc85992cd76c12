"""The words of explanations: labels, scales, features with their values, and how good an explanation is."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

import streamlit as st

from pages.ui.language import _, tell
from pages.ui.tab_words import number, outcome_name
from pages.ui.words import signed

if TYPE_CHECKING:
    from medai_core.tabular.encoder import Feature
    from medai_core.tabular.explain import Explanation
    from medai_core.tabular.risk_model import RiskModel

LONGEST = 34


def label_text(model: RiskModel, label: str) -> str:
    """Return a label: those of the shipped model in the visitor's language, a user's own as it stands."""
    known = {"benign": _("benign"), "malignant": _("malignant")}
    return known.get(label) or outcome_name(model, label)


def scale_title(model: RiskModel, told: Explanation) -> str:
    """Return what an explanation's numbers are, for the axis: never left unsaid."""
    label = short(label_text(model, model.labels[told.output])) if model.labels else ""
    titles = {
        "log-odds": _("Log-odds of {label}").format(label=label),
        "logit": _("Logit of {label}").format(label=label),
        "probability": _("Probability of {label}").format(label=label),
        "value": _("{target}, in its own units").format(target=short(model.target)),
    }
    if told.link in titles:
        return titles[told.link]
    from medai_core.tabular.explain import LINKS

    return tell(LINKS[told.link])


def unit_of(told: Explanation) -> str:
    """Return the scale in a word, for contributions."""
    return {
        "log-odds": _("log-odds"), "logit": _("logits"), "probability": _("of probability"), "value": _("units"),
        "log hazard": _("of log hazard"),
    }[told.link]  # fmt: skip


def signed_plus(value: float) -> str:
    """Return a contribution with its sign, in digits that fit its size."""
    digits = 2 if abs(value) < 100 else 0
    if 0 < abs(value) < 0.095:
        digits = 3
    shown = signed(value, digits)
    return shown if shown.startswith("−") or float(shown) == 0 else f"+{shown}"


def axis_title(feature: Feature) -> str:
    """Return a feature with its unit, for an axis."""
    return f"{short(feature.name)}, {short(feature.unit)}" if feature.unit else short(feature.name)


def level_ticks(feature: Feature) -> dict[str, object]:
    """Return the ticks of a category's axis; nothing of a number."""
    if not feature.levels:
        return {}
    return {"tickvals": list(range(len(feature.levels))), "ticktext": [short(level, 20) for level in feature.levels]}


def value_text(feature: Feature, value: float) -> str:
    """Return a value of a feature with its unit."""
    return _("missing") if value != value else feature.text(value)


def short(text: str, longest: int = LONGEST) -> str:
    """Return a user's words for a chart: not too long, and no markup."""
    return escape(text if len(text) <= longest else text[: longest - 1] + "…", quote=False)


def quality(told: Explanation) -> None:
    """Say whether an explanation is exact, how far it is from adding up, and what it was held against."""
    from medai_core.tabular.explain import METHODS

    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        if told.exact:
            st.badge(_("exact"), icon=":material/check_circle:", color="green")
        else:
            st.badge(_("approximate"), icon=":material/blur_on:", color="orange")
        lines = [
            tell(METHODS[told.method]),
            _("contributions add up to the prediction within {gap}").format(gap=f"{told.additivity_error:.1g}"),
        ]
        if told.sampling_error:
            lines.append(
                _("sampling error of a contribution at most {error}").format(error=number(told.sampling_error))
            )
        lines.append(_("held against {n} background patients").format(n=told.background))
        st.caption(" · ".join(lines))
