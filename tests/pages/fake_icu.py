"""Models of intensive care that answer at once and always the same: the faster the heart, the higher the risk."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
from numpy.typing import NDArray

from medai_core.icu.forecaster import Risks
from medai_core.icu.grid import HOURS, Grid
from medai_core.icu.outlook import HORIZON, VARIABLES, Outlook
from medai_core.icu.stay import Stay
from medai_core.icu.variables import INDEX, SERIES

SPREAD = np.array([-2.0, -1.0, 0.0, 1.0, 2.0])
CALM = 80.0
"""Heart rate of a risk of one half; also what is taken where none was measured."""


class FakeForecaster:
    """Log-odds are the last heart rate above 80, in tens."""

    def _all_log_odds(self, grid: Grid) -> NDArray[np.float64]:
        rate = grid.carried[..., INDEX["HR"]].astype(float)
        return (np.where(np.isnan(rate), CALM, rate) - CALM) / 10

    def log_odds(self, grid: Grid, hour: int) -> NDArray[np.float64]:
        return self._all_log_odds(grid)[:, hour - 1]

    def risks(self, grid: Grid) -> Risks:
        middle = self._all_log_odds(grid)
        risk, low, high = (1 / (1 + np.exp(-(middle + shift))) for shift in (0.0, -0.3, 0.3))
        return Risks(risk, low, high, middle, middle)

    def states(self, grid: Grid) -> NDArray[np.float32]:
        """(N, 48, 3)"""
        odds = self._all_log_odds(grid)
        hours = np.broadcast_to(np.arange(HOURS) / HOURS, odds.shape)
        return np.stack([odds, np.tanh(odds), hours], axis=-1).astype(np.float32)


class FakeOutlooks:
    """The last value goes on, wider every hour; what was never measured stays at the middle of its normal range."""

    def outlook(self, stay: Stay, at_hour: int | None = None, horizon: int = HORIZON) -> Outlook:
        at = stay.hours if at_hour is None else at_hour
        known, hours = stay.until(at), np.arange(1, horizon + 1)
        table = np.zeros((len(VARIABLES), horizon, len(SPREAD)))
        for place, name in enumerate(VARIABLES):
            span, mine = SERIES[name], known.values[known.series == INDEX[name]]
            last = float(mine[-1]) if mine.size else sum(span.normal) / 2
            width = 0.02 * (span.normal[1] - span.normal[0] + 1)
            table[place] = np.clip(last + width * np.sqrt(hours)[:, None] * SPREAD, span.low, span.high)
        return Outlook(known.id, at, tuple((at + hours).tolist()), table)


def fake_models() -> SimpleNamespace:
    """What :func:`pages.ui.icu_loaders.load` returns."""
    return SimpleNamespace(forecaster=FakeForecaster(), outlooks=FakeOutlooks())
