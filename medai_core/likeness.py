"""How alike images are, whatever their mirroring, place, brightness and contrast: one measure for two uses.

Public image collections hold near-copies under several names, which must never be parted between training and
test; and a synthetic image must not be a near-copy of a training image.

An image is described by 48 random sums and differences over a thumbnail from which broad shading was taken away, as
whole numbers of 3 to 4 bits. It is compared in both mirrorings and at all shifts of up to 7 pixels either way.
Correlations of thumbnails survive changes of brightness, contrast, sharpness and compression. Turning or zooming by
more than a few percent is not undone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from medai_core.errors import InputError

SIZE = 128
STEP, SIDE = 4, 27
SPAN = STEP * (SIDE - 1) + 1
START = (SIZE - SPAN) // 2 + 1
FINE, WIDE = 5, 17
"""Pixels a thumbnail's point is the mean of, and pixels whose mean is the shading taken away from it."""
COARSE_SHIFTS = np.array([-6, -3, 0, 3, 6])
FINE_SHIFTS = np.array([-1, 0, 1])
CANDIDATES = 8
LENGTH = 48
QUANTUM = 3
CHUNK = 16
LAYOUT = np.array([STEP, SIDE, FINE, WIDE, QUANTUM])
"""Kept with codes on disk: an image described otherwise cannot be compared with them."""
COPY = 0.92
"""Aligned correlation from which two real images show the same: of 2,861 chest patients one pair reaches it."""

Array = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Codes:
    """Images described, to find the most similar of them.

    Attributes
    ----------
    codes : NDArray[np.int8]
        (N, 48), one row per image.
    signs : NDArray[np.int8]
        (729, 48) of -1 and 1: the random sums.
    """

    codes: NDArray[np.int8]
    signs: NDArray[np.int8]

    def __post_init__(self) -> None:
        signs = self.signs.astype(np.float32)
        # Sums over centred signs do not see an image's mean.
        object.__setattr__(self, "_signs", signs - signs.mean(0))
        object.__setattr__(self, "_known", _unit(self.codes.astype(np.float32)))

    def __len__(self) -> int:
        return len(self.codes)

    @classmethod
    def of(cls, images: NDArray[np.uint8], seed: int = 0) -> Codes:
        """Describe images (N, 128, 128)."""
        images = _images(images)
        chosen = np.random.default_rng(seed).random((SIDE * SIDE, LENGTH)) < 0.5
        signs = np.where(chosen, -1, 1).astype(np.int8)
        blank = cls(np.zeros((0, LENGTH), np.int8), signs)
        parts = (_windows(_maps(images[k : k + CHUNK])) for k in range(0, len(images), CHUNK))
        unit = np.concatenate([blank._described(part) for part in parts])
        codes = np.round(unit * np.sqrt(LENGTH) * QUANTUM).clip(-127, 127).astype(np.int8)
        return cls(codes, signs)

    def _described(self, windows: Array) -> Array:
        """Windows (…, 27, 27) as unit vectors (…, 48)."""
        return _unit(windows.reshape(*windows.shape[:-2], -1) @ self._signs)

    def search(
        self,
        images: NDArray[np.uint8],
        groups: NDArray[np.integer] | None = None,
        known: NDArray[np.integer] | None = None,
    ) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
        """Aligned similarity (N, C) and number (N, C) of the most similar of the images described, in no order.

        With `groups` (N,) and `known` of the images described, those of an image's own group are passed over.
        """
        images = _images(images)
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


def joined_groups(images: NDArray[np.uint8], groups: ArrayLike | None = None, limit: float = COPY) -> NDArray[np.str_]:
    """Join groups that hold near-copies of each other, directly or through a chain of others.

    Half of the slices in the public brain release have a near-copy under another name, many of them mirrored or moved.

    Parameters
    ----------
    images : NDArray[np.uint8], shape (N, 128, 128)
    groups : array_like of str, shape (N,), optional
        What belongs together already, a patient for example. Each image by itself when not given.
    limit : float
        Aligned correlation above which two images are near-copies.

    Returns
    -------
    NDArray[np.str_]
        (N,) the name of one of the joined groups each.
    """
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import connected_components

    given = [f"group{k}" for k in range(len(images))] if groups is None else groups
    names, member = np.unique(np.asarray(given).astype(str), return_inverse=True)
    if len(names) < 2:
        return names[member]
    similar, rows = Codes.of(images).search(images, member, member)
    one, place = np.nonzero(similar > limit)
    edges = member[one], member[rows[one, place]]
    graph = csr_array((np.ones(len(one), bool), edges), shape=(len(names), len(names)))
    _, joined = connected_components(graph, directed=False)
    first = np.unique(joined, return_index=True)[1]
    return names[first][joined][member]


def closest(images: NDArray[np.uint8], others: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Aligned correlation (N,) of each image (N, 128, 128) with the most similar of the others (M, 128, 128)."""
    return Codes.of(others).search(images)[0].max(1).astype(np.float64)
