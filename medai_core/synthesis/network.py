"""The generator's networks, in pure Keras 3: they train and run on TensorFlow, JAX or PyTorch.

An autoencoder first learns to write an image as 16 × 16 latent vectors and back, sharpened by a patch critic
(Esser et al. 2021, "Taming Transformers"). The class-conditional GAN then works on the latents, where a step
costs a tenth of one on pixels. Seen under one roof::

    image (B, 128, 128, 1) ─ encoder ─ latents (B, 16, 16, C) ─ decoder ─ image (B, 128, 128, 1)
    seed (B, 16, 16, C), label (B, K) ─ generator, twice ─┘├─ critic ─ realness (B, 1)
                                                           └─ selector ─ chance of being kept (B, 1)

The generator learns twice. As a flow (Lipman et al. 2023) it learns to undo any amount of noise, which needs many
steps and forgets no kind of image; then, against a critic, to do it sharply in a few (Lin et al. 2025, "Diffusion
adversarial post-training"). A critic alone, on some thousand images, leaves a generator with a few of them.

No layer normalises over the batch: an image never depends on the others made with it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import keras
import numpy as np
from keras import layers, ops
from numpy.typing import ArrayLike

SIZE = 128
LEAD = 6.0
"""How sharply the selector tells a label that leads from one that does not, per unit of a logit."""


@dataclass(frozen=True)
class NetworkConfig:
    """Hyper-parameters of all networks of one generator.

    Attributes
    ----------
    widths : tuple[int, int, int]
        Channels of encoder and decoder at 64 × 64, 32 × 32 and 16 × 16.
    latent_channels : int
        C.
    patch_widths : tuple[int, ...]
        Channels of the patch critic at 64 × 64, 32 × 32 and 16 × 16.
    flow_widths : tuple[int, int]
        Channels of the generator at 16 × 16 and 8 × 8.
    selector_widths : tuple[int, int, int]
        Channels of the selector at 16 × 16, 8 × 8 and 4 × 4.
    glance_size : int
        Number of features it tells real images from made ones by.
    unclear : float
        What the chance of being kept is multiplied by where another label is likelier.
    style_size : int
        Length of the vector that time and label are mapped to.
    times : tuple[float, ...]
        Shares of noise from which the generator goes on, 1 first: one pass of the network each.
    emphasis : float
        How far a label is overstated when images are made: 0 not at all; at 1 it is moved once more by its distance
        from the mean of all labels. Costs nothing, unlike guidance by two passes (Ho & Salimans 2022), and makes
        labels differ more clearly than they do among real images.
    """

    classes: int
    widths: tuple[int, int, int] = (32, 80, 128)
    latent_channels: int = 8
    patch_widths: tuple[int, ...] = (32, 64, 128)
    flow_widths: tuple[int, int] = (96, 192)
    selector_widths: tuple[int, int, int] = (48, 64, 96)
    glance_size: int = 64
    unclear: float = 0.1
    style_size: int = 192
    heads: int = 4
    times: tuple[float, ...] = (1.0, 0.5)
    emphasis: float = 0.0
    size: int = SIZE

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        return self.size // 8, self.size // 8, self.latent_channels

    @property
    def seed_size(self) -> int:
        return math.prod(self.latent_shape)


def _conv(x, channels: int, kernel: int = 3, stride: int = 1, gain: float = 2.0):
    start = keras.initializers.VarianceScaling(gain)
    return layers.Conv2D(channels, kernel, strides=stride, padding="same", kernel_initializer=start)(x)


def _active(x):
    return layers.LeakyReLU(negative_slope=0.2)(x)


def _residual(x, channels: int):
    """Two convolutions beside the identity; the second starts small, so that a deep stack starts as the identity."""
    y = _conv(_active(x), channels)
    return layers.Add()([x, _conv(_active(y), channels, gain=0.02)])


def _doubled(x, channels: int):
    return _conv(layers.UpSampling2D(2)(x), channels, gain=1.0)


@keras.saving.register_keras_serializable("medai")
class PixelShuffle(layers.Layer):
    """Lay 4 C channels out as 2 × 2 pixels (Shi et al. 2016): (B, H, W, 4 C) → (B, 2 H, 2 W, C)."""

    def call(self, x):
        height, width, channels = x.shape[1:]
        x = ops.reshape(x, (-1, height, width, 2, 2, channels // 4))
        x = ops.transpose(x, (0, 1, 3, 2, 4, 5))
        return ops.reshape(x, (-1, 2 * height, 2 * width, channels // 4))

    def compute_output_shape(self, shape):
        return shape[0], 2 * shape[1], 2 * shape[2], shape[3] // 4


@keras.saving.register_keras_serializable("medai")
class ScaleFeatures(layers.Layer):
    """Divide each pixel's features by their root mean square, then scale and shift them by the style.

    [(B, H, W, C), (B, 2 C)] → (B, H, W, C) (Karras et al. 2018, "Progressive growing", and Perez et al. 2018, "FiLM").
    """

    def call(self, inputs):
        x, style = inputs
        x = x * ops.rsqrt(ops.mean(ops.square(x), axis=-1, keepdims=True) + 1e-6)
        scale, shift = ops.split(style[:, None, None, :], 2, axis=-1)
        return x * (1 + scale) + shift

    def compute_output_shape(self, shapes):
        return shapes[0]


@keras.saving.register_keras_serializable("medai")
class PlaceCode(layers.Layer):
    """Add a learned vector to each place, so that attention knows where it looks: (B, H, W, C) → same."""

    def build(self, shape):
        start = keras.initializers.RandomNormal(stddev=0.02)
        self.code = self.add_weight(shape=shape[1:], initializer=start, name="code")

    def call(self, x):
        return x + ops.cast(self.code, x.dtype)

    def compute_output_shape(self, shape):
        return shape


@keras.saving.register_keras_serializable("medai")
class GroupSpread(layers.Layer):
    """Add one channel: how much the features differ within groups of `size` images (B, H, W, C) → (B, H, W, C + 1).

    A critic that sees it notices a generator that always makes the same image (Karras et al. 2018). The batch
    must be a multiple of `size`.
    """

    def __init__(self, size: int = 8, **kwargs):
        super().__init__(**kwargs)
        self.size = size

    def call(self, x):
        height, width, channels = x.shape[1:]
        groups = ops.reshape(x, (-1, self.size, height, width, channels))
        spread = ops.mean(ops.sqrt(ops.var(ops.cast(groups, "float32"), axis=1) + 1e-6), axis=(1, 2, 3))  # (B / size,)
        spread = ops.cast(ops.repeat(spread, self.size)[:, None, None, None], x.dtype)
        return ops.concatenate([x, ops.ones_like(x[..., :1]) * spread], axis=-1)

    def compute_output_shape(self, shape):
        return *shape[:-1], shape[-1] + 1

    def get_config(self):
        return super().get_config() | {"size": self.size}


def build_encoder(config: NetworkConfig) -> keras.Model:
    """Return image (B, 128, 128, 1) in [0, 1] → latents (B, 16, 16, C)."""
    fine, middle, coarse = config.widths
    image = keras.Input((config.size, config.size, 1), name="image")
    x = layers.Rescaling(2.0, offset=-1.0)(image)
    x = _residual(_conv(x, fine, 4, 2), fine)  # (B, 64, 64, fine)
    x = _residual(_conv(x, middle, 4, 2), middle)  # (B, 32, 32, middle)
    x = _residual(_residual(_conv(x, coarse, 4, 2), coarse), coarse)  # (B, 16, 16, coarse)
    x = _conv(_active(x), config.latent_channels, gain=1.0)
    return keras.Model(image, layers.Activation("linear", dtype="float32")(x), name="encoder")


def build_decoder(config: NetworkConfig) -> keras.Model:
    """Return latents (B, 16, 16, C) → image (B, 128, 128, 1) in [0, 1]."""
    fine, middle, coarse = config.widths
    latents = keras.Input(config.latent_shape, name="latents")
    x = _conv(latents, coarse, gain=1.0)
    x = _residual(_residual(x, coarse), coarse)  # (B, 16, 16, coarse)
    x = _residual(_doubled(x, middle), middle)  # (B, 32, 32, middle)
    x = _residual(_doubled(x, fine), fine)  # (B, 64, 64, fine)
    x = PixelShuffle()(_conv(_active(x), 4, gain=0.5))  # (B, 128, 128, 1)
    image = layers.Activation("sigmoid", dtype="float32", name="image")(x)
    return keras.Model(latents, image, name="decoder")


def build_restorer(config: NetworkConfig) -> keras.Model:
    """Return damaged (B, 128, 128, 2), image and where it is missing → image (B, 128, 128, 1) in [0, 1].

    Encoder and decoder joined at every level (Ronneberger et al. 2015, "U-Net"), down to 8 × 8, so that what
    surrounds a large hole is seen from its middle.
    """
    fine, middle, coarse = config.widths
    damaged = keras.Input((config.size, config.size, 2), name="damaged")
    x = layers.Rescaling(2.0, offset=-1.0)(damaged)
    at_64 = _residual(_conv(x, fine, 4, 2), fine)  # (B, 64, 64, fine)
    at_32 = _residual(_conv(at_64, middle, 4, 2), middle)  # (B, 32, 32, middle)
    at_16 = _residual(_conv(at_32, coarse, 4, 2), coarse)  # (B, 16, 16, coarse)
    x = _residual(_residual(_conv(at_16, coarse, 4, 2), coarse), coarse)  # (B, 8, 8, coarse)
    for level, width in ((at_16, coarse), (at_32, middle), (at_64, fine)):
        x = layers.Concatenate()([_doubled(x, width), level])
        x = _residual(_conv(_active(x), width, gain=1.0), width)
    x = PixelShuffle()(_conv(_active(x), 4, gain=0.5))  # (B, 128, 128, 1)
    return keras.Model(damaged, layers.Activation("sigmoid", dtype="float32", name="image")(x), name="restorer")


def build_patch_critic(config: NetworkConfig) -> keras.Model:
    """Return image (B, 128, 128, 1) → [features of each level …, realness of each patch (B, 16, 16, 1)]."""
    image = keras.Input((config.size, config.size, 1), name="image")
    x = layers.Rescaling(2.0, offset=-1.0)(image)
    levels = []
    for width in config.patch_widths:
        x = _active(_conv(x, width, 4, 2))
        levels.append(x)
    realness = layers.Activation("linear", dtype="float32")(_conv(x, 1, gain=1.0))
    return keras.Model(image, [*levels, realness], name="patch_critic")


def _styled(x, style, channels: int, name: str):
    """A residual block whose features the style scales and shifts."""
    factors = layers.Dense(2 * channels, kernel_initializer="zeros", name=f"{name}_style")(style)
    y = _conv(layers.ReLU()(ScaleFeatures(name=name)([x, factors])), channels, gain=1.0)
    shift = layers.Dense(channels, kernel_initializer="zeros", name=f"{name}_shift")(style)
    y = layers.Add()([y, layers.Reshape((1, 1, channels))(shift)])
    return layers.Add(name=f"{name}_out")([x, _conv(layers.ReLU()(y), channels, gain=0.02)])


def _attending(x, heads: int):
    """Let every place see every other one (Vaswani et al. 2017): (B, H, W, C) → same."""
    height, width, channels = x.shape[1:]
    places = layers.Reshape((height * width, channels))(layers.RMSNormalization()(x))
    seen = layers.MultiHeadAttention(heads, channels // heads, use_bias=False, flash_attention=False)(places, places)
    return layers.Add()([x, layers.Reshape((height, width, channels))(seen)])


def _style_of(time, label, size: int):
    """Time (B, 1) and label (B, K) as one vector (B, `size`)."""
    waves = [math.exp(math.log(200.0) * k / 23) for k in range(24)]
    start = keras.initializers.Constant([waves])
    angle = layers.Dense(24, use_bias=False, trainable=False, dtype="float32", name="freq", kernel_initializer=start)(
        time
    )
    style = layers.Dense(size)(layers.Concatenate(dtype="float32")([ops.sin(angle), ops.cos(angle)]))
    style = layers.Add()([style, layers.Dense(size, use_bias=False)(label)])
    return _active(layers.Dense(size, kernel_initializer="he_normal")(_active(style)))


def build_flow(config: NetworkConfig) -> keras.Model:
    """Return [noisy (B, 16, 16, C), time (B, 1), label (B, K) one-hot] → velocity (B, 16, 16, C).

    Noisy latents are (1 - time) · latents + time · noise; the velocity is noise - latents (Lipman et al. 2023). A
    network of two levels joined at both (Ronneberger et al. 2015, "U-Net").
    """
    fine, coarse = config.flow_widths
    noisy = keras.Input(config.latent_shape, name="noisy")
    time, label = keras.Input((1,), name="time"), keras.Input((config.classes,), name="label")
    style = _style_of(time, label, config.style_size)
    a = _styled(_conv(noisy, fine, gain=1.0), style, fine, "e16a")  # (B, 16, 16, fine)
    b = _styled(a, style, fine, "e16b")
    x = PlaceCode(name="place")(_conv(b, coarse, 4, 2, gain=1.0))  # (B, 8, 8, coarse)
    c = _styled(x, style, coarse, "e8a")
    d = _attending(_styled(c, style, coarse, "e8b"), config.heads)
    x = _attending(_styled(d, style, coarse, "m8"), config.heads)
    x = _styled(_conv(layers.Concatenate()([x, d]), coarse, 1, gain=1.0), style, coarse, "d8a")
    x = _styled(_conv(layers.Concatenate()([x, c]), coarse, 1, gain=1.0), style, coarse, "d8b")
    x = _doubled(x, fine)  # (B, 16, 16, fine)
    x = _styled(_conv(layers.Concatenate()([x, b]), fine, 1, gain=1.0), style, fine, "d16a")
    x = _styled(_conv(layers.Concatenate()([x, a]), fine, 1, gain=1.0), style, fine, "d16b")
    x = _conv(layers.ReLU()(layers.RMSNormalization()(x)), config.latent_channels, gain=0.02)
    return keras.Model([noisy, time, label], layers.Activation("linear", dtype="float32")(x), name="flow")


def build_critic(flow: keras.Model) -> keras.Model:
    """Return [latents (B, 16, 16, C), time (B, 1), label (B, K)] → realness (B, 1), by projection.

    The critic is the first half of a trained flow, which knows what latents look like, and a new head on two of its
    levels (Sauer et al. 2024, "Latent adversarial diffusion distillation"; Miyato & Koyama 2018 for the projection).
    """
    fine, coarse = (flow.get_layer(name).output for name in ("e16b_out", "m8_out"))
    width = coarse.shape[-1]
    x = _conv(_active(coarse), width, 4, 2)  # (B, 4, 4, width)
    y = _conv(_active(_conv(_active(fine), 64, 4, 2)), 64, 4, 2)  # (B, 4, 4, 64)
    x = _active(_conv(GroupSpread()(_active(layers.Concatenate()([x, y]))), width))
    x = _active(layers.Dense(width, dtype="float32", kernel_initializer="he_normal")(layers.Flatten()(x)))
    label = flow.input[2]
    of_label = layers.Dense(width, use_bias=False, dtype="float32", name="embed")(label)
    match = layers.Dot(1, dtype="float32")([x, of_label])
    realness = layers.Add(dtype="float32")([layers.Dense(1, dtype="float32")(x), match])
    return keras.Model(flow.input, realness, name="critic")


def build_glance(config: NetworkConfig) -> keras.Model:
    """Return latents (B, 16, 16, C) → [features (B, D), logits (B, K)]: what the scan model sees, at a glance."""
    fine, middle, coarse = config.selector_widths
    latents = keras.Input(config.latent_shape, name="latents")
    x = _residual(_conv(latents, fine), fine)  # (B, 16, 16, fine)
    x = _residual(_conv(_active(x), middle, 4, 2), middle)  # (B, 8, 8, middle)
    x = layers.Dropout(0.2)(_active(_residual(_conv(_active(x), coarse, 4, 2), coarse)))  # (B, 4, 4, coarse)
    placed = _active(layers.Flatten()(_conv(x, 16, 1, gain=1.0)))
    x = layers.Dropout(0.2)(layers.Concatenate()([layers.GlobalAveragePooling2D()(x), placed]))
    x = _active(layers.Dense(coarse, kernel_initializer="he_normal")(x))
    answers = [layers.Dense(config.glance_size, name="features")(x), layers.Dense(config.classes, name="logits")(x)]
    return keras.Model(latents, answers, name="glance")


def build_selector(config: NetworkConfig) -> keras.Model:
    """Return [latents (B, 16, 16, C), label (B, K) one-hot] → chance (B, 1) that an image is kept.

    The chance rises with the odds that the features are a real image's of that label, a line in the features, and is
    small where another label is likelier.
    """
    latents, label = keras.Input(config.latent_shape, name="latents"), keras.Input((config.classes,), name="label")
    features, logits = build_glance(config)(latents)
    ratio = layers.Dot(1)([layers.Dense(config.classes, kernel_initializer="zeros", name="ratio")(features), label])
    lead = layers.Dot(1)([logits, label]) - ops.max(logits - 1e4 * label, -1, keepdims=True)
    clear = config.unclear + (1 - config.unclear) * ops.sigmoid(LEAD * lead)
    return keras.Model([latents, label], ops.sigmoid(ratio) * clear, name="selector")


def compose(
    generator: keras.Model,
    decoder: keras.Model,
    selector: keras.Model,
    mean: ArrayLike,
    std: ArrayLike,
    config: NetworkConfig,
) -> keras.Model:
    """Return one network, seed and one-hot label (B, Z + K) → image (B, 128, 128, 1) in [0, 1], chance (B, 1)."""
    both = keras.Input((config.seed_size + config.classes,), name="seed_and_label")
    stretch = config.emphasis
    label = layers.Rescaling(1 + stretch, offset=-stretch / config.classes)(both[:, config.seed_size :])
    latents = layers.Reshape(config.latent_shape)(both[:, : config.seed_size])
    for now, then in pairwise((*config.times, 0.0)):
        time = layers.Rescaling(0.0, offset=now)(both[:, :1])
        velocity = generator([latents, time, label])
        latents = layers.Add()([latents, layers.Rescaling(then - now)(velocity)])
    scaled = layers.Rescaling(np.asarray(std).tolist(), offset=np.asarray(mean).tolist(), name="latent_scale")(latents)
    chance = selector([latents, both[:, config.seed_size :]])
    return keras.Model(both, [decoder(scaled), chance], name="image_generator")


def parts_of(whole: keras.Model) -> tuple[keras.Model, keras.Model]:
    """Take a network of :func:`compose` apart: seed and label → [latents, chance], and latents → image.

    So only the images that are kept have to be painted.
    """
    scale = whole.get_layer("latent_scale")
    latents = keras.Input(scale.input.shape[1:])
    painted = whole.get_layer("decoder")(scale(latents))
    return keras.Model(whole.input, [scale.input, whole.outputs[1]]), keras.Model(latents, painted)
