"""SHAP values of many rows, and of many models, made comparable: what pages draw."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from medai_core.errors import InputError
from medai_core.tabular.explain import Explanation

Matrix = NDArray[np.float64]
RESAMPLES = 300
TOP = 5


@dataclass(frozen=True)
class Bar:
    """How much one feature moves the predictions.

    Attributes
    ----------
    mean : float
        Mean of the absolute SHAP values.
    low, high : float
        95 % bootstrap interval over rows.
    share : float
        Of the sum over all features.
    """

    name: str
    feature: int
    mean: float
    low: float
    high: float
    share: float


def bars(explanation: Explanation, seed: int = 0) -> list[Bar]:
    """Global importance, the largest first."""
    size = np.abs(explanation.values)
    mean, (low, high) = size.mean(axis=0), _interval(size, seed)
    total = max(float(mean.sum()), 1e-300)
    names = explanation.encoder.names
    return [
        Bar(names[k], int(k), float(mean[k]), float(low[k]), float(high[k]), float(mean[k] / total))
        for k in np.argsort(-mean, kind="stable")
    ]


def _interval(rows: Matrix, seed: int) -> Matrix:
    """95 % bootstrap interval (2, D) of the mean of rows (N, D)."""
    rng = np.random.default_rng(seed)
    weights = rng.multinomial(len(rows), np.full(len(rows), 1 / len(rows)), RESAMPLES) / len(rows)
    return np.quantile(weights @ rows, [0.025, 0.975], axis=0)


def colours(explanation: Explanation) -> Matrix:
    """Each value's place among its feature's values, 0 lowest to 1 highest, (N, D); NaN where missing."""
    x = explanation.x
    found = np.full(x.shape, np.nan)
    for k in range(x.shape[1]):
        known = ~np.isnan(x[:, k])
        values, place = np.unique(x[known, k], return_inverse=True)
        found[known, k] = place / max(1, len(values) - 1)
    return found


@dataclass(frozen=True, eq=False)
class Dependence:
    """SHAP values of one feature over its values, coloured by the feature it seems to interact with most.

    Attributes
    ----------
    x, values, colour : Matrix, shape (N,)
    feature, by : int
    candidates : tuple[int, ...]
        Other features, the strongest seeming interaction first.
    """

    feature: int
    by: int
    x: Matrix
    values: Matrix
    colour: Matrix
    candidates: tuple[int, ...]


def dependence(explanation: Explanation, feature: int, by: int | None = None) -> Dependence:
    """Dependence of one feature; see ``shap.utils.approximate_interactions`` for how the other is chosen.

    Raises
    ------
    InputError
        If there is no such feature.
    """
    width = explanation.x.shape[1]
    for name, place in (("feature", feature), ("by", by)):
        if place is not None and not 0 <= place < width:
            raise InputError("`{name}` must be below {width}, got {place}", name=name, width=width, place=place)
    from shap.utils import approximate_interactions

    filled = np.where(np.isnan(explanation.x), np.nanmedian(explanation.x, axis=0), explanation.x)
    order = tuple(int(k) for k in approximate_interactions(feature, explanation.values, filled) if k != feature)
    other = by if by is not None else (order or (feature,))[0]
    x = explanation.x
    return Dependence(feature, other, x[:, feature], explanation.values[:, feature], x[:, other], order)


@dataclass(frozen=True)
class CohortBar:
    """One feature in two cohorts: mean SHAP value of each with its 95 % bootstrap interval."""

    name: str
    feature: int
    first: float
    first_interval: tuple[float, float]
    second: float
    second_interval: tuple[float, float]


def cohorts(
    explanation: Explanation, first: NDArray[np.bool_], second: NDArray[np.bool_], seed: int = 0
) -> list[CohortBar]:
    """Two cohorts of the explained rows side by side, by mean SHAP value; the largest difference first.

    Raises
    ------
    InputError
        If a cohort is empty.
    """
    if not first.any() or not second.any():
        raise InputError("Each cohort needs at least one row, got {a} and {b}", a=int(first.sum()), b=int(second.sum()))
    parts = [explanation.values[mine] for mine in (first, second)]
    means, ends = [part.mean(axis=0) for part in parts], [_interval(part, seed) for part in parts]
    return [
        CohortBar(
            explanation.encoder.names[k], int(k),
            float(means[0][k]), (float(ends[0][0, k]), float(ends[0][1, k])),
            float(means[1][k]), (float(ends[1][0, k]), float(ends[1][1, k])),
        )
        for k in np.argsort(-np.abs(means[0] - means[1]), kind="stable")
    ]  # fmt: skip


@dataclass(frozen=True, eq=False)
class Agreement:
    """How far families agree on why one row got its prediction.

    Attributes
    ----------
    families : tuple[str, ...]
    names : tuple[str, ...]
        Features by mean absolute value over the families, the largest first.
    values : Matrix, shape (families, features)
        SHAP values in that order.
    correlation : Matrix, shape (families, families)
        Of the values, by rank (Spearman).
    shared_top : float
        Mean share of the five strongest features that two families have in common.
    same_direction : float
        Of the five strongest features overall, the share that all families push the same way.
    """

    families: tuple[str, ...]
    names: tuple[str, ...]
    values: Matrix
    correlation: Matrix
    shared_top: float
    same_direction: float


def agreement(explanations: Mapping[str, Explanation], row: int = 0) -> Agreement:
    """Compare explanations of the same row by several families, all on one scale.

    Raises
    ------
    InputError
        If there are fewer than two, or their scales differ.
    """
    if len(explanations) < 2:
        raise InputError("At least two models are needed to compare, got {count}", count=len(explanations))
    if len({one.link for one in explanations.values()}) > 1:
        raise InputError("Explanations on different scales cannot be compared")
    values = np.array([one.values[row] for one in explanations.values()])
    order = np.argsort(-np.abs(values).mean(axis=0), kind="stable")
    names = next(iter(explanations.values())).encoder.names
    ranks = np.array([_ranks(each) for each in values])
    with np.errstate(invalid="ignore", divide="ignore"):
        correlation = np.corrcoef(ranks) if values.shape[1] > 1 else np.ones((len(values), len(values)))
    tops = [set(np.argsort(-np.abs(each), kind="stable")[:TOP].tolist()) for each in values]
    shared = [len(a & b) / max(1, len(a)) for a, b in combinations(tops, 2)]
    signs = np.sign(values[:, order[:TOP]])
    return Agreement(
        tuple(explanations), tuple(names[k] for k in order), values[:, order], np.nan_to_num(correlation, nan=0.0),
        float(np.mean(shared)), float(np.mean((signs == signs[0]).all(axis=0))),
    )  # fmt: skip


def _ranks(values: Matrix) -> Matrix:
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(count) - (count - 1) / 2)[place]


@dataclass(frozen=True)
class Stable:
    """How one feature's importance holds when the model is trained on other parts of the table.

    Attributes
    ----------
    rank : float
        Median over the trained models; 1 is the strongest.
    rank_low, rank_high : int
        Lowest and highest.
    top_share : float
        Share of the models in which it is among the five strongest.
    """

    name: str
    feature: int
    rank: float
    rank_low: int
    rank_high: int
    top_share: float


def stability(importance: Matrix, names: tuple[str, ...]) -> list[Stable]:
    """From mean absolute SHAP values (models, D), one row per model trained on another part; the strongest first."""
    ranks = np.argsort(np.argsort(-importance, axis=1, kind="stable"), axis=1) + 1
    found = [
        Stable(name, k, float(np.median(ranks[:, k])), int(ranks[:, k].min()), int(ranks[:, k].max()),
               float(np.mean(ranks[:, k] <= TOP)))
        for k, name in enumerate(names)
    ]  # fmt: skip
    return sorted(found, key=lambda one: (one.rank, -one.top_share, one.rank_high))
