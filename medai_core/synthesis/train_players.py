"""Two networks that play against each other, and how they go on after a stop: nothing but Keras 3."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray


class Player(keras.Model):
    """Networks that one optimizer changes, and what they pay: tensors of a batch → loss.

    Networks that `cost` uses but that are not in `owned` are invisible to Keras here, hence left as they are.
    """

    def __init__(self, owned: Sequence[keras.Model], cost: Callable[..., object], optimizer, name: str):
        super().__init__(name=name, dtype="float32")
        self.owned = list(owned)
        self.cost = cost
        self.compile(optimizer, jit_compile=False)
        # Now, so that a checkpoint finds the optimizer's variables to fill.
        self.optimizer.build([v for v in self.owned_variables() if v.trainable])

    def call(self, batch):
        return self.cost(*batch)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return y_pred

    def owned_variables(self) -> list[keras.Variable]:
        return [variable for network in self.owned for variable in network.weights]

    def turn(self, rate: float, *batch: NDArray[np.float32]) -> float:
        """Take one step of the learning rate `rate` down the cost of a batch and return the cost."""
        self.optimizer.learning_rate = rate
        return float(self.train_on_batch(tuple(batch)))


def average(mean: keras.Model, now: keras.Model, decay: float) -> None:
    """Move the weights of `mean` towards those of `now`: a moving average over steps."""
    for kept, weight in zip(mean.weights, now.weights, strict=True):
        kept.assign(decay * kept + (1 - decay) * weight)


class Checkpoint:
    """Everything the players need to go on, in one file that is replaced whole."""

    def __init__(self, path: Path, players: Sequence[Player], others: Sequence[keras.Model] = ()):
        self.path, self.players, self.others = path, players, others

    def _variables(self) -> list[keras.Variable]:
        found = [v for player in self.players for v in (*player.owned_variables(), *player.optimizer.variables)]
        return found + [v for model in self.others for v in model.weights]

    def save(self, step: int) -> None:
        values = {f"v{k}": ops.convert_to_numpy(v) for k, v in enumerate(self._variables())}
        scratch = self.path.with_suffix(".new.npz")
        np.savez(scratch, step=step, **values)
        os.replace(scratch, self.path)

    def load(self) -> int:
        """Put everything back and return the step to go on from; 0 when nothing was saved."""
        if not self.path.exists():
            return 0
        with np.load(self.path, allow_pickle=False) as kept:
            for k, variable in enumerate(self._variables()):
                variable.assign(kept[f"v{k}"])
            return int(kept["step"])
