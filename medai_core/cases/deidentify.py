"""De-identification of DICOM objects by the basic profile of PS3.15 Annex E, with dates shifted per patient.

Everything that the profile names is removed, emptied or replaced, wherever in a data set it stands; so are private
attributes, curves, overlays, the preamble, the file meta information, text in structured reports and in the markers
of compressed pixels, and people's own words in attributes that the profile leaves alone. Whatever is kept is held
against the names and numbers that were taken out. Text burned into the pixels is only warned of: see
:mod:`medai_core.cases.burned_in`.
"""

from __future__ import annotations

import re
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from medai_core.cases.deidentify_pixels import clean_pixel_data
from medai_core.cases.deidentify_rules import (
    DUMMY,
    EDITION,
    EMPTY,
    KEEP,
    MAP,
    REMOVE,
    SHIFT,
    TEXT_VRS,
    keyword,
    rule,
)
from medai_core.cases.deidentify_values import Disguise, time
from medai_core.errors import Message, RefusedInput, say

if TYPE_CHECKING:
    from pydicom.dataelem import DataElement
    from pydicom.dataset import Dataset, FileMetaDataset

REMOVED = "REMOVED"
_DUMMIES = {
    "DA": "19000101", "DT": "19000101000000", "TM": "000000", "AS": "000D", "DS": "0", "IS": "0",
    "UR": "http://removed.invalid", "OB": b"REMOVED\0", "OW": b"REMOVED\0", "UN": b"REMOVED\0",
}  # fmt: skip
_NUMBERS = frozenset({"FD", "FL", "SS", "US", "SL", "UL", "SV", "UV"})
_SUBJECT_CODES = frozenset({"121028", "121029", "121030", "121031", "121032", "121033", "126070"})
"""DCM codes of what a report says of its subject: UID, name, ID, birth date, sex, age, time point."""
_IDENTIFIERS = ("PatientID", "OtherPatientIDs", "AccessionNumber", "AdmissionID", "InstitutionName", "PatientAddress",
                "InstitutionAddress", "PatientTelephoneNumbers", "IssuerOfPatientID")  # fmt: skip
_CODES = {
    "113100": "Basic Application Confidentiality Profile",
    "113104": "Clean Structured Content Option",
    "113107": "Retain Longitudinal Temporal Information Modified Dates Option",
    "113108": "Retain Patient Characteristics Option",
}
_OLDEST_YEARS = 89
_VIDEO = "1.2.840.10008.1.2.4.10"  # MPEG-2, MPEG-4 and HEVC are …4.100 to …4.108


@dataclass(frozen=True)
class Notes:
    """What was done to an object; nothing here identifies anyone or tells by how much dates were moved.

    Attributes
    ----------
    pseudonym : str
        What the patient is called now.
    done : dict[str, int]
        How many attributes were removed, emptied, replaced, shifted (dates) and mapped (UIDs).
    warnings : tuple[Message, ...]
        What a person should look at before the object leaves the house.
    """

    pseudonym: str
    done: dict[str, int] = field(default_factory=dict)
    warnings: tuple[Message, ...] = ()


def deidentify(
    dataset: Dataset, *, key: bytes, patient: str, pseudonym: str = "", keep_characteristics: bool = False
) -> tuple[Dataset, Notes]:
    """De-identify a DICOM object by the basic profile of PS3.15 Annex E (table E.1-1, edition 2026c).

    Parameters
    ----------
    dataset : pydicom.dataset.Dataset
        Any object but a DICOMDIR, with ``file_meta.TransferSyntaxUID`` if it has pixels; it is not changed.
    key : bytes
        Secret of this installation, at least 16 bytes.
    patient : str
        What stands for the patient here, never written: dates of all objects with the same go back by the same
        number of days, between 1 and 365. Times of day stay.
    pseudonym : str
        Written as Patient ID and Patient's Name; by default derived from key and patient.
    keep_characteristics : bool
        Keep age (at most 89 years, older as 90), sex, size and weight, which the basic profile removes.

    Returns
    -------
    Dataset
        Ready for ``save_as(…, enforce_file_format=True)``.
    Notes

    Raises
    ------
    InputError
        If key, patient or pseudonym break their rule, or the pixel data are damaged.
    RefusedInput
        For a DICOMDIR, which is nothing but names and places of files.
    """
    if dataset.get("SOPClassUID", dataset.file_meta.get("MediaStorageSOPClassUID") if _meta(dataset) else None) == (
        "1.2.840.10008.1.3.10"
    ):
        raise RefusedInput("A DICOMDIR is an index of patients and files; it is not exported.")
    work = _Work(Disguise(key, patient, pseudonym), keep_characteristics, _identity(dataset))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom's quote the values they complain about
        clean = work.cleaned(dataset)
    _mark(clean, work)
    clean.file_meta, clean.preamble = _new_meta(dataset, clean), bytes(128)
    clean_pixel_data(clean)
    return clean, Notes(work.disguise.pseudonym, dict(work.done), tuple(_doubts(dataset, clean)))


@dataclass
class _Work:
    """One object's de-identification: what replaces, what is looked for, and what has been done."""

    disguise: Disguise
    characteristics: bool
    identity: re.Pattern[str] | None
    done: Counter[str] = field(default_factory=Counter)
    report: bool = False

    def cleaned(self, dataset: Dataset, *, dummy: bool = False) -> Dataset:
        """A new data set with what may stay of this one; with ``dummy``, nothing of its text stays."""
        from pydicom.dataset import Dataset

        clean = Dataset()
        for tag in sorted(dataset.keys()):
            element = _readable(dataset, tag)
            if element is None or not (kept := self._element(element, dummy)):
                self.done["removed"] += 1
            else:
                clean.add(kept)
        return clean

    def _element(self, element: DataElement, dummy: bool) -> DataElement | None:
        """The element that takes this one's place, None for none."""
        action = rule(element.tag, element.VR, characteristics=self.characteristics)
        if dummy and element.VR in TEXT_VRS:
            action = DUMMY
        if action == REMOVE or (element.keyword == "PatientAge" and not _age(element)):
            return None
        if element.keyword in ("PatientName", "PatientID"):
            return self._new(element, self.disguise.pseudonym, "replaced")
        if element.VR == "SQ":
            return self._sequence(element, action)
        if action == KEEP:
            return self._kept(element)
        if element.is_empty:
            return element
        if action == MAP:
            return self._new(element, _each(element.value, self.disguise.uid), "mapped")
        if action == SHIFT:
            return self._shifted(element)
        if action == EMPTY:
            return self._new(element, None, "emptied")
        return self._new(element, _dummy(element), "replaced")

    def _new(self, element: DataElement, value: Any, did: str) -> DataElement:
        from pydicom.dataelem import DataElement

        self.done[did] += 1
        return DataElement(element.tag, element.VR, value)

    def _sequence(self, element: DataElement, action: str) -> DataElement:
        from pydicom.sequence import Sequence

        if action == EMPTY:
            return self._new(element, Sequence(), "emptied")
        self.report |= element.keyword == "ContentSequence"
        items = [item for item in element.value if not _about_subject(item)]
        return self._new(
            element, Sequence([self.cleaned(item, dummy=action == DUMMY) for item in items]), "looked into"
        )

    def _shifted(self, element: DataElement) -> DataElement | None:
        move = {"DA": self.disguise.date, "DT": self.disguise.date_time, "TM": time}[element.VR]
        value = _each(element.value, lambda text: move(text) or "")
        if not any(value if isinstance(value, list) else [value]):
            return None if element.VR == "TM" else self._new(element, None, "emptied")  # no date at all
        return self._new(element, value, "shifted" if element.VR != "TM" else "looked into")

    def _kept(self, element: DataElement) -> DataElement:
        if element.keyword == "PatientAge":
            return self._new(element, _age(element), "looked into")
        found = self._identity_in(element)
        return self._new(element, _dummy(element), "replaced") if found else element

    def _identity_in(self, element: DataElement) -> bool:
        if self.identity is None or (element.VR != "CS" and element.VR not in TEXT_VRS):
            return False
        found = self.identity.search(_text(element))
        # A patient may be called Brain or Hand: among coded strings only numbers give someone away.
        return found is not None and (element.VR != "CS" or any(map(str.isdigit, found.group())))


def _readable(dataset: Dataset, tag: Any) -> DataElement | None:
    """An element with its value, None for one that cannot be decoded: its bytes could say anything."""
    try:
        element = dataset[tag]
        if element.VR in ("DS", "IS") and not element.is_empty:
            _each(element.value, float)
    except Exception:  # pydicom's converters raise nearly anything on damaged values
        return None
    return element


def _each(value: Any, change: Any) -> Any:
    from pydicom.multival import MultiValue

    return [change(str(one)) for one in value] if isinstance(value, (MultiValue, list)) else change(str(value))


def _dummy(element: DataElement) -> Any:
    return 0 if element.VR in _NUMBERS else _DUMMIES.get(element.VR, REMOVED)


def _text(element: DataElement) -> str:
    value = element.value
    return "\\".join(map(str, value)) if isinstance(value, (list, tuple)) or element.VM > 1 else str(value)


def _age(element: DataElement) -> str | None:
    """An age as it is, 89 years at most: who is older is rare enough to be known by it."""
    text = str(element.value or "")
    if not re.fullmatch(r"\d{3}[DWMY]", text):
        return None
    return "090Y" if text[3] == "Y" and int(text[:3]) > _OLDEST_YEARS else text


def _about_subject(item: Dataset) -> bool:
    names = item.get("ConceptNameCodeSequence") or []
    return any(
        name.get("CodingSchemeDesignator") == "DCM" and str(name.get("CodeValue")) in _SUBJECT_CODES for name in names
    )


def _identity(dataset: Dataset) -> re.Pattern[str] | None:
    """What to look for in text that is kept: names of three letters or more, and numbers that stand for the patient."""
    words = {word for word in _identifying_words(dataset) if len(word) > 2 or (word and not word.isascii())}
    if not words:
        return None
    # Scripts like Chinese have no spaces between words, and names of one letter.
    found = [rf"(?<!\w){re.escape(word)}(?!\w)" if word.isascii() else re.escape(word) for word in sorted(words)]
    return re.compile("|".join(found), re.IGNORECASE)


def _identifying_words(dataset: Dataset) -> Iterator[str]:
    from pydicom.datadict import dictionary_has_tag, dictionary_VR

    for tag in dataset.keys():  # noqa: SIM118 - a data set iterates over its elements, decoding each
        named = dictionary_has_tag(tag) and dictionary_VR(tag) == "PN"
        if not named and keyword(tag) not in _IDENTIFIERS:
            continue
        element = _readable(dataset, tag)
        if element is not None and not element.is_empty:
            parts = r"[\\^=\s,]+" if named else r"\\"
            yield from (part.strip() for part in re.split(parts, _text(element)))


def _meta(dataset: Dataset) -> FileMetaDataset | None:
    return getattr(dataset, "file_meta", None)


def _mark(clean: Dataset, work: _Work) -> None:
    """Say in the object what was done to it (PS3.15 E.1.1, PS3.3 C.7.1.1 and C.12.1)."""
    from pydicom.dataset import Dataset

    clean.PatientName = clean.PatientID = work.disguise.pseudonym
    clean.PatientIdentityRemoved = "YES"
    clean.LongitudinalTemporalInformationModified = "MODIFIED"
    clean.DeidentificationMethod = f"DICOM PS3.15 {EDITION} Annex E Basic Profile"
    clean.DeidentificationMethodCodeSequence = []
    for code, meaning in _CODES.items():
        if (code == "113104" and not work.report) or (code == "113108" and not work.characteristics):
            continue
        item = Dataset()
        item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = code, "DCM", meaning
        clean.DeidentificationMethodCodeSequence.append(item)


def _new_meta(dataset: Dataset, clean: Dataset) -> FileMetaDataset:
    """File meta information of the new object: of the old one only the transfer syntax and the class."""
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    meta, old = FileMetaDataset(), _meta(dataset) or {}
    meta.TransferSyntaxUID = old.get("TransferSyntaxUID") or ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = clean.get("SOPClassUID") or old.get("MediaStorageSOPClassUID", "")
    meta.MediaStorageSOPInstanceUID = clean.get("SOPInstanceUID") or generate_uid(None)
    return meta


def _doubts(dataset: Dataset, clean: Dataset) -> Iterator[Message]:
    if dataset.get("BurnedInAnnotation") == "YES":
        yield say("The file itself says that words are burned into its pixels: look before it leaves the house.")
    if dataset.get("RecognizableVisualFeatures") == "YES":
        yield say("The file itself says that the patient can be recognised by the image, for example by the face.")
    if "EncapsulatedDocument" in dataset:
        yield say("The document inside the file was replaced by an empty one.")
    if str(clean.file_meta.TransferSyntaxUID).startswith(_VIDEO):
        yield say("The file is a video: it could not be looked through for burned-in words.")
