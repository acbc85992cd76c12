"""Figures and curves of a comparison, from answers to held-out rows alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medai_core import calibration, metrics
from medai_core.errors import InputError
from medai_core.metrics import Interval
from medai_core.tabular import time_to_event
from medai_core.tabular.compare import Study, data_of
from medai_core.tabular.fitting import loss_of, probabilities
from medai_core.tabular.problem import BINARY, SURVIVAL, VALUE

Matrix = NDArray[np.float64]
Figures = list[dict[str, Any]]
SMALLEST_CELL = 20
"""A subgroup with fewer patients, or fewer than five of a class, is not reported: its figure would be chance."""
SMALLEST_CLASS = 5
CURVE_POINTS = 200

LOWER_IS_BETTER = ("log loss", "Brier score", "mean absolute error", "root mean squared error")


def answers(study: Study, family: str) -> Matrix:
    """Held-out probabilities (R, N) or (R, N, K), or values or log hazards (R, N)."""
    return np.array([probabilities(links, study.problem.plan.task) for links in study.held[family]])


def metrics_of(task: str) -> dict[str, Callable[[Matrix, NDArray[Any]], float]]:
    """The figures of a task, the leading one first: functions of answers (N,) or (N, K) and outcomes (N,)."""
    if task == BINARY:
        return {
            "AUC": metrics.roc_auc,
            "accuracy": lambda p, y: float(np.mean((p >= 0.5) == y)),
            "average precision": metrics.average_precision,
            "Brier score": metrics.brier,
            "log loss": _log_loss,
            "calibration slope": metrics.calibration_slope,
            "calibration intercept": metrics.calibration_intercept,
        }
    if task == VALUE:
        return {
            "mean absolute error": lambda p, y: float(np.abs(p - y).mean()),
            "root mean squared error": lambda p, y: float(np.sqrt(np.mean((p - y) ** 2))),
            "R squared": lambda p, y: float(1 - np.mean((p - y) ** 2) / y.var()) if y.var() else float("nan"),
        }
    if task == SURVIVAL:
        return dict(time_to_event.FIGURES)
    return {
        "log loss": _log_loss,
        "accuracy": metrics.accuracy,
        "AUC, mean over classes": _mean_auc,
        "Brier score": metrics.brier,
    }


def _log_loss(p: Matrix, y: NDArray[Any]) -> float:
    chosen = np.where(y == 1, p, 1 - p) if p.ndim == 1 else p[np.arange(len(y)), y]
    return float(-np.log(np.clip(chosen, 1e-15, 1)).mean())


def _mean_auc(p: Matrix, y: NDArray[Any]) -> float:
    return float(np.mean([metrics.roc_auc(p[:, k], y == k) for k in range(p.shape[1])]))


def figures(study: Study, family: str, split: str = "held-out folds", resamples: int | None = None) -> Figures:
    """All figures of one family, each the mean over repeats, with 95 % bootstrap intervals over patients."""
    found, problem = answers(study, family), study.problem
    y, rows = data_of(problem).y, []
    for metric, function in metrics_of(problem.plan.task).items():
        interval = over_repeats(function, found, y, problem.groups, resamples)
        rows.append({"metric": metric, "family": family, **interval.to_dict(), "n": len(problem.y), "split": split})
    return rows


def over_repeats(
    function: Callable[[Matrix, NDArray[Any]], float],
    found: Matrix,
    y: NDArray[Any],
    groups: NDArray[np.intp] | None = None,
    resamples: int | None = None,
) -> Interval:
    """The mean of a figure over repeats of answers (R, N, …), with a bootstrap interval over patients."""
    count = resamples or (400 if len(y) <= 5_000 else 100)

    def mean(*columns: Matrix) -> float:
        return float(np.mean([function(p, columns[-1]) for p in columns[:-1]]))

    return metrics.bootstrap(mean, *found, y, groups=groups, n=count)


def fold_auc(study: Study, family: str, resamples: int = 300) -> dict[str, Any]:
    """AUC within each fold, the mean over folds and repeats, as cross-validation is often reported.

    Answers of different folds come from different models, so this lies a little above the AUC of all answers together.
    """
    problem, found = study.problem, answers(study, family)

    def mean(*columns: Matrix) -> float:
        *pairs, y = columns
        parts = [
            metrics.roc_auc(p[fold == k], y[fold == k])
            for p, fold in zip(pairs[::2], pairs[1::2], strict=True)
            for k in np.unique(fold)
        ]
        return float(np.nanmean(parts))

    columns = [column for pair in zip(found, study.folds, strict=True) for column in pair]
    interval = metrics.bootstrap(mean, *columns, problem.y, groups=problem.groups, n=resamples)
    row = {"metric": "AUC, mean of folds", "family": family, **interval.to_dict()}
    return row | {"n": len(problem.y), "split": "held-out folds"}


def leaderboard(study: Study, resamples: int | None = None) -> Figures:
    """The figures of every complete family, families by their leading figure, the best first."""
    every = {family: figures(study, family, resamples=resamples) for family in study.families}
    return [row for family in _ranked(every) for row in every[family]]


def _ranked(every: Mapping[str, Figures]) -> list[str]:
    def place(family: str) -> float:
        lead = every[family][0]
        value = lead["value"] if np.isfinite(lead["value"]) else -np.inf
        return value if lead["metric"] in LOWER_IS_BETTER else -value

    return sorted(every, key=place)


def best_family(study: Study) -> str:
    """The family with the lowest held-out loss, see :func:`~medai_core.tabular.fitting.loss_of`.

    Raises
    ------
    InputError
        If the training was stopped before any family was complete.
    """
    if not study.families:
        raise InputError("No model was complete when the training was stopped.")
    task, y = study.problem.plan.task, data_of(study.problem).y

    def loss(family: str) -> float:
        return float(np.mean([loss_of(links, y, task) for links in study.held[family]]))

    return min(study.families, key=loss)


# ------------------------------------------------------------------------------------------------- curves


def outcome_of(study: Study, family: str, output: int = 1) -> tuple[Matrix, NDArray[np.bool_]]:
    """Held-out probability (N,) of one class, the mean over repeats, and whether it was so.

    Raises
    ------
    InputError
        If the task has no classes.
    """
    task = study.problem.plan.task
    if not study.problem.labels:
        raise InputError("Only classes have such curves, not the task {task}", task=task)
    found = answers(study, family).mean(axis=0)
    return (found, study.problem.y == 1) if task == BINARY else (found[:, output], study.problem.y == output)


def roc(p: Matrix, y: NDArray[np.bool_]) -> dict[str, list[float]]:
    """ROC curve with the threshold of each point, at most 200 points."""
    from sklearn.metrics import roc_curve

    fpr, tpr, threshold = roc_curve(y, p)
    return _thinned({"fpr": fpr, "tpr": tpr, "threshold": np.minimum(threshold, 1.0)})


def precision_recall(p: Matrix, y: NDArray[np.bool_]) -> dict[str, list[float]]:
    """Precision (positive predictive value) over recall (sensitivity), at most 200 points."""
    from sklearn.metrics import precision_recall_curve

    precision, recall, threshold = precision_recall_curve(y, p)
    return _thinned({"precision": precision, "recall": recall, "threshold": np.r_[threshold, 1.0]})


def _thinned(columns: Mapping[str, Matrix]) -> dict[str, list[float]]:
    size = len(next(iter(columns.values())))
    keep = np.unique(np.linspace(0, size - 1, min(size, CURVE_POINTS)).astype(int))
    return {name: np.asarray(values, float)[keep].tolist() for name, values in columns.items()}


def reliability(p: Matrix, y: NDArray[np.bool_], bins: int = 10) -> list[dict[str, float]]:
    """Stated against observed frequency with Wilson intervals."""
    rows = calibration.reliability_curve(p, y, bins)
    for row in rows:
        interval = metrics.wilson(round(row["observed"] * row["n"]), int(row["n"]))
        row |= {"low": interval.low, "high": interval.high}
    return rows


def decision_curve(p: Matrix, y: NDArray[np.bool_], points: int = 99) -> dict[str, list[float]]:
    """Net benefit of acting at or above each threshold (Vickers & Elkin 2006), beside acting on all and on none."""
    thresholds = np.linspace(0.01, 0.99, points)
    odds, n = thresholds / (1 - thresholds), len(y)
    acted = p[None, :] >= thresholds[:, None]
    right, wrong = (acted & y).sum(axis=1) / n, (acted & ~y).sum(axis=1) / n
    share = y.mean()
    return {
        "threshold": thresholds.tolist(),
        "model": (right - wrong * odds).tolist(),
        "all": (share - (1 - share) * odds).tolist(),
        "none": np.zeros(points).tolist(),
    }


@dataclass(frozen=True)
class AtThreshold:
    """What a threshold does: counts, and shares with 95 % Wilson intervals; None where there is nobody to count.

    Attributes
    ----------
    counts : list of list of int
        Truth in rows (no, yes), answer in columns (no, yes).
    """

    threshold: float
    counts: list[list[int]]
    sensitivity: Interval | None
    specificity: Interval | None
    ppv: Interval | None
    npv: Interval | None


def at_threshold(p: Matrix, y: NDArray[np.bool_], threshold: float) -> AtThreshold:
    """Confusion matrix and shares at a chosen threshold.

    Raises
    ------
    InputError
        If the threshold is outside [0, 1].
    """
    if not 0 <= threshold <= 1:
        raise InputError("`threshold` must be between 0 and 1, got {threshold}", threshold=threshold)
    named = p >= threshold
    tn, fp, fn, tp = (int(part.sum()) for part in (~named & ~y, named & ~y, ~named & y, named & y))

    def share(part: int, whole: int) -> Interval | None:
        return metrics.wilson(part, whole) if whole else None

    return AtThreshold(threshold, [[tn, fp], [fn, tp]], share(tp, tp + fn), share(tn, tn + fp), share(tp, tp + fp),
                       share(tn, tn + fn))  # fmt: skip


def confusion(study: Study, family: str) -> dict[str, Any]:
    """Confusion matrix by the most probable class, over the mean of the repeats."""
    found = answers(study, family).mean(axis=0)
    predicted = (found >= 0.5).astype(int) if found.ndim == 1 else found
    labels = study.problem.labels
    return {"labels": list(labels), "counts": metrics.confusion(predicted, study.problem.y, len(labels)).tolist()}


def subgroups(study: Study, family: str, resamples: int = 300) -> Figures:
    """The leading figure, and for classes the accuracy, within subgroups; small ones by their size alone.

    Returns
    -------
    list of dict
        ``column``, ``group``, ``n``, ``suppressed``, ``metric``, ``value``, ``low``, ``high`` (None where suppressed).
    """
    problem, found = study.problem, answers(study, family)
    shown, y = list(metrics_of(problem.plan.task).items())[: 2 if problem.labels else 1], data_of(problem).y
    rows: Figures = []
    for column, strata in problem.strata.items():
        for group in np.unique(strata):
            mine = strata == group
            small = _is_small(y[mine], problem.groups, mine, problem.plan.task, len(problem.labels))
            for metric, function in shown:
                row = {"column": column, "group": str(group), "n": int(mine.sum()), "suppressed": small}
                row |= {"metric": metric, "value": None, "low": None, "high": None}
                if not small:
                    groups = None if problem.groups is None else problem.groups[mine]
                    row |= over_repeats(function, found[:, mine], y[mine], groups, resamples).to_dict()
                rows.append(row)
    return rows


def _is_small(
    y: NDArray[Any], groups: NDArray[np.intp] | None, mine: NDArray[np.bool_], task: str, classes: int
) -> bool:
    patients = len(y) if groups is None else len(np.unique(groups[mine]))
    if patients < SMALLEST_CELL:
        return True
    if task == SURVIVAL:
        return int((y > 0).sum()) < SMALLEST_CLASS
    return task != VALUE and int(np.bincount(y, minlength=classes).min()) < SMALLEST_CLASS
