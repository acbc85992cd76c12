"""What a report is made from: plain facts of one study, with no database, file or model behind them.

Everything shows up as it stands here. Who wants a report without identity leaves :attr:`ReportFacts.identity` and the
readers' names out, gives UIDs that were mapped, and times that were shifted (:meth:`ReportFacts.shifted`); of a
source's header only what describes the picture is used then, see :mod:`medai_core.cases.report_dicom`.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from medai_core.cases.answers import Finding, Identity
from medai_core.cases.report_answer import Answer
from medai_core.errors import InputError, Message, say

if TYPE_CHECKING:
    from pydicom import Dataset

Kind = Literal["scan", "stay", "row"]
KINDS: dict[str, Message] = {"scan": say("Scan"), "stay": say("Intensive-care stay"), "row": say("Row of a table")}


@dataclass(frozen=True)
class ReviewFacts:
    """What a person committed on a study.

    Attributes
    ----------
    agrees : bool or None
        With the model's answer; None where there was none to compare with.
    findings : Mapping[str, str]
        What the reader says of it, by name.
    also : tuple[Finding, ...]
        Further findings.
    reader : str or None
        None where the report shall not name staff.
    first : bool
        Committed before the model's answer was shown.
    seconds : float or None
        From opening the study to committing.
    committed : datetime or None
        None in a report without identity.
    """

    label: str
    committed: datetime | None
    agrees: bool | None = None
    reason: str = ""
    findings: Mapping[str, str] = field(default_factory=dict)
    reader: str | None = None
    first: bool = False
    seconds: float | None = None
    also: tuple[Finding, ...] = ()

    @property
    def labels(self) -> tuple[str, ...]:
        """Of all findings, the main one first."""
        return (self.label, *(one.label for one in self.also))


@dataclass(frozen=True, eq=False)
class Source:
    """One object of the study: a DICOM instance, an uploaded picture, a stay, a row.

    Attributes
    ----------
    digest : str
        SHA-256 of its bytes.
    answer : Answer or None
        None while no model has looked at it.
    sop_uid, series_uid : str
        Empty when it was no DICOM; UIDs are made for it then.
    header : Dataset or None
        Without pixels, as it shall be exported.
    image : NDArray[np.uint8] or None
        (H, W) or (H, W, 3), as shown.
    overlay : NDArray[np.uint8] or None
        (H, W, 3), the image with its heat map.
    explained : Message or str
        One sentence on the heat map, for example for which label and by which method.
    """

    digest: str
    answer: Answer | None = None
    sop_uid: str = ""
    series_uid: str = ""
    header: Dataset | None = None
    image: NDArray[np.uint8] | None = None
    overlay: NDArray[np.uint8] | None = None
    explained: Message | str = ""


@dataclass(frozen=True, eq=False)
class ReportFacts:
    """One study as a report tells it.

    Attributes
    ----------
    sources : tuple[Source, ...]
        At least one, in the order of the study.
    key : bytes
        From which UIDs are derived: the same content under the same key gets the same UIDs.
    pseudonym : str
        What the patient is called while ``identity`` is None.
    arrived : datetime or None
        When the study came; None in a report without identity.
    written : datetime
        When this report is written.
    study_uid : str
        Empty when the study was no DICOM.
    accession : str
        Told together with ``identity`` alone.
    reviews : tuple[ReviewFacts, ...]
        The oldest first; the last one counts.
    study_date : date or None
        Of the examination, as it shall appear; a report with identity takes it from the header.
    moved : bool
        The times were shifted.
    """

    kind: Kind
    sources: tuple[Source, ...]
    key: bytes
    pseudonym: str
    arrived: datetime | None
    written: datetime
    study_uid: str = ""
    identity: Identity | None = None
    accession: str = ""
    reviews: tuple[ReviewFacts, ...] = ()
    study_date: date | None = None
    description: str = ""
    moved: bool = False

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise InputError("`kind` must be one of {known}, got {kind}", known=", ".join(KINDS), kind=repr(self.kind))
        if not self.sources:
            raise InputError("`sources` must hold at least one object of the study, got none")
        if not self.key:
            raise InputError("`key` must not be empty: identifiers derived without one can be guessed")

    @property
    def review(self) -> ReviewFacts | None:
        """The review that counts."""
        return self.reviews[-1] if self.reviews else None

    @property
    def status(self) -> str:
        """``final`` when reviewed, ``refused`` when every model's answer is a refusal, else ``preliminary``."""
        if self.reviews:
            return "final"
        refused = all(source.answer is not None and source.answer.status == "refused" for source in self.sources)
        return "refused" if refused else "preliminary"

    @property
    def leading(self) -> Source:
        """The most urgent source that was read, or the first one."""
        read = [source for source in self.sources if source.answer and source.answer.status == "read"]
        return max(read, key=lambda source: source.answer.urgency, default=self.sources[0])

    def uid(self, *parts: str) -> str:
        """A UID that follows from the key and the parts alone (2.25, PS3.5 B.2)."""
        mac = hmac.new(self.key, "\0".join(parts).encode("utf-8", "replace"), hashlib.sha256).digest()
        return f"2.25.{int.from_bytes(mac[:16])}"

    @property
    def study(self) -> str:
        """The study's UID, or one derived from the content."""
        return _valid(self.study_uid) or self.uid("study", *(source.digest for source in self.sources))

    def series(self, source: Source) -> str:
        """The source's series UID, or one derived from the content."""
        return _valid(source.series_uid) or self.uid("series", self.study, source.digest)

    def sop(self, source: Source) -> str:
        """The source's SOP instance UID, or one derived from the content."""
        return _valid(source.sop_uid) or self.uid("sop", self.study, source.digest)

    def shifted(self, by: timedelta) -> ReportFacts:
        """The same facts with the patient's days moved, as PS3.15's option to retain modified dates asks.

        When the study was handled here is left out. It cannot be moved: a report is often written minutes after, at
        a time that whoever gets it knows, and the difference would be the shift. It cannot stay: a study often
        arrives on the day on which it is made.
        """
        reviews = tuple(replace(review, committed=None) for review in self.reviews)
        day = None if self.study_date is None else self.study_date + by
        return replace(self, arrived=None, reviews=reviews, study_date=day, moved=True)


def _valid(uid: str) -> str:
    """The UID, or nothing when it is none: a report must not carry what no archive takes."""
    return uid if re.fullmatch(r"[0-9.]{1,64}", uid) else ""


def clean(text: object, limit: int | None = None) -> str:
    """One line without control characters, unpaired surrogates or marks that turn the direction of writing.

    Parameters
    ----------
    limit : int, optional
        Characters kept; a longer text ends with three points (an ellipsis is no ASCII, and some tools count bytes).
    """
    line = " ".join("".join(c if c.isprintable() else " " for c in str(text)).split())
    return line if limit is None or len(line) <= limit else line[: limit - 3].rstrip() + "..."


def person(name: str) -> str:
    """A DICOM person name as people write it: ``Doe^Jane=王^小东`` becomes ``Doe, Jane (王小东)``."""
    groups = []
    for group in name.split("="):
        family, _, rest = group.partition("^")
        parts = [part for part in (clean(family), clean(rest.replace("^", " "))) if part]
        groups.append(("" if re.search(r"[\u3040-\u9fff\uac00-\ud7af]", group) else ", ").join(parts))
    first, *others = [group for group in groups if group] or [""]
    return first + "".join(f" ({group})" for group in others)
