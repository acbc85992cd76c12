"""From trained members to a shipped bundle: calibration, thresholds, figures, card.

Calibration, conformal threshold and operating point come from the held-out folds alone. The test part is
looked at once, here.
"""

from __future__ import annotations

import platform
from importlib.metadata import version as library_version
from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_curve

from medai_core import metrics
from medai_core.artifacts import Bundle, save_bundle
from medai_core.calibration import VectorScaling, conformal_threshold, prevalence_weights, reliability_curve
from medai_core.imaging.cards import CARDS
from medai_core.imaging.dataset import LABELS, ScanSet, load_scans
from medai_core.imaging.evaluate import FINDINGS, THRESHOLD, Figures, finding_columns, finding_of, predicted, scan_figures
from medai_core.imaging.network import average
from medai_core.imaging.prepare import SIZE, VIA
from medai_core.imaging.train import RECIPES, Logits, Progress, Recipe, Split, logits_of, train_baseline, train_members

VERSION = "1.0.0"
# Prevalence the probabilities are calibrated for; a page converts to any other.
PREVALENCE = {"chest_xray": (0.5, 0.28, 0.22), "brain_mri": (0.25, 0.25, 0.25, 0.25)}
COVERAGE = 0.90
BACKGROUND = 16



def calibrate(model: str, logits: Logits, labels: NDArray[np.int64]) -> tuple[VectorScaling, float]:
    """Fit the scaling and the conformal threshold on held-out logits (N, K), both at the stated prevalence."""
    weights = prevalence_weights(labels, PREVALENCE[model])
    scaling = VectorScaling.fit(logits, labels, weights)
    return scaling, conformal_threshold(scaling(logits), labels, COVERAGE, weights)


def _interval(rows: Figures, metric: str) -> dict[str, object]:
    return next({key: row[key] for key in ("value", "low", "high")} for row in rows if row["metric"] == metric)


def background(images: NDArray[np.uint8], seed: int) -> NDArray[np.float32]:
    """Return mean images (16, 128, 128, 1) of clusters of the training images: SHAP's point of comparison.

    Each is the average of many patients, nobody's picture.
    """
    from sklearn.cluster import MiniBatchKMeans

    small = images.reshape(len(images), 16, SIZE // 16, 16, SIZE // 16).mean((2, 4)).reshape(len(images), -1)
    cluster = MiniBatchKMeans(BACKGROUND, n_init=3, random_state=seed).fit_predict(small)
    kept = [cluster == k for k in range(BACKGROUND) if (cluster == k).sum() >= 40]
    return np.stack([images[mine].mean(0) for mine in kept])[..., None].astype(np.float32) / 255.0


def libraries() -> dict[str, str]:
    """Return the versions a bundle was made with."""
    names = ("tensorflow", "keras", "numpy", "scikit-learn", "pillow")
    return {name: library_version(name) for name in names} | {"python": platform.python_version()}


def _card(model: str, scans: ScanSet, split: Split, recipe: Recipe) -> dict[str, object]:
    parts = {"test": int(split.test.sum()), "development": int((~split.test).sum())}
    return {
        "id": model,
        "version": VERSION,
        **CARDS[model],
        "labels": list(LABELS[model]),
        "training_data": CARDS[model]["training_data"] | {"n_images": len(scans.labels), "n_patients": len(set(scans.groups.tolist()))},
        "split": CARDS[model]["split"] | {"seed": recipe.seed, "folds": recipe.members, **parts},
        "libraries": libraries(),
        "seed": recipe.seed,
    }


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
    sessions = "held-out sessions" if model == "chest_xray" else "held-out folds"
    probabilities = scaling(held_out)

    def measured(part: NDArray[np.bool_], name: str) -> Figures:
        return scan_figures(model, probabilities[part], scans.labels[part], scans.groups[part], name, threshold)

    test, development_rows = measured(split.test, "test"), measured(development, sessions)
    plain = logits_of(baseline, scans.images)
    plain_scaling, plain_threshold = calibrate(model, plain[split.fold == 0], scans.labels[split.fold == 0])
    plain_rows = scan_figures(
        model, plain_scaling(plain[split.test]), scans.labels[split.test], scans.groups[split.test], "test", plain_threshold
    )
    finding = FINDINGS[model]
    ill = np.isin(scans.labels, finding_columns(model))
    name = finding[0]
    preprocessing = {
        "size": SIZE,
        "via": VIA,
        "labels": list(LABELS[model]),
        "positive": {"name": name, "labels": list(finding[1])},
        "calibration": scaling.to_dict(),
        "prevalence": dict(zip(LABELS[model], PREVALENCE[model], strict=True)),
        "conformal": {"coverage": COVERAGE, "threshold": threshold, "chosen_on": sessions},
        "operating_point": {
            "name": "balanced",
            "threshold": THRESHOLD,
            "chosen_on": "calibrated for the stated prevalence, at which 0.5 makes the fewest errors",
            "sensitivity": _interval(test, f"sensitivity, {name}"),
            "specificity": _interval(test, f"specificity, {name}"),
        },
        "version": VERSION,
    }
    counts = metrics.confusion(predicted(model, probabilities[split.test]), scans.labels[split.test], len(LABELS[model]))
    fpr, tpr, _ = roc_curve(ill[split.test], finding_of(model, probabilities[split.test]))
    document = {
        "figures": test + development_rows + _other_figures(model, scans, probabilities, split, threshold),
        "baseline": plain_rows,
        "reliability": reliability_curve(finding_of(model, probabilities[split.test]), ill[split.test]),
        "confusion": {"labels": list(LABELS[model]), "counts": counts},
        "roc": {"fpr": fpr, "tpr": tpr, "name": name},
        "notes": CARDS[model]["notes"],
    }
    card = _card(model, scans, split, recipe)
    card.pop("notes")
    arrays = {"background": {"images": background(scans.images[development], recipe.seed)}}
    return save_bundle(folder, average(members), card, preprocessing, document, arrays)


def _other_figures(model: str, scans: ScanSet, probabilities: NDArray[np.float64], split: Split, threshold: float) -> Figures:
    """Figures of the parts where the model is expected to be weaker, or looks stronger than it is."""
    rows: Figures = []
    if model == "chest_xray":
        parts = {f"held-out session {k + 1}": split.fold == k for k in range(split.fold.max() + 1)}
        wanted = ("AUC", "accuracy", "sensitivity", "specificity")
        for name, part in parts.items():
            found = scan_figures(model, probabilities[part], scans.labels[part], scans.groups[part], name, threshold)
            rows += [row for row in found if str(row["metric"]).startswith(wanted)]
        return rows
    # One image of each group of near-duplicates, beside the figure that keeps them all.
    first = np.zeros(len(scans.labels), bool)
    first[np.unique(scans.groups, return_index=True)[1]] = True
    for name, part in (("test, duplicates removed", split.test & first), ("held-out folds, duplicates removed", ~split.test & first)):
        rows += scan_figures(model, probabilities[part], scans.labels[part], scans.groups[part], name, threshold)[:5]
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
    recipe, scans = RECIPES[model], load_scans(model, data)
    work = out.with_name(f"{out.name}.work")
    members, split, held_out = train_members(model, scans, work, progress)
    baseline = train_baseline(scans, ~split.test & (split.fold != 0), recipe, work, progress)
    return save_scan_bundle(out, model, scans, members, baseline, split, held_out, recipe)
