"""Many stays with their outcomes, in the layout of the challenge: ``set-a/*.txt`` beside ``Outcomes-a.txt``."""

from __future__ import annotations

import csv
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medai_core.errors import InputError, MedAIError
from medai_core.icu.grid import Grid, stack
from medai_core.icu.records import read_stay
from medai_core.icu.stay import number

SCORES = ("SAPS-I", "SOFA")
_DIED, _DAYS = "In-hospital_death", "Length_of_stay"

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Cohort:
    """Stays and what became of them.

    Attributes
    ----------
    ids : NDArray[np.str_], shape (N,)
        Record numbers: one patient each.
    grid : Grid
        Tables (N, 48, V).
    icu_type : NDArray[np.float64], shape (N,)
        1 to 4, NaN where the file has none.
    died : NDArray[np.int64], shape (N,)
        0 or 1.
    days : NDArray[np.float64], shape (N,)
        Length of stay; NaN where not known.
    scores : dict[str, NDArray[np.float64]]
        SAPS-I and SOFA, NaN where not known. Never inputs.
    """

    ids: NDArray[np.str_]
    grid: Grid
    icu_type: NDArray[np.float64]
    died: NDArray[np.int64]
    days: NDArray[np.float64]
    scores: dict[str, NDArray[np.float64]]

    def part(self, rows: NDArray[np.intp]) -> Cohort:
        """Some of the stays."""
        scores = {name: values[rows] for name, values in self.scores.items()}
        return Cohort(
            self.ids[rows], part_of(self.grid, rows), self.icu_type[rows], self.died[rows], self.days[rows], scores
        )


def part_of(grid: Grid, rows: NDArray[np.intp] | slice) -> Grid:
    return Grid(grid.mean[rows], grid.low[rows], grid.high[rows], grid.fixed[rows])


def load_cohort(folder: Path | str) -> Cohort:
    """Read every stay below a folder that has an outcome, by record number.

    Raises
    ------
    InputError
        If no stay with an outcome is found.
    """
    paths = sorted(Path(folder).rglob("*.txt"))
    outcomes: dict[str, dict[str, float]] = {}
    for path in (p for p in paths if p.name.lower().startswith("outcomes")):
        outcomes |= dict(_outcomes(path))
    rows = [row for path in paths if (row := _stay(path, outcomes)) is not None]
    if not rows:
        raise InputError(
            "No stay with an outcome was found below {folder}: it must hold RecordID.txt files and an Outcomes file.",
            folder=Path(folder).name,
        )
    found = [outcomes[name] for name, *_ in rows]
    return Cohort(
        np.array([name for name, *_ in rows]),
        stack([grid for _, grid, _ in rows]),
        np.array([kind for *_, kind in rows]),
        np.array([row[_DIED] for row in found], dtype=np.int64),
        np.array([row.get(_DAYS, np.nan) for row in found]),
        {name: np.array([row.get(name, np.nan) for row in found]) for name in SCORES},
    )


def _stay(path: Path, outcomes: dict[str, dict[str, float]]) -> tuple[str, Grid, float] | None:
    if path.stem not in outcomes:
        return None
    try:
        stay = read_stay(path.read_bytes())
    except MedAIError as error:
        log.warning("%s is left out: %s", path.name, error)
        return None
    return path.stem, stay.grid(), stay.fixed.get("ICUType", np.nan)


def _outcomes(path: Path) -> Iterator[tuple[str, dict[str, float]]]:
    """Outcomes by record number; -1 is not known."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        table = csv.DictReader(file)
        if not {"RecordID", _DIED} <= set(table.fieldnames or ()):
            raise InputError("{file} must have the columns RecordID and {died}.", file=path.name, died=_DIED)
        for row in table:
            numbers = {
                name: number(row[name] or "", table.line_num, name) for name in (_DIED, _DAYS, *SCORES) if name in row
            }
            if numbers[_DIED] not in (0, 1):
                raise InputError(
                    "Row {row} of {file}: {died} must be 0 or 1, got {value:g}.",
                    row=table.line_num, file=path.name, died=_DIED, value=numbers[_DIED],
                )  # fmt: skip
            yield row["RecordID"].strip(), {name: value for name, value in numbers.items() if value >= 0}
