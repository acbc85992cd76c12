"""The database: embedded SQLite by default, PostgreSQL when the settings say so; the same to everybody above.

There are two ways in. :meth:`Database.reading` sees one snapshot and changes nothing. :meth:`Database.writing` is one
transaction that is committed whole or not at all.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, NoSuchModuleError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session

from medai_core.errors import InputError, Unavailable
from medai_core.settings import Settings

SQLITE_FILE = "medai.sqlite3"
BUSY_SECONDS = 30
MIGRATIONS = Path(__file__).with_name("migrations")


class Database:
    """Sessions on one database.

    Parameters
    ----------
    settings : Settings
        `database_url`, or `data_dir` for SQLite.
    """

    def __init__(self, settings: Settings) -> None:
        self.engine = _engine(settings)
        self.name = "SQLite" if self.engine.dialect.name == "sqlite" else "PostgreSQL"
        snapshot: dict[str, Any] = {} if self.name == "SQLite" else {"isolation_level": "REPEATABLE READ"}
        self._to_read = self.engine.execution_options(**snapshot)
        self._to_write = self.engine.execution_options(writing=True)
        self._writer = threading.Lock()

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A session that sees one snapshot; nothing done in it is kept.

        Raises
        ------
        Unavailable
            If the database is away.
        """
        with _told(), Session(self._to_read) as session:
            yield session

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """A transaction: committed at the end, or rolled back by any error.

        The threads of a process take turns here: SQLite itself would let them sleep and try again.

        Raises
        ------
        Unavailable
            If the database is away or the disk is full; nothing was saved then.
        """
        with _told(), self._turn(), Session(self._to_write, expire_on_commit=False) as session, session.begin():
            yield session

    @contextmanager
    def _turn(self) -> Iterator[None]:
        if not self._writer.acquire(timeout=BUSY_SECONDS):
            raise PoolTimeout("another thread is writing")
        try:
            yield
        finally:
            self._writer.release()

    def migrate(self) -> None:
        """Bring the tables to the newest version; several processes may ask at once."""
        from alembic.migration import MigrationContext
        from alembic.script import ScriptDirectory

        with _told(), self._to_write.begin() as connection:
            script = ScriptDirectory(str(MIGRATIONS))
            if MigrationContext.configure(connection).get_current_heads() != tuple(script.get_heads()):
                _upgrade(connection)

    def forget_journal(self) -> None:
        """Let SQLite empty its journal, where removed rows may still be read; PostgreSQL does so in its own time."""
        if self.name == "SQLite":
            with _told(), self.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")

    def size_bytes(self, session: Session) -> int:
        """What the database takes on the disk."""
        if self.name == "SQLite":
            return session.scalar(text("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size"))
        return session.scalar(text("SELECT pg_database_size(current_database())"))

    def close(self) -> None:
        self.engine.dispose()


def _upgrade(connection: Connection) -> None:
    from alembic import command
    from alembic.config import Config

    if connection.dialect.name == "postgresql":  # SQLite's write lock is held already
        connection.exec_driver_sql("SELECT pg_advisory_xact_lock(77206984)")
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _engine(settings: Settings) -> Engine:
    common: dict[str, Any] = {"pool_size": 10, "hide_parameters": True}
    if settings.database_url:
        try:
            engine = create_engine(settings.database_url, **common, max_overflow=20, pool_pre_ping=True)
        except (ArgumentError, NoSuchModuleError, ModuleNotFoundError):  # its text may hold the password
            raise InputError("`{name}` is no address of a database.", name="MEDAI_DATABASE_URL") from None
    else:
        settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = settings.data_dir / SQLITE_FILE
        path.touch(mode=0o600)
        engine = create_engine(f"sqlite:///{path}", connect_args={"timeout": BUSY_SECONDS}, **common)
    if engine.dialect.name not in ("sqlite", "postgresql"):
        raise InputError("`{name}` must be of SQLite or PostgreSQL.", name="MEDAI_DATABASE_URL")
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: sqlite3.Connection, _: object) -> None:
    connection.isolation_level = None  # transactions begin where we say, not where Python's driver guesses
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "secure_delete=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    # A writer takes its lock at once: one that reads first and writes later could not wait for its turn.
    writing = connection.get_execution_options().get("writing")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")


@contextmanager
def _told() -> Iterator[None]:
    """Say in a sentence what a driver says in its own words; those may quote rows, so they are not repeated."""
    try:
        yield
    except IntegrityError:
        raise
    except (DBAPIError, PoolTimeout) as error:
        said = str(getattr(error, "orig", error)).lower()
        if "disk is full" in said or "no space" in said:
            raise Unavailable("There is no space left on the disk; nothing was saved. Try again later.") from error
        raise Unavailable("The database cannot be reached just now; nothing was saved. Try again.") from error
