"""From bytes to what the networks see, with everything that can be said before them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from medai_core.errors import MedAIError, Message, RefusedInput, say
from medai_core.imaging import gate
from medai_core.imaging.prepare import prepare
from medai_core.imaging.read import read_scan, sniff, unreadable
from medai_core.imaging.reading import GateReport, Reading
from medai_core.imaging.scan import Scan

DECODE_AT_LEAST = 448
MARKED = say("Demonstration: this image is marked as synthetic and shows no patient.")
UNMARKED = say("Demonstration: opened as one, although nothing marks this image as synthetic.")


@dataclass(frozen=True)
class Order:
    """How a file is to be read.

    Attributes
    ----------
    model : str or None
        The model that was asked for, None for ``auto``.
    frame, plane
        As of :func:`~medai_core.imaging.read.read_scan`.
    demonstration : bool
        Let an image through that is marked as synthetic.
    """

    model: str | None = None
    frame: int | None = None
    plane: str | None = None
    demonstration: bool = False


@dataclass(frozen=True, eq=False)
class Taken:
    """A file after intake: ready for the networks, or with its answer already."""

    scan: Scan | None
    image: NDArray[np.float32] | None
    trace: tuple[Message, ...]
    cautions: tuple[Message, ...] = ()
    early: Reading | None = None


def take(data: bytes, order: Order) -> Taken:
    """Decode, check what needs no network, and prepare.

    What happens to one file here is that file's error, also when memory runs out: the others go on.

    Raises
    ------
    InputError
        The bytes cannot be read.
    """
    try:
        return _taken(data, order)
    except MedAIError:
        raise
    except Exception as error:
        raise unreadable(sniff(data), error) from error


def _taken(data: bytes, order: Order) -> Taken:
    try:
        scan = read_scan(data, frame=order.frame, plane=order.plane, at_least=DECODE_AT_LEAST)
    except RefusedInput as refusal:
        early = Reading("refused", "not_read", refusal.message, hashlib.sha256(data).hexdigest())
        return Taken(None, None, (), early=early)
    found = gate.marks_of(scan)
    cautions = (MARKED if found.any else UNMARKED,) if order.demonstration else ()
    if found.any and not order.demonstration:
        report = gate.refuse_marked(found)
    else:
        report = gate.check_before(scan, order.model)
    if report is None:
        try:
            prepared = prepare(scan.display)
            return Taken(_without_pixels(scan), prepared.image, scan.trace + prepared.trace, cautions)
        except RefusedInput as refusal:
            report = GateReport(False, "too_small", refusal.message)
    return Taken(None, None, (), early=gated(scan, report, scan.trace, cautions))


def _without_pixels(scan: Scan) -> Scan:
    """What is left to ask of a scan once it is prepared: dozens of a batch wait at once, each of many megabytes."""
    nothing = np.zeros((0, 0), np.uint8)
    return replace(scan, stored=nothing, display=nothing, colour=None)


def gated(scan: Scan, report: GateReport, trace: tuple[Message, ...], cautions: tuple[Message, ...]) -> Reading:
    """Return a reading that says what the gate said; the model's answer is still missing."""
    return Reading(
        "read" if report.accepted else "refused",
        report.code,
        report.reason,
        scan.digest,
        gate=report,
        trace=trace,
        cautions=cautions,
        frame=scan.frame,
        frames=scan.frames,
        plane=scan.plane,
    )
