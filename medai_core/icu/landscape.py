"""A map of patients: where stays lie by the networks' hidden state, which belong together, and what sets them apart."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from medai_core.errors import InputError
from medai_core.icu.grid import DESCRIPTORS, HOURS, Grid
from medai_core.icu.variables import INDEX, NAMES, SERIES

if TYPE_CHECKING:
    from medai_core.icu.forecaster import Forecaster

Method = Literal["pca", "umap"]
METHODS: tuple[Method, ...] = get_args(Method)
CHUNK = 128
PARTS = 20
"""Principal components in which stays are compared: the rest of a state is mostly noise."""
MOST_CLUSTERS = 8
NEIGHBOURS = 15
LEAST_FOR_UMAP = 10
SHOWN = 5
LEAST_KNOWN = 5
"""Known values that a cluster and the rest must each have for a variable to be compared."""
SILHOUETTE_STAYS = 1500


@dataclass(frozen=True)
class Difference:
    """How one variable differs between a cluster and all other stays, by each stay's last known value.

    Attributes
    ----------
    variable : str
    standardised : float
        Difference of the means in pooled standard deviations; above 0 where the cluster's is higher.
    mean, elsewhere : float
        In the variable's unit.
    """

    variable: str
    standardised: float
    mean: float
    elsewhere: float


@dataclass(frozen=True)
class ClusterNote:
    """What is to be said of one cluster.

    Attributes
    ----------
    cluster : int
        As in :attr:`Landscape.cluster`.
    n : int
        Stays in it.
    mean_risk : float
    distinguishing : tuple[Difference, ...]
        The variables that differ most from the other stays', at most five, largest difference first.
    """

    cluster: int
    n: int
    mean_risk: float
    distinguishing: tuple[Difference, ...]


@dataclass(frozen=True, eq=False)
class Landscape:
    """Stays on a plane.

    Attributes
    ----------
    xy : NDArray[np.float64], shape (N, 2)
        Without a unit.
    method : {"pca", "umap"}
    cluster : NDArray[np.intp], shape (N,)
        0 for the cluster of the lowest mean risk, upwards; -1 for none.
    about : tuple[ClusterNote, ...]
        One for each cluster, in the order of their numbers.
    silhouette : float
        Mean silhouette of the clusters in the space of the states, -1 to 1; NaN where there are none.
    """

    xy: NDArray[np.float64]
    method: Method
    cluster: NDArray[np.intp]
    about: tuple[ClusterNote, ...]
    silhouette: float


def states(forecaster: Forecaster, grid: Grid, hours: ArrayLike = HOURS) -> NDArray[np.float32]:
    """Hidden states of the networks' members, side by side, (N, D).

    Parameters
    ----------
    grid : Grid
        Stays (N, 48, V).
    hours : int or array of int, shape (N,)
        The hour of each stay to take the state at, 1 to 48.
    """
    at = _hours(hours, len(grid.mean))
    found = []
    for start in range(0, len(at), CHUNK):
        part = slice(start, start + CHUNK)
        each = forecaster.states(Grid(grid.mean[part], grid.low[part], grid.high[part], grid.fixed[part]))  # (n, 48, D)
        found.append(each[np.arange(len(each)), at[part] - 1])
    return np.concatenate(found)


def landscape(
    states: NDArray[np.floating],
    grid: Grid,
    hours: ArrayLike,
    risk: ArrayLike,
    method: Method = "pca",
    clusters: int | None = None,
    seed: int = 0,
) -> Landscape:
    """Lay stays out on a plane and group them.

    Parameters
    ----------
    states : NDArray, shape (N, D)
        As :func:`states` gives them.
    grid : Grid
        The same stays, to say what sets a cluster apart.
    hours : int or array of int, shape (N,)
        Last hour of each stay that counts.
    risk : array, shape (N,)
    method : {"pca", "umap"}
        Principal components (which keep distances as far as a plane can), or UMAP (McInnes et al. 2018,
        arXiv:1802.03426), which keeps neighbours together; distances between its islands mean little. The first
        call of UMAP in a process compiles it, which takes many seconds.
    clusters : int, optional
        2 to 8; by default the number with the highest silhouette.

    Returns
    -------
    Landscape
        The first axis is turned so that the risk rises to the right. Fewer than three different stays get no
        clusters.

    Raises
    ------
    InputError
        If `method`, `clusters` or the number of stays is outside its limits.
    """
    table, risk = np.asarray(states, dtype=float), np.asarray(risk, dtype=float)
    at = _hours(hours, len(table))
    if method not in METHODS:
        raise InputError("`method` must be one of {methods}, got {method}", methods=", ".join(METHODS), method=method)
    if not len(table) == len(grid.mean) == len(risk):
        raise InputError(
            "`states`, `grid` and `risk` must be of the same stays, got {states}, {grid} and {risk}",
            states=len(table), grid=len(grid.mean), risk=len(risk),
        )  # fmt: skip
    with _one_thread():
        parts = _components(table, seed)
        cluster, silhouette = _clusters(parts, clusters, seed)
    xy = parts[:, :2] if method == "pca" else _umap(parts, seed)
    if np.dot(xy[:, 0] - xy[:, 0].mean(), risk - risk.mean()) < 0:
        xy = xy * [-1.0, 1.0]
    cluster = _by_risk(cluster, risk)
    return Landscape(xy, method, cluster, tuple(_notes(cluster, _last_known(grid, at), risk)), silhouette)


def _one_thread() -> AbstractContextManager[object]:
    """Tables this small are done sooner than threads agree on who does what."""
    from threadpoolctl import threadpool_limits

    return threadpool_limits(1)


def _hours(hours: ArrayLike, count: int) -> NDArray[np.intp]:
    at = np.broadcast_to(np.asarray(hours, dtype=np.intp), (count,))
    if count == 0 or at.min() < 1 or at.max() > HOURS:
        raise InputError(
            "`hours` must hold one hour from 1 to {last} for each of at least one stay, got {hours}",
            last=HOURS,
            hours=str(np.unique(at)[[0, -1]] if count else at),
        )
    return at


def _components(table: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
    """Principal components (N, at least 2) of the states, zero where there are no more."""
    from sklearn.decomposition import PCA

    count = min(PARTS, *table.shape)
    if not np.ptp(table, axis=0).any():
        return np.zeros((len(table), 2))
    found = PCA(count, random_state=seed).fit_transform(table)
    return np.pad(found, ((0, 0), (0, max(2 - count, 0))))


def _umap(parts: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
    if len(parts) < LEAST_FOR_UMAP:
        raise InputError("UMAP needs at least {least} stays, got {got}", least=LEAST_FOR_UMAP, got=len(parts))
    from umap import UMAP

    start = parts[:, :2] / max(np.abs(parts[:, :2]).max(), 1e-9) * 10
    neighbours = min(NEIGHBOURS, len(parts) - 1)
    found = UMAP(n_neighbors=neighbours, init=start.astype(np.float32), random_state=seed, n_jobs=1)
    return np.asarray(found.fit_transform(parts.astype(np.float32)), dtype=float)


def _clusters(parts: NDArray[np.float64], wanted: int | None, seed: int) -> tuple[NDArray[np.intp], float]:
    """Cluster of each stay and the silhouette, by k-means."""
    from sklearn.cluster import KMeans
    from sklearn.metrics import silhouette_score

    most = min(MOST_CLUSTERS, len(parts) - 1, len(np.unique(parts.round(9), axis=0)))
    if wanted is not None and not 2 <= wanted <= most:
        raise InputError("`clusters` must be between 2 and {most} for these stays, got {got}", most=most, got=wanted)
    best = np.full(len(parts), -1, np.intp), float("nan")
    for k in range(2, most + 1) if wanted is None else (wanted,):
        found = KMeans(k, n_init=4, random_state=seed).fit_predict(parts)
        score = float(silhouette_score(parts, found, sample_size=min(SILHOUETTE_STAYS, len(parts)), random_state=seed))
        if not score <= best[1]:
            best = found.astype(np.intp), score
    return best


def _by_risk(cluster: NDArray[np.intp], risk: NDArray[np.float64]) -> NDArray[np.intp]:
    """The clusters numbered from the lowest mean risk upwards."""
    old = np.unique(cluster[cluster >= 0])
    order = old[np.argsort([risk[cluster == k].mean() for k in old], kind="stable")] if old.size else old
    new = np.full(len(cluster), -1, np.intp)
    for number, k in enumerate(order):
        new[cluster == k] = number
    return new


def _last_known(grid: Grid, at: NDArray[np.intp]) -> NDArray[np.float64]:
    """Last value of each variable up to each stay's hour, and the descriptors, (N, V + 3), NaN where not known."""
    last = grid.carried[np.arange(len(at)), at - 1].astype(float)
    ventilated = INDEX["MechVent"]
    last[:, ventilated] = np.nan_to_num(last[:, ventilated])  # it is recorded only where it was on
    return np.concatenate([last, grid.fixed], axis=1)


def _notes(cluster: NDArray[np.intp], values: NDArray[np.float64], risk: NDArray[np.float64]) -> Iterator[ClusterNote]:
    for k in range(cluster.max() + 1):
        mine = cluster == k
        found = [_difference(name, values[mine, v], values[~mine, v]) for v, name in enumerate((*NAMES, *DESCRIPTORS))]
        told = sorted((each for each in found if each is not None), key=lambda each: -abs(each.standardised))
        yield ClusterNote(k, int(mine.sum()), float(risk[mine].mean()), tuple(told[:SHOWN]))


def _difference(name: str, mine: NDArray[np.float64], others: NDArray[np.float64]) -> Difference | None:
    """Standardised difference of the means; of a skewed variable, of its logarithms."""
    mine, others = mine[np.isfinite(mine)], others[np.isfinite(others)]
    if min(len(mine), len(others)) < LEAST_KNOWN:
        return None
    skewed = name in SERIES and SERIES[name].log
    a, b = (np.log1p(mine), np.log1p(others)) if skewed else (mine, others)
    spread = np.sqrt((a.var(ddof=1) + b.var(ddof=1)) / 2)
    if not spread > 0:
        return None
    return Difference(name, float((a.mean() - b.mean()) / spread), float(mine.mean()), float(others.mean()))
