"""The contract of the mortality model: causal, calibrated in shape, the same one by one and in batches."""

from __future__ import annotations

import numpy as np
import pytest
from drawn_stays import METRICS, entries, grid_of, light_trees, physionet, small_recipe

from medai_core import artifacts
from medai_core.errors import ArtifactError, InputError
from medai_core.icu.blend import ANCHORS, KNEE, Blend, bent
from medai_core.icu.cohort import load_cohort
from medai_core.icu.evaluate import figures, groups, risks_of
from medai_core.icu.features import FEATURES
from medai_core.icu.forecaster import Forecaster
from medai_core.icu.grid import HOURS, stack
from medai_core.icu.inputs import Scaling
from medai_core.icu.records import read_stay
from medai_core.icu.train_trees import PARAMETERS, fit, slim
from medai_core.icu.trees import Trees


def test_risk_at_every_hour(forecaster):
    found = forecaster.forecast(read_stay(physionet(entries(200))))
    assert found.hours == tuple(range(1, 49)) and found.stay == "900001"
    assert ((found.risk > 0) & (found.risk < 1)).all() and found.mortality == found.risk[-1]
    assert (found.low <= found.risk + 1e-9).all() and (found.risk <= found.high + 1e-9).all()


@pytest.mark.parametrize("hour", [1, 5, 24, 47])
def test_the_future_leaves_the_past_alone(forecaster, hour):
    rows = entries(201)
    past = [row for row in rows if row[0] <= 60 * hour]
    wild = past + [
        (minute, name, 299.0 if name == "HR" else value * 0.5)
        for minute, name, value in entries(202)
        if minute > 60 * hour
    ]
    whole, cut, changed = (forecaster.risks(stack([grid_of(each)])) for each in (rows, past, wild))
    for name in ("blend", "low", "high", "trees", "network"):
        for other in (cut, changed):
            np.testing.assert_allclose(getattr(whole, name)[0, :hour], getattr(other, name)[0, :hour], atol=1e-6)
    assert hour > 46 or np.abs(whole.network[0, hour:] - changed.network[0, hour:]).max() > 1e-6


def test_looking_from_an_hour(forecaster):
    stay = read_stay(physionet(entries(203)))
    whole, early = forecaster.forecast(stay), forecaster.forecast(stay, 12)
    np.testing.assert_allclose(early.risk, whole.risk[:12], atol=1e-6)
    with pytest.raises(InputError, match="`at_hour` must be between 1 and 48"):
        forecaster.forecast(stay, 49)


def test_a_batch_equals_single_stays(forecaster, few):
    whole = forecaster.risks(few)
    for k in range(len(few.mean)):
        alone = forecaster.risks(stack([type(few)(few.mean[k], few.low[k], few.high[k], few.fixed[k])]))
        np.testing.assert_allclose(alone.blend[0], whole.blend[k], atol=1e-5)


def test_files_keep_their_order_and_errors_their_place(forecaster, monkeypatch):
    monkeypatch.setattr("medai_core.icu.forecaster.CHUNK", 2)
    files = [
        ("a", physionet(entries(1), 1)),
        ("b", b"junk"),
        ("c", b""),
        ("d", b"hours,HR\n0,80\n"),
        ("e", physionet(entries(2), 2)),
    ]
    found = list(forecaster.forecast_many(iter(files)))
    assert [name for name, _ in found] == list("abcde")
    assert [isinstance(answer, InputError) for _, answer in found] == [False, True, True, False, False]
    assert found[3][1].hours == (1,) and found[4][1].stay == "2"


def test_the_bundle_holds_what_a_reading_needs(bundle):
    assert bundle.id == "icu_mortality" and bundle.size_mb <= artifacts.MAX_BUNDLE_MB
    names = {row["metric"] for row in bundle.metrics["figures"] + bundle.metrics["baseline"]}
    for method in ("trees", "network", "blend"):
        assert {f"{m}, {method}" for m in METRICS} <= names
    assert bundle.card["split"]["test"] == 12 and bundle.preprocessing["thresholds"].keys() == {
        "SAPS-I",
        "SOFA",
        "trees",
        "network",
        "blend",
    }


def test_training_is_taken_up_and_gives_the_same_answers(bundle, small_data, forecaster):
    from medai_core.icu.train import train_icu_mortality

    told: list[dict[str, object]] = []
    with light_trees():
        again = train_icu_mortality(small_data, bundle.path, told.append, small_recipe())
    assert {row["part"] for row in told} == {"trees"}
    cohort = load_cohort(small_data)
    np.testing.assert_allclose(risks_of(Forecaster(again), cohort).blend, risks_of(forecaster, cohort).blend, atol=1e-6)


def test_a_changed_tree_file_is_refused(bundle, tmp_path):
    import shutil

    copy = shutil.copytree(bundle.path, tmp_path / "icu_mortality")
    with (copy / "trees_48_random_1.txt").open("a") as file:
        file.write(" ")
    with pytest.raises(ArtifactError, match="trees_48_random_1.txt"):
        artifacts.read_bundle(copy)


def test_cohort_and_its_groups(small_data):
    cohort = load_cohort(small_data)
    assert (len(cohort.ids), cohort.died.sum(), np.isnan(cohort.scores["SOFA"]).sum()) == (80, 20, 1)
    found = dict(groups(cohort))
    assert found["men"].all() and not found["women"].any() and found["age 80 and over"].sum() > 0
    assert (
        sum(
            found[name].sum()
            for name in ("least measured quarter", "second quarter", "third quarter", "most measured quarter")
        )
        == 80
    )


def test_a_folder_without_stays(tmp_path):
    with pytest.raises(InputError, match="No stay with an outcome"):
        load_cohort(tmp_path)


def test_figures_of_perfect_answers():
    died = np.tile([0, 0, 0, 1], 30)
    rows = figures({"blend": np.where(died, 0.99, 0.01)}, died, {"blend": 0.5}, "x")
    found = {row["metric"]: row["value"] for row in rows}
    assert (found["AUROC, blend"], found["AUPRC, blend"], found["event 1, blend"]) == (1, 1, 1)
    assert found["Brier score, blend"] == pytest.approx(0.0001)


def test_a_blend_finds_what_is_worth_listening_to():
    rng = np.random.default_rng(0)
    z = rng.normal(-1.5, 1.5, (4000, 1))
    died = rng.random(4000) < 1 / (1 + np.exp(-bent(z[:, 0])))
    z = np.repeat(z, HOURS, axis=1)
    blend = Blend.fit(2 * z + 1, rng.normal(size=z.shape), died)
    a, b, c = blend.coefficients.T
    assert blend.coefficients.shape == (len(ANCHORS), 3)
    np.testing.assert_allclose(a, 0.5, atol=0.06)
    np.testing.assert_allclose(c, -0.5, atol=0.15)
    assert (b < 0.1).all() and (b >= 0).all()
    stored = Blend.from_dict(blend.to_dict())
    np.testing.assert_array_equal(stored(z[:2], z[:2]), blend(z[:2], z[:2]))
    for hour in (1, 5, 48):
        risk = 1 / (1 + np.exp(-blend.log_odds_at(hour, z[:9, hour - 1], z[:9, hour - 1])))
        np.testing.assert_allclose(risk, blend(z[:9], z[:9])[:, hour - 1])


def test_low_log_odds_fall_twice_as_fast():
    z = np.linspace(-30, 30, 601)
    np.testing.assert_allclose(bent(z), z - np.log1p(np.exp(KNEE - z)), atol=1e-12)
    slope = np.diff(bent(z)) / np.diff(z)
    np.testing.assert_allclose(slope[[0, -1]], [2, 1], atol=1e-6)
    assert (np.diff(slope) < 1e-9).all()


def test_slim_trees_answer_alike():
    import lightgbm

    rng = np.random.default_rng(2)
    rows = rng.normal(size=(300, len(FEATURES))).astype(np.float32)
    rows[rng.random(rows.shape) < 0.3] = np.nan
    for kind in PARAMETERS:
        whole = fit(rows, (rows[:, 0] > 0).astype(np.int64), kind, 0)
        small = lightgbm.Booster(model_str=slim(whole))
        np.testing.assert_array_equal(small.predict(rows), whole.predict(rows))
        assert len(slim(whole)) < 0.7 * len(whole.model_to_string())


@pytest.mark.parametrize(
    "make",
    [lambda: Blend.from_dict({}), lambda: Scaling.from_dict({}), lambda: Trees({})],
)
def test_incomplete_constants_are_refused(make):
    with pytest.raises(ArtifactError):
        make()
