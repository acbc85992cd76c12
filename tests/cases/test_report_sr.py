"""The structured report as DCMTK and dicom3tools read it."""

from __future__ import annotations

import hashlib
import io
from dataclasses import replace
from pathlib import Path

import pydicom
import pytest
from drawn_reports import (
    AGREES,
    ALL_KINDS,
    BRAIN,
    COMMITTED,
    DX,
    FAMILY,
    HOSTILE,
    MR,
    NUMBER,
    OVERRULES,
    READ,
    REFERRER,
    SC,
    SCANS,
    WHO,
    dumped,
    facts,
    header,
    scan,
    upload,
    verified,
)  # fmt: skip

from medai_core.cases.answers import Finding, Identity
from medai_core.cases.report_facts import ReviewFacts, Source
from medai_core.cases.report_sr import IN_FULL, sr
from medai_core.errors import InputError


@pytest.mark.parametrize("name", SCANS)
def test_every_report_is_valid(name: str, tmp_path: Path) -> None:
    said = verified(sr(SCANS[name]), tmp_path)
    assert "ComprehensiveSR" in said


def test_the_tree_holds_findings_probabilities_algorithm_and_source(tmp_path: Path) -> None:
    tree = dumped(sr(SCANS["scan"]), tmp_path)
    for part in (
        '(126000,DCM,"Imaging Measurement Report")',
        '(121058,DCM,"Procedure reported")=(399208008,SCT,"Plain X-ray of chest")',
        '(121071,DCM,"Finding")=(233604007,SCT,"Pneumonia")',
        '(363698007,SCT,"Finding Site")=(39607008,SCT,"Lung structure")',
        '(122157,DCM,"Probability")="97.9" (%,UCUM,"Percent")',
        '(122157,DCM,"Probability")="71.1" (%,UCUM,"Percent")',
        '(121077,DCM,"Conclusion")=(53084003,SCT,"Bacterial pneumonia")',
        '(111023,DCM,"Differential Diagnosis/Impression")=(75570004,SCT,"Viral pneumonia")',
        '(121075,DCM,"Recommendation")=(REFER,99MEDAI,"Refer to a reader in any case")',
        '(111001,DCM,"Algorithm Name")="chest_xray"',
        '(111003,DCM,"Algorithm Version")="1.1.0"',
        f'(111002,DCM,"Algorithm Parameters")="Bundle SHA-256: {"cd" * 32}"',
        "the model was made for children aged 1 to 5.",
        "Not a medical device",
        f'(260753009,SCT,"Source")=(DX image,"{facts().sop(scan())}")',
        f'(121112,DCM,"Source of Measurement")=(DX image,"{facts().sop(scan())}")',
        '(112039,DCM,"Tracking Identifier")="Object 1: answer of the algorithm"',
    ):
        assert part in tree, part


def test_a_review_that_overrules_is_told_beside_the_first_one(tmp_path: Path) -> None:
    tree = dumped(sr(SCANS["overruled"]), tmp_path)
    assert '"Review 1 by a reader"' in tree and '"Review 2 by a reader"' in tree
    review = tree.split('"Review 2 by a reader"')[1]
    for part in (
        '=(OVERRULED,99MEDAI,"Overruled")', '"Conclusion")=(75570004,SCT,"Viral pneumonia")',
        '"Comment")="Both lungs, no lobar consolidation"', '"Finding")="side: both"',
        '"Read before the algorithm result was shown")=(373066001,SCT,"Yes")',
        '"Finding")=(233604007,SCT,"Pneumonia")', '"Finding")="Pneumonia; left lower zone; moderate"',
        ',99MEDAI,"old rib fracture")',
    ):  # fmt: skip
        assert part in review, part
    assert '"Person Observer Name")="Lesser^Rita"' in tree
    assert "Preliminary Flag    : FINAL" in tree and "Verification Flag   : UNVERIFIED" in tree


def test_a_refused_reading_gives_its_reason_and_no_probability(tmp_path: Path) -> None:
    tree = dumped(sr(SCANS["refused"]), tmp_path)
    assert '=(REFUSED,99MEDAI,"Refused, not read")' in tree
    assert 'This looks like a photograph, not a chest radiograph or a brain MRI slice."' in tree
    assert "Probability" not in tree and "Conclusion" not in tree
    assert "Preliminary Flag    : PRELIMINARY" in tree
    assert f'(SC image,"{SCANS["refused"].sop(SCANS["refused"].sources[0])}")' in tree


def test_nobody_has_read_it_yet(tmp_path: Path) -> None:
    tree = dumped(sr(SCANS["waiting"]), tmp_path)
    assert '=(WAITING,99MEDAI,"Not read yet")' in tree and "Probability" not in tree


def test_many_objects_each_have_their_answer_and_their_image(tmp_path: Path) -> None:
    slices = [
        scan(BRAIN, sop_uid=f"1.2.826.0.1.3.{k}", header=header(
            SOPClassUID=MR, Modality="MR", PixelSpacing=[0.5, 0.5], SliceThickness=5, BodyPartExamined="HEAD",
            ImageOrientationPatient=[1, 0, 0, 0, 1, 0], ImagePositionPatient=[0, 0, 5 * k],
        )) for k in range(1, 6)
    ]  # fmt: skip
    file = sr(facts(*slices))
    verified(file, tmp_path)
    tree = dumped(file, tmp_path)
    for k in range(1, 6):
        assert tree.count(f'(MR image,"1.2.826.0.1.3.{k}")') == 1 + 5  # library, answer, four labels
    assert '(NOTUMOUR,99MEDAI,"No tumour seen")' in tree and '"Slice Thickness")="5' in tree


def test_of_many_objects_the_urgent_ones_are_told_in_full() -> None:
    many = [scan(replace(BRAIN, urgency=k / 100), sop_uid=f"1.2.826.0.1.3.{k}") for k in range(IN_FULL + 2)]
    groups = pydicom.dcmread(io.BytesIO(sr(facts(*many)))).ContentSequence[-1].ContentSequence
    told = [group.ContentSequence[0].TextValue for group in groups]
    assert len(told) == IN_FULL + 2 + 4 * IN_FULL
    assert [text for text in told if text.startswith(("Object 1:", "Object 2:"))] == [
        "Object 1: answer of the algorithm", "Object 2: answer of the algorithm",
    ]  # fmt: skip


def test_the_frame_that_was_read_is_named(tmp_path: Path) -> None:
    source = scan(
        replace(READ, frame=2, frames=7), header=header(NumberOfFrames=7, SOPClassUID=f"{SC}.2", Modality="OT")
    )
    file = sr(facts(source))
    verified(file, tmp_path)
    group = pydicom.dcmread(io.BytesIO(file)).ContentSequence[-1].ContentSequence[0]
    image = next(item for item in group.ContentSequence if item.ValueType == "IMAGE")
    assert image.ReferencedSOPSequence[0].ReferencedFrameNumber == 3
    verified(sr(facts(replace(source, header=header(NumberOfFrames=7)))), tmp_path)  # of a class of one frame


def test_it_belongs_to_patient_and_study_of_the_source(tmp_path: Path) -> None:
    made = pydicom.dcmread(io.BytesIO(sr(SCANS["scan"])))
    assert (str(made.PatientName), made.PatientID, made.PatientBirthDate, made.PatientSex) == (
        WHO.person_name, NUMBER, "19700506", "F",
    )  # fmt: skip
    assert (made.StudyInstanceUID, made.StudyDate, made.StudyTime, made.AccessionNumber) == (
        "1.2.826.0.1.2", "20231231", "101112.5", "ACC-9",
    )  # fmt: skip
    assert str(made.ReferringPhysicianName) == f"{REFERRER}^Doc" and made.IssuerOfPatientID == "City Hospital"
    assert made.SeriesInstanceUID != scan().series_uid and "PatientIdentityRemoved" not in made
    evidence = made.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence[0]
    assert evidence.SeriesInstanceUID == "1.2.826.0.1.3"
    assert evidence.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == "1.2.826.0.1.3.1"
    assert evidence.ReferencedSOPSequence[0].ReferencedSOPClassUID == DX


def test_without_identity_there_is_a_pseudonym_and_nothing_of_the_header() -> None:
    file = sr(facts())
    made = pydicom.dcmread(io.BytesIO(file))
    assert (str(made.PatientName), made.PatientID, made.PatientIdentityRemoved) == ("P-1234", "P-1234", "YES")
    assert not (made.StudyDate or made.StudyID or made.AccessionNumber or made.ReferringPhysicianName)
    for planted in (FAMILY, NUMBER, REFERRER, "City Hospital", "ACC-9", "20231231", "S-77", "1.2.826.0.1.98"):
        assert file.find(planted.encode()) == -1, planted


def test_the_same_facts_give_the_same_file_and_other_facts_another_instance() -> None:
    told = facts()
    assert hashlib.sha256(sr(told)).digest() == hashlib.sha256(sr(told)).digest()
    uids = {
        pydicom.dcmread(io.BytesIO(sr(one))).SOPInstanceUID
        for one in (told, replace(told, reviews=(OVERRULES,)), replace(told, identity=WHO))
    }
    assert len(uids) == 3


def hostile_source(text: str, number: int) -> Source:
    answer = replace(
        READ, model=text, version=text, label=text, probabilities={text: 1.0}, prediction_set=(text,), finding=text,
        operating_point=text, cautions=(text,),
    )  # fmt: skip
    return scan(answer, sop_uid=f"1.2.826.0.1.3.{number}")


@pytest.mark.filterwarnings("error")  # pydicom warns of a value that does not fit, and quotes it
def test_hostile_texts_are_neutralised(tmp_path: Path) -> None:
    sources = [hostile_source(text, number) for number, text in enumerate(HOSTILE, start=1)]
    reviews = tuple(ReviewFacts(text, COMMITTED, None, text * 20, {text: text}, text, also=(Finding(text, text, text),))
                    for text in HOSTILE)  # fmt: skip
    file = sr(facts(*sources, reviews=reviews))
    verified(file, tmp_path)
    tree = dumped(file, tmp_path)
    assert "<script>alert('x')</script>, Dr." in tree and "محمد" in tree  # text is text, whatever is in it


@pytest.mark.parametrize("text", [HOSTILE[0], HOSTILE[1], HOSTILE[2], HOSTILE[5], HOSTILE[7]])
@pytest.mark.filterwarnings("error")
def test_hostile_identities_are_neutralised(text: str, tmp_path: Path) -> None:
    told = facts(
        scan(header=header(StudyID=text[:16].replace("\udcff", ""))),
        identity=Identity(text, text, text, None, "?", text), accession=text, reviews=(replace(AGREES, reader=text),),
    )  # fmt: skip
    verified(sr(told), tmp_path)


def test_non_latin_names_survive(tmp_path: Path) -> None:
    tree = dumped(sr(SCANS["scan"]), tmp_path)
    assert WHO.person_name in tree


@pytest.mark.parametrize(
    "damage",
    [
        {"PixelSpacing": [0.1], "Modality": "MR", "SOPClassUID": MR},
        {"ImagerPixelSpacing": None},
        {"Modality": "lower case!"},
        {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.104.1"},
        {"SOPClassUID": "no uid"},
        {"Rows": None},
        {"PatientOrientation": None, "Modality": "CR"},
    ],
)
@pytest.mark.filterwarnings("ignore:Invalid value")
def test_a_poor_header_still_gives_a_report(damage: dict, tmp_path: Path) -> None:
    verified(sr(facts(scan(header=header(**damage)))), tmp_path)


def test_a_source_without_picture_or_size_is_still_referred_to(tmp_path: Path) -> None:
    file = sr(facts(replace(upload(), image=None, overlay=None)))
    verified(file, tmp_path)
    assert "(SC image" in dumped(file, tmp_path)


@pytest.mark.parametrize("kind", ["stay", "row"])
def test_only_scans_have_one(kind: str) -> None:
    with pytest.raises(InputError, match="for a scan only"):
        sr(ALL_KINDS[kind])
