"""What leaves the workspace: every kind of report, with and without identity, kept and logged."""

from __future__ import annotations

import io
import json
import zipfile
from types import SimpleNamespace

import numpy as np
import pydicom
import pytest
from drawn_dicom import draw, encoded
from pydicom.uid import generate_uid
from pypdf import PdfReader
from quick_reader import QuickReader

from medai_core.bench import drawn_stay
from medai_core.cases.access import LOCAL, Role, User
from medai_core.cases.answers import ReviewInput
from medai_core.cases.worker import Worker
from medai_core.errors import InputError, MedAIError, NotAllowed, NotFound

RESEARCHER = User("s", "Researcher", frozenset({Role.RESEARCHER}))
READER = User("r", "Reader", frozenset({Role.READER}))
WHO = {"PatientName": "Qzxname^Planted", "PatientID": "QzxId77", "AccessionNumber": "QzxAcc", "StudyDate": "20190813"}
MIMES = {
    "sr": "application/dicom",
    "capture": "application/dicom",
    "fhir": "application/fhir+json",
    "pdf": "application/pdf",
    "json": "application/json",
    "dicom": "application/dicom",
}


class ExplainingReader(QuickReader):
    """A reader whose heat map is the image itself."""

    def read(self, data, **_):
        return SimpleNamespace(prepared=np.linspace(0, 1, 128 * 128, dtype=np.float32).reshape(128, 128))

    def explain(self, reading, **_):
        return SimpleNamespace(heat=reading.prepared, label="viral")


@pytest.fixture
def study(sqlite_workspace):
    """A reviewed study of one file, and the workspace it is in."""
    sqlite_workspace.store.load_reader = ExplainingReader
    got = sqlite_workspace.receive(LOCAL, encoded(draw(1, **WHO)), "QzxFile.dcm")
    Worker(sqlite_workspace, QuickReader).work()
    findings = {"where": "QzxFinding"}
    sqlite_workspace.review(READER, got.study_id, ReviewInput("normal", findings, True, "QzxReason"), 1)
    return sqlite_workspace, got


def text_of(data: bytes, mime: str) -> str:
    """All that a file says, compressed or not."""
    if mime == "application/pdf":
        return "\n".join(page.extract_text() for page in PdfReader(io.BytesIO(data)).pages)
    return data.decode("latin-1")


@pytest.mark.parametrize("identified", [False, True], ids=["without", "with"])
@pytest.mark.parametrize("kind", MIMES)
def test_each_kind_with_and_without_identity(study, kind, identified):
    workspace, got = study
    made = workspace.export(READER, got.study_id, kind, identified=identified)
    assert made.mime == MIMES[kind] and "Qzx" not in made.name and made.name.startswith("P-")
    said = text_of(made.data, made.mime)
    assert ("QzxId77" in said) == identified
    if not identified:
        assert not [word for word in ("Qzx", "Planted", "20190813", "2019-08-13") if word in said]
        assert workspace.case(RESEARCHER, got.case_id).pseudonym in said
    (event,) = workspace.events(LOCAL, action="exported").events
    assert event.details == {"kind": kind, "identified": identified} and event.object == got.study_id
    reports = workspace.case(LOCAL, got.case_id).studies[0].reports
    if kind == "dicom":
        assert reports == (), "the files are here already"
    else:
        assert workspace.report(READER, reports[0].report_id).data == made.data
        assert (reports[0].kind, reports[0].identified, reports[0].by) == (kind, identified, "r")


def test_files_and_reports_without_identity_point_at_one_another(study):
    workspace, got = study
    file = pydicom.dcmread(io.BytesIO(workspace.export(RESEARCHER, got.study_id, "dicom").data))
    for kind in ("sr", "capture"):
        report = pydicom.dcmread(io.BytesIO(workspace.export(RESEARCHER, got.study_id, kind).data))
        assert report.StudyInstanceUID == file.StudyInstanceUID and report.PatientID == file.PatientID
        assert file.SOPInstanceUID.encode() in encoded(report)
    original = pydicom.dcmread(io.BytesIO(workspace.content(READER, got.object_id)))
    assert file.StudyInstanceUID != original.StudyInstanceUID and file.StudyDate < original.StudyDate


def test_an_identified_file_is_the_one_that_came(study):
    workspace, got = study
    made = workspace.export(READER, got.study_id, "dicom", identified=True)
    assert made.data == workspace.content(READER, got.object_id)


def test_what_names_the_patient_is_for_those_who_may(study):
    workspace, got = study
    workspace.export(READER, got.study_id, "json", identified=True)
    report = workspace.case(READER, got.case_id).studies[0].reports[0]
    for refused in (
        lambda: workspace.export(RESEARCHER, got.study_id, "json", identified=True),
        lambda: workspace.report(RESEARCHER, report.report_id),
    ):
        with pytest.raises(NotAllowed):
            refused()
    assert workspace.events(LOCAL, action="refused").total == 2


def test_several_files_leave_as_an_archive(sqlite_workspace):
    uid = generate_uid()
    for k in range(3):
        got = sqlite_workspace.receive(LOCAL, encoded(draw(k, StudyInstanceUID=uid, **WHO)), "QzxFile.dcm")
    made = sqlite_workspace.export(LOCAL, got.study_id, "dicom")
    with zipfile.ZipFile(io.BytesIO(made.data)) as archive:
        found = {name: archive.read(name) for name in archive.namelist()}
    assert made.mime == "application/zip" and len(found) == 3
    assert not [name for name, data in found.items() if "Qzx" in name or b"Qzx" in data]


def test_a_stay_has_the_reports_that_fit_it(sqlite_workspace):
    got = sqlite_workspace.receive(LOCAL, drawn_stay(), "stay.txt")
    assert json.loads(sqlite_workspace.export(LOCAL, got.study_id, "json").data)["kind"] == "stay"
    with pytest.raises(InputError, match="for a scan only"):
        sqlite_workspace.export(LOCAL, got.study_id, "sr")


def test_an_unread_or_missing_study_and_an_unknown_kind(sqlite_workspace):
    got = sqlite_workspace.receive(LOCAL, encoded(draw(1)), "a.dcm")
    assert json.loads(sqlite_workspace.export(LOCAL, got.study_id, "json").data)["status"] == "preliminary"
    with pytest.raises(InputError, match="`kind` must be one of"):
        sqlite_workspace.export(LOCAL, got.study_id, "fax")
    for call in (
        lambda: sqlite_workspace.export(LOCAL, "0" * 32, "json"),
        lambda: sqlite_workspace.report(LOCAL, "0" * 32),
    ):
        with pytest.raises(NotFound):
            call()


def test_what_was_forgotten_meanwhile_is_not_kept(study, monkeypatch):
    from medai_core.cases import exports

    workspace, got = study
    written = exports._written

    def forget_then_write(kind, facts):
        workspace.forget(LOCAL, got.case_id)
        return written(kind, facts)

    monkeypatch.setattr(exports, "_written", forget_then_write)
    with pytest.raises(MedAIError):
        workspace.export(LOCAL, got.study_id, "json")
    assert workspace.overview(LOCAL).studies == 0
