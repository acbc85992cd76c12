"""End to end with a real PACS: a study that Orthanc pushes is read, and its report lands back in Orthanc."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from drawn_dicom import draw, encoded, free_port, workspace_at
from pydicom.dataset import Dataset
from pydicom.uid import SecondaryCaptureImageStorage
from quick_reader import QuickReader
from running_orthanc import AET, Orthanc, absent, running

from medai_core import registry
from medai_core.cases.access import LOCAL
from medai_core.cases.answers import Row
from medai_core.cases.dicomweb import Query, fetch_study, find_studies, name_pattern
from medai_core.cases.listener import Listener
from medai_core.cases.send import DICOMWEB, send_file, send_report
from medai_core.cases.worker import Worker
from medai_core.cases.workspace import Workspace
from medai_core.errors import Unavailable

README = Path(__file__).parents[2] / "README.md"
SAMPLE = Path(__file__).parents[2] / "assets/samples/chest_xray_viral.dcm"


@pytest.fixture(scope="module")
def port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def pacs(tmp_path_factory: pytest.TempPathFactory, port: int) -> Iterator[Orthanc]:
    with running(tmp_path_factory.mktemp("pacs"), port) as orthanc:
        yield orthanc


@pytest.fixture
def orthanc(pacs: Orthanc, monkeypatch: pytest.MonkeyPatch) -> Orthanc:
    """The PACS, empty."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    pacs.clear()
    return pacs


@pytest.fixture
def workspace(tmp_path: Path, migrated_sqlite: Path, orthanc: Orthanc, port: int) -> Iterator[Workspace]:
    peers = f"{AET}@127.0.0.1:{orthanc.dicom_port}"
    opened = workspace_at(tmp_path, migrated_sqlite, dicom_port=port, dicom_peers=peers, dicomweb_url=orthanc.dicomweb)
    listener = Listener(opened)
    listener.start()
    yield opened
    listener.stop()
    opened.close()


def read(workspace: Workspace, reader: Any = None) -> Row:
    """Let the worker read everything; the one study of the worklist."""
    worker = Worker(workspace, lambda: reader or QuickReader())
    while worker.work():
        pass
    (row,) = workspace.worklist(LOCAL).rows
    return row


def pushed(orthanc: Orthanc, *files: Dataset) -> str:
    return orthanc.push([orthanc.put(encoded(ds)) for ds in files])


def series(seed: int, count: int) -> list[Dataset]:
    """Files of one study."""
    first = draw(seed)
    same = {name: first[name].value for name in ("StudyInstanceUID", "SeriesInstanceUID", "PatientName", "PatientID")}
    same["AccessionNumber"] = first.AccessionNumber
    return [first, *(draw(seed + k, InstanceNumber=k + 1, **same) for k in range(1, count))]


def test_a_study_pushed_by_the_pacs_is_read_and_stands_in_the_worklist(workspace, orthanc):
    files = series(1, 3)
    assert pushed(orthanc, *files) == ""
    row = read(workspace)
    assert (row.objects, row.model_state, row.label, row.urgency) == (3, "ready", "normal", 0.2)
    assert "Person1" in row.patient
    case = workspace.case(LOCAL, row.case_id)
    assert [one.status for one in case.studies[0].readings] == ["read"] * 3


@pytest.mark.parametrize("destination", [AET, DICOMWEB])
def test_the_report_lands_back_in_the_pacs_beside_its_images(workspace, orthanc, destination):
    ds = draw(1)
    pushed(orthanc, ds)
    row = read(workspace)
    sent = send_report(workspace, LOCAL, row.study_id, "sr", destination)
    (found,) = orthanc.find("Instance", SOPInstanceUID=sent.sop_uid)
    (study,) = orthanc.find("Study", StudyInstanceUID=str(ds.StudyInstanceUID))
    tags = orthanc.ask(f"/instances/{found['ID']}/simplified-tags")
    assert len(orthanc.ask(f"/studies/{study['ID']}/instances")) == 2
    assert len(orthanc.ask("/patients")) == 1
    assert (tags["Modality"], tags["PatientID"], tags["AccessionNumber"]) == ("SR", "D1", "A1")
    (event,) = workspace.events(LOCAL, action="report sent").events
    assert (event.object, event.details["destination"]) == (row.study_id, destination)


def test_the_report_says_what_the_model_said(workspace, orthanc):
    pushed(orthanc, draw(1, StudyDescription="urgent"))
    row = read(workspace)
    sent = send_report(workspace, LOCAL, row.study_id, "sr", AET)
    (found,) = orthanc.find("Instance", SOPInstanceUID=sent.sop_uid)
    assert row.label == "viral"
    assert "viral" in json.dumps(orthanc.ask(f"/instances/{found['ID']}/simplified-tags")).lower()


def test_pushed_again_nothing_is_doubled(workspace, orthanc):
    instances = [orthanc.put(encoded(ds)) for ds in series(1, 2)]
    assert [orthanc.push(instances) for _ in range(2)] == ["", ""]
    assert read(workspace).objects == 2


def test_a_study_is_found_and_fetched_over_dicomweb(workspace, orthanc):
    files = series(1, 3)
    for ds in (*files, draw(7)):
        orthanc.put(encoded(ds))
    (found,) = find_studies(workspace, LOCAL, Query(patient_id="D1"))
    assert (found.patient_name, found.instances, found.modalities) == ("Drawn^Person1", 3, ("DX",))
    receipts = fetch_study(workspace, LOCAL, found.study_uid)
    assert [receipt.status for receipt in receipts] == ["new"] * 3
    assert read(workspace).objects == 3


@pytest.mark.parametrize("name", ["drawn", "Drawn, P", "drawn, person number 1", "*n*r 1"])
def test_a_name_is_found_by_its_start_and_by_wildcards(workspace, orthanc, name):
    for ds in (draw(1, PatientName="Drawn^Person Number 1"), draw(7, PatientName="Other^Person")):
        orthanc.put(encoded(ds))
    (found,) = find_studies(workspace, LOCAL, Query(patient_name=name_pattern(name)))
    assert found.patient_name == "Drawn^Person Number 1"


def test_the_same_object_by_three_ways_is_one_object(workspace, orthanc):
    ds = draw(1)
    pushed(orthanc, ds)
    assert [receipt.status for receipt in fetch_study(workspace, LOCAL, ds.StudyInstanceUID)] == ["duplicate"]
    assert workspace.receive(LOCAL, encoded(ds), "upload.dcm").status == "duplicate"
    assert read(workspace).objects == 1


def test_what_was_pushed_while_the_database_was_gone_can_be_pushed_again(workspace, orthanc, monkeypatch):
    instance = orthanc.put(encoded(draw(1)))

    def gone(*_, **__):
        raise Unavailable("The database cannot be reached just now; nothing was saved. Try again.")

    with monkeypatch.context() as patch:
        patch.setattr(workspace, "receive", gone)
        assert "0xA700" in orthanc.push([instance])
    assert workspace.worklist(LOCAL).total == 0
    assert orthanc.push([instance]) == ""
    assert read(workspace).objects == 1


class ForDemonstration:
    """The shipped reader, told that images made by a generator are meant."""

    def read_many(self, items: Iterable[tuple[str, bytes]]) -> Iterator[tuple[str, Any]]:
        from medai_core.imaging.reader import load_reader

        return load_reader(whole=False).read_many(items, demonstration=True)


def test_the_shipped_model_reads_what_the_pacs_pushed(workspace, orthanc):
    if not SAMPLE.exists() or not {"scan_gate", "chest_xray", "brain_mri"} <= set(registry.available()):
        absent("models or samples are not in assets")
    assert orthanc.push([orthanc.put(SAMPLE.read_bytes())]) == ""
    row = read(workspace, ForDemonstration())
    assert (row.model_state, row.label) == ("ready", "viral")
    for kind, destination in (("sr", AET), ("capture", DICOMWEB)):
        sent = send_report(workspace, LOCAL, row.study_id, kind, destination)
        assert len(orthanc.find("Instance", SOPInstanceUID=sent.sop_uid)) == 1


def test_the_script_of_the_readme_passes_images_on_and_no_report_back(workspace, port, tmp_path):
    lua = re.search(r"^```lua\n(.*?)^```", README.read_text("utf-8"), re.MULTILINE | re.DOTALL)[1]
    with running(tmp_path, port, lua) as scripted:
        settings = replace(workspace.store.settings, dicom_peers=f"{AET}@127.0.0.1:{scripted.dicom_port}")
        first, second = series(1, 2)
        for ds in (first, second):
            scripted.put(encoded(ds))
        assert eventually(lambda: [row.objects for row in workspace.worklist(LOCAL).rows] == [2])
        send_file(workspace.export(LOCAL, read(workspace).study_id, "sr", identified=True).data, AET, settings)
        capture = draw(3, SOPClassUID=SecondaryCaptureImageStorage, Manufacturer="MedAI")
        capture.StudyInstanceUID, capture.PatientID, capture.PatientName = first.StudyInstanceUID, "D1", "Drawn^Person1"
        scripted.put(encoded(capture))
        scripted.put(encoded(draw(7)))  # stable later than the reports: once it is here, they will not come any more
        assert eventually(lambda: workspace.worklist(LOCAL).total == 2)
        assert sorted(row.objects for row in workspace.worklist(LOCAL).rows) == [1, 2]
        assert {job["State"] for job in scripted.ask("/jobs?expand")} == {"Success"}


def eventually(true: Callable[[], bool], seconds: float = 30) -> bool:
    for _ in range(int(seconds * 10)):
        if true():
            return True
        time.sleep(0.1)
    return False
