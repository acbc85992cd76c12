"""The picture with its heat map as dicom3tools reads it and as an eye would."""

from __future__ import annotations

import hashlib
import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
from drawn_reports import (
    ALL_KINDS,
    DX,
    FAMILY,
    HOSTILE,
    NUMBER,
    READ,
    REFERRER,
    REFUSED,
    SC,
    SCANS,
    WHO,
    facts,
    header,
    pixels,
    scan,
    upload,
    verified,
)  # fmt: skip

from medai_core.cases.report_capture import MARK, capture, marked, picture
from medai_core.errors import InputError


def opened(file: bytes) -> pydicom.Dataset:
    return pydicom.dcmread(io.BytesIO(file))


@pytest.mark.parametrize("name", SCANS)
def test_every_capture_is_valid(name: str, tmp_path: Path) -> None:
    assert "SCImage" in verified(capture(SCANS[name]), tmp_path)


def test_it_is_marked_in_pixels_and_words_and_tied_to_its_source() -> None:
    made = opened(capture(SCANS["scan"]))
    assert MARK == "ALGORITHM RESULT, NOT FOR PRIMARY DIAGNOSIS"
    assert made.ImageComments == MARK and MARK in made.DerivationDescription
    assert list(made.ImageType[:2]) == ["DERIVED", "SECONDARY"] and made.ContentQualification == "RESEARCH"
    source = made.SourceImageSequence[0]
    assert (source.ReferencedSOPClassUID, source.ReferencedSOPInstanceUID) == (DX, "1.2.826.0.1.3.1")
    assert made.StudyInstanceUID == "1.2.826.0.1.2" and made.SeriesInstanceUID != "1.2.826.0.1.3"
    assert str(made.PatientName) == WHO.person_name and made.PatientID == NUMBER
    assert (made.SamplesPerPixel, made.PhotometricInterpretation) == (3, "RGB")


def bands(image: np.ndarray) -> tuple[int, int]:
    """Rows of the bands above and below a picture that is nowhere black at its left edge's third row and on."""
    inside = np.flatnonzero(image[:, image.shape[1] // 2].max(1) == 77)
    return int(inside[0]), int(image.shape[0] - 1 - inside[-1])


@pytest.mark.parametrize(("height", "width"), [(128, 128), (40, 640), (900, 300), (3000, 2500), (1, 1)])
def test_nothing_of_the_picture_is_covered_and_the_mark_is_written(height: int, width: int) -> None:
    image = marked(np.full((height, width), 77, np.uint8), ["Below the picture"])
    assert 512 <= image.shape[1] <= 2048 and image.dtype == np.uint8 and image.shape[2] == 3
    above, below = bands(image)
    shown = image[above : image.shape[0] - below]
    columns = np.flatnonzero((shown == 77).all((0, 2)))
    ratio = len(columns) / shown.shape[0]
    assert abs(ratio - width / height) <= 0.03 * max(1.0, width / height)
    orange = (image[:above] == (255, 176, 0)).all(2).sum()
    white = (image[image.shape[0] - below :] > 200).all(2).sum()
    assert orange > 300 and white > 100


def test_the_heat_map_is_what_is_shown() -> None:
    red = np.zeros((512, 512, 3), np.uint8)
    red[..., 0] = 200
    made = opened(capture(facts(scan(overlay=red)))).pixel_array
    assert ((made == (200, 0, 0)).all(2)).sum() == 512 * 512
    bare = opened(capture(facts(scan(overlay=None, image=pixels(512, 512))))).pixel_array
    assert not (bare == (200, 0, 0)).all(2).any()


def test_the_words_below_follow_the_answer() -> None:
    told = [hashlib.sha256(opened(capture(one)).PixelData).digest() for one in (
        facts(), facts(scan(REFUSED)), facts(scan(None)), facts(scan(replace(READ, label="viral"))),
    )]  # fmt: skip
    assert len(set(told)) == 4


def test_the_most_urgent_object_is_taken_unless_another_is_named() -> None:
    mild = scan(replace(READ, urgency=0.1), sop_uid="1.2.826.0.1.3.8")
    told = facts(mild, scan(sop_uid="1.2.826.0.1.3.9"))
    assert opened(capture(told)).SourceImageSequence[0].ReferencedSOPInstanceUID == "1.2.826.0.1.3.9"
    assert opened(capture(told, mild)).SourceImageSequence[0].ReferencedSOPInstanceUID == "1.2.826.0.1.3.8"


def test_a_lossy_source_is_still_called_lossy(tmp_path: Path) -> None:
    lossy = header(
        LossyImageCompression="01", LossyImageCompressionRatio=12.5, LossyImageCompressionMethod="ISO_10918_1"
    )
    file = capture(facts(scan(header=lossy)))
    verified(file, tmp_path)
    assert opened(file).LossyImageCompression == "01"


def test_without_identity_nothing_of_the_header_is_in_it() -> None:
    file = capture(facts())
    made = opened(file)
    assert (str(made.PatientName), made.PatientID, made.PatientIdentityRemoved) == ("P-1234", "P-1234", "YES")
    for planted in (FAMILY, NUMBER, REFERRER, "City Hospital", "ACC-9", "20231231", "S-77"):
        assert file.find(planted.encode()) == -1, planted


@pytest.mark.parametrize("text", [HOSTILE[0], HOSTILE[2], HOSTILE[4], HOSTILE[5]])
def test_hostile_texts_are_neutralised(text: str, tmp_path: Path) -> None:
    answer = replace(READ, model=text, version=text, label=text, probabilities={text: 1.0})
    verified(capture(facts(scan(answer, explained=text * 30))), tmp_path)


def test_the_same_facts_give_the_same_file_and_another_map_another_instance() -> None:
    told = facts()
    assert hashlib.sha256(capture(told)).digest() == hashlib.sha256(capture(told)).digest()
    other = facts(scan(overlay=np.full((300, 400, 3), 9, np.uint8)))
    assert opened(capture(told)).SOPInstanceUID != opened(capture(other)).SOPInstanceUID


# ------------------------------------------------------------------------------------------------ uploads


def test_an_uploaded_picture_becomes_the_instance_that_reports_refer_to(tmp_path: Path) -> None:
    told = facts(upload())
    file = picture(told)
    verified(file, tmp_path)
    made = opened(file)
    source = told.sources[0]
    assert (made.SOPClassUID, made.SOPInstanceUID) == (SC, told.sop(source))
    assert (made.StudyInstanceUID, made.SeriesInstanceUID) == (told.study, told.series(source))
    assert np.array_equal(made.pixel_array, pixels())
    assert opened(capture(told)).SourceImageSequence[0].ReferencedSOPInstanceUID == made.SOPInstanceUID


def test_a_colour_upload_keeps_its_colours(tmp_path: Path) -> None:
    colour = np.random.default_rng(0).integers(0, 255, (41, 31, 3), np.uint8)  # an odd number of bytes
    file = picture(facts(replace(upload(), image=colour)))
    verified(file, tmp_path)
    assert np.array_equal(opened(file).pixel_array, colour)


def test_what_is_dicom_already_or_has_no_picture_is_refused() -> None:
    for source in (scan(), replace(upload(), image=None)):
        with pytest.raises(InputError, match="was no DICOM"):
            picture(facts(source))
    with pytest.raises(InputError, match="this object has none"):
        capture(facts(replace(upload(), image=None, overlay=None)))


@pytest.mark.parametrize("kind", ["stay", "row"])
def test_only_scans_have_one(kind: str) -> None:
    for write in (capture, picture):
        with pytest.raises(InputError, match="for a scan only"):
            write(ALL_KINDS[kind])
