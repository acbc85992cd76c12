"""Made-up stays, nobody's course, and what trains on them in seconds."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from medai_core.icu.grid import Grid, to_grid
from medai_core.icu.variables import INDEX, SERIES

METRICS = (
    "AUROC",
    "AUPRC",
    "event 1",
    "event 2",
    "calibration slope",
    "calibration intercept",
    "Brier score",
)
"""What is measured of every method."""

OFTEN = ("HR", "SysABP", "DiasABP", "MAP", "RespRate", "Temp", "Urine", "GCS", "FiO2")
RARELY = ("PaO2", "PaCO2", "pH", "K", "Na", "Creatinine", "BUN", "Glucose", "HCT", "WBC", "Lactate", "Weight")


def entries(seed: int, hours: int = 48) -> list[tuple[int, str, float]]:
    """Minute, name and value of a drawn stay, in order."""
    rng, rows = np.random.default_rng(seed), []
    for name, every in [*((n, 60) for n in OFTEN), *((n, 480) for n in RARELY)]:
        low, high = SERIES[name].normal or (60, 90)
        for minute in np.arange(rng.integers(0, every), hours * 60, every) + rng.integers(0, 20):
            value = float(
                np.clip(rng.normal((low + high) / 2, (high - low) / 3 + 0.01), SERIES[name].low, SERIES[name].high)
            )
            rows.append((int(min(minute, hours * 60)), name, round(value, 3)))
    return sorted(rows)


def physionet(rows: list[tuple[int, str, float]], record: int = 900001, age: int = 60) -> bytes:
    head = ["Time,Parameter,Value", f"00:00,RecordID,{record}", f"00:00,Age,{age}", "00:00,Gender,1", "00:00,Height,-1"]
    return (
        "\n".join([*head, *(f"{m // 60:02d}:{m % 60:02d},{name},{value}" for m, name, value in rows)]).encode() + b"\n"
    )


def grid_of(rows: list[tuple[int, str, float]], fixed: dict[str, float] | None = None) -> Grid:
    minutes, names, values = zip(*rows, strict=True) if rows else ((), (), ())
    series = np.array([INDEX[name] for name in names], np.intp)
    return to_grid(np.array(minutes, float), series, np.array(values, float), fixed or {"Age": 60.0, "Gender": 1.0})


@contextmanager
def light_trees() -> Iterator[None]:
    """Trees that a few dozen stays can grow, and intervals that come at once."""
    from medai_core.icu import evaluate, train_trees

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluate, "RESAMPLES", 50)
        for kind in train_trees.PARAMETERS.values():
            patch.setitem(kind, "num_iterations", 15)
            patch.setitem(kind, "min_data_in_leaf", 5)
        yield


def small_recipe():
    from medai_core.icu.train_network import Recipe

    return Recipe(units=4, members=5, epochs=1, batch=32)


@contextmanager
def light_forecast_trees() -> Iterator[None]:
    """Trees of a forecast's baseline that grow at once."""
    from medai_core.icu import forecast_evaluate, train_forecast_trees

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(train_forecast_trees.PARAMETERS, "num_iterations", 2)
        patch.setattr(forecast_evaluate, "RESAMPLES", 20)
        yield


def small_forecast_recipe(**changes):
    from medai_core.icu.train_forecast_network import ForecastRecipe

    small = {"members": 2, "units": 4, "hidden": 6, "context": 2, "local": 4, "epochs": 1, "batch": 16, "asked": 4}
    return ForecastRecipe(**(small | changes))
