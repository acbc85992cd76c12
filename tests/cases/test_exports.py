"""What leaves the workspace: every kind of report, with and without identity, kept and logged."""

from __future__ import annotations

import io
import json
import re
import zipfile
from datetime import date, datetime
from types import SimpleNamespace

import numpy as np
import pydicom
import pytest
from drawn_dicom import draw, encoded
from drawn_reports import printed
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from pydicom.uid import generate_uid
from pypdf import PdfReader
from quick_reader import QuickReader

from medai_core.bench import drawn_stay
from medai_core.cases.access import LOCAL, Role, User
from medai_core.cases.answers import Finding, ReviewInput
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


PATIENT_AND_STUDY = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyInstanceUID", "StudyDate", "StudyTime",
    "AccessionNumber", "ReferringPhysicianName", "PatientIdentityRemoved", "LongitudinalTemporalInformationModified",
)  # fmt: skip


@pytest.mark.parametrize("kind", ["sr", "capture"])
def test_reports_without_identity_say_of_patient_and_study_what_the_file_says(study, kind):
    workspace, got = study
    file, report = (
        pydicom.dcmread(io.BytesIO(workspace.export(RESEARCHER, got.study_id, one).data)) for one in ("dicom", kind)
    )
    said = {name: str(report.get(name) or "") for name in PATIENT_AND_STUDY}
    assert said == {name: str(file.get(name) or "") for name in PATIENT_AND_STUDY}
    assert said["StudyDate"] < WHO["StudyDate"] and said["StudyTime"] == "030405"
    assert said["LongitudinalTemporalInformationModified"] == "MODIFIED"
    named = pydicom.dcmread(io.BytesIO(workspace.export(READER, got.study_id, kind, identified=True).data))
    assert (named.StudyDate, named.AccessionNumber, str(named.PatientName)) == ("20190813", "QzxAcc", "Qzxname^Planted")
    assert "LongitudinalTemporalInformationModified" not in named


def test_the_day_moves_by_the_days_of_the_file_and_nothing_tells_by_how_many(study, clock):
    workspace, got = study
    file = pydicom.dcmread(io.BytesIO(workspace.export(RESEARCHER, got.study_id, "dicom").data))
    report = json.loads(workspace.export(RESEARCHER, got.study_id, "json").data)
    moved = date(2019, 8, 13) - datetime.strptime(file.StudyDate, "%Y%m%d").date()
    assert report["study_date"] == str(date(2019, 8, 13) - moved)
    assert report["arrived"] is None and report["reviews"][0]["committed"] is None
    assert datetime.fromisoformat(report["written"]) == clock(), "known to all: moved, it would give the days away"
    bundle = workspace.export(RESEARCHER, got.study_id, "fhir").data.decode()
    assert str(date(2019, 8, 13) - moved) in bundle and "2019-08-13" not in bundle
    for told in (bundle, json.dumps(report), printed(workspace.export(RESEARCHER, got.study_id, "pdf").data)):
        assert f"{clock() - moved:%Y-%m-%d}" not in told and "Arrived" not in told


@pytest.mark.parametrize("kind", ["sr", "fhir", "json", "pdf"])
def test_own_words_of_a_reader_leave_with_identity_alone(study, kind):
    workspace, got = study
    also = (Finding("viral", "QzxPlace", "low"), Finding("QzxOther"))
    workspace.review(READER, got.study_id, ReviewInput("QzxLabel", also=also), 2)
    hidden, named = (text_of((e := workspace.export(READER, got.study_id, kind, identified=one)).data, e.mime)
                     for one in (False, True))  # fmt: skip
    assert "Qzx" not in hidden and "Other finding" in hidden and "Viral pneumonia" in hidden
    assert all(word in named for word in ("QzxLabel", "QzxPlace", "QzxOther"))


def test_who_reads_first_gets_no_report_before_the_own_review(study):
    workspace, got = study
    anna = User("anna", "Anna", frozenset({Role.READER}))
    workspace.export(READER, got.study_id, "json")
    report = workspace.case(READER, got.case_id).studies[0].reports[0].report_id
    for kind in MIMES:
        if kind != "dicom":
            with pytest.raises(NotAllowed, match="commit your own reading"):
                workspace.export(anna, got.study_id, kind, reveal=False)
    with pytest.raises(NotAllowed, match="commit your own reading"):
        workspace.report(anna, report, reveal=False)
    assert workspace.events(LOCAL, action="refused", actor="anna").total == len(MIMES)
    assert workspace.export(anna, got.study_id, "dicom", reveal=False).data, "the files hold no answer"
    version = workspace.case(anna, got.case_id, reveal=False).studies[0].version
    assert workspace.review(anna, got.study_id, ReviewInput("normal", first=True), version).first
    assert workspace.export(anna, got.study_id, "json", reveal=False).data
    assert workspace.report(anna, report, reveal=False).data


@pytest.mark.parametrize("how", ["made", "kept"])
def test_who_had_a_report_did_not_read_first(study, how):
    workspace, got = study
    anna = User("anna", "Anna", frozenset({Role.READER}))
    workspace.export(READER, got.study_id, "json")
    kept = workspace.case(READER, got.case_id).studies[0].reports[0].report_id
    workspace.export(anna, got.study_id, "json") if how == "made" else workspace.report(anna, kept)
    assert not workspace.review(anna, got.study_id, ReviewInput("normal", first=True), 2).first


def test_before_a_model_has_read_there_is_nothing_to_hold_back(sqlite_workspace):
    got = sqlite_workspace.receive(LOCAL, encoded(draw(1)), "a.dcm")
    assert json.loads(sqlite_workspace.export(READER, got.study_id, "json", reveal=False).data)["reviews"] == []
    assert sqlite_workspace.review(READER, got.study_id, ReviewInput("normal", first=True), 1).first


def test_the_pdf_is_in_the_language_of_its_reader(study, monkeypatch):
    from pages.ui import language

    workspace, got = study
    workspace.review(READER, got.study_id, ReviewInput("viral", {"confidence": "low"}, also=(Finding("normal"),)), 2)
    monkeypatch.setattr(language, "language", lambda: "zh_CN")
    text = printed(workspace.export(READER, got.study_id, "pdf", translate=language.tell).data)
    assert "病毒性肺炎" in text and "检查报告" in text
    ours = re.sub(r"[0-9a-f]{64}|Grad-CAM|SHA-256|P-[A-Z0-9]+|chest_xray|DX CHEST|MedAI|UTC", "", text)
    assert not re.search(r"[A-Za-z]{3,}", ours), ours
    assert "Report of a study" in printed(workspace.export(READER, got.study_id, "pdf").data)


@pytest.mark.parametrize("identified", [False, True], ids=["without", "with"])
def test_an_uploaded_picture_leaves_with_the_dicom_its_reports_point_at(sqlite_workspace, identified):
    sqlite_workspace.store.load_reader = ExplainingReader
    case = sqlite_workspace.receive(LOCAL, encoded(draw(1, **WHO)), "a.dcm").case_id
    pixels = np.random.default_rng(1).integers(0, 255, (64, 80), np.uint8)
    stream = io.BytesIO()
    texts = PngInfo()
    texts.add_text("Title", "Qzxname")
    Image.fromarray(pixels).save(stream, "PNG", pnginfo=texts)
    got = sqlite_workspace.receive(LOCAL, stream.getvalue(), "QzxFile.png", case_id=case)
    Worker(sqlite_workspace, QuickReader).work()
    made = sqlite_workspace.export(LOCAL, got.study_id, "dicom", identified=identified)
    who = "QzxId77" if identified else sqlite_workspace.case(LOCAL, case).pseudonym
    assert made.mime == "application/zip"
    with zipfile.ZipFile(io.BytesIO(made.data)) as archive:
        png, dcm = (archive.read(name) for name in sorted(archive.namelist(), key=lambda name: name[-3:] == "dcm"))
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(png))), pixels)
    picture = pydicom.dcmread(io.BytesIO(dcm))
    assert np.array_equal(picture.pixel_array, pixels) and "ImageComments" not in picture
    assert [b"Qzx" in part for part in (png, dcm)] == [identified] * 2
    for kind in ("sr", "capture"):
        report = sqlite_workspace.export(LOCAL, got.study_id, kind, identified=identified).data
        opened = pydicom.dcmread(io.BytesIO(report))
        assert picture.SOPInstanceUID.encode() in report and opened.StudyInstanceUID == picture.StudyInstanceUID
        assert opened.PatientID == picture.PatientID == who


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

    def forget_then_write(*given):
        workspace.forget(LOCAL, got.case_id)
        return written(*given)

    monkeypatch.setattr(exports, "_written", forget_then_write)
    with pytest.raises(MedAIError):
        workspace.export(LOCAL, got.study_id, "json")
    assert workspace.overview(LOCAL).studies == 0
