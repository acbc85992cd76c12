"""From trained members to a shipped bundle: calibration, thresholds, figures, card.

Calibration, conformal threshold and operating point come from the held-out folds alone. The test part is
measured here, and decides nothing.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from importlib.metadata import version as library_version
from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_curve

from medai_core import metrics
from medai_core.artifacts import Bundle, save_bundle
from medai_core.calibration import VectorScaling, conformal_threshold, prevalence_weights, reliability_curve
from medai_core.imaging.augment import OtherDevice
from medai_core.imaging.cards import CARDS
from medai_core.imaging.dataset import LABELS, PUBLIC_TEST, ScanSet, load_scans
from medai_core.imaging.evaluate import (
    FINDINGS,
    THRESHOLD,
    Figures,
    finding_columns,
    finding_of,
    predicted,
    scan_figures,
)
from medai_core.imaging.network import average
from medai_core.imaging.prepare import SIZE, VIA
from medai_core.imaging.train import RECIPES, Logits, Progress, Recipe, Split, logits_of, train_baseline, train_members

VERSION = "1.0.0"
# Prevalence the probabilities are calibrated for; a page converts to any other.
PREVALENCE = {"chest_xray": (0.5, 0.28, 0.22), "brain_mri": (0.25, 0.25, 0.25, 0.25)}
COVERAGE = 0.90
BACKGROUND, LEAST_IMAGES = 16, 40
IMITATION_SEED = 5


def calibrate(model: str, logits: Logits, labels: NDArray[np.int64]) -> tuple[VectorScaling, float]:
    """Fit the scaling and the conformal threshold on held-out logits (N, K), both at the stated prevalence."""
    weights = prevalence_weights(labels, PREVALENCE[model])
    scaling = VectorScaling.fit(logits, labels, weights)
    return scaling, conformal_threshold(scaling(logits), labels, COVERAGE, weights)


def _interval(rows: Figures, metric: str) -> dict[str, object]:
    return next({key: row[key] for key in ("value", "low", "high")} for row in rows if row["metric"] == metric)


def background(images: NDArray[np.uint8], seed: int) -> NDArray[np.uint8]:
    """Return mean images (up to 16, 128, 128) of clusters of the training images: SHAP's point of comparison.

    Each is the average of at least 40 images, nobody's picture; of fewer images there is one average.
    """
    from sklearn.cluster import MiniBatchKMeans

    small = images.reshape(len(images), 16, SIZE // 16, 16, SIZE // 16).mean((2, 4)).reshape(len(images), -1)
    clusters = max(1, min(BACKGROUND, len(images) // LEAST_IMAGES))
    cluster = MiniBatchKMeans(clusters, n_init=3, random_state=seed).fit_predict(small)
    parts = [cluster == k for k in range(clusters) if (cluster == k).sum() >= LEAST_IMAGES]
    means = [images[mine].mean(0) for mine in parts] or [images.mean(0)]
    return np.round(np.stack(means)).astype(np.uint8)


def libraries() -> dict[str, str]:
    """Return the versions a bundle was made with."""
    names = ("tensorflow", "keras", "numpy", "scikit-learn", "pillow")
    return {name: library_version(name) for name in names} | {"python": platform.python_version()}


def card_of(model: str, split: Mapping[str, object], seed: int, **rest: object) -> dict[str, object]:
    """Return the card of a model: its words, what `split` and `rest` add, and what it was made with."""
    words = {key: value for key, value in CARDS[model].items() if key != "notes"}
    parts = {"split": words["split"] | dict(split)}
    return {"id": model, "version": VERSION, **words, **rest, **parts, "libraries": libraries(), "seed": seed}


def _scan_card(model: str, scans: ScanSet, split: Split, recipe: Recipe) -> dict[str, object]:
    # Groups of near-duplicates are no patients.
    groups = "n_patients" if model == "chest_xray" else "n_groups"
    counts = {"n_images": len(scans.labels), groups: len(set(scans.groups.tolist()))}
    parts = {"test": int(split.test.sum()), "development": int((~split.test).sum())}
    return card_of(
        model,
        {"seed": recipe.seed, "folds": recipe.members, **parts},
        recipe.seed,
        labels=list(LABELS[model]),
        training_data=CARDS[model]["training_data"] | counts,
    )


def _held_out_name(model: str) -> str:
    return "held-out sessions" if model == "chest_xray" else "held-out folds"


def _preprocessing(model: str, scaling: VectorScaling, threshold: float, unseen: Figures) -> dict[str, object]:
    """Everything a reading needs beside the weights; sensitivity and specificity are those of the held-out folds."""
    name, labels = FINDINGS[model]
    return {
        "size": SIZE,
        "via": VIA,
        "labels": list(LABELS[model]),
        "positive": {"name": name, "labels": list(labels)},
        "calibration": scaling.to_dict(),
        "prevalence": dict(zip(LABELS[model], PREVALENCE[model], strict=True)),
        "conformal": {"coverage": COVERAGE, "threshold": threshold, "chosen_on": _held_out_name(model)},
        "operating_point": {
            "name": "balanced",
            "threshold": THRESHOLD,
            "chosen_on": "calibrated for the stated prevalence, at which 0.5 makes the fewest errors",
            "sensitivity": _interval(unseen, f"sensitivity, {name}"),
            "specificity": _interval(unseen, f"specificity, {name}"),
        },
        "version": VERSION,
    }


def _curves(
    model: str, scans: ScanSet, probabilities: NDArray[np.float64], part: NDArray[np.bool_]
) -> dict[str, object]:
    """Reliability, confusion and ROC of one part."""
    labels, mine = scans.labels[part], probabilities[part]
    finding, ill = finding_of(model, mine), np.isin(labels, finding_columns(model))
    counts = metrics.confusion(predicted(model, mine), labels, len(LABELS[model]))
    fpr, tpr, _ = roc_curve(ill, finding)
    return {
        "reliability": reliability_curve(finding, ill),
        "confusion": {"labels": list(LABELS[model]), "counts": counts},
        "roc": {"fpr": fpr, "tpr": tpr, "name": FINDINGS[model][0]},
    }


def _part_figures(
    model: str,
    scans: ScanSet,
    probabilities: NDArray[np.float64],
    part: NDArray[np.bool_],
    name: str,
    threshold: float,
) -> Figures:
    return scan_figures(model, probabilities[part], scans.labels[part], scans.groups[part], name, threshold)


def save_scan_bundle(
    folder: Path,
    model: str,
    scans: ScanSet,
    members: list[keras.Model],
    baseline: keras.Model,
    split: Split,
    held_out: Logits,
    recipe: Recipe,
) -> Bundle:
    """Calibrate, measure and write the bundle of one scan model."""
    development = ~split.test
    scaling, threshold = calibrate(model, held_out[development], scans.labels[development])
    probabilities = scaling(held_out)
    network = average(members, recipe.margin)
    test = _part_figures(model, scans, probabilities, split.test, "test", threshold)
    unseen = _part_figures(model, scans, probabilities, development, _held_out_name(model), threshold)
    others = _other_figures(model, scans, probabilities, split, threshold)
    document = {
        "figures": test + unseen + others + _imitated_figures(model, scans, network, split, scaling, threshold),
        "baseline": _baseline_figures(model, scans, baseline, split),
        **_curves(model, scans, probabilities, split.test),
        "notes": CARDS[model]["notes"],
    }
    preprocessing = _preprocessing(model, scaling, threshold, unseen)
    arrays = {"background": {"images": background(scans.images[development], recipe.seed)}}
    card = _scan_card(model, scans, split, recipe)
    return save_bundle(folder, network, card, preprocessing, document, arrays)


def _baseline_figures(model: str, scans: ScanSet, baseline: keras.Model, split: Split) -> Figures:
    """Figures of the textbook network, calibrated on the one fold it never saw: on the test part, as it is and
    through other devices, and on that fold (where its calibration flatters it)."""
    logits, fold = logits_of(baseline, scans.images), split.fold == 0
    scaling, threshold = calibrate(model, logits[fold], scans.labels[fold])
    test = _part_figures(model, scans, scaling(logits), split.test, "test", threshold)
    name = "held-out session 1" if model == "chest_xray" else "held-out fold 1"
    unseen = _part_figures(model, scans, scaling(logits), fold, name, threshold)
    return test + unseen[:5] + _imitated_figures(model, scans, baseline, split, scaling, threshold)


def _imitated_figures(
    model: str, scans: ScanSet, network: keras.Model, split: Split, scaling: VectorScaling, threshold: float
) -> Figures:
    """Figures on the test images seen through imitated devices: framing, grey scale, sharpness, noise, gaps."""
    device = OtherDevice(seed=IMITATION_SEED)
    images = scans.images[split.test][..., None].astype(np.float32) / 255.0
    seen = [np.asarray(device(images[start : start + 64], training=True)) for start in range(0, len(images), 64)]
    seen = np.round(np.concatenate(seen)[..., 0] * 255).astype(np.uint8)
    labels, groups = scans.labels[split.test], scans.groups[split.test]
    rows = scan_figures(
        model, scaling(logits_of(network, seen)), labels, groups, "test, other devices imitated", threshold
    )
    return rows[:5]


def _other_figures(
    model: str, scans: ScanSet, probabilities: NDArray[np.float64], split: Split, threshold: float
) -> Figures:
    """Figures of the parts where the model is expected to be weaker, or looks stronger than it is."""
    rows: Figures = []
    if model == "chest_xray":
        wanted = ("AUC", "accuracy", "sensitivity", "specificity")
        for fold in range(split.fold.max() + 1):
            name = f"held-out session {fold + 1}"
            found = _part_figures(model, scans, probabilities, split.fold == fold, name, threshold)
            rows += [row for row in found if str(row["metric"]).startswith(wanted)]
        return rows
    # One image of each group of near-duplicates, beside the figure that keeps them all.
    first = np.zeros(len(scans.labels), bool)
    first[np.unique(scans.groups, return_index=True)[1]] = True
    for part, name in ((split.test, "test"), (~split.test, _held_out_name(model))):
        found = _part_figures(model, scans, probabilities, part & first, f"{name}, duplicates removed", threshold)
        rows += found[:5]
    return rows


def train_scan_model(model: str, data: Path, out: Path, progress: Progress) -> Bundle:
    """Rebuild one scan model from its public folder; an interrupted run is taken up where it stopped.

    Parameters
    ----------
    data : Path
        A folder with the public layout somewhere below it.
    out : Path
        Becomes the bundle; checkpoints are kept beside it in ``<out>.work``.
    """
    recipe, scans = RECIPES[model], load_scans(model, data, leave_out=PUBLIC_TEST)
    work = out.with_name(f"{out.name}.work")
    members, split, held_out = train_members(model, scans, work, progress)
    baseline = train_baseline(scans, ~split.test & (split.fold != 0), recipe, work, progress)
    return save_scan_bundle(out, model, scans, members, baseline, split, held_out, recipe)
