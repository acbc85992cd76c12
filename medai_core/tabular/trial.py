"""A randomised trial as a table: which column is what, what is refused, and whether chance was even-handed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medai_core.errors import InputError, Message, RefusedInput, say
from medai_core.tabular.columns import CATEGORY, NUMBER
from medai_core.tabular.encoder import Design, Encoder
from medai_core.tabular.leaks import words
from medai_core.tabular.problem import as_levels, positive_of, propose
from medai_core.tabular.survival import FEWEST_EVENTS, Matrix, Rows, Sample, Vector
from medai_core.tabular.tables import Table, read_table

DAYS = {"days": 1.0, "weeks": 7.0, "months": 365.25 / 12, "years": 365.25}
MOST_ARMS, FEWEST_IN_ARM = 8, 20
MOST_PATIENTS = 20_000
"""Of more, the survival models and their refits would take hours and the memory of everybody else."""
TWO_YEARS = 730.0
SUSPECT = 0.001
"""Chance alone makes a trial with less even arms once in a thousand."""
UNEVEN = 0.1
"""Difference in standard deviations that is commonly called an imbalance (Austin, Statistics in Medicine 28:3083)."""
CLIP = 3.0
"""A covariate further from the mean, in standard deviations, counts as this far: curves stay flat out there."""

_ARM = ("trt", "treatment", "arm", "treatment arm", "allocation", "randomised arm", "randomized arm", "group", "drug")
_TIME = ("time", "days", "time to event", "survival time", "followup", "follow up", "futime", "time days", "duration")
_EVENT = ("event", "cid", "status", "cens", "death", "died", "dead", "relapse", "failure", "event status")


@dataclass(frozen=True)
class Roles:
    """Which column is what.

    Attributes
    ----------
    arm, time, event : str
        What was assigned by chance, the time to the event or the end of observation, and whether it was seen.
    covariates : tuple[str, ...]
        Recorded before assignment.
    event_value : str or None
        Which value of `event` means that it was seen; told by name if None.
    unit : str
        Of `time`: days, weeks, months or years.
    """

    arm: str
    time: str
    event: str
    covariates: tuple[str, ...]
    event_value: str | None = None
    unit: str = "days"


@dataclass(frozen=True)
class Scale:
    """How covariates are scaled.

    Attributes
    ----------
    logged : Mapping[str, float]
        Covariates taken by the logarithm, with what is added before.
    ratios : Mapping[str, str]
        Of two logged covariates, the first enters as the logarithm of the second over the first.
    """

    logged: Mapping[str, float]
    ratios: Mapping[str, str]


@dataclass(frozen=True, eq=False)
class Scaling:
    """From covariates as the encoder gives them to standard deviations from the mean.

    Attributes
    ----------
    design : Design
    mix : Matrix, shape (M, M)
        From the design's columns to those the models see.
    """

    design: Design
    mix: Matrix

    def __call__(self, x: Matrix) -> Matrix:
        """Standardised covariates (N, M) of rows (N, D); those far out are brought in."""
        return np.clip(self.design(x) @ self.mix, -CLIP, CLIP)

    @classmethod
    def fit(cls, x: Matrix, encoder: Encoder, scale: Scale | None = None) -> Scaling:
        """Learn means and scales; without a `scale`, skewed covariates are found and logged."""
        if scale is None:
            design = Design.fit(x, encoder, logs=True)
            return cls(design, np.eye(len(design.owner)))
        plain = Design.fit(x, encoder)
        floor = np.array([-scale.logged.get(name, np.nan) for name in encoder.names])
        plain = replace(plain, floor=floor, mean=np.zeros_like(plain.mean), scale=np.ones_like(plain.scale))
        z = plain(x)
        spread = z.std(axis=0)
        design = replace(plain, mean=z.mean(axis=0), scale=np.where(spread > 1e-12, spread, 1.0))
        mix = np.eye(len(spread))
        for below, above in scale.ratios.items():
            low, high = (int(np.flatnonzero(plain.owner == encoder.names.index(name))[0]) for name in (below, above))
            mix[[low, high], low] = np.array([-design.scale[low], design.scale[high]]) / (z[:, high] - z[:, low]).std()
        return cls(design, mix)

    def to_dict(self) -> dict[str, Any]:
        return {"design": self.design.to_dict(), "mix": self.mix.tolist()}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Scaling:
        return cls(Design.from_dict(stored["design"]), np.array(stored["mix"], float))


@dataclass(frozen=True, eq=False)
class Trial:
    """Patients of a randomised trial.

    Attributes
    ----------
    roles : Roles
    arms : tuple[str, ...]
        Values of the arm's column; the place is the arm's number.
    encoder : Encoder
        Of the covariates.
    x : Matrix, shape (N, D)
        Covariates as the encoder gives them.
    arm : Rows, shape (N,)
    time : Vector, shape (N,)
        Days.
    event : NDArray[np.bool_], shape (N,)
    notes : tuple[Message, ...]
        What was left out.
    scale : Scale or None
        How covariates are scaled; None lets the skewed ones be found.
    """

    name: str
    roles: Roles
    arms: tuple[str, ...]
    encoder: Encoder
    x: Matrix
    arm: Rows
    time: Vector
    event: NDArray[np.bool_]
    notes: tuple[Message, ...] = ()
    scale: Scale | None = None

    def __len__(self) -> int:
        return len(self.time)

    def part(self, rows: Rows) -> Trial:
        """Some of the patients; ranges and levels stay those of all."""
        return replace(self, x=self.x[rows], arm=self.arm[rows], time=self.time[rows], event=self.event[rows])

    def scaling(self) -> Scaling:
        """The scaling of the covariates, learned from these patients."""
        return Scaling.fit(self.x, self.encoder, self.scale)

    def sample(self, scaling: Scaling | None = None) -> Sample:
        """The patients as survival models see them."""
        z = (scaling or self.scaling())(self.x)
        return Sample(z, self.arm, len(self.arms), self.time, self.event)


def propose_roles(table: Table) -> Roles | None:
    """Roles told by the names of the columns, for the user to correct; None where they cannot be told."""
    arm, time, event = (_named(table, names) for names in (_ARM, _TIME, _EVENT))
    if arm is None or time is None or event is None:
        return None
    plan, _ = propose(table, time, event)
    known = (*ACTG_AFTER, *ACTG_SAME)
    return Roles(arm, time, event, tuple(name for name in plan.features if name != arm and name not in known))


def _named(table: Table, names: tuple[str, ...]) -> str | None:
    found = {words(column.name): column.name for column in table.columns}
    return next((found[name] for name in names if name in found), None)


def make_trial(table: Table, roles: Roles, *, randomised: bool, scale: Scale | None = None) -> Trial:
    """Check a table against the roles of its columns.

    Parameters
    ----------
    randomised : bool
        The user states that chance alone assigned the arms.

    Raises
    ------
    RefusedInput
        Without that statement: without chance, patients of two treatments differ in more than the treatment.
    InputError
        One sentence: a column with two roles, one arm, too few patients or events, times that are none.
    """
    if not randomised:
        raise RefusedInput(
            "Treatments can be compared only where chance assigned them: it must be stated that assignment was "
            "random. In other data, patients on different treatments differ in more than the treatment."
        )
    _check_roles(table, roles)
    needed = [roles.arm, roles.time, roles.event]
    rows = np.flatnonzero(table.frame[needed].notna().all(axis=1).to_numpy())
    frame = table.frame.iloc[rows]
    if len(rows) > MOST_PATIENTS:
        raise InputError("At most {limit:,} patients can be compared, got {count:,}.", limit=MOST_PATIENTS,
                         count=len(rows))  # fmt: skip
    arm, arms = _arms(frame[roles.arm], roles.arm)
    time = _times(table, roles, frame)
    event = _events(table, roles, frame)
    if event.sum() < FEWEST_EVENTS:
        raise InputError("At least {least} events are needed, got {count}.", least=FEWEST_EVENTS,
                         count=int(event.sum()))  # fmt: skip
    encoder = Encoder.fit(table, roles.covariates, rows)
    left_out = len(table.frame) - len(rows)
    notes = [say("{count} rows without arm, time or event are left out.", count=left_out)] if left_out else []
    x = encoder.matrix(frame)
    return Trial(table.name, roles, arms, encoder, x, arm, time, event, tuple(notes), scale)


def _check_roles(table: Table, roles: Roles) -> None:
    used = [roles.arm, roles.time, roles.event, *roles.covariates]
    for name in used:
        _ = table[name]  # raises where there is no such column
        if used.count(name) > 1:
            raise InputError("Column {column} can have one role only.", column=name)
    for name in roles.covariates:
        if table[name].kind not in (NUMBER, CATEGORY):
            raise InputError("Column {column} must hold numbers or categories, got {kind}.", column=name,
                             kind=table[name].kind)  # fmt: skip
    if not roles.covariates:
        raise InputError("At least one column recorded before assignment is needed.")
    if roles.unit not in DAYS:
        raise InputError("`unit` must be one of {units}, got {unit}", units=", ".join(DAYS), unit=roles.unit)


def _arms(series: pd.Series, name: str) -> tuple[Rows, tuple[str, ...]]:
    text = as_levels(series)
    arms = tuple(sorted(text.unique(), key=lambda arm: (len(arm), arm) if arm.isdigit() else (99, arm)))
    if not 2 <= len(arms) <= MOST_ARMS:
        raise InputError("The arm {column} must have 2 to {most} values, got {count}.", column=name, most=MOST_ARMS,
                         count=len(arms))  # fmt: skip
    arm = pd.Categorical(text, categories=list(arms)).codes.astype(np.intp)
    counts = np.bincount(arm)
    if counts.min() < FEWEST_IN_ARM:
        raise InputError("Every arm needs at least {least} patients, but {arm} has {count}.", least=FEWEST_IN_ARM,
                         arm=arms[int(counts.argmin())], count=int(counts.min()))  # fmt: skip
    return arm, arms


def _times(table: Table, roles: Roles, frame: pd.DataFrame) -> Vector:
    if table[roles.time].kind != NUMBER:
        raise InputError("The time {column} must hold numbers.", column=roles.time)
    time = frame[roles.time].to_numpy(dtype=float)
    if (time < 0).any():
        raise InputError("The time {column} must not be negative, got {value:g}.", column=roles.time,
                         value=float(time.min()))  # fmt: skip
    return np.maximum(time * DAYS[roles.unit], 0.5)  # an event on day 0 happened after assignment


def _events(table: Table, roles: Roles, frame: pd.DataFrame) -> NDArray[np.bool_]:
    column = table[roles.event]
    if column.distinct != 2:
        raise InputError("The event {column} must have two values, got {count}.", column=column.name,
                         count=column.distinct)  # fmt: skip
    levels = as_levels(frame[roles.event])
    value = positive_of(column) if roles.event_value is None else roles.event_value
    if value not in set(levels):
        raise InputError("The event {column} never has the value {value}.", column=column.name, value=value)
    return (levels == value).to_numpy()


@dataclass(frozen=True, eq=False)
class Balance:
    """Whether the arms were alike before treatment.

    Attributes
    ----------
    differences : tuple[tuple[str, float], ...]
        Of each covariate, the largest difference between two arms' means in standard deviations; largest first.
    p : float
        How often chance alone makes arms that differ as much over all covariates together.
    """

    differences: tuple[tuple[str, float], ...]
    p: float

    @property
    def suspect(self) -> bool:
        return self.p < SUSPECT

    @property
    def message(self) -> Message:
        if self.suspect:
            return say(
                "The arms differ before treatment more than chance explains (p = {p:.1g}), most in {column}: was "
                "assignment random, and was every column recorded before it?", p=self.p, column=self.differences[0][0],
            )  # fmt: skip
        return say("The arms were alike before treatment, as chance makes them (p = {p:.2f}).", p=self.p)


def balance(trial: Trial) -> Balance:
    """Check the arms of a trial against chance.

    Notes
    -----
    One test over all covariates: squared distances of the arms' means from the overall mean in units of the
    covariance are chi-square distributed under randomisation (Hansen & Bowers, Statistical Science 23:219, 2008).
    """
    from scipy.stats import chi2

    scaling = trial.scaling()
    z = scaling(trial.x)
    means = np.array([z[trial.arm == k].mean(axis=0) for k in range(len(trial.arms))])
    sizes = np.bincount(trial.arm, minlength=len(trial.arms))
    centred = z - z.mean(axis=0)
    covariance = centred.T @ centred / (len(z) - 1)
    shift = means - z.mean(axis=0)
    distance = float((sizes[:, None] * (shift @ np.linalg.pinv(covariance, hermitian=True)) * shift).sum())
    freedom = int(np.linalg.matrix_rank(covariance, hermitian=True)) * (len(trial.arms) - 1)
    spread = z.std(axis=0)
    largest = np.ptp(means, axis=0) / np.where(spread > 0, spread, 1.0)
    worst = {name: float(largest[scaling.design.owner == k].max()) for k, name in enumerate(trial.encoder.names)}
    return Balance(tuple(sorted(worst.items(), key=lambda pair: -pair[1])), float(chi2.sf(distance, freedom)))


# ---------------------------------------------------------------------------------------- the built-in trial

ACTG = "actg175"
ACTG_ARMS = {
    "0": say("zidovudine alone"),
    "1": say("zidovudine and didanosine"),
    "2": say("zidovudine and zalcitabine"),
    "3": say("didanosine alone"),
}
ACTG_AFTER = ("offtrt", "cd420", "cd820")
"""Recorded after assignment: never inputs."""
ACTG_SAME = ("treat",)
"""The arm in other words."""
ACTG_SCALE = Scale({"cd40": 20.0, "cd80": 50.0}, {"cd80": "cd40"})
"""Cell counts by their logarithm, and CD8 as the ratio of CD4 to CD8."""
ACTG_COVARIATES = ("age", "karnof", "symptom", "preanti", "cd40", "cd80")
ACTG_WORDS = {
    "age": (say("Age"), say("years")),
    "karnof": (say("Karnofsky score"), None),
    "symptom": (say("Symptoms of HIV"), None),
    "preanti": (say("Time on antiretroviral treatment before"), say("days")),
    "cd40": (say("CD4 count"), say("cells/mm³")),
    "cd80": (say("CD8 count"), say("cells/mm³")),
}
"""What each covariate is called, and its unit."""
ACTG_VALUES = {
    "age": (0.0, 120.0, False), "karnof": (0.0, 100.0, False), "symptom": (0.0, 1.0, True),
    "preanti": (0.0, 20_000.0, False), "cd40": (0.0, 5_000.0, False), "cd80": (0.0, 20_000.0, False),
}  # fmt: skip
"""Lowest and highest possible value of each covariate, and whether only whole numbers are possible."""
ACTG_ROLES = Roles("trt", "time", "cid", ACTG_COVARIATES, "1")


def load_actg(path: Path) -> Trial:
    """ACTG 175 from its file, or from a folder that holds ``actg175.csv``.

    Raises
    ------
    InputError
        If it is not there, or lacks a column.
    """
    file = path if path.is_file() else next(iter(sorted(path.rglob("actg175.csv"))), None)
    if file is None:
        raise InputError("There is no actg175.csv in {folder}", folder=path.name)
    table = read_table(file.read_bytes(), file.name)
    gone = [name for name in ("trt", "time", "cid", *ACTG_COVARIATES) if name not in table.names]
    if gone:
        raise InputError("{file} must have the columns of ACTG 175, but {column} is missing", file=file.name,
                         column=gone[0])  # fmt: skip
    return make_trial(table, ACTG_ROLES, randomised=True, scale=ACTG_SCALE)
