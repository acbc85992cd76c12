"""A drawn table, and models of every family trained on it."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from drawn_tables import kinds, light_fits, patients

from medai_core.tabular.tables import table_of


def trained(frame, target: str, folder, families, **choices):
    """Table, problem, study, bundle and model of a drawn frame."""
    from dataclasses import replace

    from medai_core.tabular.bundles import save_study
    from medai_core.tabular.cards import card_of
    from medai_core.tabular.compare import compare
    from medai_core.tabular.problem import prepare, propose
    from medai_core.tabular.risk_model import RiskModel

    table = table_of(frame, "drawn")
    plan, findings = propose(table, target)
    problem = prepare(table, replace(plan, **choices))
    steps = []
    with light_fits():
        study = compare(problem, families, folds=2, progress=steps.append)
    bundle = save_study(study, folder / "drawn", card_of(study, table, "Drawn"))
    found = {"table": table, "frame": frame, "findings": findings, "problem": problem, "study": study}
    return SimpleNamespace(**found, steps=steps, bundle=bundle, model=RiskModel(bundle))


@pytest.fixture(scope="session")
def binary(tmp_path_factory):
    families = ["logistic", "svm", "forest", "boosting", "network", "blend"]
    return trained(patients(), "outcome", tmp_path_factory.mktemp("binary"), families)


@pytest.fixture(scope="session")
def classes(tmp_path_factory):
    frame = kinds().drop(columns="score")
    return trained(frame, "grade", tmp_path_factory.mktemp("classes"), ["logistic", "svm", "forest", "boosting"])


@pytest.fixture(scope="session")
def number(tmp_path_factory):
    frame = kinds().drop(columns="grade")
    families = ["logistic", "svm", "forest", "boosting", "blend"]
    return trained(frame, "score", tmp_path_factory.mktemp("number"), families)
