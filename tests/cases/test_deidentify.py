"""The basic profile: secrets planted wherever the profile names a place, and looked for in the bytes that leave."""

from __future__ import annotations

import io
import re
import shutil
import subprocess
from datetime import date
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from medai_core.cases.deidentify import deidentify
from medai_core.cases.deidentify_files import deidentify_file
from medai_core.cases.deidentify_rules import DUMMY, EMPTY, REMOVE, named
from medai_core.cases.deidentify_values import Disguise
from medai_core.errors import InputError, RefusedInput
from medai_core.imaging.read import read_scan

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

KEY = bytes(range(32))
BUNDLED = Path(pydicom.__file__).parent / "data" / "test_files"
NAME, NUMBER, BORN, STREET, UID = "Zyxwvut^Quorra", "QX7731904", "19530417", "88 Plumbago Cres", "1.2.826.0.1.7731904.1"
SECRETS = ("zyxwvut", "quorra", "7731904", "19530417", "plumbago")
_PLANTED = {
    "PN": NAME, "DA": BORN, "DT": f"{BORN}101112", "TM": "101112", "AS": "071Y", "UI": UID, "CS": NUMBER, "SH": NUMBER,
    "AE": NUMBER, "DS": "7731904", "IS": "7731904", "UR": f"http://pacs/{NUMBER}", "US": 7, "FD": 7.0, "UL": 7,
}  # fmt: skip
_BYTES = {"OB", "OW", "UN"}


def _value(vr: str) -> object:
    return b"Zyxwvut " if vr in _BYTES else _PLANTED.get(vr, f"{STREET} {NAME} {NUMBER} {BORN}")


def _named_vr(tag: int) -> str:
    known = pydicom.datadict.dictionary_has_tag(tag)
    return pydicom.datadict.dictionary_VR(tag) if known else "LO"


def plant(ds: Dataset, deep: int = 2) -> Dataset:
    """Put a secret into every attribute the profile names, also inside its sequences and one it does not name."""
    for tag in named():
        vr = _named_vr(tag)
        if tag >> 16 < 8 or (tag >> 16, deep) in (
            (0xFFFC, 0),
            (0xFFFC, 1),
        ):  # not part of a data set, or only at its end
            continue
        if vr != "SQ":
            ds[tag] = DataElement(tag, vr.split(" ")[0], _value(vr.split(" ")[0]))
        elif deep:
            ds[tag] = DataElement(tag, "SQ", Sequence([plant_few(Dataset())]))
    block = ds.private_block(0x0009, NAME, create=True)
    block.add_new(0x01, "LO", STREET)
    block.add_new(0x02, "SQ", Sequence([plant_few(Dataset())]))
    if deep:
        ds.AnatomicRegionSequence = [plant(Dataset(), deep - 1)]
        ds.ContentSequence = [report_item(plant_few(Dataset()))]
    return ds


def plant_few(ds: Dataset) -> Dataset:
    ds.PatientName, ds.PatientID, ds.StudyDate, ds.InstitutionAddress = NAME, NUMBER, BORN, STREET
    ds.TextValue, ds.ReferencedSOPInstanceUID, ds.CodeMeaning = f"{STREET}, {NAME}", UID, "Heart"
    ds.private_block(0x0011, "MAKER", create=True).add_new(0x10, "UN", b"Zyxwvut ")
    return ds


def report_item(item: Dataset) -> Dataset:
    inner = Dataset()
    inner.ValueType, inner.TextValue, inner.PersonName, inner.Date = "TEXT", STREET, NAME, BORN
    inner.DateTime, inner.UID, inner.Time = f"{BORN}0102", UID, "101112"
    item.ValueType, item.ContentSequence = "CONTAINER", [inner]
    return item


def image(pixels: np.ndarray, syntax: str = ExplicitVRLittleEndian, bits: int = 12) -> Dataset:
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = syntax
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID = UID
    ds.Rows, ds.Columns = pixels.shape
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PixelRepresentation = 1, "MONOCHROME2", 0
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.Modality = 16, bits, bits - 1, "CR"
    order = ">" if syntax == ExplicitVRBigEndian else "<"
    ds.PixelData = pixels.astype(f"{order}u2").tobytes()
    ds["PixelData"].VR = "OW"
    return ds


def saved(ds: Dataset) -> bytes:
    stream = io.BytesIO()
    ds.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def ramp() -> np.ndarray:
    return (np.arange(24 * 40).reshape(24, 40) * 4).astype(np.uint16)


def leaks(data: bytes, words: tuple[str, ...] = SECRETS) -> list[str]:
    """Which words stand in the bytes, in any case and encoding."""
    codecs = ("utf-8", "latin-1", "utf-16-le", "utf-16-be", "gb18030", "iso2022_jp", "euc_kr", "utf-7")
    found = set()
    for word in words:
        for codec in codecs:
            try:
                raw = word.encode(codec)
            except UnicodeEncodeError:
                continue
            if raw.lower() in data.lower():
                found.add(word)
    return sorted(found)


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian])
def test_no_secret_is_left_wherever_the_profile_names_a_place(syntax: str) -> None:
    ds = plant(image(ramp(), syntax))
    ds.SOPClassUID, ds.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.7", UID
    ds.preamble = (NAME * 10).encode()[:128]
    ds.file_meta.SourceApplicationEntityTitle = ds.file_meta.ImplementationVersionName = NUMBER
    ds.file_meta.PrivateInformationCreatorUID, ds.file_meta.PrivateInformation = UID, b"Zyxwvut "
    for group in (0x5000, 0x5002, 0x6000, 0x601E):
        ds.add_new((group, 0x0022), "LO", NAME)
        ds.add_new((group, 0x3000), "OW", b"Zyxwvut ")
        ds.add_new((group, 0x4000), "LT", STREET)
    ds.PixelData += b"Zyxwvut "
    source = saved(ds)
    assert leaks(source) == sorted(SECRETS)
    clean, notes = deidentify_file(source, key=KEY, patient="case 1", pseudonym="P-1")
    assert leaks(clean) == []
    assert not leaks(repr(notes).encode())
    again = pydicom.dcmread(io.BytesIO(clean))
    assert (again.PatientName, again.PatientID, again.PatientIdentityRemoved) == ("P-1", "P-1", "YES")
    assert np.array_equal(read_scan(clean).values, ramp()) and np.array_equal(read_scan(source).values, ramp())


def test_every_attribute_of_the_profile_is_treated_as_it_says() -> None:
    ds = plant(image(ramp()), deep=1)
    clean, _ = deidentify(ds, key=KEY, patient="case 1")
    actions = {tag: action for tag, action in named().items() if tag >> 16 >= 8}
    assert len(actions) > 640
    ours = {pydicom.datadict.tag_for_keyword(name) for name in ("PatientName", "PatientID")}
    for tag, action in actions.items():
        if action == REMOVE:
            assert tag not in clean, hex(tag)
        elif action == EMPTY and tag not in ours:
            assert tag in clean and clean[tag].is_empty, hex(tag)
        elif action == DUMMY and tag not in ours:
            assert not clean[tag].is_empty and clean[tag].value != ds[tag].value, hex(tag)


@pytest.mark.parametrize(
    ("charset", "name"),
    [("ISO_IR 192", "张^三丰=Zhāng"), ("GB18030", "张^三丰"), ("\\ISO 2022 IR 87", "Yamada^Tarou=山田^太郎"),
     ("ISO_IR 100", "Müßig^Ængström"), ("\\ISO 2022 IR 149", "Hong^Gildong=洪^吉洞")],
)  # fmt: skip
def test_names_in_other_scripts(charset: str, name: str) -> None:
    ds = image(ramp())
    ds.SpecificCharacterSet = charset.split("\\")
    ds.PatientName, ds.StudyDescription, ds.CodeMeaning = name, name, "Heart"
    ds.Manufacturer = f"for {name.split('^')[0]}"  # kept, were the name not in it
    source, words = saved(ds), tuple(word for word in re.split(r"[\^=]", name) if word)
    assert leaks(source, words)
    clean, _ = deidentify_file(source, key=KEY, patient="x")
    assert leaks(clean, words) == []
    assert pydicom.dcmread(io.BytesIO(clean)).CodeMeaning == "Heart"


def test_identity_is_looked_for_in_what_is_kept() -> None:
    ds = image(ramp())
    ds.PatientName, ds.PatientID, ds.Manufacturer = NAME, NUMBER, "Acme"
    ds.SequenceName, ds.SoftwareVersions, ds.BodyPartExamined = "quorra t1", ["1.0", f"id {NUMBER}"], NUMBER
    clean, _ = deidentify(ds, key=KEY, patient="x")
    assert clean.Manufacturer == "Acme"
    assert [clean.SequenceName, clean.SoftwareVersions, clean.BodyPartExamined] == ["REMOVED"] * 3


def test_a_value_of_the_wrong_kind_does_not_slip_through() -> None:
    ds = image(ramp())
    ds.add_new("WindowCenter", "DS", "1")
    ds.add_new("SeriesNumber", "LO", NAME)  # text where the dictionary wants a number
    ds.add_new("PatientName", "OB", b"Zyxwvut ")
    ds.add_new("StudyDate", "LO", NAME)
    ds.add_new(0x00091001, "UN", b"Zyxwvut ")  # private, without its creator
    ds.add_new(0x0008FFFE, "LO", NAME)  # in no dictionary
    source = saved(ds).replace(b"DS\x02\x001 ", b"DS\x02\x00Zy")
    clean, _ = deidentify_file(source, key=KEY, patient="x")
    assert leaks(clean) == []
    assert "WindowCenter" not in pydicom.dcmread(io.BytesIO(clean))


def test_it_says_what_it_did() -> None:
    ds = image(ramp())
    ds.ContentSequence = [report_item(Dataset())]
    plain, _ = deidentify(ds, key=KEY, patient="x", keep_characteristics=True)
    codes = [item.CodeValue for item in plain.DeidentificationMethodCodeSequence]
    assert codes == ["113100", "113104", "113107", "113108"]
    assert plain.LongitudinalTemporalInformationModified == "MODIFIED" and "2026c" in plain.DeidentificationMethod
    basic, _ = deidentify(image(ramp()), key=KEY, patient="x")
    assert [item.CodeValue for item in basic.DeidentificationMethodCodeSequence] == ["113100", "113107"]


def test_what_a_report_says_of_its_subject_goes_and_its_codes_stay() -> None:
    def code(value: str, meaning: str) -> list[Dataset]:
        item = Dataset()
        item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "DCM", meaning
        return [item]

    age, finding = Dataset(), Dataset()
    age.ValueType, age.ConceptNameCodeSequence, age.TextValue = "NUM", code("121033", "Subject Age"), "93"
    finding.ValueType, finding.ConceptNameCodeSequence = "TEXT", code("121071", "Finding")
    finding.TextValue = "Mrs Quorra has pneumonia"
    ds = image(ramp())
    ds.ContentSequence = [age, finding]
    clean, _ = deidentify(ds, key=KEY, patient="x")
    (left,) = clean.ContentSequence
    assert left.ConceptNameCodeSequence[0].CodeMeaning == "Finding" and left.TextValue == "REMOVED"


# ------------------------------------------------------------------------------------------- dates and UIDs


def test_intervals_stay_and_the_shift_is_the_patients() -> None:
    days = {Disguise(KEY, f"patient {number}").shift_days for number in range(400)}
    assert min(days) >= 1 and max(days) <= 365 and len(days) > 200
    assert Disguise(KEY, "p").shift_days != Disguise(bytes(32), "p").shift_days
    moved = []
    for day in ("20240228", "20240301"):
        ds = image(ramp())
        ds.StudyDate, ds.StudyTime, ds.AcquisitionDateTime = day, "101112.5", f"{day}235959.123456+0130"
        clean, _ = deidentify(ds, key=KEY, patient="case 7")
        assert clean.StudyTime == "101112.5"
        assert clean.AcquisitionDateTime == f"{clean.StudyDate}235959.123456+0130"
        moved.append(date.fromisoformat(clean.StudyDate))
    assert (moved[1] - moved[0]).days == 2
    assert (date(2024, 2, 28) - moved[0]).days == Disguise(KEY, "case 7").shift_days


@pytest.mark.parametrize(("text", "length"), [("2024", 4), ("202403", 6), ("2024031510", 10), ("20240315101112.1", 16)])
def test_date_times_keep_their_precision(text: str, length: int) -> None:
    moved = Disguise(KEY, "p").date_time(text)
    assert moved and len(moved) == length and moved[8:] == text[8:] and moved < text


@pytest.mark.parametrize("text", ["20240231", "Zyxwvut", "2024-01-01", "00010101", "", "20240101 Quorra"])
def test_what_is_no_date_is_not_kept(text: str) -> None:
    assert Disguise(KEY, "p").date(text) is None and not leaks(str(Disguise(KEY, "p").date_time(text)).encode())


def test_old_dates_with_points_are_moved() -> None:
    assert Disguise(KEY, "p").date("2024.03.15") == Disguise(KEY, "p").date("20240315")


def test_ages_go_unless_asked_for_and_stay_right() -> None:
    ds = image(ramp())
    ds.PatientAge, ds.PatientSex, ds.PatientBirthDate, ds.StudyDate = "093Y", "F", "19310101", "20240301"
    basic, _ = deidentify(ds, key=KEY, patient="x")
    assert "PatientAge" not in basic and not basic.PatientSex and not basic.PatientBirthDate
    kept, _ = deidentify(ds, key=KEY, patient="x", keep_characteristics=True)
    assert (kept.PatientAge, kept.PatientSex) == ("090Y", "F") and kept["PatientBirthDate"].is_empty
    ds.PatientAge = "061Y"
    assert deidentify(ds, key=KEY, patient="x", keep_characteristics=True)[0].PatientAge == "061Y"
    ds["PatientAge"] = DataElement("PatientAge", "LO", NAME)
    assert "PatientAge" not in deidentify(ds, key=KEY, patient="x", keep_characteristics=True)[0]


def test_references_stay_linked_across_objects_and_patients() -> None:
    ds, reference = image(ramp()), Dataset()
    ds.StudyInstanceUID, ds.FrameOfReferenceUID = "1.2.3", "1.2.840.10008.1.4.1.1"
    reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = "1.2.840.10008.5.1.4.1.1.7", UID
    other = image(ramp())
    other.StudyInstanceUID, other.SourceImageSequence, other.IrradiationEventUID = "1.2.3", [reference], ["1.5", "1.6"]
    one, _ = deidentify(ds, key=KEY, patient="x")
    two, _ = deidentify(other, key=KEY, patient="y")
    assert two.SourceImageSequence[0].ReferencedSOPInstanceUID == one.SOPInstanceUID != UID
    assert one.file_meta.MediaStorageSOPInstanceUID == one.SOPInstanceUID
    assert one.StudyInstanceUID == two.StudyInstanceUID and one.StudyInstanceUID.startswith("2.25.")
    assert one.FrameOfReferenceUID == "1.2.840.10008.1.4.1.1" and one.SOPClassUID == ds.SOPClassUID
    assert len(set(two.IrradiationEventUID)) == 2 and all(uid.is_valid for uid in two.IrradiationEventUID)
    assert all(len(uid) <= 64 for uid in (one.SOPInstanceUID, one.StudyInstanceUID))
    assert deidentify(ds, key=bytes(32), patient="x")[0].SOPInstanceUID != one.SOPInstanceUID


# -------------------------------------------------------------------------------------- whole objects


def _errors(data: bytes, folder: Path) -> set[str]:
    """What dciodvfy calls an error; UIDs are left out, since they differ by design."""
    path = folder / "object.dcm"
    path.write_bytes(data)
    done = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True, errors="replace", timeout=60)
    lines = [line for line in done.stderr.splitlines() if line.startswith("Error")]
    return {re.sub(r"[\d.]{20,}|\d+\.\d[\d.]+|(?<=UID )0$", "UID", line) for line in lines}


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dciodvfy (Debian package dicom3tools) is not installed")
@pytest.mark.parametrize(
    "name", ["CT_small.dcm", "MR_small.dcm", "test-SR.dcm", "reportsi.dcm", "rtplan.dcm", "examples_overlay.dcm",
             "JPEG2000.dcm", "SC_rgb_small_odd.dcm", "waveform_ecg.dcm", "liver_1frame.dcm"]
)  # fmt: skip
def test_objects_are_as_valid_as_before(name: str, tmp_path: Path) -> None:
    if not (BUNDLED / name).exists():
        pytest.skip(f"{name} does not come with this pydicom")
    source = (BUNDLED / name).read_bytes()
    clean, _ = deidentify_file(source, key=KEY, patient="x")
    assert _errors(clean, tmp_path) <= _errors(source, tmp_path)


def test_bundled_objects_show_the_same_pixels_and_lose_their_names() -> None:
    read = 0
    for path in sorted(BUNDLED.glob("*.dcm")):
        if path.stat().st_size > 40_000:
            continue
        source = path.read_bytes()
        try:
            before = read_scan(source)
        except (InputError, RefusedInput):
            continue
        clean, _ = deidentify_file(source, key=KEY, patient="x")
        after = read_scan(clean)
        assert np.array_equal(before.values, after.values) and np.array_equal(before.display, after.display), path.name
        name = str(pydicom.dcmread(io.BytesIO(source), force=True).get("PatientName", ""))
        assert not leaks(clean, tuple(part for part in name.split("^") if len(part) > 6)), path.name
        read += 1
    assert read > 20


def test_the_source_is_not_changed_and_twice_is_the_same() -> None:
    ds = plant(image(ramp()), deep=1)
    before = saved(ds)
    first, _ = deidentify(ds, key=KEY, patient="x")
    assert saved(ds) == before
    assert saved(first) == saved(deidentify(ds, key=KEY, patient="x")[0])


def test_warnings() -> None:
    ds = image(ramp())
    assert deidentify(ds, key=KEY, patient="x")[1].warnings == ()
    ds.BurnedInAnnotation = ds.RecognizableVisualFeatures = "YES"
    ds.EncapsulatedDocument = b"%PDF"
    clean, notes = deidentify(ds, key=KEY, patient="x")
    assert [str(warning)[:25] for warning in notes.warnings] == [
        "The file itself says that",
        "The file itself says that",
        "The document inside the f",
    ]
    assert clean.BurnedInAnnotation == "YES" and b"PDF" not in clean.EncapsulatedDocument


def test_rules_of_the_arguments() -> None:
    with pytest.raises(InputError, match="`key` must have at least 16 bytes, got 3"):
        deidentify(image(ramp()), key=b"abc", patient="x")
    with pytest.raises(InputError, match="`patient` must not be empty"):
        deidentify(image(ramp()), key=KEY, patient=" ")
    with pytest.raises(InputError, match="`pseudonym`"):
        deidentify(image(ramp()), key=KEY, patient="x", pseudonym="a\\b")
    directory = Dataset()
    directory.file_meta = FileMetaDataset()
    directory.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.1.3.10"
    with pytest.raises(RefusedInput, match="DICOMDIR"):
        deidentify(directory, key=KEY, patient="x")
    assert "KEY" not in repr(Disguise(KEY, "secret")) and "secret" not in repr(Disguise(KEY, "secret"))
