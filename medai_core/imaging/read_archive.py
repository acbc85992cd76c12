"""ZIP archives of scans: each member on its own, with limits held against the bytes that really came out."""

from __future__ import annotations

import io
import zipfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from medai_core.errors import InputError, MedAIError
from medai_core.imaging.read_kinds import sniff
from medai_core.settings import settings

MAX_RATIO = 250
"""Unpacked bytes per byte of archive. Scans compress 2 to 20 times, empty masks up to 1,000 times but are small."""
_RATIO_FREE_BYTES = 64_000_000
_CHUNK = 1 << 20
_SKIPPED = ("__MACOSX/", "Thumbs.db", "desktop.ini")


@dataclass(frozen=True, eq=False)
class Member:
    """One file of an archive, or the file itself.

    Attributes
    ----------
    name : str
        A harmless relative path: no drive, no ``..``, no control characters; no other member has it.
    error : MedAIError or None
        Why ``data`` is empty.
    """

    name: str
    data: bytes
    error: MedAIError | None = None


class _Bomb(InputError):
    """The archive as a whole is beyond a limit: nothing more is read from it."""


class _Budget:
    """Unpacked bytes that may still come out of an archive; members that fail use it up too."""

    def __init__(self, packed: int) -> None:
        # The archive's own size is the one figure its maker cannot forge.
        self.left = min(settings().max_archive_mb * 1_000_000, max(_RATIO_FREE_BYTES, packed * MAX_RATIO))

    def take(self, count: int) -> None:
        self.left -= count
        if self.left < 0:
            raise _Bomb("The archive unpacks to more than is read here: it looks like a ZIP bomb.")


def unpack(data: bytes, name: str) -> Iterator[Member]:
    """Walk through the files of a ZIP archive in its own order, one in memory at a time.

    Anything else than a ZIP comes back as its own single member. Hidden files are passed over. A member that
    cannot be read carries its error and the next ones go on; an archive that is beyond a limit ends with a member
    named like itself.

    Parameters
    ----------
    data : bytes
        The uploaded file.
    name : str
        Its name; used only for ``Member.name``.
    """
    if sniff(data) != "ZIP":
        yield Member(name, data)
        return
    try:
        archive = _open(data)
    except InputError as error:
        yield Member(name, b"", error)
        return
    with archive:
        yield from _members(archive, len(data), name)


def _open(data: bytes) -> zipfile.ZipFile:
    limit = settings()
    if len(data) > limit.max_archive_mb * 1_000_000:
        raise InputError("The archive is larger than the {limit} MB read here.", limit=limit.max_archive_mb)
    # Counted before the directory is parsed: a directory of millions of entries is itself a bomb.
    if data.count(b"PK\x01\x02") > limit.max_archive_files:
        raise InputError("The archive holds more than the {limit} files read here.", limit=limit.max_archive_files)
    try:
        return zipfile.ZipFile(io.BytesIO(data))
    except Exception as error:  # a damaged directory raises BadZipFile, but also ValueError, OverflowError, …
        raise InputError("The ZIP archive is damaged or cut off: its list of files cannot be read.") from error


def _members(archive: zipfile.ZipFile, packed: int, name: str) -> Iterator[Member]:
    budget, taken = _Budget(packed), Counter()
    for info in archive.infolist():
        shown = _harmless(_decoded_name(info))
        hidden = any(part.startswith(".") for part in shown.split("/"))
        if info.is_dir() or hidden or any(part in shown for part in _SKIPPED):
            continue
        shown = _unique(shown, taken)
        try:
            content = _read(archive, info, budget)
        except _Bomb as error:
            yield Member(name, b"", error)
            return
        except InputError as error:
            yield Member(shown, b"", error)
            continue
        nested = sniff(content) == "ZIP"
        error = InputError("An archive inside an archive is not opened; unpack it first.") if nested else None
        yield Member(shown, b"" if nested else content, error)


def _read(archive: zipfile.ZipFile, info: zipfile.ZipInfo, budget: _Budget) -> bytes:
    if info.flag_bits & 0x1:
        raise InputError("This file of the archive is encrypted; unpack it with its password first.")
    file_limit = settings().max_file_mb * 1_000_000
    content = bytearray()
    try:
        with archive.open(info) as stream:
            # The sizes in the archive's headers are claims; only what came out counts.
            while chunk := stream.read(_CHUNK):
                content += chunk
                budget.take(len(chunk))
                if len(content) > file_limit:
                    raise InputError(
                        "This file of the archive is larger than the {limit} MB read here.",
                        limit=settings().max_file_mb,
                    )
    except InputError:
        raise
    except NotImplementedError as error:
        raise InputError(
            "This file of the archive is packed by method {method}, which cannot be unpacked here; use Deflate.",
            method=info.compress_type,
        ) from error
    except Exception as error:  # zlib, bz2, lzma, CRC and header checks each raise their own
        raise InputError("This file of the archive is damaged and cannot be unpacked.") from error
    return bytes(content)


def _decoded_name(info: zipfile.ZipInfo) -> str:
    """The member's name; ZIP tools in China write GBK without saying so, which zipfile takes for cp437."""
    if info.flag_bits & 0x800:
        return info.filename
    for encoding in ("utf-8", "gbk"):
        try:
            return info.filename.encode("cp437").decode(encoding)
        except UnicodeError:
            continue
    return info.filename


def _unique(name: str, taken: Counter[str]) -> str:
    """``a.png``, then ``a (2).png``: made harmless, ``../a.png`` and ``a.png`` are called the same."""
    path, free = PurePosixPath(name), name
    while taken[free]:
        taken[name] += 1
        free = str(path.with_stem(f"{path.stem} ({taken[name]})"))
    taken[free] += 1
    return free


def _harmless(name: str) -> str:
    parts = PurePosixPath(name.replace("\\", "/")).parts
    kept = [part for part in parts if part not in ("/", "//", "..", ".") and not part.endswith(":")]
    return "".join(c for c in "/".join(kept) if c.isprintable())[:255] or "?"
