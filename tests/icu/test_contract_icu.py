"""What the shipped models must do; skipped where their bundles are not there."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from drawn_stays import METRICS, entries, physionet

from medai_core import artifacts, registry
from medai_core.icu.forecast_baselines import TREE_HOURS, VITAL_SIGNS
from medai_core.icu.outlook import VARIABLES
from medai_core.icu.records import read_stay

MODEL, FORECAST = "icu_mortality", "icu_forecast"
ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.skipif(MODEL not in registry.available(), reason="the bundle is not trained yet")
forecasts = pytest.mark.skipif(FORECAST not in registry.available(), reason="the bundle is not trained yet")


@pytest.fixture(scope="module")
def shipped():
    from medai_core.icu.forecaster import load_forecaster

    return load_forecaster()


def test_the_bundle(shipped):
    found = registry.bundle(MODEL)
    assert found.size_mb <= artifacts.MAX_BUNDLE_MB
    assert {"intended_use", "not_for", "population", "failure_modes", "libraries", "split"} <= set(found.card)
    figures = {(row["metric"], row["split"]): row for row in found.metrics["figures"]}
    for method in ("SAPS-I", "SOFA", "trees", "network", "blend"):
        for metric in METRICS:
            assert figures[f"{metric}, {method}", "test"]["low"] < figures[f"{metric}, {method}", "test"]["high"]
    held = {
        name: figures[f"AUROC, {name}", "held-out folds"]["value"] for name in ("trees", "network", "blend", "SAPS-I")
    }
    assert held["blend"] >= max(held["trees"], held["network"]) > held["SAPS-I"] + 0.1


def test_a_new_process_reads_a_stay(tmp_path):
    (tmp_path / "a.txt").write_bytes(physionet(entries(302), 7))
    command = [sys.executable, "-m", "medai_core", "icu", str(tmp_path), "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    row = json.loads(done.stdout)
    assert (row["stay"], row["status"], row["hours"], len(row["risk"])) == ("7", "read", list(range(1, 49)), 48)


def test_a_worse_course_has_a_higher_risk(shipped):
    rows = entries(300)
    worse = {"GCS": 3.0, "SysABP": 70.0, "MAP": 45.0, "HR": 140.0, "Lactate": 9.0, "Urine": 5.0}
    ill = [(minute, name, worse.get(name, value) if minute > 600 else value) for minute, name, value in rows]
    well, gravely = (shipped.forecast(read_stay(physionet(each))) for each in (rows, ill))
    np.testing.assert_allclose(well.risk[:10], gravely.risk[:10], atol=1e-6)
    assert gravely.mortality > well.mortality + 0.2


def test_answers_are_the_same_again_and_without_measurements_near_the_average(shipped):
    stay = read_stay(physionet(entries(301)))
    np.testing.assert_array_equal(shipped.forecast(stay).risk, shipped.forecast(stay).risk)
    alone = shipped.forecast(read_stay(b"hours,HR\n0.5,85\n"))
    assert 0.02 < alone.mortality < 0.4


@pytest.fixture(scope="module")
def shipped_outlooks():
    from medai_core.icu.outlook import load_outlooks

    return load_outlooks()


@forecasts
def test_the_bundle_of_the_forecasts():
    found = registry.bundle(FORECAST)
    assert found.size_mb <= artifacts.MAX_BUNDLE_MB
    assert {"intended_use", "not_for", "population", "failure_modes", "libraries", "split"} <= set(found.card)
    assert found.card["split"]["test"] == registry.bundle(MODEL).card["split"]["test"]
    figures = {row["metric"]: row for row in found.metrics["figures"] if row["split"] == "test"}
    last = {row["metric"]: row for row in found.metrics["baseline"] if row["split"] == "test"}
    for name in VITAL_SIGNS:
        for hours in TREE_HOURS:
            metric = f"MAE, {name}, {hours} h"
            assert figures[metric]["value"] < last[metric]["value"]
    assert figures["skill over the last value, vital signs, 1, 6 and 12 h"]["low"] > 0.1
    assert 0.88 <= figures["coverage of 90 %"]["value"] <= 0.92
    for name in VARIABLES:
        assert 0.85 <= figures[f"coverage of 90 %, {name}"]["value"] <= 0.95


@forecasts
def test_a_new_process_forecasts_a_stay(tmp_path):
    (tmp_path / "a.txt").write_bytes(physionet(entries(302), 7))
    command = [sys.executable, "-m", "medai_core", "forecast", str(tmp_path), "--at", "36", "--horizon", "12", "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    row = json.loads(done.stdout)
    assert (row["stay"], row["status"], row["reason"], row["at"]) == ("7", "read", "", 36)
    assert row["variables"]["HR"]["hours"] == list(range(37, 49)) and row["variables"]["HR"]["unit"] == "/min"


@forecasts
def test_forecasts_follow_the_course_and_widen(shipped_outlooks):
    rows = entries(303)
    faster = [(minute, name, value + 60 if name == "HR" else value) for minute, name, value in rows]
    calm, fast = (shipped_outlooks.outlook(read_stay(physionet(each)), 24).of("HR") for each in (rows, faster))
    assert (fast[:, 2] - calm[:, 2] > 15).all()
    assert calm[11, 4] - calm[11, 0] > calm[0, 4] - calm[0, 0]


@forecasts
def test_forecasts_past_the_48th_hour_are_like_earlier_ones(shipped_outlooks):
    """No training stay shows what comes after hour 48, so nothing may run away there."""
    stay = read_stay(physionet(entries(304)))
    early, late = (shipped_outlooks.outlook(stay, at) for at in (24, 48))
    for name in ("HR", "MAP", "Temp", "RespRate"):
        widths = [np.median(each.of(name)[:, 4] - each.of(name)[:, 0]) for each in (early, late)]
        assert 0.5 < widths[1] / widths[0] < 2
        assert np.abs(np.median(early.of(name)[:, 2]) - np.median(late.of(name)[:, 2])) < widths[0]


@forecasts
def test_what_was_never_measured_gets_the_usual(shipped_outlooks):
    alone = shipped_outlooks.outlook(read_stay(b"hours,HR\n0.5,85\n"))
    for name, low, high in (("Na", 130, 146), ("K", 3.5, 4.8), ("Temp", 35.5, 38), ("MAP", 60, 100)):
        fan = alone.of(name)
        assert ((low < fan[:, 2]) & (fan[:, 2] < high)).all() and (fan[:, 0] < fan[:, 2]).all()
