"""The recurrent network: several small GRUs side by side in one layer, each giving a risk at every hour.

The members share their inputs and nothing else. As one layer they cost one loop over the hours, which is what
takes the time with a single stay. Written in pure Keras 3.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
from keras import ops

from medai_core.icu.grid import HOURS


@dataclass(frozen=True)
class Shape:
    """Hyper-parameters of the network.

    Attributes
    ----------
    inputs : int
        Columns of an hour.
    units : int
        Of each member.
    members : int
    outputs : int
        Per member and hour. The first is the logit of death in hospital, the rest serve training alone.
    input_dropout, dropout : float
        Share of input columns, and of units, hidden from a whole stay in training.
    """

    inputs: int
    units: int = 64
    members: int = 10
    outputs: int = 1
    input_dropout: float = 0.2
    dropout: float = 0.4


@keras.saving.register_keras_serializable(package="medai_core.icu")
class Ensemble(keras.layers.Layer):
    """GRUs (Cho et al. 2014, with the reset gate applied after the product) with a linear head, side by side.

    Takes (B, T, D), returns (B, T, M, outputs) for M members.
    """

    def __init__(self, members: int, units: int, outputs: int, dropout: float = 0.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.members, self.units, self.outputs, self.dropout = members, units, outputs, dropout
        self.seeds = keras.random.SeedGenerator(0)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        m, d, u = self.members, input_shape[-1], self.units

        def weight(name: str, rows: int, columns: int, scale: float) -> Any:
            start = keras.initializers.RandomNormal(stddev=scale)
            return self.add_weight(shape=(m, rows, columns), initializer=start, name=name)

        self.kernel = weight("kernel", d, 3 * u, (2 / (d + u)) ** 0.5)
        self.recurrent = weight("recurrent", u, 3 * u, u**-0.5)
        self.head = weight("head", u, self.outputs, u**-0.5)
        self.bias = self.add_weight(shape=(m, 1, 3 * u), initializer="zeros", name="bias")
        self.recurrent_bias = self.add_weight(shape=(m, 1, 3 * u), initializer="zeros", name="recurrent_bias")
        self.head_bias = self.add_weight(shape=(m, self.outputs), initializer="zeros", name="head_bias")

    def states(self, x: Any) -> Any:
        """Hidden states (M, B, T, U)."""
        hours, u = x.shape[1], self.units
        given = ops.einsum("btd,mdk->tmbk", x, self.kernel) + self.bias  # (T, M, B, 3U)
        state, states = ops.zeros_like(given[0, :, :, :u]), []  # (M, B, U)
        for hour in range(hours):
            inner = ops.matmul(state, self.recurrent) + self.recurrent_bias  # (M, B, 3U)
            gates = ops.sigmoid(given[hour, :, :, : 2 * u] + inner[..., : 2 * u])
            candidate = ops.tanh(given[hour, :, :, 2 * u :] + gates[..., :u] * inner[..., 2 * u :])
            state = candidate + gates[..., u:] * (state - candidate)
            states.append(state)
        return ops.stack(states, axis=2)

    def call(self, x: Any, training: bool = False) -> Any:
        states = self.states(x)  # (M, B, T, U)
        if training and self.dropout:
            noise = (self.members, ops.shape(x)[0], 1, self.units)
            states = keras.random.dropout(states, self.dropout, noise_shape=noise, seed=self.seeds)
        return ops.einsum("mbtu,muo->btmo", states, self.head) + self.head_bias

    def get_config(self) -> dict[str, Any]:
        own = {"members": self.members, "units": self.units, "outputs": self.outputs, "dropout": self.dropout}
        return super().get_config() | own


def build(shape: Shape) -> keras.Model:
    """Uninitialised network (B, 48, inputs) → (B, 48, members, outputs)."""
    x = keras.Input((HOURS, shape.inputs), name="hours")
    h = keras.layers.SpatialDropout1D(shape.input_dropout)(x)
    y = Ensemble(shape.members, shape.units, shape.outputs, shape.dropout, name="ensemble")(h)
    return keras.Model(x, y)


def for_reading(trained: keras.Model, shape: Shape) -> keras.Model:
    """The trained network without what served training alone: (B, 48, inputs) → logits (B, 48, members)."""
    small = build(Shape(**{**vars(shape), "outputs": 1, "input_dropout": 0.0, "dropout": 0.0}))
    mine, theirs = small.get_layer("ensemble"), trained.get_layer("ensemble")
    for name in ("kernel", "recurrent", "bias", "recurrent_bias"):
        getattr(mine, name).assign(getattr(theirs, name))
    mine.head.assign(theirs.head[:, :, :1])
    mine.head_bias.assign(theirs.head_bias[:, :1])
    return keras.Model(small.input, ops.squeeze(small.output, axis=-1))
