"""The audit log: append-only, each line signed together with the one before it.

``digest = HMAC-SHA256(key, previous digest + line)``, and the ledger, one sealed row, holds how many lines there are
and the last digest. Without the key nobody can write a line that fits. Somebody who puts an old copy of the whole
database back is found by a digest kept elsewhere.
"""

from __future__ import annotations

import csv
import hmac
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from medai_core.cases.crypto import Keys
from medai_core.cases.tables import EventRow, LedgerRow
from medai_core.errors import Message, say

START = "0" * 64
MAX_PROBLEMS = 20
SENT, NOT_SENT = "report sent", "report not sent"
"""Events of a study."""
COLUMNS = ("seq", "at", "actor", "action", "object", "details", "digest")


@dataclass(frozen=True)
class Event:
    """One line of the audit log."""

    seq: int
    at: datetime
    actor: str
    action: str
    object: str
    details: Mapping[str, Any]
    digest: str


@dataclass(frozen=True)
class Delivery:
    """A report on its way to a PACS, as the log has it: ``taken`` says whether the PACS has confirmed it."""

    kind: str
    destination: str
    taken: bool
    by_name: str
    at: datetime


@dataclass(frozen=True)
class EventPage:
    """A page of the audit log, newest first."""

    events: tuple[Event, ...]
    total: int


@dataclass(frozen=True)
class Verification:
    """What checking the audit log found.

    Attributes
    ----------
    digest : str
        Of the last event: kept elsewhere, it proves later that nothing before it was changed.
    problems : tuple[Message, ...]
        Empty when the log is whole.
    """

    count: int
    digest: str
    problems: tuple[Message, ...]

    @property
    def ok(self) -> bool:
        return not self.problems


def new_ledger(keys: Keys) -> LedgerRow:
    """The ledger of an empty log."""
    return LedgerRow(id=1, count=0, digest=START, seal=_seal(keys, 0, START), key_check=keys.check)


def append(
    session: Session, keys: Keys, at: datetime, actor: str, action: str, object_id: str, details: dict[str, Any]
) -> None:
    """Add a line in the caller's transaction, which holds the ledger's lock: both are kept, or neither.

    Parameters
    ----------
    object_id : str
        Id of what it happened to.
    details : dict
        Plain values, none of them identifying a patient.
    """
    ledger = session.get_one(LedgerRow, 1)
    text = json.dumps(details, sort_keys=True, ensure_ascii=False)
    row = EventRow(
        seq=ledger.count + 1,
        at=at.isoformat(),
        actor=actor,
        action=action,
        object=object_id,
        details=text,
        previous=ledger.digest,
    )
    row.digest = _digest(keys, row)
    session.add(row)
    ledger.count, ledger.digest = row.seq, row.digest
    ledger.seal = _seal(keys, ledger.count, ledger.digest)


def verify(session: Session, keys: Keys, head: str | None = None) -> Verification:
    """Look for lines that were edited, deleted, put in or moved.

    Parameters
    ----------
    head : str, optional
        A digest kept elsewhere: a line must still have it.
    """
    ledger = session.get_one(LedgerRow, 1)
    problems = [] if hmac.compare_digest(ledger.seal, _seal(keys, ledger.count, ledger.digest)) else [_LEDGER]
    previous, expected, seen_head = START, 1, head in (None, START)
    for row in session.scalars(select(EventRow).order_by(EventRow.seq).execution_options(yield_per=1000)):
        problems.extend(_faults(keys, row, previous, expected))
        seen_head |= row.digest == head
        previous, expected = row.digest, row.seq + 1
    if (expected - 1, previous) != (ledger.count, ledger.digest):
        ends = {"count": ledger.count, "found": expected - 1}
        problems.append(say("The log must end with line {count}, but ends with line {found}.", **ends))
    if not seen_head:
        problems.append(say("No line has the digest that was kept elsewhere: the log is an older or another one."))
    return Verification(ledger.count, ledger.digest, tuple(problems[:MAX_PROBLEMS]))


_LEDGER = say("The ledger of the log was changed.")


def _faults(keys: Keys, row: EventRow, previous: str, expected: int) -> Iterator[Message]:
    if row.seq != expected:
        yield say("Line {expected} of the log is missing.", expected=expected)
    elif row.previous != previous:
        yield say("Line {seq} of the log does not follow the line before it.", seq=row.seq)
    if not hmac.compare_digest(row.digest, _digest(keys, row)):
        yield say("Line {seq} of the log was changed.", seq=row.seq)


def event_of(row: EventRow) -> Event:
    return Event(
        row.seq, datetime.fromisoformat(row.at), row.actor, row.action, row.object, json.loads(row.details), row.digest
    )


def as_csv(rows: Iterable[EventRow]) -> Iterator[str]:
    """The log as lines of CSV, header first; a cell that a spreadsheet would take for a formula starts with '."""
    yield _line(COLUMNS)
    for row in rows:
        yield _line([getattr(row, name) for name in COLUMNS])


def _line(cells: Iterable[object]) -> str:
    out = io.StringIO()
    csv.writer(out).writerow([harmless(cell) for cell in cells])
    return out.getvalue()


def harmless(cell: object) -> object:
    """A cell that no spreadsheet runs (OWASP, CSV injection)."""
    return f"'{cell}" if isinstance(cell, str) and cell[:1] in ("=", "+", "-", "@", "\t", "\r") else cell


def _digest(keys: Keys, row: EventRow) -> str:
    line = json.dumps([row.previous, row.seq, row.at, row.actor, row.action, row.object, row.details])
    return hmac.digest(keys.derive("audit log"), line.encode(), "sha256").hex()


def _seal(keys: Keys, count: int, digest: str) -> str:
    return hmac.digest(keys.derive("audit ledger"), f"{count} {digest}".encode(), "sha256").hex()
