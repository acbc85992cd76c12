"""Training the boosted trees that forecasts are compared with: one set for each variable and hours ahead."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import lightgbm
import numpy as np
from numpy.typing import NDArray

from medai_core.icu.forecast_baselines import TREE_HOURS, TREE_VARIABLES, tree_name
from medai_core.icu.forecast_inputs import LAST, VARIABLES
from medai_core.icu.grid import HOURS

Progress = Callable[[dict[str, object]], None]

EVERY = 3
"""Hours of a stay resemble each other: one in three is learned from."""
PARAMETERS: dict[str, Any] = {
    "objective": "regression_l1", "num_iterations": 120, "learning_rate": 0.08, "num_leaves": 24,
    "feature_fraction": 0.3, "bagging_fraction": 0.6, "bagging_freq": 1, "min_data_in_leaf": 40, "max_bin": 63,
    "num_threads": 1, "verbosity": -1, "deterministic": True, "force_row_wise": True,
}  # fmt: skip


def train_forecast_trees(
    x: NDArray[np.float32], z: NDArray[np.float32], seed: int, progress: Progress
) -> dict[str, NDArray[np.uint8]]:
    """LightGBM's text as bytes by :func:`tree_name`.

    Parameters
    ----------
    x : NDArray, shape (N, 48, D)
        Inputs, of which each row forecasts the change from the last value.
    z : NDArray, shape (N, 48, V)
        Standardised hourly means, NaN where not measured.
    """
    stored = {}
    for k, name in enumerate(TREE_VARIABLES):
        v = VARIABLES.index(name)
        for hours in TREE_HOURS:
            at = np.arange(0, HOURS - hours, EVERY)
            truth, rows = z[:, at + hours, v], x[:, at]
            seen = ~np.isnan(truth)
            if not seen.any():
                continue
            change = truth[seen] - rows[seen][:, LAST][:, v]
            data = lightgbm.Dataset(rows[seen], change, params={"max_bin": PARAMETERS["max_bin"]})
            text = lightgbm.train(PARAMETERS | {"seed": seed}, data).model_to_string()
            stored[tree_name(name, hours)] = np.frombuffer(text.encode(), np.uint8)
        progress({"part": "trees", "epoch": k + 1, "of": len(TREE_VARIABLES), "variable": name})
    return stored
