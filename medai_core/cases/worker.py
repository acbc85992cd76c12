"""The worker: what has arrived is read by the models, a batch at a time, behind everybody's back.

An object is claimed with a lease. Killed at any moment, the worker leaves nothing stuck: the lease runs out and the
object is claimed again. Its reading and what follows from it are kept in one transaction, or not at all.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from operator import itemgetter
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from medai_core.cases import admin
from medai_core.cases.access import SERVICE_USER
from medai_core.cases.folder import stored_message
from medai_core.cases.intake import ROW, STAY
from medai_core.cases.report_answer import Answer
from medai_core.cases.reviews import release_left, settle
from medai_core.cases.store import Store, new_id
from medai_core.cases.tables import FAILED, NOT_READ, READY, RUNNING, WAITING, ObjectRow, ReadingRow, StudyRow
from medai_core.cases.workspace import Workspace
from medai_core.errors import MedAIError, Unavailable, say

LEASE = timedelta(seconds=60)
BATCH, BATCH_BYTES = 16, 64_000_000
ATTEMPTS = 3
POLL_SECONDS, LONGEST_WAIT_SECONDS = 0.5, 30.0
QUIET_SECONDS, PATIENCE_SECONDS = 0.3, 5.0
"""Reading begins when nothing has arrived for so long, or has gone on arriving for so long."""
RELEASE_EVERY, TIDY_EVERY = timedelta(seconds=30), timedelta(hours=1)
STOPPED_US = say("Reading this file stopped the program {attempts} times; it is not tried again.", attempts=ATTEMPTS)
UNEXPECTED = say("The model failed on this file in a way nobody foresaw.")

log = logging.getLogger(__name__)

Items = Iterable[tuple[str, bytes]]
Answers = Iterator[tuple[str, Answer]]
Reader = Callable[[Items], Answers]
"""Answers for named files in their order."""


@dataclass(frozen=True)
class Claim:
    """An object this worker may read until its lease is over."""

    object_id: str
    format: str
    content: str
    size_bytes: int
    until: datetime


class Worker:
    """Reads what has arrived. One of them runs in a process; several processes share the work.

    Parameters
    ----------
    workspace : Workspace
    reader_factory : callable, optional
        Makes what reads scans: anything with ``read_many`` of
        :class:`~medai_core.imaging.reader.ScanReader`; by default the one of this process.
    forecaster_factory, table_factory : callable, optional
        The same for stays (``forecast_many``) and for rows of tables (``predict``).
    """

    def __init__(
        self,
        workspace: Workspace,
        reader_factory: Callable[[], Any] | None = None,
        *,
        forecaster_factory: Callable[[], Any] | None = None,
        table_factory: Callable[[], Any] | None = None,
    ) -> None:
        self.store = workspace.store
        self._scans = reader_factory or workspace.store.load_reader
        self._stays = forecaster_factory or _load_forecaster
        self._rows = table_factory or _load_table
        self._stop, self._thread = threading.Event(), threading.Thread(target=self._run, name="cases", daemon=True)
        self._released = self._tidied = self.store.now()

    def start(self) -> None:
        """Begin to work, in a daemon thread."""
        if not self._thread.is_alive():
            self._thread.start()

    def stop(self, timeout_seconds: float | None = None) -> None:
        """Stop after the batch that is being read."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout_seconds)

    def work(self) -> int:
        """Read one batch; returns the number of objects."""
        claims = claim(self.store)
        for kind, reader in (("scan", self._read_scans), (STAY, self._read_stays), (ROW, self._read_rows)):
            batch = [one for one in claims if (one.format if one.format in (STAY, ROW) else "scan") == kind]
            if batch:
                keep(self.store, list(self._answers(batch, reader)))
        return len(claims)

    def _run(self) -> None:
        wait = POLL_SECONDS
        while not self._stop.is_set():
            try:
                self._tend()
                self._give_way()
                wait = 0.0 if self.work() else POLL_SECONDS
            except MedAIError as error:  # the database is away, a model is not installed: later it may be there
                wait = min(max(2 * wait, POLL_SECONDS), LONGEST_WAIT_SECONDS)
                log.warning("Reading waits %.0f s: %s", wait, error)
            except Exception as error:  # its text may quote a file
                wait = LONGEST_WAIT_SECONDS
                log.error("Reading waits %.0f s after a %s", wait, type(error).__name__)
            self._stop.wait(wait)

    def _give_way(self) -> None:
        """Wait while files arrive one after the other: their senders wait, and a network would take every core."""
        until = time.monotonic() + PATIENCE_SECONDS
        while (left := min(until, self.store.arrived + QUIET_SECONDS) - time.monotonic()) > 0:
            if self._stop.wait(left):
                return

    def _tend(self) -> None:
        now = self.store.now()
        if now - self._released >= RELEASE_EVERY:
            self._released = now
            release_left(self.store)
        if now - self._tidied >= TIDY_EVERY:
            self._tidied = now
            admin.forget_old(self.store)
            admin.tidy(self.store)

    def _answers(self, batch: list[Claim], reader: Reader) -> Iterator[tuple[Claim, Answer]]:
        """Answers for a batch. What nobody foresaw costs the file it happened to, not the others."""
        readable, lost = [], []
        for one in batch:
            try:
                readable.append((one, self.store.vault.get(one.content)))
            except Unavailable:
                raise
            except MedAIError as error:
                lost.append((one, Answer.of_error(error)))
        yield from lost
        try:
            found = dict(reader((one.object_id, data) for one, data in readable))
            yield from [(one, found[one.object_id]) for one, _ in readable]
        except MedAIError:
            raise
        except Exception as error:
            if len(readable) > 1:
                for one, _ in readable:
                    yield from self._answers([one], reader)
                return
            log.error("A model failed on a file with a %s", type(error).__name__)  # its text may quote the file
            yield readable[0][0], Answer(status="failed", reason=UNEXPECTED)

    def _read_scans(self, items: Items) -> Answers:
        for name, found in self._scans().read_many(items):
            if isinstance(found, MedAIError):
                yield name, Answer.of_error(found)
            else:
                yield name, Answer.of_reading(found, **_bundle_of(found.model))

    def _read_stays(self, items: Items) -> Answers:
        from medai_core.icu.forecaster import MODEL

        about = _bundle_of(MODEL)
        for name, found in self._stays().forecast_many(items):
            if isinstance(found, MedAIError):
                yield name, Answer.of_error(found)
            else:
                yield name, Answer.of_forecast(found, MODEL, _version_of(MODEL), **about)

    def _read_rows(self, items: Items) -> Answers:
        from medai_core.tabular.breast_cancer import FEATURES, MALIGNANT, read_breast_cancer
        from medai_core.tabular.evaluate import BREAST_CANCER

        model, about = self._rows(), _bundle_of(BREAST_CANCER)
        for name, data in items:
            try:
                found = model.predict(read_breast_cancer(data).frame[list(FEATURES)])[0]
            except MedAIError as error:
                yield name, Answer.of_error(error)
                continue
            answer = Answer.of_prediction(found, BREAST_CANCER, _version_of(BREAST_CANCER), **about)
            urgency = found.probabilities.get(MALIGNANT, 0.0)
            yield name, replace(answer, urgency=max(urgency, 0.5) if found.refer else urgency)


# ------------------------------------------------------------------------------------ claiming and keeping


def claim(store: Store, count: int = BATCH, lease: timedelta = LEASE) -> list[Claim]:
    """Claim what has waited longest, in the order of arrival; at least one object if any waits."""
    now = store.now()
    free = (ObjectRow.model_state == WAITING) | ((ObjectRow.model_state == RUNNING) & (ObjectRow.claimed_until < now))
    with store.reading() as session:
        if session.scalar(select(ObjectRow.id).where(free).limit(1)) is None:
            return []
    claims: list[Claim] = []
    with store.writing() as session:
        studies = set()
        for row in session.scalars(
            select(ObjectRow).where(free).order_by(ObjectRow.arrived, ObjectRow.id).limit(count)
        ):
            if claims and sum(one.size_bytes for one in claims) + row.size_bytes > BATCH_BYTES:
                break
            if row.attempts >= ATTEMPTS:
                row.model_state, row.reason = FAILED, stored_message(STOPPED_US)
            else:
                row.model_state, row.claimed_until, row.attempts = RUNNING, now + lease, row.attempts + 1
                claims.append(Claim(row.id, row.format, row.content, row.size_bytes, row.claimed_until))
            studies.add(row.study_id)
        for study_id in sorted(studies):
            follow(session, study_id)
    return claims


def keep(store: Store, answers: Iterable[tuple[Claim, Answer]]) -> None:
    """Keep answers with all that follows from them, in one transaction.

    What was forgotten meanwhile, or claimed by another worker after the lease was over, is left as it is.
    """
    with store.writing() as session:
        studies = set()
        for one, answer in answers:
            row = session.get(ObjectRow, one.object_id)
            if row is None or row.model_state != RUNNING or row.claimed_until != one.until:
                continue
            failed = answer.status == "failed"
            row.model_state, row.claimed_until = FAILED if failed else READY, None
            if failed:
                row.reason = answer.to_dict()["reason"] or None
            else:
                session.add(_reading(store, row, answer))
            studies.add(row.study_id)
            about = {"study": row.study_id, "status": answer.status, "label": answer.label}
            about |= {"model": answer.model, "model_version": answer.version, "model_digest": answer.digest}
            store.record(session, SERVICE_USER, "failed" if failed else "read", row.id, **about)
        for study_id in sorted(studies):
            follow(session, study_id)


def _reading(store: Store, row: ObjectRow, answer: Answer) -> ReadingRow:
    return ReadingRow(
        id=new_id(),
        object_id=row.id,
        study_id=row.study_id,
        model=answer.model or "",
        model_version=answer.version or "",
        model_digest=answer.digest or "",
        status=answer.status,
        label=answer.label,
        urgency=answer.urgency,
        answer=answer.to_dict(),
        at=store.now(),
    )


def follow(session: Session, study_id: str) -> None:
    """Bring a study in line with its objects and their newest readings."""
    study = session.get_one(StudyRow, study_id)
    states = set(session.scalars(select(ObjectRow.model_state).where(ObjectRow.study_id == study_id).distinct()))
    study.model_state = next((state for state in (RUNNING, WAITING, READY) if state in states), FAILED)
    columns = select(ReadingRow.object_id, ReadingRow.status, ReadingRow.urgency, ReadingRow.label)
    readings = session.execute(columns.where(ReadingRow.study_id == study_id).order_by(ReadingRow.at))
    newest = {object_id: rest for object_id, *rest in readings}
    answers = [(urgency, label) for status, urgency, label in newest.values() if status == "read"]
    study.urgency, study.label = max(answers, key=itemgetter(0), default=(NOT_READ, None))
    settle(session, study)


# ------------------------------------------------------------------------------------------------- models


def _bundle_of(model: str | None) -> dict[str, str]:
    """Digest and title of a shipped model, as reports name them."""
    from medai_core import registry

    entry = registry.MODELS.get(model or "")
    return {"digest": entry.digest or "", "title": str(entry.title)} if entry else {}


def _version_of(model: str) -> str:
    from medai_core import registry

    return registry.bundle(model).version


def _load_forecaster() -> Any:
    from medai_core.icu.forecaster import load_forecaster

    return load_forecaster()


def _load_table() -> Any:
    from medai_core.tabular.evaluate import BREAST_CANCER
    from medai_core.tabular.risk_model import load_risk_model

    return load_risk_model(BREAST_CANCER)
