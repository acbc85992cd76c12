"""Counterfactuals flip, are small, and respect what is locked; curves answer as the model does."""

from __future__ import annotations

import numpy as np
import pytest

from medai_core.errors import InputError
from medai_core.tabular.counterfactual import Goal, counterfactuals, ice


@pytest.mark.parametrize("family", ["logistic", "svm", "forest", "boosting", "blend"])
def test_the_smallest_change_flips_within_plausible_ranges(binary, family):
    row = binary.frame.iloc[[3]]
    before = binary.model.predict(row, family)[0]
    found = counterfactuals(binary.model, row, family, locked=["sex"])
    assert found and [one.cost for one in found] == sorted(one.cost for one in found)
    for one in found:
        after = binary.model.predict({name: _text(binary.model, k, one.x) for k, name in enumerate(
            binary.model.encoder.names)}, family)[0]  # fmt: skip
        assert after.label != before.label and one.answer_before < 0.5 <= one.answer_after
        assert 1 <= len(one.changes) <= 4 and "sex" not in {change.name for change in one.changes}
        for change in one.changes:
            feature = binary.model.encoder.features[change.feature]
            low, high = min(feature.plausible_low, change.before), max(feature.plausible_high, change.before)
            assert low <= change.after <= high


def _text(model, k, x):
    feature = model.encoder.features[k]
    return feature.text(x[k]) if feature.kind == "category" and not np.isnan(x[k]) else x[k]


def test_the_answer_of_a_linear_model_is_the_known_smallest(binary):
    """Along one feature the odds are linear, so the distance to the edge can be worked out."""
    model, x = binary.model, binary.problem.x[3]
    member, place = model.member("logistic"), 0
    free = [name for name in model.encoder.names if name != "age (years)"]
    found = counterfactuals(model, x, "logistic", locked=free)
    design = member.learner.design
    slope = (member.scale * member.learner.coef / design.scale)[0, design.owner == place][0]
    edge = x[place] - member.link(x[None])[0, 0] / slope
    if not found:
        feature = model.encoder.features[place]
        assert not feature.plausible_low <= edge <= feature.plausible_high
    else:
        assert abs(found[0].changes[0].after - edge) <= 1  # ages are whole


def test_nothing_is_found_where_nothing_flips(binary):
    x = binary.problem.x[3]
    ranges = {"noise": (float(x[4]) - 1e-3, float(x[4]) + 1e-3)}
    locked = [name for name in binary.model.encoder.names if name != "noise"]
    assert counterfactuals(binary.model, x, "logistic", locked=locked, ranges=ranges) == []


def test_goals_of_classes_and_numbers(classes, number):
    found = counterfactuals(classes.model, classes.frame.iloc[[0]], "logistic", goal=Goal("2"))
    start = classes.model.predict(classes.frame.iloc[[0]], "logistic")[0].label
    assert start == "2" or found
    value = number.model.predict(number.frame.iloc[[0]], "logistic")[0].value
    higher = counterfactuals(number.model, number.frame.iloc[[0]], "logistic", goal=Goal(threshold=value + 0.3))
    assert higher and higher[0].answer_after >= value + 0.3 - 1e-9
    with pytest.raises(InputError, match="A number needs a goal"):
        counterfactuals(number.model, number.frame.iloc[[0]])


def test_bad_wishes_are_refused(binary):
    row = binary.frame.iloc[[0]]
    with pytest.raises(InputError, match="reads no column weight"):
        counterfactuals(binary.model, row, "logistic", locked=["weight"])
    with pytest.raises(InputError, match="At least one column must be free"):
        counterfactuals(binary.model, row, "logistic", locked=binary.model.encoder.names)
    with pytest.raises(InputError, match="`label` must be one of no, yes"):
        counterfactuals(binary.model, row, "logistic", goal=Goal("maybe"))


def test_curves_pass_through_the_rows_own_answers(binary):
    rows = binary.frame.iloc[:3]
    for name in ("age (years)", "sex"):
        found = ice(binary.model, rows, name, "forest")
        assert found.rows.shape == (3, len(found.grid)) and found.others.shape == (100, len(found.grid))
        answers = binary.model.answer(binary.problem.x[:3], "forest")
        for k in range(3):
            at = np.flatnonzero(found.grid == found.now[k])
            if at.size:
                assert found.rows[k, at[0]] == pytest.approx(answers[k])
        assert found.mean.shape == found.grid.shape
    assert len(ice(binary.model, rows, "sex").grid) == 2
    with pytest.raises(InputError, match="reads no column weight"):
        ice(binary.model, rows, "weight")


def test_changes_stay_within_the_limits_that_were_set(binary):
    """Whole numbers are not rounded out of them, and a patient beyond them is brought in, not left between."""
    model, row = binary.model, binary.frame.iloc[3].to_dict()
    place = model.encoder.names.index("age (years)")
    young = model.predict({**row, "age (years)": 20}, "logistic")[0].label
    goal, limits = Goal(young), {"age (years)": (20.4, 40.6)}
    locked = [name for name in model.encoder.names if name != "age (years)"]
    old = {**row, "age (years)": 140.0}
    assert model.predict(old, "logistic")[0].label != young
    found = counterfactuals(model, old, "logistic", goal=goal, locked=locked, ranges=limits)
    assert found and 21 <= found[0].x[place] <= 40 and found[0].x[place] == round(found[0].x[place])
    with pytest.raises(InputError, match="must begin below its end, got 40 to 18"):
        counterfactuals(model, row, ranges={"age (years)": (40, 18)})


def test_a_column_that_no_background_row_has_is_searched_all_the_same(binary, monkeypatch):
    background = binary.model.background.copy()
    background[:, binary.model.encoder.names.index("crp_mg_l")] = np.nan
    monkeypatch.setattr(binary.model, "background", background)
    assert counterfactuals(binary.model, binary.frame.iloc[[3]], "logistic")
