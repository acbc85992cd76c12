"""What the cards of the generators and of the restorer say in words; figures and counts are filled in by training."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping
from importlib.metadata import version as library_version

import numpy as np
from numpy.typing import ArrayLike, NDArray

VERSION = "3.0.0"
LIBRARIES = ("tensorflow", "keras", "numpy", "scipy", "scikit-learn", "pillow")

_CHEST_DATA = {
    "name": "Chest X-Ray Images (Pneumonia), training folder",
    "source": "Mendeley Data, doi 10.17632/rscbjbr9sj",
    "licence": "CC BY 4.0",
    "citation": "Kermany et al., Labeled Optical Coherence Tomography (OCT) and Chest X-Ray Images for "
    "Classification, Mendeley Data 2018; Cell 172:1122, 2018",
}
_INTENDED = [
    "Teaching, demonstration and testing of software without a patient's image.",
    "Adding to few training images, with the gain measured on real ones.",
]
_NOT_FOR = [
    "Anything that is then shown or stored as a patient's image: every image says that it is synthetic.",
    "Evidence on disease, its frequency or its course, or measuring how good a reader or a model is.",
    "Replacing real test images. Not a medical device.",
]
_SPLIT = (
    "By patient or group of near-duplicates, {joined}: a tenth is kept out of training, to tell whether the images "
    "betray who was trained on."
)
_NOTES = [
    "A selector passes over more than half of what the generator makes: what is likelier among made than among real "
    "images of a label, and most of what would be given another label. It learned this from the scan model, by whose "
    "eyes distance and agreement are measured here: judged by another network both may be worse.",
    "Fréchet distance, KID, precision, recall, density and coverage are found in the scan model's feature space, over "
    "ten ways of cutting the real images in halves by patient, with one mix of labels; 'real against real' is the "
    "same figure between the halves, with as many images. KID is 0 on average between halves, so its floor is its mean "
    "size there.",
    "Similarity is the correlation of thumbnails without broad shading, over mirroring and shifts of up to 7 pixels. "
    "The reference leaves out pairs of one patient and copies under another name. Within the closest 0.1 % of "
    "real-to-real distances an image is withheld when it is made.",
    "The membership figures are areas under the curve of the distance to the nearest synthetic image: 0.5 betrays "
    "nothing.",
    "Small networks learn from synthetic images, from real ones, and from a tenth of the real ones without and with "
    "synthetic ones: same network and number of steps, tested on "
    "real patients the generator never saw.",
]

CARDS: dict[str, dict[str, object]] = {
    "chest_xray_gan": {
        "name": "Generator of synthetic chest radiographs: normal, bacterial or viral pneumonia",
        "task": "generator",
        "summary": "Draws frontal chest radiographs of no patient, of 128 × 128 pixels, labelled normal, bacterial or "
        "viral pneumonia.",
        "intended_use": _INTENDED,
        "not_for": _NOT_FOR,
        "population": "Imitates radiographs of children aged 1 to 5 at one hospital (Guangzhou Women and Children's "
        "Medical Center), with whatever these lack or favour.",
        "training_data": _CHEST_DATA,
        "split": {"method": _SPLIT.format(joined="copies under other names joined")},
        "metrics_note": "Distances and agreement are judged by the scan model of the same data, which misses what it "
        "does not look at. Another network may judge otherwise.",
        "failure_modes": [
            "Fine structures (ribs, vessels, tubes, letters) are blurred, broken or do not join up.",
            "Rare appearances are drawn less often than they occur, or not at all.",
            "A label is a likeness to images of that label, not a disease; bacterial and viral are easily confused.",
            "Letters and side markers are unreadable.",
        ],
        "explanation_notes": ["Attribute directions are named after what was measured along them, not after a cause."],
        "notes": _NOTES,
    },
    "brain_mri_gan": {
        "name": "Generator of synthetic brain MRI slices: glioma, meningioma, pituitary tumour or none",
        "task": "generator",
        "summary": "Draws single brain MRI slices of no patient, of 128 × 128 pixels, labelled glioma, meningioma, "
        "pituitary tumour or no tumour.",
        "intended_use": _INTENDED,
        "not_for": _NOT_FOR,
        "population": "Imitates slices of several public collections of adults, mostly contrast-enhanced T1 with a "
        "tumour in view, and other sequences without one.",
        "training_data": {
            "name": "Brain Tumor MRI Dataset, training folder",
            "source": "M. Nickparvar, 2021; joined from Cheng's figshare set, SARTAJ and Br35H",
            "licence": "CC0 (Cheng's images CC BY 4.0)",
            "citation": "Nickparvar, Brain Tumor MRI Dataset, 2021; Cheng, brain tumor dataset, figshare 2017",
        },
        "split": {"method": _SPLIT.format(joined="mirrored or shifted copies under other names joined")},
        "metrics_note": "The release numbers no patients, so slices of one patient may be on both sides of the split, "
        "and membership can be tested less sharply than for radiographs.",
        "failure_modes": [
            "Folds of the brain and the edge of a tumour are blurred or do not join up.",
            "The plane of a slice and its label go together as they do in these collections.",
            "Anatomy is not always possible: ventricles, eyes and skull may not fit each other.",
            "Rare appearances are drawn less often than they occur, or not at all.",
        ],
        "explanation_notes": ["Attribute directions are named after what was measured along them, not after a cause."],
        "notes": _NOTES,
    },
    "chest_xray_restorer": {
        "name": "Restorer of chest radiographs: less noise, or a region painted anew",
        "task": "restoration",
        "summary": "Takes noise out of a frontal chest radiograph, or paints a marked region anew, at 128 × 128 "
        "pixels.",
        "intended_use": [
            "Teaching what image restoration does, with the image before, after and the difference side by side.",
        ],
        "not_for": [
            "Reading a restored image: what is painted is invented, and a finding can vanish or appear.",
            "Restoring an image for a patient's record. Not a medical device.",
        ],
        "population": "Learnt from radiographs of children aged 1 to 5 at one hospital (Guangzhou Women and "
        "Children's Medical Center).",
        "training_data": _CHEST_DATA,
        "split": {"method": "By patient: a tenth is kept out of training, and the figures are found on it."},
        "metrics_note": "The noise and the gaps of the figures are drawn in code. Those of a real fault may differ.",
        "failure_modes": [
            "A painted region looks like the commonest lungs, whatever was there.",
            "Fine structures are smoothed away together with noise.",
            "Other views, ages and devices are restored towards what the training images look like.",
        ],
        "explanation_notes": ["The difference shows where pixels changed, not where they were wrong."],
        "notes": [],
    },
}


def libraries() -> dict[str, str]:
    """Return the versions a bundle was made with."""
    return {name: library_version(name) for name in LIBRARIES} | {"python": platform.python_version()}


def card_of(
    model: str,
    images: NDArray[np.uint8],
    labels: ArrayLike,
    groups: ArrayLike,
    held: NDArray[np.bool_],
    recipe: Mapping[str, object],
) -> dict[str, object]:
    """Return the card of a model: its words, what it was trained on, and what it was made with.

    Parameters
    ----------
    images, labels, groups
        (N, 128, 128), (N,), (N,): everything in the folder.
    held : NDArray[np.bool_], shape (N,)
        What was kept out of training.
    """
    words = {key: value for key, value in CARDS[model].items() if key != "notes"}
    digest = hashlib.sha256(images.tobytes() + np.asarray(labels, np.int64).tobytes()).hexdigest()
    counts = {"n_images": len(images), "n_groups": len(set(np.asarray(groups).tolist()))}
    parts = {"held_out": int(held.sum()), "training": int((~held).sum())}
    return {
        "id": model,
        "version": VERSION,
        **words,
        "training_data": words["training_data"] | counts | {"sha256": digest},
        "split": words["split"] | parts,
        "recipe": dict(recipe),
        "libraries": libraries(),
        "seed": recipe.get("seed", 0),
    }
