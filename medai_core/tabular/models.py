"""The families of models, all from established libraries, behind one face.

A :class:`Family` says which settings are worth trying and fits one of them; the :class:`Learner` it gives answers with
raw scores, one column per output: one for two classes (the positive one) and for numbers, K for K classes.
:mod:`~medai_core.tabular.fitting` tunes, calibrates and compares; :mod:`~medai_core.tabular.explain` takes learners
apart.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from medai_core.errors import Message, say
from medai_core.tabular.encoder import Design, Encoder
from medai_core.tabular.problem import BINARY, CLASSES, SURVIVAL, VALUE
from medai_core.tabular.time_to_event import cox_objective, fit_cox
from medai_core.tabular.trees import TreeTable, from_booster, from_forest

Matrix = NDArray[np.float64]
Config = dict[str, Any]

LINEAR, KERNEL, FOREST, BOOSTING, NETWORK, BLEND = "logistic", "svm", "forest", "boosting", "network", "blend"
LARGE = 5_000
"""From this many rows on, fewer settings are tried."""
SVM_ROWS = 4_000
FOREST_ROWS = 20_000
TREES = 100
FEW_ROWS = 256
"""Up to so many rows the trees' arrays answer faster than the libraries."""


@dataclass(frozen=True, eq=False)
class Data:
    """Rows a learner is fitted on.

    Attributes
    ----------
    x : Matrix, shape (N, D)
    y : NDArray, shape (N,)
        Class numbers, or values; of times to an event as :func:`~medai_core.tabular.time_to_event.signed` gives them.
    groups : NDArray[np.intp] or None, shape (N,)
    task : str
    classes : int
        2 for binary, 0 for numbers.
    encoder : Encoder
    """

    x: Matrix
    y: NDArray[Any]
    groups: NDArray[np.intp] | None
    task: str
    classes: int
    encoder: Encoder

    def part(self, rows: NDArray[Any]) -> Data:
        groups = None if self.groups is None else self.groups[rows]
        return replace(self, x=self.x[rows], y=self.y[rows], groups=groups)

    def drawn(self, most: int, seed: int) -> Data:
        """At most so many rows, drawn at random."""
        if len(self.y) <= most:
            return self
        return self.part(np.sort(np.random.default_rng(seed).choice(len(self.y), most, replace=False)))

    @property
    def outputs(self) -> int:
        return self.classes if self.task == CLASSES else 1


class Learner(Protocol):
    """A fitted model: raw scores (N, K) of rows (N, D)."""

    def scores(self, x: Matrix) -> Matrix: ...


@dataclass(frozen=True, eq=False)
class Linear:
    """``design(x) @ coef.T + intercept``: logistic, ridge or Cox regression, the last without its estimator."""

    design: Design
    coef: Matrix  # (K, M)
    intercept: Matrix  # (K,)
    estimator: Any

    def scores(self, x: Matrix) -> Matrix:
        return self.design(x) @ self.coef.T + self.intercept


@dataclass(frozen=True, eq=False)
class Kernel:
    """Support vector machines with one Gaussian kernel, one per output; they share their support vectors' table."""

    design: Design
    support: Matrix  # (S, M)
    dual: Matrix  # (K, S)
    intercept: Matrix  # (K,)
    gamma: float
    estimators: tuple[Any, ...]

    def scores(self, x: Matrix) -> Matrix:
        z = self.design(x)
        found = np.empty((len(z), len(self.dual)))
        squares = (self.support**2).sum(axis=1)
        for k in range(0, len(z), 2048):
            part = z[k : k + 2048]
            distance = (part**2).sum(axis=1)[:, None] + squares - 2 * part @ self.support.T
            found[k : k + 2048] = np.exp(-self.gamma * np.maximum(distance, 0)) @ self.dual.T + self.intercept
        return found


@dataclass(frozen=True, eq=False)
class Trees:
    """A random forest or boosted trees: arrays for few rows and for SHAP, the library for many."""

    table: TreeTable
    model: Any
    many: Callable[[Matrix], Matrix]

    def scores(self, x: Matrix) -> Matrix:
        return self.table(x) if len(x) <= FEW_ROWS else self.many(x)


@dataclass(frozen=True)
class Family:
    """A kind of model.

    Attributes
    ----------
    title : Message
        For people.
    candidates : callable
        Settings worth trying on data of this kind, the plainest first.
    fit : callable
        ``fit(config, data, seed)`` gives a learner.
    most_rows : int
        Of more rows than this so many are drawn.
    """

    id: str
    title: Message
    candidates: Callable[[Data], list[Config]]
    fit: Callable[[Config, Data, int], Any]
    most_rows: int = 1_000_000


# ------------------------------------------------------------------------------------------------- linear


def _linear_candidates(data: Data) -> list[Config]:
    strengths = (0.03, 0.1, 0.3, 1.0, 3.0) if len(data.y) < LARGE else (0.03, 0.3)
    return [{"c": c, "logs": logs} for logs in (False, True) for c in strengths]


def fit_linear(config: Config, data: Data, seed: int) -> Linear:
    """Logistic regression for classes, ridge regression for numbers, Cox regression for times."""
    from sklearn.linear_model import LogisticRegression, Ridge

    design = Design.fit(data.x, data.encoder, config["logs"])
    z = design(data.x)
    if data.task == SURVIVAL:
        # Its coefficients alone are kept: the estimator holds every training patient's time.
        return Linear(design, np.atleast_2d(fit_cox(z, data.y, config["c"]).coef_), np.zeros(1), None)
    if data.task == VALUE:
        model = Ridge(alpha=1.0 / config["c"]).fit(z, data.y)
        return linear_of(model, design)
    model = LogisticRegression(C=config["c"], max_iter=2000, tol=1e-5).fit(z, data.y)
    return linear_of(model, design)


def linear_of(model: Any, design: Design) -> Linear:
    """The learner of a fitted scikit-learn model."""
    return Linear(design, np.atleast_2d(model.coef_), np.atleast_1d(model.intercept_), model)


# ------------------------------------------------------------------------------------------------- kernel


def _kernel_candidates(data: Data) -> list[Config]:
    large = len(data.y) >= LARGE / 2
    costs, widths = ((1.0, 10.0), (0.3,)) if large else ((1.0, 3.0, 10.0), (0.1, 0.3, 1.0))
    logs = (False,) if large else (False, True)
    return [{"c": c, "width": w, "logs": log} for log in logs for c in costs for w in widths]


def fit_kernel(config: Config, data: Data, seed: int) -> Kernel:
    """Support vector machines with a Gaussian kernel: one for two classes or numbers, one per class for more."""
    from sklearn.svm import SVC, SVR

    design = Design.fit(data.x, data.encoder, config["logs"])
    z = design(data.x)
    gamma = config["width"] / z.shape[1]
    if data.task == VALUE:
        scale = float(data.y.std()) or 1.0
        model = SVR(C=config["c"] * scale, gamma=gamma, epsilon=0.1 * scale, cache_size=300)
        return kernel_of((model.fit(z, data.y),), design)
    outcomes = [data.y == 1] if data.task == BINARY else [data.y == k for k in range(data.classes)]
    return kernel_of(tuple(SVC(C=config["c"], gamma=gamma, cache_size=300).fit(z, y) for y in outcomes), design)


def kernel_of(models: tuple[Any, ...], design: Design) -> Kernel:
    """The learner of fitted scikit-learn machines, which share their gamma."""
    used = np.unique(np.concatenate([model.support_ for model in models]))
    support = np.zeros((len(used), models[0].support_vectors_.shape[1]))
    dual = np.zeros((len(models), len(used)))
    for k, model in enumerate(models):
        places = np.searchsorted(used, model.support_)
        support[places] = model.support_vectors_
        dual[k, places] = model.dual_coef_[0]
    intercept = np.array([float(model.intercept_[0]) for model in models])
    return Kernel(design, support, dual, intercept, float(models[0].gamma), models)


# -------------------------------------------------------------------------------------------------- trees


def _forest_candidates(data: Data) -> list[Config]:
    if len(data.y) >= LARGE:
        return [{"features": 0.3, "leaf": max(5, len(data.y) // 2000), "trees": TREES}]
    return [{"features": features, "leaf": leaf, "trees": TREES} for features, leaf in (("sqrt", 3), (0.3, 1))]


def fit_forest(config: Config, data: Data, seed: int) -> Trees:
    """A random forest, its trees at most eight questions deep (ten for numbers)."""
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

    kind = RandomForestRegressor if data.task == VALUE else RandomForestClassifier
    forest = kind(
        config["trees"], max_depth=8 if data.task != VALUE else 10, max_features=config["features"],
        min_samples_leaf=config["leaf"], max_samples=min(len(data.y), FOREST_ROWS), n_jobs=-1, random_state=seed,
    )  # fmt: skip
    return forest_of(forest.fit(data.x, data.y))


def forest_of(forest: Any) -> Trees:
    """The learner of a fitted scikit-learn forest."""

    def many(x: Matrix) -> Matrix:
        if not hasattr(forest, "classes_"):
            return forest.predict(x)[:, None]
        shares = forest.predict_proba(x)
        return shares[:, 1:] if shares.shape[1] == 2 else shares

    return Trees(from_forest(forest), forest, many)


def _boosting_candidates(data: Data) -> list[Config]:
    if len(data.y) >= LARGE:
        return [{"leaves": 15, "rounds": 200, "rate": 0.1}]
    return [
        {"leaves": leaves, "rounds": rounds, "rate": 0.05} for leaves in (4, 8) for rounds in (100, 250)
    ]  # fmt: skip


def fit_boosting(config: Config, data: Data, seed: int) -> Trees:
    """Gradient-boosted trees of LightGBM."""
    import lightgbm

    objectives = {BINARY: "binary", CLASSES: "multiclass", VALUE: "regression", SURVIVAL: cox_objective}
    settings = {
        "objective": objectives[data.task], "num_leaves": config["leaves"], "max_depth": 8,
        "learning_rate": config["rate"],
        "min_data_in_leaf": 5 if len(data.y) < LARGE else 20, "bagging_fraction": 0.8, "bagging_freq": 1,
        "feature_fraction": 0.6, "lambda_l2": 1.0, "seed": seed, "deterministic": True, "force_row_wise": True,
        "verbosity": -1,
    }  # fmt: skip
    if data.task == CLASSES:
        settings["num_class"] = data.classes
    booster = lightgbm.train(settings, lightgbm.Dataset(data.x, data.y), config["rounds"])
    return boosting_of(booster)


def boosting_of(booster: Any) -> Trees:
    """The learner of a LightGBM model."""

    def many(x: Matrix) -> Matrix:
        found = np.asarray(booster.predict(x, raw_score=True))
        return found[:, None] if found.ndim == 1 else found

    return Trees(from_booster(booster), booster, many)


# ------------------------------------------------------------------------------------------------- table

FAMILIES: Mapping[str, Family] = {
    family.id: family
    for family in (
        Family(LINEAR, say("Logistic regression"), _linear_candidates, fit_linear),
        Family(KERNEL, say("Support vector machine"), _kernel_candidates, fit_kernel, SVM_ROWS),
        Family(FOREST, say("Random forest"), _forest_candidates, fit_forest),
        Family(BOOSTING, say("Gradient-boosted trees"), _boosting_candidates, fit_boosting),
    )
}
"""Families fitted setting by setting; the network and the blend are fitted by :mod:`~medai_core.tabular.fitting`."""
TITLES: Mapping[str, Message] = {
    **{family.id: family.title for family in FAMILIES.values()},
    NETWORK: say("Neural network"),
    BLEND: say("Average of the models"),
}
LINEAR_TITLES = {VALUE: say("Linear regression"), SURVIVAL: say("Cox regression")}
ORDER = (LINEAR, KERNEL, FOREST, BOOSTING, NETWORK, BLEND)
OF_TIMES = (LINEAR, BOOSTING, BLEND)


def title_of(family: str, task: str) -> Message:
    """A family's name for people."""
    return LINEAR_TITLES.get(task, TITLES[family]) if family == LINEAR else TITLES[family]


def families_for(task: str) -> tuple[str, ...]:
    """Families that can do a task."""
    return OF_TIMES if task == SURVIVAL else ORDER
