"""The tables of an intensive-care model's figures: every figure of a bundle is in one of them."""

from __future__ import annotations

import pytest
import streamlit as st

from medai_core.icu.forecast_baselines import METHODS as FORECAST_METHODS
from pages.ui import icu_figures
from pages.ui.icu_figures import AVERAGES, BASELINES, HOURS_AHEAD, icu_tables

NAMES = ("HR", "Lactate")


def row(metric: str, value: float, n: int = 50) -> dict[str, object]:
    return {"metric": metric, "value": value, "low": value - 0.01, "high": value + 0.01, "n": n}


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, list[object]]]:
    """Tables by key, as they would be drawn; six hours ahead are chosen."""
    found: dict[str, dict[str, list[object]]] = {}
    monkeypatch.setattr(icu_figures, "_show", lambda table, key: found.__setitem__(key, table))
    monkeypatch.setattr(icu_figures, "stats", lambda rows: found.__setitem__("stats", {"rows": rows}))
    monkeypatch.setattr(st, "segmented_control", lambda *_args, **_options: 6)
    return found


def test_methods_stand_side_by_side_and_groups_below(shown) -> None:
    rows = [
        row(f"{figure}, {method}", place / 10 + k / 100)
        for place, method in enumerate(("SAPS-I", "trees", "blend"), 1)
        for k, figure in enumerate(("AUROC", "event 1"))
    ]
    rows += [
        row("AUROC, blend, men", 0.771),
        row("calibration intercept, blend, men", -0.2),
        row("AUROC, blend, at hour 6", 0.66),
    ]
    assert icu_tables(rows, [])
    table = shown["figures"]
    assert table["Figure"] == ["AUROC", "Event 1", "Calibration intercept"]
    assert [name for name in table if "n = 50" in name] == ["SAPS-I (n = 50)", "Trees (n = 50)", "Blend (n = 50)"]
    assert table["Trees (n = 50)"] == ["0.200 (0.190–0.210)", "0.210 (0.200–0.220)", "–"]
    assert shown["figures_groups"]["Hour or group"] == ["Men", "At hour 6"]
    assert shown["figures_groups"]["Calibration intercept"] == ["-0.200 (-0.210–-0.190)", "–"]


def test_forecasts_show_averages_first_and_every_variable(shown) -> None:
    rows = [
        row("coverage of 50 %", 0.5),
        row("coverage of 90 %", 0.9),
        *(row(f"coverage of 90 %, {n}", 0.88) for n in NAMES),
    ]
    rows += [row(f"skill over the {m}, {part}", 0.2) for m in BASELINES for part in AVERAGES]
    rows += [row(f"MAE, HR, {h} h", h) for h in HOURS_AHEAD]
    rows += [row(f"skill over the last value, HR, {h} h", h / 100) for h in HOURS_AHEAD]
    assert icu_tables(rows, [row("MAE, HR, 6 h", 7.0)])
    assert shown["figures"]["Averaged over"][0] == "Vital signs · 1, 6 and 12 h" and len(shown["figures"]) == 5
    table = shown["figures_variables"]
    assert table["Variable"] == ["Heart rate, /min", "Lactate, mmol/L"]
    assert table["Mean absolute error"] == ["6.000 (5.990–6.010)", "–"]
    assert table["The same of the last value"] == ["7.000 (6.990–7.010)", "–"]
    assert table["Coverage of 90%, 1 to 24 h"] == ["88.0% (87.0%–89.0%)"] * 2
    assert table["Skill over the last value"] == ["6.0% (5.0%–7.0%)", "–"] and len(table) == 5


def test_other_models_keep_their_tables(shown) -> None:
    assert not icu_tables([row("AUC, pneumonia", 0.9)], []) and not shown


def test_baselines_are_those_that_are_measured() -> None:
    assert BASELINES == FORECAST_METHODS
