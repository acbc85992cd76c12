"""What can be recorded in a stay: names, units and their conversions, plausible and normal ranges, codes.

Names and units are those of the PhysioNet/Computing in Cardiology Challenge 2012. LOINC codes are of the
Regenstrief Institute (https://loinc.org); units are written in UCUM (https://ucum.org).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache

MMHG_PER_KPA = 7.50062

Conversion = tuple[float, float]
_SAME: Conversion = (1.0, 0.0)


@dataclass(frozen=True)
class Variable:
    """One thing that is measured.

    Attributes
    ----------
    name : str
        As in the challenge's files.
    unit : str
        UCUM; values are kept in it.
    low, high : float
        Plausible range, ends included: what is outside is flagged and left out.
    normal : tuple[float, float], optional
        Usual adult range, to draw.
    loinc : tuple[str, ...]
        Codes of FHIR Observations.
    units : Mapping[str, tuple[float, float]]
        ``x * factor + offset`` takes a value in that unit to :attr:`unit`. Keys as :func:`_spelled` writes them.
    log : bool
        Skewed: looked at on a logarithmic scale.
    """

    name: str
    unit: str
    low: float
    high: float
    normal: tuple[float, float] | None = None
    loinc: tuple[str, ...] = ()
    units: Mapping[str, Conversion] = field(default_factory=dict)
    log: bool = False

    def convert(self, value: float, unit: str | None) -> float | None:
        """`value` in :attr:`unit`; None when its own `unit` is none of the known ones. No unit is the usual one."""
        if not unit or not unit.strip() or (spelled := _spelled(unit)) == _spelled(self.unit):
            return value
        found = self.units.get(spelled)
        return None if found is None else value * found[0] + found[1]

    def plausible(self, value: float) -> bool:
        return math.isfinite(value) and self.low <= value <= self.high


def _spelled(unit: str) -> str:
    """A unit without the differences that mean nothing: case of `meq`, signs for degree and micro, blanks."""
    text = unit.strip().replace("°", "deg").replace("µ", "u").replace("μ", "u").replace(" ", "")
    return text.lower().replace("^", "*").replace("x10*", "10*")


def _units(factor: float, *names: str, offset: float = 0.0) -> dict[str, Conversion]:
    return {_spelled(name): (factor, offset) for name in names}


_PRESSURE = _units(1, "mmHg", "Torr") | _units(MMHG_PER_KPA, "kPa")
_RATE = _units(
    1, "/min", "1/min", "{beats}/min", "{breaths}/min", "beats/min", "breaths/min", "bpm", "min-1", "/minute"
)
_CELLS = _units(1, "10*3/uL", "10*9/L", "K/uL", "10*3/mm3", "G/L", "thousand/uL") | _units(1e-3, "/uL", "10*6/L")
_ENZYME = _units(1, "U/L", "IU/L", "[IU]/L") | _units(60, "ukat/L")
_ION = _units(1, "mmol/L", "meq/L")
_TROPONIN = _units(1, "ug/L", "ng/mL") | _units(1e-3, "ng/L", "pg/mL")
_SCORE = _units(1, "{score}", "1", "points", "{points}", "score")


def _pressure(name: str, low: float, high: float, normal: tuple[float, float], *loinc: str) -> Variable:
    return Variable(name, "mm[Hg]", low, high, normal, loinc, _PRESSURE)


_ALL = (
    Variable("ALP", "U/L", 1, 5000, (40, 130), ("6768-6",), _ENZYME, log=True),
    Variable("ALT", "U/L", 1, 30000, (7, 55), ("1742-6", "1743-4", "1744-2"), _ENZYME, log=True),
    Variable("AST", "U/L", 1, 50000, (8, 48), ("1920-8", "30239-8"), _ENZYME, log=True),
    Variable("Albumin", "g/dL", 0.3, 8, (3.5, 5.0), ("1751-7", "61151-7"), _units(0.1, "g/L") | _units(1, "gm/dL")),
    Variable(
        "BUN", "mg/dL", 1, 300, (7, 20), ("3094-0", "6299-2", "14937-7", "22664-7"), _units(2.8014, "mmol/L"), log=True
    ),
    Variable(
        "Bilirubin", "mg/dL", 0.05, 100, (0.1, 1.2), ("1975-2", "14631-6"), _units(1 / 17.104, "umol/L"), log=True
    ),
    Variable("Cholesterol", "mg/dL", 10, 1500, (125, 200), ("2093-3", "14647-2"), _units(38.67, "mmol/L")),
    Variable(
        "Creatinine",
        "mg/dL",
        0.05,
        40,
        (0.6, 1.3),
        ("2160-0", "38483-4", "14682-9"),
        _units(1 / 88.42, "umol/L"),
        log=True,
    ),
    _pressure("DiasABP", 10, 200, (60, 80), "8462-4", "76213-8", "8374-3"),
    Variable(
        "FiO2",
        "1",
        0.2,
        1,
        (0.21, 0.21),
        ("3150-6", "19994-3", "3151-8"),
        _units(0.01, "%") | _units(1, "{fraction}", "fraction"),
    ),
    Variable("GCS", "{score}", 3, 15, (15, 15), ("9269-2", "35088-4"), _SCORE),
    Variable(
        "Glucose",
        "mg/dL",
        5,
        2000,
        (70, 140),
        ("2345-7", "2339-0", "41653-7", "2340-8", "15074-8", "14749-6", "14743-9", "39480-9"),
        _units(18.0156, "mmol/L"),
        log=True,
    ),
    Variable("HCO3", "mmol/L", 2, 80, (22, 28), ("1963-8", "1959-6", "1960-4", "2028-9"), _ION),
    Variable(
        "HCT", "%", 4, 75, (36, 50), ("4544-3", "20570-8", "71833-8"), _units(100, "1", "L/L", "{fraction}", "{ratio}")
    ),
    Variable("HR", "/min", 10, 300, (60, 100), ("8867-4", "8889-8", "76282-3"), _RATE),
    Variable("K", "mmol/L", 1, 15, (3.5, 5.0), ("2823-3", "6298-4", "75940-7"), _ION),
    Variable(
        "Lactate",
        "mmol/L",
        0.05,
        50,
        (0.5, 2.0),
        ("2524-7", "2518-9", "32693-4", "2519-7", "14118-4"),
        _units(1 / 9.008, "mg/dL"),
        log=True,
    ),
    Variable(
        "Mg",
        "mg/dL",
        0.2,
        15,
        (1.7, 2.4),
        ("19123-9", "2601-3", "21377-7"),
        _units(2.4305, "mmol/L") | _units(1.2153, "meq/L"),
    ),
    _pressure("MAP", 10, 250, (70, 105), "8478-0", "76214-6"),
    Variable("MechVent", "1", 0, 1, None, (), _SCORE),
    _pressure("NIDiasABP", 10, 200, (60, 80), "76212-0"),
    _pressure("NIMAP", 10, 250, (70, 105), "76536-2"),
    _pressure("NISysABP", 20, 320, (90, 140), "76534-7"),
    Variable("Na", "mmol/L", 80, 220, (135, 145), ("2951-2", "2947-0"), _ION),
    _pressure("PaCO2", 5, 200, (35, 45), "2019-8", "11557-6", "2020-6"),
    _pressure("PaO2", 15, 800, (75, 100), "2703-7", "11556-8"),
    Variable("Platelets", "10*3/uL", 1, 3000, (150, 400), ("777-3", "26515-7", "778-1"), _CELLS),
    Variable("RespRate", "/min", 1, 100, (12, 20), ("9279-1", "76170-0", "76171-8"), _RATE),
    Variable(
        "SaO2", "%", 20, 100, (94, 100), ("2708-6", "2713-6", "59408-5", "51733-4"), _units(100, "1", "{fraction}")
    ),
    _pressure("SysABP", 20, 320, (90, 140), "8480-6", "76215-3"),
    Variable(
        "Temp",
        "Cel",
        25,
        44,
        (36.0, 37.8),
        ("8310-5", "8329-5", "8331-1", "8332-9", "60834-8", "8333-7"),
        _units(1, "C", "degC", "celsius")
        | _units(1 / 1.8, "[degF]", "degF", "F", "fahrenheit", offset=-32 / 1.8)
        | _units(1, "K", offset=-273.15),
    ),
    Variable("TroponinI", "ug/L", 0, 1000, (0, 0.04), ("10839-9", "42757-5", "89579-7"), _TROPONIN, log=True),
    Variable("TroponinT", "ug/L", 0, 100, (0, 0.014), ("6598-7", "48425-3", "67151-1"), _TROPONIN, log=True),
    Variable(
        "Urine",
        "mL",
        0,
        5000,
        (30, 200),
        ("9187-6", "9188-4"),
        _units(1, "cc", "cm3") | _units(1000, "L"),
        log=True,
    ),
    Variable("WBC", "10*3/uL", 0.05, 600, (4, 11), ("6690-2", "26464-8", "804-5"), _CELLS, log=True),
    Variable(
        "Weight",
        "kg",
        20,
        400,
        None,
        ("29463-7", "3141-9", "3142-7"),
        _units(1e-3, "g") | _units(0.45359237, "[lb_av]", "lb", "lbs"),
    ),
    Variable("pH", "[pH]", 6.4, 8.0, (7.35, 7.45), ("2744-1", "11558-4", "2746-6"), _units(1, "1", "pH", "{pH}")),
)
_FIXED = (
    Variable("Age", "a", 14, 120, None, ("30525-0", "21612-7"), _units(1, "years", "year", "yr", "y")),
    Variable("Gender", "1", 0, 1),
    Variable(
        "Height",
        "cm",
        100,
        240,
        None,
        ("8302-2", "3137-7", "8301-4"),
        _units(100, "m") | _units(2.54, "[in_i]", "in", "inch"),
    ),
    Variable("ICUType", "1", 1, 4),
)

SERIES: dict[str, Variable] = {variable.name: variable for variable in _ALL}
FIXED: dict[str, Variable] = {variable.name: variable for variable in _FIXED}
NAMES: tuple[str, ...] = tuple(SERIES)
INDEX: dict[str, int] = {name: k for k, name in enumerate(NAMES)}
SUMMED = "Urine"
ICU_TYPES = {1: "coronary care", 2: "cardiac surgery recovery", 3: "medical", 4: "surgical"}
OVER_89 = 200
"""Ages from here on stand for "over 89" in de-identified records, and are read as :data:`AGE_OVER_89`."""
AGE_OVER_89 = 91.0


@cache
def by_name() -> dict[str, Variable]:
    """Every variable by its name in lower case."""
    return {name.lower(): variable for name, variable in (SERIES | FIXED).items()}


@cache
def by_loinc() -> dict[str, Variable]:
    return {code: variable for variable in (*_ALL, *_FIXED) for code in variable.loinc}
