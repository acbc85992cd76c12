"""Taking files in: stored, filed under patient and study, and acknowledged only when both are on the disk."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from medai_core.cases.access import DEFAULT_GROUP, User
from medai_core.cases.answers import Identity, Receipt
from medai_core.cases.intake import Found, look_at, plain_name, words
from medai_core.cases.returned import RESULT, made_here, returned
from medai_core.cases.sameness import same_object
from medai_core.cases.store import Store, new_id
from medai_core.cases.tables import WAITING, CaseRow, ObjectRow, StudyRow, WordRow
from medai_core.errors import InputError, MedAIError, Message, say

SOURCES = ("upload", "folder", "c-store", "dicomweb")
OTHER_CONTENT = say("Another file with the same SOP Instance UID is here already.")
OTHER_PATIENT = say("The file names another patient than the case it was given for.")
KNOWN = say("This file is here already.")


@dataclass(frozen=True)
class _File:
    """A file on its way in: `content` is its address in the vault, `sop` the blind index of its UID."""

    name: str
    source: str
    content: str
    sop: str | None
    size_bytes: int


def receive(
    store: Store, user: User, data: bytes, name: str, source: str, case_id: str | None, group: str | None
) -> Receipt:
    """Take one file in; see :meth:`Workspace.receive`."""
    if source not in SOURCES:
        raise InputError("`source` must be one of {allowed}, got {value}", allowed=", ".join(SOURCES), value=source)
    department, name = _department(user, group), plain_name(name)
    try:
        found = look_at(data)
    except MedAIError as error:
        return returned(store, user, data, name, source) or _refused(store, user, name, source, error.message)
    if found.result:
        return returned(store, user, data, name, source) or _refused(store, user, name, source, RESULT)
    sop = store.keys.blind("sop", found.sop_uid) if found.sop_uid else None
    file = _File(name, source, store.vault.put(data), sop, len(data))
    receipt = _filed(store, user, data, found, file, case_id, department)
    store.arrived = time.monotonic()
    if receipt.status == "refused":
        store.remove_doomed()
    return receipt


def _filed(
    store: Store, user: User, data: bytes, found: Found, file: _File, case_id: str | None, department: str
) -> Receipt:
    """File what is stored already, in one transaction; once it is kept, the file is acknowledged."""
    with store.writing() as session:
        case = store.case(session, user, case_id) if case_id else None
        department = case.department if case else department
        if known := _known(session, department, file):
            return _again(store, session, user, known, file)
        if found.sop_uid and (report := made_here(store, session, found.sop_uid)) is not None:
            return _turned_away(store, session, user, report.study_id, file, OTHER_CONTENT)
        if not store.vault.holds(file.content):  # it was somebody else's a moment ago, and has just been forgotten
            store.vault.put(data)
        patient = patient_key(store, found)
        if case is not None and patient not in (None, case.patient):
            return _turned_away(store, session, user, case.id, file, OTHER_PATIENT)
        case = case or _case(store, session, department, patient, found)
        study = _study(store, session, case, found, file.name)
        _add_words(store, session, case, found)
        row = _object(store, session, study, found, file)
        about = {"source": file.source, "kind": found.kind, "modality": found.modality}
        store.record(session, user, "received", row.id, **about, study=study.id, case=case.id)
        return Receipt("new", case.id, study.id, row.id, name=file.name)


def patient_key(store: Store, found: Found) -> str | None:
    """Blind index of who a file is about; None where the file does not say.

    Number and issuer alone are not enough: many hospitals count from 1 and name no issuer. A file without a patient
    number belongs with the others of its study.
    """
    if found.identity is None:
        return None
    who = found.identity
    if not who.patient_id:
        return store.keys.blind("patient of study", found.study_uid or "")
    return store.keys.blind("patient", who.patient_id, who.issuer, str(who.birth_date or ""))


def identity_of(store: Store, case: CaseRow) -> Identity:
    """The identity of a case, unsealed; empty where none is known."""
    if case.identity is None:
        return Identity()
    known = store.keys.unseal_json(case.identity, f"identity {case.id}")
    birth = known["birth_date"]
    return Identity(**known | {"birth_date": date.fromisoformat(birth) if birth else None})


def _department(user: User, group: str | None) -> str:
    if group is None:
        return DEFAULT_GROUP if user.sees(DEFAULT_GROUP) or not user.groups else min(user.groups)
    if not user.sees(group):
        raise InputError("`group` must be one of your groups, got {value}", value=group)
    return group


def _known(session: Session, department: str, file: _File) -> ObjectRow | None:
    same = ObjectRow.content == file.content
    if file.sop:
        same |= ObjectRow.sop == file.sop
    rows = session.scalars(select(ObjectRow).where(ObjectRow.department == department, same)).all()
    return next((row for row in rows if row.content == file.content), rows[0] if rows else None)


def _again(store: Store, session: Session, user: User, known: ObjectRow, file: _File) -> Receipt:
    if known.content != file.content:
        if not same_object(store.vault.get(known.content), store.vault.get(file.content)):
            return _turned_away(store, session, user, known.id, file, OTHER_CONTENT)
        store.doom(session, file.content)  # the same object in another encoding: the first is kept
    study = session.get_one(StudyRow, known.study_id)
    return Receipt("duplicate", study.case_id, study.id, known.id, KNOWN, file.name)


def _turned_away(store: Store, session: Session, user: User, about: str, file: _File, why: Message) -> Receipt:
    store.doom(session, file.content)  # it may be on the disk for nothing
    store.record(session, user, "turned away", about, source=file.source, reason=why.template)
    return Receipt("refused", reason=why, name=file.name)


def _refused(store: Store, user: User, name: str, source: str, why: Message) -> Receipt:
    with store.writing() as session:  # the template alone: its values may quote the file
        store.record(session, user, "turned away", "", source=source, reason=why.template)
    return Receipt("refused", reason=why, name=name)


def _case(store: Store, session: Session, department: str, patient: str | None, found: Found) -> CaseRow:
    if patient is not None:
        same = (CaseRow.department == department) & (CaseRow.patient == patient)
        if (known := session.scalar(select(CaseRow).where(same))) is not None:
            return known
    case_id, identity = new_id(), None
    if found.identity is not None:
        plain = asdict(found.identity) | {"birth_date": str(found.identity.birth_date or "")}
        identity = store.keys.seal_json(plain, f"identity {case_id}")
    case = CaseRow(
        id=case_id,
        department=department,
        patient=patient,
        pseudonym=store.keys.pseudonym(case_id),
        identity=identity,
        created=store.now(),
    )
    session.add(case)
    session.flush()  # without mapped relationships the order of inserts is ours to keep
    return case


def _study(store: Store, session: Session, case: CaseRow, found: Found, name: str) -> StudyRow:
    """The study a file belongs to. One that was reviewed is new again: nobody has seen this file."""
    now, uid = store.now(), store.keys.blind("study", found.study_uid) if found.study_uid else None
    known = (StudyRow.case_id == case.id) & (StudyRow.uid == uid)
    study = session.scalar(select(StudyRow).where(known)) if uid else None
    if study is None:
        study_id = new_id()
        details: dict[str, Any] = {
            "uid": found.study_uid,
            "description": found.description or name,
            "acquired": str(found.acquired or ""),
            "accession": found.accession,
        }
        study = StudyRow(
            id=study_id,
            case_id=case.id,
            department=case.department,
            uid=uid,
            kind=found.kind,
            modality=found.modality,
            body_part=found.body_part,
            details=store.keys.seal_json(details, f"study {study_id}"),
            status="new",
            objects=0,
            version=0,
        )
        session.add(study)
    if study.reviewed or study.status == "refused":
        study.status = "reading" if study.assignee else "new"
    study.reviewed, study.model_state, study.arrived = False, WAITING, now
    study.objects, study.version = study.objects + 1, study.version + 1
    session.flush()
    return study


def _object(store: Store, session: Session, study: StudyRow, found: Found, file: _File) -> ObjectRow:
    object_id = new_id()
    row = ObjectRow(
        id=object_id,
        study_id=study.id,
        department=study.department,
        content=file.content,
        sop=file.sop,
        format=found.format,
        size_bytes=file.size_bytes,
        name=store.keys.seal(file.name.encode(errors="replace"), f"name {object_id}"),
        source=file.source,
        arrived=store.now(),
        model_state=WAITING,
    )
    session.add(row)
    return row


def _add_words(store: Store, session: Session, case: CaseRow, found: Found) -> None:
    if found.identity is None:
        return
    plain = words(
        f"{found.identity.name} {found.identity.patient_id} {found.accession}".replace("(", " ").replace(")", " ")
    )
    wanted = {store.keys.blind("word", word) for word in plain}
    there = session.scalars(select(WordRow.word).where(WordRow.case_id == case.id, WordRow.word.in_(wanted)))
    session.add_all(WordRow(word=word, case_id=case.id) for word in wanted - set(there))
