"""The words of table models: tasks, kinds of columns, families, figures, outcomes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pages.ui.language import _, tell
from pages.ui.words import signed

if TYPE_CHECKING:
    from medai_core.tabular.risk_model import RiskModel

FAMILY_METRIC = re.compile(r"(.+), (logistic|svm|forest|boosting|network|blend)")


def task_name(task: str) -> str:
    """Return what a model predicts, as one chooses it."""
    names = {
        "binary": _("One of two outcomes"),
        "classes": _("One of several classes"),
        "number": _("A number"),
        "time_to_event": _("Time to an event"),
    }
    return names[task]


def kind_title(kind: str) -> str:
    """Return what a column holds."""
    names = {
        "number": _("Numbers"),
        "category": _("Categories"),
        "date": _("Dates"),
        "text": _("Free text"),
        "empty": _("Nothing"),
    }
    return names[kind]


def family_name(family: str, task: str) -> str:
    """Return the name of a family of models."""
    from medai_core.tabular.models import title_of

    return tell(title_of(family, task))


def figure_name(metric: str) -> str:
    """Return the name of a figure of merit of table models, without the family."""
    return figure_names().get(metric, metric)


def figure_names() -> dict[str, str]:
    """Return the names of all figures of merit of table models."""
    return {
        "AUC": _("AUC"),
        "AUC, mean of folds": _("AUC, mean of folds"),
        "AUC, mean over classes": _("AUC, mean over classes"),
        "accuracy": _("Accuracy"),
        "average precision": _("Average precision"),
        "Brier score": _("Brier score"),
        "log loss": _("Log loss"),
        "calibration slope": _("Calibration slope"),
        "calibration intercept": _("Calibration intercept"),
        "mean absolute error": _("Mean absolute error"),
        "root mean squared error": _("Root mean squared error"),
        "R squared": _("R squared"),
        "concordance": _("Concordance"),
        "integrated Brier score": _("Integrated Brier score"),
        "sensitivity": _("Sensitivity"),
        "specificity": _("Specificity"),
    }


def table_metric_name(code: str) -> str:
    """Return the name of a figure as bundles of tables write it, ``AUC, svm``; empty where it is none."""
    found = FAMILY_METRIC.fullmatch(code)
    if not found or found[1] not in figure_names():
        return ""
    return f"{figure_name(found[1])} · {family_name(found[2], 'binary')}"


def outcome_name(model: RiskModel, label: str) -> str:
    """Return a label of a model as people read it: a user's own as it stands in the table."""
    if model.horizon is None:
        return label
    horizon = f"{model.horizon:g}"
    return {
        "free": _("free of the event at {time}").format(time=horizon),
        "event": _("event by {time}").format(time=horizon),
    }[label]


def figure_text(row: Mapping[str, Any]) -> str:
    """Return a figure with the ends of its interval, in as many digits as its size asks for."""
    if row.get("value") is None:
        return "–"
    ends = [row.get("low"), row.get("high")]
    shown = number(row["value"])
    return shown if None in ends else _("{value} ({low} to {high})").format(
        value=shown, low=number(ends[0]), high=number(ends[1])
    )  # fmt: skip


def number(value: float) -> str:
    """Return three decimals of what is of the size of 1, and three digits of larger numbers."""
    return signed(value, 3) if abs(value) < 10 else f"{value:,.4g}".replace("-", "−")


def duration(seconds: float) -> str:
    """Return a time in words, as coarse as it is known."""
    if seconds < 50:
        return _("{n} seconds").format(n=max(5, 5 * round(seconds / 5)))
    if seconds < 90:
        return _("1 minute")
    if seconds < 5400:
        return _("{n} minutes").format(n=round(seconds / 60))
    return _("{n} hours").format(n=f"{seconds / 3600:.1f}")
