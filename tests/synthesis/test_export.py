"""Synthetic images as files: what each of them says of itself, whatever the format."""

from __future__ import annotations

import csv
import io
import zipfile
from xml.etree import ElementTree

import numpy as np
import pydicom
import pytest
from PIL import Image

from medai_core import marks
from medai_core.errors import InputError
from medai_core.imaging.gate import marks_of
from medai_core.imaging.read import read_scan
from medai_core.synthesis import export
from medai_core.synthesis.generator import SyntheticImage


def drawn(index: int = 7, label: str = "viral", model: str = "chest_xray_gan") -> SyntheticImage:
    """Waves, as if they were generated."""
    y, x = np.mgrid[:128, :128]
    pixels = (120 + 60 * np.sin(x / (9 + index)) * np.cos(y / 14)).astype(np.uint8)
    return SyntheticImage(model, "1.2.0", label, 1, index, 0.8, (("opacity", 0.5),), pixels, 0.4, 37.0)


def found(data: bytes) -> tuple[bool, bool, bool]:
    seen = marks_of(read_scan(data))
    return seen.visible, seen.metadata, seen.watermark


@pytest.fixture
def strict():
    """DICOM held to the letter of the standard, in reading and in writing."""
    held = pydicom.config.settings
    before = held.reading_validation_mode, held.writing_validation_mode
    held.reading_validation_mode = held.writing_validation_mode = pydicom.config.RAISE
    yield
    held.reading_validation_mode, held.writing_validation_mode = before


@pytest.mark.parametrize("kind", export.KINDS)
@pytest.mark.parametrize("clean", [False, True])
def test_every_file_carries_its_marks(kind: str, clean: bool) -> None:
    assert found(export.encoded(drawn(), kind, clean)) == (not clean, True, True)


@pytest.mark.parametrize("clean", [False, True])
def test_marks_change_little_but_the_corner(clean: bool) -> None:
    image = drawn()
    change = np.abs(export.marked(image, clean).astype(int) - image.pixels)[:100]
    assert 0.5 < change.mean() < 2.5 and change.max() < 25


def test_a_png_says_how_it_was_made() -> None:
    with Image.open(io.BytesIO(export.png(drawn()))) as image:
        assert (image.mode, image.size) == ("L", (128, 128))
        told = {"Model": "chest_xray_gan 1.2.0", "Label": "viral", "Seed": "1", "Index": "7", "Truncation": "0.8"}
        told |= {"Shifts": "opacity=0.5", "Description": marks.STATEMENT, "SyntheticData": "YES"}
        assert told.items() <= image.text.items()
        described = [element.attrib for element in ElementTree.fromstring(image.info["xmp"]).iter()]
    assert marks.SOURCE_TYPE in {value for attributes in described for value in attributes.values()}


def test_a_dicom_file_is_a_secondary_capture_of_no_patient(strict) -> None:
    ds = pydicom.dcmread(io.BytesIO(export.dicom(drawn())))
    ds.walk(lambda at, element: element.value)  # every value is read, and held against its representation
    assert ds.file_meta.MediaStorageSOPClassUID == ds.SOPClassUID == pydicom.uid.SecondaryCaptureImageStorage
    assert list(ds.ImageType) == ["DERIVED", "SECONDARY"] and ds.SyntheticData == "YES"
    assert ds.PatientName == ds.PatientID == "SYNTHETIC" and ds.BurnedInAnnotation == "YES"
    for said in (marks.STATEMENT, "chest_xray_gan 1.2.0", "Label viral", "Seed 1", "Index 7", "opacity=0.5"):
        assert said in ds.DerivationDescription
    assert (ds.pixel_array == export.marked(drawn())).all()
    assert len({ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.SOPInstanceUID}) == 3
    for image, modality, part in (
        (drawn(), "DX", "CHEST"),
        (drawn(label="glioma", model="brain_mri_gan"), "MR", "HEAD"),
    ):
        scan = read_scan(export.dicom(image))
        assert (scan.modality, scan.body_part) == (modality, part)


def test_images_of_one_seed_are_one_series() -> None:
    one, two, other = (
        pydicom.dcmread(io.BytesIO(export.dicom(image))) for image in (drawn(1), drawn(2), drawn(1, label="normal"))
    )
    assert one.SeriesInstanceUID == two.SeriesInstanceUID != other.SeriesInstanceUID
    assert len({ds.SOPInstanceUID for ds in (one, two, other)}) == 3
    assert [int(ds.InstanceNumber) for ds in (one, two)] == [2, 3]


@pytest.mark.parametrize("kind", export.KINDS)
def test_the_same_image_is_the_same_file(kind: str) -> None:
    assert export.encoded(drawn(), kind) == export.encoded(drawn(), kind)


def test_an_animation_is_marked_and_keeps_its_time() -> None:
    data = export.gif(np.stack([drawn(k).pixels for k in range(4)]), ms=80)
    with Image.open(io.BytesIO(data)) as image:
        assert (image.n_frames, image.size, image.info["duration"], image.info["loop"]) == (4, (128, 128), 80, 0)
        image.seek(3)
        last = np.asarray(image.convert("L"))
    assert marks.recognise(last).visible and found(data) == (True, True, True)
    with pytest.raises(InputError, match="at least one frame"):
        export.gif(np.zeros((0, 128, 128), np.uint8))


def test_a_contact_sheet_shows_all_images_in_rows() -> None:
    images = [drawn(k) for k in range(5)]
    data = export.grid(images, 3)
    sheet = np.asarray(Image.open(io.BytesIO(data)))
    assert sheet.shape == (256, 384) and not sheet[128:, 256:].any()
    assert (sheet[128:, 128:256] == export.marked(images[4])).all() and found(data)[1]
    assert Image.open(io.BytesIO(export.grid(images[:2], 8))).size == (256, 128)
    for wrong in (([], 3), (images, 0)):
        with pytest.raises(InputError, match="`columns` of at least 1"):
            export.grid(*wrong)


@pytest.mark.parametrize("kind", export.KINDS)
def test_an_archive_holds_files_labels_and_a_note(kind: str) -> None:
    told: list[int] = []
    data = export.zip_of([drawn(3), drawn(12, "normal")], kind, progress=told.append)
    names = [f"chest_xray_gan_{part}.{export.KINDS[kind]}" for part in ("viral_seed1_0003", "normal_seed1_0012")]
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None and archive.namelist() == [*names, "labels.csv", "README.txt"]
        rows = list(csv.DictReader(archive.read("labels.csv").decode().splitlines()))
        assert "shows no patient" in archive.read("README.txt").decode()
        assert all(found(archive.read(name)) == (True, True, True) for name in names)
    assert told == [1, 2] and data == export.zip_of([drawn(3), drawn(12, "normal")], kind)
    assert rows[1] == dict(
        file=names[1], label="normal", seed="1", index="12", truncation="0.8", model="chest_xray_gan", version="1.2.0"
    )


def test_an_unknown_format_is_one_sentence() -> None:
    for ask in (lambda: export.zip_of([], "jpeg"), lambda: export.encoded(drawn(), "jpeg")):
        with pytest.raises(InputError, match="`kind` must be one of png, dicom, got 'jpeg'"):
            ask()
