"""Planted leaks are found, and a plain table has none."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from drawn_tables import kinds, patients

from medai_core.errors import InputError
from medai_core.tabular.leaks import inspect, leaks
from medai_core.tabular.problem import Plan, prepare, propose
from medai_core.tabular.tables import table_of


def found(frame: pd.DataFrame, target: str = "outcome") -> dict[tuple[str, str | None], bool]:
    return {(f.kind, f.column): f.exclude for f in propose(table_of(frame), target)[1]}


def test_a_plain_table_has_no_findings():
    plan, findings = propose(table_of(patients()), "outcome")
    assert findings == [] and plan.task == "binary" and plan.positive == "yes" and plan.group is None
    assert plan.features == ("age (years)", "sex", "crp_mg_l", "site", "noise")
    assert plan.subgroups == ("age (years)", "sex", "site")


def planted() -> dict[str, tuple[str, object]]:
    frame, rng = patients(), np.random.default_rng(1)
    yes = (frame.outcome == "yes").to_numpy()
    return {
        "identifier": ("patient_id", rng.permutation(240) + 10_000),
        "constant": ("hospital", ["H"] * 240),
        "empty": ("spare", [None] * 240),
        "text": ("remark", [f"remark {k % 100}" for k in range(240)]),
        "date": ("admitted", [f"2020-01-{k % 28 + 1:02d}" for k in range(240)]),
        "copy": ("noise2", frame.noise),
        "missing": ("rare", np.where(np.arange(240) % 4, np.nan, np.arange(240) % 7)),
        "answer": ("died_code", np.where(yes, 7, 3)),
        "strong": ("near", np.where(yes ^ (np.arange(240) % 60 == 0), 1.0, 0.0) + rng.normal(0, 0.01, 240)),
        "answer_missing": ("cause_of_death", np.where(yes, rng.normal(size=240), np.nan)),
    }


@pytest.mark.parametrize("kind", planted())
def test_a_planted_leak_is_found(kind):
    name, values = planted()[kind]
    findings = found(patients().assign(**{name: values}))
    assert {key for key in findings if key[1] == name} == {(kind, name)}
    assert findings[kind, name] == (kind not in ("missing", "strong"))


def test_a_row_number_is_an_identifier_whatever_its_name():
    assert ("identifier", "k") in found(patients().assign(k=np.arange(240)))


def test_an_answer_among_classes_and_numbers():
    classes = kinds().drop(columns="score").assign(copy=lambda f: f.grade.map({"0": "x", "1": "y", "2": "z"}))
    assert ("answer", "copy") in found(classes, "grade")
    numbers = kinds().drop(columns="grade").assign(double=lambda f: 2 * f.score**3)
    assert ("answer", "double") in found(numbers, "score")
    assert leaks(table_of(numbers), "score", ["age (years)", "sex", "noise"]) == []


def test_repeated_rows_and_patients_are_told_and_kept_together():
    frame = pd.concat([patients(120), patients(120)[:60]], ignore_index=True)
    table = table_of(frame)
    assert [f.kind for f in inspect(table)] == ["duplicate_rows"]
    problem = prepare(table, propose(table, "outcome")[0])
    assert problem.groups[0] == problem.groups[120] and len(set(problem.groups)) == 120
    grouped = table_of(patients().assign(subject=np.repeat(np.arange(60), 4)))
    plan, findings = propose(grouped, "outcome")
    assert plan.group == "subject" and "repeated_patients" in {f.kind for f in findings}
    assert "subject" not in plan.features and len(set(prepare(grouped, plan).groups)) == 60


def refused(frame: pd.DataFrame, sentence: str, **changes: object) -> None:
    table = table_of(frame)
    known = {"target": "outcome", "task": "binary", "features": ("age (years)", "sex")}
    with pytest.raises(InputError, match=sentence):
        prepare(table, Plan(**{**known, **changes}))


def test_what_cannot_be_predicted_is_refused_in_one_sentence():
    frame = patients()
    refused(frame.iloc[:3], "at least 30 rows in which outcome is known, got 3")
    refused(frame.assign(outcome="yes"), "outcome has one value only")
    refused(frame.assign(outcome="yes"), "outcome has one value only", features=())
    refused(frame.assign(outcome=["yes"] * 3 + ["no"] * 237), "at least 8 rows, but yes occurs in 3")
    refused(frame, "no column to predict outcome from", features=())
    refused(frame, "outcome must not be among", features=("outcome", "sex"))
    refused(frame, "must have two values for this task, got 3", target="site")
    refused(frame, "`positive` must be one of no, yes, got maybe", positive="maybe")
    refused(frame, "must be a number for this task", task="number")
    refused(frame, "at most 20 classes", target="age (years)", task="classes", features=("sex",))
    refused(frame.assign(who=["a", "b"] * 120), "must have at least 10 patients, got 2", group="who")
    refused(frame.assign(gone=np.where(np.arange(240) < 120, np.nan, np.arange(240)), outcome=lambda f: f.outcome.where(
        np.arange(240) < 120)), "gone has no value where the target is known", features=("gone", "sex"))  # fmt: skip


def test_what_gives_a_time_or_its_event_away_is_found():
    rng = np.random.default_rng(0)
    days, died = rng.exponential(500, 240).round() + 1, rng.random(240) < 0.5
    frame = patients().drop(columns="outcome").assign(
        days=days, died=np.where(died, "yes", "no"), seen_last=days + 3, code=np.where(died, 7, 3),
        cause=np.where(died, rng.normal(size=240), np.nan),
    )  # fmt: skip
    plan, findings = propose(table_of(frame), "days", "died")
    assert {(f.kind, f.column) for f in findings if f.exclude} == {
        ("answer", "seen_last"), ("answer", "code"), ("answer_missing", "cause")}  # fmt: skip
    assert plan.features == ("age (years)", "sex", "crp_mg_l", "site", "noise") and plan.task == "time_to_event"


def test_an_index_of_disease_is_no_identifier():
    index = np.random.default_rng(0).integers(0, 300, 240)
    findings = found(patients().assign(apnoea_index=index, index=np.random.default_rng(1).permutation(240)))
    assert set(findings) == {("identifier", "index")}


@pytest.mark.parametrize("task", ["binary", "time_to_event"])
def test_an_outcome_of_one_or_two_patients_is_refused(task):
    rng = np.random.default_rng(0)
    ill = np.arange(200) < 20
    frame = pd.DataFrame({"who": np.where(ill, np.arange(200) // 10, np.arange(200) // 2), "x": rng.normal(size=200)})
    frame = frame.assign(outcome=np.where(ill, "yes", "no"), days=rng.exponential(9, 200).round(2) + 0.1)
    plan = Plan("outcome", task, ("x",), "yes", "who")
    if task == "time_to_event":
        plan = Plan("days", task, ("x",), "yes", "who", "outcome")
    with pytest.raises(InputError, match="at least 5 patients, as who names them, but yes occurs in 2"):
        prepare(table_of(frame), plan)
    if task == "binary":
        copies = frame.assign(x=frame.x.where(~ill, 1.0))
        with pytest.raises(InputError, match="at least 5 different rows, but yes occurs in 1"):
            prepare(table_of(copies), Plan("outcome", task, ("x",), "yes"))
