"""The speed of the case workspace: of a new one, made for the measurement in the folder for temporary files.

What the disk does counts: a file is answered for only when it and its row are on it.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from medai_core.bench import ROOT, Counts, free_port, timed
from medai_core.settings import Settings

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

    from medai_core.cases.workspace import Workspace

SENDER = "BENCH"
SIDE = 512
_SEND = "import sys; from medai_core.bench_cases import send; send(int(sys.argv[1]), int(sys.argv[2]))"


def workspace_rows(counts: Counts) -> Iterator[tuple[str, list[float]]]:
    """A page of a long worklist, and files that arrive over the network one after the other."""
    from medai_core.cases.access import LOCAL

    with _workspace() as workspace:
        fill(workspace, counts.cases)
        page = f"worklist of {counts.cases} cases → its first page"
        yield page, timed(lambda: workspace.worklist(LOCAL), counts.pages)
    with _workspace() as workspace:
        yield f"{SIDE} × {SIDE} DICOM over C-STORE → stored, each", arrival(workspace, counts.arrivals)


@contextmanager
def _workspace() -> Iterator[Workspace]:
    from medai_core.cases.workspace import Workspace

    with tempfile.TemporaryDirectory() as folder:
        given = {"dicom_port": free_port(), "dicom_peers": f"{SENDER}@127.0.0.1:104"}
        workspace = Workspace(Settings(data_dir=Path(folder) / "data", **given))
        try:
            yield workspace
        finally:
            workspace.close()


def fill(workspace: Workspace, count: int) -> None:
    """Put studies that a model has read into the tables, one to a case."""
    from sqlalchemy import insert

    from medai_core.cases.store import new_id
    from medai_core.cases.tables import CaseRow, StudyRow

    store, rng = workspace.store, np.random.default_rng(0)
    cases: list[dict[str, Any]] = []
    studies: list[dict[str, Any]] = []
    for k in range(count):
        case_id, study_id = new_id(), new_id()
        who = {"name": f"Drawn {k}", "patient_id": str(k), "issuer": "", "birth_date": "", "sex": "", "person_name": ""}
        what = {"uid": "", "description": "Chest", "acquired": "", "accession": ""}
        own = {"department": "default", "patient": str(k), "pseudonym": store.keys.pseudonym(case_id)}
        sealed = store.keys.seal_json(who, f"identity {case_id}")
        cases.append({"id": case_id, **own, "identity": sealed, "created": store.now()})
        study = {"id": study_id, "case_id": case_id, "department": "default", "kind": "scan", "modality": "DX"}
        study |= {"body_part": "CHEST", "details": store.keys.seal_json(what, f"study {study_id}"), "objects": 1}
        study |= {"status": "new", "model_state": "ready", "label": "normal", "urgency": float(rng.random())}
        studies.append(study | {"arrived": store.now() - timedelta(minutes=int(rng.integers(9999)))})
    with store.writing() as session:
        session.execute(insert(CaseRow), cases)
        session.execute(insert(StudyRow), studies)


def arrival(workspace: Workspace, count: int) -> list[float]:
    """Times in ms from sending a file to its acknowledgement, for files of another process in one association."""
    from medai_core.cases.listener import Listener

    listener = Listener(workspace)
    listener.start()
    try:
        command = [sys.executable, "-c", _SEND, str(workspace.store.settings.dicom_port), str(count)]
        sent = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    finally:
        listener.stop()
    return [float(line) for line in sent.stdout.split()]


def send(port: int, count: int) -> None:
    """Send drawn radiographs to this machine, and print for each how many ms its acknowledgement took.

    Raises
    ------
    RuntimeError
        If one is not taken.
    """
    from pynetdicom import AE

    entity = AE(ae_title=SENDER)
    entity.add_requested_context(drawn_object(0).SOPClassUID)
    association = entity.associate("127.0.0.1", port, ae_title="MEDAI")
    for ds in map(drawn_object, range(count)):
        start = perf_counter()
        answer = association.send_c_store(ds)
        if answer.get("Status") != 0:
            raise RuntimeError(f"a file was answered with {answer}")
        print((perf_counter() - start) * 1e3)
    association.release()


def drawn_object(seed: int) -> Dataset:
    """A DICOM radiograph of noise, of nobody: 16 bits a pixel, :data:`SIDE` pixels a side."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian, generate_uid

    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.SOPClassUID, ds.SOPInstanceUID = DigitalXRayImageStorageForPresentation, generate_uid()
    ds.StudyInstanceUID, ds.SeriesInstanceUID = generate_uid(), generate_uid()
    ds.PatientName, ds.PatientID, ds.AccessionNumber, ds.StudyDate = f"Drawn^{seed}", str(seed), str(seed), "20240102"
    ds.Modality, ds.BodyPartExamined = "DX", "CHEST"
    ds.Rows = ds.Columns = SIDE
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PixelRepresentation = 1, "MONOCHROME2", 0
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 16, 12, 11
    ds.PixelData = np.random.default_rng(seed).integers(0, 1 << 12, (SIDE, SIDE), np.uint16).tobytes()
    return ds
