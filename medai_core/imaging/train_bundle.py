"""From trained members to a shipped bundle: calibration, thresholds, figures, card.

Calibration, conformal threshold and operating point come from the held-out folds alone; the test part is only
measured here.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import version as library_version
from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_curve
from sklearn.model_selection import GroupKFold

from medai_core import metrics
from medai_core.artifacts import Bundle, save_bundle
from medai_core.calibration import VectorScaling, conformal_threshold, prevalence_weights, reliability_curve
from medai_core.imaging.augment import OtherDevice, imitate, without_detail
from medai_core.imaging.cards import CARDS
from medai_core.imaging.dataset import LABELS, PUBLIC_TEST, ScanSet, load_scans
from medai_core.imaging.evaluate import Figures, at_mix, scan_figures
from medai_core.imaging.network import average
from medai_core.imaging.prepare import SIZE, VIA
from medai_core.imaging.rule import Rule
from medai_core.imaging.train import (
    RECIPES,
    Logits,
    Progress,
    Recipe,
    Split,
    data_digest,
    logits_of,
    train_baseline,
    train_members,
)

VERSION = "1.1.0"
FINDINGS = {
    "chest_xray": ("pneumonia", ("bacterial", "viral")),
    "brain_mri": ("tumour", ("glioma", "meningioma", "pituitary")),
}
THRESHOLD = 0.5
# Prevalence the probabilities are calibrated for; a page converts to any other.
PREVALENCE = {"chest_xray": (0.5, 0.28, 0.22), "brain_mri": (0.25, 0.25, 0.25, 0.25)}
COVERAGE = 0.90
# Weight of imitated devices in calibration. Of 0, 0.15, 0.25, 0.35 and 0.5 on held-out chest sessions, those between
# 0.15 and 0.25 did best on the images as they are and through imitated devices together.
IMITATED_SHARE = 0.2
BACKGROUND, LEAST_IMAGES = 16, 40
IMITATION_SEED = 5


def calibrate(
    model: str,
    logits: Logits,
    labels: NDArray[np.int64],
    groups: NDArray[np.str_],
    importance: NDArray[np.float64] | float = 1.0,
) -> tuple[VectorScaling, Rule]:
    """Fit the scaling and the conformal threshold on held-out logits (N, K), both at the stated prevalence.

    For the threshold each half of the groups is calibrated by the other half, as its promise asks for. The shipped
    models are fitted to the held-out images as they are and, with a smaller importance, through imitated devices:
    fitted to the former alone, a network calls too many images of a new device ill.
    """
    weights = prevalence_weights(labels, PREVALENCE[model]) * importance
    apart = np.zeros(logits.shape)
    for fit, rest in GroupKFold(2).split(logits, labels, groups):
        apart[rest] = VectorScaling.fit(logits[fit], labels[fit], weights[fit])(logits[rest])
    threshold = conformal_threshold(apart, labels, COVERAGE, weights)
    finding, finding_labels = FINDINGS[model]
    rule = Rule(LABELS[model], finding, finding_labels, THRESHOLD, threshold, PREVALENCE[model])
    return VectorScaling.fit(logits, labels, weights), rule


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
        training_data=CARDS[model]["training_data"] | counts | {"sha256": data_digest(scans)},
        recipe=asdict(recipe),
    )


def _held_out_name(model: str) -> str:
    return "held-out sessions" if model == "chest_xray" else "held-out folds"


def _preprocessing(model: str, scaling: VectorScaling, rule: Rule, unseen: Figures) -> dict[str, object]:
    """Everything a reading needs beside the weights; sensitivity and specificity are those of the held-out folds."""
    return {
        "size": SIZE,
        "via": VIA,
        "labels": list(rule.labels),
        "positive": {"name": rule.finding, "labels": list(rule.finding_labels)},
        "calibration": scaling.to_dict(),
        "prevalence": dict(zip(rule.labels, rule.prevalence, strict=True)),
        "conformal": {
            "coverage": COVERAGE,
            "threshold": rule.conformal_threshold,
            "chosen_on": _held_out_name(model),
        },
        "operating_point": {
            "name": "balanced",
            "threshold": rule.threshold,
            "chosen_on": "calibrated for the stated prevalence, at which 0.5 makes the fewest errors",
            "sensitivity": _interval(unseen, f"sensitivity, {rule.finding}"),
            "specificity": _interval(unseen, f"specificity, {rule.finding}"),
        },
        "version": VERSION,
    }


def _curves(
    rule: Rule, scans: ScanSet, probabilities: NDArray[np.float64], part: NDArray[np.bool_]
) -> dict[str, object]:
    """Reliability (at the part's own mix of labels), confusion and ROC of one part."""
    labels, mine = scans.labels[part], probabilities[part]
    ill = np.isin(labels, rule.columns)
    here = at_mix(mine, rule.prevalence, np.bincount(labels, minlength=len(rule.labels)))
    fpr, tpr, _ = roc_curve(ill, rule.finding_probability(mine))
    return {
        "reliability": reliability_curve(rule.finding_probability(here), ill),
        "confusion": {
            "labels": list(rule.labels),
            "counts": metrics.confusion(rule.answer(mine), labels, len(rule.labels)),
        },
        "roc": {"fpr": fpr, "tpr": tpr, "name": rule.finding},
    }


def _part_figures(
    rule: Rule, scans: ScanSet, probabilities: NDArray[np.float64], part: NDArray[np.bool_], name: str
) -> Figures:
    return scan_figures(rule, probabilities[part], scans.labels[part], scans.groups[part], name)


def save_scan_bundle(
    folder: Path,
    model: str,
    scans: ScanSet,
    members: list[keras.Model],
    baseline: keras.Model,
    split: Split,
    held_out: Logits,
    imitated: Logits,
    recipe: Recipe,
) -> Bundle:
    """Calibrate, measure and write the bundle of one scan model."""
    development = ~split.test
    scaling, rule = calibrate(
        model,
        np.concatenate([held_out[development], imitated[development]]),
        np.tile(scans.labels[development], 2),
        np.tile(scans.groups[development], 2),
        np.repeat([1 - IMITATED_SHARE, IMITATED_SHARE], development.sum()),
    )
    probabilities = scaling(held_out)
    network = average(members, recipe.margin)
    test = _part_figures(rule, scans, probabilities, split.test, "test")
    unseen = _part_figures(rule, scans, probabilities, development, _held_out_name(model))
    others = _other_figures(model, rule, scans, probabilities, split)
    name = f"{_held_out_name(model)}, other devices imitated"
    others += _part_figures(rule, scans, scaling(imitated), development, name)[:5]
    document = {
        "figures": test + unseen + others + _imitated_figures(rule, scans, network, split, scaling),
        "baseline": _baseline_figures(model, scans, baseline, split, recipe),
        **_curves(rule, scans, probabilities, split.test),
        "notes": CARDS[model]["notes"],
    }
    if recipe.bare_share:
        document["figures"] += _bare_figures(rule, scans, network, split, scaling)
    preprocessing = _preprocessing(model, scaling, rule, unseen)
    arrays = {"background": {"images": background(scans.images[development], recipe.seed)}}
    card = _scan_card(model, scans, split, recipe)
    return save_bundle(folder, network, card, preprocessing, document, arrays)


def _baseline_figures(model: str, scans: ScanSet, baseline: keras.Model, split: Split, recipe: Recipe) -> Figures:
    """Figures of the textbook network, calibrated on the one fold it never saw: on the test part, as it is and
    through other devices, and on that fold (where its calibration flatters it)."""
    logits, fold = logits_of(baseline, scans.images), split.fold == 0
    scaling, rule = calibrate(model, logits[fold], scans.labels[fold], scans.groups[fold])
    test = _part_figures(rule, scans, scaling(logits), split.test, "test")
    name = "held-out session 1" if model == "chest_xray" else "held-out fold 1"
    unseen = _part_figures(rule, scans, scaling(logits), fold, name)
    bare = _bare_figures(rule, scans, baseline, split, scaling) if recipe.bare_share else []
    return test + unseen[:5] + _imitated_figures(rule, scans, baseline, split, scaling) + bare


def _bare_figures(rule: Rule, scans: ScanSet, network: keras.Model, split: Split, scaling: VectorScaling) -> Figures:
    """How much of the answer is left on test images without detail: outline and plane alone should decide nothing."""
    rng = np.random.default_rng(IMITATION_SEED)
    bare = np.stack([without_detail(image, rng) for image in scans.images[split.test]])
    probabilities = scaling(logits_of(network, bare))
    labels, groups = scans.labels[split.test], scans.groups[split.test]
    rows: Figures = []
    for metric, function, columns in (
        ("accuracy, all labels", metrics.accuracy, (rule.answer(probabilities), labels)),
        ("highest probability, mean", lambda p: float(p.mean()), (probabilities.max(1),)),
    ):
        interval = metrics.bootstrap(function, *columns, groups=groups)
        rows.append({"metric": metric, **interval.to_dict(), "n": len(labels), "split": "test, detail removed"})
    return rows


def _imitated_figures(
    rule: Rule, scans: ScanSet, network: keras.Model, split: Split, scaling: VectorScaling
) -> Figures:
    """Figures on the test images seen through imitated devices: framing, grey scale, sharpness, noise, gaps."""
    seen = imitate(scans.images[split.test], OtherDevice(seed=IMITATION_SEED))
    labels, groups = scans.labels[split.test], scans.groups[split.test]
    rows = scan_figures(rule, scaling(logits_of(network, seen)), labels, groups, "test, other devices imitated")
    return rows[:5]


def _other_figures(model: str, rule: Rule, scans: ScanSet, probabilities: NDArray[np.float64], split: Split) -> Figures:
    """Figures of the parts where the model is expected to be weaker, or looks stronger than it is."""
    rows: Figures = []
    if model == "chest_xray":
        wanted = ("AUC", "accuracy", "sensitivity", "specificity")
        for fold in range(split.fold.max() + 1):
            name = f"held-out session {fold + 1}"
            found = _part_figures(rule, scans, probabilities, split.fold == fold, name)
            rows += [row for row in found if str(row["metric"]).startswith(wanted)]
        return rows
    # One image of each group of near-duplicates, beside the figure that keeps them all.
    first = np.zeros(len(scans.labels), bool)
    first[np.unique(scans.groups, return_index=True)[1]] = True
    for part, name in ((split.test, "test"), (~split.test, _held_out_name(model))):
        found = _part_figures(rule, scans, probabilities, part & first, f"{name}, duplicates removed")
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
    members, split, held_out, imitated = train_members(model, scans, work, progress)
    baseline = train_baseline(scans, ~split.test & (split.fold != 0), recipe, work, progress)
    return save_scan_bundle(out, model, scans, members, baseline, split, held_out, imitated, recipe)
