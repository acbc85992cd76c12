"""Training the forecasting network: pinball loss at measured hours, random hours ahead of random hours of each stay."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from medai_core.icu.forecast_calibration import HOURS_AHEAD, KNOTS
from medai_core.icu.forecast_inputs import VARIABLES
from medai_core.icu.forecast_network import OWN_COLUMNS, STARTS, ForecastShape, build, for_training
from medai_core.icu.grid import HOURS
from medai_core.icu.outlook import QUANTILES

Progress = Callable[[dict[str, object]], None]
Array = NDArray[np.float32]

AHEAD = ((1,), (2,), (3,), (4,), (5, 6), (7, 8), (9, 10, 11, 12), tuple(range(13, 19)), tuple(range(19, 25)))
"""One of each set of hours ahead is drawn for each stay and step; the sets end at the knots."""
START = (0.3, -0.6, 0.0, -0.6, 0.3)
"""Where the numbers of :func:`~medai_core.icu.forecast_network.fan` begin: about the quantiles of a normal law."""
RIDGE = 10.0
assert tuple(each[-1] for each in AHEAD) == KNOTS


@dataclass(frozen=True)
class ForecastRecipe:
    """How the network is trained.

    Attributes
    ----------
    asked : int
        Hours of each stay that are forecast from in one step.
    """

    members: int = 3
    units: int = 64
    hidden: int = 128
    context: int = 12
    local: int = 40
    epochs: int = 24
    batch: int = 64
    asked: int = 12
    rate: float = 3e-3
    decay: float = 0.01
    input_dropout: float = 0.05
    dropout: float = 0.15
    seed: int = 2012

    @property
    def shape(self) -> ForecastShape:
        return ForecastShape(**{name: getattr(self, name) for name in ForecastShape.__dataclass_fields__})


def ahead_of(z: Array) -> Array:
    """Standardised hours (N, 48, V) followed by 24 hours of NaN."""
    return np.concatenate([z, np.full((len(z), HOURS_AHEAD, z.shape[-1]), np.nan, np.float32)], axis=1)


def starts(x: Array, z: Array) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Slopes (V, K, S) of least-squares forecasts from a variable's own columns, and their mean errors (V, K)."""
    slope, error = np.zeros((len(VARIABLES), len(KNOTS), STARTS)), np.ones((len(VARIABLES), len(KNOTS)))
    for k, hours in enumerate(KNOTS):
        for v in range(len(VARIABLES)):
            y, own = z[:, hours:, v], x[:, :-hours, OWN_COLUMNS[v, :STARTS]]
            seen = ~np.isnan(y)
            a, b = own[seen].astype(float), y[seen].astype(float)
            slope[v, k] = np.linalg.solve(a.T @ a + RIDGE * np.eye(STARTS), a.T @ b)
            error[v, k] = np.abs(b - a @ slope[v, k]).mean() if b.size else 1.0
    return slope, np.maximum(error, 1e-3)


def weights_of(z: Array, error: NDArray[np.float64]) -> Array:
    """What a measured hour counts, (K, V), by :data:`AHEAD`: less of what is measured often or hard to forecast.

    `error` (V, K) is that of :func:`starts`.
    """
    share = np.maximum((~np.isnan(z)).mean((0, 1)), 1e-4)
    weight = 1 / (error.T * np.sqrt(share))
    return (weight / (weight.mean(0) * share).sum()).astype(np.float32)


def pinball_loss(weight: Array) -> Callable[[Any, Any], Any]:
    """Loss of quantiles (B, Q, M, A, V, 5) against measured hours (B, Q, A, V), NaN where there is none.

    `weight` is (A, V), as by :func:`weights_of`.
    """
    levels = np.array(QUANTILES, np.float32)

    def loss(truth: Any, quantiles: Any) -> Any:
        seen = ops.logical_not(ops.isnan(truth))
        error = ops.where(seen, truth, 0.0)[:, :, None, :, :, None] - quantiles
        each = ops.mean(ops.maximum(levels * error, (levels - 1) * error), axis=(2, 5))  # (B, Q, A, V)
        return ops.mean(ops.sum(each * ops.where(seen, weight, 0.0), axis=-1))

    return loss


def batch_of(x: Array, z: Array, stays: NDArray[np.intp], asked: int, rng: np.random.Generator) -> tuple[Any, Array]:
    """Inputs of :func:`for_training` for some stays, with random hours, and what was measured (B, Q, A, V).

    `z` is as :func:`ahead_of` makes it.
    """
    hours = rng.random((len(stays), HOURS - 1)).argsort(axis=1)[:, :asked]  # places of the hours looked from
    ahead = np.stack([rng.choice(each, len(stays)) for each in AHEAD], axis=1)  # (B, A)
    truth = z[stays[:, None, None], hours[:, :, None] + ahead[:, None, :]]
    at, far = np.eye(HOURS, dtype=np.float32)[hours], np.eye(HOURS_AHEAD, dtype=np.float32)[ahead - 1]
    return (x[stays], at, far), truth


def train_network(x: Array, z: Array, recipe: ForecastRecipe, work: Path, progress: Progress) -> keras.Model:
    """Train all members together, going on after the last finished epoch of the same recipe and data.

    Parameters
    ----------
    x : NDArray, shape (N, 48, D)
        Inputs.
    z : NDArray, shape (N, 48, V)
        Standardised hourly means, NaN where not measured.
    work : Path
        Keeps the weights after each epoch.

    Returns
    -------
    keras.Model
        See :func:`~medai_core.icu.forecast_network.build`.
    """
    keras.utils.set_random_seed(recipe.seed)
    core, z = build(recipe.shape), ahead_of(z)
    slope, error = starts(x, z[:, :HOURS])
    _begin(core.get_layer("decoder"), slope, error)
    model, steps = for_training(core), max(len(x) // recipe.batch, 1)
    rate = keras.optimizers.schedules.CosineDecay(
        0.0, recipe.epochs * steps, warmup_target=recipe.rate, warmup_steps=steps
    )
    optimizer = keras.optimizers.AdamW(rate, weight_decay=recipe.decay, global_clipnorm=1.0)
    model.compile(optimizer, loss=pinball_loss(weights_of(z[:, :HOURS], error)))
    _fit(model, x, z, recipe, steps, work, progress)
    return core


def _begin(decoder: Any, slope: NDArray[np.float64], error: NDArray[np.float64]) -> None:
    members = decoder.members
    decoder.unit.assign(error[..., None])
    decoder.slope.assign(np.tile(slope, (members, 1, 1, 1)))
    decoder.bias.assign(np.tile(START, (members, len(VARIABLES), len(KNOTS))))


def _fit(
    model: keras.Model, x: Array, z: Array, recipe: ForecastRecipe, steps: int, work: Path, progress: Progress
) -> None:
    key = hashlib.sha256(repr((sorted(asdict(recipe).items()), x.shape)).encode()).hexdigest()[:12]
    weights, done = work / f"forecast-{key}.weights.h5", work / f"forecast-{key}.json"
    first = json.loads(done.read_text())["epochs"] if done.exists() else 0
    work.mkdir(parents=True, exist_ok=True)
    if first:
        model.optimizer.build(model.trainable_variables)  # else its moments would not be loaded
        model.load_weights(weights)
    for epoch in range(first, recipe.epochs):
        rng, losses = np.random.default_rng((recipe.seed, epoch)), []
        for stays in np.array_split(rng.permutation(len(x)), steps):
            inputs, truth = batch_of(x, z, stays, recipe.asked, rng)
            losses.append(float(model.train_on_batch(inputs, truth)))
        model.save_weights(weights)
        done.write_text(json.dumps({"epochs": epoch + 1}))
        progress({"part": "network", "epoch": epoch + 1, "of": recipe.epochs, "loss": float(np.mean(losses))})
