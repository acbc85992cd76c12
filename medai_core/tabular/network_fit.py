"""Training of the networks; all folds and the final members in one pass."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medai_core import runtime
from medai_core.tabular.encoder import Design
from medai_core.tabular.fitting import Stop, check, loss_of, never
from medai_core.tabular.models import LARGE, Config, Data
from medai_core.tabular.problem import BINARY, VALUE

Matrix = NDArray[np.float64]
CHUNK = 8192


@dataclass(frozen=True)
class Recipe:
    """How long and how fast to train.

    Attributes
    ----------
    epochs, every : int
        Held-out rows are scored every so many epochs; the best of these times is kept.
    rate, decay : float
        Of AdamW.
    members : int
        Networks averaged in the end.
    """

    units: int = 32
    dropout: float = 0.3
    epochs: int = 60
    every: int = 4
    batch: int = 32
    rate: float = 1e-3
    decay: float = 0.3
    members: int = 3


def recipe_of(rows: int) -> Recipe:
    """Of many rows fewer epochs with larger batches."""
    if rows < LARGE:
        return Recipe(batch=max(16, min(64, rows // 20)))
    return Recipe(epochs=12, every=3, batch=max(128, rows // 100), rate=3e-3, decay=0.01, members=2, dropout=0.1)


@dataclass(frozen=True, eq=False)
class Network:
    """A trained network on design columns; for numbers its output is stretched and shifted to the target's units."""

    design: Design
    model: Any
    shift: float = 0.0
    stretch: float = 1.0

    @cached_property
    def _run(self) -> runtime.Compiled:
        return runtime.Compiled(self.model, (len(self.design.owner),))

    def scores(self, x: Matrix) -> Matrix:
        if not len(x):
            return np.zeros((0, self.model.output_shape[-1]))
        z = self.design(x).astype(np.float32)
        parts = [np.asarray(self._run(z[k : k + CHUNK]), float) for k in range(0, len(z), CHUNK)]
        return np.concatenate(parts) * self.stretch + self.shift


def fit_network(data: Data, inner: NDArray[np.intp], seed: int, stop: Stop = never) -> tuple[Network, Matrix, Config]:
    """Train one member per inner fold and the final ones, all at once.

    Returns
    -------
    learner : Network
    held : Matrix, shape (N, K)
        Raw scores of held-out rows, NaN elsewhere.
    config : dict
        The recipe, with the number of epochs that did best on held-out rows.
    """
    runtime.configure()
    import keras

    from medai_core.tabular import network

    recipe, design = recipe_of(len(data.y)), Design.fit(data.x, data.encoder)
    z = design(data.x).astype(np.float32)
    folds = np.unique(inner[inner >= 0])
    used = np.ones((len(z), len(folds) + recipe.members), np.float32)
    for place, fold in enumerate(folds):
        used[inner == fold, place] = 0
    shift, stretch = (float(data.y.mean()), float(data.y.std()) or 1.0) if data.task == VALUE else (0.0, 1.0)
    keras.utils.set_random_seed(seed)
    shape = network.Shape(z.shape[1], data.outputs, recipe.units, used.shape[1], recipe.dropout)
    model = network.build(shape)
    target = ((data.y - shift) / stretch if data.task == VALUE else data.y).astype(np.float32)
    watch = _watcher(model, z, inner, folds, data, (shift, stretch), recipe, stop)
    steps = -(-len(z) // recipe.batch)
    rate = keras.optimizers.schedules.CosineDecay(recipe.rate, steps * recipe.epochs, alpha=0.05)
    optimizer = keras.optimizers.AdamW(rate, weight_decay=recipe.decay)
    model.compile(optimizer, _masked(data), steps_per_execution=min(8, steps), jit_compile=False)
    packed = np.c_[target, used][..., None]  # as many axes as the scores have, or Keras drops one of theirs
    model.fit(z, packed, batch_size=recipe.batch, epochs=recipe.epochs, verbose=0, callbacks=[watch.hook])
    weights, held, epochs = watch.best()
    final = network.for_reading(weights, shape, len(folds))
    return Network(design, final, shift, stretch), held, {**vars(recipe), "epochs": epochs}


def _masked(data: Data) -> Callable[[Any, Any], Any]:
    """Each member's loss over the rows that are its own; the target comes before the members' weights."""
    from keras import ops

    def loss(packed: Any, scores: Any) -> Any:
        y, used = packed[:, :1, 0], packed[:, 1:, 0]  # (B, 1), (B, M)
        if data.task == VALUE:
            each = ops.square(scores[..., 0] - y)
        elif data.task == BINARY:
            each = ops.softplus(ops.where(y > 0.5, -1.0, 1.0) * scores[..., 0])
        else:
            right = ops.one_hot(ops.cast(y, "int32"), data.classes)  # (B, 1, K)
            each = ops.logsumexp(scores, axis=-1) - ops.sum(right * scores, axis=-1)
        return ops.sum(each * used, axis=1)

    return loss


@dataclass(eq=False)
class _Watch:
    """Keeps held-out scores and weights of each time they are looked at."""

    hook: Any
    seen: list[tuple[float, list[Any], Matrix, int]]

    def best(self) -> tuple[list[Any], Matrix, int]:
        _, weights, held, epoch = min(self.seen, key=lambda one: one[0])
        return weights, held, epoch


def _watcher(
    model: Any, z: NDArray[np.float32], inner: NDArray[np.intp], folds: NDArray[np.intp], data: Data,
    units: tuple[float, float], recipe: Recipe, stop: Stop,
) -> _Watch:  # fmt: skip
    import keras

    shift, stretch = units
    run = runtime.Compiled(model, (z.shape[1],))
    seen: list[tuple[float, list[Any], Matrix, int]] = []

    def look(epoch: int, logs: object = None) -> None:
        check(stop)
        if (epoch + 1) % recipe.every:
            return
        held = np.full((len(z), data.outputs), np.nan)
        for place, fold in enumerate(folds):
            mine = np.flatnonzero(inner == fold)
            for k in range(0, len(mine), CHUNK):
                rows = mine[k : k + CHUNK]
                held[rows] = np.asarray(run(z[rows]), float)[:, place] * stretch + shift
        known = ~np.isnan(held[:, 0])
        loss = loss_of(held[known], data.y[known], data.task)
        if not seen or loss < seen[0][0]:
            seen[:] = [(loss, model.get_weights(), held, epoch + 1)]

    return _Watch(keras.callbacks.LambdaCallback(on_epoch_end=look), seen)


# ----------------------------------------------------------------------------------------- unlike training


@dataclass(frozen=True, eq=False)
class Unlikeness:
    """How badly an autoencoder gives a row back, compared with rows it was trained beside.

    Attributes
    ----------
    design : Design
    model : keras.Model
    percentiles : Matrix, shape (101,)
        Of the error of held-out training rows.
    """

    design: Design
    model: Any
    percentiles: Matrix

    @cached_property
    def _run(self) -> runtime.Compiled:
        return runtime.Compiled(self.model, (len(self.design.owner),))

    def errors(self, x: Matrix) -> Matrix:
        """Squared error (N, D) by feature, the mean over design columns being the row's error."""
        z = np.clip(self.design(x), -CLIP, CLIP).astype(np.float32)
        parts = [np.asarray(self._run(z[k : k + CHUNK]), float) for k in range(0, len(z), CHUNK)]
        squares = (np.concatenate(parts) - z) ** 2 / z.shape[1]
        found = np.zeros((len(z), len(self.design.fill)))
        np.add.at(found.T, self.design.owner, squares.T)
        return found

    def percentile(self, x: Matrix) -> Matrix:
        """Share (N,) of training rows that are given back better, 0 to 1."""
        return np.interp(self.errors(x).sum(axis=1), self.percentiles, np.linspace(0, 1, 101))


CLIP = 10.0
FEW_PATIENTS = 25
"""Of so few, rows are held out: without ten patients there would be too little left to learn from."""


def fit_unlikeness(data: Data, seed: int, stop: Stop = never, most: int = 20_000) -> Unlikeness:
    """Train the autoencoder on nine tenths of the patients; the others' errors are what new rows are compared with."""
    runtime.configure()
    import keras

    from medai_core.tabular import network

    data = data.drawn(most, seed)
    design = Design.fit(data.x, data.encoder)
    z = np.clip(design(data.x), -CLIP, CLIP).astype(np.float32)
    patients = np.arange(len(z)) if data.groups is None else np.unique(data.groups, return_inverse=True)[1]
    if patients.max() < FEW_PATIENTS:
        patients = np.arange(len(z))
    count = int(patients.max()) + 1
    held = (np.random.default_rng(seed).permutation(count) < max(10, count // 10))[patients]
    keras.utils.set_random_seed(seed)
    model = network.autoencoder(z.shape[1])
    batch = max(16, len(z) // 50)
    epochs = 80 if len(z) < LARGE else 25
    rate = keras.optimizers.schedules.CosineDecay(5e-3, epochs * -(-int((~held).sum()) // batch))
    model.compile(keras.optimizers.Adam(rate), "mse", steps_per_execution=8, jit_compile=False)
    hook = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: check(stop))
    model.fit(z[~held], z[~held], batch_size=batch, epochs=epochs, verbose=0, callbacks=[hook])
    plain = Unlikeness(design, model, np.zeros(101))
    errors = plain.errors(data.x[held]).sum(axis=1)
    return Unlikeness(design, model, np.quantile(errors, np.linspace(0, 1, 101)))
