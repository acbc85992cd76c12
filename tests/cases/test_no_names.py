"""Nothing that identifies a patient lies in clear on the disk, in the log or in a file name."""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path

import pytest
from drawn_dicom import draw, encoded
from quick_reader import QuickReader
from sqlalchemy import select

from medai_core.cases.access import LOCAL, Role, User
from medai_core.cases.answers import Filter, ReviewInput
from medai_core.cases.backup import backup
from medai_core.cases.tables import Base
from medai_core.cases.worker import Worker
from medai_core.errors import MedAIError

PLANTED = {
    "PatientName": "Qzxname^Planted",
    "PatientID": "QzxId77",
    "IssuerOfPatientID": "QzxIssuer",
    "AccessionNumber": "QzxAcc",
    "PatientBirthDate": "19310407",
    "StudyDate": "20190813",
    "StudyDescription": "QzxStudy of Planted",
    "StudyID": "QzxStudyId",
    "SeriesDescription": "QzxSeries",
    "BodyPartExamined": "QZXBODY",
    "InstitutionName": "QzxHouse",
    "PatientAddress": "QzxStreet",
    "ReferringPhysicianName": "QzxDoctor",
    "StudyInstanceUID": "1.2.777777.1",
    "SOPInstanceUID": "1.2.777777.2",
}
WORDS = [
    b"Qzxname",
    b"Planted",
    b"QzxId77",
    b"QzxIssuer",
    b"QzxAcc",
    b"19310407",
    b"1931-04-07",
    b"20190813",
    b"2019-08-13",
    b"QzxStudy",
    b"QzxSeries",
    b"QzxHouse",
    b"QzxStreet",
    b"QzxDoctor",
    b"1.2.777777",
    b"QzxFile",
    b"QzxReason",
    b"QzxFinding",
    b"QzxLabel",
]


@pytest.fixture
def used(workspace, caplog):
    """A workspace in which every call has met the planted names."""
    caplog.set_level(logging.DEBUG)
    got = workspace.receive(LOCAL, encoded(draw(1, **PLANTED)), "QzxFile Planted.dcm")
    second = encoded(
        draw(2, **PLANTED | {"PatientID": "QzxId77", "StudyID": "crash", "SOPInstanceUID": "1.2.777777.3"})
    )
    workspace.receive(LOCAL, second, "QzxFile.dcm")
    workspace.receive(LOCAL, second[:700], "QzxFile.dcm")
    workspace.receive(LOCAL, encoded(draw(3, **PLANTED)), "QzxFile.dcm")
    workspace.receive(LOCAL, b"Time,Parameter,QzxName\n1,HR,Planted\n", "QzxFile.csv")
    Worker(workspace, QuickReader).work()
    workspace.worklist(LOCAL, Filter(text="Qzxname Planted QzxId77"))
    workspace.case(LOCAL, got.case_id)
    workspace.opened(LOCAL, got.study_id)
    version = workspace.worklist(LOCAL).rows[0].version
    findings = {"where": "QzxFinding Planted"}
    workspace.review(
        LOCAL, got.study_id, ReviewInput("QzxLabel Planted", findings, False, "QzxReason Planted"), version
    )
    nosy = User("nosy", "Nosy", frozenset({Role.READER}))
    for call in (workspace.case, workspace.opened, workspace.content):
        with pytest.raises(MedAIError):
            call(nosy, "Qzxname Planted")
    return workspace


def places(*folders: Path) -> list[tuple[str, bytes]]:
    return [(str(path), path.read_bytes()) for folder in folders for path in folder.rglob("*") if path.is_file()]


def test_no_planted_word_lies_anywhere_in_clear(used, tmp_path, caplog, monkeypatch):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    backup(used, LOCAL, tmp_path / "all.tar")
    found = [*places(tmp_path), ("log", caplog.text.encode()), ("audit", "".join(used.audit_csv(LOCAL)).encode())]
    with used.store.reading() as session:
        found += [(t.name, repr(session.execute(select(t)).all()).encode()) for t in Base.metadata.sorted_tables]
    told = {(name, word) for name, data in found for word in WORDS if word in data or word in name.encode()}
    assert not told
    assert any(b"QZXBODY" in data for _, data in found), "what is kept in clear on purpose is found: the search works"


def test_forgetting_removes_bytes_and_rows_and_leaves_the_event(used):
    case_id = used.worklist(LOCAL).rows[0].case_id
    addresses = [path.name for path in used.store.vault.folder.glob("*/*")]
    used.forget(LOCAL, case_id)
    assert len(addresses) == 2 and used.store.vault.size_bytes() == 0
    with used.store.reading() as session:
        left = {t.name: len(session.execute(select(t)).all()) for t in Base.metadata.sorted_tables}
    assert {name for name, count in left.items() if count} == {"events", "ledger", "users"}
    event = used.events(LOCAL, action="forgot").events[0]
    assert (event.object, event.details) == (case_id, {"reason": "request", "files": 2})
    if used.store.database.name == "SQLite":
        whole = b"".join(data for _, data in places(used.store.settings.data_dir))
        assert addresses[0].encode() not in whole, "not even the address is left in the database or its journal"
    assert used.verify_audit(LOCAL).ok
