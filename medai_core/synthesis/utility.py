"""What synthetic images are worth for training: a small network learns from them and is tested on real ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from medai_core import metrics
from medai_core.errors import InputError

STEPS, BATCH, RATE = 800, 32, 2e-3
WIDTHS = (24, 48, 64, 96)
SHIFT = 8
PRECISION = "mixed_bfloat16"


@dataclass(frozen=True, eq=False)
class TrainingSet:
    """Images (N, 128, 128), labels (N,) and how often each is shown, as weights (N,)."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    weights: NDArray[np.float64]

    @classmethod
    def of(cls, images: NDArray[np.uint8], labels: ArrayLike) -> TrainingSet:
        if not len(images):
            raise InputError("Training needs images of every label, got none of {missing}", missing="any")
        return cls(images, np.asarray(labels, np.int64), np.full(len(images), 1 / len(images)))

    def joined(self, other: TrainingSet) -> TrainingSet:
        """Both sets, each for half of every batch however many images it has."""
        return TrainingSet(
            np.concatenate([self.images, other.images]),
            np.concatenate([self.labels, other.labels]),
            np.concatenate([self.weights, other.weights]) / 2,
        )


def answers(
    train: TrainingSet, test: NDArray[np.uint8], classes: int, *, steps: int = STEPS, seed: int = 0
) -> NDArray[np.float64]:
    """Train the small network and return its probabilities (M, K) for test images (M, 128, 128).

    The same network, number of steps and augmentation (mirroring, shifts, brightness, contrast) whatever it learns
    from: about a minute on two cores. The precision policy of Keras is put back afterwards.
    """
    from medai_core import runtime

    runtime.configure()
    import keras

    before = keras.mixed_precision.dtype_policy()
    keras.utils.set_random_seed(seed)
    keras.mixed_precision.set_dtype_policy(PRECISION)
    try:
        network = _network(classes, test.shape[1:])
        rate = keras.optimizers.schedules.CosineDecay(RATE, steps)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        network.compile(keras.optimizers.Adam(rate), loss, jit_compile=False)
        for step in range(steps):
            network.train_on_batch(*batch(train, np.random.default_rng([seed, step])))
        logits = network.predict(test[..., None].astype(np.float32) / 255.0, batch_size=64, verbose=0)
    finally:
        keras.mixed_precision.set_dtype_policy(before)
    odds = np.exp(logits.astype(np.float64) - logits.max(1, keepdims=True))
    return odds / odds.sum(1, keepdims=True)


def _network(classes: int, shape: Sequence[int]):
    """Four strided convolutions: image (B, H, W, 1) in [0, 1] → logits (B, K)."""
    from keras import Input, Model, layers

    image = Input((*shape, 1))
    x = layers.Rescaling(4.0, offset=-2.0)(image)
    for width in WIDTHS:
        x = layers.Conv2D(width, 3 if width > WIDTHS[0] else 5, strides=2, padding="same", use_bias=False)(x)
        x = layers.Activation("relu")(layers.BatchNormalization(momentum=0.9)(x))
    x = layers.Dropout(0.2)(layers.GlobalAveragePooling2D()(x))
    return Model(image, layers.Dense(classes, dtype="float32")(x))


def batch(train: TrainingSet, rng: np.random.Generator) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Draw images (B, H, W, 1) in [0, 1], each seen a little differently, and labels (B,)."""
    rows = rng.choice(len(train.images), BATCH, p=train.weights)
    padded = np.pad(train.images[rows], ((0, 0), (SHIFT, SHIFT), (SHIFT, SHIFT)), mode="edge")
    height, width = train.images.shape[1:]
    seen = np.empty((BATCH, height, width), np.float32)
    moved = rng.integers(0, (2 * SHIFT + 1, 2 * SHIFT + 1, 2), (BATCH, 3))
    for k, (top, left, mirrored) in enumerate(moved):
        view = padded[k, top : top + height, left : left + width]
        seen[k] = view[:, ::-1] if mirrored else view
    contrast, brightness = rng.uniform(0.8, 1.25, (BATCH, 1, 1)), rng.uniform(-0.1, 0.1, (BATCH, 1, 1))
    seen = np.clip((seen / 255.0 - 0.5) * contrast + 0.5 + brightness, 0, 1)
    return seen[..., None].astype(np.float32), train.labels[rows]


def figure_of(labels: Sequence[str]) -> tuple[str, Callable[[NDArray, NDArray], float]]:
    """Name and function (probabilities (N, K), labels (N,)) → number by which the small networks are judged.

    Chest radiographs: AUC of anything but normal against normal. Others: accuracy.
    """
    if "normal" in labels:
        healthy = labels.index("normal")
        return "AUC, normal or not", lambda p, y: metrics.roc_auc(1 - p[:, healthy], y != healthy)
    return "accuracy, all labels", metrics.accuracy
