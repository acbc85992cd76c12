"""Back-up and restore, also from one kind of database into the other."""

from __future__ import annotations

import os
import tarfile
from dataclasses import replace

import pytest
from drawn_dicom import draw, encoded
from quick_reader import QuickReader

from medai_core.cases.access import LOCAL
from medai_core.cases.answers import ReviewInput
from medai_core.cases.backup import backup, restore
from medai_core.cases.worker import Worker
from medai_core.cases.workspace import Workspace
from medai_core.errors import InputError, NotAllowed, Unavailable
from medai_core.settings import Settings


@pytest.fixture
def used(workspace):
    for k in range(3):
        got = workspace.receive(LOCAL, encoded(draw(k, StudyID="urgent")), f"{k}.dcm")
    Worker(workspace, QuickReader).work()
    workspace.review(LOCAL, got.study_id, ReviewInput("viral", {"a": 1}, True, "clear"), 1)
    return workspace


def key_of(workspace: Workspace) -> str:
    return (workspace.store.settings.data_dir / "key").read_text().strip()


def all_of(workspace: Workspace) -> list[object]:
    cases = [workspace.case(LOCAL, row.case_id) for row in workspace.worklist(LOCAL, sort="age").rows]
    contents = [workspace.content(LOCAL, o.object_id) for case in cases for s in case.studies for o in s.objects]
    return [sorted(map(repr, cases)), sorted(contents)]


def test_what_is_restored_is_what_was_saved(used, tmp_path):
    before = all_of(used)
    saved = backup(used, LOCAL, tmp_path / "all.tar")
    assert (saved.cases, saved.files) == (3, 3) and saved.size_bytes == (tmp_path / "all.tar").stat().st_size
    new = Settings(data_dir=tmp_path / "new", key=key_of(used))
    assert restore(new, LOCAL, tmp_path / "all.tar").cases == 3
    again = Workspace(new, now=used.store.now)
    assert all_of(again) == before and again.verify_audit(LOCAL).ok
    assert "restored" in {event.action for event in again.events(LOCAL).events}
    with pytest.raises(InputError, match="must be empty"):
        restore(new, LOCAL, tmp_path / "all.tar")
    again.close()


def test_without_the_key_a_backup_is_worth_nothing_and_nothing_is_made(used, tmp_path):
    backup(used, LOCAL, tmp_path / "all.tar")
    with pytest.raises(InputError, match="The key of this workspace is missing"):
        restore(Settings(data_dir=tmp_path / "new"), LOCAL, tmp_path / "all.tar")
    other = Settings(data_dir=tmp_path / "new", key="A" * 43 + "=")
    with pytest.raises(InputError, match="made with another key"):
        restore(other, LOCAL, tmp_path / "all.tar")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("member", ["tables/studies.jsonl", "vault/", "manifest"])
def test_a_changed_backup_is_found(used, tmp_path, member):
    path = tmp_path / "all.tar"
    backup(used, LOCAL, path)
    with tarfile.open(path) as archive:
        place = next(one for one in archive if one.name.startswith(member)).offset_data + 30
    with open(path, "r+b") as file:
        file.seek(place)
        byte = file.read(1)
        file.seek(place)
        file.write(bytes([byte[0] ^ 1]))
    with pytest.raises(Exception, match="damaged|changed"):
        restore(Settings(data_dir=tmp_path / "new", key=key_of(used)), LOCAL, path)


def test_a_disk_that_fills_up_leaves_no_half_backup(used, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(Unavailable, match="could not be written"):
        backup(used, LOCAL, tmp_path / "all.tar")
    monkeypatch.undo()
    assert not [path for path in tmp_path.iterdir() if path.is_file()]
    (tmp_path / "all.tar").touch()
    with pytest.raises(InputError, match="exists already"):
        backup(used, LOCAL, tmp_path / "all.tar")


def test_only_an_administrator_may(used, tmp_path):
    with pytest.raises(NotAllowed):
        backup(used, replace(LOCAL, roles=frozenset()), tmp_path / "all.tar")
    assert not (tmp_path / "all.tar").exists()
