"""One case with all that is in it, as its reader may see it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import date
from typing import Any, TypeVar

from sqlalchemy import select
from sqlalchemy.orm import Session

from medai_core.cases import audit
from medai_core.cases.access import Action, User, allowed, told_of
from medai_core.cases.answers import Case, Finding, ModelReading, Moment, Object, Report, Review, Study
from medai_core.cases.receive import identity_of
from medai_core.cases.report_codes import known
from medai_core.cases.store import Store
from medai_core.cases.tables import CaseRow, EventRow, LookRow, ObjectRow, ReadingRow, ReportRow, ReviewRow, StudyRow
from medai_core.cases.worklist import names_of, study_details
from medai_core.errors import Message, say

Parts = TypeVar("Parts", ObjectRow, ReadingRow, ReviewRow, ReportRow)


def case(store: Store, user: User, case_id: str, reveal: bool) -> Case:
    """One case; see :meth:`Workspace.case`."""
    with store.reading() as session:
        row = store.case(session, user, case_id)
        inside = select(StudyRow).where(StudyRow.case_id == case_id).order_by(StudyRow.arrived.desc())
        studies = session.scalars(inside).all()
        found = tuple(_studies(store, session, user, studies, reveal))
    named = allowed(user, Action.SEE_IDENTITY)
    newest = sorted(found, key=lambda s: (s.acquired or s.arrived.date(), s.arrived), reverse=True)
    moments = sorted((moment for study in found for moment in _moments(study)), key=lambda moment: moment.at)
    identity = identity_of(store, row) if named and row.identity else None
    return Case(row.id, row.department, identity, row.pseudonym, tuple(newest), tuple(moments))


def _studies(store: Store, session: Session, user: User, rows: Sequence[StudyRow], reveal: bool) -> Iterable[Study]:
    ids, named = [row.id for row in rows], allowed(user, Action.SEE_IDENTITY)
    objects, readings, reviews, reports = (
        _by_study(session, table, ids) for table in (ObjectRow, ReadingRow, ReviewRow, ReportRow)
    )
    deliveries = _deliveries(session, ids) if allowed(user, Action.EXPORT_IDENTIFIED) else {}
    made_by = (report.by for made in reports.values() for report in made)
    sent_by = (event.actor for events in deliveries.values() for event in events)
    names = names_of(session, [*made_by, *sent_by, *(row.assignee for row in rows)])
    for row in rows:
        mine = any(review.reader == user.subject for review in reviews[row.id])
        withheld = not reveal and not mine and bool(readings[row.id])
        details = study_details(store, row)
        acquired = date.fromisoformat(details["acquired"]) if named and details["acquired"] else None
        yield Study(
            study_id=row.id,
            case_id=row.case_id,
            kind=row.kind,
            modality=row.modality,
            body_part=row.body_part,
            description=details["description"] if named else "",
            acquired=acquired,
            arrived=told_of(user, row.arrived),
            status=row.status,
            model_state=row.model_state,
            assignee=row.assignee,
            assignee_name=names[row.assignee] if row.assignee else None,
            objects=tuple(_object(store, user, one) for one in objects[row.id]),
            readings=() if withheld else tuple(_reading(user, one) for one in readings[row.id]),
            reviews=tuple(_review(store, user, one, withheld) for one in reviews[row.id]),
            reports=tuple(Report(r.id, r.kind, r.mime, r.identified, r.by, r.at, names[r.by]) for r in reports[row.id]),
            withheld=withheld,
            version=row.version,
            sent=tuple(_delivery(event, names[event.actor]) for event in deliveries.get(row.id, ())),
        )


def _deliveries(session: Session, ids: list[str]) -> dict[str, list[EventRow]]:
    """Events of reports sent, by study, oldest first."""
    found: dict[str, list[EventRow]] = defaultdict(list)
    wanted = EventRow.object.in_(ids), EventRow.action.in_((audit.SENT, audit.NOT_SENT))
    for row in session.scalars(select(EventRow).where(*wanted).order_by(EventRow.seq)):
        found[row.object].append(row)
    return found


def _delivery(row: EventRow, by_name: str) -> audit.Delivery:
    event = audit.event_of(row)
    taken = event.action == audit.SENT
    return audit.Delivery(event.details["kind"], event.details["destination"], taken, by_name, event.at)


def _by_study(session: Session, table: type[Parts], ids: list[str]) -> dict[str, list[Parts]]:
    """Rows of a table by study, oldest first."""
    order = {ObjectRow: ObjectRow.arrived, ReviewRow: ReviewRow.version}.get(table, table.__table__.c.get("at"))
    found: dict[str, list[Parts]] = defaultdict(list)
    for row in session.scalars(select(table).where(table.study_id.in_(ids)).order_by(order, table.id)):
        found[row.study_id].append(row)
    return found


def _object(store: Store, user: User, row: ObjectRow) -> Object:
    named, arrived = allowed(user, Action.SEE_IDENTITY), told_of(user, row.arrived)
    name = store.keys.unseal(row.name, f"name {row.id}").decode() if named else ""
    return Object(row.id, name, row.format, row.size_bytes, arrived, row.model_state, message_of(row.reason))


def _reading(user: User, row: ReadingRow) -> ModelReading:
    return replace(reading_of(row), at=told_of(user, row.at))


def _review(store: Store, user: User, row: ReviewRow, withheld: bool) -> Review:
    """A review as a user may see it; beside its label, whether it agrees would tell what is withheld."""
    found = review_of(store, row, allowed(user, Action.SEE_IDENTITY))
    found = replace(found, at=told_of(user, found.at))
    return replace(found, agrees=None, reason="") if withheld else found


def reading_of(row: ReadingRow) -> ModelReading:
    return ModelReading(
        row.id,
        row.object_id,
        row.model,
        row.model_version,
        row.model_digest,
        row.status,
        row.label,
        row.urgency,
        row.answer,
        row.at,
    )


def review_of(store: Store, row: ReviewRow, named: bool) -> Review:
    """A review; its free text only for users who may see identities, since it may hold a name."""
    body = store.keys.unseal_json(row.body, f"review {row.id}")
    also = tuple(Finding(**one) for one in body.get("also", ()))
    if not named:
        body, also = {"findings": {}, "reason": ""}, tuple(Finding(known(one.label)) for one in also)
    return Review(
        review_id=row.id,
        study_id=row.study_id,
        reader=row.reader,
        reader_name=row.reader_name,
        label=body.get("label", row.label) if named else known(row.label),
        findings=body["findings"],
        agrees=row.agrees,
        reason=body["reason"],
        first=row.first,
        seconds=row.seconds,
        reading_id=row.reading_id,
        at=row.at,
        version=row.version,
        also=also,
    )


def _moments(study: Study) -> Iterable[Moment]:
    for one in study.objects:
        yield Moment(one.arrived, "arrived", study.study_id, say("{format} file arrived", format=one.format))
    for reading in study.readings:
        text = say("{model} read: {label}", model=reading.model, label=reading.label or "–")
        if reading.status == "refused":
            text = say("refused by the model")
        yield Moment(reading.at, "read", study.study_id, text)
    for review in study.reviews:
        text = say("{reader} committed: {label}", reader=review.reader_name, label=review.label)
        yield Moment(review.at, "reviewed", study.study_id, text)
    for report in study.reports:
        yield Moment(report.at, "report", study.study_id, say("{kind} report made", kind=report.kind))


def note_revealed(store: Store, user: User, shown: Case) -> None:
    """Keep since when a user knows the model's readings of each study, in one event for what is new."""
    with_readings = [study.study_id for study in shown.studies if study.readings]
    mine = (LookRow.subject == user.subject) & LookRow.study_id.in_(with_readings)
    known = LookRow.revealed.is_not(None)
    with store.reading() as session:
        new = set(with_readings) - set(session.scalars(select(LookRow.study_id).where(mine, known)))
    if not new:
        return
    with store.writing() as session:
        there = session.scalars(select(StudyRow.id).where(StudyRow.id.in_(new))).all()  # not forgotten meanwhile
        for study_id in there:
            look(session, user, study_id).revealed = store.now()
        store.record(session, user, "saw readings", shown.case_id, studies=sorted(there))


def look(session: Session, user: User, study_id: str) -> LookRow:
    """The row of a user's looks at a study, made if it is not there."""
    row = session.get(LookRow, (study_id, user.subject))
    if row is None:
        row = LookRow(study_id=study_id, subject=user.subject)
        session.add(row)
    return row


def message_of(stored: dict[str, Any] | None) -> Message | None:
    """A sentence as :func:`stored_message` kept it."""
    return Message(stored["template"], stored["values"]) if stored else None


def stored_message(message: Message) -> dict[str, Any]:
    """A sentence as JSON, to be translated when it is shown."""
    plain = {name: value if isinstance(value, int | float) else str(value) for name, value in message.values.items()}
    return {"template": message.template, "values": plain}


def case_row(session: Session, study: StudyRow) -> CaseRow:
    return session.get_one(CaseRow, study.case_id)
