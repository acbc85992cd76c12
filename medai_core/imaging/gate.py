"""The gate before the scan models: what may be read by which model, and what is refused, and why.

Four kinds of evidence, each a number with a limit set on right images of unseen patients: how sure a small
classifier is that the image is a chest radiograph or a brain slice the right way round; how badly an
autoencoder trained on right images redraws it; how far its features lie from those of right images
(Mahalanobis distance, Lee et al. 2018); and how colourful it is. DICOM tags that contradict are final, and so is
a mark that says the image is synthetic, unless it was opened as a demonstration.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from medai_core import marks
from medai_core.artifacts import Bundle, load_arrays
from medai_core.errors import Message, say
from medai_core.imaging.reading import GateReport, GateSignal
from medai_core.imaging.scan import Scan

MODELS = ("chest_xray", "brain_mri")
KINDS = (
    *MODELS,
    "inverted",
    "rotated",
    "cropped",
    "unlike_training",
    "photograph",
    "document",
    "blank",
    "noise",
    "wrong_body_part",
)
SIGNALS = ("kind", "reconstruction", "distance")
COLOUR_LIMIT = 15.0
BLANK_LIMIT = 4.0

MODALITIES = {"chest_xray": {"CR", "DX", "DR", "RG"}, "brain_mri": {"MR"}}
BODY_PARTS = {
    "chest_xray": {"CHEST", "THORAX", "LUNG", "LUNGS"},
    "brain_mri": {"HEAD", "BRAIN", "SKULL", "CRANIUM", "HEADNECK", "NEURO"},
}
UNSPECIFIC = {"", "OT", "SC"}
LATERAL = {"LL", "RL", "LAT", "LATERAL", "LLO", "RLO", "LAO", "RAO", "LPO", "RPO", "OBLIQUE"}
DECUBITUS = {"LLD", "RLD", "DECUBITUS"}  # frontal, but of a patient who lies on the side
# A tag may hold anything, a name as well: only these of its words are repeated (PS3.3 C.7.3.1.1.1, PS3.16 Annex L).
SAYABLE = frozenset(
    """
    BMD CR CT DR DX ECG ES GM IO IVUS MG MR NM OCT OP OPG OPT PT PX RF RG RTDOSE RTIMAGE SM TG US VL XA XC
    ABDOMEN ANKLE ARM BLADDER BRAIN BREAST CALCANEUS CALF CHEST CLAVICLE COCCYX CSPINE CRANIUM ELBOW EXTREMITY EYE
    FACE FEMUR FINGER FOOT FOREARM HAND HEAD HEADNECK HEART HIP HUMERUS JAW KIDNEY KNEE LEG LIVER LSPINE LUNG LUNGS
    MANDIBLE MAXILLA NECK NEURO ORBIT PELVIS PROSTATE RIB RIBS SACRUM SCAPULA SHOULDER SINUS SKULL SPINE SSPINE
    STERNUM THIGH THORAX THUMB THYROID TIBIA TOE TSPINE UTERUS WHOLEBODY WRIST
    """.split()
)

NOT_THIS = {
    "chest_xray": say("This is not a chest radiograph, which the chosen model was made for."),
    "brain_mri": say("This is not a brain MRI slice, which the chosen model was made for."),
}
REASONS: dict[str, Message] = {
    "wrong_body_part": say("This does not look like the part of the body the models were made for."),
    "photograph": say("This looks like a photograph, not a chest radiograph or a brain MRI slice."),
    "document": say("This looks like a document or a screen, not a scan."),
    "blank": say("The image is blank, or nearly so."),
    "noise": say("The image is noise, without anatomy."),
    "inverted": say("The image looks inverted (black bones on white). Invert it and try again."),
    "rotated": say("The image looks turned by 90° or upside down. Turn it upright and try again."),
    "cropped": say("Too little of the organ is in the image: it looks cropped."),
    "unlike_training": say("The image is unlike those the models were trained on."),
}

_NOT_FRONTAL = say("The file says its view is lateral or oblique; only frontal radiographs are read.")
_DECUBITUS = say("The file says the patient lies on the side (decubitus); radiographs taken so are not read.")


@dataclass(frozen=True, eq=False)
class Limits:
    """What the gate holds its signals against, and the feature statistics of right images.

    Attributes
    ----------
    limits : dict[str, dict[str, float]]
        Model id → signal → limit.
    means, precisions : dict[str, NDArray[np.float32]]
        Model id → (F,) and (F, F) of the classifier's features.
    """

    limits: dict[str, dict[str, float]]
    means: dict[str, NDArray[np.float32]]
    precisions: dict[str, NDArray[np.float32]]

    @classmethod
    def from_bundle(cls, bundle: Bundle) -> Limits:
        arrays = load_arrays(bundle, "features")
        return cls(
            bundle.preprocessing["limits"],
            {model: arrays[f"{model}_mean"] for model in MODELS},
            {model: arrays[f"{model}_precision"] for model in MODELS},
        )


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return probabilities along the last axis."""
    power = np.exp(logits - logits.max(-1, keepdims=True))
    return power / power.sum(-1, keepdims=True)


def measure(
    outputs: dict[str, NDArray[np.float32]], model: str, mean: NDArray[np.float32], precision: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return the three network signals (N, 3) of gate outputs for one model, in the order of `SIGNALS`."""
    doubt = 1 - softmax(outputs["kinds"])[:, KINDS.index(model)]
    error = np.square(outputs["original"] - outputs["reconstruction"]).mean((1, 2, 3))
    # Contrast is the device's: an error is large or small relative to what there is to redraw.
    error = error / (outputs["original"].var((1, 2, 3)) + 1e-3)
    away = outputs["features"] - mean
    distance = np.sqrt(np.maximum(np.einsum("nf,fg,ng->n", away, precision, away), 0))
    return np.stack([doubt, error, distance], 1)


def colourfulness(colour: NDArray[np.uint8]) -> float:
    """Spread of the opponent colours of (H, W, 3), after Hasler and Süsstrunk 2003, that brightness does not tell.

    An even tint, as on film or a phone's picture of a light box, counts for nothing: there the colour of a pixel
    follows from its brightness.
    """
    red, green, blue = colour[::4, ::4].reshape(-1, 3).T.astype(np.float32)  # (M,) each
    bright = (red + green + blue) / 3 - colour[::4, ::4].mean()
    spread = 0.0
    for opponent in (red - green, (red + green) / 2 - blue):
        slope = opponent @ bright / (bright @ bright + 1e-6)
        spread += (opponent - slope * bright).var()
    return float(np.sqrt(spread))


def _words(text: str | None) -> set[str]:
    """Words of a tag in capitals: a body part may read ``PORT CHEST``, ``HEAD^BRAIN`` or ``Chest, PA``."""
    return set(re.split(r"[^A-Z]+", (text or "").upper())) - {""}


def _modality(scan: Scan) -> str:
    return (scan.modality or "").upper()


def model_from_tags(scan: Scan) -> str | None:
    """Return the one model that a DICOM file's modality and body part name, None where they do not.

    Where the modality says nothing (none, other, secondary capture), the body part alone decides.
    """
    modality, part = _modality(scan), _words(scan.body_part)
    named = [
        model
        for model in MODELS
        if (modality in MODALITIES[model] and (not part or part & BODY_PARTS[model]))
        or (modality in UNSPECIFIC and part & BODY_PARTS[model])
    ]
    return named[0] if len(named) == 1 else None


def _refuse(code: str, signals: tuple[GateSignal, ...] = (), reason: Message | None = None, **rest) -> GateReport:
    return GateReport(False, code, reason or REASONS[code], signals, **rest)


def marks_of(scan: Scan) -> marks.Marks:
    """Return which marks of a synthetic image a scan carries, in its pixels or in what its file says."""
    return marks.recognise(scan.display, {**scan.texts, **{tag.keyword: tag.value for tag in scan.tags}})


def refuse_marked(found: marks.Marks) -> GateReport:
    """Refuse an image that says itself that it shows no patient."""
    names = reduce(lambda first, second: say("{first}, {second}", first=first, second=second), found.names())
    reason = say(
        "This image is marked as synthetic ({marks}), so it is not read as a patient's. "
        "It can be opened as a demonstration.",
        marks=names,
    )
    signals = (
        GateSignal("visible_mark", found.visible_score, marks.VISIBLE_LIMIT),
        GateSignal("watermark", found.watermark_score, marks.WATERMARK_LIMIT),
        GateSignal("description", float(found.metadata), 0.0),
    )
    return _refuse("synthetic", signals, reason)


def check_before(scan: Scan, model: str | None) -> GateReport | None:
    """Refuse on tags, colour and emptiness, which need no network; None lets the scan go on.

    Parameters
    ----------
    model : str or None
        The model that was asked for, None for ``auto``.
    """
    if report := _contradiction(scan, MODELS if model is None else (model,)):
        return report
    if scan.colour is not None:
        signal = GateSignal("colour", colourfulness(scan.colour), COLOUR_LIMIT)
        if signal.exceeded:
            return _refuse("photograph", (signal,))
    spread = float(np.subtract(*np.percentile(scan.display[::4, ::4], [98, 2])))
    if spread < BLANK_LIMIT:
        return _refuse("blank", (GateSignal("emptiness", BLANK_LIMIT - spread, 0.0),))
    return None


def _contradiction(scan: Scan, wanted: tuple[str, ...]) -> GateReport | None:
    """Refuse by modality, body part and view as the file states them."""
    modality, part, view = _modality(scan), _words(scan.body_part), _words(scan.view)
    if modality not in UNSPECIFIC and not any(modality in MODALITIES[m] for m in wanted):
        reason = say("The file says its modality is another one than that of the images the model was made for.")
        if modality in SAYABLE:
            reason = say(
                "The file says its modality is {modality}; that is not what the model was made for.", modality=modality
            )
        return _refuse("other_modality", reason=reason)
    if part and not any(part & BODY_PARTS[m] for m in wanted if modality in MODALITIES[m] | UNSPECIFIC):
        reason = say("The file says it shows another part of the body than the model was made for.")
        if part & SAYABLE:
            shown = " ".join(sorted(part & SAYABLE))
            reason = say("The file says it shows {part}; that is not what the model was made for.", part=shown)
        return _refuse("wrong_body_part", reason=reason)
    if "chest_xray" in wanted and modality not in MODALITIES["brain_mri"]:
        if view & DECUBITUS:  # before lateral: "left lateral decubitus"
            return _refuse("unlike_training", reason=_DECUBITUS)
        if view & LATERAL:
            return _refuse("unlike_training", reason=_NOT_FRONTAL)
    return None


def judge(outputs: dict[str, NDArray[np.float32]], limits: Limits, model: str | None) -> tuple[str, GateReport]:
    """Choose the model for one image (``auto`` when `model` is None) and accept or refuse it.

    Parameters
    ----------
    outputs : dict
        The gate network's answer to a batch of one.
    """
    kinds = softmax(outputs["kinds"])[0]
    chosen = model or MODELS[int(np.argmax([kinds[KINDS.index(m)] for m in MODELS]))]
    values = measure(outputs, chosen, limits.means[chosen], limits.precisions[chosen])[0]
    signals = tuple(
        GateSignal(name, float(value), limits.limits[chosen][name]) for name, value in zip(SIGNALS, values, strict=True)
    )
    rest = {
        "kind_probabilities": {name: float(p) for name, p in zip(KINDS, kinds, strict=True)},
        "original": outputs["original"][0, ..., 0],
        "reconstruction": outputs["reconstruction"][0, ..., 0],
    }
    if not any(signal.exceeded for signal in signals):
        return chosen, GateReport(True, "ok", None, signals, **rest)
    likeliest = KINDS[int(kinds.argmax())]
    if likeliest == chosen:
        return chosen, _refuse("unlike_training", signals, **rest)
    if likeliest in MODELS:
        return chosen, _refuse("other_modality", signals, NOT_THIS[chosen], **rest)
    return chosen, _refuse(likeliest, signals, **rest)
