"""Events of signing in and out: who came, who left, and what was not believed.

Written behind the page, which does not wait for the database, in the order in which they came.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from medai_core.cases.access import User
from medai_core.cases.store import Store
from medai_core.cases.tables import UserRow
from medai_core.errors import Unavailable

# Whoever it was, the workspace does not know them.
STRANGER = User("unknown", "", frozenset())
TRIES = 60
WAIT_SECONDS = 10.0
# The log is append-only and its writers take turns: a stranger with a forged cookie must not fill or hold it.
STRANGER_SECONDS = 10.0
log = logging.getLogger(__name__)


class Visits:
    """Writes the events of one process, each of a sign-in once.

    Parameters
    ----------
    store : callable
        Returns the store; called when the first event is written, and again after the database was away.
    wait_seconds : float
        Pause before the next try while the database is away.
    """

    def __init__(self, store: Callable[[], Store], wait_seconds: float = WAIT_SECONDS) -> None:
        self._store, self._wait = store, wait_seconds
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="medai-visits")
        self._noted: set[tuple[str, str]] = set()
        self._stranger_at = float("-inf")
        self._lock = threading.Lock()

    def note(self, action: str, user: User, key: str) -> Future[None] | None:
        """Note that somebody signed in or out, or that their session ended.

        Parameters
        ----------
        action : {"signed in", "signed out", "session ended"}
        key : str
            Of the sign-in; the same action of the same sign-in is one event, in however many windows.

        Returns
        -------
        Future or None
            Done when it is written; None if it was noted before.
        """
        with self._lock:
            if (action, key) in self._noted:
                return None
            self._noted.add((action, key))
        return self._worker.submit(self._write, action, user, "")

    def refused(self, why: str) -> Future[None] | None:
        """Note that a cookie or its claims were not believed; at most one in ten seconds.

        Parameters
        ----------
        why : str
            A word of this program, never one of the visitor.
        """
        with self._lock:
            if time.monotonic() - self._stranger_at < STRANGER_SECONDS:
                return None
            self._stranger_at = time.monotonic()
        return self._worker.submit(self._write, "sign-in refused", STRANGER, why)

    def close(self) -> None:
        """Write what waits, then stop."""
        self._worker.shutdown()

    def _write(self, action: str, user: User, why: str) -> None:
        for _ in range(TRIES):
            try:
                self._once(action, user, why)
                return
            except Unavailable:
                time.sleep(self._wait)
            except Exception:
                log.exception("an event of signing in could not be written")
                return
        log.error("an event of signing in was given up: the database stayed away")

    def _once(self, action: str, user: User, why: str) -> None:
        store = self._store()
        with store.writing() as session:
            if user is not STRANGER:
                roles = " ".join(sorted(user.roles))
                session.merge(UserRow(subject=user.subject, name=user.name, roles=roles, seen=store.now()))
            details = {"why": why} if why else {"roles": " ".join(sorted(user.roles))}
            store.record(session, user, action, "", **details)
