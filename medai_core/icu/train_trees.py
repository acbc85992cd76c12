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
from medai_core.icu.trees import FILES, Trees

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
_OF_TRAINING = (
    "tree_sizes=", "split_gain=", "leaf_weight=", "leaf_count=", "internal_value=", "internal_weight=",
    "internal_count=",
)  # fmt: skip
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


def slim(booster: lightgbm.Booster) -> str:
    """LightGBM's text without the lines that only tell of the training; half the size, the same answers."""
    lines = booster.model_to_string().partition("\nend of trees\n")[0].splitlines()
    kept = [line for line in lines if not line.startswith(_OF_TRAINING)]
    return "\n".join([*kept, "end of trees", ""])


def train_trees(
    cohort: Cohort, fold: NDArray[np.intp], seed: int, progress: Progress
) -> tuple[dict[tuple[int, str, int], str], NDArray[np.float64]]:
    """Trees on all stays, and what trees that never saw a stay's fold say of it.

    Returns
    -------
    texts : dict
        LightGBM's text by anchor hour, kind and number.
    held_out : NDArray, shape (N, 48)
        Logits; NaN between the anchors.
    """
    rows, texts = anchor_features(cohort), {}
    held_out = np.full((len(fold), max(ANCHORS)), np.nan)
    for k, hour in enumerate(ANCHORS):
        known, mine = np.ascontiguousarray(rows[:, k]), [key for key in FILES if key[0] == hour]
        each = [_held_out(known, cohort.died, fold, kind, seed + number - 1) for _, kind, number in mine]
        held_out[:, hour - 1] = np.mean(each, axis=0)
        texts |= {key: slim(fit(known, cohort.died, key[1], seed + key[2] - 1)) for key in mine}
        progress({"part": "trees", "epoch": k + 1, "of": len(ANCHORS), "hour": hour})
    Trees(texts)
    return texts, held_out


def _held_out(
    rows: NDArray[np.float32], died: NDArray[np.int64], fold: NDArray[np.intp], kind: str, seed: int
) -> NDArray[np.float64]:
    """Logit of each stay (N,) from trees that never saw its fold."""
    logits = np.zeros(len(died))
    for number in range(fold.max() + 1):
        mine = fold == number
        booster = fit(rows[~mine], died[~mine], kind, seed)
        logits[mine] = booster.predict(rows[mine], raw_score=True, num_threads=1)
    return logits
