"""The words of the treatment page: arms, covariates with their units, times, and sentences of the core about them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from medai_core.errors import MedAIError, Message
from medai_core.tabular.columns import CATEGORY
from medai_core.tabular.trial import ACTG_WORDS, DAYS
from pages.ui.language import _, tell
from pages.ui.words import capital, signed

if TYPE_CHECKING:
    from medai_core.metrics import Interval
    from medai_core.tabular.encoder import Feature
    from medai_core.tabular.treatment import TreatmentModel

YES_NO = "symptom"
"""Of the built-in trial: a number that is 0 or 1."""
TWO_YEARS_DAYS = 730.0


@dataclass(frozen=True, eq=False)
class Compared:
    """A model of a trial, and where it comes from.

    Attributes
    ----------
    key : str
        What widgets and results about it are called by: it changes with the trial, its columns and its horizon.
    builtin : bool
        ACTG 175; else the visitor's own trial.
    """

    key: str
    model: TreatmentModel
    builtin: bool

    @property
    def arms(self) -> tuple[str, ...]:
        return self.model.arms

    def feature(self, name: str) -> Feature:
        return next(feature for feature in self.model.encoder.features if feature.name == name)

    def within(self, arm: str) -> str:
        """What an arm is called within a sentence."""
        return tell(self.model.titles[self.model.number(arm)])

    def arm(self, arm: str) -> str:
        """What an arm is called by itself; a visitor's own stays as it is."""
        return capital(self.within(arm)) if self.builtin else self.within(arm)

    def name(self, column: str) -> str:
        """What a covariate is called; a visitor's own column stays as it is."""
        return tell(ACTG_WORDS[column][0]) if self.builtin and column in ACTG_WORDS else column

    def unit(self, column: str) -> str:
        """The unit of a covariate; empty where it has none."""
        if self.builtin and column in ACTG_WORDS:
            return tell(ACTG_WORDS[column][1] or "")
        return self.feature(column).unit or ""

    def with_unit(self, column: str) -> str:
        name, unit = self.name(column), self.unit(column)
        return f"{name}, {unit}" if unit and unit not in name else name

    def yes_no(self, column: str) -> bool:
        return self.builtin and column == YES_NO

    def value(self, column: str, value: float) -> str:
        """A value of a covariate as the encoder has it, with its unit."""
        feature = self.feature(column)
        if value != value:
            return _("missing")
        if self.yes_no(column):
            return _("yes") if value > 0.5 else _("no")
        if feature.kind == CATEGORY:
            return feature.levels[int(value)]
        return f"{figure(value)} {self.unit(column)}".strip()

    def worded(self, message: Message | MedAIError) -> str:
        """A sentence of the core with the names of the covariates in words."""
        if isinstance(message, MedAIError):
            message = message.message
        told: Mapping[str, Any] = message.values
        if "column" in told:
            told = {**told, "column": self.name(str(told["column"]))}
        return tell(Message(message.template, told))

    def after(self) -> str:
        """The horizon in words, as in "event-free at 2 years"."""
        return duration(self.model.horizon)


def duration(days: float) -> str:
    """Return a time in the largest unit that gives a number people say."""
    if abs(days - TWO_YEARS_DAYS) <= 1:
        return _("2 years")
    for unit in ("years", "months"):
        number = days / DAYS[unit]
        if number >= 1.95:
            words = _("{n} years") if unit == "years" else _("{n} months")
            return words.format(n=f"{number:.2g}" if number < 10 else f"{number:.0f}")
    return _("{n} days").format(n=f"{days:.0f}")


def scale_of(days: float) -> tuple[float, str]:
    """Return days in a unit of a time axis, and the axis' title, by the last day shown."""
    if days > 5 * DAYS["years"]:
        return DAYS["years"], _("Years since assignment")
    if days > 4 * DAYS["months"]:
        return DAYS["months"], _("Months since assignment")
    return 1.0, _("Days since assignment")


def figure(value: float) -> str:
    """Return a number with the digits people give: whole above 100."""
    return f"{value:,.0f}" if abs(value) >= 100 else signed(value, 0 if value == round(value) else 1)


def points(value: float, digits: int = 1) -> str:
    """Return a difference of probabilities in percentage points, with its sign."""
    shown = signed(100 * value, digits)
    return shown if shown.startswith("−") or float(shown) == 0 else f"+{shown}"


def share(interval: Interval) -> str:
    """Return a probability with its interval."""
    return f"{interval.value:.1%} ({interval.low:.1%}–{interval.high:.1%})"


def gap(interval: Interval) -> str:
    """Return a difference with its interval, in percentage points."""
    return _("{value} ({low} to {high})").format(
        value=points(interval.value), low=points(interval.low), high=points(interval.high)
    )
