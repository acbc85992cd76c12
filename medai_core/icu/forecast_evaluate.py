"""Figures of the forecasts on stays of other patients, at measured hours only, beside what they have to beat."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medai_core.artifacts import load_arrays
from medai_core.icu.cohort import load_cohort, part_of
from medai_core.icu.forecast_baselines import METHODS, TREE_HOURS, TREE_VARIABLES, VITAL_SIGNS, BoostedTrees, forecasts
from medai_core.icu.forecast_calibration import HOURS_AHEAD
from medai_core.icu.forecast_inputs import PLACES, VARIABLES, forecast_inputs
from medai_core.icu.grid import HOURS, Grid
from medai_core.icu.inputs import Scaling
from medai_core.icu.outlook import QUANTILES, Outlooks, load_outlooks

RESAMPLES = 500
CHUNK = 256
LOOKED_FROM = tuple(range(2, HOURS, 2))
HOURS_SHOWN = (*TREE_HOURS, 24)
TREES = "trees"

Array = NDArray[np.float64]
Figures = list[dict[str, object]]
Answer = Callable[[NDArray[np.float32], int], Array]


@dataclass(frozen=True, eq=False)
class Tally:
    """Sums over the hours looked from, for N stays, V variables and 1 to 24 hours ahead.

    Attributes
    ----------
    cells : Array, shape (N, V, 24)
        How many measured hours.
    error, pinball : Array, shape (N, V, 24)
        Absolute error of the median, and pinball loss averaged over the five quantiles, in the variable's unit.
    inside_half, inside : Array, shape (N, V, 24)
        How many measured hours lay within the 50 % and the 90 % interval, ends included.
    rivals : Array, shape (M, N, V, 24)
        Absolute errors of :data:`METHODS`; those of the trees where there are any.
    """

    cells: Array
    error: Array
    pinball: Array
    inside_half: Array
    inside: Array
    rivals: Array


def pinball(truth: Array, quantiles: Array) -> Array:
    """Mean over the five quantiles (..., 5) of the pinball loss (Koenker and Bassett 1978), shape of `truth`."""
    error = truth[..., None] - quantiles
    levels = np.array(QUANTILES)
    return np.maximum(levels * error, (levels - 1) * error).mean(-1)


def truth_after(mean: NDArray[np.float32], at: int) -> Array:
    """What was measured 1 to 24 hours after hour `at`, (N, V, 24), from hourly means (N, 48, ·); else NaN."""
    found = np.full((len(mean), len(VARIABLES), HOURS_AHEAD), np.nan)
    after = mean[:, at : at + HOURS_AHEAD][..., PLACES]
    found[..., : after.shape[1]] = np.moveaxis(after, 1, 2)
    return found


def tally(answer: Answer, grid: Grid, scaling: Scaling, known: dict[str, Any], looked_from: Sequence[int]) -> Tally:
    """Compare forecasts and baselines with what was measured.

    Parameters
    ----------
    answer : callable
        Quantiles (N, V, 24, 5) from inputs (N, 48, D) and an hour.
    known : dict
        ``mean`` (V,) and ``trees``, for the baselines.
    looked_from : Sequence[int]
        Hours, 1 to 47.
    """
    starts = range(0, len(grid.mean), CHUNK)
    parts = [_tally(answer, part_of(grid, slice(k, k + CHUNK)), scaling, known, looked_from) for k in starts]
    joined = {name: [getattr(part, name) for part in parts] for name in vars(parts[0])}
    return Tally(**{name: np.concatenate(each, axis=int(name == "rivals")) for name, each in joined.items()})


def _tally(answer: Answer, grid: Grid, scaling: Scaling, known: dict[str, Any], looked_from: Sequence[int]) -> Tally:
    x = forecast_inputs(grid, scaling)
    size = (len(x), len(VARIABLES), HOURS_AHEAD)
    sums = {name: np.zeros(size) for name in Tally.__dataclass_fields__} | {"rivals": np.zeros((len(METHODS), *size))}
    for at in looked_from:
        truth, quantiles = truth_after(grid.mean, at), answer(x, at)
        low, inner_low, median, inner_high, high = np.moveaxis(quantiles, -1, 0)
        sums["cells"] += ~np.isnan(truth)
        sums["error"] += np.nan_to_num(np.abs(truth - median))
        sums["pinball"] += np.nan_to_num(pinball(truth, quantiles))
        sums["inside_half"] += (inner_low <= truth) & (truth <= inner_high)
        sums["inside"] += (low <= truth) & (truth <= high)
        sums["rivals"] += np.nan_to_num(np.abs(truth - forecasts(grid, at, x[:, at - 1], scaling, known)))
    return Tally(**sums)


@dataclass(frozen=True, eq=False)
class _Resampled:
    """Ratios of sums over stays, with 95 % intervals over resampled patients."""

    found: Tally
    split: str

    def __post_init__(self) -> None:
        stays = len(self.found.cells)
        drawn = np.random.default_rng(0).multinomial(stays, np.full(stays, 1 / stays), RESAMPLES)
        object.__setattr__(self, "_weights", np.vstack([np.ones(stays), drawn]))  # the first row is the sample itself

    def sums(self, values: Array) -> Array:
        """(1 + R, ...) from (N, ...)."""
        return np.tensordot(self._weights, values, axes=1)

    def row(self, metric: str, values: Array, cells: Array) -> dict[str, object]:
        """A figure from its value in the sample and the resamples (1 + R,)."""
        kept = values[1:][np.isfinite(values[1:])]
        low, high = np.percentile(kept, [2.5, 97.5]) if kept.size else (np.nan, np.nan)
        ends = {"value": float(values[0]), "low": float(low), "high": float(high)}
        return {"metric": metric, **ends, "n": int(cells.sum()), "split": self.split}


def _skills(found: Tally, sample: _Resampled) -> Array:
    """1 less the error over each method's error, (1 + R, M, V, 24); NaN where a method has none."""
    error = sample.sums(found.error)[:, None]
    rival = np.moveaxis(sample.sums(np.moveaxis(found.rivals, 0, 1)), 1, 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(rival > 0, 1 - error / rival, np.nan)


def figures(found: Tally, split: str) -> Figures:
    """Every figure: errors, pinball loss and skills per variable and hours ahead, coverage, and averages."""
    sample = _Resampled(found, split)
    rows = [*coverage(found, sample), *averages(found, sample)]
    cells, skill = sample.sums(found.cells), _skills(found, sample)
    with np.errstate(invalid="ignore", divide="ignore"):
        tables = [("MAE", sample.sums(found.error) / cells), ("pinball loss", sample.sums(found.pinball) / cells)]
        tables += [(f"MAE of the {name}", sample.sums(found.rivals[k]) / cells) for k, name in enumerate(METHODS)]
    tables += [(f"skill over the {name}", skill[:, k]) for k, name in enumerate(METHODS)]
    for (v, name), hours in product(enumerate(VARIABLES), HOURS_SHOWN):
        n = found.cells[:, v, hours - 1]
        for metric, table in tables:
            if not metric.endswith(METHODS[-1]) or (name in TREE_VARIABLES and hours in TREE_HOURS):
                rows.append(sample.row(f"{metric}, {name}, {hours} h", table[:, v, hours - 1], n))
    return rows


def coverage(found: Tally, sample: _Resampled) -> Iterator[dict[str, object]]:
    """Share of measured hours within the intervals, in all and by variable; over 1 to 24 hours ahead."""
    for share, inside in (("50", found.inside_half), ("90", found.inside)):
        values = sample.sums(inside.sum((1, 2))) / sample.sums(found.cells.sum((1, 2)))
        yield sample.row(f"coverage of {share} %", values, found.cells)
    with np.errstate(invalid="ignore", divide="ignore"):
        values = sample.sums(found.inside.sum(2)) / sample.sums(found.cells.sum(2))
    for v, name in enumerate(VARIABLES):
        yield sample.row(f"coverage of 90 %, {name}", values[:, v], found.cells[:, v])


def averages(found: Tally, sample: _Resampled) -> Iterator[dict[str, object]]:
    """Skills averaged over the vital signs, in all and by hours ahead, and over all variables."""
    skill, vital = _skills(found, sample), [VARIABLES.index(name) for name in VITAL_SIGNS]
    hours = np.array(TREE_HOURS) - 1
    with np.errstate(invalid="ignore"):
        for k, name in enumerate(METHODS):
            every = skill[:, k][:, vital][..., hours]  # (1 + R, S, 3)
            n = found.cells[:, vital][..., hours]
            yield sample.row(f"skill over the {name}, vital signs, 1, 6 and 12 h", every.mean((1, 2)), n)
            for j, ahead in enumerate(TREE_HOURS):
                yield sample.row(f"skill over the {name}, vital signs, {ahead} h", every[..., j].mean(1), n[..., j])
        values = skill[:, 0][..., hours].mean((1, 2))
        yield sample.row(f"skill over the {METHODS[0]}, all variables, 1, 6 and 12 h", values, found.cells[..., hours])


def baselines_of(outlooks: Outlooks) -> dict[str, Any]:
    """What the baselines of a bundle know from training."""
    trees = BoostedTrees(load_arrays(outlooks.bundle, TREES))
    return {"mean": np.array(outlooks.bundle.preprocessing["mean"], dtype=float), "trees": trees}


def evaluate(model: str, folder: Path) -> Figures:
    """Measure the shipped model on a folder in the challenge's layout.

    Raises
    ------
    InputError
        If no stay with an outcome is found below `folder`.
    """
    grid, outlooks = load_cohort(folder).grid, load_outlooks()
    found = tally(outlooks.from_inputs, grid, outlooks.scaling, baselines_of(outlooks), LOOKED_FROM)
    return figures(found, Path(folder).resolve().name)
