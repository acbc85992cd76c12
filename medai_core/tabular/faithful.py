"""Whether an explanation of a row points at what the model uses: deletion and insertion against random orders."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from medai_core.errors import InputError
from medai_core.faithfulness import Faithfulness, against_random

if TYPE_CHECKING:
    from medai_core.tabular.explain import Explanation
    from medai_core.tabular.risk_model import RiskModel

Matrix = NDArray[np.float64]
BACKGROUND_ROWS = 30


def faithfulness(model: RiskModel, told: Explanation, row: int = 0, seed: int = 0) -> Faithfulness:
    """Hold the explanation of one row against the model.

    A deleted feature takes the values of background rows, and the answer is the mean over them.

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

    def answers(x: Matrix) -> Matrix:
        link = model.member(told.family).link(x)
        return link[:, told.output if link.shape[1] > 1 else 0]

    return of_answers(answers, told, model.background[:BACKGROUND_ROWS], row, seed)


def of_answers(
    answers: Callable[[Matrix], Matrix], told: Explanation, background: Matrix, row: int = 0, seed: int = 0
) -> Faithfulness:
    """As :func:`faithfulness`, of whatever gives the answers (N,) that were explained for rows (N, D)."""
    x = told.x[row]

    def game(present: NDArray[np.bool_]) -> Matrix:
        mixed = np.where(present[:, None, :], x, background)  # (E, B, D)
        return answers(mixed.reshape(-1, len(x))).reshape(len(present), -1).mean(axis=1)

    return against_random(game, told.values[row], bool(told.predictions[row] >= told.base_value), seed=seed)
