"""De-identification of text: ICU stays (PhysioNet, CSV, FHIR) and rows of clinical tables."""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter
from datetime import date
from typing import Any

from medai_core.cases.deidentify_values import Disguise, record_number
from medai_core.errors import InputError, RefusedInput

_RECORD = re.compile(
    r"((record|patient|subject|stay|case|visit|encounter|admission|hadm|icustay)[ _-]*(id|no|nr|number)?"
    r"|id|mrn|pid|pidnum)"
)
_IDENTITY = re.compile(
    r"\b((first|last|sur|given|family)?name|birth|birth ?(day|date)|dob|ssn|(tele)?phone|fax|e?mail|address|street|city"
    r"|zip|postal|postcode|insurance|account|physician|doctor|institution|comments?|notes?|remarks?)\b"
)
_PARAMETERS, _VALUES = ("parameter", "variable", "name", "item", "label"), ("value", "valuenum", "result")
_ISO = re.compile(r"(\d{4})[-/.](\d{2})[-/.](\d{2})([ T].*)?", re.ASCII)
_KEPT_IN_FHIR = frozenset({"resourceType", "type", "status", "code", "coding", "system", "valueQuantity", "value",
                           "unit", "component", "entry", "resource", "gender", "category"})  # fmt: skip
_FHIR_TIMES = frozenset(
    {"effectiveDateTime", "effectiveInstant", "issued", "start", "end", "period", "effectivePeriod"}
)


def clean_table(data: bytes, disguise: Disguise) -> tuple[bytes, dict[str, int]]:
    """Replace record numbers, empty identifying columns and move dates of a text of stays or rows.

    Parameters
    ----------
    data : bytes
        UTF-8; comma, semicolon or tab between cells, the first line naming the columns; or a FHIR R4 Bundle.
    disguise : Disguise
        The patient's.

    Returns
    -------
    bytes
        UTF-8.
    dict[str, int]
        How many cells were replaced, emptied and shifted.

    Raises
    ------
    InputError
        If it is no text in UTF-8.
    RefusedInput
        If it is no table.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InputError("The text is not in UTF-8.") from None
    done: Counter[str] = Counter()
    if text.lstrip()[:1] in ("{", "["):
        return json.dumps(_fhir(_json(text), disguise, done), ensure_ascii=False).encode(), dict(done)
    separator = max(",;\t", key=text.split("\n", 1)[0].count)
    rows = list(csv.reader(io.StringIO(text), delimiter=separator))
    if not rows or len(rows[0]) < 2:
        raise RefusedInput("{kind} files cannot be de-identified, so none is exported.", kind="text")
    names = [name.strip().lower() for name in rows[0]]
    long = any(name in _VALUES for name in names)
    parameter = next((at for at, name in enumerate(names) if long and name in _PARAMETERS), None)
    stream = io.StringIO()
    out = csv.writer(stream, delimiter=separator, lineterminator="\n")
    out.writerow(rows[0])
    for row in rows[1:]:
        # In PhysioNet's long layout the record number is a row of its own.
        told = row[parameter].strip().lower() if parameter is not None and len(row) > parameter else ""
        meant = ["" if at == parameter else told if told and name in _VALUES else name for at, name in enumerate(names)]
        out.writerow([_cell(cell, name, disguise, done) for name, cell in zip(meant, row, strict=False)])
    return stream.getvalue().encode(), dict(done)


def _cell(cell: str, name: str, disguise: Disguise, done: Counter[str]) -> str:
    if not cell.strip():
        return cell
    if _RECORD.fullmatch(name):
        done["replaced"] += 1
        return record_number(disguise.key, cell)
    if _IDENTITY.search(re.sub(r"[_\W]+", " ", name)):
        done["emptied"] += 1
        return ""
    return _moved(cell, disguise, done)


def _moved(cell: str, disguise: Disguise, done: Counter[str]) -> str:
    found = _ISO.fullmatch(cell.strip())
    moved = found and disguise.date("".join(found.groups()[:3]))
    if not moved:
        return cell
    done["shifted"] += 1
    return date(int(moved[:4]), int(moved[4:6]), int(moved[6:])).isoformat() + (found[4] or "")


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        raise RefusedInput("{kind} files cannot be de-identified, so none is exported.", kind="text") from None


def _fhir(value: Any, disguise: Disguise, done: Counter[str]) -> Any:
    """Of a FHIR Bundle only types, codes, quantities and moved times: people's words and references go."""
    if isinstance(value, list):
        return [_fhir(one, disguise, done) for one in value]
    if not isinstance(value, dict):
        return value
    kept = {}
    for name, inner in value.items():
        if name in _FHIR_TIMES:
            kept[name] = _moved(inner, disguise, done) if isinstance(inner, str) else _fhir(inner, disguise, done)
        elif name in _KEPT_IN_FHIR:
            kept[name] = _fhir(inner, disguise, done)
        elif name == "birthDate" and isinstance(inner, str):
            kept[name] = re.sub(
                r"(?<=^\d{4})-.*", "-07-01", _moved(inner, disguise, done)
            )  # the year is enough for an age
        elif name == "subject":
            kept[name] = {"reference": f"Patient/{record_number(disguise.key, disguise.patient)}"}
            done["replaced"] += 1
        elif name == "id":
            whose = disguise.patient if value.get("resourceType") == "Patient" else str(inner)
            kept[name] = record_number(disguise.key, whose)
            done["replaced"] += 1
        else:
            done["removed"] += 1
    return kept
