"""Figures of a generator: how good its images are, and whose copies they are not.

Every figure of quality stands beside the same figure among real images. What the scan model sees is passed in, so
that nothing here depends on how scans are read.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from medai_core import metrics
from medai_core.errors import InputError
from medai_core.likeness import joined_groups
from medai_core.metrics import Interval
from medai_core.synthesis import quality, utility
from medai_core.synthesis.privacy import MEMBER, WITHHELD_PERCENT, Descriptors, membership_auc
from medai_core.synthesis.utility import TrainingSet

Figures = list[dict[str, object]]
Note = Callable[[dict[str, object]], None]
"""Told of progress as training tells of it: ``{"part": "figures", "epoch": 3, "of": 9, "doing": "…"}``."""
ScanAnswers = Callable[[NDArray[np.uint8]], tuple[ArrayLike, ArrayLike]]

SPLIT = "synthetic"
STAGES = 9
PER_CALL = 500
LEAST_HELD_OUT = 100
SMALL_SHARE = 0.1
PAIRS = 200
TITLES = {
    "frechet": "Fréchet distance",
    "kid": "KID",
    "precision": "precision",
    "recall": "recall",
    "density": "density",
    "coverage": "coverage",
}


class Source(Protocol):
    """What is asked of a generator here."""

    labels: tuple[str, ...]
    descriptors: Descriptors

    def generate(self, label: str, count: int, seed: int): ...


@dataclass(frozen=True, eq=False)
class Images:
    """Images of one kind with what the scan model sees.

    Attributes
    ----------
    pixels : NDArray[np.uint8]
        (N, 128, 128).
    labels : NDArray[np.int64]
        (N,).
    groups : NDArray[np.str_]
        (N,) patient; each synthetic image is its own.
    features : NDArray[np.float64]
        (N, D).
    probabilities : NDArray[np.float64]
        (N, K).
    """

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]
    groups: NDArray[np.str_]
    features: NDArray[np.float64]
    probabilities: NDArray[np.float64]

    def __getitem__(self, rows: NDArray) -> Images:
        return Images(*(column[rows] for column in vars(self).values()))

    def __len__(self) -> int:
        return len(self.labels)


def seen(pixels: NDArray[np.uint8], labels: ArrayLike, groups: ArrayLike, scan_model: ScanAnswers) -> Images:
    """Show images to the scan model."""
    found = quality.in_chunks(scan_model, pixels)
    features, probabilities = (np.concatenate([np.asarray(part[k], np.float64) for part in found]) for k in (0, 1))
    return Images(pixels, np.asarray(labels, np.int64), np.asarray(groups).astype(str), features, probabilities)


def draw(source: Source, counts: Sequence[int], seed: int = 0) -> tuple[NDArray[np.uint8], NDArray[np.int64], int]:
    """Generate `counts[k]` images of each label; return them, their labels and how many near-copies were withheld."""
    pixels, labels, withheld, seeds = [], [], 0, itertools.count(seed)
    for number, (label, count) in enumerate(zip(source.labels, counts, strict=True)):
        for start in range(0, count, PER_CALL):
            # One seed makes the same body under every label: here each image shall be its own.
            made = source.generate(label, min(PER_CALL, count - start), next(seeds))
            pixels += [image.pixels for image in made.images]
            withheld += made.withheld
        labels += [number] * count
    return np.stack(pixels), np.array(labels, np.int64), withheld


def in_proportion(labels: NDArray[np.int64], classes: int, total: int) -> list[int]:
    """How many of `total` fall to each label when shared out as `labels` (N,) are (largest remainders)."""
    exact = np.bincount(labels, minlength=classes) * total / len(labels)
    counts = np.floor(exact).astype(int)
    counts[np.argsort(counts - exact, kind="stable")[: total - counts.sum()]] += 1
    return counts.tolist()


def _row(metric: str, interval: Interval, n: int) -> dict[str, object]:
    return {"metric": metric, **interval.to_dict(), "n": int(n), "split": SPLIT}


def quality_figures(real: Images, made: Images) -> Figures:
    """Fréchet distance, KID, precision, recall, density and coverage, each with its real-to-real floor."""
    found = quality.scores(real.features, made.features, real.groups, real.labels)
    n = min(len(made), len(real) // 2, quality.MOST)
    rows: Figures = []
    for name, title in TITLES.items():
        rows.append(_row(title, found[name], n))
        rows.append(_row(f"{title}, real against real", found[f"{name}_floor"], n))
        if f"{name}_ratio" in found:
            rows.append(_row(f"{title}, ratio to real against real", found[f"{name}_ratio"], n))
    return rows


def diversity_figures(real: Images, made: Images, labels: Sequence[str]) -> Figures:
    """MS-SSIM of random pairs within each label, synthetic and real."""
    rows: Figures = []
    for number, label in enumerate(labels):
        for kind, part in (("synthetic", made), ("real", real)):
            mine = part[part.labels == number]
            if len(set(mine.groups.tolist())) > 1:
                found = quality.ms_ssim_diversity(mine.pixels, PAIRS, groups=mine.groups)
                rows.append(_row(f"MS-SSIM within {label}, {kind}", found, PAIRS))
    return rows


def agreement_figures(real: Images, made: Images, labels: Sequence[str]) -> Figures:
    """Share of images that the scan model gives their label: the one requested, beside the true one of real images."""
    right = made.probabilities.argmax(1) == made.labels
    parts = [("label agreement of the scan model", np.ones(len(made), bool))]
    parts += [(f"label agreement of the scan model, {label}", made.labels == k) for k, label in enumerate(labels)]
    rows = [_row(name, metrics.wilson(int(right[m].sum()), int(m.sum())), m.sum()) for name, m in parts if m.any()]
    hits = (real.probabilities.argmax(1) == real.labels).astype(float)
    interval = metrics.bootstrap(lambda hit: float(hit.mean()), hits, groups=real.groups)
    return [*rows, _row("label agreement of the scan model, real images", interval, len(real))]


def privacy_figures(real: Images, made: Images, descriptors: Descriptors, withheld: int, known: NDArray) -> Figures:
    """Nearness of synthetic to training images beside real-to-real, and whether it betrays who was trained on.

    Parameters
    ----------
    known : NDArray[np.bool_], shape (N,)
        Which real images are training images.
    """
    with_features = made.features if descriptors.features else None
    near, n = descriptors.nearest(made.pixels, with_features), len(made)
    rows = [
        _row("withheld as near-copies, share of all made", metrics.wilson(withheld, withheld + n), withheld + n),
        _row("similarity to the nearest training image, median", _median(near.similarity), n),
        _row(
            "similarity of real images to the nearest other, median", _median(descriptors.reference), len(descriptors)
        ),
    ]
    for kind, closeness in (("pixels", near.closeness), ("features", near.feature_closeness)):
        if closeness is not None:
            inside = int((closeness <= WITHHELD_PERCENT).sum())
            rows.append(
                _row(f"within the closest 0.1 % of real-to-real distances, {kind}", metrics.wilson(inside, n), n)
            )
            rows.append(_row(f"percentile among real-to-real distances, {kind}, median", _median(closeness), n))
    if known.any() and (~known).sum() >= LEAST_HELD_OUT:
        train, held = real[known], real[~known]
        for kind in ("pixels", "features"):
            parts = (getattr(part, kind) for part in (train, held, made))
            rows.append(_row(f"membership AUC, {kind}", membership_auc(*parts, train.groups, held.groups), len(real)))
    return rows


def _median(values: NDArray) -> Interval:
    return metrics.bootstrap(lambda v: float(np.median(v)), values, n=200)


def utility_figures(
    real: Images,
    made: Images,
    known: NDArray[np.bool_],
    labels: Sequence[str],
    note: Callable[[str], None] = lambda doing: None,
    steps: int = utility.STEPS,
) -> Figures:
    """Small networks trained on synthetic, on real, on a tenth of the real and on that with synthetic images.

    They are tested on real images of other patients: those the generator never saw if there are enough, else half of
    the patients. Differences have paired intervals over patients.
    """
    learn, test = _parts(real, known)
    n = min(len(learn), len(made), quality.MOST)
    rng = np.random.default_rng(0)
    learn = learn[rng.permutation(len(learn))[:n]]
    few = np.isin(learn.groups, _some_groups(learn, rng))
    synthetic = TrainingSet.of(*_columns(made[rng.permutation(len(made))[:n]]))
    whole, tenth = TrainingSet.of(*_columns(learn)), TrainingSet.of(*_columns(learn[few]))
    sets = {
        "synthetic": synthetic,
        "real": whole,
        "a tenth of the real": tenth,
        "a tenth of the real and synthetic": tenth.joined(synthetic),
    }
    title, function = utility.figure_of(labels)
    rows, found = [], {}
    for name, train in sets.items():
        note(f"training a small network on {name}: {len(train.images)} images")
        found[name] = utility.answers(train, test.pixels, len(labels), steps=steps)
        interval = metrics.bootstrap(function, found[name], test.labels, groups=test.groups)
        rows.append(_row(f"{title}, trained on {name}", interval, len(test)))
    for name, one, other in (
        ("synthetic less real", "synthetic", "real"),
        ("gain from synthetic beside a tenth of the real", "a tenth of the real and synthetic", "a tenth of the real"),
    ):
        interval = metrics.bootstrap(
            lambda p, q, y: function(p, y) - function(q, y), found[one], found[other], test.labels, groups=test.groups
        )
        rows.append(_row(f"{title}, {name}", interval, len(test)))
    return rows


def _columns(images: Images) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    return images.pixels, images.labels


def _parts(real: Images, known: NDArray[np.bool_]) -> tuple[Images, Images]:
    """Real images to learn from, and of other patients to test on."""
    held = real[~known]
    every = set(real.labels.tolist())
    if len(held) >= LEAST_HELD_OUT and known.any() and set(held.labels.tolist()) == every:
        return real[known & ~np.isin(real.groups, held.groups)], held
    one, other = quality.halves(real.groups, 0, len(real), real.labels)
    return real[one], real[other]


def _some_groups(images: Images, rng: np.random.Generator) -> NDArray[np.str_]:
    """A tenth of the patients of each label, and at least one."""
    chosen = [
        rng.permutation(names)[: max(1, round(SMALL_SHARE * len(names)))]
        for names in (np.unique(images.groups[images.labels == k]) for k in np.unique(images.labels))
    ]
    return np.concatenate(chosen)


def evaluate(
    generator: Source,
    images: NDArray[np.uint8],
    labels: ArrayLike,
    groups: ArrayLike,
    scan_model: ScanAnswers,
    note: Note = lambda row: None,
    *,
    count: int = quality.MOST,
    steps: int = utility.STEPS,
) -> Figures:
    """Measure a generator against real images, its training images among them or not.

    Training images are recognised by their descriptors. Where none is among the images, membership cannot be tested
    and its rows are missing.

    Parameters
    ----------
    images : NDArray[np.uint8]
        (N, 128, 128) real images, prepared as at inference.
    labels, groups : array_like, shape (N,)
        Numbers of the generator's labels, and patients or groups of near-duplicates.
    scan_model : callable
        Images (B, 128, 128) uint8 → features (B, D) and probabilities (B, K) in the order of the labels.
    note : callable
        Told what is being done.
    count : int
        How many images are generated, in the proportions of the real labels.
    steps : int
        Training steps of each small network.

    Raises
    ------
    InputError
        A label of the generator that no real image has, or too few images to cut in halves.
    """
    numbers, classes = np.asarray(labels, np.int64), len(generator.labels)
    if missing := [name for k, name in enumerate(generator.labels) if not (numbers == k).any()]:
        raise InputError(
            "Evaluation needs real images of every label, got none of {missing}", missing=", ".join(missing)
        )
    stage = itertools.count(1)

    def tell(doing: str) -> None:
        note({"part": "figures", "epoch": next(stage), "of": STAGES, "doing": doing})

    tell("finding copies among the real images")
    joined = joined_groups(images, groups)
    tell(f"generating {count} images")
    pixels, wanted, withheld = draw(generator, in_proportion(numbers, classes, count))
    tell("showing the images to the scan model")
    real = seen(images, numbers, joined, scan_model)
    made = seen(pixels, wanted, np.char.add("synthetic", np.arange(len(pixels)).astype(str)), scan_model)
    known = generator.descriptors.nearest(images).similarity >= MEMBER
    tell("comparing features")
    rows = quality_figures(real, made) + diversity_figures(real, made, generator.labels)
    rows += agreement_figures(real, made, generator.labels)
    tell("comparing with the training images")
    rows += privacy_figures(real, made, generator.descriptors, withheld, known)
    return rows + utility_figures(real, made, known, generator.labels, tell, steps)
