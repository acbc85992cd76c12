"""What leaves the workspace: reports and files, de-identified unless a user who may asks for identity."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from medai_core.cases.access import Action, User, demand
from medai_core.cases.answers import Export
from medai_core.cases.folder import look, review_of
from medai_core.cases.intake import SCAN
from medai_core.cases.receive import identity_of
from medai_core.cases.report_answer import Answer
from medai_core.cases.report_codes import word
from medai_core.cases.store import Store, new_id
from medai_core.cases.tables import CaseRow, ObjectRow, ReadingRow, ReportRow, ReviewRow, StudyRow
from medai_core.cases.worklist import study_details
from medai_core.errors import InputError, MedAIError, Message, NotAllowed, say
from medai_core.imaging.read import sniff
from medai_core.imaging.read_kinds import RASTER_KINDS

if TYPE_CHECKING:
    from medai_core.cases.deidentify import Notes
    from medai_core.cases.report_facts import ReportFacts, ReviewFacts, Source
    from medai_core.imaging.report_text import Translate

DICOM, PDF, JSON, ZIP = "application/dicom", "application/pdf", "application/json", "application/zip"
FHIR, BYTES = "application/fhir+json", "application/octet-stream"
FILES = "dicom"
"""The kind of export that is the study's files themselves."""
_MIMES = {"sr": DICOM, "capture": DICOM, "fhir": FHIR, "pdf": PDF, "json": JSON}
_ENDINGS = {DICOM: "dcm", FHIR: "json", PDF: "pdf", JSON: "json"}
_FORMATS = {
    "DICOM": ("dcm", DICOM),
    "PNG": ("png", "image/png"),
    "JPEG": ("jpg", "image/jpeg"),
    "TIFF": ("tiff", "image/tiff"),
    "WebP": ("webp", "image/webp"),
    "GIF": ("gif", "image/gif"),
    "BMP": ("bmp", "image/bmp"),
    "NIfTI": ("nii", BYTES),
    "text": ("csv", "text/csv"),
}
_GZIP = b"\x1f\x8b"
KINDS = (*_MIMES, FILES)
WITH_HEAT_MAP = ("capture", "pdf")


@dataclass(frozen=True)
class _Study:
    """A study as it was when its export began."""

    row: StudyRow
    case: CaseRow
    objects: list[ObjectRow]
    answers: dict[str, Answer]
    reviews: list[ReviewRow]


def export(
    store: Store, user: User, study_id: str, kind: str, identified: bool, reveal: bool, translate: Translate
) -> Export:
    """Make an export; see :meth:`Workspace.export`."""
    if kind not in KINDS:
        raise InputError("`kind` must be one of {allowed}, got {value}", allowed=", ".join(KINDS), value=repr(kind))
    with store.reading() as session:
        study = _load(store, session, user, study_id)
        if kind != FILES:
            _require_shown(session, user, study_id, reveal)
    if kind == FILES:
        made = _files(store, study, identified)
    else:
        facts, warnings = facts_of(store, study, identified, heat_map=kind in WITH_HEAT_MAP)
        name = f"{study.case.pseudonym}-{study_id[:8]}-{kind}.{_ENDINGS[_MIMES[kind]]}"
        made = Export(_written(kind, facts, translate), name, _MIMES[kind], warnings)
    content = store.vault.put(made.data) if kind != FILES else None
    with store.writing() as session:
        store.study(session, user, study_id)  # it may have been forgotten meanwhile
        if content is not None:
            if not store.vault.holds(content):
                store.vault.put(made.data)
            row = ReportRow(id=new_id(), study_id=study_id, kind=kind, mime=made.mime, content=content,
                            sop=_blind_uid(store, made), identified=identified, by=user.subject,
                            at=store.now())  # fmt: skip
            session.add(row)
            if study.answers:
                _note_revealed(store, session, user, study_id)
        store.record(session, user, "exported", study_id, kind=kind, identified=identified)
    return made


def _require_shown(session: Session, user: User, study_id: str, reveal: bool) -> None:
    """Hold back a report from who is to read first, as the page holds back the readings themselves."""
    own = select(ReviewRow.id).where(ReviewRow.study_id == study_id, ReviewRow.reader == user.subject)
    read = select(ReadingRow.id).where(ReadingRow.study_id == study_id)
    if not reveal and session.scalar(own.limit(1)) is None and session.scalar(read.limit(1)) is not None:
        raise NotAllowed("Reports hold the model's answer: commit your own reading of this study first.")


def _note_revealed(store: Store, session: Session, user: User, study_id: str) -> None:
    """Keep since when the user may know what the model said: a later review is not made first."""
    seen = look(session, user, study_id)
    seen.revealed = seen.revealed or store.now()


def _blind_uid(store: Store, made: Export) -> str | None:
    """Under which a DICOM report is recognised when it comes back."""
    if made.mime != DICOM:
        return None
    import pydicom

    header = pydicom.dcmread(io.BytesIO(made.data), stop_before_pixels=True, specific_tags=["SOPInstanceUID"])
    return store.keys.blind("sop", str(header.SOPInstanceUID))


def kept(store: Store, user: User, report_id: str, reveal: bool) -> Export:
    """A report that was made before; see :meth:`Workspace.report`."""
    with store.reading() as session:
        row = session.get(ReportRow, report_id)
        study = store.study(session, user, row.study_id if row else "")
        _require_shown(session, user, study.id, reveal)
        pseudonym = session.get_one(CaseRow, study.case_id).pseudonym
        if row.identified:
            demand(user, Action.EXPORT_IDENTIFIED)
    data = store.vault.get(row.content)
    with store.writing() as session:
        store.study(session, user, study.id)  # it may have been forgotten meanwhile
        _note_revealed(store, session, user, study.id)
        about = {"kind": row.kind, "identified": row.identified, "report": report_id}
        store.record(session, user, "exported", study.id, **about)
    return Export(data, f"{pseudonym}-{study.id[:8]}-{row.kind}.{_ENDINGS[row.mime]}", row.mime)


def content(store: Store, user: User, object_id: str, identified: bool) -> bytes:
    """The bytes of one file; see :meth:`Workspace.content`."""
    with store.reading() as session:
        row = store.object(session, user, object_id)
        case = session.get_one(CaseRow, session.get_one(StudyRow, row.study_id).case_id)
    data = store.vault.get(row.content)
    return data if identified else _without_identity(store, case, data)[0]


def _load(store: Store, session: Session, user: User, study_id: str) -> _Study:
    row = store.study(session, user, study_id)
    objects = select(ObjectRow).where(ObjectRow.study_id == study_id).order_by(ObjectRow.arrived, ObjectRow.id)
    readings = select(ReadingRow).where(ReadingRow.study_id == study_id).order_by(ReadingRow.at, ReadingRow.id)
    reviews = select(ReviewRow).where(ReviewRow.study_id == study_id).order_by(ReviewRow.version)
    answers = {one.object_id: Answer.from_dict(one.answer) for one in session.scalars(readings)}
    case = session.get_one(CaseRow, row.case_id)
    return _Study(row, case, list(session.scalars(objects)), answers, list(session.scalars(reviews)))


# --------------------------------------------------------------------------------------------------- files


def _without_identity(store: Store, case: CaseRow, data: bytes) -> tuple[bytes, Notes]:
    from medai_core.cases.deidentify_files import deidentify_file

    key = store.keys.derive("de-identification")
    return deidentify_file(data, key=key, patient=case.id, pseudonym=case.pseudonym)


def _files(store: Store, study: _Study, identified: bool) -> Export:
    """The study's files: one as it is, several as a ZIP archive.

    A picture that was no DICOM goes with the Secondary Capture of it that the DICOM reports refer to.
    """
    files, warnings, stem = [], [], f"{study.case.pseudonym}-{study.row.id[:8]}"
    for number, one in enumerate(study.objects, 1):
        data = store.vault.get(one.content)
        if not identified:
            data, notes = _without_identity(store, study.case, data)
            warnings.extend(notes.warnings)
        # Not by what came: without identity some pictures are written anew in another format.
        ending, mime = _FORMATS.get(sniff(data), ("bin", BYTES))
        packed = ".gz" if data.startswith(_GZIP) else ""
        files.append((f"{stem}-{number}.{ending}{packed}", data, mime))
    files += [(f"{stem}-{number}.dcm", data, DICOM) for number, data in _pictures(store, study, identified)]
    told = _once(warnings)
    if len(files) == 1:
        name, data, mime = files[0]
        return Export(data, name, mime, told)
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, data, _ in files:
            packed.writestr(zipfile.ZipInfo(name), data)  # without the time of day at which it was packed
    return Export(archive.getvalue(), f"{stem}.zip", ZIP, told)


def _pictures(store: Store, study: _Study, identified: bool) -> Iterator[tuple[int, bytes]]:
    """The Secondary Captures of the study's pictures, each with the number of its object."""
    if not any(one.format in RASTER_KINDS for one in study.objects):
        return
    from medai_core.cases.report_capture import picture

    facts, _ = facts_of(store, study, identified)
    for number, (one, source) in enumerate(zip(study.objects, facts.sources, strict=True), 1):
        if one.format in RASTER_KINDS and source.image is not None:
            yield number, picture(facts, source)


def _once(warnings: Iterable[Message]) -> tuple[Message, ...]:
    """Each sentence once, in their order."""
    return tuple({str(warning): warning for warning in warnings}.values())


# ------------------------------------------------------------------------------------------------- reports


def _written(kind: str, facts: ReportFacts, translate: Translate) -> bytes:
    # Each brings libraries of its own, which the others do not need.
    if kind == "sr":
        from medai_core.cases.report_sr import sr as write
    elif kind == "capture":
        from medai_core.cases.report_capture import capture as write
    elif kind == "pdf":
        from medai_core.cases.report_pdf import pdf

        return pdf(facts, translate=translate)
    else:
        return json.dumps(_json_writer(kind)(facts), ensure_ascii=False, indent=1).encode()
    return write(facts)


def _json_writer(kind: str) -> Callable[[ReportFacts], dict[str, Any]]:
    if kind == "fhir":
        from medai_core.cases.report_fhir import fhir

        return fhir
    from medai_core.cases.report_json import as_json

    return as_json


def facts_of(
    store: Store, study: _Study, identified: bool, heat_map: bool = False
) -> tuple[ReportFacts, tuple[Message, ...]]:
    """The facts of a study for its report, and what a person should look at before it leaves the house.

    Without identity, times are moved by the patient's days, UIDs are mapped as in exported files, and what people
    wrote in their own words is left out.
    """
    from medai_core.cases.deidentify_values import Disguise
    from medai_core.cases.report_facts import ReportFacts

    details, who = study_details(store, study.row), identity_of(store, study.case)
    key = store.keys.derive("de-identification")
    disguise, warnings = Disguise(key, study.case.id, study.case.pseudonym), list[Message]()
    sources = []
    for one in study.objects:
        source, told = _source(store, study, one, identified, heat_map)
        sources.append(source)
        warnings.extend(told)
    uid = details["uid"] or ""
    facts = ReportFacts(
        kind=study.row.kind,
        sources=tuple(sources),
        key=store.keys.derive("report UIDs"),
        pseudonym=study.case.pseudonym,
        arrived=study.row.arrived,
        written=store.now(),
        study_uid=uid if identified else disguise.uid(uid),
        reviews=tuple(_review(store, row, identified) for row in study.reviews),
        study_date=date.fromisoformat(details["acquired"]) if details["acquired"] else None,
        description=details["description"] if identified else f"{study.row.modality} {study.row.body_part}".strip(),
    )
    if not identified:
        return facts.shifted(-timedelta(days=disguise.shift_days)), _once(warnings)
    return replace(facts, identity=who, accession=details["accession"]), ()


def _review(store: Store, row: ReviewRow, identified: bool) -> ReviewFacts:
    from medai_core.cases.report_facts import ReviewFacts

    said = review_of(store, row, identified)
    return ReviewFacts(
        label=said.label,
        committed=said.at,
        agrees=said.agrees,
        reason=said.reason,
        findings={str(name): str(value) for name, value in said.findings.items()},
        reader=said.reader_name if identified else None,
        first=said.first,
        seconds=said.seconds,
        also=said.also,
    )


def _source(
    store: Store, study: _Study, one: ObjectRow, identified: bool, heat_map: bool
) -> tuple[Source, Iterable[Message]]:
    from medai_core.cases.report_facts import Source

    data, warnings = store.vault.get(one.content), ()
    answer = study.answers.get(one.id)
    if not identified:
        data, notes = _without_identity(store, study.case, data)
        warnings = notes.warnings
    source = Source(hashlib.sha256(data).hexdigest(), answer)
    if study.row.kind != SCAN:
        return source, warnings
    if one.format == "DICOM":
        source = replace(source, **_header(data))
    return replace(source, **_picture(data, answer), **(_heat(store, data, answer) if heat_map else {})), warnings


def _header(data: bytes) -> dict[str, Any]:
    from medai_core.imaging.read_dicom import open_image

    header = open_image(data)
    for name in ("PixelData", "FloatPixelData", "DoubleFloatPixelData"):
        header.pop(name, None)
    return {
        "header": header,
        "sop_uid": str(header.get("SOPInstanceUID", "")),
        "series_uid": str(header.get("SeriesInstanceUID", "")),
    }


def _picture(data: bytes, answer: Answer | None) -> dict[str, Any]:
    from medai_core.imaging.read import read_scan

    try:
        return {"image": read_scan(data, frame=answer.frame if answer and answer.frames > 1 else None).display}
    except MedAIError:  # kept all the same: its report says that it could not be read
        return {}


def _heat(store: Store, data: bytes, answer: Answer | None) -> dict[str, Any]:
    """The heat map over the picture as the network saw it; nothing where there is no answer to explain."""
    if answer is None or answer.status != "read":
        return {}
    from medai_core.imaging.heatmap import overlay

    reader = store.load_reader()
    frame = answer.frame if answer.frames > 1 else None
    reading = reader.read(data, model=answer.model, frame=frame, demonstration=True)  # it was let through before
    explanation = reader.explain(reading, method="grad_cam")
    about = say("Grad-CAM of {label}, on the picture as the network saw it", label=word(explanation.label))
    return {"overlay": overlay(reading.prepared, explanation.heat), "explained": about}
