"""Whether a synthetic image is a near-copy of a training image, found without the training images.

A training image is kept as 48 small whole numbers of 3 to 4 bits: random sums and differences over a thumbnail from
which broad shading was taken away. These 21 bytes cannot hold a radiograph, which needs thousands. What thousands of
other radiographs and the best linear way back make of them is a blurred chest, no more like the image (correlation
0.88) than the nearest radiograph of another patient is (0.89); the rhythm of the ribs can be guessed, no finding can.
With the 48 bytes beside them, mixtures of what the scan model's network sees, the blurred chest has the brightness of
its parts better (0.90), and no edge or vessel more (0.35 with and without them).
Who already holds an image can find out whether it was trained on: that is what the descriptors are for.

What is not undone in the comparison (:mod:`medai_core.likeness`) is left to the distance between features.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from medai_core.errors import ArtifactError, InputError
from medai_core.likeness import LAYOUT, Codes, closest
from medai_core.metrics import Interval, bootstrap, roc_auc
from medai_core.synthesis.quality import squared_distances

FEATURE_LENGTH = 48
WITHHELD_PERCENT = 0.1
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
    known : Codes
        The training images.
    reference : NDArray[np.float32]
        (N,) ascending: similarity of each training image to the nearest of another group.
    features : dict of arrays, or empty
        ``codes`` (N, 48) int8 with their ``scale``, ``mean`` (D,), ``projection`` (D, 48) and ``reference`` (N,).
    """

    known: Codes
    reference: Array
    features: dict[str, NDArray]

    def __len__(self) -> int:
        return len(self.known)

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
            Patient or group of near-copies (:func:`medai_core.likeness.joined_groups`). Pairs of one group are left
            out of the reference: a patient's second radiograph is not what a near-copy should be compared with.
        features : array_like, shape (N, D), optional
            The same images in the scan model's feature space.
        """
        names = np.unique(np.asarray(groups), return_inverse=True)[1]
        if len(names) != len(images) or len(set(names.tolist())) < 2:
            raise InputError("Descriptors need images of at least two groups, got {count}", count=len(set(names)))
        known = Codes.of(images, seed)
        reference = np.sort(known.search(images, names, names)[0].max(1))
        described = {} if features is None else _describe_features(np.asarray(features, np.float64), names, seed)
        return cls(known, reference, described)

    def to_arrays(self) -> dict[str, NDArray]:
        """Arrays for one ``.npz`` of a bundle, for :meth:`from_arrays`."""
        own = {"codes": self.known.codes, "signs": self.known.signs, "reference": self.reference, "layout": LAYOUT}
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
        return cls(Codes(arrays["codes"], arrays["signs"]), arrays["reference"], features)

    def nearest(self, images: NDArray[np.uint8], features: ArrayLike | None = None) -> Nearness:
        """Compare images (N, 128, 128), and their features (N, D) if given, with all training images.

        Raises
        ------
        InputError
            Images of another shape; or features of another length, or where none were kept.
        """
        similar, rows = self.known.search(images)
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
        near = [closest(part, made) for part in parts]
    else:
        near = [-squared_distances(part, made).min(1) for part in parts]
    names = [np.char.add(kind, np.asarray(part, str)) for kind, part in (("t", train_groups), ("h", held_out_groups))]
    is_member = np.repeat([1, 0], [len(part) for part in near])
    return bootstrap(roc_auc, np.concatenate(near), is_member, groups=np.concatenate(names))
