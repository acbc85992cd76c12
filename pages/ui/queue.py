"""The worklist of one visitor: files waiting, files read, and a way to stop in between.

A page cannot be asked to stop while it computes, so the work is done in slices of a fraction of a second,
one per rerun; between two slices Streamlit delivers the click on *Stop*.
"""

from __future__ import annotations

import csv
import io
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from medai_core.errors import InputError, MedAIError
from medai_core.imaging.reading import Reading

FORMULA_START = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True, eq=False)
class Upload:
    """A file as it was uploaded; a ZIP stays packed."""

    name: str
    data: bytes


@dataclass(frozen=True, eq=False)
class Row:
    """One file's outcome; its bytes are the ``place``-th member of ``upload``."""

    name: str
    upload: Upload
    place: int
    outcome: Reading | MedAIError

    @property
    def status(self) -> str:
        return "error" if isinstance(self.outcome, MedAIError) else self.outcome.status

    @property
    def urgency(self) -> float | None:
        """From 0 to 1 where there is an answer; no answer says nothing about urgency."""
        return self.outcome.urgency if self.status == "read" else None

    @property
    def needs_look(self) -> bool:
        """Whether a person should look: no answer, an open one, or a finding above the threshold."""
        return self.status != "read" or self.outcome.refer or bool(self.outcome.above_threshold)

    def data(self) -> bytes:
        """Return the bytes of the file, unpacked again where it came from a ZIP."""
        from medai_core.imaging.read import unpack

        for place, member in enumerate(unpack(self.upload.data, self.upload.name)):
            if place == self.place and member.error is None:
                return member.data
        raise InputError("The archive {name} holds no file {member}.", name=self.upload.name, member=self.name)


@dataclass(eq=False)
class Queue:
    """Reads uploads slice by slice; ``rows`` keeps what is done, also after a stop."""

    uploads: Sequence[Upload]
    model: str
    rows: list[Row] = field(default_factory=list)
    state: str = "running"
    seconds: float = 0.0
    seen: int = 0
    _readings: Iterator | None = None
    _handed: deque[tuple[str, Upload, int]] = field(default_factory=deque)

    def work(self, reader: object, slice_seconds: float) -> None:
        """Read for about ``slice_seconds``, then return; ``state`` becomes ``done`` at the end."""
        if self.state != "running":
            return
        if self._readings is None:
            self._readings = reader.read_many(self._inputs(), model=self.model)
        start = time.perf_counter()
        for _name, outcome in self._readings:
            self.rows.append(Row(*self._handed.popleft(), outcome))
            if time.perf_counter() - start > slice_seconds:
                break
        else:
            self.state = "done"
        self.seconds += time.perf_counter() - start

    def stop(self) -> None:
        """Stop, keeping what is done."""
        if self.state == "running":
            self.state = "stopped"
            if self._readings is not None:
                self._readings.close()

    def _inputs(self) -> Iterator[tuple[str, bytes]]:
        """Yield files one by one, ZIPs unpacked; what cannot be unpacked becomes a row at once."""
        from medai_core.imaging.read import unpack

        for upload in self.uploads:
            self.seen += 1
            for place, member in enumerate(unpack(upload.data, upload.name)):
                if member.error is not None:
                    self.rows.append(Row(member.name, upload, place, member.error))
                    continue
                self._handed.append((member.name, upload, place))
                yield member.name, member.data

    def sorted_rows(self) -> list[Row]:
        """Return the rows: those to look at by urgency, then what was not read, then the rest by urgency."""
        order = {"read": 0, "refused": 1, "error": 2}
        return sorted(self.rows, key=lambda row: (not row.needs_look, order[row.status], -(row.urgency or 0.0)))


def safe_cell(text: object) -> str:
    """Return text that no spreadsheet takes for a formula (OWASP, CSV injection)."""
    cell = str(text)
    return "'" + cell if cell.startswith(FORMULA_START) else cell


def to_csv(rows: Sequence[Row]) -> bytes:
    """Return the worklist as CSV in English, the fields of ``scan --json`` first; UTF-8 that Excel recognises."""
    labels = sorted({label for row in rows if row.status == "read" for label in row.outcome.probabilities})
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    head = ["file", "status", "reason", "model", "version", "label", "prediction_set", "refer", "urgency"]
    writer.writerow([*head, *(f"p_{label}" for label in labels), "sha256"])
    for row in rows:
        writer.writerow([safe_cell(cell) for cell in _cells(row, labels)])
    return out.getvalue().encode("utf-8-sig")


def _cells(row: Row, labels: Sequence[str]) -> list[object]:
    if isinstance(row.outcome, MedAIError):
        return [row.name, "error", str(row.outcome), *[""] * (7 + len(labels))]
    reading, urgency = row.outcome, "" if row.urgency is None else f"{row.urgency:.4f}"
    shares = [f"{reading.probabilities[label]:.4f}" if label in reading.probabilities else "" for label in labels]
    return [
        row.name, reading.status, reading.reason or "", reading.model or "", reading.version or "", reading.label or "",
        " ".join(reading.prediction_set), reading.refer, urgency, *shares, reading.digest,
    ]  # fmt: skip
