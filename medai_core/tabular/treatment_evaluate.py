"""Figures of a treatment model on trial patients with outcomes, beside the Kaplan-Meier curve of each arm."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from medai_core.metrics import Interval
from medai_core.tabular.survival import Matrix, Rows, Vector
from medai_core.tabular.survival_metrics import (
    Pairs,
    Watched,
    brier,
    by_patient,
    calibration_slope,
    event_free_share,
    integrated,
)
from medai_core.tabular.treatment import TreatmentModel, load_treatment
from medai_core.tabular.trial import Trial, load_actg

RESAMPLES = 1000
SLOPE_RESAMPLES = 300
FIRST_DAY = 60.0
"""Brier scores are integrated from here to the last day at which a tenth of the patients is still watched."""

Figures = list[dict[str, object]]


def figures(model: TreatmentModel, trial: Trial, split: str) -> tuple[Figures, Figures]:
    """Figures of the model, and the same of the training patients' Kaplan-Meier curves by arm.

    Parameters
    ----------
    trial : Trial
        Patients the model was not trained on, with the arm they got and what became of them.

    Returns
    -------
    rows, baseline : Figures
        Metric, value, 95 % interval, number of patients and split.
    """
    days = model.members.days[(model.members.days >= FIRST_DAY) & (model.members.days <= np.quantile(trial.time, 0.9))]
    arm = np.array([model.number(one) for one in trial.arms])[trial.arm]
    stated = model.members.best(model.scaling(trial.x), arm, np.r_[days, model.horizon])
    plain = _curve_of_arm(model, arm, np.r_[days, model.horizon])
    watched = Watched(trial.time, trial.event)
    errors, plain_errors = (
        integrated(brier(each[:, :-1], trial.time, trial.event, days, watched), days) for each in (stated, plain)
    )

    def rows_of(found: Matrix, error: Vector) -> Figures:
        pairs = Pairs.of(-found[:, -1], trial.time, trial.event)
        return [
            _row("concordance", pairs.concordance, len(trial), split),
            _row("integrated Brier score", lambda rows: float(error[rows].mean()), len(trial), split),
        ]

    rows, baseline = rows_of(stated, errors), rows_of(plain, plain_errors)
    gain = plain_errors - errors
    rows.append(_row("integrated Brier score below that of the curves by", lambda r: float(gain[r].mean()), len(trial),
                     split))  # fmt: skip
    rows.append(_row("calibration slope", lambda r: calibration_slope(stated[r, -1], trial.time[r], trial.event[r]),
                     len(trial), split, SLOPE_RESAMPLES))  # fmt: skip
    mean, observed = _arms(model, trial, arm, split)
    return rows + mean, baseline + observed


def _arms(model: TreatmentModel, trial: Trial, arm: Rows, split: str) -> tuple[Figures, Figures]:
    """Stated event-free probability under each arm, in the mean of all patients; and observed in those who got it."""
    stated, observed, found = [], [], model.at_horizon(trial.x)
    for k, title in enumerate(model.titles):
        metric, mine = f"event-free at 2 years, {title}", arm == k
        time, event = trial.time[mine], trial.event[mine]
        stated.append(_row(metric, lambda r, k=k: float(found[r, k].mean()), len(trial), split))
        if mine.any():
            observed.append(_row(metric, lambda r, t=time, e=event: event_free_share(t[r], e[r], model.horizon),
                                 len(time), split, SLOPE_RESAMPLES))  # fmt: skip
    return stated, observed


def _curve_of_arm(model: TreatmentModel, arm: Rows, days: Vector) -> Matrix:
    """Event-free share (N, T) of the training patients in each one's arm."""
    curves = model.population.curves
    steps = np.searchsorted(curves.days, days, side="right") - 1
    return curves.survival[:, steps][arm]


def _row(
    metric: str, statistic: Callable[[Rows], float], n: int, split: str, resamples: int = RESAMPLES
) -> dict[str, object]:
    return row(metric, by_patient(statistic, n, resamples), n, split)


def row(metric: str, interval: Interval, n: int, split: str) -> dict[str, object]:
    return {"metric": metric, **interval.to_dict(), "n": n, "split": split}


def policy_figures(model: TreatmentModel, split: str) -> Figures:
    """What choosing for each patient, and each single arm, is worth on the trial the model was made from."""
    value, n = model.policy, model.policy.n
    rows = [row("event-free at 2 years, choice for each patient", value.individual, n, split)]
    for title, single, gain in zip(model.titles, value.single, value.gain, strict=True):
        rows.append(row(f"event-free at 2 years, {title} for everybody", single, n, split))
        rows.append(row(f"gain of choice for each patient over {title} for everybody", gain, n, split))
    return rows


def evaluate(model: str, folder: Path) -> Figures:
    """Measure the shipped model on a file, or a folder, in the layout of ACTG 175, followed by the curves of the arms.

    Raises
    ------
    InputError
        If there is no such file, or it lacks a column.
    """
    shipped, trial = load_treatment(), load_actg(Path(folder))
    rows, baseline = figures(shipped, trial, Path(folder).resolve().name)
    curves = [one | {"metric": f"{one['metric']}, Kaplan-Meier"} for one in baseline]
    return rows + curves
