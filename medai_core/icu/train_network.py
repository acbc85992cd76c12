"""Training the recurrent network: every member at once, each blind to one fold of the patients."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from medai_core.icu.cohort import Cohort
from medai_core.icu.grid import HOURS
from medai_core.icu.inputs import Scaling, network_inputs, standardised
from medai_core.icu.network import Shape, build, for_reading

Progress = Callable[[dict[str, object]], None]
LOG_DAYS = (2.3, 0.7)
"""Centre and spread of the logarithm of the length of stay, for its side task."""


@dataclass(frozen=True)
class Recipe:
    """How the network is trained.

    Attributes
    ----------
    ahead_hours : int
        The side task looks at the mean of every series over this many coming hours, and at the length of stay.
    side_weight : float
        What the side tasks count beside the risk.
    late : float
        Hour h counts in proportion to ``h ** late``.
    """

    units: int = 48
    members: int = 15
    epochs: int = 9
    batch: int = 64
    rate: float = 2e-3
    decay: float = 0.005
    input_dropout: float = 0.25
    dropout: float = 0.5
    ahead_hours: int = 6
    side_weight: float = 0.5
    late: float = 1.0
    seed: int = 2012


def coming(z: NDArray[np.float32], hours: int) -> NDArray[np.float32]:
    """Mean over the measured ones of the next `hours` hours, NaN where there is none; shape as `z` (N, 48, S)."""
    ahead = ((0, 0), (1, hours), (0, 0))
    total = np.cumsum(np.pad(np.nan_to_num(z), ahead), axis=1, dtype=float)
    count = np.cumsum(np.pad(~np.isnan(z), ahead), axis=1)
    total, count = total[:, hours + 1 :] - total[:, 1:-hours], count[:, hours + 1 :] - count[:, 1:-hours]
    return np.where(count > 0, total / np.maximum(count, 1), np.nan).astype(np.float32)


def targets(cohort: Cohort, scaling: Scaling, recipe: Recipe) -> NDArray[np.float32]:
    """Death, length of stay and the coming hours, (N, 48, 2 + S); NaN is not scored."""
    size = (len(cohort.died), HOURS, 1)
    days = (np.log1p(cohort.days) - LOG_DAYS[0]) / LOG_DAYS[1]
    ahead = coming(standardised(cohort.grid, scaling), recipe.ahead_hours)
    fixed = [np.broadcast_to(column[:, None, None], size) for column in (cohort.died, np.clip(days, -3, 3))]
    return np.concatenate([*fixed, ahead], axis=-1, dtype=np.float32)


def member_fold(recipe: Recipe, folds: int) -> NDArray[np.intp]:
    """The fold each member never sees."""
    return np.arange(recipe.members) % folds


def loss_of(recipe: Recipe, outputs: int) -> Callable[[object, object], object]:
    """Log-likelihood of death at every hour plus the side tasks, of each member on the stays it may see."""
    late = np.arange(1, HOURS + 1) ** recipe.late
    hours = ops.convert_to_tensor((late / late.mean())[None, :, None].astype(np.float32))

    def loss(truth: object, answer: object) -> object:
        answer = ops.reshape(answer, (-1, HOURS, recipe.members, outputs))  # (B, T, M, O)
        seen = truth[..., outputs:]  # (B, T, M)
        logit, died = answer[..., 0], truth[..., :1]
        risk = ops.mean((ops.softplus(logit) - died * logit) * seen * hours)
        known = ops.isfinite(truth[..., 1:outputs])
        wanted = ops.where(known, truth[..., 1:outputs], 0.0)[:, :, None]  # (B, T, 1, O - 1)
        error = ops.square(answer[..., 1:] - wanted) * ops.cast(known, "float32")[:, :, None]
        return risk + recipe.side_weight * ops.mean(error * seen[..., None])

    return loss


def train_network(
    cohort: Cohort, scaling: Scaling, fold: NDArray[np.intp], recipe: Recipe, work: Path, progress: Progress
) -> keras.Model:
    """Train all members, or take up the result of an earlier run with the same recipe.

    Parameters
    ----------
    fold : NDArray, shape (N,)
        Number of the fold of each stay.

    Returns
    -------
    keras.Model
        (B, 48, D) → logits (B, 48, members).
    """
    x, wanted = network_inputs(cohort.grid, scaling), targets(cohort, scaling, recipe)
    keras.utils.set_random_seed(recipe.seed)
    outputs = wanted.shape[-1]
    shape = Shape(x.shape[-1], recipe.units, recipe.members, outputs, recipe.input_dropout, recipe.dropout)
    model = build(shape)
    stored = work / f"network-{_digest(recipe, len(x))}.weights.h5"
    if not stored.exists():
        _fit(model, x, wanted, fold, recipe, progress)
        work.mkdir(parents=True, exist_ok=True)
        model.save_weights(stored)
    model.load_weights(stored)
    return for_reading(model, shape)


def _digest(recipe: Recipe, stays: int) -> str:
    import hashlib

    return hashlib.sha256(repr((sorted(asdict(recipe).items()), stays)).encode()).hexdigest()[:12]


def _fit(
    model: keras.Model,
    x: NDArray[np.float32],
    wanted: NDArray[np.float32],
    fold: NDArray[np.intp],
    recipe: Recipe,
    progress: Progress,
) -> None:
    outputs, steps = wanted.shape[-1], len(x) // recipe.batch + 1
    seen = fold[:, None] != member_fold(recipe, int(fold.max()) + 1)[None]  # (N, M)
    seen = np.broadcast_to(seen[:, None], (len(x), HOURS, recipe.members))
    rate = keras.optimizers.schedules.CosineDecay(
        recipe.rate / 5, recipe.epochs * steps, alpha=0.02, warmup_target=recipe.rate, warmup_steps=2 * steps
    )
    flat = keras.Model(model.input, ops.reshape(model.output, (-1, HOURS, recipe.members * outputs)))
    optimizer = keras.optimizers.AdamW(rate, weight_decay=recipe.decay, clipnorm=1.0)
    flat.compile(optimizer, loss=loss_of(recipe, outputs))
    told = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: progress(
            {"part": "network", "epoch": epoch + 1, "of": recipe.epochs, **(logs or {})}
        )
    )
    truth = np.concatenate([wanted, seen], axis=-1, dtype=np.float32)
    flat.fit(x, truth, batch_size=recipe.batch, epochs=recipe.epochs, verbose=0, callbacks=[told])
