"""The command ``treat``: a table of patients in, one line each out, the arms of a trial side by side."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medai_core.errors import InputError, MedAIError

if TYPE_CHECKING:
    from medai_core.errors import Message
    from medai_core.tabular.treatment import TreatmentModel

Row = dict[str, Any]
Patient = tuple[int, "dict[str, str] | MedAIError"]
AT_ONCE = 256


def treat_arguments(parser: argparse.ArgumentParser) -> None:
    about = "patients, with the trial's columns from before treatment; other columns are passed over"
    parser.add_argument("path", metavar="CSV", type=Path, help=about)


def treat(args: argparse.Namespace, emit: Callable[[Row], None]) -> bool:
    """Compare the arms for every row of the table; a row that cannot be answered does not stop the rest."""
    from tqdm import tqdm

    from medai_core.tabular.treatment import load_treatment

    model, all_well = load_treatment(), True
    patients = iter(tqdm(patients_of(_content(args.path), model.encoder.names), unit="row", leave=False, disable=None))
    while some := list(islice(patients, AT_ONCE)):
        for row in rows_of(model, some):
            all_well &= row["status"] == "read"
            emit(row)
    print(model.verdict(), file=sys.stderr, flush=True)
    return all_well


def _content(path: Path) -> bytes:
    from medai_core.settings import settings

    try:
        with path.open("rb") as file:
            data = file.read(settings().max_file_mb * 1_000_000 + 1)
    except OSError as error:
        raise InputError("The file cannot be opened: {why}.", why=error.strerror) from error
    if len(data) > settings().max_file_mb * 1_000_000:
        raise InputError("A table must be at most {limit} MB.", limit=settings().max_file_mb)
    return data


def patients_of(data: bytes, needed: tuple[str, ...]) -> Iterator[Patient]:
    """Number of each row, from 0, with its cells by column, or what is wrong with it.

    Raises
    ------
    InputError
        If the file is empty or no text, or a needed column is missing or repeated.
    """
    from medai_core.tabular.table_text import decode, filled_rows, sniff

    if not data.strip():
        raise InputError("The file is empty.")
    text, _ = decode(data)
    mark = sniff(text)
    lines = (cells for _, cells in filled_rows(text, mark))
    names = [name.strip() for name in next(lines, [])]
    gone = [name for name in needed if name not in names]
    if gone:
        raise InputError("The rows lack {count} of the columns the model reads: {names}.", count=len(gone),
                         names=", ".join(gone))  # fmt: skip
    for name in needed:
        if names.count(name) > 1:
            raise InputError("The column name {name} repeats.", name=name)
    return _numbered(lines, names, needed, mark == ";")


def _numbered(lines: Iterator[list[str]], names: list[str], needed: tuple[str, ...], comma: bool) -> Iterator[Patient]:
    from medai_core.tabular.columns import MISSING

    for number, cells in enumerate(lines):
        if len(cells) != len(names):
            yield number, InputError("The row has {got} cells, but the header has {wanted}; is the separator right?",
                                     got=len(cells), wanted=len(names))  # fmt: skip
            continue
        found = {name: cell.strip() for name, cell in zip(names, cells, strict=True) if name in needed}
        if comma:
            found = {name: cell.replace(",", ".") for name, cell in found.items()}
        yield number, {name: "" if cell.lower() in MISSING else cell for name, cell in found.items()}


def rows_of(model: TreatmentModel, patients: list[Patient]) -> Iterator[Row]:
    """Lines of ``treat --json``, in the order of the patients."""
    import numpy as np

    read = {number: _read(model, cells) for number, cells in patients}
    good = [number for number, found in read.items() if not isinstance(found, MedAIError)]
    if good:
        ends = model.event_free_many(np.array([read[number][0] for number in good]))
    for number, found in read.items():
        if isinstance(found, MedAIError):
            yield treat_row(number, found)
            continue
        value, low, high = (end[good.index(number)] for end in ends)
        answer = {arm: (value[k], low[k], high[k]) for k, arm in enumerate(model.arms)}
        yield treat_row(number, answer, model.recommend_of(value).arm, found[1])


def _read(model: TreatmentModel, cells: dict[str, str] | MedAIError) -> tuple[Any, tuple[Message, ...]] | MedAIError:
    if isinstance(cells, MedAIError):
        return cells
    try:
        return model.read(cells)
    except MedAIError as error:
        return error


def treat_row(
    number: int, answer: dict[str, tuple[float, float, float]] | MedAIError, recommended: str | None = None,
    cautions: tuple[Message, ...] = (),
) -> Row:  # fmt: skip
    """One line of ``treat --json``."""
    if isinstance(answer, MedAIError):
        blank = {"event_free_2y": {}, "interval": {}, "recommended": None, "cautions": []}
        return {"row": number, "status": "error", "reason": str(answer), **blank}
    return {
        "row": number,
        "status": "read",
        "reason": None,
        "event_free_2y": {arm: float(value) for arm, (value, _, _) in answer.items()},
        "interval": {arm: [float(low), float(high)] for arm, (_, low, high) in answer.items()},
        "recommended": recommended,
        "cautions": [str(caution) for caution in cautions],
    }


def treat_text(row: Row) -> str:
    if row["status"] != "read":
        return f"row {row['row']}: {row['status']}: {row['reason']}"
    ends = row["interval"]
    arms = (f"arm {arm} {p:.3f} ({ends[arm][0]:.3f} to {ends[arm][1]:.3f})" for arm, p in row["event_free_2y"].items())
    told = "; ".join([f"recommended: {row['recommended'] or 'none'}", *row["cautions"]])
    return f"row {row['row']}: event-free at 2 years: {', '.join(arms)}; {told}"
