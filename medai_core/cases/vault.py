"""Where bytes lie: a content-addressed store of sealed files.

A file appears under its address only when it is whole and on the disk. Nothing about it can be read from its name.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from medai_core.cases.crypto import Keys, sync_folder
from medai_core.errors import MedAIError, Unavailable

_HALF = ".half-"
_LEFT_OVER_SECONDS = 3600


class Vault:
    """A folder of sealed contents.

    Parameters
    ----------
    folder : Path
        Made if it is not there, with one folder below it for each first byte of an address.
    """

    def __init__(self, folder: Path, keys: Keys) -> None:
        self.folder, self._keys = folder, keys
        if not (folder / "ff").is_dir():
            for byte in range(256):
                (folder / f"{byte:02x}").mkdir(parents=True, exist_ok=True, mode=0o700)
            sync_folder(folder)
            sync_folder(folder.parent)

    def put(self, content: bytes) -> str:
        """Store a content and return its address; it is on the disk when this returns.

        Raises
        ------
        Unavailable
            If the disk is full or does not take it; nothing half-written is left.
        """
        address = self._keys.address(content)
        if not self.holds(address):
            self.put_sealed(address, self._keys.seal(content, f"file {address}"))
        return address

    def put_sealed(self, address: str, sealed: bytes) -> None:
        """Store what is sealed already, as from a backup."""
        try:
            _write_whole(self._path(address), sealed)
        except OSError as error:
            raise Unavailable("The file could not be stored ({why}); try again.", why=error.strerror) from error

    def get(self, address: str) -> bytes:
        """The content at an address.

        Raises
        ------
        MedAIError
            If it is not there or was changed.
        """
        return self._keys.unseal(self.get_sealed(address), f"file {address}")

    def get_sealed(self, address: str) -> bytes:
        """The sealed bytes at an address."""
        try:
            return self._path(address).read_bytes()
        except FileNotFoundError:
            raise MedAIError("A stored file is missing from the data folder.") from None
        except OSError as error:
            raise Unavailable("The stored file cannot be read ({why}); try again.", why=error.strerror) from error

    def holds(self, address: str) -> bool:
        return self._path(address).exists()

    def remove(self, address: str) -> None:
        """Remove a content, if it is there."""
        self._path(address).unlink(missing_ok=True)

    def left_over(self) -> Iterator[Path]:
        """Files whose writing was cut off by a crash: older than any write takes."""
        before = time.time() - _LEFT_OVER_SECONDS
        yield from (path for path in self.folder.glob(f"*/{_HALF}*") if path.stat().st_mtime < before)

    def old_addresses(self) -> Iterator[str]:
        """Addresses written longer ago than any file takes to be filed."""
        before = time.time() - _LEFT_OVER_SECONDS
        yield from (
            path.name for path in self.folder.glob("[0-9a-f][0-9a-f]/[0-9a-f]*") if path.stat().st_mtime < before
        )

    def size_bytes(self) -> int:
        return sum(path.stat().st_size for path in self.folder.glob("*/*"))

    def _path(self, address: str) -> Path:
        return self.folder / address[:2] / address


def _write_whole(path: Path, data: bytes) -> None:
    """Write beside, flush to the disk, then rename: the file is there whole, or not at all."""
    handle, half = tempfile.mkstemp(prefix=_HALF, dir=path.parent)  # made with mode 0600
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(half, path)
    except BaseException:
        Path(half).unlink(missing_ok=True)
        raise
    sync_folder(path.parent)
