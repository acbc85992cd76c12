"""The JSON report against its schema."""

from __future__ import annotations

import json
from dataclasses import replace

import jsonschema
import numpy as np
import pytest
from drawn_reports import (
    ALL_KINDS,
    COMMITTED,
    FAMILY,
    HOSTILE,
    NUMBER,
    READ,
    REFERRER,
    STAY,
    WHO,
    facts,
    scan,
)  # fmt: skip

from medai_core.cases.answers import Identity
from medai_core.cases.report_answer import Estimate
from medai_core.cases.report_facts import ReviewFacts
from medai_core.cases.report_json import CASE_REPORT_SCHEMA, as_json


def checked(told: dict) -> dict:
    told = json.loads(json.dumps(told, allow_nan=False))
    jsonschema.validate(told, CASE_REPORT_SCHEMA)
    return told


@pytest.mark.parametrize("name", ALL_KINDS)
def test_every_report_fits_the_schema(name: str) -> None:
    told = checked(as_json(ALL_KINDS[name]))
    assert told["kind"] == ALL_KINDS[name].kind and told["status"] == ALL_KINDS[name].status


def test_the_schema_refuses_what_is_no_report() -> None:
    told = as_json(facts())
    for change in ({"kind": "film"}, {"extra": 1}, {"patient": {}}, {"status": "perhaps"}, {"study_uid": "x"}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(told | change, CASE_REPORT_SCHEMA)


def test_it_holds_answer_codes_and_review() -> None:
    told = checked(as_json(ALL_KINDS["overruled"]))
    reading = told["objects"][0]["reading"]
    assert reading["probabilities"] == READ.probabilities and reading["prediction_set"] == ["bacterial", "viral"]
    assert reading["label_code"] == {"value": "53084003", "scheme": "SCT", "meaning": "Bacterial pneumonia"}
    assert reading["model"] == {
        "id": "chest_xray", "version": "1.1.0", "digest": "cd" * 32, "name": "Chest radiograph"
    }  # fmt: skip
    assert [review["verdict"] for review in told["reviews"]] == ["agreed", "overruled"]
    assert [one["label"] for one in told["reviews"][1]["also"]] == ["pneumonia", "old rib fracture"]
    assert told["reviews"][1]["read_first"] is True and told["reviews"][1]["seconds"] == 63.2
    assert told["objects"][0]["heat_map"] == "Grad-CAM for “bacterial”" and told["objects"][0]["was_dicom"] is True
    assert checked(as_json(ALL_KINDS["refused"]))["objects"][0]["reading"]["reason"].startswith("This looks like")
    assert checked(as_json(ALL_KINDS["waiting"]))["objects"][0]["reading"] is None


def test_identity_is_there_only_when_given() -> None:
    named, hidden = as_json(facts(identity=WHO)), as_json(facts())
    assert named["patient"]["name"] == WHO.person_name and named["identified"] is True
    assert hidden["patient"] == {"pseudonym": "P-1234"} and hidden["identified"] is False
    for planted in (FAMILY, NUMBER, REFERRER, "City Hospital", "ACC-9", "2023", "S-77"):
        assert planted not in json.dumps(hidden), planted


@pytest.mark.parametrize("text", HOSTILE)
def test_any_text_gives_json(text: str) -> None:
    told = facts(
        scan(replace(READ, label=text, probabilities={text: 1.0})), identity=Identity(text, text, person_name=text),
        reviews=(ReviewFacts(text, COMMITTED, None, text, {text: text}, text),),
    )  # fmt: skip
    assert json.dumps(checked(as_json(told)), ensure_ascii=False).encode()


def test_numbers_that_are_none_become_null() -> None:
    course = (Estimate("risk", float("nan"), np.float32(0.5), float("inf"), hour=1),)
    row = checked(as_json(facts(scan(replace(STAY, estimates=course)))))["objects"][0]["reading"]["estimates"][0]
    assert (row["value"], row["low"], row["high"]) == (None, 0.5, None)
