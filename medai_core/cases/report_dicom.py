"""What the DICOM reports share: texts that fit their value representations, the source's attributes, and new UIDs."""

from __future__ import annotations

import hashlib
import io
import json
import re
from typing import TYPE_CHECKING, Any

from medai_core import __version__
from medai_core.cases.report_facts import KINDS, ReportFacts, Source, clean
from medai_core.cases.report_json import as_json
from medai_core.errors import InputError, Message

if TYPE_CHECKING:
    from pydicom import Dataset

MANUFACTURER = "MedAI"
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
_IMAGES = "1.2.840.10008.5.1.4.1.1"
_SINGLE_FRAME = frozenset(f"{_IMAGES}.{part}" for part in (
    "1", "1.1", "1.1.1", "1.2", "1.2.1", "1.3", "1.3.1", "2", "4", "6.1", "7"
))  # fmt: skip
LONG, SHORT, GROUP = 64, 16, 64
"""Characters of LO, SH, and a component group of PN (PS3.5 6.2)."""

# Of a source's header these describe the picture and nobody in it (none is in PS3.15 Table E.1-1).
_PICTURE = (
    "SOPClassUID", "Modality", "Rows", "Columns", "NumberOfFrames", "PixelSpacing", "ImagerPixelSpacing",
    "ImageOrientationPatient", "ImagePositionPatient", "SliceThickness", "PatientOrientation", "BodyPartExamined",
    "Laterality", "LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod",
    "BurnedInAnnotation",
)  # fmt: skip
_FORMS = (
    {"SOPClassUID": r"[0-9.]{1,64}"}
    | dict.fromkeys(
        ("Modality", "BodyPartExamined", "Laterality", "LossyImageCompression", "BurnedInAnnotation"),
        r"[A-Z0-9 _]{1,16}",
    )
    | {"StudyDate": r"\d{8}", "StudyTime": r"\d{2,6}(\.\d{1,6})?"}
)
_STUDY = ("StudyDate", "StudyTime", "StudyID", "ReferringPhysicianName")


def only_scans(facts: ReportFacts, what: Message) -> None:
    """Refuse a study that is no scan.

    Raises
    ------
    InputError
        For an intensive-care stay or a row of a table.
    """
    if facts.kind != "scan":
        raise InputError("A {what} can be written for a scan only, and this study is of kind {kind}: choose FHIR, "
                         "PDF or JSON.", what=what, kind=KINDS[facts.kind])  # fmt: skip


def long_string(text: object, limit: int = LONG) -> str:
    r"""Text that fits LO or, with 16 characters, SH: one line, without the backslash that separates values."""
    return clean(str(text).replace("\\", "/"), limit)


def person_name(name: object) -> str:
    """Text that fits PN: at most three groups of 64 characters with five components, no control characters.

    A name of one component gets a trailing caret, which says that no other was meant.
    """
    groups = []
    for group in str(name).replace("\\", "/").split("=")[:3]:
        parts = [clean(part) for part in group.split("^", 4)]
        parts[-1] = parts[-1].replace("^", " ")
        while len("^".join(parts)) > GROUP:
            longest = max(range(len(parts)), key=lambda k: len(parts[k]))
            parts[longest] = parts[longest][:-1].rstrip()
        groups.append("^".join(parts) if len(parts) > 1 or not parts[0] else parts[0][: GROUP - 1] + "^")
    return "=".join(groups).rstrip("=")


def new_uid(facts: ReportFacts, what: str, *pixels: bytes) -> str:
    """The UID of a report object: another one as soon as anything in it is another."""
    told = json.dumps(as_json(facts), sort_keys=True)
    return facts.uid(what, told, *(hashlib.sha256(part).hexdigest() for part in pixels))


def evidence(facts: ReportFacts, source: Source) -> Dataset:
    """A source as the reports refer to it: its UIDs, patient and study, and what describes the picture.

    A source that was no DICOM becomes the Secondary Capture that
    :func:`medai_core.cases.report_capture.picture` writes.
    """
    from pydicom import Dataset

    found = Dataset()
    for keyword in _PICTURE:
        _copy(source.header, found, keyword)
    for keyword, value in {"SOPClassUID": SECONDARY_CAPTURE, "Modality": "OT"}.items():
        if not found.get(keyword):
            setattr(found, keyword, value)
    if source.image is not None and not (found.get("Rows") and found.get("Columns")):
        found.Rows, found.Columns = source.image.shape[:2]
    found.StudyInstanceUID, found.SeriesInstanceUID = facts.study, facts.series(source)
    found.SOPInstanceUID = facts.sop(source)
    _patient_and_study(facts, source, found)
    return found


def _patient_and_study(facts: ReportFacts, source: Source, found: Dataset) -> None:
    who = facts.identity
    found.SpecificCharacterSet = "ISO_IR 192"
    found.PatientName = person_name(who.person_name if who else facts.pseudonym)
    found.PatientID = long_string(who.patient_id if who else facts.pseudonym)
    found.PatientBirthDate = who.birth_date.strftime("%Y%m%d") if who and who.birth_date else ""
    found.PatientSex = who.sex if who and who.sex in ("F", "M", "O") else ""
    found.AccessionNumber = long_string(facts.accession, SHORT) if who else ""
    found.StudyDate = facts.study_date.strftime("%Y%m%d") if facts.study_date else ""
    for keyword in _STUDY:
        if keyword not in found:
            setattr(found, keyword, "")
        if who or keyword == "StudyTime":  # a time of day stays where days are moved
            _copy(source.header, found, keyword)
    if who and who.issuer:
        found.IssuerOfPatientID = long_string(who.issuer)


def _copy(header: Dataset | None, found: Dataset, keyword: str) -> None:
    """Copy one element if its value can be read, in a form that fits."""
    from pydicom.multival import MultiValue

    if header is None:
        return
    try:
        value = header.get(keyword)
    except Exception:  # pydicom converts on access, and a damaged value can raise anything
        return
    if value in (None, "") or (keyword in _FORMS and not re.fullmatch(_FORMS[keyword], str(value))):
        return
    if keyword == "ReferringPhysicianName":
        value = person_name(value)
    elif keyword == "StudyID":
        value = long_string("/".join(value) if isinstance(value, list | MultiValue) else value, SHORT)
    setattr(found, keyword, value)


def frame_read(image: Dataset, source: Source) -> int | None:
    """Which frame, from 1, a reading is of; None for an image of one frame, or that is of a class of such."""
    several = int(image.get("NumberOfFrames") or 1) > 1 and image.SOPClassUID not in _SINGLE_FRAME
    return source.answer.frame + 1 if several and source.answer and source.answer.status == "read" else None


def common(facts: ReportFacts, *, number: int, description: str) -> dict[str, Any]:
    """Arguments of highdicom's objects that every report has."""
    return {
        "series_number": number, "instance_number": 1, "manufacturer": MANUFACTURER,
        "manufacturer_model_name": "MedAI", "software_versions": long_string(__version__),
        "device_serial_number": "none", "series_description": long_string(description),
        "content_qualification": "RESEARCH",
    }  # fmt: skip


def finished(facts: ReportFacts, dataset: Dataset) -> Dataset:
    """Put the facts' time where highdicom put the clock's, so that the same facts give the same bytes.

    The carets with which :func:`person_name` ends names of one component go: the archive compares names as texts.
    """
    for keyword in ("PatientName", "ReferringPhysicianName"):
        bare = "=".join(group.rstrip("^") for group in str(dataset.get(keyword) or "").split("="))
        setattr(dataset, keyword, bare)
    for item in dataset.get("ContributingEquipmentSequence", ()):
        item.ContributionDateTime = facts.written.strftime("%Y%m%d%H%M%S")
    day, time = facts.written.strftime("%Y%m%d"), facts.written.strftime("%H%M%S")
    if facts.identity is None:  # PS3.3 C.7.1.1 and C.12.1
        dataset.PatientIdentityRemoved = "YES"
        dataset.DeidentificationMethod = "Written under a pseudonym, without identity"
        dataset.LongitudinalTemporalInformationModified = "MODIFIED" if facts.moved else "UNMODIFIED"
    for keyword in ("InstanceCreation", "Content", "Series"):
        setattr(dataset, f"{keyword}Date", day)
        setattr(dataset, f"{keyword}Time", time)
    return dataset


def to_bytes(dataset: Dataset) -> bytes:
    """The data set as a DICOM file."""
    file = io.BytesIO()
    dataset.save_as(file, enforce_file_format=True)
    return file.getvalue()
