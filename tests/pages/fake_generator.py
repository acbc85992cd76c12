"""A generator and a restorer that draw at once and always the same: a body with two lungs, nobody's."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace

import numpy as np
from numpy.typing import NDArray

from medai_core.errors import InputError, say
from medai_core.synthesis.generator import SIZE, Direction, Generated, Rendered, SyntheticImage
from medai_core.synthesis.restore import Restored

LABELS = {"chest_xray_gan": ("normal", "bacterial", "viral"), "brain_mri_gan": ("glioma", "notumor")}
COPY_EVERY = 10
"""Every tenth image of a seed is a near-copy, and so withheld."""


class FakeGenerator:
    """Brightness follows the first number of the latent point, the size of the lungs the second."""

    latent_size = 4

    def __init__(self, model: str) -> None:
        self.id, self.scan_model, self.labels = model, model.removesuffix("_gan"), LABELS[model]
        self.directions = (
            Direction(
                "opacity", say("Opacity of the lung fields"),
                say("One step moves the measured value by {effect:.2f} standard deviations", effect=0.9),
                -2.5, 2.5, np.zeros(self.latent_size, np.float32),
            ),
        )  # fmt: skip
        self.descriptors = SimpleNamespace(nearest=lambda images: SimpleNamespace(withheld=np.zeros(len(images), bool)))
        self.asked: list[tuple[str, int, int]] = []

    def generate(
        self, label: str, count: int, seed: int, *, truncation: float = 1.0,
        shifts: Mapping[str, float] | None = None, progress: Callable[[int, int], None] | None = None,
    ) -> Generated:  # fmt: skip
        self.asked.append((label, count, seed))
        images: list[SyntheticImage] = []
        tried = 0
        while len(images) < count:
            if tried % COPY_EVERY != COPY_EVERY - 1:
                drawn = self._drawn(self.latents(tried + 1, seed)[-1:], label, truncation)[0]
                about = (self.id, "1.0", label, seed, tried, truncation, ())
                images.append(SyntheticImage(*about, drawn, 0.6, float(5 + 7 * tried % 90)))
            tried += 1
            if progress:
                progress(len(images), count)
        return Generated(tuple(images), tried - count)

    def latents(self, count: int, seed: int) -> NDArray[np.float32]:
        rows = [np.random.default_rng([seed, k]).standard_normal(self.latent_size) for k in range(count)]
        return np.stack(rows).astype(np.float32)

    def render(
        self, latents: NDArray[np.float32], label: str | Sequence[str], *, truncation: float = 1.0,
        shifts: Mapping[str, float] | None = None,
    ) -> Rendered:  # fmt: skip
        images = self._drawn(latents, label, truncation, shifts)
        withheld = self.descriptors.nearest(images).withheld
        return Rendered(np.where(withheld[:, None, None], np.uint8(0), images), withheld)

    def _drawn(
        self, latents: NDArray[np.float32], label: str | Sequence[str], truncation: float,
        shifts: Mapping[str, float] | None = None,
    ) -> NDArray[np.uint8]:  # fmt: skip
        labels = [label] * len(latents) if isinstance(label, str) else label
        if unknown := set(labels) - set(self.labels):
            raise InputError("`label` must be one of {known}, got {label}", known=self.labels, label=sorted(unknown))
        y, x = np.mgrid[-1:1:128j, -1:1:128j]
        drawn = []
        for point, name in zip(truncation * latents, labels, strict=True):
            lung = np.exp(-((np.abs(x) - 0.35) ** 2 * 14 + (y + 0.05) ** 2 * (5 + 0.5 * np.tanh(point[1]))))
            grey = 120 + 15 * np.tanh(point[0]) + 10 * self.labels.index(name) - 80 * lung
            drawn.append(grey + 20 * (shifts or {}).get("opacity", 0.0) * lung)
        return np.clip(np.stack(drawn), 0, 255).astype(np.uint8)

    def interpolate(self, label: str, seed_from: int, seed_to: int, steps: int, truncation: float = 1.0) -> Rendered:
        share = np.linspace(0, 1, steps)[:, None]
        way = (1 - share) * self.latents(1, seed_from) + share * self.latents(1, seed_to)
        return self.render(way, label, truncation=truncation)

    def across(
        self, seed: int, index: int = 0, *, truncation: float = 1.0, shifts: Mapping[str, float] | None = None
    ) -> Rendered:
        point = np.repeat(self.latents(index + 1, seed)[index:], len(self.labels), 0)
        return self.render(point, self.labels, truncation=truncation, shifts=shifts)


class FakeRestorer:
    """Takes noise for what differs from the mean of the image, and fills regions with that mean."""

    def denoise(self, pixels: NDArray[np.uint8], strength: float) -> Restored:
        after = np.rint((1 - strength) * pixels + strength * pixels.mean()).astype(np.uint8)
        return Restored(pixels, after)

    def inpaint(self, pixels: NDArray[np.uint8], mask: NDArray[np.bool_]) -> Restored:
        return Restored(pixels, np.where(mask, np.uint8(pixels.mean()), pixels))


assert SIZE == 128
