"""The scan networks, in pure Keras 3: every class here trains and runs on TensorFlow, JAX or PyTorch.

A shipped scan model is an average of members. A member standardises its input itself, so that the
constants travel with the weights, then is a small residual network (He et al. 2016) whose first layer
takes strides of 4: most of the time of a small network is spent at full resolution, and radiographs lose
little there. Seen under one roof::

    image (B, 128, 128, 1) in [0, 1]
      └ member_0 … member_n   → features (B, 8, 8, C), logits (B, K)
      └ average of the logits → logits (B, K)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import keras
from keras import layers, ops

from medai_core.imaging.prepare import SIZE


@dataclass(frozen=True)
class NetworkConfig:
    """Hyper-parameters of one member.

    Attributes
    ----------
    stem : tuple[int, int, int]
        Channels, kernel and stride of the first convolution.
    blocks : tuple[tuple[int, int], ...]
        Channels and stride of each residual block.
    """

    classes: int
    stem: tuple[int, int, int] = (32, 7, 4)
    blocks: tuple[tuple[int, int], ...] = ((32, 1), (64, 2), (64, 1), (112, 2), (112, 1))
    dropout: float = 0.2
    size: int = SIZE


@keras.saving.register_keras_serializable("medai")
class Standardise(layers.Layer):
    """Subtract each image's mean and divide by its standard deviation: (B, H, W, C) → same.

    Brightness and contrast belong to the device, not to the patient.
    """

    def call(self, x):
        mean = ops.mean(x, axis=(1, 2), keepdims=True)  # (B, 1, 1, C)
        spread = ops.sqrt(ops.mean(ops.square(x - mean), axis=(1, 2), keepdims=True))
        return (x - mean) / (spread + 1e-3)

    def compute_output_shape(self, input_shape):
        return input_shape


@keras.saving.register_keras_serializable("medai")
class Middle(layers.Layer):
    """Cut `margin` pixels off each side and enlarge what is left: (B, H, W, C) → same.

    Augmentation zooms in more often than out, so that organs look larger in training than at inference;
    the cut restores their size (Touvron et al. 2019, "Fixing the train-test resolution discrepancy").
    Keras' own Resizing layer would not do: it turns on training mode for the layers that follow it.
    """

    def __init__(self, margin: int, **kwargs):
        super().__init__(**kwargs)
        self.margin = margin

    def call(self, x):
        inside = slice(self.margin, -self.margin or None)
        return ops.image.resize(x[:, inside, inside, :], x.shape[1:3], interpolation="bilinear")

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return super().get_config() | {"margin": self.margin}


def _conv(x, channels: int, kernel: int = 3, stride: int = 1, activate: bool = True):
    x = layers.Conv2D(channels, kernel, strides=stride, padding="same", use_bias=False)(x)
    x = layers.BatchNormalization(momentum=0.9)(x)
    return layers.Activation("relu")(x) if activate else x


def _residual(x, channels: int, stride: int):
    y = _conv(x, channels, 3, stride)
    y = _conv(y, channels, 3, activate=False)
    if stride > 1 or x.shape[-1] != channels:
        x = layers.Conv2D(channels, 1, strides=stride, use_bias=False)(x)
    return layers.Activation("relu")(layers.Add()([x, y]))


def build_member(config: NetworkConfig, name: str = "member_0") -> keras.Model:
    """Return one residual network: image → [features (B, h, w, C), logits (B, K)]."""
    image = keras.Input((config.size, config.size, 1), name="image")
    x = Standardise(dtype="float32", name="standardise")(image)  # (B, 128, 128, 1)
    channels, kernel, stride = config.stem
    x = _conv(x, channels, kernel, stride)  # (B, 32, 32, 32)
    for channels, stride in config.blocks:
        x = _residual(x, channels, stride)
    features = layers.Activation("linear", dtype="float32", name="features")(x)  # (B, 8, 8, C)
    pooled = layers.GlobalAveragePooling2D(name="pool")(features)
    pooled = layers.Dropout(config.dropout, name="drop")(pooled)
    logits = layers.Dense(config.classes, dtype="float32", name="head")(pooled)
    return keras.Model(image, [features, logits], name=name)


def build_baseline(classes: int, size: int = SIZE) -> keras.Model:
    """Return the textbook CNN every figure stands beside: image → logits (B, K)."""
    image = keras.Input((size, size, 1), name="image")
    x = image
    for channels in (16, 32, 64, 64):
        x = layers.Conv2D(channels, 3, padding="same", activation="relu")(x)
        x = layers.MaxPooling2D()(x)
    x = layers.Flatten()(x)
    x = layers.Dense(64, activation="relu")(x)
    return keras.Model(image, layers.Dense(classes, dtype="float32", name="logits")(x), name="baseline")


def average(members: Sequence[keras.Model], margin: int = 0) -> keras.Model:
    """Return one model whose logits are the members' mean over the image's middle: image → logits (B, K)."""
    image = keras.Input(members[0].input_shape[1:], name="image")
    shown = Middle(margin, name="view")(image) if margin else image
    logits = [member(shown)[1] for member in members]
    mean = layers.Average(name="logits")(logits) if len(logits) > 1 else logits[0]
    return keras.Model(image, mean, name="scan_network")


def build_gate_classifier(kinds: int, size: int = SIZE) -> keras.Model:
    """Return the gate's classifier, image → [features (B, 64), logits (B, kinds)].

    It keeps the 4 × 4 layout up to its dense layer: turned and cropped images differ in layout alone.
    """
    image = keras.Input((size, size, 1), name="image")
    x = layers.AveragePooling2D(2)(image)  # (B, 64, 64, 1)
    for channels in (24, 48, 64, 64):
        x = _conv(x, channels, 3, 2)  # … (B, 4, 4, 64)
    x = layers.Dropout(0.2)(layers.Flatten()(x))
    features = layers.Dense(64, activation="relu", dtype="float32", name="features")(x)
    logits = layers.Dense(kinds, dtype="float32", name="kinds")(features)
    return keras.Model(image, [features, logits], name="gate_classifier")


def build_autoencoder(latent: int = 96, size: int = SIZE) -> keras.Model:
    """Return the gate's autoencoder, image (B, S, S, 1) → [original, reconstruction], each (B, S/2, S/2, 1)."""
    image = keras.Input((size, size, 1), name="image")
    original = layers.AveragePooling2D(2, name="original")(image)  # (B, 64, 64, 1)
    x = original
    for channels in (24, 48, 64, 96):
        x = _conv(x, channels, 3, 2)  # … (B, 4, 4, 96)
    code = layers.Dense(latent, name="code")(layers.Flatten()(x))  # (B, latent)
    x = layers.Reshape((size // 32, size // 32, 96))(layers.Dense(96 * (size // 32) ** 2, activation="relu")(code))
    for channels in (96, 64, 48, 24):
        x = _conv(layers.UpSampling2D(2)(x), channels)  # … (B, 64, 64, 24)
    reconstruction = layers.Conv2D(1, 3, padding="same", activation="sigmoid", dtype="float32", name="drawn")(x)
    return keras.Model(image, [original, reconstruction], name="autoencoder")


def join_gate(classifier: keras.Model, autoencoder: keras.Model) -> keras.Model:
    """Return the shipped gate, image → {features, kinds (logits), original, reconstruction}."""
    image = keras.Input(classifier.input_shape[1:], name="image")
    features, kinds = classifier(image)
    original, reconstruction = autoencoder(image)
    outputs = {"features": features, "kinds": kinds, "original": original, "reconstruction": reconstruction}
    return keras.Model(image, outputs, name="scan_gate")
