"""The public folders: labels and patients from names, near-duplicates from pixels, sessions from numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from drawn_scans import BRAIN_LABELS, draw_chest, encode

from medai_core.errors import InputError
from medai_core.imaging.dataset import IDENTITIES, PUBLIC_TEST, load_scans
from medai_core.imaging.prepare import prepare
from medai_core.imaging.read import read_scan


@pytest.mark.parametrize(
    ("path", "identity"),
    [
        ("train/NORMAL/IM-0115-0001.jpeg", (0, "normal-115", "normal", 115)),
        ("val/NORMAL/NORMAL2-IM-1427-0001.jpeg", (0, "normal2-1427", "normal2", 1427)),
        ("NORMAL/NORMAL2-IM-0927-0001-0002.jpeg", (0, "normal2-927", "normal2", 927)),
        ("train/PNEUMONIA/person12_bacteria_34.jpeg", (1, "person12", "person", 12)),
        ("train/PNEUMONIA/person12_virus_35.jpeg", (2, "person12", "person", 12)),
        ("train/pneumonia/person1146_virus_3086.jpeg", (2, "person1146", "person", 1146)),
        ("train/NORMAL/person12_virus_35.jpeg", None),
        ("train/PNEUMONIA/IM-0115-0001.jpeg", None),
        ("train/PNEUMONIA/person12_fungus_35.jpeg", None),
        ("train/OTHER/IM-0115-0001.jpeg", None),
    ],
)
def test_chest_names(path: str, identity: tuple | None) -> None:
    assert IDENTITIES["chest_xray"](Path(path)) == identity


@pytest.mark.parametrize("folder", BRAIN_LABELS)
def test_brain_folders(folder: str) -> None:
    assert IDENTITIES["brain_mri"](Path(f"Training/{folder}/Tr-x_0001.jpg"))[0] == BRAIN_LABELS.index(folder)
    assert IDENTITIES["brain_mri"](Path(f"{folder}/Training/Tr-x_0001.jpg")) is None


def test_a_chest_folder_is_read_whole_and_in_name_order(chest_scans) -> None:
    assert chest_scans.images.shape == (64, 128, 128) and chest_scans.images.dtype == np.uint8
    assert np.bincount(chest_scans.labels).tolist() == [32, 16, 16]
    assert len(set(chest_scans.groups)) == 24 + 8 + 16
    assert list(chest_scans.files) == sorted(chest_scans.files)
    assert not any(name.endswith((".txt", "/.person9_virus_1.jpeg")) for name in chest_scans.files)


def test_images_are_prepared_as_at_inference(chest_folder: Path, chest_scans) -> None:
    for row in (0, 40):
        scan = read_scan((chest_folder / chest_scans.files[row]).read_bytes())
        assert np.abs(prepare(scan.display).image[..., 0] - chest_scans.images[row] / 255).max() <= 0.5 / 255 + 1e-6


def test_labels_belong_to_their_files(chest_scans, brain_scans) -> None:
    for name, label in zip(chest_scans.files, chest_scans.labels, strict=True):
        assert label == (0 if "NORMAL/" in name else 1 if "bacteria" in name else 2)
    for name, label in zip(brain_scans.files, brain_scans.labels, strict=True):
        assert f"/{BRAIN_LABELS[label]}/" in name


def test_both_labels_of_a_person_are_one_patient(chest_scans) -> None:
    mine = chest_scans.groups == "person15"
    assert set(chest_scans.labels[mine]) == {1, 2}
    assert len(set(chest_scans.order[mine])) == 1


def test_order_runs_from_0_to_1_in_each_numbering(chest_scans) -> None:
    for stream in ("normal", "normal2", "person"):
        order = chest_scans.order[chest_scans.stream == stream]
        assert order.min() == 0 and order.max() == 1
    numbers = [int(name.split("person")[1].split("_")[0]) for name in chest_scans.files if "person" in name]
    order = chest_scans.order[chest_scans.stream == "person"]
    assert (np.diff(order[np.argsort(numbers, kind="stable")]) >= 0).all()


def test_planted_duplicates_share_a_group_and_nothing_else_does(brain_scans) -> None:
    for label in range(4):
        groups = brain_scans.groups[brain_scans.labels == label]
        assert groups[16] == groups[17] == groups[0]
    assert len(set(brain_scans.groups)) == len(brain_scans.groups) - 8


def test_folders_can_be_left_out_at_any_depth(tmp_path: Path) -> None:
    for part in ("train", "Test", "deep/test"):
        folder = tmp_path / "test" / part / "NORMAL"  # a folder above the one asked for does not count
        folder.mkdir(parents=True)
        (folder / "IM-0001-0001.jpeg").write_bytes(encode(draw_chest(0, 0)))
    assert len(load_scans("chest_xray", tmp_path / "test").files) == 3
    kept = load_scans("chest_xray", tmp_path / "test", leave_out=PUBLIC_TEST)
    assert kept.files == ("train/NORMAL/IM-0001-0001.jpeg",)


def test_an_empty_folder_says_what_is_expected(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected folders NORMAL, PNEUMONIA"):
        load_scans("chest_xray", tmp_path)
    with pytest.raises(InputError, match="expected folders glioma, meningioma, notumor, pituitary"):
        load_scans("brain_mri", tmp_path)


def test_a_file_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "NORMAL").mkdir()
    for name, data in (("IM-0001-0001.jpeg", b"nothing"), ("IM-0001-0001.jpeg", encode(draw_chest(0, 0, 90)))):
        (tmp_path / "NORMAL" / name).write_bytes(data)
        with pytest.raises(InputError, match=r"IM-0001-0001\.jpeg cannot be used: "):
            load_scans("chest_xray", tmp_path)


def test_only_scan_models_have_a_layout(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="must be one of chest_xray, brain_mri, got 'scan_gate'"):
        load_scans("scan_gate", tmp_path)
