"""Fitting on one set of rows: settings chosen and scores calibrated on rows held out inside it, never outside.

Whatever is tried on a training fold stays in it, so cross-validation around :func:`fit_all` is nested.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medai_core.calibration import VectorScaling
from medai_core.tabular.models import BLEND, FAMILIES, NETWORK, Config, Data, Learner
from medai_core.tabular.problem import BINARY, VALUE

Matrix = NDArray[np.float64]
HELD_OUT_ROWS = 10_000
TRIED_ROWS = 10_000
BLEND_STEPS = 12


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
        Of the chosen settings on rows held out inside the training rows: log loss, or mean squared error.
    """

    family: str
    config: Config
    learner: Learner
    scale: Matrix
    bias: Matrix
    loss: float

    def link(self, x: Matrix) -> Matrix:
        """Calibrated log-odds (N, 1) of two classes, logits (N, K) of more, or values (N, 1)."""
        return self.learner.scores(x) * self.scale + self.bias


@dataclass(frozen=True, eq=False)
class Blend:
    """A weighted mean of what other members' links give."""

    members: tuple[Member, ...]
    weights: Matrix  # (members,)

    def scores(self, x: Matrix) -> Matrix:
        parts = (weight * member.link(x) for weight, member in zip(self.weights, self.members, strict=True))
        return np.sum(list(parts), axis=0)


def probabilities(link: Matrix, task: str) -> Matrix:
    """From links (N, K) to probabilities: of the positive class (N,), or of each class (N, K); values as they are."""
    if task == BINARY:
        return 1 / (1 + np.exp(-np.clip(link[:, 0], -60, 60)))
    if task == VALUE:
        return link[:, 0]
    shifted = np.exp(link - link.max(axis=1, keepdims=True))
    return shifted / shifted.sum(axis=1, keepdims=True)


def loss_of(link: Matrix, y: NDArray[Any], task: str) -> float:
    """Log loss, or mean squared error, of links (N, K)."""
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
    from sklearn.model_selection import StratifiedKFold

    strata = _strata(y, task)
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


def fit_all(
    families: Iterable[str], data: Data, seed: int, stop: Stop = never, done: Callable[[str], None] | None = None
) -> dict[str, Member]:
    """Fit several families on the same rows with the same inner folds.

    Parameters
    ----------
    families : iterable of str
        Ids; ``blend`` averages those of the others that are explained exactly.
    stop : callable
        Asked between fits.
    done : callable, optional
        Told each family as it is fitted.

    Raises
    ------
    Stopped
    """
    inner, members, held = inner_folds(data, seed), {}, {}
    wanted = list(families)
    for family in wanted:
        check(stop)
        if family == BLEND:
            continue
        members[family], held[family] = fit_member(family, data, inner, seed, stop)
        if done:
            done(family)
    if BLEND in wanted:
        exact = {name: links for name, links in held.items() if name != NETWORK}
        if len(exact) > 1:
            members[BLEND] = fit_blend({name: members[name] for name in exact}, exact, data)
            if done:
                done(BLEND)
    return members


def fit_member(
    family: str, data: Data, inner: NDArray[np.intp], seed: int, stop: Stop = never
) -> tuple[Member, Matrix]:
    """Tune, calibrate and fit one family.

    Returns
    -------
    member : Member
    held : Matrix, shape (N, K)
        Links of rows held out inside; NaN where no row was.
    """
    if family == NETWORK:
        from medai_core.tabular.network_fit import fit_network

        learner, scores, config = fit_network(data, inner, seed, stop)
        return _calibrated(family, config, learner, scores, data)
    kind = FAMILIES[family]
    tried = []
    for config in kind.candidates(data):
        scores = np.full((len(data.y), data.outputs), np.nan)
        for fold in np.unique(inner[inner >= 0]):
            check(stop)
            rows = data.part(np.flatnonzero(inner != fold)).drawn(min(kind.most_rows, _most_tried(data)), seed)
            scores[inner == fold] = kind.fit(config, rows, seed).scores(data.x[inner == fold])
        tried.append((loss_of(*_held_link(scores, data), data.task), config, scores))
    check(stop)
    _, config, scores = min(tried, key=lambda one: one[0])
    learner = kind.fit(config, data.drawn(kind.most_rows, seed), seed)
    return _calibrated(family, config, learner, scores, data)


def _most_tried(data: Data) -> int:
    return TRIED_ROWS if len(data.y) > 2 * TRIED_ROWS else len(data.y)


def _held_link(scores: Matrix, data: Data) -> tuple[Matrix, NDArray[Any]]:
    held = ~np.isnan(scores[:, 0])
    scale, bias = link_of(scores[held], data.y[held], data.task)
    return scores[held] * scale + bias, data.y[held]


def _calibrated(family: str, config: Config, learner: Learner, scores: Matrix, data: Data) -> tuple[Member, Matrix]:
    held = ~np.isnan(scores[:, 0])
    scale, bias = link_of(scores[held], data.y[held], data.task)
    links = scores * scale + bias
    return Member(family, config, learner, scale, bias, loss_of(links[held], data.y[held], data.task)), links


def link_of(scores: Matrix, y: NDArray[Any], task: str) -> tuple[Matrix, Matrix]:
    """Scale and bias (K,) that calibrate raw scores: Platt's for two classes, vector scaling for more, none for
    numbers."""
    if task == VALUE:
        return np.ones(1), np.zeros(1)
    if task == BINARY:
        found = VectorScaling.fit(np.c_[np.zeros(len(y)), scores[:, 0]], y)
        return found.scale[1:], found.bias[1:] - found.bias[:1]
    found = VectorScaling.fit(scores, y)
    return found.scale, found.bias


def fit_blend(members: Mapping[str, Member], held: Mapping[str, Matrix], data: Data) -> Member:
    """Average members with weights chosen on their held-out links.

    Greedy selection with replacement (Caruana et al., ICML 2004), started from the plain mean of all.
    """
    known = ~np.isnan(next(iter(held.values()))[:, 0])
    links, y, names = {name: link[known] for name, link in held.items()}, data.y[known], list(held)
    count = dict.fromkeys(names, 1)
    total = np.sum([links[name] for name in names], axis=0)
    best = loss_of(total / len(names), y, data.task)
    for _ in range(BLEND_STEPS):
        size = sum(count.values()) + 1
        losses = {name: loss_of((total + links[name]) / size, y, data.task) for name in names}
        name = min(losses, key=losses.__getitem__)
        if losses[name] >= best:
            break
        best, total = losses[name], total + links[name]
        count[name] += 1
    weights = np.array([count[name] for name in names], float) / sum(count.values())
    scale, bias = link_of(total / sum(count.values()), y, data.task)
    learner = Blend(tuple(members[name] for name in names), weights)
    config = dict(zip(names, weights.tolist(), strict=True))
    return Member(BLEND, config, learner, scale, bias, best)
