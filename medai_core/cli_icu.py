"""The commands ``icu`` and ``forecast``: stays in, one line each out."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Iterator
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from medai_core.errors import MedAIError, RefusedInput

if TYPE_CHECKING:
    from medai_core.icu.forecaster import Forecast
    from medai_core.icu.outlook import Outlook

Row = dict[str, Any]
Answer = tuple[str, "Forecast | Outlook | MedAIError"]
Read = Callable[[Iterable[tuple[str, bytes]]], Iterator[Answer]]


DEFAULT_HORIZON_HOURS = 12


def icu_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "paths", nargs="+", metavar="PATH", help="stays (text, CSV, FHIR), ZIP archives, or folders of them"
    )


def forecast_arguments(parser: argparse.ArgumentParser) -> None:
    icu_arguments(parser)
    at = "hour looked from, 1 to 48; nothing recorded later is used (default: the last of the stay)"
    parser.add_argument("--at", type=_whole(1, 48), metavar="HOUR", help=at)
    ahead = f"coming hours, 1 to 24 (default: {DEFAULT_HORIZON_HOURS})"
    parser.add_argument("--horizon", type=_whole(1, 24), default=DEFAULT_HORIZON_HOURS, metavar="HOURS", help=ahead)


def _whole(low: int, high: int) -> Callable[[str], int]:
    """A reader of whole numbers within bounds, for the parser."""

    def read(text: str) -> int:
        if not text.isascii() or not text.isdigit() or not low <= int(text) <= high:
            raise argparse.ArgumentTypeError(f"must be a whole number from {low} to {high}, got {text!r}")
        return int(text)

    return read


def icu(
    args: argparse.Namespace,
    emit: Callable[[Row], None],
    answers: Callable[[Iterable[str], Read], Iterator[Answer]],
    start: Callable[[], None],
) -> bool:
    """Answer for every file at the paths.

    Parameters
    ----------
    answers : callable
        Opens the files and keeps the errors of those that cannot be opened in their places.
    start : callable
        Loads the networks' library.
    """

    def read(items: Iterable[tuple[str, bytes]]) -> Iterator[Answer]:
        from medai_core.icu.forecaster import load_forecaster

        start()
        return load_forecaster().forecast_many(items)

    return _tell(answers(args.paths, read), icu_row, emit)


def forecast(
    args: argparse.Namespace,
    emit: Callable[[Row], None],
    answers: Callable[[Iterable[str], Read], Iterator[Answer]],
    start: Callable[[], None],
) -> bool:
    """Forecast the coming hours of every file at the paths; arguments as of :func:`icu`."""

    def read(items: Iterable[tuple[str, bytes]]) -> Iterator[Answer]:
        from medai_core.icu.outlook import load_outlooks

        start()
        return load_outlooks().outlook_many(items, args.at, args.horizon)

    return _tell(answers(args.paths, read), forecast_row, emit)


def _tell(found: Iterator[Answer], row_of: Callable[[str, Any], Row], emit: Callable[[Row], None]) -> bool:
    from tqdm import tqdm

    all_well = True
    for name, answer in tqdm(found, unit="stay", leave=False, disable=None):
        row = row_of(name, answer)
        all_well &= row["status"] != "error"
        emit(row)
    return all_well


def icu_row(name: str, answer: Forecast | MedAIError) -> Row:
    """One line of ``icu --json``. A stay whose file names no record is called by its file."""
    if isinstance(answer, MedAIError):
        status = "refused" if isinstance(answer, RefusedInput) else "error"
        return {"stay": name, "status": status, "reason": str(answer), "hours": [], "risk": [], "mortality": None}
    risk = [float(p) for p in answer.risk]
    stay = answer.stay or PurePath(name).stem
    return {
        "stay": stay,
        "status": "read",
        "reason": "",
        "hours": list(answer.hours),
        "risk": risk,
        "mortality": risk[-1],
    }


def icu_text(row: Row) -> str:
    if row["status"] != "read":
        return f"{row['stay']}: {row['status']}: {row['reason']}"
    course = ", ".join(f"hour {h} {row['risk'][h - 1]:.3f}" for h in (6, 12, 24, 36) if h < len(row["hours"]))
    return f"{row['stay']}: risk of death in hospital {row['mortality']:.3f} after {len(row['hours'])} h" + (
        f" ({course})" if course else ""
    )


def forecast_row(name: str, answer: Outlook | MedAIError) -> Row:
    """One line of ``forecast --json``. A stay whose file names no record is called by its file."""
    if isinstance(answer, MedAIError):
        status = "refused" if isinstance(answer, RefusedInput) else "error"
        return {"stay": name, "status": status, "reason": str(answer), "at": None, "variables": {}}
    stay = answer.stay or PurePath(name).stem
    return {"stay": stay, "status": "read", "reason": "", "at": answer.at, "variables": _fans(answer)}


def _fans(outlook: Outlook) -> Row:
    from medai_core.icu.outlook import QUANTILES, VARIABLES
    from medai_core.icu.variables import SERIES

    names, fans = [f"q{round(100 * level):02d}" for level in QUANTILES], {}
    for variable in VARIABLES:
        columns = outlook.of(variable).T.tolist()
        fan = {"unit": SERIES[variable].unit, "hours": list(outlook.hours)}
        fans[variable] = fan | dict(zip(names, columns, strict=True))
    return fans


def forecast_text(row: Row) -> str:
    if row["status"] != "read":
        return f"{row['stay']}: {row['status']}: {row['reason']}"
    fans = row["variables"]
    last = fans["HR"]["hours"][-1]
    shown = (
        f"{name} {fan['q50'][-1]:.4g} ({fan['q05'][-1]:.4g} to {fan['q95'][-1]:.4g})" for name, fan in fans.items()
    )
    return f"{row['stay']}: from hour {row['at']}, at hour {last}: {', '.join(shown)}"
