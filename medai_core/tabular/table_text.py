"""Text tables: encoding and separator are found by content, and every cell stays text until its column is typed."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from medai_core.errors import InputError, Message, say

SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "vertical bar"}
SNIFFED_LINES = 60
LONGEST_HEADER = 1_000_000
"""Characters within which the names of the columns must end."""


@dataclass(frozen=True, eq=False)
class RawTable:
    """Columns as they stood in the file.

    Attributes
    ----------
    names : list[str]
        As in the file; may repeat.
    columns : list
        ``pyarrow`` arrays of one length.
    notes : list[Message]
        How the file was read.
    decimal_comma : bool
        Whether ``1,5`` can only be a number.
    """

    names: list[str]
    columns: list[Any]
    notes: list[Message]
    decimal_comma: bool = False


def first_line(error: Exception) -> str:
    """What a library says, as a part of a sentence."""
    return str(error).partition("\n")[0].rstrip(" .")


def decode(data: bytes, encoding: str | None = None) -> tuple[str, str]:
    """The text of a file, and the encoding it was read with.

    UTF-8 (with or without mark) and UTF-16 with a mark are certain. Of the rest, GB 18030 is taken when its Chinese
    characters are common ones, else Windows-1252.
    """
    if encoding is not None:
        try:
            return data.decode(encoding), encoding
        except (ValueError, LookupError):
            raise InputError("The file is not text in the encoding {encoding}.", encoding=encoding) from None
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return _strict(data, "utf-16"), "UTF-16"
    if b"\0" in data:
        raise InputError("The file is no text table: byte {place} is zero.", place=data.index(b"\0"))
    try:
        return data.decode("utf-8-sig"), "UTF-8"
    except UnicodeDecodeError:
        return _legacy(data)


def _strict(data: bytes, encoding: str) -> str:
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        raise InputError("The file must be text, but byte {place} is not.", place=error.start) from None


def _legacy(data: bytes) -> tuple[str, str]:
    try:
        text = data.decode("gb18030")
    except UnicodeDecodeError:
        text = ""
    foreign = [character for character in text if character > "\x7f"]
    chinese = sum("\u4e00" <= character <= "\u9fa5" or "\u3000" <= character <= "\u303f" for character in foreign)
    if foreign and chinese > 0.8 * len(foreign):
        return text, "GB 18030"
    return data.decode("cp1252", errors="replace"), "Windows-1252"


def sniff(text: str) -> str:
    """The separator that cuts the first lines into the same number of cells, more than one; a comma if none does."""
    lines = text[:200_000].splitlines()[:SNIFFED_LINES]
    found = {mark: _agreement(lines, mark) for mark in SEPARATORS}
    best = max(found, key=lambda mark: found[mark])
    return best if found[best] > (0, 0) else ","


def _agreement(lines: list[str], mark: str) -> tuple[float, int]:
    """Share of lines with as many cells as the first, and that number; (0, 0) for a single cell."""
    try:
        widths = [len(cells) for cells in csv.reader(lines, delimiter=mark) if cells]
    except csv.Error:
        return 0, 0
    if not widths or widths[0] < 2:
        return 0, 0
    return sum(width == widths[0] for width in widths) / len(widths), widths[0]


def read_text(data: bytes, separator: str | None = None, encoding: str | None = None) -> RawTable:
    """Read a text table; every cell becomes text.

    Parameters
    ----------
    data : bytes
    separator, encoding : str, optional
        Where the user knows better than what is found.

    Raises
    ------
    InputError
        Naming the row that has too many or too few cells.
    """
    text, used = decode(data, encoding)
    mark = separator or sniff(text)
    lines, header = next(filled_rows(text[:LONGEST_HEADER], mark), (0, []))
    _check_header(header)
    columns = _columns(text.encode("utf-8"), mark, len(header), lines)
    notes = [say("Read as text in {encoding}, separated by {mark}.", encoding=used, mark=SEPARATORS.get(mark, mark))]
    return RawTable([cell.strip() for cell in header], columns, notes, decimal_comma=mark == ";")


def filled_rows(text: str, mark: str) -> Iterator[tuple[int, list[str]]]:
    """Rows that are not blank, as cells, each with how many lines of the text there are up to its end.

    Raises
    ------
    InputError
        If a cell is too long to be one.
    """
    rows = csv.reader(io.StringIO(text, newline=None), delimiter=mark)
    try:
        for cells in rows:
            if any(cell.strip() for cell in cells):
                yield rows.line_num, cells
    except csv.Error as error:
        raise InputError("The file is no readable table: {why}.", why=first_line(error)) from None


def _check_header(header: list[str]) -> None:
    filled = [cell.strip() for cell in header if cell.strip()]
    if len(filled) > 1 and all(_is_number(cell) for cell in filled):
        raise InputError(
            "The first row must hold the names of the columns, but it holds numbers: {cells}.",
            cells=", ".join(filled[:4]),
        )


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _columns(data: bytes, mark: str, width: int, header_lines: int) -> list[Any]:
    import pyarrow as pa
    from pyarrow import csv as arrow

    wrong: list[Any] = []

    def remember(row: Any) -> str:
        wrong.append(row)
        return "skip"

    names = [f"c{k}" for k in range(width)]
    try:
        table = arrow.read_csv(
            io.BytesIO(data),
            arrow.ReadOptions(use_threads=False, column_names=names, skip_rows=header_lines, block_size=1 << 24),
            arrow.ParseOptions(delimiter=mark, newlines_in_values=True, invalid_row_handler=remember),
            arrow.ConvertOptions(column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False),
        )
    except pa.ArrowInvalid as error:
        if str(error).startswith(("Empty CSV", "Could not skip initial")):  # the names, and nothing after them
            return [pa.array([], pa.string()) for _ in names]
        raise InputError("The file is no readable table: {why}.", why=first_line(error)) from None
    if wrong:
        raise InputError(
            "Row {row} has {got} cells, but the header has {wanted}; is the separator right?",
            row=wrong[0].number or "?", got=wrong[0].actual_columns, wanted=wrong[0].expected_columns,
        )  # fmt: skip
    return [column.combine_chunks() for column in table.columns]
