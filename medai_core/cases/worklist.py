"""The worklist, filtered, sorted and cut into pages by the database."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import ColumnElement, func, or_, select
from sqlalchemy.orm import Session

from medai_core.cases.access import Action, User, allowed, told_of
from medai_core.cases.answers import NOBODY, SORTS, STATUSES, Filter, Page, Row
from medai_core.cases.intake import words
from medai_core.cases.receive import identity_of
from medai_core.cases.store import Store
from medai_core.cases.tables import NOT_READ, CaseRow, ReviewRow, StudyRow, UserRow, WordRow
from medai_core.errors import InputError

MAX_SIZE = 200
_COLUMNS: dict[str, Any] = {
    "urgency": StudyRow.urgency,
    "status": StudyRow.status,
    "modality": StudyRow.modality,
}


def worklist(
    store: Store, user: User, wanted: Filter, sort: str, descending: bool, page: int, size: int, reveal: bool
) -> Page:
    """A page of the worklist; see :meth:`Workspace.worklist`."""
    _check(wanted, sort, page, size)
    named = allowed(user, Action.SEE_IDENTITY)
    rest = _conditions(store, user, wanted, named)
    chosen = [*rest, StudyRow.status.in_(wanted.status)] if wanted.status else rest
    with store.reading() as session:
        counts = dict.fromkeys(STATUSES, 0)
        found = session.execute(select(StudyRow.status, func.count()).where(*rest).group_by(StudyRow.status))
        counts |= {status: count for status, count in found}
        total = sum(counts[status] for status in wanted.status or STATUSES)
        # By urgency, the order alone would tell what is withheld.
        order = _order("age" if sort == "urgency" and not reveal else sort, descending)
        # The page is cut from ids alone: whole rows, sealed columns and all, would be carried through the sort.
        page_of = select(StudyRow.id).where(*chosen).order_by(*order).limit(size).offset(page * size)
        whole = select(StudyRow, CaseRow).join(CaseRow, CaseRow.id == StudyRow.case_id)
        pairs = session.execute(whole.where(StudyRow.id.in_(page_of)).order_by(*order)).all()
        shown = {study.id for study, _ in pairs}
        if not reveal:
            own = (ReviewRow.reader == user.subject) & ReviewRow.study_id.in_(shown)
            shown = set(session.scalars(select(ReviewRow.study_id).where(own)))
        names = names_of(session, (study.assignee for study, _ in pairs))
        return Page(tuple(_row(store, user, s, c, s.id in shown, names) for s, c in pairs), total, counts)


def names_of(session: Session, subjects: Iterable[str | None]) -> dict[str, str]:
    """What users are called: by their names, who is not known by the part of the id before its provider."""
    asked = {subject for subject in subjects if subject}
    seen = session.execute(select(UserRow.subject, UserRow.name).where(UserRow.subject.in_(asked)))
    known = {subject: name for subject, name in seen}
    return {subject: known.get(subject) or subject.partition("@")[0] for subject in asked}


def _check(wanted: Filter, sort: str, page: int, size: int) -> None:
    if sort not in SORTS:
        raise InputError("`sort` must be one of {allowed}, got {value}", allowed=", ".join(SORTS), value=repr(sort))
    if unknown := set(wanted.status) - set(STATUSES):
        allowed_ = ", ".join(STATUSES)
        raise InputError("`status` must be among {allowed}, got {value}", allowed=allowed_, value=repr(min(unknown)))
    if page < 0:
        raise InputError("`page` must be at least 0, got {page}", page=page)
    if not 1 <= size <= MAX_SIZE:
        raise InputError("`size` must be between 1 and {most}, got {size}", most=MAX_SIZE, size=size)


def _conditions(store: Store, user: User, wanted: Filter, named: bool) -> list[ColumnElement[bool]]:
    """What a study must fulfil, its status left aside."""
    found = [] if user.sees_all else [StudyRow.department.in_(sorted(user.groups))]
    if wanted.group is not None:
        found.append(StudyRow.department == wanted.group)
    if wanted.modality:
        found.append(StudyRow.modality.in_(wanted.modality))
    if wanted.kind:
        found.append(StudyRow.kind.in_(wanted.kind))
    if wanted.assignee is not None:
        nobody = wanted.assignee == NOBODY
        found.append(StudyRow.assignee.is_(None) if nobody else StudyRow.assignee == wanted.assignee)
    found.extend(_fits(store, word, named) for word in sorted(words(wanted.text)))
    return found


def _fits(store: Store, word: str, named: bool) -> ColumnElement[bool]:
    ways: list[ColumnElement[bool]] = [
        StudyRow.modality == word.upper(),
        StudyRow.body_part.startswith(word.upper(), autoescape=True),
        StudyRow.case_id.in_(select(CaseRow.id).where(CaseRow.pseudonym.startswith(word.upper(), autoescape=True))),
    ]
    if named:  # else a researcher could try names
        ways.append(StudyRow.case_id.in_(select(WordRow.case_id).where(WordRow.word == store.keys.blind("word", word))))
    return or_(*ways)


def _order(sort: str, descending: bool) -> list[ColumnElement[Any]]:
    """Of equals, what has waited longest comes first."""
    if sort == "age":
        return [StudyRow.arrived.asc() if descending else StudyRow.arrived.desc(), StudyRow.id]
    column = _assigned_to() if sort == "assignee" else _COLUMNS[sort]
    return [column.desc() if descending else column.asc(), StudyRow.arrived, StudyRow.id]


def _assigned_to() -> ColumnElement[str]:
    """The name a study is listed under when it is sorted by who it is assigned to, as in :func:`names_of`."""
    name = select(func.nullif(UserRow.name, "")).where(UserRow.subject == StudyRow.assignee).scalar_subquery()
    return func.coalesce(name, StudyRow.assignee, NOBODY)


def _row(store: Store, user: User, study: StudyRow, case: CaseRow, shown: bool, names: dict[str, str]) -> Row:
    arrived = told_of(user, study.arrived)
    description, patient = " ".join(filter(None, (study.modality, study.body_part))), case.pseudonym
    if allowed(user, Action.SEE_IDENTITY):
        description = study_details(store, study)["description"] or description
        identity = identity_of(store, case)
        patient = identity.name or identity.patient_id or patient
    return Row(
        study_id=study.id,
        case_id=case.id,
        kind=study.kind,
        modality=study.modality,
        description=description,
        status=study.status,
        model_state=study.model_state,
        urgency=study.urgency if shown and study.urgency > NOT_READ else None,
        label=study.label if shown else None,
        arrived=arrived,
        age_seconds=(store.now() - arrived).total_seconds(),
        assignee=study.assignee,
        assignee_name=names[study.assignee] if study.assignee else None,
        objects=study.objects,
        patient=patient,
        version=study.version,
    )


def study_details(store: Store, study: StudyRow) -> dict[str, str]:
    """``uid``, ``description``, ``acquired`` and ``accession`` of a study, unsealed."""
    return store.keys.unseal_json(study.details, f"study {study.id}")
