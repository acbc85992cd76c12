"""What if: the smallest changes that would flip a prediction, and how it moves with one value.

The search is our own: DiCE needs XGBoost and CUDA packages beside it and takes seconds for a genetic search that may
answer otherwise each time; alibi needs NumPy 1. Here every family answers thousands of rows in a few milliseconds, so
grids over one, two and more features are searched in full or by a beam, and what flips is drawn back to the edge. A
change that flips the model's answer is not a change that would help the patient: association is not cause.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medai_core.errors import InputError
from medai_core.tabular.columns import CATEGORY
from medai_core.tabular.encoder import Encoder, Feature, Rows
from medai_core.tabular.problem import BINARY, SURVIVAL, VALUE
from medai_core.tabular.risk_model import RiskModel

Matrix = NDArray[np.float64]

GRID = 24
BEAM = 12
ALWAYS_TRIED = 3
HALVINGS = 12
COST_OF_A_LEVEL = 2.0
"""Changing a category counts as moving a number by the distance between its quartiles."""
ICE_POINTS = 60


@dataclass(frozen=True)
class Change:
    """One value changed; `before` and `after` as encoded, with texts for people."""

    name: str
    feature: int
    before: float
    after: float
    shown_before: str
    shown_after: str


@dataclass(frozen=True, eq=False)
class Counterfactual:
    """A row close by with another answer.

    Attributes
    ----------
    changes : tuple[Change, ...]
        The largest first.
    x : Matrix, shape (D,)
    answer_before, answer_after : float
        Probability of the label asked for, or value of a number.
    cost : float
        Sum of the changes, each in half distances between the quartiles.
    """

    changes: tuple[Change, ...]
    x: Matrix
    answer_before: float
    answer_after: float
    cost: float


@dataclass(frozen=True)
class Goal:
    """What counts as flipped.

    Attributes
    ----------
    label : str or None
        The label wanted; of a number None.
    threshold : float
        Its probability must reach this, where there are two labels; the value, of a number, must pass it.
    """

    label: str | None = None
    threshold: float = 0.5


def counterfactuals(
    model: RiskModel,
    row: Rows | Matrix,
    family: str | None = None,
    *,
    goal: Goal | None = None,
    locked: Sequence[str] = (),
    ranges: Mapping[str, tuple[float, float]] | None = None,
    most_changes: int = 4,
    count: int = 3,
) -> list[Counterfactual]:
    """The smallest changes within plausible ranges that flip one row's prediction, the smallest first.

    Parameters
    ----------
    row : one row, as of :meth:`RiskModel.predict`, or encoded (D,)
    goal : Goal, optional
        By default the other of two labels, or the second most probable of more; a number needs one.
    locked : sequence of str
        Features that must stay: age, sex, what is past.
    ranges : mapping, optional
        Other limits than the first to 99th percentile of training, by feature.
    most_changes : int
        Features changed at most.
    count : int
        Answers at most, each changing other features.

    Returns
    -------
    list of Counterfactual
        Empty where nothing within the ranges flips it.

    Raises
    ------
    InputError
        If a feature or label is unknown, a range is empty, or everything is locked.
    """
    x = np.asarray(row if isinstance(row, np.ndarray) else model.read(row)[0], float).reshape(-1)
    names, goal = model.encoder.names, goal or _other(model, x, family)
    for name in (*locked, *(ranges or {})):
        if name not in names:
            raise InputError("The model reads no column {column}.", column=name)
    for name, (low, high) in (ranges or {}).items():
        if not low <= high:
            raise InputError("The range of {column} must begin below its end, got {low:g} to {high:g}.", column=name,
                             low=low, high=high)  # fmt: skip
    free = [k for k, name in enumerate(names) if name not in locked]
    if not free:
        raise InputError("At least one column must be free to change.")
    search = _Search(model, x, family, goal, _grids(model.encoder, model.background, x, free, ranges or {}))
    return search.run(most_changes, count)


def _other(model: RiskModel, x: Matrix, family: str | None) -> Goal:
    if model.task == VALUE:
        raise InputError("A number needs a goal: the value to be passed.")
    found = np.atleast_1d(model.answer(x[None], family)[0])
    if model.task in (BINARY, SURVIVAL):
        return Goal(model.labels[0] if found[0] >= 0.5 else model.labels[1])
    return Goal(model.labels[int(np.argsort(-found)[1])])


def _grids(
    encoder: Encoder, background: Matrix, x: Matrix, free: list[int], ranges: Mapping[str, tuple[float, float]]
) -> dict[int, Matrix]:
    """Values worth trying by feature."""
    found = {}
    for k in free:
        feature = encoder.features[k]
        low, high = ranges.get(feature.name, (feature.plausible_low, feature.plausible_high))
        grid = values_of(feature, low, high, GRID)
        if feature.kind != CATEGORY and (known := background[~np.isnan(background[:, k]), k]).size:
            usual = np.quantile(known, np.linspace(0.05, 0.95, 7))
            usual = np.round(usual) if feature.whole else usual
            grid = np.unique(np.r_[grid, usual[(usual >= low) & (usual <= high)]])
        grid = grid[grid != x[k]]
        if grid.size:
            found[k] = grid
    return found


def values_of(feature: Feature, low: float, high: float, points: int) -> Matrix:
    """Evenly spaced values of a feature, whole where it is whole; every level of a category."""
    if feature.kind == CATEGORY:
        return np.arange(float(len(feature.levels)))
    if feature.whole:
        low, high = np.ceil(low), np.floor(high)
        return np.unique(np.round(np.linspace(low, high, points))) if low <= high else np.zeros(0)
    return np.unique(np.linspace(low, high, points))


State = tuple[float, float, Matrix, tuple[int, ...]]
"""Margin, cost, row, and the features changed."""


class _Search:
    """Beam search over sets of features; a margin of 0 or more is flipped."""

    def __init__(
        self, model: RiskModel, x: Matrix, family: str | None, goal: Goal, grids: Mapping[int, Matrix]
    ) -> None:
        self.model, self.x, self.family, self.goal, self.grids = model, x, family, goal, grids
        self.step = np.array([f.step if f.kind != CATEGORY else 1.0 for f in model.encoder.features])
        self.coded = np.array([f.kind == CATEGORY for f in model.encoder.features])
        if model.task != VALUE and goal.label not in model.labels:
            raise InputError("`label` must be one of {labels}, got {value}", labels=", ".join(model.labels),
                             value=goal.label)  # fmt: skip
        self.upwards = model.task == VALUE and float(model.answer(x[None], family)[0]) < goal.threshold

    def margins(self, rows: Matrix) -> Matrix:
        """How far rows are past the goal, (N,)."""
        link = self.model.member(self.family).link(rows)
        if self.model.task == SURVIVAL:
            event = np.asarray(self.model.answer(rows, self.family))
            return (event if self.goal.label == self.model.labels[1] else 1 - event) - self.goal.threshold
        if self.model.task == VALUE:
            return (link[:, 0] - self.goal.threshold) * (1 if self.upwards else -1)
        place = self.model.labels.index(self.goal.label or "")
        if self.model.task == BINARY:
            cut = np.clip(self.goal.threshold, 1e-9, 1 - 1e-9)
            return (link[:, 0] if place else -link[:, 0]) - np.log(cut / (1 - cut))
        return link[:, place] - np.delete(link, place, axis=1).max(axis=1)

    def costs(self, rows: Matrix) -> Matrix:
        moved = np.abs(np.where(np.isnan(rows), 0, rows) - np.where(np.isnan(self.x), 0, self.x)) / self.step
        changed = (rows != self.x) & ~(np.isnan(rows) & np.isnan(self.x))
        return np.where(self.coded, COST_OF_A_LEVEL * changed, np.where(np.isnan(self.x) & changed, 1.0, moved)).sum(1)

    def run(self, most_changes: int, count: int) -> list[Counterfactual]:
        beam: list[State] = [(float(self.margins(self.x[None])[0]), 0.0, self.x, ())]
        if beam[0][0] >= 0:
            return []
        flipped: dict[tuple[int, ...], State] = {}
        for size in range(1, most_changes + 1):
            if size > ALWAYS_TRIED and flipped:
                break
            states = self._grown(beam)
            if not states:
                break
            for state in sorted((s for s in states if s[0] >= 0), key=lambda s: s[1])[: 4 * BEAM]:
                flipped.setdefault(state[3], state)
            beam = self._kept([state for state in states if state[0] < 0])
        drawn = sorted((self._drawn_back(state) for state in flipped.values()), key=lambda state: state[1])
        return [self._told(state) for state in _different(drawn, count)]

    def _grown(self, beam: list[State]) -> list[State]:
        """Each state with one more feature at each of its values; one state per set of features and value."""
        rows, sets = [], []
        for _, _, x, used in beam:
            for k, grid in self.grids.items():
                if k in used:
                    continue
                more = np.repeat(x[None], len(grid), axis=0)
                more[:, k] = grid
                rows.append(more)
                sets += [tuple(sorted((*used, k)))] * len(grid)
        if not rows:
            return []
        table = np.concatenate(rows)
        return list(zip(self.margins(table).tolist(), self.costs(table).tolist(), table, sets, strict=True))

    def _kept(self, states: list[State]) -> list[State]:
        """The states that gain most, and those that gain most for their cost; one per set of features each."""
        start = float(self.margins(self.x[None])[0])
        kept: list[State] = []
        for worth in (lambda s: s[0] - start, lambda s: (s[0] - start) / (0.5 + s[1])):
            best: dict[tuple[int, ...], State] = {}
            for state in sorted(states, key=worth, reverse=True):
                best.setdefault(state[3], state)
                if len(best) == BEAM // 2:
                    break
            kept += best.values()
        return kept

    def _drawn_back(self, state: State) -> State:
        """Each change undone, halved or drawn back as far as the row stays flipped."""
        row = state[2].copy()
        for k in sorted(state[3], key=lambda k: abs(row[k] - self.x[k]) / self.step[k]):
            row[k] = self._nearest(row, k)
        used = tuple(k for k in state[3] if row[k] != self.x[k] and not (np.isnan(row[k]) and np.isnan(self.x[k])))
        return float(self.margins(row[None])[0]), float(self.costs(row[None])[0]), row, used

    def _nearest(self, row: Matrix, k: int) -> float:
        """The value of one feature nearest to the original at which the row is flipped."""
        feature = self.model.encoder.features[k]
        back = row.copy()
        back[k] = self.x[k]
        if self.margins(back[None])[0] >= 0:
            return float(self.x[k])
        if self.coded[k] or np.isnan(self.x[k]):
            return float(row[k])
        grid, far = self.grids[k], float(row[k])
        near = float(np.clip(self.x[k], grid[0], grid[-1]))  # a patient outside the range comes in as far as its end
        back[k] = near
        if near != self.x[k] and self.margins(back[None])[0] >= 0:
            return near
        for _ in range(HALVINGS):
            back[k] = (near + far) / 2
            near, far = (near, back[k]) if self.margins(back[None])[0] >= 0 else (back[k], far)
        for value in _rounded_away(far, float(self.x[k]), feature.whole):
            back[k] = value
            if min(far, row[k]) - 1e-9 <= value <= max(far, row[k]) + 1e-9 and self.margins(back[None])[0] >= 0:
                return value
        return float(row[k]) if feature.whole else far

    def _told(self, state: State) -> Counterfactual:
        _, cost, row, used = state
        features = self.model.encoder.features
        order = sorted(used, key=lambda k: -float(self.costs(np.where(np.arange(len(row)) == k, row, self.x)[None])[0]))
        changes = tuple(
            Change(features[k].name, k, float(self.x[k]), float(row[k]), features[k].text(self.x[k]),
                   features[k].text(row[k]))
            for k in order
        )  # fmt: skip
        before, after = (self._answer(each) for each in (self.x, row))
        return Counterfactual(changes, row, before, after, cost)

    def _answer(self, row: Matrix) -> float:
        found = self.model.answer(row[None], self.family)[0]
        if self.model.task == VALUE:
            return float(found)
        place = self.model.labels.index(self.goal.label or "")
        return float(found[place]) if np.ndim(found) else float(found if place else 1 - found)


def _rounded_away(value: float, origin: float, whole: bool) -> list[float]:
    """The value in three, then four digits, rounded away from where it came from."""
    if value == 0:
        return [value]
    places = [1.0] if whole else [10.0 ** (np.floor(np.log10(abs(value))) - digits) for digits in (2, 3)]
    turn = np.ceil if value > origin else np.floor
    return [float(f"{turn(value / place - (1e-9 if value > origin else -1e-9)) * place:.12g}") for place in places]


def _different(states: list[State], count: int) -> list[State]:
    """The cheapest, then those that change other features: none whose features hold all of an earlier one's."""
    chosen: list[State] = []
    for state in states:
        if state[3] and not any(set(one[3]) <= set(state[3]) for one in chosen):
            chosen.append(state)
        if len(chosen) == count:
            break
    return chosen


# ----------------------------------------------------------------------------------- individual expectation


@dataclass(frozen=True, eq=False)
class Curves:
    """How answers move with one feature, all else as it is (Goldstein et al. 2015).

    Attributes
    ----------
    feature : Feature
    grid : Matrix, shape (P,)
        Values of the feature, encoded.
    rows : Matrix, shape (N, P)
        Answers for the rows asked about.
    others : Matrix, shape (B, P)
        Answers for background rows.
    now : Matrix, shape (N,)
        The feature's values in the rows.
    trained : tuple[float, float]
        Beyond these values of the grid answers are extrapolations.
    """

    feature: Feature
    grid: Matrix
    rows: Matrix
    others: Matrix
    now: Matrix
    trained: tuple[float, float]

    @property
    def mean(self) -> Matrix:
        """Partial dependence: the mean over the background, (P,)."""
        return self.others.mean(axis=0)


def ice(
    model: RiskModel, rows: Rows | Matrix, name: str, family: str | None = None, label: str | None = None
) -> Curves:
    """Individual conditional expectation curves of rows, beside those of the background.

    Parameters
    ----------
    name : str
        The feature moved over its plausible range, or as far as a row's own value.
    label : str, optional
        Whose probability, where there are more than two.

    Raises
    ------
    InputError
        If the model reads no such column, or the label is unknown.
    """
    if name not in model.encoder.names:
        raise InputError("The model reads no column {column}.", column=name)
    if label is not None and label not in model.labels:
        raise InputError("`label` must be one of {labels}, got {value}", labels=", ".join(model.labels), value=label)
    x = np.atleast_2d(rows if isinstance(rows, np.ndarray) else model.read(rows)[0])
    place = model.encoder.names.index(name)
    feature, now = model.encoder.features[place], x[:, place]
    ends = np.r_[feature.plausible_low, feature.plausible_high, now[~np.isnan(now)]]
    grid = values_of(feature, float(ends.min()), float(ends.max()), ICE_POINTS)

    def answers(table: Matrix) -> Matrix:
        moved = np.repeat(table[:, None, :], len(grid), axis=1)  # (N, P, D)
        moved[:, :, place] = grid
        found: Any = model.answer(moved.reshape(-1, table.shape[1]), family)
        if found.ndim == 2:
            found = found[:, model.labels.index(label or model.labels[0])]
        return found.reshape(len(table), len(grid))

    return Curves(feature, grid, answers(x), answers(model.background), now, (feature.low, feature.high))
