"""The network behind the drawn stays: when the next measurements come, which they are, and their values.

A course is drawn one moment at a time. Given a summary of the past, `when` gives the minutes to the next moment
of measurement; `what` gives, for that moment, which variables are measured and their values. Within a moment the
variables follow each other in a fixed order, each seeing those before it, so that pressures, blood gases and
panels of tests come together as they do in patients. A value is a mixture of logistic distributions cut into the
steps in which it is written down (Salimans et al. 2017, PixelCNN++), placed around the last known value.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops

MINUTES = 120
"""Waits up to this long are told to the minute."""
LONGER = (180, 240, 360, 600, 1200)
"""Ends, in minutes, of the classes of longer waits; one more class stands for the end of the record."""
WAITS = MINUTES + 1 + len(LONGER) + 1
MIXTURE = 3
NEVER_BELOW = 1e-6


@dataclass(frozen=True)
class Course:
    """The trained parts.

    Attributes
    ----------
    joined : keras.Model
        ``past, since, wait, measured, z, last`` → everything :func:`loss_of` scores, (B, WAITS + V + 3 V K).
    when : keras.Model
        ``past, since`` → logits of the wait (B, WAITS).
    what : keras.Model
        ``past, since, wait`` → logits of being measured (B, V) and parameters of the values (B, V, 3, K), both
        before what the earlier variables of the same moment add.
    """

    joined: keras.Model
    when: keras.Model
    what: keras.Model

    def kernels(self) -> tuple[np.ndarray, np.ndarray]:
        """What one variable of a moment adds to a later one: (V, V) to its logit, (3 V, V) to its values."""
        return tuple(ops.convert_to_numpy(self.joined.get_layer(name).kernel_used()) for name in ("with", "beside"))


class Earlier(keras.layers.Layer):
    """A linear layer that is zero wherever `allowed` (rows, V) is."""

    def __init__(self, allowed: np.ndarray, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.allowed = allowed.astype(np.float32)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.kernel = self.add_weight(shape=self.allowed.shape, initializer="zeros", name="kernel")

    def kernel_used(self) -> Any:
        return self.kernel * self.allowed

    def call(self, x: Any) -> Any:
        return ops.matmul(x, self.kernel_used())


def _hours(since: Any) -> Any:
    """Hours on the scale the network looks at them."""
    return ops.log1p(since) / 2.0


def _wait_logits(past: Any, since: Any, clock: int) -> Any:
    """Logits of the wait; what hour-long rhythm the stay has kept so far pulls on the minutes that follow it."""
    h = keras.layers.Concatenate()([past, _hours(since)])
    h = keras.layers.Dense(128, "silu")(h)
    h = keras.layers.Dense(96, "silu")(keras.layers.Dropout(0.1)(h))
    rhythm = past[:, :clock]  # (B, 60): how often each coming minute of the hour was used
    turns = ops.concatenate([rhythm, rhythm, rhythm[:, :1]], axis=-1)  # (B, MINUTES + 1)
    pull = keras.layers.Dense(MINUTES + 1, "softplus")(h) * turns
    rest = ops.zeros_like(rhythm[:, : WAITS - MINUTES - 1])
    return keras.layers.Dense(WAITS)(h) + ops.concatenate([pull, rest], axis=-1)


def build_course(past: int, variables: int, clock: int) -> Course:
    """Untrained parts for a past of so many columns, the first `clock` of them the rhythm of the hour."""
    v, k = variables, MIXTURE
    names = {"past": past, "since": v, "wait": 1, "measured": v, "z": v, "last": v}
    given = {name: keras.Input((size,), name=name) for name, size in names.items()}
    when = _wait_logits(given["past"], given["since"], clock)
    h = keras.layers.Concatenate()([given["past"], _hours(given["since"] + given["wait"]), _hours(given["wait"])])
    h = keras.layers.Dense(256, "silu")(h)
    h = keras.layers.Dense(192, "silu")(keras.layers.Dropout(0.1)(h))
    logit = keras.layers.Dense(v)(h)
    values = keras.layers.Dense(v * 3 * k, kernel_initializer="zeros", bias_initializer=_spread_out(v))(h)
    values = keras.layers.Reshape((v, 3, k))(values)
    before = np.triu(np.ones((v, v)), 1)  # row u adds to column v > u
    measured, z = given["measured"], given["z"]
    beside = ops.concatenate([measured, measured * z, measured * (z - given["last"])], axis=-1)
    logit_now = logit + Earlier(before, name="with")(measured)
    allowed = np.concatenate([1 - np.eye(v), before, before])
    shift = Earlier(allowed, name="beside")(beside)[:, :, None, None]  # (B, V, 1, 1)
    shifted = ops.concatenate([values[:, :, :1] + shift + given["last"][:, :, None, None], values[:, :, 1:]], axis=2)
    joined = ops.concatenate([when, logit_now, ops.reshape(shifted, (-1, v * 3 * k))], axis=-1)
    return Course(
        keras.Model(given, joined),
        keras.Model([given["past"], given["since"]], when),
        keras.Model([given["past"], given["since"], given["wait"]], [logit, values]),
    )


def _spread_out(variables: int) -> keras.initializers.Initializer:
    """Places of the mixture side by side, from narrow to wide, equally likely."""
    start = np.array([[0, 0, 0], [-3.0, -1.2, -0.3], [0, 0, 0]])
    return keras.initializers.Constant(np.tile(start.ravel(), variables))


def loss_of(variables: int) -> Callable[[Any, Any], Any]:
    """Negative log-likelihood per moment, in nats.

    The truth is ``class of the wait, measured (V), lower edges (V), upper edges (V)``: the edges of each value's
    step on the standardised scale. After the end of a record nothing but the end itself is scored.
    """
    v, k = variables, MIXTURE

    def loss(truth: Any, answer: Any) -> Any:
        wait = ops.cast(truth[:, 0], "int32")
        waited = keras.losses.sparse_categorical_crossentropy(wait, answer[:, :WAITS], from_logits=True)
        going_on = ops.cast(wait != WAITS - 1, "float32")
        measured, low, high = (truth[:, 1 + part * v : 1 + (part + 1) * v] for part in range(3))
        logit = answer[:, WAITS : WAITS + v]
        chosen = ops.sum(ops.softplus(logit) - measured * logit, axis=-1)
        parameters = ops.reshape(answer[:, WAITS + v :], (-1, v, 3, k))
        place, width, weight = (parameters[:, :, part] for part in range(3))  # (B, V, K) each
        width = ops.exp(-ops.clip(width, -5.0, 2.0))
        share = ops.sigmoid((high[..., None] - place) * width) - ops.sigmoid((low[..., None] - place) * width)
        likely = ops.sum(ops.softmax(weight) * share, axis=-1)
        valued = -ops.sum(measured * ops.log(ops.maximum(likely, NEVER_BELOW)), axis=-1)
        return waited + going_on * (chosen + valued)

    return loss
