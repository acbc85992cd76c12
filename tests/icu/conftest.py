"""Drawn stays in the layout of the challenge, and a bundle trained on them."""

from __future__ import annotations

from pathlib import Path

import pytest
from drawn_stays import (
    entries,
    grid_of,
    light_forecast_trees,
    light_trees,
    physionet,
    small_forecast_recipe,
    small_recipe,
)

from medai_core.icu.grid import Grid, stack


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


@pytest.fixture(scope="session")
def bundle(small_data, tmp_path_factory):
    """A bundle trained on the drawn stays for one epoch."""
    from medai_core.icu.train import train_icu_mortality

    rows: list[dict[str, object]] = []
    with light_trees():
        made = train_icu_mortality(
            small_data, tmp_path_factory.mktemp("bundle") / "icu_mortality", rows.append, small_recipe()
        )
    assert [row["part"] for row in rows][-1] == "network" and all({"part", "epoch", "of"} <= set(row) for row in rows)
    return made


@pytest.fixture(scope="session")
def forecaster(bundle):
    from medai_core.icu.forecaster import Forecaster

    return Forecaster(bundle)


@pytest.fixture(scope="session")
def forecast_bundle(small_data, tmp_path_factory):
    """Forecasts trained on the drawn stays for one epoch."""
    from medai_core.icu.train_forecast import train_icu_forecast

    rows: list[dict[str, object]] = []
    with light_forecast_trees():
        made = train_icu_forecast(
            small_data, tmp_path_factory.mktemp("bundle") / "icu_forecast", rows.append, small_forecast_recipe()
        )
    assert {row["part"] for row in rows} == {"network", "trees"} and all({"epoch", "of"} <= set(row) for row in rows)
    return made


@pytest.fixture(scope="session")
def outlooks(forecast_bundle):
    from medai_core.icu.outlook import Outlooks

    return Outlooks(forecast_bundle)
