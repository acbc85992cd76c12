"""The generator's networks, in pure Keras 3: they train and run on TensorFlow, JAX or PyTorch.

An autoencoder first learns to write an image as 16 × 16 latent vectors and back, sharpened by a patch critic
(Esser et al. 2021, "Taming Transformers"). The class-conditional GAN then works on the latents, where a step
costs a tenth of one on pixels. Seen under one roof::

    image (B, 128, 128, 1) ─ encoder ─ latents (B, 16, 16, C) ─ decoder ─ image (B, 128, 128, 1)
    seed (B, Z), label (B, K) ─ generator ─┘       └─ critic ─ realness (B, 1)

No layer normalises over the batch: an image never depends on the others made with it.
"""

from __future__ import annotations

from dataclasses import dataclass

import keras
from keras import layers, ops

SIZE = 128


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
    seed_size : int
        Z, length of the vector an image is made from.
    style_size : int
        Length of the vector that seed and label are mapped to.
    generator_widths, critic_widths : tuple[int, int, int]
        Channels at 4 × 4, 8 × 8 and 16 × 16.
    """

    classes: int
    widths: tuple[int, int, int] = (32, 80, 128)
    latent_channels: int = 8
    patch_widths: tuple[int, ...] = (32, 64, 128)
    seed_size: int = 96
    style_size: int = 192
    generator_widths: tuple[int, int, int] = (256, 160, 96)
    critic_widths: tuple[int, int, int] = (256, 160, 96)
    size: int = SIZE

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        return self.size // 8, self.size // 8, self.latent_channels


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
class Bounded(layers.Layer):
    """Keep values within ±`limit`, leaving small ones nearly as they are: standardised latents are never larger."""

    def __init__(self, limit: float = 6.0, **kwargs):
        super().__init__(**kwargs)
        self.limit = limit

    def call(self, x):
        return self.limit * ops.tanh(x / self.limit)

    def compute_output_shape(self, shape):
        return shape

    def get_config(self):
        return super().get_config() | {"limit": self.limit}


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
    y = x
    for part in ("a", "b"):
        factors = layers.Dense(2 * y.shape[-1], name=f"{name}_{part}_style", kernel_initializer="zeros")(style)
        y = _active(ScaleFeatures(name=f"{name}_{part}")([y, factors]))
        y = _conv(y, channels, gain=1.0 if part == "a" else 0.02)
    return layers.Add()([x, y])


def build_generator(config: NetworkConfig) -> keras.Model:
    """Return [seed (B, Z), label (B, K) one-hot] → latents (B, 16, 16, C)."""
    coarse, middle, fine = config.generator_widths
    side = config.size // 32
    seed = keras.Input((config.seed_size,), name="seed")
    label = keras.Input((config.classes,), name="label")
    style = layers.Concatenate()([seed, layers.Dense(config.seed_size, use_bias=False, name="embed")(label)])
    for _ in range(2):
        style = _active(layers.Dense(config.style_size, kernel_initializer="he_normal")(style))
    x = layers.Dense(side * side * coarse)(layers.Concatenate()([seed, style]))
    x = layers.Reshape((side, side, coarse))(x)  # (B, 4, 4, coarse)
    x = _styled(x, style, coarse, "block_4")
    x = _styled(_doubled(x, middle), style, middle, "block_8")
    x = _styled(_doubled(x, fine), style, fine, "block_16a")
    x = _styled(x, style, fine, "block_16b")
    factors = layers.Dense(2 * fine, name="last_style", kernel_initializer="zeros")(style)
    x = _conv(_active(ScaleFeatures(name="last")([x, factors])), config.latent_channels, gain=1.0)
    return keras.Model([seed, label], Bounded(dtype="float32")(x), name="generator")


def build_critic(config: NetworkConfig) -> keras.Model:
    """Return [latents (B, 16, 16, C), label (B, K)] → realness (B, 1), by projection (Miyato & Koyama 2018)."""
    coarse, middle, fine = config.critic_widths
    latents = keras.Input(config.latent_shape, name="latents")
    label = keras.Input((config.classes,), name="label")
    x = _residual(_conv(latents, fine), fine)  # (B, 16, 16, fine)
    x = _residual(_conv(_active(x), middle, 4, 2), middle)  # (B, 8, 8, middle)
    x = _residual(_conv(_active(x), coarse, 4, 2), coarse)  # (B, 4, 4, coarse)
    x = _active(_conv(GroupSpread()(_active(x)), coarse))
    x = _active(layers.Dense(coarse, dtype="float32", kernel_initializer="he_normal")(layers.Flatten()(x)))
    realness = layers.Dense(1, dtype="float32")(x)
    of_label = layers.Dense(coarse, use_bias=False, dtype="float32", name="embed")(label)
    match = layers.Dot(1, normalize=False, dtype="float32")([x, of_label])
    return keras.Model([latents, label], layers.Add(dtype="float32")([realness, match]), name="critic")
