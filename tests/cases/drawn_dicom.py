"""Small DICOM files drawn in code, and workspaces that receive them."""

from __future__ import annotations

import base64
import io
import shutil
import socket
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian, generate_uid

from medai_core.cases.database import SQLITE_FILE
from medai_core.cases.workspace import Workspace
from medai_core.settings import Settings

SIDE = 128
CALLER = "SCANNER"


def draw(seed: int = 0, side: int = SIDE, **tags: Any) -> Dataset:
    """A chest radiograph of noise; `tags` replace what is drawn."""
    random = np.random.default_rng(seed)
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.SOPClassUID = DigitalXRayImageStorageForPresentation
    ds.SOPInstanceUID, ds.StudyInstanceUID, ds.SeriesInstanceUID = generate_uid(), generate_uid(), generate_uid()
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.PatientName, ds.PatientID, ds.PatientBirthDate, ds.PatientSex = (
        f"Drawn^Person{seed}",
        f"D{seed}",
        "20200101",
        "O",
    )
    ds.StudyDate, ds.StudyTime, ds.AccessionNumber, ds.StudyID = "20240102", "030405", f"A{seed}", "1"
    ds.ReferringPhysicianName, ds.SeriesNumber, ds.InstanceNumber = "", 1, 1
    ds.Modality, ds.BodyPartExamined, ds.StudyDescription = "DX", "CHEST", "Chest"
    ds.ImageType = ["ORIGINAL", "PRIMARY"]
    ds.Rows = ds.Columns = side
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PixelRepresentation = 1, "MONOCHROME2", 0
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 8, 8, 7
    ds.PixelData = random.integers(0, 255, (side, side), dtype=np.uint8).tobytes()
    for name, value in tags.items():
        setattr(ds, name, value)
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    return ds


def encoded(ds: Dataset) -> bytes:
    file = io.BytesIO()
    ds.save_as(file, enforce_file_format=True)
    return file.getvalue()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def settings_at(folder: Path, **values: Any) -> Settings:
    """A workspace of its own in a folder, with a free port and the peer SCANNER on this machine."""
    key = base64.b64encode(bytes(range(32))).decode()
    given = {
        "data_dir": folder / "data",
        "key": key,
        "dicom_port": free_port(),
        "dicom_peers": f"{CALLER}@127.0.0.1:104",
    }
    return Settings(**given | values)


def workspace_at(folder: Path, migrated: Path, **values: Any) -> Workspace:
    """A workspace of these settings, on a copy of an empty SQLite database."""
    (folder / "data").mkdir()
    shutil.copyfile(migrated, folder / "data" / SQLITE_FILE)
    return Workspace(settings_at(folder, **values))
