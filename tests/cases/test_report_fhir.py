"""The Bundle as the models of fhir.resources and a reader of FHIR see it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any
from xml.etree import ElementTree

import pytest
from drawn_reports import (
    ALL_KINDS,
    COMMITTED,
    FAMILY,
    HOSTILE,
    NUMBER,
    OVERRULES,
    READ,
    REFERRER,
    REFUSED,
    WHO,
    facts,
    scan,
)  # fmt: skip
from fhir.resources.R4B import get_fhir_model_class

from medai_core.cases.answers import Finding, Identity
from medai_core.cases.report_facts import ReviewFacts
from medai_core.cases.report_fhir import fhir


def resources(bundle: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    return [row["resource"] for row in bundle["entry"] if row["resource"]["resourceType"] == kind]


def only(bundle: dict[str, Any], kind: str) -> dict[str, Any]:
    found = resources(bundle, kind)
    assert len(found) == 1
    return found[0]


def references(value: Any) -> list[str]:
    if isinstance(value, dict):
        own = [value["reference"]] if "reference" in value else []
        return own + [found for part in value.values() for found in references(part)]
    return [found for part in value for found in references(part)] if isinstance(value, list) else []


def checked(bundle: dict[str, Any]) -> dict[str, Any]:
    """The Bundle from its own JSON, every resource of it valid, nothing pointing outside, no narrative broken."""
    bundle = json.loads(json.dumps(bundle, allow_nan=False))
    get_fhir_model_class("Bundle").model_validate(bundle)
    for row in bundle["entry"]:
        get_fhir_model_class(row["resource"]["resourceType"]).model_validate(row["resource"])
        if "text" in row["resource"]:
            ElementTree.fromstring(row["resource"]["text"]["div"])
    urls = [row["fullUrl"] for row in bundle["entry"]]
    assert len(set(urls)) == len(urls) and set(references(bundle)) <= set(urls)
    return bundle


@pytest.mark.parametrize("name", ALL_KINDS)
def test_every_bundle_is_valid_and_closed(name: str) -> None:
    bundle = checked(fhir(ALL_KINDS[name]))
    assert bundle["entry"][0]["resource"]["resourceType"] == "DiagnosticReport"
    assert len(resources(bundle, "Patient")) == 1


def test_the_models_do_refuse_what_is_no_fhir() -> None:
    bundle = fhir(facts())
    bundle["entry"][0]["resource"]["status"] = None
    with pytest.raises(ValueError, match="status"):
        get_fhir_model_class("Bundle").model_validate(bundle)


def test_the_report_of_a_scan() -> None:
    bundle = checked(fhir(ALL_KINDS["scan"]))
    report = only(bundle, "DiagnosticReport")
    assert report["status"] == "final" and report["category"][0]["coding"][0]["code"] == "RAD"
    assert report["conclusionCode"][0]["coding"][0]["code"] == "53084003"
    assert report["resultsInterpreter"] == [{"display": "Lesser, Rita"}]
    assert "refer to a reader in any case" in report["conclusion"]
    study = only(bundle, "ImagingStudy")
    assert study["identifier"][0] == {"system": "urn:dicom:uid", "value": "urn:oid:1.2.826.0.1.2"}
    assert study["series"][0]["instance"][0]["uid"] == "1.2.826.0.1.3.1"
    assert study["series"][0]["modality"]["code"] == "DX"
    device = only(bundle, "Device")
    assert device["identifier"][0]["value"] == "cd" * 32 and device["version"] == [{"value": "1.1.0"}]


def test_the_reading_and_its_probabilities() -> None:
    bundle = checked(fhir(ALL_KINDS["upload"]))
    reading = only(bundle, "Observation")
    assert reading["status"] == "preliminary"
    assert reading["valueCodeableConcept"]["coding"][0]["code"] == "53084003"
    parts = {part["code"]["text"]: part for part in reading["component"]}
    assert parts["Probability: Viral pneumonia"]["valueQuantity"] == {
        "value": 26.8, "unit": "%", "system": "http://unitsofmeasure.org", "code": "%",
    }  # fmt: skip
    assert parts["Refer to a reader in any case"]["valueBoolean"] is True
    sets = [part for part in reading["component"] if part["code"]["text"] == "Prediction set"]
    assert [part["valueCodeableConcept"]["coding"][0]["code"] for part in sets] == ["53084003", "75570004"]
    risk = only(bundle, "RiskAssessment")
    assert {row["outcome"]["text"]: row["probabilityDecimal"] for row in risk["prediction"]} == {
        "Normal": 2.1, "Bacterial pneumonia": 71.1, "Viral pneumonia": 26.8, "Pneumonia": 97.9,
    }  # fmt: skip
    assert risk["basis"][0]["reference"] == f"urn:uuid:{reading['id']}" and risk["status"] == "preliminary"
    assert any("children aged 1 to 5" in note["text"] for note in reading["note"])


def test_a_refusal_is_cancelled_with_its_reason_and_without_risk() -> None:
    bundle = checked(fhir(ALL_KINDS["refused"]))
    assert only(bundle, "DiagnosticReport")["status"] == "cancelled"
    reading = only(bundle, "Observation")
    assert reading["status"] == "cancelled" and reading["dataAbsentReason"]["coding"][0]["code"] == "unsupported"
    assert "photograph" in reading["dataAbsentReason"]["text"]
    assert not resources(bundle, "RiskAssessment") and not [key for key in reading if key.startswith("value")]
    reviewed = checked(fhir(replace(ALL_KINDS["refused"], reviews=(replace(OVERRULES, agrees=None),))))
    assert only(reviewed, "DiagnosticReport")["status"] == "final"


def test_a_review_that_overrules_is_the_conclusion() -> None:
    bundle = checked(fhir(ALL_KINDS["overruled"]))
    report = only(bundle, "DiagnosticReport")
    assert [code["text"] for code in report["conclusionCode"]] == ["Viral pneumonia", "Pneumonia", "old rib fracture"]
    assert "Reader: Viral pneumonia, Pneumonia, old rib fracture (" in report["conclusion"]
    assert "algorithm result: overruled" in report["conclusion"]
    review = resources(bundle, "Observation")[-1]
    assert review["valueCodeableConcept"]["text"] == "Viral pneumonia"
    assert review["note"] == [{"text": "Both lungs, no lobar consolidation"}]
    also = [part["valueCodeableConcept"] for part in review["component"] if part["code"]["text"] == "Further finding"]
    assert [one["text"] for one in also] == ["Pneumonia; left lower zone; moderate", "old rib fracture"]
    assert also[0]["coding"][0]["code"] == "233604007" and "coding" not in also[1]
    parts = {part["code"]["text"]: part for part in review["component"]}
    assert parts["Reader's review of the algorithm result"]["valueCodeableConcept"]["text"] == "Overruled"
    assert parts["Time to decision"]["valueQuantity"]["value"] == 63.2 and parts["side"]["valueString"] == "both"
    assert parts["Read before the algorithm result was shown"]["valueBoolean"] is True


def test_a_stay_and_a_row() -> None:
    stay = checked(fhir(ALL_KINDS["stay"]))
    outcome = only(stay, "RiskAssessment")["prediction"][0]
    assert outcome["outcome"]["coding"][0]["code"] == "122166" and outcome["probabilityDecimal"] == 31.25
    course = [c for c in only(stay, "Observation")["component"] if c["code"]["text"].startswith("Risk of death in hos")]
    assert len(course) == 48 and course[-1]["code"]["text"].endswith("hour 48")
    assert not resources(stay, "ImagingStudy") and "category" not in only(stay, "DiagnosticReport")
    row = checked(fhir(ALL_KINDS["row"]))
    assert only(row, "Observation")["valueCodeableConcept"]["coding"][0]["code"] == "254837009"


def test_the_patient_is_named_only_with_identity() -> None:
    named = only(fhir(ALL_KINDS["scan"]), "Patient")
    assert named["name"][0] == {"text": f"Jane {FAMILY}", "family": FAMILY, "given": ["Jane"]}
    assert named["name"][1]["family"] == "王" and named["identifier"][0]["value"] == NUMBER
    assert (named["gender"], named["birthDate"]) == ("female", "1970-05-06")
    hidden = fhir(facts())
    assert only(hidden, "Patient")["identifier"] == [{"type": {"text": "Pseudonym"}, "value": "P-1234"}]
    text = json.dumps(hidden, ensure_ascii=False)
    for planted in (FAMILY, NUMBER, REFERRER, "City Hospital", "ACC-9", "2023", "S-77"):
        assert planted not in text, planted


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_texts_are_text(text: str) -> None:
    review = ReviewFacts(text, COMMITTED, None, text, {text: text}, text, also=(Finding(text, text, text),))
    answer = replace(READ, model=text, version=text, title=text, label=text, probabilities={text: 1.0},
                     prediction_set=(text,), finding=text, cautions=(text,))  # fmt: skip
    told = facts(scan(answer), scan(replace(REFUSED, reason=text)), reviews=(review,), pseudonym=text,
                 identity=Identity(text, text, text, None, text, text))  # fmt: skip
    bundle = checked(fhir(told))
    assert "<script" not in only(bundle, "DiagnosticReport")["text"]["div"]


def test_the_same_facts_give_the_same_bundle() -> None:
    assert fhir(facts()) == fhir(facts())
    assert fhir(facts(key=b"other"))["entry"][1]["resource"]["id"] != fhir(facts())["entry"][1]["resource"]["id"]


def test_a_name_is_split_as_dicom_splits_it() -> None:
    who = replace(WHO, person_name="Doe^Jane^M^Dr^PhD")
    assert only(fhir(facts(identity=who)), "Patient")["name"] == [
        {"text": "Dr Jane M Doe PhD", "family": "Doe", "given": ["Jane", "M"], "prefix": ["Dr"], "suffix": ["PhD"]}
    ]
