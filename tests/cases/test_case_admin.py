"""What the administrator sees, and cases whose time of retention is over."""

from __future__ import annotations

from dataclasses import replace

import pytest
from drawn_dicom import draw, encoded
from quick_reader import QuickReader

from medai_core.cases import admin
from medai_core.cases.access import LOCAL, Role, User
from medai_core.cases.admin import forget_old
from medai_core.cases.answers import ReviewInput, VersionUse
from medai_core.cases.worker import Worker
from medai_core.errors import InputError


def put(workspace, seed: int, marker: str = "plain"):
    return workspace.receive(LOCAL, encoded(draw(seed, StudyID=marker)), "a.dcm")


def test_the_overview_counts_what_there_is(workspace):
    markers = ("plain", "urgent", "urgent", "refuse", "broken")
    got = [put(workspace, k, marker) for k, marker in enumerate(markers)]
    assert workspace.overview(LOCAL).queue == 5
    Worker(workspace, QuickReader).work()
    anna = User("anna", "Anna", frozenset({Role.READER}))
    for k, agrees in ((0, True), (1, False), (2, None)):
        workspace.review(anna, got[k].study_id, ReviewInput("normal", agrees=agrees), 1)
    found = workspace.overview(LOCAL)
    assert (found.cases, found.studies, found.queue) == (5, 5, 0)
    assert found.versions == (VersionUse("chest_xray", "1.0.0", read=3, refused=0, agreed=1, overruled=1),)
    assert [(f.object_id, f.study_id, f.case_id) for f in found.failures] == [
        (got[4].object_id, got[4].study_id, got[4].case_id)
    ]
    assert {user.subject: user.roles for user in found.users}["anna"] == ("reader",)
    assert found.failed == 1
    assert found.storage_bytes > workspace.store.vault.size_bytes() > 5 * 128 * 128
    assert found.database in ("SQLite", "PostgreSQL") and found.key_beside_data


def test_all_failures_are_counted_and_the_newest_told(workspace, monkeypatch):
    got = [put(workspace, k, "broken") for k in range(3)]
    Worker(workspace, QuickReader).work()
    monkeypatch.setattr(admin, "MAX_FAILURES", 2)
    found = workspace.overview(LOCAL)
    assert found.failed == 3 and len(found.failures) == 2
    assert {f.object_id for f in found.failures} < {one.object_id for one in got}


def test_cases_are_forgotten_when_their_time_is_over(workspace, clock):
    workspace.store.settings = replace(workspace.store.settings, retention_days=30)
    old = put(workspace, 1)
    clock.move(days=20)
    young = put(workspace, 2)
    assert forget_old(workspace.store) == 0
    clock.move(days=11)
    assert forget_old(workspace.store) == 1
    assert [row.case_id for row in workspace.worklist(LOCAL).rows] == [young.case_id]
    (event,) = workspace.events(LOCAL, action="forgot").events
    assert (event.object, event.actor, event.details["reason"]) == (old.case_id, "service", "retention")


def test_without_a_time_of_retention_nothing_is_forgotten(sqlite_workspace, clock):
    put(sqlite_workspace, 1)
    clock.move(days=10_000)
    assert forget_old(sqlite_workspace.store) == 0


def test_a_reason_to_forget_is_one_of_a_few_words(sqlite_workspace):
    got = put(sqlite_workspace, 1)
    with pytest.raises(InputError, match="`reason` must be one of request, retention, error, test"):
        sqlite_workspace.forget(LOCAL, got.case_id, "because Jane Doe asked")
    assert "Jane" not in "".join(sqlite_workspace.audit_csv(LOCAL))
