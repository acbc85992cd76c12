"""One stay seen from one hour: what the panels, the headline and the what-if all look at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from medai_core.errors import MedAIError
from medai_core.icu.variables import INDEX, SUMMED
from pages.ui import icu_loaders
from pages.ui.icu_stay import Held

if TYPE_CHECKING:
    from medai_core.icu.edits import Edit
    from medai_core.icu.forecaster import Risks
    from medai_core.icu.outlook import Outlook
    from medai_core.icu.stay import Stay

BACK_HOURS = 6
"""How far back the headline compares."""


@dataclass(frozen=True, eq=False)
class View:
    """A stay at one hour.

    Attributes
    ----------
    held : Held
        Its file.
    recorded, stay : Stay
        As recorded, and with the edits made.
    edits : tuple[Edit, ...]
        In the order they were made.
    at : int
        The hour looked from, 1 to 48.
    horizon : int
        Hours ahead to show.
    ahead : bool
        Whether to show what came after `at`.
    risks, recorded_risks : Risks
        Of `stay` and `recorded`, tables (1, 48).
    outlook, recorded_outlook : Outlook or MedAIError
        Forecasts from `at`, or why there are none.
    """

    held: Held
    recorded: Stay
    stay: Stay
    edits: tuple[Edit, ...]
    at: int
    horizon: int
    ahead: bool
    risks: Risks
    recorded_risks: Risks
    outlook: Outlook | MedAIError
    recorded_outlook: Outlook | MedAIError

    @property
    def edited(self) -> bool:
        return bool(self.edits)

    @property
    def key(self) -> tuple[object, ...]:
        """What figures about this view are called by."""
        return self.held.key, self.at, len(self.edits)

    def risk(self, hour: int | None = None) -> float:
        """Risk at the end of an hour, by default now."""
        return float(self.risks.blend[0, (hour or self.at) - 1])

    def band(self) -> tuple[float, float]:
        """Lowest and highest risk now over the members of the network."""
        return float(self.risks.low[0, self.at - 1]), float(self.risks.high[0, self.at - 1])

    def recorded_risk(self) -> float:
        """Risk now without the edits."""
        return float(self.recorded_risks.blend[0, self.at - 1])

    def change(self) -> tuple[float, int] | None:
        """Rise of the risk over the last hours, and how many they are; None in the first hour."""
        back = min(BACK_HOURS, self.at - 1)
        return (self.risk() - self.risk(self.at - back), back) if back else None


def view(held: Held, recorded: Stay, edits: tuple[Edit, ...], at: int, horizon: int, ahead: bool) -> View:
    """Compute, or take from the cache, all that is shown of a stay at one hour."""
    stay = icu_loaders.edited(held.digest, edits, recorded) if edits else recorded
    return View(
        held, recorded, stay, edits, at, horizon, ahead,
        icu_loaders.risks(held.digest, edits, stay), icu_loaders.risks(held.digest, (), recorded),
        _outlook(held, edits, stay, at), _outlook(held, (), recorded, at),
    )  # fmt: skip


def _outlook(held: Held, edits: tuple[Edit, ...], stay: Stay, at: int) -> Outlook | MedAIError:
    try:
        return icu_loaders.outlook(held.digest, edits, stay, at)
    except MedAIError as error:
        return error


def series(stay: Stay, code: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Hours since admission and values of a variable; urine as hourly sums, at the middle of the hour.

    Returns
    -------
    hours, values : NDArray[np.float64], shape (n,)
    """
    mine = stay.series == INDEX[code]
    minutes, values = stay.minutes[mine], stay.values[mine]
    if code != SUMMED or not minutes.size:
        return minutes / 60, values
    hour = np.maximum(np.ceil(minutes / 60), 1)
    ends = np.unique(hour)
    return ends - 0.5, np.array([values[hour == end].sum() for end in ends])


def latest(stay: Stay, code: str, at: int) -> tuple[float, float] | None:
    """Hour and value of a variable's last measurement up to an hour (of urine: the sum of the last hour)."""
    hours, values = series(stay, code)
    known = np.flatnonzero(hours <= at)
    return (float(hours[known[-1]]), float(values[known[-1]])) if known.size else None


def quantiles(outlook: Outlook | MedAIError, code: str, horizon: int) -> NDArray[np.float64] | None:
    """Forecast of a variable, shape (horizon, 5); None where there is none."""
    from medai_core.icu.outlook import VARIABLES

    if isinstance(outlook, MedAIError) or code not in VARIABLES:
        return None
    return outlook.quantiles[VARIABLES.index(code), :horizon]


def measured_names(stay: Stay) -> set[str]:
    """Names of the variables that were measured at all."""
    held = set(np.unique(stay.series).tolist())
    return {name for name, place in INDEX.items() if place in held}
