"""The audit log: any edit, deletion, insertion or reordering is found."""

from __future__ import annotations

import csv
import io

import pytest
from sqlalchemy import text

from medai_core.cases import audit
from medai_core.cases.access import LOCAL, SERVICE_USER

LINES = 6


@pytest.fixture
def log(workspace):
    for k in range(LINES):
        with workspace.store.writing() as session:
            workspace.store.record(session, SERVICE_USER, "did", f"{k:032x}", number=k, words="ü =1+1")
    return workspace


def change(workspace, *statements: str) -> None:
    """What somebody with the database and without the key can do."""
    with workspace.store.database.writing() as session:
        for statement in statements:
            session.execute(text(statement))


def check(workspace, head: str | None = None):
    with workspace.store.reading() as session:
        return audit.verify(session, workspace.store.keys, head)


def test_an_untouched_log_is_whole(log):
    found = check(log)
    assert found.ok and found.count == LINES
    assert check(log, head=found.digest).ok and check(log, head=audit.START).ok


TAMPERING = {
    "edit details": ["UPDATE events SET details = '{}' WHERE seq = 3"],
    "edit actor": ["UPDATE events SET actor = 'somebody' WHERE seq = 3"],
    "edit time": ["UPDATE events SET at = '2020-01-01T00:00:00+00:00' WHERE seq = 6"],
    "edit and follow": [
        "UPDATE events SET action = 'x', digest = 'y' WHERE seq = 3",
        "UPDATE events SET previous = 'y' WHERE seq = 4",
    ],
    "delete in the middle": ["DELETE FROM events WHERE seq = 3"],
    "delete and close the gap": [
        "DELETE FROM events WHERE seq = 3",
        *(f"UPDATE events SET seq = {k} WHERE seq = {k + 1}" for k in (3, 4, 5)),
    ],
    "delete the first": ["DELETE FROM events WHERE seq = 1"],
    "delete at the tail": ["DELETE FROM events WHERE seq = 6"],
    "delete at the tail and fit the ledger": [
        "DELETE FROM events WHERE seq = 6",
        "UPDATE ledger SET count = 5, digest = (SELECT digest FROM events WHERE seq = 5)",
    ],
    "delete all and fit the ledger": ["DELETE FROM events", f"UPDATE ledger SET count = 0, digest = '{audit.START}'"],
    "reorder": [f"UPDATE events SET seq = {b} WHERE seq = {a}" for a, b in ((3, 99), (4, 3), (99, 4))],
    "insert at the tail": [
        "INSERT INTO events SELECT 7, at, actor, action, object, details, digest, digest FROM events WHERE seq = 6",
        "UPDATE ledger SET count = 7",
    ],
    "insert a copy": [
        *(f"UPDATE events SET seq = {k + 1} WHERE seq = {k}" for k in (6, 5, 4)),
        "INSERT INTO events SELECT 4, at, actor, action, object, details, previous, digest FROM events WHERE seq = 3",
        "UPDATE ledger SET count = 7",
    ],
}


@pytest.mark.parametrize("way", TAMPERING)
def test_tampering_is_found(log, way):
    change(log, *TAMPERING[way])
    found = check(log)
    assert not found.ok and all(str(problem).endswith(".") for problem in found.problems)


def test_an_old_copy_of_the_whole_is_found_by_a_digest_kept_elsewhere(log):
    kept = check(log)
    with log.store.reading() as session:
        ledger = session.execute(text("SELECT count, digest, seal FROM ledger")).one()
    with log.store.writing() as session:
        log.store.record(session, LOCAL, "did more", "")
    later = check(log).digest
    old = f"UPDATE ledger SET count = {ledger.count}, digest = '{ledger.digest}', seal = '{ledger.seal}'"
    change(log, f"DELETE FROM events WHERE seq > {ledger.count}", old)
    assert check(log, head=kept.digest).ok, "by itself the old copy is whole"
    assert not check(log, head=later).ok


def test_checking_is_itself_an_event(log):
    assert log.verify_audit(LOCAL).ok
    assert log.events(LOCAL).events[0].action == "verified audit" and log.verify_audit(LOCAL).ok


def test_pages_are_newest_first(log):
    page = log.events(LOCAL, page=1, size=2)
    assert ([event.seq for event in page.events], page.total) == ([LINES - 2, LINES - 3], LINES)
    assert log.events(LOCAL, object_id=f"{2:032x}").events[0].details == {"number": 2, "words": "ü =1+1"}


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_no_cell_of_the_csv_is_a_formula(sqlite_workspace, start):
    with sqlite_workspace.store.writing() as session:
        sqlite_workspace.store.record(session, SERVICE_USER, f"{start}cmd|' /C calc'!A1", "", n=-1)
    rows = list(csv.reader(io.StringIO("".join(sqlite_workspace.audit_csv(LOCAL)), newline="")))
    assert rows[0] == list(audit.COLUMNS) and rows[1][3].startswith(f"'{start}cmd")
    assert not [cell for row in rows for cell in row if cell[:1] in tuple("=+-@\t\r")]
    assert rows[1][6] == sqlite_workspace.events(LOCAL).events[-1].digest
