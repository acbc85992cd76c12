"""Tables drawn in code: nobody's data."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

import numpy as np
import pandas as pd


def patients(n: int = 240, seed: int = 0) -> pd.DataFrame:
    """Age, sex, a skewed laboratory value with gaps, a site, and an outcome that depends on the first three."""
    rng = np.random.default_rng(seed)
    age, sex = rng.integers(20, 90, n).astype(float), rng.choice(["f", "m"], n)
    crp, site = rng.lognormal(2, 1, n).round(1), rng.choice(["A", "B", "C"], n)
    odds = 0.06 * (age - 55) + 1.0 * (sex == "m") + 0.8 * (np.log(crp) - 2) - 0.5
    outcome = np.where(rng.random(n) < 1 / (1 + np.exp(-odds)), "yes", "no")
    crp[rng.random(n) < 0.1] = np.nan
    columns = {"age (years)": age, "sex": sex, "crp_mg_l": crp, "site": site}
    return pd.DataFrame(columns | {"noise": rng.normal(size=n), "outcome": outcome})


def kinds(n: int = 240, seed: int = 0) -> pd.DataFrame:
    """The same with three classes, and with a number, to predict."""
    frame = patients(n, seed)
    score = frame["age (years)"] / 20 + (frame["sex"] == "m") + np.random.default_rng(seed).normal(0, 0.4, n)
    return frame.assign(grade=np.digitize(score, [2.5, 4]).astype(str), score=score).drop(columns="outcome")


def csv(frame: pd.DataFrame, **how: object) -> bytes:
    return frame.to_csv(index=False, **how).encode()


def _light(config: dict) -> dict:
    fewer = {"trees": 10, "rounds": 40}
    return config | {name: fewer[name] for name in config if name in fewer}


@contextmanager
def no_unlikeness() -> Iterator[None]:
    """Without the autoencoder, which takes longer than all else, where nobody asks how unlike a row is."""
    from medai_core.tabular import network_fit

    with mock.patch.object(network_fit, "fit_unlikeness", lambda *_: None):
        yield


@contextmanager
def light_fits() -> Iterator[None]:
    """Few settings, few trees, few epochs."""
    from medai_core.tabular import models, network_fit

    recipe = network_fit.Recipe(units=8, epochs=9, every=3, batch=32, rate=0.02, decay=0.01, members=2)
    families = {
        name: models.Family(**{**vars(family), "candidates": lambda data, f=family: [_light(f.candidates(data)[0])]})
        for name, family in models.FAMILIES.items()
    }
    with (
        mock.patch.dict(models.FAMILIES, families),
        mock.patch.object(network_fit, "recipe_of", lambda rows: recipe),
    ):
        yield
