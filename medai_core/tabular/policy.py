"""What a rule of treatment would have been worth in a randomised trial: inverse-probability weighting.

A patient counts for a rule when chance gave what the rule would have chosen, weighted by one over the probability of
that, and when the outcome at the horizon is known, weighted by one over the probability of being watched that long.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medai_core.errors import InputError
from medai_core.metrics import Interval
from medai_core.tabular.survival import Rows, Sample, Vector
from medai_core.tabular.survival_metrics import LEAST_WATCHED, Watched, check_arms

RESAMPLES = 2000
INTERVAL = (0.025, 0.975)


@dataclass(frozen=True)
class PolicyValue:
    """Share of patients event-free at the horizon if all were treated by a rule.

    Attributes
    ----------
    individual : Interval
        Each patient gets the arm with the best predicted outcome, by models that did not see the patient.
    single : tuple[Interval, ...]
        Everybody gets one arm, by number.
    gain : tuple[Interval, ...]
        `individual` minus each of `single`.
    followed : int
        Patients to whom chance gave what the rule would have chosen (mean over repeats, rounded).
    n : int
        Patients of the trial.
    horizon : float
        Days.
    """

    individual: Interval
    single: tuple[Interval, ...]
    gain: tuple[Interval, ...]
    followed: int
    n: int
    horizon: float

    @property
    def best(self) -> int:
        """The single arm with the highest value."""
        return int(np.argmax([one.value for one in self.single]))

    @property
    def evidence(self) -> bool:
        """Whether individual choice beats every single arm: the gain's whole 95 % interval lies above 0 for each."""
        return all(gain.low > 0 for gain in self.gain)

    def to_dict(self) -> dict[str, Any]:
        return {
            "individual": self.individual.to_dict(),
            "single": [one.to_dict() for one in self.single],
            "gain": [one.to_dict() for one in self.gain],
            "followed": self.followed,
            "n": self.n,
            "horizon": self.horizon,
        }

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> PolicyValue:
        single, gain = (tuple(Interval(**one) for one in stored[name]) for name in ("single", "gain"))
        rest = (int(stored["followed"]), int(stored["n"]), float(stored["horizon"]))
        return cls(Interval(**stored["individual"]), single, gain, *rest)


def outcome_weights(sample: Sample, horizon: float) -> tuple[Vector, NDArray[np.bool_]]:
    """Weight (N,) of each patient for censoring, and who was event-free at the horizon (N,).

    Whoever was lost before the horizon has weight 0. Censoring is estimated within each arm (Robins & Finkelstein,
    Biometrics 56:779, 2000).

    Raises
    ------
    InputError
        If hardly anybody, of all or of one arm, was watched until the horizon.
    """
    check_arms(sample.time, sample.event, sample.arm, horizon)
    free = sample.time >= horizon
    free &= ~(sample.event & (sample.time == horizon))
    known = free | (sample.event & (sample.time <= horizon))
    weight = np.zeros(len(sample))
    for arm in range(sample.arms):
        mine = sample.arm == arm
        watched = Watched(sample.time[mine], sample.event[mine])
        share = watched.before(np.minimum(sample.time[mine], horizon))
        weight[mine] = known[mine] / np.maximum(share, LEAST_WATCHED)
    return weight, free


def policy_value(
    sample: Sample, decisions: Rows, horizon: float, resamples: int = RESAMPLES, seed: int = 0
) -> PolicyValue:
    """The value of a rule's decisions, and of each single arm, with bootstrap intervals over patients.

    Parameters
    ----------
    sample : Sample
        Of a randomised trial: the probability of each arm is its share.
    decisions : Rows, shape (R, N)
        Chosen arm of each patient, in each repeat of the learning; from models that did not see the patient, or the
        value flatters.
    horizon : float
        Days.
    """
    decisions = np.atleast_2d(decisions)
    if decisions.shape[1] != len(sample) or decisions.min() < 0 or decisions.max() >= sample.arms:
        raise InputError("`decisions` must name one of {arms} arms for each of {n} patients", arms=sample.arms,
                         n=len(sample))  # fmt: skip
    weight, free = outcome_weights(sample, horizon)
    given = np.eye(sample.arms)[sample.arm]  # (N, K)
    follows = (decisions == sample.arm).mean(axis=0)  # (N,) share of the repeats that chose what chance gave
    plans = np.column_stack([follows, given])  # (N, 1 + K)
    rng, drawn = np.random.default_rng(seed), np.empty((resamples, 1 + sample.arms))
    everybody = _values(np.ones(len(sample)), plans, given, weight, free)
    for k in range(resamples):
        counts = np.bincount(rng.integers(0, len(sample), len(sample)), minlength=len(sample)).astype(float)
        drawn[k] = _values(counts, plans, given, weight, free)
    value = [_interval(everybody[k], drawn[:, k]) for k in range(1 + sample.arms)]
    gain = [_interval(everybody[0] - everybody[k], drawn[:, 0] - drawn[:, k]) for k in range(1, 1 + sample.arms)]
    return PolicyValue(value[0], tuple(value[1:]), tuple(gain), round(follows.sum()), len(sample), float(horizon))


def _values(
    counts: Vector, plans: NDArray[np.float64], given: NDArray[np.float64], weight: Vector, free: NDArray[np.bool_]
) -> Vector:
    """Event-free share under each plan, by Hajek's ratio: weights that do not add up to N cost precision."""
    chance = given @ (counts @ given / counts.sum())  # (N,) probability of the arm each patient got
    w = plans * (counts * weight / chance)[:, None]
    return (w * free[:, None]).sum(axis=0) / w.sum(axis=0)


def _interval(value: float, drawn: Vector) -> Interval:
    low, high = np.nanquantile(drawn, INTERVAL)
    return Interval(float(value), float(low), float(high))
