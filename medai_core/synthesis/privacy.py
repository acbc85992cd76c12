"""Whether a synthetic image is a near-copy of a training image, found without the training images.

A training image is kept as 48 small whole numbers of 3 to 4 bits: random sums and differences over a thumbnail from
which broad shading was taken away. These 21 bytes cannot hold a radiograph, which needs thousands. What thousands of
other radiographs and the best linear way back make of them is a blurred chest, no more like the image (correlation
0.87) than the nearest radiograph of another patient is (0.89); the rhythm of the ribs can be guessed, no finding can.
Who already holds an image can find out whether it was trained on: that is what the descriptors are for.

An image in question is compared in both mirrorings and at all shifts of up to 7 pixels either way. Correlations of
thumbnails survive changes of brightness, contrast, sharpness and compression. Turning or zooming by more than a few
percent is not undone, and is left to the distance between features.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from medai_core.errors import ArtifactError, InputError
from medai_core.metrics import Interval, bootstrap, roc_auc
from medai_core.synthesis.quality import squared_distances

SIZE = 128
STEP, SIDE = 4, 27
SPAN = STEP * (SIDE - 1) + 1
START = (SIZE - SPAN) // 2 + 1
FINE, WIDE = 5, 17
"""Pixels a thumbnail's point is the mean of, and pixels whose mean is the shading taken away from it."""
COARSE_SHIFTS = np.array([-6, -3, 0, 3, 6])
FINE_SHIFTS = np.array([-1, 0, 1])
CANDIDATES = 8
LENGTH, FEATURE_LENGTH = 48, 48
QUANTUM = 3
CHUNK = 16
WITHHELD_PERCENT = 0.1
LAYOUT = np.array([STEP, SIDE, FINE, WIDE, QUANTUM])
"""Kept with the descriptors: an image described otherwise cannot be compared with them."""
COPY = 0.92
"""Aligned correlation from which two real images show the same: of 2,861 chest patients one pair reaches it."""
MEMBER = 0.985
"""Aligned correlation of an image with its own descriptor is above this; rounding takes the rest."""

Array = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Nearness:
    """How near images are to the training images.

    Attributes
    ----------
    similarity : NDArray[np.float64]
        (N,) aligned correlation with the most similar training image, at most 1.
    closeness : NDArray[np.float64]
        (N,) share, in percent, of the real images whose nearest real image (of another patient) is at least as
        similar: low means closer to a training image than real images are to each other.
    nearest : NDArray[np.intp]
        (N,) number of that training image.
    feature_distance, feature_closeness : NDArray[np.float64] or None
        (N,) the same in feature space: distance to the nearest training image, and its share.
    """

    similarity: NDArray[np.float64]
    closeness: NDArray[np.float64]
    nearest: NDArray[np.intp]
    feature_distance: NDArray[np.float64] | None = None
    feature_closeness: NDArray[np.float64] | None = None

    @property
    def withheld(self) -> NDArray[np.bool_]:
        """(N,) whether an image is within the closest 0.1 % of real-to-real distances, by pixels or by features."""
        near = self.closeness <= WITHHELD_PERCENT
        return near if self.feature_closeness is None else near | (self.feature_closeness <= WITHHELD_PERCENT)


@dataclass(frozen=True, eq=False)
class Descriptors:
    """Compact descriptors of all training images, with the real-to-real reference.

    Attributes
    ----------
    codes : NDArray[np.int8]
        (N, 48), one row per training image.
    signs : NDArray[np.int8]
        (729, 48) of -1 and 1: the random sums.
    reference : NDArray[np.float32]
        (N,) ascending: similarity of each training image to the nearest of another group.
    features : dict of arrays, or empty
        ``codes`` (N, 48) int8 with their ``scale``, ``mean`` (D,), ``projection`` (D, 48) and ``reference`` (N,).
    """

    codes: NDArray[np.int8]
    signs: NDArray[np.int8]
    reference: Array
    features: dict[str, NDArray]

    def __post_init__(self) -> None:
        signs = self.signs.astype(np.float32)
        # Sums over centred signs do not see an image's mean.
        object.__setattr__(self, "_signs", signs - signs.mean(0))
        object.__setattr__(self, "_known", _unit(self.codes.astype(np.float32)))

    def __len__(self) -> int:
        return len(self.codes)

    @classmethod
    def build(
        cls, images: NDArray[np.uint8], groups: ArrayLike, features: ArrayLike | None = None, seed: int = 0
    ) -> Descriptors:
        """Describe training images.

        Parameters
        ----------
        images : NDArray[np.uint8]
            (N, 128, 128).
        groups : array_like of str, shape (N,)
            Patient or group of near-duplicates, as :func:`joined_groups` returns them. Pairs of one group are left
            out of the reference: a patient's second radiograph is not what a near-copy should be compared with.
        features : array_like, shape (N, D), optional
            The same images in the scan model's feature space.
        """
        images, names = _images(images), np.unique(np.asarray(groups), return_inverse=True)[1]
        if len(names) != len(images) or len(set(names.tolist())) < 2:
            raise InputError("Descriptors need images of at least two groups, got {count}", count=len(set(names)))
        found = cls._of(images, seed)
        reference = np.sort(found._search(images, names, names)[0].max(1))
        described = {} if features is None else _describe_features(np.asarray(features, np.float64), names, seed)
        return cls(found.codes, found.signs, reference, described)

    @classmethod
    def _of(cls, images: NDArray[np.uint8], seed: int) -> Descriptors:
        """Describe images without a reference."""
        chosen = np.random.default_rng(seed).random((SIDE * SIDE, LENGTH)) < 0.5
        signs, nothing = np.where(chosen, -1, 1).astype(np.int8), np.zeros(0, np.float32)
        blank = cls(np.zeros((0, LENGTH), np.int8), signs, nothing, {})
        parts = (_windows(_maps(images[k : k + CHUNK])) for k in range(0, len(images), CHUNK))
        unit = np.concatenate([blank._described(part) for part in parts])
        codes = np.round(unit * np.sqrt(LENGTH) * QUANTUM).clip(-127, 127).astype(np.int8)
        return cls(codes, signs, nothing, {})

    def to_arrays(self) -> dict[str, NDArray]:
        """Arrays for one ``.npz`` of a bundle, for :meth:`from_arrays`."""
        own = {"codes": self.codes, "signs": self.signs, "reference": self.reference, "layout": LAYOUT}
        return own | {f"feature_{name}": value for name, value in self.features.items()}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray]) -> Descriptors:
        """The descriptors of a bundle.

        Raises
        ------
        ArtifactError
            They were made in another way than images are described here.
        """
        if not np.array_equal(arrays.get("layout", []), LAYOUT):
            raise ArtifactError("The descriptors of the training images were made by another version: train again")
        features = {name.removeprefix("feature_"): a for name, a in arrays.items() if name.startswith("feature_")}
        return cls(arrays["codes"], arrays["signs"], arrays["reference"], features)

    def nearest(self, images: NDArray[np.uint8], features: ArrayLike | None = None) -> Nearness:
        """Compare images (N, 128, 128), and their features (N, D) if given, with all training images.

        Raises
        ------
        InputError
            Images of another shape; or features of another length, or where none were kept.
        """
        similar, rows = self._search(_images(images))
        best = similar.argmax(1)[:, None]
        similarity = np.take_along_axis(similar, best, 1)[:, 0].astype(np.float64)
        nearer = len(self.reference) - np.searchsorted(self.reference, similarity, side="left")
        closeness = 100.0 * nearer / len(self.reference)
        nearest = np.take_along_axis(rows, best, 1)[:, 0]
        if features is None:
            return Nearness(similarity, closeness, nearest)
        distance = np.sqrt(squared_distances(self._projected(features), self._kept_features()).min(1))
        reference = self.features["reference"]
        feature_closeness = 100.0 * np.searchsorted(reference, distance, side="right") / len(reference)
        return Nearness(similarity, closeness, nearest, distance, feature_closeness)

    def _projected(self, features: ArrayLike) -> NDArray[np.float64]:
        given, kept = np.asarray(features, np.float64), self.features
        wanted = len(kept["mean"]) if kept else 0
        if not kept or given.ndim != 2 or given.shape[1] != wanted:
            raise InputError("Features must have shape (N, {wanted}), got {shape}", wanted=wanted, shape=given.shape)
        return (given - kept["mean"]) @ kept["projection"]

    def _kept_features(self) -> NDArray[np.float64]:
        return self.features["codes"] * self.features["scale"]

    def _described(self, windows: Array) -> Array:
        """Windows (…, 27, 27) as unit vectors (…, 48)."""
        return _unit(windows.reshape(*windows.shape[:-2], -1) @ self._signs)

    def _search(
        self,
        images: NDArray[np.uint8],
        groups: NDArray[np.integer] | None = None,
        known: NDArray[np.integer] | None = None,
    ) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
        """Aligned similarity (N, C) and number (N, C) of the most similar training images, in no order.

        With `groups` (N,) and `known` of the training images, those of an image's own group are passed over.
        """
        found = [
            self._search_some(images[k : k + CHUNK], None if groups is None else groups[k : k + CHUNK, None] == known)
            for k in range(0, len(images), CHUNK)
        ]
        return np.concatenate([one for one, _ in found]), np.concatenate([rows for _, rows in found])

    def _search_some(
        self, images: NDArray[np.uint8], apart: NDArray[np.bool_] | None
    ) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
        n, maps = len(images), _maps(images)
        maps = np.stack([maps, maps[:, :, ::-1]], 1).reshape(2 * n, SIZE, SIZE)  # each image, then its mirror image
        down, right = (shift.ravel() for shift in np.meshgrid(COARSE_SHIFTS, COARSE_SHIFTS, indexing="ij"))
        views = self._described(_windows(maps, down, right)).reshape(n, -1, LENGTH)  # (n, 50, 48)
        similar = (views.reshape(-1, LENGTH) @ self._known.T).reshape(n, views.shape[1], -1)  # (n, 50, N)
        best = similar.max(1)  # (n, N)
        if apart is not None:
            best[apart] = -2
        most = min(CANDIDATES, best.shape[1])
        rows = np.argpartition(-best, most - 1, axis=1)[:, :most]  # (n, C)
        view = np.take_along_axis(similar, rows[:, None], 2).argmax(1)  # (n, C): the shift that suits each best
        mirrored, shift = np.divmod(view, len(down))
        which = (2 * np.arange(n)[:, None] + mirrored)[..., None]  # (n, C, 1)
        near_down, near_right = (fine.ravel() for fine in np.meshgrid(FINE_SHIFTS, FINE_SHIFTS, indexing="ij"))
        close = _windows(maps, down[shift][..., None] + near_down, right[shift][..., None] + near_right, which)
        aligned = np.matmul(self._described(close), self._known[rows][..., None])[..., 0].max(2)  # (n, C)
        if apart is not None:
            aligned[np.take_along_axis(apart, rows, 1)] = -2
        return aligned, rows


def _describe_features(features: NDArray[np.float64], groups: NDArray[np.integer], seed: int) -> dict[str, NDArray]:
    """Random 8-bit projections of features (N, D), each scaled to unit spread, with their reference."""
    mean, spread = features.mean(0), features.std(0)
    rng = np.random.default_rng([seed, 1])
    mixed = rng.standard_normal((features.shape[1], FEATURE_LENGTH)) / np.sqrt(FEATURE_LENGTH)
    projection = (mixed / np.maximum(spread, 0.05 * spread.mean() + 1e-9)[:, None]).astype(np.float32)
    projected = (features - mean.astype(np.float32)) @ projection
    scale = np.float32(np.abs(projected).max() / 127)
    codes = np.round(projected / scale).astype(np.int8)
    reference = np.empty(len(features), np.float32)
    for start in range(0, len(features), 512):
        part = slice(start, start + 512)
        squares = squared_distances(projected[part], codes * scale)
        squares[groups[part, None] == groups] = np.inf
        reference[part] = np.sqrt(squares.min(1))
    return {
        "codes": codes, "scale": scale, "mean": mean.astype(np.float32),
        "projection": projection, "reference": np.sort(reference),
    }  # fmt: skip


def _images(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    images = np.asarray(images)
    if images.ndim != 3 or images.shape[1:] != (SIZE, SIZE) or images.dtype != np.uint8 or not len(images):
        wanted = f"(N, {SIZE}, {SIZE})"
        raise InputError(
            "Images must be 8-bit and of shape {wanted}, got {kind} {shape}",
            wanted=wanted, kind=str(images.dtype), shape=images.shape,
        )  # fmt: skip
    return images


def _maps(images: NDArray[np.uint8]) -> Array:
    """Each point's mean less the shading around it: (N, 128, 128) → same."""
    x = images.astype(np.float32)
    narrow = ndimage.uniform_filter(x, (0, FINE, FINE), mode="nearest")
    return narrow - ndimage.uniform_filter(x, (0, WIDE, WIDE), mode="nearest")


def _windows(
    maps: Array,
    down: NDArray[np.integer] | int = 0,
    right: NDArray[np.integer] | int = 0,
    which: NDArray[np.integer] | slice = slice(None),
) -> Array:
    """Thumbnails (…, 27, 27) of the middle of maps (N, 128, 128), moved by `down` and `right` pixels."""
    view = np.lib.stride_tricks.sliding_window_view(maps, (SPAN, SPAN), axis=(1, 2))
    return view[which, START + down, START + right, ::STEP, ::STEP]


def _unit(vectors: Array) -> Array:
    return vectors / (np.linalg.norm(vectors, axis=-1, keepdims=True) + 1e-6)


def joined_groups(images: NDArray[np.uint8], groups: ArrayLike, limit: float = COPY) -> NDArray[np.str_]:
    """Join groups that hold copies of each other, also mirrored or shifted ones, which a plain comparison misses.

    More than half of the slices in the public brain release have such a copy under another name.

    Parameters
    ----------
    images : NDArray[np.uint8], shape (N, 128, 128)
    groups : array_like of str, shape (N,)
    limit : float
        Aligned correlation above which two images are copies.

    Returns
    -------
    NDArray[np.str_]
        (N,) the name of one of the joined groups each.
    """
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import connected_components

    names, member = np.unique(np.asarray(groups).astype(str), return_inverse=True)
    if len(names) < 2:
        return names[member]
    similar, rows = Descriptors._of(_images(images), 0)._search(images, member, member)
    one, place = np.nonzero(similar > limit)
    edges = member[one], member[rows[one, place]]
    graph = csr_array((np.ones(len(one), bool), edges), shape=(len(names), len(names)))
    _, joined = connected_components(graph, directed=False)
    first = np.unique(joined, return_index=True)[1]
    return names[first][joined][member]


def likeness(images: NDArray[np.uint8], synthetic: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Aligned correlation (N,) of each image (N, 128, 128) with its most similar synthetic one (S, 128, 128)."""
    return Descriptors._of(_images(synthetic), 0)._search(_images(images))[0].max(1).astype(np.float64)


def membership_auc(
    train: ArrayLike, held_out: ArrayLike, synthetic: ArrayLike, train_groups: ArrayLike, held_out_groups: ArrayLike
) -> Interval:
    """How well nearness to a synthetic image betrays that an image was trained on (Chen et al. 2020, "GAN-Leaks").

    Parameters
    ----------
    train, held_out, synthetic : array_like
        Images (…, 128, 128) in 8 bits, compared by aligned correlation; or feature vectors (…, D), compared by
        Euclidean distance.
    train_groups, held_out_groups : array_like of str
        Patients, over which the interval is found.

    Returns
    -------
    Interval
        AUC: 0.5 when it betrays nothing.
    """
    made = np.asarray(synthetic)
    parts = [np.asarray(part) for part in (train, held_out)]
    if made.ndim == 3:
        near = [likeness(part, made) for part in parts]
    else:
        near = [-squared_distances(part, made).min(1) for part in parts]
    names = [np.char.add(kind, np.asarray(part, str)) for kind, part in (("t", train_groups), ("h", held_out_groups))]
    is_member = np.repeat([1, 0], [len(part) for part in near])
    return bootstrap(roc_auc, np.concatenate(near), is_member, groups=np.concatenate(names))
