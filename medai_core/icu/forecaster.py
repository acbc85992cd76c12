"""The public face of the wing: from a stay to its risk at every hour."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from importlib import import_module
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medai_core import registry
from medai_core.artifacts import Bundle, load_model, load_text
from medai_core.errors import MedAIError
from medai_core.icu.blend import Blend
from medai_core.icu.features import features, features_at
from medai_core.icu.grid import HOURS, Grid, stack
from medai_core.icu.inputs import INPUTS, Scaling, network_inputs
from medai_core.icu.records import read_stay
from medai_core.icu.stay import Stay
from medai_core.icu.trees import FILES, Trees
from medai_core.runtime import Compiled

MODEL = "icu_mortality"
CHUNK = 128


@dataclass(frozen=True, eq=False)
class Risks:
    """Risk of death in hospital for N stays at every hour, from the data up to then.

    Attributes
    ----------
    blend, low, high : NDArray[np.float64], shape (N, 48)
        The calibrated risk, and its lowest and highest value over the members of the network.
    trees, network : NDArray[np.float64], shape (N, 48)
        Logits of the two parts, not calibrated.
    """

    blend: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    trees: NDArray[np.float64]
    network: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Forecast:
    """Where one stay is heading.

    Attributes
    ----------
    stay : str
        As in its file.
    hours : tuple[int, ...]
        1 to the hour looked from.
    risk, low, high : NDArray[np.float64], shape (len(hours),)
        Risk of death in hospital at the end of each hour, from the data up to then, and its range over the
        members of the network.
    """

    stay: str
    hours: tuple[int, ...]
    risk: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]

    @property
    def mortality(self) -> float:
        """The risk at the last of the hours."""
        return float(self.risk[-1])


class Forecaster:
    """Reads stays and gives their risk; safe to share between threads.

    Parameters
    ----------
    bundle : Bundle
        Of ``icu_mortality``.
    """

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        constants = bundle.preprocessing
        self.scaling, self.combine = Scaling.from_dict(constants["scaling"]), Blend.from_dict(constants["blend"])
        self.trees = Trees({key: load_text(bundle, name) for key, name in FILES.items()})
        import_module("medai_core.icu.network")  # Keras looks the layer up by the name it registers there
        self._model = load_model(bundle)
        self.network = Compiled(self._model, (HOURS, len(INPUTS)))

    def risks(self, grid: Grid) -> Risks:
        """Risks of stays (N, 48, V)."""
        trees = self.trees(features(grid))
        members = np.asarray(self.network(network_inputs(grid, self.scaling)), dtype=float)  # (N, 48, M)
        each = self.combine(trees[None], np.moveaxis(members, -1, 0))  # (M, N, 48)
        network = members.mean(-1)
        return Risks(self.combine(trees, network), each.min(0), each.max(0), trees, network)

    def log_odds(self, grid: Grid, hour: int) -> NDArray[np.float64]:
        """Calibrated log-odds (N,) of the risk of stays (N, 48, V) at one hour, 1 to 48.

        The same as of :meth:`risks`, in less time: the trees answer for that hour alone.
        """
        trees = self.trees.at_hour(hour, features_at(grid, hour))
        members = np.asarray(self.network(network_inputs(grid, self.scaling))[:, hour - 1], dtype=float)  # (N, M)
        return self.combine.log_odds_at(hour, trees, members.mean(-1))

    def states(self, grid: Grid) -> NDArray[np.float32]:
        """Hidden states of the network's members of stays (N, 48, V), side by side: (N, 48, members * units)."""
        return self._states(network_inputs(grid, self.scaling))

    @cached_property
    def _states(self) -> Compiled:
        """Compiled on first use: a reading does not need it."""
        from keras import ops

        layer = self._model.get_layer("ensemble")

        def run(x: Any) -> Any:
            each = ops.transpose(layer.states(x), (1, 2, 0, 3))  # (B, T, M, U)
            return ops.reshape(each, (-1, HOURS, layer.members * layer.units))

        return Compiled(run, (HOURS, len(INPUTS)))

    def forecast(self, stay: Stay, at_hour: int | None = None) -> Forecast:
        """Risk of one stay at every hour up to `at_hour` (1 to 48; the stay's last by default)."""
        known = stay if at_hour is None else stay.until(at_hour)
        risks = self.risks(stack([known.grid()]))
        return _forecast(known.id, risks, 0, at_hour or stay.hours)

    def forecast_many(self, items: Iterable[tuple[str, bytes]]) -> Iterator[tuple[str, Forecast | MedAIError]]:
        """Answer for named files in their order, a chunk at a time; what cannot be read comes with its error."""
        source = iter(items)
        while chunk := list(islice(source, CHUNK)):
            read = [(name, _read(data)) for name, data in chunk]
            stays = [stay for _, stay in read if isinstance(stay, Stay)]
            risks = self.risks(stack([stay.grid() for stay in stays])) if stays else None
            k = 0
            for name, stay in read:
                if isinstance(stay, Stay):
                    yield name, _forecast(stay.id, risks, k, stay.hours)
                    k += 1
                else:
                    yield name, stay


def _read(data: bytes) -> Stay | MedAIError:
    try:
        return read_stay(data)
    except MedAIError as error:
        return error


def _forecast(stay: str, risks: Risks, k: int, hours: int) -> Forecast:
    parts = (table[k, :hours] for table in (risks.blend, risks.low, risks.high))
    return Forecast(stay, tuple(range(1, hours + 1)), *parts)


def load_forecaster() -> Forecaster:
    """The shipped model, loaded once."""
    return _loaded(registry.bundle(MODEL))


@cache
def _loaded(bundle: Bundle) -> Forecaster:
    return Forecaster(bundle)
