"""A stay from a FHIR R4 Bundle of Observations: LOINC codes, UCUM units (https://hl7.org/fhir/R4/observation.html).

Time runs from the start of the bundle's Encounter; without one, from its first observation.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Any

from medai_core.errors import InputError, say
from medai_core.icu.stay import MAX_ROWS, Intake, Stay, shown
from medai_core.icu.variables import FIXED, Variable, by_loinc

LOINC = "http://loinc.org"
_NOT_VALID = ("cancelled", "entered-in-error")
_GENDERS = {"male": 1.0, "female": 0.0}

Resource = dict[str, Any]


def read_fhir(text: str) -> Stay:
    """Read a Bundle; entries are numbered from 1.

    Raises
    ------
    InputError
        If it is no Bundle, holds two patients, or an Observation cannot be read.
    """
    bundle = _bundle(text)
    resources, same = list(_resources(bundle)), _full_urls(bundle)
    intake = Intake("fhir", "effectiveDateTime", "valueQuantity")
    observed = []
    for row, resource in resources:
        _note_patient(intake, resource, row, same)
        if resource.get("resourceType") == "Observation" and resource.get("status") not in _NOT_VALID:
            observed += [(_moment(resource, row), row, *part) for part in _measurements(intake, resource, row)]
    start = _admission(resources) or min((moment for moment, *_ in observed), default=None)
    for moment, row, variable, quantity in sorted(observed, key=lambda entry: entry[:2]):
        minutes = (moment - start).total_seconds() / 60
        intake.time(minutes, row)
        _add(intake, minutes, variable, quantity, row)
    for row, resource in resources:
        if resource.get("resourceType") == "Patient":
            _describe(intake, resource, start, row)
    return intake.stay()


def _bundle(text: str) -> Resource:
    try:
        bundle = json.loads(text)
    except (ValueError, RecursionError) as error:
        where = f"line {error.lineno}" if isinstance(error, json.JSONDecodeError) else "its nesting"
        raise InputError("The file is not valid JSON: see {where}.", where=where) from None
    if (
        not isinstance(bundle, dict)
        or bundle.get("resourceType") != "Bundle"
        or not isinstance(bundle.get("entry"), list)
    ):
        raise InputError("A JSON file must be a FHIR Bundle with entries.")
    if len(bundle["entry"]) > MAX_ROWS:
        raise InputError("A stay must have at most {limit} rows.", limit=MAX_ROWS)
    return bundle


def _resources(bundle: Resource) -> Iterator[tuple[int, Resource]]:
    for row, entry in enumerate(bundle["entry"], 1):
        resource = entry.get("resource") if isinstance(entry, dict) else None
        if not isinstance(resource, dict):
            raise InputError("Row {row}, column {column}: an entry must hold a resource.", row=row, column="resource")
        yield row, resource


def _full_urls(bundle: Resource) -> dict[str, str]:
    """Ids of the bundle's patients by the last part of their entries' ``fullUrl``, which references may use."""
    found = {}
    for entry in bundle["entry"]:
        url, resource = entry.get("fullUrl"), entry["resource"]
        if resource.get("resourceType") == "Patient" and isinstance(url, str) and isinstance(resource.get("id"), str):
            found[_last_part(url)] = resource["id"]
    return found


def _last_part(reference: str) -> str:
    """The id in ``Patient/7``, ``https://host/Patient/7``, ``urn:uuid:7`` or ``Patient/7/_history/2`` (a version)."""
    return reference.partition("/_history/")[0].removeprefix("urn:uuid:").rpartition("/")[2]


def _note_patient(intake: Intake, resource: Resource, row: int, same: dict[str, str]) -> None:
    kind = resource.get("resourceType")
    if kind == "Patient" and isinstance(resource.get("id"), str):
        intake.patient(resource["id"], row, "Patient.id")
    subject = resource.get("subject")
    reference = subject.get("reference") if isinstance(subject, dict) else None
    if isinstance(reference, str) and reference:
        name = _last_part(reference)
        intake.patient(same.get(name, name), row, "subject")


def _measurements(intake: Intake, resource: Resource, row: int) -> Iterator[tuple[Variable, Resource]]:
    """The known variables of an Observation, itself or its components (a blood pressure), with their values."""
    components = resource.get("component")
    parts = [resource, *(components if isinstance(components, list) else [])]
    found = [(_variable(part), part) for part in parts if isinstance(part, dict)]
    if not any(variable for variable, _ in found):
        intake.unknown(_code(resource), row, "code")
    for variable, part in found:
        if variable is None:
            continue
        if "valueQuantity" in part or "valueInteger" in part:
            yield variable, part
        else:
            intake.flag(row, "valueQuantity", say("Row {row}: {name} has no value.", row=row, name=variable.name))


def _codings(part: Resource) -> list[Resource]:
    concept = part.get("code")
    codings = concept.get("coding") if isinstance(concept, dict) else None
    return [coding for coding in codings if isinstance(coding, dict)] if isinstance(codings, list) else []


def _variable(part: Resource) -> Variable | None:
    codes = [c.get("code") for c in _codings(part) if c.get("system") in (LOINC, None)]
    return next((by_loinc()[code] for code in codes if isinstance(code, str) and code in by_loinc()), None)


def _code(part: Resource) -> str:
    return next((str(coding.get("code")) for coding in _codings(part)), "an observation without a code")


def _moment(resource: Resource, row: int) -> datetime:
    period = resource.get("effectivePeriod")
    text = resource.get("effectiveDateTime") or resource.get("effectiveInstant")
    if text is None and isinstance(period, dict):
        text = period.get("end") or period.get("start")
    return _parsed(text, row, "effectiveDateTime")


def _parsed(text: object, row: int, column: str) -> datetime:
    try:
        # A date alone would put a whole day's values at midnight.
        if not isinstance(text, str) or "T" not in text:
            raise ValueError
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise InputError(
            "Row {row}, column {column}: a time must be a date with a time of day, got {text}.",
            row=row,
            column=column,
            text=shown(str(text)),
        ) from None
    try:
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except OverflowError:
        raise InputError("Row {row}, column {column}: the year is out of range.", row=row, column=column) from None


def _admission(resources: list[tuple[int, Resource]]) -> datetime | None:
    for row, resource in resources:
        period = resource.get("period")
        if resource.get("resourceType") == "Encounter" and isinstance(period, dict) and period.get("start"):
            return _parsed(period["start"], row, "Encounter.period.start")
    return None


def _add(intake: Intake, minutes: float, variable: Variable, part: Resource, row: int) -> None:
    quantity = part.get("valueQuantity")
    value = quantity.get("value") if isinstance(quantity, dict) else part.get("valueInteger")
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > 1e15 or value != value:
        raise InputError(
            "Row {row}, column {column}: a value must be a number, got {text}.",
            row=row,
            column="valueQuantity.value",
            text=shown(str(value)),
        )
    unit = (quantity.get("code") or quantity.get("unit")) if isinstance(quantity, dict) else None
    if isinstance(quantity, dict) and quantity.get("comparator"):
        told = {"row": row, "name": variable.name, "value": float(value), "sign": shown(str(quantity["comparator"]))}
        intake.flag(
            row,
            "comparator",
            say("Row {row}: {name} is given as {sign} {value:g}; the limit is used.", **told),
            left_out=False,
        )
    intake.add(minutes, variable, float(value), None if unit is None else str(unit), row, "valueQuantity")


def _describe(intake: Intake, patient: Resource, start: datetime | None, row: int) -> None:
    gender = _GENDERS.get(str(patient.get("gender")))
    if gender is not None:
        intake.add(0.0, FIXED["Gender"], gender, None, row, "gender")
    born = patient.get("birthDate")
    if not isinstance(born, str) or start is None:
        return
    try:
        day = date.fromisoformat({4: f"{born}-07-01", 7: f"{born}-15"}.get(len(born), born))
    except ValueError:
        raise InputError(
            "Row {row}, column {column}: a date must be valid, got {text}.",
            row=row,
            column="birthDate",
            text=shown(born),
        ) from None
    intake.add(0.0, FIXED["Age"], (start.date() - day).days / 365.25, None, row, "birthDate")
