"""From bytes to what the workspace needs to know of a file before anything is decoded."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from medai_core.cases.answers import Identity
from medai_core.cases.report_capture import is_result
from medai_core.cases.report_facts import person
from medai_core.errors import InputError, MedAIError, RefusedInput
from medai_core.imaging.read import sniff, unpack, unreadable
from medai_core.imaging.read_kinds import RASTER_KINDS, refuse_kind
from medai_core.settings import settings

if TYPE_CHECKING:
    import pandas as pd
    from pydicom.dataset import Dataset

SCAN, STAY, ROW = "scan", "stay", "row"
MODALITIES = {STAY: "ICU", ROW: "TABLE"}
MAX_NAME_CHARS = 200
_CODE = re.compile(r"[A-Z0-9 _]{1,16}")  # value representation CS (PS3.5 6.2): too narrow for free text to hide in


@dataclass(frozen=True)
class Found:
    """What a file is.

    Attributes
    ----------
    kind : {"scan", "stay", "row"}
    format : str
        ``DICOM``, ``PNG``, …, ``NIfTI``, ``stay`` or ``row``.
    identity : Identity or None
        As a DICOM file states it.
    study_uid, sop_uid : str or None
        Of a DICOM file.
    result : bool
        It says that it is a picture MedAI made, not one of a patient.
    """

    kind: str
    format: str
    modality: str = "OT"
    body_part: str = ""
    description: str = ""
    acquired: date | None = None
    accession: str = ""
    identity: Identity | None = None
    study_uid: str | None = None
    sop_uid: str | None = None
    result: bool = False


def look_at(data: bytes) -> Found:
    """Say what a file is, by its content; of a picture its header alone is read.

    Raises
    ------
    InputError
        If it cannot be read, or is of no kind known here.
    RefusedInput
        If it can be read and holds nothing to be read in a case.
    """
    limit = settings().max_file_mb
    if len(data) > limit * 1_000_000:
        raise InputError("The file is larger than the {limit} MB read here.", limit=limit)
    kind = sniff(data)
    if kind == "DICOM":
        return _dicom(data)
    if kind in (*RASTER_KINDS, "NIfTI"):
        return Found(SCAN, kind)
    if kind == "text":
        return _text(data)
    raise refuse_kind(kind)


def parts(data: bytes, name: str) -> Iterator[tuple[str, bytes, MedAIError | None]]:
    """The files in a file, named: those of a ZIP archive, the rows of a table, else the file itself."""
    for member in unpack(data, name):
        frame = None
        if member.error is None and sniff(member.data) == "text":
            frame = _known_table(member.data)
        if frame is None or len(frame) < 2:
            yield member.name, member.data, member.error
            continue
        for k in range(len(frame)):
            yield f"{member.name}, row {k + 1}", frame.iloc[[k]].to_csv(index=False).encode(), None


def plain_name(name: str) -> str:
    """A file's name without folders and control characters."""
    last = PurePosixPath(name.replace("\\", "/")).name
    return "".join(c for c in last if c.isprintable())[:MAX_NAME_CHARS]


def words(text: str) -> set[str]:
    """Words by which something is found, in one spelling."""
    return {word for word in re.split(r"[\s^=,()]+", text.casefold()) if word}


# --------------------------------------------------------------------------------------------------- DICOM


def _dicom(data: bytes) -> Found:
    from medai_core.imaging.read_dicom import open_image

    try:
        ds = open_image(data)
        _require_whole_pixels(ds)
        return _header(ds)
    except MedAIError:
        raise
    except Exception as error:  # as in read_scan: given damaged bytes pydicom raises nearly anything
        raise unreadable("DICOM", error) from error


def _require_whole_pixels(ds: Dataset) -> None:
    """Refuse what ends in the middle of its pixels, like a broken copy: kept, it would bar the whole one from entry."""
    from pydicom.pixels.utils import get_expected_length

    if "PixelData" not in ds or ds.file_meta.TransferSyntaxUID.is_encapsulated:
        return
    if len(ds.get_item("PixelData").value or b"") < get_expected_length(ds):
        raise InputError("The {kind} file is cut off: it ends before the image does.", kind="DICOM")


def _header(ds: Dataset) -> Found:
    sop, study = str(ds.get("SOPInstanceUID") or ""), str(ds.get("StudyInstanceUID") or "")
    if not sop or not study:
        raise InputError("The DICOM file lacks the UID of its instance or its study.")
    return Found(
        SCAN,
        "DICOM",
        modality=_code(ds, "Modality") or "OT",
        body_part=_code(ds, "BodyPartExamined"),
        description=_shown(ds.get("StudyDescription") or ds.get("SeriesDescription")),
        acquired=_date(ds.get("StudyDate") or ds.get("AcquisitionDate")),
        accession=_shown(ds.get("AccessionNumber")),
        identity=Identity(
            name=_shown(person(str(ds.get("PatientName") or ""))),
            patient_id=_shown(ds.get("PatientID")),
            issuer=_shown(ds.get("IssuerOfPatientID")),
            birth_date=_date(ds.get("PatientBirthDate")),
            sex=_code(ds, "PatientSex"),
            person_name=_shown(ds.get("PatientName")),
        ),
        study_uid=study,
        sop_uid=sop,
        result=is_result(ds),
    )


def _code(ds: Dataset, keyword: str) -> str:
    text = str(ds.get(keyword) or "").strip().upper()
    return text if _CODE.fullmatch(text) else ""


def _shown(value: Any) -> str:
    text = str(value or "").replace("\r", " ").replace("\n", " ")
    return "".join(c for c in text if c.isprintable()).strip()[:MAX_NAME_CHARS]


def _date(value: Any) -> date | None:
    try:
        return datetime.strptime(str(value or "").strip(), "%Y%m%d").date()
    except ValueError:
        return None


# -------------------------------------------------------------------------------------------- stay or row


def _text(data: bytes) -> Found:
    from medai_core.icu.records import read_stay

    try:
        read_stay(data)
    except RefusedInput:
        raise
    except InputError as error:
        frame = _known_table(data)
        if frame is None:
            raise error
        if len(frame) != 1:
            raise InputError("A table must have one row to be one study, got {rows}.", rows=len(frame)) from None
        return Found(ROW, ROW, MODALITIES[ROW])
    return Found(STAY, STAY, MODALITIES[STAY])


def _known_table(data: bytes) -> pd.DataFrame | None:
    """The rows of a table that a shipped model was made for, None for any other text."""
    from medai_core.tabular.breast_cancer import FEATURES, read_breast_cancer

    try:
        return read_breast_cancer(data).frame[list(FEATURES)]
    except MedAIError:
        return None
