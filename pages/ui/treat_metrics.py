"""What the figures of the treatment model are called: their names hold treatments and kinds of models."""

from __future__ import annotations

import re

from medai_core.tabular.trial import ACTG_ARMS
from pages.ui.language import _, tell
from pages.ui.words import capital

EVERYBODY = " for everybody"
FREE = "event-free at 2 years, "
GAIN = re.compile(r"gain of choice for each patient over (.+) for everybody")
BY_MODEL = re.compile(r"(concordance|integrated Brier score), (.+)")


def treat_metric_name(code: str) -> str | None:
    """Return a name such as "event-free at 2 years, didanosine alone" in the visitor's language; None for others'."""
    plain = {
        "concordance": _("concordance"),
        "integrated Brier score": _("integrated Brier score"),
        "integrated Brier score below that of the curves by": _("integrated Brier score below that of the curves by"),
    }
    if code in plain:
        return plain[code]
    if found := GAIN.fullmatch(code):
        return _("gain of choice for each patient over {arm} for everybody").format(arm=_arm(found[1]))
    if code.startswith(FREE):
        return f"{_('event-free at 2 years')} · {_rule(code.removeprefix(FREE))}"
    if (found := BY_MODEL.fullmatch(code)) and (model := _model(found[2])):
        return f"{plain[found[1]]} · {model}"
    return None


def _rule(words: str) -> str:
    if words == "choice for each patient":
        return _("choice for each patient")
    if words.endswith(EVERYBODY):
        return _("{arm} for everybody").format(arm=_arm(words.removesuffix(EVERYBODY)))
    return _arm(words)


def _arm(words: str) -> str:
    named = {str(title): tell(title) for title in ACTG_ARMS.values()}
    return named.get(words, words)


def _model(words: str) -> str | None:
    from medai_core.tabular.survival import FAMILIES

    if words == "Kaplan-Meier by arm":
        return _("Kaplan–Meier curve of each treatment")
    return next((capital(tell(family.title)) for family in FAMILIES.values() if str(family.title) == words), None)
