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
from medai_core.icu.trees import Trees

ROUNDS = 400
BINS = 63
CHUNK = 256
# Many weak trees that see a tenth of the features each: there are five features for every death.
PARAMETERS: dict[str, Any] = {
    "objective": "binary", "learning_rate": 0.03, "num_leaves": 8, "min_data_in_leaf": 30, "feature_fraction": 0.1,
    "bagging_fraction": 0.6, "bagging_freq": 1, "lambda_l2": 5.0, "max_bin": BINS, "num_threads": 1, "verbosity": -1,
    "deterministic": True, "force_row_wise": True,
}  # fmt: skip
assert np.isclose(anchor_weights().sum(1), 1).all()

Progress = Callable[[dict[str, object]], None]


def anchor_features(cohort: Cohort) -> NDArray[np.float32]:
    """Features of each stay at the anchor hours, (N, A, F)."""
    at = np.array(ANCHORS) - 1
    starts = range(0, len(cohort.died), CHUNK)
    return np.concatenate([features(part_of(cohort.grid, slice(k, k + CHUNK)))[:, at] for k in starts])


def fit(rows: NDArray[np.float32], died: NDArray[np.int64], seed: int) -> lightgbm.Booster:
    """Trees for one hour from features (N, F)."""
    data = lightgbm.Dataset(rows, died, params={"max_bin": BINS}, feature_name=[f"f{k}" for k in range(len(FEATURES))])
    return lightgbm.train(PARAMETERS | {"seed": seed}, data, ROUNDS)


def train_trees(
    cohort: Cohort, fold: NDArray[np.intp], seed: int, progress: Progress
) -> tuple[dict[int, str], NDArray[np.float64]]:
    """Trees on all stays, and what trees that never saw a stay's fold say of it.

    Returns
    -------
    texts : dict[int, str]
        LightGBM's text by anchor hour.
    held_out : NDArray, shape (N, 48)
        Logits; NaN between the anchors.
    """
    rows, texts = anchor_features(cohort), {}
    held_out = np.full((len(fold), max(ANCHORS)), np.nan)
    for k, hour in enumerate(ANCHORS):
        for number in range(fold.max() + 1):
            mine = fold == number
            booster = fit(rows[~mine, k], cohort.died[~mine], seed)
            held_out[mine, hour - 1] = booster.predict(rows[mine, k], raw_score=True, num_threads=1)
        texts[hour] = fit(rows[:, k], cohort.died, seed).model_to_string()
        progress({"part": "trees", "epoch": k + 1, "of": len(ANCHORS), "hour": hour})
    Trees(texts)
    return texts, held_out
