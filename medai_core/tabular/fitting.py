"""Fitting on one set of rows: settings chosen and scores calibrated on rows held out inside it, never outside.

Whatever is tried on a training fold stays in it, so cross-validation around these functions is nested.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medai_core.calibration import VectorScaling
from medai_core.tabular.models import BLEND, FAMILIES, NETWORK, Config, Data, Learner
from medai_core.tabular.problem import BINARY, SURVIVAL, VALUE
from medai_core.tabular.time_to_event import partial_loss, slope_of

Matrix = NDArray[np.float64]
HELD_OUT_ROWS = 10_000
TRIED_ROWS = 10_000
BLEND_START, BLEND_STEPS = 10, 20
MOST_STRATIFIED_GROUPS = 3_000


class Stopped(Exception):
    """The user stopped the training."""


Stop = Callable[[], bool]


def never() -> bool:
    return False


def check(stop: Stop) -> None:
    """Raise :class:`Stopped` if asked to."""
    if stop():
        raise Stopped


@dataclass(frozen=True, eq=False)
class Member:
    """A tuned, calibrated model of one family.

    Attributes
    ----------
    family : str
    config : dict
        The settings chosen.
    learner : Learner
    scale, bias : NDArray, shape (K,)
        Turn raw scores into what :meth:`link` gives.
    loss : float
        Of the chosen settings on rows held out inside the training rows, see :func:`loss_of`.
    """

    family: str
    config: Config
    learner: Learner
    scale: Matrix
    bias: Matrix
    loss: float

    def link(self, x: Matrix) -> Matrix:
        """Calibrated log-odds (N, 1) of two classes, logits (N, K) of more, values or log hazards (N, 1)."""
        return self.learner.scores(x) * self.scale + self.bias


@dataclass(frozen=True, eq=False)
class Tried:
    """One setting of one family, and what it answered to rows held out inside the training rows.

    Attributes
    ----------
    links : Matrix, shape (N, K)
        Calibrated; NaN where a row was not held out.
    """

    family: str
    config: Config
    scale: Matrix
    bias: Matrix
    loss: float
    links: Matrix


@dataclass(frozen=True, eq=False)
class Blend:
    """A weighted mean of what other members' links give."""

    members: tuple[Member, ...]
    weights: Matrix  # (members,)

    def scores(self, x: Matrix) -> Matrix:
        parts = (weight * member.link(x) for weight, member in zip(self.weights, self.members, strict=True))
        return np.sum(list(parts), axis=0)


def probabilities(link: Matrix, task: str) -> Matrix:
    """From links (N, K) to probabilities: of the positive class (N,), or of each class (N, K); others as they are."""
    if task == BINARY:
        return 1 / (1 + np.exp(-np.clip(link[:, 0], -60, 60)))
    if task in (VALUE, SURVIVAL):
        return link[:, 0]
    shifted = np.exp(link - link.max(axis=1, keepdims=True))
    return shifted / shifted.sum(axis=1, keepdims=True)


def loss_of(link: Matrix, y: NDArray[Any], task: str) -> float:
    """Log loss, mean squared error, or negative log partial likelihood, of links (N, K)."""
    if task == SURVIVAL:
        return partial_loss(link[:, 0], y)
    if task == VALUE:
        return float(np.mean((link[:, 0] - y) ** 2))
    if task == BINARY:
        return float(np.mean(np.logaddexp(0, np.where(y == 1, -1, 1) * link[:, 0])))
    top = link.max(axis=1, keepdims=True)
    log_sum = top[:, 0] + np.log(np.exp(link - top).sum(axis=1))
    return float(np.mean(log_sum - link[np.arange(len(y)), y]))


# -------------------------------------------------------------------------------------------------- folds


def folds_of(y: NDArray[Any], groups: NDArray[np.intp] | None, count: int, seed: int, task: str) -> NDArray[np.intp]:
    """Fold (N,) of each row: outcomes in proportion, rows of a group together."""
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    strata = _strata(y, task)
    if groups is not None and len(np.unique(groups)) <= MOST_STRATIFIED_GROUPS:
        found = np.zeros(len(y), np.intp)
        splits = StratifiedGroupKFold(count, shuffle=True, random_state=seed).split(strata, strata, groups)
        for k, (_, held) in enumerate(splits):
            found[held] = k
        return found
    if groups is None:
        members, of_group = np.arange(len(y)), strata
    else:
        _, members = np.unique(groups, return_inverse=True)
        of_group = np.zeros(members.max() + 1, strata.dtype)
        np.maximum.at(of_group, members, strata)  # a patient counts by the last of the classes it has
    fold = np.zeros(len(of_group), np.intp)
    rare = np.bincount(of_group)[of_group] < count
    of_group = np.where(rare, of_group[~rare].min() if (~rare).any() else 0, of_group)
    splits = StratifiedKFold(count, shuffle=True, random_state=seed).split(of_group, of_group)
    for k, (_, held) in enumerate(splits):
        fold[held] = k
    return fold[members]


def _strata(y: NDArray[Any], task: str) -> NDArray[np.intp]:
    if task == SURVIVAL:
        return (y > 0).astype(np.intp)
    if task != VALUE:
        return y.astype(np.intp)
    edges = np.unique(np.quantile(y, np.linspace(0, 1, 11)[1:-1]))
    return np.searchsorted(edges, y, side="right").astype(np.intp)


def inner_folds(data: Data, seed: int) -> NDArray[np.intp]:
    """Folds inside training rows: five, three for thousands of rows, one held-out part (others -1) for many."""
    n = len(data.y)
    if n < 2_000:
        return folds_of(data.y, data.groups, 5, seed, data.task)
    if n < 10_000:
        return folds_of(data.y, data.groups, 3, seed, data.task)
    fold = folds_of(data.y, data.groups, max(5, n // HELD_OUT_ROWS), seed, data.task)
    return np.where(fold == 0, 0, -1)


# ------------------------------------------------------------------------------------------------ fitting


def fit_member(
    family: str, data: Data, inner: NDArray[np.intp], seed: int, stop: Stop = never
) -> tuple[Member, list[Tried]]:
    """Tune, calibrate and fit one family.

    Returns
    -------
    member : Member
        With the setting whose held-out loss is lowest.
    tried : list of Tried
        Every setting.

    Raises
    ------
    Stopped
    """
    if family == NETWORK:
        from medai_core.tabular.network_fit import fit_network

        learner, scores, config = fit_network(data, inner, seed, stop)
        tried = [_tried(family, config, scores, data)]
        return _member(tried[0], learner), tried
    kind, tried = FAMILIES[family], []
    for config in kind.candidates(data):
        scores = np.full((len(data.y), data.outputs), np.nan)
        for fold in np.unique(inner[inner >= 0]):
            check(stop)
            rows = data.part(np.flatnonzero(inner != fold)).drawn(min(kind.most_rows, _most_tried(data)), seed)
            scores[inner == fold] = kind.fit(config, rows, seed).scores(data.x[inner == fold])
        tried.append(_tried(family, config, scores, data))
    check(stop)
    return fit_tried(min(tried, key=lambda one: one.loss), data, seed), tried


def fit_tried(tried: Tried, data: Data, seed: int) -> Member:
    """Fit a setting on all the training rows; where one part was held out once, on the others.

    That part then calibrates the very model that answers: one fitted on fewer rows, or on others that were drawn, is
    differently sure.
    """
    kind, held = FAMILIES[tried.family], ~np.isnan(tried.links[:, 0])
    if held.all():
        return _member(tried, kind.fit(tried.config, data.drawn(kind.most_rows, seed), seed))
    learner = kind.fit(tried.config, data.part(np.flatnonzero(~held)).drawn(kind.most_rows, seed), seed)
    scale, bias = link_of(learner.scores(data.x[held]), data.y[held], data.task)
    return Member(tried.family, tried.config, learner, scale, bias, tried.loss)


def _most_tried(data: Data) -> int:
    return TRIED_ROWS if len(data.y) > 2 * TRIED_ROWS else len(data.y)


def _tried(family: str, config: Config, scores: Matrix, data: Data) -> Tried:
    held = ~np.isnan(scores[:, 0])
    scale, bias = link_of(scores[held], data.y[held], data.task)
    links = scores * scale + bias
    return Tried(family, config, scale, bias, loss_of(links[held], data.y[held], data.task), links)


def _member(tried: Tried, learner: Learner) -> Member:
    return Member(tried.family, tried.config, learner, tried.scale, tried.bias, tried.loss)


def link_of(scores: Matrix, y: NDArray[Any], task: str) -> tuple[Matrix, Matrix]:
    """Scale and bias (K,) that calibrate raw scores: Platt's for two classes, vector scaling for more, none for
    numbers, the slope of a Cox regression for times."""
    if task == SURVIVAL:
        return np.array([slope_of(scores[:, 0], y)]), np.zeros(1)
    if task == VALUE:
        return np.ones(1), np.zeros(1)
    if task == BINARY:
        found = VectorScaling.fit(np.c_[np.zeros(len(y)), scores[:, 0]], y)
        return found.scale[1:], found.bias[1:] - found.bias[:1]
    found = VectorScaling.fit(scores, y)
    return found.scale, found.bias


def fit_blend(tried: Sequence[Tried], fitted: Sequence[Member], data: Data, seed: int, stop: Stop = never) -> Member:
    """Average settings with weights chosen on their held-out links.

    Ensemble selection from the library of everything that was tried (Caruana et al., ICML 2004): as many of the best
    to start with as do best together, then greedily with replacement while the held-out loss falls.

    Parameters
    ----------
    fitted : sequence of Member
        Those that are there already are not fitted again.
    """
    known = ~np.isnan(tried[0].links[:, 0])
    links, y = [one.links[known] for one in tried], data.y[known]
    order = np.argsort([one.loss for one in tried], kind="stable")[:BLEND_START]
    sums = np.cumsum([links[k] for k in order], axis=0)
    losses = [loss_of(total / (k + 1), y, data.task) for k, total in enumerate(sums)]
    first = int(np.argmin(losses))
    best, total, count = losses[first], sums[first], np.zeros(len(tried))
    count[order[: first + 1]] = 1
    for _ in range(BLEND_STEPS):
        losses = [loss_of((total + link) / (count.sum() + 1), y, data.task) for link in links]
        k = int(np.argmin(losses))
        if losses[k] >= best:
            break
        best, total = losses[k], total + links[k]
        count[k] += 1
    chosen, members = np.flatnonzero(count), []
    for k in chosen:
        check(stop)
        there = (one for one in fitted if (one.family, one.config) == (tried[k].family, tried[k].config))
        members.append(next(there, None) or fit_tried(tried[k], data, seed))
    weights = count[chosen] / count.sum()
    learner = Blend(tuple(members), weights)
    # Of rows held out once no member has learned; else what the settings answered stands for the members.
    scale, bias = link_of(total / count.sum() if known.all() else learner.scores(data.x[known]), y, data.task)
    config = {"of": [{"family": one.family, **one.config} for one in members], "weights": weights.tolist()}
    return Member(BLEND, config, learner, scale, bias, best)
