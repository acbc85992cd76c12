"""Synthetic stays for demonstrations: drawn by a model trained on real ones, nobody's course.

Some hundred stays are drawn (:mod:`~medai_core.icu.train_courses`). Those closer to a real stay than real stays
are to each other are dropped; of the rest, those whose risk by the shipped model follows the wanted courses best
are written, marked as synthetic by their names and by record numbers from 900001 on, which the challenge never
gave.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml
from numpy.typing import NDArray

from medai_core.errors import ArtifactError
from medai_core.icu.cohort import load_cohort, part_of
from medai_core.icu.features import features
from medai_core.icu.forecaster import MODEL, Forecaster, load_forecaster
from medai_core.icu.grid import HOURS, Grid, stack
from medai_core.icu.records import read_stay
from medai_core.icu.train_courses import Recipe, draw, train_course

DRAWS = 1500
FIRST_RECORD = 900001
LABEL = "icu"
TOO_NEAR_PERCENT = 1.0
SPAN = 4.0
"""Standardised features are cut off here: one odd value must not decide how near two stays are."""
CHUNK = 500
IQR_PER_SD = 1.349
"""Quartiles of a normal distribution lie this many standard deviations apart; mistyped heights do not move them."""
FAREST = 1.2
"""A drawn course may lie this far from the wanted one at each hour looked at, in log-odds (root mean square)."""

Row = tuple[int, str, float]
Fixed = dict[str, float]


@dataclass(frozen=True)
class Kind:
    """A course wanted among the samples.

    Attributes
    ----------
    risk : dict[int, float]
        Wanted risk at the end of some hours; the last of them ends the stay if `short`.
    gender : int
        1 male, 0 female.
    ages : tuple[int, int]
        Years, ends included.
    sparse : bool
        Whether it has to be of the tenth with the fewest measurements.
    """

    name: str
    title: str
    risk: dict[int, float]
    gender: int
    ages: tuple[int, int]
    sparse: bool = False
    short: bool = False

    @property
    def hours(self) -> int:
        return max(self.risk) if self.short else HOURS

    @property
    def file(self) -> str:
        return f"icu_synthetic_{self.name}.txt"


KINDS = (
    Kind("low_risk", "Intensive-care stay, low risk", {6: 0.04, 24: 0.03, 48: 0.02}, 1, (18, 55)),
    Kind("low_risk_old", "Intensive-care stay, low risk at high age", {6: 0.1, 24: 0.07, 48: 0.05}, 0, (75, 90)),
    Kind("medium_risk", "Intensive-care stay, medium risk", {6: 0.2, 24: 0.2, 48: 0.2}, 1, (45, 70)),
    Kind("high_risk", "Intensive-care stay, high risk", {6: 0.45, 24: 0.6, 48: 0.75}, 0, (45, 75)),
    Kind("rising_risk", "Intensive-care stay, rising risk", {6: 0.08, 24: 0.3, 48: 0.65}, 1, (40, 72)),
    Kind("rising_late", "Intensive-care stay, risk rising late", {12: 0.1, 30: 0.1, 48: 0.4}, 0, (40, 80)),
    Kind("falling_risk", "Intensive-care stay, falling risk", {6: 0.45, 24: 0.25, 48: 0.08}, 1, (40, 75)),
    Kind("unsteady_risk", "Intensive-care stay, risk up and down", {8: 0.35, 24: 0.12, 48: 0.35}, 0, (50, 80)),
    Kind("few_values", "Intensive-care stay, few measurements", {6: 0.1, 24: 0.08, 48: 0.07}, 1, (25, 65), sparse=True),
    Kind("first_20_hours", "Intensive-care stay, first 20 hours", {6: 0.15, 20: 0.25}, 0, (25, 65), short=True),
)


def people(fixed: Sequence[Fixed], died: NDArray[np.int64], count: int, rng: np.random.Generator) -> list[Fixed]:
    """Descriptors of people who are none of the real ones.

    Sex and outcome are drawn as often as they occur together; age between neighbouring twentieths of its
    distribution among those; height, known as often as in the data, from a normal distribution in whole inches.
    The outcome drawn towards comes under the name ``died``.
    """
    sex = np.array([one.get("Gender", 1.0) for one in fixed])
    age = np.array([one.get("Age", np.nan) for one in fixed])
    height = np.array([one.get("Height", np.nan) for one in fixed])
    found: list[Fixed] = []
    for pick in rng.integers(0, len(fixed), count):
        alike, same_sex = (sex == sex[pick]) & (died == died[pick]), sex == sex[pick]
        years = np.nanquantile(age[alike], np.linspace(0, 1, 21))
        one = {"Age": float(round(np.interp(rng.uniform(0, 20), np.arange(21), years))), "Gender": float(sex[pick])}
        tall = height[same_sex & ~np.isnan(height)]
        if len(tall) and rng.random() < len(tall) / same_sex.sum():
            middle, spread = np.median(tall), np.subtract(*np.percentile(tall, [75, 25])) / IQR_PER_SD
            inches = np.clip(rng.normal(middle, spread) / 2.54, 55, 80)
            one["Height"] = round(round(inches) * 2.54, 1)
        found.append(one | {"died": float(died[pick])})
    return found


def physionet_text(record: int, fixed: Fixed, rows: Sequence[Row]) -> str:
    """A stay as the challenge writes it; what is not known is -1."""
    weight = next((value for minute, name, value in rows if minute == 0 and name == "Weight"), -1)
    first = {"RecordID": record, **{name: fixed.get(name, -1) for name in ("Age", "Gender", "Height")}}
    lines = [f"00:00,{name},{value:.10g}" for name, value in (first | {"Weight": weight}).items()]
    later = [row for row in rows if row[:2] != (0, "Weight")]
    lines += [f"{minute // 60:02d}:{minute % 60:02d},{name},{value:.10g}" for minute, name, value in later]
    return "\n".join(["Time,Parameter,Value", *lines]) + "\n"


def cut_text(record: int, fixed: Fixed, rows: Sequence[Row], hours: int) -> str:
    """The first hours of a stay as long CSV: a file in the challenge's own layout stands for all 48."""
    lines = [f"{record},00:00,{name},{fixed[name]:.10g}" for name in ("Age", "Gender", "Height") if name in fixed]
    kept = [row for row in rows if row[0] <= 60 * hours]
    lines += [f"{record},{minute // 60:02d}:{minute % 60:02d},{name},{value:.10g}" for minute, name, value in kept]
    return "\n".join(["RecordID,Time,Parameter,Value", *lines]) + "\n"


def standard_rows(grid: Grid, hour: int, like: Grid) -> NDArray[np.float32]:
    """Features known at the end of an hour (N, F) in standard deviations of those of `like`; not known is 0."""
    mine, theirs = (
        np.concatenate([features(part_of(table, slice(k, k + CHUNK)))[:, hour - 1] for k in _starts(table)])
        for table in (grid, like)
    )
    theirs[np.isinf(theirs)] = np.nan
    centre, spread = np.nanmean(theirs, axis=0), np.nanstd(theirs, axis=0)
    z = (mine - centre) / np.where(spread > 0, spread, 1)
    return np.clip(np.nan_to_num(z, nan=0.0, posinf=SPAN, neginf=-SPAN), -SPAN, SPAN).astype(np.float32)


def _starts(grid: Grid) -> range:
    return range(0, len(grid.fixed), CHUNK)


def nearest(rows: NDArray[np.float32], others: NDArray[np.float32] | None = None) -> NDArray[np.float64]:
    """Euclidean distance of each row to the nearest of `others`, by default to the nearest other row."""
    against = rows if others is None else others
    squared = (rows**2).sum(1)[:, None] + (against**2).sum(1) - 2 * rows @ against.T
    if others is None:
        np.fill_diagonal(squared, np.inf)
    return np.sqrt(np.maximum(squared.min(1), 0)).astype(float)


def no_copy(drawn: Grid, real: Grid, hour: int) -> NDArray[np.bool_]:
    """Which drawn stays are farther from every real one than the nearest hundredth of real ones from theirs."""
    others = standard_rows(real, hour, real)
    return nearest(standard_rows(drawn, hour, real), others) > np.percentile(nearest(others), TOO_NEAR_PERCENT)


def _followed(drawn: Sequence[Sequence[Row]], hours: int) -> NDArray[np.bool_]:
    """Which stays were measured in the last of so many hours (two of a whole stay), so that none breaks off."""
    start = hours - 2 if hours == HOURS else hours - 1
    return np.array([any(60 * start < minute <= 60 * hours for minute, *_ in rows) for rows in drawn])


def choose(risk: NDArray[np.float64], persons: Sequence[Fixed], amount: NDArray[np.intp], fit: NDArray[np.bool_]):
    """Number of the drawn stay for each of :data:`KINDS`.

    Parameters
    ----------
    risk : NDArray, shape (N, 48)
    persons : sequence of dict
    amount : NDArray, shape (N,)
        Measurements of each.
    fit : NDArray, shape (N, len(KINDS))
        Whether each may stand for each.

    Raises
    ------
    ArtifactError
        If no drawn stay comes close to one of the wanted courses.
    """
    odds = np.log(risk / (1 - risk))
    age, sex = (np.array([one[name] for one in persons]) for name in ("Age", "Gender"))
    few = amount <= np.quantile(amount, 0.1)
    taken: list[int] = []
    for number, kind in enumerate(KINDS):
        may = fit[:, number] & (sex == kind.gender) & (age >= kind.ages[0]) & (age <= kind.ages[1])
        may &= few == kind.sparse
        may[taken] = False
        wanted = np.array(list(kind.risk.values()))
        off = odds[:, [hour - 1 for hour in kind.risk]] - np.log(wanted / (1 - wanted))
        far = np.where(may, np.sqrt((off**2).mean(1)), np.inf)
        if far.min() > FAREST:
            raise ArtifactError(
                "None of {draws} drawn stays has the course of {kind}: the nearest is {far:.2f} log-odds away.",
                draws=len(far),
                kind=kind.name,
                far=float(far.min()),
            )
        taken.append(int(far.argmin()))
    return taken


def make_samples(
    data: Path,
    out: Path,
    progress: Callable[[dict[str, object]], None],
    recipe: Recipe | None = None,
    forecaster: Forecaster | None = None,
) -> list[dict[str, str]]:
    """Write the demonstration stays to `out` and their rows to ``<out>.yaml``; return the rows.

    Rows of other samples stay in the list. A trained model in ``<out>.work`` is taken up.

    Parameters
    ----------
    data : Path
        A folder with ``set-a`` and ``Outcomes-a.txt`` somewhere below it.
    forecaster : Forecaster, optional
        By whose risk the stays are chosen; the shipped one by default.
    """
    recipe, cohort = recipe or Recipe(), load_cohort(data)
    paths = {path.stem: path for path in Path(data).rglob("*.txt")}
    stays = [read_stay(paths[name].read_bytes()) for name in cohort.ids]
    stored = out.with_name(f"{out.name}.work") / f"courses-{recipe.digest(len(stays))}.weights.h5"
    course, scale = train_course(stays, cohort.died, recipe, stored, progress)
    rng = np.random.default_rng(recipe.seed)
    persons = people([stay.fixed for stay in stays], cohort.died, DRAWS, rng)
    died = np.array([int(one["died"]) for one in persons])
    drawn = draw(course, scale, persons, died, recipe.seed)
    texts = [physionet_text(FIRST_RECORD, one, rows) for one, rows in zip(persons, drawn, strict=True)]
    grid = stack([read_stay(text.encode()).grid() for text in texts])
    risk = (forecaster or load_forecaster()).risks(grid).blend
    far = {hours: no_copy(grid, cohort.grid, hours) for hours in {kind.hours for kind in KINDS}}
    fit = np.stack([far[kind.hours] & _followed(drawn, kind.hours) for kind in KINDS], axis=1)
    chosen = choose(risk, persons, np.array([len(rows) for rows in drawn]), fit)
    return _write(out, [(persons[k], drawn[k]) for k in chosen])


def _write(out: Path, chosen: Sequence[tuple[Fixed, list[Row]]]) -> list[dict[str, str]]:
    out.mkdir(parents=True, exist_ok=True)
    rows = []
    for number, (kind, (fixed, values)) in enumerate(zip(KINDS, chosen, strict=True)):
        record = FIRST_RECORD + number
        text = cut_text(record, fixed, values, kind.hours) if kind.short else physionet_text(record, fixed, values)
        (out / kind.file).write_text(text)
        rows.append({"file": kind.file, "label": LABEL, "model": MODEL, "title": kind.title})
    listing = out.with_suffix(".yaml")
    others = yaml.safe_load(listing.read_text("utf-8")) or [] if listing.exists() else []
    others = [row for row in others if row["label"] != LABEL]
    listing.write_text(yaml.safe_dump(others + rows, sort_keys=False, allow_unicode=True))
    return rows
