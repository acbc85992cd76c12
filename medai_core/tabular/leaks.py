"""What in a table would make a model look better than it is, or cannot be used: found before training, and shown.

Identifiers, constant and empty columns, copies, columns that give the answer away, rows and patients that repeat.
Each finding says whether its column is left out unless the user takes it in again.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medai_core import metrics
from medai_core.errors import Message, say
from medai_core.tabular.columns import CATEGORY, DATE, EMPTY, NUMBER, TEXT, Column
from medai_core.tabular.tables import Table

ANSWER_AUC = 0.99
"""A column that alone tells the outcome this well is the outcome in other words, or was written after it."""
STRONG_AUC = 0.97
ANSWER_RANK = 0.995
MOSTLY_MISSING, NEARLY_ALL_MISSING = 0.5, 0.95
SAMPLED_ROWS = 20_000
BINS = 20

_ID = re.compile(
    r"\b(id|ids|mrn|uid|guid|uuid|nhs|ssn|record|case ?no|accession|patient|subject|person|participant|name|surname|"
    r"email|phone|address|postcode|zip|barcode|pidnum|unnamed|row)\b|^index$"
)
_PERSON = re.compile(r"\b(patient|subject|person|participant|mrn|pid|pidnum|nhs|ssn|individual|member|case)\b")


@dataclass(frozen=True)
class Finding:
    """Something about a column, or about the rows, that the user should know.

    Attributes
    ----------
    kind : str
        ``identifier``, ``constant``, ``empty``, ``text``, ``date``, ``copy``, ``missing``, ``answer``, ``strong``,
        ``answer_missing``, ``duplicate_rows`` or ``repeated_patients``.
    column : str or None
        None where it concerns rows.
    message : Message
        For people.
    exclude : bool
        Whether the column is left out unless the user takes it in.
    """

    kind: str
    column: str | None
    message: Message
    exclude: bool


def inspect(table: Table) -> list[Finding]:
    """What can be said before a target is chosen."""
    found = [finding for column in table.columns if (finding := _of_column(table, column)) is not None]
    spent = {finding.column for finding in found if finding.exclude}
    found += _copies(table, spent)
    return found + _rows(table, spent | {f.column for f in found if f.kind == "copy"})


def words(name: str) -> str:
    """A name with its parts apart, in lower case: ``PatientID`` and ``patient_id`` become ``patient id``."""
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", name)
    return re.sub(r"[\s_.\-]+", " ", apart).lower()


def _of_column(table: Table, column: Column) -> Finding | None:
    name = column.name
    if column.kind == EMPTY:
        return Finding("empty", name, say("{column} is empty.", column=name), True)
    if column.distinct == 1 and not column.missing:
        return Finding("constant", name, say("{column} has one value in every row.", column=name), True)
    if _identifies(table, column):
        message = say("{column} looks like an identifier: it names patients and predicts nothing.", column=name)
        return Finding("identifier", name, message, True)
    if column.kind == TEXT:
        message = say("{column} is free text ({count} different values), which these models cannot read.",
                      column=name, count=column.distinct)  # fmt: skip
        return Finding("text", name, message, True)
    if column.kind == DATE:
        message = say("{column} is a date; turn it into a duration or an age to use it.", column=name)
        return Finding("date", name, message, True)
    share = column.missing / (column.missing + column.filled)
    if share > MOSTLY_MISSING:
        message = say("{column} is missing in {share:.0%} of the rows.", column=name, share=share)
        return Finding("missing", name, message, share > NEARLY_ALL_MISSING)
    return None


def _identifies(table: Table, column: Column) -> bool:
    """Named like an identifier and nearly always different, or counting the rows."""
    if column.filled < 10:
        return False
    unique = column.distinct / column.filled
    if column.kind == TEXT:
        return unique > 0.9 or bool(_ID.search(words(column.name)))
    if column.kind != NUMBER or not column.whole:
        return False
    if _ID.search(words(column.name)) and (unique > 0.5 or column.distinct > 100):
        return True
    if unique < 1:
        return False
    steps = np.diff(table.frame[column.name].to_numpy(dtype=float))
    return bool(np.isfinite(steps).all() and len(set(steps.tolist())) == 1)


def person_columns(table: Table) -> list[str]:
    """Columns that may say which rows are of one patient, the likeliest first."""
    likely = []
    for column in table.columns:
        if column.distinct < 2 or column.kind == DATE or (column.kind == NUMBER and not column.whole):
            continue
        named = bool(_PERSON.search(words(column.name)))
        if (named or _ID.search(words(column.name))) and column.distinct > max(10, 0.02 * column.filled):
            likely.append((not named, column.distinct == column.filled, column.name))
    return [name for *_, name in sorted(likely)]


def _copies(table: Table, spent: set[str | None]) -> list[Finding]:
    seen: dict[bytes, str] = {}
    found = []
    for column in table.columns:
        if column.name in spent or column.kind not in (NUMBER, CATEGORY):
            continue
        series = table.frame[column.name]
        values = series.cat.codes if column.kind == CATEGORY else series
        key = hashlib.sha256(pd.util.hash_array(values.to_numpy()).tobytes()).digest()
        if key in seen:
            message = say("{column} holds the same values as {other}.", column=column.name, other=seen[key])
            found.append(Finding("copy", column.name, message, True))
        seen.setdefault(key, column.name)
    return found


def _rows(table: Table, spent: set[str | None]) -> list[Finding]:
    found = []
    used = [c.name for c in table.columns if c.name not in spent and c.kind in (NUMBER, CATEGORY)]
    repeated = int(table.frame[used].duplicated().sum()) if used else 0
    if repeated:
        message = say("{count} rows repeat an earlier row; equal rows are kept on the same side of every split.",
                      count=repeated)  # fmt: skip
        found.append(Finding("duplicate_rows", None, message, False))
    for name in person_columns(table)[:1]:
        column = table[name]
        if column.distinct < column.filled:
            message = say(
                "{column} repeats: {rows} rows of {patients} patients. Choose it as the group, so that a patient's "
                "rows stay together.", column=name, rows=column.filled, patients=column.distinct,
            )  # fmt: skip
            found.append(Finding("repeated_patients", name, message, False))
    return found


def leaks(table: Table, target: str, names: list[str], seed: int = 0) -> list[Finding]:
    """Columns that tell the target by themselves.

    Parameters
    ----------
    target : str
        A category, or a number; a number with more than ten values is compared by rank.
    names : list[str]
        Columns that might be used.

    Notes
    -----
    A column is cut into at most twenty parts on one half of the rows, each part answers with its mean outcome, and
    the other half is the test; so is whether the column is missing at all. Of more than 20,000 rows that many are
    drawn.
    """
    known = table.frame[target].notna().to_numpy()
    rows = np.flatnonzero(known)
    rng = np.random.default_rng(seed)
    rows = rng.permutation(rows)[:SAMPLED_ROWS]
    if len(rows) < 20:
        return []
    outcomes, ranked = _outcomes(table, target, rows)
    found = []
    for name in names:
        if name == target or table[name].kind not in (NUMBER, CATEGORY):
            continue
        finding = _leak(name, table.frame[name].iloc[rows], outcomes, ranked)
        if finding is not None:
            found.append(finding)
    return found


def _outcomes(table: Table, target: str, rows: NDArray[np.intp]) -> tuple[NDArray[np.float64], bool]:
    """Outcomes (N, K): one column of 0 and 1 per class, or ranks of a number."""
    column, series = table[target], table.frame[target].iloc[rows]
    if column.kind == NUMBER and column.distinct > 10:
        return series.rank(pct=True).to_numpy()[:, None], True
    codes = pd.factorize(series, sort=True)[0]
    return np.eye(codes.max() + 1)[codes], False


def _leak(name: str, series: pd.Series, outcomes: NDArray[np.float64], ranked: bool) -> Finding | None:
    parts = _parts(series)
    told = _strength(parts, outcomes, ranked)
    gone = series.isna().to_numpy()
    if gone.any() and not gone.all() and _strength(gone.astype(np.intp), outcomes, ranked) >= ANSWER_AUC:
        message = say("Whether {column} is missing gives the answer away: it was probably filled in afterwards.",
                      column=name)  # fmt: skip
        return Finding("answer_missing", name, message, True)
    if told >= (ANSWER_RANK if ranked else ANSWER_AUC):
        message = say("{column} alone gives the answer away ({strength:.3f} of 1): it is probably the outcome in other "
                      "words, or known only after it.", column=name, strength=told)  # fmt: skip
        return Finding("answer", name, message, True)
    if not ranked and told >= STRONG_AUC:
        message = say("{column} alone tells the outcome very well ({strength:.3f} of 1); make sure that it is known "
                      "before it.", column=name, strength=told)  # fmt: skip
        return Finding("strong", name, message, False)
    return None


def _parts(series: pd.Series) -> NDArray[np.intp]:
    """Number of the part each value falls in; what is missing is a part of its own."""
    if isinstance(series.dtype, pd.CategoricalDtype):
        return series.cat.codes.to_numpy().astype(np.intp) + 1
    values = series.to_numpy(dtype=float)
    distinct = np.unique(values[~np.isnan(values)])
    edges = distinct if len(distinct) <= BINS else np.unique(np.nanquantile(values, np.linspace(0, 1, BINS + 1)[1:-1]))
    return np.where(np.isnan(values), 0, np.searchsorted(edges, values, side="right") + 1)


def _strength(parts: NDArray[np.intp], outcomes: NDArray[np.float64], ranked: bool) -> float:
    """AUC of the mean outcome of each part, learned on one half and tested on the other; rank correlation of ranks."""
    half = len(parts) // 2
    n = np.bincount(parts[:half], minlength=parts.max() + 1)
    best = 0.0
    for outcome in outcomes.T:
        learned = (np.bincount(parts[:half], outcome[:half], len(n)) + outcome[:half].mean()) / (n + 1)
        answer, truth = learned[parts[half:]], outcome[half:]
        if ranked:
            spread = answer.std() * truth.std()
            told = float(np.mean((answer - answer.mean()) * (truth - truth.mean())) / spread) if spread else 0.0
        else:
            told = metrics.roc_auc(answer, truth)
        best = max(best, told if np.isfinite(told) else 0.0)
    return best
