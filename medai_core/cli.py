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
import sys
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any, TextIO

from medai_core import __version__, registry
from medai_core.cli_cases import (
    audit,
    audit_arguments,
    audit_text,
    backup,
    backup_arguments,
    backup_text,
    cases,
    cases_arguments,
    cases_text,
    restore,
    restore_arguments,
)
from medai_core.cli_icu import forecast, forecast_arguments, forecast_text, icu, icu_arguments, icu_text
from medai_core.cli_scan import DECIMALS, scan, scan_arguments, scan_text
from medai_core.cli_synthesis import synthesize, synthesize_arguments, synthesize_text
from medai_core.cli_table import table, table_arguments, table_text
from medai_core.cli_train import evaluate, evaluate_arguments, evaluate_text, train, train_arguments, train_text
from medai_core.cli_treat import treat, treat_arguments, treat_text
from medai_core.errors import MedAIError
from medai_core.imaging.files import members

if TYPE_CHECKING:
    from medai_core.imaging.reading import Reading

INTERRUPTED = 130

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


# ---------------------------------------------------------------------------------- what commands are given


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


def _scan(args: argparse.Namespace, emit: Emit) -> bool:
    return scan(args, emit, _answers, start_networks)


def _icu(args: argparse.Namespace, emit: Emit) -> bool:
    return icu(args, emit, _answers, start_networks)


def _forecast(args: argparse.Namespace, emit: Emit) -> bool:
    return forecast(args, emit, _answers, start_networks)


def _synthesize(args: argparse.Namespace, emit: Emit) -> bool:
    return synthesize(args, emit, note, start_networks)


def _cases(args: argparse.Namespace, emit: Emit) -> bool:
    return cases(args, emit, _answers, start_networks, note)


def _table(args: argparse.Namespace, emit: Emit) -> bool:
    return table(args, emit, _answers, start_networks)


def _evaluate(args: argparse.Namespace, emit: Emit) -> bool:
    return evaluate(args, emit, note, start_networks)


def _train(args: argparse.Namespace, emit: Emit) -> bool:
    return train(args, emit, note, start_networks)


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
    Command("scan", "read chest radiographs and brain MRI slices", scan_arguments, _scan, scan_text),
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
    Command("evaluate", "measure a model on labelled data", evaluate_arguments, _evaluate, evaluate_text),
    Command(
        "train",
        "rebuild a model from its public data",
        train_arguments,
        _train,
        train_text,
        "Interrupted. Finished parts are kept: the same command takes the training up where it stopped.",
    ),
    Command("cases", "the case workspace", cases_arguments, _cases, cases_text, "Stopped. What has arrived is kept."),
    Command("audit", "check or export the audit log of the case workspace", audit_arguments, audit, audit_text),
    Command("backup", "write the case workspace to one file", backup_arguments, backup, backup_text),
    Command("restore", "bring a backup back into an empty case workspace", restore_arguments, restore, backup_text),
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
