"""From the public trial to the shipped bundle ``actg175``.

The kind of model is chosen by cross-validation on the development part, the test part is measured once, and the
shipped model is then fitted on all patients.
"""

from __future__ import annotations

import platform
from collections.abc import Callable
from dataclasses import asdict
from importlib.metadata import version as library_version
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.model_selection import train_test_split

from medai_core.artifacts import Bundle, save_bundle
from medai_core.metrics import Interval
from medai_core.tabular.survival import FAMILIES, Rows
from medai_core.tabular.survival_choice import BASELINE, Score
from medai_core.tabular.treatment import TreatmentModel, to_arrays, to_constants
from medai_core.tabular.treatment_cards import CARD
from medai_core.tabular.treatment_evaluate import Figures, figures, policy_figures, row
from medai_core.tabular.treatment_fit import RESAMPLES, fit_treatment
from medai_core.tabular.trial import ACTG, ACTG_SCALE, ACTG_VALUES, Trial, load_actg

VERSION = "1.0.0"
SEED = 175
TEST_SHARE = 0.25
REPEATS = 5
ALL_PATIENTS = "all patients of the trial"

Progress = Callable[[dict[str, object]], None]


def split(trial: Trial, seed: int = SEED) -> tuple[Rows, Rows]:
    """Rows of the development and of the test part, arms and events in proportion."""
    strata = trial.arm * 2 + trial.event
    parts = train_test_split(np.arange(len(trial)), test_size=TEST_SHARE, stratify=strata, random_state=seed)
    return np.sort(parts[0]), np.sort(parts[1])


def train_actg175(
    data: Path, out: Path, progress: Progress, resamples: int = RESAMPLES, repeats: int = REPEATS,
    families: tuple[str, ...] = tuple(FAMILIES),
) -> Bundle:  # fmt: skip
    """Rebuild the treatment model from the trial's file.

    Parameters
    ----------
    data : Path
        ``actg175.csv``, or a folder that holds it.
    out : Path
        Becomes the bundle.
    """

    def told(part: str, done: int, of: int) -> None:
        progress({"part": part, "epoch": done, "of": of})

    trial = load_actg(data)
    development, test = (trial.part(rows) for rows in split(trial))
    options = {"repeats": repeats, "seed": SEED, "version": VERSION, "limits": ACTG_VALUES, "progress": told}
    tried, scores = fit_treatment(development, families=families, resamples=0, **options)
    rows, baseline = figures(tried, test, "test")
    family = tried.members.terms.kind
    shipped, _ = fit_treatment(trial, family=family, resamples=resamples, **options)
    document = {
        "figures": rows + _cross_validated(scores, len(development)) + policy_figures(shipped, ALL_PATIENTS),
        "baseline": baseline,
        "notes": CARD["notes"],
    }
    card = _card(trial, shipped, scores, {"development": len(development), "test": len(test)})
    constants = {"version": VERSION, **to_constants(shipped)}
    return save_bundle(out, None, card, constants, document, arrays=to_arrays(shipped))


def _cross_validated(scores: list[Score], n: int) -> Figures:
    """Figures of every family on the development part."""
    rows: Figures = []
    for score in scores:
        name = "Kaplan-Meier by arm" if score.family == BASELINE else str(FAMILIES[score.family].title)
        for metric, value, error in (
            ("concordance", score.concordance, score.concordance_error),
            ("integrated Brier score", score.brier, score.brier_error),
        ):
            ends = Interval(value, value - 1.96 * error, value + 1.96 * error)
            rows.append(row(f"{metric}, {name}", ends, n, "cross-validation"))
    return rows


def libraries() -> dict[str, str]:
    """The versions a bundle was made with."""
    names = ("numpy", "scikit-learn", "scikit-survival", "lifelines")
    return {name: library_version(name) for name in names} | {"python": platform.python_version()}


def _card(trial: Trial, model: TreatmentModel, scores: list[Score], parts: dict[str, int]) -> dict[str, Any]:
    data = CARD["training_data"] | {"n_patients": len(trial), "n_events": int(trial.event.sum())}
    words = {name: text for name, text in CARD.items() if name != "notes"}
    recipe = {
        "family": model.members.terms.kind,
        "covariates": list(model.encoder.names),
        "logarithm of": sorted(ACTG_SCALE.logged),
        "as a ratio": [f"{above} over {below}" for below, above in ACTG_SCALE.ratios.items()],
        "resamples": len(model.members.coefficients) - 1,
        "compared": [asdict(score) for score in scores],
    }
    return {
        "id": ACTG,
        "version": VERSION,
        **words,
        "labels": [str(title) for title in model.titles],
        "training_data": data,
        "split": CARD["split"] | parts | {"seed": SEED},
        "recipe": recipe,
        "libraries": libraries(),
        "seed": SEED,
    }
