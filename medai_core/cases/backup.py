"""The whole workspace in one file, and back from it, from either kind of database into either.

The file is a tar archive: a sealed manifest, every table as JSON Lines, every stored content as it lies in the vault.
What is sealed stays sealed, and the key is not in it: keep the key elsewhere, or the file is worth nothing.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import re
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Table, delete, func, insert, select
from sqlalchemy.orm import Session

from medai_core.cases import audit
from medai_core.cases.access import Action, User
from medai_core.cases.crypto import load_keys, sync_folder
from medai_core.cases.database import Database
from medai_core.cases.store import Store
from medai_core.cases.tables import Base, CaseRow, EventRow, LedgerRow
from medai_core.cases.workspace import Workspace
from medai_core.errors import InputError, MedAIError, Unavailable
from medai_core.settings import Settings

FORMAT = 1
MANIFEST = "manifest"
TRIES = 3
_CONTENT = re.compile(r"vault/([0-9a-f]{64})")
_TABLE = re.compile(r"tables/([a-z]+)\.jsonl")


@dataclass(frozen=True)
class Saved:
    """What a backup holds."""

    cases: int
    files: int
    size_bytes: int


def backup(workspace: Workspace, user: User, path: Path) -> Saved:
    """Write the workspace as it is at one moment to a file, while others go on working.

    Raises
    ------
    InputError
        If the file exists.
    NotAllowed
    Unavailable
        If the disk is full.
    """
    store = workspace.store
    with store.asked(user, Action.ADMINISTER):
        if path.exists():
            raise InputError("{path} exists already", path=str(path))
        with store.writing() as session:
            store.record(session, user, "backed up", "")
        try:
            return _written(store, path)
        except OSError as error:
            raise Unavailable("The backup could not be written ({why}); try again.", why=error.strerror) from error


def _written(store: Store, path: Path) -> Saved:
    """Write beside, then rename: the file is there whole, or not at all."""
    handle, half = tempfile.mkstemp(prefix=".backup-", dir=path.parent)
    try:
        with os.fdopen(handle, "w+b") as file:
            for left in reversed(range(TRIES)):
                file.seek(0)
                file.truncate()
                saved = _pack(store, file)
                if saved is not None:
                    break
                if not left:
                    raise Unavailable("Cases were forgotten all the while; try the backup again.")
            file.flush()
            os.fsync(file.fileno())
        os.replace(half, path)
    except BaseException:
        Path(half).unlink(missing_ok=True)
        raise
    sync_folder(path.parent)
    return Saved(saved.cases, saved.files, path.stat().st_size)


def _pack(store: Store, file: Any) -> Saved | None:
    """Write everything; None if a content was forgotten after its row was read."""
    with store.reading() as session, tarfile.open(fileobj=file, mode="w") as archive:
        digests, contents = {}, set[str]()
        for table in Base.metadata.sorted_tables:
            lines = "".join(_lines(session, table)).encode()
            digests[table.name] = hashlib.sha256(lines).hexdigest()
            _add(archive, f"tables/{table.name}.jsonl", lines)
            if "content" in table.c and table.name != "doomed":
                contents |= set(session.scalars(select(table.c.content)))
        cases = session.scalar(select(func.count()).select_from(CaseRow)) or 0
        for content in sorted(contents):
            if not store.vault.holds(content):
                return None
            _add(archive, f"vault/{content}", store.vault.get_sealed(content))
        manifest = {"format": FORMAT, "tables": digests, "contents": sorted(contents)}
        _add(archive, MANIFEST, store.keys.seal_json(manifest, "backup"))
        return Saved(cases, len(contents), 0)


def _lines(session: Session, table: Table) -> Iterator[str]:
    for row in session.execute(select(table).execution_options(yield_per=1000)).mappings():
        yield json.dumps({name: _plain(value) for name, value in row.items()}) + "\n"


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return {"bytes": base64.b64encode(value).decode()}
    return {"at": value.isoformat()} if isinstance(value, datetime) else value


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(data), 0o600
    archive.addfile(member, io.BytesIO(data))


# ------------------------------------------------------------------------------------------------- restore


def restore(settings: Settings, user: User, path: Path) -> Saved:
    """Bring a backup back into an empty workspace. Cut off at any point, it can be done again.

    Raises
    ------
    InputError
        If the key is not the backup's, the workspace is not empty, or the file is damaged.
    """
    keys = load_keys(settings, make=False)
    try:
        with tarfile.open(path, "r:") as archive:
            manifest = _manifest(archive, keys)
            _require_empty(settings)
            store = Store(settings)
            tables = dict(_unpack(archive, store, manifest))
    except (OSError, tarfile.TarError) as error:
        raise InputError("The backup {path} cannot be read: {why}", path=str(path), why=str(error)) from error
    _require(set(tables) == set(manifest["tables"]), "tables are missing")
    for content in manifest["contents"]:
        _require(store.vault.holds(content), "files are missing")
    with store.database.writing() as session:
        session.execute(delete(LedgerRow))
        for table in Base.metadata.sorted_tables:
            session.execute(delete(table))
            if tables.get(table.name):
                session.execute(insert(table), tables[table.name])
        session.flush()
        found = audit.verify(session, store.keys)
        _require(found.ok, "its audit log is not whole")
        store.record(session, user, "restored", "")
    store.database.close()
    return Saved(len(tables["cases"]), len(manifest["contents"]), path.stat().st_size)


def _manifest(archive: tarfile.TarFile, keys: Any) -> dict[str, Any]:
    try:
        sealed = archive.extractfile(MANIFEST)
        manifest = keys.unseal_json(sealed.read() if sealed else b"", "backup")
    except (KeyError, MedAIError) as error:
        raise InputError("The backup was made with another key, or is damaged: set `{name}` to its key.",
                         name="MEDAI_KEY") from error  # fmt: skip
    if manifest["format"] != FORMAT:
        raise InputError("`format` of the backup must be {known}, got {value}", known=FORMAT, value=manifest["format"])
    return manifest


def _require_empty(settings: Settings) -> None:
    database = Database(settings)
    try:
        database.migrate()
        with database.reading() as session:
            for table in (CaseRow, EventRow):
                if session.scalar(select(func.count()).select_from(table)):
                    raise InputError("The workspace must be empty to bring a backup back into it.")
    finally:
        database.close()


def _unpack(archive: tarfile.TarFile, store: Store, manifest: dict[str, Any]) -> Iterator[tuple[str, list[dict]]]:
    """Store the contents, and yield the rows of each table; a member of any other name is passed over."""
    for member in archive:
        file = archive.extractfile(member) if member.isfile() else None
        data = file.read() if file else b""
        if found := _CONTENT.fullmatch(member.name):
            store.keys.unseal(data, f"file {found[1]}")  # nothing changed is put into the vault
            store.vault.put_sealed(found[1], data)
        elif (found := _TABLE.fullmatch(member.name)) and found[1] in manifest["tables"]:
            _require(hashlib.sha256(data).hexdigest() == manifest["tables"][found[1]], found[1])
            yield found[1], [_row(json.loads(line)) for line in data.decode().splitlines()]


def _row(stored: dict[str, Any]) -> dict[str, Any]:
    return {name: _value(value) for name, value in stored.items()}


def _value(value: Any) -> Any:
    if isinstance(value, dict) and set(value) == {"bytes"}:
        return base64.b64decode(value["bytes"])
    if isinstance(value, dict) and set(value) == {"at"}:
        return datetime.fromisoformat(value["at"])
    return value


def _require(fulfilled: bool, what: str) -> None:
    if not fulfilled:
        raise InputError("The backup is damaged or was changed: {what}.", what=what)
