"""Reports that were made here and come back: recognised by their UID, by whatever way and in whatever dress."""

from __future__ import annotations

import io

import numpy as np
import pydicom
import pytest
from drawn_dicom import CALLER, draw, encoded, free_port, workspace_at
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless
from quick_reader import QuickReader

from medai_core.cases.access import LOCAL, Role, User
from medai_core.cases.listener import Listener
from medai_core.cases.receive import OTHER_CONTENT
from medai_core.cases.report_capture import MARK
from medai_core.cases.returned import OWN, RESULT
from medai_core.cases.send import send_file
from medai_core.cases.watch import sentences
from medai_core.cases.worker import Worker
from medai_core.cases.workspace import Workspace
from medai_core.settings import Settings


@pytest.fixture
def study(workspace):
    """A study that was read by model."""
    got = workspace.receive(LOCAL, encoded(draw(1)), "a.dcm")
    Worker(workspace, QuickReader).work()
    return got


def made(workspace: Workspace, study_id: str, kind: str, identified: bool = True) -> bytes:
    workspace.store.load_reader = Explaining
    return workspace.export(LOCAL, study_id, kind, identified=identified).data


class Explaining:
    """A reader whose heat map is the image itself."""

    def read(self, data, **_):
        self.prepared = np.zeros((64, 64), np.float32)
        return self

    def explain(self, reading, **_):
        self.heat, self.label = self.prepared, "viral"
        return self


@pytest.mark.parametrize("identified", [True, False], ids=["named", "de-identified"])
@pytest.mark.parametrize("kind", ["sr", "capture"])
def test_an_own_report_is_no_new_study(workspace, study, kind, identified):
    report = made(workspace, study.study_id, kind, identified)
    (row,) = workspace.case(LOCAL, study.case_id).studies[0].reports
    for source in ("upload", "folder", "c-store", "dicomweb"):
        got = workspace.receive(LOCAL, report, "back.dcm", source=source)
        assert (got.status, got.reason, got.study_id, got.object_id) == ("duplicate", OWN, study.study_id, None)
    event = workspace.events(LOCAL, action="report came back").events[0]
    assert (event.object, event.details) == (study.study_id, {"source": "dicomweb", "report": row.report_id})
    (shown,) = workspace.worklist(LOCAL).rows
    assert (shown.objects, shown.model_state) == (1, "ready") and workspace.verify_audit(LOCAL).ok
    assert OWN.template in sentences([got])


def test_what_a_pacs_changes_on_the_way_does_not_hide_it(workspace, study):
    ds = pydicom.dcmread(io.BytesIO(made(workspace, study.study_id, "capture")))
    ds.PatientName, ds.PatientID = "Coerced^Name", "COERCED"
    for syntax in (ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless):
        ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        if syntax.is_encapsulated:
            ds.compress(syntax, generate_instance_uid=False)
        ds.file_meta.TransferSyntaxUID = syntax
        file = io.BytesIO()
        pydicom.dcmwrite(file, ds, implicit_vr=syntax.is_implicit_VR, little_endian=True, force_encoding=True)
        assert workspace.receive(LOCAL, file.getvalue(), "back.dcm").reason == OWN, syntax.name


def test_another_department_learns_nothing_of_the_case(workspace, study):
    other = User("o", "O", frozenset({Role.READER}), frozenset({"elsewhere"}))
    got = workspace.receive(other, made(workspace, study.study_id, "capture"), "back.dcm")
    assert (got.status, got.reason, got.case_id, got.study_id) == ("duplicate", OWN, None, None)
    assert workspace.worklist(other).total == 0


def test_a_result_that_is_not_known_here_is_refused(workspace, study):
    reports = {kind: made(workspace, study.study_id, kind) for kind in ("sr", "capture")}
    workspace.forget(LOCAL, study.case_id)
    got = {kind: workspace.receive(LOCAL, data, "back.dcm", source="c-store") for kind, data in reports.items()}
    assert [one.status for one in got.values()] == ["refused"] * 2 and got["capture"].reason == RESULT
    assert "Comprehensive SR" in str(got["sr"].reason)
    assert workspace.worklist(LOCAL).total == 0 and workspace.store.vault.size_bytes() == 0
    assert workspace.events(LOCAL, action="turned away").total == 2


def test_an_image_under_the_uid_of_a_report_is_not_acknowledged(workspace, study):
    report = pydicom.dcmread(io.BytesIO(made(workspace, study.study_id, "capture")))
    got = workspace.receive(LOCAL, encoded(draw(2, SOPInstanceUID=report.SOPInstanceUID)), "a.dcm")
    assert (got.status, got.reason) == ("refused", OTHER_CONTENT)


@pytest.mark.parametrize("tags", [{"ImageComments": MARK}, {"Manufacturer": "MedAI"}])
def test_an_image_with_half_of_the_marks_is_an_image(workspace, tags):
    assert workspace.receive(LOCAL, encoded(draw(1, **tags)), "a.dcm").status == "new"


def test_the_sender_is_told_success(tmp_path, migrated_sqlite):
    port = free_port()
    opened = workspace_at(tmp_path, migrated_sqlite, dicom_port=port)
    listener = Listener(opened)
    listener.start()
    try:
        got = opened.receive(LOCAL, encoded(draw(1)), "a.dcm")
        Worker(opened, QuickReader).work()
        capture = made(opened, got.study_id, "capture")
        send_file(capture, "MEDAI", Settings(dicom_aet=CALLER, dicom_peers=f"MEDAI@127.0.0.1:{port}"))
        assert opened.events(LOCAL, action="report came back").total == 1
        assert [row.objects for row in opened.worklist(LOCAL).rows] == [1]
    finally:
        listener.stop()
        opened.close()
