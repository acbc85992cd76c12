from __future__ import annotations

import numpy as np
import pytest
from drawn_trials import CROSSED, HORIZON, NO_DIFFERENCE, ONE_BETTER, drawn, event_free

from medai_core.errors import ArtifactError, InputError
from medai_core.tabular import survival_choice
from medai_core.tabular.survival import (
    FAMILIES,
    STORED,
    Members,
    Sample,
    Terms,
    fit,
    fit_cox,
    fit_kaplan_meier,
)
from medai_core.tabular.survival_choice import BASELINE, Score, choose, compare, folds
from medai_core.tabular.survival_metrics import (
    Pairs,
    Watched,
    brier,
    by_patient,
    calibration_slope,
    check_horizon,
    concordance,
    event_free_share,
    integrated,
)

DAYS = np.arange(60.0, 721.0, 60.0)


@pytest.fixture(scope="module")
def trial() -> Sample:
    return drawn(300, ONE_BETTER, 0)[0]


def tied(n: int = 120, seed: int = 3) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 9, n) / 9.0, rng.integers(1, 30, n).astype(float), rng.random(n) < 0.6


# ------------------------------------------------------------------------------------------------- figures


def test_concordance_is_that_of_lifelines():
    from lifelines.utils import concordance_index

    risk, time, event = tied()
    assert concordance(risk, time, event) == pytest.approx(concordance_index(time, -risk, event))


def test_concordance_of_resampled_patients_is_that_of_their_table():
    risk, time, event = tied()
    rows = np.random.default_rng(0).integers(0, len(risk), len(risk))
    found = Pairs.of(risk, time, event).concordance(rows)
    assert found == pytest.approx(concordance(risk[rows], time[rows], event[rows]))


def test_concordance_without_pairs_is_undefined():
    assert np.isnan(concordance(np.arange(4.0), np.arange(1.0, 5.0), np.zeros(4, bool)))


def test_brier_score_is_that_of_scikit_survival(trial):
    from sksurv.metrics import brier_score, integrated_brier_score
    from sksurv.util import Surv

    stated = np.linspace(0.95, 0.4, len(DAYS)) ** np.random.default_rng(0).uniform(0.5, 2, (len(trial), 1))
    y = Surv.from_arrays(trial.event, trial.time)
    errors = brier(stated, trial.time, trial.event, DAYS, Watched(trial.time, trial.event))
    np.testing.assert_allclose(errors.mean(axis=0), brier_score(y, y, stated, DAYS)[1], rtol=2e-3)
    assert integrated(errors, DAYS).mean() == pytest.approx(integrated_brier_score(y, y, stated, DAYS), rel=1e-3)


def test_calibration_slope_tells_how_much_risks_are_exaggerated():
    sample, x = drawn(3000, ONE_BETTER, 1)
    true = event_free(x, sample.arm, ONE_BETTER)
    assert calibration_slope(true, sample.time, sample.event) == pytest.approx(1, abs=0.1)
    exaggerated = np.exp(-np.exp(2 * np.log(-np.log(true))))
    assert calibration_slope(exaggerated, sample.time, sample.event) == pytest.approx(0.5, abs=0.05)
    assert np.isnan(calibration_slope(np.full(len(x), 0.7), sample.time, sample.event))


def test_calibration_slope_is_that_of_scikit_survival():
    from sksurv.linear_model import CoxPHSurvivalAnalysis
    from sksurv.util import Surv

    stated, time, event = tied(200, 8)
    stated = 0.1 + 0.8 * stated
    x = np.log(-np.log(stated))[:, None]
    wanted = CoxPHSurvivalAnalysis(ties="breslow").fit(x, Surv.from_arrays(event, time)).coef_[0]
    assert calibration_slope(stated, time, event) == pytest.approx(wanted, abs=1e-6)


def test_event_free_share_follows_the_truth_in_spite_of_lost_patients():
    sample, x = drawn(4000, NO_DIFFERENCE, 2)
    wanted = event_free(x, sample.arm, NO_DIFFERENCE).mean()
    assert event_free_share(sample.time, sample.event, HORIZON) == pytest.approx(wanted, abs=0.03)


@pytest.mark.parametrize("horizon", [0.0, -1.0, 5000.0])
def test_impossible_horizons_are_refused(trial, horizon):
    with pytest.raises(InputError, match=f"`horizon` must be above 0 .* got {horizon:g}"):
        check_horizon(trial.time, trial.event, horizon)


def test_intervals_hold_the_value(trial):
    found = by_patient(lambda rows: float(trial.time[rows].mean()), len(trial), 100)
    assert found.low < found.value < found.high


# ------------------------------------------------------------------------------------------------ families


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_gives_falling_curves_that_know_who_is_at_risk(trial, family):
    model = fit(family, trial, seed=0)
    days = np.r_[0.0, DAYS]
    found = model.survival(trial.z, trial.arm, days)
    assert found.shape == (len(trial), len(days))
    assert ((found >= 0) & (found <= 1)).all() and (np.diff(found, axis=1) <= 1e-12).all()
    np.testing.assert_allclose(found[:, 0], 1, atol=0.02)
    np.testing.assert_allclose(model.survival(trial.z[:3], trial.arm[:3], days), found[:3], atol=1e-9)
    other = drawn(500, ONE_BETTER, 9)[0]
    risk = -model.survival(other.z, other.arm, days)[:, -1]
    assert concordance(risk, other.time, other.event) > 0.6
    old, new = (model.survival(other.z, np.full(len(other), arm), days)[:, -1].mean() for arm in (0, 1))
    assert new > old + 0.08  # the arm that is better


@pytest.mark.parametrize("family", STORED)
def test_a_cox_model_as_numbers_answers_like_the_library(trial, family):
    from sksurv.linear_model import CoxPHSurvivalAnalysis
    from sksurv.util import Surv

    terms = Terms.make(family, trial.z.shape[1], trial.arms)
    x = terms(trial.z, trial.arm)
    oracle = CoxPHSurvivalAnalysis(alpha=terms.ridge(trial.z.shape[1]))
    oracle.fit(x, Surv.from_arrays(trial.event, trial.time))
    wanted = np.array([step(DAYS) for step in oracle.predict_survival_function(x[:20])])
    found = fit_cox(family, trial, terms).survival(trial.z[:20], trial.arm[:20], DAYS)
    np.testing.assert_allclose(found, wanted, atol=1e-12)


@pytest.mark.parametrize(("family", "crosses"), [("cox", False), ("cox_interactions", True), ("cox_smooth", True)])
def test_only_models_with_interactions_let_the_better_arm_differ_by_patient(family, crosses):
    sample = drawn(600, CROSSED, 4)[0]
    model, z = fit(family, sample), np.array([[-1.0, 0.0], [1.0, 0.0]])
    gain = np.diff([model.survival(z, np.full(2, arm), np.array([HORIZON]))[:, 0] for arm in (0, 1)], axis=0)[0]
    assert (gain[0] > 0.1 and gain[1] < -0.1) == crosses


def test_one_arm_needs_no_arm():
    sample, _ = drawn(200, NO_DIFFERENCE, 5, arms=1)
    for family in STORED:
        assert fit(family, sample).survival(sample.z, sample.arm, DAYS).shape == (200, len(DAYS))


def test_kaplan_meier_gives_one_curve_per_arm(trial):
    found = fit_kaplan_meier(trial).survival(trial.z, trial.arm, DAYS)
    assert len(np.unique(found[trial.arm == 0], axis=0)) == len(np.unique(found[trial.arm == 1], axis=0)) == 1
    assert found[trial.arm == 1][0, -1] > found[trial.arm == 0][0, -1]


def test_what_cannot_be_fitted_is_refused(trial):
    few = Sample(trial.z, trial.arm, 2, trial.time, np.arange(len(trial)) < 7)
    with pytest.raises(InputError, match="At least 8 events are needed, got 7"):
        fit("cox", few)
    with pytest.raises(InputError, match="`family` must be one of cox, .* got magic"):
        fit("magic", trial)
    with pytest.raises(InputError, match="`family` must be one of cox, .* got forest"):
        Members.fit("forest", trial, DAYS, 2, 0)


# ------------------------------------------------------------------------------------------------- members


@pytest.mark.parametrize("family", STORED)
def test_members_hold_the_fit_first_and_survive_storing(trial, family):
    steps = []
    members = Members.fit(family, trial, DAYS, 3, 0, lambda done, of: steps.append((done, of)))
    assert steps == [(1, 3), (2, 3), (3, 3)]
    found = members.survival(trial.z, trial.arm, DAYS)
    assert found.shape == (4, len(trial), len(DAYS))
    np.testing.assert_allclose(found[0], fit(family, trial).survival(trial.z, trial.arm, DAYS), atol=1e-12)
    np.testing.assert_allclose(found[0], members.best(trial.z, trial.arm, DAYS), atol=1e-12)
    assert len(np.unique(found[:, 0, -1])) == 4
    again = Members.from_arrays(family, 2, members.to_arrays())
    np.testing.assert_allclose(again.survival(trial.z, trial.arm, DAYS), found, atol=1e-5)


def test_the_same_seed_gives_the_same_members_and_landmarks_are_no_patients(trial):
    one, two = (Members.fit("cox_smooth", trial, DAYS, 1, 7) for _ in range(2))
    np.testing.assert_array_equal(one.coefficients, two.coefficients)
    other = Members.fit("cox_smooth", drawn(250, CROSSED, 8)[0], DAYS, 1, 7)
    np.testing.assert_array_equal(one.terms.landmarks, other.terms.landmarks)


def test_arrays_that_do_not_belong_together_are_refused(trial):
    stored = Members.fit("cox", trial, DAYS, 1, 0).to_arrays()
    for wrong in ({"days": DAYS[:-1]}, {"coefficients": stored["coefficients"] * np.nan}):
        with pytest.raises(ArtifactError, match="do not belong together"):
            Members.from_arrays("cox", 2, stored | wrong)
    with pytest.raises(ArtifactError, match="must hold 'days'"):
        Members.from_arrays("cox", 2, {"coefficients": stored["coefficients"]})


# -------------------------------------------------------------------------------------------------- choice


def test_folds_keep_arms_and_events_in_proportion(trial):
    for _, train, held in folds(trial, 2, 0):
        assert not set(train) & set(held) and len(train) + len(held) == len(trial)
        for values in (trial.arm == 1, trial.event):
            assert abs(values[held].mean() - values.mean()) < 0.05
    with pytest.raises(InputError, match="Every arm needs at least 5 patients, got 3"):
        list(folds(trial.part(np.r_[np.flatnonzero(trial.arm == 0)[:50], np.flatnonzero(trial.arm == 1)[:3]]), 1, 0))


def test_comparison_finds_who_is_better_than_curves(trial):
    steps = []
    scores = compare(trial, DAYS, HORIZON, ("cox", "cox_smooth"), 1, 0, lambda *step: steps.append(step))
    assert [score.family for score in scores] == ["cox", "cox_smooth", BASELINE] and len(steps) == 15
    assert scores[0].concordance > scores[2].concordance and scores[0].brier < scores[2].brier
    assert choose(scores) in ("cox", "cox_smooth")


def test_choice_is_the_best_order_among_stored_families_that_beat_the_curves():
    def score(family: str, order: float, error: float) -> Score:
        return Score(family, order, 0.01, error, 0.01)

    curves = score(BASELINE, 0.55, 0.10)
    assert choose([score("cox", 0.66, 0.09), score("cox_smooth", 0.68, 0.09), curves]) == "cox_smooth"
    assert choose([score("cox", 0.66, 0.09), score("cox_smooth", 0.68, 0.11), curves]) == "cox"
    assert choose([score("cox", 0.66, 0.11), score("cox_smooth", 0.68, 0.12), curves]) == "cox"
    assert choose([score("cox", 0.66, 0.09), score("forest", 0.8, 0.05), curves]) == "cox"


def test_covariates_that_say_nothing_order_nobody():
    noise = drawn(400, NO_DIFFERENCE, 6)[0]
    blind = Sample(noise.z[:, 1:], noise.arm, 2, noise.time, noise.event)
    cox = survival_choice.compare(blind, DAYS, HORIZON, ("cox",), 1, 0)[0]
    assert abs(cox.concordance - 0.5) < 0.07
