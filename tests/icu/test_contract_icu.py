"""What the shipped model must do; skipped where its bundle is not there."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from drawn_stays import METRICS, entries, physionet

from medai_core import artifacts, registry
from medai_core.icu.records import read_stay

MODEL = "icu_mortality"
ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.skipif(MODEL not in registry.available(), reason="the bundle is not trained yet")


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
