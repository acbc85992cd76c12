from __future__ import annotations

import json

import numpy as np
import pytest
from drawn_trials import (
    CROSSED,
    NO_DIFFERENCE,
    ONE_BETTER,
    actg_trial,
    drawn_actg,
    drawn_frame,
    drawn_trial,
)

from medai_core import cli
from medai_core.artifacts import MAX_BUNDLE_MB, save_bundle
from medai_core.errors import InputError
from medai_core.tabular import treatment, treatment_evaluate
from medai_core.tabular.explain import PROBABILITY
from medai_core.tabular.tables import table_of
from medai_core.tabular.treatment import FEWEST_SHOWN, Cells, TreatmentModel, from_bundle, to_arrays, to_constants
from medai_core.tabular.treatment_evaluate import figures, policy_figures
from medai_core.tabular.treatment_explain import explain, faithfulness
from medai_core.tabular.treatment_fit import drawn_patients, fit_treatment
from medai_core.tabular.trial import (
    ACTG_ARMS,
    ACTG_COVARIATES,
    ACTG_ROLES,
    ACTG_VALUES,
    CLIP,
    Roles,
    Scaling,
    Trial,
    load_actg,
    make_trial,
)

PATIENT = {"age": 40, "karnof": 90, "symptom": 0, "preanti": 700, "cd40": 250, "cd80": 900}
OPTIONS = {"family": "cox_smooth", "resamples": 8, "repeats": 1}


@pytest.fixture(scope="module")
def model() -> TreatmentModel:
    return fit_treatment(actg_trial(500, 0), limits=ACTG_VALUES, **OPTIONS)[0]


@pytest.fixture(scope="module")
def chooser() -> TreatmentModel:
    """Of a trial in which what helps some patients harms the others."""
    return fit_treatment(drawn_trial(700, CROSSED, 1), **OPTIONS)[0]


# ------------------------------------------------------------------------------------------------ the face


def test_four_arms_of_another_trial_are_not_called_by_the_names_of_this_one(model):
    named = [str(title) for title in model.titles]
    assert named == [str(title) for title in ACTG_ARMS.values()]
    assert [str(title) for title in treatment.titles(model.arms, False)] == ["0", "1", "2", "3"]


def test_the_arms_side_by_side(model):
    found = model.assess(PATIENT)
    assert found.arms == ("0", "1", "2", "3") == tuple(found.event_free) == tuple(found.difference)
    curves = found.curves
    assert curves.survival.shape == curves.low.shape == (4, len(curves.days)) and curves.days[0] == 0
    np.testing.assert_allclose(curves.survival[:, 0], 1)
    assert (np.diff(curves.survival, axis=1) <= 1e-12).all()
    assert ((curves.low <= curves.survival) & (curves.survival <= curves.high)).all()
    at = int(np.flatnonzero(curves.days == model.horizon)[0])
    for k, arm in enumerate(found.arms):
        one = found.event_free[arm]
        assert one.low < one.value < one.high and one.value == pytest.approx(curves.survival[k, at])
    assert found.difference["0"].value == 0 and found.difference["1"] == model.difference(PATIENT, "1", "0")
    assert found.difference["1"].value == pytest.approx(found.event_free["1"].value - found.event_free["0"].value)
    assert found.event_free == model.event_free(PATIENT) and found.similar == model.similar(PATIENT)
    np.testing.assert_array_equal(model.curves(PATIENT).survival, curves.survival)


def test_treatment_without_the_worst_arm_helps_and_ill_patients_do_worse(model):
    better = model.event_free(PATIENT | {"cd40": 600})
    assert all(better[arm].value > model.event_free(PATIENT)[arm].value for arm in better)
    mean = model.at_horizon(model.background).mean(axis=0)
    assert mean.argmin() == 0


def test_many_patients_at_once_are_as_one_by_one(model):
    x = np.array([model.read(PATIENT | {"age": age})[0] for age in (25, 40, 60)])
    value, low, high = model.event_free_many(x)
    one = model.event_free(PATIENT)
    assert [value[1, 0], low[1, 0], high[1, 0]] == pytest.approx([one["0"].value, one["0"].low, one["0"].high])
    np.testing.assert_allclose(model.at_horizon(x), value, atol=1e-12)


def test_similar_patients_are_counted_and_small_cells_are_not(model):
    trial = actg_trial(500, 0)
    assert model.cells.counts.sum() == len(trial)
    row = dict(zip(trial.encoder.names, trial.x[0], strict=True))
    bands = model.cells.bands(trial.x[0])
    alike = np.array([model.cells.bands(x) == bands for x in trial.x])
    for k, arm in enumerate(model.arms):
        n = int((alike & (trial.arm == k)).sum())
        assert model.similar(row)[arm] == (n if n >= FEWEST_SHOWN else None)
        few = Cells(model.cells.columns, model.cells.edges, np.minimum(model.cells.counts, FEWEST_SHOWN - 1))
    assert set(few.of(trial.x[0])) == {None}


def test_population_is_that_of_kaplan_and_meier(model):
    from lifelines import KaplanMeierFitter

    trial, found = actg_trial(500, 0), model.population
    assert found.patients == (125, 125, 125, 125) and sum(found.events) == trial.event.sum()
    mine = trial.arm == 2
    curve = KaplanMeierFitter().fit(trial.time[mine], trial.event[mine])
    np.testing.assert_allclose(found.curves.survival[2], curve.predict(found.curves.days))
    assert ((found.curves.low <= found.curves.survival) & (found.curves.survival <= found.curves.high)).all()
    assert (found.at_risk[:, 0] == 125).all() and (np.diff(found.at_risk, axis=1) <= 0).all()


def test_without_evidence_nothing_is_recommended_and_the_sentence_says_so():
    model = fit_treatment(drawn_trial(400, NO_DIFFERENCE, 3), **OPTIONS)[0]
    found = model.recommend({"x": -2, "noise": 0})
    assert found.arm is None and not model.policy.evidence
    assert str(found.reason).startswith("There is no evidence that choosing the treatment for each patient does better")
    assert str(found.reason).endswith("so none is recommended.")


def test_with_evidence_the_better_arm_is_recommended_to_each(chooser):
    assert chooser.policy.evidence and str(chooser.verdict()).startswith("Choosing the treatment for each patient did")
    assert chooser.recommend({"x": -1.5, "noise": 0}).arm == "new"
    found = chooser.recommend({"x": 1.5, "noise": 0})
    assert found.arm == "old" and str(found.reason).startswith("old has the highest event-free probability")


def test_cautions_for_values_outside_the_trained_range(model):
    assert model.assess(PATIENT).cautions == ()
    (caution,) = model.assess(PATIENT | {"age": 95}).cautions
    assert "age of 95 lies outside the trained range" in str(caution)
    far, further = (model.event_free(PATIENT | {"cd40": cells})["0"].value for cells in (3000, 4000))
    assert far == pytest.approx(further, abs=1e-9)  # curves stay flat out there


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"cd40": None}, "The value of cd40 is missing."),
        ({"cd40": float("nan")}, "The value of cd40 is missing."),
        ({"age": ""}, "The value of age is missing."),
        ({"age": "old"}, "Column age must hold numbers, got old."),
        ({"age": -3}, "age must be a number from 0 to 120, got -3."),
        ({"age": float("inf")}, "age must be a number from 0 to 120, got inf."),
        ({"symptom": 0.5}, "symptom must be a whole number from 0 to 1, got 0.5."),
    ],
)
def test_impossible_values_are_refused(model, change, words):
    with pytest.raises(InputError) as told:
        model.assess(PATIENT | change)
    assert str(told.value) == words
    with pytest.raises(InputError, match="The value of preanti is missing"):
        model.assess({name: value for name, value in PATIENT.items() if name != "preanti"})


def test_unknown_arms_are_refused(model):
    with pytest.raises(InputError, match="`arm` must be one of 0, 1, 2, 3, got 4"):
        model.difference(PATIENT, "4", "0")


# ------------------------------------------------------------------------------------------- explanations


@pytest.mark.parametrize("versus", [None, "0"])
def test_contributions_add_up(model, versus):
    found = explain(model, PATIENT, "1", versus)
    assert found.exact and found.link == PROBABILITY and found.additivity_error < 1e-9
    event_free_now = model.event_free(PATIENT)
    wanted = 1 - event_free_now["1"].value if versus is None else model.difference(PATIENT, "1", "0").value
    assert found.predictions[0] == pytest.approx(wanted)
    assert found.base_value + found.values.sum() == pytest.approx(wanted)
    asked = 1 - model.at_horizon(model.background)[:, 1]
    if versus is None:
        assert found.base_value == pytest.approx(asked.mean())
        assert found.values[0, ACTG_COVARIATES.index("cd40")] > 0.02  # a low count, which the drawn trial punishes


def test_the_difference_is_explained_by_what_makes_it(chooser):
    found = explain(chooser, [{"x": -1.5, "noise": 0.2}, {"x": 1.5, "noise": 0.2}], "new", "old")
    x, noise = np.abs(found.values).T
    assert (x > 10 * noise).all() and found.values[0, 0] > 0 > found.values[1, 0]


def test_many_covariates_are_sampled_and_say_so():
    frame, rng = drawn_frame(300, ONE_BETTER, 4), np.random.default_rng(0)
    more = {f"more{k}": rng.normal(size=300).round(3) for k in range(8)}
    roles = Roles("arm", "time", "event", ("x", "noise", *more), "1")
    trial = make_trial(table_of(frame.assign(**more)), roles, randomised=True)
    model = fit_treatment(trial, family="cox", resamples=2, repeats=1)[0]
    found = explain(model, dict.fromkeys(trial.encoder.names, 1.0), "new")
    assert not found.exact and found.additivity_error < 1e-9 and found.sampling_error > 0


def test_explanations_compare_with_patients_who_never_were():
    trial = actg_trial(500, 0)
    drawn_rows = drawn_patients(trial, 200, np.random.default_rng(0))
    assert not set(map(tuple, drawn_rows)) & set(map(tuple, trial.x))
    np.testing.assert_allclose(drawn_rows.mean(axis=0), trial.x.mean(axis=0), atol=0.35 * trial.x.std(axis=0).max())
    linked = make_trial(
        table_of(drawn_actg(500, 0).assign(age=lambda each: each["cd40"] / 10 + each["age"] / 10)),
        ACTG_ROLES, randomised=True,
    )  # fmt: skip
    pair = [ACTG_COVARIATES.index(name) for name in ("age", "cd40")]
    both = [np.corrcoef(x[:, pair].T)[0, 1] for x in (linked.x, drawn_patients(linked, 400, np.random.default_rng(0)))]
    assert both[0] > 0.8 and both[1] == pytest.approx(both[0], abs=0.1)


def test_covariates_are_scaled_as_told():
    trial = actg_trial(300, 0)
    z = trial.scaling()(trial.x)
    np.testing.assert_allclose(z.std(axis=0), 1, atol=0.1)
    cd40, cd80 = (trial.x[:, ACTG_COVARIATES.index(name)] for name in ("cd40", "cd80"))
    for name, wanted in (("cd40", np.log(cd40 + 20)), ("cd80", np.log((cd40 + 20) / (cd80 + 50)))):
        near = np.abs(z[:, ACTG_COVARIATES.index(name)]) < CLIP
        assert np.corrcoef(z[near, ACTG_COVARIATES.index(name)], wanted[near])[0, 1] == pytest.approx(1)
    stored = json.loads(json.dumps(trial.scaling().to_dict()))
    np.testing.assert_allclose(Scaling.from_dict(stored)(trial.x), z)


# --------------------------------------------------------------------------- bundle, figures, command line


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trial")
    drawn_actg(400, 5).to_csv(folder / "actg175.csv", index=False)
    return folder


@pytest.fixture(scope="module")
def bundle(data, tmp_path_factory):
    from medai_core.tabular.train_treatment import train_actg175

    out, told = tmp_path_factory.mktemp("bundle") / "actg175", []
    made = train_actg175(data, out, told.append, resamples=4, repeats=1, families=("cox", "cox_smooth"))
    assert {row["part"] for row in told} >= {"cox", "cox_smooth", "policy", "resamples"}
    return made


def test_the_bundle_holds_no_patient_and_answers_as_before(model, tmp_path):
    made = save_bundle(
        tmp_path / "b", None, {"id": "actg175", "version": "1"}, to_constants(model), {}, arrays=to_arrays(model)
    )
    again = from_bundle(made)
    before, after = model.assess(PATIENT), again.assess(PATIENT)
    np.testing.assert_allclose(after.curves.survival, before.curves.survival, atol=1e-5)
    np.testing.assert_allclose(after.curves.low, before.curves.low, atol=1e-5)
    assert (after.similar, after.recommendation) == (before.similar, before.recommendation)
    np.testing.assert_allclose(again.population.curves.survival, model.population.curves.survival, atol=1e-6)
    rows = set(map(tuple, np.round(actg_trial(500, 0).x, 3)))
    for arrays in to_arrays(again).values():
        for table in arrays.values():
            if table.ndim == 2 and table.shape[1] == len(ACTG_COVARIATES):
                assert not rows & set(map(tuple, np.round(table, 3)))


def test_training_gives_a_bundle_with_card_and_figures(bundle):
    assert bundle.size_mb < MAX_BUNDLE_MB and bundle.id == "actg175"
    assert {"intended_use", "not_for", "population", "failure_modes", "libraries", "split"} <= set(bundle.card)
    assert bundle.card["split"]["development"] + bundle.card["split"]["test"] == 400
    found = {(row["metric"], row["split"]): row for row in bundle.metrics["figures"]}
    plain = {(row["metric"], row["split"]): row for row in bundle.metrics["baseline"]}
    for metric in ("concordance", "integrated Brier score"):
        assert found[metric, "test"]["low"] <= found[metric, "test"]["value"] <= found[metric, "test"]["high"]
        assert (metric, "test") in plain
    assert found["concordance", "test"]["value"] > plain["concordance", "test"]["value"]
    assert ("calibration slope", "test") in found and ("concordance, Cox model", "cross-validation") in found
    for title in ACTG_ARMS.values():
        assert ("event-free at 2 years, " + str(title), "test") in found
        assert (f"gain of choice for each patient over {title} for everybody", "all patients of the trial") in found
    assert from_bundle(bundle).policy.n == 400


def test_figures_of_the_truth_are_good_and_of_a_wrong_answer_bad(model):
    trial = actg_trial(400, 8)
    good = {row["metric"]: row["value"] for row in figures(model, trial, "x")[0]}
    swapped = Trial(**(vars(trial) | {"x": np.random.default_rng(0).permutation(trial.x)}))
    bad = {row["metric"]: row["value"] for row in figures(model, swapped, "x")[0]}
    assert good["concordance"] > bad["concordance"] + 0.05
    assert good["integrated Brier score"] < bad["integrated Brier score"]
    assert 0.5 < good["calibration slope"] < 1.6 and bad["calibration slope"] < 0.5
    assert len(policy_figures(model, "x")) == 9


@pytest.fixture
def shipped(model, monkeypatch):
    monkeypatch.setattr(treatment, "load_treatment", lambda: model)
    monkeypatch.setattr(treatment_evaluate, "load_treatment", lambda: model)
    return model


def run(capsys, *arguments: str) -> tuple[int, list[dict], str]:
    status = cli.main([*arguments, "--json"])
    captured = capsys.readouterr()
    return status, [json.loads(line) for line in captured.out.splitlines()], captured.err


def test_evaluate_prints_figures_beside_the_curves(shipped, data, capsys, monkeypatch):
    monkeypatch.setattr(treatment_evaluate, "RESAMPLES", 20)
    monkeypatch.setattr(treatment_evaluate, "SLOPE_RESAMPLES", 20)
    status, rows, _ = run(capsys, "evaluate", "actg175", str(data))
    found = {row["metric"]: row for row in rows}
    assert status == 0 and all(list(row) == ["metric", "value", "low", "high", "n"] for row in rows)
    assert {"concordance", "concordance, Kaplan-Meier", "calibration slope"} <= set(found)
    assert found["concordance"]["n"] == 400
    assert cli.main(["evaluate", "actg175", str(data / "nowhere")]) == 1
    assert "There is no actg175.csv in nowhere" in capsys.readouterr().err


def test_treat_answers_every_row_and_goes_on_after_bad_ones(shipped, tmp_path, capsys):
    frame = drawn_actg(6, 3).drop(columns=["time", "cid", "trt"]).astype(object)
    frame.loc[1, "cd40"], frame.loc[2, "age"], frame.loc[4, "age"] = "low", "", 99
    path = tmp_path / "patients.csv"
    path.write_text(frame.to_csv(index=False) + "1,2\n", encoding="utf-8-sig")
    status, rows, err = run(capsys, "treat", str(path))
    assert status == 1 and [row["row"] for row in rows] == list(range(7))
    assert [row["status"] for row in rows] == ["read", "error", "error", "read", "read", "read", "error"]
    keys = ["row", "status", "reason", "event_free_2y", "interval", "recommended", "cautions"]
    assert all(list(row) == keys for row in rows)
    assert rows[1]["reason"] == "Column cd40 must hold numbers, got low." and rows[1]["event_free_2y"] == {}
    assert rows[2]["reason"] == "The value of age is missing." and "2 cells" in rows[6]["reason"]
    assert "outside the trained range" in rows[4]["cautions"][0]
    wanted = shipped.event_free({name: frame.loc[3, name] for name in ACTG_COVARIATES})
    for arm in ("0", "1", "2", "3"):
        low, high = rows[3]["interval"][arm]
        assert low <= rows[3]["event_free_2y"][arm] <= high
        assert rows[3]["event_free_2y"][arm] == pytest.approx(wanted[arm].value, abs=1e-5)
    assert all(row["recommended"] is None for row in rows) and "There is no evidence" in err


def test_columns_from_after_assignment_change_nothing(shipped, tmp_path, capsys):
    frame = drawn_actg(5, 3)
    answers = []
    for name, table in (("a", frame), ("b", frame.assign(offtrt=1, cd420=0, cd820=0, time=1, cid=1, trt=2, treat=0))):
        table.to_csv(tmp_path / name, index=False)
        answers.append(run(capsys, "treat", str(tmp_path / name))[1])
    frame[list(ACTG_COVARIATES)].to_csv(tmp_path / "c", index=False, sep=";", decimal=",")
    assert answers[0] == answers[1] == run(capsys, "treat", str(tmp_path / "c"))[1]


def test_treat_without_json_is_readable(shipped, tmp_path, capsys):
    drawn_actg(2, 3).to_csv(tmp_path / "a", index=False)
    assert cli.main(["treat", str(tmp_path / "a")]) == 0
    first, _ = capsys.readouterr().out.splitlines()
    assert first.startswith("row 0: event-free at 2 years: arm 0 0.") and first.endswith("; recommended: none")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "The file is empty."),
        (b"age,cd40\n1,2\n", "The rows lack 4 of the columns the model reads: karnof, symptom, preanti, cd80."),
        (b"\x00\x01\x02", "The file is no text table"),
        ((",".join([*ACTG_COVARIATES, "age"]) + "\n").encode(), "The column name age repeats."),
        (b"age," + b"x" * 200_000, "The file is no readable table: field larger than"),
    ],
)
def test_files_that_are_no_table_of_patients_are_refused(shipped, tmp_path, capsys, content, words):
    (tmp_path / "a").write_bytes(content)
    status, rows, err = run(capsys, "treat", str(tmp_path / "a"))
    assert (status, rows) == (1, []) and words in err
    assert run(capsys, "treat", str(tmp_path / "gone"))[0] == 1


def test_the_layout_of_the_public_file_is_checked(tmp_path):
    drawn_actg(60, 0).drop(columns="cd80").to_csv(tmp_path / "actg175.csv", index=False)
    with pytest.raises(InputError, match="must have the columns of ACTG 175, but cd80 is missing"):
        load_actg(tmp_path)


def test_what_drives_a_difference_is_held_against_random_orders(model):
    told = explain(model, PATIENT, "1", "0")
    found = faithfulness(model, told, "1", "0")
    assert abs(found.insertion[-1]) == pytest.approx(abs(told.predictions[0]), abs=1e-9)
    assert found.insertion_auc >= found.random_insertion_auc and len(found.share) == len(ACTG_COVARIATES) + 1
