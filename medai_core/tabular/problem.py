"""From a table and the user's choices to what models can be fitted on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medai_core.errors import InputError, Message, say
from medai_core.tabular.columns import CATEGORY, NUMBER, Column, level_text
from medai_core.tabular.encoder import Encoder
from medai_core.tabular.leaks import Finding, inspect, leaks, person_columns, words
from medai_core.tabular.tables import Table

BINARY, CLASSES, VALUE, SURVIVAL = "binary", "classes", "number", "time_to_event"
TASKS = (BINARY, CLASSES, VALUE, SURVIVAL)
FEWEST_ROWS = 30
FEWEST_OF_A_CLASS = 8
MOST_CLASSES = 20
FEWEST_PATIENTS_OF_A_CLASS = 5
MOST_FEATURES = 500
MOST_DESIGN_CELLS = 60_000_000

_BAD = ("yes", "true", "positive", "pos", "malignant", "m", "dead", "died", "death", "event", "case", "disease",
        "present", "abnormal", "readmitted", "relapse", "1")  # fmt: skip


@dataclass(frozen=True)
class Plan:
    """What the user chose.

    Attributes
    ----------
    target : str
        Column to predict; of ``time_to_event`` the time.
    task : str
        One of :data:`TASKS`.
    features : tuple[str, ...]
        Columns to predict from.
    positive : str or None
        Of a binary target: the value whose probability is given; of an event: the value that says it was seen.
    group : str or None
        Column that says which rows are of one patient.
    event : str or None
        Of ``time_to_event``: the column that says whether the event was seen.
    subgroups : tuple[str, ...]
        Columns by which figures are broken down.
    """

    target: str
    task: str
    features: tuple[str, ...]
    positive: str | None = None
    group: str | None = None
    event: str | None = None
    subgroups: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Problem:
    """What models are fitted on.

    Attributes
    ----------
    plan : Plan
    x : NDArray[np.float64], shape (N, D)
        Features as numbers, as :class:`~medai_core.tabular.encoder.Encoder` gives them.
    y : NDArray, shape (N,)
        Class numbers (of a binary target 1 is the positive one), or values; of ``time_to_event`` the times.
    labels : tuple[str, ...]
        Of the classes.
    groups : NDArray[np.intp] or None, shape (N,)
        Rows with one number stay together.
    event : NDArray[np.bool_] or None, shape (N,)
        Of ``time_to_event``.
    encoder : Encoder
    strata : Mapping[str, NDArray]
        Subgroup of each row by column.
    rows : NDArray[np.intp], shape (N,)
        Row numbers in the table.
    notes : tuple[Message, ...]
    """

    plan: Plan
    x: NDArray[np.float64]
    y: NDArray
    labels: tuple[str, ...]
    groups: NDArray[np.intp] | None
    event: NDArray[np.bool_] | None
    encoder: Encoder
    strata: Mapping[str, NDArray] = field(default_factory=dict)
    rows: NDArray[np.intp] = field(default_factory=lambda: np.zeros(0, np.intp))
    notes: tuple[Message, ...] = ()


def propose(table: Table, target: str, event: str | None = None) -> tuple[Plan, list[Finding]]:
    """A plan for a target, with what was found in the table.

    Parameters
    ----------
    event : str, optional
        Makes the task ``time_to_event``, with `target` as the time.

    Returns
    -------
    plan : Plan
        Every usable column as a feature, what must not be used left out.
    findings : list[Finding]
        Of :func:`~medai_core.tabular.leaks.inspect` and :func:`~medai_core.tabular.leaks.leaks`.
    """
    column = table[target]
    task = SURVIVAL if event else task_of(column)
    found = [finding for finding in inspect(table) if finding.column not in (target, event)]
    out = {finding.column for finding in found if finding.exclude} | {target, event}
    left = [c.name for c in table.columns if c.name not in out and c.kind in (NUMBER, CATEGORY)]
    found += _leaks(table, target, event, left)
    out |= {finding.column for finding in found if finding.exclude}
    groups = [f.column for f in found if f.kind == "repeated_patients"]
    group = groups[0] if groups else None
    features = tuple(name for name in left if name not in out and name != group)[:MOST_FEATURES]
    positive = positive_of(column) if task == BINARY else None
    return Plan(target, task, features, positive, group, event, subgroups_of(table, features)), found


def _leaks(table: Table, target: str, event: str | None, names: list[str]) -> list[Finding]:
    """What gives the target away; of ``time_to_event`` the time, or whether the event was seen: one finding each."""
    found = {finding.column: finding for finding in leaks(table, target, names)}
    for finding in leaks(table, event, names) if event else ():
        if finding.exclude or finding.column not in found:
            found[finding.column] = finding
    return [found[name] for name in names if name in found]


def task_of(column: Column) -> str:
    """The likeliest task for a target."""
    if column.distinct == 2:
        return BINARY
    if column.kind == CATEGORY or (column.kind == NUMBER and column.whole and column.distinct <= 5):
        return CLASSES
    return VALUE


def positive_of(column: Column) -> str:
    """The value of a binary target that is probably the finding."""
    for level in column.levels:
        if level.strip().lower() in _BAD:
            return level
    return column.levels[-1]


def subgroups_of(table: Table, features: tuple[str, ...]) -> tuple[str, ...]:
    """Columns by which figures are worth breaking down: sex, age, and categories with few values."""
    named = [n for n in features if set(words(n).split()) & {"age", "sex", "gender", "race", "ethnicity", "site"}]
    few = [n for n in features if table[n].kind == CATEGORY and 2 <= table[n].distinct <= 6]
    return tuple(dict.fromkeys([*named, *few]))[:6]


def group_candidates(table: Table) -> list[str]:
    """Columns that may say which rows are of one patient."""
    return person_columns(table)


def prepare(table: Table, plan: Plan) -> Problem:
    """Check the plan against the table, and encode it.

    Raises
    ------
    InputError
        One sentence: too few rows, one value only, a class too small, nothing to predict from.
    """
    _check_plan(table, plan)
    if plan.event and plan.positive is None:
        plan = replace(plan, positive=positive_of(table[plan.event]))
    known = table.frame[plan.target].notna().to_numpy()
    if plan.event:
        known &= table.frame[plan.event].notna().to_numpy()
    rows = np.flatnonzero(known)
    if len(rows) < FEWEST_ROWS:
        raise InputError(
            "A model needs at least {least} rows in which {column} is known, got {count}.",
            least=FEWEST_ROWS, column=plan.target, count=len(rows),
        )  # fmt: skip
    y, labels, event = _target(table, plan, rows)
    encoder = Encoder.fit(table, plan.features, rows)
    x = encoder.matrix(table.frame.iloc[rows])
    notes = []
    if len(rows) < len(table.frame):
        notes.append(say("{count} rows without {column} are left out.", count=len(table.frame) - len(rows),
                         column=plan.target))  # fmt: skip
    groups, told = _groups(table, plan, rows, x)
    _check_patients(plan, y, labels, groups, event)
    strata = {name: strata_of(table.frame[name].iloc[rows]) for name in plan.subgroups}
    return Problem(plan, x, y, labels, groups, event, encoder, strata, rows, (*notes, *told))


def _check_plan(table: Table, plan: Plan) -> None:
    if plan.task not in TASKS:
        raise InputError("`task` must be one of {tasks}, got {task}", tasks=", ".join(TASKS), task=plan.task)
    if table[plan.target].distinct < 2 and not plan.event:
        raise InputError("The target {target} has one value only, so there is nothing to learn.", target=plan.target)
    if not plan.features:
        raise InputError("There is no column to predict {target} from.", target=plan.target)
    if len(plan.features) > MOST_FEATURES:
        raise InputError("At most {limit} columns can be used, got {count}.", limit=MOST_FEATURES,
                         count=len(plan.features))  # fmt: skip
    if plan.target in plan.features or plan.event in plan.features:
        raise InputError("The target {target} must not be among the columns to predict from.", target=plan.target)
    for name in plan.features:
        if table[name].kind not in (NUMBER, CATEGORY):
            raise InputError("Column {column} must hold numbers or categories, got {kind}.", column=name,
                             kind=table[name].kind)  # fmt: skip
    _check_design(table, plan)
    if plan.group is not None and plan.group in plan.features:
        raise InputError("The group {column} must not be among the columns to predict from.", column=plan.group)


def _check_design(table: Table, plan: Plan) -> None:
    """Raise InputError where the columns that linear models see, one for each level, would not fit into memory."""
    columns = [table[name] for name in plan.features]
    width = sum(len(c.levels) if c.kind == CATEGORY else 1 for c in columns) + sum(c.missing > 0 for c in columns)
    if width * len(table.frame) > MOST_DESIGN_CELLS:
        raise InputError(
            "The columns chosen become {width:,} with each category apart, too many for {rows:,} rows; leave out those "
            "with many categories.", width=width, rows=len(table.frame),
        )  # fmt: skip


def _target(
    table: Table, plan: Plan, rows: NDArray[np.intp]
) -> tuple[NDArray, tuple[str, ...], NDArray[np.bool_] | None]:
    column, series = table[plan.target], table.frame[plan.target].iloc[rows]
    if plan.task in (VALUE, SURVIVAL):
        if column.kind != NUMBER:
            raise InputError("The target {target} must be a number for this task.", target=plan.target)
        values = series.to_numpy(dtype=float)
        return values, (), _events(table, plan, rows, values) if plan.task == SURVIVAL else None
    text = as_levels(series)
    labels = tuple(sorted(text.unique()))
    if plan.task == BINARY:
        if len(labels) != 2:
            raise InputError("The target {target} must have two values for this task, got {count}.",
                             target=plan.target, count=len(labels))  # fmt: skip
        positive = plan.positive if plan.positive is not None else positive_of(replace(column, levels=labels))
        if positive not in labels:
            raise InputError("`positive` must be one of {labels}, got {value}", labels=", ".join(labels),
                             value=positive)  # fmt: skip
        labels = (next(label for label in labels if label != positive), positive)
    if len(labels) > MOST_CLASSES:
        raise InputError("A target may have at most {limit} classes, got {count}; a number is predicted as one.",
                         limit=MOST_CLASSES, count=len(labels))  # fmt: skip
    y = pd.Categorical(text, categories=labels).codes.astype(np.intp)
    counts = np.bincount(y, minlength=len(labels))
    if counts.min() < FEWEST_OF_A_CLASS:
        raise InputError(
            "Each value of {target} must occur in at least {least} rows, but {label} occurs in {count}.",
            target=plan.target, least=FEWEST_OF_A_CLASS, label=labels[counts.argmin()], count=int(counts.min()),
        )  # fmt: skip
    return y, labels, None


def as_levels(series: pd.Series) -> pd.Series:
    """Values as text: 1.0 is ``1``."""
    return series.map(level_text) if pd.api.types.is_float_dtype(series.dtype) else series.astype(str)


def _events(table: Table, plan: Plan, rows: NDArray[np.intp], times: NDArray[np.float64]) -> NDArray[np.bool_]:
    if (times < 0).any():
        raise InputError("The time {column} must not be negative, got {value:g}.", column=plan.target,
                         value=float(times.min()))  # fmt: skip
    column = table[plan.event or ""]
    if column.distinct != 2:
        raise InputError("The event {column} must have two values, got {count}.", column=column.name,
                         count=column.distinct)  # fmt: skip
    seen = (as_levels(table.frame[column.name].iloc[rows]) == plan.positive).to_numpy()
    if seen.sum() < FEWEST_OF_A_CLASS:
        raise InputError("At least {least} events are needed, got {count}.", least=FEWEST_OF_A_CLASS,
                         count=int(seen.sum()))  # fmt: skip
    return seen


def _groups(
    table: Table, plan: Plan, rows: NDArray[np.intp], x: NDArray[np.float64]
) -> tuple[NDArray[np.intp] | None, list[Message]]:
    """Which rows stay together: those of one patient, or, without a group column, equal ones."""
    if plan.group is not None:
        series = table.frame[plan.group].iloc[rows]
        groups = pd.factorize(series, use_na_sentinel=True)[0].astype(np.intp)
        alone = groups < 0
        groups[alone] = groups.max() + 1 + np.arange(alone.sum())
        if len(np.unique(groups)) < 10:
            raise InputError("The group {column} must have at least 10 patients, got {count}.", column=plan.group,
                             count=len(np.unique(groups)))  # fmt: skip
        return groups, []
    keys = pd.util.hash_pandas_object(pd.DataFrame(x), index=False)
    groups = pd.factorize(keys)[0].astype(np.intp)
    repeated = len(groups) - len(np.unique(groups))
    if not repeated:
        return None, []
    return groups, [say("{count} rows with equal values are kept on one side of every split.", count=repeated)]


def _check_patients(
    plan: Plan, y: NDArray, labels: tuple[str, ...], groups: NDArray[np.intp] | None, event: NDArray[np.bool_] | None
) -> None:
    """Raise InputError where a class, or the event, is that of so few patients that a fold would be without it."""
    if groups is None or (not labels and event is None):
        return
    names = labels or (plan.positive or "",)
    members = [y == k for k in range(len(labels))] if labels else [event]
    for name, mine in zip(names, members, strict=True):
        count = len(np.unique(groups[mine]))
        if count >= FEWEST_PATIENTS_OF_A_CLASS:
            continue
        told = {"target": plan.event or plan.target, "label": name, "least": FEWEST_PATIENTS_OF_A_CLASS, "count": count}
        if plan.group is None:
            raise InputError(
                "Each value of {target} must occur in at least {least} different rows, but {label} occurs in {count}.",
                **told,
            )
        raise InputError(
            "Each value of {target} must occur in at least {least} patients, as {column} names them, but {label} "
            "occurs in {count}.", **told, column=plan.group,
        )  # fmt: skip


def strata_of(series: pd.Series) -> NDArray:
    """Subgroups of a column: its levels, or of a number with many values its thirds."""
    if not pd.api.types.is_float_dtype(series.dtype) or series.nunique() <= 6:
        text = as_levels(series)
        return np.where(series.isna(), "missing", text.to_numpy(dtype=object)).astype(str)
    cuts = [float(f"{cut:.3g}") for cut in series.quantile([1 / 3, 2 / 3])]
    values = series.to_numpy(dtype=float)
    names = np.array([f"below {cuts[0]:g}", f"{cuts[0]:g} to {cuts[1]:g}", f"{cuts[1]:g} and above", "missing"])
    return names[np.where(np.isnan(values), 3, np.searchsorted(cuts, values, side="right"))]
