"""The rows of the worklist of scans: what needs a look, in which order, and as CSV."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from medai_core.errors import MedAIError
from medai_core.imaging.reading import Reading
from pages.ui.queue import NotReached, Row, csv_table


@dataclass(frozen=True, eq=False)
class ScanRow(Row):
    """One scan's reading, or why there is none."""

    outcome: Reading | MedAIError

    @property
    def status(self) -> str:
        if isinstance(self.outcome, NotReached):
            return "not_reached"
        return "error" if isinstance(self.outcome, MedAIError) else self.outcome.status

    @property
    def urgency(self) -> float | None:
        """From 0 to 1 where there is an answer; no answer says nothing about urgency."""
        return self.outcome.urgency if self.status == "read" else None

    @property
    def needs_look(self) -> bool:
        """Whether a person should look: no answer, an open one, or a finding above the threshold."""
        return self.status != "read" or self.outcome.refer or bool(self.outcome.above_threshold)


def by_urgency(rows: Sequence[ScanRow]) -> list[ScanRow]:
    """Return the rows: those to look at by urgency, then what was not read, then the rest by urgency."""
    order = {"read": 0, "refused": 1, "error": 2, "not_reached": 3}
    return sorted(rows, key=lambda row: (not row.needs_look, order[row.status], -(row.urgency or 0.0)))


def to_csv(rows: Sequence[ScanRow]) -> bytes:
    """Return the worklist as CSV in English, the fields of ``scan --json`` first."""
    labels = sorted({label for row in rows if row.status == "read" for label in row.outcome.probabilities})
    head = ["file", "status", "reason", "model", "version", "label", "prediction_set", "refer", "urgency"]
    return csv_table([*head, *(f"p_{label}" for label in labels), "sha256"], [_cells(row, labels) for row in rows])


def _cells(row: ScanRow, labels: Sequence[str]) -> list[object]:
    if isinstance(row.outcome, MedAIError):
        return [row.name, row.status, str(row.outcome), *[""] * (7 + len(labels))]
    reading, urgency = row.outcome, "" if row.urgency is None else f"{row.urgency:.4f}"
    shares = [f"{reading.probabilities[label]:.4f}" if label in reading.probabilities else "" for label in labels]
    return [
        row.name, reading.status, reading.reason or "", reading.model or "", reading.version or "", reading.label or "",
        " ".join(reading.prediction_set), reading.refer, urgency, *shares, reading.digest,
    ]  # fmt: skip
