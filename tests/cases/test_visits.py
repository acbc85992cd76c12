"""Events of signing in: each once, in order, and also after the database was away."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from medai_core.cases import visits
from medai_core.cases.access import LOCAL, Role, User
from medai_core.cases.visits import Visits
from medai_core.cases.workspace import Workspace
from medai_core.errors import Unavailable
from medai_core.settings import Settings

RITA = User("u1@sso.example", "Rita Reader", frozenset({Role.READER}))


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    made = Workspace(Settings(data_dir=tmp_path))
    yield made
    made.close()


def told(workspace: Workspace) -> list[tuple[str, str, dict[str, object]]]:
    rows = workspace.events(LOCAL, size=50).events
    return [
        (row.actor, row.action, row.details) for row in reversed(rows) if "sign" in row.action or "ended" in row.action
    ]


def test_an_action_of_a_sign_in_is_one_event(workspace: Workspace) -> None:
    noted = Visits(lambda: workspace.store)
    assert noted.note("signed in", RITA, "k1") is not None
    assert noted.note("signed in", RITA, "k1") is None  # another window
    noted.note("signed out", RITA, "k1")
    noted.note("signed in", RITA, "k2")
    noted.note("session ended", RITA, "k2")
    noted.close()
    actions = ["signed in", "signed out", "signed in", "session ended"]
    assert told(workspace) == [(RITA.subject, action, {"roles": "reader"}) for action in actions]
    assert RITA.name in {user.name for user in workspace.overview(LOCAL).users}
    assert workspace.verify_audit(LOCAL).ok


def test_a_stranger_cannot_fill_the_log(workspace: Workspace) -> None:
    noted = Visits(lambda: workspace.store)
    assert noted.refused("signature") is not None
    assert [noted.refused("signature") for _ in range(20)] == [None] * 20
    noted.close()
    assert told(workspace) == [("unknown", "sign-in refused", {"why": "signature"})]
    assert visits.STRANGER.subject not in {user.subject for user in workspace.overview(LOCAL).users}


def test_an_event_waits_for_the_database(workspace: Workspace) -> None:
    away = iter([True, True, False])

    def store() -> object:
        if next(away):
            raise Unavailable("The database is away.")
        return workspace.store

    noted = Visits(store, wait_seconds=0.01)
    noted.note("signed in", RITA, "k1").result(timeout=10)
    assert told(workspace) == [(RITA.subject, "signed in", {"roles": "reader"})]
