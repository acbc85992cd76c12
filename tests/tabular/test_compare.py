"""Training on a table, saving and loading; the fits are light, see ``drawn_tables``."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest
from drawn_tables import kinds, light_fits, no_unlikeness, patients

from medai_core import artifacts
from medai_core.errors import ArtifactError, InputError
from medai_core.tabular import bundles, compare, fitting, results
from medai_core.tabular.encoder import Design, Encoder
from medai_core.tabular.fitting import Stopped, folds_of, inner_folds, link_of, probabilities
from medai_core.tabular.problem import prepare, propose
from medai_core.tabular.risk_model import RiskModel
from medai_core.tabular.tables import table_of

FAMILIES = ("logistic", "svm", "forest", "boosting", "network", "blend")


@pytest.mark.parametrize("grouped", [False, True])
def test_folds_keep_groups_together_and_outcomes_in_proportion(grouped):
    rng = np.random.default_rng(0)
    y = (rng.random(400) < 0.2).astype(int)
    groups = rng.integers(0, 150, 400) if grouped else None
    fold = folds_of(y, groups, 5, 0, "binary")
    assert set(fold) == set(range(5)) and (np.bincount(fold) > 50).all()
    shares = [y[fold == k].mean() for k in range(5)]
    assert max(shares) - min(shares) < (0.13 if grouped else 0.02)
    if grouped:
        assert all(len(set(fold[groups == g])) == 1 for g in set(groups))
    assert (fold == folds_of(y, groups, 5, 0, "binary")).all() and (fold != folds_of(y, groups, 5, 1, "binary")).any()


def test_many_rows_are_held_out_once():
    table = table_of(patients(300))
    data = compare.data_of(prepare(table, propose(table, "outcome")[0]))
    many = data.part(np.arange(12_000) % 300)
    inner = inner_folds(many, 0)
    assert set(inner) == {-1, 0} and 0.1 < (inner == 0).mean() < 0.3
    assert set(inner_folds(data, 0)) == set(range(5))


def test_each_family_beats_chance_and_every_step_is_told(binary):
    assert tuple(binary.study.families) == FAMILIES and not binary.study.stopped
    for family in FAMILIES:
        rows = results.figures(binary.study, family, resamples=30)
        assert rows[0]["metric"] == "AUC" and rows[0]["low"] > 0.6, family
    steps = binary.steps
    assert [step.done for step in steps] == list(range(1, 20)) and {step.of for step in steps} == {19}
    assert steps[-1].family == "unlikeness" and steps[-1].finished == FAMILIES and steps[-1].left == 0


def test_held_out_rows_had_no_part_in_their_answers(monkeypatch):
    """Outcomes shuffled against everything: what held-out answers know of them is chance."""
    frame = patients(300).assign(outcome=lambda f: np.random.default_rng(5).permutation(f.outcome))
    table = table_of(frame)
    with light_fits(), no_unlikeness():
        study = compare.compare(prepare(table, propose(table, "outcome")[0]), ["logistic", "forest"], folds=5)
    for family in study.families:
        p, y = results.outcome_of(study, family)
        assert 0.38 < results.metrics.roc_auc(p, y) < 0.62


def test_a_stopped_training_keeps_what_is_complete():
    table = table_of(patients())
    problem, told = prepare(table, propose(table, "outcome")[0]), []
    with light_fits():
        study = compare.compare(
            problem, ["logistic", "boosting"], folds=3, progress=told.append, stop=lambda: len(told) >= 5
        )
    assert study.stopped and study.families == ["logistic"] and study.unlikeness is None
    assert results.best_family(study) == "logistic" and len(results.leaderboard(study, 20)) == 7
    with light_fits():
        nothing = compare.compare(problem, ["logistic"], folds=3, stop=lambda: True)
    with pytest.raises(InputError, match="No model was complete"):
        results.best_family(nothing)


def test_a_stop_is_heard_while_a_network_learns():
    from medai_core.tabular.network_fit import fit_network

    table = table_of(patients())
    data, asked = compare.data_of(prepare(table, propose(table, "outcome")[0])), []
    with light_fits(), pytest.raises(Stopped):
        fit_network(data, inner_folds(data, 0), 0, lambda: asked.append(1) or len(asked) > 2)
    assert len(asked) == 3


def test_families_are_checked(binary):
    with pytest.raises(InputError, match="`families` must be some of .* got forrest"):
        compare.compare(binary.problem, ["forrest"])
    with pytest.raises(InputError, match="at least two other models"):
        compare.compare(binary.problem, ["logistic", "blend"])


def test_calibration_undoes_a_wrong_scale():
    rng = np.random.default_rng(0)
    z = rng.normal(0, 2, 4000)
    y = (rng.random(4000) < 1 / (1 + np.exp(-z))).astype(int)
    scale, bias = link_of((z / 3 + 1)[:, None], y, "binary")
    assert scale[0] == pytest.approx(3, rel=0.1) and bias[0] == pytest.approx(-3, abs=0.3)
    assert probabilities(np.array([[0.0], [800.0]]), "binary").tolist() == pytest.approx([0.5, 1.0])


def test_folds_are_as_many_as_there_are_patients_of_each_class(binary):
    rare = prepare(table_of(frame := patients().assign(outcome=["yes"] * 9 + ["no"] * 231)), propose(table_of(
        frame), "outcome")[0])  # fmt: skip
    assert compare.most_folds(rare) == 9 == compare.default_folds(rare)
    for wrong in (0, 1, 10):
        with pytest.raises(InputError, match=f"`folds` must be between 2 and 9, got {wrong}"):
            compare.compare(rare, ["logistic"], folds=wrong)


@pytest.mark.parametrize("family", ["svm", "boosting", "blend"])
def test_of_many_rows_the_model_that_answers_is_itself_calibrated(family, monkeypatch):
    """Tried on a few rows and fitted on many it is surer, or less sure, than the one that was tried."""
    monkeypatch.setattr(fitting, "TRIED_ROWS", 400)
    table = table_of(patients(12_000))
    data = compare.data_of(prepare(table, propose(table, "outcome")[0])).part(np.arange(11_000))
    rest = compare.data_of(prepare(table, propose(table, "outcome")[0])).part(np.arange(11_000, 12_000))
    inner = np.where(np.arange(11_000) % 5 == 0, 0, -1)
    with light_fits():
        member, tried = fitting.fit_member("boosting" if family == "blend" else family, data, inner, 0)
        if family == "blend":
            _, more = fitting.fit_member("logistic", data, inner, 0)
            member = fitting.fit_blend([*tried, *more], [], data, 0)
    p = probabilities(member.link(rest.x), "binary")
    assert 0.85 < results.metrics.calibration_slope(p, rest.y) < 1.18
    assert abs(results.metrics.calibration_intercept(p, rest.y)) < 0.2


def test_patients_held_out_of_the_autoencoder_are_held_out_whole(monkeypatch):
    import keras

    from medai_core.tabular import network_fit

    monkeypatch.setattr(keras.Model, "fit", lambda self, *_, **__: None)  # what it learns does not matter here
    table = table_of(patients().assign(subject=np.repeat(np.arange(60), 4)))
    data, seen = compare.data_of(prepare(table, propose(table, "outcome")[0])), []
    monkeypatch.setattr(network_fit.Unlikeness, "errors", lambda self, x: seen.append(x) or np.zeros((len(x), 1)))
    network_fit.fit_unlikeness(data, 0)
    held = {row.tobytes() for row in seen[0]}
    mine = np.array([row.tobytes() in held for row in data.x])
    assert mine.sum() == 40 and all(len(set(mine[data.groups == g])) == 1 for g in set(data.groups))
    few = dataclasses.replace(data, groups=np.arange(240) % 7)
    network_fit.fit_unlikeness(few, 0)
    assert len(seen[1]) == 24


# ------------------------------------------------------------------------------------------------ bundles


@pytest.mark.parametrize("family", FAMILIES)
def test_loaded_models_answer_as_those_saved(binary, family):
    saved, loaded = binary.study.members[family], RiskModel(binary.bundle).member(family)
    np.testing.assert_allclose(loaded.link(binary.problem.x), saved.link(binary.problem.x), atol=1e-6)


@pytest.mark.parametrize("case", ["classes", "number"])
def test_loaded_models_of_other_tasks_answer_as_those_saved(case, request):
    found = request.getfixturevalue(case)
    for family, saved in found.study.members.items():
        loaded = found.model.member(family)
        np.testing.assert_allclose(loaded.link(found.problem.x), saved.link(found.problem.x), atol=1e-9)
    one, batch = (found.model.predict(found.frame.iloc[:k])[0] for k in (1, 50))
    if case == "classes":
        assert sum(one.probabilities.values()) == pytest.approx(1) and one.label in ("0", "1", "2")
        assert one.prediction_set[0] == one.label == batch.label
    else:
        assert one.interval[0] < one.value < one.interval[1] and one.value == pytest.approx(batch.value)
        inside = [
            p.interval[0] <= y <= p.interval[1]
            for p, y in zip(found.model.predict(found.frame), found.frame.score, strict=True)
        ]
        assert np.mean(inside) > 0.85


def test_a_bundle_goes_through_a_zip(binary, tmp_path):
    data = bundles.to_zip(binary.bundle)
    again = bundles.from_zip(data, tmp_path)
    assert (again.digest, again.id, again.card["name"]) == (binary.bundle.digest, "drawn", "Drawn")
    rows = binary.frame.iloc[:4]
    assert RiskModel(again).predict(rows, "svm") == binary.model.predict(rows, "svm")
    for bad, sentence in ((b"PK no zip", "cannot be opened"), (_zip({"../x": b""}), "one folder of files")):
        with pytest.raises(InputError, match=sentence):
            bundles.from_zip(bad, tmp_path / "bad")
    with pytest.raises(ArtifactError):
        bundles.from_zip(_zip({"a/card.yaml": b"id: a\nversion: 1"}), tmp_path / "bad")


def _zip(members: dict[str, bytes]) -> bytes:
    import io
    import zipfile

    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as target:
        for name, data in members.items():
            target.writestr(name, data)
    return buffer.getvalue()


def test_other_bundles_are_refused(tmp_path, tiny_model):
    other = artifacts.save_bundle(tmp_path / "x", tiny_model, {"id": "x", "version": "1"}, {}, {"figures": []})
    with pytest.raises(ArtifactError, match="is no table model of format 1"):
        RiskModel(other)


def test_what_a_bundle_tells(binary):
    model, document = binary.model, binary.bundle.metrics
    assert model.best in model.families == FAMILIES and model.labels == ("no", "yes")
    assert {row["metric"] for row in document["figures"]} >= {"AUC, svm", "log loss, network"}
    assert binary.bundle.card["split"]["folds"] == 2 and "share it" in binary.bundle.card["notes"][0]
    p, y = model.held("svm")
    assert len(p) == 240 and y.mean() == pytest.approx((binary.frame.outcome == "yes").mean())
    assert document["stability"]["forest"][0]["name"] == "age (years)"
    assert sum(model.weights().values()) == pytest.approx(1) and "network" not in model.weights()
    with pytest.raises(InputError, match="Only models of times to an event"):
        model.event_free(binary.frame.iloc[:1], np.array([1.0]))
    with pytest.raises(InputError, match="`family` must be one of"):
        model.member("other")


# -------------------------------------------------------------------------------------------- predictions


def test_values_outside_the_trained_range_are_extrapolations(binary):
    row = binary.frame.iloc[0].to_dict()
    plain, odd = (binary.model.predict({**row, **change})[0] for change in ({}, {"age (years)": 140, "site": "Z"}))
    assert plain.extrapolated == () and odd.extrapolated == ("age (years)",)
    told = " ".join(map(str, odd.cautions))
    assert "age (years) of 140 lies outside the trained range" in told and "extrapolation" in told
    assert "site: Z was never seen in training" in told
    with pytest.raises(InputError, match="lack 1 of the columns the model reads: sex"):
        binary.model.predict({name: value for name, value in row.items() if name != "sex"})
    with pytest.raises(InputError, match="Column noise must hold numbers, got much"):
        binary.model.predict({**row, "noise": "much"})


def test_missing_values_are_used_where_training_had_them_and_replaced_where_not(binary):
    row = binary.frame.iloc[0].to_dict()
    known, unknown = (binary.model.predict({**row, name: np.nan})[0] for name in ("crp_mg_l", "noise"))
    assert known.cautions == ()
    assert "noise is missing and was never missing in training" in str(unknown.cautions[0])


def test_the_autoencoder_knows_its_own(binary):
    rows = binary.frame.iloc[:50]
    usual = [one.unlikeness for one in binary.model.predict(rows, "logistic", unlikeness=True)]
    strange = rows.iloc[:1].assign(noise=60.0, crp_mg_l=9e5)
    odd = binary.model.predict(strange, "logistic", unlikeness=True)[0]
    assert np.median(usual) < 0.95 and odd.unlikeness == 1 and odd.refer
    assert "less like the training rows" in " ".join(map(str, odd.cautions))


def test_scored_rows_keep_their_columns(binary, number):
    scored = binary.model.score(binary.frame.iloc[:3].assign(extra=1))
    assert list(scored["extra"]) == [1, 1, 1] and "probability of yes" in scored and scored["label"].notna().all()
    assert {"predicted score", "low", "high"} <= set(number.model.score(number.frame.iloc[:3]))


# ------------------------------------------------------------------------------------------------- curves


def test_curves_at_known_points():
    y = np.array([0, 0, 1, 1, 1, 0, 1, 1, 0, 1], bool)
    p = np.where(y, 0.9, 0.1)
    assert results.roc(p, y)["tpr"][1] == 1 and results.roc(p, y)["fpr"][1] == 0
    curve = results.decision_curve(p, y)
    half = curve["threshold"].index(0.5)
    assert curve["model"][half] == pytest.approx(0.6) and curve["all"][half] == pytest.approx(0.2)
    at = results.at_threshold(p, y, 0.5)
    assert at.counts == [[4, 0], [0, 6]] and at.sensitivity.value == at.specificity.value == 1
    nobody = results.at_threshold(p, y, 1.0)
    assert nobody.ppv is None and nobody.sensitivity.value == 0
    with pytest.raises(InputError, match="`threshold` must be between 0 and 1"):
        results.at_threshold(p, y, 2)
    precision = results.precision_recall(p, y)
    assert precision["precision"][0] == pytest.approx(0.6) and precision["recall"][0] == 1
    bins = results.reliability(p, y)
    assert bins[0]["observed"] == 0 and bins[0]["low"] == 0 and bins[-1]["observed"] == 1


def test_small_subgroups_are_suppressed():
    frame = patients().assign(site=lambda f: np.where(np.arange(len(f)) < 12, "rare", f.site))
    table = table_of(frame)
    with light_fits(), no_unlikeness():
        study = compare.compare(prepare(table, propose(table, "outcome")[0]), ["logistic"], folds=3)
    rows = {(row["column"], row["group"], row["metric"]): row for row in results.subgroups(study, "logistic", 30)}
    rare, large = rows["site", "rare", "AUC"], rows["sex", "m", "AUC"]
    assert rare["suppressed"] and rare["value"] is None and rare["n"] == 12
    assert not large["suppressed"] and large["low"] < large["value"] < large["high"]


def test_a_subgroup_without_one_of_the_outcomes_is_told_by_its_size():
    frame = patients().assign(site=lambda f: np.where((f.outcome == "no") & (np.arange(len(f)) < 120), "well", f.site))
    table = table_of(frame)
    with light_fits(), no_unlikeness():
        study = compare.compare(prepare(table, propose(table, "outcome")[0]), ["logistic"], folds=3)
    rows = [row for row in results.subgroups(study, "logistic", 30) if row["group"] == "well"]
    assert len(rows) == 2 and all(row["suppressed"] and row["value"] is None and row["n"] > 20 for row in rows)


# ------------------------------------------------------------------------------------------------ encoder


def test_design_columns_are_standardised_and_each_of_one_feature():
    table = table_of(kinds(300))
    names = ["age (years)", "sex", "crp_mg_l", "site"]
    encoder = Encoder.fit(table, names, np.arange(300))
    x = encoder.matrix(table.frame)
    design = Design.fit(x, encoder, logs=True)
    z = design(x)
    np.testing.assert_allclose(z.mean(axis=0), 0, atol=1e-9)
    np.testing.assert_allclose(z.std(axis=0), 1, atol=1e-9)
    assert design.owner.tolist() == [0, 1, 1, 2, 2, 3, 3, 3] and np.isfinite(design.floor).tolist() == [
        False, False, True, False]  # fmt: skip
    changed = x.copy()
    changed[:, 2] = 1.0
    moved = ~np.isclose(design(changed), z).all(axis=0)
    assert set(design.owner[moved]) == {2}
    again = Design.from_dict(design.to_dict())
    np.testing.assert_array_equal(again(x), z)
    assert Encoder.from_list(encoder.to_list()) == encoder


def test_categories_of_a_frame_and_of_text_are_one(binary):
    frame = binary.frame.iloc[:5]
    typed = frame.assign(sex=frame.sex.astype(pd.CategoricalDtype(["m", "f", "x"])))
    np.testing.assert_array_equal(binary.model.read(frame)[0], binary.model.read(typed)[0])


def test_no_column_of_scored_rows_is_lost(binary, number):
    rows = binary.frame.iloc[:3].assign(label=["a", "b", "c"], cautions="mine")
    scored = binary.model.score(rows)
    assert scored["label"].tolist() == ["a", "b", "c"] and set(scored["cautions"]) == {"mine"}
    assert set(scored["label (2)"]) <= {"no", "yes"} and "cautions (2)" in scored
    assert set(number.model.score(number.frame.iloc[:3].assign(low=7.0))["low"]) == {7.0}


def test_a_boosted_model_that_was_changed_is_no_bundle(binary, monkeypatch):
    monkeypatch.setattr(bundles, "load_text", lambda bundle, name: "tree\nversion=v4\nnonsense")
    with pytest.raises(ArtifactError, match="boosting in the bundle drawn cannot be loaded"):
        bundles.load_member(binary.bundle, "boosting")
