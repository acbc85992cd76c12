"""What the figures of the generators are called."""

from __future__ import annotations

import re
from collections.abc import Iterable

from pages.ui.language import _

OF_LABEL = re.compile(r"(MS-SSIM within|label agreement of the scan model,) (\w+)(?:, (synthetic|real))?")
OF_NOISE = re.compile(r"(PSNR|MS-SSIM), noise of (\d+)%")
TRAINED = re.compile(r"(AUC, normal or not|accuracy, all labels), (.+)")
REAL = ", real against real"
RATIO = ", ratio to real against real"


def utility_title(codes: Iterable[str]) -> str:
    """Return the figure by which the small networks are judged: of chest radiographs one, of other images another."""
    return next((match[1] for code in codes if (match := TRAINED.fullmatch(code))), "")


def synth_metric_name(code: str) -> str | None:
    """Return the name of a figure of a generator or the restorer in the visitor's language; None for other models'."""
    from pages.ui.words import label_name  # which takes names from here

    if code in (names := _names()):
        return names[code]
    for ending, words in (
        (RATIO, _("{figure}, as a multiple of real against real")),
        (REAL, _("{figure}, real against real")),
    ):
        if code.endswith(ending) and (base := code.removesuffix(ending)) in names:
            return words.format(figure=names[base])
    if match := OF_LABEL.fullmatch(code):
        figure, label, kind = match.groups()
        if kind is None:
            return _("agreement of the scan model with the label {label}").format(label=label_name(label))
        words = _("MS-SSIM within {label}, synthetic") if kind == "synthetic" else _("MS-SSIM within {label}, real")
        return words.format(label=label_name(label))
    if match := OF_NOISE.fullmatch(code):
        words = (
            _("PSNR in dB, noise of {share}% of white")
            if match[1] == "PSNR"
            else _("MS-SSIM, noise of {share}% of white")
        )
        return words.format(share=match[2])
    if (match := TRAINED.fullmatch(code)) and match[2] in (trained := _trained()):
        return f"{names[match[1]]} · {trained[match[2]]}"
    return None


def _trained() -> dict[str, str]:
    return {
        "trained on synthetic": _("trained on synthetic images"),
        "trained on real": _("trained on real images"),
        "trained on a tenth of the real": _("trained on a tenth of the real images"),
        "trained on a tenth of the real and synthetic": _("trained on a tenth of the real and on synthetic images"),
        "synthetic less real": _("trained on synthetic, less trained on real"),
        "gain from synthetic beside a tenth of the real": _("gain from synthetic images beside a tenth of the real"),
    }


def _names() -> dict[str, str]:
    return {
        "Fréchet distance": _("Fréchet distance"),
        "KID": _("kernel distance (KID)"),
        "precision": _("precision"),
        "recall": _("recall"),
        "density": _("density"),
        "coverage": _("coverage"),
        "AUC, normal or not": _("AUC, normal or not"),
        "accuracy, all labels": _("accuracy, all labels"),
        "label agreement of the scan model": _("agreement of the scan model with the label asked for"),
        "label agreement of the scan model, real images":
            _("agreement of the scan model with the true label of real images"),
        "withheld as near-copies, share of all made": _("withheld as near-copies, share of all made"),
        "similarity to the nearest training image, median": _("correlation with the nearest training image, median"),
        "similarity of real images to the nearest other, median":
            _("correlation of real images with the nearest other, median"),
        "within the closest 0.1 % of real-to-real distances, pixels":
            _("within the closest 0.1% of real-to-real distances, by pixels"),
        "within the closest 0.1 % of real-to-real distances, features":
            _("within the closest 0.1% of real-to-real distances, by features"),
        "percentile among real-to-real distances, pixels, median":
            _("percentile among real-to-real distances, by pixels, median"),
        "percentile among real-to-real distances, features, median":
            _("percentile among real-to-real distances, by features, median"),
        "membership AUC, pixels": _("membership AUC, by pixels"),
        "membership AUC, features": _("membership AUC, by features"),
        "mean absolute error in a hole": _("mean error inside a region painted anew, as a share of white"),
    }  # fmt: skip
