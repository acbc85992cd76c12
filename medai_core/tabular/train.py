"""Rebuilding the shipped table model; a user's own table is fitted by :mod:`~medai_core.tabular.compare`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from medai_core.artifacts import MAX_BUNDLE_MB, Bundle
from medai_core.tabular.breast_cancer import plan, read_breast_cancer, sample_table
from medai_core.tabular.bundles import save_study
from medai_core.tabular.cards import CARDS, shipped_card
from medai_core.tabular.compare import Progress, compare
from medai_core.tabular.evaluate import BREAST_CANCER, table_file
from medai_core.tabular.models import ORDER
from medai_core.tabular.problem import prepare
from medai_core.tabular.results import fold_auc, leaderboard

VERSION = "1.0.0"
FOLDS, REPEATS, SEED, RESAMPLES = 10, 5, 2024, 1000

Row = dict[str, Any]


def train_breast_cancer(
    data: Path | None,
    out: Path,
    progress: Callable[[Row], None],
    families: Sequence[str] = ORDER,
    folds: int = FOLDS,
    repeats: int = REPEATS,
) -> Bundle:
    """Rebuild the breast cancer model.

    Parameters
    ----------
    data : Path, optional
        The table in one of its known layouts; scikit-learn's copy by default.
    out : Path
        Becomes the bundle.
    """
    if data is None:
        table = sample_table()
    else:
        path = table_file(data)
        table = read_breast_cancer(path.read_bytes(), path.name)

    def tell(step: Progress) -> None:
        row: Row = {"part": "fits", "epoch": step.done, "of": step.of, "model": step.family, "on": step.part}
        progress(row | {"minutes_left": round(step.left / 60, 1)})

    study = compare(prepare(table, plan()), families, folds=folds, repeats=repeats, seed=SEED, progress=tell)
    figures = leaderboard(study, RESAMPLES) + [fold_auc(study, family) for family in study.families]
    card = shipped_card(study, BREAST_CANCER, VERSION, CARDS[BREAST_CANCER])
    return save_study(study, out, card, figures=figures, max_mb=MAX_BUNDLE_MB)
