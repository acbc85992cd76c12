"""Parquet files and Excel workbooks, held to the same limits as text."""

from __future__ import annotations

import io
import re
import zipfile
from typing import Any

from medai_core.errors import InputError, Message, say
from medai_core.settings import settings
from medai_core.tabular.table_text import RawTable, first_line

PARQUET, ZIP, OLE = b"PAR1", b"PK\x03\x04", b"\xd0\xcf\x11\xe0"
_UNCOUNTED = re.compile(rb"</f>\s*(?:<v\s*/>|<v>\s*</v>)?\s*</c>")


def read_parquet(data: bytes, max_rows: int, max_columns: int) -> RawTable:
    """Read a Parquet file; its size is checked from its footer before any column is unpacked."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(io.BytesIO(data))
        check_size(file.metadata.num_rows, file.metadata.num_columns, max_rows, max_columns)
        unpacked = sum(file.metadata.row_group(k).total_byte_size for k in range(file.metadata.num_row_groups))
        _check_unpacked(unpacked)
        table = file.read(use_threads=False)
    except (pa.ArrowInvalid, pa.ArrowException, OSError) as error:
        raise InputError("The Parquet file is damaged: {why}.", why=first_line(error)) from None
    names, columns, notes = [], [], []
    for name, column in zip(table.column_names, table.columns, strict=True):
        if not name.startswith("__index_level_"):
            kept, note = _flat(str(name), column)
            names, columns = [*names, str(name)], [*columns, kept]
            notes += [note] if note else []
    return RawTable(names, columns, [say("Read as a Parquet file."), *notes])


def _flat(name: str, column: Any) -> tuple[Any, Message | None]:
    """One array of a column; nested values are left out."""
    import pyarrow as pa

    kind = column.type
    if pa.types.is_dictionary(kind):
        column, kind = column.cast(kind.value_type), kind.value_type
    if pa.types.is_nested(kind) or pa.types.is_binary(kind):
        empty = pa.nulls(len(column), pa.string())
        return empty, say("Column {column} holds lists or bytes and was left out.", column=name)
    if pa.types.is_decimal(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return column.cast(pa.float64(), safe=False).combine_chunks(), None
    return column.combine_chunks() if column.num_chunks != 1 else column.chunk(0), None


def read_excel(data: bytes, max_rows: int, max_columns: int, sheet: str | None = None) -> RawTable:
    """Read one sheet of a workbook, the first by default; formulas count by their saved values.

    Raises
    ------
    InputError
        If formulas were saved without values, the workbook is damaged or protected, or has no such sheet.
    """
    from python_calamine import CalamineError, CalamineWorkbook, PasswordError

    if data[:4] == ZIP:
        _check_workbook(data)
    try:
        book = CalamineWorkbook.from_filelike(io.BytesIO(data))
        if sheet is not None and sheet not in book.sheet_names:
            raise InputError("The workbook has no sheet {sheet}, only {names}.", sheet=sheet,
                             names=", ".join(book.sheet_names))  # fmt: skip
        found = book.get_sheet_by_name(sheet or book.sheet_names[0])
        check_size(found.total_height, found.total_width, max_rows, max_columns)
        rows = found.to_python(skip_empty_area=True)
    except PasswordError:
        raise InputError("The workbook is protected by a password; save it without one.") from None
    except (CalamineError, IndexError, ValueError, OSError) as error:
        raise InputError("The workbook is damaged: {why}.", why=first_line(error)) from None
    notes = [say("Read from the sheet {sheet} of a workbook.", sheet=found.name)]
    if len(book.sheet_names) > 1:
        notes.append(say("The workbook has other sheets: {names}.", names=", ".join(
            name for name in book.sheet_names if name != found.name)))  # fmt: skip
    return _from_cells(rows, notes)


def _check_workbook(data: bytes) -> None:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as book:
            _check_unpacked(sum(member.file_size for member in book.infolist()))
            sheets = [name for name in book.namelist() if re.fullmatch(r"xl/worksheets/[^/]+\.xml", name)]
            if any(_UNCOUNTED.search(book.read(name)) for name in sheets):
                raise InputError("The workbook holds formulas without values; save it with values in their place.")
    except zipfile.BadZipFile:
        raise InputError("The workbook is damaged: {why}.", why="its archive cannot be opened") from None


def _check_unpacked(size_bytes: int) -> None:
    if size_bytes > settings().max_archive_mb * 1_000_000:
        raise InputError(
            "The table must be at most {limit} MB when unpacked, got {size:.0f} MB.",
            limit=settings().max_archive_mb, size=size_bytes / 1e6,
        )  # fmt: skip


def check_size(rows: int, columns: int, max_rows: int, max_columns: int) -> None:
    """Raise InputError for a table beyond the limits."""
    if rows > max_rows:
        raise InputError("A table must have at most {limit:,} rows, got {rows:,}.", limit=max_rows, rows=rows)
    if columns > max_columns:
        raise InputError(
            "A table must have at most {limit:,} columns, got {columns:,}.", limit=max_columns, columns=columns
        )


def _from_cells(rows: list[list[Any]], notes: list[Message]) -> RawTable:
    import pyarrow as pa

    rows = [row for row in rows if any(cell != "" for cell in row)]
    if not rows:
        return RawTable([], [], notes)
    header, body = [str(cell).strip() for cell in rows[0]], rows[1:]
    columns = []
    for cells in zip(*body, strict=True) if body else [()] * len(header):
        if all(isinstance(cell, float | int) and not isinstance(cell, bool) or cell == "" for cell in cells):
            columns.append(pa.array([None if cell == "" else float(cell) for cell in cells], pa.float64()))
        else:
            columns.append(pa.array([_cell(cell) for cell in cells], pa.string()))
    return RawTable(header, columns, notes)


def _cell(cell: Any) -> str:
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    return cell.isoformat() if hasattr(cell, "isoformat") else str(cell)
