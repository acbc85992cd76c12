"""Workspaces for tests, each new and its own, on SQLite and on PostgreSQL; a reader that answers at once."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from on_postgres import address_of, administer
from sqlalchemy import text

from medai_core.cases.database import SQLITE_FILE, Database
from medai_core.cases.tables import Base
from medai_core.cases.workspace import Workspace
from medai_core.settings import Settings

NEEDED = bool(os.environ.get("CI"))
BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
UNPRIVILEGED = "nobody" if os.geteuid() == 0 else None  # PostgreSQL does not run as root


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """Address of a PostgreSQL server on which databases can be made."""
    if given := os.environ.get("MEDAI_TEST_POSTGRES_URL"):
        yield given
        return
    if not BINARIES:
        reason = "PostgreSQL is not here: install the package postgresql, or set MEDAI_TEST_POSTGRES_URL"
        pytest.fail(reason) if NEEDED else pytest.skip(reason)
    folder = Path(tempfile.mkdtemp(prefix="medai-pg-"))  # a short path: sockets have at most 107 characters
    if UNPRIVILEGED:
        shutil.chown(folder, UNPRIVILEGED)

    def run(program: str, *arguments: str) -> None:
        command = [str(BINARIES[-1] / program), *arguments]
        subprocess.run(command, check=True, user=UNPRIVILEGED, cwd=folder, stdout=subprocess.DEVNULL)

    data, quick = str(folder / "data"), "-c fsync=off -c listen_addresses= -c max_connections=60"
    run("initdb", "-D", data, "-U", "medai", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
    run("pg_ctl", "-D", data, "-w", "-l", str(folder / "log"), "-o", f"{quick} -k {folder}", "start")
    try:
        yield f"postgresql+psycopg://medai@/postgres?host={folder}"
    finally:
        run("pg_ctl", "-D", data, "-m", "immediate", "stop")
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def postgres_database(postgres_server: str) -> Iterator[Database]:
    """A migrated database, made for this run."""
    name = f"medai_test_{uuid4().hex}"
    administer(postgres_server, f"CREATE DATABASE {name}")
    database = Database(Settings(database_url=address_of(postgres_server, name)))
    database.migrate()
    yield database
    database.close()
    administer(postgres_server, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated empty database file to copy."""
    folder = tmp_path_factory.mktemp("template")
    database = Database(Settings(data_dir=folder))
    database.migrate()
    database.forget_journal()
    database.close()
    return folder / SQLITE_FILE


@pytest.fixture
def sqlite_settings(tmp_path: Path, migrated_sqlite: Path) -> Settings:
    """Settings of a new workspace on SQLite."""
    folder = tmp_path / "data"
    folder.mkdir()
    shutil.copyfile(migrated_sqlite, folder / SQLITE_FILE)
    return Settings(data_dir=folder)


@pytest.fixture(params=["sqlite", "postgresql"])
def store_settings(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Settings]:
    """Settings of a new workspace, on each kind of database in turn."""
    if request.param == "sqlite":
        yield request.getfixturevalue("sqlite_settings")
        return
    database: Database = request.getfixturevalue("postgres_database")
    with database.writing() as session:
        session.execute(text(f"TRUNCATE {', '.join(Base.metadata.tables)}"))
    yield Settings(data_dir=tmp_path / "data", database_url=database.engine.url.render_as_string(False))


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.at = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.at

    def move(self, **by: float) -> None:
        self.at += timedelta(**by)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def workspace(store_settings: Settings, clock: Clock) -> Iterator[Workspace]:
    """An empty workspace, on each kind of database in turn, with a clock that stands."""
    made = Workspace(store_settings, now=clock)
    yield made
    made.close()


@pytest.fixture
def sqlite_workspace(sqlite_settings: Settings, clock: Clock) -> Iterator[Workspace]:
    """An empty workspace on SQLite alone, for what does not depend on the database."""
    made = Workspace(sqlite_settings, now=clock)
    yield made
    made.close()
