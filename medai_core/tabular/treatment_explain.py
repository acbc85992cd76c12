"""What drives a patient's risk under an arm, and the difference between two arms: SHAP values in probability."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medai_core.faithfulness import Faithfulness
from medai_core.tabular.explain import PROBABILITY, Explanation
from medai_core.tabular.faithful import BACKGROUND_ROWS, of_answers
from medai_core.tabular.survival import Matrix, Vector
from medai_core.tabular.treatment import TreatmentModel

MOST_EXACT = 8
"""Up to so many covariates all their subsets are asked for; beyond, orders of covariates are drawn."""
ORDERS = 10
RISK, DIFFERENCE = "risk", "difference"
_lock = threading.Lock()


def explain(
    model: TreatmentModel, rows: Mapping[str, Any] | Sequence[Mapping[str, Any]], arm: str, versus: str | None = None
) -> Explanation:
    """SHAP values of the risk under one arm, or of the difference between two, for one patient or several.

    Parameters
    ----------
    versus : str, optional
        With it, event-free probability at the horizon under `arm`, less that under this one; without it, the
        probability of the event by the horizon under `arm`.

    Returns
    -------
    Explanation
        In probability, against the model's drawn patients; `family` is ``risk`` or ``difference``. Which arm is better
        was settled by chance, so the difference is an effect; what a covariate adds to it is association.

    Raises
    ------
    InputError
        If an arm is unknown, or a row cannot be read.
    """
    import shap  # noqa: F401  not to be counted: seconds, once

    x = np.array([model.read(row)[0] for row in ([rows] if isinstance(rows, Mapping) else rows)])
    asked = _question(model, model.number(arm), None if versus is None else model.number(versus))
    start = time.perf_counter()
    values, base, exact, error = _shap(asked, x, model.background)
    answers = asked(x)
    return Explanation(
        family=RISK if versus is None else DIFFERENCE, output=1, link=PROBABILITY, encoder=model.encoder, x=x,
        values=values, base_value=base, predictions=answers, exact=exact, method="subsets" if exact else "permutation",
        additivity_error=float(np.abs(base + values.sum(axis=1) - answers).max()), sampling_error=error,
        background=len(model.background), seconds=time.perf_counter() - start,
    )  # fmt: skip


def faithfulness(model: TreatmentModel, told: Explanation, arm: str, versus: str | None = None) -> Faithfulness:
    """Hold an explanation of one patient, made by :func:`explain` for the same arms, against the model."""
    asked = _question(model, model.number(arm), None if versus is None else model.number(versus))
    return of_answers(asked, told, model.background[:BACKGROUND_ROWS])


def _question(model: TreatmentModel, arm: int, versus: int | None) -> Callable[[Matrix], Vector]:
    def risk(x: Matrix) -> Vector:
        return 1 - model.at_horizon(x)[:, arm]

    def difference(x: Matrix) -> Vector:
        found = model.at_horizon(x)
        return found[:, arm] - found[:, versus]

    return risk if versus is None else difference


def _shap(
    asked: Callable[[Matrix], Vector], x: Matrix, background: Matrix
) -> tuple[NDArray[np.float64], float, bool, float]:
    """SHAP values (N, D), their base, whether they are exact, and the largest standard error."""
    import shap

    masker = shap.maskers.Independent(background, max_samples=len(background))
    exact, error = x.shape[1] <= MOST_EXACT, 0.0
    with _lock:  # shap's orders come from NumPy's global state
        if exact:
            found = shap.explainers.Exact(asked, masker)(x, silent=True)
        else:
            explainer = shap.explainers.Permutation(asked, masker, seed=0)
            found = explainer(x, max_evals=ORDERS * (2 * x.shape[1] + 1), error_bounds=True, silent=True)
            error = float(np.max(found.error_std)) / np.sqrt(ORDERS)
    return np.asarray(found.values, float), float(np.mean(found.base_values)), exact, error
