"""How good survival curves are: concordance, integrated Brier score, calibration; with intervals over patients."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medai_core import metrics
from medai_core.errors import InputError
from medai_core.metrics import Interval

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]
Flags = NDArray[np.bool_]
Rows = NDArray[np.intp]

MOST_STEPS = 50
PAIRED_AT_ONCE = 256
LEAST_WATCHED = 0.05
"""Below this share of patients still watched, weights for censoring say more of a few patients than of all."""


@dataclass(frozen=True, eq=False)
class Pairs:
    """Which pairs of patients can be compared (Harrell 1982), and which of them a risk orders rightly.

    Attributes
    ----------
    usable, right : Matrix, shape (N, N)
        1 where the row's patient had the event while the column's was free of it; and 1 or, in a tie, 1/2 where the
        row's risk is higher.
    """

    usable: Matrix
    right: Matrix

    @classmethod
    def of(cls, risk: Vector, time: Vector, event: Flags) -> Pairs:
        earlier = (time[:, None] < time) | ((time[:, None] == time) & ~event)
        usable = (event[:, None] & earlier).astype(float)
        return cls(usable, usable * ((risk[:, None] > risk) + 0.5 * (risk[:, None] == risk)))

    def concordance(self, rows: Rows | None = None) -> float:
        """Share of usable pairs ordered rightly, among all patients or drawn ones; NaN without pairs."""
        weight = np.ones(len(self.usable)) if rows is None else np.bincount(rows, minlength=len(self.usable)) * 1.0
        pairs = weight @ self.usable @ weight
        return float(weight @ self.right @ weight / pairs) if pairs else math.nan


def concordance(risk: Vector, time: Vector, event: Flags) -> float:
    """Harrell's concordance: how often the patient with the earlier event was given the higher risk."""
    usable = right = 0.0
    for rows in np.array_split(np.flatnonzero(event), max(1, int(event.sum()) // PAIRED_AT_ONCE)):
        mine = (risk[rows, None], time[rows, None])
        later = (mine[1] < time) | ((mine[1] == time) & ~event)
        usable += later.sum()
        right += (later & (mine[0] > risk)).sum() + 0.5 * (later & (mine[0] == risk)).sum()
    return float(right / usable) if usable else math.nan


class Watched:
    """Probability of still being watched, after each time, by Kaplan and Meier with censoring as the event.

    Parameters
    ----------
    time, event : shape (N,)
        Of the patients it is estimated from.
    """

    def __init__(self, time: Vector, event: Flags) -> None:
        from sksurv.nonparametric import kaplan_meier_estimator

        self._days, self._share = kaplan_meier_estimator(~event, time)

    def before(self, days: Vector) -> Vector:
        """Just before each time: a patient with an event on day t was watched until then."""
        return np.r_[1.0, self._share][np.searchsorted(self._days, days, side="left")]


def brier(survival: Matrix, time: Vector, event: Flags, days: Vector, watched: Watched) -> Matrix:
    """Each patient's squared errors (N, T) at each time, weighted for censoring (Graf et al. 1999, section 5).

    Parameters
    ----------
    survival : Matrix, shape (N, T)
        Stated probability of being event-free after each of `days`.
    watched : Watched
        Of the training patients.
    """
    late = time[:, None] > days
    dead = ~late & event[:, None]
    kept = watched.before(np.nextafter(days, np.inf))
    weight = dead / np.maximum(watched.before(time), LEAST_WATCHED)[:, None] + late / np.maximum(kept, LEAST_WATCHED)
    return weight * (late - survival) ** 2


def integrated(errors: Matrix, days: Vector) -> Vector:
    """Mean over time (N,) of each patient's errors (N, T)."""
    return np.trapezoid(errors, days, axis=1) / (days[-1] - days[0])


def calibration_slope(event_free: Vector, time: Vector, event: Flags) -> float:
    """Slope of the log hazard on the stated ``log(-log S)``: 1 when risks differ as much as stated.

    Parameters
    ----------
    event_free : Vector, shape (N,)
        Stated probability at one time.

    Returns
    -------
    float
        NaN without events, when all were given the same, or when no slope is the best.

    Notes
    -----
    A Cox model of the stated risk alone (van Houwelingen, Statistics in Medicine 19:3401, 2000).
    """
    x = log_hazard(event_free)
    if np.ptp(x) == 0 or not event.any():
        return math.nan
    order = np.argsort(-time, kind="stable")
    x, time, event = x[order] - x.mean(), time[order], event[order]
    at_risk = np.searchsorted(-time, -time[event], side="right") - 1  # the last of those watched as long as each event
    slope = 0.0
    for _ in range(MOST_STEPS):  # Newton, written out because a bootstrap asks for hundreds of slopes
        weight = np.exp(np.clip(slope * x, -50, 50))
        mean, square = (np.cumsum(weight * x**k)[at_risk] / np.cumsum(weight)[at_risk] for k in (1, 2))
        curvature = (square - mean**2).sum()
        if curvature <= 0:
            return math.nan
        step = (x[event] - mean).sum() / curvature
        slope += float(np.clip(step, -1, 1))
        if abs(step) < 1e-9:
            return slope
    return math.nan


def log_hazard(event_free: Vector) -> Vector:
    """``log(-log S)``, of probabilities kept off 0 and 1."""
    return np.log(-np.log(np.clip(event_free, 1e-6, 1 - 1e-6)))


def event_free_share(time: Vector, event: Flags, day: float) -> float:
    """Share of patients free of the event after a number of days, by Kaplan and Meier."""
    from sksurv.nonparametric import kaplan_meier_estimator

    days, share = kaplan_meier_estimator(event, time)
    return float(np.r_[1.0, share][np.searchsorted(days, day, side="right")])


def check_horizon(time: Vector, event: Flags, horizon: float) -> None:
    """Raise InputError unless enough patients were watched that long."""
    if horizon <= 0 or Watched(time, event).before(np.array([horizon]))[0] < LEAST_WATCHED:
        longest = float(np.quantile(time, 1 - LEAST_WATCHED))
        raise InputError("`horizon` must be above 0 and at most about {longest:.0f} days, as long as patients were "
                         "watched, got {horizon:g}", longest=longest, horizon=horizon)  # fmt: skip


def check_arms(time: Vector, event: Flags, arm: Rows, horizon: float) -> None:
    """As :func:`check_horizon`, of every arm: one watched for less long would look as if all its patients failed."""
    for k in np.unique(arm):
        check_horizon(time[arm == k], event[arm == k], horizon)


def by_patient(statistic: Callable[[Rows], float], patients: int, resamples: int, seed: int = 0) -> Interval:
    """A statistic of chosen rows, with its 95 % bootstrap interval over patients."""
    return metrics.bootstrap(statistic, np.arange(patients), n=resamples, seed=seed)
