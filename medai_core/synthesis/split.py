"""Which patients a generator learns from, and which are kept apart to judge it."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import ArrayLike, NDArray

from medai_core.errors import InputError

HELD_OUT_SHARE = 0.1
SEED = 0


def split(
    groups: ArrayLike, labels: ArrayLike, seed: int = SEED, share: float = HELD_OUT_SHARE
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Cut images into a training and a held-out part, never through a patient or a group of near-duplicates.

    Within each label, groups stand in the order of a hash of their names and the first `share` of them are held
    out: the same whatever the order of the images, and nearly the same when some are added.

    Parameters
    ----------
    groups : array_like of str, shape (N,)
        Patient or group of near-duplicates.
    labels : array_like of int, shape (N,)
        A group with several labels counts for its commonest.
    seed : int
        Another seed, another split.
    share : float
        Above 0, below 1.

    Returns
    -------
    tuple[NDArray[np.bool_], NDArray[np.bool_]]
        (N,) each: the training part and the held-out part, one the opposite of the other.

    Raises
    ------
    InputError
        Unequal lengths, no image, a share outside its limits, or a label with a single group.
    """
    names, member = np.unique(np.asarray(groups).astype(str), return_inverse=True)
    numbers = np.asarray(labels, np.int64)
    if len(member) != len(numbers) or not len(numbers):
        lengths = f"{len(member)}, {len(numbers)}"
        raise InputError("Groups and labels must be of one length above 0, got {lengths}", lengths=lengths)
    if not 0 < share < 1:
        raise InputError("`share` must be above 0 and below 1, got {share}", share=share)
    counts = np.zeros((len(names), numbers.max() + 1), np.int64)
    np.add.at(counts, (member, numbers), 1)
    main = counts.argmax(1)
    place = np.array([hashlib.sha256(f"{seed}:{name}".encode()).hexdigest() for name in names])
    chosen = np.zeros(len(names), bool)
    for label in np.unique(main):
        mine = np.flatnonzero(main == label)
        if len(mine) < 2:
            raise InputError("Label {label} has one group only: nothing would be left to learn from", label=int(label))
        chosen[mine[np.argsort(place[mine])][: max(1, round(share * len(mine)))]] = True
    held = chosen[member]
    return ~held, held
