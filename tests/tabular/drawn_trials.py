"""Made-up randomised trials, nobody's course, whose truth is known."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medai_core.tabular.survival import Sample
from medai_core.tabular.tables import table_of
from medai_core.tabular.trial import ACTG_ROLES, ACTG_SCALE, Roles, Trial, make_trial

HORIZON = 730.0
NO_DIFFERENCE, CROSSED, ONE_BETTER = "no difference", "crossed", "one better"
ROLES = Roles("arm", "time", "event", ("x", "noise"), "1")


def log_hazard(x: NDArray[np.float64], arm: NDArray[np.intp], kind: str) -> NDArray[np.float64]:
    """Of the event, by a covariate and the arm; `crossed`: what helps those below 0 harms those above."""
    effect = {
        NO_DIFFERENCE: 0.0 * x,
        CROSSED: 1.6 * np.sign(x) * np.where(arm == 1, 1, -1),
        ONE_BETTER: -1.0 * (arm == 1),
    }
    return 0.5 * x + effect[kind]


def event_free(x: NDArray[np.float64], arm: NDArray[np.intp], kind: str) -> NDArray[np.float64]:
    """True probability of being event-free at the horizon."""
    return np.exp(-0.5 * np.exp(log_hazard(x, arm, kind)))


def drawn(n: int, kind: str, seed: int, arms: int = 2) -> tuple[Sample, NDArray[np.float64]]:
    """A trial with exponential times, lost patients at a rate that differs by arm, and its covariate (N,)."""
    rng = np.random.default_rng(seed)
    x, arm = rng.normal(size=n), rng.integers(0, arms, n)
    rate = 0.5 / HORIZON * np.exp(log_hazard(x, arm, kind))
    time, lost = rng.exponential(1 / rate), rng.exponential(HORIZON * np.where(arm == 1, 1.5, 3.0))
    watched = np.minimum(lost, rng.uniform(1.2 * HORIZON, 1.6 * HORIZON, n))
    z = np.column_stack([x, rng.normal(size=n)])
    return Sample(z, arm, arms, np.minimum(time, watched) + 0.5, time <= watched), x


def drawn_frame(n: int, kind: str, seed: int) -> pd.DataFrame:
    sample, _ = drawn(n, kind, seed)
    columns = {"arm": np.where(sample.arm == 1, "new", "old"), "time": sample.time.round(1)}
    columns |= {"event": sample.event.astype(int), "x": sample.z[:, 0].round(3), "noise": sample.z[:, 1].round(3)}
    return pd.DataFrame(columns)


def drawn_trial(n: int, kind: str, seed: int) -> Trial:
    return make_trial(table_of(drawn_frame(n, kind, seed)), ROLES, randomised=True)


def drawn_actg(n: int, seed: int) -> pd.DataFrame:
    """A table in the layout of ACTG 175, with later columns that give the outcome away."""
    rng = np.random.default_rng(seed)
    arm = np.arange(n) % 4
    cd40, cd80 = rng.gamma(9, 40, n).round(), rng.gamma(4, 250, n).round()
    str2 = rng.integers(0, 2, n)
    columns = {"trt": arm, "age": rng.integers(18, 65, n), "karnof": rng.choice([80, 90, 100], n)}
    columns |= {"symptom": rng.integers(0, 2, n), "str2": str2, "preanti": str2 * rng.integers(1, 1500, n)}
    columns |= {"cd40": cd40, "cd80": cd80, "wtkg": rng.normal(75, 12, n).round(2), "treat": (arm > 0).astype(int)}
    rate = 0.35 / HORIZON * np.exp(-0.006 * (cd40 - 350) - 0.6 * (arm > 0) + 0.3 * columns["symptom"])
    time, watched = rng.exponential(1 / rate), rng.uniform(300, 1231, n)
    columns |= {"time": np.ceil(np.minimum(time, watched)).astype(int), "cid": (time <= watched).astype(int)}
    columns |= {"offtrt": columns["cid"], "cd420": cd40 - 200 * columns["cid"], "cd820": cd80}
    return pd.DataFrame(columns)


def actg_trial(n: int, seed: int) -> Trial:
    return make_trial(table_of(drawn_actg(n, seed), "drawn"), ACTG_ROLES, randomised=True, scale=ACTG_SCALE)
