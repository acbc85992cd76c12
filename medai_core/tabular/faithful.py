"""Whether an explanation of a row points at what the model uses: deletion and insertion against random orders."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from medai_core.errors import InputError

if TYPE_CHECKING:
    from medai_core.tabular.explain import Explanation
    from medai_core.tabular.risk_model import RiskModel

Matrix = NDArray[np.float64]
BACKGROUND_ROWS = 30
RANDOM_ORDERS = 20


@dataclass(frozen=True, eq=False)
class Faithfulness:
    """How a prediction falls as features are deleted in the explanation's order, and rises as they are put in.

    A deleted feature takes the values of background rows, and the answer is the mean over them. All on the scale of
    the explanation, turned so that up is towards the answer.

    Attributes
    ----------
    deletion, insertion : Matrix, shape (D + 1,)
        After each step, from the whole row, and from none of it.
    random_deletion, random_insertion : Matrix, shape (R, D + 1)
        In random orders.
    deletion_auc, insertion_auc : float
        Mean along the curves: lower, and higher, is better.
    random_deletion_auc, random_insertion_auc : float
        Means over the random orders.
    faithful : bool
        Insertion exceeds deletion by at least as much as along every random order, and by more than nothing.
    """

    deletion: Matrix
    insertion: Matrix
    random_deletion: Matrix
    random_insertion: Matrix
    deletion_auc: float
    insertion_auc: float
    random_deletion_auc: float
    random_insertion_auc: float
    faithful: bool


def faithfulness(model: RiskModel, told: Explanation, row: int = 0, seed: int = 0) -> Faithfulness:
    """Hold the explanation of one row against the model.

    Parameters
    ----------
    told : Explanation
        On the model's own scale.

    Raises
    ------
    InputError
        If it is on the scale of the probability.
    """
    if told.link == "probability":
        raise InputError("Faithfulness is measured on the model's own scale, not on that of the probability.")
    x, values = told.x[row], told.values[row]
    sign = 1.0 if told.predictions[row] >= told.base_value else -1.0
    rng, width = np.random.default_rng(seed), len(x)
    background = model.background[:BACKGROUND_ROWS]
    orders = [np.argsort(-sign * values, kind="stable"), *(rng.permutation(width) for _ in range(RANDOM_ORDERS))]
    place = np.argsort(np.array(orders), axis=1)  # (1 + R, D): when each feature's turn comes
    steps = np.arange(width + 1)[:, None]
    gone = np.array([each < steps for each in place])  # (1 + R, D + 1, D)
    curves = [_answers(model, told, x, present, background) * sign for present in (~gone, gone)]
    areas = [curve.mean(axis=1) for curve in curves]  # (1 + R,)
    gaps = areas[1] - areas[0]
    return Faithfulness(
        curves[0][0], curves[1][0], curves[0][1:], curves[1][1:], float(areas[0][0]), float(areas[1][0]),
        float(areas[0][1:].mean()), float(areas[1][1:].mean()),
        bool(gaps[0] > 0 and gaps[0] >= gaps[1:].max()),
    )  # fmt: skip


def _answers(model: RiskModel, told: Explanation, x: Matrix, present: NDArray[np.bool_], background: Matrix) -> Matrix:
    """Mean answers (…,) with some features of the row present (…, D) and the rest from the background."""
    flat = present.reshape(-1, present.shape[-1])
    mixed = np.where(flat[:, None, :], x, background)  # (E, B, D)
    link = model.member(told.family).link(mixed.reshape(-1, len(x)))
    column = told.output if link.shape[1] > 1 else 0
    return link[:, column].reshape(len(flat), -1).mean(axis=1).reshape(present.shape[:-1])
