"""What the imaging cards say in words; figures and counts are filled in by training."""

from __future__ import annotations

_SCAN_EXPLANATIONS = [
    "Grad-CAM and SHAP show which pixels moved this network's answer. A heat map is no localisation of disease.",
    "Each explanation is checked by deleting and inserting what it marks, against random orders.",
]
_AT_THE_MIX = (
    "Calibration error, Brier score and reliability are measured after moving the probabilities to the measured part's "
    "own mix of labels, coverage with each label counted as its stated prevalence."
)
_IMITATED = (
    "'Other devices imitated' is the augmentation of training with another seed: it shows more of robustness than real "
    "other devices would, and its baseline was trained without it."
)

CARDS: dict[str, dict[str, object]] = {
    "chest_xray": {
        "name": "Chest radiograph: normal, bacterial or viral pneumonia",
        "task": "classification",
        "summary": "Sorts frontal chest radiographs of young children into normal, bacterial and viral pneumonia. "
        "The probability of pneumonia is the sum of the last two.",
        "intended_use": [
            "Teaching, research, and demonstration of calibrated image reading.",
            "A second look at frontal radiographs of children aged 1 to 5 with suspected pneumonia, beside a reader.",
        ],
        "not_for": [
            "Diagnosis or triage without a qualified reader. Not a medical device.",
            "Adults, newborns, lateral views, or any question but pneumonia.",
            "Choosing antibiotics: bacterial and viral pneumonia overlap on radiographs.",
        ],
        "population": "Children aged 1 to 5 at one hospital (Guangzhou Women and Children's Medical Center), "
        "anterior-posterior views taken in routine care.",
        "training_data": {
            "name": "Chest X-Ray Images (Pneumonia), training folder",
            "source": "Mendeley Data, doi 10.17632/rscbjbr9sj",
            "licence": "CC BY 4.0",
            "citation": "Kermany et al., Labeled Optical Coherence Tomography (OCT) and Chest X-Ray Images for "
            "Classification, Mendeley Data 2018; Cell 172:1122, 2018",
        },
        "split": {
            "method": "By patient. A tenth of the patients at random is the test part; it was looked at several times "
            "while the networks were developed, but settings were chosen on the rest. The rest is cut into folds that "
            "are contiguous in the numbering of the studies, so that a held-out fold imitates another session; "
            "calibration and thresholds come from these.",
        },
        "metrics_note": "The test part comes from the same sessions as training. Expect the figures of the held-out "
        "sessions, or worse, at another hospital.",
        "failure_modes": [
            "Radiographs of other devices and sessions: networks trained on these data tend to call them pneumonia.",
            "Bacterial and viral pneumonia are confused with each other far more often than with normal.",
            "Lines, tubes, rotation and poor inspiration are commoner in ill children and may sway the answer.",
            "Other diseases (effusion, tumour, heart failure) have no label: they are called by the nearest one.",
        ],
        "explanation_notes": _SCAN_EXPLANATIONS,
        "notes": [
            "Figures on 'held-out sessions' come from single members that never saw the session; "
            "those on 'test' from the shipped average.",
            "Probabilities are calibrated for a prevalence of 50 % pneumonia, on held-out sessions as they are and "
            "through imitated devices, four to one: of known devices they are rather too low than too high.",
            _AT_THE_MIX,
            _IMITATED,
        ],
    },
    "brain_mri": {
        "name": "Brain MRI slice: glioma, meningioma, pituitary tumour or none",
        "task": "classification",
        "summary": "Sorts single brain MRI slices into glioma, meningioma, pituitary tumour and no tumour. "
        "The probability of a tumour is the sum over the three tumours.",
        "intended_use": [
            "Teaching, research, and demonstration of calibrated image reading.",
            "Sorting of single slices that a reader has already chosen.",
        ],
        "not_for": [
            "Diagnosis, grading or treatment planning. Not a medical device.",
            "Whole examinations: it sees one slice, and a tumour may be on another.",
            "Other diseases of the brain, post-operative images, children.",
        ],
        "population": "Adults of several public collections; mostly contrast-enhanced T1 slices with a tumour in "
        "view, and slices of other sequences (some of them CT) without one.",
        "training_data": {
            "name": "Brain Tumor MRI Dataset, training folder",
            "source": "M. Nickparvar, 2021; joined from Cheng's figshare set, SARTAJ and Br35H",
            "licence": "CC0 (Cheng's images CC BY 4.0)",
            "citation": "Nickparvar, Brain Tumor MRI Dataset, 2021; Cheng, brain tumor dataset, figshare 2017",
        },
        "split": {
            "method": "By group of near-duplicates (cosine similarity of standardised thumbnails above 0.99, also "
            "through a chain), because the release numbers no patients. A tenth of the groups is the test part; it "
            "was looked at several times while the networks were developed, but settings were chosen on the rest.",
        },
        "metrics_note": "Without patient numbers, slices of one patient may be on both sides of the split: "
        "the figures are an upper bound.",
        "failure_modes": [
            "Slices without a tumour come from other sources than those with one: the network can know the source.",
            "Outline and plane of a slice differ by class in these collections. Training shows slices without detail "
            "as undecidable, and 'test, detail removed' says what is left of it; finer signs of the source may remain.",
            "Small meningiomas and gliomas at the edge of the brain are confused.",
            "Slices far from the tumour in a patient who has one are called 'no tumour', or by the sequence.",
        ],
        "explanation_notes": _SCAN_EXPLANATIONS,
        "notes": [
            "Figures on 'held-out folds' come from single members that never saw the fold; "
            "those on 'test' from the shipped average.",
            "Probabilities are calibrated for equal prevalence of the four labels.",
            _AT_THE_MIX,
            _IMITATED,
        ],
    },
    "scan_gate": {
        "name": "Gate: is this an image the models were made for?",
        "task": "gate",
        "summary": "Decides before any reading whether an image is an upright frontal chest radiograph or an upright "
        "brain MRI slice, by a classifier, an autoencoder and the distance of its features.",
        "intended_use": ["Choosing the model for an image, and refusing images that no model was made for."],
        "not_for": ["Judging image quality, or finding subtle faults of positioning."],
        "population": "The training images of the two scan models, spoiled copies of them, and images drawn in code.",
        "training_data": {
            "name": "The training folders of the two scan models",
            "source": "See their cards",
            "licence": "CC BY 4.0 and CC0",
            "citation": "See their cards",
        },
        "split": {"method": "The test parts of the two scan models; limits are set on their first folds."},
        "metrics_note": "Wrong images of the test are spoiled test images and images drawn in code with another seed: "
        "of the same kinds as in training. Kinds never thought of are refused less surely.",
        "failure_modes": [
            "Grey photographs and radiographs of other body parts are imitated in training, not shown.",
            "Frontal chest radiographs of adults look alike to it and are let through.",
            "Turned brain slices are harder to tell than turned chests.",
        ],
        "explanation_notes": ["The page shows each signal beside its limit, and what the autoencoder redrew."],
        "notes": ["The baseline is the autoencoder's reconstruction error alone, with its own limit."],
    },
}
