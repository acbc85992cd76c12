"""Why the risk at one hour is what it is: SHAP values of the whole calibrated blend over variable and time.

What is explained is the calibrated log-odds of the blend, trees and network together, at one hour of a stay with a
part of its measurements present and the rest as if not measured. The players are the measurements of one variable in
one block of hours, and each known descriptor. Contributions show what moved this model's answer: association, not
cause; that a thing was measured at all counts with its value.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from medai_core.errors import Message, say
from medai_core.faithfulness import Faithfulness, against_random
from medai_core.icu.grid import DESCRIPTORS, HOURS, Grid, hour_of, stack
from medai_core.icu.stay import Stay
from medai_core.icu.variables import NAMES

if TYPE_CHECKING:
    from medai_core.icu.forecaster import Forecaster

EVALUATIONS = 900
"""Subsets that one explanation may ask the model for; all of its time goes there."""
LEAST_PAIRS = 4
MOST_PAIRS = 20
"""Random orders, each walked forwards and backwards: fewer tell little about their spread, more cost calls."""
STEPS = 15
"""Bundles of measurements that are deleted one after the other to check an explanation."""
BLOCK_HOURS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 48)

Game = Callable[[NDArray[np.bool_]], NDArray[np.float64]]
"""From players present (E, P) to what is explained, (E,)."""
_shap_lock = threading.Lock()


@dataclass(frozen=True, eq=False)
class RiskExplanation:
    """What each measured thing adds to the risk at one hour, in calibrated log-odds.

    Attributes
    ----------
    stay : str
        As in its file.
    at : int
        The hour explained, 1 to 48.
    variables : tuple[str, ...]
        Those measured up to then, in the order of :data:`~medai_core.icu.variables.NAMES`.
    blocks : tuple[tuple[int, int], ...]
        First and last hour of each column; the last one ends at `at`.
    contributions : NDArray[np.float64], shape (len(variables), len(blocks))
        SHAP values in log-odds; 0 where nothing was measured.
    measured : NDArray[np.intp], shape (len(variables), len(blocks))
        Number of measurements.
    fixed : dict[str, float]
        SHAP value of each known descriptor: Age, Gender, Height.
    latest : dict[str, tuple[float, int]]
        Last measured value of each variable and its hour; of a descriptor its value and hour 0.
    base_value : float
        Log-odds at `at` of a stay with nothing measured.
    value : float
        Log-odds at `at` of this stay.
    additivity_gap : float
        ``|base_value + sum of all contributions - value|``.
    sampling_error : float
        Largest standard error of a contribution, from the spread over the orders sampled.
    evaluations : int
        Subsets of the measurements that the model was asked for.
    seconds : float
    """

    stay: str
    at: int
    variables: tuple[str, ...]
    blocks: tuple[tuple[int, int], ...]
    contributions: NDArray[np.float64]
    measured: NDArray[np.intp]
    fixed: dict[str, float]
    latest: dict[str, tuple[float, int]]
    base_value: float
    value: float
    additivity_gap: float
    sampling_error: float
    evaluations: int
    seconds: float

    def top(self, n: int = 5) -> list[tuple[str, float, Message]]:
        """The variables and descriptors that move the risk most: name, total contribution, and a sentence."""
        totals = dict(zip(self.variables, self.contributions.sum(axis=1).tolist(), strict=True)) | self.fixed
        order = sorted((name for name in totals if totals[name]), key=lambda name: -abs(totals[name]))
        return [(name, totals[name], _in_words(name, totals[name] > 0, *self.latest[name])) for name in order[:n]]


def _in_words(name: str, raises: bool, value: float, hour: int) -> Message:
    told = {"variable": name, "value": value, "hour": hour}
    if name == "Gender":
        if value > 0.5:
            return say("Being a man raises the risk") if raises else say("Being a man lowers the risk")
        return say("Being a woman raises the risk") if raises else say("Being a woman lowers the risk")
    if name in DESCRIPTORS:
        if raises:
            return say("{variable} of {value:g} raises the risk", **told)
        return say("{variable} of {value:g} lowers the risk", **told)
    if raises:
        return say("{variable} of {value:g} (last, hour {hour}) raises the risk", **told)
    return say("{variable} of {value:g} (last, hour {hour}) lowers the risk", **told)


def explain_risk(forecaster: Forecaster, stay: Stay, at_hour: int, seed: int = 0) -> RiskExplanation:
    """Explain the risk of one stay at one hour.

    Parameters
    ----------
    at_hour : int
        1 to 48; nothing recorded after it is used.
    seed : int
        Of the random orders: the same seed gives the same values.

    Raises
    ------
    InputError
        If `at_hour` is not one of the hours.

    Notes
    -----
    The blocks are as short as :data:`EVALUATIONS` allows for :data:`LEAST_PAIRS` pairs of orders (1, 2, 3, 4, 6, 8,
    12, 16, 24 or 48 hours); they end at `at_hour`, so the first may be shorter. What evaluations remain go into more
    orders, up to :data:`MOST_PAIRS`. A pair, one order walked both ways (``shap.PermutationExplainer``), is exact for
    effects of single players and of two together, and always adds up. The first call in a process imports and compiles
    parts of that library, which takes seconds.
    """
    start, known = time.perf_counter(), stay.until(at_hour)
    counts = _counts(known, at_hour)  # (at, V)
    blocks = _blocks(counts, np.isfinite(known.grid().fixed).sum())
    game, cells, fixed = _game(forecaster, known, blocks)
    values, errors, base, asked = shapley(game, len(cells) + len(fixed), seed)
    seen = np.flatnonzero(counts.any(axis=0))
    row = {variable: k for k, variable in enumerate(seen)}
    contributions = np.zeros((len(seen), len(blocks)))
    for (variable, block), value in zip(cells, values, strict=False):
        contributions[row[variable], block] = value
    value = float(forecaster.log_odds(stack([known.grid()]), at_hour)[0])
    return RiskExplanation(
        stay=known.id,
        at=at_hour,
        variables=tuple(NAMES[k] for k in seen),
        blocks=blocks,
        contributions=contributions,
        measured=np.stack([counts[first - 1 : last, seen].sum(axis=0) for first, last in blocks], axis=1),
        fixed=dict(zip(fixed, values[len(cells) :].tolist(), strict=True)),
        latest=_latest(known, fixed),
        base_value=base,
        value=value,
        additivity_gap=abs(base + float(values.sum()) - value),
        sampling_error=float(errors.max(initial=0.0)),
        evaluations=asked,
        seconds=time.perf_counter() - start,
    )


def faithfulness(forecaster: Forecaster, stay: Stay, told: RiskExplanation, seed: int = 0) -> Faithfulness:
    """Hold an explanation against the blend: measurements deleted and put in by their contributions, and at random.

    A deleted measurement counts as not measured. The players are those of the explanation, in :data:`STEPS` bundles
    at most.

    Parameters
    ----------
    stay : Stay
        The one explained.
    told : RiskExplanation
        By :func:`explain_risk`.
    """
    game, cells, fixed = _game(forecaster, stay.until(told.at), told.blocks)
    rows = {name: k for k, name in enumerate(told.variables)}
    values = [told.contributions[rows[NAMES[variable]], block] for variable, block in cells]
    values += [told.fixed[name] for name in fixed]
    return against_random(game, np.array(values, float), told.value >= told.base_value, steps=STEPS, seed=seed)


def shapley(game: Game, players: int, seed: int = 0) -> tuple[NDArray[np.float64], NDArray[np.float64], float, int]:
    """SHAP values of a game by ``shap.PermutationExplainer``.

    The library is given the same question several times over, a pair of orders each, so that the spread between the
    pairs, which are independent, tells the sampling error.

    Returns
    -------
    values, errors : NDArray[np.float64], shape (players,)
        Means over the pairs, and their standard errors.
    base : float
        The game with nobody present.
    asked : int
        Evaluations.
    """
    if not players:
        return np.zeros(0), np.zeros(0), float(game(np.zeros((1, 0), bool))[0]), 1
    import shap

    each = 2 * players + 1
    pairs = min(max(LEAST_PAIRS, EVALUATIONS // each), MOST_PAIRS)
    questions = np.ones((pairs, players), bool)
    with _shap_lock:  # the library draws from NumPy's global generator, which it reseeds
        state = np.random.get_state()
        try:
            explainer = shap.PermutationExplainer(game, lambda mask, row: (row & mask)[None], seed=seed)
            found = explainer(questions, max_evals=each, batch_size=each, silent=True)
        finally:
            np.random.set_state(state)
    errors = found.values.std(axis=0, ddof=1) / np.sqrt(pairs)
    return found.values.mean(axis=0), errors, float(np.ravel(found.base_values)[0]), pairs * each


def _counts(stay: Stay, at: int) -> NDArray[np.intp]:
    """Number of measurements in each hour of each variable, (at, V)."""
    counts = np.zeros((at, len(NAMES)), np.intp)
    np.add.at(counts, (hour_of(stay.minutes), stay.series), 1)
    return counts


def _blocks(counts: NDArray[np.intp], descriptors: int) -> tuple[tuple[int, int], ...]:
    """First and last hour of each block, as short as the evaluations allow, the last one ending with the counts."""
    most = (EVALUATIONS // LEAST_PAIRS - 1) // 2 - descriptors
    for hours in BLOCK_HOURS:
        ends = range(len(counts), 0, -hours)
        blocks = tuple((max(end - hours, 0) + 1, end) for end in reversed(ends))
        if sum(counts[first - 1 : last].any(axis=0).sum() for first, last in blocks) <= most:
            break
    return blocks


def _game(
    forecaster: Forecaster, stay: Stay, blocks: tuple[tuple[int, int], ...]
) -> tuple[Game, list[tuple[int, int]], list[str]]:
    """The function explained, its players that are cells (variable, block), and after them its descriptors."""
    grid, cells = stay.grid(), []
    player = np.zeros((HOURS, len(NAMES)), np.intp)
    for block, (first, last) in enumerate(blocks):
        hours = slice(first - 1, last)
        for variable in np.flatnonzero(grid.measured[hours].any(axis=0)):
            player[hours, variable] = len(cells)
            cells.append((int(variable), block))
    known = np.flatnonzero(np.isfinite(grid.fixed))
    of_fixed = np.zeros(len(DESCRIPTORS), np.intp)
    of_fixed[known] = len(cells) + np.arange(len(known))
    at = blocks[-1][1]

    def game(present: NDArray[np.bool_]) -> NDArray[np.float64]:
        # Where nothing was measured player 0 decides about a NaN, which stays one.
        if not present.shape[1]:
            return forecaster.log_odds(stack([grid] * len(present)), at)
        shown = present[:, player]  # (E, 48, V)
        tables = (np.where(shown, table, np.float32(np.nan)) for table in (grid.mean, grid.low, grid.high))
        fixed = np.where(present[:, of_fixed], grid.fixed, np.float32(np.nan))
        return forecaster.log_odds(Grid(*tables, fixed), at)

    return game, cells, [DESCRIPTORS[k] for k in known]


def _latest(stay: Stay, fixed: list[str]) -> dict[str, tuple[float, int]]:
    hours = hour_of(stay.minutes) + 1
    last = {NAMES[k]: (float(v), int(h)) for k, v, h in zip(stay.series, stay.values, hours, strict=True)}
    return last | {name: (stay.fixed[name], 0) for name in fixed}
