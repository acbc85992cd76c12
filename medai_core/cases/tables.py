"""The tables behind the workspace. What may identify a patient is sealed or blind (see :mod:`crypto`), never in clear.

A change here needs a migration beside it in ``migrations/versions``; a test holds the two together.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import JSON, Dialect, ForeignKey, Index, LargeBinary, MetaData, String, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import DateTime, TypeDecorator

NOT_READ = -1.0
"""Urgency of a study that no model has read: sorts last on every database."""
WAITING, RUNNING, READY, FAILED = "waiting", "running", "ready", "failed"


class Instant(TypeDecorator[datetime]):
    """A moment: aware in Python, UTC without a zone in the database (SQLite knows none)."""

    impl = DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return value and value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return value and value.replace(tzinfo=UTC)


class Base(DeclarativeBase):
    """All tables; constraints have names, so that migrations can name them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {
        datetime: Instant,
        bytes: LargeBinary,
        dict[str, Any]: JSON(none_as_null=True),
        str: String(128),
    }


def _below(column: str) -> Any:
    return ForeignKey(column, ondelete="CASCADE")


class CaseRow(Base):
    """One patient's folder; `patient` is the blind index of who it is, None for uploads without identity."""

    __tablename__ = "cases"
    __table_args__ = (UniqueConstraint("department", "patient"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    department: Mapped[str]
    patient: Mapped[str | None]
    pseudonym: Mapped[str] = mapped_column(index=True)
    identity: Mapped[bytes | None]
    created: Mapped[datetime]


class WordRow(Base):
    """Blind index of a word by which a case can be found: of the name, or a patient or accession number."""

    __tablename__ = "words"

    word: Mapped[str] = mapped_column(primary_key=True)
    case_id: Mapped[str] = mapped_column(_below("cases.id"), primary_key=True, index=True)


class StudyRow(Base):
    """One thing to be read; `uid` is the blind index of its Study Instance UID, `details` a sealed JSON object."""

    __tablename__ = "studies"
    __table_args__ = (
        UniqueConstraint("case_id", "uid"),
        Index(None, "department", "urgency", "arrived"),
        Index(None, "department", "status", "urgency", "arrived"),
        Index(None, "department", "arrived"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    case_id: Mapped[str] = mapped_column(_below("cases.id"))
    department: Mapped[str]
    uid: Mapped[str | None]
    kind: Mapped[str]
    modality: Mapped[str]
    body_part: Mapped[str]
    details: Mapped[bytes]
    status: Mapped[str]
    model_state: Mapped[str]
    urgency: Mapped[float] = mapped_column(default=NOT_READ)
    label: Mapped[str | None]
    arrived: Mapped[datetime]
    assignee: Mapped[str | None] = mapped_column(index=True)
    opened: Mapped[datetime | None]
    reviewed: Mapped[bool] = mapped_column(default=False)
    objects: Mapped[int] = mapped_column(default=0)
    version: Mapped[int] = mapped_column(default=1)


class ObjectRow(Base):
    """One file; `content` is its address in the vault, `sop` the blind index of its SOP Instance UID."""

    __tablename__ = "objects"
    __table_args__ = (
        UniqueConstraint("department", "sop"),
        UniqueConstraint("department", "content"),
        Index(None, "model_state", "arrived"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    study_id: Mapped[str] = mapped_column(_below("studies.id"), index=True)
    department: Mapped[str]
    content: Mapped[str] = mapped_column(index=True)
    sop: Mapped[str | None]
    format: Mapped[str]
    size_bytes: Mapped[int]
    name: Mapped[bytes]
    source: Mapped[str]
    arrived: Mapped[datetime]
    model_state: Mapped[str]
    claimed_until: Mapped[datetime | None]
    attempts: Mapped[int] = mapped_column(default=0)
    reason: Mapped[dict[str, Any] | None]


class ReadingRow(Base):
    """What a model said of one object; a later reading of the same object stands beside the earlier one."""

    __tablename__ = "readings"

    id: Mapped[str] = mapped_column(primary_key=True)
    object_id: Mapped[str] = mapped_column(_below("objects.id"), index=True)
    study_id: Mapped[str] = mapped_column(_below("studies.id"), index=True)
    model: Mapped[str]
    model_version: Mapped[str]
    model_digest: Mapped[str]
    status: Mapped[str]
    label: Mapped[str | None]
    urgency: Mapped[float]
    answer: Mapped[dict[str, Any]]
    at: Mapped[datetime]


class ReviewRow(Base):
    """What a person committed; `label` is one of the known ones. `body` is sealed: in free text may stand a name."""

    __tablename__ = "reviews"

    id: Mapped[str] = mapped_column(primary_key=True)
    study_id: Mapped[str] = mapped_column(_below("studies.id"), index=True)
    reader: Mapped[str]
    reader_name: Mapped[str]
    label: Mapped[str]
    body: Mapped[bytes]
    agrees: Mapped[bool | None]
    first: Mapped[bool]
    seconds: Mapped[float | None]
    reading_id: Mapped[str | None] = mapped_column(ForeignKey("readings.id", ondelete="SET NULL"), index=True)
    version: Mapped[int]
    at: Mapped[datetime]


class ReportRow(Base):
    """A report that was made of a study; `content` is its address in the vault, `sop` the blind index of its UID."""

    __tablename__ = "reports"

    id: Mapped[str] = mapped_column(primary_key=True)
    study_id: Mapped[str] = mapped_column(_below("studies.id"), index=True)
    kind: Mapped[str]
    mime: Mapped[str]
    content: Mapped[str] = mapped_column(index=True)
    sop: Mapped[str | None] = mapped_column(index=True)
    identified: Mapped[bool]
    by: Mapped[str]
    at: Mapped[datetime]


class LookRow(Base):
    """When a user opened a study, and since when the model's reading of it was shown to them."""

    __tablename__ = "looks"

    study_id: Mapped[str] = mapped_column(_below("studies.id"), primary_key=True)
    subject: Mapped[str] = mapped_column(primary_key=True)
    opened: Mapped[datetime | None]
    revealed: Mapped[datetime | None]


class PresenceRow(Base):
    """Who has a case open; `seen` is the last heartbeat, `since` the first of this visit."""

    __tablename__ = "presences"

    case_id: Mapped[str] = mapped_column(_below("cases.id"), primary_key=True)
    subject: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    since: Mapped[datetime]
    seen: Mapped[datetime]


class UserRow(Base):
    """A user who has been here; staff, not patients."""

    __tablename__ = "users"

    subject: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    roles: Mapped[str]
    seen: Mapped[datetime]


class DoomedRow(Base):
    """A content that no row needs any more and whose bytes are still to be removed."""

    __tablename__ = "doomed"

    content: Mapped[str] = mapped_column(primary_key=True)


class EventRow(Base):
    """One line of the audit log; `details` is the JSON text that was signed."""

    __tablename__ = "events"

    seq: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    at: Mapped[str]
    actor: Mapped[str]
    action: Mapped[str]
    object: Mapped[str] = mapped_column(index=True)
    details: Mapped[str] = mapped_column(String(4000))
    previous: Mapped[str]
    digest: Mapped[str]


class LedgerRow(Base):
    """The one row that every writer locks: how long the audit log is, its last digest, and whose key this is."""

    __tablename__ = "ledger"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    count: Mapped[int]
    digest: Mapped[str]
    seal: Mapped[str]
    key_check: Mapped[str]
