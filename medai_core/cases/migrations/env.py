"""How Alembic runs the migrations: on the connection it is given, inside that connection's transaction."""

from __future__ import annotations

from alembic import context

from medai_core.cases.tables import Base


def run() -> None:
    connection = context.config.attributes["connection"]
    context.configure(connection=connection, target_metadata=Base.metadata, render_as_batch=True)
    context.run_migrations()


if __name__ == "env_py":  # the name under which Alembic loads this file
    run()
