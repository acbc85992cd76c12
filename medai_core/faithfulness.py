"""Whether an explanation points at what a model uses: deletion and insertion against random orders.

Whatever is explained, a row of a table or a stay, is a game here: parts that are present or not, and an answer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Game = Callable[[NDArray[np.bool_]], Floats]
"""From parts present (E, P) to answers (E,)."""
RANDOM_ORDERS = 20


@dataclass(frozen=True, eq=False)
class Faithfulness:
    """How an answer falls as parts are deleted in the explanation's order, and rises as they are put in.

    All on the scale of the answers, turned so that up is towards the one explained.

    Attributes
    ----------
    share : Floats, shape (S,)
        Share of the parts deleted, or put in, after each step: 0 first, 1 last.
    deletion, insertion : Floats, shape (S,)
        After each step, from everything present, and from nothing.
    random_deletion, random_insertion : Floats, shape (R, S)
        In random orders.
    deletion_auc, insertion_auc : float
        Mean along the curves: lower, and higher, is better.
    random_deletion_auc, random_insertion_auc : float
        Means over the random orders.
    faithful : bool
        Insertion exceeds deletion by at least as much as along every random order, and by more than nothing.
    """

    share: Floats
    deletion: Floats
    insertion: Floats
    random_deletion: Floats
    random_insertion: Floats
    deletion_auc: float
    insertion_auc: float
    random_deletion_auc: float
    random_insertion_auc: float
    faithful: bool


def against_random(
    game: Game, values: Floats, rises: bool, *, steps: int | None = None, orders: int = RANDOM_ORDERS, seed: int = 0
) -> Faithfulness:
    """Hold an explanation of a game against random orders of its parts.

    Parameters
    ----------
    game : Game
        Asked once, with every subset that is needed.
    values : Floats, shape (P,)
        What the explanation gives each part.
    rises : bool
        Whether the answer explained lies above that with no part present: then parts with the highest values count
        as pointing to it, else those with the lowest.
    steps : int, optional
        Parts are taken in so many bundles; one by one if None, or if there are fewer.
    orders, seed : int
        Number of random orders, and their seed.
    """
    parts, sign = len(values), 1.0 if rises else -1.0
    rng = np.random.default_rng(seed)
    drawn = [np.argsort(-sign * values, kind="stable"), *(rng.permutation(parts) for _ in range(orders))]
    place = np.argsort(np.array(drawn), axis=1)  # (1 + R, P): when each part's turn comes
    taken = np.unique(np.round(np.linspace(0, parts, min(steps or parts, parts) + 1)).astype(int))  # (S,)
    gone = place[:, None, :] < taken[:, None]  # (1 + R, S, P)
    present = np.stack([~gone, gone])  # (2, 1 + R, S, P)
    curves = sign * np.asarray(game(present.reshape(np.prod(present.shape[:3]), parts)), float)
    curves = curves.reshape(present.shape[:3])
    areas = curves.mean(axis=2)  # (2, 1 + R)
    gaps = areas[1] - areas[0]
    return Faithfulness(
        taken / max(parts, 1), curves[0, 0], curves[1, 0], curves[0, 1:], curves[1, 1:],
        float(areas[0, 0]), float(areas[1, 0]), float(areas[0, 1:].mean()), float(areas[1, 1:].mean()),
        bool(gaps[0] > 0 and gaps[0] >= gaps[1:].max()),
    )  # fmt: skip
