"""What the workspace answers: plain, immutable records shared by pages, command line and reports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from medai_core.errors import Message

if TYPE_CHECKING:
    from medai_core.cases.audit import Delivery

STATUSES = ("new", "reading", "done", "refused")
SORTS = ("urgency", "age", "status", "modality", "assignee")
NOBODY = ""
"""As :attr:`Filter.assignee`: studies that nobody is assigned to."""


@dataclass(frozen=True)
class Receipt:
    """What became of one file; ``new`` and ``duplicate`` mean that it is kept, whatever happens next.

    Attributes
    ----------
    status : {"new", "duplicate", "refused"}
    reason : Message or None
        Why it is no new object.
    """

    status: str
    case_id: str | None = None
    study_id: str | None = None
    object_id: str | None = None
    reason: Message | None = None
    name: str = ""


@dataclass(frozen=True)
class Identity:
    """Who the patient is; only for users, and in reports, that may name the patient.

    Attributes
    ----------
    name : str
        For people: ``Doe, Jane``.
    sex : str
        ``F``, ``M``, ``O``, or empty; as the file says, so any other code may stand here.
    person_name : str
        The same as in DICOM: ``Doe^Jane``, groups separated by ``=``.
    """

    name: str = ""
    patient_id: str = ""
    issuer: str = ""
    birth_date: date | None = None
    sex: str = ""
    person_name: str = ""


@dataclass(frozen=True)
class Filter:
    """Which studies of the worklist; an empty tuple lets everything through.

    Attributes
    ----------
    assignee : str or None
        Subject of a user, :data:`NOBODY`, or None for all.
    text : str
        Words that must all fit: whole words of the patient's name, patient or accession number (for users who may
        see identities), start of the pseudonym, modality, start of the body part.
    """

    status: tuple[str, ...] = ()
    modality: tuple[str, ...] = ()
    assignee: str | None = None
    text: str = ""
    group: str | None = None
    kind: tuple[str, ...] = ()


@dataclass(frozen=True)
class Row:
    """One study of the worklist.

    Attributes
    ----------
    urgency : float or None
        0 to 1; None while no model has read it, or while its reading is withheld.
    arrived, age_seconds : datetime, float
        Of the last arrival, as :func:`medai_core.cases.access.told_of` lets the user know it.
    patient : str
        Name, else number; the pseudonym for users who may not see identities.
    """

    study_id: str
    case_id: str
    kind: str
    modality: str
    description: str
    status: str
    model_state: str
    urgency: float | None
    label: str | None
    arrived: datetime
    age_seconds: float
    assignee: str | None
    objects: int
    patient: str
    version: int
    assignee_name: str | None = None


@dataclass(frozen=True)
class Page:
    """A page of the worklist.

    Attributes
    ----------
    total : int
        Studies that the whole filter lets through.
    counts : Mapping[str, int]
        Studies of each status that the filter without its status lets through.
    """

    rows: tuple[Row, ...]
    total: int
    counts: Mapping[str, int]


@dataclass(frozen=True)
class Object:
    """One file of a study.

    Attributes
    ----------
    name : str
        What it was called; empty for users who may not see identities.
    format : str
        ``DICOM``, ``PNG``, …, ``NIfTI``, ``stay`` or ``row``.
    """

    object_id: str
    name: str
    format: str
    size_bytes: int
    arrived: datetime
    model_state: str
    reason: Message | None = None


@dataclass(frozen=True)
class ModelReading:
    """What a model said of one object.

    Attributes
    ----------
    model, version, digest : str
        Of the bundle that answered; empty when no model was asked.
    status : {"read", "refused"}
    answer : Mapping
        As of :meth:`medai_core.cases.report_answer.Answer.to_dict`.
    """

    reading_id: str
    object_id: str
    model: str
    version: str
    digest: str
    status: str
    label: str | None
    urgency: float
    answer: Mapping[str, Any]
    at: datetime


@dataclass(frozen=True)
class Finding:
    """What a reader found beside the main finding.

    Attributes
    ----------
    label : str
        One of the known labels, or the reader's own words.
    confidence : str
        ``low``, ``moderate``, ``high``, or empty.
    """

    label: str
    location: str = ""
    confidence: str = ""


@dataclass(frozen=True)
class ReviewInput:
    """What a reader commits.

    Attributes
    ----------
    label : str
        The main finding: one of the known labels, or the reader's own words.
    findings : dict
        What there is to say of the main finding, by name: location, confidence, comment.
    also : tuple[Finding, ...]
        Further findings, at most :data:`medai_core.cases.reviews.MAX_ALSO`.
    agrees : bool or None
        With the model's reading; None where there is none, or it was not seen.
    first : bool
        Committed before the model's reading was shown. Kept as True only if the workspace has not shown it.
    """

    label: str
    findings: Mapping[str, Any] = field(default_factory=dict)
    agrees: bool | None = None
    reason: str = ""
    first: bool = False
    also: tuple[Finding, ...] = ()


@dataclass(frozen=True)
class Review:
    """What a person committed on a study.

    Attributes
    ----------
    label : str
        For users who may not see identities :data:`medai_core.cases.report_codes.OTHER` in place of own words.
    seconds : float or None
        From opening the study to committing.
    reading_id : str or None
        The model's reading it stands beside.
    version : int
        Of the study once this was committed.
    """

    review_id: str
    study_id: str
    reader: str
    reader_name: str
    label: str
    findings: Mapping[str, Any]
    agrees: bool | None
    reason: str
    first: bool
    seconds: float | None
    reading_id: str | None
    at: datetime
    version: int
    also: tuple[Finding, ...] = ()


@dataclass(frozen=True)
class Report:
    """A report that was made of a study."""

    report_id: str
    kind: str
    mime: str
    identified: bool
    by: str
    at: datetime
    by_name: str = ""


@dataclass(frozen=True)
class Study:
    """One thing to be read in a case.

    Attributes
    ----------
    kind : {"scan", "stay", "row"}
    acquired : date or None
        As the file says; None for users who may not see identities.
    withheld : bool
        The readings, and what others made of them, are there, and not shown before this user's own review.
    sent : tuple[Delivery, ...]
        The oldest first; empty for users who may not export the patient's identity.
    """

    study_id: str
    case_id: str
    kind: str
    modality: str
    body_part: str
    description: str
    acquired: date | None
    arrived: datetime
    status: str
    model_state: str
    assignee: str | None
    objects: tuple[Object, ...]
    readings: tuple[ModelReading, ...]
    reviews: tuple[Review, ...]
    reports: tuple[Report, ...]
    withheld: bool
    version: int
    assignee_name: str | None = None
    sent: tuple[Delivery, ...] = ()


@dataclass(frozen=True)
class Moment:
    """Something that happened to a case: ``kind`` is ``arrived``, ``read``, ``reviewed`` or ``report``."""

    at: datetime
    kind: str
    study_id: str
    text: Message


@dataclass(frozen=True)
class Case:
    """One patient's folder: studies newest first, moments oldest first."""

    case_id: str
    group: str
    identity: Identity | None
    pseudonym: str
    studies: tuple[Study, ...]
    timeline: tuple[Moment, ...]


@dataclass(frozen=True)
class Presence:
    """Another user who has the case open."""

    name: str
    since: datetime


@dataclass(frozen=True)
class Export:
    """A file that leaves the workspace; `warnings` say what a person should look at first."""

    data: bytes
    name: str
    mime: str
    warnings: tuple[Message, ...] = ()


@dataclass(frozen=True)
class UserSeen:
    """A user who has been here."""

    subject: str
    name: str
    roles: tuple[str, ...]
    seen: datetime


@dataclass(frozen=True)
class VersionUse:
    """How often a version of a model read, and what its readers made of it."""

    model: str
    version: str
    read: int
    refused: int
    agreed: int
    overruled: int


@dataclass(frozen=True)
class Failure:
    """An object that no model could read."""

    object_id: str
    study_id: str
    case_id: str
    at: datetime
    reason: Message | None


@dataclass(frozen=True)
class Overview:
    """For the administrator; holds no identity of a patient.

    Attributes
    ----------
    failed : int
        Objects that no model could read; `failures` holds the newest.
    queue : int
        Objects that wait for a model or are being read.
    key_beside_data : bool
        The key lies in the folder of what it encrypts.
    """

    users: tuple[UserSeen, ...]
    cases: int
    studies: int
    storage_bytes: int
    versions: tuple[VersionUse, ...]
    queue: int
    failed: int
    failures: tuple[Failure, ...]
    key_beside_data: bool
    database: str
