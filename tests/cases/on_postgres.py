"""Statements and addresses of the PostgreSQL server that the tests run on."""

from __future__ import annotations

from sqlalchemy import create_engine, make_url
from sqlalchemy.pool import NullPool


def administer(server: str, statement: str) -> None:
    engine = create_engine(server, isolation_level="AUTOCOMMIT", poolclass=NullPool)
    with engine.connect() as connection:
        connection.exec_driver_sql(statement)


def address_of(server: str, database: str) -> str:
    return make_url(server).set(database=database).render_as_string(hide_password=False)
