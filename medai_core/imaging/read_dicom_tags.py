"""The elements of a DICOM file for the viewer, with what may identify a patient marked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medai_core.imaging.scan import Tag

if TYPE_CHECKING:
    from pydicom.dataelem import DataElement
    from pydicom.dataset import Dataset

MAX_VALUE_CHARS = 120
MAX_TAGS = 1000
_BULK_VRS = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "UN"})

# The Basic Application Level Confidentiality Profile (PS3.15 Table E.1-1) names some 400 attributes and grows
# with every edition. Nearly all have one of these value representations, so here they are identifying unless
# kept below: an attribute nobody thought of is then masked, not shown.
_IDENTIFYING_VRS = frozenset({"PN", "DA", "DT", "TM", "AE", "LO", "SH", "LT", "ST", "UC", "UT", "UR", "UI"})
_DICOM_ROOT = "1.2.840.10008."  # UIDs of the standard itself: transfer syntaxes, SOP classes

_KEPT = frozenset(
    """
    Manufacturer ManufacturerModelName SoftwareVersions ImplementationVersionName CodeMeaning CodeValue
    CodingSchemeDesignator SequenceName ConvolutionKernel FilterMaterial FilterType ReceiveCoilName
    TransmitCoilName ImagedNucleus WindowCenterWidthExplanation LUTExplanation ModalityLUTType Grid
    LossyImageCompressionMethod SpecificCharacterSet QualityControlImage RescaleType DoseUnits
    PixelIntensityRelationship DetectorManufacturerName DetectorManufacturerModelName SecondaryCaptureDeviceManufacturer
    SecondaryCaptureDeviceManufacturerModelName TypeOfDetectors ExposureControlModeDescription
    """.split()
)
# Of the profile's attributes, those whose value representation is otherwise harmless.
_IDENTIFYING = frozenset(
    """
    PatientAge PatientSex PatientSize PatientWeight PatientSexNeutered PatientBodyMassIndex PregnancyStatus
    SmokingStatus MeasuredAPDimension MeasuredLateralDimension PatientState ResponsiblePersonRole
    ClinicalTrialTimePointID VisitStatusID ReasonForStudyCodeSequence AdmissionID InterpretationTypeID
    InterpretationStatusID ResultsDistributionListSequence TimezoneOffsetFromUTC QualityControlSubject
    LongitudinalTemporalOffsetFromEvent
    """.split()
)


def read_tags(dataset: Dataset) -> tuple[Tag, ...]:
    """List the file meta and top-level elements, pixel data left out.

    Parameters
    ----------
    dataset : pydicom.dataset.Dataset
        As read; elements are decoded one by one, so that a damaged one costs only itself.

    Returns
    -------
    tuple[Tag, ...]
        At most 1,000, in the order of their numbers.
    """
    tags = []
    for part in (getattr(dataset, "file_meta", None) or {}, dataset):
        for tag in sorted(part.keys()):
            if tag.group != 0x7FE0 and len(tags) < MAX_TAGS:
                tags.append(_entry(part, tag))
    return tuple(tags)


def printable(text: str, limit: int = MAX_VALUE_CHARS) -> str:
    """``text`` without control characters, shortened to ``limit`` characters."""
    text = "".join(c if c.isprintable() else " " for c in text[: 4 * limit]).strip()
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _entry(part: Dataset, tag: int) -> Tag:
    number = f"({tag >> 16:04X},{tag & 0xFFFF:04X})"
    try:
        element = part[tag]
        value = printable(_shown(element))
        return Tag(number, element.keyword, element.name, value, _identifying(element))
    except Exception:  # pydicom converts on access, and a damaged value can raise anything
        return Tag(number, "", "", "(unreadable)", True)


def _shown(element: DataElement) -> str:
    if element.VR == "SQ":
        return f"{len(element.value)} items"
    if element.VR in _BULK_VRS or isinstance(element.value, bytes):
        return f"{len(element.value or b'')} bytes"
    if element.VM > 1:
        return "\\".join(str(value) for value in list(element.value)[:MAX_VALUE_CHARS])
    return "" if element.value is None else str(element.value)


def _identifying(element: DataElement) -> bool:
    if element.tag.is_private or element.keyword in _IDENTIFYING:
        return True
    if element.VR == "UI":
        return bool(element.value) and not str(element.value).startswith(_DICOM_ROOT)
    return element.VR in _IDENTIFYING_VRS and element.keyword not in _KEPT or not element.keyword
