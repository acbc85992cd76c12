"""The report of a scan as DICOM Comprehensive SR, template TID 1500 "Measurement Report" (PS3.16).

Per object: one group (TID 1501) with the algorithm's answer, and one for each label with its probability, each with
the algorithm's identification (TID 4019) and the image it is of. A review is a group of its own. What has no
standard code is of the private scheme 99MEDAI, which the data set names.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from medai_core.cases import report_codes as codes
from medai_core.cases.report_answer import Answer
from medai_core.cases.report_codes import Coded, coded
from medai_core.cases.report_dicom import (
    MANUFACTURER,
    common,
    evidence,
    finished,
    frame_read,
    long_string,
    new_uid,
    only_scans,
    person_name,
    to_bytes,
)
from medai_core.cases.report_facts import ReportFacts, ReviewFacts, Source, clean
from medai_core.cases.report_json import NOT_A_DEVICE
from medai_core.errors import say

if TYPE_CHECKING:
    from highdicom.sr import MeasurementsAndQualitativeEvaluations as Group
    from highdicom.sr import ObserverContext
    from pydicom import Dataset

SERIES_NUMBER = 901
TEXT_LIMIT = 1024
IN_FULL = 20
"""Objects with a group for each label, the most urgent ones; of the others the answer alone is told."""
_LISTED = {  # what the image library asks of a header by its modality (TID 1603 and TID 1604), and how many values
    "projection": {"PatientOrientation": 2, "ImagerPixelSpacing": 2},
    "cross-section": {
        "PixelSpacing": 2, "ImageOrientationPatient": 6, "ImagePositionPatient": 3, "SliceThickness": 1
    },
}  # fmt: skip


def sr(facts: ReportFacts) -> bytes:
    """Return the report as a DICOM file.

    Preliminary until a reader has reviewed the study; never verified, for the reader signs nothing here.

    Raises
    ------
    InputError
        If the study is no scan.
    """
    only_scans(facts, say("DICOM structured report"))
    import highdicom as hd

    images = [evidence(facts, source) for source in facts.sources]
    uid = new_uid(facts, "sr")
    report = hd.sr.MeasurementReport(
        observation_context=_observers(facts),
        procedure_reported=_sr_code(_procedure(facts)),
        imaging_measurements=[group for group in _groups(facts, images)],
        referenced_images=[listed for image in images if (listed := _for_library(image)) is not None],
    )
    document = hd.sr.ComprehensiveSR(
        evidence=images,
        content=report,
        series_instance_uid=facts.uid("series", facts.study, "sr"),
        sop_instance_uid=uid,
        is_complete=True,
        is_final=facts.review is not None,
        **_without_qualification(common(facts, number=SERIES_NUMBER, description="MedAI: algorithm result, report")),
    )
    _name_private_scheme(document)
    return to_bytes(finished(facts, document))


def _without_qualification(arguments: dict[str, Any]) -> dict[str, Any]:
    """Content Qualification is no attribute of the SR Document General module."""
    return {name: value for name, value in arguments.items() if name != "content_qualification"}


def _name_private_scheme(document: Dataset) -> None:
    from pydicom import Dataset

    scheme = Dataset()
    scheme.CodingSchemeDesignator = codes.PRIVATE
    scheme.CodingSchemeName = codes.PRIVATE_NAME
    scheme.CodingSchemeResponsibleOrganization = MANUFACTURER
    document.CodingSchemeIdentificationSequence = [scheme]


def _sr_code(code: Coded) -> Any:
    from highdicom.sr import CodedConcept

    return CodedConcept(code.value, code.scheme, code.meaning)


def _procedure(facts: ReportFacts) -> Coded:
    models = {source.answer.model for source in facts.sources if source.answer and source.answer.model}
    found = {codes.PROCEDURES[model] for model in models if model in codes.PROCEDURES}
    return found.pop() if len(found) == 1 else codes.ANY_IMAGING


# ------------------------------------------------------------------------------------------------- context


def _observers(facts: ReportFacts) -> Any:
    """The program, and the reader when a review names one (TID 1001)."""
    from highdicom.sr import (
        DeviceObserverIdentifyingAttributes,
        ObservationContext,
        ObserverContext,
        PersonObserverIdentifyingAttributes,
    )

    answer = facts.leading.answer
    name = long_string(f"{answer.model} {answer.version or ''}" if answer and answer.model else "") or MANUFACTURER
    device = DeviceObserverIdentifyingAttributes(
        uid=facts.uid("device", name), name=name, manufacturer_name=MANUFACTURER, model_name=MANUFACTURER
    )
    person: ObserverContext | None = None
    review = facts.review
    if review is not None and person_name(review.reader or ""):
        reader = PersonObserverIdentifyingAttributes(name=person_name(review.reader))
        person = ObserverContext(_observer_type("121006", "Person"), reader)
    return ObservationContext(
        observer_person_context=person,
        observer_device_context=ObserverContext(_observer_type("121007", "Device"), device),
    )


def _observer_type(value: str, meaning: str) -> Any:
    return _sr_code(Coded(value, "DCM", meaning))


def _for_library(image: Dataset) -> Dataset | None:
    """The image as the library can list it (TID 1600), with a neutral modality where its header says too little.

    None when the object's class is not one of an image, or nobody knows its size.
    """
    from copy import copy

    from highdicom.sr import ImageLibrary

    if not (image.get("Rows") and image.get("Columns")):
        return None
    listed = copy(image)
    if not any(_has(image, needed) for needed in _LISTED.values()):
        listed.Modality = "OT"
    try:
        ImageLibrary([listed])
    except (ValueError, AttributeError):
        return None
    return listed


def _has(image: Dataset, needed: dict[str, int]) -> bool:
    def count(value: Any) -> int:
        return 0 if value is None or value == "" else len(value) if isinstance(value, Sequence) else 1

    return all(count(image.get(keyword)) == number for keyword, number in needed.items())


# ------------------------------------------------------------------------------------------------- content


def _groups(facts: ReportFacts, images: Sequence[Dataset]) -> Iterator[Group]:
    read = [source for source in facts.sources if source.answer is not None and source.answer.status == "read"]
    full = {id(source) for source in sorted(read, key=lambda source: -source.answer.urgency)[:IN_FULL]}
    for number, (source, image) in enumerate(zip(facts.sources, images, strict=True), start=1):
        yield _answer_group(facts, source, image, number)
        if id(source) in full:
            for label, share in source.answer.ranked:
                yield _label_group(facts, source, image, number, label, share)
    for number, review in enumerate(facts.reviews, start=1):
        yield _review_group(facts, review, images, number)


def _group(facts: ReportFacts, tracked: str, images: Sequence[tuple[Dataset, Source | None]], **content: Any) -> Group:
    from highdicom.sr import MeasurementsAndQualitativeEvaluations, TrackingIdentifier

    return MeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(uid=facts.uid("track", facts.study, tracked), identifier=tracked),
        source_images=[_reference(image, source) for image, source in images],
        **content,
    )


def _reference(image: Dataset, source: Source | None) -> Any:
    from highdicom.sr import SourceImageForMeasurementGroup

    frame = None if source is None else frame_read(image, source)
    frames = None if frame is None else [frame]
    return SourceImageForMeasurementGroup(image.SOPClassUID, image.SOPInstanceUID, frames)


def _answer_group(facts: ReportFacts, source: Source, image: Dataset, number: int) -> Group:
    answer = source.answer
    evaluations = [(codes.STATUS, codes.STATUSES[codes.status_of(answer)])]
    texts = [(codes.COMMENT, str(NOT_A_DEVICE))]
    content: dict[str, Any] = {}
    if answer is not None:
        content = _algorithm(answer) | _site(answer)
        texts += [(codes.COMMENT, str(caution)) for caution in answer.cautions]
        if answer.status != "read":
            texts.append((codes.WHY_NOT_READ, str(answer.reason) or answer.code or "No reason was given"))
        else:
            evaluations += _conclusions(answer)
            if answer.finding:
                content |= {"finding_type": _sr_code(coded(answer.finding))}
            if answer.finding_probability is not None:
                content |= {"measurements": [_probability(answer.finding_probability)]}
    group = _group(facts, f"Object {number}: answer of the algorithm", [(image, source)],
                   qualitative_evaluations=_evaluations(evaluations), **content)  # fmt: skip
    return _with_texts(group, texts)


def _conclusions(answer: Answer) -> list[tuple[Coded, Coded]]:
    found = [(codes.CONCLUSION, coded(answer.label))] if answer.label else []
    found += [(codes.POSSIBLE, coded(label)) for label in answer.prediction_set]
    if answer.above_threshold is not None:
        found.append((codes.SIDE, codes.ABOVE if answer.above_threshold else codes.BELOW))
    return [*found, (codes.RECOMMENDATION, codes.REFER if answer.refer else codes.NO_REFERRAL)]


def _label_group(
    facts: ReportFacts, source: Source, image: Dataset, number: int, label: str, share: float
) -> Group:  # fmt: skip
    answer = source.answer
    return _group(
        facts, clean(f"Object {number}: probability of {coded(label).meaning}"), [(image, source)],
        finding_type=_sr_code(coded(label)), measurements=[_probability(share)],
        **_algorithm(answer), **_site(answer),
    )  # fmt: skip


def _review_group(facts: ReportFacts, review: ReviewFacts, images: Sequence[Dataset], number: int) -> Group:
    evaluations = [(codes.REVIEW, codes.review_code(review.agrees)), (codes.CONCLUSION, coded(review.label)),
                   (codes.READ_FIRST, codes.YES if review.first else codes.NO),
                   *((codes.FINDING, coded(one.label)) for one in review.also)]  # fmt: skip
    texts = [(codes.COMMENT, review.reason)] if review.reason else []
    texts += [(codes.FINDING, f"{name}: {value}") for name, value in review.findings.items()]
    texts += [(codes.FINDING, told) for one in review.also if (told := codes.told(one)) != coded(one.label).meaning]
    group = _group(facts, f"Review {number} by a reader", [(image, None) for image in images],
                   finding_type=_sr_code(coded(review.label)),
                   qualitative_evaluations=_evaluations(evaluations))  # fmt: skip
    return _with_texts(group, texts)


def _algorithm(answer: Answer) -> dict[str, Any]:
    from highdicom.sr import AlgorithmIdentification

    if answer.model is None:
        return {}
    told = {"Bundle SHA-256": answer.digest, "Operating point": answer.operating_point}
    if answer.threshold is not None:
        told["Threshold"] = f"{answer.threshold:.4f}"
    parameters = [clean(f"{name}: {value}", TEXT_LIMIT) for name, value in told.items() if clean(value or "")]
    return {"algorithm_id": AlgorithmIdentification(
        name=_said(answer.model), version=_said(answer.version),
        parameters=parameters or None, manufacturer=MANUFACTURER,
    )}  # fmt: skip


def _site(answer: Answer) -> dict[str, Any]:
    from highdicom.sr import FindingSite

    if answer.model not in codes.SITES:
        return {}
    return {"finding_sites": [FindingSite(_sr_code(codes.SITES[answer.model]))]}


def _said(text: object) -> str:
    """A text value, which must not be empty."""
    return clean(text or "", TEXT_LIMIT) or "unknown"


def _probability(share: float) -> Any:
    from highdicom.sr import Measurement

    return Measurement(
        name=_sr_code(codes.PROBABILITY), value=round(100 * float(share), 4), unit=_sr_code(codes.PERCENT)
    )


def _evaluations(pairs: Sequence[tuple[Coded, Coded]]) -> list[Any]:
    from highdicom.sr import QualitativeEvaluation

    return [QualitativeEvaluation(_sr_code(name), _sr_code(value)) for name, value in pairs]


def _with_texts(group: Group, texts: Sequence[tuple[Coded, str]]) -> Group:
    """Add text items, which TID 1501 allows beside the coded ones."""
    from highdicom.sr import RelationshipTypeValues, TextContentItem

    for name, text in texts:
        if clean(text):
            item = TextContentItem(_sr_code(name), _said(text), RelationshipTypeValues.CONTAINS)
            group[0].ContentSequence.append(item)
    return group
