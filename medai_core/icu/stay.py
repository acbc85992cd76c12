"""A stay as it was recorded: measurements with their rows, descriptors, and what was noticed on the way in."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from medai_core.errors import InputError, Message, say
from medai_core.icu.grid import HOURS, Grid, to_grid
from medai_core.icu.variables import AGE_OVER_89, FIXED, INDEX, NAMES, OVER_89, SERIES, Variable

MAX_MINUTES = HOURS * 60
MAX_MB, MAX_ROWS = 20, 200_000
SHOWN = 40
NEARLY_WHOLE_HOURS = 42
"""A stay last recorded after this hour is taken to have been followed for all 48."""


@dataclass(frozen=True)
class Flag:
    """Something about one entry that a reader should know.

    Attributes
    ----------
    row : int
        Line of the file from 1; for FHIR, number of the bundle's entry from 1.
    column : str
        Column or element.
    message : Message
        One sentence, with row and column in it.
    left_out : bool
        Whether the entry is not used.
    """

    row: int
    column: str
    message: Message
    left_out: bool


@dataclass(frozen=True, eq=False)
class Stay:
    """One patient's stay, measurements in the order of time.

    Attributes
    ----------
    id : str
        As in the file; empty when it names none.
    minutes : NDArray[np.float64], shape (N,)
        Since admission, 0 to 2880.
    series : NDArray[np.int16], shape (N,)
        Number of the variable in :data:`~medai_core.icu.variables.NAMES`.
    values : NDArray[np.float64], shape (N,)
        In the variable's unit.
    rows : NDArray[np.int32], shape (N,)
        Where each stood in the file, as :attr:`Flag.row`.
    fixed : dict[str, float]
        Age, Gender, Height, ICUType as far as known.
    flags : tuple[Flag, ...]
        What was converted, read in a particular way, or left out.
    hours : int
        How long the stay was followed, 1 to 48.
    layout : str
        ``physionet``, ``long``, ``wide`` or ``fhir``.
    """

    id: str
    minutes: NDArray[np.float64]
    series: NDArray[np.int16]
    values: NDArray[np.float64]
    rows: NDArray[np.int32]
    fixed: dict[str, float]
    flags: tuple[Flag, ...]
    hours: int
    layout: str

    def grid(self) -> Grid:
        return to_grid(self.minutes, self.series.astype(np.intp), self.values, self.fixed)

    def until(self, hour: int) -> Stay:
        """The stay as it was known at the end of an hour, 1 to 48."""
        if not 1 <= hour <= HOURS:
            raise InputError("`at_hour` must be between 1 and {last}, got {hour}", last=HOURS, hour=hour)
        known = self.minutes <= 60 * hour
        parts = {name: getattr(self, name)[known] for name in ("minutes", "series", "values", "rows")}
        return replace(self, **parts, hours=min(self.hours, hour))

    @property
    def left_out(self) -> tuple[Flag, ...]:
        return tuple(flag for flag in self.flags if flag.left_out)


@dataclass
class Intake:
    """Collects the entries of one file, checks each, and makes the stay.

    Attributes
    ----------
    layout : str
        See :class:`Stay`.
    time_column, value_column : str
        What errors call them.
    unit_column : str
        The same of a column of units; empty where units stand with the values.
    """

    layout: str
    time_column: str = "Time"
    value_column: str = "Value"
    unit_column: str = ""
    id: str = ""
    flags: list[Flag] = field(default_factory=list)
    _entries: list[tuple[float, int, float, int]] = field(default_factory=list)
    _fixed: dict[str, list[float]] = field(default_factory=dict)
    _unknown: set[str] = field(default_factory=set)
    _latest: float = 0.0

    def flag(self, row: int, column: str, message: Message, *, left_out: bool = True) -> None:
        self.flags.append(Flag(row, column, message, left_out))

    def patient(self, name: str, row: int, column: str) -> None:
        """Note whose entry this is; a second patient is an error."""
        if self.id and name != self.id:
            raise InputError(
                "Row {row}, column {column}: a file must hold one patient, but a second one begins here.",
                row=row,
                column=column,
            )
        self.id = name

    def time(self, minutes: float, row: int) -> None:
        """Check a time in minutes since admission against the limits and the row before."""
        if not 0 <= minutes <= MAX_MINUTES:
            raise InputError(
                "Row {row}, column {column}: times must be between 0 and {limit} hours after admission, "
                "got {hours:.2f} hours.",
                row=row,
                column=self.time_column,
                limit=HOURS,
                hours=minutes / 60,
            )
        if minutes < self._latest:
            raise InputError(
                "Row {row}, column {column}: times must not run backwards, got {now} after {before} minutes.",
                row=row,
                column=self.time_column,
                now=round(minutes, 2),
                before=round(self._latest, 2),
            )
        self._latest = minutes

    def unknown(self, name: str, row: int, column: str) -> None:
        """Say once that a parameter is not one of ours."""
        if name not in self._unknown:
            self._unknown.add(name)
            self.flag(row, column, say("Row {row}: {name} is not a parameter used here.", row=row, name=shown(name)))

    def add(
        self, minutes: float, variable: Variable, value: float, unit: str | None, row: int, column: str = ""
    ) -> None:
        """Take an entry in: convert its unit, leave it out visibly when it is implausible."""
        column = column or self.value_column
        converted = variable.convert(value, unit)
        if converted is None:
            raise InputError(
                "Row {row}, column {column}: the unit of {name} must be {unit} or one that converts to it, got {got}.",
                row=row,
                column=self.unit_column or column,
                name=variable.name,
                unit=variable.unit,
                got=shown(str(unit)),
            )
        if variable.name == "Age" and converted >= OVER_89 and converted < OVER_89 + 120:
            self.flag(
                row,
                column,
                say("Row {row}: an age of {value:g} stands for over 89 years.", row=row, value=converted),
                left_out=False,
            )
            converted = AGE_OVER_89
        if not variable.plausible(converted):
            self._implausible(variable, converted, row, column)
            return
        if unit and converted != value:
            text = say(
                "Row {row}: {name} was converted from {unit}.", row=row, name=variable.name, unit=shown(unit.strip())
            )
            self.flag(row, column, text, left_out=False)
        if variable.name in FIXED:
            self._fixed.setdefault(variable.name, []).append(converted)
        else:
            self._entries.append((minutes, INDEX[variable.name], converted, row))

    def _implausible(self, variable: Variable, value: float, row: int, column: str) -> None:
        text = say(
            "Row {row}, column {column}: {name} of {value:g} {unit} is outside {low:g} to {high:g} and was left out.",
            row=row,
            column=column,
            name=variable.name,
            value=value,
            unit=variable.unit,
            low=variable.low,
            high=variable.high,
        )
        self.flag(row, column, text)

    def stay(self) -> Stay:
        """Make the stay.

        Raises
        ------
        InputError
            If nothing that can be used is in it.
        """
        if not self._entries:
            raise InputError(
                "No usable measurement was found: column {column} holds none of the known parameters "
                "with a plausible value.",
                column=self.value_column,
            )
        table = np.array(sorted(self._entries), dtype=float)
        again = np.r_[False, (np.diff(table[:, :3], axis=0) == 0).all(axis=1)]
        for row, k in table[again][:, [3, 1]].astype(int):
            text = say("Row {row}: {name} repeats an entry of the same minute and value.", row=row, name=NAMES[k])
            self.flag(row, self.value_column, text)
        table = table[~again]
        last = max(math.ceil(table[-1, 0] / 60), 1)
        whole = self.layout == "physionet" or last > NEARLY_WHOLE_HOURS
        columns = (table[:, 0], table[:, 1].astype(np.int16), table[:, 2], table[:, 3].astype(np.int32))
        return Stay(self.id, *columns, self._descriptors(), tuple(self.flags), HOURS if whole else last, self.layout)

    def _descriptors(self) -> dict[str, float]:
        for name, values in self._fixed.items():
            if len(set(values)) > 1:
                text = say("{name} is given {count} times; the median is used.", name=name, count=len(values))
                self.flag(1, self.value_column, text, left_out=False)
        return {name: float(np.median(values)) for name, values in self._fixed.items()}


def number(text: str, row: int, column: str) -> float:
    """A cell as a finite number; raises InputError with its row and column."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    # float() also takes "1_0" and "nan", which no record means.
    if not math.isfinite(value) or "_" in text:
        raise InputError(
            "Row {row}, column {column}: a value must be a number, got {text}.",
            row=row,
            column=column,
            text=shown(text),
        )
    return value


def shown(text: str) -> str:
    """Text from a file as a sentence may show it: quoted, printable, short."""
    return repr(text if len(text) <= SHOWN else text[: SHOWN - 1] + "…")


assert not set(FIXED) & set(SERIES)
