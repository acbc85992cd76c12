"""Fitting and comparing families on a user's table: nested, grouped cross-validation with progress and a stop.

study = compare(prepare(table, plan), progress=print)
leaderboard(study)                   # medai_core.tabular.results
save_study(study, folder, "name")    # medai_core.tabular.bundles
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from medai_core.errors import InputError
from medai_core.tabular.explain import Explainer
from medai_core.tabular.fitting import (
    Member,
    Stop,
    Stopped,
    Tried,
    check,
    fit_blend,
    fit_member,
    folds_of,
    inner_folds,
    never,
)
from medai_core.tabular.models import (
    BLEND,
    BOOSTING,
    FOREST,
    KERNEL,
    LINEAR,
    NETWORK,
    ORDER,
    Data,
    families_for,
)
from medai_core.tabular.problem import BINARY, CLASSES, Problem
from medai_core.tabular.time_to_event import signed

if TYPE_CHECKING:
    from medai_core.tabular.network_fit import Unlikeness

Matrix = NDArray[np.float64]

BACKGROUND_ROWS = 100
EXPLAINED_ROWS = 60
"""Held-out rows of each fold by which features are ranked again, to see whether the ranking holds."""
UNLIKENESS = "unlikeness"
_CELLS = 569 * 30
_SECONDS = {
    LINEAR: (0.3, 0.21), KERNEL: (0.7, 0.45), FOREST: (2.0, 0.41), BOOSTING: (0.8, 0.26), NETWORK: (5.0, 0.24),
    BLEND: (0.1, 0.81),
}  # fmt: skip
"""Measured: seconds of one tuned fit of 569 x 30 cells, and the power of the cells by which they grow to 100,000 x 50.
"""


@dataclass(frozen=True)
class Progress:
    """One step of a training.

    Attributes
    ----------
    done, of : int
        Steps.
    family : str
        Just fitted; ``unlikeness`` for the autoencoder.
    part : str
        ``fold 3 of 5`` or ``all rows``.
    finished : tuple[str, ...]
        Families whose held-out answers are complete.
    seconds, left : float
        Since the start, and about how long it will still take.
    """

    done: int
    of: int
    family: str
    part: str
    finished: tuple[str, ...]
    seconds: float
    left: float


@dataclass(eq=False)
class Study:
    """What a training gave; still useful when it was stopped.

    Attributes
    ----------
    problem : Problem
    seed : int
    folds : NDArray[np.intp], shape (R, N)
        Fold of each row in each repeat.
    members : dict[str, Member]
        Of each complete family, fitted on all rows.
    held : dict[str, Matrix]
        Links (R, N, K) of each row by the model whose training it had no part in.
    importance : dict[str, Matrix]
        Mean absolute SHAP values (R * folds, D) of held-out rows; of families explained exactly.
    seconds : dict[str, float]
    unlikeness : Unlikeness or None
    background : Matrix, shape (B, D)
        Rows that explanations are held against.
    stopped : bool
    """

    problem: Problem
    seed: int
    folds: NDArray[np.intp]
    background: Matrix
    members: dict[str, Member] = field(default_factory=dict)
    held: dict[str, Matrix] = field(default_factory=dict)
    importance: dict[str, Matrix] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    unlikeness: Unlikeness | None = None
    stopped: bool = False

    @property
    def families(self) -> list[str]:
        """Complete ones, in the usual order."""
        return [name for name in ORDER if name in self.members]


def data_of(problem: Problem) -> Data:
    """The rows of a problem as learners take them."""
    classes = len(problem.labels) if problem.plan.task in (BINARY, CLASSES) else 0
    y = problem.y if problem.event is None else signed(problem.y, problem.event)
    return Data(problem.x, y, problem.groups, problem.plan.task, classes, problem.encoder)


def default_folds(problem: Problem) -> int:
    """Ten folds of few rows, five of more, three of many; never more than the smallest class or the patients."""
    n = len(problem.y)
    count = 10 if n < 400 else 5 if n < 20_000 else 3
    if problem.event is not None:
        count = min(count, 5)
    return max(2, min(count, most_folds(problem)))


def most_folds(problem: Problem) -> int:
    """As many as there are patients, and as patients of the smallest class, or with the event."""
    patients = np.arange(len(problem.y)) if problem.groups is None else problem.groups
    parts = [patients]
    if problem.labels:
        parts += [patients[problem.y == k] for k in range(len(problem.labels))]
    if problem.event is not None:
        parts.append(patients[problem.event])
    return min(len(np.unique(part)) for part in parts)


def estimate(problem: Problem, families: Sequence[str], folds: int | None = None) -> float:
    """About how many seconds :func:`compare` will take on two cores; right to a factor of two or three."""
    cells = max(problem.x.size, _CELLS // 4)
    outputs = len(problem.labels) if problem.plan.task == CLASSES else 1
    more = 1 + 0.4 * (outputs - 1)
    fits = (folds or default_folds(problem)) + 1
    known = [_SECONDS[name] for name in families_for(problem.plan.task) if name in families]
    return 5 + fits * more * sum(seconds * (cells / _CELLS) ** power for seconds, power in known)


def compare(
    problem: Problem,
    families: Sequence[str] = ORDER,
    *,
    folds: int | None = None,
    repeats: int = 1,
    seed: int = 0,
    progress: Callable[[Progress], None] | None = None,
    stop: Stop = never,
) -> Study:
    """Fit families one after another: in every fold, then on all rows.

    Parameters
    ----------
    families : sequence of str
        Of ``logistic svm forest boosting network blend``; ``blend`` averages those explained exactly. Those that
        cannot do the task are passed over.
    folds : int, optional
        See :func:`default_folds`.
    repeats : int
        Of the cross-validation, each with other folds.
    progress : callable, optional
        Told every step.
    stop : callable
        Asked between fits and epochs; what is complete by then is kept.

    Returns
    -------
    Study

    Raises
    ------
    InputError
        If a family is unknown, the blend has fewer than two models to average, or there are not as many patients of
        each class as folds.
    """
    most = most_folds(problem)
    if folds is not None and not 2 <= folds <= most:
        raise InputError("`folds` must be between 2 and {most}, got {folds}", most=most, folds=folds)
    wanted = _checked(families, problem.plan.task)
    data, count = data_of(problem), folds or default_folds(problem)
    fold = np.array([folds_of(data.y, data.groups, count, seed + r, data.task) for r in range(repeats)])
    study = Study(problem, seed, fold, _background(problem, seed))
    work = _Work(study, data, count, wanted, progress, stop)
    try:
        for family in wanted:
            work.family(family)
        work.unlikeness()
    except Stopped:
        study.stopped = True
    return study


def _checked(families: Sequence[str], task: str) -> list[str]:
    unknown = [name for name in families if name not in ORDER]
    if unknown or not families:
        raise InputError("`families` must be some of {known}, got {got}", known=", ".join(ORDER),
                         got=", ".join(unknown) or "none")  # fmt: skip
    wanted = [name for name in families_for(task) if name in families]
    if not wanted:
        raise InputError("For this task `families` must be some of {known}", known=", ".join(families_for(task)))
    if BLEND in wanted and len([name for name in wanted if name not in (BLEND, NETWORK)]) < 2:
        if len(wanted) <= 2 and NETWORK not in wanted:
            raise InputError("An average needs at least two other models, the network not counted.")
        wanted.remove(BLEND)
    return wanted


def _background(problem: Problem, seed: int) -> Matrix:
    n = len(problem.x)
    rows = np.random.default_rng(seed).choice(n, min(n, BACKGROUND_ROWS), replace=False)
    return problem.x[np.sort(rows)]


class _Work:
    """The steps of one comparison; keeps what the average needs of each fold."""

    def __init__(
        self, study: Study, data: Data, count: int, wanted: list[str], tell: Callable[[Progress], None] | None,
        stop: Stop,
    ) -> None:  # fmt: skip
        self.study, self.data, self.count, self.tell, self.stop = study, data, count, tell, stop
        self.splits = [(r, k) for r in range(len(study.folds)) for k in range(count)]
        self.of, self.done, self.start = len(wanted) * (len(self.splits) + 1) + 1, 0, time.perf_counter()
        self.inside: dict[tuple[int, int], dict[str, tuple[Member, list[Tried]]]] = {}

    def family(self, name: str) -> None:
        """All folds, then all rows; the family counts once all is there."""
        start = time.perf_counter()
        held = np.full((*self.study.folds.shape, self.data.outputs), np.nan)
        importance = []
        for split in self.splits:
            r, k = split
            out = self.study.folds[r] == k
            rows = np.flatnonzero(~out)
            member = self._fit(name, split, rows)
            held[r, out] = member.link(self.data.x[out])
            importance.append(self._importance(member, rows, np.flatnonzero(out)))
            self._step(name, f"fold {r * self.count + k + 1} of {len(self.splits)}")
        member = self._fit(name, (-1, -1), np.arange(len(self.data.y)))
        self.study.members[name], self.study.held[name] = member, held
        if importance[0] is not None:
            self.study.importance[name] = np.array(importance)
        self.study.seconds[name] = time.perf_counter() - start
        self._step(name, "all rows")

    def _fit(self, name: str, split: tuple[int, int], rows: NDArray[np.intp]) -> Member:
        check(self.stop)
        part, seed = self.data.part(rows), self.study.seed
        kept = self.inside.setdefault(split, {})
        if name == BLEND:
            exact = [pair for family, pair in kept.items() if family != NETWORK]
            tried = [one for _, several in exact for one in several]
            return fit_blend(tried, [member for member, _ in exact], part, seed, self.stop)
        kept[name] = fit_member(name, part, inner_folds(part, seed), seed, self.stop)
        return kept[name][0]

    def _importance(self, member: Member, rows: NDArray[np.intp], out: NDArray[np.intp]) -> Matrix | None:
        """Mean absolute SHAP values of some held-out rows against some training rows."""
        if member.family == NETWORK:
            return None
        rng = np.random.default_rng(self.study.seed)
        background = self.data.x[rng.choice(rows, min(len(rows), 30), replace=False)]
        some = self.data.x[rng.choice(out, min(len(out), EXPLAINED_ROWS), replace=False)]
        explainer = Explainer(member, background, self.data.encoder, self.data.task)
        outputs = range(self.data.outputs) if self.data.task == CLASSES else (1,)
        return np.mean([np.abs(explainer.explain(some, k).values).mean(axis=0) for k in outputs], axis=0)

    def unlikeness(self) -> None:
        """The autoencoder, on all rows."""
        from medai_core.tabular.network_fit import fit_unlikeness

        check(self.stop)
        self.study.unlikeness = fit_unlikeness(self.data, self.study.seed, self.stop)
        self._step(UNLIKENESS, "all rows")

    def _step(self, family: str, part: str) -> None:
        self.done += 1
        if self.tell is None:
            return
        seconds = time.perf_counter() - self.start
        left = seconds / self.done * (self.of - self.done)
        self.tell(Progress(self.done, self.of, family, part, tuple(self.study.families), seconds, left))


def rows_of(study: Study) -> dict[str, Any]:
    """Counts for cards."""
    problem = study.problem
    found: dict[str, Any] = {"n_rows": len(problem.y), "n_features": problem.x.shape[1]}
    if problem.groups is not None:
        found["n_patients"] = len(np.unique(problem.groups))
    if problem.labels:
        counts = np.bincount(problem.y, minlength=len(problem.labels)).tolist()
        found["n_by_label"] = dict(zip(problem.labels, counts, strict=True))
    return found
