"""The public face of the case workspace.

workspace = open_workspace()
receipt = workspace.receive(user, data, "image.dcm")
workspace.worklist(user, Filter(status=("new",))).rows

Every call takes the acting user, is refused without the right role, and leaves its event. What belongs to another group
answers in the same words as what does not exist.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from functools import cache

from medai_core.cases import admin, exports, folder, reviews
from medai_core.cases.access import Action, User, allowed
from medai_core.cases.answers import (
    Case,
    Export,
    Filter,
    Overview,
    Page,
    Presence,
    Receipt,
    Review,
    ReviewInput,
)
from medai_core.cases.audit import EventPage, Verification
from medai_core.cases.intake import parts
from medai_core.cases.receive import receive
from medai_core.cases.store import Store, utc_now
from medai_core.cases.worklist import worklist
from medai_core.errors import Message
from medai_core.settings import Settings
from medai_core.settings import settings as environment

VIEWED_EVERY = timedelta(minutes=10)
"""A case that is shown again and again, as by live refresh, is one event for so long."""


class Workspace:
    """One workspace.

    Parameters
    ----------
    settings : Settings, optional
        By default those of the environment.
    now : callable
        The clock; aware moments.

    Raises
    ------
    InputError
        If the key is missing or another one.
    Unavailable
        If the database is away.
    """

    def __init__(self, settings: Settings | None = None, now: Callable[[], datetime] = utc_now) -> None:
        self.store = Store(settings or environment(), now)
        self._viewed: dict[tuple[str, str], datetime] = {}
        self._lock = threading.Lock()

    # ------------------------------------------------------------------------------------------- arrival

    def receive(
        self,
        user: User,
        data: bytes,
        name: str,
        *,
        source: str = "upload",
        case_id: str | None = None,
        group: str | None = None,
    ) -> Receipt:
        """Take one file in.

        Parameters
        ----------
        data : bytes
            DICOM, a picture, NIfTI, an intensive-care stay, or one row of a clinical table.
        name : str
            What the sender calls it.
        source : {"upload", "folder", "c-store", "dicomweb"}
        case_id : str, optional
            The case it belongs to; by default that of the patient it names, or one of its own.
        group : str, optional
            Department, one of the user's own; by default ``default``, or the user's first.

        Returns
        -------
        Receipt
            ``new`` and ``duplicate``: it is on the disk and filed. ``refused``: with the reason, nothing is kept.

        Raises
        ------
        NotAllowed
        NotFound
            If there is no such case.
        Unavailable
            If disk or database do not take it: nothing is kept, and the same can be sent again.
        """
        with self.store.asked(user, Action.RECEIVE, case_id or ""):
            return receive(self.store, user, data, name, source, case_id, group)

    def receive_all(
        self,
        user: User,
        data: bytes,
        name: str,
        *,
        source: str = "upload",
        case_id: str | None = None,
        group: str | None = None,
    ) -> Iterator[Receipt]:
        """Take in every file of a ZIP archive and every row of a table, each as by :meth:`receive`."""
        for part, content, error in parts(data, name):
            if error is not None:
                yield Receipt("refused", reason=error.message, name=part)
            else:
                yield self.receive(user, content, part, source=source, case_id=case_id, group=group)

    # ------------------------------------------------------------------------------------------- looking

    def worklist(
        self,
        user: User,
        filter: Filter | None = None,
        *,
        sort: str = "urgency",
        descending: bool = True,
        page: int = 0,
        size: int = 50,
        reveal: bool = True,
    ) -> Page:
        """A page of the studies this user sees.

        Parameters
        ----------
        sort : {"urgency", "age", "status", "modality", "assignee"}
            Of equals the one that has waited longest comes first. By urgency means by age while `reveal` is False.
        page : int
            From 0.
        size : int
            1 to 200.
        reveal : bool
            False withholds what the model says of studies that the user has not reviewed.
        """
        with self.store.asked(user, Action.LIST):
            return worklist(self.store, user, filter or Filter(), sort, descending, page, size, reveal)

    def case(self, user: User, case_id: str, *, reveal: bool = True) -> Case:
        """All of a case.

        Parameters
        ----------
        reveal : bool
            False withholds the model's readings of each study until this user has committed a review of it. Once they
            were shown, a review does not count as made first.

        Raises
        ------
        NotFound
        """
        with self.store.asked(user, Action.VIEW, case_id):
            found = folder.case(self.store, user, case_id, reveal)
            self._note_view(user, case_id)
            folder.note_revealed(self.store, user, found)
            return found

    def content(self, user: User, object_id: str) -> bytes:
        """The bytes of one file: as they arrived, and de-identified for users who may not see identities."""
        with self.store.asked(user, Action.VIEW, object_id):
            return exports.content(self.store, user, object_id, allowed(user, Action.SEE_IDENTITY))

    def _note_view(self, user: User, case_id: str) -> None:
        now, key = self.store.now(), (user.subject, case_id)
        with self._lock:
            if key in self._viewed and now - self._viewed[key] < VIEWED_EVERY:
                return
            self._viewed = {k: at for k, at in self._viewed.items() if now - at < VIEWED_EVERY} | {key: now}
        with self.store.writing() as session:
            self.store.record(session, user, "viewed", case_id)

    # ----------------------------------------------------------------------------------------- reviewing

    def opened(self, user: User, study_id: str) -> None:
        """Say that a reader has opened a study to read it: it shows as being read, and the decision clock starts."""
        with self.store.asked(user, Action.REVIEW, study_id):
            reviews.opened(self.store, user, study_id)

    def assign(self, user: User, study_id: str, subject: str | None, version: int) -> int:
        """Hand a study to a user, or with None to nobody.

        Parameters
        ----------
        version : int
            Of the study as the user saw it.

        Returns
        -------
        int
            The study's new version.

        Raises
        ------
        Conflict
            If it was changed since.
        """
        with self.store.asked(user, Action.ASSIGN, study_id):
            return reviews.assign(self.store, user, study_id, subject, version)

    def review(self, user: User, study_id: str, given: ReviewInput, version: int) -> Review:
        """Commit a review.

        Raises
        ------
        Conflict
            If the study was changed since `version`; nothing is overwritten, and what was given can be given again.
        InputError
            If label or reason break their rule.
        """
        with self.store.asked(user, Action.REVIEW, study_id):
            return reviews.review(self.store, user, study_id, given, version)

    def here(self, user: User, case_id: str) -> tuple[Presence, ...]:
        """Say that the user has the case open; returns who else had it open within the last 30 s."""
        with self.store.asked(user, Action.VIEW, case_id):
            return reviews.here(self.store, user, case_id)

    # ------------------------------------------------------------------------------------------- leaving

    def export(
        self,
        user: User,
        study_id: str,
        kind: str,
        *,
        identified: bool = False,
        reveal: bool = True,
        translate: Callable[[Message | str], str] = str,
    ) -> Export:
        """A study as a file for others, de-identified unless asked otherwise; the report is kept.

        Parameters
        ----------
        kind : {"sr", "capture", "fhir", "pdf", "json", "dicom"}
        reveal : bool
            As for :meth:`case`: False refuses reports of a study that a model has read and the user has not reviewed.
        translate : callable
            Turns the sentences of the PDF into the language of its reader; the other kinds are in English.

        Raises
        ------
        NotAllowed
        NotFound
        InputError
            If there is no such kind, or it does not fit the study.
        """
        action = Action.EXPORT_IDENTIFIED if identified else Action.EXPORT
        with self.store.asked(user, action, study_id):
            return exports.export(self.store, user, study_id, kind, identified, reveal, translate)

    def report(self, user: User, report_id: str, *, reveal: bool = True) -> Export:
        """A report that was made before, byte for byte; `reveal` as for :meth:`export`."""
        with self.store.asked(user, Action.EXPORT, report_id):
            return exports.kept(self.store, user, report_id, reveal)

    def forget(self, user: User, case_id: str, reason: str = "request") -> None:
        """Remove all bytes and rows of a case; the events about it stay.

        Parameters
        ----------
        reason : {"request", "retention", "error", "test"}
            One of a few words: free text in the log might name the patient.
        """
        with self.store.asked(user, Action.FORGET, case_id):
            admin.forget(self.store, user, case_id, reason)

    # ------------------------------------------------------------------------------------ administration

    def overview(self, user: User) -> Overview:
        """Users seen, storage, model versions and how often overruled, queue, failures."""
        with self.store.asked(user, Action.ADMINISTER):
            return admin.overview(self.store, user)

    def events(
        self,
        user: User,
        *,
        page: int = 0,
        size: int = 100,
        action: str | None = None,
        actor: str | None = None,
        object_id: str | None = None,
    ) -> EventPage:
        """A page of the audit log, newest first."""
        with self.store.asked(user, Action.AUDIT):
            return admin.events(self.store, page, size, action, actor, object_id)

    def verify_audit(self, user: User, head: str | None = None) -> Verification:
        """Look for an edit, a deletion, an insertion or a reordering in the audit log.

        Parameters
        ----------
        head : str, optional
            A digest kept elsewhere.
        """
        with self.store.asked(user, Action.AUDIT):
            return admin.verify_audit(self.store, user, head)

    def audit_csv(self, user: User) -> Iterator[str]:
        """The audit log as lines of CSV, oldest first; no cell is run by a spreadsheet."""
        with self.store.asked(user, Action.AUDIT):
            yield from admin.audit_csv(self.store, user)

    def close(self) -> None:
        """Let go of the database."""
        self.store.database.close()


@cache
def _opened(settings: Settings) -> Workspace:
    return Workspace(settings)


_opening = threading.Lock()


def open_workspace() -> Workspace:
    """The workspace of the environment's settings, opened once in this process."""
    with _opening:  # two visitors may come first at once
        return _opened(environment())
