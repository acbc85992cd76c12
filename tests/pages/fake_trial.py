"""A model of a made-up trial in the layout of the built-in one: fitted in a second, and nobody's course."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pandas as pd

from medai_core.tabular.tables import table_of
from medai_core.tabular.treatment import TreatmentModel
from medai_core.tabular.treatment_fit import fit_treatment
from medai_core.tabular.trial import ACTG_ROLES, ACTG_SCALE, ACTG_VALUES, make_trial

ROWS = 400


def drawn_rows() -> pd.DataFrame:
    """Four arms, the first the worst, whoever the patient is."""
    rng = np.random.default_rng(3)
    arm, symptom = np.arange(ROWS) % 4, rng.integers(0, 2, ROWS)
    cells = {"cd40": rng.gamma(9, 40, ROWS).round(), "cd80": rng.gamma(4, 250, ROWS).round()}
    columns = {"trt": arm, "age": rng.integers(18, 65, ROWS), "karnof": rng.choice([80, 90, 100], ROWS)}
    columns |= {"symptom": symptom, "preanti": rng.integers(0, 1500, ROWS), **cells}
    rate = 0.6 / 730 * np.exp(-0.004 * (cells["cd40"] - 350) - 1.0 * (arm > 0) + 0.4 * symptom)
    time, watched = rng.exponential(1 / rate), rng.uniform(700, 1231, ROWS)
    columns |= {"time": np.ceil(np.minimum(time, watched)), "cid": (time <= watched).astype(int)}
    return pd.DataFrame(columns)


@cache
def fake_treatment() -> TreatmentModel:
    """What :func:`pages.ui.treat_loaders.load` returns."""
    trial = make_trial(table_of(drawn_rows(), "drawn"), ACTG_ROLES, randomised=True, scale=ACTG_SCALE)
    model = fit_treatment(trial, family="cox", resamples=12, repeats=1, limits=ACTG_VALUES)[0]
    return replace(model, background=model.background[:10])
