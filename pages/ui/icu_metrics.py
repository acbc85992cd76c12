"""What the figures of the intensive-care models are called: their names are put together from parts."""

from __future__ import annotations

import re

from pages.ui.icu_words import variable_name
from pages.ui.language import _

AGES = re.compile(r"age (\d+) (?:to (\d+)|and over)")
HOUR = re.compile(r"at hour (\d+)")


def icu_metric_name(code: str) -> str | None:
    """Return a name such as "skill over the last value, HR, 6 h" in the visitor's language; None for other models'."""
    parts = code.split(", ")
    if parts[0] not in _figures():
        return None
    return " · ".join(icu_part_name(part) for part in parts)


def icu_part_name(part: str) -> str:
    """Return the name of one part of such a name: a figure, a method, a group, or a variable."""
    named = _figures() | _methods() | _groups()
    if part in named:
        return named[part]
    if age := AGES.fullmatch(part):
        low, high = age.groups()
        return _("age {low} to {high}").format(low=low, high=high) if high else _("age {low} and over").format(low=low)
    if hour := HOUR.fullmatch(part):
        return _("at hour {n}").format(n=hour[1])
    return variable_name(part)


def _figures() -> dict[str, str]:
    return {
        "AUROC": _("AUROC"),
        "AUPRC": _("AUPRC"),
        "event 1": _("event 1"),
        "event 2": _("event 2"),
        "Brier score": _("Brier score"),
        "calibration slope": _("calibration slope"),
        "calibration intercept": _("calibration intercept"),
        "MAE": _("mean absolute error"),
        "pinball loss": _("pinball loss"),
        "skill over the last value": _("skill over the last value"),
        "skill over the training mean": _("skill over the training mean"),
        "skill over the linear trend": _("skill over the linear trend"),
        "skill over the boosted trees": _("skill over the boosted trees"),
        "coverage of 90 %": _("coverage of the 90 % interval"),
        "coverage of 50 %": _("coverage of the 50 % interval"),
    }


def _methods() -> dict[str, str]:
    return {"blend": _("blend"), "trees": _("trees"), "network": _("network")}


def _groups() -> dict[str, str]:
    return {
        "women": _("women"),
        "men": _("men"),
        "least measured quarter": _("least measured quarter"),
        "second quarter": _("second quarter"),
        "third quarter": _("third quarter"),
        "most measured quarter": _("most measured quarter"),
        "vital signs": _("vital signs"),
        "all variables": _("all variables"),
        "6 and 12 h": _("6 and 12 h"),
        "1, 6 and 12 h": _("1, 6 and 12 h"),
    }
