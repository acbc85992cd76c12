"""The commands ``evaluate`` and ``train``: the only place outside training that imports what trains."""

from __future__ import annotations

import argparse
import contextlib
import shutil
import tempfile
from collections.abc import Callable, Iterable
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medai_core import registry
from medai_core.artifacts import swap
from medai_core.cli_synthesis import (
    GENERATION,
    RESTORATION,
    RESTORED,
    evaluate_generator,
    evaluate_restorer,
    sample_sources,
)
from medai_core.cli_table import OWN, own_arguments, train_own
from medai_core.errors import InputError

if TYPE_CHECKING:
    from medai_core.artifacts import Bundle

SAMPLES, ICU_SAMPLES = "samples", "icu_samples"
OPTIONAL_DATA = ("breast_cancer", SAMPLES)
"""Whose public data come with a library, and what is made by the shipped generators."""
EVALUATING = {"forecast": "forecast_evaluate", "treatment": "treatment_evaluate"}
"""Module that measures models of a task, where it is not the wing's ``evaluate``."""

Row = dict[str, Any]
Emit = Callable[[Row], None]
Note = Callable[[object], None]
Start = Callable[[], None]


def evaluate(args: argparse.Namespace, emit: Emit, note: Note, start: Start) -> bool:
    """Measure a model; `note` says something on stderr, `start` loads the networks' library."""
    for row in _figures(args.model, args.data, start):
        emit({name: row[name] for name in ("metric", "value", "low", "high", "n")})
    note("All cases of the folder count. Where the model learned from some of them, see its card for its test figures.")
    return True


def _figures(model: str, data: Path, start: Start) -> Iterable[Row]:
    entry = registry.MODELS.get(model)  # None: the folder of a user's own table model
    wing, task = ("tabular", OWN) if entry is None else (entry.wing, entry.task)
    if task != "treatment":
        start()
    if task in (GENERATION, RESTORATION):
        measured = evaluate_generator if task == GENERATION else evaluate_restorer
        with contextlib.closing(_Bars(lambda row: None)) as progress:
            return measured(model, data, progress)
    return import_module(f"medai_core.{wing}.{EVALUATING.get(task, 'evaluate')}").evaluate(model, data)


def evaluate_arguments(parser: argparse.ArgumentParser) -> None:
    tasks = ("classification", "risk", GENERATION, RESTORATION, OWN, *EVALUATING)
    known = [entry.id for entry in registry.MODELS.values() if entry.task in tasks]
    about = f"{', '.join(known)}, or the folder of a model trained by `train table`"
    parser.add_argument("model", metavar="MODEL", type=_model_or_folder(known), help=about)
    parser.add_argument("data", metavar="DATA", type=Path, help="a folder in the layout of the public data, or a table")


def _model_or_folder(known: list[str]) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in known and not Path(text).is_dir():
            raise argparse.ArgumentTypeError(f"must be one of {', '.join(known)}, or a folder, got {text!r}")
        return text

    return read


def evaluate_text(row: Row) -> str:
    value, low, high = (float("nan") if row[name] is None else row[name] for name in ("value", "low", "high"))
    return f"{row['metric']:<44} {value:.4f}  (95 %: {low:.4f} to {high:.4f}, n = {row['n']})"


class _Bars:
    """A progress bar on stderr for each part of a training run."""

    def __init__(self, emit: Emit) -> None:
        from tqdm import tqdm

        self._make, self._emit, self._part, self._bar = tqdm, emit, None, tqdm(disable=True)

    def __call__(self, row: Row) -> None:
        if row.get("part") != self._part:
            self._bar.close()
            self._part = row.get("part")
            self._bar = self._make(total=row.get("of"), desc=self._part, unit="epoch", disable=None)
        self._bar.update(int(row["epoch"]) - self._bar.n)
        self._emit(row)

    def close(self) -> None:
        self._bar.close()


def train(args: argparse.Namespace, emit: Emit, note: Note, start: Start) -> bool:
    """Rebuild a model, or train one on a user's own table; `note` and `start` as of :func:`evaluate`."""
    if args.data is None and args.model not in OPTIONAL_DATA:
        raise InputError("`--data` must be given to train {model}", model=args.model)
    start()
    if args.model == SAMPLES:
        from medai_core.imaging.train_samples import make_samples

        for row in make_samples(args.out, sample_sources()):
            emit(row)
        return True
    if args.model == ICU_SAMPLES:
        return _draw_stays(args, emit)
    with contextlib.closing(_Bars(emit)) as progress:
        if args.model == OWN:
            made = train_own(args, progress, note)
        else:
            made = trainer(args.model)(args.data, args.out, progress)
    note(f"{made.path}: version {made.version}, {made.size_mb:.1f} MB, digest {made.digest}")
    if args.pin and args.model != OWN:
        ship(made)
        note(f"{made.id} now ships with this digest")
    return True


def _draw_stays(args: argparse.Namespace, emit: Emit) -> bool:
    from medai_core.icu.train_samples import make_samples

    with contextlib.closing(_Bars(emit)) as progress:
        rows = make_samples(args.data, args.out, progress)
    for row in rows:
        emit(row)
    return True


def trainer(model: str) -> Callable[[Path, Path, Emit], Bundle]:
    """What rebuilds a shipped model from its public data."""
    if registry.MODELS[model].task == "gate":
        from medai_core.imaging.train_gate import train_gate

        return train_gate
    if model == "icu_mortality":
        from medai_core.icu.train import train_icu_mortality

        return train_icu_mortality
    if model == "breast_cancer":
        from medai_core.tabular.train import train_breast_cancer

        return train_breast_cancer
    if registry.MODELS[model].task == "treatment":
        from medai_core.tabular.train_treatment import train_actg175

        return train_actg175
    if model == "icu_forecast":
        from medai_core.icu.train_forecast import train_icu_forecast

        return train_icu_forecast
    if registry.MODELS[model].task in (GENERATION, RESTORATION):
        return partial(_train_synthesis, model)
    from medai_core.imaging.train_bundle import train_scan_model

    return partial(train_scan_model, model)


def _train_synthesis(model: str, data: Path, out: Path, progress: Emit) -> Bundle:
    """Train a generator or the restorer on images that the scan wing reads; its network judges the generators."""
    from medai_core.imaging.dataset import LABELS, PUBLIC_TEST, load_scans
    from medai_core.imaging.features import scan_answers
    from medai_core.synthesis.train_bundle import SCAN_MODELS, train_generator
    from medai_core.synthesis.train_restorer import train_restorer

    kind = SCAN_MODELS.get(model, RESTORED)
    scans = load_scans(kind, data, leave_out=PUBLIC_TEST)
    about = (scans.images, scans.labels, scans.groups)
    if model not in SCAN_MODELS:
        return train_restorer(*about, out, progress)
    return train_generator(model, *about, LABELS[kind], scan_answers(kind), out, progress)


def ship(made: Bundle) -> None:
    """Make a bundle the shipped one: copy it to the assets, unless it is there, and pin its digest."""
    home = registry.MODELS[made.id].path
    if made.path.resolve() != home.resolve():
        home.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{made.id}-", dir=home.parent) as scratch:
            copy = shutil.copytree(made.path, Path(scratch) / made.id)
            swap(copy, home, Path(scratch) / "replaced")
    registry.pin(made.id, made.digest)


def train_arguments(parser: argparse.ArgumentParser) -> None:
    kinds = [*registry.MODELS, OWN, SAMPLES, ICU_SAMPLES]
    parser.add_argument("model", metavar="MODEL", choices=kinds, help="%(choices)s (demonstration images and stays)")
    parser.add_argument("--data", type=Path, metavar="DIR", help="the public data (README names them), or the table")
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="the result; checkpoints go to DIR.work")
    parser.add_argument("--pin", action="store_true", help="ship the result: copy it to assets/models, pin its digest")
    own_arguments(parser)


def train_text(row: Row) -> str:
    if "epoch" not in row:
        return f"{row['file']}: {row['title']}"
    rest = ", ".join(f"{name} {value}" for name, value in row.items() if name not in ("part", "epoch", "of"))
    return f"{row.get('part', '')} epoch {row['epoch']} of {row.get('of', '?')}: {rest}"
