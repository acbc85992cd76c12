"""Figures of a scan model on labelled images: each with its 95 % bootstrap interval over patients."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medai_core import metrics
from medai_core.calibration import prediction_set
from medai_core.imaging.dataset import LABELS, load_scans
from medai_core.imaging.reader import load_reader

FINDINGS = {
    "chest_xray": ("pneumonia", ("bacterial", "viral")),
    "brain_mri": ("tumour", ("glioma", "meningioma", "pituitary")),
}
THRESHOLD = 0.5

Figures = list[dict[str, object]]


def finding_of(model: str, probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the probability (N,) of the model's finding, the sum over its labels."""
    return probabilities[:, finding_columns(model)].sum(1)


def finding_columns(model: str) -> list[int]:
    return [LABELS[model].index(label) for label in FINDINGS[model][1]]


def predicted(model: str, probabilities: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the answered label (N,): the likeliest on the side of the threshold where the finding is."""
    above = finding_of(model, probabilities) >= THRESHOLD
    mine = np.isin(np.arange(probabilities.shape[1]), finding_columns(model))
    return np.where(mine == above[:, None], probabilities, -1.0).argmax(1)


def scan_figures(
    model: str,
    probabilities: NDArray[np.float64],
    labels: NDArray[np.int64],
    groups: NDArray[np.str_],
    split: str,
    threshold: float,
) -> Figures:
    """Measure one part: each figure with its 95 % bootstrap interval over patients.

    Parameters
    ----------
    probabilities : NDArray
        (N, K), calibrated.
    threshold : float
        Conformal threshold.
    """
    columns = finding_columns(model)
    finding, ill = finding_of(model, probabilities), np.isin(labels, columns)
    answer = predicted(model, probabilities)
    name = FINDINGS[model][0]
    sets = [prediction_set(row, threshold) for row in probabilities]
    covered = np.array([label in chosen for label, chosen in zip(labels, sets, strict=True)], float)
    alone = np.array([len(chosen) == 1 for chosen in sets], float)
    rows: Figures = []

    everyone = np.ones(len(labels), bool)

    def add(metric: str, function: Callable[..., float], *arrays: NDArray, only: NDArray[np.bool_] = everyone) -> None:
        interval = metrics.bootstrap(function, *(array[only] for array in arrays), groups=groups[only])
        rows.append({"metric": metric, **interval.to_dict(), "n": int(only.sum()), "split": split})

    if ill.any() and not ill.all():
        add(f"AUC, {name}", metrics.roc_auc, finding, ill)
        add(f"accuracy, {name} or not", metrics.accuracy, finding >= THRESHOLD, ill)
        add(f"sensitivity, {name}", lambda p, y: metrics.sensitivity(p, y, THRESHOLD), finding, ill, only=ill)
        add(f"specificity, {name}", lambda p, y: metrics.specificity(p, y, THRESHOLD), finding, ill, only=~ill)
    add("accuracy, all labels", metrics.accuracy, answer, labels)
    if ill.any():
        within = probabilities[:, columns].argmax(1)
        truth = np.searchsorted(columns, labels)
        add(f"accuracy among {name} labels", metrics.accuracy, within, np.where(ill, truth, 0), only=ill)
    add("expected calibration error", metrics.expected_calibration_error, probabilities, labels)
    add("Brier score", metrics.brier, probabilities, labels)
    add("coverage of the prediction set", lambda hit: float(hit.mean()), covered)
    add("answered alone (one label in the set)", lambda one: float(one.mean()), alone)
    return rows


def evaluate(model: str, folder: Path) -> Figures:
    """Measure a shipped scan model on a folder in the public layout.

    Every labelled image goes through preparation and network as at inference, also one that the gate would
    refuse; the share refused is a row of its own.

    Raises
    ------
    InputError
        No labelled image was found below `folder`.
    """
    scans = load_scans(model, folder)
    reader = load_reader()
    chosen = reader.model(model)
    images = scans.images[..., None].astype(np.float32) / 255.0
    chunks = range(0, len(images), 64)
    probabilities = np.concatenate([chosen.predict(images[start : start + 64]) for start in chunks])
    refused = np.concatenate([reader.refused(images[start : start + 64], model) for start in chunks])
    name = Path(folder).resolve().name
    rows = scan_figures(model, probabilities, scans.labels, scans.groups, name, chosen.conformal_threshold)
    share = metrics.wilson(int(refused.sum()), len(refused))
    return [*rows, {"metric": "refused by the gate", **share.to_dict(), "n": len(refused), "split": name}]
