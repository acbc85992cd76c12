"""From the public stays to the shipped bundle ``icu_forecast``.

The test part is that of ``icu_mortality``, so that one patient is unseen by both. Calibration comes from validation
patients; the test part is measured at the end.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medai_core import runtime
from medai_core.artifacts import Bundle, round_weights, save_bundle
from medai_core.icu.cards import CARDS
from medai_core.icu.cohort import Cohort, load_cohort, part_of
from medai_core.icu.forecast_baselines import METHODS, TREE_HOURS, TREE_VARIABLES, VITAL_SIGNS, BoostedTrees
from medai_core.icu.forecast_calibration import Calibration
from medai_core.icu.forecast_evaluate import (
    CHUNK,
    LOOKED_FROM,
    TREES,
    Answer,
    Figures,
    figures,
    tally,
    truth_after,
)
from medai_core.icu.forecast_inputs import COLUMNS, PLACES, REACH, VARIABLES, forecast_inputs, standardise
from medai_core.icu.forecast_network import for_reading
from medai_core.icu.grid import HOURS, Grid
from medai_core.icu.inputs import Scaling
from medai_core.icu.outlook import HORIZON, MODEL, QUANTILES, asked_at
from medai_core.icu.train import libraries, split
from medai_core.icu.train_forecast_network import ForecastRecipe, Progress, train_network
from medai_core.icu.train_forecast_trees import train_forecast_trees
from medai_core.icu.variables import SERIES

VERSION = "1.0.0"
VALIDATION_SHARE = 0.12

Rows = NDArray[np.float32]


def parts_of(cohort: Cohort, seed: int) -> dict[str, Grid]:
    """Training, validation and test stays, by patient; the test part is that of the mortality model."""
    development, test = split(cohort, seed)
    shuffled = np.random.default_rng(seed).permutation(development)
    kept = round(VALIDATION_SHARE * len(shuffled))
    rows = {"train": np.sort(shuffled[kept:]), "validation": np.sort(shuffled[:kept]), "test": test}
    return {name: part_of(cohort.grid, mine) for name, mine in rows.items()}


def inputs_of(grid: Grid, scaling: Scaling) -> Rows:
    """Inputs (N, 48, D), a chunk of stays at a time."""
    starts = range(0, len(grid.mean), CHUNK)
    return np.concatenate([forecast_inputs(part_of(grid, slice(k, k + CHUNK)), scaling) for k in starts])


def truths_of(grid: Grid, scaling: Scaling) -> Rows:
    """Hourly means (N, 48, V) on the scale of the forecasts, NaN where not measured."""
    return np.clip(standardise(grid.mean[..., PLACES], scaling), -REACH, REACH).astype(np.float32)


def train_icu_forecast(data: Path, out: Path, progress: Progress, recipe: ForecastRecipe | None = None) -> Bundle:
    """Rebuild the forecasts from the challenge's folder; finished epochs in ``<out>.work`` are taken up.

    Parameters
    ----------
    data : Path
        A folder with ``set-a`` and ``Outcomes-a.txt`` somewhere below it.
    out : Path
        Becomes the bundle.
    """
    recipe, cohort = recipe or ForecastRecipe(), load_cohort(data)
    parts = parts_of(cohort, recipe.seed)
    train = parts["train"]
    scaling = Scaling.fit(train)
    x, z = inputs_of(train, scaling), truths_of(train, scaling)
    network = for_reading(train_network(x, z, recipe, out.with_name(f"{out.name}.work"), progress))
    round_weights(network)  # what is calibrated and measured is what will be stored
    run = runtime.Compiled(network, (HOURS, COLUMNS + 1))
    trees = train_forecast_trees(x, z, recipe.seed, progress)
    calibration = _calibrated(run, parts["validation"], scaling)
    measured = train.mean[..., PLACES].astype(float)
    mean = np.nansum(measured, axis=(0, 1)) / np.maximum((~np.isnan(measured)).sum((0, 1)), 1)
    constants = {
        "version": VERSION,
        "variables": {name: SERIES[name].unit for name in VARIABLES},
        "quantiles": list(QUANTILES),
        "horizon": HORIZON,
        "scaling": scaling.to_dict(),
        "calibration": calibration.to_dict(),
        "mean": mean,
        "chosen_on": "validation patients",
    }

    def answer(rows: Rows, at: int) -> NDArray[np.float64]:
        return calibration(run(asked_at(rows, at)), rows[:, at - 1], scaling)

    known = {"mean": mean, "trees": BoostedTrees(trees)}
    document = _document(answer, parts, scaling, known)
    counts = {name: len(grid.mean) for name, grid in parts.items()}
    return save_bundle(out, network, _card(cohort, counts, recipe), constants, document, {TREES: trees})


def _calibrated(run: runtime.Compiled, grid: Grid, scaling: Scaling) -> Calibration:
    x = inputs_of(grid, scaling)
    answers, rows, truth = [], [], []
    for at in LOOKED_FROM:
        answers += [run(asked_at(x[k : k + CHUNK], at)) for k in range(0, len(x), CHUNK)]
        rows.append(x[:, at - 1])
        after = np.moveaxis(truth_after(grid.mean, at), 1, 2)  # (N, 24, V)
        truth.append(np.moveaxis(standardise(after, scaling), 1, 2))
    return Calibration.fit(np.concatenate(answers), np.concatenate(rows), np.concatenate(truth))


def _document(answer: Answer, parts: Mapping[str, Grid], scaling: Scaling, known: dict[str, Any]) -> dict[str, Any]:
    """Figures of the test part, and of the validation part for comparison."""
    shown, baseline = [], []
    for name in ("test", "validation"):
        found = tally(answer, parts[name], scaling, known, LOOKED_FROM)
        rows = [row for row in figures(found, name) if np.isfinite([row["value"], row["low"], row["high"]]).all()]
        shown += _shown(rows)
        baseline += _beside(rows)
    return {"figures": shown, "baseline": baseline, "notes": CARDS[MODEL]["notes"]}


def _shown(rows: Figures) -> Figures:
    """Those a reader of the card needs; ``evaluate`` prints them all."""
    wanted = {f"MAE, {name}, {hours} h" for name in TREE_VARIABLES for hours in TREE_HOURS}
    wanted |= {f"skill over the {m}, {name}, {h} h" for m in METHODS for name in VITAL_SIGNS for h in TREE_HOURS}
    names = ("coverage", *(f"skill over the {method}, {scope}" for method in METHODS for scope in ("vital", "all")))
    return [row for row in rows if row["metric"] in wanted or str(row["metric"]).startswith(names)]


def _beside(rows: Figures) -> Figures:
    """The errors of the last value carried forward, under the names of the model's own."""
    wanted = {
        f"MAE of the {METHODS[0]}, {name}, {hours} h": f"MAE, {name}, {hours} h"
        for name in TREE_VARIABLES
        for hours in TREE_HOURS
    }
    return [row | {"metric": wanted[str(row["metric"])]} for row in rows if row["metric"] in wanted]


def _card(cohort: Cohort, counts: Mapping[str, int], recipe: ForecastRecipe) -> dict[str, Any]:
    words = CARDS[MODEL]
    data = words["training_data"] | {"n_stays": len(cohort.ids), "n_patients": len(set(cohort.ids.tolist()))}
    return {
        "id": MODEL,
        "version": VERSION,
        **{name: text for name, text in words.items() if name != "notes"},
        "labels": list(VARIABLES),
        "training_data": data,
        "split": words["split"] | dict(counts) | {"seed": recipe.seed},
        "recipe": vars(recipe),
        "libraries": libraries(),
        "seed": recipe.seed,
    }
