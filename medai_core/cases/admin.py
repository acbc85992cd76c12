"""What an administrator asks for: the state of the workspace, its log, and that a case be forgotten."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from medai_core.cases import audit
from medai_core.cases.access import SERVICE_USER, User
from medai_core.cases.answers import Failure, Overview, UserSeen, VersionUse
from medai_core.cases.audit import EventPage, Verification
from medai_core.cases.folder import message_of
from medai_core.cases.store import Store, needed
from medai_core.cases.tables import (
    FAILED,
    RUNNING,
    WAITING,
    CaseRow,
    EventRow,
    ObjectRow,
    ReadingRow,
    ReportRow,
    ReviewRow,
    StudyRow,
    UserRow,
)
from medai_core.errors import InputError

MAX_FAILURES = 100
MAX_REASON_CHARS = 200
REASONS = ("request", "retention", "error", "test")


def overview(store: Store, user: User) -> Overview:
    """The state of the workspace; see :meth:`Workspace.overview`."""
    with store.reading() as session:
        seen = session.scalars(select(UserRow).order_by(UserRow.seen.desc())).all()
        queued = select(func.count()).select_from(ObjectRow).where(ObjectRow.model_state.in_((WAITING, RUNNING)))
        failed = select(func.count()).select_from(ObjectRow).where(ObjectRow.model_state == FAILED)
        return Overview(
            users=tuple(UserSeen(row.subject, row.name, tuple(row.roles.split()), row.seen) for row in seen),
            cases=session.scalar(select(func.count()).select_from(CaseRow)) or 0,
            studies=session.scalar(select(func.count()).select_from(StudyRow)) or 0,
            storage_bytes=store.vault.size_bytes() + store.database.size_bytes(session),
            versions=tuple(_versions(session)),
            queue=session.scalar(queued) or 0,
            failed=session.scalar(failed) or 0,
            failures=tuple(_failures(session)),
            key_beside_data=store.key_beside_data,
            database=store.database.name,
        )


def _versions(session: Session) -> Iterator[VersionUse]:
    keys = (ReadingRow.model, ReadingRow.model_version)
    asked = (
        select(*keys, ReadingRow.status, func.count()).where(ReadingRow.model != "").group_by(*keys, ReadingRow.status)
    )
    joined = select(*keys, ReviewRow.agrees, func.count()).join(ReviewRow, ReviewRow.reading_id == ReadingRow.id)
    found: dict[tuple[str, str], dict[str, int]] = {}
    for model, version, status, count in session.execute(asked):
        found.setdefault((model, version), {})[status] = count
    for model, version, agrees, count in session.execute(joined.group_by(*keys, ReviewRow.agrees)):
        found.setdefault((model, version), {})[f"agrees {agrees}"] = count
    for (model, version), counts in sorted(found.items()):
        order = ("read", "refused", "agrees True", "agrees False")
        yield VersionUse(model, version, *(counts.get(name, 0) for name in order))


def _failures(session: Session) -> Iterator[Failure]:
    query = select(ObjectRow, StudyRow.case_id).join(StudyRow, StudyRow.id == ObjectRow.study_id)
    query = query.where(ObjectRow.model_state == FAILED).order_by(ObjectRow.arrived.desc()).limit(MAX_FAILURES)
    for row, case_id in session.execute(query):
        yield Failure(row.id, row.study_id, case_id, row.arrived, message_of(row.reason))


def events(
    store: Store, page: int, size: int, action: str | None, actor: str | None, object_id: str | None
) -> EventPage:
    """A page of the log, newest first; see :meth:`Workspace.events`."""
    wanted = [
        column == value
        for column, value in ((EventRow.action, action), (EventRow.actor, actor), (EventRow.object, object_id))
        if value is not None
    ]
    with store.reading() as session:
        total = session.scalar(select(func.count()).select_from(EventRow).where(*wanted)) or 0
        query = select(EventRow).where(*wanted).order_by(EventRow.seq.desc()).limit(size).offset(page * size)
        return EventPage(tuple(map(audit.event_of, session.scalars(query))), total)


def verify_audit(store: Store, user: User, head: str | None) -> Verification:
    """Check the log; see :meth:`Workspace.verify_audit`."""
    with store.reading() as session:
        found = audit.verify(session, store.keys, head)
    with store.writing() as session:
        store.record(session, user, "verified audit", "", count=found.count, ok=found.ok)
    return found


def audit_csv(store: Store, user: User) -> Iterator[str]:
    """The log as lines of CSV."""
    with store.writing() as session:
        store.record(session, user, "exported audit", "")
    with store.reading() as session:
        rows = session.scalars(select(EventRow).order_by(EventRow.seq).execution_options(yield_per=1000))
        yield from audit.as_csv(rows)


def forget(store: Store, user: User, case_id: str, reason: str) -> None:
    """Remove a case; see :meth:`Workspace.forget`."""
    if reason not in REASONS:
        allowed = ", ".join(REASONS)
        raise InputError("`reason` must be one of {allowed}, got {value}", allowed=allowed, value=repr(reason))
    with store.writing() as session:
        case = store.case(session, user, case_id)
        inside = select(StudyRow.id).where(StudyRow.case_id == case.id)
        contents = [
            content
            for table in (ObjectRow, ReportRow)
            for content in session.scalars(select(table.content).where(table.study_id.in_(inside)))
        ]
        session.execute(delete(CaseRow).where(CaseRow.id == case.id))  # what is below goes with it
        store.doom(session, *contents)
        store.record(session, user, "forgot", case_id, reason=reason, files=len(set(contents)))
    store.remove_doomed()


def forget_old(store: Store) -> int:
    """Forget the cases whose time of retention is over; returns how many."""
    days = store.settings.retention_days
    if not days:
        return 0
    latest = func.max(func.coalesce(StudyRow.arrived, CaseRow.created))
    with store.reading() as session:
        query = select(CaseRow.id).outerjoin(StudyRow, StudyRow.case_id == CaseRow.id).group_by(CaseRow.id)
        old = session.scalars(query.having(latest < store.now() - timedelta(days=days))).all()
    for case_id in old:
        forget(store, SERVICE_USER, case_id, "retention")
    return len(old)


def tidy(store: Store) -> int:
    """Remove what a crash left in the vault: half-written files, and contents that were never filed."""
    store.remove_doomed()
    half = list(store.vault.left_over())
    for path in half:
        path.unlink(missing_ok=True)
    unfiled = []
    for address in store.vault.old_addresses():
        with store.writing() as session:  # looked up and removed in one turn: nobody files it in between
            if not needed(session, address):
                store.vault.remove(address)
                unfiled.append(address)
    return len(half) + len(unfiled)
