"""SHAP values: exact ones against brute force and the library, additivity of every family, and what is made of them."""

from __future__ import annotations

from itertools import product
from math import factorial

import numpy as np
import pytest

from medai_core import registry
from medai_core.errors import InputError
from medai_core.tabular import explain, importance, shap_trees
from medai_core.tabular.breast_cancer import sample_table
from medai_core.tabular.faithful import faithfulness
from medai_core.tabular.risk_model import load_risk_model
from medai_core.tabular.shap_kernel import KernelShap
from medai_core.tabular.shap_trees import TreeShap
from medai_core.tabular.trees import from_booster, from_forest

EXACT = ("logistic", "svm", "forest", "boosting", "blend")


def brute_force(answer, row, background):
    """Shapley values by all subsets, (D, K)."""
    d = len(row)
    worth = {s: answer(np.where(np.array(s, bool), row, background)).mean(axis=0) for s in product((0, 1), repeat=d)}
    found = np.zeros((d, len(worth[(0,) * d])))
    for s in worth:
        weight = factorial(sum(s)) * factorial(max(d - sum(s) - 1, 0)) / factorial(d)
        for j in range(d):
            if not s[j]:
                found[j] += weight * (worth[(*s[:j], 1, *s[j + 1 :])] - worth[s])
    return found


def drawn(n: int = 120, seed: int = 0, gaps: bool = False):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 5)).round(1)
    y = (x[:, 0] + x[:, 1] * x[:, 2] + rng.normal(0, 0.3, n) > 0).astype(int)
    if gaps:
        x[rng.random(x.shape) < 0.15] = np.nan
    return x, y


def forest(classes: int = 2, gaps: bool = False):
    from sklearn.ensemble import RandomForestClassifier

    x, y = drawn(gaps=gaps)
    y = y if classes == 2 else y + (np.nan_to_num(x[:, 3]) > 1)
    return RandomForestClassifier(12, max_depth=5, random_state=0).fit(x, y), x


def boosted(gaps: bool = False):
    import lightgbm

    x, y = drawn(gaps=gaps)
    settings = {"objective": "binary", "num_leaves": 8, "min_data_in_leaf": 5, "verbosity": -1}
    return lightgbm.train(settings, lightgbm.Dataset(x, y), 20), x


@pytest.mark.parametrize("gaps", [False, True])
def test_tree_arrays_answer_like_the_libraries(gaps):
    model, x = forest(gaps=gaps)
    np.testing.assert_allclose(from_forest(model)(x)[:, 0], model.predict_proba(x)[:, 1], atol=1e-12)
    booster, x = boosted(gaps)
    np.testing.assert_allclose(from_booster(booster)(x)[:, 0], booster.predict(x, raw_score=True), atol=1e-12)
    several, x = forest(3, gaps)
    np.testing.assert_allclose(from_forest(several)(x), several.predict_proba(x), atol=1e-12)


@pytest.mark.parametrize("gaps", [False, True])
@pytest.mark.parametrize("make", [forest, boosted, lambda gaps: forest(3, gaps)])
def test_values_of_trees_are_those_of_all_subsets(make, gaps):
    model, x = make(gaps=gaps)
    trees = from_forest(model) if hasattr(model, "estimators_") else from_booster(model)
    told = TreeShap(trees, x[:9])
    for row, found in zip(x[20:24], told(x[20:24]), strict=True):
        np.testing.assert_allclose(found, brute_force(trees, row, x[:9]), atol=1e-10)


def test_values_of_trees_are_those_of_the_library():
    import shap
    from sklearn.ensemble import RandomForestClassifier

    x = np.random.default_rng(2).normal(size=(120, 5))  # without ties, which the library mistakes
    model = RandomForestClassifier(12, max_depth=5, random_state=0).fit(x, x[:, 0] + x[:, 1] * x[:, 2] > 0)
    single = x.astype(np.float32)
    theirs = shap.TreeExplainer(model, single[:30], feature_perturbation="interventional").shap_values(single)
    mine = TreeShap(from_forest(model), x[:30])(x)
    np.testing.assert_allclose(mine[..., 0], theirs[..., 1], atol=1e-6)


def test_tables_too_large_to_keep_are_made_in_parts(monkeypatch):
    model, x = forest(3, gaps=True)
    kept = TreeShap(from_forest(model), x[:9])(x)
    monkeypatch.setattr(shap_trees, "KEPT_NUMBERS", 0)
    monkeypatch.setattr(shap_trees, "PART_NUMBERS", 500)
    np.testing.assert_allclose(TreeShap(from_forest(model), x[:9])(x), kept, atol=1e-12)
    monkeypatch.setattr(shap_trees, "MOST_SIDES", 2)
    with pytest.raises(InputError, match="at most 2 features"):
        TreeShap(from_forest(model), x[:9])


@pytest.mark.parametrize("gamma", [0.02, 0.2, 2.0])
def test_values_of_a_kernel_are_those_of_all_subsets(gamma):
    rng = np.random.default_rng(0)
    support, background, rows = (rng.normal(size=(n, 6)) for n in (30, 8, 3))
    dual, intercept, owner = rng.normal(size=(2, 30)), np.array([0.3, -1.0]), np.array([0, 1, 2, 2, 3, 4])
    told = KernelShap(support, dual, intercept, gamma, owner, background, 5)

    def answer(z):
        return np.exp(-gamma * ((z[:, None] - support) ** 2).sum(axis=2)) @ dual.T + intercept

    def of_features(present_or_not):  # features own design columns: 2 owns two of them
        return answer(present_or_not)

    for row, found in zip(rows, told(rows), strict=True):
        worth = {}
        for s in product((0, 1), repeat=5):
            worth[s] = of_features(np.where(np.array(s, bool)[owner], row, background)).mean(axis=0)
        for j in range(5):
            value = sum(
                factorial(sum(s)) * factorial(4 - sum(s)) / 120 * (worth[(*s[:j], 1, *s[j + 1 :])] - worth[s])
                for s in worth
                if not s[j]
            )
            np.testing.assert_allclose(found[j], value, atol=1e-6)
    np.testing.assert_allclose(told.base_values, answer(background).mean(axis=0), atol=1e-12)


def test_a_row_far_from_every_support_vector_has_finite_values():
    rng = np.random.default_rng(0)
    support, background = rng.normal(size=(10, 4)), rng.normal(size=(5, 4))
    told = KernelShap(support, np.ones((1, 10)), np.zeros(1), 1.0, np.arange(4), background, 4)
    assert np.isfinite(told(np.full((1, 4), 100.0))).all()


def test_values_of_a_linear_model_are_those_of_the_library(binary):
    import shap

    learner = binary.study.members["logistic"].learner
    z, background = learner.design(binary.problem.x), learner.design(binary.study.background)
    theirs = shap.LinearExplainer((learner.coef[0], learner.intercept[0]), shap.maskers.Independent(background, 1000))
    by_column = theirs.shap_values(z)
    summed = np.stack([by_column[:, learner.design.owner == k].sum(axis=1) for k in range(5)], axis=1)
    mine = explain._LinearShap(learner, binary.study.background)(binary.problem.x)
    np.testing.assert_allclose(mine[..., 0], summed, atol=1e-9)


# ------------------------------------------------------------------------------------------------- schema


@pytest.mark.parametrize("family", [*EXACT, "network"])
def test_each_family_adds_up_to_its_prediction(binary, family):
    told = binary.model.explain(binary.frame.iloc[:6], family)
    assert (told.link, told.exact, told.family) == ("log-odds", family != "network", family)
    assert told.additivity_error < 1e-4 and (told.sampling_error == 0) == told.exact
    shares = [one.probabilities["yes"] for one in binary.model.predict(binary.frame.iloc[:6], family)]
    np.testing.assert_allclose(1 / (1 + np.exp(-told.base_value - told.values.sum(axis=1))), shares, atol=1e-4)
    assert told.background == 100 and told.x.shape == told.values.shape == (6, 5)


@pytest.mark.parametrize("family", ["logistic", "svm", "forest", "boosting"])
def test_classes_and_numbers_add_up(classes, number, family):
    told = classes.model.explain(classes.frame.iloc[:5], family, "2")
    assert (told.link, told.output) == ("logit", 2) and told.additivity_error < 1e-5
    told = number.model.explain(number.frame.iloc[:5], family)
    assert told.link == "value" and told.additivity_error < 1e-5
    np.testing.assert_allclose(
        told.predictions, [one.value for one in number.model.predict(number.frame.iloc[:5], family)]
    )


def test_sampled_values_agree_with_exact_ones_within_their_error(binary):
    explainer, row = binary.model.explainer("svm"), binary.problem.x[0]
    exact = explainer.explain(row[None]).values[0]
    sampled, error = explain.shapley(
        lambda x: binary.model.member("svm").link(x)[:, 0], row, binary.model.background, 600
    )
    assert (np.abs(sampled - exact) < 5 * error + 1e-6).all() and abs(sampled.sum() - exact.sum()) < 1e-6


def test_probabilities_are_explained_approximately_and_say_so(binary):
    told = binary.model.explain(binary.frame.iloc[:1], "forest", probability=True)
    assert (told.link, told.exact, told.method) == ("probability", False, "permutation")
    assert told.additivity_error < 1e-6 and 0 < told.predictions[0] < 1


def test_time_is_told_before(binary):
    assert 0 < binary.model.estimate(100, "logistic") < 5
    assert binary.model.estimate(200, "svm") == pytest.approx(2 * binary.model.estimate(100, "svm"))


def test_a_waterfall_ends_at_the_prediction(binary):
    told = binary.model.explain(binary.frame.iloc[:3], "blend")
    steps = told.waterfall(1, top=2)
    assert len(steps) == 3 and steps[-1].feature is None and steps[-1].shown == "3"
    assert abs(steps[0].value) >= abs(steps[1].value)
    assert told.base_value + sum(step.value for step in steps) == pytest.approx(told.predictions[1], abs=1e-6)
    assert str(told.sentences(1)[0]).endswith(("raises the prediction", "lowers the prediction"))
    table = told.to_frame()
    assert list(table["prediction"]) == list(told.predictions) and "SHAP age (years)" in table and len(table) == 3


def test_summaries_find_what_the_outcome_was_drawn_from(binary):
    told = binary.model.explain(binary.problem.x, "blend")
    bars = importance.bars(told)
    assert bars[0].name == "age (years)" and {bar.name for bar in bars[:3]} == {"age (years)", "sex", "crp_mg_l"}
    assert all(bar.low <= bar.mean <= bar.high for bar in bars)
    assert sum(bar.share for bar in bars) == pytest.approx(1)
    shown = importance.colours(told)
    assert np.nanmin(shown) == 0 and np.nanmax(shown) == 1
    assert (np.isnan(shown) == np.isnan(told.x)).all()
    drawn_for = importance.dependence(told, 0)
    assert drawn_for.feature == 0 and drawn_for.by == drawn_for.candidates[0] != 0 and len(drawn_for.candidates) == 4
    older = told.x[:, 0] > 55
    first = importance.cohorts(told, older, ~older)[0]
    assert first.name == "age (years)" and first.first > 0 > first.second
    with pytest.raises(InputError, match="Each cohort needs at least one row"):
        importance.cohorts(told, older, np.zeros_like(older))
    with pytest.raises(InputError, match="`feature` must be below 5, got 9"):
        importance.dependence(told, 9)


def test_families_are_compared_on_one_patient(binary):
    told = binary.model.explain_all(binary.frame.iloc[:1], ["logistic", "svm", "blend"])
    found = importance.agreement(told)
    assert found.families == ("logistic", "svm", "blend") and found.values.shape == (3, 5)
    np.testing.assert_allclose(np.diag(found.correlation), 1)
    assert 0 <= found.shared_top <= 1 and 0 <= found.same_direction <= 1
    with pytest.raises(InputError, match="At least two models"):
        importance.agreement({"svm": told["svm"]})


def test_ranks_that_hold_are_told_from_those_that_do_not():
    rows = np.array([[9, 5, 1, 0, 0, 0.1, 0], [8, 1, 5, 0, 0, 0.1, 0], [9, 5, 2, 0, 0, 0.1, 0]], float)
    found = importance.stability(rows, tuple("abcdefg"))
    assert (found[0].name, found[0].rank, found[0].rank_high, found[0].top_share) == ("a", 1, 1, 1)
    assert (found[1].name, found[1].rank_low, found[1].rank_high) == ("b", 2, 3)


@pytest.mark.parametrize("family", ["logistic", "svm", "forest", "blend"])
def test_deletion_and_insertion_beat_random_orders(binary, family):
    told = binary.model.explain(binary.frame.iloc[:8], family)
    found = [faithfulness(binary.model, told, row) for row in range(8)]
    for one, row in zip(found, range(8), strict=True):
        assert one.deletion[0] == pytest.approx(one.insertion[-1])
        assert abs(one.insertion[-1]) == pytest.approx(abs(told.predictions[row]), abs=1e-9)
        assert one.deletion_auc <= one.random_deletion_auc and one.insertion_auc >= one.random_insertion_auc
    assert len(found[0].deletion) == 6 and found[0].random_deletion.shape == (20, 6)


def test_a_wrong_explanation_is_not_faithful(binary):
    told = binary.model.explain(binary.frame.iloc[:1], "svm")
    wrong = explain.Explanation(**{**vars(told), "values": -told.values})
    assert not faithfulness(binary.model, wrong).faithful
    with pytest.raises(InputError, match="own scale"):
        faithfulness(binary.model, explain.Explanation(**{**vars(told), "link": "probability"}))


@pytest.mark.skipif("breast_cancer" not in registry.available(), reason="the bundle is not trained yet")
@pytest.mark.parametrize("family", ["svm", "blend"])
@pytest.mark.parametrize("far", [3.0, 30.0, 300.0])
def test_what_is_called_exact_adds_up_far_from_the_training_rows_too(family, far):
    model = load_risk_model("breast_cancer")
    x = model.read(sample_table().frame.iloc[:3])[0] + far * model.background.std(axis=0)
    told = model.explain(x, family)
    assert told.exact and told.additivity_error < 1e-4
