"""From cells to typed columns: numbers, categories, dates and free text, with units and what was missing."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medai_core.errors import Message, say

NUMBER, CATEGORY, DATE, TEXT, EMPTY = "number", "category", "date", "text", "empty"
KINDS = (NUMBER, CATEGORY, DATE, TEXT, EMPTY)
MOST_LEVELS = 30
MOSTLY = 0.8
"""A column counts as numbers when at least this share of its filled cells are numbers."""
LONGEST_UNIT = 20
MISSING = ("", "na", "n/a", "#n/a", "nan", "null", "none", "-", "--", ".", "?", "missing", "unknown", "not available")

_NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
_COMMA = r"^[+-]?\d*,\d+$"
_THOUSANDS = r"^[+-]?\d{1,3}(,\d{3})+(\.\d+)?$"
_LIMIT = r"^[<>≤≥]=?\s*[+-]?(\d+\.?\d*|\.\d+)$"
_WITH_UNIT = r"^[+-]?(\d+\.?\d*|\.\d+)\s*[A-Za-z%µμ°][A-Za-z%µμ°/·0-9^]*$"
_PADDED = r"^0\d+$"
_DATE = r"^(\d{4}-\d{1,2}-\d{1,2}([T ]\d{1,2}:\d{2}.*)?|\d{1,2}[./]\d{1,2}[./]\d{2,4}|\d{4}/\d{1,2}/\d{1,2})$"
_BRACKETS = re.compile(r"(.*\S)\s*[(\[]([^()\[\]]*[A-Za-z%°µμ][^()\[\]]*)[)\]]\s*$")
_SUFFIX = re.compile(
    r"(.+?)_(mg_dl|mg_l|g_dl|g_l|ng_ml|ug_l|mmol_l|umol_l|u_l|iu_l|meq_l|mmhg|kg_m2|kg|cm|mm|bpm|ms|years|yrs|days|"
    r"months|weeks|hours|pct|percent)$",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Column:
    """What is known of one column before anybody chose a target.

    Attributes
    ----------
    name : str
        Unique, without markup.
    kind : str
        One of :data:`KINDS`.
    unit : str or None
        From its name, as in ``weight (kg)``, or from its values, as in ``72 kg``.
    filled, missing, distinct : int
        Cells with a value, without one, and different values.
    low, median, high : float or None
        Smallest value, middle, and largest, of numbers.
    whole : bool
        Whether all numbers are whole.
    levels : tuple[str, ...]
        Of a category, sorted; of a number with few values, as text.
    """

    name: str
    kind: str
    unit: str | None
    filled: int
    missing: int
    distinct: int
    low: float | None = None
    median: float | None = None
    high: float | None = None
    whole: bool = False
    levels: tuple[str, ...] = ()


def unit_of(name: str) -> str | None:
    """The unit a column's name states: ``age [years]``, ``Glucose (mg/dL)``, ``creatinine_mg_dl``."""
    if (found := _BRACKETS.match(name)) and len(found[2]) <= LONGEST_UNIT:
        return found[2].strip()
    if found := _SUFFIX.match(name):
        return found[2].lower().replace("_", "/") if "_" in found[2] else found[2].lower()
    return None


def typed(name: str, cells: Any, decimal_comma: bool = False) -> tuple[pd.Series, str | None, list[Message]]:
    """Type one column.

    Parameters
    ----------
    cells : pyarrow array
        Text, numbers, booleans or dates.

    Returns
    -------
    values : pd.Series
        float64, categorical, datetime64 or text; what is missing is NaN.
    unit : str or None
    notes : list[Message]
        What had to be decided.
    """
    import pyarrow as pa

    kind = cells.type
    if pa.types.is_floating(kind) or pa.types.is_integer(kind):
        values = cells.to_numpy(zero_copy_only=False).astype(float)
        return pd.Series(np.where(np.isfinite(values), values, np.nan), name=name), None, []
    if pa.types.is_boolean(kind):
        answers = pd.Series(cells.to_pandas(), name=name).map({True: "yes", False: "no"})
        return answers.astype("category"), None, []
    if pa.types.is_temporal(kind) and not pa.types.is_time(kind) and not pa.types.is_duration(kind):
        return pd.Series(pd.to_datetime(cells.to_pandas(), errors="coerce", utc=True), name=name), None, []
    return _typed_text(name, cells.cast(pa.string()), decimal_comma)


def _typed_text(name: str, cells: Any, decimal_comma: bool) -> tuple[pd.Series, str | None, list[Message]]:
    import pyarrow as pa
    import pyarrow.compute as pc

    text = pc.utf8_trim_whitespace(cells)
    gone = pc.is_in(pc.utf8_lower(text), value_set=pa.array(MISSING))
    text = pc.if_else(gone, pa.scalar(None, pa.string()), text)
    filled = text.drop_null()
    if len(filled) == 0:
        return pd.Series(np.full(len(text), np.nan), name=name), None, []
    if _share(filled, _PADDED) > 0 and _share(filled, _NUMBER) == 1 and pc.count_distinct(filled).as_py() > 2:
        return _words(name, text), None, []
    found = _numbers(name, text, filled, decimal_comma)
    if found is not None:
        return found
    if _share(filled, _DATE) >= MOSTLY:
        moments = pd.to_datetime(pd.Series(text.to_pandas(), name=name), errors="coerce", format="mixed", utc=True)
        if moments.notna().sum() >= MOSTLY * len(filled):
            return moments, None, []
    return _words(name, text), None, []


def _share(text: Any, pattern: str) -> float:
    import pyarrow.compute as pc

    return (pc.sum(pc.match_substring_regex(text, pattern)).as_py() or 0) / len(text)


def _numbers(
    name: str, text: Any, filled: Any, decimal_comma: bool
) -> tuple[pd.Series, str | None, list[Message]] | None:
    """The column as numbers, if most of its cells are."""
    import pyarrow as pa
    import pyarrow.compute as pc

    notes: list[Message] = []
    if not decimal_comma and _share(filled, _THOUSANDS) >= MOSTLY:
        text = pc.replace_substring(text, ",", "")
    elif _share(filled, _COMMA) > (0 if decimal_comma else 0.3):
        text = pc.if_else(pc.match_substring_regex(text, _COMMA), pc.replace_substring(text, ",", "."), text)
    unit = _unit_in_cells(filled)
    if unit is not None:
        text = pc.replace_substring_regex(text, r"^([+-]?[\d.]+)\s*\D.*$", r"\1")
    limits = pc.fill_null(pc.match_substring_regex(text, _LIMIT), False)
    if (count := pc.sum(limits).as_py()) and _share(filled, _NUMBER) + count / len(filled) >= MOSTLY:
        example = filled.filter(pc.match_substring_regex(filled, _LIMIT))[0].as_py()
        text = pc.if_else(limits, pc.replace_substring_regex(text, r"^[<>≤≥]=?\s*", ""), text)
        notes.append(say("Column {column}: {count} values such as {example} were read as the limit itself.",
                         column=name, count=count, example=example))  # fmt: skip
    good = pc.fill_null(pc.match_substring_regex(text, _NUMBER), False)
    share = pc.sum(good).as_py() / len(filled)
    if share < MOSTLY:
        return None
    if share < 1:
        bad = text.filter(pc.and_(pc.invert(good), pc.is_valid(text)))
        notes.append(say("Column {column}: {count} cells are no numbers, such as {example}; they count as missing.",
                         column=name, count=len(bad), example=bad[0].as_py()[:40]))  # fmt: skip
    numbers = pc.cast(pc.if_else(good, text, pa.scalar(None, pa.string())), pa.float64())
    values = numbers.to_numpy(zero_copy_only=False).astype(float)
    return pd.Series(np.where(np.isfinite(values), values, np.nan), name=name), unit, notes


def _unit_in_cells(filled: Any) -> str | None:
    """The unit behind every number, when it is always the same: ``72 kg``."""
    import pyarrow.compute as pc

    if _share(filled, _WITH_UNIT) < MOSTLY or _share(filled, _NUMBER) >= MOSTLY:
        return None
    units = pc.replace_substring_regex(filled, r"^[+-]?[\d.]+\s*", "").unique().to_pylist()
    known = [unit for unit in units if unit and not unit[0].isdigit()]
    return known[0] if len(known) == 1 else None


def _words(name: str, text: Any) -> pd.Series:
    """A category when there are few different values, else free text."""
    series = pd.Series(text.to_pandas(), name=name)
    distinct, filled = series.nunique(), series.notna().sum()
    few = distinct <= MOST_LEVELS and (distinct < 0.7 * filled or distinct <= 2)
    return series.astype("category") if few or distinct <= min(100, 0.02 * filled) else series.astype(object)


def describe(series: pd.Series, unit: str | None = None) -> Column:
    """Summarise a typed column."""
    filled = int(series.notna().sum())
    rest = {"unit": unit or unit_of(str(series.name)), "filled": filled, "missing": len(series) - filled}
    rest["distinct"] = int(series.nunique())
    if not filled:
        return Column(str(series.name), EMPTY, **rest)
    kind = kind_of(series)
    if kind != NUMBER:
        levels = tuple(map(str, series.cat.categories)) if kind == CATEGORY else ()
        return Column(str(series.name), kind, **rest, levels=levels)
    values = series.to_numpy(dtype=float)
    values = values[~np.isnan(values)]
    levels = tuple(level_text(value) for value in np.unique(values)) if rest["distinct"] <= MOST_LEVELS else ()
    low, median, high = (float(value) for value in (values.min(), np.median(values), values.max()))
    return Column(str(series.name), NUMBER, **rest, low=low, median=median, high=high, whole=is_whole(values),
                  levels=levels)  # fmt: skip


def kind_of(series: pd.Series) -> str:
    """One of :data:`KINDS`, by the type of a column made by :func:`typed`."""
    if isinstance(series.dtype, pd.CategoricalDtype):
        return CATEGORY
    if pd.api.types.is_datetime64_any_dtype(series.dtype):
        return DATE
    return NUMBER if pd.api.types.is_float_dtype(series.dtype) else TEXT


def level_text(value: object) -> str:
    """A value as the name of a class or level: 1.0 is ``1``, and codes of many digits keep all of them."""
    return f"{value:.15g}" if isinstance(value, float) else str(value)


def is_whole(values: NDArray[np.float64]) -> bool:
    return bool((values == np.round(values)).all())
