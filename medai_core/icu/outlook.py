"""The face of the forecasts: where each variable of a stay is heading in the coming hours, as quantiles.

``load_outlooks().outlook(read_stay(data), at_hour=36, horizon=12).of("HR")`` is a fan of heart rates, (12, 5).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from operator import index

import numpy as np
from numpy.typing import NDArray

from medai_core import registry
from medai_core.artifacts import Bundle, load_model
from medai_core.errors import InputError, MedAIError
from medai_core.icu.forecast_calibration import HOURS_AHEAD, Calibration
from medai_core.icu.forecast_inputs import COLUMNS, VARIABLES, forecast_inputs
from medai_core.icu.grid import HOURS, Grid, stack
from medai_core.icu.inputs import Scaling
from medai_core.icu.records import read_stay
from medai_core.icu.stay import Stay
from medai_core.runtime import Compiled

MODEL = "icu_forecast"
QUANTILES = (0.05, 0.25, 0.50, 0.75, 0.95)
HORIZON = HOURS_AHEAD


@dataclass(frozen=True, eq=False)
class Outlook:
    """Forecasts of one stay from one hour.

    Attributes
    ----------
    stay : str
        As in its file.
    at : int
        The hour looked from; nothing recorded later was used.
    hours : tuple[int, ...]
        The coming hours, at + 1 to at + horizon; they may lie beyond 48.
    quantiles : NDArray[np.float64], shape (V, len(hours), 5)
        Of the hourly mean (urine: hourly sum) of each of :data:`VARIABLES`, in its unit, at :data:`QUANTILES`;
        never falling along the last axis, and within the plausible range.
    """

    stay: str
    at: int
    hours: tuple[int, ...]
    quantiles: NDArray[np.float64]

    def of(self, variable: str) -> NDArray[np.float64]:
        """Quantiles of one variable, (len(hours), 5)."""
        if variable not in VARIABLES:
            raise InputError("`variable` must be one that is forecast, got {name}", name=variable)
        return self.quantiles[VARIABLES.index(variable)]


class Outlooks:
    """Forecasts the coming hours of stays; safe to share between threads.

    Parameters
    ----------
    bundle : Bundle
        Of ``icu_forecast``.
    """

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        self.scaling = Scaling.from_dict(bundle.preprocessing["scaling"])
        self.calibration = Calibration.from_dict(bundle.preprocessing["calibration"])
        import_module("medai_core.icu.forecast_network")  # Keras looks the layer up by the name it registers there
        self.network = Compiled(load_model(bundle), (HOURS, COLUMNS + 1))

    def outlook(self, stay: Stay, at_hour: int | None = None, horizon: int = HORIZON) -> Outlook:
        """Forecasts of one stay from what was recorded up to `at_hour` (1 to 48; the stay's last by default).

        Raises
        ------
        InputError
            If `at_hour` is not 1 to 48, or `horizon` (hours) not 1 to 24.
        """
        at, horizon = _at(stay.hours if at_hour is None else at_hour), _horizon(horizon)
        quantiles = self.at_hour(stack([stay.until(at).grid()]), at)[0, :, :horizon]
        return Outlook(stay.id, at, tuple(range(at + 1, at + 1 + horizon)), quantiles)

    def at_hour(self, grid: Grid, at: int) -> NDArray[np.float64]:
        """Quantiles (N, V, 24, 5) of stays (N, 48, V) from hour `at`; what is later in the tables is not used."""
        at = _at(at)
        known = Grid(*(_blank_after(table, at) for table in (grid.mean, grid.low, grid.high)), grid.fixed)
        return self.from_inputs(forecast_inputs(known, self.scaling), at)

    def from_inputs(self, x: NDArray[np.float32], at: int) -> NDArray[np.float64]:
        """As :meth:`at_hour`, from inputs (N, 48, D)."""
        answer = self.network(asked_at(x, at))  # (N, V, K, 5)
        return self.calibration(answer, x[:, at - 1], self.scaling)

    def outlook_many(
        self, items: Iterable[tuple[str, bytes]], at_hour: int | None = None, horizon: int = HORIZON
    ) -> Iterator[tuple[str, Outlook | MedAIError]]:
        """Answer for named files in their order; what cannot be read comes with its error.

        Each stay is forecast by itself: in a batch, the last digits would depend on what else is in it.
        """
        at_hour, horizon = None if at_hour is None else _at(at_hour), _horizon(horizon)
        for name, data in items:
            try:
                yield name, self.outlook(read_stay(data), at_hour, horizon)
            except MedAIError as error:
                yield name, error


def asked_at(x: NDArray[np.float32], at: int) -> NDArray[np.float32]:
    """Inputs (N, 48, D) with a last column that marks the hour looked from."""
    asked = np.broadcast_to(np.arange(HOURS) == at - 1, x.shape[:-1])[..., None]
    return np.concatenate([x, asked], axis=-1, dtype=np.float32)


def _at(hour: int) -> int:
    if not 1 <= index(hour) <= HOURS:
        raise InputError("`at_hour` must be between 1 and {last}, got {hour}", last=HOURS, hour=hour)
    return index(hour)


def _horizon(hours: int) -> int:
    if not 1 <= index(hours) <= HORIZON:
        raise InputError("`horizon` must be between 1 and {last} hours, got {hours}", last=HORIZON, hours=hours)
    return index(hours)


def _blank_after(table: NDArray[np.float32], hour: int) -> NDArray[np.float32]:
    table = table.copy()
    table[..., hour:, :] = np.nan
    return table


def load_outlooks() -> Outlooks:
    """The shipped model, loaded once."""
    return _loaded(registry.bundle(MODEL))


@cache
def _loaded(bundle: Bundle) -> Outlooks:
    return Outlooks(bundle)
