"""Files of all four layouts, damaged at random: a sound stay or one clear sentence, and nothing else comes out."""

from __future__ import annotations

import json

import numpy as np
import pytest
from drawn_stays import entries, physionet
from hypothesis import given, settings
from hypothesis import strategies as st

from medai_core.errors import InputError, RefusedInput
from medai_core.icu.records import read_stay
from medai_core.icu.variables import NAMES, SERIES

Rows = list[tuple[int, str, float]]


def _long(rows: Rows) -> bytes:
    lines = [f"7,{minute / 60:.4f},{name},{value},{SERIES[name].unit}" for minute, name, value in rows]
    return "\n".join(["patient,hours,variable,value,unit", *lines]).encode()


def _wide(rows: Rows) -> bytes:
    names = ["HR", "Temp", "Urine", "GCS"]
    lines = ["minutes,HR,Temp (Cel),Urine,GCS"]
    for minute in sorted({m for m, n, _ in rows if n in names}):
        here = {n: v for m, n, v in rows if m == minute}
        lines.append(",".join([str(minute), *(str(here.get(n, "")) for n in names)]))
    return "\n".join(lines).encode()


def _fhir(rows: Rows) -> bytes:
    entry = [{"resource": {"resourceType": "Patient", "id": "p", "gender": "female", "birthDate": "1950-02-03"}}]
    for minute, name, value in rows:
        unit, loinc = SERIES[name].unit, SERIES[name].loinc
        moment = f"2026-03-0{1 + minute // 1440}T{minute // 60 % 24:02d}:{minute % 60:02d}:00Z"
        quantity = {"value": value, "unit": unit, "system": "http://unitsofmeasure.org", "code": unit}
        code = {"coding": [{"system": "http://loinc.org", "code": (loinc or ("0",))[0]}]}
        entry.append({"resource": {
            "resourceType": "Observation", "status": "final", "code": code, "effectiveDateTime": moment,
            "valueQuantity": quantity, "subject": {"reference": "Patient/p"},
        }})  # fmt: skip
    return json.dumps({"resourceType": "Bundle", "type": "collection", "entry": entry}).encode()


LAYOUTS = {"physionet": physionet, "long": _long, "wide": _wide, "fhir": _fhir}
FILES = {layout: [write(entries(seed, hours=3)) for seed in range(4)] for layout, write in LAYOUTS.items()}
SPLICES = (b"", b"\n", b",", b"-", b"1e999", b"nan", b"\x00", b"\xff", b'"', b"-1", b"99999", b"{", b"null", b"[]")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_undamaged_files_are_read_in_their_layout(layout):
    for data in FILES[layout]:
        assert read_stay(data).layout == layout


def sound_or_said(data: bytes) -> None:
    try:
        stay = read_stay(data)
    except (InputError, RefusedInput) as error:
        assert str(error) and len(str(error)) < 600
        return
    assert len(stay.values) and (np.diff(stay.minutes) >= 0).all() and 1 <= stay.hours <= 48
    assert stay.minutes[0] >= 0 and stay.minutes[-1] <= 2880
    assert all(SERIES[NAMES[k]].plausible(value) for k, value in zip(stay.series, stay.values, strict=True))
    assert all(str(flag.message) for flag in stay.flags)


@settings(max_examples=60, deadline=None)
@given(st.data())
@pytest.mark.parametrize("layout", LAYOUTS)
def test_spliced_bytes(layout, data):
    """A few pieces cut out and others put in their place."""
    file = data.draw(st.sampled_from(FILES[layout]))
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(file)))
        stop = min(start + data.draw(st.integers(0, 12)), len(file))
        piece = data.draw(st.one_of(st.sampled_from(SPLICES), st.binary(max_size=6)))
        file = file[:start] + piece + file[stop:]
    sound_or_said(file)


@settings(max_examples=40, deadline=None)
@given(st.data())
@pytest.mark.parametrize("layout", LAYOUTS)
def test_pieces_doubled_swapped_and_cut_off(layout, data):
    """Rows or elements repeated, out of order, missing, or the file ending in the middle."""
    separator = b", {" if layout == "fhir" else b"\n"
    parts = data.draw(st.sampled_from(FILES[layout])).split(separator)
    picks = data.draw(st.lists(st.integers(0, len(parts) - 1), min_size=1, max_size=len(parts)))
    head = parts[: data.draw(st.integers(0, len(parts)))]
    file = separator.join([*head, *(parts[k] for k in picks)])
    sound_or_said(file[: data.draw(st.integers(0, len(file)))] if data.draw(st.booleans()) else file)


leaves = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.just([]), st.just({}))


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_any_element_of_a_bundle_replaced(data):
    whole = json.loads(data.draw(st.sampled_from(FILES["fhir"])))
    for _ in range(data.draw(st.integers(1, 3))):
        node = whole
        while True:
            keys = list(node) if isinstance(node, dict) else list(range(len(node)))
            if not keys:
                break
            key = data.draw(st.sampled_from(keys))
            if isinstance(node[key], dict | list) and node[key] and data.draw(st.integers(0, 3)):
                node = node[key]
                continue
            node[key] = data.draw(leaves)
            break
    sound_or_said(json.dumps(whole).encode())
