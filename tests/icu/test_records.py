"""Four layouts, one stay: what is read, what is flagged, and one clear sentence for the rest."""

from __future__ import annotations

import json

import numpy as np
import pytest
from drawn_stays import entries, physionet
from hypothesis import given, settings
from hypothesis import strategies as st

from medai_core.errors import InputError, MedAIError, RefusedInput
from medai_core.icu import records
from medai_core.icu import stay as stays
from medai_core.icu.records import read_stay, to_long_csv
from medai_core.icu.stay import Stay
from medai_core.icu.variables import FIXED, INDEX, NAMES, SERIES, by_loinc, by_name

HEAD = "Time,Parameter,Value\n"
START = "2026-03-01T08:00:00+01:00"


def long(*rows: str, head: str = HEAD) -> bytes:
    return (head + "\n".join(rows) + "\n").encode()


def observation(minutes: float, code: str, value: object, unit: str | None = None, **rest: object) -> dict:
    moment = np.datetime64("2026-03-01T07:00:00") + np.timedelta64(round(minutes * 60), "s")
    quantity = {"value": value} | (
        {} if unit is None else {"unit": unit, "system": "http://unitsofmeasure.org", "code": unit}
    )
    return {
        "resourceType": "Observation",
        "status": "final",
        "effectiveDateTime": f"{moment}Z",
        "code": {"coding": [{"system": "http://loinc.org", "code": code}]},
        "valueQuantity": quantity,
        **rest,
    }


def fhir(*resources: dict, encounter: bool = True) -> bytes:
    first = [{"resourceType": "Encounter", "period": {"start": START}}] if encounter else []
    return json.dumps(
        {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": r} for r in [*first, *resources]]}
    ).encode()


def wide(rows: list[tuple[int, str, float]]) -> bytes:
    names = sorted({name for _, name, _ in rows})
    lines = ["minutes," + ",".join(names)]
    for minute in sorted({minute for minute, *_ in rows}):
        here = {name: value for m, name, value in rows if m == minute}
        lines.append(f"{minute}," + ",".join(str(here.get(name, "")) for name in names))
    return "\n".join(lines).encode()


def same(a: Stay, b: Stay) -> bool:
    return all(np.allclose(getattr(a, name), getattr(b, name)) for name in ("minutes", "series", "values"))


def value_of(stay: Stay, name: str) -> list[float]:
    return stay.values[stay.series == INDEX[name]].tolist()


# ------------------------------------------------------------------------------------------ the four layouts


@pytest.mark.parametrize("seed", range(3))
def test_one_stay_in_four_layouts(seed):
    rows = [row for row in entries(seed) if row[1] not in ("FiO2",) and SERIES[row[1]].loinc]
    code = {name: SERIES[name].loinc[0] for _, name, _ in rows}
    text = read_stay(physionet(rows))
    csv = read_stay(long(*(f"{m / 60!r},{name},{value}" for m, name, value in rows), head="hours,variable,value\n"))
    table = read_stay(wide(rows))
    bundle = read_stay(fhir(*(observation(m, code[name], value, SERIES[name].unit) for m, name, value in rows)))
    assert [s.layout for s in (text, csv, table, bundle)] == ["physionet", "long", "wide", "fhir"]
    assert len(text.values) == len(rows)
    assert all(same(text, other) for other in (csv, table, bundle))
    assert (text.id, text.fixed, text.hours) == ("900001", {"Age": 60, "Gender": 1}, 48)


def test_a_stay_written_as_long_csv_reads_back():
    before = read_stay(physionet(entries(5)))
    after = read_stay(to_long_csv(before).encode())
    assert same(before, after) and after.fixed == before.fixed


@pytest.mark.parametrize(
    ("cell", "head", "minutes"),
    [
        ("01:30", "time", 90),
        ("1.5", "time", 90),
        ("90", "minutes", 90),
        ("01:30:30", "Time", 90.5),
        ("2.25", "hours", 135),
    ],
)
def test_ways_to_write_a_time(cell, head, minutes):
    assert read_stay(f"{head};parameter;value\n{cell};HR;80\n".encode()).minutes.tolist() == [minutes]


def test_dates_count_from_the_first():
    stay = read_stay(long("2026-01-01T10:00,HR,80", "2026-01-01T12:30,HR,90", head="charttime,item,valuenum\n"))
    assert (stay.minutes.tolist(), stay.hours) == ([0, 150], 3)


def test_minus_one_is_missing_and_the_row_of_an_entry_is_kept():
    stay = read_stay(long("00:00,RecordID,7", "00:00,Height,-1", "00:00,Weight,-1", "00:10,HR,80"))
    assert (stay.rows.tolist(), stay.fixed, stay.flags) == ([5], {}, ())


@pytest.mark.parametrize(
    "data", [long("0,HR,80", "1,Temp,-1", head="time,parameter,value\n"), b"hours,HR,Temp\n0,80,\n1,,-1\n"]
)
def test_minus_one_in_other_files_is_left_out_visibly(data):
    stay = read_stay(data)
    assert stay.values.tolist() == [80]
    assert [(f.row, f.left_out) for f in stay.flags] == [(3, True)] and "Temp of -1 Cel is outside" in str(
        stay.flags[0].message
    )


def test_hours_of_a_short_stay():
    assert read_stay(b"hours,HR\n0.5,80\n9.5,90\n").hours == 10
    assert read_stay(b"hours,HR\n0,80\n").hours == 1
    assert read_stay(physionet([(30, "HR", 80)])).hours == 48


# ----------------------------------------------------------------------------------- units, flags, descriptors


@pytest.mark.parametrize(
    ("name", "value", "unit", "wanted"),
    [
        ("Temp", 98.6, "[degF]", 37.0),
        ("Temp", 98.6, "°F", 37.0),
        ("Temp", 310.15, "K", 37.0),
        ("Temp", 37, "Cel", 37.0),
        ("Glucose", 5.5, "mmol/L", 99.1),
        ("PaO2", 12, "kPa", 90.0),
        ("PaCO2", 5.3, "kPa", 39.8),
        ("MAP", 10, "kPa", 75.0),
        ("Creatinine", 88.42, "umol/L", 1.0),
        ("Creatinine", 88.42, "µmol/L", 1.0),
        ("Bilirubin", 17.104, "umol/L", 1.0),
        ("BUN", 10, "mmol/L", 28.0),
        ("FiO2", 40, "%", 0.4),
        ("FiO2", 0.4, "1", 0.4),
        ("SaO2", 0.97, "1", 97),
        ("HCT", 0.4, "L/L", 40),
        ("Lactate", 18.016, "mg/dL", 2.0),
        ("Mg", 1, "mmol/L", 2.43),
        ("Albumin", 35, "g/L", 3.5),
        ("Weight", 154.32, "[lb_av]", 70.0),
        ("TroponinT", 100, "ng/L", 0.1),
        ("Platelets", 150, "10*9/L", 150),
        ("WBC", 9000, "/uL", 9.0),
        ("Urine", 0.5, "L", 500),
        ("K", 4, "meq/L", 4),
        ("HR", 80, "{beats}/min", 80),
        ("Cholesterol", 5, "mmol/L", 193.4),
        ("Height", 70, "[in_i]", 177.8),
    ],
)
def test_units_are_converted_and_said(name, value, unit, wanted):
    stay = read_stay(long(f"0,{name},{value},{unit}", "1,HR,80,/min", head="time,parameter,value,unit\n"))
    (found,) = value_of(stay, name)[:1] if name in SERIES else [stay.fixed[name]]
    assert found == pytest.approx(wanted, rel=0.002)
    assert any("converted" in str(flag.message) for flag in stay.flags) == (found != value)


def test_a_wide_column_may_name_its_unit():
    stay = read_stay("time,Temp (°F),glucose [mmol/L],HR\n1,98.6,5.5,80\n".encode())
    assert value_of(stay, "Temp") == pytest.approx([37.0]) and value_of(stay, "Glucose")[0] == pytest.approx(
        99.1, abs=0.1
    )


def test_implausible_values_are_left_out_visibly():
    stay = read_stay(long("00:00,Height,12", "00:05,Temp,0", "00:07,pH,735", "00:08,HR,80"))
    assert (len(stay.values), stay.fixed) == (1, {})
    assert [(flag.row, flag.left_out) for flag in stay.flags] == [(2, True), (3, True), (4, True)]
    assert str(stay.flags[1].message) == "Row 3, column Value: Temp of 0 Cel is outside 25 to 44 and was left out."


def test_repeats_are_left_out_and_unknown_parameters_named_once():
    stay = read_stay(
        long("00:05,Urine,100", "00:05,Urine,100", "00:05,MAP,70", "00:05,MAP,80", "1:00,CVP,8", "2:00,CVP,9")
    )
    assert value_of(stay, "Urine") == [100] and value_of(stay, "MAP") == [70, 80]
    assert [str(f.message) for f in stay.flags] == [
        "Row 6: 'CVP' is not a parameter used here.",
        "Row 3: Urine repeats an entry of the same minute and value.",
    ]


def test_ages():
    assert read_stay(long("0,Age,200", "0,HR,80")).fixed["Age"] == 91
    several = read_stay(long("0,Age,74", "0,Age,68", "0,Age,73", "0,Gender,female", "0,HR,80"))
    assert several.fixed == {"Age": 73, "Gender": 0} and "given 3 times" in str(several.flags[-1].message)


def test_fhir_patient_components_and_what_is_not_valid():
    pressure = observation(60, "85354-9", 0)
    pressure["component"] = [observation(0, code, value, "mm[Hg]") for code, value in (("8480-6", 120), ("8462-4", 70))]
    del pressure["valueQuantity"]
    patient = {"resourceType": "Patient", "id": "p1", "gender": "female", "birthDate": "1956-03-01"}
    wrong = observation(70, "8867-4", 300, "/min", status="entered-in-error")
    none = {key: value for key, value in observation(80, "8867-4", 0).items() if key != "valueQuantity"}
    stay = read_stay(
        fhir(
            pressure,
            patient,
            wrong,
            none,
            observation(90, "0000-0", 1),
            observation(30, "8867-4", 80, "/min", subject={"reference": "Patient/p1"}),
        )
    )
    assert (stay.id, stay.fixed["Gender"], round(stay.fixed["Age"])) == ("p1", 0, 70)
    assert value_of(stay, "SysABP") == [120] and value_of(stay, "DiasABP") == [70] and value_of(stay, "HR") == [80]
    assert len(stay.left_out) == 2


def test_without_an_encounter_time_starts_at_the_first_observation():
    assert read_stay(
        fhir(observation(90, "8867-4", 80), observation(60, "8867-4", 81), encounter=False)
    ).minutes.tolist() == [0, 30]


def test_the_past_of_a_stay():
    stay = read_stay(physionet(entries(1)))
    early = stay.until(12)
    assert early.minutes.max() <= 720 < stay.minutes.max() and early.hours == 12
    with pytest.raises(InputError, match="`at_hour` must be between 1 and 48, got 0"):
        stay.until(0)


# ---------------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "The file is empty."),
        (b" \n\n", "The file is empty."),
        (b"\x89PNG\r\n\x1a\n\x00\x00", "must be text, but byte 0"),
        (b"PK\x03\x04\x14\x00\x00\x00", "must be text, but byte 5"),
        (HEAD.encode(), "No usable measurement"),
        (long("00:00,Foo,1"), "No usable measurement"),
        (long("00:00,HR,-1"), "No usable measurement"),
        (long("00:00,HR,eighty"), "Row 2, column Value: a value must be a number, got 'eighty'."),
        (long("00:00,HR,1_0"), "Row 2, column Value: a value must be a number"),
        (long("00:00,HR,inf"), "Row 2, column Value: a value must be a number"),
        (
            long("00:00,HR,80", "noon,HR,80"),
            "Row 3, column Time: a time must be hh:mm, a number or a date with a time of day, got 'noon'.",
        ),
        (long("00:00,HR,80", "02:00,HR,80", "01:00,HR,80"), "Row 4, column Time: times must not run backwards"),
        (long("48:01,HR,80"), "Row 2, column Time: times must be between 0 and 48 hours"),
        (long("-1,HR,80"), "Row 2, column Time: times must be between 0 and 48 hours"),
        (long("2026-03-01,HR,80"), "Row 2, column Time: a time must be hh:mm, a number or a date with a time of day"),
        (
            long("2026-03-01 08:00,HR,80", "00:30,HR,81"),
            "Row 3, column Time: times must all be dates or all count from admission, got '00:30'.",
        ),
        (
            long("1,HR,80", "2026-03-01 08:00,HR,81"),
            "Row 3, column Time: times must all be dates or all count from admission, got '2026-03-01 08:00'.",
        ),
        (long("00:00,HR"), "Row 2: a row must have 3 columns as the header has, got 2."),
        (
            long("00:00,RecordID,1", "00:00,HR,80", "00:01,RecordID,2"),
            "Row 4, column Value: a file must hold one patient",
        ),
        (
            long("a,0,HR,80", "b,1,HR,80", head="patient,time,parameter,value\n"),
            "Row 3, column patient: a file must hold one patient",
        ),
        (
            long("0,Temp,98,furlong", head="time,parameter,value,unit\n"),
            "Row 2, column unit: the unit of Temp must be Cel",
        ),
        (b"time,HR\n1,80\n1,90\n", "Row 3, column time: two rows have the same time."),
        (b"time,HR,hr (bpm)\n1,80,80\n", "Row 1, column 'hr (bpm)': HR has two columns."),
        (b"time,HR\n1,fast\n", "Row 2, column HR: a value must be a number, got 'fast'."),
        (b"time,Temp (furlong)\n1,98\n", "Row 2, column Temp (furlong): the unit of Temp must be Cel"),
        (b"a,b,c\n1,2,3\n", "Row 1: the header must be Time, Parameter, Value"),
        (b"parameter,value\nHR,80\n", "Row 1: no column of times was found"),
        (b'time,parameter,value\n0,"HR,80\n', "Row"),
        (b"{", "The file is not valid JSON: see line 1"),
        (b"[" * 100_000, "The file is not valid JSON"),
        (b"[1]", "must be a FHIR Bundle"),
        (b'{"resourceType": "Patient"}', "must be a FHIR Bundle"),
        (b'{"resourceType": "Bundle", "entry": []}', "No usable measurement"),
        (b'{"resourceType": "Bundle", "entry": [3]}', "Row 1, column resource"),
        (
            fhir(observation(10, "8867-4", "80")),
            "Row 2, column valueQuantity.value: a value must be a number, got '80'.",
        ),
        (fhir(observation(10, "8867-4", 80, "furlong")), "Row 2, column valueQuantity: the unit of HR must be /min"),
        (
            fhir(observation(10, "8867-4", 80, effectiveDateTime="2026-03-01")),
            "Row 2, column effectiveDateTime: a time must be a date with",
        ),
        (
            fhir(observation(3000, "8867-4", 80)),
            "Row 2, column effectiveDateTime: times must be between 0 and 48 hours",
        ),
        (
            fhir(*(observation(k, "8867-4", 80, subject={"reference": f"Patient/{k}"}) for k in (1, 2))),
            "Row 3, column subject: a file must hold one patient",
        ),
    ],
)
def test_bad_input_is_one_clear_sentence(data, sentence):
    with pytest.raises(InputError) as error:
        read_stay(data)
    assert sentence in str(error.value) and "\n" not in str(error.value)


def test_one_patient_under_several_references():
    """References may name the patient by id, by a version of it, or by the ``fullUrl`` of the patient's entry."""
    patient = {"fullUrl": "urn:uuid:0a-1", "resource": {"resourceType": "Patient", "id": "7", "gender": "male"}}
    names = ("Patient/7", "urn:uuid:0a-1", "https://host/fhir/Patient/7", "Patient/7/_history/2")
    found = [observation(k, "8867-4", 80 + k, subject={"reference": name}) for k, name in enumerate(names)]
    entries_ = [patient, *({"resource": each} for each in found)]
    stay = read_stay(json.dumps({"resourceType": "Bundle", "entry": entries_}).encode())
    assert (stay.id, stay.values.tolist(), stay.fixed) == ("7", [80, 81, 82, 83], {"Gender": 1})


def test_a_whole_day_of_urine_is_not_put_into_one_hour():
    stay = read_stay(fhir(observation(1, "8867-4", 80), observation(9, "3167-0", 1800, "mL")))
    assert stay.values.tolist() == [80] and [(f.row, f.left_out) for f in stay.flags] == [(3, True)]


def test_a_limit_given_for_a_value_is_told():
    below = observation(5, "6598-7", 0.01, "ug/L")
    below["valueQuantity"]["comparator"] = "<"
    stay = read_stay(fhir(observation(1, "8867-4", 80), below))
    assert stay.values.tolist() == [80, 0.01]
    assert [(f.row, f.left_out) for f in stay.flags] == [(3, False)]
    assert str(stay.flags[0].message) == "Row 3: TroponinT is given as '<' 0.01; the limit is used."


def test_limits(monkeypatch):
    with pytest.raises(InputError, match=r"at most 20 MB, got 50\.0 MB"):
        read_stay(bytes(50_000_000))
    monkeypatch.setattr(records, "MAX_ROWS", 3)
    with pytest.raises(InputError, match="at most 3 rows"):
        read_stay(long(*["00:00,HR,80"] * 9))


def test_a_table_of_outcomes_is_no_stay():
    with pytest.raises(RefusedInput, match="outcomes"):
        read_stay(b"RecordID,SAPS-I,SOFA,Length_of_stay,Survival,In-hospital_death\n1,2,3,4,5,0\n")


# ------------------------------------------------------------------------------------------------- properties

cells = st.one_of(
    st.sampled_from(
        ["", "-1", "nan", "1e400", "00:10", "48:00", "99:99", "HR", "Temp", "RecordID", "80", "37", "\x00", '"', "²"]
    ),
    st.text(max_size=6),
)
json_values = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.sampled_from(["8867-4", "http://loinc.org", START, "Observation", "Patient"]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(
                [
                    "resourceType",
                    "code",
                    "coding",
                    "valueQuantity",
                    "value",
                    "effectiveDateTime",
                    "subject",
                    "reference",
                    "id",
                    "period",
                    "start",
                    "component",
                    "birthDate",
                    "unit",
                ]
            ),
            inner,
            max_size=4,
        ),
    ),
    max_leaves=12,
)


def assert_read_or_refused(data: bytes) -> None:
    try:
        stay = read_stay(data)
    except MedAIError as error:
        assert str(error) and len(str(error)) < 600
        return
    check(stay)


def check(stay: Stay) -> None:
    assert len(stay.values) == len(stay.minutes) == len(stay.series) == len(stay.rows) > 0
    assert (np.diff(stay.minutes) >= 0).all() and stay.minutes[0] >= 0 and stay.minutes[-1] <= 2880
    assert all(SERIES[NAMES[k]].plausible(value) for k, value in zip(stay.series, stay.values, strict=True))
    assert all(FIXED[name].plausible(value) for name, value in stay.fixed.items())
    assert 1 <= stay.hours <= 48 and stay.grid().measured.any()
    assert all(str(flag.message) for flag in stay.flags)


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes(data):
    assert_read_or_refused(data)


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(["Time,Parameter,Value", "time,HR,Temp (degF)", "time,parameter,value,unit", "patient;time;HR"]),
    st.lists(st.lists(cells, max_size=4), max_size=8),
)
def test_any_table(head, rows):
    comma = ";" if ";" in head else ","
    assert_read_or_refused("\n".join([head, *(comma.join(row) for row in rows)]).encode("utf-8", "surrogatepass"))


@settings(max_examples=80, deadline=None)
@given(st.lists(json_values, max_size=4))
def test_any_bundle(resources):
    assert_read_or_refused(
        json.dumps({"resourceType": "Bundle", "entry": [{"resource": r} for r in resources]}).encode()
    )


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.one_of(
            json_values, st.sampled_from([observation(5, "8867-4", 80), observation(9, "8310-5", 98.6, "[degF]")])
        ),
        max_size=4,
    ),
    st.dictionaries(
        st.sampled_from(["effectiveDateTime", "status", "code", "valueQuantity", "component", "subject"]),
        json_values,
        max_size=2,
    ),
)
def test_any_change_to_an_observation(others, change):
    assert_read_or_refused(fhir(observation(5, "8867-4", 80) | change, *(r for r in others if isinstance(r, dict))))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 5), st.data())
def test_damaged_text(seed, data):
    whole = physionet(entries(seed, hours=4))
    start = data.draw(st.integers(0, len(whole)))
    assert_read_or_refused(
        whole[:start] + data.draw(st.binary(max_size=4)) + whole[start + data.draw(st.integers(0, 30)) :]
    )


# ---------------------------------------------------------------------------------------------------- the table


def test_the_table_of_variables_is_sound():
    assert len(NAMES) == 37 and list(NAMES) == sorted(NAMES, key=lambda name: NAMES.index(name))
    codes = [code for variable in SERIES.values() for code in variable.loinc]
    assert len(codes) == len(set(codes)) and len(by_loinc()) >= len(codes)
    for variable in by_name().values():
        assert variable.low < variable.high
        assert variable.normal is None or variable.low <= variable.normal[0] <= variable.normal[1] <= variable.high
        assert variable.convert(1.5, variable.unit) == variable.convert(1.5, None) == variable.convert(1.5, " ") == 1.5
        assert variable.convert(1.5, "furlong") is None


def test_text_from_a_file_is_shown_short_and_printable():
    assert stays.shown("a" * 100) == "'" + "a" * 39 + "…'" and stays.shown("\x1b[1m") == "'\\x1b[1m'"
