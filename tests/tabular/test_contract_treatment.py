"""What the shipped treatment model must do; skipped where its bundle is not there."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from drawn_trials import drawn_actg

from medai_core import artifacts, registry
from medai_core.tabular.treatment import FEWEST_SHOWN
from medai_core.tabular.trial import ACTG_AFTER, ACTG_ARMS, ACTG_COVARIATES

MODEL, ROOT = "actg175", Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.skipif(MODEL not in registry.available(), reason="the bundle is not trained yet")
PATIENT = {"age": 40, "karnof": 90, "symptom": 0, "preanti": 700, "cd40": 250, "cd80": 900}


@pytest.fixture(scope="module")
def shipped():
    from medai_core.tabular.treatment import load_treatment

    return load_treatment()


def test_the_bundle(shipped):
    found = registry.bundle(MODEL)
    assert found.size_mb <= artifacts.MAX_BUNDLE_MB
    assert {"intended_use", "not_for", "population", "failure_modes", "libraries", "split"} <= set(found.card)
    figures = {(row["metric"], row["split"]): row for row in found.metrics["figures"]}
    curves = {(row["metric"], row["split"]): row for row in found.metrics["baseline"]}
    order, error = ("concordance", "test"), ("integrated Brier score", "test")
    assert figures[order]["value"] > curves[order]["value"] + 0.08
    assert figures[error]["value"] < curves[error]["value"]
    assert 0.8 < figures["calibration slope", "test"]["value"] < 1.2
    stated = [figures[f"event-free at 2 years, {title}", "test"]["value"] for title in ACTG_ARMS.values()]
    assert np.argmin(stated) == 0  # zidovudine alone


def test_no_small_group_of_patients_can_be_counted_out(shipped):
    assert not ((shipped.cells.counts > 0) & (shipped.cells.counts < FEWEST_SHOWN)).any()


def test_nothing_from_after_assignment_is_read(shipped):
    assert shipped.encoder.names == ACTG_COVARIATES
    assert not {*ACTG_AFTER, "treat", "trt", "time", "cid"} & set(shipped.encoder.names)


def test_zidovudine_alone_is_worst_and_risk_follows_the_patient(shipped):
    patient = shipped.event_free(PATIENT)
    assert min(patient, key=lambda arm: patient[arm].value) == "0"
    assert shipped.difference(PATIENT, "1", "0").low > 0
    for change in ({"cd40": 450}, {"karnof": 100}):
        better = shipped.event_free(PATIENT | change)
        assert all(better[arm].value > patient[arm].value for arm in patient)
    worse = shipped.event_free(PATIENT | {"symptom": 1})
    assert all(worse[arm].value < patient[arm].value for arm in patient)


def test_a_recommendation_needs_evidence(shipped):
    assert (shipped.recommend(PATIENT).arm is None) == (not shipped.policy.evidence)
    assert sum(shipped.population.patients) == shipped.policy.n


def test_a_new_process_treats_a_table(tmp_path):
    drawn_actg(3, 0).to_csv(tmp_path / "patients.csv", index=False)
    command = [sys.executable, "-m", "medai_core", "treat", str(tmp_path / "patients.csv"), "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(row["row"], row["status"], len(row["event_free_2y"])) for row in rows] == [
        (k, "read", 4) for k in range(3)
    ]
