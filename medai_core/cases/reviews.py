"""Opening, assigning and reviewing a study, and who else is there."""

from __future__ import annotations

from dataclasses import asdict
from datetime import timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from medai_core.cases.access import User
from medai_core.cases.answers import Presence, Review, ReviewInput
from medai_core.cases.folder import look, review_of
from medai_core.cases.report_codes import known
from medai_core.cases.store import Store, new_id
from medai_core.cases.tables import READY, ObjectRow, PresenceRow, ReadingRow, ReviewRow, StudyRow, UserRow
from medai_core.errors import Conflict, InputError

HERE = timedelta(seconds=30)
LEFT = timedelta(minutes=2)
"""A study that was only opened is free again when nobody has been at its case for so long."""
MAX_LABEL_CHARS, MAX_REASON_CHARS, MAX_ALSO = 100, 10_000, 20


def opened(store: Store, user: User, study_id: str) -> None:
    """A reader opens a study; see :meth:`Workspace.opened`."""
    with store.writing() as session:
        study, now = store.study(session, user, study_id), store.now()
        seen = look(session, user, study_id)
        seen.opened = seen.opened or now
        study.opened = now
        settle(session, study)
        store.record(session, user, "opened", study_id, case=study.case_id)


def assign(store: Store, user: User, study_id: str, subject: str | None, version: int) -> int:
    """Hand a study to somebody or to nobody; see :meth:`Workspace.assign`."""
    with store.writing() as session:
        study = _current(store, session, user, study_id, version)
        if subject is not None and session.get(UserRow, subject) is None:
            raise InputError("`subject` must be a user who has been here, got {value}", value=repr(subject))
        study.assignee, study.version = subject, study.version + 1
        if subject is None:
            study.opened = None
        settle(session, study)
        store.record(session, user, "assigned", study_id, to=subject)
        return study.version


def review(store: Store, user: User, study_id: str, given: ReviewInput, version: int) -> Review:
    """Commit a review; see :meth:`Workspace.review`."""
    _check(given)
    with store.writing() as session:
        study, now = _current(store, session, user, study_id, version), store.now()
        reading, seen = _answer(session, study_id), look(session, user, study_id)
        _check_agreement(given, reading)
        review_id = new_id()
        also = [asdict(one) for one in given.also]
        body = {"label": given.label, "findings": dict(given.findings), "reason": given.reason, "also": also}
        row = ReviewRow(
            id=review_id,
            study_id=study_id,
            reader=user.subject,
            reader_name=user.name,
            label=known(given.label),
            body=store.keys.seal_json(body, f"review {review_id}"),
            agrees=given.agrees,
            first=given.first and seen.revealed is None,
            seconds=(now - seen.opened).total_seconds() if seen.opened else None,
            reading_id=reading and reading.id,
            version=study.version + 1,
            at=now,
        )
        session.add(row)
        seen.opened = None
        study.reviewed, study.version = True, row.version
        settle(session, study)
        about = {"review": review_id, "agrees": row.agrees, "first": row.first, "version": row.version}
        if reading is not None:
            about |= {
                "model": reading.model,
                "model_version": reading.model_version,
                "model_digest": reading.model_digest,
            }
        store.record(session, user, "reviewed", study_id, **about)
        return review_of(store, row, named=True)


def here(store: Store, user: User, case_id: str) -> tuple[Presence, ...]:
    """A heartbeat, and who else has one; see :meth:`Workspace.here`."""
    with store.database.writing() as session:  # no event, so no need to queue for the ledger
        store.case(session, user, case_id)
        now = store.now()
        own = session.get(PresenceRow, (case_id, user.subject))
        since = own.since if own and now - own.seen <= HERE else now
        row = PresenceRow(case_id=case_id, subject=user.subject, name=user.name, since=since, seen=now)
        session.merge(row)
        others = (PresenceRow.case_id == case_id, PresenceRow.subject != user.subject, PresenceRow.seen >= now - HERE)
        found = session.scalars(select(PresenceRow).where(*others).order_by(PresenceRow.since, PresenceRow.subject))
        return tuple(Presence(one.name, one.since) for one in found)


def release_left(store: Store) -> int:
    """Make studies new again that were opened, not assigned, and left; returns how many."""
    before = store.now() - LEFT
    present = select(PresenceRow.case_id).where(PresenceRow.seen >= before)
    left = (
        StudyRow.status == "reading",
        StudyRow.assignee.is_(None),
        (StudyRow.opened < before) | StudyRow.opened.is_(None),
        StudyRow.case_id.not_in(present),
    )
    with store.reading() as session:
        if session.scalar(select(StudyRow.id).where(*left).limit(1)) is None:
            return 0
    with store.writing() as session:
        rows = session.scalars(select(StudyRow).where(*left)).all()
        for study in rows:
            study.opened = None
            settle(session, study)
        return len(rows)


def settle(session: Session, study: StudyRow) -> None:
    """Set the status that follows from all that is known of a study."""
    if study.reviewed:
        study.status = "done"
    elif study.assignee is not None or study.opened is not None:
        study.status = "reading"
    else:
        study.status = "refused" if _all_refused(session, study) else "new"


def _all_refused(session: Session, study: StudyRow) -> bool:
    """Whether the newest reading of every object is a refusal."""
    if study.model_state != READY:
        return False
    pairs = select(ReadingRow.object_id, ReadingRow.status).where(ReadingRow.study_id == study.id)
    found = session.execute(pairs.order_by(ReadingRow.at, ReadingRow.id))
    newest = {object_id: status for object_id, status in found}
    objects = session.scalars(select(ObjectRow.id).where(ObjectRow.study_id == study.id))
    return all(newest.get(one) == "refused" for one in objects)


def _answer(session: Session, study_id: str) -> ReadingRow | None:
    """The reading a review stands beside: the most urgent one that is an answer."""
    answers = select(ReadingRow).where(ReadingRow.study_id == study_id, ReadingRow.status == "read")
    return session.scalar(answers.order_by(ReadingRow.urgency.desc(), ReadingRow.at.desc()).limit(1))


def _current(store: Store, session: Session, user: User, study_id: str, version: int) -> StudyRow:
    study = store.study(session, user, study_id)
    if study.version != version:
        raise Conflict("This study was changed since you opened it; look at it again. Nothing was overwritten.")
    return study


def _check_agreement(given: ReviewInput, reading: ReadingRow | None) -> None:
    """Let nobody overrule the model by its own finding, or agree with it by another of its findings."""
    if reading is None or given.agrees is None:
        return
    if given.label not in reading.answer.get("probabilities", {}):  # the reader's own words: they may mean either
        return
    if given.agrees and given.label != reading.label:
        raise InputError("Your finding is not the model's: overrule it, or choose its finding.")
    if not given.agrees and given.label == reading.label:
        raise InputError("Your finding is the model's: agree with it, or choose another finding.")


def _check(given: ReviewInput) -> None:
    for label in (given.label, *(one.label for one in given.also)):
        if not label.strip() or len(label) > MAX_LABEL_CHARS:
            raise InputError("`label` must have 1 to {most} characters, got {count}", most=MAX_LABEL_CHARS,
                             count=len(label))  # fmt: skip
    if len(given.also) > MAX_ALSO:
        raise InputError("`also` must name at most {most} further findings, got {count}", most=MAX_ALSO,
                         count=len(given.also))  # fmt: skip
    if len(given.reason) > MAX_REASON_CHARS:
        raise InputError("`reason` must have at most {most} characters, got {count}", most=MAX_REASON_CHARS,
                         count=len(given.reason))  # fmt: skip
