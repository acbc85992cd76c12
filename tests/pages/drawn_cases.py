"""A workspace for the tests of its pages, and small studies drawn in code."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian, generate_uid

from medai_core.cases.access import Role, User
from medai_core.cases.answers import Receipt
from medai_core.cases.report_answer import Answer
from medai_core.cases.worker import claim, keep
from medai_core.cases.workspace import Workspace
from medai_core.settings import settings

ANA = User("ana", "Ana <b>Silva</b>", frozenset({Role.READER}))
SHARES = {"normal": 0.04, "bacterial": 0.9, "viral": 0.06}


def drawn_workspace(folder: Path) -> Workspace:
    """Return an empty workspace in a folder."""
    return Workspace(replace(settings(), data_dir=folder / "data", database_url="", key=""))


def radiograph(seed: int, *, patient: str = "H-1", day: str = "20240102", **tags: Any) -> bytes:
    """Return a DICOM radiograph of noise."""
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = DigitalXRayImageStorageForPresentation
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    ds.StudyInstanceUID, ds.SeriesInstanceUID = generate_uid(), generate_uid()
    ds.PatientName, ds.PatientID, ds.PatientBirthDate, ds.PatientSex = f"Drawn^{patient}", patient, "20200101", "F"
    ds.StudyDate, ds.Modality, ds.BodyPartExamined, ds.StudyDescription = day, "DX", "CHEST", f"Chest {seed}"
    ds.ImageType, ds.SamplesPerPixel, ds.PhotometricInterpretation = ["ORIGINAL", "PRIMARY"], 1, "MONOCHROME2"
    ds.Rows = ds.Columns = 64
    ds.BitsAllocated = ds.BitsStored = 8
    ds.HighBit, ds.PixelRepresentation = 7, 0
    ds.PixelData = np.random.default_rng(seed).integers(0, 255, (64, 64), dtype=np.uint8).tobytes()
    for name, value in tags.items():
        setattr(ds, name, value)
    file = io.BytesIO()
    ds.save_as(file, enforce_file_format=True)
    return file.getvalue()


def read_all(space: Workspace, shares: Mapping[str, float] = SHARES) -> None:
    """Let a model that always answers the same read what waits."""
    label = max(shares, key=shares.__getitem__)
    answer = Answer(
        "read", model="chest_xray", version="1.0", digest="ab" * 32, probabilities=dict(shares), label=label,
        prediction_set=(label,), finding="pneumonia", finding_probability=1 - shares["normal"], threshold=0.5,
        above_threshold=True, operating_point="balanced", urgency=1 - shares["normal"],
    )  # fmt: skip
    while claims := claim(space.store):
        keep(space.store, [(one, answer) for one in claims])


def filled(space: Workspace, user: User, count: int) -> list[Receipt]:
    """Let radiographs of as many patients arrive and be read."""
    found = [space.receive(user, radiograph(k, patient=f"H-{k}"), f"{k}.dcm") for k in range(count)]
    read_all(space)
    return found
