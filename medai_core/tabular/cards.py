"""What the cards of table models say in words; figures and counts are filled in by training."""

from __future__ import annotations

import hashlib
import io
import json
import re
import zipfile
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from medai_core.artifacts import CARD, DIGESTS
from medai_core.tabular.bundles import libraries
from medai_core.tabular.compare import Study, rows_of
from medai_core.tabular.tables import Table, clean_name

SPLIT = (
    "Nested cross-validation: in every fold the settings of each model, its calibration and the weights of the average "
    "are chosen on rows held out inside the training part, and the fold is answered once. Rows of one patient, and "
    "equal rows, stay together. Figures are means over the repeats; intervals are bootstrap intervals over patients."
)
NOTES = [
    "Contributions show what moved this model's answer. Association is not cause.",
    "The logistic regression, the support vector machine, the trees and their average are explained exactly; the "
    "neural network by sampled orders of the features.",
]

CARDS: dict[str, dict[str, Any]] = {
    "breast_cancer": {
        "name": "Breast mass: benign or malignant, from cell nuclei",
        "task": "table",
        "summary": "Gives the probability that a breast mass is malignant from 30 measurements of cell nuclei in a "
        "digitised fine needle aspirate: logistic regression, a support vector machine, a random forest, "
        "gradient-boosted trees, a neural network, their average, and an autoencoder that tells how unlike the "
        "training patients a row is.",
        "intended_use": [
            "Teaching, research, and demonstration of calibrated, explained models on a clinical table.",
            "A first comparison for one's own models on this well-known table.",
        ],
        "not_for": [
            "Diagnosis. Not a medical device.",
            "Aspirates measured in another way: the measurements come from one program, on images of one laboratory.",
            "Judging what would change the disease: an answer that follows a changed value is association, not effect.",
        ],
        "population": "569 patients of the University of Wisconsin Hospitals, Madison, seen for a breast mass before "
        "November 1995; 212 masses were malignant. Nothing is known about age, sex or origin.",
        "training_data": {
            "name": "Breast Cancer Wisconsin (Diagnostic), as scikit-learn ships it",
            "source": "https://doi.org/10.24432/C5DW2B",
            "licence": "CC BY 4.0",
            "citation": "Wolberg, Street & Mangasarian, Machine learning techniques to diagnose breast cancer from "
            "fine-needle aspirates, Cancer Letters 77:163-171, 1994",
        },
        "split": {"method": SPLIT},
        "metrics_note": "Held-out patients come from the same hospital and years as those trained on. Expect less "
        "elsewhere. The settings tried and the way of averaging were fixed after cross-validations of this table had "
        "been seen, so the figures are a little optimistic.",
        "failure_modes": [
            "Masses whose nuclei look halfway between the two kinds: the prediction set then holds both labels.",
            "Measurements far from those of training are answered with more confidence than they deserve; they are "
            "flagged as extrapolation.",
            "The share of malignant masses (37 %) is that of a referral hospital: at another share probabilities are "
            "off.",
        ],
        "explanation_notes": NOTES,
    }
}

OWN: dict[str, Any] = {
    "task": "table",
    "summary": "Trained by a user on their own table.",
    "intended_use": ["Research by the person who trained it, on patients like those of the table."],
    "not_for": ["Decisions about patients. Not a medical device.", "Patients unlike those of the table."],
    "population": "The patients of the user's table; nobody else has looked at it.",
    "metrics_note": "Held-out rows come from the same table as those trained on. Expect less elsewhere.",
    "failure_modes": [
        "What was written into the table after the outcome was known makes figures look better than they are.",
        "Values outside the trained range are flagged as extrapolation.",
    ],
    "explanation_notes": NOTES,
    "notes": [
        "The bundle holds some rows of the table, as the background of explanations and as support vectors: share it "
        "as carefully as the table."
    ],
}


def slug(name: str) -> str:
    """A name as a folder's: small letters, digits and underscores, at most 40; ``table`` where nothing is left."""
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")[:40] or "table"


def card_of(study: Study, table: Table, name: str, version: str = "1.0.0") -> dict[str, Any]:
    """The card of a model a user trained.

    Parameters
    ----------
    name : str
        The user's, for people; the bundle's id is made from it.
    """
    data = {"name": table.name, "sha256": table.digest, **rows_of(study)}
    shown = clean_name(name) or "table"
    return {"id": slug(name), "version": version, "name": shown, **OWN, **_made(study, data, {"method": SPLIT})}


def renamed(data: bytes, name: str) -> bytes:
    """A bundle's ZIP, of :func:`~medai_core.tabular.bundles.to_zip`, under another name; all else stays as it is."""
    import yaml

    shown = clean_name(name) or "table"
    with zipfile.ZipFile(io.BytesIO(data)) as source:
        files = {PurePosixPath(member).name: source.read(member) for member in source.namelist()}
    card = {**yaml.safe_load(files[CARD]), "id": slug(shown), "name": shown}
    files[CARD] = yaml.safe_dump(card, sort_keys=False, allow_unicode=True, width=110).encode()
    digests = {**json.loads(files[DIGESTS]), CARD: hashlib.sha256(files[CARD]).hexdigest()}
    files[DIGESTS] = (json.dumps(digests, indent=1) + "\n").encode()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as target:
        for file, content in files.items():
            target.writestr(f"{card['id']}/{file}", content)
    return buffer.getvalue()


def shipped_card(study: Study, model: str, version: str, words: Mapping[str, Any]) -> dict[str, Any]:
    """The card of a shipped model."""
    data = {**words["training_data"], **rows_of(study)}
    return {"id": model, "version": version, **words, **_made(study, data, words["split"])}


def _made(study: Study, data: Mapping[str, Any], split: Mapping[str, Any]) -> dict[str, Any]:
    """What any training can say of itself."""
    repeats, folds = study.folds.shape[0], int(study.folds.max()) + 1
    plan = study.problem.plan
    return {
        "labels": list(study.problem.labels), "target": plan.target, "training_data": dict(data),
        "split": {**split, "folds": folds, "repeats": repeats, "seed": study.seed},
        "settings": {name: member.config for name, member in study.members.items()},
        "libraries": libraries(), "seed": study.seed,
    }  # fmt: skip
