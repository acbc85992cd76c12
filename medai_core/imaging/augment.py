"""Augmentation that imitates other devices.

A network that learns how bright, contrasted and sharp one scanner's images are calls another scanner's
images ill. So each training image gets a new geometry, a new grey scale (its histogram is moved towards
that of another patient's image), a new spectrum (its Fourier amplitudes are moved towards another's,
Chen et al. 2021, "Amplitude-Phase Recombination"), a new sharpness, uneven exposure, noise and a patch
that is missing. What remains the same is the anatomy. All but the histogram is one Keras layer, for any
backend.
"""

from __future__ import annotations

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray
from scipy import ndimage

CHUNK = 64
INSIDE = 0.08
"""Share of the image's side that :func:`without_detail` leaves sharp along the outline."""


def borrow_histogram(image: NDArray[np.uint8], other: NDArray[np.uint8], share: float) -> NDArray[np.uint8]:
    """Move the grey scale of `image` (H, W) by `share` (0 to 1) of the way to that of `other` (H, W)."""
    mine = np.cumsum(np.bincount(image.ravel(), minlength=256)) / image.size  # (256,)
    theirs = np.cumsum(np.bincount(other.ravel(), minlength=256)) / other.size
    matched = np.interp(mine, theirs, np.arange(256))
    return np.round((1 - share) * np.arange(256) + share * matched).astype(np.uint8)[image]


def without_detail(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Blur `image` (H, W) until nothing of a lesion's size can be seen; half of the time the outline stays sharp.

    What is left is the shape of the head and the plane of the slice, which must not decide a reading.
    """
    blurred = ndimage.gaussian_filter(image.astype(np.float32), rng.uniform(6.0, 14.0))
    if rng.random() < 0.5:
        head = ndimage.binary_fill_holes(ndimage.gaussian_filter(image, 2) > 0.1 * image.max())
        inside = ndimage.distance_transform_edt(head) - INSIDE * len(image)
        share = np.clip(inside / 4 + 0.5, 0.0, 1.0)  # fades over 4 pixels
        blurred = share * blurred + (1 - share) * image
    return np.round(blurred).astype(np.uint8)


@keras.saving.register_keras_serializable("medai")
class OtherDevice(keras.layers.Layer):
    """Random view of a batch: (B, S, S, 1) in [0, 1] → same; the identity outside training.

    Parameters
    ----------
    strength : float
        Scales every range; each recipe has its own.
    flip : bool
        Mirror half of the images left to right.
    seed : int
    """

    def __init__(self, strength: float = 1.0, flip: bool = True, seed: int = 0, **kwargs):
        super().__init__(**kwargs)
        self.strength, self.flip, self.seed = strength, flip, seed
        self.generator = keras.random.SeedGenerator(seed)

    def _uniform(self, count, low: float, high: float):
        """(B,) uniform numbers whose range is scaled by `strength` about its middle."""
        middle, half = (low + high) / 2, (high - low) / 2 * self.strength
        return keras.random.uniform((count,), middle - half, middle + half, seed=self.generator)

    def _sometimes(self, count, share: float):
        """(B, 1, 1, 1) ones and zeros."""
        lucky = keras.random.uniform((count,), seed=self.generator) < share
        return ops.reshape(ops.cast(lucky, "float32"), (-1, 1, 1, 1))

    def _each(self, count, low: float, high: float):
        return ops.reshape(self._uniform(count, low, high), (-1, 1, 1, 1))

    def call(self, x, training=False):
        if not training:
            return x
        x = ops.cast(x, "float32")
        x = self._grey(self._geometry(self._spectrum(x)))
        return ops.clip(self._missing(self._texture(x)), 0.0, 1.0)

    def _spectrum(self, x):
        """Move the Fourier amplitudes part of the way to the next image's; keep the phases."""
        count = ops.shape(x)[0]
        plane = x[..., 0]
        real, imaginary = ops.fft2((plane, ops.zeros_like(plane)))
        amplitude = ops.sqrt(ops.square(real) + ops.square(imaginary) + 1e-12)
        share = (self._each(count, 0.0, 1.0) * self._sometimes(count, 0.5 * self.strength))[..., 0]
        gain = 1.0 + share * (ops.roll(amplitude, 1, axis=0) / amplitude - 1.0)
        mixed, _ = ops.ifft2((real * gain, imaginary * gain))
        return ops.clip(mixed[..., None], 0.0, 1.0)

    def _geometry(self, x):
        """Scale each axis, turn up to 10°, shear, shift up to 8 %, mirror."""
        count, size = ops.shape(x)[0], x.shape[1]
        across, down = self._uniform(count, 0.82, 1.10), self._uniform(count, 0.82, 1.10)
        if self.flip:
            across = across * ops.where(self._uniform(count, -1.0, 1.0) < 0, -1.0, 1.0)
        turn, shear = self._uniform(count, -0.17, 0.17), self._uniform(count, -0.08, 0.08)
        a, b = across * ops.cos(turn), -down * ops.sin(turn + shear)
        c, d = across * ops.sin(turn), down * ops.cos(turn + shear)
        middle, reach = (size - 1) / 2, 0.04 * size
        shift_x, shift_y = self._uniform(count, -reach, reach), self._uniform(count, -reach, reach)
        left = middle - a * middle - b * middle + shift_x
        top = middle - c * middle - d * middle + shift_y
        none = ops.zeros_like(a)
        transform = ops.stack([a, b, left, c, d, top, none, none], axis=1)
        return ops.image.affine_transform(x, transform, interpolation="bilinear", fill_mode="constant")

    def _grey(self, x):
        """Gamma, contrast, brightness, and an exposure that varies slowly over the image."""
        count, size = ops.shape(x)[0], x.shape[1]
        x = ops.power(ops.clip(x, 1e-4, 1.0), ops.exp(self._each(count, -0.6, 0.6)))
        x = (x - 0.5) * self._each(count, 0.7, 1.3) + 0.5 + self._each(count, -0.15, 0.15)
        field = keras.random.normal((count, 3, 3, 1), stddev=0.12, seed=self.generator)
        field = ops.image.resize(field, (size, size), interpolation="bilinear")
        return ops.clip(x + field * self._sometimes(count, 0.5 * self.strength), 0.0, 1.0)

    def _texture(self, x):
        """Blur or sharpen, then add noise."""
        count = ops.shape(x)[0]
        smooth = ops.average_pool(ops.average_pool(x, 3, 1, "same"), 3, 1, "same")
        x = x + self._each(count, -1.0, 0.9) * (smooth - x)
        noise = keras.random.normal(ops.shape(x), seed=self.generator)
        return x + noise * self._each(count, 0.0, 0.04) * self._sometimes(count, 0.4)

    def _missing(self, x):
        """Replace a random rectangle of up to 40 × 40 pixels by one grey."""
        count, size = ops.shape(x)[0], x.shape[1]
        grid = ops.arange(size, dtype="float32")
        inside = ops.ones((1, 1, 1, 1))
        for shape in ((-1, size, 1, 1), (-1, 1, size, 1)):
            start = ops.reshape(self._uniform(count, 0.0, size - 12.0), (-1, 1))
            length = ops.reshape(self._uniform(count, 12.0, 40.0), (-1, 1))
            inside = inside * ops.reshape(ops.cast((grid >= start) & (grid < start + length), "float32"), shape)
        inside = inside * self._sometimes(count, 0.4 * self.strength)
        return x * (1 - inside) + inside * self._each(count, 0.0, 1.0)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return super().get_config() | {"strength": self.strength, "flip": self.flip, "seed": self.seed}


def imitate(images: NDArray[np.uint8], device: OtherDevice) -> NDArray[np.uint8]:
    """Return prepared images (N, S, S) as random other devices might have taken them."""
    scaled = images[..., None].astype(np.float32) / 255.0
    seen = [
        ops.convert_to_numpy(device(scaled[start : start + CHUNK], training=True))
        for start in range(0, len(scaled), CHUNK)
    ]
    return np.round(np.concatenate(seen)[..., 0] * 255).astype(np.uint8)
