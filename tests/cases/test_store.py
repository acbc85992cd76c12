"""What everything stands on: migrations, keys, the vault, and a database that goes away and comes back."""

from __future__ import annotations

import base64
import os
import stat
import threading
import time
from dataclasses import replace

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from drawn_dicom import draw, encoded
from on_postgres import administer
from sqlalchemy import inspect, text

from medai_core.cases import admin
from medai_core.cases.access import LOCAL
from medai_core.cases.crypto import Keys, load_keys
from medai_core.cases.database import Database
from medai_core.cases.store import Store
from medai_core.cases.tables import Base
from medai_core.cases.vault import Vault
from medai_core.cases.workspace import Workspace
from medai_core.errors import InputError, MedAIError, NotAllowed, Unavailable
from medai_core.settings import Settings

KEYS = Keys(bytes(range(32)))


def differences(database: Database) -> list[object]:
    with database.engine.connect() as connection:
        return compare_metadata(MigrationContext.configure(connection, opts={"compare_type": True}), Base.metadata)


def test_migrations_make_the_tables_of_the_model(store_settings):
    database = Database(store_settings)
    database.migrate()
    assert differences(database) == []
    with database.writing() as session:
        session.execute(text("ALTER TABLE users ADD COLUMN extra INTEGER"))
    assert differences(database) != [], "the comparison sees a difference"
    with database.writing() as session:
        session.execute(text("ALTER TABLE users DROP COLUMN extra"))
    database.close()


def test_migrations_go_from_nothing_and_back(tmp_path):
    from alembic import command
    from alembic.config import Config

    from medai_core.cases.database import MIGRATIONS

    database = Database(Settings(data_dir=tmp_path / "new"))
    database.migrate()
    database.migrate()
    assert set(inspect(database.engine).get_table_names()) == {*Base.metadata.tables, "alembic_version"}
    with database._to_write.begin() as connection:
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS))
        config.attributes["connection"] = connection
        command.downgrade(config, "base")
    assert inspect(database.engine).get_table_names() == ["alembic_version"]
    database.close()


def test_a_workspace_of_the_first_release_keeps_its_reports(workspace):
    from alembic import command
    from alembic.config import Config

    from medai_core.cases.database import MIGRATIONS

    got = workspace.receive(LOCAL, encoded(draw(1)), "a.dcm")
    made = workspace.export(LOCAL, got.study_id, "json")
    database = workspace.store.database
    with database._to_write.begin() as connection:
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS))
        config.attributes["connection"] = connection
        command.downgrade(config, "0001")
    assert "sop" not in {column["name"] for column in inspect(database.engine).get_columns("reports")}
    database.migrate()
    assert differences(database) == []
    (report,) = workspace.case(LOCAL, got.case_id).studies[0].reports
    assert workspace.report(LOCAL, report.report_id).data == made.data


def test_several_may_open_a_new_workspace_at_once(tmp_path):
    settings, opened, errors = Settings(data_dir=tmp_path / "new"), [], []

    def work() -> None:
        try:
            opened.append(Store(settings))
        except Exception as error:  # an assertion in a thread would be lost
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors and len({store.keys.check for store in opened}) == 1
    for store in opened:
        store.database.close()


def test_sqlite_is_set_for_durability(sqlite_workspace):
    with sqlite_workspace.store.database.engine.connect() as connection:
        found = [connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in (
            "journal_mode", "synchronous", "foreign_keys", "secure_delete", "busy_timeout",
        )]  # fmt: skip
    assert found == ["wal", 2, 1, 1, 30_000]


def test_only_the_owner_may_read(sqlite_workspace):
    sqlite_workspace.receive(LOCAL, encoded(draw(1)), "a.dcm")
    folder = sqlite_workspace.store.settings.data_dir
    files = [folder / "key", *(path for path in (folder / "vault").rglob("*") if path.is_file())]
    assert len(files) == 2 and all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in files)


# --------------------------------------------------------------------------------------------------- keys


def test_another_key_is_told_and_changes_nothing(workspace):
    settings, got = workspace.store.settings, workspace.receive(LOCAL, encoded(draw(1)), "a.dcm")
    other = replace(settings, key=base64.b64encode(os.urandom(32)).decode())
    with pytest.raises(InputError, match="`MEDAI_KEY` is not the key this workspace was made with"):
        Workspace(other)
    (settings.data_dir / "key").rename(settings.data_dir / "elsewhere")
    with pytest.raises(InputError, match="The key of this workspace is missing"):
        Workspace(settings)
    assert not (settings.data_dir / "key").exists(), "no new key beside old data"
    right = replace(settings, key=(settings.data_dir / "elsewhere").read_text().strip())
    again = Workspace(right)
    assert (
        again.content(LOCAL, got.object_id) == encoded(draw(1))
        or again.content(LOCAL, got.object_id)[128:132] == b"DICM"
    )
    assert workspace.overview(LOCAL).key_beside_data and not again.overview(LOCAL).key_beside_data
    again.close()


@pytest.mark.parametrize(
    "key", ["short", "!" * 44, base64.b64encode(bytes(31)).decode(), base64.b64encode(bytes(33)).decode()]
)
def test_a_key_that_is_none_is_told_without_being_shown(tmp_path, key):
    with pytest.raises(InputError, match="`MEDAI_KEY` must be 32 bytes in base64") as error:
        load_keys(Settings(data_dir=tmp_path, key=key), make=True)
    assert key not in str(error.value)


def test_what_is_sealed_is_about_one_thing_and_cannot_be_changed():
    sealed = KEYS.seal(b"Jane Doe", "name 1")
    assert KEYS.unseal(sealed, "name 1") == b"Jane Doe" and b"Jane" not in sealed
    assert KEYS.seal(b"Jane Doe", "name 1") != sealed, "equal things do not look equal"
    for changed, about in ((sealed, "name 2"), (sealed[:-1] + bytes([sealed[-1] ^ 1]), "name 1"), (b"", "name 1")):
        with pytest.raises(MedAIError, match="What is stored as name was changed or is damaged"):
            KEYS.unseal(changed, about)


def test_an_address_cannot_be_guessed_from_the_content():
    import hashlib

    other = Keys(bytes(32))
    assert KEYS.address(b"x") == KEYS.address(b"x") != KEYS.address(b"y")
    assert KEYS.address(b"x") != other.address(b"x") and KEYS.address(b"x") != hashlib.sha256(b"x").hexdigest()
    assert KEYS.blind("word", "a", "b") != KEYS.blind("word", "ab") != KEYS.blind("word", "a b")


# -------------------------------------------------------------------------------------------------- vault


def test_equal_contents_are_stored_once_and_sealed(tmp_path):
    vault = Vault(tmp_path, KEYS)
    content = b"Jane Doe " * 100
    address = vault.put(content)
    assert vault.put(content) == address and vault.get(address) == content
    (path,) = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert b"Jane" not in path.read_bytes() and path.name == address
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(MedAIError, match="What is stored as file was changed"):
        vault.get(address)
    vault.remove(address)
    with pytest.raises(MedAIError, match="A stored file is missing"):
        vault.get(address)


def test_what_a_crash_left_is_tidied_up_and_nothing_else(sqlite_workspace):
    store = sqlite_workspace.store
    got = sqlite_workspace.receive(LOCAL, encoded(draw(1)), "a.dcm")
    unfiled, fresh = store.vault.put(b"never filed"), store.vault.put(b"just being filed")
    half = store.vault.folder / "00" / ".half-x"
    half.write_bytes(b"cut off")
    old = time.time() - 7200
    for path in (half, store.vault._path(unfiled), *store.vault.folder.glob("*/*")):
        if path.name != fresh:
            os.utime(path, (old, old))
    assert admin.tidy(store) == 2
    assert not half.exists() and not store.vault.holds(unfiled) and store.vault.holds(fresh)
    assert sqlite_workspace.content(LOCAL, got.object_id)


# ---------------------------------------------------------------------------------------- gone for a while


def test_a_database_that_is_away_is_told_and_work_resumes(workspace, monkeypatch):
    data = encoded(draw(1))
    database = workspace.store.database
    if database.name == "SQLite":
        folder = workspace.store.settings.data_dir
        database.close()
        hidden = folder.with_name("hidden")
        folder.rename(hidden)
        bring_back = lambda: hidden.rename(folder)  # noqa: E731
    else:
        name = database.engine.url.database
        told_server(database, f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        told_server(database, f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'")
        bring_back = lambda: told_server(database, f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")  # noqa: E731
    try:
        with pytest.raises(Unavailable):
            workspace.receive(LOCAL, data, "a")
        with pytest.raises(Unavailable, match="The database cannot be reached just now; nothing was saved. Try again."):
            workspace.worklist(LOCAL)
    finally:
        bring_back()
    assert workspace.receive(LOCAL, data, "a").status == "new"


def told_server(database: Database, statement: str) -> None:
    administer(database.engine.url.set(database="postgres").render_as_string(False), statement)


def test_a_wrong_address_is_told_without_its_password(tmp_path):
    for address in ("nonsense", "mysql://user:secret@host/x", "postgresql+none://user:secret@host/x"):
        with pytest.raises(InputError, match="`MEDAI_DATABASE_URL`") as error:
            Database(Settings(data_dir=tmp_path, database_url=address))
        assert "secret" not in str(error.value)
    away = Settings(data_dir=tmp_path, database_url="postgresql+psycopg://user:secret@127.0.0.1:1/x")
    with pytest.raises(Unavailable) as gone:
        Store(away)
    assert "secret" not in str(gone.value)


def test_a_refusal_does_not_hide_behind_a_full_disk(sqlite_workspace):
    from medai_core.cases.access import User

    with pytest.raises(NotAllowed):
        sqlite_workspace.worklist(User("x", "X", frozenset()))
