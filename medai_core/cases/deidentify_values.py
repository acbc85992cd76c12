"""The values that take the place of a patient's: a pseudonym, UIDs and dates, all derived from one secret key."""

from __future__ import annotations

import hmac
import re
import unicodedata
import uuid
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import cached_property

from medai_core.errors import InputError

MIN_KEY_BYTES = 16
MAX_SHIFT_DAYS = 365
_DATE = re.compile(r"(\d{4})\.?(\d{2})\.?(\d{2})", re.ASCII)
_DATE_TIME = re.compile(r"(\d{4})(\d{2})?(\d{2})?((?:\d{2}){0,3}(?:\.\d{1,6})?)([+-]\d{4})?", re.ASCII)
_TIME = re.compile(r"\d{2}:?(\d{2}:?(\d{2}(\.\d{1,6})?)?)?", re.ASCII)


@dataclass(frozen=True)
class Disguise:
    """What replaces one patient's identity.

    Attributes
    ----------
    key : bytes
        Secret of this installation, at least 16 bytes. Whoever has it can tell whether an exported object is a
        given patient's; without it neither UIDs nor dates lead back.
    patient : str
        What stands for this patient everywhere here, such as the number of the case: all objects of one patient
        must get the same, or the intervals between them are lost. It is never written.
    pseudonym : str
        Written as Patient ID and Patient's Name. By default derived from key and patient.
    """

    key: bytes = field(repr=False)
    patient: str = field(repr=False)
    pseudonym: str = ""

    def __post_init__(self) -> None:
        if len(self.key) < MIN_KEY_BYTES:
            raise InputError("`{name}` must have at least {lowest} bytes, got {value}", name="key",
                             lowest=MIN_KEY_BYTES, value=len(self.key))  # fmt: skip
        if not self.patient.strip():
            raise InputError("`{name}` must not be empty", name="patient")
        if not self.pseudonym:
            object.__setattr__(self, "pseudonym", pseudonym(self.key, self.patient))
        if len(self.pseudonym) > 64 or re.search(r"[\\^=\x00-\x1f]", self.pseudonym):
            raise InputError("`{name}` must have at most 64 characters and none of \\ ^ =", name="pseudonym")

    @cached_property
    def shift_days(self) -> int:
        """Days by which dates go back, 1 to 365: the same for all objects of the patient."""
        return 1 + _number(self.key, "date shift", self.patient) % MAX_SHIFT_DAYS

    def uid(self, old: str) -> str:
        """The UID that replaces another: the same for the same key, whoever's object it occurs in.

        UIDs that the DICOM standard itself assigns (SOP classes, well-known instances) stay. Others become
        ``2.25.`` and a UUID (PS3.5 B.2).
        """
        from pydicom.uid import UID_dictionary

        old = old.strip(" \0")
        if not old or old in UID_dictionary:
            return old
        made = _number(self.key, "uid", old).to_bytes(32, "big")[:16]
        # "Version 5" is a UUID made by hashing a name.
        return f"2.25.{uuid.UUID(bytes=made, version=5).int}"

    def date(self, text: str) -> str | None:
        """A DICOM date (DA) moved back by the patient's days, None for what is no date."""
        found = _DATE.fullmatch(text.strip(" \0"))
        return found and self._moved(*found.groups())

    def date_time(self, text: str) -> str | None:
        """A DICOM date and time (DT) moved likewise, clock and offset kept, to the precision it had."""
        found = _DATE_TIME.fullmatch(text.strip(" \0"))
        if not found:
            return None
        year, month, day, clock, offset = found.groups("")
        # A year or a month alone stands for its middle.
        moved = self._moved(year, month or "07", day or ("15" if month else "01"))
        return moved and moved[: len(year + month + day)] + clock + offset

    def _moved(self, year: str, month: str, day: str) -> str | None:
        try:
            moved = date(int(year), int(month), int(day)) - timedelta(days=self.shift_days)
        except (ValueError, OverflowError):
            return None
        return f"{moved.year:04}{moved.month:02}{moved.day:02}"


def time(text: str) -> str | None:
    """A DICOM time (TM) as it is, None for what is no time."""
    return text.strip(" \0") if _TIME.fullmatch(text.strip(" \0")) else None


def pseudonym(key: bytes, patient: str) -> str:
    """A name for a patient that tells nothing, such as ``P-7Q2MX4KD9A``: the same whenever key and patient are.

    Fifty bits: among 10,000 patients two have the same with a probability of 1 in 20 million.
    """
    letters, number, name = "0123456789ABCDEFGHJKMNPQRSTVWXYZ", _number(key, "pseudonym", patient), ""
    for _ in range(10):
        number, digit = divmod(number, len(letters))
        name += letters[digit]
    return f"P-{name}"


def record_number(key: bytes, record: str) -> str:
    """A number of nine digits that replaces a record's, the same whenever key and record are."""
    return str(100_000_000 + _number(key, "record", record.strip()) % 900_000_000)


def _number(key: bytes, purpose: str, text: str) -> int:
    text = unicodedata.normalize("NFC", text)
    return int.from_bytes(hmac.digest(key, f"medai de-identification\0{purpose}\0{text}".encode(), "sha256"), "big")
