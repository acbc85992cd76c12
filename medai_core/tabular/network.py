"""Small feed-forward networks, several side by side in one, and an autoencoder. Pure Keras 3.

The members share their inputs and nothing else. Cross-validation folds are members too: each is trained on the rows
its weights say, so that one pass trains them all.
"""

from __future__ import annotations

from dataclasses import dataclass

import keras
from keras import ops

CODE_SHARE = 4
"""An autoencoder passes its inputs through a layer of a fourth as many units."""


@dataclass(frozen=True)
class Shape:
    """Hyper-parameters.

    Attributes
    ----------
    inputs : int
        Design columns.
    outputs : int
        Scores of each member.
    units : int
        Of each of the two hidden layers.
    members : int
    dropout : float
        Share of units hidden in training.
    """

    inputs: int
    outputs: int = 1
    units: int = 32
    members: int = 1
    dropout: float = 0.2


def build(shape: Shape) -> keras.Model:
    """Uninitialised network (B, inputs) → (B, members, outputs)."""
    m, u = shape.members, shape.units

    def layer(equation: str, rows: int, columns: int, activation: str | None) -> keras.layers.Layer:
        start = keras.initializers.RandomNormal(stddev=(2 / (rows + columns)) ** 0.5)
        return keras.layers.EinsumDense(
            equation, (m, columns), bias_axes="mo", activation=activation, kernel_initializer=start
        )

    x = keras.Input((shape.inputs,))
    h = layer("bi,mio->bmo", shape.inputs, u, "silu")(x)  # (B, M, U)
    h = keras.layers.Dropout(shape.dropout)(h)
    h = layer("bmi,mio->bmo", u, u, "silu")(h)
    h = keras.layers.Dropout(shape.dropout)(h)
    return keras.Model(x, layer("bmi,mio->bmo", u, shape.outputs, None)(h))


def for_reading(weights: list[object], shape: Shape, first: int) -> keras.Model:
    """The members from `first` on, averaged: (B, inputs) → (B, outputs)."""
    small = build(Shape(shape.inputs, shape.outputs, shape.units, shape.members - first, 0.0))
    small.set_weights([weight[first:] for weight in weights])
    return keras.Model(small.input, ops.mean(small.output, axis=1))


def autoencoder(inputs: int) -> keras.Model:
    """Uninitialised network that gives its inputs (B, inputs) back through a narrow layer."""
    code = max(2, min(32, inputs // CODE_SHARE))
    wide = max(8, min(128, 2 * inputs))
    x = keras.Input((inputs,))
    h = keras.layers.Dense(wide, activation="silu")(x)
    h = keras.layers.Dense(code, name="code")(h)
    h = keras.layers.Dense(wide, activation="silu")(h)
    return keras.Model(x, keras.layers.Dense(inputs)(h))
