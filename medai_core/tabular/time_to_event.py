"""Time to an event on a user's own table: Cox models, linear and boosted, and what is measured of them.

Outcomes are times with a sign: positive where the event was seen, negative where watching ended before it. Scores are
log hazards, so that every model here is explained exactly on that scale. Trials with arms have families of their own in
:mod:`~medai_core.tabular.survival`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medai_core.tabular.survival_metrics import Watched, brier, integrated

Matrix = NDArray[np.float64]
Vector = NDArray[np.float64]

MOST_COMPARED = 5_000
STEPS = 50
STILL_WATCHED = 0.2
"""The horizon is the time until which this share of the rows is watched and free of the event."""


def signed(time: Vector, event: NDArray[np.bool_]) -> Vector:
    """Times (N,) with the sign of the event; a time of 0 becomes a tiny one."""
    least = time[time > 0].min(initial=1.0) / 1000
    return np.where(event, 1.0, -1.0) * np.maximum(time, least)


@dataclass(frozen=True, eq=False)
class _Risk:
    """Rows by time, with the sum of hazards of all who are still watched at each."""

    order: NDArray[np.intp]
    time: Vector
    event: NDArray[np.bool_]
    hazard: Vector
    at_risk: Vector

    @classmethod
    def of(cls, link: Vector, y: Vector) -> _Risk:
        order = np.argsort(np.abs(y), kind="stable")
        time, event = np.abs(y)[order], y[order] > 0
        hazard = np.exp(np.clip(link[order], -30, 30))
        sums = np.cumsum(hazard[::-1])[::-1]
        return cls(order, time, event, hazard, sums[np.searchsorted(time, time, side="left")])


def partial_loss(link: Vector, y: Vector) -> float:
    """Negative log partial likelihood (Cox 1972; ties as Breslow's) per event."""
    risk = _Risk.of(link, y)
    each = np.log(risk.hazard[risk.event]) - np.log(risk.at_risk[risk.event])
    return float(-each.mean()) if each.size else float("nan")


def slope_of(link: Vector, y: Vector) -> float:
    """Coefficient of a Cox regression on the link alone: 1 is right, below 1 too extreme."""
    centred, slope = link - link.mean(), 1.0
    for _ in range(50):
        grad, hess = _by_row(slope * centred, y)
        step = float((grad * centred).sum()) / max(_curvature(slope * centred, centred, y), 1e-9)
        slope -= float(np.clip(step, -1, 1))
        if abs(step) < 1e-8:
            break
    return slope


def _by_row(link: Vector, y: Vector) -> tuple[Vector, Vector]:
    """Gradient and curvature (N,) of the negative log partial likelihood by each row's link."""
    risk = _Risk.of(link, y)
    once, twice = (np.cumsum(risk.event / risk.at_risk**power) for power in (1, 2))
    last = np.searchsorted(risk.time, risk.time, side="right") - 1
    grad = risk.hazard * once[last] - risk.event
    hess = risk.hazard * once[last] - risk.hazard**2 * twice[last]
    back = np.empty_like(risk.order)
    back[risk.order] = np.arange(len(link))
    return grad[back], np.maximum(hess, 1e-6)[back]


def _curvature(link: Vector, z: Vector, y: Vector) -> float:
    """Of the negative log partial likelihood along z."""
    risk = _Risk.of(link, y)
    moved = z[risk.order]
    first, second = (
        np.cumsum((risk.hazard * moved**power)[::-1])[::-1][np.searchsorted(risk.time, risk.time, side="left")]
        for power in (1, 2)
    )
    spread = second / risk.at_risk - (first / risk.at_risk) ** 2
    return float(spread[risk.event].sum())


# ------------------------------------------------------------------------------------------------ learners


def fit_cox(z: Matrix, y: Vector, strength: float) -> Any:
    """A Cox regression with a ridge penalty, of scikit-survival."""
    from sksurv.linear_model import CoxPHSurvivalAnalysis
    from sksurv.util import Surv

    return CoxPHSurvivalAnalysis(alpha=1.0 / strength, n_iter=100).fit(z, Surv.from_arrays(y > 0, np.abs(y)))


def cox_objective(scores: Vector, rows: Any) -> tuple[Vector, Vector]:
    """What LightGBM needs to boost a Cox model: gradient and curvature at each row."""
    return _by_row(np.asarray(scores, float), np.asarray(rows.get_label(), float))


# ---------------------------------------------------------------------------------------------- baseline


@dataclass(frozen=True, eq=False)
class Baseline:
    """Cumulative hazard of a row with link 0, by steps (Breslow 1974).

    Attributes
    ----------
    time, hazard : Vector, shape (T,)
        Ascending; the hazard from each time on.
    """

    time: Vector
    hazard: Vector

    @classmethod
    def fit(cls, link: Vector, y: Vector) -> Baseline:
        risk = _Risk.of(link, y)
        time, place = np.unique(risk.time, return_inverse=True)
        steps = np.bincount(place, weights=risk.event / risk.at_risk, minlength=len(time))
        total, keep = np.cumsum(steps), steps > 0
        return cls(time[keep], total[keep])

    def event_free(self, link: Vector, times: Vector) -> Matrix:
        """Probability (N, T) of being free of the event after each time."""
        reached = np.r_[0.0, self.hazard][np.searchsorted(self.time, times, side="right")]
        return np.exp(-np.exp(np.clip(link, -30, 30))[:, None] * reached)

    def to_dict(self, most: int = 500) -> dict[str, list[float]]:
        keep = np.unique(np.linspace(0, len(self.time) - 1, min(len(self.time), most)).astype(int))
        return {"time": self.time[keep].tolist(), "hazard": self.hazard[keep].tolist()}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Sequence[float]]) -> Baseline:
        return cls(np.array(stored["time"], float), np.array(stored["hazard"], float))


def horizon_of(y: Vector) -> float:
    """The time until which a fifth of the rows is still watched, in two digits."""
    return float(f"{np.quantile(np.abs(y), 1 - STILL_WATCHED):.2g}")


# ----------------------------------------------------------------------------------------------- figures


def concordance(link: Vector, y: Vector) -> float:
    """Harrell's concordance, of at most 5,000 rows: how often the earlier event has the higher hazard."""
    from sksurv.exceptions import NoComparablePairException
    from sksurv.metrics import concordance_index_censored

    some = np.random.default_rng(0).permutation(len(y))[:MOST_COMPARED]
    try:
        return float(concordance_index_censored(y[some] > 0, np.abs(y[some]), link[some])[0])
    except (NoComparablePairException, ValueError):
        return float("nan")


def integrated_brier(link: Vector, y: Vector) -> float:
    """Integrated Brier score up to the horizon, weighted for censoring; the baseline is that of the same rows."""
    time, event = np.abs(y), y > 0
    days = np.linspace(np.quantile(time[event], 0.05), max(horizon_of(y), np.quantile(time[event], 0.1)), STEPS)
    free = Baseline.fit(link, y).event_free(link, days)
    return float(integrated(brier(free, time, event, days, Watched(time, event)), days).mean())


FIGURES: dict[str, Callable[[Vector, Vector], float]] = {
    "concordance": concordance,
    "integrated Brier score": integrated_brier,
    "calibration slope": slope_of,
}
