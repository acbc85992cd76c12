"""Drawn example tables, and own models that live in memory, under a name that can change."""

from __future__ import annotations

import io
import shutil
import zipfile

import numpy as np
import pytest

from medai_core.errors import ArtifactError
from medai_core.tabular import bundles, cards, demo
from medai_core.tabular.compare import default_folds, estimate
from medai_core.tabular.models import ORDER
from medai_core.tabular.problem import prepare, propose
from medai_core.tabular.risk_model import RiskModel


def test_the_drawn_admissions_hold_the_faults_they_promise():
    table = demo.admissions()
    plan, findings = propose(table, "readmitted")
    found = {(one.kind, one.column) for one in findings}
    for fault in (("identifier", "patient_id"), ("repeated_patients", "patient_id"), ("constant", "hospital"),
                  ("date", "admitted"), ("answer", "discharge_code")):  # fmt: skip
        assert fault in found, fault
    assert plan.group == "patient_id" and "discharge_code" not in plan.features
    assert table["CRP (mg/L)"].missing > 20 and table["CRP (mg/L)"].unit == "mg/L"
    for target, labels in (("readmitted", 2), ("severity", 3), ("stay (days)", 0)):
        assert len(prepare(table, propose(table, target)[0]).labels) == labels


def test_the_drawn_follow_up_is_a_problem_of_times():
    problem = prepare(demo.follow_up(), propose(demo.follow_up(), "followed (days)", "died")[0])
    assert problem.event is not None and 0.3 < problem.event.mean() < 0.8


def test_a_model_in_memory_outlives_its_folder(binary, tmp_path):
    shutil.copytree(binary.bundle.path, tmp_path / "drawn")
    fleeting = bundles.from_zip(bundles.to_zip(binary.bundle), tmp_path / "out")
    model = RiskModel(fleeting).whole()
    shutil.rmtree(tmp_path / "out")
    rows = binary.frame.head(5)
    for family in model.families:
        mine, theirs = model.predict(rows, family, unlikeness=True), binary.model.predict(rows, family, unlikeness=True)
        assert [a.probabilities for a in mine] == [b.probabilities for b in theirs]
        assert [a.unlikeness for a in mine] == [b.unlikeness for b in theirs]
    assert np.array_equal(model.held("svm")[0], binary.model.held("svm")[0])
    half = RiskModel(bundles.from_zip(bundles.to_zip(binary.bundle), tmp_path / "again"))
    shutil.rmtree(tmp_path / "again")
    with pytest.raises((ArtifactError, OSError)):
        half.predict(rows)


def test_a_new_name_is_all_that_changes(binary, tmp_path):
    data = cards.renamed(bundles.to_zip(binary.bundle), "Risk of <b>death</b>, 2nd try")
    bundle = bundles.from_zip(data, tmp_path)
    assert bundle.card["name"] == "Risk of ‹b›death‹/b›, 2nd try" and bundle.id == "risk_of_b_death_b_2nd_try"
    rest = {name: value for name, value in bundle.card.items() if name not in ("id", "name")}
    assert rest == {name: value for name, value in binary.bundle.card.items() if name not in ("id", "name")}
    rows = binary.frame.head(3)
    assert RiskModel(bundle).predict(rows) == binary.model.predict(rows)
    assert {name.split("/")[0] for name in zipfile.ZipFile(io.BytesIO(data)).namelist()} == {bundle.id}


def test_the_estimate_grows_with_models_folds_and_rows(binary):
    problem = binary.problem
    one, all_of_them = estimate(problem, ["logistic"]), estimate(problem, ORDER)
    assert 0 < one < all_of_them
    assert estimate(problem, ORDER, folds=2 * default_folds(problem)) > 1.5 * all_of_them
