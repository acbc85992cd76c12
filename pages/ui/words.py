"""The words a page uses for what the core says in codes and numbers."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from medai_core.errors import Message
from medai_core.metrics import Interval
from pages.ui.language import _, language, tell

MARKDOWN = str.maketrans({c: "\\" + c for c in '\\`*_{}[]()#+-.!|<>$:~&"'} | {"\n": " ", "\r": " "})


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
        "benign": _("Benign"),
        "malignant": _("Malignant"),
        "survived": _("Survived"),
        "died in hospital": _("Died in hospital"),
        "death in hospital": _("Death in hospital"),
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
        "synthetic": _("This image is synthetic"),
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
        "not_read": _("The file holds no image"),
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
        "colour_photograph": _("Photograph in colour"),
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
        "emptiness": _("Lack of contrast"),
        "visible_mark": _("Visible mark of a synthetic image"),
        "watermark": _("Invisible watermark of a synthetic image"),
        "description": _("File describes itself as synthetic"),
    }
    return names.get(code, code.replace("_", " ").capitalize())


def metric_name(code: str) -> str:
    """Return the name of a figure of merit as bundles write it."""
    from pages.ui.icu_metrics import icu_metric_name  # which takes words from here
    from pages.ui.synth_metrics import synth_metric_name
    from pages.ui.tab_words import table_metric_name
    from pages.ui.treat_metrics import treat_metric_name

    names = {
        "AUC, pneumonia": _("AUC, pneumonia"),
        "accuracy, pneumonia or not": _("accuracy, pneumonia or not"),
        "sensitivity, pneumonia": _("sensitivity, pneumonia"),
        "specificity, pneumonia": _("specificity, pneumonia"),
        "accuracy among pneumonia labels": _("accuracy among pneumonia labels"),
        "AUC, tumour": _("AUC, tumour"),
        "accuracy, tumour or not": _("accuracy, tumour or not"),
        "sensitivity, tumour": _("sensitivity, tumour"),
        "specificity, tumour": _("specificity, tumour"),
        "accuracy among tumour labels": _("accuracy among tumour labels"),
        "accuracy, all labels": _("accuracy, all labels"),
        "expected calibration error": _("expected calibration error"),
        "Brier score": _("Brier score"),
        "coverage of the prediction set": _("coverage of the prediction set"),
        "answered alone (one label in the set)": _("answered alone (one label in the set)"),
        "refused by the gate": _("refused by the gate"),
        "right images refused": _("right images refused"),
    }
    if code in names:
        return capital(names[code])
    if name := icu_metric_name(code) or synth_metric_name(code) or treat_metric_name(code) or table_metric_name(code):
        return capital(name)
    if gate := GATE_METRIC.fullmatch(code):
        model, against, refused = gate.groups()
        if not against and not refused:
            return f"{model_name(model)}: {names['right images refused']}"
        template = _("{model}: AUROC against “{kind}”") if against else _("{model}: “{kind}” refused")
        return template.format(model=model_name(model), kind=kind_name(against or refused))
    return capital(code)


GATE_METRIC = re.compile(r"(\w+): (?:AUROC against (\w+)|(\w+) refused|right images refused)")


def split_name(code: str) -> str:
    """Return the name of the part of the data a figure was measured on."""
    names = {
        "test": _("test"),
        "held-out sessions": _("held-out sessions"),
        "held-out folds": _("held-out folds"),
        "held-out patients": _("held-out patients"),
        "validation": _("validation"),
        "synthetic": _("synthetic images"),
        "cross-validation": _("cross-validation"),
        "all patients of the trial": _("all patients of the trial"),
    }
    base, _comma, rest = code.partition(", ")
    base = names.get(base, base)
    if rest == "duplicates removed":
        return _("{part}, duplicates removed").format(part=base)
    if rest == "other devices imitated":
        return _("{part}, other devices imitated").format(part=base)
    if rest == "detail removed":
        return _("{part}, detail removed").format(part=base)
    if fold := re.fullmatch(r"held-out fold (\d+)", code):
        return _("held-out fold {n}").format(n=fold[1])
    if session := re.fullmatch(r"held-out session (\d+)", code):
        return _("held-out session {n}").format(n=session[1])
    return names.get(code, code)


def point_name(code: str) -> str:
    """Return the name of an operating point."""
    return {"balanced": _("balanced")}.get(code, code)


def report_word(message: Message | str) -> str:
    """Return a sentence or a code of the core in the visitor's language, for the printed report."""
    for known in (signal_name, metric_name, split_name, point_name):
        if isinstance(message, str) and (said := known(message)).lower() != message.lower().replace("_", " "):
            return said
    return tell(message)


def capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def percent(value: float, digits: int = 1) -> str:
    """Return a probability in per cent that never claims certainty."""
    edge = 10.0 ** -(digits + 2)
    if 1 - edge / 2 < value < 1 or value == 1:
        return f">{1 - edge:.{digits}%}"
    if 0 <= value < edge / 2:
        return f"<{edge:.{digits}%}"
    return f"{value:.{digits}%}"


def signed(value: float, digits: int = 2) -> str:
    """Return a number with a real minus sign, and without one where it rounds to zero."""
    shown = f"{value:.{digits}f}"
    return shown.lstrip("-") if float(shown) == 0 else shown.replace("-", "−")


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
