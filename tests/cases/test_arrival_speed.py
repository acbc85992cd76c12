"""What makes arrival fast: few transactions, few waits for the disk, and a worker that gives way."""

from __future__ import annotations

import math
import os
import threading
import time
from types import SimpleNamespace

import pytest
from drawn_dicom import draw, encoded
from pydicom.uid import generate_uid
from quick_reader import QuickReader
from sqlalchemy import event

from medai_core.cases import database, worker
from medai_core.cases.access import LOCAL
from medai_core.cases.worker import PATIENCE_SECONDS, QUIET_SECONDS, Worker
from medai_core.errors import Unavailable


@pytest.fixture
def said(sqlite_workspace) -> list[str]:
    """What the database is told from here on."""
    heard: list[str] = []
    engine = sqlite_workspace.store.database.engine
    event.listen(engine, "before_cursor_execute", lambda _c, _k, statement, *_: heard.append(statement))
    event.listen(engine, "commit", lambda _: heard.append("COMMIT"))
    return heard


def test_a_file_is_one_transaction_and_two_waits_for_the_disk_beside_it(sqlite_workspace, said, monkeypatch):
    sqlite_workspace.receive(LOCAL, encoded(draw(1)), "a.dcm")  # notes who is here
    said.clear()
    fsync, waits = os.fsync, []
    monkeypatch.setattr(os, "fsync", lambda handle: waits.append(handle) or fsync(handle))
    assert sqlite_workspace.receive(LOCAL, encoded(draw(2)), "a.dcm").status == "new"
    assert len(waits) == 2, "the file, and the folder it is named in"
    assert (said.count("COMMIT"), said[0], said[-1]) == (1, "BEGIN IMMEDIATE", "COMMIT")
    assert sum("FROM ledger" in statement for statement in said) == 1
    assert len(said) <= 16


def test_the_files_of_a_study_are_read_without_asking_for_the_study_each_time(sqlite_workspace, said):
    study = generate_uid()

    def statements_to_read(count: int) -> int:
        for k in range(count):
            sqlite_workspace.receive(LOCAL, encoded(draw(k, PatientID="1", StudyInstanceUID=study)), "a.dcm")
        said.clear()
        assert Worker(sqlite_workspace, QuickReader).work() == count
        return sum("FROM readings" in statement for statement in said)

    assert statements_to_read(8) == statements_to_read(2)


def test_writers_take_turns_and_nobody_waits_for_ever(sqlite_workspace, monkeypatch):
    store, inside, go_on, order = sqlite_workspace.store, threading.Event(), threading.Event(), []

    def hold() -> None:
        with store.writing():
            inside.set()
            go_on.wait(10)
            order.append("first")

    holding = threading.Thread(target=hold)
    holding.start()
    assert inside.wait(10)
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.05)
    with pytest.raises(Unavailable, match="cannot be reached just now"):
        sqlite_workspace.receive(LOCAL, encoded(draw(1)), "a.dcm")
    monkeypatch.undo()
    threading.Timer(0.05, go_on.set).start()
    assert sqlite_workspace.receive(LOCAL, encoded(draw(1)), "a.dcm").status == "new"
    order.append("second")
    holding.join()
    assert order == ["first", "second"]


@pytest.mark.parametrize(
    ("arrived", "waits"),
    [(-math.inf, 0.0), (-0.1, QUIET_SECONDS - 0.1), (math.inf, PATIENCE_SECONDS)],
    ids=["nothing arrives", "a file has just arrived", "files go on arriving"],
)
def test_the_worker_gives_way_to_what_arrives_but_not_for_ever(sqlite_workspace, monkeypatch, arrived, waits):
    now = [1000.0]
    monkeypatch.setattr(worker, "time", SimpleNamespace(monotonic=lambda: now[0]))
    idle = Worker(sqlite_workspace, QuickReader)
    idle._stop = SimpleNamespace(wait=lambda seconds: now.append(now.pop() + seconds))
    sqlite_workspace.store.arrived = 1000.0 + arrived
    idle._give_way()
    assert now[0] - 1000.0 == pytest.approx(waits)


def test_a_received_file_is_noticed_as_arrival(sqlite_workspace):
    before = time.monotonic()
    sqlite_workspace.receive(LOCAL, encoded(draw(1)), "a.dcm")
    assert before <= sqlite_workspace.store.arrived <= time.monotonic()
