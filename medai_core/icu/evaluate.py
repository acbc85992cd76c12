"""Figures of the mortality model on stays with outcomes, beside the scores and parts it has to beat."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medai_core import metrics
from medai_core.icu import scores
from medai_core.icu.cohort import Cohort, load_cohort, part_of
from medai_core.icu.forecaster import Forecaster, Risks, load_forecaster
from medai_core.icu.grid import DESCRIPTORS, HOURS
from medai_core.icu.variables import ICU_TYPES

CHUNK = 256
RESAMPLES = 1000
SMALLEST = 40
"""A group is reported from this many stays on, if some died and some did not."""
BLEND = "blend"
AGE_BANDS = ((0, 50), (50, 65), (65, 80), (80, 200))
HOURS_SHOWN = (6, 12, 24, 36)

Figures = list[dict[str, object]]
Array = NDArray[np.float64]


def risks_of(forecaster: Forecaster, cohort: Cohort) -> Risks:
    """Risks of a whole cohort, a chunk at a time."""
    starts = range(0, len(cohort.died), CHUNK)
    found = [forecaster.risks(part_of(cohort.grid, slice(k, k + CHUNK))) for k in starts]
    return Risks(*(np.concatenate([getattr(r, name) for r in found]) for name in vars(found[0])))


def rivals(
    cohort: Cohort, trees: Array, network: Array, blend: Array, alone: Mapping[str, list[float]]
) -> dict[str, Array]:
    """Probability of death at hour 48 by each method, shape (N,); NaN where a score is not known.

    Parameters
    ----------
    trees, network : Array, shape (N,)
        Logits.
    blend : Array, shape (N,)
        Calibrated risk.
    alone : mapping
        Slope and intercept that calibrate each of the others, from the development stays.
    """
    given = {**cohort.scores, "trees": trees, "network": network}
    others = {name: 1 / (1 + np.exp(-(alone[name][0] * x + alone[name][1]))) for name, x in given.items()}
    return {**others, BLEND: blend}


def figures(
    probabilities: Mapping[str, Array], died: NDArray[np.int64], thresholds: Mapping[str, float], split: str
) -> Figures:
    """The seven figures of each method, with 95 % bootstrap intervals over patients."""
    rows: Figures = []
    for name, risk in probabilities.items():
        known = ~np.isnan(risk)
        if known.sum() < SMALLEST:
            continue
        for metric, function in _metrics(thresholds[name]).items():
            rows.append(_row(f"{metric}, {name}", function, risk[known], died[known], split))
    return rows


def _metrics(threshold: float) -> dict[str, Callable[..., float]]:
    return {
        "AUROC": metrics.roc_auc,
        "AUPRC": scores.average_precision,
        "event 1": partial(scores.event_1, threshold=threshold),
        "event 2": scores.event_2,
        "calibration slope": scores.calibration_slope,
        "calibration intercept": scores.calibration_intercept,
        "Brier score": metrics.brier,
    }


def _row(
    metric: str, function: Callable[..., float], risk: Array, died: NDArray[np.int64], split: str
) -> dict[str, object]:
    interval = metrics.bootstrap(function, risk, died, n=RESAMPLES)
    return {"metric": metric, **interval.to_dict(), "n": len(risk), "split": split}


def by_hour(risk: Array, died: NDArray[np.int64], split: str) -> Figures:
    """AUROC of the blend (N, 48) from the data of fewer hours."""
    return [_row(f"AUROC, {BLEND}, at hour {h}", metrics.roc_auc, risk[:, h - 1], died, split) for h in HOURS_SHOWN]


def by_group(cohort: Cohort, risk: Array, split: str) -> Figures:
    """AUROC and calibration intercept of the blend at hour 48 within groups of stays."""
    rows: Figures = []
    for name, mine in groups(cohort):
        if mine.sum() < SMALLEST or len(set(cohort.died[mine])) < 2:
            continue
        for metric, function in (("AUROC", metrics.roc_auc), ("calibration intercept", scores.calibration_intercept)):
            rows.append(_row(f"{metric}, {BLEND}, {name}", function, risk[mine], cohort.died[mine], split))
    return rows


def groups(cohort: Cohort) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """Stays by sex, age band, type of unit and how much was measured."""
    age, gender = (cohort.grid.fixed[:, DESCRIPTORS.index(name)] for name in ("Age", "Gender"))
    yield "women", gender == 0
    yield "men", gender == 1
    for low, high in AGE_BANDS:
        yield f"age {low} to {high - 1}" if high < 200 else f"age {low} and over", (age >= low) & (age < high)
    for kind, title in ICU_TYPES.items():
        yield f"unit: {title}", cohort.icu_type == kind
    measured = cohort.grid.measured.mean((1, 2))
    quartile = np.searchsorted(np.quantile(measured, [0.25, 0.5, 0.75]), measured, side="right")
    for k, title in enumerate(("least measured quarter", "second quarter", "third quarter", "most measured quarter")):
        yield title, quartile == k


def evaluate(model: str, folder: Path) -> Figures:
    """Measure the shipped model on a folder in the challenge's layout.

    Raises
    ------
    InputError
        If no stay with an outcome is found below `folder`.
    """
    cohort, forecaster = load_cohort(folder), load_forecaster()
    risks, constants, name = risks_of(forecaster, cohort), forecaster.bundle.preprocessing, Path(folder).resolve().name
    end = HOURS - 1
    found = rivals(cohort, risks.trees[:, end], risks.network[:, end], risks.blend[:, end], constants["alone"])
    rows = figures(found, cohort.died, constants["thresholds"], name)
    return rows + by_hour(risks.blend, cohort.died, name) + by_group(cohort, risks.blend[:, end], name)
