"""Figures of a scan model on labelled images: each with its 95 % bootstrap interval over patients."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medai_core import metrics
from medai_core.imaging.dataset import load_scans
from medai_core.imaging.reader import load_reader
from medai_core.imaging.rule import Rule

Figures = list[dict[str, object]]


def scan_figures(
    rule: Rule,
    probabilities: NDArray[np.float64],
    labels: NDArray[np.int64],
    groups: NDArray[np.str_],
    split: str,
) -> Figures:
    """Measure one part: each figure with its 95 % bootstrap interval over patients.

    Parameters
    ----------
    probabilities : NDArray
        (N, K), calibrated for the rule's prevalence.
    labels, groups : NDArray
        (N,): number of the true label, and the patient or group of duplicates.
    """
    columns, name, threshold = rule.columns, rule.finding, rule.threshold
    finding, ill = rule.finding_probability(probabilities), np.isin(labels, columns)
    sets = rule.sets(probabilities)
    covered = np.array([label in chosen for label, chosen in zip(labels, sets, strict=True)], float)
    alone = np.array([len(chosen) == 1 for chosen in sets], float)
    rows: Figures = []

    everyone = np.ones(len(labels), bool)

    def add(metric: str, function: Callable[..., float], *arrays: NDArray, only: NDArray[np.bool_] = everyone) -> None:
        interval = metrics.bootstrap(function, *(array[only] for array in arrays), groups=groups[only])
        if interval.low == interval.high and interval.value in (0, 1) and not metric.startswith("AUC"):
            # Every resample of a perfect share is perfect, which says nothing of how sure it is.
            trials = len(set(groups[only].tolist()))
            interval = metrics.wilson(int(interval.value) * trials, trials)
        rows.append({"metric": metric, **interval.to_dict(), "n": int(only.sum()), "split": split})

    if ill.any() and not ill.all():
        add(f"AUC, {name}", metrics.roc_auc, finding, ill)
        add(f"accuracy, {name} or not", metrics.accuracy, finding >= threshold, ill)
        add(f"sensitivity, {name}", lambda p, y: metrics.sensitivity(p, y, threshold), finding, ill, only=ill)
        add(f"specificity, {name}", lambda p, y: metrics.specificity(p, y, threshold), finding, ill, only=~ill)
    add("accuracy, all labels", metrics.accuracy, rule.answer(probabilities), labels)
    if ill.any():
        within = probabilities[:, columns].argmax(1)
        truth = np.searchsorted(columns, labels)
        add(f"accuracy among {name} labels", metrics.accuracy, within, np.where(ill, truth, 0), only=ill)
    here = at_mix(probabilities, rule.prevalence, np.bincount(labels, minlength=len(rule.labels)))
    add("expected calibration error", metrics.expected_calibration_error, here, labels)
    add("Brier score", metrics.brier, here, labels)
    add("coverage of the prediction set", partial(coverage, prevalence=rule.prevalence), covered, labels)
    add("answered alone (one label in the set)", lambda one: float(one.mean()), alone)
    return rows


def at_mix(
    probabilities: NDArray[np.float64], calibrated_for: Sequence[float], mix: NDArray[np.integer]
) -> NDArray[np.float64]:
    """Probabilities (N, K) moved from the prevalence they are calibrated for to a part's own mix of labels (K,).

    Calibration can only be judged at the prevalence that is stated (Saerens, Latinne & Decaestecker 2002).
    """
    moved = probabilities * (mix / np.asarray(calibrated_for))
    return moved / moved.sum(1, keepdims=True)


def coverage(covered: NDArray[np.float64], labels: NDArray[np.int64], prevalence: Sequence[float]) -> float:
    """Share (N,) covered, each label counting as its prevalence: what the prediction sets promise.

    Labels the part does not hold are left out.
    """
    found = [(share, covered[labels == k].mean()) for k, share in enumerate(prevalence) if (labels == k).any()]
    shares, means = np.array(found).T
    return float((shares * means).sum() / shares.sum())


def share(hits: NDArray[np.bool_], groups: NDArray[np.str_]) -> metrics.Interval:
    """Share of hits (N,) with its 95 % interval over groups (N,): images of one patient are not independent.

    Of none or all, every resample is the same: there the interval is Wilson's for as many trials as groups.
    """
    if hits.any() and not hits.all():
        return metrics.bootstrap(lambda hit: float(hit.mean()), hits, groups=groups)
    trials = len(set(groups.tolist()))
    return metrics.wilson(trials if hits.all() else 0, trials)


def evaluate(model: str, folder: Path) -> Figures:
    """Measure a shipped scan model on a folder in the public layout.

    Every labelled image goes through preparation and network as at inference, also one that would be refused;
    the share refused, on whatever grounds, is a row of its own.

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
    files = ((file, (Path(folder) / file).read_bytes()) for file in scans.files)
    refused = np.array([reading.status == "refused" for _, reading in reader.read_many(files, model=model)])
    name = Path(folder).resolve().name
    rows = scan_figures(chosen.rule, probabilities, scans.labels, scans.groups, name)
    interval = share(refused, scans.groups)
    return [*rows, {"metric": "refused by the gate", **interval.to_dict(), "n": len(refused), "split": name}]
