"""The rows of the list of stays: what is kept of each, in which order, and as CSV."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from medai_core.errors import MedAIError, Message, RefusedInput
from medai_core.icu.features import PLACE, derived
from medai_core.icu.grid import HOURS, carry_forward, stack
from medai_core.icu.records import read_stay
from medai_core.icu.stay import Stay
from medai_core.icu.variables import INDEX, NAMES
from pages.ui.queue import Row, csv_table

if TYPE_CHECKING:
    from medai_core.icu.forecaster import Forecaster

CHUNK = 64
RISE_HOURS = 6
ORDERS = ("risk", "rise", "name")
PARTS = re.compile(r"(\d+)")


@dataclass(frozen=True, eq=False)
class Course:
    """What is kept of a stay that was read, compactly; its bytes stay in the upload.

    Attributes
    ----------
    latest : NDArray[np.float32], shape (V,)
        Last known value of each variable at the last hour; NaN where never measured.
    fixed : NDArray[np.float32], shape (3,)
        Descriptors, as :attr:`~medai_core.icu.grid.Grid.fixed`.
    state : NDArray[np.float32], shape (D,)
        Hidden state of the networks at the last hour.
    risk : NDArray[np.float32], shape (hours,)
        Risk of death in hospital at the end of each hour, from the data up to then.
    heart_rate, pressure : NDArray[np.float32]
        Heart rate, and mean arterial pressure from the line or else the cuff, as last known at each hour from the
        first measurement on; empty when never measured.
    measured_hours : int
        Hours with anything measured.
    left_out : int
        Entries of the file that are not used.
    first_left_out : Message or None
        What was noticed about the first of them.
    """

    latest: NDArray[np.float32]
    fixed: NDArray[np.float32]
    state: NDArray[np.float32]
    risk: NDArray[np.float32]
    heart_rate: NDArray[np.float32]
    pressure: NDArray[np.float32]
    measured_hours: int
    left_out: int
    first_left_out: Message | None

    @property
    def hours(self) -> int:
        """How long the stay was followed."""
        return len(self.risk)

    @property
    def now(self) -> float:
        """Risk at the last hour."""
        return float(self.risk[-1])

    @property
    def rise(self) -> float | None:
        """By how much the risk rose over the last six hours; None when the stay is shorter than seven."""
        return None if self.hours <= RISE_HOURS else float(self.risk[-1] - self.risk[-1 - RISE_HOURS])


@dataclass(frozen=True, eq=False)
class StayRow(Row):
    """One file: its course, or why there is none."""

    outcome: Course | MedAIError

    @property
    def read(self) -> bool:
        return isinstance(self.outcome, Course)


def courses(forecaster: Forecaster, items: Iterable[tuple[str, bytes]]) -> Iterator[tuple[str, Course | MedAIError]]:
    """Answer for named files in their order, a chunk at a time, so that a click on *Stop* is heard in between."""
    source = iter(items)
    while chunk := list(islice(source, CHUNK)):
        read = [(name, _read(data)) for name, data in chunk]
        stays = [stay for _name, stay in read if isinstance(stay, Stay)]
        found = iter(_scored(forecaster, stays) if stays else ())
        for name, stay in read:
            yield name, next(found) if isinstance(stay, Stay) else stay


def _read(data: bytes) -> Stay | MedAIError:
    try:
        return read_stay(data)
    except MedAIError as error:
        return error


def _scored(forecaster: Forecaster, stays: Sequence[Stay]) -> Iterator[Course]:
    from medai_core.icu.landscape import states

    grid, last = stack([stay.grid() for stay in stays]), [stay.hours - 1 for stay in stays]
    each = np.arange(len(stays))
    columns = (
        grid.carried[each, last], grid.fixed, states(forecaster, grid, [stay.hours for stay in stays]),
        forecaster.risks(grid).blend.astype(np.float32), _vitals(grid.mean), grid.measured.any(axis=-1),
    )  # fmt: skip
    for stay, latest, fixed, state, risk, (heart_rate, pressure), measured in zip(stays, *columns, strict=True):
        h, left_out = stay.hours, stay.left_out
        # Copies: a view would keep the tables of the whole chunk.
        yield Course(
            latest.copy(), fixed.copy(), state.copy(), risk[:h].copy(), _known(heart_rate[:h]), _known(pressure[:h]),
            int(measured[:h].sum()), len(left_out), left_out[0].message if left_out else None,
        )  # fmt: skip


def _vitals(mean: NDArray[np.float32]) -> NDArray[np.float32]:
    """Heart rate and mean arterial pressure as last known, (N, 2, 48), of tables (N, 48, V)."""
    pair = np.stack([mean[..., INDEX["HR"]], derived(mean)[..., PLACE["mean pressure"] - len(NAMES)]], axis=-1)
    return np.moveaxis(carry_forward(pair), -1, -2)


def _known(series: NDArray[np.float32]) -> NDArray[np.float32]:
    return series[~np.isnan(series)]


def in_order(rows: Sequence[StayRow], order: str) -> list[StayRow]:
    """Return the rows that were read: highest risk first, steepest rise first, or by name."""
    keys = {
        "risk": lambda row: -row.outcome.now,
        "rise": lambda row: np.inf if row.outcome.rise is None else -row.outcome.rise,
        "name": lambda row: natural(row.name),
    }
    return sorted((row for row in rows if row.read), key=keys[order])


def natural(name: str) -> list[tuple[bool, int, str]]:
    """Return a sorting key with which ``stay 9`` stands before ``stay 10``."""
    return [(not part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in PARTS.split(name.lower())]


def to_csv(rows: Sequence[StayRow], version: str) -> bytes:
    """Return the list as CSV in English with the risk at every hour; what was not read stands last with its reason."""
    head = ["file", "status", "reason", "version", "hours", "measured_hours", "left_out", "risk", "rise_6h"]
    ordered = [*(row for row in rows if row.read), *(row for row in rows if not row.read)]
    return csv_table(
        [*head, *(f"risk_h{hour:02d}" for hour in range(1, HOURS + 1))], (_cells(r, version) for r in ordered)
    )


def _cells(row: StayRow, version: str) -> list[object]:
    course = row.outcome
    if isinstance(course, MedAIError):
        status = "refused" if isinstance(course, RefusedInput) else "error"
        return [row.name, status, str(course), *[""] * (6 + HOURS)]
    risk = [f"{value:.4f}" for value in course.risk]
    rise = "" if course.rise is None else round(course.rise, 4)
    figures = [course.hours, course.measured_hours, course.left_out, risk[-1], rise]
    return [row.name, "read", "", version, *figures, *risk, *[""] * (HOURS - course.hours)]
