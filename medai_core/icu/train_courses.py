"""A generative model of intensive-care stays: trained on real ones, it draws courses of nobody.

The past is summed up at every moment of measurement in the same way for training and for drawing
(:class:`Past`); the network in :mod:`~medai_core.icu.train_course_network` says how it goes on.

How real they look, 1,500 drawn against the 3,996 stays of the challenge's set A: the mean of each variable lies
within 0.26 of a standard deviation of the real one (median 0.06) and heart rate is measured in 84 % of hours
instead of 90 %; a twentieth of records breaks off before hour 38 (real: 46), and creatinine goes with urea less
closely (correlation 0.26, real 0.72). Boosted trees on the summary features tell drawn from real with an AUC of
0.98 (0.92 from levels alone). Good for showing what the pages do, not for training or measuring a model.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from medai_core.icu.stay import MAX_MINUTES, Stay
from medai_core.icu.train_course_network import LONGER, MINUTES, WAITS, Course, build_course, loss_of
from medai_core.icu.variables import NAMES, SERIES

Array = NDArray[np.float32]
Progress = Callable[[dict[str, object]], None]

FIRST = (
    *("Weight", "MechVent", "GCS", "HR", "DiasABP", "SysABP", "MAP", "NIDiasABP", "NISysABP", "NIMAP", "RespRate"),
    *("Temp", "Urine", "FiO2", "SaO2", "pH", "PaCO2", "PaO2", "HCO3", "Lactate", "Na", "K", "BUN", "Creatinine"),
)
ORDER = (*FIRST, *(name for name in NAMES if name not in FIRST))
"""Variables in the order in which a moment is drawn; each sees those before it."""
AT = {name: k for k, name in enumerate(ORDER)}
LOG = np.array([SERIES[name].log for name in ORDER])
STEPS = {
    **dict.fromkeys(("Temp", "K", "Mg", "HCT", "Albumin", "Bilirubin", "Creatinine", "Lactate", "WBC"), 0.1),
    **{"TroponinI": 0.1, "Weight": 0.1, "TroponinT": 0.01, "pH": 0.01, "FiO2": 0.05, "Urine": 5.0},
}
STEP = np.array([STEPS.get(name, 1.0) for name in ORDER])
"""Steps in which values are written down."""
ENDS = {"GCS": (3, 15), "SaO2": (50, 100), "FiO2": (0.2, 1.0), "MechVent": (1, 1), "Urine": (0, 2500)}
"""Where values pile up or must stop; elsewhere the outermost thousandths of the real ones."""
TRIPLES = (("DiasABP", "SysABP", "MAP"), ("NIDiasABP", "NISysABP", "NIMAP"))
SHARPER = 1.15
"""Waits are drawn from the network's logits times this: its small errors would add up to a lost rhythm."""
STILL = {"Weight": 1.0}
"""Smaller changes than this are none: the value is charted again as it was."""
CLOCK = 60
FAR = 1e4
NEVER_HOURS = 48.0


@dataclass(frozen=True)
class Recipe:
    """How the model is trained.

    Attributes
    ----------
    held_out : float
        Share of the stays that only measure the loss.
    """

    epochs: int = 12
    batch: int = 768
    rate: float = 2e-3
    decay: float = 0.01
    held_out: float = 0.1
    seed: int = 2012

    def digest(self, stays: int) -> str:
        """Names the weights of this recipe on so many stays."""
        return hashlib.sha256(repr((sorted(asdict(self).items()), stays)).encode()).hexdigest()[:12]


@dataclass(frozen=True, eq=False)
class Scale:
    """Where each variable of :data:`ORDER` lies, (V,) each: centre and spread (of the logarithm), lowest, highest."""

    centre: NDArray[np.float64]
    spread: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]

    @classmethod
    def fit(cls, values: NDArray[np.float32]) -> Scale:
        """From values (N, T, V), NaN where not measured; what never was stands within its plausible range."""
        columns = [c[~np.isnan(c)] for c in values.reshape(-1, values.shape[-1]).T]
        columns = [
            c if c.size else np.array([SERIES[n].low, SERIES[n].high]) for n, c in zip(ORDER, columns, strict=True)
        ]
        ends = [ENDS.get(name) or np.quantile(c, [5e-4, 1 - 5e-4]) for name, c in zip(ORDER, columns, strict=True)]
        looked_at = [np.log1p(c) if log else c for c, log in zip(columns, LOG, strict=True)]
        spread = np.array([c.std() for c in looked_at])
        low, high = np.round(np.array(ends).T / STEP) * STEP
        return cls(np.array([c.mean() for c in looked_at]), np.where(spread > 0, spread, 1.0), low, high)

    def z(self, values: NDArray[np.floating]) -> Array:
        """Standardised (…, V)."""
        seen = np.where(LOG, np.log1p(np.maximum(values, -0.99)), values)
        return ((seen - self.centre) / self.spread).astype(np.float32)

    def values(self, z: NDArray[np.floating], k: int) -> NDArray[np.float64]:
        """Values of variable `k` as they are written down, from standardised ones (N,)."""
        seen = np.clip(z, -20, 20) * self.spread[k] + self.centre[k]
        plain = np.expm1(np.minimum(seen, 20)) if LOG[k] else seen
        return np.clip(np.round(plain / STEP[k]) * STEP[k], self.low[k], self.high[k])

    def edges(self, values: NDArray[np.floating]) -> tuple[Array, Array]:
        """Edges of each value's step, standardised; open where values pile up or stop."""
        low, high = self.z(values - STEP / 2), self.z(values + STEP / 2)
        return np.where(values <= self.low, -FAR, low), np.where(values >= self.high, FAR, high)


@dataclass(frozen=True, eq=False)
class Moments:
    """Stays as moments of measurement: minutes (N, T), values (N, T, V) with NaN, how many moments (N,)."""

    minutes: NDArray[np.float32]
    values: NDArray[np.float32]
    count: NDArray[np.intp]

    @classmethod
    def of(cls, stays: Sequence[Stay]) -> Moments:
        column = np.array([AT[name] for name in NAMES])
        each = [np.unique(stay.minutes, return_inverse=True) for stay in stays]
        count = np.array([len(minutes) for minutes, _ in each])
        values = np.full((len(stays), count.max(), len(ORDER)), np.nan, np.float32)
        minutes = np.full(values.shape[:2], np.nan, np.float32)
        for n, (stay, (when, place)) in enumerate(zip(stays, each, strict=True)):
            minutes[n, : len(when)] = np.floor(when)
            values[n, place, column[stay.series]] = stay.values
        return cls(minutes, (np.round(values / STEP) * STEP).astype(np.float32), count)


class Past:
    """What happened so far in N stays, summed up for the network.

    Parameters
    ----------
    beside : Array, shape (N, B)
        What does not change: see :func:`descriptors`.
    """

    def __init__(self, beside: Array) -> None:
        n, v = len(beside), len(ORDER)
        self.beside, self.now, self.wait, self.moments = beside, np.zeros(n), np.zeros(n), np.zeros(n)
        self.last, self.change, self.slow, self.often, self.before = (np.zeros((n, v), np.float32) for _ in range(5))
        self.seen_at = np.full((n, v), -np.inf)
        self.rhythm = np.zeros((n, CLOCK), np.float32)

    def add(self, rows: NDArray[np.intp], minutes: NDArray[np.floating], z: Array) -> None:
        """Take in one more moment of the stays `rows`: z (len(rows), V), NaN where not measured."""
        seen, known = ~np.isnan(z), np.isfinite(self.seen_at[rows])
        value, wait = np.nan_to_num(z), minutes - self.now[rows]
        self.change[rows] = np.where(seen & known, value - self.last[rows], self.change[rows])
        slow = np.where(known, self.slow[rows] + 0.2 * (value - self.slow[rows]), value)
        self.slow[rows] = np.where(seen, slow, self.slow[rows])
        self.last[rows] = np.where(seen, value, self.last[rows])
        self.seen_at[rows] = np.where(seen, minutes[:, None], self.seen_at[rows])
        self.often[rows] = self.often[rows] * np.exp(-wait / 720)[:, None] + seen
        self.before[rows] = seen
        self.rhythm[rows] *= 0.93
        self.rhythm[rows, minutes.astype(int) % CLOCK] += 1
        self.now[rows], self.wait[rows] = minutes, wait
        self.moments[rows] += 1

    def columns(self, rows: NDArray[np.intp]) -> Array:
        """The past as the network sees it, (len(rows), P); first the rhythm, from the present minute on."""
        ahead = (self.now[rows].astype(int)[:, None] + np.arange(CLOCK)) % CLOCK
        rhythm = np.log(0.02 + np.take_along_axis(self.rhythm[rows], ahead, axis=1)) / 2
        now, wait, moments = self.now[rows] / 2880, np.log1p(self.wait[rows] / 60), self.moments[rows] / 100
        times = np.stack([now, np.log1p(self.now[rows] / 60) / 4, wait, moments], axis=1)
        z = [self.last[rows], self.change[rows], self.slow[rows]]
        often = [np.log1p(self.often[rows]) / 2, self.before[rows], np.isfinite(self.seen_at[rows])]
        return np.concatenate([rhythm, times, self.beside[rows], *z, *often], axis=1, dtype=np.float32)

    def since(self, rows: NDArray[np.intp]) -> Array:
        """Hours since each variable was measured, (len(rows), V)."""
        return np.minimum((self.now[rows, None] - self.seen_at[rows]) / 60, NEVER_HOURS).astype(np.float32)


def descriptors(fixed: Sequence[dict[str, float]], died: NDArray[np.integer]) -> Array:
    """Age, sex, height and outcome of each stay as columns, (N, 5)."""
    rows = []
    for one, dead in zip(fixed, died, strict=True):
        height = one.get("Height")
        stature = [0.0, 0.0] if height is None else [(height - 170) / 12, 1.0]
        rows.append([(one.get("Age", 65) - 65) / 17, one.get("Gender", 0.5), *stature, float(dead)])
    return np.array(rows, np.float32)


def wait_class(minutes: NDArray[np.floating]) -> NDArray[np.intp]:
    """Class of a wait in minutes."""
    longer = MINUTES + 1 + np.minimum(np.searchsorted(LONGER, minutes), len(LONGER) - 1)
    return np.where(minutes <= MINUTES, minutes, longer).astype(np.intp)


def examples(moments: Moments, beside: Array, scale: Scale) -> tuple[dict[str, Array], Array]:
    """Inputs and truth of the network, a row per moment and one per end of a stay."""
    past, z, (low, high) = Past(beside), scale.z(moments.values), scale.edges(moments.values)
    given: list[dict[str, Array]] = []
    truth: list[Array] = []
    blank = np.full((len(beside), len(ORDER)), np.nan, np.float32)
    for step in range(moments.minutes.shape[1] + 1):
        rows = np.flatnonzero(moments.count >= step)
        ends = moments.count[rows] == step
        now = blank[rows] if step == moments.minutes.shape[1] else z[rows, step]
        at = min(step, moments.minutes.shape[1] - 1)
        minutes = moments.minutes[rows, at]
        wait = np.where(ends, 0, minutes - past.now[rows])
        seen = ~np.isnan(now)
        kind = np.where(ends, WAITS - 1, wait_class(np.nan_to_num(wait)))
        edges = [np.where(seen, np.nan_to_num(edge[rows, at]), 0) for edge in (low, high)]
        inputs = {"past": past.columns(rows), "since": past.since(rows), "wait": wait[:, None] / 60}
        inputs |= {"measured": seen, "z": np.nan_to_num(now), "last": past.last[rows].copy()}
        given.append({name: table.astype(np.float32) for name, table in inputs.items()})
        truth.append(np.concatenate([kind[:, None], seen, *edges], axis=1, dtype=np.float32))
        past.add(rows[~ends], minutes[~ends], now[~ends])
    return {name: np.concatenate([part[name] for part in given]) for name in given[0]}, np.concatenate(truth)


def train_course(
    stays: Sequence[Stay], died: NDArray[np.integer], recipe: Recipe, stored: Path, progress: Progress
) -> tuple[Course, Scale]:
    """Train on most of the stays, or take up the weights an earlier run left at `stored`.

    The loss on the stays held out stands beside the training loss in each row of progress: were courses learnt
    by heart, it would be far above.
    """
    keras.utils.set_random_seed(recipe.seed)
    scale = Scale.fit((moments := Moments.of(stays)).values)
    beside = descriptors([stay.fixed for stay in stays], died)
    course = build_course(Past(beside[:1]).columns(np.arange(1)).shape[1], len(ORDER), CLOCK)
    if not stored.exists():
        out = np.random.default_rng(recipe.seed).random(len(stays)) < recipe.held_out
        parts = [examples(_some(moments, rows), beside[rows], scale) for rows in (~out, out)]
        _fit(course, *parts, recipe, progress)
        stored.parent.mkdir(parents=True, exist_ok=True)
        course.joined.save_weights(stored)
    course.joined.load_weights(stored)
    return course, scale


def _some(moments: Moments, rows: NDArray[np.bool_]) -> Moments:
    return Moments(moments.minutes[rows], moments.values[rows], moments.count[rows])


def _fit(
    course: Course,
    seen: tuple[dict[str, Array], Array],
    held_out: tuple[dict[str, Array], Array],
    recipe: Recipe,
    progress: Progress,
) -> None:
    steps = len(seen[1]) // recipe.batch + 1
    rate = keras.optimizers.schedules.CosineDecay(
        recipe.rate / 5, recipe.epochs * steps, alpha=0.02, warmup_target=recipe.rate, warmup_steps=steps // 2
    )
    course.joined.compile(
        keras.optimizers.AdamW(rate, weight_decay=recipe.decay, clipnorm=1.0), loss=loss_of(len(ORDER))
    )
    told = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: progress(
            {"part": "courses", "epoch": epoch + 1, "of": recipe.epochs, **(logs or {})}
        )
    )
    course.joined.fit(
        *seen, batch_size=recipe.batch, epochs=recipe.epochs, verbose=0, validation_data=held_out, callbacks=[told]
    )


def draw(
    course: Course, scale: Scale, fixed: Sequence[dict[str, float]], died: NDArray[np.integer], seed: int
) -> list[list[tuple[int, str, float]]]:
    """One course per row of descriptors: minute, variable and value of every measurement, in order.

    Parameters
    ----------
    fixed : sequence of dict
        Descriptors by name; what is absent is not known.
    died : NDArray, shape (N,)
        The outcome each course is drawn towards, 0 or 1.
    """
    rng, past = np.random.default_rng(seed), Past(descriptors(fixed, died))
    kernels, found = course.kernels(), [[] for _ in fixed]
    rows = np.arange(len(fixed))
    while rows.size:
        columns, since = past.columns(rows), past.since(rows)
        logits = ops.convert_to_numpy(course.when([columns, since], training=False)).copy()
        logits[past.moments[rows] > 0, 0] = -np.inf  # only the first moment can come at once
        wait = _draw_wait(SHARPER * logits, rng)
        minutes = past.now[rows] + wait
        go_on = (wait >= 0) & (minutes < MAX_MINUTES)
        rows, minutes, columns, since = rows[go_on], minutes[go_on], columns[go_on], since[go_on]
        if not rows.size:
            break
        parts = course.what([columns, since, (wait[go_on, None] / 60).astype(np.float32)], training=False)
        logit, parameters = (ops.convert_to_numpy(part) for part in parts)
        known = np.isfinite(past.seen_at[rows])
        values = _draw_moment(logit, parameters, past.last[rows], known, kernels, scale, rng)
        past.add(rows, minutes, scale.z(values))
        for row, minute, now in zip(rows, minutes.astype(int), values, strict=True):
            found[row] += [
                (int(minute), name, float(now[AT[name]])) for name in NAMES if now[AT[name]] == now[AT[name]]
            ]
    return found


def _pick(logits: NDArray[np.floating], rng: np.random.Generator) -> NDArray[np.intp]:
    """One class per row by its softmax (Gumbel's trick)."""
    return (logits + rng.gumbel(size=logits.shape)).argmax(-1)


def _draw_wait(logits: Array, rng: np.random.Generator) -> NDArray[np.int64]:
    """Minutes to the next moment (N,), -1 at the end of a record."""
    kind = _pick(logits, rng)
    start, end = np.array((MINUTES, *LONGER[:-1])), np.array(LONGER)
    longer = np.clip(kind - MINUTES - 1, 0, len(LONGER) - 1)
    far = start[longer] + 1 + (rng.random(kind.shape) * (end - start)[longer]).astype(int)
    return np.select([kind == WAITS - 1, kind <= MINUTES], [-1, kind], far)


def _draw_moment(
    logit: Array,
    parameters: Array,
    last: Array,
    known: NDArray[np.bool_],
    kernels: tuple[Array, Array],
    scale: Scale,
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """Values (N, V) of one moment, NaN where not measured: first which are, then each in its turn."""
    together, beside = kernels
    n, v = logit.shape
    seen, z, chance = np.zeros((n, v), np.float32), np.zeros((n, v), np.float32), rng.random((n, v))
    for k in range(v):
        seen[:, k] = chance[:, k] < 1 / (1 + np.exp(-(logit[:, k] + seen @ together[:, k])))
    nothing = seen.sum(1) == 0
    seen[nothing, AT["HR"]] = 1  # a moment without a measurement is none; most often it is the heart rate
    values = np.full((n, v), np.nan)
    for k in range(v):
        shift = np.concatenate([seen, seen * z, seen * (z - last)], axis=1) @ beside[:, k] + last[:, k]
        place, width, weight = np.moveaxis(parameters[:, k], 1, 0)  # (N, K) each
        mine = _pick(weight, rng)[:, None]
        place, width = (np.take_along_axis(part, mine, axis=1)[:, 0] for part in (place, width))
        u = rng.uniform(1e-3, 1 - 1e-3, n)
        drawn = place + shift + np.exp(np.clip(width, -5, 2)) * np.log(u / (1 - u))
        here = seen[:, k] > 0
        now, before = scale.values(drawn, k), scale.values(last[:, k], k)
        now = np.where(known[:, k] & (np.abs(now - before) < STILL.get(ORDER[k], 0)), before, now)
        values[here, k] = _coupled(k, now, values)[here]
        z[here, k] = scale.z(np.where(np.isnan(values), 0, values))[here, k]
    return values


def _coupled(k: int, drawn: NDArray[np.float64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Values of variable `k` made to agree with those of its moment: diastolic < mean < systolic."""
    for diastolic, systolic, mean in TRIPLES:
        low, high = values[:, AT[diastolic]], values[:, AT[systolic]]
        if k == AT[systolic]:
            return np.fmax(drawn, low + 8)
        if k == AT[mean]:
            between = np.fmin(np.fmax(drawn, low + 2), high - 2)
            by_cuff = np.round((high + 2 * low) / 3, 2)  # how a cuff's mean is commonly worked out
            return np.where(np.isnan(by_cuff), drawn, by_cuff) if mean == "NIMAP" else between
    return drawn


assert len(set(ORDER)) == len(NAMES)
