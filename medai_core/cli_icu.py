"""The command ``icu``: stays in, one line of risks each out."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Iterator
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from medai_core.errors import MedAIError, RefusedInput

if TYPE_CHECKING:
    from medai_core.icu.forecaster import Forecast

Row = dict[str, Any]
Answer = tuple[str, "Forecast | MedAIError"]
Read = Callable[[Iterable[tuple[str, bytes]]], Iterator[Answer]]


def icu_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "paths", nargs="+", metavar="PATH", help="stays (text, CSV, FHIR), ZIP archives, or folders of them"
    )


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
    from tqdm import tqdm

    def read(items: Iterable[tuple[str, bytes]]) -> Iterator[Answer]:
        from medai_core.icu.forecaster import load_forecaster

        start()
        return load_forecaster().forecast_many(items)

    all_well = True
    for name, answer in tqdm(answers(args.paths, read), unit="stay", leave=False, disable=None):
        row = icu_row(name, answer)
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
        "reason": None,
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
