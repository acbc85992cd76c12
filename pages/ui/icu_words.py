"""The words for what is measured in intensive care: names, units, groups, and numbers as clinicians write them."""

from __future__ import annotations

from collections.abc import Mapping

from medai_core.icu.variables import FIXED, SERIES, Variable
from pages.ui.language import _
from pages.ui.words import signed

UNITS = {
    "mm[Hg]": "mmHg", "Cel": "°C", "10*3/uL": "10³/µL", "ug/L": "µg/L", "[pH]": "", "{score}": "", "1": "", "a": "",
}  # fmt: skip


def variable_name(code: str) -> str:
    """Return what a variable of the stays is called."""
    names = {
        "ALP": _("Alkaline phosphatase"),
        "ALT": _("Alanine aminotransferase"),
        "AST": _("Aspartate aminotransferase"),
        "Albumin": _("Albumin"),
        "BUN": _("Blood urea nitrogen"),
        "Bilirubin": _("Bilirubin"),
        "Cholesterol": _("Cholesterol"),
        "Creatinine": _("Creatinine"),
        "DiasABP": _("Diastolic pressure (arterial line)"),
        "FiO2": _("Inspired oxygen (FiO₂)"),
        "GCS": _("Glasgow Coma Scale"),
        "Glucose": _("Glucose"),
        "HCO3": _("Bicarbonate"),
        "HCT": _("Haematocrit"),
        "HR": _("Heart rate"),
        "K": _("Potassium"),
        "Lactate": _("Lactate"),
        "Mg": _("Magnesium"),
        "MAP": _("Mean pressure (arterial line)"),
        "MechVent": _("Mechanical ventilation"),
        "NIDiasABP": _("Diastolic pressure (cuff)"),
        "NIMAP": _("Mean pressure (cuff)"),
        "NISysABP": _("Systolic pressure (cuff)"),
        "Na": _("Sodium"),
        "PaCO2": _("Arterial CO₂ pressure (PaCO₂)"),
        "PaO2": _("Arterial oxygen pressure (PaO₂)"),
        "Platelets": _("Platelets"),
        "RespRate": _("Respiratory rate"),
        "SaO2": _("Oxygen saturation (SaO₂)"),
        "SysABP": _("Systolic pressure (arterial line)"),
        "Temp": _("Temperature"),
        "TroponinI": _("Troponin I"),
        "TroponinT": _("Troponin T"),
        "Urine": _("Urine output"),
        "WBC": _("White blood cells"),
        "Weight": _("Weight"),
        "pH": _("Arterial pH"),
        "Age": _("Age"),
        "Gender": _("Sex"),
        "Height": _("Height"),
        "ICUType": _("Kind of unit"),
    }
    return names.get(code, code)


def unit_name(code: str) -> str:
    """Return the unit of a variable as it is written on a chart; empty where it has none."""
    unit = variable(code).unit
    if code == "Age":
        return _("years")
    return UNITS.get(unit, unit)


def variable(code: str) -> Variable:
    """Return the variable of a name."""
    return SERIES[code] if code in SERIES else FIXED[code]


def with_unit(code: str) -> str:
    """Return a variable's name with its unit."""
    unit = unit_name(code)
    return f"{variable_name(code)}, {unit}" if unit else variable_name(code)


def figure(code: str, value: float) -> str:
    """Return a value with as many digits as the variable is usually given with."""
    return signed(value, digits(code, value))


def digits(code: str, value: float) -> int:
    """Return how many digits after the point a value of a variable is written with."""
    if code in ("GCS", "MechVent", "HR", "RespRate", "Urine"):
        return 0
    if code in ("pH", "FiO2") or 0 < abs(value) < 0.1:
        return 2
    return 1 if code in ("Temp", "K", "Mg", "Albumin") or abs(value) < 10 else 0


def amount(code: str, value: float) -> str:
    """Return a value with its unit."""
    unit = unit_name(code)
    return f"{figure(code, value)} {unit}" if unit else figure(code, value)


def clock(minutes: float) -> str:
    """Return a time since admission as hours and minutes."""
    whole = round(minutes)
    return f"{whole // 60}:{whole % 60:02d}"


def unit_kind(code: float) -> str:
    """Return the kind of intensive care unit."""
    names = {
        1: _("coronary care"),
        2: _("cardiac surgery recovery"),
        3: _("medical"),
        4: _("surgical"),
    }
    return names.get(int(code), "")


def described(fixed: Mapping[str, float]) -> list[tuple[str, str]]:
    """Return what is known of the patient, as names and values."""
    rows = []
    for code in ("Age", "Gender", "Height", "ICUType"):
        if code not in fixed:
            continue
        value = fixed[code]
        if code == "Gender":
            shown = _("male") if value >= 0.5 else _("female")
        elif code == "ICUType":
            shown = unit_kind(value)
        elif code == "Age" and value > 90:
            shown = _("over 89 years")
        else:
            shown = f"{value:.0f} {unit_name(code)}"
        rows.append((variable_name(code), shown))
    return rows


def layout_name(code: str) -> str:
    """Return the name of a file layout."""
    names = {
        "physionet": _("PhysioNet text"),
        "long": _("Long CSV"),
        "wide": _("Wide CSV"),
        "fhir": _("FHIR R4 Bundle"),
    }
    return names.get(code, code)
