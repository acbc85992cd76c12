"""The printed report as Poppler reads it."""

from __future__ import annotations

import re
import subprocess
from dataclasses import replace

import pytest
from drawn_reports import (
    ALL_KINDS,
    BRAIN,
    COMMITTED,
    FAMILY,
    HOSTILE,
    NUMBER,
    OVERRULES,
    READ,
    REFERRER,
    WHO,
    facts,
    printed,
    scan,
    tool,
)  # fmt: skip

from medai_core.cases.answers import Finding, Identity
from medai_core.cases.report_facts import ReviewFacts, clean
from medai_core.cases.report_pdf import pdf
from medai_core.errors import Message


def pages(file: bytes) -> int:
    said = subprocess.run([tool("pdfinfo"), "-"], input=file, capture_output=True, check=True).stdout.decode()
    return int(re.search(r"Pages:\s+(\d+)", said)[1])


def test_a_reviewed_scan_says_all_it_must() -> None:
    text = printed(pdf(ALL_KINDS["scan"]))
    for part in (
        "Report of a study", "Not a medical device", "Reviewed by a reader.", f"{FAMILY}, Jane (王小东)",
        f"{NUMBER} (City Hospital)", "1970-05-06", "female", "ACC-9", "2024-01-02 03:04+00:00", "1.2.826.0.1.2",
        "Reader's answer: Bacterial pneumonia", "Agrees with the model's answer.",
        "Reason: Consolidation on the right", "Reader: Lesser, Rita", "42 seconds to the decision",
        "Answer: Bacterial pneumonia", "Pneumonia: calibrated probability 97.9 %", "Above the threshold of 50.0 %",
        "Prediction set: Bacterial pneumonia, Viral pneumonia", "Refer to a reader in any case.", "71.1 %", "2.1 %",
        "the model was made for children aged 1 to 5.", "Grad-CAM for “bacterial”", "A heat map is no localisation",
        "Model: Chest radiograph (chest_xray), version 1.1.0", "cd" * 32, "ab" * 32, "Page 1",
    ):  # fmt: skip
        assert part in text, part


def test_a_review_that_overrules() -> None:
    text = printed(pdf(ALL_KINDS["overruled"]))
    assert "Overrules the model's answer." in text and "Reader's answer: Viral pneumonia" in text
    assert "Review 1" in text and "Review 2" in text and "side: both" in text
    assert "Also: Pneumonia; Location: left lower zone; How sure: Moderate" in text and "Also: old rib fracture" in text
    assert "Read before the model's answer was shown." in text


def test_refused_and_waiting() -> None:
    text = printed(pdf(ALL_KINDS["refused"]))
    assert "Not read: refused. No reader has reviewed this study." in text
    assert "This looks like a photograph, not a chest radiograph or a brain MRI slice." in text
    assert "Answer:" not in text and "probability" not in text
    assert "No model has read this yet." in printed(pdf(ALL_KINDS["waiting"]))
    alone = printed(pdf(replace(ALL_KINDS["refused"], reviews=(replace(OVERRULES, agrees=None),))))
    assert "There was no answer of a model to compare with." in alone


def test_a_stay_and_a_row() -> None:
    stay = printed(pdf(ALL_KINDS["stay"]))
    assert "Intensive-care stay" in stay and "Death in hospital: calibrated probability 31.2 %" in stay
    hours = [int(hour) for hour in re.findall(r"Risk of death in hospital (\d+) ", stay)]
    assert hours[-1] == 48 and 2 <= len(hours) <= 12 and hours == sorted(hours)
    row = printed(pdf(ALL_KINDS["row"]))
    assert "Row of a table" in row and "Answer: Malignant" in row and "80.0 %" in row
    assert "Preliminary: no reader has reviewed this study." in row


def test_many_objects_are_told_in_short() -> None:
    many = tuple(scan(replace(BRAIN, urgency=k / 100), sop_uid=f"1.2.3.{k}") for k in range(1, 81))
    text = printed(pdf(facts(*many, scan(replace(READ, urgency=0.99)))))
    assert "What the model said of object 81 of 81" in text and "The other objects of the study" in text
    assert "No tumour 95.0 %" in text and "17 more objects are in the JSON report." in text


def test_without_identity_nobody_is_named() -> None:
    text = printed(pdf(facts(study_date=None)))
    assert "Patient, by pseudonym P-1234" in text
    for planted in (FAMILY, NUMBER, REFERRER, "City Hospital", "ACC-9", "2023", "S-77"):
        assert planted not in text, planted


CHINESE = {
    "Report of a study": "检查报告",
    "Reader's answer: {label}": "阅片者的结论：{label}",
    "Viral pneumonia": "病毒性肺炎",
    "Not a medical device. For research and teaching; a qualified reader decides.": "非医疗器械。仅供研究与教学。",
    "Overrules the model's answer.": "否定了模型的结论。",
    "Reason": "理由",
}


def in_chinese(message: Message | str) -> str:
    if isinstance(message, str):
        return CHINESE.get(message, message)
    values = {k: CHINESE.get(v, v) if isinstance(v, str) else v for k, v in message.values.items()}
    return CHINESE.get(message.template, message.template).format(**values)


def test_in_chinese() -> None:
    told = replace(ALL_KINDS["overruled"], identity=replace(WHO, person_name="Wang^Xiaodong=王^小东"))
    text = printed(pdf(told, translate=in_chinese))
    for part in (
        "检查报告", "阅片者的结论：病毒性肺炎", "非医疗器械", "否定了模型的结论。", "理由: Both lungs",
        "Wang, Xiaodong (王小东)",
    ):  # fmt: skip
        assert part in text, part


def test_the_catalogue_has_every_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    from pages.ui import language

    monkeypatch.setattr(language, "language", lambda: "zh_CN")
    text = printed(pdf(replace(ALL_KINDS["overruled"], reviews=(replace(OVERRULES, reason="", findings={}),)),
                       translate=language.tell))  # fmt: skip
    assert "病毒性肺炎" in text
    ours = re.sub(r"Grad-CAM[^”]*”|SHA-256|P-1234|Lesser, Rita|chest_xray|Page", "", text)
    assert not re.search(r"\b(Review|Reader|Answer|Arrived|Written|Patient|Preliminary|Refer|Model|Kind)\b", ours), ours


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_texts_are_text(text: str) -> None:
    review = ReviewFacts(text, COMMITTED, False, text, {text: text}, text, also=(Finding(text, text, text),))
    answer = replace(READ, model=text, version=text, title=text, label=text, probabilities={text: 1.0},
                     prediction_set=(text,), finding=text, cautions=(text,))  # fmt: skip
    told = facts(scan(answer), reviews=(review,), identity=Identity(text, text, text, None, "?", text), accession=text)
    found = printed(pdf(told))
    plain = clean(text)
    if plain and plain.isascii() and len(plain) < 60:
        assert f"Reason: {plain}" in found


def test_long_reviews_take_as_many_pages_as_they_need() -> None:
    long = ReviewFacts("viral", COMMITTED, False, "word " * 780, {f"finding {k}": "text " * 200 for k in range(12)})
    file = pdf(facts(reviews=(long,) * 3))
    assert pages(file) > 3 and f"Page {pages(file)}" in printed(file)
    assert printed(file).count("word") == 3 * 780
    assert pages(pdf(facts())) == 1


def test_the_same_facts_give_the_same_file() -> None:
    assert (pdf(facts()) == pdf(facts())) is True
