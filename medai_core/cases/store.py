"""What every part of the workspace stands on: database, vault, keys, clock, and the rules of getting in."""

from __future__ import annotations

import math
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from sqlalchemy import delete, exists, select
from sqlalchemy.orm import Session

from medai_core.cases import audit
from medai_core.cases.access import Action, User, demand
from medai_core.cases.crypto import Keys, load_keys
from medai_core.cases.database import Database
from medai_core.cases.tables import CaseRow, DoomedRow, LedgerRow, ObjectRow, ReportRow, StudyRow, UserRow
from medai_core.cases.vault import Vault
from medai_core.errors import InputError, NotAllowed, NotFound
from medai_core.settings import Settings

SEEN_EVERY = timedelta(minutes=5)
_ID = re.compile(r"[0-9a-f]{32}")
_LEDGER = select(LedgerRow).where(LedgerRow.id == 1).with_for_update()


def new_id() -> str:
    return uuid4().hex


def utc_now() -> datetime:
    return datetime.now(UTC)


class Store:
    """One workspace: its database at the newest version, its vault and its keys.

    Attributes
    ----------
    arrived : float
        When the last file was received in this process, on the clock of `time.monotonic`.

    Raises
    ------
    InputError
        If the key is missing, or not the one this workspace was made with.
    Unavailable
        If the database is away.
    """

    def __init__(self, settings: Settings, now: Callable[[], datetime] = utc_now) -> None:
        self.settings, self.now = settings, now
        self.load_reader: Callable[[], Any] = _load_reader
        self.database = Database(settings)
        self.database.migrate()
        self.keys = self._keys()
        self.vault = Vault(settings.data_dir / "vault", self.keys)
        self.arrived = -math.inf
        self._seen: dict[str, datetime] = {}
        self._lock = threading.Lock()
        self.remove_doomed()

    def _keys(self) -> Keys:
        with self.database.reading() as session:
            ledger = session.get(LedgerRow, 1)
        keys = load_keys(self.settings, make=ledger is None)
        if ledger is None:
            with self.database.writing() as session:  # another process may have been quicker
                ledger = session.get(LedgerRow, 1)
                if ledger is None:
                    session.add(ledger := audit.new_ledger(keys))
        if ledger.key_check != keys.check:
            raise InputError("`{name}` is not the key this workspace was made with.", name="MEDAI_KEY")
        return keys

    @property
    def key_beside_data(self) -> bool:
        """Whether the key lies in the folder of what it encrypts."""
        return not self.settings.key

    # ------------------------------------------------------------------------------------- transactions

    def reading(self) -> Any:
        """As :meth:`Database.reading`."""
        return self.database.reading()

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """A transaction that holds the ledger: writers take turns, so what one has looked up stays true."""
        with self.database.writing() as session:
            session.info["ledger"] = session.scalars(_LEDGER).one()  # held, or the session would ask for it again
            yield session

    def record(self, session: Session, user: User, action: str, object_id: str, **details: Any) -> None:
        """Write an event into the caller's transaction; `details` must not identify a patient."""
        audit.append(session, self.keys, self.now(), user.subject, action, object_id, details)

    # ------------------------------------------------------------------------------------------- access

    @contextmanager
    def asked(self, user: User, action: Action, object_id: str = "") -> Iterator[None]:
        """Let `user` do something, if a role allows it; a refusal, also one from within, becomes an event.

        Raises
        ------
        NotAllowed
        NotFound
            From within: what does not exist and what the user is not to see are told and logged alike.
        """
        self._note_presence_of(user)
        try:
            demand(user, action)
            yield
        except (NotAllowed, NotFound) as error:
            shown = object_id if _ID.fullmatch(object_id) else ""  # whatever else came in a link may be a name
            with self.writing() as session:
                self.record(session, user, "refused", shown, asked=action.value, why=type(error).__name__)
            raise

    def case(self, session: Session, user: User, case_id: str) -> CaseRow:
        """A case that the user may know of.

        Raises
        ------
        NotFound
        """
        row = session.get(CaseRow, case_id)
        if row is None or not user.sees(row.department):
            raise NotFound("There is no such case here.")
        return row

    def study(self, session: Session, user: User, study_id: str) -> StudyRow:
        """A study that the user may know of."""
        row = session.get(StudyRow, study_id)
        if row is None or not user.sees(row.department):
            raise NotFound("There is no such study here.")
        return row

    def object(self, session: Session, user: User, object_id: str) -> ObjectRow:
        """An object that the user may know of."""
        row = session.get(ObjectRow, object_id)
        if row is None or not user.sees(row.department):
            raise NotFound("There is no such file here.")
        return row

    def _note_presence_of(self, user: User) -> None:
        """Keep the list of users up to date, without a transaction for every call."""
        now = self.now()
        with self._lock:
            if (seen := self._seen.get(user.subject)) is not None and now - seen < SEEN_EVERY:
                return
            self._seen[user.subject] = now
        with self.writing() as session:
            row = UserRow(subject=user.subject, name=user.name, roles=" ".join(sorted(user.roles)), seen=now)
            session.merge(row)

    # ----------------------------------------------------------------------------------------- contents

    def doom(self, session: Session, *contents: str) -> None:
        """Say that contents may not be needed any more; their bytes go once the transaction is kept."""
        for content in set(contents):
            session.merge(DoomedRow(content=content))

    def remove_doomed(self) -> None:
        """Remove the bytes of contents that no row needs; cut off at any point, the next call goes on."""
        with self.reading() as session:
            if session.scalar(select(DoomedRow.content).limit(1)) is None:
                return
        with self.writing() as session:
            for content in session.scalars(select(DoomedRow.content)).all():
                if not needed(session, content):
                    self.vault.remove(content)
            session.execute(delete(DoomedRow))
        self.database.forget_journal()


def _load_reader() -> Any:
    """The one scan reader of this process, which loads the networks' library."""
    from medai_core.imaging.reader import load_reader

    return load_reader()


def needed(session: Session, content: str) -> bool:
    """Whether a row names this content."""
    wanted = exists().where(ObjectRow.content == content) | exists().where(ReportRow.content == content)
    return bool(session.scalar(select(wanted)))
