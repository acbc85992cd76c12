"""The same object in other clothes is the same; another value or another pixel is not."""

from __future__ import annotations

import io
from copy import deepcopy

import pytest
from drawn_dicom import draw, encoded
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian, RLELossless

from medai_core.cases.access import LOCAL
from medai_core.cases.receive import OTHER_CONTENT
from medai_core.cases.sameness import same_object


def original() -> Dataset:
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "51185008", "SCT", "Chest"
    return draw(1, AnatomicRegionSequence=Sequence([code]), WindowCenter=["128", "100"], PixelSpacing=[0.5, 0.5])


def meta(ds: Dataset) -> None:
    ds.file_meta.ImplementationVersionName = "SOMEBODY_ELSE"
    ds.file_meta.SourceApplicationEntityTitle = "ELSEWHERE"


def group_lengths(ds: Dataset) -> None:
    ds.add_new(0x00080000, "UL", 400)
    ds.add_new(0xFFFCFFFC, "OB", bytes(10))


def private(ds: Dataset) -> None:
    ds.private_block(0x0019, "MAKER", create=True).add_new(1, "LO", "counter 7")


def empty(ds: Dataset) -> None:
    ds.ReferringPhysicianName = None
    ds.file_meta.ImplementationVersionName = "SOMEBODY_ELSE"


@pytest.mark.parametrize("change", [meta, group_lengths, private, empty])
def test_what_an_encoder_adds_makes_no_other_object(change):
    first = original()
    changed = deepcopy(first)
    change(changed)
    assert encoded(first) != encoded(changed)
    assert same_object(encoded(first), encoded(changed))


@pytest.mark.parametrize(
    "syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian, RLELossless]
)
def test_another_transfer_syntax_makes_no_other_object(syntax):
    first = original()
    second = deepcopy(first)
    if syntax.is_encapsulated:
        second.compress(syntax, generate_instance_uid=False)
        file = encoded(second)
    else:
        second.file_meta.TransferSyntaxUID = syntax
        buffer = io.BytesIO()
        second.save_as(buffer, enforce_file_format=True)
        file = buffer.getvalue()
    assert file != encoded(first)
    assert same_object(encoded(first), file)
    second = deepcopy(first)
    pixels = bytearray(second.PixelData)
    pixels[77] ^= 1
    second.PixelData = bytes(pixels)
    assert not same_object(encoded(second), file)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PatientID", "another"),
        ("WindowCenter", ["128", "101"]),
        ("AnatomicRegionSequence", Sequence()),
        ("Laterality", "L"),
    ],
)
def test_another_value_makes_another_object(name, value):
    first = original()
    second = deepcopy(first)
    setattr(second, name, value)
    assert not same_object(encoded(first), encoded(second))


def test_another_pixel_makes_another_object():
    first = original()
    second = deepcopy(first)
    second.PixelData = bytes(len(first.PixelData))
    assert not same_object(encoded(first), encoded(second))


@pytest.mark.parametrize("damage", [b"", b"no DICOM", bytes(200)])
def test_what_cannot_be_read_is_not_the_same(damage):
    assert not same_object(encoded(original()), damage)


def test_the_workspace_knows_an_object_again_in_other_clothes(sqlite_workspace):
    first = original()
    second = deepcopy(first)
    meta(second)
    other = deepcopy(first)
    other.PatientName = "Another^Person"
    receive = sqlite_workspace.receive
    assert [receive(LOCAL, encoded(ds), "a.dcm").status for ds in (first, second, first)] == ["new", *["duplicate"] * 2]
    assert receive(LOCAL, encoded(other), "a.dcm").reason == OTHER_CONTENT
    vault = sqlite_workspace.store.settings.data_dir / "vault"
    sqlite_workspace.store.remove_doomed()
    assert len([path for path in vault.rglob("*") if path.is_file()]) == 1
