"""What becomes of each DICOM attribute: table E.1-1 of PS3.15 (edition 2026c), and a rule for what it leaves out.

The table comes from dicom-anonymizer. Its own walk over a data set is not used: it reaches only the top level (and
replaces rather than removes dates there), draws random UIDs, and leaves preamble, most of the file meta information,
attributes it does not know and the text inside compressed pixel data as they are.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydicom.tag import BaseTag

EDITION = "2026c"
KEEP, REMOVE, EMPTY, DUMMY = "keep", "remove", "empty", "dummy"
CLEAN, SHIFT, MAP = "clean inside", "shift", "map"

# Where the table leaves a choice by the type of the attribute in its module (X/Z/D and the like), what is chosen
# here satisfies every type: a dummy value does for types 1, 2 and 3, an empty one for 2 and 3.
_CHOICES = {
    "X_TAGS": REMOVE,
    "Z_TAGS": EMPTY,
    "D_TAGS": DUMMY,
    "U_TAGS": MAP,
    "Z_D_TAGS": DUMMY,
    "X_Z_TAGS": EMPTY,
    "X_D_TAGS": DUMMY,
    "X_Z_D_TAGS": DUMMY,
    "X_Z_U_STAR_TAGS": CLEAN,
}
# Sequences, where neither nothing nor a dummy would do: an item's own attributes have rules of their own.
_SEQUENCES = {
    "ContentSequence": CLEAN,
    "GraphicAnnotationSequence": CLEAN,
    "WaveformAnnotationSequence": CLEAN,
    "FlowIdentifierSequence": CLEAN,
    "VerifyingObserverSequence": CLEAN,
    # Of these, class and replaced UID are left: enough for type 1, and the link stays.
    "ReferencedStudySequence": CLEAN,
    "ReferencedPerformedProcedureStepSequence": CLEAN,
    # Type 3 wherever they occur, and an empty one would be an error.
    "InstitutionCodeSequence": REMOVE,
    "OperatorIdentificationSequence": REMOVE,
}
_REMOVED_BESIDES = """
    DeidentificationMethod DeidentificationMethodCodeSequence EncryptedAttributesSequence EncryptedContent
    HPGLDocument LongitudinalTemporalInformationModified ObjectBinaryIdentifierTrial
    ObjectDirectoryBinaryIdentifierTrial PatientBirthDateInAlternativeCalendar PatientDeathDateInAlternativeCalendar
    PatientIdentityRemoved PriorRecordKey PrivateDataElementCharacteristicsSequence RecordKey Signature
"""
_BEYOND_THE_TABLE = frozenset(_REMOVED_BESIDES.split())
NEVER_SHIFTED = frozenset({"PatientBirthDate", "PatientBirthTime", "GPSDateStamp"})
CHARACTERISTICS = frozenset({"PatientAge", "PatientSex", "PatientSize", "PatientWeight", "PatientSexNeutered"})
"""What the Retain Patient Characteristics Option (113108) keeps, as far as it is one value."""

TEXT_VRS = frozenset({"LO", "SH", "LT", "ST", "UT", "UC", "UR", "PN", "AE"})
TIME_VRS = frozenset({"DA", "DT", "TM"})
_NUMBER_VRS = frozenset({"DS", "IS", "FD", "FL", "SS", "US", "SL", "UL", "SV", "UV", "OW", "OB"})
_BULK_VRS = frozenset({"OB", "OW", "OD", "OF", "OL", "OV", "UN"})
_FAMILIES = (TEXT_VRS, *({vr} for vr in ("DA", "DT", "TM", "AS", "AT", "CS", "UI", "SQ")), _NUMBER_VRS, _BULK_VRS)

# Of the 350 short texts that the table leaves alone, those that say how an image was made or what a code means.
# The others (labels, comments, serial numbers of accessories, …) are people's own words: they get a dummy value.
_TECHNICAL_KEYWORDS = """
    AcquisitionDeviceProcessingCode AcquisitionMode AlgorithmName AlgorithmSource AlgorithmVersion
    ApplicationManufacturer ApplicationName ApplicationVersion AttenuationCorrectionMethod CardiacFramingType
    CodeMeaning CodeValue CodingSchemeDesignator CodingSchemeName CodingSchemeRegistry CodingSchemeVersion
    CollimatorGridName CompressionDescription ConvolutionKernel DetectorLinesOfResponseUsed
    DetectorManufacturerModelName DetectorManufacturerName DetectorMode DigitalImageFormatAcquired
    DimensionDescriptionLabel DoseModeName EnergyWindowName EXIFVersion ExposureControlModeDescription
    ExtendedCodeMeaning ExtendedCodeValue FilterType FontName HistogramExplanation ImageDisplayFormat ImagedNucleus
    ImageFilter ImageGeometryType LongCodeValue LUTExplanation Manufacturer ManufacturerModelName
    ManufacturerModelVersion ManufacturerRelatedModelGroup MappingResourceName MIMETypeOfEncapsulatedDocument
    ModalityLUTType MultiCoilConfiguration MultiCoilElementName OpticalPathIdentifier PhosphorType
    PixelSpacingCalibrationDescription PlateType PostprocessingFunction ProcessingFunction PulseSequenceName
    PVCRejection Radionuclide Radiopharmaceutical RadiopharmaceuticalRoute ReceiveCoilManufacturerName
    ReceiveCoilName ReconstructionMethod ReferencedOpticalPathIdentifier RescaleType RespiratorySignalSourceID
    ScatterCorrectionMethod SecondaryCaptureDeviceManufacturer SecondaryCaptureDeviceManufacturerModelName
    SecondaryCaptureDeviceSoftwareVersions SegmentAlgorithmName SegmentLabel SequenceName SoftwareVersions
    SourceIsotopeName StackID TransducerData TransformLabel TransmitCoilManufacturerName TransmitCoilName
    TriggerSourceOrType TypeOfFilters URNCodeValue VideoImageFormatAcquired ViewName WindowCenterWidthExplanation
"""
_TECHNICAL = frozenset(_TECHNICAL_KEYWORDS.split())
_CLASS_UIDS = re.compile(r"SOPClass|TransferSyntaxUID|CodingSchemeUID|ContextUID|MappingResourceUID|MACCalculation")


@cache
def _table() -> dict[int, str]:
    from dicomanonymizer.dicomfields_selector import dicom_anonymization_database_selector

    table = dicom_anonymization_database_selector(f"dicomfields_{EDITION}")
    # Entries of four numbers are the masks of curves and overlays, which :func:`rule` knows.
    return {tag[0] << 16 | tag[1]: _CHOICES[column] for column in _CHOICES for tag in table[column] if len(tag) == 2}


def named() -> dict[int, str]:
    """The attributes that the profile names, and what is done with each.

    Returns
    -------
    dict[int, str]
        Tag as one number to one of the constants of this module. Curves (50xx), overlays (60xx) and private
        attributes, which the profile names by mask, are not among them.
    """
    return {tag: rule(tag, _vr(tag)) for tag in _table()}


def keyword(tag: int) -> str:
    """Keyword of an attribute, "" for one that pydicom's dictionary does not have."""
    from pydicom.datadict import keyword_for_tag

    return keyword_for_tag(tag)


def _vr(tag: int) -> str:
    from pydicom.datadict import dictionary_has_tag, dictionary_VR

    return dictionary_VR(tag) if dictionary_has_tag(tag) else "UN"


def rule(tag: int | BaseTag, vr: str, *, characteristics: bool = False) -> str:
    """What is to be done with an attribute.

    Parameters
    ----------
    tag : int
        Group and element as one number.
    vr : str
        The value representation it is stored with.
    characteristics : bool
        Whether age, sex, size and weight stay (the Retain Patient Characteristics Option).

    Returns
    -------
    str
        One of the constants of this module.
    """
    group, name = tag >> 16, keyword(tag)
    if group % 2 or group < 0x0008 or not tag & 0xFFFF or group >> 8 in (0x50, 0x60) or name in _BEYOND_THE_TABLE:
        return REMOVE
    if characteristics and name in CHARACTERISTICS:
        return KEEP
    if name and _disguised(name, vr):
        return REMOVE
    action = _table().get(int(tag))
    if action is None:
        return _unnamed(name, vr)
    if vr in TIME_VRS and name not in NEVER_SHIFTED:
        return SHIFT
    if vr == "UI" and action != REMOVE:
        return MAP
    return _SEQUENCES.get(name, action)


def _unnamed(name: str, vr: str) -> str:
    if not name or vr == "UN":
        return REMOVE
    if vr in TIME_VRS:
        return SHIFT
    if vr == "UI":
        return KEEP if _CLASS_UIDS.search(name) else MAP
    if vr == "PN":
        return EMPTY
    if vr in TEXT_VRS and name not in _TECHNICAL:
        return DUMMY
    return CLEAN if vr == "SQ" else KEEP


def _disguised(name: str, vr: str) -> bool:
    """Whether a value is of another family than its attribute's: no rule by name can be trusted then."""
    from pydicom.datadict import dictionary_VR, tag_for_keyword

    wanted = dictionary_VR(tag_for_keyword(name)).split(" or ")
    return not any(vr in family for family in _FAMILIES if not family.isdisjoint(wanted))
