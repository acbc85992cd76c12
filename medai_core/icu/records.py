"""Reading a stay: PhysioNet 2012 text, long CSV, wide CSV, or a FHIR R4 Bundle.

Every reader gives the same :class:`~medai_core.icu.stay.Stay`, or raises an InputError with row and column.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterator
from datetime import datetime

from medai_core.errors import InputError, RefusedInput, say
from medai_core.icu.read_fhir import read_fhir
from medai_core.icu.stay import MAX_MB, MAX_ROWS, Intake, Stay, number, shown
from medai_core.icu.variables import SERIES, Variable, by_name

Row = tuple[int, list[str]]

_CLOCK = re.compile(r"(\d{1,3}):([0-5]\d)(?::([0-5]\d)(?:\.\d+)?)?", re.ASCII)
_NUMBER = re.compile(r"[+-]?\d+(\.\d*)?([eE][+-]?\d+)?", re.ASCII)
_UNIT_IN_NAME = re.compile(r"(.*?)\s*[(\[](.+)[)\]]\s*")
_TIME = (
    "time",
    "hour",
    "hours",
    "minute",
    "minutes",
    "time_h",
    "time_hours",
    "time_min",
    "time_minutes",
    "timestamp",
    "charttime",
    "datetime",
)
_PARAMETER = ("parameter", "variable", "name", "item", "label")
_VALUE = ("value", "valuenum", "result")
_UNIT = ("unit", "units", "uom", "valueuom")
_PATIENT = ("recordid", "patient", "patient_id", "patientid", "subject_id", "stay_id", "stay", "id")
_MISSING = frozenset({"", "na", "n/a", "nan", "null", "none", "-"})
_MISSING_CODE = -1.0
"""PhysioNet's files write -1 for a value that is not known; in other files it is an implausible value like any."""


def read_stay(data: bytes) -> Stay:
    """Read one stay, telling the layout by its content.

    Parameters
    ----------
    data : bytes
        A whole file, at most 20 MB and 200,000 rows.

    Returns
    -------
    Stay

    Raises
    ------
    InputError
        If it cannot be read, or would be read wrongly; one sentence with row and column.
    RefusedInput
        If it is readable but no stay: a table of outcomes.
    """
    if len(data) > MAX_MB * 1_000_000:
        raise InputError("A stay must be at most {limit} MB, got {size:.1f} MB.", limit=MAX_MB, size=len(data) / 1e6)
    text = _text(data)
    if text.lstrip()[:1] in ("{", "["):
        return read_fhir(text)
    rows = _rows(text)
    _, header = next(rows, (1, []))
    names = [cell.strip().lower() for cell in header]
    if {"recordid", "in-hospital_death"} <= set(names):
        raise RefusedInput("This is a table of outcomes, not a stay.")
    return _reader_for(names)(header, rows)


def _text(data: bytes) -> str:
    if not data.strip():
        raise InputError("The file is empty.")
    try:
        text = data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError("The file must be text, but byte {place} is not.", place=error.start) from None
    if "\0" in text:
        raise InputError("The file must be text, but byte {place} is not.", place=text.index("\0"))
    return text


def _rows(text: str) -> Iterator[Row]:
    """Rows that hold something, with their line numbers."""
    first = text.lstrip().split("\n", 1)[0]
    comma = max(",;\t", key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=comma)
    try:
        for count, cells in enumerate(reader):
            if count > MAX_ROWS:
                raise InputError("A stay must have at most {limit} rows.", limit=MAX_ROWS)
            if any(cell.strip() for cell in cells):
                yield reader.line_num, cells
    except csv.Error as error:
        raise InputError("Row {row} is not valid CSV: {why}.", row=reader.line_num, why=str(error)) from None


def _reader_for(names: list[str]) -> Callable[[list[str], Iterator[Row]], Stay]:
    if _column(names, _PARAMETER) is not None and _column(names, _VALUE) is not None:
        return _read_long
    if _column(names, _TIME) is not None and any(_named(name)[0] for name in names):
        return _read_wide
    raise InputError(
        "Row 1: the header must be Time, Parameter, Value, or name a time and known parameters, got {header}.",
        header=shown(", ".join(names)),
    )


def _column(names: list[str], wanted: tuple[str, ...]) -> int | None:
    return next((k for k, name in enumerate(names) if name in wanted), None)


def _needed_time(names: list[str]) -> int:
    column = _column(names, _TIME)
    if column is None:
        raise InputError(
            "Row 1: no column of times was found; it must be named one of {names}.", names=", ".join(_TIME)
        )
    return column


class Clock:
    """Turns the cells of a time column into minutes since admission.

    ``hh:mm`` counts from admission, a number counts hours (minutes in a column named so), and a date with a time of
    day counts from the first one of the file. A file that mixes dates with the others has no one start.
    """

    def __init__(self, column: str) -> None:
        self.column, self._start = column, None
        self._dated: bool | None = None
        self._factor = 1.0 if "min" in column.lower() else 60.0

    def __call__(self, text: str, row: int) -> float:
        text = text.strip()
        clock, number = _CLOCK.fullmatch(text), _NUMBER.fullmatch(text)
        minutes = self._since_first(text, row) if not (clock or number) else None
        dated, self._dated = self._dated, minutes is not None
        if dated not in (None, self._dated):
            raise InputError(
                "Row {row}, column {column}: times must all be dates or all count from admission, got {text}.",
                row=row, column=self.column, text=shown(text),
            )  # fmt: skip
        if clock:
            hours, past, seconds = clock.groups()
            return int(hours) * 60 + int(past) + int(seconds or 0) / 60
        return float(text) * self._factor if number else minutes

    def _since_first(self, text: str, row: int) -> float:
        try:
            # A date alone would put a whole day's values at midnight.
            if ":" not in text:
                raise ValueError
            moment = datetime.fromisoformat(text)
            self._start = self._start or moment
            return (moment - self._start).total_seconds() / 60
        except (ValueError, TypeError, OverflowError):
            raise InputError(
                "Row {row}, column {column}: a time must be hh:mm, a number or a date with a time of day, got {text}.",
                row=row, column=self.column, text=shown(text),
            ) from None  # fmt: skip


def _read_long(header: list[str], rows: Iterator[Row]) -> Stay:
    """``time, parameter, value`` with an optional unit and patient; the challenge's files are of this kind."""
    header = [cell.strip() for cell in header]
    names = [cell.lower() for cell in header]
    at, what, value = _needed_time(names), _column(names, _PARAMETER), _column(names, _VALUE)
    unit, patient = _column(names, _UNIT), _column(names, _PATIENT)
    layout = "physionet" if names == ["time", "parameter", "value"] else "long"
    intake, clock = Intake(layout, header[at], header[value]), Clock(header[at])
    intake.unit_column = header[value if unit is None else unit]
    for row, cells in rows:
        _check_width(cells, header, row)
        if patient is not None:
            intake.patient(cells[patient].strip(), row, header[patient])
        minutes = clock(cells[at], row)
        intake.time(minutes, row)
        _long_entry(
            intake, minutes, cells[what].strip(), cells[value].strip(), None if unit is None else cells[unit], row
        )
    if intake.layout == "physionet" and not intake.id:
        intake.layout = "long"
    return intake.stay()


def _long_entry(intake: Intake, minutes: float, name: str, text: str, unit: str | None, row: int) -> None:
    if name.lower() == "recordid":
        intake.patient(f"{number(text, row, intake.value_column):.0f}", row, intake.value_column)
        return
    variable = by_name().get(name.lower())
    if variable is None:
        intake.unknown(name, row, "Parameter")
        return
    if text.lower() in _MISSING:
        intake.flag(row, intake.value_column, say("Row {row}: {name} has no value.", row=row, name=variable.name))
        return
    value = _value(text, variable, row, intake.value_column)
    if value != _MISSING_CODE or not (intake.layout == "physionet" and intake.id):
        intake.add(minutes, variable, value, unit, row)


def _value(text: str, variable: Variable, row: int, column: str) -> float:
    if variable.name == "Gender" and text.lower() in _GENDERS:
        return _GENDERS[text.lower()]
    return number(text, row, column)


_GENDERS = {"m": 1.0, "male": 1.0, "f": 0.0, "female": 0.0}


def _check_width(cells: list[str], header: list[str], row: int) -> None:
    if len(cells) != len(header):
        raise InputError(
            "Row {row}: a row must have {wanted} columns as the header has, got {got}.",
            row=row,
            wanted=len(header),
            got=len(cells),
        )


def _named(name: str) -> tuple[Variable | None, str | None]:
    """Variable and unit of a wide column: ``Temp``, ``Temp (degF)`` or ``Temp [degF]``."""
    if found := _UNIT_IN_NAME.fullmatch(name):
        variable = by_name().get(found[1].strip().lower())
        if variable is not None:
            return variable, found[2]
    return by_name().get(name.strip().lower()), None


def _read_wide(header: list[str], rows: Iterator[Row]) -> Stay:
    """A row per time, a column per parameter; empty cells are not measured."""
    header = [cell.strip() for cell in header]
    names = [cell.lower() for cell in header]
    at, patient = _needed_time(names), _column(names, _PATIENT)
    columns = _wide_columns(header, {at, patient})
    intake, clock = Intake("wide", header[at], ", ".join(header[k] for k, *_ in columns[:3])), Clock(header[at])
    for k, name in enumerate(header):
        if k not in {at, patient, *(column for column, *_ in columns)}:
            intake.unknown(name, 1, name)
    before = None
    for row, cells in rows:
        _check_width(cells, header, row)
        if patient is not None:
            intake.patient(cells[patient].strip(), row, header[patient])
        minutes = clock(cells[at], row)
        if minutes == before:
            raise InputError("Row {row}, column {column}: two rows have the same time.", row=row, column=header[at])
        intake.time(minutes, row)
        before = minutes
        for column, variable, unit in columns:
            _wide_entry(intake, minutes, cells[column].strip(), variable, unit, row, header[column])
    return intake.stay()


def _wide_columns(header: list[str], taken: set[int | None]) -> list[tuple[int, Variable, str | None]]:
    found: dict[str, tuple[int, Variable, str | None]] = {}
    for k, name in enumerate(header):
        variable, unit = _named(name)
        if k in taken or variable is None:
            continue
        if variable.name in found:
            raise InputError("Row 1, column {column}: {name} has two columns.", column=shown(name), name=variable.name)
        found[variable.name] = (k, variable, unit)
    return list(found.values())


def _wide_entry(
    intake: Intake, minutes: float, text: str, variable: Variable, unit: str | None, row: int, column: str
) -> None:
    if text.lower() in _MISSING:
        return
    intake.add(minutes, variable, _value(text, variable, row, column), unit, row, column)


def to_long_csv(stay: Stay) -> str:
    """A stay as long CSV that reads back as the same stay."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(("minutes", "parameter", "value", "unit"))
    for name, value in stay.fixed.items():
        writer.writerow((0, name, repr(float(value)), ""))
    names = tuple(SERIES)
    for minutes, series, value in zip(stay.minutes, stay.series, stay.values, strict=True):
        name = names[series]
        writer.writerow((repr(float(minutes)), name, repr(float(value)), SERIES[name].unit))
    return out.getvalue()
