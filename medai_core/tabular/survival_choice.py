"""Which family of survival models to use: repeated cross-validation by concordance and integrated Brier score."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from medai_core.errors import InputError
from medai_core.tabular.survival import FAMILIES, STORED, Fitted, Rows, Sample, Vector, fit, fit_kaplan_meier
from medai_core.tabular.survival_metrics import Watched, brier, concordance, integrated

BASELINE = "kaplan_meier"
FOLDS = 5
FEWEST_OF_A_STRATUM = 2

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Score:
    """Cross-validated figures of a family, means over all folds of all repeats.

    Attributes
    ----------
    concordance, brier : float
        Of the event-free probability at the horizon; integrated over the first to the last evaluated time.
    concordance_error, brier_error : float
        Standard deviation over folds, divided by the root of their number in one repeat.
    """

    family: str
    concordance: float
    concordance_error: float
    brier: float
    brier_error: float


def folds(sample: Sample, repeats: int, seed: int, count: int = FOLDS) -> Iterator[tuple[int, Rows, Rows]]:
    """Repeat, training rows and held-out rows, with arms and events in proportion."""
    from sklearn.model_selection import StratifiedKFold

    strata = sample.arm * 2 + sample.event
    if np.bincount(strata)[np.unique(strata)].min() < count:
        strata = sample.arm
    if np.bincount(strata)[np.unique(strata)].min() < count:
        raise InputError("Every arm needs at least {least} patients, got {count}.", least=count,
                         count=int(np.bincount(sample.arm).min()))  # fmt: skip
    for repeat in range(repeats):
        splitter = StratifiedKFold(count, shuffle=True, random_state=seed + repeat)
        for train, held in splitter.split(sample.z, strata):
            yield repeat, train, held


def compare(
    sample: Sample, days: Vector, horizon: float, families: Sequence[str] = tuple(FAMILIES), repeats: int = 3,
    seed: int = 0, progress: Progress = lambda what, done, of: None,
) -> list[Score]:  # fmt: skip
    """Cross-validate families, and the Kaplan-Meier curve of each arm, on the same folds.

    Parameters
    ----------
    days : Vector, shape (T,)
        Times over which the Brier score is integrated, rising.
    horizon : float
        Days after which event-free probabilities are ranked.

    Returns
    -------
    list[Score]
        In the order of `families`, the Kaplan-Meier curves last.
    """
    parts = list(folds(sample, repeats, seed))
    scores = []
    for family in (*families, BASELINE):
        found = []
        for done, (_, train, held) in enumerate(parts):
            learned = sample.part(train)
            model = fit_kaplan_meier(learned) if family == BASELINE else fit(family, learned, seed)
            found.append(_score(model, learned, sample.part(held), days, horizon))
            progress(family, done + 1, len(parts))
        mean, spread = np.mean(found, axis=0), np.std(found, axis=0, ddof=1) / np.sqrt(FOLDS)
        scores.append(Score(family, float(mean[0]), float(spread[0]), float(mean[1]), float(spread[1])))
    return scores


def _score(model: Fitted, learned: Sample, held: Sample, days: Vector, horizon: float) -> tuple[float, float]:
    survival = model.survival(held.z, held.arm, np.r_[days, horizon])
    errors = brier(survival[:, :-1], held.time, held.event, days, Watched(learned.time, learned.event))
    return concordance(-survival[:, -1], held.time, held.event), float(integrated(errors, days).mean())


def choose(scores: Sequence[Score]) -> str:
    """The family that ships: the best concordance among those that can be stored and are more accurate than curves.

    More accurate means a lower integrated Brier score than the Kaplan-Meier curve of each arm; if none is, the one
    with the lowest counts.
    """
    baseline = next(score.brier for score in scores if score.family == BASELINE)
    able = [score for score in scores if score.family in STORED]
    better = [score for score in able if score.brier < baseline]
    if not better:
        return min(able, key=lambda score: score.brier).family
    return max(better, key=lambda score: (score.concordance, -score.brier)).family
