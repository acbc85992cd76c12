"""The command ``synthesize``: labelled images into a new folder, each marked as synthetic; and how good they are."""

from __future__ import annotations

import argparse
import errno
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medai_core.errors import InputError

if TYPE_CHECKING:
    from medai_core.synthesis.generator import Generated, Generator

Row = dict[str, Any]
MAX_SEED = 2**32 - 1
GENERATION, RESTORATION = "generator", "restoration"
"""Tasks of the registry."""
RESTORED = "chest_xray"
"""The scan model whose images the restorer learns from."""
SAMPLE_SEED, SAMPLE_TRIES = 2026, 48
BYTES_EACH = 24_000
"""Room that an image takes on disk, the larger of PNG and DICOM, rounded up."""


def synthesize_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", type=_model, help="what to make: chest_xray or brain_mri")
    labels = "chest_xray: normal, bacterial, viral; brain_mri: glioma, meningioma, notumor, pituitary"
    parser.add_argument("--label", required=True, help=labels)
    parser.add_argument("--count", required=True, type=_count, metavar="N", help="how many images, 1 to 1000")
    parser.add_argument("--seed", required=True, type=_seed, metavar="N", help="a seed always gives the same images")
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="a new or empty folder")
    typical = "0.1 (typical) to 1.5 (varied), default 1.0"
    parser.add_argument("--truncation", type=_truncation, default=1.0, metavar="X", help=typical)
    parser.add_argument("--format", choices=("png", "dicom"), default="png", help="default: png")
    clean = "leave out the visible mark, for training; watermark and metadata stay"
    parser.add_argument("--clean", action="store_true", help=clean)


def _model(text: str) -> str:
    from medai_core.synthesis.generator import GENERATORS

    if text not in GENERATORS and text not in GENERATORS.values():
        raise argparse.ArgumentTypeError(f"must be one of {', '.join(GENERATORS)}, got {text!r}")
    return GENERATORS.get(text, text)


def _whole(text: str, low: int, high: int) -> int:
    if not text.isascii() or not text.isdigit() or not low <= int(text) <= high:
        raise argparse.ArgumentTypeError(f"must be a whole number from {low} to {high}, got {text!r}")
    return int(text)


def _count(text: str) -> int:
    from medai_core.synthesis.generator import MAX_COUNT

    return _whole(text, 1, MAX_COUNT)


def _seed(text: str) -> int:
    return _whole(text, 0, MAX_SEED)


def _truncation(text: str) -> float:
    from medai_core.synthesis.generator import TRUNCATION

    low, high = TRUNCATION
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not low <= value <= high:
        raise argparse.ArgumentTypeError(f"must be a number from {low} to {high}, got {text!r}")
    return value


def synthesize(
    args: argparse.Namespace, emit: Callable[[Row], None], note: Callable[[object], None], start: Callable[[], None]
) -> bool:
    """Make the images; the folder appears when all are written, and nothing in it is ever overwritten.

    Parameters
    ----------
    note : callable
        Says something to a person.
    start : callable
        Loads the networks' library.

    Raises
    ------
    InputError
        If the folder holds something, or cannot be written.
    SystemExit
        With 2, if the generator knows no such label.
    """
    _check(args.out, args.count)
    generator = _generator(args.model, start)
    if args.label not in generator.labels:
        note(f"error: `--label` must be one of {', '.join(generator.labels)}, got {args.label!r}")
        raise SystemExit(2)
    made = _generated(generator, args)
    with _explained(args.out, args.count), _new_folder(args.out) as folder:
        rows = list(_written(made, folder, args))
    for row in rows:
        emit(row)
    note(_withheld(made.withheld))
    return True


def _generator(model: str, start: Callable[[], None]) -> Generator:
    from medai_core.synthesis.generator import load_generator

    start()
    return load_generator(model)


def _generated(generator: Generator, args: argparse.Namespace) -> Generated:
    from tqdm import tqdm

    with tqdm(total=args.count, unit="image", desc="making", leave=False, disable=None) as bar:
        return generator.generate(
            args.label, args.count, args.seed, truncation=args.truncation,
            progress=lambda done, wanted: bar.update(done - bar.n),
        )  # fmt: skip


def _written(made: Generated, folder: Path, args: argparse.Namespace) -> Iterator[Row]:
    from tqdm import tqdm

    from medai_core.synthesis.export import encoded, file_name

    for image in tqdm(made.images, unit="image", desc="writing", leave=False, disable=None):
        name = file_name(image, args.format)
        (folder / name).write_bytes(encoded(image, args.format, args.clean))
        yield {"file": str(args.out / name), "label": image.label, "seed": image.seed, "index": image.index}


def _withheld(number: int) -> str:
    if not number:
        return "No image was withheld: none came too near to a training image."
    images = "1 image was" if number == 1 else f"{number} images were"
    return f"{images} withheld as too near to a training image; others took their place."


def _check(out: Path, count: int) -> None:
    """Refuse before the work what cannot be written after it."""
    with _explained(out, count):
        if out.is_dir() and any(out.iterdir()):
            raise InputError(
                "`--out` must be a new or an empty folder; {out} holds files, and none of them is changed.",
                out=str(out),
            )
        if out.exists() and not out.is_dir():
            raise InputError("`--out` must be a folder; {out} is a file, and it is not changed.", out=str(out))
        there = next(folder for folder in out.absolute().parents if folder.exists())
        if shutil.disk_usage(there).free < count * BYTES_EACH:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@contextmanager
def _explained(out: Path, count: int) -> Iterator[None]:
    """Turn what the file system says into a sentence."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise InputError(
                "There is not enough space on the disk for {n} images in {out}.", n=count, out=str(out)
            ) from error
        raise InputError("The folder {out} cannot be written: {why}.", out=str(out), why=error.strerror) from error


@contextmanager
def _new_folder(out: Path) -> Iterator[Path]:
    """Give a folder beside `out` to write into, which becomes `out` in the end; it is gone if anything fails."""
    home = out.absolute().parent
    home.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=home, ignore_cleanup_errors=True) as scratch:
        folder = Path(scratch) / "images"
        folder.mkdir()
        yield folder
        if out.exists():
            out.rmdir()  # empty, or this fails
        folder.rename(out)


def evaluate_generator(model: str, data: Path, progress: Callable[[Row], None]) -> list[Row]:
    """Measure a generator on labelled images: the scan wing reads them and says what its network sees in each.

    Parameters
    ----------
    model : str
        Id of a generator.
    data : Path
        A folder in the layout of the public data.
    progress : callable
        Told of each stage as training tells of its epochs.
    """
    from medai_core.imaging.dataset import load_scans
    from medai_core.imaging.features import scan_answers
    from medai_core.synthesis.evaluate import evaluate
    from medai_core.synthesis.generator import load_generator

    generator = load_generator(model)
    scans, answers = load_scans(generator.scan_model, data), scan_answers(generator.scan_model)
    return evaluate(generator, scans.images, scans.labels, scans.groups, answers, progress)


def evaluate_restorer(model: str, data: Path, progress: Callable[[Row], None]) -> list[Row]:
    """Measure the restorer on chest radiographs in the layout of the public data, damaged in code."""
    from medai_core.imaging.dataset import load_scans
    from medai_core.synthesis.restore import load_restorer
    from medai_core.synthesis.restore_evaluate import figures_of

    scans = load_scans(RESTORED, data)
    return figures_of(load_restorer(), scans.images, scans.groups, progress)[0]


def synthesize_text(row: Row) -> str:
    return f"{row['file']}: {row['label']}, seed {row['seed']}, image {row['index']}"


def sample_sources() -> dict[str, Callable[[str], Iterator[tuple[bytes, bytes]]]]:
    """By scan model, what makes candidates for its samples: label → images as PNG and as DICOM."""
    from medai_core.synthesis import export
    from medai_core.synthesis.generator import GENERATORS, load_generator

    def source(model: str, label: str) -> Iterator[tuple[bytes, bytes]]:
        for image in load_generator(model).generate(label, SAMPLE_TRIES, SAMPLE_SEED).images:
            yield export.png(image), export.dicom(image)

    return {model: partial(source, model) for model in GENERATORS}
