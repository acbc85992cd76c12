"""Scans on disk: every file at some paths, opened one at a time, archives walked through."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator

from medai_core.errors import InputError
from medai_core.imaging.read_archive import Member, unpack
from medai_core.settings import settings

_ZIP = b"PK\x03\x04"

log = logging.getLogger(__name__)


def members(paths: Iterable[str]) -> Iterator[Member]:
    """Every file at or below some paths, in their order; those of an archive are named ``file.zip!/member``.

    A path that does not exist, or a file that cannot be opened, comes as a member with its error.
    """
    for path in paths:
        empty = True
        for found in _walk(path):
            empty = False
            if found.error is None:
                yield from _opened(found.name)
            else:
                yield found
        if empty:
            log.warning("There are no files in %s", path)


def _opened(path: str) -> Iterator[Member]:
    try:
        data = _content(path)
    except InputError as error:
        yield Member(path, b"", error)
        return
    for member in unpack(data, ""):
        yield Member(f"{path}!/{member.name}" if member.name else path, member.data, member.error)


def _walk(path: str) -> Iterator[Member]:
    """Files at or below a path, unopened, by name within each folder.

    Inside a folder, hidden entries, links to folders and what is no plain file are passed over. A folder that
    cannot be listed comes as a member with its error.
    """
    if not os.path.isdir(path):
        yield Member(path, b"")
        return
    try:
        with os.scandir(path) as listing:
            entries = sorted((e for e in listing if not e.name.startswith(".")), key=lambda e: e.name)
    except OSError as error:
        yield Member(path, b"", InputError("The folder cannot be listed: {why}.", why=error.strerror))
        return
    for entry in entries:
        try:
            folder, plain = entry.is_dir(follow_symlinks=False), entry.is_file()
        except OSError as error:  # a link that leads back to itself
            yield Member(entry.path, b"", InputError("The file cannot be opened: {why}.", why=error.strerror))
            continue
        if folder:
            yield from _walk(entry.path)
        elif plain:
            yield Member(entry.path, b"")


def _content(path: str) -> bytes:
    """A file's bytes; of one beyond its limit, just enough for the intake to say so."""
    if not os.path.exists(path):
        raise InputError("There is no such file or folder.")
    if not os.path.isfile(path):
        raise InputError("This is neither a plain file nor a folder.")
    try:
        with open(path, "rb") as file:
            head, limit = file.read(len(_ZIP)), settings()
            megabytes = max(limit.max_file_mb, limit.max_archive_mb) if head == _ZIP else limit.max_file_mb
            return head + file.read(megabytes * 1_000_000 + 1)
    except OSError as error:
        raise InputError("The file cannot be opened: {why}.", why=error.strerror) from error
