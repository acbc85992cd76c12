"""The public image folders as arrays, with who belongs together, for training and evaluation.

Nothing here is needed to read a scan.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from medai_core.errors import InputError, MedAIError
from medai_core.imaging.prepare import prepare
from medai_core.imaging.read import read_scan
from medai_core.likeness import joined_groups

LABELS: dict[str, tuple[str, ...]] = {
    "chest_xray": ("normal", "bacterial", "viral"),
    "brain_mri": ("glioma", "meningioma", "notumor", "pituitary"),
}
PUBLIC_TEST = ("test", "testing")
"""The public releases' own test folders: training never looks into them."""


@dataclass(frozen=True, eq=False)
class ScanSet:
    """Prepared images of one folder.

    Attributes
    ----------
    images : NDArray[np.uint8]
        (N, 128, 128), prepared as at inference and rounded to 8 bits.
    labels : NDArray[np.int64]
        (N,) index into the model's labels.
    groups : NDArray[np.str_]
        (N,) patient (chest) or near-duplicate group (brain): never split across parts.
    order : NDArray[np.float64]
        (N,) place in the acquisition sequence within `stream`, from 0 to 1; images far apart come from
        different sessions, often different devices.
    stream : NDArray[np.str_]
        (N,) which numbering `order` belongs to.
    files : tuple[str, ...]
        Path of each image relative to the folder.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    groups: NDArray[np.str_]
    order: NDArray[np.float64]
    stream: NDArray[np.str_]
    files: tuple[str, ...]


def _images(files: Iterable[Path]) -> NDArray[np.uint8]:
    def one(path: Path) -> NDArray[np.uint8]:
        try:
            pixels = prepare(read_scan(path.read_bytes()).display).image[..., 0]
        except MedAIError as error:
            raise InputError("{file} cannot be used: {problem}", file=str(path), problem=str(error)) from error
        return np.round(pixels * 255).astype(np.uint8)

    with ThreadPoolExecutor(2) as pool:
        return np.stack(list(pool.map(one, files)))


def _chest_identity(path: Path) -> tuple[int, str, str, int] | None:
    """Return label, patient, numbering and number of a radiograph of the public release.

    A name such as ``person1146_bacteria_3086.jpeg`` gives patient 1146; bacterial and viral pneumonia
    share one numbering of persons. ``NORMAL2-IM-0927-0001.jpeg`` gives study 927 of the second one.
    """
    folder = path.parent.name.upper()
    if folder == "PNEUMONIA" and (found := re.match(r"person(\d+)_(bacteria|virus)", path.name)):
        number = int(found[1])
        return (1 if found[2] == "bacteria" else 2), f"person{number}", "person", number
    if folder == "NORMAL" and (found := re.match(r"(NORMAL2-)?IM-(\d+)", path.name)):
        stream = "normal2" if found[1] else "normal"
        return 0, f"{stream}-{int(found[2])}", stream, int(found[2])
    return None


def _brain_identity(path: Path) -> tuple[int, str, str, int] | None:
    """Return label and file of a slice; the release numbers no patients, groups come from the pixels."""
    folder = path.parent.name.lower()
    if folder not in LABELS["brain_mri"]:
        return None
    return LABELS["brain_mri"].index(folder), path.stem, folder, 0


IDENTITIES: dict[str, Callable[[Path], tuple[int, str, str, int] | None]] = {
    "chest_xray": _chest_identity,
    "brain_mri": _brain_identity,
}


def _relative_order(streams: NDArray[np.str_], numbers: NDArray[np.int64]) -> NDArray[np.float64]:
    order = np.zeros(len(numbers))
    for stream in np.unique(streams):
        mine = streams == stream
        ranks = np.unique(numbers[mine], return_inverse=True)[1]
        order[mine] = ranks / max(ranks.max(), 1)
    return order


def load_scans(model: str, folder: Path, leave_out: Collection[str] = ()) -> ScanSet:
    """Read every labelled image below `folder`, in name order.

    Parameters
    ----------
    model : {"chest_xray", "brain_mri"}
        Whose labels and file names to expect: folders NORMAL and PNEUMONIA, or the four class names,
        at any depth.
    leave_out : collection of str
        Names of folders below `folder`, in lower case, that are passed over.

    Raises
    ------
    InputError
        No such model, no labelled image, or one that cannot be read (it is named).
    """
    if model not in IDENTITIES:
        raise InputError("`model` must be one of {known}, got {name}", known=", ".join(IDENTITIES), name=repr(model))
    identify = IDENTITIES[model]
    files = [path for path in sorted(Path(folder).rglob("*")) if path.is_file() and not path.name.startswith(".")]
    wanted = (path for path in files if not {part.lower() for part in path.relative_to(folder).parts} & set(leave_out))
    found = [(path, who) for path in wanted if (who := identify(path))]
    if not found:
        raise InputError(
            "No labelled image was found below {folder}: expected folders {labels}.",
            folder=str(folder),
            labels="NORMAL, PNEUMONIA" if model == "chest_xray" else ", ".join(LABELS[model]),
        )
    images = _images(path for path, _ in found)
    labels, groups, streams, numbers = (np.array(column) for column in zip(*(who for _, who in found), strict=True))
    if model == "brain_mri":
        groups = joined_groups(images)
    names = tuple(path.relative_to(folder).as_posix() for path, _ in found)
    return ScanSet(images, labels.astype(np.int64), groups, _relative_order(streams, numbers), streams, names)
