"""The face of the treatment page: one patient under each arm of a randomised trial, and what choosing is worth.

``load_treatment().assess({"age": 40, …})`` compares the arms of ACTG 175; :func:`~medai_core.tabular.treatment_fit.
fit_treatment` makes the same of a user's own trial. Whether choosing for each patient beats one arm for everybody was
measured on the trial; where there is no evidence that it does, nothing is recommended.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medai_core import registry
from medai_core.artifacts import Bundle, load_arrays
from medai_core.errors import InputError, Message, say
from medai_core.metrics import Interval
from medai_core.tabular.encoder import Encoder, Feature
from medai_core.tabular.policy import PolicyValue
from medai_core.tabular.survival import Matrix, Members, Vector
from medai_core.tabular.trial import ACTG, ACTG_ARMS, ACTG_VALUES, Scaling

FEWEST_SHOWN = 5
"""Smaller groups of similar patients are not counted out: they could point at somebody."""


@dataclass(frozen=True, eq=False)
class Curves:
    """Event-free probability over time under each arm.

    Attributes
    ----------
    days : Vector, shape (T,)
    survival, low, high : Matrix, shape (K, T)
        With 95 % bootstrap intervals.
    """

    days: Vector
    survival: Matrix
    low: Matrix
    high: Matrix


@dataclass(frozen=True, eq=False)
class Population:
    """What became of the trial's patients, arm by arm (Kaplan and Meier).

    Attributes
    ----------
    curves : Curves
        With Greenwood's intervals on the log-log scale.
    at_risk : NDArray[np.int64], shape (K, T)
        Patients still watched and event-free.
    patients, events : tuple[int, ...]
        Of each arm.
    """

    curves: Curves
    at_risk: NDArray[np.int64]
    patients: tuple[int, ...]
    events: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Cells:
    """How many patients of each arm were alike in the covariates that matter most.

    Attributes
    ----------
    columns : tuple[int, ...]
        Places of the covariates.
    edges : tuple[tuple[float, ...], ...]
        Of each covariate, where the next band begins.
    counts : NDArray[np.int64], shape (bands of the first, …, K)
    """

    columns: tuple[int, ...]
    edges: tuple[tuple[float, ...], ...]
    counts: NDArray[np.int64]

    def bands(self, x: Vector) -> tuple[int, ...]:
        """Band of each covariate of one patient (D,)."""
        pairs = zip(self.columns, self.edges, strict=True)
        return tuple(int(np.searchsorted(edges, x[k], side="right")) for k, edges in pairs)

    def of(self, x: Vector) -> tuple[int | None, ...]:
        """Patients like this one (D,) in each arm; None for fewer than :data:`FEWEST_SHOWN`."""
        return tuple(int(n) if n >= FEWEST_SHOWN else None for n in self.counts[self.bands(x)])


@dataclass(frozen=True)
class Recommendation:
    """An arm, or none, and why.

    Attributes
    ----------
    arm : str or None
    reason : Message
    """

    arm: str | None
    reason: Message


@dataclass(frozen=True, eq=False)
class Assessment:
    """One patient under each arm.

    Attributes
    ----------
    arms : tuple[str, ...]
        As the trial's column has them.
    curves : Curves
    event_free : dict[str, Interval]
        At the horizon.
    difference : dict[str, Interval]
        Of each arm to the first: event-free probability at the horizon.
    similar : dict[str, int | None]
        Patients like this one in each arm of the trial; None: fewer than 5.
    recommendation : Recommendation
    cautions : tuple[Message, ...]
        Values outside the trained range.
    """

    arms: tuple[str, ...]
    curves: Curves
    event_free: dict[str, Interval]
    difference: dict[str, Interval]
    similar: dict[str, int | None]
    recommendation: Recommendation
    cautions: tuple[Message, ...]


@dataclass(frozen=True, eq=False)
class TreatmentModel:
    """Compares the arms of one trial for any patient; safe to share between threads.

    Attributes
    ----------
    name : str
        Of the trial.
    version : str
    arms : tuple[str, ...]
    titles : tuple[Message, ...]
        What the arms are, for people.
    horizon : float
        Days after which event-free probabilities are given.
    encoder, scaling : Encoder, Scaling
        From a row to standardised covariates.
    members : Members
    population : Population
    policy : PolicyValue
        What choosing for each patient is worth.
    cells : Cells
    background : Matrix, shape (B, D)
        Drawn patients, spread like the trial's: what an explanation compares with.
    limits : Mapping[str, tuple[float, float, bool]]
        Of covariates: lowest and highest possible value, and whether only whole numbers are.
    """

    name: str
    version: str
    arms: tuple[str, ...]
    titles: tuple[Message, ...]
    horizon: float
    encoder: Encoder
    scaling: Scaling
    members: Members
    population: Population
    policy: PolicyValue
    cells: Cells
    background: Matrix
    limits: Mapping[str, tuple[float, float, bool]]

    def read(self, row: Mapping[str, Any]) -> tuple[Vector, tuple[Message, ...]]:
        """Covariates (D,) of one row, with cautions for values outside the trained range.

        Raises
        ------
        InputError
            If a covariate is missing although it never was in the trial, no number, or impossible.
        """
        given = {name: row.get(name) for name in self.encoder.names}
        given = {name: None if value == "" or value != value else value for name, value in given.items()}
        for feature in self.encoder.features:
            self._check(feature, given[feature.name])
        x, cautions = self.encoder.read(given)
        return x[0], tuple(cautions[0])

    def _check(self, feature: Feature, value: Any) -> None:
        name = feature.name
        if value is None and not feature.missing:
            raise InputError("The value of {column} is missing.", column=name)
        if value is None or name not in self.limits:
            return
        low, high, whole = self.limits[name]
        try:
            number = float(value)
        except (TypeError, ValueError):
            raise InputError("Column {column} must hold numbers, got {value}.", column=name,
                             value=str(value)[:40]) from None  # fmt: skip
        if not low <= number <= high or (whole and number != round(number)):
            kind = say("a whole number") if whole else say("a number")
            raise InputError("{column} must be {kind} from {low:g} to {high:g}, got {value:g}.", column=name, kind=kind,
                             low=low, high=high, value=number)  # fmt: skip

    def survival(self, x: Matrix, days: Vector) -> NDArray[np.float64]:
        """Event-free probability (B + 1, K, N, T) of patients (N, D) under each arm, by every member."""
        z = self.scaling(x)
        return np.stack([self.members.survival(z, np.full(len(z), k), days) for k in range(len(self.arms))], axis=1)

    def event_free_many(self, x: Matrix) -> tuple[Matrix, Matrix, Matrix]:
        """Event-free probability of patients (N, D) at the horizon under each arm, and its 95 % ends: (N, K) each."""
        found = self.survival(x, np.array([self.horizon]))[..., 0]  # (B + 1, K, N)
        low, high = spread(found)
        return found[0].T, low.T, high.T

    def at_horizon(self, x: Matrix) -> Matrix:
        """Event-free probability (N, K) at the horizon, by the model of all patients."""
        z, day = self.scaling(x), np.array([self.horizon])
        return np.hstack([self.members.best(z, np.full(len(z), k), day) for k in range(len(self.arms))])

    def curves(self, row: Mapping[str, Any]) -> Curves:
        """The arms side by side for one patient, from assignment on."""
        return self._curves(self.read(row)[0])

    def event_free(self, row: Mapping[str, Any]) -> dict[str, Interval]:
        """Probability of being event-free at the horizon under each arm, with 95 % bootstrap intervals."""
        return self._event_free(self._members_at_horizon(self.read(row)[0]))

    def difference(self, row: Mapping[str, Any], arm: str, versus: str) -> Interval:
        """How much more likely the patient is event-free at the horizon under `arm` than under `versus`."""
        a, b = self.number(arm), self.number(versus)
        found = self._members_at_horizon(self.read(row)[0])
        return interval(found[:, a] - found[:, b])

    def similar(self, row: Mapping[str, Any]) -> dict[str, int | None]:
        """Patients of the trial in the same bands of the covariates that matter most, by arm; None: fewer than 5."""
        return dict(zip(self.arms, self.cells.of(self.read(row)[0]), strict=True))

    def recommend(self, row: Mapping[str, Any]) -> Recommendation:
        """The arm with the best outcome, if choosing for each patient was shown to beat one arm for everybody."""
        return self.recommend_of(self._members_at_horizon(self.read(row)[0])[0])

    def assess(self, row: Mapping[str, Any]) -> Assessment:
        """All of the above for one patient."""
        x, cautions = self.read(row)
        found = self._members_at_horizon(x)
        first = found[:, [0]]
        return Assessment(
            self.arms, self._curves(x), self._event_free(found),
            {arm: interval(column) for arm, column in zip(self.arms, (found - first).T, strict=True)},
            dict(zip(self.arms, self.cells.of(x), strict=True)), self.recommend_of(found[0]), cautions,
        )  # fmt: skip

    def number(self, arm: str) -> int:
        """Place of an arm."""
        if arm not in self.arms:
            raise InputError("`arm` must be one of {arms}, got {arm}", arms=", ".join(self.arms), arm=arm)
        return self.arms.index(arm)

    def _members_at_horizon(self, x: Vector) -> Matrix:
        return self.survival(x[None], np.array([self.horizon]))[:, :, 0, 0]  # (B + 1, K)

    def _event_free(self, found: Matrix) -> dict[str, Interval]:
        return {arm: interval(column) for arm, column in zip(self.arms, found.T, strict=True)}

    def _curves(self, x: Vector) -> Curves:
        days = np.r_[0.0, self.members.days]
        found = self.survival(x[None], days)[:, :, 0]  # (B + 1, K, T)
        low, high = spread(found)
        return Curves(days, found[0], low, high)

    def recommend_of(self, event_free: Vector) -> Recommendation:
        """As :meth:`recommend`, from the event-free probability (K,) under each arm."""
        verdict = self.verdict()
        if not self.policy.evidence:
            return Recommendation(None, verdict)
        best = int(np.argmax(event_free))
        reason = say(
            "{arm} has the highest event-free probability for this patient, and choosing for each patient did better "
            "than one treatment for everybody.", arm=self.titles[best],
        )  # fmt: skip
        return Recommendation(self.arms[best], reason)

    def verdict(self) -> Message:
        """What choosing for each patient is worth, in a sentence."""
        value = self.policy
        gain = value.gain[value.best]
        words = {
            "best": self.titles[value.best], "gain": 100 * gain.value, "low": 100 * gain.low, "high": 100 * gain.high
        }  # fmt: skip
        if value.evidence:
            return say(
                "Choosing the treatment for each patient did better than {best} for everybody: {gain:+.1f} percentage "
                "points event-free (95 %: {low:+.1f} to {high:+.1f}).", **words,
            )  # fmt: skip
        return say(
            "There is no evidence that choosing the treatment for each patient does better than {best} for everybody "
            "({gain:+.1f} percentage points event-free, 95 %: {low:+.1f} to {high:+.1f}), so none is recommended.",
            **words,
        )


def interval(members: Vector) -> Interval:
    """The answer of all patients' model, with the 95 % range of the resamples' (B + 1,)."""
    low, high = spread(members)
    return Interval(float(members[0]), float(low), float(high))


def spread(members: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Ends of the 95 % range over resamples, the first axis, widened to hold the answer itself."""
    resampled = members[1:] if len(members) > 1 else members
    low, high = np.quantile(resampled, [0.025, 0.975], axis=0)
    return np.minimum(low, members[0]), np.maximum(high, members[0])


# ------------------------------------------------------------------------------------------ the shipped model


def load_treatment() -> TreatmentModel:
    """The shipped model of ACTG 175, loaded once."""
    return _loaded(registry.bundle(ACTG))


@cache
def _loaded(bundle: Bundle) -> TreatmentModel:
    return from_bundle(bundle)


def from_bundle(bundle: Bundle) -> TreatmentModel:
    """A model from its verified bundle."""
    constants = bundle.preprocessing
    arms = tuple(constants["arms"])
    population, curves = constants["population"], load_arrays(bundle, "population")
    shown = Curves(*(curves[name].astype(float) for name in ("days", "survival", "low", "high")))
    cells = Cells(
        tuple(constants["cells"]["columns"]), tuple(map(tuple, constants["cells"]["edges"])), curves["cells"]
    )  # fmt: skip
    return TreatmentModel(
        name=bundle.id, version=bundle.version, arms=arms, titles=titles(arms, True),
        horizon=float(constants["horizon"]), encoder=Encoder.from_list(constants["encoder"]),
        scaling=Scaling.from_dict(constants["scaling"]),
        members=Members.from_arrays(constants["family"], len(arms), load_arrays(bundle, "model")),
        population=Population(shown, curves["at_risk"], tuple(population["patients"]), tuple(population["events"])),
        policy=PolicyValue.from_dict(constants["policy"]), cells=cells,
        background=load_arrays(bundle, "background")["x"].astype(float), limits=ACTG_VALUES,
    )  # fmt: skip


def to_arrays(model: TreatmentModel) -> dict[str, dict[str, NDArray[Any]]]:
    """What of a model is stored as arrays."""
    shown = model.population.curves
    curves = {name: getattr(shown, name).astype(np.float32) for name in ("days", "survival", "low", "high")}
    counted = np.where(model.cells.counts >= FEWEST_SHOWN, model.cells.counts, 0)
    curves |= {"at_risk": model.population.at_risk, "cells": counted}
    background = {"x": model.background.astype(np.float32)}
    return {"model": model.members.to_arrays(), "population": curves, "background": background}


def to_constants(model: TreatmentModel) -> dict[str, Any]:
    """What of a model is stored as text."""
    return {
        "family": model.members.terms.kind,
        "arms": model.arms,
        "horizon": model.horizon,
        "encoder": model.encoder.to_list(),
        "scaling": model.scaling.to_dict(),
        "policy": model.policy.to_dict(),
        "cells": {"columns": model.cells.columns, "edges": model.cells.edges},
        "population": {"patients": model.population.patients, "events": model.population.events},
    }


def titles(arms: Sequence[str], of_actg: bool) -> tuple[Message, ...]:
    """What the arms of the built-in trial are called; those of any other by their values."""
    return tuple(ACTG_ARMS[arm] if of_actg else Message("{arm}", {"arm": arm}) for arm in arms)
