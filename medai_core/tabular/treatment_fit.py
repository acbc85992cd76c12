"""From a randomised trial to a model that compares its arms: choice of family, resamples, and the value of choosing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from medai_core.tabular.columns import CATEGORY
from medai_core.tabular.policy import PolicyValue, policy_value
from medai_core.tabular.survival import STORED, Matrix, Members, Rows, Sample, Vector, fit
from medai_core.tabular.survival_choice import Score, choose, compare, folds
from medai_core.tabular.survival_metrics import check_arms
from medai_core.tabular.treatment import Cells, Curves, Population, TreatmentModel, titles
from medai_core.tabular.trial import ACTG_ROLES, TWO_YEARS, Trial

RESAMPLES = 200
REPEATS = 3
DRAWN = 100
STEP_DAYS = 30.0
MOST_STEPS = 60
BANDS = 3
CELL_PATIENTS = 120
"""Similar patients are told apart by one more covariate while a cell holds about this many."""

Progress = Callable[[str, int, int], None]


def _silent(what: str, done: int, of: int) -> None:
    """Progress nobody looks at."""


def fit_treatment(
    trial: Trial, *, horizon: float = TWO_YEARS, families: Sequence[str] = STORED, family: str | None = None,
    resamples: int = RESAMPLES, repeats: int = REPEATS, seed: int = 0, version: str = "1",
    limits: Mapping[str, tuple[float, float, bool]] | None = None, progress: Progress = _silent,
) -> tuple[TreatmentModel, list[Score]]:  # fmt: skip
    """Make a model of a trial.

    Parameters
    ----------
    horizon : float
        Days after which event-free probabilities are compared.
    families : sequence of str
        Compared by cross-validation; the best that can be stored is used.
    family : str, optional
        Use this one, without comparing.
    resamples : int
        Refits that say how sure the answers are.
    repeats : int
        Of the cross-validation, and of the learning of the rule whose value is measured.
    progress : callable
        Called with part, steps done and steps in all; whatever it raises stops the work.

    Returns
    -------
    model : TreatmentModel
    scores : list[Score]
        Of the compared families; empty if one was given.
    """
    check_arms(trial.time, trial.event, trial.arm, horizon)
    scaling = trial.scaling()
    sample, days = trial.sample(scaling), grid(trial.time, horizon)
    scores = [] if family else compare(sample, days, horizon, families, repeats, seed, progress)
    family = family or choose(scores)
    value = learned_value(sample, family, horizon, repeats, seed, progress)
    members = Members.fit(family, sample, days, resamples, seed, lambda done, of: progress("resamples", done, of))
    rng = np.random.default_rng(seed)
    model = TreatmentModel(
        name=trial.name, version=version, arms=trial.arms, titles=titles(trial.arms, trial.roles == ACTG_ROLES),
        horizon=float(horizon), encoder=trial.encoder, scaling=scaling, members=members,
        population=population(sample, days), policy=value,
        cells=cells(trial, members, sample, horizon, rng), background=drawn_patients(trial, DRAWN, rng),
        limits=limits or {},
    )  # fmt: skip
    return model, scores


def grid(time: Vector, horizon: float) -> Vector:
    """Days at which curves are kept: about every month for as long as a tenth of the patients were watched."""
    last = max(float(np.quantile(time, 0.9)), horizon)
    step = STEP_DAYS * np.ceil(last / STEP_DAYS / MOST_STEPS) if last > 10 * STEP_DAYS else last / 20
    return np.unique(np.r_[step * np.arange(1, np.floor(last / step) + 1), horizon])


def learned_value(
    sample: Sample, family: str, horizon: float, repeats: int, seed: int, progress: Progress = _silent
) -> PolicyValue:
    """The value of giving each patient the arm with the best predicted outcome, learned without that patient."""
    decisions = np.empty((repeats, len(sample)), np.intp)
    parts = list(folds(sample, repeats, seed + 1000))  # other folds than those the family was chosen on
    for done, (repeat, train, held) in enumerate(parts):
        model = fit(family, sample.part(train), seed)
        decisions[repeat, held] = np.argmax(
            under_each_arm(model.survival, sample.z[held], sample.arms, horizon), axis=1
        )
        progress("policy", done + 1, len(parts))
    return policy_value(sample, decisions, horizon, seed=seed)


def under_each_arm(survival: Callable[[Matrix, Rows, Vector], Matrix], z: Matrix, arms: int, horizon: float) -> Matrix:
    """Event-free probability (N, K) at the horizon."""
    day = np.array([horizon])
    return np.hstack([survival(z, np.full(len(z), arm), day) for arm in range(arms)])


def population(sample: Sample, days: Vector) -> Population:
    """Kaplan-Meier curves of the arms, with the numbers at risk."""
    from lifelines import KaplanMeierFitter

    days, curves, at_risk = np.r_[0.0, days], [], []
    for arm in range(sample.arms):
        mine = sample.arm == arm
        curve = KaplanMeierFitter().fit(sample.time[mine], sample.event[mine])
        ends = curve.confidence_interval_survival_function_
        steps = np.searchsorted(ends.index.to_numpy(float), days, side="right") - 1
        found = np.vstack([curve.predict(days).to_numpy(), ends.to_numpy(float)[steps].T])
        curves.append(np.where(np.isnan(found), 1.0, found))  # nothing happened yet
        at_risk.append([(sample.time[mine] >= day).sum() for day in days])
    survival, low, high = np.moveaxis(np.array(curves), 1, 0)
    sizes = np.bincount(sample.arm, minlength=sample.arms)
    events = np.bincount(sample.arm, weights=sample.event, minlength=sample.arms)
    return Population(
        Curves(days, survival, low, high), np.array(at_risk, np.int64), tuple(sizes.tolist()),
        tuple(int(n) for n in events),
    )  # fmt: skip


def cells(trial: Trial, members: Members, sample: Sample, horizon: float, rng: np.random.Generator) -> Cells:
    """Count the arms within bands of the covariates that move the predictions most."""
    effect = _effects(trial, members, sample, horizon, rng)
    most = max(1, int(np.log(len(trial) / CELL_PATIENTS) / np.log(BANDS)) + 1)
    columns = [int(k) for k in np.argsort(-effect, kind="stable")[:most] if effect[k] > 0]
    edges = [_edges(trial, k) for k in columns]
    counts = np.zeros([len(e) + 1 for e in edges] + [len(trial.arms)], np.int64)
    found = Cells(tuple(columns), tuple(edges), counts)
    for x, arm in zip(trial.x, trial.arm, strict=True):
        counts[(*found.bands(x), arm)] += 1
    return found


def _effects(
    trial: Trial, members: Members, sample: Sample, horizon: float, rng: np.random.Generator
) -> NDArray[np.float64]:
    """How much predictions change, in the mean, when a covariate (D,) is shuffled among patients."""
    scaling, day = trial.scaling(), np.array([horizon])
    plain = members.best(sample.z, sample.arm, day)
    effect = np.zeros(trial.x.shape[1])
    for k in range(trial.x.shape[1]):
        x = trial.x.copy()
        x[:, k] = rng.permutation(x[:, k])
        effect[k] = np.abs(members.best(scaling(x), sample.arm, day) - plain).mean()
    return effect


def _edges(trial: Trial, k: int) -> tuple[float, ...]:
    """Where bands of a covariate begin: each level of a category or of few values, thirds of the others."""
    values = np.unique(trial.x[~np.isnan(trial.x[:, k]), k])
    if trial.encoder.features[k].kind == CATEGORY or len(values) <= BANDS:
        return tuple(float(v) for v in values[1:])
    thirds = np.nanquantile(trial.x[:, k], [1 / 3, 2 / 3])
    return tuple(sorted({float(f"{cut:.2g}") for cut in thirds}))


def drawn_patients(trial: Trial, count: int, rng: np.random.Generator) -> Matrix:
    """Patients who never were (count, D): spread and correlated like the trial's (a Gaussian copula).

    Explanations compare with them, so that no patient's row has to be kept.
    """
    from scipy.stats import norm, rankdata

    x = np.where(np.isnan(trial.x), [feature.usual for feature in trial.encoder.features], trial.x)
    scores = norm.ppf((rankdata(x, axis=0) - 0.5) / len(x))
    spread = scores.std(axis=0)
    scores = (scores - scores.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    share = norm.cdf(rng.multivariate_normal(np.zeros(x.shape[1]), scores.T @ scores / len(x), count, method="svd"))
    ordered = np.sort(x, axis=0)
    return np.column_stack([np.quantile(ordered[:, k], share[:, k], method="nearest") for k in range(x.shape[1])])
