"""The picture of a scan with its heat map as DICOM Secondary Capture, marked in the pixels as an algorithm's result."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from medai_core.cases.report_codes import coded, status_of
from medai_core.cases.report_dicom import (
    MANUFACTURER,
    common,
    evidence,
    finished,
    frame_read,
    new_uid,
    only_scans,
    to_bytes,
)
from medai_core.cases.report_facts import ReportFacts, Source, clean
from medai_core.errors import InputError, say

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont
    from pydicom import Dataset

WHAT = say("DICOM secondary capture")
MARK = "ALGORITHM RESULT, NOT FOR PRIMARY DIAGNOSIS"
NO_LOCALISATION = "A heat map shows what moved the answer, not where disease is."
SERIES_NUMBER, PICTURE_SERIES_NUMBER = 902, 900
LEAST_WIDTH, MOST_SIDE = 512, 2048
"""Pixels: a smaller picture is enlarged until its mark can be read, a larger one reduced."""
_DERIVED_FROM = ("121322", "DCM", "Source of image processing operation")
_WHO = {
    "PatientID": "patient_id", "PatientName": "patient_name", "PatientBirthDate": "patient_birth_date",
    "PatientSex": "patient_sex", "AccessionNumber": "accession_number", "StudyID": "study_id",
    "StudyDate": "study_date", "StudyTime": "study_time", "ReferringPhysicianName": "referring_physician_name",
}  # fmt: skip
_ORANGE, _WHITE, _BLACK = (255, 176, 0), (255, 255, 255), (0, 0, 0)


def capture(facts: ReportFacts, source: Source | None = None) -> bytes:
    """Return one object's picture with its heat map and the mark as a DICOM file.

    Parameters
    ----------
    source : Source, optional
        One of ``facts.sources``; the most urgent by default.

    Raises
    ------
    InputError
        If the study is no scan, or the object has no picture.
    """
    only_scans(facts, WHAT)
    source = source or facts.leading
    shown = source.overlay if source.overlay is not None else source.image
    if shown is None:
        raise InputError("A secondary capture needs a picture that can be shown, and this object has none.")
    pixels = marked(shown, _lines(source))
    dataset = _secondary_capture(
        facts, source, pixels, what="capture", number=SERIES_NUMBER,
        sop_uid=new_uid(facts, "capture", pixels.tobytes()), description="MedAI: algorithm result, heat map",
    )  # fmt: skip
    dataset.SourceImageSequence = [_source_item(evidence(facts, source), source)]
    dataset.DerivationDescription = f"{MARK}. {_explained(source)}"
    dataset.ImageComments = MARK
    return to_bytes(dataset)


def picture(facts: ReportFacts, source: Source | None = None) -> bytes:
    """Return an uploaded picture that was no DICOM as the Secondary Capture that the reports refer to.

    Raises
    ------
    InputError
        If the study is no scan, or the object was DICOM already, or has no picture.
    """
    only_scans(facts, WHAT)
    source = source or facts.leading
    if source.sop_uid or source.image is None:
        raise InputError("Only a picture that was no DICOM is written as a secondary capture of its own.")
    pixels = np.ascontiguousarray(source.image)
    dataset = _secondary_capture(
        facts, source, pixels, what="", number=PICTURE_SERIES_NUMBER, sop_uid=facts.sop(source),
        description=facts.description or "Uploaded picture",
    )  # fmt: skip
    return to_bytes(dataset)


def is_result(dataset: Dataset) -> bool:
    """Whether a data set says that it is a report of MedAI's: a structured report, or a picture with the mark."""
    ours = dataset.get("Manufacturer") == MANUFACTURER
    return ours and (dataset.get("Modality") == "SR" or dataset.get("ImageComments") == MARK)


# --------------------------------------------------------------------------------------------------- pixels


def marked(pixels: NDArray[np.uint8], lines: list[str]) -> NDArray[np.uint8]:
    """Return the picture in colour between two bands: the mark above, the lines below. Nothing of it is covered.

    Parameters
    ----------
    pixels : NDArray[np.uint8]
        (H, W) or (H, W, 3).

    Returns
    -------
    NDArray[np.uint8]
        (H', W', 3), between 512 and 2048 pixels wide.
    """
    from PIL import Image, ImageDraw

    scan = Image.fromarray(np.ascontiguousarray(pixels)).convert("RGB")
    scan = scan.resize(_size(*scan.size), Image.Resampling.BILINEAR)
    room = max(scan.width, LEAST_WIDTH)
    large, small = _font(room // 22), _font(max(12, room // 36))
    head, foot = _wrapped(MARK, large, room), [row for line in lines for row in _wrapped(line, small, room)]
    above, below = len(head) * _height(large) + 8, len(foot) * _height(small) + 8
    canvas = Image.new("RGB", (room, above + scan.height + below), _BLACK)
    canvas.paste(scan, ((room - scan.width) // 2, above))
    draw = ImageDraw.Draw(canvas)
    for rows, font, colour, top in ((head, large, _ORANGE, 4), (foot, small, _WHITE, above + scan.height + 4)):
        for number, row in enumerate(rows):
            draw.text((6, top + number * _height(font)), row, fill=colour, font=font)
    return np.asarray(canvas)


def _size(width: int, height: int) -> tuple[int, int]:
    scale = min(max(1.0, LEAST_WIDTH / max(width, height)), MOST_SIDE / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def _font(size: int) -> FreeTypeFont:
    from PIL import ImageFont

    return ImageFont.load_default(size)


def _height(font: FreeTypeFont) -> int:
    return round(1.35 * font.size)


def _wrapped(text: str, font: FreeTypeFont, width: int) -> list[str]:
    """Rows of words no wider than the picture; a word that is, is cut."""
    rows = [""]
    for word in text.split():
        longer = f"{rows[-1]} {word}".strip()
        if font.getlength(longer) <= width - 12:
            rows[-1] = longer
            continue
        while font.getlength(word) > width - 12:
            word = word[:-1]
        rows = [*rows, word] if rows[-1] else [word]
    return rows


def _lines(source: Source) -> list[str]:
    """What stands below: English, and in the letters the font has; nothing of a person is among it."""
    answer, status = source.answer, status_of(source.answer)
    lines = [f"{MANUFACTURER}. Not a medical device."]
    if answer is None:
        return [*lines, "Not read by an algorithm yet."]
    if answer.model:
        digest = f", bundle {answer.digest[:12]}" if answer.digest else ""
        lines.append(f"Algorithm {answer.model} {answer.version or ''}{digest}")
    if status != "read":
        return [_latin(line) for line in (*lines, f"Not read ({status}): {clean(answer.reason, 300)}")]
    ranked = ", ".join(f"{coded(label).meaning} {100 * share:.1f} %" for label, share in answer.ranked[:4])
    lines += [f"Answer: {coded(answer.label).meaning}. {ranked}"] if answer.label else []
    lines += ["Refer to a reader in any case."] if answer.refer else []
    lines += [_explained(source)] if source.overlay is not None else ["No heat map."]
    return [_latin(line) for line in lines]


def _explained(source: Source) -> str:
    method = clean(source.explained, 200).rstrip(".")
    return f"{method}. {NO_LOCALISATION}" if method else NO_LOCALISATION


def _latin(text: str) -> str:
    return text.encode("cp1252", "replace").decode("cp1252")


# --------------------------------------------------------------------------------------------------- data set


def _secondary_capture(
    facts: ReportFacts, source: Source, pixels: NDArray[np.uint8], *, what: str, number: int, sop_uid: str,
    description: str,
) -> Dataset:  # fmt: skip
    from highdicom.sc import SCImage

    about = evidence(facts, source)
    colour = pixels.ndim == 3
    arguments: dict[str, Any] = common(facts, number=number, description=description)
    arguments |= {name: about[keyword].value for keyword, name in _WHO.items()}
    dataset = SCImage(
        pixel_array=pixels, photometric_interpretation="RGB" if colour else "MONOCHROME2", bits_allocated=8,
        coordinate_system="PATIENT", patient_orientation=("L", "F"), study_instance_uid=facts.study,
        series_instance_uid=facts.uid("series", facts.study, what) if what else facts.series(source),
        sop_instance_uid=sop_uid, specific_character_set="ISO_IR 192", **arguments,
    )  # fmt: skip
    _finish(facts, dataset, about)
    return dataset


def _finish(facts: ReportFacts, dataset: Dataset, about: Dataset) -> None:
    # Nobody knows how an uploaded picture is turned; (0020,0020) may be empty (type 2C).
    dataset.PatientOrientation = about.get("PatientOrientation") or None
    dataset.Laterality = about.get("Laterality") or None  # of the body part, which is left out for that reason
    finished(facts, dataset)
    dataset.DateOfSecondaryCapture, dataset.TimeOfSecondaryCapture = dataset.ContentDate, dataset.ContentTime
    dataset.SecondaryCaptureDeviceManufacturer = MANUFACTURER
    dataset.ConversionType = "WSD"
    for keyword in ("IssuerOfPatientID", "BurnedInAnnotation", "LossyImageCompression", "LossyImageCompressionRatio",
                    "LossyImageCompressionMethod"):  # fmt: skip
        if keyword in about:
            dataset[keyword] = about[keyword]


def _source_item(about: Dataset, source: Source) -> Dataset:
    from pydicom import Dataset

    item, purpose = Dataset(), Dataset()
    purpose.CodeValue, purpose.CodingSchemeDesignator, purpose.CodeMeaning = _DERIVED_FROM
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = about.SOPClassUID, about.SOPInstanceUID
    if (frame := frame_read(about, source)) is not None:
        item.ReferencedFrameNumber = frame
    item.PurposeOfReferenceCodeSequence = [purpose]
    return item
