"""Reports that were made here and come back, from a PACS that passes on all it gets or from a folder of exports.

They are no patient's images: read by a model, a picture with a heat map over it would make a study of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select
from sqlalchemy.orm import Session

from medai_core.cases.access import User
from medai_core.cases.answers import Receipt
from medai_core.cases.report_capture import is_result
from medai_core.cases.store import Store
from medai_core.cases.tables import ReportRow, StudyRow
from medai_core.errors import say
from medai_core.imaging.read import sniff

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

OWN = say("This is a report that was made here. It is kept with its study, and is not read as an image of a patient.")
RESULT = say("This picture is the result of an algorithm and no image of a patient.")


def returned(store: Store, user: User, data: bytes, name: str, source: str) -> Receipt | None:
    """The receipt of a report that was made here and is still known, with an event; None for everything else."""
    header = _result(data)
    if header is None:
        return None
    with store.writing() as session:
        report = made_here(store, session, str(header.get("SOPInstanceUID", "")))
        if report is None:
            return None
        study = session.get_one(StudyRow, report.study_id)
        store.record(session, user, "report came back", study.id, source=source, report=report.id)
        if not user.sees(study.department):
            return Receipt("duplicate", reason=OWN, name=name)
        return Receipt("duplicate", study.case_id, study.id, reason=OWN, name=name)


def made_here(store: Store, session: Session, sop_uid: str) -> ReportRow | None:
    """The report that has this SOP Instance UID."""
    return session.scalar(select(ReportRow).where(ReportRow.sop == store.keys.blind("sop", sop_uid)).limit(1))


def _result(data: bytes) -> Dataset | None:
    """The data set of a file that says it is a report of ours."""
    from medai_core.imaging.read_dicom import open_dicom

    if sniff(data) != "DICOM":
        return None
    try:
        header = open_dicom(data)
        return header if is_result(header) else None
    except Exception:
        # Bytes from outside through a parser that raises nearly anything on damage: the intake says what is wrong.
        return None
