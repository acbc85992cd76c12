"""The report of a study as JSON to compute with, in English."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from medai_core import __version__
from medai_core.cases.answers import Identity
from medai_core.cases.report_answer import Answer, Estimate
from medai_core.cases.report_codes import PRIVATE, Coded, coded, review_code, status_of
from medai_core.cases.report_facts import ReportFacts, ReviewFacts, Source
from medai_core.errors import Message, say

NOT_A_DEVICE = say("Not a medical device. For research and teaching; a qualified reader decides.")
SCHEMA, SCHEMA_VERSION = "medai-case-report", 3


def as_json(facts: ReportFacts) -> dict[str, Any]:
    """Return all facts as JSON types that fit :data:`CASE_REPORT_SCHEMA`; pictures are left out.

    ``patient`` holds the pseudonym alone unless the facts carry an identity.
    """
    return _plain(
        {
            "schema": SCHEMA,
            "schema_version": SCHEMA_VERSION,
            "disclaimer": str(NOT_A_DEVICE),
            "software": {"medai_core": __version__},
            "status": facts.status,
            "kind": facts.kind,
            "description": facts.description,
            "arrived": facts.arrived.isoformat() if facts.arrived else None,
            "written": facts.written.isoformat(),
            "study_date": facts.study_date.isoformat() if facts.study_date else None,
            "study_uid": facts.study,
            "patient": {"pseudonym": facts.pseudonym} if facts.identity is None else _identity(facts, facts.identity),
            "identified": facts.identity is not None,
            "objects": [_source(facts, source) for source in facts.sources],
            "reviews": [_review(review) for review in facts.reviews],
        }
    )


def _identity(facts: ReportFacts, who: Identity) -> dict[str, Any]:
    return {
        "name": who.person_name, "id": who.patient_id, "issuer": who.issuer, "sex": who.sex,
        "accession": facts.accession,
        "birth_date": who.birth_date.isoformat() if who.birth_date else None,
    }  # fmt: skip


def _source(facts: ReportFacts, source: Source) -> dict[str, Any]:
    return {
        "sha256": source.digest,
        "series_uid": facts.series(source),
        "sop_uid": facts.sop(source),
        "was_dicom": bool(source.sop_uid),
        "status": status_of(source.answer),
        "heat_map": str(source.explained) if source.overlay is not None else None,
        "reading": None if source.answer is None else _answer(source.answer),
    }


def _answer(answer: Answer) -> dict[str, Any]:
    return {
        "model": {"id": answer.model, "version": answer.version, "digest": answer.digest, "name": answer.title},
        "code": answer.code,
        "reason": str(answer.reason),
        "label": answer.label,
        "label_code": _code(coded(answer.label)) if answer.label else None,
        "probabilities": answer.probabilities,
        "prediction_set": answer.prediction_set,
        "refer": answer.refer,
        "finding": answer.finding,
        "finding_code": _code(coded(answer.finding)) if answer.finding else None,
        "finding_probability": answer.finding_probability,
        "threshold": answer.threshold,
        "above_threshold": answer.above_threshold,
        "operating_point": answer.operating_point,
        "urgency": answer.urgency,
        "estimates": [_estimate(estimate) for estimate in answer.estimates],
        "cautions": [str(caution) for caution in answer.cautions],
        "frame": answer.frame,
        "frames": answer.frames,
    }


def _estimate(estimate: Estimate) -> dict[str, Any]:
    return {
        "name": str(estimate.name), "value": estimate.value, "low": estimate.low, "high": estimate.high,
        "unit": estimate.unit, "hour": estimate.hour,
    }  # fmt: skip


def _review(review: ReviewFacts) -> dict[str, Any]:
    return {
        "label": review.label,
        "label_code": _code(coded(review.label)),
        "verdict": review_code(review.agrees).value.lower(),
        "agrees": review.agrees,
        "reason": review.reason,
        "findings": review.findings,
        "also": [asdict(one) | {"label_code": _code(coded(one.label))} for one in review.also],
        "reader": review.reader,
        "committed": review.committed.isoformat() if review.committed else None,
        "read_first": review.first,
        "seconds": review.seconds,
    }


def _code(code: Coded) -> dict[str, str]:
    return code._asdict()


def _plain(value: Any) -> Any:
    """Return JSON types in valid Unicode; a number that is none (NaN, infinity) becomes null."""
    if isinstance(value, Mapping):
        return {_plain(str(key)): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Message | str):
        return str(value).encode("utf-8", "replace").decode()
    value = value.item() if hasattr(value, "item") else value
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _of(*kinds: str) -> dict[str, Any]:
    return {"type": list(kinds)}


def _object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def _list(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items}


def _or_null(kind: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [kind, {"type": "null"}]}


_TEXT, _TEXT_OR_NULL, _NUMBER = _of("string"), _of("string", "null"), _of("number", "null")
_SHARE = {"type": ["number", "null"], "minimum": 0, "maximum": 1}
_UID = {"type": "string", "pattern": r"^[0-9.]{1,64}$"}
_CODE = _object(value=_TEXT, scheme={"enum": ["SCT", "DCM", PRIVATE]}, meaning=_TEXT)
_ESTIMATE = _object(name=_TEXT, value=_NUMBER, low=_NUMBER, high=_NUMBER, unit=_TEXT, hour=_of("integer", "null"))
_READING = _object(
    model=_object(id=_TEXT_OR_NULL, version=_TEXT_OR_NULL, digest=_TEXT_OR_NULL, name=_TEXT),
    code=_TEXT,
    reason=_TEXT,
    label=_TEXT_OR_NULL,
    label_code=_or_null(_CODE),
    probabilities={"type": "object", "additionalProperties": _SHARE},
    prediction_set=_list(_TEXT),
    refer=_of("boolean"),
    finding=_TEXT_OR_NULL,
    finding_code=_or_null(_CODE),
    finding_probability=_SHARE,
    threshold=_SHARE,
    above_threshold=_of("boolean", "null"),
    operating_point=_TEXT,
    urgency=_SHARE,
    estimates=_list(_ESTIMATE),
    cautions=_list(_TEXT),
    frame={"type": "integer", "minimum": 0},
    frames={"type": "integer", "minimum": 1},
)
_PATIENT = _object(
    name=_TEXT, id=_TEXT, issuer=_TEXT, sex={"enum": ["F", "M", "O", ""]}, accession=_TEXT, birth_date=_TEXT_OR_NULL
)
_REVIEW = _object(
    label=_TEXT,
    label_code=_CODE,
    verdict={"enum": ["agreed", "overruled", "notcompared"]},
    agrees=_of("boolean", "null"),
    reason=_TEXT,
    findings={"type": "object", "additionalProperties": _TEXT},
    also=_list(_object(label=_TEXT, location=_TEXT, confidence=_TEXT, label_code=_CODE)),
    reader=_TEXT_OR_NULL,
    committed=_TEXT_OR_NULL,
    read_first=_of("boolean"),
    seconds=_NUMBER,
)

CASE_REPORT_SCHEMA: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "MedAI case report",
    **_object(
        schema={"const": SCHEMA},
        schema_version={"const": SCHEMA_VERSION},
        disclaimer=_TEXT,
        software=_object(medai_core=_TEXT),
        status={"enum": ["final", "preliminary", "refused"]},
        kind={"enum": ["scan", "stay", "row"]},
        description=_TEXT,
        arrived=_TEXT_OR_NULL,
        written=_TEXT,
        study_date=_TEXT_OR_NULL,
        study_uid=_UID,
        patient={"oneOf": [_object(pseudonym=_TEXT), _PATIENT]},
        identified=_of("boolean"),
        objects=_list(
            _object(
                sha256={"type": "string", "pattern": "^[0-9a-f]{64}$"},
                series_uid=_UID,
                sop_uid=_UID,
                was_dicom=_of("boolean"),
                status={"enum": ["read", "refused", "failed", "waiting"]},
                heat_map=_TEXT_OR_NULL,
                reading=_or_null(_READING),
            )
        ),
        reviews=_list(_REVIEW),
    ),
}
