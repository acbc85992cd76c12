"""The worker: everything that arrives is read once, whatever happens on the way."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest
from drawn_dicom import draw, encoded
from pydicom.uid import generate_uid
from quick_reader import QuickReader

from medai_core.bench import drawn_stay
from medai_core.cases import worker as module
from medai_core.cases.access import LOCAL
from medai_core.cases.answers import ReviewInput
from medai_core.cases.worker import ATTEMPTS, LEASE, STOPPED_US, UNEXPECTED, Worker, claim, keep
from medai_core.errors import InputError, Unavailable
from medai_core.icu.forecaster import Forecast


def put(workspace, seed: int, marker: str = "plain", **tags):
    return workspace.receive(LOCAL, encoded(draw(seed, StudyID=marker, **tags)), "a.dcm")


def rows(workspace) -> dict[str, object]:
    return {row.study_id: row for row in workspace.worklist(LOCAL).rows}


def test_answers_urgency_and_status_come_together(workspace):
    got = {
        marker: put(workspace, k, marker).study_id for k, marker in enumerate(("plain", "urgent", "refuse", "broken"))
    }
    assert {row.model_state for row in rows(workspace).values()} == {"waiting"}
    assert Worker(workspace, QuickReader).work() == 4
    found = {marker: rows(workspace)[study] for marker, study in got.items()}
    assert {m: (r.status, r.model_state, r.urgency, r.label) for m, r in found.items()} == {
        "plain": ("new", "ready", 0.2, "normal"),
        "urgent": ("new", "ready", 0.9, "viral"),
        "refuse": ("refused", "ready", None, None),
        "broken": ("new", "failed", None, None),
    }
    assert workspace.worklist(LOCAL).rows[0].study_id == got["urgent"]
    broken = workspace.case(LOCAL, found["broken"].case_id).studies[0].objects[0]
    assert str(broken.reason) == "The file is damaged."
    reading = workspace.case(LOCAL, found["urgent"].case_id).studies[0].readings[0]
    assert (reading.model, reading.version, reading.answer["probabilities"]["viral"]) == ("chest_xray", "1.0.0", 0.9)
    assert len(reading.digest) == 64
    told = [(event.action, event.actor) for event in workspace.events(LOCAL).events]
    assert told.count(("read", "service")) == 3 and told.count(("failed", "service")) == 1


def test_a_study_is_as_urgent_as_its_most_urgent_object(workspace):
    study = generate_uid()
    for k, marker in enumerate(("plain", "urgent", "refuse")):
        put(workspace, 1, marker, StudyInstanceUID=study, InstanceNumber=k)
    Worker(workspace, QuickReader).work()
    (row,) = rows(workspace).values()
    assert (row.urgency, row.label, row.status, row.objects) == (0.9, "viral", "new", 3)


def test_a_refused_study_that_is_reviewed_is_done(workspace):
    got = put(workspace, 1, "refuse")
    Worker(workspace, QuickReader).work()
    workspace.review(LOCAL, got.study_id, ReviewInput("no chest"), 1)
    assert rows(workspace)[got.study_id].status == "done"


def test_what_nobody_foresaw_costs_one_file_alone(workspace, caplog):
    got = [put(workspace, k, marker).study_id for k, marker in enumerate(("plain", "crash", "plain"))]
    Worker(workspace, QuickReader).work()
    assert [rows(workspace)[study].model_state for study in got] == ["ready", "failed", "ready"]
    assert workspace.overview(LOCAL).failures[0].reason == UNEXPECTED
    assert "RuntimeError" in caplog.text and "quotes the file" not in caplog.text


def test_after_a_kill_the_lease_runs_out_and_the_work_is_done_again(workspace, clock):
    got = put(workspace, 1)
    (killed,) = claim(workspace.store)
    assert rows(workspace)[got.study_id].model_state == "running" and claim(workspace.store) == []
    clock.move(seconds=LEASE.total_seconds() + 1)
    (again,) = claim(workspace.store)
    answer = module.Answer("read", model="m", label="late", urgency=1.0)
    keep(workspace.store, [(killed, answer)])
    assert rows(workspace)[got.study_id].model_state == "running", "the answer of a lease that is over does not count"
    keep(workspace.store, [(again, replace(answer, label="good"))])
    assert rows(workspace)[got.study_id].label == "good"
    assert workspace.events(LOCAL, action="read").total == 1


def test_a_file_that_kills_the_program_is_given_up(workspace, clock):
    put(workspace, 1)
    for _ in range(ATTEMPTS):
        assert len(claim(workspace.store)) == 1
        clock.move(seconds=LEASE.total_seconds() + 1)
    assert claim(workspace.store) == []
    assert workspace.overview(LOCAL).failures[0].reason == STOPPED_US


def test_what_is_forgotten_meanwhile_is_left_alone(workspace):
    got = put(workspace, 1)
    (one,) = claim(workspace.store)
    workspace.forget(LOCAL, got.case_id)
    keep(workspace.store, [(one, module.Answer("read", model="m"))])
    assert workspace.overview(LOCAL).studies == 0


def test_batches_are_bounded_and_in_order_of_arrival(workspace, clock, monkeypatch):
    monkeypatch.setattr(module, "BATCH_BYTES", 40_000)
    got = []
    for k in range(4):
        got.append(put(workspace, k).object_id)
        clock.move(seconds=1)
    assert [one.object_id for one in claim(workspace.store)] == got[:2], "files of 17 kB each"
    assert [one.object_id for one in claim(workspace.store, count=1)] == got[2:3]


class QuickForecaster:
    def forecast_many(self, items):
        for name, _ in items:
            yield name, Forecast("", (1, 2), np.array([0.1, 0.7]), np.array([0.0, 0.6]), np.array([0.2, 0.8]))


def test_stays_are_read_by_their_own_wing(workspace):
    got = workspace.receive(LOCAL, drawn_stay(), "stay.txt")
    Worker(workspace, lambda: pytest.fail("no scan is here"), forecaster_factory=QuickForecaster).work()
    row = rows(workspace)[got.study_id]
    assert (row.model_state, row.urgency) == ("ready", 0.7)
    reading = workspace.case(LOCAL, got.case_id).studies[0].readings[0]
    assert reading.model == "icu_mortality" and len(reading.answer["estimates"]) == 2


def test_the_thread_reads_waits_out_what_is_away_and_stops(workspace, monkeypatch):
    monkeypatch.setattr(module, "POLL_SECONDS", 0.01)
    away = iter(
        [Unavailable("The database cannot be reached just now; nothing was saved. Try again."), RuntimeError("x")]
    )
    real = module.claim

    def claim_or_fail(store):
        for error in away:
            raise error
        return real(store)

    monkeypatch.setattr(module, "claim", claim_or_fail)
    monkeypatch.setattr(module, "LONGEST_WAIT_SECONDS", 0.02)
    got = put(workspace, 1)
    worker = Worker(workspace, QuickReader)
    worker.start()
    until = time.monotonic() + 15
    while rows(workspace)[got.study_id].model_state != "ready" and time.monotonic() < until:
        time.sleep(0.02)
    worker.stop(10)
    assert rows(workspace)[got.study_id].model_state == "ready" and not worker._thread.is_alive()


def test_a_missing_model_leaves_the_file_waiting_for_its_lease(workspace, clock):
    put(workspace, 1)

    def missing():
        raise InputError("The model is not installed")

    with pytest.raises(InputError):
        Worker(workspace, missing).work()
    clock.move(seconds=LEASE.total_seconds() + 1)
    assert Worker(workspace, QuickReader).work() == 1
