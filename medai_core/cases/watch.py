"""Arrival by a watched folder: what has stopped growing is received, then moved to ``taken`` or ``refused``.

A file leaves the folder only after it is committed, and what is received twice is recognised: a stop at any moment
loses nothing and doubles nothing. All state is the folder itself. Beside each moved file lies a sentence about what
became of it, in ``NAME.txt``. Changes are noticed at once where the system tells of them, and within seconds on
network drives, where it does not.
"""

from __future__ import annotations

import logging
import os
import stat
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer

from medai_core.cases.access import SERVICE_USER, User
from medai_core.cases.answers import Receipt
from medai_core.errors import InputError, MedAIError, Message, Unavailable, say
from medai_core.settings import settings

if TYPE_CHECKING:
    from medai_core.cases.workspace import Workspace

log = logging.getLogger(__name__)

TAKEN, REFUSED = "taken", "refused"
SETTLE_SECONDS = 2.0
"""How long size and time of a file must have stood still before it is taken."""
PATIENCE_SECONDS = 30.0
"""How long it must have stood still before it is refused: a copy over a slow network may stall, cut off for a while."""
POLL_SECONDS = 5.0
RETRY_SECONDS = (5.0, 300.0)
"""How long a file waits after the database or the disk was away: doubled each time, up to the second."""
_PAUSE_SECONDS = 0.25
_UNFINISHED = (".part", ".partial", ".filepart", ".crdownload", ".tmp", "~")
_NOTICED = ("created", "modified", "moved", "closed")
_ZIP = b"PK\x03\x04"

Size = tuple[int, int, int]
"""Bytes, time of the last change in ns, inode: a file that keeps all three has not been written to."""


@dataclass
class _Waiting:
    """A file in the folder, and since when it has looked as it does."""

    size: Size
    since: float
    not_before: float = 0.0
    tries: int = 0
    done: bool = False


class _Changed(Exception):
    """The file was written to while it was read."""


class Watcher:
    """Receives the files of a folder and its sub-folders.

    Links, hidden files and names that say *unfinished* (``.part``, ``.tmp`` …) are passed over. A ZIP archive is
    opened, and each of its files received.

    Parameters
    ----------
    workspace : Workspace
        Receives what arrives.
    folder : Path
        May be missing for a while, as a network drive is.
    user : User
        In whose name files are received.
    settle_seconds, clock
        For tests.
    """

    def __init__(
        self,
        workspace: Workspace,
        folder: Path,
        user: User = SERVICE_USER,
        *,
        settle_seconds: float = SETTLE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._workspace, self._folder, self._user = workspace, folder, user
        self._settle_seconds, self._clock = settle_seconds, clock
        self._waiting: dict[Path, _Waiting] = {}
        self._stopping, self._woken = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None
        self._observer: Observer | None = None
        self._missing = False

    def start(self) -> None:
        """Watch, in a thread of its own."""
        self._stopping.clear()
        self._observe()
        self._thread = threading.Thread(target=self._run, name="medai-watch", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop after the file that is being received."""
        self._stopping.set()
        self._woken.set()
        if self._observer is not None:
            self._observer.stop()
            self._observer.join()
            self._observer = None
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def sweep(self) -> bool:
        """Look through the folder once and receive what is ready.

        Returns
        -------
        bool
            Whether a file still waits.
        """
        now, found = self._clock(), dict(_files(self._folder, self._tell_missing))
        self._waiting = {path: waiting for path, waiting in self._waiting.items() if path in found}
        for path, size in found.items():
            waiting = self._waiting.get(path)
            if waiting is None or waiting.size != size:
                self._waiting[path] = _Waiting(size, now)
            elif not waiting.done and now >= max(waiting.since + self._settle_seconds, waiting.not_before):
                if self._stopping.is_set():
                    break
                self._receive(path, waiting)
        return any(not waiting.done for waiting in self._waiting.values())

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._woken.clear()
            try:
                waits = self.sweep()
            except OSError as error:  # the drive went away in the middle; it is looked for again
                log.warning("The watched folder could not be read: %s", error.strerror)
                waits = False
            self._stopping.wait(_PAUSE_SECONDS)
            if not waits:
                self._woken.wait(POLL_SECONDS)

    def _observe(self) -> None:
        if not self._folder.is_dir():
            return
        observer = Observer()
        observer.schedule(_Waker(self._woken), str(self._folder), recursive=True)
        try:
            observer.start()
        except OSError as error:  # the system's number of watches is used up
            log.warning("The watched folder is looked through every %d s only: %s", POLL_SECONDS, error.strerror)
            return
        self._observer = observer

    def _tell_missing(self, missing: bool) -> None:
        if missing and not self._missing:
            log.warning("The watched folder is not there; it is looked for every %d s", POLL_SECONDS)
        self._missing = missing

    def _receive(self, path: Path, waiting: _Waiting) -> None:
        try:
            data = _content(path, waiting.size)
            receipts = list(self._workspace.receive_all(self._user, data, path.name, source="folder"))
        except _Changed:
            del self._waiting[path]
            return
        except (Unavailable, OSError) as error:
            self._later(waiting, error)
            return
        except MedAIError as error:
            receipts = [Receipt("refused", reason=error.message)]
        except Exception as error:
            # One file must not stop the others. What it was is unknown, so the file stays and is tried again.
            self._later(waiting, error)
            return
        receipts = receipts or [Receipt("refused", reason=say("The archive holds no files."))]
        refused = all(receipt.status == "refused" for receipt in receipts)
        if refused and self._clock() < waiting.since + PATIENCE_SECONDS:
            waiting.not_before = waiting.since + PATIENCE_SECONDS
            return
        self._move(path, waiting, REFUSED if refused else TAKEN, sentences(receipts))

    def _later(self, waiting: _Waiting, error: Exception) -> None:
        first, longest = RETRY_SECONDS
        seconds = min(first * 2**waiting.tries, longest)
        waiting.tries += 1
        waiting.not_before = self._clock() + seconds
        log.warning("A file of the watched folder waits %d s: %s", seconds, type(error).__name__)

    def _move(self, path: Path, waiting: _Waiting, folder: str, text: str) -> None:
        """Put the sentence, then the file: after a stop in between the file is recognised, and moved then."""
        target = _free(self._folder / folder / path.relative_to(self._folder))
        waiting.done = True
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            _beside(target).write_text(text, encoding="utf-8")
            os.replace(path, target)
        except FileNotFoundError:  # somebody took it away meanwhile; it is received all the same
            return
        except OSError as error:
            log.warning("A file of the watched folder is received but cannot be moved: %s", error.strerror)


class _Waker(FileSystemEventHandler):
    def __init__(self, woken: threading.Event) -> None:
        self._woken = woken

    def on_any_event(self, event: FileSystemEvent) -> None:
        if event.event_type in _NOTICED:  # not "opened": looking through the folder would wake itself
            self._woken.set()


def sentences(receipts: list[Receipt]) -> str:
    """What became of a file, or of the files of an archive, for the people who put it there."""
    at = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
    if len(receipts) == 1:
        return f"{at}: {_sentence(receipts[0])}\n"
    counts = Counter(receipt.status for receipt in receipts)
    first = say(
        "{taken} files of the archive taken, {known} known already, {refused} refused.",
        taken=counts["new"],
        known=counts["duplicate"],
        refused=counts["refused"],
    )
    lines = [f"{receipt.name}: {_sentence(receipt)}" for receipt in receipts]
    return "\n".join([f"{at}: {first}", *lines, ""])


def _sentence(receipt: Receipt) -> Message:
    if receipt.status == "new":
        return say("Taken as case {case}.", case=receipt.case_id)
    if receipt.status == "duplicate" and receipt.object_id:
        return say("Known already, as case {case}.", case=receipt.case_id)
    return receipt.reason or say("Refused.")


def _files(folder: Path, tell_missing: Callable[[bool], None]) -> Iterator[tuple[Path, Size]]:
    """Plain files that may be received, in the order of their names."""
    tell_missing(not folder.is_dir())
    for directory, names, files in os.walk(folder):
        inside = Path(directory)
        names[:] = sorted(n for n in names if not n.startswith(".") and (inside != folder or n not in (TAKEN, REFUSED)))
        for name in sorted(files):
            if name.startswith((".", "~")) or name.lower().endswith(_UNFINISHED):
                continue
            try:
                found = (inside / name).lstat()
            except FileNotFoundError:
                continue
            if stat.S_ISREG(found.st_mode):
                yield inside / name, _size(found)


def _size(found: os.stat_result) -> Size:
    return found.st_size, found.st_mtime_ns, found.st_ino


def _content(path: Path, size: Size) -> bytes:
    """The bytes of a file that is still the one that was seen; never of what a link leads to."""
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    with os.fdopen(handle, "rb") as file:
        if _size(os.fstat(file.fileno())) != size:
            raise _Changed
        head, limits = file.read(len(_ZIP)), settings()
        limit = max(limits.max_file_mb, limits.max_archive_mb) if head == _ZIP else limits.max_file_mb
        if size[0] > limit * 1_000_000:
            raise InputError("The file is larger than the {limit} MB read here.", limit=limit)
        data = head + file.read()
        if _size(os.fstat(file.fileno())) != size:
            raise _Changed
    return data


def _beside(path: Path) -> Path:
    return path.with_name(f"{path.name}.txt")


def _free(path: Path) -> Path:
    """The path, or ``name (2).dcm`` where something lies there, or beside it, already."""
    tried = (path if n == 1 else path.with_stem(f"{path.stem} ({n})") for n in count(1))
    return next(free for free in tried if not free.exists() and not _beside(free).exists())
