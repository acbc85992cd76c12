"""Figures of a table model on rows with known outcomes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medai_core import metrics
from medai_core.artifacts import Bundle, read_bundle
from medai_core.errors import InputError
from medai_core.tabular.breast_cancer import read_breast_cancer
from medai_core.tabular.problem import BINARY, SURVIVAL, VALUE, as_levels
from medai_core.tabular.results import metrics_of
from medai_core.tabular.risk_model import RiskModel, load_risk_model
from medai_core.tabular.tables import Table, read_table
from medai_core.tabular.time_to_event import signed

Matrix = NDArray[np.float64]
Figures = list[dict[str, Any]]

RESAMPLES = 1000
FEWEST = 10
SUFFIXES = (".csv", ".tsv", ".txt", ".data", ".parquet", ".xlsx", ".xls")
BREAST_CANCER = "breast_cancer"


def evaluate(model: str, data: Path) -> Figures:
    """Measure every family of a shipped model, or of a user's bundle, on a table with outcomes.

    Parameters
    ----------
    model : str
        Id of a shipped model, or the folder of a bundle.
    data : Path
        A table, or a folder with exactly one.

    Returns
    -------
    list of dict
        ``metric``, ``value``, ``low``, ``high``, ``n``: 95 % bootstrap intervals over rows.

    Raises
    ------
    InputError
        If there is no table, a column is missing, or fewer than ten outcomes are known.
    """
    found, path = find_model(model), table_file(Path(data))
    return measured(found, read_for(found, path.read_bytes(), path.name), path.name)


def find_model(model: str) -> RiskModel:
    """A shipped model by its id, or the one in a folder."""
    return RiskModel(read_bundle(model)) if Path(model).is_dir() else load_risk_model(model)


def table_file(path: Path) -> Path:
    """The path itself, or the one table in a folder.

    Raises
    ------
    InputError
        If it does not exist, or the folder holds none or several.
    """
    if path.is_file():
        return path
    if not path.is_dir():
        raise InputError("{path} does not exist", path=str(path))
    tables = sorted(p for p in path.iterdir() if p.suffix.lower() in SUFFIXES and not p.name.startswith("."))
    if len(tables) != 1:
        raise InputError("{path} must hold exactly one table, got {count}", path=str(path), count=len(tables))
    return tables[0]


def read_for(model: RiskModel, data: bytes, name: str) -> Table:
    """Read a table for a model; that of the shipped breast cancer model in any of its known layouts."""
    return read_breast_cancer(data, name) if is_breast_cancer(model.bundle) else read_table(data, name)


def is_breast_cancer(bundle: Bundle) -> bool:
    return bundle.id == BREAST_CANCER


def measured(model: RiskModel, table: Table, split: str) -> Figures:
    """Figures of every family of a model on a table that has the target."""
    if model.target not in table.names:
        raise InputError("The table has no column {column}.", column=model.target)
    frame = table.frame[table.frame[model.target].notna()]
    y, keep = _outcomes(model, frame)
    if keep.sum() < FEWEST:
        raise InputError("At least {least} rows with a known outcome are needed, got {count}.", least=FEWEST,
                         count=int(keep.sum()))  # fmt: skip
    x, _ = model.read(frame[keep])
    groups = None
    if (group := model.bundle.preprocessing.get("group")) in table.names:
        groups = frame[keep][group].astype(str).to_numpy()
    return [row for family in model.families for row in _rows(model, family, x, y[keep], groups, split)]


def _outcomes(model: RiskModel, frame: Any) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Class numbers, values or signed times, and which rows have one the model knows."""
    series = frame[model.target]
    if model.task == SURVIVAL:
        times = model.bundle.preprocessing["times"]
        if times["event"] not in frame:
            raise InputError("The table has no column {column}.", column=times["event"])
        seen, values = frame[times["event"]], series.to_numpy(dtype=float, na_value=np.nan)
        known = np.isfinite(values) & seen.notna().to_numpy() & ~(values < 0)
        return signed(np.where(known, values, 0.0), (as_levels(seen) == times["seen"]).to_numpy()), known
    if model.task == VALUE:
        values = series.to_numpy(dtype=float, na_value=np.nan)
        return values, np.isfinite(values)
    place = {label: k for k, label in enumerate(model.labels)}
    found = np.array([place.get(word, -1) for word in as_levels(series)])
    return found, found >= 0


def _rows(
    model: RiskModel, family: str, x: Matrix, y: NDArray[Any], groups: NDArray[Any] | None, split: str
) -> Iterator[dict[str, Any]]:
    found = model.member(family).link(x)[:, 0] if model.task == SURVIVAL else model.answer(x, family)
    for metric, function in _figures(model).items():
        interval = metrics.bootstrap(function, found, y, groups=groups, n=RESAMPLES if len(y) < 5_000 else 200)
        yield {"metric": f"{metric}, {family}", **interval.to_dict(), "n": len(y), "split": split}


def _figures(model: RiskModel) -> dict[str, Callable[..., float]]:
    figures: dict[str, Callable[..., float]] = dict(metrics_of(model.task))
    if model.task == BINARY:
        figures["sensitivity"] = lambda p, y: metrics.sensitivity(p, y, 0.5)
        figures["specificity"] = lambda p, y: metrics.specificity(p, y, 0.5)
    return figures
