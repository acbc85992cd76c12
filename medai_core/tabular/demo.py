"""Tables drawn at random, to try training on: nobody's data, with the faults that tables of patients have."""

from __future__ import annotations

from functools import cache

import numpy as np
import pandas as pd
from numpy.random import Generator
from numpy.typing import NDArray

from medai_core.tabular.tables import Table, table_of

ADMISSIONS, FOLLOW_UP = "admissions", "follow_up"
ROWS = 480
_WARDS = ("cardiology", "general medicine", "surgery")
_GRADES = ("mild", "moderate", "severe")


@cache
def admissions(rows: int = ROWS, seed: int = 0) -> Table:
    """Admissions to hospital with who was readmitted: ``readmitted``, or ``severity``, or ``stay (days)``.

    Planted faults: patients that come back (``patient_id``), a column that gives readmission away
    (``discharge_code``), one value in every row (``hospital``), a date, and missing laboratory values.
    """
    rng = np.random.default_rng(seed)
    who = rng.integers(0, round(0.8 * rows), rows)
    frame, load = _people(who, rng)
    severity = np.digitize(load + rng.normal(0, 0.6, rows), [-0.4, 1.1])
    stay = np.ceil(rng.gamma(3, 0.8, rows) * (1 + severity))
    back = rng.random(rows) < _chance(1.4 * load + 0.05 * stay - 1.1)
    frame = frame.assign(
        **{
            "ward": rng.choice(_WARDS, rows), "hospital": "North", "severity": np.array(_GRADES)[severity],
            "stay (days)": stay, "discharge_code": np.where(back, "R2", rng.choice(["H1", "H2"], rows)),
            "readmitted": np.where(back, "yes", "no"),
        }
    )  # fmt: skip
    frame.insert(0, "patient_id", [f"P{number:04d}" for number in who])
    frame.insert(1, "admitted", pd.Timestamp("2023-01-01") + pd.to_timedelta(rng.integers(0, 700, rows), unit="D"))
    return table_of(frame, "Drawn admissions")


@cache
def follow_up(rows: int = ROWS, seed: int = 1) -> Table:
    """Patients watched until death or the end of the study: time ``followed (days)``, event ``died``."""
    rng = np.random.default_rng(seed)
    frame, load = _people(np.arange(rows), rng)
    death = rng.exponential(1_500 * np.exp(-0.9 * load))
    end = rng.uniform(200, 1_600, rows)
    days = np.ceil(np.minimum(death, end))
    return table_of(frame.assign(**{"followed (days)": days, "died": np.where(death <= end, "yes", "no")}),
                    "Drawn follow-up")  # fmt: skip


def _people(who: NDArray[np.intp], rng: Generator) -> tuple[pd.DataFrame, NDArray[np.float64]]:
    """Columns that stay with a patient and such that are measured each time, and how ill each row is."""
    count, n = int(who.max()) + 1, len(who)
    age, sex = rng.normal(64, 14, count).clip(19, 97).round(), rng.choice(["female", "male"], count)
    smoker = rng.choice(["never", "former", "current"], count, p=[0.5, 0.3, 0.2])
    diseases = rng.poisson(1.4, count).clip(0, 6)
    creatinine = rng.lognormal(0.05 + 0.08 * diseases[who], 0.25, n).round(2)
    crp, haemoglobin = rng.lognormal(2.2, 0.9, n).round(1), rng.normal(12.9, 1.6, n).round(1)
    load = (
        0.035 * (age[who] - 64) + 0.35 * (diseases[who] - 1.4) + 0.4 * (smoker[who] == "current")
        + 0.5 * (np.log(crp) - 2.2) - 0.18 * (haemoglobin - 12.9) + 0.9 * (np.log(creatinine) - 0.16)
    )  # fmt: skip
    crp[rng.random(n) < 0.12] = np.nan
    haemoglobin[rng.random(n) < 0.04] = np.nan
    columns = {
        "age (years)": age[who], "sex": sex[who], "smoker": smoker[who], "chronic diseases": diseases[who],
        "systolic (mmHg)": rng.normal(131, 18, n).round(), "creatinine (mg/dL)": creatinine, "CRP (mg/L)": crp,
        "haemoglobin (g/dL)": haemoglobin,
    }  # fmt: skip
    return pd.DataFrame(columns), load


def _chance(odds: NDArray[np.float64]) -> NDArray[np.float64]:
    return 1 / (1 + np.exp(-odds))
