"""Survival models behind one face: Cox with a ridge, accelerated failure times, forests, boosting.

All of them are from scikit-survival and lifelines. A fitted model gives the probability of staying free of the event,
``model.survival(z, arm, days)``, for standardised covariates and the arm of a trial (0 where there is none).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from medai_core.errors import ArtifactError, InputError, Message, say

Vector = NDArray[np.float64]
Matrix = NDArray[np.float64]
Rows = NDArray[np.intp]

FEWEST_EVENTS = 8
PRIOR = {"arm": 5.0, "covariate": 30.0, "interaction": 80.0, "smooth": 1.0}
"""Ridge of each kind of term: one over the variance of a normal prior of its log hazard ratio, so that 30 expects a
standard deviation of a covariate to change the hazard by a factor between 0.7 and 1.4."""
LANDMARKS = 60
WIDTH = 0.14
"""Of the radial basis, times the number of covariates: so wide that it bends only a little over the cohort."""
ARM_DISTANCE = 2.0
"""How far apart two arms are among the landmarks, in standard deviations of a covariate, divided by the root of 2."""


@dataclass(frozen=True, eq=False)
class Sample:
    """Patients with standardised covariates and what became of them.

    Attributes
    ----------
    z : Matrix, shape (N, M)
        Covariates in standard deviations from the mean.
    arm : Rows, shape (N,)
        Number of the arm, from 0.
    arms : int
        How many arms there are; 1 where nothing was compared.
    time : Vector, shape (N,)
        To the event or the end of observation, in days, above 0.
    event : NDArray[np.bool_], shape (N,)
        Whether the event was seen.
    """

    z: Matrix
    arm: Rows
    arms: int
    time: Vector
    event: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.time)

    def part(self, rows: ArrayLike) -> Sample:
        at = np.asarray(rows)
        return Sample(self.z[at], self.arm[at], self.arms, self.time[at], self.event[at])


class Fitted(Protocol):
    """What every fitted model can do."""

    def survival(self, z: Matrix, arm: Rows, days: Vector) -> Matrix:
        """Probability (N, T) of being event-free after each number of days."""


@dataclass(frozen=True, eq=False)
class Terms:
    """From covariates and arm to the columns of a Cox model.

    Attributes
    ----------
    kind : str
        ``cox``: covariates and arms. ``cox_interactions``: their products too. ``cox_smooth``: a radial basis over
        covariates and arm together (Nyström; Williams & Seeger 2001), which bends and lets arms differ by patient.
    landmarks : Matrix, shape (L, M + K)
        Centres of the radial basis: drawn numbers, no patients. Empty for the other kinds.
    whitening : Matrix, shape (L, L)
        Makes the basis' ridge that of the kernel.
    """

    kind: str
    arms: int
    landmarks: Matrix
    whitening: Matrix

    @classmethod
    def make(cls, kind: str, covariates: int, arms: int, seed: int = 0) -> Terms:
        if kind != "cox_smooth":
            return cls(kind, arms, np.zeros((0, covariates + arms)), np.zeros((0, 0)))
        from sklearn.kernel_approximation import Nystroem

        centres = np.random.default_rng(seed).normal(size=(LANDMARKS, covariates))
        landmarks = np.hstack([centres, _place(np.arange(LANDMARKS) % arms, arms)])
        basis = Nystroem(gamma=WIDTH / covariates, n_components=LANDMARKS, random_state=seed).fit(landmarks)
        return cls(kind, arms, basis.components_, basis.normalization_)

    def __call__(self, z: Matrix, arm: Rows) -> Matrix:
        """Columns (N, P) of patients with covariates (N, M) in given arms (N,)."""
        given = np.eye(self.arms)[arm][:, 1:]  # the first arm is what the others are compared with
        if self.kind == "cox_smooth":
            from sklearn.metrics.pairwise import rbf_kernel

            near = rbf_kernel(np.hstack([z, _place(arm, self.arms)]), self.landmarks, gamma=WIDTH / z.shape[1])
            return np.hstack([given, near @ self.whitening.T])
        if self.kind == "cox_interactions":
            return np.hstack([given, z, *(z * given[:, [k]] for k in range(self.arms - 1))])
        return np.hstack([given, z])

    def ridge(self, covariates: int) -> Vector:
        """Ridge (P,) of the columns."""
        compared = self.arms - 1
        if self.kind == "cox_smooth":
            rest = np.full(len(self.landmarks), PRIOR["smooth"])
        else:
            products = compared * covariates if self.kind == "cox_interactions" else 0
            rest = np.r_[np.full(covariates, PRIOR["covariate"]), np.full(products, PRIOR["interaction"])]
        return np.r_[np.full(compared, PRIOR["arm"]), rest]


def _place(arm: Rows, arms: int) -> Matrix:
    """Arms as points (N, K) that are all equally far from each other."""
    return ARM_DISTANCE * np.eye(arms)[arm]


@dataclass(frozen=True, eq=False)
class CoxModel:
    """A Cox model as numbers: ``S(t) = exp(-H(t) exp(x b))``, with Breslow's baseline.

    Attributes
    ----------
    coefficients : Vector, shape (P,)
    days : Vector, shape (T,)
        Times at which the baseline steps, rising.
    hazard : Vector, shape (T,)
        Cumulative baseline hazard from each of them on.
    """

    terms: Terms
    coefficients: Vector
    days: Vector
    hazard: Vector

    def survival(self, z: Matrix, arm: Rows, days: Vector) -> Matrix:
        """Probability (N, T) of being event-free after each number of days."""
        score = self.terms(z, arm) @ self.coefficients
        return np.exp(-np.exp(score)[:, None] * self.at(days)[None])

    def at(self, days: Vector) -> Vector:
        """Cumulative baseline hazard after each number of days."""
        return np.r_[0.0, self.hazard][np.searchsorted(self.days, days, side="right")]


def fit_cox(kind: str, sample: Sample, terms: Terms | None = None) -> CoxModel:
    """Fit a Cox model with a ridge by Newton's method (scikit-survival).

    Parameters
    ----------
    terms : Terms, optional
        Made anew by default.
    """
    from sksurv.linear_model import CoxPHSurvivalAnalysis

    covariates = sample.z.shape[1]
    terms = terms or Terms.make(kind, covariates, sample.arms)
    model = CoxPHSurvivalAnalysis(alpha=terms.ridge(covariates)).fit(terms(sample.z, sample.arm), _outcome(sample))
    baseline = model.cum_baseline_hazard_
    return CoxModel(terms, model.coef_, np.asarray(baseline.x, float), np.asarray(baseline.y, float))


@dataclass(frozen=True, eq=False)
class LibraryModel:
    """A fitted model of a library, with a function that asks it."""

    model: Any
    ask: Callable[[Any, Matrix, Vector], Matrix]
    arms: int

    def survival(self, z: Matrix, arm: Rows, days: Vector) -> Matrix:
        """Probability (N, T) of being event-free after each number of days."""
        return self.ask(self.model, _with_arms(z, arm, self.arms), np.asarray(days, float))


def _with_arms(z: Matrix, arm: Rows, arms: int) -> Matrix:
    return np.hstack([z, np.eye(arms)[arm][:, 1:]])


def _outcome(sample: Sample) -> NDArray[np.void]:
    from sksurv.util import Surv

    return Surv.from_arrays(sample.event, sample.time)


def _fit_accelerated(fitter: str, sample: Sample) -> LibraryModel:
    import lifelines
    import pandas as pd

    x = _with_arms(sample.z, sample.arm, sample.arms)
    frame = pd.DataFrame(x, columns=[f"x{k}" for k in range(x.shape[1])])
    frame["time"], frame["event"] = sample.time, sample.event
    model = getattr(lifelines, fitter)(penalizer=0.02).fit(frame, "time", "event")

    def ask(model: Any, x: Matrix, days: Vector) -> Matrix:
        rows = pd.DataFrame(x, columns=[f"x{k}" for k in range(x.shape[1])])
        # lifelines has no answer at time 0
        return model.predict_survival_function(rows, times=np.maximum(days, 1e-3)).to_numpy().T

    return LibraryModel(model, ask, sample.arms)


def _steps(model: Any, x: Matrix, days: Vector) -> Matrix:
    """Survival (N, T) of a scikit-survival ensemble, which gives steps at its own times."""
    steps = model.predict_survival_function(x, return_array=True)
    own = np.asarray(model.unique_times_, float)
    return np.hstack([np.ones((len(x), 1)), steps])[:, np.searchsorted(own, days, side="right")]


def _fit_forest(sample: Sample, seed: int) -> LibraryModel:
    from sksurv.ensemble import RandomSurvivalForest

    leaf = max(5, min(40, len(sample) // 25))
    model = RandomSurvivalForest(150, min_samples_leaf=leaf, max_features=0.5, random_state=seed)
    model.fit(_with_arms(sample.z, sample.arm, sample.arms), _outcome(sample))
    return LibraryModel(model, _steps, sample.arms)


def _fit_boosting(sample: Sample, seed: int) -> LibraryModel:
    from sksurv.ensemble import GradientBoostingSurvivalAnalysis

    leaf = max(3, min(20, len(sample) // 50))
    model = GradientBoostingSurvivalAnalysis(
        n_estimators=150, learning_rate=0.05, max_depth=2, subsample=0.5, max_features=0.5, min_samples_leaf=leaf,
        random_state=seed,
    )  # fmt: skip
    model.fit(_with_arms(sample.z, sample.arm, sample.arms), _outcome(sample))
    return LibraryModel(model, _steps, sample.arms)


@dataclass(frozen=True, eq=False)
class KaplanMeier:
    """The curve of each arm (lifelines), whoever the patient is: what a model has to beat."""

    curves: tuple[Any, ...]

    def survival(self, z: Matrix, arm: Rows, days: Vector) -> Matrix:
        """Probability (N, T) of being event-free after each number of days."""
        return np.array([curve.predict(days).to_numpy() for curve in self.curves])[arm]


def fit_kaplan_meier(sample: Sample) -> KaplanMeier:
    from lifelines import KaplanMeierFitter

    curves = []
    for arm in range(sample.arms):
        mine = sample.arm == arm
        curves.append(KaplanMeierFitter().fit(sample.time[mine], sample.event[mine]))
    return KaplanMeier(tuple(curves))


@dataclass(frozen=True)
class Family:
    """One kind of survival model.

    Attributes
    ----------
    fit : callable
        From a sample and a seed to a fitted model.
    stored : bool
        Whether its fitted numbers can be kept in a bundle without a pickle.
    """

    id: str
    title: Message
    fit: Callable[[Sample, int], Fitted]
    stored: bool = False


FAMILIES: Mapping[str, Family] = {
    family.id: family
    for family in (
        Family("cox", say("Cox model"), lambda s, seed: fit_cox("cox", s), True),
        Family(
            "cox_interactions", say("Cox model with treatment interactions"),
            lambda s, seed: fit_cox("cox_interactions", s), True,
        ),
        Family("cox_smooth", say("Smooth Cox model"), lambda s, seed: fit_cox("cox_smooth", s), True),
        Family("weibull", say("Weibull model"), lambda s, seed: _fit_accelerated("WeibullAFTFitter", s)),
        Family("log_normal", say("Log-normal model"), lambda s, seed: _fit_accelerated("LogNormalAFTFitter", s)),
        Family("forest", say("Random survival forest"), _fit_forest),
        Family("boosting", say("Gradient-boosted survival trees"), _fit_boosting),
    )
}  # fmt: skip
STORED = tuple(name for name, family in FAMILIES.items() if family.stored)


def fit(family: str, sample: Sample, seed: int = 0) -> Fitted:
    """Fit one family.

    Raises
    ------
    InputError
        If the family is unknown, or there are too few events to learn from.
    """
    if family not in FAMILIES:
        raise InputError("`family` must be one of {known}, got {name}", known=", ".join(FAMILIES), name=family)
    if sample.event.sum() < FEWEST_EVENTS:
        raise InputError("At least {least} events are needed, got {count}.", least=FEWEST_EVENTS,
                         count=int(sample.event.sum()))  # fmt: skip
    return FAMILIES[family].fit(sample, seed)


@dataclass(frozen=True, eq=False)
class Members:
    """A Cox model with the same one fitted on resamples of its patients, which say how sure it is.

    Attributes
    ----------
    terms : Terms
    coefficients : Matrix, shape (B + 1, P)
        First those of all patients, then of each resample.
    days : Vector, shape (T,)
    hazards : Matrix, shape (B + 1, T)
        Cumulative baseline hazards.
    """

    terms: Terms
    coefficients: Matrix
    days: Vector
    hazards: Matrix

    @classmethod
    def fit(
        cls, family: str, sample: Sample, days: Vector, resamples: int, seed: int,
        progress: Callable[[int, int], None] = lambda done, of: None,
    ) -> Members:  # fmt: skip
        """Fit on all patients, and on resamples drawn within the arms (percentile bootstrap)."""
        if not FAMILIES[family].stored:
            raise InputError("`family` must be one of {known}, got {name}", known=", ".join(STORED), name=family)
        terms, rng = Terms.make(family, sample.z.shape[1], sample.arms), np.random.default_rng(seed)
        by_arm = [np.flatnonzero(sample.arm == k) for k in range(sample.arms)]
        fitted = [fit_cox(family, sample, terms)]
        for k in range(resamples):
            drawn = np.concatenate([rng.choice(rows, len(rows)) for rows in by_arm])
            fitted.append(fit_cox(family, sample.part(drawn), terms))
            progress(k + 1, resamples)
        hazards = np.array([model.at(days) for model in fitted])
        return cls(terms, np.array([model.coefficients for model in fitted]), np.asarray(days, float), hazards)

    def survival(self, z: Matrix, arm: Rows, days: Vector) -> NDArray[np.float64]:
        """Probability (B + 1, N, T) of being event-free after each number of days."""
        scores = self.coefficients @ self.terms(z, arm).T  # (B + 1, N)
        return np.exp(-np.exp(scores)[:, :, None] * self._at(self.hazards, days)[:, None])

    def best(self, z: Matrix, arm: Rows, days: Vector) -> Matrix:
        """As :meth:`survival`, of the model of all patients alone: (N, T)."""
        scores = self.terms(z, arm) @ self.coefficients[0]
        return np.exp(-np.exp(scores)[:, None] * self._at(self.hazards[:1], days))

    def _at(self, hazards: Matrix, days: Vector) -> Matrix:
        return np.hstack([np.zeros((len(hazards), 1)), hazards])[:, np.searchsorted(self.days, days, side="right")]

    def to_arrays(self) -> dict[str, NDArray[np.float32]]:
        """As stored; half the digits of a double are enough."""
        single = {name: getattr(self, name).astype(np.float32) for name in ("coefficients", "days", "hazards")}
        return single | {"landmarks": self.terms.landmarks, "whitening": self.terms.whitening}

    @classmethod
    def from_arrays(cls, kind: str, arms: int, stored: Mapping[str, NDArray[Any]]) -> Members:
        """Inverse of :meth:`to_arrays`; raises ArtifactError when the arrays do not belong together."""
        try:
            found = {name: np.asarray(stored[name], float) for name in ("coefficients", "days", "hazards")}
            terms = Terms(kind, arms, np.asarray(stored["landmarks"], float), np.asarray(stored["whitening"], float))
        except KeyError as error:
            raise ArtifactError("A survival model must hold {name}", name=str(error)) from error
        shapes = found["coefficients"].shape[:1] + found["days"].shape
        if (
            kind not in STORED
            or found["hazards"].shape != shapes
            or not all(np.isfinite(values).all() for values in found.values())
        ):
            raise ArtifactError("The arrays of the survival model {kind} do not belong together", kind=kind)
        return cls(terms, **found)
