"""What a rule of treatment is worth, and trials of a user's own."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from drawn_trials import (
    CROSSED,
    HORIZON,
    NO_DIFFERENCE,
    ONE_BETTER,
    ROLES,
    drawn,
    drawn_actg,
    drawn_frame,
    drawn_trial,
    event_free,
)

from medai_core.errors import InputError, RefusedInput
from medai_core.tabular import trial as trial_module
from medai_core.tabular.policy import PolicyValue, outcome_weights, policy_value
from medai_core.tabular.tables import read_table, table_of
from medai_core.tabular.treatment_fit import fit_treatment, learned_value
from medai_core.tabular.trial import (
    ACTG_AFTER,
    ACTG_COVARIATES,
    Roles,
    balance,
    make_trial,
    propose_roles,
)

OPTIONS = {"family": "cox_smooth", "resamples": 2, "repeats": 1}


# ------------------------------------------------------------------------------------------ policy value


def truth(kind: str, decisions: np.ndarray, x: np.ndarray) -> float:
    return float(event_free(x, decisions, kind).mean())


@pytest.mark.parametrize("kind", [NO_DIFFERENCE, CROSSED, ONE_BETTER])
def test_policy_value_is_the_truth_of_the_simulation(kind):
    """Many trials with patients lost at a rate that differs by arm; each value unbiased, its interval honest."""
    big = drawn(100_000, kind, 99)[1]
    rule = {name: (big < 0 if name else big > -9).astype(int) for name in (True, False)}
    wanted = [truth(kind, rule[True], big), truth(kind, 0 * rule[True], big), truth(kind, rule[False], big)]
    errors, held = [], []
    for seed in range(24):
        sample, x = drawn(500, kind, seed)
        found = policy_value(sample, (x < 0).astype(int), HORIZON, resamples=150, seed=seed)
        values = [found.individual, *found.single]
        errors.append([one.value - true for one, true in zip(values, wanted, strict=True)])
        gain = wanted[0] - wanted[1]
        held.append([one.low <= true <= one.high for one, true in zip(values, wanted, strict=True)])
        held[-1].append(found.gain[0].low <= gain <= found.gain[0].high)
    errors = np.array(errors)
    assert (np.abs(errors.mean(axis=0)) < 3.5 * errors.std(axis=0) / np.sqrt(len(errors))).all()
    assert (np.mean(held, axis=0) >= 0.83).all()


def test_without_weights_for_lost_patients_the_value_would_be_wrong():
    sample, _ = drawn(4000, NO_DIFFERENCE, 5)
    found = policy_value(sample, np.zeros(len(sample), int), HORIZON, resamples=20)
    known = (sample.time >= HORIZON) | sample.event
    naive = [(sample.time >= HORIZON)[known & (sample.arm == arm)].mean() for arm in (0, 1)]
    assert abs(found.single[0].value - found.single[1].value) < 0.05 < abs(naive[0] - naive[1])


def test_weights_count_every_patient_once():
    sample, _ = drawn(3000, NO_DIFFERENCE, 6)
    weight, free = outcome_weights(sample, HORIZON)
    assert weight.sum() == pytest.approx(len(sample), rel=0.02)
    assert (weight[~sample.event & (sample.time < HORIZON)] == 0).all() and not free[sample.time < HORIZON].any()


def test_a_learned_rule_beats_every_arm_only_where_it_should():
    crossed = learned_value(drawn(700, CROSSED, 11)[0], "cox_smooth", HORIZON, 1, 0)
    same = learned_value(drawn(700, NO_DIFFERENCE, 11)[0], "cox_smooth", HORIZON, 1, 0)
    better = learned_value(drawn(700, ONE_BETTER, 11)[0], "cox_smooth", HORIZON, 1, 0)
    assert crossed.evidence and crossed.gain[crossed.best].low > 0.05
    assert not same.evidence and not better.evidence and better.best == 1
    assert better.gain[0].low > 0  # choosing beats the worse arm, and that is no evidence for choosing


def test_no_difference_is_seldom_taken_for_a_benefit():
    found = [learned_value(drawn(300, NO_DIFFERENCE, seed)[0], "cox", HORIZON, 1, seed).evidence for seed in range(12)]
    assert sum(found) <= 1


def test_policy_value_survives_storing_and_refuses_impossible_decisions():
    sample, x = drawn(300, CROSSED, 2)
    found = policy_value(sample, (x < 0).astype(int), HORIZON, resamples=50)
    assert PolicyValue.from_dict(json.loads(json.dumps(found.to_dict()))) == found
    with pytest.raises(InputError, match="must name one of 2 arms for each of 300 patients"):
        policy_value(sample, np.full(300, 2), HORIZON)
    with pytest.raises(InputError, match="`horizon` must be above 0 and at most about"):
        policy_value(sample, (x < 0).astype(int), 9999.0)


# ------------------------------------------------------------------------------------- trials of one's own


def test_observational_data_are_refused():
    with pytest.raises(RefusedInput, match="must be stated that assignment was random"):
        make_trial(table_of(drawn_frame(200, NO_DIFFERENCE, 0)), ROLES, randomised=False)


def test_a_trial_with_words_units_and_gaps_is_read():
    frame = drawn_frame(200, NO_DIFFERENCE, 0)
    frame["time"] = (frame["time"] / 365.25).round(4)
    frame["event"] = frame["event"].map({1: "yes", 0: "no"})
    frame["site"] = np.where(np.arange(200) % 3 == 0, "north", "south")
    frame.loc[[3, 4], "arm"] = None
    frame.loc[5, "x"] = None
    table = read_table(frame.to_csv(index=False).encode(), "mine.csv")
    trial = make_trial(table, Roles("arm", "time", "event", ("x", "site"), unit="years"), randomised=True)
    assert trial.arms == ("new", "old") and len(trial) == 198
    assert [str(note) for note in trial.notes] == ["2 rows without arm, time or event are left out."]
    whole = drawn_trial(200, NO_DIFFERENCE, 0)
    assert trial.time.max() == pytest.approx(whole.time.max(), abs=0.1) and np.isnan(trial.x).sum() == 1
    model = fit_treatment(trial, family="cox_smooth", resamples=2, repeats=1)[0]
    found = model.assess({"x": None, "site": "north"})
    assert set(found.event_free) == {"new", "old"} and found.cautions == ()
    assert "was never seen in training" in str(model.assess({"x": 0.1, "site": "west"}).cautions[0])


def test_roles_are_told_by_names_and_never_take_later_columns():
    roles = propose_roles(table_of(drawn_actg(120, 1)))
    assert (roles.arm, roles.time, roles.event) == ("trt", "time", "cid")
    assert set(ACTG_COVARIATES) <= set(roles.covariates)
    assert not set(roles.covariates) & {*ACTG_AFTER, "treat", "trt", "time", "cid"}
    assert propose_roles(table_of(pd.DataFrame({"a": range(40), "b": range(40)}))) is None


@pytest.mark.parametrize(
    ("change", "roles", "words"),
    [
        ({"arm": "one"}, {}, "The arm arm must have 2 to 8 values, got 1."),
        ({"arm": np.r_[["a"] * 190, ["b"] * 10]}, {}, "Every arm needs at least 20 patients, but b has 10."),
        ({"time": -1.0}, {}, "The time time must not be negative, got -1."),
        ({"event": 0}, {}, "The event event must have two values, got 1."),
        ({"event": np.r_[[1] * 5, [0] * 195]}, {}, "At least 8 events are needed, got 5."),
        ({}, {"event_value": "7"}, "The event event never has the value 7."),
        ({}, {"covariates": ()}, "At least one column recorded before assignment is needed."),
        ({}, {"covariates": ("x", "time")}, "Column time can have one role only."),
        ({}, {"covariates": ("gone",)}, "The table has no column gone."),
        ({}, {"unit": "hours"}, "`unit` must be one of days, weeks, months, years, got hours"),
    ],
)
def test_tables_that_are_no_trial_are_refused_in_a_sentence(change, roles, words):
    table = table_of(drawn_frame(200, NO_DIFFERENCE, 0).assign(**change))
    with pytest.raises(InputError) as told:
        make_trial(table, Roles(**(vars(ROLES) | roles)), randomised=True)
    assert str(told.value) == words


def test_the_horizon_must_be_within_observation():
    with pytest.raises(InputError, match="`horizon` must be above 0 and at most about"):
        fit_treatment(drawn_trial(200, NO_DIFFERENCE, 0), horizon=5000.0, **OPTIONS)


def test_balance_is_even_under_chance_and_finds_what_is_not():
    p = [balance(drawn_trial(200, NO_DIFFERENCE, seed)).p for seed in range(40)]
    assert 0.35 < np.mean(p) < 0.65 and min(p) > 0.0005 and np.mean(np.array(p) < 0.1) < 0.25
    frame = drawn_frame(300, NO_DIFFERENCE, 0)
    frame["x"] += 0.8 * (frame["arm"] == "new")
    found = balance(make_trial(table_of(frame), ROLES, randomised=True))
    assert found.suspect and found.differences[0][0] == "x" and found.differences[0][1] > 0.4
    assert "was assignment random" in str(found.message)


def test_training_can_be_stopped_and_tells_where_it_is():
    told: list[tuple[str, int, int]] = []

    def stop(*step: object) -> None:
        told.append(step)
        if step[0] == "policy":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit_treatment(drawn_trial(200, NO_DIFFERENCE, 0), families=("cox",), repeats=1, progress=stop)
    assert told[0] == ("cox", 1, 5) and told[-1] == ("policy", 1, 5)


def test_an_arm_that_was_watched_for_less_long_is_not_compared_beyond_that():
    """Its patients with an event are known and its others are not: all of them would look as if they had failed."""
    sample, _ = drawn(400, NO_DIFFERENCE, 0)
    short = np.where(sample.arm == 1, np.minimum(sample.time, 0.5 * HORIZON), sample.time)
    cut = replace(sample, time=short, event=sample.event & (short == sample.time))
    with pytest.raises(InputError, match="`horizon` must be above 0 and at most about 365 days"):
        policy_value(cut, np.zeros((1, 400), int), HORIZON)
    assert policy_value(cut, np.zeros((1, 400), int), 0.4 * HORIZON).n == 400


def test_more_patients_than_can_be_compared_and_roles_without_a_column_are_refused(monkeypatch):
    table = table_of(drawn_frame(200, NO_DIFFERENCE, 0))
    with pytest.raises(InputError, match="The table has no column gone"):
        make_trial(table, replace(ROLES, arm="gone"), randomised=True)
    monkeypatch.setattr(trial_module, "MOST_PATIENTS", 100)
    with pytest.raises(InputError, match="At most 100 patients can be compared, got 200"):
        make_trial(table, ROLES, randomised=True)
