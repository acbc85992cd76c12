"""Made-up stays: nobody's course."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from medai_core.icu.grid import Grid, stack, to_grid
from medai_core.icu.variables import INDEX, NAMES, SERIES

OFTEN = ("HR", "SysABP", "DiasABP", "MAP", "RespRate", "Temp", "Urine", "GCS", "FiO2")
RARELY = ("PaO2", "PaCO2", "pH", "K", "Na", "Creatinine", "BUN", "Glucose", "HCT", "WBC", "Lactate", "Weight")


def entries(seed: int, hours: int = 48) -> list[tuple[int, str, float]]:
    """Minute, name and value of a drawn stay, in order."""
    rng, rows = np.random.default_rng(seed), []
    for name, every in [*((n, 60) for n in OFTEN), *((n, 480) for n in RARELY)]:
        low, high = SERIES[name].normal or (60, 90)
        for minute in np.arange(rng.integers(0, every), hours * 60, every) + rng.integers(0, 20):
            value = float(np.clip(rng.normal((low + high) / 2, (high - low) / 3 + 0.01), SERIES[name].low, SERIES[name].high))
            rows.append((int(min(minute, hours * 60)), name, round(value, 3)))
    return sorted(rows)


def physionet(rows: list[tuple[int, str, float]], record: int = 900001, age: int = 60) -> bytes:
    head = ["Time,Parameter,Value", f"00:00,RecordID,{record}", f"00:00,Age,{age}", "00:00,Gender,1", "00:00,Height,-1"]
    return "\n".join([*head, *(f"{m // 60:02d}:{m % 60:02d},{name},{value}" for m, name, value in rows)]).encode() + b"\n"


def grid_of(rows: list[tuple[int, str, float]], fixed: dict[str, float] | None = None) -> Grid:
    minutes, names, values = zip(*rows, strict=True) if rows else ((), (), ())
    series = np.array([INDEX[name] for name in names], np.intp)
    return to_grid(np.array(minutes, float), series, np.array(values, float), fixed or {"Age": 60.0, "Gender": 1.0})


@pytest.fixture(scope="session")
def few() -> Grid:
    """Three drawn stays and one with a single measurement."""
    return stack([*(grid_of(entries(seed)) for seed in range(3)), grid_of([(100, "HR", 80.0)])])


@pytest.fixture(scope="session")
def small_data(tmp_path_factory) -> Path:
    """Eighty drawn stays in the challenge's layout; the faster the heart, the likelier the death."""
    folder = tmp_path_factory.mktemp("icu")
    (folder / "set-a").mkdir()
    lines = ["RecordID,SAPS-I,SOFA,Length_of_stay,Survival,In-hospital_death"]
    for k in range(80):
        died = int(k % 4 == 0)
        rows = [(m, n, v + 30 * died if n == "HR" else v) for m, n, v in entries(k, hours=48 if k else 10)]
        (folder / "set-a" / f"{900000 + k}.txt").write_bytes(physionet(rows, 900000 + k, 40 + k % 50))
        lines.append(f"{900000 + k},{10 + 5 * died + k % 7},{-1 if k == 3 else k % 9},{5 + k % 9},-1,{died}")
    (folder / "Outcomes-a.txt").write_text("\n".join(lines) + "\n")
    return folder


@contextmanager
def light_trees() -> Iterator[None]:
    """Trees that a few dozen stays can grow."""
    from medai_core.icu import train_trees

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train_trees, "ROUNDS", 15)
        patch.setitem(train_trees.PARAMETERS, "min_data_in_leaf", 5)
        yield


def small_recipe():
    from medai_core.icu.train_network import Recipe

    return Recipe(units=4, members=5, epochs=1, batch=32)


@pytest.fixture(scope="session")
def bundle(small_data, tmp_path_factory):
    """A bundle trained on the drawn stays for one epoch."""
    from medai_core.icu.train import train_icu_mortality

    rows: list[dict[str, object]] = []
    with light_trees():
        made = train_icu_mortality(small_data, tmp_path_factory.mktemp("bundle") / "icu_mortality", rows.append, small_recipe())
    assert [row["part"] for row in rows][-1] == "network" and all({"part", "epoch", "of"} <= set(row) for row in rows)
    return made


@pytest.fixture(scope="session")
def forecaster(bundle):
    from medai_core.icu.forecaster import Forecaster

    return Forecaster(bundle)


assert set(OFTEN) | set(RARELY) <= set(NAMES)
