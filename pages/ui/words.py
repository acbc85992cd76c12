"""The words a page uses for what the core says in codes and numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from medai_core.metrics import Interval
from pages.ui.language import _, language, tell

MARKDOWN = str.maketrans({c: "\\" + c for c in "\\`*_{}[]()#+-.!|<>$:~&\""} | {"\n": " ", "\r": " "})


def plain(text: str) -> str:
    """Return text that Markdown shows as it is: file names and DICOM values are not ours."""
    return str(text).translate(MARKDOWN)


def label_name(code: str) -> str:
    """Return the word for a label of a shipped model."""
    names = {
        "normal": _("Normal"),
        "bacterial": _("Bacterial pneumonia"),
        "viral": _("Viral pneumonia"),
        "pneumonia": _("Pneumonia"),
        "glioma": _("Glioma"),
        "meningioma": _("Meningioma"),
        "notumor": _("No tumour"),
        "pituitary": _("Pituitary tumour"),
        "tumour": _("Tumour"),
        "tumor": _("Tumour"),
    }
    return names.get(code, code.replace("_", " ").capitalize())


def model_name(model: str | None) -> str:
    """Return the name of a registered model."""
    from medai_core.registry import MODELS

    if model == "auto":
        return _("Automatic")
    return tell(MODELS[model].title) if model in MODELS else (model or "")


def refusal_title(code: str) -> str:
    """Return the headline of a refusal."""
    titles = {
        "other_modality": _("This is another kind of examination"),
        "wrong_body_part": _("This is another part of the body"),
        "photograph": _("This looks like a photograph"),
        "document": _("This looks like a document"),
        "blank": _("The image is blank"),
        "noise": _("The image is noise"),
        "inverted": _("The image looks inverted"),
        "rotated": _("The image looks rotated"),
        "too_small": _("The image is too small"),
        "cropped": _("Too much of the image is cut off"),
        "unlike_training": _("The image is unlike those the model was made for"),
    }
    return titles.get(code, _("No model here was made for this input"))


def kind_name(code: str) -> str:
    """Return what the gate takes an image for."""
    names = {
        "ok": _("A scan in its usual position"),
        "chest_xray": _("Chest radiograph"),
        "brain_mri": _("Brain MRI"),
        "other_modality": _("Another examination"),
        "wrong_body_part": _("Another body part"),
        "photograph": _("Photograph"),
        "document": _("Document"),
        "blank": _("Blank image"),
        "noise": _("Noise"),
        "inverted": _("Inverted image"),
        "rotated": _("Rotated image"),
        "too_small": _("Too small"),
        "cropped": _("Cropped image"),
        "unlike_training": _("Unlike the training images"),
    }
    return names.get(code, code.replace("_", " ").capitalize())


def signal_name(code: str) -> str:
    """Return the name of a measurement of the gate."""
    names = {
        "kind": _("Doubt about the kind of image"),
        "reconstruction": _("Reconstruction error"),
        "distance": _("Distance from training images"),
        "colour": _("Colourfulness"),
    }
    return names.get(code, code.replace("_", " ").capitalize())


def metric_name(code: str) -> str:
    """Return the name of a figure of merit."""
    names = {
        "auc": _("AUC"),
        "roc_auc": _("AUC"),
        "accuracy": _("Accuracy"),
        "balanced_accuracy": _("Balanced accuracy"),
        "sensitivity": _("Sensitivity"),
        "specificity": _("Specificity"),
        "brier": _("Brier score"),
        "ece": _("Expected calibration error"),
        "expected_calibration_error": _("Expected calibration error"),
        "log_loss": _("Log loss"),
        "coverage": _("Coverage of the prediction set"),
        "set_size": _("Mean size of the prediction set"),
        "macro_f1": _("Macro F1"),
    }
    return names.get(code, code.replace("_", " ").capitalize())


def percent(value: float, digits: int = 1) -> str:
    """Return a probability in per cent that never claims certainty."""
    edge = 10.0 ** -(digits + 2)
    if 1 - edge / 2 < value < 1 or value == 1:
        return f">{1 - edge:.{digits}%}"
    if 0 <= value < edge / 2:
        return f"<{edge:.{digits}%}"
    return f"{value:.{digits}%}"


def interval(figure: Interval | Mapping[str, float], as_percent: bool = False) -> str:
    """Return an estimate with the ends of its 95 % interval."""
    get = figure.get if isinstance(figure, Mapping) else lambda name: getattr(figure, name)
    value, low, high = get("value"), get("low"), get("high")
    show = (lambda x: f"{x:.1%}") if as_percent else (lambda x: f"{x:.3f}")
    return show(value) if low is None or high is None else f"{show(value)} ({show(low)}–{show(high)})"


def listed(words: Sequence[str]) -> str:
    """Join words as a list of the visitor's language."""
    if language() == "zh_CN":
        return "、".join(words)
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " " + _("or") + " " + words[-1]


def megabytes(size: int) -> str:
    """Return a file size in words."""
    return f"{size / 1e6:.1f} MB" if size >= 1e5 else f"{max(size / 1e3, 0.1):.1f} kB"
