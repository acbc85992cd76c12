"""The gate before the scan models: what may be read by which model, and what is refused, and why.

Four kinds of evidence, each a number with a limit set on right images of unseen patients: how sure a small
classifier is that the image is a chest radiograph or a brain slice the right way round; how badly an
autoencoder trained on right images redraws it; how far its features lie from those of right images
(Mahalanobis distance, Lee et al. 2018); and how colourful it is. DICOM tags that contradict are final.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

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
BODY_PARTS = {"chest_xray": {"CHEST", "THORAX", "LUNG", "LUNGS"}, "brain_mri": {"HEAD", "BRAIN", "SKULL", "CRANIUM"}}
LATERAL = {"LL", "RL", "LLD", "RLD"}
UNSPECIFIC = {None, "", "OT", "SC"}

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


def model_from_tags(scan: Scan) -> str | None:
    """Return the model that a DICOM file's modality and body part name, None where they do not."""
    for model in MODELS:
        part = (scan.body_part or "").upper()
        if scan.modality in MODALITIES[model] and (part in BODY_PARTS[model] or not part):
            return model
    return None


def _refuse(code: str, signals: tuple[GateSignal, ...] = (), reason: Message | None = None, **rest) -> GateReport:
    return GateReport(False, code, reason or REASONS[code], signals, **rest)


def check_before(scan: Scan, model: str | None) -> GateReport | None:
    """Refuse on tags, colour and emptiness, which need no network; None lets the scan go on.

    Parameters
    ----------
    model : str or None
        The model that was asked for, None for ``auto``.
    """
    wanted = MODELS if model is None else (model,)
    if scan.modality not in UNSPECIFIC and not any(scan.modality in MODALITIES[m] for m in wanted):
        reason = say(
            "The file says its modality is {modality}; that is not what the model was made for.", modality=scan.modality
        )
        return _refuse("other_modality", reason=reason)
    part = (scan.body_part or "").upper()
    if part and not any(part in BODY_PARTS[m] for m in wanted if scan.modality in MODALITIES[m] | UNSPECIFIC):
        reason = say("The file says it shows {part}; that is not what the model was made for.", part=scan.body_part)
        return _refuse("wrong_body_part", reason=reason)
    view = (scan.view or "").upper()
    if "chest_xray" in wanted and (view in LATERAL or "LATERAL" in view):  # a code, or words such as "left lateral"
        reason = say("The file says its view is {view}; only frontal radiographs are read.", view=scan.view)
        return _refuse("unlike_training", reason=reason)
    if scan.colour is not None:
        signal = GateSignal("colour", colourfulness(scan.colour), COLOUR_LIMIT)
        if signal.exceeded:
            return _refuse("photograph", (signal,))
    spread = float(np.subtract(*np.percentile(scan.display[::4, ::4], [98, 2])))
    if spread < BLANK_LIMIT:
        return _refuse("blank", (GateSignal("emptiness", BLANK_LIMIT - spread, 0.0),))
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
