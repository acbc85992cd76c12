"""The command ``table``, and ``train`` and ``evaluate`` of a user's own table."""

from __future__ import annotations

import json

import pytest
from drawn_tables import csv, light_fits, patients

from medai_core import cli, cli_table, registry
from medai_core.tabular import evaluate
from medai_core.tabular.breast_cancer import FEATURES, read_breast_cancer, sample_table

KEYS = ["file", "row", "status", "reason", "model", "probabilities", "label", "value", "prediction_set", "interval",
        "refer", "unlikeness", "cautions"]  # fmt: skip


@pytest.fixture(autouse=True)
def no_networks(monkeypatch):
    monkeypatch.setattr(cli, "start_networks", lambda: None)


def run(capsys, *arguments: str) -> tuple[int, list[dict], str]:
    status = cli.main([*map(str, arguments), "--json"])
    captured = capsys.readouterr()
    return status, [json.loads(line) for line in captured.out.splitlines()], captured.err


def test_rows_of_several_tables_are_scored_in_order(binary, tmp_path, capsys):
    (tmp_path / "a.csv").write_bytes(csv(binary.frame.iloc[:2]))
    (tmp_path / "b.csv").write_bytes(b"x\n1\n")
    (tmp_path / "c.parquet").write_bytes(binary.frame.iloc[2:3].to_parquet())
    model = binary.bundle.path
    status, rows, _ = run(capsys, "table", tmp_path, "--model", model, "--family", "svm", "--explain")
    assert status == 1 and [(row["row"], row["status"]) for row in rows] == [
        (0, "read"), (1, "read"), (None, "error"), (0, "read"),
    ]  # fmt: skip
    assert list(rows[0])[: len(KEYS)] == KEYS and "at least two columns" in rows[2]["reason"]
    assert rows[0]["scale"] == "log-odds" and rows[0]["exact"] and len(rows[0]["contributions"]) == 5
    told = [one.probabilities for one in binary.model.predict(binary.frame.iloc[:3], "svm")]
    for row, wanted in zip((rows[0], rows[1], rows[3]), told, strict=True):
        assert row["probabilities"] == pytest.approx(wanted, abs=1e-6)


def test_many_rows_are_scored_some_at_a_time_and_explained_for_one_label(classes, tmp_path, capsys, monkeypatch):
    (tmp_path / "a.csv").write_bytes(csv(classes.frame.iloc[:7]))
    wanted = ("table", tmp_path / "a.csv", "--model", classes.bundle.path, "--family", "forest", "--explain")
    whole = run(capsys, *wanted)[1]
    monkeypatch.setattr(cli_table, "ROWS_AT_ONCE", 3)
    status, rows, _ = run(capsys, *wanted)
    assert status == 0 and [row["row"] for row in rows] == list(range(7))
    assert {row["explained"] for row in rows} == {rows[0]["label"]}
    for one, other in zip(rows, whole, strict=True):
        assert one["contributions"] == pytest.approx(other["contributions"], abs=2e-6)
        assert one["probabilities"] == pytest.approx(other["probabilities"], abs=2e-6)


def test_rows_are_readable_without_json(binary, number, tmp_path, capsys):
    (tmp_path / "a.csv").write_bytes(csv(binary.frame.iloc[:1].assign(noise=99.0)))
    assert cli.main(["table", str(tmp_path), "--model", str(binary.bundle.path), "--family", "forest"]) == 0
    line = capsys.readouterr().out
    assert "row 0: " in line and "yes 0." in line and "lies outside the trained range" in line
    (tmp_path / "a.csv").write_bytes(csv(number.frame.iloc[:1]))
    assert cli.main(["table", str(tmp_path), "--model", str(number.bundle.path)]) == 0
    assert " to " in capsys.readouterr().out


def test_an_own_table_is_trained_on_measured_and_scored(tmp_path, capsys):
    frame = patients().assign(copy_of_outcome=lambda f: f.outcome.map({"yes": 1, "no": 2}), hospital=3)
    (tmp_path / "own.csv").write_bytes(csv(frame))
    out = tmp_path / "made"
    with light_fits():
        status, rows, notes = run(
            capsys, "train", "table", "--data", tmp_path / "own.csv", "--target", "outcome", "--out", out,
            "--models", "logistic", "boosting", "--folds", 3, "--drop", "noise", "--name", "My <b>model</b>",
        )  # fmt: skip
    assert status == 0 and [row["epoch"] for row in rows] == list(range(1, 10)) and rows[-1]["model"] == "unlikeness"
    assert "copy_of_outcome alone gives the answer away" in notes and "hospital has one value" in notes
    made = json.loads((out / "preprocessing.json").read_text())
    assert [f["name"] for f in made["features"]] == ["age (years)", "sex", "crp_mg_l", "site"]
    assert "name: My ‹b›model‹/b›" in (out / "card.yaml").read_text()
    status, rows, _ = run(capsys, "evaluate", out, tmp_path / "own.csv")
    found = {row["metric"]: row for row in rows}
    assert status == 0 and found["AUC, logistic"]["value"] > 0.7 and found["AUC, boosting"]["n"] == 240
    assert list(rows[0]) == ["metric", "value", "low", "high", "n"] and "sensitivity, logistic" in found


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--target", "nothing"], "The table has no column nothing"),
        ([], "`--target` must name the column to predict"),
        (["--target", "outcome", "--models", "forrest"], "`families` must be some of"),
        (["--target", "hospital"], "The target hospital has one value only"),
        (["--target", "outcome", "--drop", "hospitl"], "The table has no column hospitl"),
        (["--target", "outcome", "--folds", "1"], "`folds` must be between 2 and"),
    ],
)
def test_wrong_wishes_end_with_one_sentence(arguments, sentence, tmp_path, capsys):
    (tmp_path / "own.csv").write_bytes(csv(patients(60).assign(hospital=3)))
    status, rows, notes = run(capsys, "train", "table", "--data", tmp_path, "--out", tmp_path / "made", *arguments)
    assert (status, rows) == (1, []) and f"error: {sentence}" in notes


def test_unknown_models_are_wrong_usage(tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(["evaluate", "nothing", str(tmp_path)])
    assert ended.value.code == 2 and "must be one of" in capsys.readouterr().err
    assert cli.main(["train", "chest_xray", "--out", str(tmp_path)]) == 1
    assert "`--data` must be given to train chest_xray" in capsys.readouterr().err


def test_a_folder_must_hold_one_table(tmp_path):
    with pytest.raises(evaluate.InputError, match="does not exist"):
        evaluate.table_file(tmp_path / "gone.csv")
    with pytest.raises(evaluate.InputError, match="exactly one table, got 0"):
        evaluate.table_file(tmp_path)


# ------------------------------------------------------------------------------------- the breast cancer table


def test_every_layout_of_the_table_is_the_same():
    table = sample_table()
    assert table.frame.shape == (569, 31) and table.frame["diagnosis"].value_counts().to_dict() == {
        "benign": 357, "malignant": 212}  # fmt: skip
    frame = table.frame.iloc[:40]
    letters = frame["diagnosis"].astype(str).map({"malignant": "M", "benign": "B"})
    uci = frame[list(FEATURES)].copy()
    uci.insert(0, "d", letters)
    uci.insert(0, "id", range(100, 140))
    codes = frame[list(FEATURES)].assign(target=(letters == "B").astype(int))
    names = [
        name.replace("mean ", "").replace("worst ", "").replace(" error", "").replace(" ", "_")
        + ("_mean" if name.startswith("mean") else "_worst" if name.startswith("worst") else "_se")
        for name in FEATURES
    ]
    kaggle = frame[list(FEATURES)].set_axis(names, axis=1).assign(diagnosis=letters, id=range(40))
    sklearn_csv = b"40,30,malignant,benign\n" + codes.to_csv(index=False, header=False).encode()
    layouts = {"wdbc.data": uci.to_csv(index=False, header=False).encode(), "codes": csv(codes), "kaggle": csv(kaggle)}
    for data in (*layouts.values(), sklearn_csv):
        found = read_breast_cancer(data).frame
        assert (found["diagnosis"].astype(str) == frame["diagnosis"].astype(str)).all()
        assert (found[list(FEATURES)] == frame[list(FEATURES)]).all(axis=None)
    with pytest.raises(evaluate.InputError, match="lacks 29 of the 30 measurements: mean texture"):
        read_breast_cancer(b"mean radius,x\n1,2\n")
    with pytest.raises(evaluate.InputError, match="A diagnosis must be"):
        read_breast_cancer(csv(kaggle.assign(diagnosis="?x")))


def test_other_columns_of_the_table_are_carried_along():
    frame = sample_table().frame.iloc[:3].assign(patient=["a", "b", "a"], seen=[1.5, 2.0, 3.0])
    found = read_breast_cancer(csv(frame))
    assert found.names == [*FEATURES, "diagnosis", "patient", "seen"] and found.frame["seen"].tolist() == [1.5, 2, 3]


shipped = pytest.mark.skipif("breast_cancer" not in registry.available(), reason="the bundle is not trained yet")


@shipped
def test_the_shipped_bundle_tells_how_good_it_is():
    found = registry.bundle("breast_cancer")
    best = found.preprocessing["best"]
    figures = {row["metric"]: row for row in found.metrics["figures"]}
    accuracies = [figures[f"accuracy, {family}"]["value"] for family in ("logistic", "svm", "blend")]
    assert max(accuracies) >= 0.975 and figures[f"AUC, mean of folds, {best}"]["value"] >= 0.995
    assert found.card["split"]["folds"] == 10 and found.card["split"]["repeats"] == 5
    assert {"intended_use", "not_for", "population", "failure_modes", "libraries", "split"} <= set(found.card)
    assert found.size_mb < 10


@shipped
def test_the_shipped_model_answers_and_adds_up(tmp_path, capsys):
    rows = sample_table().frame.iloc[[0, 19]]
    (tmp_path / "two.csv").write_bytes(csv(rows))
    status, answers, _ = run(capsys, "table", tmp_path / "two.csv", "--explain")
    assert status == 0 and [row["label"] for row in answers] == ["malignant", "benign"]
    for row in answers:
        total = row["base_value"] + sum(row["contributions"].values())
        assert 1 / (1 + 2.718281828459045**-total) == pytest.approx(row["probabilities"]["malignant"], abs=1e-4)
