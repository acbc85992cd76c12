"""The two scores of the PhysioNet/Computing in Cardiology Challenge 2012, and two that belong beside them.

Silva et al., "Predicting In-Hospital Mortality of ICU Patients", Computing in Cardiology 39:245, 2012;
https://physionet.org/content/challenge-2012/1.0.0/
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from medai_core import metrics

DECILES = 10
PATHOLOGICAL = 0.001
"""Added by the challenge to each denominator, so that a decile of certain predictions stays finite."""
_CLIP = 1e-6


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


def average_precision(risk: ArrayLike, died: ArrayLike) -> float:
    """Area under the precision-recall curve, by steps; NaN when nobody died."""
    p, y = metrics.check_outcome(risk, died)
    if not y.any():
        return math.nan
    order = np.argsort(-p, kind="stable")
    last_of_ties = np.r_[np.flatnonzero(np.diff(p[order])), p.size - 1]
    found = np.cumsum(y[order])[last_of_ties]
    return float((np.diff(np.r_[0, found]) * found / (last_of_ties + 1)).sum() / y.sum())


def logit(risk: ArrayLike) -> NDArray[np.float64]:
    p = np.clip(np.asarray(risk, dtype=float), _CLIP, 1 - _CLIP)
    return np.log(p / (1 - p))


def logistic(
    columns: ArrayLike, died: ArrayLike, offset: ArrayLike = 0.0, penalty: float = 1e-6
) -> NDArray[np.float64]:
    """Coefficients of a logistic regression without intercept of its own, by Newton's method.

    Parameters
    ----------
    columns : array_like, shape (N, K)
        Give a column of ones for an intercept.
    died : array_like, shape (N,)
    offset : array_like, shape (N,)
        Known part of the logit.
    penalty : float
        Keeps the answer finite when the outcomes separate.
    """
    x, y = np.asarray(columns, dtype=float), np.asarray(died, dtype=float)
    known, beta = np.asarray(offset, dtype=float), np.zeros(x.shape[1])
    ridge = penalty * len(x) * np.eye(x.shape[1])
    for _ in range(50):
        p = 1 / (1 + np.exp(-np.clip(known + x @ beta, -35, 35)))
        step = np.linalg.solve((x * (p * (1 - p))[:, None]).T @ x + ridge, x.T @ (y - p) - ridge @ beta)
        # A full Newton step can overshoot far from the answer.
        beta += step / max(1.0, float(np.abs(step).max()) / 2)
        if np.abs(step).max() < 1e-9:
            break
    return beta


def calibration_slope(risk: ArrayLike, died: ArrayLike) -> float:
    """Slope of the logistic regression of the outcome on the logit of the risk; 1 is right, below 1 too extreme."""
    p, y = metrics.check_outcome(risk, died)
    if y.all() or not y.any() or np.ptp(p) == 0:
        return math.nan
    z = logit(p)
    return float(logistic(np.column_stack([z, np.ones_like(z)]), y)[0])


def calibration_intercept(risk: ArrayLike, died: ArrayLike) -> float:
    """Calibration in the large: the shift in logits that makes deaths expected equal deaths seen; 0 is right."""
    p, y = metrics.check_outcome(risk, died)
    if y.all() or not y.any():
        return math.nan
    return float(logistic(np.ones((p.size, 1)), y, offset=logit(p))[0])
