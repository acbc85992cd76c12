"""Answers about one patient, computed once for a visitor: keyed on the model, its version, and the values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import streamlit as st

from pages.ui.loaders import KEEP
from pages.ui.tabx_state import View

if TYPE_CHECKING:
    from medai_core.tabular.counterfactual import Counterfactual, Curves, Goal
    from medai_core.tabular.explain import Explanation
    from medai_core.tabular.risk_model import Prediction, RiskModel

Ident = tuple[str, str]
Values = tuple[str, ...]


def values_of(view: View) -> Values:
    """Return a patient's values as a key."""
    return tuple(f"{value!r}" for value in view.record.values())


def prediction(view: View, family: str | None = None, unlikeness: bool = False) -> Prediction:
    """Return one family's answer; with `unlikeness` the autoencoder is asked as well, which loads TensorFlow."""
    return _prediction(view.ident, family or view.family, values_of(view), unlikeness, view.model, view.record)


@st.cache_data(max_entries=256, **KEEP)
def _prediction(
    ident: Ident, family: str, values: Values, unlikeness: bool, _model: RiskModel, _record: dict[str, Any]
) -> Prediction:
    return _model.predict(_record, family, unlikeness=unlikeness)[0]


def explanation(view: View, family: str | None = None, own_scale: bool = False) -> Explanation:
    """Return why one patient got the answer, on the chosen scale or on the model's own."""
    scale = view.probability and not own_scale
    return _explanation(view.ident, family or view.family, view.label, scale, values_of(view), view.model, view.x)


@st.cache_data(max_entries=128, **KEEP)
def _explanation(
    ident: Ident, family: str, label: str | None, probability: bool, values: Values, _model: RiskModel, _x: Any
) -> Explanation:
    return _model.explain(_x, family, label, probability=probability)


def curves(view: View, name: str) -> Curves:
    """Return how the answer moves with one value, beside the background's."""
    label = view.label if len(view.model.labels) > 2 else None
    return _curves(view.ident, view.family, label, values_of(view), name, view.model, view.x)


@st.cache_data(max_entries=64, **KEEP)
def _curves(
    ident: Ident, family: str, label: str | None, values: Values, name: str, _model: RiskModel, _x: Any
) -> Curves:
    from medai_core.tabular.counterfactual import ice

    return ice(_model, _x, name, family, label)


def flips(
    view: View, goal: Goal, locked: tuple[str, ...], ranges: tuple[tuple[str, float, float], ...], most: int
) -> list[Counterfactual]:
    """Return the smallest changes that flip the answer to the recorded patient."""
    known = view.before
    asked = (goal.label, goal.threshold)
    return _flips(view.ident, view.family, values_of(known), asked, locked, ranges, most, view.model, known.x)


@st.cache_data(max_entries=64, **KEEP)
def _flips(
    ident: Ident,
    family: str,
    values: Values,
    asked: tuple[str | None, float],
    locked: tuple[str, ...],
    ranges: tuple[tuple[str, float, float], ...],
    most: int,
    _model: RiskModel,
    _x: Any,
) -> list[Counterfactual]:
    from medai_core.tabular.counterfactual import Goal, counterfactuals

    limits = {name: (low, high) for name, low, high in ranges}
    return counterfactuals(
        _model, _x, family, goal=Goal(*asked), locked=locked, ranges=limits, most_changes=most
    )  # fmt: skip


def forget() -> None:
    """Drop what is cached of this visitor's patients."""
    for cached in (_prediction, _explanation, _curves, _flips):
        cached.clear()
