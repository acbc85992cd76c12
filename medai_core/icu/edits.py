"""What if a value were different: a stay with values set, deleted, added, or a whole series shifted.

An answer that follows a changed value is association, not effect: the models never saw anybody intervene.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from medai_core.errors import InputError, Message, say
from medai_core.icu.stay import MAX_MINUTES, Stay
from medai_core.icu.variables import INDEX, SERIES

Kind = Literal["set", "delete", "add", "shift"]
KINDS: tuple[Kind, ...] = get_args(Kind)
SAME_MINUTE = 1e-6
"""Times closer than this, in minutes, are one time: hours and back loses the last digits."""
NOT_IN_FILE = 0
"""The row of a measurement that an edit added."""


@dataclass(frozen=True)
class Edit:
    """One change to a stay.

    Attributes
    ----------
    kind : {"set", "delete", "add", "shift"}
        ``set`` and ``delete`` concern the measurements of `variable` at `minute`, all of them where there are
        several; ``add`` puts a new one there; ``shift`` adds `value` to the whole series.
    variable : str
        One of :data:`~medai_core.icu.variables.SERIES`.
    minute : float, optional
        Since admission, 0 to 2880. Not used by ``shift``.
    value : float, optional
        In the variable's unit. Not used by ``delete``.
    """

    kind: Kind
    variable: str
    minute: float | None = None
    value: float | None = None


def apply(stay: Stay, edits: Sequence[Edit]) -> Stay:
    """A new stay with the edits made, one after the other; the given one stays as it is.

    Raises
    ------
    InputError
        If an edit names an unknown variable, a time outside 0 to 2880 minutes, a value outside the plausible
        range (for ``shift``: that would leave it), or a measurement that is not there (for ``add``: that is).
    """
    for edit in edits:
        stay = _applied(stay, edit)
    return stay


def describe(edit: Edit) -> Message:
    """One edit in words."""
    minute = edit.minute or 0.0
    told = {"variable": edit.variable, "time": f"{int(minute) // 60:02d}:{int(minute) % 60:02d}", "value": edit.value}
    match edit.kind:
        case "set":
            return say("{variable} at {time} is set to {value:g}", **told)
        case "delete":
            return say("{variable} at {time} is deleted", **told)
        case "add":
            return say("{variable} of {value:g} is added at {time}", **told)
        case _:
            return say("{variable} is shifted by {value:+g} throughout", **told)


def _applied(stay: Stay, edit: Edit) -> Stay:
    _check(edit)
    mine = stay.series == INDEX[edit.variable]
    if edit.kind == "add":
        return _add(stay, edit, mine)
    if edit.kind != "shift":
        mine = mine & (np.abs(stay.minutes - edit.minute) < SAME_MINUTE)
    if not mine.any():
        _refuse_absent(edit)
    if edit.kind == "delete":
        return _with(stay, stay.minutes[~mine], stay.series[~mine], stay.values[~mine], stay.rows[~mine])
    values = stay.values.copy()
    values[mine] = edit.value if edit.kind == "set" else values[mine] + edit.value
    for value in values[mine]:
        _check_value(edit.variable, float(value))
    return _with(stay, stay.minutes, stay.series, values, stay.rows)


def _add(stay: Stay, edit: Edit, mine: NDArray[np.bool_]) -> Stay:
    if (mine & (np.abs(stay.minutes - edit.minute) < SAME_MINUTE) & (stay.values == edit.value)).any():
        raise InputError(
            "An added value must not be there already, got {variable} of {value:g} at minute {minute:g}.",
            variable=edit.variable,
            value=edit.value,
            minute=edit.minute,
        )
    new = (edit.minute, INDEX[edit.variable], edit.value, NOT_IN_FILE)
    olds = (stay.minutes, stay.series, stay.values, stay.rows)
    return _with(stay, *(np.append(old, np.asarray(one, old.dtype)) for old, one in zip(olds, new, strict=True)))


def _with(
    stay: Stay,
    minutes: NDArray[np.float64],
    series: NDArray[np.int16],
    values: NDArray[np.float64],
    rows: NDArray[np.int32],
) -> Stay:
    """The stay with these measurements, in the order of reading and, as on reading, without exact repeats."""
    order = np.lexsort((rows, values, series, minutes))
    parts = [part[order] for part in (minutes, series, values, rows)]
    again = np.zeros(len(order), bool)
    again[1:] = np.logical_and.reduce([part[1:] == part[:-1] for part in parts[:3]])
    parts = [part[~again] for part in parts]
    last = math.ceil(parts[0][-1] / 60) if parts[0].size else 1
    return replace(stay, minutes=parts[0], series=parts[1], values=parts[2], rows=parts[3], hours=max(stay.hours, last))


def _check(edit: Edit) -> None:
    if edit.kind not in KINDS:
        raise InputError("`kind` must be one of {kinds}, got {kind}", kinds=", ".join(KINDS), kind=edit.kind)
    if edit.variable not in SERIES:
        raise InputError("`variable` must be a measured variable, got {variable}", variable=edit.variable)
    if edit.kind != "shift" and not (edit.minute is not None and 0 <= edit.minute <= MAX_MINUTES):
        raise InputError(
            "`minute` must be between 0 and {last}, got {minute} for {variable}",
            last=MAX_MINUTES,
            minute=edit.minute,
            variable=edit.variable,
        )
    if edit.kind == "shift" and not (edit.value is not None and math.isfinite(edit.value)):
        raise InputError(
            "`value` must be a finite number to shift {variable} by, got {value}",
            variable=edit.variable,
            value=edit.value,
        )
    if edit.kind in ("set", "add"):
        _check_value(edit.variable, edit.value)


def _check_value(name: str, value: float | None) -> None:
    variable = SERIES[name]
    if value is None or not variable.plausible(value):
        raise InputError(
            "A value of {variable} must be between {low:g} and {high:g} {unit}, got {value}",
            variable=name,
            low=variable.low,
            high=variable.high,
            unit=variable.unit,
            value=value,
        )


def _refuse_absent(edit: Edit) -> None:
    if edit.kind == "shift":
        raise InputError("A shifted series must have measurements, but {variable} has none.", variable=edit.variable)
    raise InputError(
        "A value to change must be there, but {variable} was not measured at minute {minute:g}.",
        variable=edit.variable,
        minute=edit.minute,
    )
