"""SHAP of the risk: against brute force, blind to the future, adding up, and the fast path against the slow one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from math import factorial

import numpy as np
import pytest
from drawn_stays import entries, grid_of, physionet
from numpy.typing import NDArray

from medai_core.errors import InputError
from medai_core.icu import explain
from medai_core.icu.explain import RiskExplanation, explain_risk, faithfulness, shapley
from medai_core.icu.features import features, features_at
from medai_core.icu.grid import stack
from medai_core.icu.records import read_stay
from medai_core.icu.stay import Stay

HEAD = "Time,Parameter,Value\n00:00,RecordID,5\n"
PLAYERS = {
    ("Age", 0): "00:00,Age,70",
    ("HR", 1): "00:30,HR,120",
    ("HR", 2): "01:30,HR,125",
    ("GCS", 3): "02:10,GCS,6",
    ("Urine", 3): "02:20,Urine,10",
}
"""Variable and hour of what a short stay holds, and its row."""


@pytest.fixture(scope="module")
def stay() -> Stay:
    return read_stay(physionet(entries(400), 8))


@pytest.fixture(scope="module")
def explained(forecaster, stay) -> RiskExplanation:
    return explain_risk(forecaster, stay, 30)


def brute_force(value: Callable[[frozenset[int]], float], players: int) -> NDArray[np.float64]:
    """Shapley values by their definition: every subset, weighted."""
    found = np.zeros(players)
    for player in range(players):
        others = [k for k in range(players) if k != player]
        for size in range(players):
            weight = factorial(size) * factorial(players - size - 1) / factorial(players)
            for some in combinations(others, size):
                found[player] += weight * (value(frozenset({*some, player})) - value(frozenset(some)))
    return found


# ---------------------------------------------------------------------------------------- the values


def test_effects_of_one_and_of_two_together_are_exact():
    rng = np.random.default_rng(0)
    alone, together = rng.normal(size=6), rng.normal(size=(6, 6))

    def game(present: NDArray[np.bool_]) -> NDArray[np.float64]:
        x = present.astype(float)
        return 3 + x @ alone + np.einsum("ei,ij,ej->e", x, together, x)

    values, errors, base, asked = shapley(game, 6)
    wanted = brute_force(lambda s: float(game(np.isin(np.arange(6), list(s))[None])[0]), 6)
    np.testing.assert_allclose(values, wanted, atol=1e-9)
    assert base == 3 and errors.max() < 1e-9 and asked % 13 == 0 and 13 * explain.LEAST_PAIRS <= asked <= 900


def test_effects_of_many_together_are_near_by_the_errors_told():
    def game(present: NDArray[np.bool_]) -> NDArray[np.float64]:
        return np.array([np.sin(1.7 * row @ np.arange(1, 6)) * (1 + row[0] * row[3] * row[4]) for row in present])

    values, errors, _, _ = shapley(game, 5, seed=3)
    wanted = brute_force(lambda s: float(game(np.isin(np.arange(5), list(s))[None])[0]), 5)
    assert (errors > 0.005).all() and (np.abs(values - wanted) < 4 * errors).all()


def test_a_player_that_never_matters_gets_nothing():
    values, errors, _, _ = shapley(lambda present: np.tanh(present[:, 0] * 2.0 - present[:, 2]), 3)
    assert values[1] == errors[1] == 0.0 and values[0] > 0 > values[2]


def test_nobody_to_ask():
    values, errors, base, asked = shapley(lambda present: np.full(len(present), 7.0), 0)
    assert (values.size, errors.size, base, asked) == (0, 0, 7.0, 1)


def test_the_seed_decides_and_the_global_generator_is_left_alone():
    def game(present: NDArray[np.bool_]) -> NDArray[np.float64]:
        return np.exp(present @ np.linspace(0, 1, 5))

    np.random.seed(11)
    state = np.random.get_state()[1].copy()
    one, again, other = (shapley(game, 5, seed)[0] for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert (one != other).any() and (np.random.get_state()[1] == state).all()


# -------------------------------------------------------------------------------------- of a whole stay


def test_shapes_and_what_is_measured(explained, stay):
    known = stay.until(30)
    assert (explained.stay, explained.at) == ("8", 30)
    assert explained.contributions.shape == explained.measured.shape == (
        len(explained.variables), len(explained.blocks),
    )  # fmt: skip
    assert explained.measured.sum() == len(known.values) and not explained.contributions[explained.measured == 0].any()
    assert explained.blocks[-1][1] == 30 and explained.blocks[0][0] == 1
    assert all(a[1] + 1 == b[0] for a, b in zip(explained.blocks, explained.blocks[1:], strict=False))
    assert set(explained.fixed) == {"Age", "Gender"} and explained.latest["Age"] == (60, 0)
    heart = known.series == explain.NAMES.index("HR")
    assert explained.latest["HR"] == (known.values[heart][-1], np.ceil(known.minutes[heart][-1] / 60))
    assert explained.evaluations <= explain.EVALUATIONS and explained.seconds > 0
    assert (np.abs(explained.contributions).sum(axis=1) > 0).sum() > 5 and explained.sampling_error > 0


def test_it_adds_up_to_the_risk_shown(explained, forecaster, stay):
    risk = forecaster.forecast(stay, 30).mortality
    assert explained.value == pytest.approx(np.log(risk / (1 - risk)), abs=1e-5)
    nothing = stack([grid_of([], {"x": 0.0})])
    risk = forecaster.risks(nothing).blend[0, 29]
    assert explained.base_value == pytest.approx(np.log(risk / (1 - risk)), abs=1e-5)
    total = explained.base_value + explained.contributions.sum() + sum(explained.fixed.values())
    assert explained.additivity_gap <= 1e-3 and abs(total - explained.value) == pytest.approx(explained.additivity_gap)


def test_the_future_leaves_an_explanation_alone(explained, forecaster):
    rows = [row if row[0] <= 1800 else (row[0], row[1], row[2] * 0.9) for row in entries(400)]
    rows = [row for row in rows if row[0] <= 1800 or row[1] != "Temp"]
    other = explain_risk(forecaster, read_stay(physionet(rows, 8)), 30)
    assert other.variables == explained.variables and other.blocks == explained.blocks
    np.testing.assert_allclose(other.contributions, explained.contributions, atol=1e-6)
    assert other.value == pytest.approx(explained.value, abs=1e-6) and other.fixed == pytest.approx(explained.fixed)


def test_absent_means_as_if_not_measured(forecaster):
    """Against the slow way: a file without those rows, read and scored; and the values against every subset."""
    rows, at = list(PLAYERS.values()), 3

    def value(present: frozenset[int]) -> float:
        left = [row for k, row in enumerate(rows) if k in present]
        if any(not row.startswith("00:00") for row in left):
            risk = forecaster.forecast(read_stay((HEAD + "\n".join(left)).encode()), at).mortality
        else:  # a file without measurements is no stay
            risk = forecaster.risks(stack([grid_of([], {"Age": 70.0 if left else np.nan})])).blend[0, at - 1]
        return float(np.log(risk / (1 - risk)))

    found = explain_risk(forecaster, read_stay((HEAD + "\n".join(rows)).encode()), at)
    assert found.blocks == ((1, 1), (2, 2), (3, 3))
    for (name, hour), worth in zip(PLAYERS, brute_force(value, len(rows)), strict=True):
        mine = found.contributions[found.variables.index(name), hour - 1] if hour else found.fixed[name]
        assert mine == pytest.approx(worth, abs=4 * found.sampling_error + 1e-4), name


def test_one_measurement_gets_everything(forecaster):
    found = explain_risk(forecaster, read_stay(b"hours,HR\n0.5,85\n"), 1)
    assert found.variables == ("HR",) and found.contributions.shape == (1, 1) and found.fixed == {}
    assert found.contributions.item() == pytest.approx(found.value - found.base_value, abs=1e-6)


def test_nothing_measured_yet(forecaster):
    found = explain_risk(forecaster, read_stay(b"hours,HR\n5,85\n"), 4)
    assert found.variables == () and found.contributions.shape == (0, len(found.blocks)) and found.top() == []
    assert found.value == pytest.approx(found.base_value, abs=1e-6) and found.evaluations == 1


def test_an_hour_outside_the_stay_is_refused(forecaster, stay):
    with pytest.raises(InputError, match="`at_hour` must be between 1 and 48, got 0"):
        explain_risk(forecaster, stay, 0)


@pytest.mark.parametrize("at", [1, 7, 48])
def test_blocks_are_as_short_as_the_evaluations_allow(at, monkeypatch):
    counts = np.ones((at, 30), int)
    hours = {explain._blocks(counts[:, :k], 3)[-1] for k in (1, 30)}
    assert all(last == at for _, last in hours)
    monkeypatch.setattr(explain, "EVALUATIONS", 10_000_000)
    assert explain._blocks(counts, 3) == tuple((h, h) for h in range(1, at + 1))
    monkeypatch.setattr(explain, "EVALUATIONS", 1)
    assert explain._blocks(counts, 3) == ((1, at),)


# --------------------------------------------------------------------------------------------- in words


def test_an_explanation_is_held_against_random_orders(explained, forecaster, stay):
    found = faithfulness(forecaster, stay, explained)
    turned = 1.0 if explained.value >= explained.base_value else -1.0
    assert found.insertion[0] == found.deletion[-1] == pytest.approx(turned * explained.base_value, abs=1e-6)
    assert found.insertion[-1] == found.deletion[0] == pytest.approx(turned * explained.value, abs=1e-6)
    assert found.insertion_auc > found.random_insertion_auc and found.deletion_auc < found.random_deletion_auc
    wrong = replace(
        explained, contributions=-explained.contributions, fixed={k: -v for k, v in explained.fixed.items()}
    )
    assert not faithfulness(forecaster, stay, wrong).faithful


def test_top_reasons_in_words():
    found = RiskExplanation(
        stay="1", at=30, variables=("GCS", "HR", "K"), blocks=((1, 15), (16, 30)),
        contributions=np.array([[0.2, 0.5], [0.3, -0.4], [0.0, 0.0]]), measured=np.ones((3, 2), int),
        fixed={"Age": -0.3, "Gender": 0.2, "Height": -0.05},
        latest={"GCS": (6.0, 30), "HR": (88.5, 29), "K": (4.0, 2), "Age": (41.0, 0), "Gender": (0.0, 0),
                "Height": (170.0, 0)},
        base_value=-3.0, value=-2.5, additivity_gap=0.0, sampling_error=0.0, evaluations=1, seconds=0.0,
    )  # fmt: skip
    assert [(name, round(total, 3), str(told)) for name, total, told in found.top(9)] == [
        ("GCS", 0.7, "GCS of 6 (last, hour 30) raises the risk"),
        ("Age", -0.3, "Age of 41 lowers the risk"),
        ("Gender", 0.2, "Being a woman raises the risk"),
        ("HR", -0.1, "HR of 88.5 (last, hour 29) lowers the risk"),
        ("Height", -0.05, "Height of 170 lowers the risk"),
    ]
    assert [name for name, *_ in found.top(2)] == ["GCS", "Age"]


# ------------------------------------------------------------------------------------ the fast way there


@pytest.mark.parametrize("hour", [1, 2, 8, 9, 12, 13, 24, 25, 47, 48])
def test_the_features_of_one_hour_equal_those_of_all(few, hour):
    np.testing.assert_array_equal(features_at(few, hour), features(few)[:, hour - 1])


@pytest.mark.parametrize("hour", [1, 2, 6, 20, 47, 48])
def test_log_odds_at_one_hour_equal_the_risks(forecaster, few, hour):
    risk = forecaster.risks(few).blend[:, hour - 1]
    np.testing.assert_allclose(forecaster.log_odds(few, hour), np.log(risk / (1 - risk)), atol=1e-6)
