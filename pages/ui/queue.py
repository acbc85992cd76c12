"""Many files of one visitor: some waiting, some answered, and a way to stop in between.

A page cannot be asked to stop while it computes, so the work is done in slices of a fraction of a second,
one per rerun; between two slices Streamlit delivers the click on *Stop*.
"""

from __future__ import annotations

import csv
import io
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from medai_core.errors import InputError, MedAIError

FORMULA_START = ("=", "+", "-", "@", "\t", "\r")
ZIP_START, ZIP_ENTRY = b"PK\x03\x04", b"PK\x01\x02"
log = logging.getLogger(__name__)


class NotReached(InputError):
    """What stands in the list for a file, or ``n`` files of an archive, whose turn had not come at the stop."""

    @property
    def files(self) -> int:
        return self.message.values.get("n", 1)


@dataclass(frozen=True, eq=False)
class Upload:
    """A file as it was uploaded, or one of the built-in samples; a ZIP stays packed."""

    name: str
    data: bytes
    sample: bool = False

    @property
    def packed(self) -> bool:
        return self.data.startswith(ZIP_START)

    @property
    def files(self) -> int:
        """How many files it holds, folders of an archive counted too: good enough for a progress bar."""
        return max(self.data.count(ZIP_ENTRY), 1) if self.packed else 1


@dataclass(frozen=True, eq=False)
class Row:
    """One file's outcome: an answer or an error; its bytes are the ``place``-th member of ``upload``."""

    name: str
    upload: Upload
    place: int
    outcome: object

    def data(self) -> bytes:
        """Return the bytes of the file, unpacked again where it came from a ZIP."""
        from medai_core.imaging.read import unpack

        for place, member in enumerate(unpack(self.upload.data, self.upload.name)):
            if place == self.place and member.error is None:
                return member.data
        raise InputError("The archive {name} holds no file {member}.", name=self.upload.name, member=self.name)


Answers = Iterator[tuple[str, object]]
R = TypeVar("R", bound=Row)


@dataclass(eq=False)
class Queue(Generic[R]):
    """Answers for uploads slice by slice; ``rows`` keeps what is done, also after a stop.

    Parameters
    ----------
    uploads : Sequence[Upload]
    answer : Callable
        Turns ``(name, bytes)`` of all files into ``(name, answer or MedAIError)``, lazily and in their order;
        it is called, and may load its model, when the first slice begins.
    row : type[Row]
        What ``rows`` is made of.
    """

    uploads: Sequence[Upload]
    answer: Callable[[Iterable[tuple[str, bytes]]], Answers]
    row: type[R]
    rows: list[R] = field(default_factory=list)
    state: str = "running"
    seconds: float = 0.0
    expected: int = 0
    failure: MedAIError | None = None
    _answers: Answers | None = None
    _waiting: deque[Upload] = field(default_factory=deque)
    _opened: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _handed: deque[tuple[str, Upload, int]] = field(default_factory=deque)

    def __post_init__(self) -> None:
        self.expected = sum(upload.files for upload in self.uploads)
        self._waiting.extend(self.uploads)

    @property
    def missed(self) -> int:
        """How many files were not reached before the stop."""
        return sum(row.outcome.files for row in self.rows if isinstance(row.outcome, NotReached))

    def work(self, slice_seconds: float) -> None:
        """Work for about ``slice_seconds``, then return; ``state`` becomes ``done`` at the end.

        Raises
        ------
        MedAIError
            If the model fails as a whole: the queue is stopped, and ``failure`` keeps why.
        """
        # A click starts the page anew in another thread while the run before it may still be in its slice.
        with self._lock:
            if self.state != "running":
                return
            try:
                self._slice(slice_seconds)
            except MedAIError as error:
                self.state, self.failure = "stopped", error
                self._end()
                raise
            except Exception as error:
                log.exception("the work on a list of files failed")
                self.state = "stopped"
                self.failure = InputError("The work stopped at an unexpected error; the log of the server says which.")
                self._end()
                raise self.failure from error

    def _slice(self, seconds: float) -> None:
        if self._answers is None:
            self._answers = self.answer(self._inputs())
        # The clock starts once the model is loaded: ``seconds`` is about the files.
        start = time.perf_counter()
        try:
            for _name, outcome in self._answers:
                self.rows.append(self.row(*self._handed.popleft(), outcome))
                if self.state != "running" or time.perf_counter() - start > seconds:
                    return
            self.state = "done"
        finally:
            self.seconds += time.perf_counter() - start

    def stop(self) -> None:
        """Stop, keeping what is done; a slice that is under way ends with its next answer."""
        if self.state == "running":
            self.state = "stopped"
            with self._lock:
                self._end()

    def _end(self) -> None:
        """Drop what answers, which closes it, and list the files whose turn did not come."""
        self._answers = None
        while self._handed:
            self.rows.append(
                self.row(*self._handed.popleft(), NotReached("This file was not reached before the stop."))
            )
        while self._waiting:
            upload = self._waiting.popleft()
            left, self._opened = upload.files - self._opened, 0
            if left > 0:
                error = NotReached("This file was not reached before the stop.")
                if upload.packed:
                    error = NotReached("{n} files of this archive were not reached before the stop.", n=left)
                # No member by itself: a row that stands for several is opened as the archive.
                self.rows.append(self.row(upload.name, upload, -1 if upload.packed else 0, error))

    def _inputs(self) -> Iterator[tuple[str, bytes]]:
        """Yield files one by one, ZIPs unpacked; what cannot be unpacked becomes a row at once."""
        from medai_core.imaging.read import unpack

        while self._waiting:
            upload = self._waiting[0]
            for place, member in enumerate(unpack(upload.data, upload.name)):
                self._opened = place + 1
                if member.error is not None:
                    self.rows.append(self.row(member.name, upload, place, member.error))
                    continue
                self._handed.append((member.name, upload, place))
                yield member.name, member.data
            self._waiting.popleft()
            self._opened = 0


def safe_cell(text: object) -> str:
    """Return a number as it is, and text so that no spreadsheet takes it for a formula (OWASP, CSV injection)."""
    cell = str(text)
    return "'" + cell if cell.startswith(FORMULA_START) and not isinstance(text, int | float) else cell


def csv_table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> bytes:
    """Return a table as CSV with safe cells, in UTF-8 that Excel recognises."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(head)
    writer.writerows([safe_cell(cell) for cell in row] for row in rows)
    return out.getvalue().encode("utf-8-sig")
