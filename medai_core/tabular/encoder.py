"""Features as numbers, and the design matrix that linear models, kernels and networks see.

Both remember the training table: levels, medians, ranges, scales. Nothing is estimated again on new rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medai_core.errors import InputError, Message, say
from medai_core.tabular.columns import CATEGORY, NUMBER, level_text
from medai_core.tabular.tables import Table

Matrix = NDArray[np.float64]
Rows = pd.DataFrame | Mapping[str, Any] | Sequence[Mapping[str, Any]]
"""Rows to be scored, by the names of columns."""
SKEWED = 1.0


@dataclass(frozen=True)
class Feature:
    """One column a model reads.

    Attributes
    ----------
    kind : str
        ``number`` or ``category``.
    levels : tuple[str, ...]
        Of a category; its number in the matrix is the place here.
    low, high : float
        Smallest and largest value in training.
    plausible_low, plausible_high : float
        First and 99th percentile in training.
    usual : float
        Median of a number, place of the commonest level of a category.
    step : float
        Half the distance between the quartiles, for distances; 1 for a category.
    missing : bool
        Whether values were missing in training; if not, a missing value is replaced by `usual`.
    whole : bool
        Whether all training values were whole numbers.
    """

    name: str
    kind: str
    unit: str | None = None
    levels: tuple[str, ...] = ()
    low: float = 0.0
    high: float = 1.0
    plausible_low: float = 0.0
    plausible_high: float = 1.0
    usual: float = 0.0
    step: float = 1.0
    missing: bool = False
    whole: bool = False

    def text(self, value: float) -> str:
        """A value as people read it."""
        if np.isnan(value):
            return "missing"
        if self.kind == CATEGORY:
            return self.levels[int(value)]
        return f"{value:.4g} {self.unit}" if self.unit else f"{value:.4g}"


@dataclass(frozen=True)
class Encoder:
    """From rows of a table to a matrix with one column per feature: numbers as they are, levels by their place."""

    features: tuple[Feature, ...]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(feature.name for feature in self.features)

    @classmethod
    def fit(cls, table: Table, names: Sequence[str], rows: NDArray[np.intp]) -> Encoder:
        """Learn levels, medians and ranges from some rows of a table."""
        found = []
        for name in names:
            column, series = table[name], table.frame[name].iloc[rows]
            make = _category if column.kind == CATEGORY else _number
            found.append(make(name, column.unit, series))
        return cls(tuple(found))

    def matrix(self, frame: pd.DataFrame) -> Matrix:
        """The matrix (N, D) of a frame that has the features' columns; see :meth:`read` for rows of any origin."""
        x = np.empty((len(frame), len(self.features)))
        for k, feature in enumerate(self.features):
            x[:, k] = _codes(_cells(frame, feature.name), feature)
            if not feature.missing:
                x[np.isnan(x[:, k]), k] = feature.usual
        return x

    def read(self, rows: Rows) -> tuple[Matrix, list[list[Message]]]:
        """The matrix of new rows, with a warning for each value that the training table does not cover.

        Parameters
        ----------
        rows : DataFrame, mapping or sequence of mappings
            By the features' names; other columns are passed over.

        Returns
        -------
        x : Matrix, shape (N, D)
        cautions : list of N lists of Message
            Values outside the trained range, unknown levels, missing values that were replaced.

        Raises
        ------
        InputError
            If a column is not there, or a number cannot be read.
        """
        table = rows if isinstance(rows, Mapping | pd.DataFrame) else pd.DataFrame(rows)
        gone = [name for name in self.names if name not in table]
        if gone:
            raise InputError("The rows lack {count} of the columns the model reads: {names}.", count=len(gone),
                             names=", ".join(gone[:5]))  # fmt: skip
        count = 1 if isinstance(table, Mapping) else len(table)
        x = np.empty((count, len(self.features)))
        cautions: list[list[Message]] = [[] for _ in range(count)]
        for k, feature in enumerate(self.features):
            cells = _cells(table, feature.name)
            x[:, k] = _codes(cells, feature)
            _caution(feature, cells, x[:, k], cautions)
            if not feature.missing:
                x[np.isnan(x[:, k]), k] = feature.usual
        return x, cautions

    def outside(self, x: Matrix) -> NDArray[np.bool_]:
        """Which values (N, D) lie outside the range of training."""
        low, high = (np.array([getattr(f, end) for f in self.features]) for end in ("low", "high"))
        return (x < low) | (x > high)

    def to_list(self) -> list[dict[str, Any]]:
        return [asdict(feature) for feature in self.features]

    @classmethod
    def from_list(cls, stored: Sequence[Mapping[str, Any]]) -> Encoder:
        return cls(tuple(Feature(**{**one, "levels": tuple(one["levels"])}) for one in stored))


def _number(name: str, unit: str | None, series: pd.Series) -> Feature:
    values = series.to_numpy(dtype=float)
    seen = values[~np.isnan(values)]
    if not seen.size:
        raise InputError("Column {column} has no value where the target is known.", column=name)
    q01, q25, q50, q75, q99 = np.quantile(seen, [0.01, 0.25, 0.5, 0.75, 0.99])
    step = (q75 - q25) / 2 or seen.std() or 1.0
    whole = bool((seen == np.round(seen)).all())
    return Feature(
        name, NUMBER, unit, (), float(seen.min()), float(seen.max()), float(q01), float(q99), float(q50), float(step),
        bool(np.isnan(values).any()), whole,
    )  # fmt: skip


def _category(name: str, unit: str | None, series: pd.Series) -> Feature:
    counts = series.value_counts()
    levels = tuple(sorted(str(level) for level in counts.index[counts > 0]))
    if not levels:
        raise InputError("Column {column} has no value where the target is known.", column=name)
    top = float(levels.index(str(counts.index[0])))
    last = float(len(levels) - 1)
    return Feature(name, CATEGORY, unit, levels, 0.0, last, 0.0, last, top, 1.0, bool(series.isna().any()), True)


def _cells(table: pd.DataFrame | Mapping[str, Any], name: str) -> NDArray[Any]:
    """The cells (N,) of a column, or the one of a row."""
    if isinstance(table, Mapping):
        cells = np.empty(1, object)
        cells[0] = table[name]
        return cells
    return np.asarray(table[name])


def _codes(cells: NDArray[Any], feature: Feature) -> NDArray[np.float64]:
    if feature.kind == CATEGORY:
        place = {level: float(k) for k, level in enumerate(feature.levels)}
        filled = ~pd.isna(cells)
        return np.array([place.get(level_text(cell), np.nan) if there else np.nan
                         for cell, there in zip(cells, filled, strict=True)], dtype=float)  # fmt: skip
    try:
        values = np.where(pd.isna(cells), np.nan, cells).astype(float) if cells.dtype == object else cells.astype(float)
    except (TypeError, ValueError):
        bad = next(cell for cell in cells if not pd.isna(cell) and pd.isna(pd.to_numeric(cell, errors="coerce")))
        raise InputError("Column {column} must hold numbers, got {value}.", column=feature.name,
                         value=str(bad)[:40]) from None  # fmt: skip
    return np.where(np.isfinite(values), values, np.nan)


def _caution(feature: Feature, cells: NDArray[Any], codes: NDArray[np.float64], cautions: list[list[Message]]) -> None:
    unknown = np.isnan(codes)
    for row in np.flatnonzero(unknown):
        if not pd.isna(cells[row]):
            cautions[row].append(say("{column}: {value} was never seen in training and counts as missing.",
                                     column=feature.name, value=str(cells[row])[:40]))  # fmt: skip
        if not feature.missing:
            cautions[row].append(say("{column} is missing and was never missing in training; {value} is used instead.",
                                     column=feature.name, value=feature.text(feature.usual)))  # fmt: skip
    if feature.kind == NUMBER:
        for row in np.flatnonzero((codes < feature.low) | (codes > feature.high)):
            cautions[row].append(say("{column} of {value:g} lies outside the trained range ({low:g} to {high:g}): the "
                                     "answer is an extrapolation.", column=feature.name, value=float(codes[row]),
                                     low=feature.low, high=feature.high))  # fmt: skip


@dataclass(frozen=True, eq=False)
class Design:
    """Standardised columns for models that need them: one or more per feature, each of that feature alone.

    Attributes
    ----------
    owner : NDArray[np.intp], shape (M,)
        The feature each column comes from.
    level : NDArray[np.intp], shape (M,)
        -2: the number itself; -1: 1 where it is missing; else 1 where the category has this level.
    fill : NDArray[np.float64], shape (D,)
        What stands for a missing number: its median.
    floor : NDArray[np.float64], shape (D,)
        A number is taken as ``log(x - floor)`` where this is finite, else as it is.
    mean, scale : NDArray[np.float64], shape (M,)
    """

    owner: NDArray[np.intp]
    level: NDArray[np.intp]
    fill: NDArray[np.float64]
    floor: NDArray[np.float64]
    mean: NDArray[np.float64]
    scale: NDArray[np.float64]

    @classmethod
    def fit(cls, x: Matrix, encoder: Encoder, logs: bool = False) -> Design:
        """Learn medians and scales from a matrix (N, D).

        Parameters
        ----------
        logs : bool
            Numbers that are never negative and lean to the right are taken by their logarithm, as concentrations
            usually are.
        """
        owner, level = [], []
        fill, floor = np.zeros(x.shape[1]), np.full(x.shape[1], np.nan)
        for k, feature in enumerate(encoder.features):
            gone = np.isnan(x[:, k])
            seen = x[~gone, k]
            if feature.kind == NUMBER:
                fill[k] = np.median(seen) if seen.size else 0.0
                floor[k] = _floor(seen) if logs else np.nan
                owner, level = [*owner, k], [*level, -2]
            else:
                owner += [k] * len(feature.levels)
                level += range(len(feature.levels))
            if gone.any():
                owner, level = [*owner, k], [*level, -1]
        plain = cls(np.array(owner), np.array(level), fill, floor, np.zeros(len(owner)), np.ones(len(owner)))
        z = plain(x)
        spread = z.std(axis=0)
        return cls(plain.owner, plain.level, fill, floor, z.mean(axis=0), np.where(spread > 1e-12, spread, 1.0))

    def __call__(self, x: Matrix) -> Matrix:
        """The design matrix (N, M) of a matrix (N, D)."""
        gone = np.isnan(x)
        filled = np.where(gone, self.fill, x)
        logged = np.isfinite(self.floor)
        if logged.any():
            filled = filled.copy()
            least = np.maximum(filled[:, logged] - self.floor[logged], 1e-9)
            filled[:, logged] = np.log(least)
        z = filled[:, self.owner]
        coded = self.level >= 0
        if coded.any():
            z[:, coded] = x[:, self.owner[coded]] == self.level[coded]
        absent = self.level == -1
        if absent.any():
            z[:, absent] = gone[:, self.owner[absent]]
        return (z - self.mean) / self.scale

    def to_dict(self) -> dict[str, list[float | None]]:
        stored = {name: getattr(self, name).tolist() for name in ("owner", "level", "fill", "mean", "scale")}
        return stored | {"floor": [None if np.isnan(value) else value for value in self.floor.tolist()]}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Sequence[Any]]) -> Design:
        numbers = {name: np.array(stored[name], float) for name in ("fill", "mean", "scale")}
        floor = np.array([np.nan if value is None else value for value in stored["floor"]], float)
        return cls(np.array(stored["owner"], np.intp), np.array(stored["level"], np.intp), floor=floor, **numbers)


def _floor(seen: NDArray[np.float64]) -> float:
    """What is subtracted before the logarithm: a little below 0; NaN where the numbers stay as they are."""
    if seen.size < 10 or seen.min() < 0 or len(np.unique(seen)) < 10:
        return np.nan
    centred = seen - seen.mean()
    spread = seen.std()
    if spread == 0 or np.mean(centred**3) / spread**3 < SKEWED:
        return np.nan
    return -float(np.quantile(seen[seen > 0], 0.05)) / 2
