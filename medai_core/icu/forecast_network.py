"""The forecasting network: a few GRUs side by side, and a decoder that gives quantiles at the knots from any hour.

A forecast is what the variable's own last value and running means suggest, moved and spread by what the hidden layer
makes of everything else. Written in pure Keras 3.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
from keras import ops

from medai_core.icu.forecast_calibration import HOURS_AHEAD, KNOTS, between_knots
from medai_core.icu.forecast_inputs import COLUMNS, LAST, SPANS_HOURS, VARIABLES, own_columns
from medai_core.icu.grid import HOURS
from medai_core.icu.network import Ensemble

LEVELS = 5
OWN_COLUMNS = own_columns()
"""Columns that are a variable's own, (V, O)."""
OWN, STARTS = OWN_COLUMNS.shape[1], 1 + len(SPANS_HOURS)
"""How many there are, and with how many of them, last value and means, a forecast starts."""


@dataclass(frozen=True)
class ForecastShape:
    """Hyper-parameters of the network.

    Attributes
    ----------
    units : int
        Of the GRU of each member.
    hidden : int
        Width of the layer between state and quantiles.
    input_dropout, dropout : float
        Share of input columns, and of hidden units, left out in training.
    """

    members: int = 3
    units: int = 64
    hidden: int = 128
    context: int = 12
    local: int = 40
    input_dropout: float = 0.05
    dropout: float = 0.15


@keras.saving.register_keras_serializable(package="medai_core.icu")
class Decoder(keras.layers.Layer):
    """Quantiles at the knots, from hidden contributions (B, Q, M, H) and the hours' columns (B, Q, D).

    Each variable has a small network of its own, which sees its own columns and a few numbers of the hidden layer.
    Returns (B, Q, M, V, K, 5) in standard deviations of each variable, never falling along the last axis.
    """

    def __init__(self, members: int, hidden: int, context: int, local: int, dropout: float = 0.0, **kwargs: Any):
        super().__init__(**kwargs)
        self.members, self.hidden, self.context, self.local, self.dropout = members, hidden, context, local, dropout
        self.seeds = keras.random.SeedGenerator(0)

    def build(self, hidden_shape: tuple[int | None, ...], hours_shape: tuple[int | None, ...]) -> None:
        m, h, v, k, c, u = self.members, self.hidden, len(VARIABLES), len(KNOTS), self.context, self.local

        def weight(name: str, *shape: int, start: Any = "zeros", trainable: bool = True) -> Any:
            return self.add_weight(shape=shape, initializer=start, name=name, trainable=trainable)

        def normal(scale: float) -> Any:
            return keras.initializers.RandomNormal(stddev=scale)

        self.kernel = weight("kernel", m, hours_shape[-1], h, start=normal(hours_shape[-1] ** -0.5))
        self.project = weight("project", m, h, v * c, start=normal(h**-0.5))
        self.inner = weight("inner", m, v, c + OWN, u, start=normal((c + OWN) ** -0.5))
        self.inner_bias = weight("inner_bias", m, v, u, start=normal(0.5))
        self.head = weight("head", m, v, u, k * LEVELS, start=normal(0.1 * u**-0.5))
        self.bias = weight("bias", m, v, k * LEVELS)
        self.slope = weight("slope", m, v, k, STARTS)
        self.unit = weight("unit", v, k, 1, start="ones", trainable=False)

    def call(self, hidden: Any, hours: Any, training: bool = False) -> Any:
        v, k, asked = len(VARIABLES), len(KNOTS), ops.shape(hours)[1]
        wide = ops.gelu(hidden + ops.einsum("bqd,mdh->bqmh", hours, self.kernel))
        if training and self.dropout:
            wide = keras.random.dropout(wide, self.dropout, seed=self.seeds)
        context = ops.reshape(
            ops.einsum("bqmh,mho->bqmo", wide, self.project), (-1, asked, self.members, v, self.context)
        )
        own = ops.take(hours, OWN_COLUMNS, axis=-1)  # (B, Q, V, O)
        seen = ops.concatenate([context, ops.repeat(own[:, :, None], self.members, axis=2)], axis=-1)
        inner = ops.gelu(ops.einsum("bqmvc,mvcu->bqmvu", seen, self.inner) + self.inner_bias)
        moved = ops.einsum("bqmvu,mvuo->bqmvo", inner, self.head) + self.bias
        start = ops.einsum("bqvo,mvko->bqmvk", own[..., :STARTS], self.slope)[..., None]
        return start + self.unit * fan(ops.reshape(moved, (-1, asked, self.members, v, k, LEVELS)))

    def get_config(self) -> dict[str, Any]:
        own = {name: getattr(self, name) for name in ("members", "hidden", "context", "local", "dropout")}
        return super().get_config() | own


def fan(moved: Any) -> Any:
    """Five numbers (..., 5) as median and steps away from it: never falling along the last axis."""
    low_step, step, median, up, up_step = (moved[..., k : k + 1] for k in range(LEVELS))
    lower, upper = median - ops.softplus(step), median + ops.softplus(up)
    return ops.concatenate(
        [lower - ops.softplus(low_step), lower, median, upper, upper + ops.softplus(up_step)], axis=-1
    )


def build(shape: ForecastShape) -> keras.Model:
    """Untrained network: hours (B, 48, D) and the hours asked (B, Q, 48) as one-hot → (B, Q, M, V, K, 5)."""
    x, asked = keras.Input((HOURS, COLUMNS), name="hours"), keras.Input((None, HOURS), name="asked")
    seen = keras.layers.SpatialDropout1D(shape.input_dropout)(x[..., : LAST.stop])
    states = Ensemble(shape.members, shape.units, shape.hidden, shape.dropout, name="ensemble")(seen)  # (B, 48, M, H)
    hidden = ops.einsum("bqt,btmh->bqmh", asked, states)
    decoder = Decoder(shape.members, shape.hidden, shape.context, shape.local, shape.dropout, name="decoder")
    return keras.Model([x, asked], decoder(hidden, ops.einsum("bqt,btd->bqd", asked, x)))


def for_training(core: keras.Model) -> keras.Model:
    """The network asked at hours (B, Q, 48) for hours ahead (B, A, 24), both as one-hot → (B, Q, M, A, V, 5)."""
    x, asked = core.inputs
    ahead = keras.Input((None, HOURS_AHEAD), name="ahead")
    knots = ops.matmul(ahead, ops.convert_to_tensor(between_knots(), "float32"))  # (B, A, K)
    return keras.Model([x, asked, ahead], ops.einsum("bqmvkl,bak->bqmavl", core([x, asked]), knots))


def for_reading(core: keras.Model) -> keras.Model:
    """The trained network asked at one hour, marked 1 in a last column: (B, 48, D + 1) → mean (B, V, K, 5)."""
    x = keras.Input((HOURS, COLUMNS + 1), name="hours_and_asked")
    answer = core([x[..., :-1], ops.transpose(x[..., -1:], (0, 2, 1))])  # (B, 1, M, V, K, 5)
    return keras.Model(x, ops.mean(answer[:, 0], axis=1))
