"""From the public stays to the shipped bundle ``icu_mortality``.

The test part is measured at the end. Blend, calibration and thresholds come from held-out folds of the rest.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping
from importlib.metadata import version as library_version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedKFold, train_test_split

from medai_core import runtime
from medai_core.artifacts import Bundle, save_bundle
from medai_core.calibration import reliability_curve
from medai_core.errors import InputError
from medai_core.icu import scores
from medai_core.icu.blend import Blend
from medai_core.icu.cards import CARDS
from medai_core.icu.cohort import Cohort, load_cohort
from medai_core.icu.evaluate import BLEND, Figures, by_group, by_hour, figures, rivals
from medai_core.icu.features import features
from medai_core.icu.forecaster import MODEL
from medai_core.icu.grid import DESCRIPTORS, HOURS
from medai_core.icu.inputs import INPUTS, Scaling, network_inputs
from medai_core.icu.train_network import Recipe, member_fold, train_network
from medai_core.icu.train_trees import train_trees
from medai_core.icu.trees import FILES, Trees
from medai_core.icu.variables import NAMES, SERIES

VERSION = "1.1.0"
TEST_SHARE, FOLDS = 0.15, 5
END = HOURS - 1
LEAST = 60

Array = NDArray[np.float64]
Progress = Callable[[dict[str, object]], None]


def split(cohort: Cohort, seed: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows of the development and of the test part, by patient, deaths in proportion.

    Raises
    ------
    InputError
        If there are too few stays, or too few deaths, to split.
    """
    died = cohort.died
    if len(died) < LEAST or min(died.sum(), (1 - died).sum()) < 2 * FOLDS:
        raise InputError(
            "Training needs at least {least} stays, {each} of them with and {each} without death, "
            "got {stays} with {deaths} deaths.",
            least=LEAST,
            each=2 * FOLDS,
            stays=len(died),
            deaths=int(died.sum()),
        )
    rows = np.arange(len(died))
    return tuple(
        np.sort(part) for part in train_test_split(rows, test_size=TEST_SHARE, stratify=died, random_state=seed)
    )


def folds_of(died: NDArray[np.int64], seed: int) -> NDArray[np.intp]:
    """Number of the fold of each stay."""
    fold = np.zeros(len(died), np.intp)
    parts = StratifiedKFold(FOLDS, shuffle=True, random_state=seed).split(died[:, None], died)
    for k, (_, mine) in enumerate(parts):
        fold[mine] = k
    return fold


def _held_out(members: Array, fold: NDArray[np.intp], recipe: Recipe) -> Array:
    """Mean logit (N, 48) over the members (N, 48, M) that never saw the stay."""
    blind = fold[:, None] == member_fold(recipe, FOLDS)[None]
    return (members * blind[:, None]).sum(-1) / blind.sum(-1)[:, None]


def _alone(trees: Array, network: Array, cohort: Cohort) -> dict[str, list[float]]:
    """Slope and intercept that calibrate each method by itself, from held-out logits (N,) or the scores."""
    found = {}
    for name, x in ({**cohort.scores, "trees": trees, "network": network}).items():
        known = ~np.isnan(x)
        found[name] = scores.logistic(np.column_stack([x, np.ones_like(x)])[known], cohort.died[known]).tolist()
    return found


def _thresholds(probabilities: Mapping[str, Array], died: NDArray[np.int64]) -> dict[str, float]:
    known = {name: ~np.isnan(risk) for name, risk in probabilities.items()}
    return {name: scores.best_threshold(risk[known[name]], died[known[name]]) for name, risk in probabilities.items()}


def libraries() -> dict[str, str]:
    """The versions a bundle was made with."""
    names = ("tensorflow", "keras", "numpy", "scikit-learn", "lightgbm")
    return {name: library_version(name) for name in names} | {"python": platform.python_version()}


def _card(cohort: Cohort, parts: Mapping[str, int], recipe: Recipe) -> dict[str, Any]:
    words = CARDS[MODEL]
    data = words["training_data"] | {
        "n_stays": len(cohort.died),
        "n_patients": len(set(cohort.ids.tolist())),
        "n_deaths": int(cohort.died.sum()),
    }
    how = words["split"] | dict(parts) | {"seed": recipe.seed, "folds": FOLDS}
    rest = {"labels": ["survived", "died in hospital"], "training_data": data, "split": how}
    return {
        "id": MODEL,
        "version": VERSION,
        **{k: v for k, v in words.items() if k != "notes"},
        **rest,
        "recipe": vars(recipe),
        "libraries": libraries(),
        "seed": recipe.seed,
    }


def train_icu_mortality(data: Path, out: Path, progress: Progress, recipe: Recipe | None = None) -> Bundle:
    """Rebuild the mortality model from the challenge's folder; a trained network in ``<out>.work`` is taken up.

    Parameters
    ----------
    data : Path
        A folder with ``set-a`` and ``Outcomes-a.txt`` somewhere below it.
    out : Path
        Becomes the bundle.
    """
    recipe, cohort = recipe or Recipe(), load_cohort(data)
    development, test = (cohort.part(rows) for rows in split(cohort, recipe.seed))
    fold, scaling = folds_of(development.died, recipe.seed), Scaling.fit(development.grid)
    texts, trees_held = train_trees(development, fold, recipe.seed, progress)
    network = train_network(development, scaling, fold, recipe, out.with_name(f"{out.name}.work"), progress)
    run = runtime.Compiled(network, (HOURS, len(INPUTS)))
    network_held = _held_out(_logits(run, development, scaling), fold, recipe)
    blend = Blend.fit(trees_held, network_held, development.died)
    alone = _alone(trees_held[:, END], network_held[:, END], development)
    held = rivals(development, trees_held[:, END], network_held[:, END], blend(trees_held, network_held)[:, END], alone)
    constants = {
        "version": VERSION,
        "series": {name: SERIES[name].unit for name in NAMES},
        "descriptors": list(DESCRIPTORS),
        "scaling": scaling.to_dict(),
        "blend": blend.to_dict(),
        "alone": alone,
        "thresholds": _thresholds(held, development.died),
        "chosen_on": "held-out folds",
    }
    document = _document(test, texts, run, scaling, blend, constants)
    document["figures"] += _defined(figures(held, development.died, constants["thresholds"], "held-out folds"))
    card = _card(cohort, {"development": len(development.died), "test": len(test.died)}, recipe)
    return save_bundle(out, network, card, constants, document, texts={FILES[key]: text for key, text in texts.items()})


def _defined(rows: Figures) -> Figures:
    """Those that so few stays allow to be computed."""
    return [row for row in rows if np.isfinite([row["value"], row["low"], row["high"]]).all()]


def _logits(run: Callable[[Any], Any], cohort: Cohort, scaling: Scaling) -> Array:
    """Logits (N, 48, M) of every member."""
    x = network_inputs(cohort.grid, scaling)
    return np.concatenate([np.asarray(run(x[k : k + 256]), dtype=float) for k in range(0, len(x), 256)])


def _document(
    test: Cohort,
    texts: Mapping[tuple[int, str, int], str],
    run: Callable[[Any], Any],
    scaling: Scaling,
    blend: Blend,
    constants: Mapping[str, Any],
) -> dict[str, Any]:
    """Figures and curves of the test part."""
    from sklearn.metrics import roc_curve

    trees, network = Trees(texts)(features(test.grid)), _logits(run, test, scaling).mean(-1)
    risk = blend(trees, network)
    found = rivals(test, trees[:, END], network[:, END], risk[:, END], constants["alone"])
    rows = _defined(figures(found, test.died, constants["thresholds"], "test"))
    fpr, tpr, _ = roc_curve(test.died, risk[:, END])
    alike = [*by_hour(risk, test.died, "test"), *by_group(test, risk[:, END], "test")]
    trees_alone = [row for row in rows if str(row["metric"]).endswith(", trees")]
    return {
        "figures": rows + _defined(alike),
        "baseline": [row | {"metric": str(row["metric"]).replace("trees", BLEND)} for row in trees_alone],
        "reliability": reliability_curve(risk[:, END], test.died),
        "roc": {"fpr": fpr, "tpr": tpr, "name": "death in hospital"},
        "notes": CARDS[MODEL]["notes"],
    }
