"""The two scores of the PhysioNet/Computing in Cardiology Challenge 2012, and two that belong beside them.

Silva et al., "Predicting In-Hospital Mortality of ICU Patients", Computing in Cardiology 39:245, 2012;
https://physionet.org/content/challenge-2012/1.0.0/
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from medai_core import metrics
from medai_core.metrics import average_precision, calibration_intercept, calibration_slope, logistic, logit

__all__ = [
    "average_precision",
    "best_threshold",
    "calibration_intercept",
    "calibration_slope",
    "event_1",
    "event_2",
    "logistic",
    "logit",
]

DECILES = 10
PATHOLOGICAL = 0.001
"""Added by the challenge to each denominator, so that a decile of certain predictions stays finite."""


def event_1(risk: ArrayLike, died: ArrayLike, threshold: float) -> float:
    """The smaller of sensitivity and positive predictive value at a threshold; 0 when nobody is above it.

    Parameters
    ----------
    risk : array_like, shape (N,)
    died : array_like, shape (N,)
        0 or 1. NaN is returned when nobody died.
    threshold : float
        A risk at or above it predicts death.
    """
    p, y = metrics.check_outcome(risk, died)
    if not y.any():
        return math.nan
    found, named = (y & (p >= threshold)).sum(), (p >= threshold).sum()
    return float(min(found / y.sum(), found / named)) if named else 0.0


def best_threshold(risk: ArrayLike, died: ArrayLike) -> float:
    """The threshold with the highest :func:`event_1`, halfway to the next lower risk."""
    p, y = metrics.check_outcome(risk, died)
    order = np.argsort(-p, kind="stable")
    ordered, found = p[order], np.cumsum(y[order])
    score = np.minimum(found / max(y.sum(), 1), found / np.arange(1, p.size + 1))
    score[:-1][ordered[:-1] == ordered[1:]] = -1  # equal risks stand on one side
    best = int(score.argmax())
    below = ordered[best + 1] if best + 1 < p.size else 0.0
    return float((ordered[best] + below) / 2)


def event_2(risk: ArrayLike, died: ArrayLike) -> float:
    """Hosmer-Lemeshow H over deciles of risk, divided by the range between the top and bottom decile's mean risk.

    ``H = sum((O - E)^2 / (N pi (1 - pi) + 0.001))`` with O deaths observed, E = N pi expected and pi the mean risk
    of a decile; lower is better.

    Parameters
    ----------
    risk, died : array_like, shape (N,)
        N at least 10; NaN below that, and when all deciles have one risk.
    """
    p, y = metrics.check_outcome(risk, died)
    if p.size < DECILES:
        return math.nan
    order = np.argsort(p, kind="stable")
    start = np.arange(DECILES) * p.size // DECILES
    n = np.diff(np.r_[start, p.size])
    mean = np.add.reduceat(p[order], start) / n
    observed = np.add.reduceat(y[order].astype(float), start)
    h = ((observed - n * mean) ** 2 / (n * mean * (1 - mean) + PATHOLOGICAL)).sum()
    spread = mean[-1] - mean[0]
    return float(h / spread) if spread > 0 else math.nan
