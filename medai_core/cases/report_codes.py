"""What labels and findings are called in reports: SNOMED CT and DICOM codes, and words for people.

SNOMED CT codes are of SNOMED International's edition, DCM codes of DICOM PS3.16; where neither has a concept, the
private scheme 99MEDAI names it. Each code stands for what the model was trained to tell apart, no more.
"""

from __future__ import annotations

import hashlib
import re
from typing import NamedTuple

from medai_core.cases.answers import Finding
from medai_core.cases.report_answer import DEATH, Answer
from medai_core.cases.report_facts import clean
from medai_core.errors import Message, say

PRIVATE = "99MEDAI"
PRIVATE_NAME = "MedAI private codes"
SYSTEMS = {"SCT": "http://snomed.info/sct", "DCM": "http://dicom.nema.org/resources/ontology/DCM"}
"""FHIR's names of the schemes."""


class Coded(NamedTuple):
    """A coded concept: value, scheme designator and meaning."""

    value: str
    scheme: str
    meaning: str


BY_LABEL = {
    "normal": Coded("17621005", "SCT", "Normal"),
    "pneumonia": Coded("233604007", "SCT", "Pneumonia"),
    "bacterial": Coded("53084003", "SCT", "Bacterial pneumonia"),
    "viral": Coded("75570004", "SCT", "Viral pneumonia"),
    "tumour": Coded("126952004", "SCT", "Neoplasm of brain"),
    "glioma": Coded("393564001", "SCT", "Glioma"),
    "meningioma": Coded("302820008", "SCT", "Intracranial meningioma"),
    "pituitary": Coded("127024001", "SCT", "Neoplasm of pituitary gland"),
    "notumor": Coded("NOTUMOUR", PRIVATE, "No tumour seen"),
    "malignant": Coded("254837009", "SCT", "Malignant neoplasm of breast"),
    "benign": Coded("20376005", "SCT", "Benign neoplastic disease"),
    "low_risk": Coded("LOWRISK", PRIVATE, "Low risk"),
    "raised_risk": Coded("RAISEDRISK", PRIVATE, "Raised risk"),
    "high_risk": Coded("HIGHRISK", PRIVATE, "High risk"),
    "other_finding": Coded("OTHERFINDING", PRIVATE, "Other finding"),
    DEATH: Coded("122166", "DCM", "Death During This Admission"),
}
OTHER = "other_finding"

PROCEDURES = {
    "chest_xray": Coded("399208008", "SCT", "Plain X-ray of chest"),
    "brain_mri": Coded("816077007", "SCT", "Magnetic resonance imaging of brain"),
}
ANY_IMAGING = Coded("363679005", "SCT", "Imaging procedure")
SITES = {
    "chest_xray": Coded("39607008", "SCT", "Lung structure"),
    "brain_mri": Coded("12738006", "SCT", "Brain structure"),
}

PROBABILITY = Coded("122157", "DCM", "Probability")
PERCENT = Coded("%", "UCUM", "Percent")
CONCLUSION = Coded("121077", "DCM", "Conclusion")
POSSIBLE = Coded("111023", "DCM", "Differential Diagnosis/Impression")
RECOMMENDATION = Coded("121075", "DCM", "Recommendation")
FINDING = Coded("121071", "DCM", "Finding")
COMMENT = Coded("121106", "DCM", "Comment")
SUMMARY = Coded("121111", "DCM", "Summary")

REFER = Coded("REFER", PRIVATE, "Refer to a reader in any case")
NO_REFERRAL = Coded("NOREFERRAL", PRIVATE, "No referral asked for by the algorithm")
STATUS = Coded("STATUS", PRIVATE, "Status of the algorithm's reading")
STATUSES = {
    "read": Coded("READ", PRIVATE, "Read"),
    "refused": Coded("REFUSED", PRIVATE, "Refused, not read"),
    "failed": Coded("FAILED", PRIVATE, "Failed, not read"),
    "waiting": Coded("WAITING", PRIVATE, "Not read yet"),
}
WHY_NOT_READ = Coded("WHYNOTREAD", PRIVATE, "Why it was not read")
SIDE = Coded("SIDE", PRIVATE, "Side of the operating point")
ABOVE = Coded("ABOVE", PRIVATE, "At or above the threshold")
BELOW = Coded("BELOW", PRIVATE, "Below the threshold")
REVIEW = Coded("REVIEW", PRIVATE, "Reader's review of the algorithm result")
AGREED = Coded("AGREED", PRIVATE, "Agreed")
OVERRULED = Coded("OVERRULED", PRIVATE, "Overruled")
NOTHING_TO_COMPARE = Coded("NOTCOMPARED", PRIVATE, "No algorithm result to compare with")
READ_FIRST = Coded("READFIRST", PRIVATE, "Read before the algorithm result was shown")
YES = Coded("373066001", "SCT", "Yes")
NO = Coded("373067005", "SCT", "No")

_WORDS = {
    DEATH: say("Death in hospital"), "benign": say("Benign"), "malignant": say("Malignant"),
    "low_risk": say("Low risk"), "raised_risk": say("Raised risk"), "high_risk": say("High risk"),
    OTHER: say("Other finding"),
}  # fmt: skip


def coded(label: str) -> Coded:
    """The code of a label or finding; one of our own scheme when no standard one is known for it."""
    if label in BY_LABEL:
        return BY_LABEL[label]
    value = re.sub(r"[^A-Z0-9]", "", label.upper())
    if not value or len(value) > 16:  # SH, the value representation of a code, holds 16 characters
        value = f"{value[:7]}-{hashlib.sha256(label.encode('utf-8', 'replace')).hexdigest()[:8].upper()}"
    return Coded(value, PRIVATE, clean(label.replace("\\", "/"), 64) or value)


def known(label: str) -> str:
    """The label if it is one of those known here, else :data:`OTHER`: a reader's own words may hold a name."""
    return label if label in BY_LABEL else OTHER


def word(label: str) -> Message | str:
    """A label for people, to be translated."""
    from medai_core.imaging.report_text import LABELS

    return LABELS.get(label) or _WORDS.get(label) or clean(label)


def told(finding: Finding) -> str:
    """A further finding in English: what, where, how sure."""
    return "; ".join(part for part in (coded(finding.label).meaning, finding.location, finding.confidence) if part)


def review_code(agrees: bool | None) -> Coded:
    """What a reader made of the model's answer."""
    return NOTHING_TO_COMPARE if agrees is None else AGREED if agrees else OVERRULED


def status_of(answer: Answer | None) -> str:
    """``read``, ``refused``, ``failed`` or ``waiting``."""
    return "waiting" if answer is None else answer.status
