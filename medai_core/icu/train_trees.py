"""Training the trees: one set for each anchor hour, from what was known at that hour."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import lightgbm
import numpy as np
from numpy.typing import NDArray

from medai_core.icu.blend import ANCHORS, anchor_weights
from medai_core.icu.cohort import Cohort, part_of
from medai_core.icu.features import FEATURES, features
from medai_core.icu.trees import KINDS, Trees

BINS = 63
CHUNK = 256
# Many weak trees that see a share of the features each: there are more features than deaths.
PARAMETERS: dict[str, dict[str, Any]] = {
    "greedy": {
        "num_iterations": 400, "learning_rate": 0.03, "num_leaves": 8, "feature_fraction": 0.1, "min_data_in_leaf": 15,
    },
    "random": {
        "num_iterations": 350, "learning_rate": 0.05, "num_leaves": 12, "feature_fraction": 0.2, "min_data_in_leaf": 30,
        "extra_trees": True,
    },
}  # fmt: skip
_SHARED: dict[str, Any] = {
    "objective": "binary", "bagging_fraction": 0.6, "bagging_freq": 1, "lambda_l2": 5.0, "max_bin": BINS,
    "num_threads": 1, "verbosity": -1, "deterministic": True, "force_row_wise": True,
}  # fmt: skip
assert np.isclose(anchor_weights().sum(1), 1).all()

Progress = Callable[[dict[str, object]], None]


def anchor_features(cohort: Cohort) -> NDArray[np.float32]:
    """Features of each stay at the anchor hours, (N, A, F)."""
    at = np.array(ANCHORS) - 1
    starts = range(0, len(cohort.died), CHUNK)
    return np.concatenate([features(part_of(cohort.grid, slice(k, k + CHUNK)))[:, at] for k in starts])


def fit(rows: NDArray[np.float32], died: NDArray[np.int64], kind: str, seed: int) -> lightgbm.Booster:
    """Trees of one kind for one hour from features (N, F)."""
    data = lightgbm.Dataset(rows, died, params={"max_bin": BINS}, feature_name=[f"f{k}" for k in range(len(FEATURES))])
    return lightgbm.train(_SHARED | PARAMETERS[kind] | {"seed": seed}, data)


def train_trees(
    cohort: Cohort, fold: NDArray[np.intp], seed: int, progress: Progress
) -> tuple[dict[tuple[int, str], str], NDArray[np.float64]]:
    """Trees on all stays, and what trees that never saw a stay's fold say of it.

    Returns
    -------
    texts : dict
        LightGBM's text by anchor hour and kind.
    held_out : NDArray, shape (N, 48)
        Logits; NaN between the anchors.
    """
    rows, texts = anchor_features(cohort), {}
    held_out = np.full((len(fold), max(ANCHORS)), np.nan)
    for k, hour in enumerate(ANCHORS):
        held_out[:, hour - 1] = 0.0
        for kind in KINDS:
            for number in range(fold.max() + 1):
                mine = fold == number
                booster = fit(rows[~mine, k], cohort.died[~mine], kind, seed)
                logits = booster.predict(rows[mine, k], raw_score=True, num_threads=1)
                held_out[mine, hour - 1] += logits / len(KINDS)
            texts[hour, kind] = fit(rows[:, k], cohort.died, kind, seed).model_to_string()
        progress({"part": "trees", "epoch": k + 1, "of": len(ANCHORS), "hour": hour})
    Trees(texts)
    return texts, held_out
