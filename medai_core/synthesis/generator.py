"""Synthetic images from a shipped generator: the wing's public face."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import islice
from numbers import Real

import numpy as np
from numpy.typing import ArrayLike, NDArray

from medai_core import registry
from medai_core.artifacts import Bundle, load_arrays, load_model
from medai_core.errors import InputError, Message, say
from medai_core.synthesis.privacy import Descriptors

GENERATORS = {"chest_xray": "chest_xray_gan", "brain_mri": "brain_mri_gan"}
"""Generator of each scan model's kind of image."""

MAX_COUNT = 1000
SIZE = 128
TRUNCATION = (0.1, 1.5)
CHUNK = 16
"""Images made at once."""
KEPT_CHUNKS = 256
"""Chunks of candidates whose choice is remembered: a slider moves the same images."""
PATIENCE = 12
"""Candidates looked at per image asked for, before giving up."""

_TITLES = {
    "brightness": say("Brightness"),
    "contrast": say("Contrast"),
    "opacity": say("Opacity of the lung fields"),
    "vertical_position": say("Vertical position"),
    "horizontal_position": say("Horizontal position"),
    "size": say("Size of the body in the frame"),
    "sharpness": say("Sharpness"),
}


@dataclass(frozen=True, eq=False)
class Direction:
    """A direction in seed space along which one measured attribute changes.

    Attributes
    ----------
    name : str
        What was measured, see :mod:`medai_core.synthesis.directions`.
    title, measured : Message
        For people: the attribute, and how far the direction was found to move it.
    low, high : float
        Useful range of a shift, in standard deviations of the attribute; 0 changes nothing.
    vector : NDArray[np.float32]
        (Z,) step of the seed for a shift of 1.
    """

    name: str
    title: Message
    measured: Message
    low: float
    high: float
    vector: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class SyntheticImage:
    """One image that no patient has.

    Attributes
    ----------
    model, version : str
        Generator, with the version of its bundle.
    label : str
        Asked for.
    seed, index : int
        The image is the `index`-th candidate of its seed, whatever the number asked for.
    truncation : float
    shifts : tuple[tuple[str, float], ...]
        Attribute directions, with the shift along each.
    pixels : NDArray[np.uint8]
        (128, 128), without any mark: :mod:`medai_core.synthesis.export` adds those.
    similarity : float
        Correlation with the most similar training image after alignment, -1 to 1.
    closeness : float
        Percentile, 0 to 100, of the distance to the nearest training image among those of real images to
        each other: low means nearer than real images are.
    """

    model: str
    version: str
    label: str
    seed: int
    index: int
    truncation: float
    shifts: tuple[tuple[str, float], ...]
    pixels: NDArray[np.uint8]
    similarity: float
    closeness: float


@dataclass(frozen=True, eq=False)
class Generated:
    """Images, and how many more candidates there were.

    Attributes
    ----------
    images : tuple[SyntheticImage, ...]
    withheld : int
        Candidates left out as near-copies of a training image.
    passed_over : int
        Candidates that the selector did not keep: of a kind that is made too often, or without a clear label.
    """

    images: tuple[SyntheticImage, ...]
    withheld: int
    passed_over: int = 0


@dataclass(frozen=True, eq=False)
class Rendered:
    """Images of given seed vectors.

    Attributes
    ----------
    images : NDArray[np.uint8]
        (N, 128, 128), not yet marked; black where an image came out as a near-copy of a training image.
    withheld : NDArray[np.bool_]
        (N,) which of them that are.
    """

    images: NDArray[np.uint8]
    withheld: NDArray[np.bool_]


class Generator:
    """Makes images of one kind; safe to share between threads. No near-copy of a training image leaves it.

    Parameters
    ----------
    bundle : Bundle
        Verified.
    """

    def __init__(self, bundle: Bundle) -> None:
        from medai_core.runtime import Compiled, quicken
        from medai_core.synthesis.network import parts_of

        stored = bundle.preprocessing
        self.bundle = bundle
        self.id = bundle.id
        self.scan_model: str = stored["scan_model"]
        self.labels: tuple[str, ...] = tuple(stored["labels"])
        self.latent_size: int = stored["seed_size"]
        self.directions = _directions(bundle)
        self.descriptors = Descriptors.from_arrays(load_arrays(bundle, "descriptors"))
        whole = load_model(bundle)
        quicken(whole)
        imagine, paint = parts_of(whole)
        self._imagine = Compiled(imagine, (self.latent_size + len(self.labels),))
        self._paint = Compiled(paint, paint.input_shape[1:])
        self._kept = lru_cache(KEPT_CHUNKS)(self._select)

    def generate(
        self,
        label: str,
        count: int,
        seed: int,
        *,
        truncation: float = 1.0,
        shifts: Mapping[str, float] | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> Generated:
        """Make `count` images of one label.

        Candidates are numbered; one passed over by the selector, or withheld as a near-copy of a training image,
        leaves its number unused. The selector decides by the candidate without truncation and shifts, so that these
        change images and never swap them. The first images of a seed are the same whatever the count.

        Parameters
        ----------
        label : str
            One of `labels`.
        count : int
            1 to 1000.
        seed : int
            0 to 2**32 - 1.
        truncation : float
            0.1 to 1.5: scales the seed vectors. Below 1 images are more typical and less varied.
        shifts : mapping of str to float, optional
            Shift along directions, by name, in standard deviations of the attribute.
        progress : callable, optional
            Called with (images made, images wanted); may raise to stop.

        Raises
        ------
        InputError
            An argument outside its limits, or hardly anything but near-copies.
        """
        count = _whole(count, "count", 1, MAX_COUNT)
        moved = tuple(sorted((name, shift) for name, shift in _numbers(shifts or {}).items() if shift))
        images: list[SyntheticImage] = []
        withheld, candidates = 0, self.kept(label, seed)
        while len(images) < count:
            chosen = list(islice(candidates, min(CHUNK, count - len(images))))
            if not chosen or chosen[-1][0] >= PATIENCE * (count + CHUNK):
                raise InputError("Hardly any image of seed {seed} can be shown: choose another one", seed=seed)
            indices, plain = zip(*chosen, strict=True)
            if moved or truncation != 1.0:
                pixels = self._drawn(self._latents(indices, seed), label, truncation, dict(moved))
            else:
                pixels = self._painted(np.stack(plain))
            near = self.descriptors.nearest(pixels)
            for k, index in enumerate(indices):
                if near.withheld[k]:
                    withheld += 1
                    continue
                about = (label, seed, index, float(truncation), moved)
                rest = (pixels[k], float(near.similarity[k]), float(near.closeness[k]))
                images.append(SyntheticImage(self.id, self.bundle.version, *about, *rest))
            if progress:
                progress(len(images), count)
        return Generated(tuple(images), withheld, indices[-1] + 1 - count - withheld)

    def kept(self, label: str, seed: int) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """Yield the candidates of a seed that the selector keeps under a label, in order: number and (16, 16, C)."""
        number, seed = self._label_index(label), _whole(seed, "seed", 0, 2**32 - 1)
        for chunk in range(PATIENCE * (MAX_COUNT // CHUNK + 1)):
            yield from self._kept(number, seed, chunk)

    def _select(self, label: int, seed: int, chunk: int) -> tuple[tuple[int, NDArray[np.float32]], ...]:
        """The candidates of the `chunk`-th chunk that are kept."""
        indices = range(chunk * CHUNK, (chunk + 1) * CHUNK)
        kinds = np.eye(len(self.labels), dtype=np.float32)[[label] * CHUNK]
        made, chances = self._imagine(np.concatenate([self._latents(indices, seed), kinds], 1))
        luck = [np.random.default_rng([seed, index, 1]).random() for index in indices]
        every = zip(indices, made, luck, chances[:, 0], strict=True)
        return tuple((index, one.copy()) for index, one, own, chance in every if own < chance)

    def latents(self, count: int, seed: int) -> NDArray[np.float32]:
        """Seed vectors (count, Z) of a seed, standard normal."""
        return self._latents(range(_whole(count, "count", 1, MAX_COUNT)), seed)

    def _latents(self, indices: Iterable[int], seed: int) -> NDArray[np.float32]:
        seed = _whole(seed, "seed", 0, 2**32 - 1)
        rows = [np.random.default_rng([seed, index]).standard_normal(self.latent_size) for index in indices]
        return np.stack(rows).astype(np.float32)

    def render(
        self,
        latents: ArrayLike,
        label: str | Sequence[str],
        *,
        truncation: float = 1.0,
        shifts: Mapping[str, float] | None = None,
    ) -> Rendered:
        """Images of seed vectors (N, Z), all of one label or one label each.

        Raises
        ------
        InputError
            As :meth:`generate`, or seed vectors of another length.
        """
        images = self._drawn(latents, label, truncation, _numbers(shifts or {}))
        withheld = self.descriptors.nearest(images).withheld
        return Rendered(np.where(withheld[:, None, None], np.uint8(0), images), withheld)

    def _drawn(
        self, latents: ArrayLike, label: str | Sequence[str], truncation: float, shifts: Mapping[str, float]
    ) -> NDArray[np.uint8]:
        """Images (N, 128, 128) of seed vectors (N, Z), before any is withheld."""
        low, high = TRUNCATION
        if not low <= truncation <= high:
            raise InputError(
                "`truncation` must be from {low} to {high}, got {truncation}", low=low, high=high, truncation=truncation
            )
        seeds = truncation * np.asarray(latents, np.float32)
        if seeds.ndim != 2 or seeds.shape[1] != self.latent_size or not len(seeds):
            raise InputError(
                "Seed vectors must have shape (N, {wanted}), got {shape}", wanted=self.latent_size, shape=seeds.shape
            )
        for name, shift in shifts.items():
            seeds = seeds + shift * self._direction(name).vector
        labels = [label] * len(seeds) if isinstance(label, str) else label
        kinds = np.eye(len(self.labels), dtype=np.float32)[[self._label_index(name) for name in labels]]
        batch = np.concatenate([seeds, kinds], 1)  # (N, Z + K)
        made = [self._painted(self._imagine(batch[k : k + CHUNK])[0]) for k in range(0, len(batch), CHUNK)]
        return np.concatenate(made)

    def _painted(self, latents: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Images (N, 128, 128) of latents (N, 16, 16, C)."""
        return np.round(self._paint(latents)[..., 0] * 255).astype(np.uint8)

    def interpolate(self, label: str, seed_from: int, seed_to: int, steps: int, truncation: float = 1.0) -> Rendered:
        """`steps` images on the way from one seed's first image to another's.

        The way is a great circle, as seed vectors of about one length are what the generator knows
        (White 2016, "Sampling generative networks").
        """
        steps = _whole(steps, "steps", 2, MAX_COUNT)
        a, b = (self._latents([next(self.kept(label, seed), (0,))[0]], seed)[0] for seed in (seed_from, seed_to))
        cosine = np.clip(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)), -1.0, 1.0)
        angle = max(float(np.arccos(cosine)), 1e-6)
        share = np.linspace(0.0, 1.0, steps)[:, None]
        way = (np.sin((1 - share) * angle) * a + np.sin(share * angle) * b) / np.sin(angle)
        return self.render(way, label, truncation=truncation)

    def across(
        self, seed: int, index: int = 0, *, truncation: float = 1.0, shifts: Mapping[str, float] | None = None
    ) -> Rendered:
        """Candidate `index` of a seed as each label, in their order."""
        index = _whole(index, "index", 0, PATIENCE * (MAX_COUNT + CHUNK))
        latents = np.repeat(self._latents([index], seed), len(self.labels), 0)
        return self.render(latents, self.labels, truncation=truncation, shifts=shifts)

    def _label_index(self, label: str) -> int:
        if label not in self.labels:
            raise InputError(
                "`label` must be one of {known}, got {label}", known=", ".join(self.labels), label=repr(label)
            )
        return self.labels.index(label)

    def _direction(self, name: str) -> Direction:
        known = {direction.name: direction for direction in self.directions}
        if name not in known:
            raise InputError("`shifts` must name one of {known}, got {name}", known=", ".join(known), name=repr(name))
        return known[name]


def _directions(bundle: Bundle) -> tuple[Direction, ...]:
    vectors = load_arrays(bundle, "directions")
    return tuple(
        Direction(
            row["name"],
            _TITLES[row["name"]],
            say(
                "One step moves the measured value by {effect:.2f} standard deviations of it among images of one label",
                effect=row["effect"],
            ),
            -row["range"],
            row["range"],
            vectors[row["name"]],
        )
        for row in bundle.preprocessing["directions"]
    )


def _numbers(shifts: Mapping[str, float]) -> dict[str, float]:
    for name, shift in shifts.items():
        if isinstance(shift, bool) or not isinstance(shift, Real) or not np.isfinite(shift):
            raise InputError("`shifts` must hold a number for {name}, got {value}", name=name, value=repr(shift))
    return {name: float(shift) for name, shift in shifts.items()}


def _whole(value: object, name: str, low: int, high: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or not low <= value <= high:
        raise InputError(
            "`{name}` must be a whole number from {low} to {high}, got {value}",
            name=name, low=low, high=high, value=repr(value),
        )  # fmt: skip
    return int(value)


def load_generator(model: str) -> Generator:
    """The shipped generator of a kind of image (``chest_xray``) or of a bundle's id (``chest_xray_gan``).

    Raises
    ------
    InputError
        No generator of this name.
    ArtifactError
        It is not installed.
    """
    model_id = GENERATORS.get(model, model)
    if model_id not in GENERATORS.values():
        raise InputError("`model` must be one of {known}, got {name}", known=", ".join(GENERATORS), name=repr(model))
    return _loaded(model_id)


@cache
def _loaded(model_id: str) -> Generator:
    from medai_core.synthesis import network  # noqa: F401 - the network's layers, by which Keras knows them

    return Generator(registry.bundle(model_id))
