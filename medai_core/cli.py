"""The command line: ``python -m medai_core COMMAND``.

Results go to stdout, as readable lines or with ``--json`` as JSON Lines, flushed one by one; progress, notes
and logs go to stderr. Exit status: 0 every input was handled (a refusal is handled), 1 something failed,
2 wrong usage, 130 interrupted.

To add a command, write its three functions and give it a row in :data:`COMMANDS`.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import os
import shutil
import sys
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from medai_core import __version__, registry
from medai_core.artifacts import swap
from medai_core.cli_icu import forecast, forecast_arguments, forecast_text, icu, icu_arguments, icu_text
from medai_core.cli_synthesis import (
    GENERATION,
    RESTORATION,
    RESTORED,
    evaluate_generator,
    evaluate_restorer,
    sample_sources,
    synthesize,
    synthesize_arguments,
    synthesize_text,
)
from medai_core.cli_table import OWN, own_arguments, table, table_arguments, table_text, train_own
from medai_core.cli_treat import treat, treat_arguments, treat_text
from medai_core.errors import InputError, MedAIError
from medai_core.imaging.files import members

if TYPE_CHECKING:
    from medai_core.artifacts import Bundle
    from medai_core.imaging.reader import ScanReader
    from medai_core.imaging.reading import Reading

DECIMALS = 6
INTERRUPTED = 130
SAMPLES, ICU_SAMPLES = "samples", "icu_samples"
OPTIONAL_DATA = ("breast_cancer",)
"""Models whose public data come with a library."""
EVALUATING = {"forecast": "forecast_evaluate", "treatment": "treatment_evaluate"}
"""Module that measures models of a task, where it is not the wing's ``evaluate``."""

Row = dict[str, Any]
Emit = Callable[[Row], None]
Answer = tuple[str, "Reading | MedAIError"]


@dataclass(frozen=True)
class Command:
    """A row of the table of commands.

    Attributes
    ----------
    arguments : callable
        Adds what the command takes to its parser; ``--json`` is there already.
    run : callable
        Does the work, emits one row per result, and says whether all went well.
    text : callable
        A row as a line for people.
    interrupted : str
        What to say after Ctrl-C.
    """

    name: str
    help: str
    arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace, Emit], bool]
    text: Callable[[Row], str]
    interrupted: str = "Interrupted."


def note(sentence: object) -> None:
    """Say something on stderr."""
    print(sentence, file=sys.stderr, flush=True)


def start_networks() -> None:
    """Load TensorFlow quietly: its native code writes to stderr as it starts, whatever its log level.

    What it wrote (tensorflow/tensorflow#100442) is shown if the start fails.
    """
    from medai_core import runtime

    sys.stderr.flush()
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as held_back:
        os.dup2(held_back.fileno(), 2)
        try:
            runtime.configure()
        except BaseException:
            held_back.seek(0)
            os.write(stderr, held_back.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


# -------------------------------------------------------------------------------------------------- models


def _models(args: argparse.Namespace, emit: Emit) -> bool:
    from medai_core.runtime import device_name

    start_networks()
    device, all_well = device_name(), True
    for entry in registry.MODELS.values():
        row: Row = {"id": entry.id, "task": entry.task, "version": None, "digest_ok": False}
        row |= {"device": device, "size_mb": None}
        try:
            found = registry.bundle(entry.id)
            row |= {"version": found.version, "digest_ok": True, "size_mb": found.size_mb}
        except MedAIError as error:
            note(error)
            all_well = False
        emit(row)
    return all_well


def _models_text(row: Row) -> str:
    digest = "digest ok" if row["digest_ok"] else "not usable"
    size = "" if row["size_mb"] is None else f"{row['size_mb']:.1f} MB"
    return f"{row['id']:<12} {row['task']:<15} {row['version'] or '-':<8} {digest:<11} {size:<8} {row['device']}"


# ---------------------------------------------------------------------------------------------------- scan


def _answers(paths: Iterable[str], read: Callable[[Iterable[tuple[str, bytes]]], Iterator[Answer]]) -> Iterator[Answer]:
    """Answers of `read`, with the errors of files that could not be opened in their places."""
    order: deque[tuple[str, MedAIError | None]] = deque()

    def readable() -> Iterator[tuple[str, bytes]]:
        for member in members(paths):
            order.append((member.name, member.error))
            if member.error is None:
                yield member.name, member.data

    waiting = readable()
    first = next(waiting, None)  # the networks are not loaded for nothing
    for name, answer in read(chain([first], waiting)) if first else ():
        while order[0][1] is not None:
            yield order.popleft()
        order.popleft()
        yield name, answer
    yield from order


def _reading(args: argparse.Namespace) -> Callable[[Iterable[tuple[str, bytes]]], Iterator[Answer]]:
    def read(items: Iterable[tuple[str, bytes]]) -> Iterator[Answer]:
        from medai_core.imaging.reader import load_reader

        start_networks()
        reader = load_reader()
        if args.frame is None and args.plane is None:
            yield from reader.read_many(items, model=args.model, demonstration=args.demonstration)
            return
        for name, data in items:
            yield name, _read_one(reader, data, args)

    return read


def _read_one(reader: ScanReader, data: bytes, args: argparse.Namespace) -> Reading | MedAIError:
    try:
        chosen = {"frame": args.frame, "plane": args.plane, "demonstration": args.demonstration}
        return reader.read(data, model=args.model, **chosen)
    except MedAIError as error:
        return error


def _scan(args: argparse.Namespace, emit: Emit) -> bool:
    from tqdm import tqdm

    all_well = True
    for name, answer in tqdm(_answers(args.paths, _reading(args)), unit="file", leave=False, disable=None):
        row = scan_row(name, answer)
        all_well &= row["status"] != "error"
        emit(row)
    return all_well


def scan_row(name: str, answer: Reading | MedAIError) -> Row:
    """One line of ``scan --json``; the rounded probabilities still add up to 1."""
    if isinstance(answer, MedAIError):
        blank = {"model": None, "probabilities": {}, "label": None, "prediction_set": [], "refer": False}
        return {"file": name, "status": "error", "reason": str(answer), **blank, "cautions": []}
    row = {"file": name, **answer.to_json()}
    rounded = {label: round(float(p), DECIMALS) for label, p in row["probabilities"].items()}
    if rounded:
        top = max(rounded, key=rounded.__getitem__)
        rounded[top] = round(1 - sum(p for label, p in rounded.items() if label != top), DECIMALS)
    return row | {"probabilities": rounded}


def _scan_text(row: Row) -> str:
    if row["status"] != "read":
        return f"{row['file']}: {row['status']}: {row['reason']}"
    shares = ", ".join(f"{label} {p:.3f}" for label, p in row["probabilities"].items())
    refer = f"; refer to a reader ({' or '.join(row['prediction_set'])})" if row["refer"] else ""
    cautions = "".join(f"; {caution}" for caution in row["cautions"])
    return f"{row['file']}: {row['model']}: {row['label']} ({shares}){refer}{cautions}"


def _scan_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("paths", nargs="+", metavar="PATH", help="scans, ZIP archives, or folders of them")
    parser.add_argument("--model", default="auto", choices=("auto", *_of_task("classification")), help="default: auto")
    parser.add_argument("--frame", type=int, help="frame of a file, or slice of a volume, from 0")
    parser.add_argument("--plane", choices=("axial", "coronal", "sagittal"), help="of a volume")
    shown = "read images marked as synthetic too, and say so; without it they are refused as a patient's"
    parser.add_argument("--demonstration", action="store_true", help=shown)


def _icu(args: argparse.Namespace, emit: Emit) -> bool:
    return icu(args, emit, _answers, start_networks)


def _forecast(args: argparse.Namespace, emit: Emit) -> bool:
    return forecast(args, emit, _answers, start_networks)


def _synthesize(args: argparse.Namespace, emit: Emit) -> bool:
    return synthesize(args, emit, note, start_networks)


def _table(args: argparse.Namespace, emit: Emit) -> bool:
    return table(args, emit, _answers, start_networks)


def _of_task(*tasks: str) -> list[str]:
    return [entry.id for entry in registry.MODELS.values() if entry.task in tasks]


# ------------------------------------------------------------------------------------- evaluate and train


def _evaluate(args: argparse.Namespace, emit: Emit) -> bool:
    for row in _figures(args.model, args.data):
        emit({name: row[name] for name in ("metric", "value", "low", "high", "n")})
    note("All cases of the folder count. Where the model learned from some of them, see its card for its test figures.")
    return True


def _figures(model: str, data: Path) -> Iterable[Row]:
    entry = registry.MODELS.get(model)  # None: the folder of a user's own table model
    wing, task = ("tabular", OWN) if entry is None else (entry.wing, entry.task)
    if task != "treatment":
        start_networks()
    if task in (GENERATION, RESTORATION):
        measured = evaluate_generator if task == GENERATION else evaluate_restorer
        with contextlib.closing(_Bars(lambda row: None)) as progress:
            return measured(model, data, progress)
    return import_module(f"medai_core.{wing}.{EVALUATING.get(task, 'evaluate')}").evaluate(model, data)


def _evaluate_arguments(parser: argparse.ArgumentParser) -> None:
    known = _of_task("classification", "risk", GENERATION, RESTORATION, OWN, *EVALUATING)
    about = f"{', '.join(known)}, or the folder of a model trained by `train table`"
    parser.add_argument("model", metavar="MODEL", type=_model_or_folder(known), help=about)
    parser.add_argument("data", metavar="DATA", type=Path, help="a folder in the layout of the public data, or a table")


def _model_or_folder(known: list[str]) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in known and not Path(text).is_dir():
            raise argparse.ArgumentTypeError(f"must be one of {', '.join(known)}, or a folder, got {text!r}")
        return text

    return read


def _evaluate_text(row: Row) -> str:
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


def _train(args: argparse.Namespace, emit: Emit) -> bool:
    if args.data is None and args.model not in OPTIONAL_DATA:
        raise InputError("`--data` must be given to train {model}", model=args.model)
    start_networks()
    if args.model == SAMPLES:
        from medai_core.imaging.train_samples import make_samples

        for row in make_samples(args.data, args.out, sample_sources()):
            emit(row)
        return True
    if args.model == ICU_SAMPLES:
        return _draw_stays(args, emit)
    with contextlib.closing(_Bars(emit)) as progress:
        if args.model == OWN:
            made = train_own(args, progress, note)
        else:
            made = _trainer(args.model)(args.data, args.out, progress)
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


def _trainer(model: str) -> Callable[[Path, Path, Emit], Bundle]:
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


def _train_arguments(parser: argparse.ArgumentParser) -> None:
    kinds = [*registry.MODELS, OWN, SAMPLES, ICU_SAMPLES]
    parser.add_argument("model", metavar="MODEL", choices=kinds, help="%(choices)s (demonstration images and stays)")
    parser.add_argument("--data", type=Path, metavar="DIR", help="the public data (README names them), or the table")
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="the result; checkpoints go to DIR.work")
    parser.add_argument("--pin", action="store_true", help="ship the result: copy it to assets/models, pin its digest")
    own_arguments(parser)


def _train_text(row: Row) -> str:
    if "epoch" not in row:
        return f"{row['file']}: {row['title']}"
    rest = ", ".join(f"{name} {value}" for name, value in row.items() if name not in ("part", "epoch", "of"))
    return f"{row.get('part', '')} epoch {row['epoch']} of {row.get('of', '?')}: {rest}"


# --------------------------------------------------------------------------------------------------- bench


def _bench(args: argparse.Namespace, emit: Emit) -> bool:
    from medai_core.bench import bench

    start_networks()
    for row in bench(note):
        emit(row)
    return True


def _bench_text(row: Row) -> str:
    times = f"{row['median_ms']:9.1f} ms  p95 {row['p95_ms']:9.1f} ms  n = {row['n']:<4}"
    return f"{row['what']:<58} {times} {row['device']}"


# --------------------------------------------------------------------------------------- table and main

COMMANDS = (
    Command("models", "list the shipped models and check their digests", lambda parser: None, _models, _models_text),
    Command("scan", "read chest radiographs and brain MRI slices", _scan_arguments, _scan, _scan_text),
    Command("icu", "risk over an intensive-care stay", icu_arguments, _icu, icu_text),
    Command("forecast", "the coming hours of an intensive-care stay", forecast_arguments, _forecast, forecast_text),
    Command(
        "synthesize",
        "make labelled synthetic images",
        synthesize_arguments,
        _synthesize,
        synthesize_text,
        "Interrupted. Nothing was written.",
    ),
    Command("table", "score the rows of a table", table_arguments, _table, table_text),
    Command("treat", "compare the treatments of a trial for each patient", treat_arguments, treat, treat_text),
    Command("evaluate", "measure a model on labelled data", _evaluate_arguments, _evaluate, _evaluate_text),
    Command(
        "train",
        "rebuild a model from its public data",
        _train_arguments,
        _train,
        _train_text,
        "Interrupted. Finished parts are kept: the same command takes the training up where it stopped.",
    ),
    Command("bench", "measure speed on this machine", lambda parser: None, _bench, _bench_text),
)


def parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    name, summary = "python -m medai_core", "MedAI. Not a medical device."
    top = argparse.ArgumentParser(name, description=summary, allow_abbrev=False)
    top.add_argument("--version", action="version", version=__version__)
    below = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in COMMANDS:
        one = below.add_parser(command.name, help=command.help, description=command.help, allow_abbrev=False)
        command.arguments(one)
        one.add_argument("--json", action="store_true", help="JSON Lines on stdout")
        one.set_defaults(chosen=command)
    return top


def _plain(value: Any) -> Any:
    """Numbers rounded, those that are none (NaN, infinity) as null."""
    if isinstance(value, float):
        return round(value, DECIMALS) if math.isfinite(value) else None
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _emitter(args: argparse.Namespace, out: TextIO) -> Emit:
    from tqdm import tqdm

    def emit(row: Row) -> None:
        row = _plain(row)
        line = json.dumps(row, allow_nan=False) if args.json else args.chosen.text(row)
        with tqdm.external_write_mode(sys.stderr):  # a progress bar makes way
            print(line, file=out, flush=True)

    return emit


def main(argv: list[str] | None = None) -> int:
    """Run one command and return the exit status."""
    args, out = parser().parse_args(argv), sys.stdout
    if hasattr(out, "reconfigure"):
        out.reconfigure(errors="backslashreplace")  # file names may hold anything
    try:
        with contextlib.redirect_stdout(sys.stderr):  # whatever a library prints is not a result
            return 0 if args.chosen.run(args, _emitter(args, out)) else 1
    except MedAIError as error:
        note(f"error: {error}")
        return 1
    except KeyboardInterrupt:
        note(f"\n{args.chosen.interrupted}")
        return INTERRUPTED
    except BrokenPipeError:  # the reader of our output has gone, as in `… | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), out.fileno())
        return 1
