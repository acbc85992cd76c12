"""The report of a study as a FHIR R4 Bundle: DiagnosticReport, Observations, RiskAssessments, and what they point to.

Validated before it is returned by the models of ``fhir.resources`` for R4B (4.3.0): it has none for 4.0.1, and the
resources used here are the same in both (https://hl7.org/fhir/R4B/diff.html). Names and free text stand in FHIR
strings and escaped narratives alone, never in markup.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from medai_core.cases import report_codes as codes
from medai_core.cases.report_answer import DEATH, Answer, Estimate
from medai_core.cases.report_codes import PRIVATE, SYSTEMS, Coded, coded
from medai_core.cases.report_dicom import MANUFACTURER
from medai_core.cases.report_facts import KINDS, ReportFacts, ReviewFacts, Source, clean, person
from medai_core.cases.report_json import NOT_A_DEVICE

Resource = dict[str, Any]
DICOM_UID = "urn:dicom:uid"
UCUM = "http://unitsofmeasure.org"
TERMS = "http://terminology.hl7.org/CodeSystem"
_GENDERS = {"F": "female", "M": "male", "O": "other"}
_STATUSES = {"final": "final", "refused": "cancelled", "preliminary": "preliminary"}
_REPORTS = {
    "chest_xray": ("http://loinc.org", "36554-4", "XR Chest Single view"),
    "brain_mri": ("http://loinc.org", "24590-2", "MR Brain"),
}
_NO_VALUE = {"refused": "unsupported", "failed": "error", "waiting": "temp-unknown"}


def fhir(facts: ReportFacts) -> dict[str, Any]:
    """Return the Bundle (a collection) as JSON types.

    The Patient holds the pseudonym alone unless the facts carry an identity. The same facts give the same Bundle.
    """
    from fhir.resources.R4B.bundle import Bundle

    bundle = {
        "resourceType": "Bundle",
        "id": str(_uuid(facts, f"bundle {facts.written.isoformat()}")),
        "type": "collection",
        "timestamp": _instant(facts.written),
        "entry": [_entry(facts, resource) for resource in _resources(facts)],
    }
    bundle = _filled(bundle)
    Bundle.model_validate(bundle)
    return bundle


def _resources(facts: ReportFacts) -> list[Resource]:
    models = {answer.model: answer for answer in _answers(facts) if answer.model}
    devices = [_device(facts, answer) for answer in models.values()]
    study = [_imaging_study(facts)] if facts.kind == "scan" else []
    readings = [_reading(facts, source, number) for number, source in enumerate(facts.sources)]
    risks = [
        _risk(facts, source, number) for number, source in enumerate(facts.sources) if _has_risk(source.answer)
    ]  # fmt: skip
    reviews = [_review(facts, review, number) for number, review in enumerate(facts.reviews)]
    results = [_reference(resource) for resource in (*readings, *reviews)]
    report = _report(facts, results)
    return [report, _patient(facts), *devices, *study, *readings, *risks, *reviews]


def _answers(facts: ReportFacts) -> list[Answer]:
    return [source.answer for source in facts.sources if source.answer is not None]


# ----------------------------------------------------------------------------------------------- resources


def _report(facts: ReportFacts, results: list[Resource]) -> Resource:
    model = facts.leading.answer.model if facts.leading.answer else None
    system, code, display = _REPORTS.get(model or "", ("", "", ""))
    name = {"text": f"Report of the algorithm's reading: {KINDS[facts.kind]}"}
    if code:
        name["coding"] = [{"system": system, "code": code, "display": display}]
    category = {"coding": [{"system": f"{TERMS}/v2-0074", "code": "RAD", "display": "Radiology"}]}
    concluded = facts.review.labels if facts.review else [a.label for a in _answers(facts) if a.label]
    return _resource(
        facts, "DiagnosticReport", "report",
        text=_narrative([*_sentences(facts), str(NOT_A_DEVICE)]),
        status=_STATUSES[facts.status],
        category=[category] if facts.kind == "scan" else None,
        code=name,
        subject=_to_patient(facts),
        effectiveDateTime=_examined(facts),
        issued=_instant(facts.written),
        performer=_by_reader(facts.review),
        resultsInterpreter=_by_reader(facts.review),
        result=results,
        imagingStudy=[_to(facts, "ImagingStudy", "study")] if facts.kind == "scan" else None,
        conclusion=_string(" ".join(_sentences(facts))),
        conclusionCode=[_concept(coded(label)) for label in dict.fromkeys(concluded)],
    )  # fmt: skip


def _patient(facts: ReportFacts) -> Resource:
    who = facts.identity
    if who is None:
        pseudonym = {"type": {"text": "Pseudonym"}, "value": _string(facts.pseudonym)}
        return _resource(facts, "Patient", "patient", identifier=[pseudonym])
    number = {
        "type": {"coding": [{"system": f"{TERMS}/v2-0203", "code": "MR", "display": "Medical record number"}]},
        "value": _string(who.patient_id),
        "assigner": {"display": _string(who.issuer)} if clean(who.issuer) else None,
    }
    return _resource(
        facts, "Patient", "patient",
        identifier=[number] if clean(who.patient_id) else None,
        name=[name for group in who.person_name.split("=") if (name := _human_name(group))],
        gender=_GENDERS.get(who.sex),
        birthDate=who.birth_date.isoformat() if who.birth_date else None,
    )  # fmt: skip


def _human_name(group: str) -> Resource | None:
    family, given, middle, prefix, suffix = [*map(_string, group.split("^", 4)), *[None] * 5][:5]
    text = _string(" ".join(part for part in (prefix, given, middle, family, suffix) if part))
    if text is None:
        return None
    return {
        "text": text, "family": family, "given": [part for part in (given, middle) if part],
        "prefix": [prefix] if prefix else None, "suffix": [suffix] if suffix else None,
    }  # fmt: skip


def _device(facts: ReportFacts, answer: Answer) -> Resource:
    model = _string(answer.model) or MANUFACTURER
    digest = {"type": {"text": "SHA-256 of the model bundle"}, "value": answer.digest}
    return _resource(
        facts, "Device", f"device {answer.model}",
        identifier=[digest] if answer.digest else None,
        manufacturer=MANUFACTURER,
        deviceName=[{"name": _string(answer.title) or model, "type": "user-friendly-name"},
                    {"name": model, "type": "model-name"}],
        version=[{"value": _string(answer.version)}] if answer.version else None,
        type={"text": "Algorithm"},
        note=[{"text": str(NOT_A_DEVICE)}],
    )  # fmt: skip


def _imaging_study(facts: ReportFacts) -> Resource:
    series: dict[str, list[Resource]] = {}
    for source in facts.sources:
        kind = str(source.header.get("SOPClassUID", "")) if source.header is not None else ""
        instance = {"uid": facts.sop(source), "sopClass": {
            "system": "urn:ietf:rfc:3986", "code": f"urn:oid:{kind or '1.2.840.10008.5.1.4.1.1.7'}"}}  # fmt: skip
        series.setdefault(facts.series(source), []).append(instance)
    return _resource(
        facts, "ImagingStudy", "study",
        identifier=[{"system": DICOM_UID, "value": f"urn:oid:{facts.study}"}],
        status="available",
        subject=_to_patient(facts),
        started=facts.study_date.isoformat() if facts.study_date else None,
        numberOfSeries=len(series),
        numberOfInstances=len(facts.sources),
        series=[{"uid": uid, "modality": _modality(facts, uid), "instance": rows} for uid, rows in series.items()],
    )  # fmt: skip


def _modality(facts: ReportFacts, series: str) -> Resource:
    headers = [source.header for source in facts.sources if facts.series(source) == series]
    named = next((str(header.get("Modality", "")) for header in headers if header is not None), "")
    return {"system": SYSTEMS["DCM"], "code": clean(named, 16).replace(" ", "") or "OT"}


def _reading(facts: ReportFacts, source: Source, number: int) -> Resource:
    """What the algorithm said of one object, or why it said nothing."""
    answer, status = source.answer, codes.status_of(source.answer)
    value: Resource = {}
    components: list[Resource] = []
    if answer is not None and status == "read":
        value, components = _value(answer), _components(answer)
    why = answer.reason or answer.code if answer is not None else "No algorithm has read this yet."
    absent = {"coding": [{"system": f"{TERMS}/data-absent-reason", "code": _NO_VALUE.get(status, "unknown")}],
              "text": _string(str(why) or "No reason was given")}  # fmt: skip
    picture = {**_to(facts, "ImagingStudy", "study"), "display": f"Instance {facts.sop(source)}"}
    notes = [*(answer.cautions if answer is not None else ()), NOT_A_DEVICE]
    return _resource(
        facts, "Observation", f"reading {number}",
        status={"read": "preliminary", "waiting": "registered"}.get(status, "cancelled"),
        code={"text": f"Reading by an algorithm: {KINDS[facts.kind]}"},
        subject=_to_patient(facts),
        effectiveDateTime=_examined(facts),
        device=_to_device(facts, answer),
        derivedFrom=[picture] if facts.kind == "scan" else None,
        dataAbsentReason=None if value else absent,
        note=[{"text": text} for note in notes if (text := _string(str(note)))],
        component=components,
        **value,
    )  # fmt: skip


def _value(answer: Answer) -> Resource:
    if answer.label:
        return {"valueCodeableConcept": _concept(coded(answer.label))}
    if answer.finding_probability is not None:
        return {"valueQuantity": _percent(answer.finding_probability)}
    numbers = [estimate for estimate in answer.estimates if estimate.hour is None]
    return {"valueQuantity": _quantity(numbers[0])} if numbers else {"valueString": "Read; no single answer"}


def _components(answer: Answer) -> list[Resource]:
    rows = [
        {"code": _concept(coded(label), f"Probability: {coded(label).meaning}"), "valueQuantity": _percent(share)}
        for label, share in _outcomes(answer)
    ]
    rows += [{"code": _concept(codes.POSSIBLE, "Prediction set"), "valueCodeableConcept": _concept(coded(label))}
             for label in answer.prediction_set]  # fmt: skip
    rows += [_estimate(estimate) for estimate in answer.estimates]
    if answer.threshold is not None:
        rows.append({"code": {"text": f"Threshold of the operating point {clean(answer.operating_point)}"},
                     "valueQuantity": _percent(answer.threshold)})  # fmt: skip
    return [*rows, {"code": {"text": codes.REFER.meaning}, "valueBoolean": answer.refer}]


def _estimate(estimate: Estimate) -> Resource:
    at = "" if estimate.hour is None else f", hour {estimate.hour}"
    limits = {"low": estimate.low, "high": estimate.high}
    between = {name: _quantity(estimate, limit) for name, limit in limits.items() if limit is not None}
    return {
        "code": {"text": _string(f"{estimate.name}{at}")},
        "valueQuantity": _quantity(estimate),
        "referenceRange": [{**between, "type": {"text": "Range of the estimate"}}] if between else None,
    }


def _has_risk(answer: Answer | None) -> bool:
    return answer is not None and answer.status == "read" and bool(_outcomes(answer))


def _outcomes(answer: Answer) -> list[tuple[str, float]]:
    found = dict(answer.probabilities)
    if answer.finding and answer.finding_probability is not None:
        found[answer.finding] = answer.finding_probability
    return list(found.items())


def _risk(facts: ReportFacts, source: Source, number: int) -> Resource:
    """The probabilities, as percentages: FHIR R4 says decimals here are (RiskAssessment.prediction, maximum 100)."""
    answer = source.answer
    return _resource(
        facts, "RiskAssessment", f"risk {number}",
        status="final" if facts.reviews else "preliminary",
        method={"text": _string(f"{answer.title or answer.model} {answer.version or ''}")},
        code={"text": "Calibrated probabilities of an algorithm"},
        subject=_to_patient(facts),
        occurrenceDateTime=_examined(facts),
        performer=_to_device(facts, answer),
        basis=[_to(facts, "Observation", f"reading {number}")],
        prediction=[
            {"outcome": _concept(coded(label)), "probabilityDecimal": round(100 * float(share), 4),
             "rationale": "Death before leaving hospital" if label == DEATH else None}
            for label, share in _outcomes(answer)
        ],
        note=[{"text": str(NOT_A_DEVICE)}],
    )  # fmt: skip


def _review(facts: ReportFacts, review: ReviewFacts, number: int) -> Resource:
    verdict = codes.review_code(review.agrees)
    components = [
        {"code": {"text": codes.REVIEW.meaning}, "valueCodeableConcept": {"text": verdict.meaning}},
        {"code": {"text": codes.READ_FIRST.meaning}, "valueBoolean": review.first},
    ]
    if review.seconds is not None:
        seconds = {"value": round(float(review.seconds), 1), "unit": "seconds", "system": UCUM, "code": "s"}
        components.append({"code": {"text": "Time to decision"}, "valueQuantity": seconds})
    components += [
        {"code": {"text": "Further finding"}, "valueCodeableConcept": _concept(coded(one.label), codes.told(one))}
        for one in review.also
    ]
    components += [
        {"code": {"text": named}, "valueString": value}
        for name, given in review.findings.items()
        if (named := _string(name)) and (value := _string(given))
    ]
    return _resource(
        facts, "Observation", f"review {number}",
        status="final",
        code={"text": "Reading by a person"},
        subject=_to_patient(facts),
        effectiveDateTime=_instant(review.committed) if review.committed else None,
        performer=_by_reader(review),
        valueCodeableConcept=_concept(coded(review.label)),
        note=[{"text": reason}] if (reason := _string(review.reason)) else None,
        derivedFrom=[_to(facts, "Observation", f"reading {k}") for k in range(len(facts.sources))],
        component=components,
    )  # fmt: skip


# --------------------------------------------------------------------------------------------------- parts


def _sentences(facts: ReportFacts) -> list[str]:
    """The report in words: the review where there is one, then what the algorithm said."""
    found = []
    if facts.review is not None:
        verdict = codes.review_code(facts.review.agrees).meaning.lower()
        named = ", ".join(coded(label).meaning for label in facts.review.labels)
        found.append(f"Reader: {named} (algorithm result: {verdict}).")
    for number, source in enumerate(facts.sources, start=1):
        found.append(f"Algorithm, object {number}: {_said(source.answer)}")
    if facts.review is None:
        found.append("Preliminary: no reader has reviewed this study.")
    return found


def _said(answer: Answer | None) -> str:
    if answer is None:
        return "not read yet."
    if answer.status != "read":
        return f"{answer.status}, not read: {clean(answer.reason) or clean(answer.code)}"
    parts = [f"{coded(answer.label).meaning}"] if answer.label else []
    parts += [f"{coded(label).meaning} {100 * share:.1f} %" for label, share in _outcomes(answer)]
    parts += ["refer to a reader in any case"] if answer.refer else []
    return "; ".join(parts or ["read"]) + "."


def _narrative(sentences: Iterable[str]) -> Resource:
    from html import escape

    paragraphs = "".join(f"<p>{escape(clean(sentence))}</p>" for sentence in sentences)
    return {"status": "generated", "div": f'<div xmlns="http://www.w3.org/1999/xhtml">{paragraphs}</div>'}


def _concept(code: Coded, text: str | None = None) -> Resource:
    concept: Resource = {"text": _string(text or code.meaning)}
    if code.scheme != PRIVATE:
        concept["coding"] = [{"system": SYSTEMS[code.scheme], "code": code.value, "display": code.meaning}]
    return concept


def _percent(share: float) -> Resource:
    return {"value": round(100 * float(share), 4), "unit": "%", "system": UCUM, "code": "%"}


def _quantity(estimate: Estimate, value: float | None = None) -> Resource:
    value = estimate.value if value is None else value
    if estimate.unit == "1":
        return _percent(value)
    return {"value": float(value), "unit": _string(estimate.unit), "system": UCUM if estimate.unit else None,
            "code": _string(estimate.unit)}  # fmt: skip


def _by_reader(review: ReviewFacts | None) -> list[Resource] | None:
    name = _string(person(review.reader)) if review is not None and review.reader else None
    return [{"display": name}] if name else None


def _string(text: object) -> str | None:
    """A FHIR string: valid Unicode without control characters, or nothing."""
    return clean(text) or None if text is not None else None


def _examined(facts: ReportFacts) -> str | None:
    """Of what moment a statement is: of the arrival, else of the day of the examination."""
    if facts.arrived is not None:
        return _instant(facts.arrived)
    return facts.study_date.isoformat() if facts.study_date else None


def _instant(when: datetime) -> str:
    aware = when if when.tzinfo else when.replace(tzinfo=UTC)
    return aware.isoformat(timespec="seconds")


def _uuid(facts: ReportFacts, name: str) -> uuid.UUID:
    return uuid.UUID(int=int(facts.uid("fhir", facts.study, name).removeprefix("2.25.")), version=4)


def _resource(facts: ReportFacts, kind: str, name: str, /, **content: Any) -> Resource:
    return {"resourceType": kind, "id": str(_uuid(facts, f"{kind} {name}")), **content}


def _entry(facts: ReportFacts, resource: Resource) -> Resource:
    return {"fullUrl": f"urn:uuid:{resource['id']}", "resource": resource}


def _reference(resource: Resource) -> Resource:
    return {"reference": f"urn:uuid:{resource['id']}", "type": resource["resourceType"]}


def _to(facts: ReportFacts, kind: str, name: str) -> Resource:
    return {"reference": f"urn:uuid:{_uuid(facts, f'{kind} {name}')}", "type": kind}


def _to_patient(facts: ReportFacts) -> Resource:
    return _to(facts, "Patient", "patient")


def _to_device(facts: ReportFacts, answer: Answer | None) -> Resource | None:
    return _to(facts, "Device", f"device {answer.model}") if answer is not None and answer.model else None


def _filled(value: Any) -> Any:
    """Without the empty: FHIR allows neither null nor empty lists or objects."""
    if isinstance(value, Mapping):
        return {key: kept for key, item in value.items() if (kept := _filled(item)) not in (None, [], {})}
    if isinstance(value, list):
        return [kept for item in value if (kept := _filled(item)) not in (None, [], {})]
    return value
