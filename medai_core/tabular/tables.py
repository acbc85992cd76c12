"""Reading a table of patients: CSV and other text, Parquet, Excel.

Every reader gives the same :class:`Table`, or raises an InputError of one sentence. Nothing is executed, and limits
are checked before a file is unpacked.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import pandas as pd

from medai_core.errors import InputError, Message, say
from medai_core.settings import settings
from medai_core.tabular.columns import CATEGORY, EMPTY, NUMBER, Column, describe, kind_of, level_text, typed
from medai_core.tabular.table_files import OLE, PARQUET, ZIP, check_size, read_excel, read_parquet
from medai_core.tabular.table_text import RawTable, read_text

MAX_ROWS = 1_000_000
MAX_COLUMNS = 2_000
MAX_CELLS = 30_000_000
MAX_NAME = 80
MOST_LEVELS_CHOSEN = 100
"""Of a column that the user says holds categories: each level becomes a column of its own for some models."""
FORMULA = r"^\s*=\s*[A-Za-z0-9(+\-$'\"@]"


@dataclass(frozen=True, eq=False)
class Table:
    """A table with typed columns.

    Attributes
    ----------
    name : str
        Of the file.
    frame : pd.DataFrame
        float64, categorical, datetime64 (UTC) or text columns; missing is NaN. Rows as in the file, numbered from 0.
    columns : tuple[Column, ...]
        In the order of the frame.
    notes : tuple[Message, ...]
        How the file was read, and what was decided on the way.
    digest : str
        SHA-256 of the file.
    """

    name: str
    frame: pd.DataFrame
    columns: tuple[Column, ...]
    notes: tuple[Message, ...]
    digest: str

    def __getitem__(self, name: str) -> Column:
        found = next((column for column in self.columns if column.name == name), None)
        if found is None:
            raise InputError("The table has no column {column}.", column=name)
        return found

    @property
    def names(self) -> list[str]:
        return [column.name for column in self.columns]

    def with_kind(self, name: str, kind: str) -> Table:
        """The table with one column taken as ``number`` or ``category``.

        Raises
        ------
        InputError
            If the kind is another, or the values of the column cannot be numbers.
        """
        column, series = self[name], self.frame[name]
        if kind == column.kind:
            return self
        if kind == CATEGORY:
            if column.distinct > MOST_LEVELS_CHOSEN:
                raise InputError("Column {column} has {count:,} different values; categories may have at most {limit}.",
                                 column=name, count=column.distinct, limit=MOST_LEVELS_CHOSEN)  # fmt: skip
            words = series.map(level_text, na_action="ignore")
            series = words.where(series.notna()).astype("category")
        elif kind == NUMBER:
            numbers = pd.to_numeric(series.astype(object), errors="coerce").astype(float)
            if numbers.isna().sum() > series.isna().sum():
                raise InputError("Column {column} holds values that are no numbers.", column=name)
            series = numbers
        else:
            raise InputError("`kind` must be number or category, got {kind}", kind=kind)
        changed = describe(series.rename(name), column.unit)
        columns = tuple(changed if each.name == name else each for each in self.columns)
        return replace(self, frame=self.frame.assign(**{name: series}), columns=columns)


def read_table(
    data: bytes,
    name: str = "table",
    *,
    separator: str | None = None,
    encoding: str | None = None,
    sheet: str | None = None,
) -> Table:
    """Read a table, telling its format by content.

    Parameters
    ----------
    data : bytes
        CSV or other separated text, Parquet, or an Excel workbook (xlsx, xls, xlsb).
    name : str
        For people; the format is never taken from it.
    separator, encoding, sheet : str, optional
        Where the user knows better than what is found.

    Raises
    ------
    InputError
        One sentence: empty, one column, no rows, damaged, too large, cells that are formulas.
    """
    if len(data) > settings().max_file_mb * 1_000_000:
        raise InputError(
            "A table must be at most {limit} MB, got {size:.0f} MB.", limit=settings().max_file_mb, size=len(data) / 1e6
        )
    if not data.strip():
        raise InputError("The file is empty.")
    raw = _raw(data, separator, encoding, sheet)
    _check(raw)
    names, notes = _clean_names(raw.names)
    return _assemble(name, names, raw, notes, hashlib.sha256(data).hexdigest())


def _raw(data: bytes, separator: str | None, encoding: str | None, sheet: str | None) -> RawTable:
    if data[:4] == PARQUET:
        return read_parquet(data, MAX_ROWS, MAX_COLUMNS)
    if data[:4] in (ZIP, OLE):
        return read_excel(data, MAX_ROWS, MAX_COLUMNS, sheet)
    check_size(data.count(b"\n") - 1, 1, MAX_ROWS, MAX_COLUMNS)
    return read_text(data, separator, encoding)


def _check(raw: RawTable) -> None:
    rows = len(raw.columns[0]) if raw.columns else 0
    if len(raw.names) < 2:
        raise InputError(
            "A table must have at least two columns, got {count}; separators known are comma, semicolon, tab and "
            "vertical bar.",
            count=len(raw.names),
        )
    check_size(rows, len(raw.names), MAX_ROWS, MAX_COLUMNS)
    if rows * len(raw.names) > MAX_CELLS:
        raise InputError(
            "A table must have at most {limit:,} cells, got {cells:,}.", limit=MAX_CELLS, cells=rows * len(raw.names)
        )
    if rows == 0:
        raise InputError("The table has names of columns, but no rows.")
    _check_formulas(raw)


def _check_formulas(raw: RawTable) -> None:
    import pyarrow as pa
    import pyarrow.compute as pc

    for place, name in enumerate(raw.names):
        if re.match(FORMULA, name):
            raise InputError("The name of column {place} is a formula ({cell}); save the table with a word there.",
                             place=place + 1, cell=clean_name(name)[:30])  # fmt: skip
    for name, column in zip(raw.names, raw.columns, strict=True):
        if not pa.types.is_string(column.type):
            continue
        formulas = pc.fill_null(pc.match_substring_regex(column, FORMULA), False)
        row = pc.index(formulas, True).as_py()
        if row >= 0:
            raise InputError(
                "Row {row}, column {column} holds a formula ({cell}); save the table with values in its place.",
                row=row + 2, column=clean_name(name), cell=column[row].as_py()[:30],
            )  # fmt: skip


def clean_name(name: str) -> str:
    """A name of a column without control characters or markup, at most 80 characters long."""
    shown = "".join(" " if unicodedata.category(c)[0] in "CZ" else c for c in unicodedata.normalize("NFC", name))
    shown = re.sub(r"\s+", " ", shown).strip().translate(str.maketrans({"<": "‹", ">": "›", "`": "'", "$": "＄"}))
    return shown if len(shown) <= MAX_NAME else shown[: MAX_NAME - 1] + "…"


def _clean_names(names: list[str]) -> tuple[list[str], list[Message]]:
    """Unique names without markup, and what was changed."""
    notes, cleaned = [], []
    for place, name in enumerate(names):
        shown = clean_name(name) or f"column {place + 1}"
        if shown != name.strip():
            notes.append(say("Column {place} is called {name} here.", place=place + 1, name=shown))
        cleaned.append(shown)
    found = distinct(cleaned)
    notes += [
        say("The column name {name} repeats; column {place} is called {new}.", name=name, place=place + 1, new=new)
        for place, (name, new) in enumerate(zip(cleaned, found, strict=True)) if name != new
    ]  # fmt: skip
    return found, notes


def distinct(names: Sequence[str]) -> list[str]:
    """The names, those that repeat an earlier one with a number: ``a``, ``a (2)``."""
    count: Counter[str] = Counter()
    taken, found = set(names), []
    for name in names:
        count[name] += 1
        number, new = count[name], name
        while number > 1 and new in taken:
            new, number = f"{name} ({number})", number + 1
        taken.add(new)
        found.append(new)
    return found


def _assemble(name: str, names: list[str], raw: RawTable, notes: list[Message], digest: str) -> Table:
    frame, columns, told = {}, [], [*raw.notes, *notes]
    for place, column in enumerate(names):
        series, unit, said = typed(column, raw.columns[place], raw.decimal_comma)
        raw.columns[place] = None  # cells as text are the largest thing here
        frame[column] = series
        columns.append(describe(series, unit))
        told += said
    if all(column.kind == EMPTY for column in columns):
        raise InputError("Every cell of the table is empty.")
    return Table(clean_name(name), pd.DataFrame(frame), tuple(columns), tuple(told), digest)


def table_of(frame: pd.DataFrame, name: str = "table") -> Table:
    """A table from a data frame, typed as a file with the same cells would be."""
    import pyarrow as pa

    names, notes = _clean_names([str(column) for column in frame.columns])
    arrays = []
    for place in range(frame.shape[1]):
        column = frame.iloc[:, place]
        if pd.api.types.is_bool_dtype(column) or pd.api.types.is_datetime64_any_dtype(column):
            arrays.append(pa.Array.from_pandas(column))
        elif pd.api.types.is_numeric_dtype(column):
            arrays.append(pa.array(column.to_numpy(dtype=float, na_value=float("nan"))))
        else:
            text = column.astype(object)
            arrays.append(pa.Array.from_pandas(text.where(text.isna(), text.map(str)), type=pa.string()))
    digest = hashlib.sha256(pd.util.hash_pandas_object(frame, index=False).to_numpy().tobytes()).hexdigest()
    raw = RawTable(names, arrays, [])
    _check(raw)
    return _assemble(name, names, raw, notes, digest)


__all__ = ["MAX_CELLS", "MAX_COLUMNS", "MAX_ROWS", "Table", "clean_name", "kind_of", "read_table", "table_of"]
