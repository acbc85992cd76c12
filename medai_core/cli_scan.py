"""The command ``scan``: scans in, one line each out."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from medai_core import registry
from medai_core.errors import MedAIError

if TYPE_CHECKING:
    from medai_core.imaging.reader import ScanReader
    from medai_core.imaging.reading import Reading

DECIMALS = 6
"""Of every number on the command line."""

Row = dict[str, Any]
Read = Callable[[Iterable[tuple[str, bytes]]], Iterator[tuple[str, Any]]]


def scan_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("paths", nargs="+", metavar="PATH", help="scans, ZIP archives, or folders of them")
    known = [entry.id for entry in registry.MODELS.values() if entry.task == "classification"]
    parser.add_argument("--model", default="auto", choices=("auto", *known), help="default: auto")
    parser.add_argument("--frame", type=int, help="frame of a file, or slice of a volume, from 0")
    parser.add_argument("--plane", choices=("axial", "coronal", "sagittal"), help="of a volume")
    shown = "read images marked as synthetic too, and say so; without it they are refused as a patient's"
    parser.add_argument("--demonstration", action="store_true", help=shown)


def scan(
    args: argparse.Namespace,
    emit: Callable[[Row], None],
    answers: Callable[[Iterable[str], Read], Iterator[tuple[str, Any]]],
    start: Callable[[], None],
) -> bool:
    """Read every file; `answers` and `start` as of :func:`medai_core.cli_icu.icu`."""
    from tqdm import tqdm

    all_well = True
    for name, answer in tqdm(answers(args.paths, _reading(args, start)), unit="file", leave=False, disable=None):
        row = scan_row(name, answer)
        all_well &= row["status"] != "error"
        emit(row)
    return all_well


def _reading(args: argparse.Namespace, start: Callable[[], None]) -> Read:
    def read(items: Iterable[tuple[str, bytes]]) -> Iterator[tuple[str, Reading | MedAIError]]:
        from medai_core.imaging.reader import load_reader

        start()
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


def scan_text(row: Row) -> str:
    if row["status"] != "read":
        return f"{row['file']}: {row['status']}: {row['reason']}"
    shares = ", ".join(f"{label} {p:.3f}" for label, p in row["probabilities"].items())
    refer = f"; refer to a reader ({' or '.join(row['prediction_set'])})" if row["refer"] else ""
    cautions = "".join(f"; {caution}" for caution in row["cautions"])
    return f"{row['file']}: {row['model']}: {row['label']} ({shares}){refer}{cautions}"
