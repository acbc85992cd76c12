"""Facts of drawn studies, and the tools of other makers that look at what is made of them."""

from __future__ import annotations

import os
import shutil
import subprocess
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import Dataset

from medai_core.cases.answers import Finding, Identity
from medai_core.cases.report_answer import DEATH, RISK, Answer, Estimate
from medai_core.cases.report_facts import ReportFacts, ReviewFacts, Source
from medai_core.errors import say

KEY = b"a key of the tests"
ARRIVED, WRITTEN = datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC), datetime(2024, 1, 2, 4, 0, 0, tzinfo=UTC)
COMMITTED = datetime(2024, 1, 2, 3, 9, 5, tzinfo=UTC)
FAMILY, NUMBER, REFERRER = "Findmenowhere", "MRN-777123", "Sendernowhere"
WHO = Identity(f"{FAMILY}, Jane", NUMBER, "City Hospital", date(1970, 5, 6), "F", f"{FAMILY}^Jane=王^小东")
DX, MR, SC = "1.2.840.10008.5.1.4.1.1.1.1", "1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.7"

READ = Answer(
    status="read", code="ok", model="chest_xray", version="1.1.0", digest="cd" * 32, title="Chest radiograph",
    probabilities={"normal": 0.021, "bacterial": 0.711, "viral": 0.268}, label="bacterial",
    prediction_set=("bacterial", "viral"), refer=True, finding="pneumonia", finding_probability=0.979, threshold=0.5,
    above_threshold=True, operating_point="balanced", urgency=0.979,
    cautions=(say("The file says the patient is an adult; the model was made for children aged 1 to 5."),),
)  # fmt: skip
REFUSED = Answer(
    "refused", say("This looks like a photograph, not a chest radiograph or a brain MRI slice."), "photograph"
)
BRAIN = Answer(
    status="read", model="brain_mri", version="1.1.0", digest="ef" * 32, title="Brain MRI slice",
    probabilities={"glioma": 0.01, "meningioma": 0.02, "notumor": 0.95, "pituitary": 0.02}, label="notumor",
    prediction_set=("notumor",), finding="tumour", finding_probability=0.05, threshold=0.4, above_threshold=False,
    urgency=0.05,
)  # fmt: skip
STAY = Answer(
    status="read", model="icu_mortality", version="1.0.0", digest="12" * 32, title="Intensive care", finding=DEATH,
    finding_probability=0.3125, urgency=0.3125,
    estimates=tuple(Estimate(RISK, 0.1 + hour / 226, 0.05, 0.4, hour=hour) for hour in range(1, 49)),
)  # fmt: skip
ROW = Answer(
    status="read", model="breast_cancer", version="1.0.0", digest="34" * 32, title="Breast mass",
    probabilities={"benign": 0.2, "malignant": 0.8}, label="malignant", prediction_set=("malignant",),
)  # fmt: skip
AGREES = ReviewFacts("bacterial", COMMITTED, True, "Consolidation on the right", reader="Lesser^Rita", seconds=41.6)
OVERRULES = ReviewFacts(
    "viral", COMMITTED, False, "Both lungs, no lobar consolidation", {"side": "both"}, "Lesser^Rita", True, 63.2,
    (Finding("pneumonia", "left lower zone", "moderate"), Finding("old rib fracture")),
)  # fmt: skip


def header(**tags: Any) -> Dataset:
    """A radiograph's header as it is in the archive: with names in it."""
    ds = Dataset()
    ds.SOPClassUID, ds.Modality, ds.BodyPartExamined = DX, "DX", "CHEST"
    ds.Rows, ds.Columns, ds.PatientOrientation, ds.ImagerPixelSpacing = 300, 400, ["L", "F"], [0.2, 0.2]
    ds.PatientName, ds.PatientID = f"{FAMILY}^Jane", NUMBER
    ds.ReferringPhysicianName, ds.OperatorsName = f"{REFERRER}^Doc", f"{REFERRER}^Op"
    ds.StudyDate, ds.StudyTime, ds.StudyID, ds.AccessionNumber = "20231231", "101112.5", "S-77", "ACC-9"
    ds.StudyDescription, ds.InstitutionName = f"Chest of {FAMILY}", "City Hospital"
    ds.StudyInstanceUID, ds.FrameOfReferenceUID = "1.2.826.0.1.99", "1.2.826.0.1.98"
    for keyword, value in tags.items():
        setattr(ds, keyword, value)
    return ds


def pixels(height: int = 300, width: int = 400) -> np.ndarray:
    return np.linspace(0, 255, height * width).reshape(height, width).astype(np.uint8)


def scan(answer: Answer | None = READ, **changed: Any) -> Source:
    """One radiograph of a DICOM study, read, with its heat map."""
    given = {
        "sop_uid": "1.2.826.0.1.3.1", "series_uid": "1.2.826.0.1.3", "header": header(), "image": pixels(),
        "overlay": np.repeat(pixels()[..., None], 3, 2), "explained": say("Grad-CAM for “{label}”", label="bacterial"),
    }  # fmt: skip
    return Source("ab" * 32, answer, **(given | changed))


def upload(answer: Answer | None = READ) -> Source:
    """A picture that was no DICOM."""
    return Source("ba" * 32, answer, image=pixels(), overlay=np.repeat(pixels()[..., None], 3, 2))


def facts(*sources: Source, **changed: Any) -> ReportFacts:
    given: dict[str, Any] = {
        "kind": "scan", "key": KEY, "pseudonym": "P-1234", "arrived": ARRIVED, "written": WRITTEN,
        "study_uid": "1.2.826.0.1.2" if not sources or sources[0].sop_uid else "", "accession": "ACC-9",
    }  # fmt: skip
    return ReportFacts(sources=sources or (scan(),), **(given | changed))


ALL_KINDS = {
    "scan": facts(identity=WHO, reviews=(AGREES,)),
    "overruled": facts(reviews=(AGREES, OVERRULES)),
    "upload": facts(upload()),
    "refused": facts(upload(REFUSED)),
    "waiting": facts(scan(None)),
    "stay": facts(Source("cd" * 32, STAY), kind="stay", study_uid=""),
    "row": facts(Source("de" * 32, ROW), kind="row", study_uid="", identity=WHO),
}
SCANS = {name: told for name, told in ALL_KINDS.items() if told.kind == "scan"}
HOSTILE = (
    "<script>alert('x')</script>, Dr.",
    "O'Brien, Ana \\ María; 100 % & \"sons\"",
    "W" * 300,
    "Very^Long" + "^Name" * 60,
    "محمد^علي=张^伟=장^위",
    "a\x00b\x1b[31m\n\u202egpj^\udcff",
    "=HYPERLINK(\"http://x\")",
    " ",
)  # fmt: skip


def tool(name: str) -> str:
    """The path of an installed program; without it the test skips, or fails where all tests are to run."""
    path = shutil.which(name)
    if path is None:
        reason = f"{name} is not installed"
        if os.environ.get("CI") or os.environ.get("MEDAI_TEST_ALL"):
            pytest.fail(reason)
        pytest.skip(reason)
    return path


def verified(file: bytes, folder: Path) -> str:
    """What dicom3tools' dciodvfy says of a file, having found no error."""
    path = folder / "report.dcm"
    path.write_bytes(file)
    done = subprocess.run([tool("dciodvfy"), str(path)], capture_output=True, text=True, check=False)
    said = done.stdout + done.stderr
    errors = [line for line in said.splitlines() if line.startswith("Error")]
    assert not errors, "\n".join(errors)
    return said


def dumped(file: bytes, folder: Path) -> str:
    """The document as DCMTK's dsrdump prints it, with whole texts and codes."""
    path = folder / "report.dcm"
    path.write_bytes(file)
    done = subprocess.run(
        [tool("dsrdump"), "+Pl", "+Pc", "+Pu", "+U8", str(path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def printed(file: bytes) -> str:
    """The text of a PDF as Poppler's pdftotext finds it."""
    command = [tool("pdftotext"), "-layout", "-enc", "UTF-8", "-", "-"]
    done = subprocess.run(command, input=file, capture_output=True, check=True)
    return " ".join(done.stdout.decode().replace("\u00a0", " ").split())
