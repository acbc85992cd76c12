"""How good synthetic images are, as statistics of feature vectors: each beside what real images get among themselves.

Every distance grows when fewer images are compared and depends on the features, so none means anything alone. The
floor is the same figure between halves of the real images, cut by patient, with as many images on each side.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from medai_core.errors import InputError
from medai_core.metrics import Interval, bootstrap

NEIGHBOURS = 5
REPEATS = 10
MOST = 2100
"""Images on each side of a comparison, if there are as many."""
KID_SUBSETS = 5
SCALES = 4
SCALE_WEIGHTS = np.array([0.0448, 0.2856, 0.3001, 0.2363, 0.1333])
WINDOW_SIGMA, WINDOW_RADIUS = 1.5, 5
STABLE = (0.01 * 255) ** 2, (0.03 * 255) ** 2

Features = NDArray[np.floating]
Scores = dict[str, Interval]


def _checked(*features: ArrayLike, least: int = 2) -> list[NDArray[np.float64]]:
    found = [np.asarray(part, np.float64) for part in features]
    shapes = ", ".join(str(part.shape) for part in found)
    if any(part.ndim != 2 for part in found) or len({part.shape[1] for part in found}) != 1:
        raise InputError("Features must have shape (N, D) with one D, got {shapes}", shapes=shapes)
    if min(len(part) for part in found) < least:
        raise InputError("At least {least} images are needed on each side, got {shapes}", least=least, shapes=shapes)
    if not all(np.isfinite(part).all() for part in found):
        raise InputError("Features must be finite numbers")
    return found


def frechet(a: ArrayLike, b: ArrayLike) -> float:
    """Fréchet distance between normal distributions fitted to two sets of features (Heusel et al. 2017).

    Parameters
    ----------
    a, b : array_like, shapes (N, D) and (M, D)
        N and M at least 2. Fewer images give a larger distance: compare at equal numbers only.

    Returns
    -------
    float
        |mean a - mean b|² + trace(A + B - 2 (A B)^½) with the covariances A and B; at least 0.
    """
    a, b = _checked(a, b)
    cov_a, cov_b = (np.atleast_2d(np.cov(part, rowvar=False)) for part in (a, b))
    values, vectors = np.linalg.eigh(cov_a)
    root = vectors * np.sqrt(np.maximum(values, 0)) @ vectors.T
    # A^½ B A^½ has the eigenvalues of A B but is symmetric, so that rounding cannot make them complex.
    shared = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ cov_b @ root), 0)).sum()
    gap = a.mean(0) - b.mean(0)
    return float(max(gap @ gap + np.trace(cov_a) + np.trace(cov_b) - 2 * shared, 0.0))


def _mmd(a: Features, b: Features) -> float:
    """Unbiased squared maximum mean discrepancy under the cubic kernel (x·y / D + 1)³."""
    size = a.shape[1]
    of_a, of_b, across = (_cubed(x @ y.T / size + 1) for x, y in ((a, a), (b, b), (a, b)))
    n, m = len(a), len(b)
    within = (of_a.sum() - np.trace(of_a)) / (n * (n - 1)) + (of_b.sum() - np.trace(of_b)) / (m * (m - 1))
    return float(within - 2 * across.mean())


def _cubed(x: Features) -> Features:
    return x * x * x  # a power is thirty times slower


def kid(a: ArrayLike, b: ArrayLike, subsets: int = KID_SUBSETS, seed: int = 0, size: int = MOST) -> float:
    """Kernel inception distance (Bińkowski et al. 2018): of all images, or mean over random subsets of `size` each.

    It is unbiased: of two samples of one population it is 0 on average, and as often below as above.

    Parameters
    ----------
    a, b : array_like, shapes (N, D) and (M, D)
    """
    a, b = _checked(a, b)
    rng = np.random.default_rng(seed)
    n = min(len(a), len(b), size)
    if len(a) <= size and len(b) <= size:
        return _mmd(a, b)
    drawn = (_mmd(rng.choice(a, n, replace=False), rng.choice(b, n, replace=False)) for _ in range(subsets))
    return float(np.mean(list(drawn)))


def squared_distances(a: ArrayLike, b: ArrayLike) -> NDArray[np.float64]:
    """Squared Euclidean distances (N, M) between rows (N, D) and (M, D)."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    return np.maximum((a * a).sum(1)[:, None] + (b * b).sum(1) - 2 * a @ b.T, 0)


def prdc(real: ArrayLike, fake: ArrayLike, k: int = NEIGHBOURS) -> dict[str, float]:
    """Precision, recall (Kynkäänniemi et al. 2019), density and coverage (Naeem et al. 2020).

    Around every image stands a ball that reaches to its `k`-th nearest neighbour of its own kind. Precision: share
    of synthetic images in some real ball. Recall: share of real images in some synthetic ball. Density: mean number
    of real balls a synthetic image is in, over `k`. Coverage: share of real balls that hold a synthetic image.

    Parameters
    ----------
    real, fake : array_like, shapes (N, D) and (M, D)
        More than `k` images each.
    """
    real, fake = _checked(real, fake, least=k + 1)
    # Itself stands at distance 0, so the k-th neighbour is the one at place k.
    reach_real = np.partition(squared_distances(real, real), k, axis=1)[:, k]  # (N,)
    reach_fake = np.partition(squared_distances(fake, fake), k, axis=1)[:, k]  # (M,)
    across = squared_distances(real, fake)  # (N, M)
    in_real = across < reach_real[:, None]
    return {
        "precision": float(in_real.any(0).mean()),
        "recall": float((across < reach_fake).any(1).mean()),
        "density": float(in_real.sum(0).mean() / k),
        "coverage": float((across.min(1) < reach_real).mean()),
    }


# ------------------------------------------------------------------------------------------- against the floor


def halves(
    groups: ArrayLike, seed: int, most: int = MOST, labels: ArrayLike | None = None
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows of two equal parts of at most `most` images each; no patient is in both.

    Parameters
    ----------
    groups : array_like of str, shape (N,)
        Patient or group of near-duplicates.
    labels : array_like of int, shape (N,), optional
        Both parts then hold as many images of each label: else the distance between them is mostly that of their
        mixes of labels, which makes any generator look good.
    """
    names, member, sizes = np.unique(np.asarray(groups), return_inverse=True, return_counts=True)
    numbers = np.zeros(len(member), int) if labels is None else np.unique(labels, return_inverse=True)[1]
    counts = np.zeros((len(names), numbers.max() + 1), int)
    np.add.at(counts, (member, numbers), 1)
    main, rng = counts.argmax(1), np.random.default_rng(seed)
    order, first = rng.permutation(len(names)), np.zeros(len(names), bool)
    for label in np.unique(main):
        mine = order[main[order] == label]
        first[mine] = np.cumsum(sizes[mine]) - sizes[mine] < sizes[mine].sum() / 2
    sides = [
        [rng.permutation(np.flatnonzero((numbers == label) & (first[member] == side))) for side in (True, False)]
        for label in np.unique(numbers)
    ]
    equal = np.array([min(len(one), len(other)) for one, other in sides])
    equal = (equal * min(1.0, most / max(equal.sum(), 1)) + 1e-9).astype(int)
    if equal.sum() < 2:
        raise InputError("Images of at least two patients are needed, got {count}", count=len(names))
    parts = (np.concatenate([pair[k][:n] for pair, n in zip(sides, equal, strict=True)]) for k in (0, 1))
    one, other = (rng.permutation(part) for part in parts)
    return one, other


def _spread(values: Sequence[float]) -> Interval:
    low, high = np.quantile(values, [0.025, 0.975])
    return Interval(float(np.mean(values)), float(low), float(high))


def scores(
    real: ArrayLike,
    fake: ArrayLike,
    groups: ArrayLike,
    labels: ArrayLike | None = None,
    *,
    repeats: int = REPEATS,
    most: int = MOST,
    seed: int = 0,
    neighbours: bool = True,
) -> Scores:
    """Compare synthetic with real images, and real with real, at equal numbers.

    Parameters
    ----------
    real : array_like, shape (N, D)
        Features of real images.
    fake : array_like, shape (M, D)
        Features of synthetic images, with labels in the same proportions.
    groups : array_like of str, shape (N,)
        Patient of each real image.
    labels : array_like of int, shape (N,), optional
        Of each real image: halves then have one mix of labels, as the synthetic images have.
    repeats : int
        How many times the real images are cut in halves. One costs about as much as three Fréchet distances.
    most : int
        Images on a side at most.
    neighbours : bool
        Without it only the Fréchet distance and KID are found.

    Returns
    -------
    dict[str, Interval]
        ``frechet``, ``kid`` and the names of :func:`prdc`, each also with ``_floor`` (real against real) and the
        first two with ``_ratio``: mean over the repeats, with the 2.5 % and 97.5 % quantiles. Since KID is 0 on
        average between halves of the real images, its floor is the mean of its size there.
    """
    real, fake = _checked(real, fake)
    rng = np.random.default_rng(seed)
    found: dict[str, list[float]] = {}
    for repeat in range(repeats):
        one, other = halves(groups, seed + repeat, min(most, len(fake)), labels)
        a, b = real[one], real[other]
        drawn = fake[rng.choice(len(fake), len(one), replace=False)]
        row = {"frechet": frechet(a, drawn), "frechet_floor": frechet(a, b)}
        row |= {"kid": kid(a, drawn, seed=repeat), "kid_floor": abs(kid(a, b, seed=repeat))}
        if neighbours:
            row |= prdc(a, drawn)
            row |= {f"{name}_floor": value for name, value in prdc(a, b).items()}
        for name, value in row.items():
            found.setdefault(name, []).append(value)
    return {name: _spread(values) for name, values in found.items()} | {
        f"{name}_ratio": _ratio(found[name], found[f"{name}_floor"]) for name in ("frechet", "kid")
    }


def _ratio(values: Sequence[float], floors: Sequence[float]) -> Interval:
    """Ratio of the means; the interval is that of the values over the mean floor."""
    floor = max(float(np.mean(floors)), 1e-12)
    return _spread([value / floor for value in values])


# ------------------------------------------------------------------------------------------- likeness of pairs


def _blurred(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Gaussian window over the last two axes, where it lies wholly inside: (N, H, W) → (N, H - 10, W - 10)."""
    for axis in (-2, -1):
        x = ndimage.gaussian_filter1d(x, WINDOW_SIGMA, axis=axis, radius=WINDOW_RADIUS)
    return x[:, WINDOW_RADIUS:-WINDOW_RADIUS, WINDOW_RADIUS:-WINDOW_RADIUS]


def ms_ssim(a: ArrayLike, b: ArrayLike, scales: int = SCALES) -> NDArray[np.float64]:
    """Multi-scale structural similarity of image pairs (Wang, Simoncelli & Bovik 2003).

    The five scales of the paper need 176 pixels. Of smaller images the coarsest are left out, and the weights of
    the others scaled to a sum of 1.

    Parameters
    ----------
    a, b : array_like of uint8, shape (N, H, W)
        At four scales, sides of at least 88 pixels and multiples of 8.

    Returns
    -------
    NDArray
        (N,), 1 for equal images; negative contrasts count as 0.
    """
    x, y = (np.asarray(part, np.float32) for part in (a, b))
    least = (2 * WINDOW_RADIUS + 1) << (scales - 1)
    if x.ndim != 3 or x.shape != y.shape or min(x.shape[1:]) < least or any(s % (1 << scales - 1) for s in x.shape[1:]):
        raise InputError(
            "Image pairs must have one shape (N, H, W) of at least {least} pixels, got {a} and {b}",
            least=least, a=x.shape, b=y.shape,
        )  # fmt: skip
    weights = SCALE_WEIGHTS[:scales] / SCALE_WEIGHTS[:scales].sum()
    total = np.ones(len(x))
    for scale, weight in enumerate(weights):
        mean_x, mean_y = _blurred(x), _blurred(y)
        power = _blurred(x * x) + _blurred(y * y) - mean_x**2 - mean_y**2
        contrast = (2 * (_blurred(x * y) - mean_x * mean_y) + STABLE[1]) / (power + STABLE[1])
        if scale == scales - 1:
            contrast = contrast * (2 * mean_x * mean_y + STABLE[0]) / (mean_x**2 + mean_y**2 + STABLE[0])
        total *= np.maximum(contrast.mean((1, 2), dtype=np.float64), 0) ** weight
        x, y = (part.reshape(len(x), x.shape[1] // 2, 2, x.shape[2] // 2, 2).mean((2, 4)) for part in (x, y))
    return total


def ms_ssim_diversity(
    images: NDArray[np.uint8], pairs: int = 200, seed: int = 0, groups: ArrayLike | None = None
) -> Interval:
    """Mean MS-SSIM of random pairs (with a bootstrap interval): higher means less diverse (Odena et al. 2017).

    Parameters
    ----------
    images : NDArray[np.uint8], shape (N, H, W)
        Of one label.
    groups : array_like, shape (N,), optional
        Pairs of one group are passed over: two images of one patient are alike for another reason.

    Raises
    ------
    InputError
        Fewer than two images, or all of one group.
    """
    names = np.arange(len(images)) if groups is None else np.asarray(groups)
    if len(set(names.tolist())) < 2:
        raise InputError("Images of at least two patients are needed, got {count}", count=len(set(names.tolist())))
    rng = np.random.default_rng(seed)
    chosen: list[tuple[int, int]] = []
    while len(chosen) < pairs:
        i, j = rng.integers(0, len(images), 2)
        if names[i] != names[j]:
            chosen.append((i, j))
    one, other = np.array(chosen).T
    return bootstrap(_mean, ms_ssim(images[one], images[other]), seed=seed)


def _mean(values: NDArray[np.float64]) -> float:
    return float(values.mean())


def in_chunks(function: Callable[[NDArray], object], images: NDArray, size: int = 64) -> list[object]:
    """Answers of `function` for `size` images at a time."""
    return [function(images[start : start + size]) for start in range(0, len(images), size)]
