"""A made-up course of six hours in each layout that can be read, for a visitor to see how a file must look."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import groupby

from medai_core.icu.variables import SERIES

MEASURED: tuple[tuple[int, str, float], ...] = (
    (7, "HR", 96), (7, "NISysABP", 108), (7, "NIDiasABP", 61), (7, "RespRate", 22), (7, "SaO2", 95), (7, "Temp", 38.2),
    (30, "GCS", 14), (42, "Lactate", 2.6), (42, "Creatinine", 1.4), (42, "K", 4.4), (60, "Urine", 60),
    (67, "HR", 99), (67, "NISysABP", 101), (67, "NIDiasABP", 57), (127, "HR", 104), (127, "RespRate", 24),
    (180, "Urine", 45), (187, "HR", 101), (187, "NISysABP", 105), (247, "HR", 97), (270, "GCS", 15), (307, "HR", 94),
    (330, "Lactate", 1.9), (360, "Urine", 80),
)  # fmt: skip
"""Minute since admission, name, value in the variable's unit."""
AGE, MALE = 67, 1
START = datetime(2024, 1, 1, 8)
LOINC, UCUM = "http://loinc.org", "http://unitsofmeasure.org"


def physionet() -> bytes:
    """The layout of the PhysioNet/Computing in Cardiology Challenge 2012."""
    head = [("00:00", "RecordID", 1), ("00:00", "Age", AGE), ("00:00", "Gender", MALE), ("00:00", "Height", -1)]
    rows = [(f"{m // 60:02d}:{m % 60:02d}", name, value) for m, name, value in MEASURED]
    return _csv([("Time", "Parameter", "Value"), *head, *rows])


def long() -> bytes:
    """A row for each measurement, with its unit; here the temperature is in degrees Fahrenheit."""
    rows = [(0, "Age", AGE, "years"), (0, "Gender", "male", "")]
    for minute, name, value in MEASURED:
        unit = SERIES[name].unit
        rows.append((minute, name, value, unit) if name != "Temp" else (minute, name, _fahrenheit(value), "degF"))
    return _csv([("minutes", "parameter", "value", "unit"), *rows])


def wide() -> bytes:
    """A row for each time, a column for each variable; units in brackets where they are not the usual ones."""
    names = list(dict.fromkeys(name for _minute, name, _value in MEASURED))
    rows: list[tuple[object, ...]] = [("hours", "Age", "Gender", *("Temp (degF)" if n == "Temp" else n for n in names))]
    for minute, entries in groupby(MEASURED, key=lambda entry: entry[0]):
        found = {name: _fahrenheit(value) if name == "Temp" else value for _m, name, value in entries}
        descriptors = ("", "") if len(rows) > 1 else (AGE, "male")
        rows.append((round(minute / 60, 4), *descriptors, *(found.get(name, "") for name in names)))
    return _csv(rows)


def fhir() -> bytes:
    """A FHIR R4 Bundle with a patient, an encounter that begins at admission, and observations."""
    patient = {"resourceType": "Patient", "id": "example", "gender": "male", "birthDate": str(START.year - AGE)}
    subject = {"reference": "Patient/example"}
    stay = {
        "resourceType": "Encounter", "status": "finished", "class": {"code": "ACUTE"}, "subject": subject,
        "period": {"start": _moment(0)},
    }  # fmt: skip
    observations = [_observation(*entry, subject) for entry in MEASURED]
    entries = [{"resource": resource} for resource in (patient, stay, *observations)]
    return json.dumps({"resourceType": "Bundle", "type": "collection", "entry": entries}, indent=1).encode()


def _observation(minute: int, name: str, value: float, subject: dict[str, str]) -> dict[str, object]:
    unit = SERIES[name].unit
    return {
        "resourceType": "Observation",
        "status": "final",
        "subject": subject,
        "code": {"coding": [{"system": LOINC, "code": SERIES[name].loinc[0], "display": name}]},
        "effectiveDateTime": _moment(minute),
        "valueQuantity": {"value": value, "unit": unit, "system": UCUM, "code": unit},
    }


def _moment(minute: int) -> str:
    return (START + timedelta(minutes=minute)).isoformat() + "Z"


def _fahrenheit(celsius: float) -> float:
    return round(celsius * 1.8 + 32, 2)


def _csv(rows: list[tuple[object, ...]]) -> bytes:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(rows)
    return out.getvalue().encode()


EXAMPLES: dict[str, tuple[str, str, Callable[[], bytes]]] = {
    "physionet": ("stay-physionet.txt", "text/plain", physionet),
    "long": ("stay-long.csv", "text/csv", long),
    "wide": ("stay-wide.csv", "text/csv", wide),
    "fhir": ("stay-fhir.json", "application/json", fhir),
}
"""File name, kind of content, and how it is written, by the name of the layout."""
