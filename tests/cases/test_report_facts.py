"""Facts of a report: identifiers that follow from content and key, answers that survive JSON, texts made harmless."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import pytest
from drawn_reports import ALL_KINDS, BRAIN, HOSTILE, OVERRULES, READ, REFUSED, ROW, STAY, facts, scan, upload

from medai_core.cases.report_answer import DEATH, Answer
from medai_core.cases.report_codes import BY_LABEL, PRIVATE, coded
from medai_core.cases.report_dicom import long_string, person_name
from medai_core.cases.report_facts import ReportFacts, clean, person
from medai_core.errors import InputError, RefusedInput, say
from medai_core.icu.forecaster import Forecast
from medai_core.imaging.reading import OperatingPoint, Reading
from medai_core.metrics import Interval
from medai_core.tabular.risk_model import Prediction


def test_identifiers_follow_from_content_and_key_alone() -> None:
    one, again = facts(upload()), facts(upload())
    source = one.sources[0]
    assert (one.study, one.series(source), one.sop(source)) == (again.study, again.series(source), again.sop(source))
    assert len({one.study, one.series(source), one.sop(source)}) == 3
    assert all(uid.startswith("2.25.") and len(uid) <= 44 for uid in (one.study, one.series(source), one.sop(source)))
    other_key, other = facts(upload(), key=b"another"), facts(replace(upload(), digest="00" * 32))
    assert one.study not in (other_key.study, other.study)
    assert one.sop(source) not in (other_key.sop(source), other.sop(other.sources[0]))


def test_identifiers_of_the_archive_are_kept_and_broken_ones_are_not() -> None:
    told = facts()
    assert (told.study, told.sop(told.sources[0])) == ("1.2.826.0.1.2", "1.2.826.0.1.3.1")
    broken = facts(scan(sop_uid="1.2.x\\3"), study_uid="9" * 65)
    assert broken.study.startswith("2.25.") and broken.sop(broken.sources[0]).startswith("2.25.")


@pytest.mark.parametrize(
    ("change", "named"), [({"kind": "film"}, "film"), ({"sources": ()}, "sources"), ({"key": b""}, "key")]
)
def test_facts_that_make_no_report_say_so(change: dict, named: str) -> None:
    with pytest.raises(InputError, match=named):
        replace(facts(), **change)


def test_status_leading_object_and_the_review_that_counts() -> None:
    assert {name: told.status for name, told in ALL_KINDS.items()} == {
        "scan": "final", "overruled": "final", "upload": "preliminary", "refused": "refused",
        "waiting": "preliminary", "stay": "preliminary", "row": "preliminary",
    }  # fmt: skip
    mild, urgent = scan(BRAIN), scan(READ)
    assert facts(scan(REFUSED), mild, urgent).leading is urgent
    assert facts(scan(REFUSED), scan(None)).leading.answer is REFUSED
    assert ALL_KINDS["overruled"].review is OVERRULES


def test_shifting_moves_the_day_and_leaves_out_when_the_study_was_handled() -> None:
    told = facts(reviews=(OVERRULES,), study_date=date(2024, 1, 1))
    moved = told.shifted(timedelta(days=-40))
    assert moved.arrived is None and moved.moved
    assert moved.written == told.written, "who gets the report knows when it was written, and could tell the shift"
    assert moved.reviews[0].committed is None, "minutes before the report was written: moved, it tells the shift"
    assert moved.reviews[0].seconds == OVERRULES.seconds
    assert moved.study_date == date(2023, 11, 22)
    assert moved.study == told.study and moved.reviews[0].reason == OVERRULES.reason


# ------------------------------------------------------------------------------------------------ answers


@pytest.mark.parametrize("answer", [READ, REFUSED, BRAIN, STAY, ROW], ids=lambda a: a.model or a.status)
def test_an_answer_goes_to_json_and_back(answer: Answer) -> None:
    back = Answer.from_dict(json.loads(json.dumps(answer.to_dict())))
    assert back == answer
    assert str(back.reason) == str(answer.reason) and list(map(str, back.cautions)) == list(map(str, answer.cautions))


def test_sentences_in_sentences_survive_json() -> None:
    told = replace(REFUSED, reason=say("Marked as synthetic ({marks})", marks=say("{a}, {b}", a="one", b=2)))
    back = Answer.from_dict(json.loads(json.dumps(told.to_dict())))
    assert str(back.reason) == "Marked as synthetic (one, 2)" and back.reason.template == told.reason.template


def test_answer_of_a_reading() -> None:
    point = OperatingPoint("balanced", "pneumonia", 0.5, Interval(0.9, 0.8, 1), Interval(0.9, 0.8, 1))
    reading = Reading(
        "read", "ok", None, "ab" * 32, "chest_xray", "1.1.0", {"normal": 0.1, "viral": np.float64(0.9)}, "viral",
        ("viral",), False, 0.9, True, point, 0.9, frame=2, frames=5,
    )  # fmt: skip
    answer = Answer.of_reading(reading, "cd" * 32, "Chest radiograph")
    assert (answer.finding, answer.threshold, answer.above_threshold) == ("pneumonia", 0.5, True)
    assert (answer.digest, answer.frame, answer.frames) == ("cd" * 32, 2, 5)
    assert Answer.from_dict(json.loads(json.dumps(answer.to_dict()))) == answer
    line = Answer.from_dict(reading.to_json())
    assert (line.status, line.label, line.probabilities, line.prediction_set) == (
        "read", "viral", {"normal": 0.1, "viral": 0.9}, ("viral",),
    )  # fmt: skip


def test_answer_of_a_stay() -> None:
    risk = np.array([0.1, 0.3])
    answer = Answer.of_forecast(Forecast("s", (1, 2), risk, risk - 0.05, risk + 0.05), "icu_mortality", "1.0.0")
    assert answer.finding == DEATH and answer.finding_probability == 0.3
    assert [(row.hour, row.value) for row in answer.estimates] == [(1, 0.1), (2, 0.3)]
    line = Answer.from_dict({"stay": "s", "status": "read", "hours": [1, 2], "risk": [0.1, 0.3], "mortality": 0.3})
    assert line.finding_probability == 0.3 and [row.hour for row in line.estimates] == [1, 2]


def test_answer_of_a_row() -> None:
    label = Prediction("blend", {"benign": 0.2, "malignant": 0.8}, "malignant", None, ("malignant",), None, False,
                       None, (), ())  # fmt: skip
    assert Answer.of_prediction(label, "breast_cancer", "1.0.0").label == "malignant"
    number = Prediction("trees", {}, None, 12.5, (), (10.0, 15.0), False, None, (), ())
    answer = Answer.of_prediction(number, "own", "1")
    assert (answer.estimates[0].value, answer.estimates[0].low, answer.estimates[0].high) == (12.5, 10.0, 15.0)
    assert Answer.from_dict(number.to_json() | {"model": "own"}).estimates == answer.estimates


def test_answer_of_an_error() -> None:
    assert Answer.of_error(RefusedInput("no image but {what}", what="a report")).status == "refused"
    failed = Answer.of_error(InputError("cut off"))
    assert failed.status == "failed" and str(failed.reason) == "cut off"


# -------------------------------------------------------------------------------------------- codes, texts


def test_codes_fit_their_value_representations() -> None:
    labels = [*BY_LABEL, "someone's own label", "x" * 200, "肺炎", "", "Ünknown\udcff"]
    for label in labels:
        code = coded(label)
        assert 1 <= len(code.value) <= 16 and 1 <= len(code.meaning) <= 64, label
        assert code.scheme in ("SCT", "DCM", PRIVATE)
    assert coded("someone's own label").scheme == PRIVATE
    assert len({coded(label).value for label in ("x" * 200, "x" * 201, "肺炎", "胸片")}) == 4


@pytest.mark.parametrize("name", HOSTILE)
def test_names_fit_dicom(name: str) -> None:
    fitted = person_name(name)
    groups = fitted.split("=")
    assert len(groups) <= 3
    assert all(len(group) <= 64 and group.count("^") <= 4 for group in groups)
    assert "\\" not in fitted and all(c.isprintable() for c in fitted)
    assert fitted == person_name(fitted)
    assert len(long_string(name)) <= 64 and "\\" not in long_string(name)


def test_names_that_fit_stay_as_they_are() -> None:
    assert person_name("Doe^Jane^M^Dr^PhD=王^小东") == "Doe^Jane^M^Dr^PhD=王^小东"
    assert person_name("Bono") == "Bono^"
    assert person("Doe^Jane^M=王^小东") == "Doe, Jane M (王小东)"
    assert person("Ana, María") == "Ana, María" and person("") == ""
    assert clean("a\x00b\n c\udcff") == "a b c" and clean("x" * 10, 5) == "xx..."


def test_facts_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        facts().pseudonym = "else"  # type: ignore[misc]
    assert isinstance(facts(), ReportFacts)
