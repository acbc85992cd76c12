"""Reports: read back as a reader would, one page whatever is in them."""

from __future__ import annotations

import io
import json
import re
import shutil
import subprocess
from dataclasses import replace
from typing import Any

import jsonschema
import numpy as np
import pypdf
import pytest

from medai_core.errors import Message, say
from medai_core.imaging.explain import Explanation
from medai_core.imaging.reading import GateReport, GateSignal, OperatingPoint, Reading
from medai_core.imaging.report import REPORT_SCHEMA, report_json, report_pdf
from medai_core.metrics import Interval

DIGEST, MODEL_DIGEST = "ab" * 32, "cd" * 32
CARD = {
    "name": "Chest radiograph: normal, bacterial or viral pneumonia",
    "intended_use": ["Teaching and research."],
    "not_for": ["Adults.", "Diagnosis without a qualified reader."],
    "population": "Children aged 1 to 5",
    "metrics_note": "Expect less at another hospital.",
}
METRICS = {
    "figures": [
        {"metric": "AUC, pneumonia", "value": 0.991, "low": 0.985, "high": 0.996, "n": 520, "split": "test"},
        {
            "metric": "AUC, pneumonia",
            "value": 0.97,
            "low": 0.95,
            "high": float("nan"),
            "n": 400,
            "split": "held-out sessions",
        },
    ]
}
POINT = OperatingPoint("balanced", "pneumonia", 0.5, Interval(0.971, 0.95, 0.985), Interval(0.94, 0.91, 0.965))
READ = Reading(
    status="read",
    code="ok",
    reason=None,
    digest=DIGEST,
    model="chest_xray",
    version="1.2.3",
    probabilities={"normal": 0.021, "bacterial": 0.711, "viral": 0.268},
    label="bacterial",
    prediction_set=("bacterial", "viral"),
    refer=True,
    finding_probability=0.979,
    above_threshold=True,
    operating_point=POINT,
    urgency=0.979,
    gate=GateReport(True, "ok", None, (GateSignal("distance", 0.4, 1.0),), {"chest": 0.99}),
    trace=(
        say("{bits}-bit {kind}", bits=16, kind="MONOCHROME1"),
        say("rescale ×{slope} {intercept}", slope=1, intercept="−1024"),
    ),
    cautions=(say("The patient is {years} years old.", years=54),),
    prepared=np.linspace(0, 1, 128 * 128, dtype=np.float32).reshape(128, 128),
)
REFUSED = Reading(
    status="refused",
    code="photograph",
    reason=say("This looks like a photograph."),
    digest=DIGEST,
    gate=GateReport(False, "photograph", say("This looks like a photograph."), (GateSignal("distance", 3.2, 1.0),)),
)
EXPLANATION = Explanation(
    "shap", "bacterial", np.zeros((128, 128), np.float32), 2.3, base_value=-0.4, additivity_gap=0.12,
    additivity_error=0.1, relative_gap=0.04, deletion_auc=1.0, insertion_auc=2.0, random_deletion_auc=1.5,
    random_insertion_auc=1.5, faithful=False,
)  # fmt: skip
OVERLAY = np.full((128, 128, 3), 90, np.uint8)
EVERYTHING: dict[str, Any] = {
    "explanation": EXPLANATION, "metrics": METRICS, "model_digest": MODEL_DIGEST, "created": "2025-03-04 05:06",
}  # fmt: skip


def pages_of(pdf: bytes) -> list[str]:
    return [
        " ".join(page.extract_text().replace("\u00a0", " ").split()) for page in pypdf.PdfReader(io.BytesIO(pdf)).pages
    ]


def only_page(pdf: bytes) -> str:
    pages = pages_of(pdf)
    assert len(pages) == 1
    return pages[0]


# ------------------------------------------------------------------------------------------------ JSON


def test_json_report_says_along_which_plane_the_frame_counts() -> None:
    document = json.loads(report_json(replace(READ, plane="coronal", frame=90, frames=217), "a.nii", CARD))
    jsonschema.validate(document, REPORT_SCHEMA)
    assert (document["file"]["plane"], document["file"]["frame"]) == ("coronal", 90)


def test_json_report_is_complete_and_fits_its_schema() -> None:
    document = json.loads(report_json(READ, "a.dcm", CARD, EXPLANATION, metrics=METRICS, model_digest=MODEL_DIGEST))
    jsonschema.validate(document, REPORT_SCHEMA)
    assert document["file"] == {"name": "a.dcm", "sha256": DIGEST, "frame": 0, "frames": 1, "plane": None}
    assert document["answer"]["probabilities"] == READ.probabilities
    assert document["answer"]["prediction_set"] == ["bacterial", "viral"] and document["answer"]["refer"] is True
    assert document["model"]["version"] == "1.2.3" and document["model"]["digest"] == MODEL_DIGEST
    assert document["operating_point"]["sensitivity"] == {"value": 0.971, "low": 0.95, "high": 0.985}
    assert document["trace"] == ["16-bit MONOCHROME1", "rescale ×1 −1024"]
    assert document["cautions"] == ["The patient is 54 years old."]
    assert document["explanation"]["faithful"] is False and document["explanation"]["additivity_gap"] == 0.12
    assert document["performance"][1]["high"] is None  # NaN is no JSON
    assert "Not a medical device" in document["disclaimer"]


def test_json_report_of_a_refusal() -> None:
    document = json.loads(report_json(REFUSED, "a.png", None))
    jsonschema.validate(document, REPORT_SCHEMA)
    assert document["status"] == "refused" and document["reason"] == "This looks like a photograph."
    assert document["answer"] is document["model"] is document["operating_point"] is None
    assert document["gate"]["signals"] == [{"name": "distance", "value": 3.2, "limit": 1.0, "exceeded": True}]


def test_schema_refuses_what_is_no_report() -> None:
    document = json.loads(report_json(READ, "a.dcm", CARD))
    for change in ({"status": "perhaps"}, {"extra": 1}, {"file": {}}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(document | change, REPORT_SCHEMA)


def test_a_file_name_that_is_no_text_still_gives_json() -> None:
    report = report_json(READ, "scan\udcff 病人.dcm", CARD)
    assert "病人" in report.decode() and json.loads(report)["file"]["name"] == "scan\udcff 病人.dcm"


# ------------------------------------------------------------------------------------------------- PDF


def test_pdf_report_says_all_it_must() -> None:
    text = only_page(report_pdf(READ, "a.dcm", CARD, OVERLAY, **EVERYTHING))
    for part in (
        "Not a medical device", "File: a.dcm", DIGEST, "Answer: Bacterial pneumonia",
        "Pneumonia: calibrated probability 97.9 %", "Above the threshold of 50.0 %",
        "Prediction set: Bacterial pneumonia, Viral pneumonia", "Refer to a reader", "71.1 %", "26.8 %", "2.1 %",
        "Operating point “balanced”", "sensitivity 97.1 % (95.0 % – 98.5 %), specificity 94.0 % (91.0 % – 96.5 %)",
        "What the model is for", "Teaching and research.", "What it is not for", "Adults.", "Children aged 1 to 5",
        "Performance on unseen cases", "0.991 (0.985 – 0.996)", "held-out sessions", "Expect less at another hospital.",
        "16-bit MONOCHROME1 → rescale ×1 −1024", "version 1.2.3", MODEL_DIGEST, "The patient is 54 years old.",
        "SHAP for “Bacterial pneumonia”", "Additivity gap 0.12 ± 0.10", "a random order did as well",
        "A heat map is no localisation", "2025-03-04 05:06",
    ):  # fmt: skip
        assert part in text, part


def test_an_answer_that_is_not_the_likeliest_says_why() -> None:
    likeliest = "The name follows the threshold for Pneumonia"
    assert likeliest not in only_page(report_pdf(READ, "a.dcm", CARD, **EVERYTHING))
    spread = replace(READ, probabilities={"normal": 0.45, "bacterial": 0.3, "viral": 0.25}, finding_probability=0.55)
    text = only_page(report_pdf(spread, "a.dcm", CARD, **EVERYTHING))
    assert (
        "Answer: Bacterial pneumonia" in text and likeliest in text and "“Bacterial pneumonia” is the likeliest" in text
    )


def test_pdf_is_one_a4_page_with_the_pictures_and_nothing_that_varies() -> None:
    pdf = report_pdf(READ, "a.dcm", CARD, OVERLAY, **EVERYTHING)
    assert pdf == report_pdf(READ, "a.dcm", CARD, OVERLAY, **EVERYTHING)
    page = pypdf.PdfReader(io.BytesIO(pdf)).pages[0]
    assert [round(float(side)) for side in page.mediabox[2:]] == [595, 842]
    assert len(page.images) == 2
    assert len(pypdf.PdfReader(io.BytesIO(report_pdf(READ, "a.dcm", CARD))).pages[0].images) == 1


def test_a_single_answer_is_not_referred() -> None:
    sure = replace(
        READ,
        prediction_set=("normal",),
        refer=False,
        above_threshold=False,
        probabilities={"normal": 0.99991, "viral": 9e-5},
    )
    text = only_page(report_pdf(sure, "a.dcm", CARD))
    assert "Refer" not in text and "holds one label" in text and "Below the threshold" in text
    assert "> 99.9 %" in text and "< 0.1 %" in text


def test_pdf_of_a_refusal_gives_the_reason_and_no_probability() -> None:
    text = only_page(report_pdf(REFUSED, "a.png", None))
    assert "Not read: refused" in text and "This looks like a photograph." in text
    assert "distance: 3.2, above its limit of 1" in text and "Not a medical device" in text and DIGEST in text
    assert "Answer:" not in text and "Calibrated" not in text


@pytest.mark.parametrize(
    "name",
    [
        "<b>&amp;<font color=red>.dcm",
        "</para><img src='x'/>",
        "%s{x}$(y)\\n.dcm",
        "a\x00\x1b[31m\n\u202egpj.exe",
        "scan\udcff.dcm",
    ],
)
def test_file_names_are_text_and_nothing_else(name: str) -> None:
    text = only_page(report_pdf(READ, name, CARD))
    visible = " ".join("".join(c if c.isprintable() else " " for c in name).split())
    assert f"File: {visible}" in text


def test_a_file_named_like_a_word_is_not_translated() -> None:
    text = only_page(report_pdf(READ, "Normal", CARD, translate=in_chinese))
    assert "Normal" in text and "正常" in text


def test_scripts_without_a_font_leave_a_mark_not_an_error() -> None:
    assert "File: ????? ?.dcm" in only_page(report_pdf(READ, "مريض٢ 😀.dcm", CARD))


CHINESE = {
    "Report of one reading": "一次读片报告",
    "File": "文件",
    "Normal": "正常",
    "Viral pneumonia": "病毒性肺炎",
    "Bacterial pneumonia": "细菌性肺炎",
    "Prediction set: {labels}": "预测集：{labels}",
    "Not a medical device. For research and teaching; a qualified reader decides.": "非医疗器械。仅供研究与教学。",
    "{bits}-bit {kind}": "{bits} 位 {kind}",
    "Adults.": "成人。",
}


def in_chinese(message: Message | str) -> str:
    if isinstance(message, str):
        return CHINESE.get(message, message)
    values = {
        name: CHINESE.get(value, value) if isinstance(value, str) else value for name, value in message.values.items()
    }
    return CHINESE.get(message.template, message.template).format(**values)


def test_pdf_in_chinese() -> None:
    text = only_page(report_pdf(READ, "病人 1.dcm", CARD, OVERLAY, **EVERYTHING, translate=in_chinese))
    for part in (
        "一次读片报告",
        "非医疗器械",
        "文件: 病人 1.dcm",
        "预测集：细菌性肺炎, 病毒性肺炎",
        "16 位 MONOCHROME1",
        "成人。",
    ):
        assert part in text, part
    assert "97.9 %" in text and "Refer to a reader" in text  # what has no translation stays English


# ------------------------------------------------------------------------------------ never over the edge


def crowded(word: str) -> tuple[Reading, dict[str, Any], dict[str, Any]]:
    """A reading, card and metrics far longer than any real ones."""
    labels = {f"{word * 30}{k}": 1 / 60 for k in range(60)}
    many = tuple(say("{text}", text=word * 300) for _ in range(60))
    reading = replace(
        READ, probabilities=labels, label=next(iter(labels)), prediction_set=tuple(labels), trace=many, cautions=many,
        operating_point=replace(POINT, name=word * 200, finding=word * 200), version=word * 100,
    )  # fmt: skip
    texts = [word * 900] * 30
    card = dict.fromkeys(("intended_use", "not_for"), texts) | dict.fromkeys(
        ("name", "population", "metrics_note"), word * 900
    )
    row = {"metric": word * 90, "value": 1.0, "low": None, "high": 1.0, "n": 10**9, "split": word * 90}
    return reading, card, {"figures": [row] * 40}


@pytest.mark.parametrize("word", ["W", "long words ", "肺炎"])
def test_overlong_texts_stay_on_the_page(word: str) -> None:
    reading, card, metrics = crowded(word)
    pdf = report_pdf(reading, word * 4000, card, OVERLAY, **EVERYTHING | {"metrics": metrics})
    assert "Not a medical device" in only_page(pdf)
    refused = replace(REFUSED, reason=say("{text}", text=word * 4000), trace=reading.trace)
    only_page(report_pdf(refused, word * 4000, None))
    if shutil.which("pdftotext"):
        boxes = subprocess.run(
            ["pdftotext", "-bbox", "-", "-"], input=pdf, capture_output=True, check=True
        ).stdout.decode()
        edges = np.array(
            re.findall(r'<word xMin="([\d.-]+)" yMin="([\d.-]+)" xMax="([\d.-]+)" yMax="([\d.-]+)"', boxes), float
        )
        assert len(edges) > 20
        assert edges[:, :2].min() >= 40 and edges[:, 2].max() <= 595 - 40 and edges[:, 3].max() <= 842 - 40
