"""Times to an event: likelihood and baseline against the library, and models of a drawn table."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from drawn_tables import csv, light_fits

from medai_core.errors import InputError
from medai_core.tabular import time_to_event
from medai_core.tabular.bundles import save_study
from medai_core.tabular.cards import card_of
from medai_core.tabular.compare import compare
from medai_core.tabular.counterfactual import Goal, counterfactuals
from medai_core.tabular.evaluate import measured
from medai_core.tabular.problem import prepare, propose
from medai_core.tabular.results import figures, subgroups
from medai_core.tabular.risk_model import RiskModel
from medai_core.tabular.tables import read_table
from medai_core.tabular.time_to_event import Baseline, partial_loss, signed, slope_of


def drawn(n: int = 260, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    age, drug = rng.integers(20, 90, n).astype(float), rng.choice(["a", "b"], n)
    hazard = np.exp(0.05 * (age - 55) + 0.7 * (drug == "b")) / 400
    event, end = rng.exponential(1 / hazard), rng.uniform(50, 900, n)
    columns = {"age": age, "drug": drug, "noise": rng.normal(size=n)}
    return pd.DataFrame(columns | {"days": np.minimum(event, end).round(), "died": (event <= end).astype(int)})


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    table = read_table(csv(drawn()), "trial.csv")
    plan, _ = propose(table, "days", event="died")
    problem = prepare(table, plan)
    with light_fits():
        study = compare(problem, folds=3)
    folder = tmp_path_factory.mktemp("times") / "times"
    return table, study, RiskModel(save_study(study, folder, card_of(study, table, "Times")))


def outcomes(n: int = 80) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    link = rng.normal(size=n)
    time = np.ceil(rng.exponential(np.exp(-link)) * 5)  # ties
    return link, signed(time, rng.random(n) < 0.7)


def test_gradient_and_curvature_are_those_of_the_likelihood():
    link, y = outcomes()
    grad, _ = time_to_event._by_row(link, y)
    step = 1e-5
    for k in range(0, 80, 9):
        up, down = (link + sign * step * (np.arange(80) == k) for sign in (1, -1))
        slope = (partial_loss(up, y) - partial_loss(down, y)) / (2 * step) * (y > 0).sum()
        assert grad[k] == pytest.approx(slope, abs=1e-4)


def test_slope_baseline_and_concordance_are_those_of_the_libraries():
    from sksurv.linear_model import CoxPHSurvivalAnalysis
    from sksurv.util import Surv

    link, y = outcomes(300)
    model = CoxPHSurvivalAnalysis().fit(link[:, None], Surv.from_arrays(y > 0, np.abs(y)))
    assert slope_of(link, y) == pytest.approx(model.coef_[0], abs=1e-4)
    mine = Baseline.fit(link * model.coef_[0], y)
    theirs = model.predict_survival_function(np.array([[0.0], [1.5]]))
    times = np.array([1.0, 3.0, 7.0])
    free = mine.event_free(np.array([0.0, 1.5]) * model.coef_[0], times)
    np.testing.assert_allclose(free, [[one(t) for t in times] for one in theirs], atol=1e-6)
    again = Baseline.from_dict(mine.to_dict())
    np.testing.assert_allclose(again.event_free(link, times), mine.event_free(link, times))


def test_models_of_times_order_patients_and_are_exact(fitted):
    table, study, model = fitted
    assert study.families == ["logistic", "boosting", "blend"] and model.horizon > 100
    for family in study.families:
        rows = {row["metric"]: row for row in figures(study, family, resamples=20)}
        assert rows["concordance"]["low"] > 0.6 and rows["integrated Brier score"]["value"] < 0.25
        told = model.explain(table.frame.iloc[:5], family)
        assert told.link == "log hazard" and told.exact and told.additivity_error < 1e-9
        np.testing.assert_allclose(model.member(family).link(study.problem.x), study.members[family].link(
            study.problem.x), atol=1e-9)  # fmt: skip


def test_answers_are_probabilities_by_the_horizon(fitted):
    table, _, model = fitted
    rows = table.frame.iloc[:4]
    curves = model.event_free(rows, np.array([0.0, model.horizon, 1e6]))
    answers = model.predict(rows)
    np.testing.assert_allclose(curves[:, 0], 1)
    np.testing.assert_allclose(curves[:, 1], [one.probabilities["free"] for one in answers])
    assert (np.diff(curves, axis=1) <= 0).all() and answers[0].prediction_set == () and not answers[0].refer
    old, young = (model.predict({**rows.iloc[0].to_dict(), "age": age})[0].probabilities["event"] for age in (85, 25))
    assert old > young + 0.2
    share = 1 - old / 2
    found = counterfactuals(model, {**rows.iloc[0].to_dict(), "age": 85.0}, goal=Goal("free", share))
    assert found and found[0].answer_after >= share > found[0].answer_before
    assert len(measured(model, table, "own")) == 9 and subgroups(fitted[1], "logistic", 20)


def test_bad_times_are_refused():
    table = read_table(csv(drawn().assign(days=lambda f: f.days - 500)))
    with pytest.raises(InputError, match="The time days must not be negative, got"):
        prepare(table, propose(table, "days", event="died")[0])
    table = read_table(csv(drawn().assign(died=[1] * 5 + [0] * 255)))
    with pytest.raises(InputError, match="At least 8 events are needed, got 5"):
        prepare(table, propose(table, "days", event="died")[0])
