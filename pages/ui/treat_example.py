"""A made-up randomised trial, nobody's course, for visitors who want to see what an own table does."""

from __future__ import annotations

from functools import cache

import numpy as np

NAME = "made-up-trial.csv"
ROWS = 400
YEAR = 365.25


@cache
def made_up_trial() -> bytes:
    """Return a trial of two treatments as CSV: the new one helps those with a high marker, and harms the others."""
    rng = np.random.default_rng(5)
    new, marker = rng.integers(0, 2, ROWS), rng.normal(0, 1, ROWS)
    age = rng.normal(62, 11, ROWS).clip(25, 90).round()
    stage = rng.choice(["I", "II", "III"], ROWS, p=[0.4, 0.35, 0.25])
    burden = {"I": -0.3, "II": 0.1, "III": 0.6}
    hazard = 0.02 * (age - 62) + np.vectorize(burden.__getitem__)(stage) + 1.1 * np.tanh(2 * marker) * (1 - 2 * new)
    time = rng.exponential(2.2 * YEAR / np.exp(hazard))
    watched = rng.uniform(1.2 * YEAR, 3.2 * YEAR, ROWS)
    level = np.exp(3 + 0.4 * marker).round(1)
    lines = ["treatment,age (years),stage,marker (ng/mL),days,event"]
    for k in range(ROWS):
        arm, event = ("new" if new[k] else "standard"), int(time[k] <= watched[k])
        days = np.ceil(min(time[k], watched[k]))
        lines.append(f"{arm},{age[k]:.0f},{stage[k]},{level[k]},{days:.0f},{event}")
    return "\n".join(lines).encode()
