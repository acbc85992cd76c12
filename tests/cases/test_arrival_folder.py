"""The watched folder: what has stopped growing is received and moved, once, whatever happens in between."""

from __future__ import annotations

import io
import os
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from drawn_dicom import draw, encoded, workspace_at

from medai_core.cases import watch
from medai_core.cases.access import LOCAL
from medai_core.cases.watch import Watcher
from medai_core.cases.workspace import Workspace
from medai_core.errors import Unavailable
from medai_core.settings import settings


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Folder:
    """A watched folder, its workspace, and a watcher that is swept by hand."""

    def __init__(self, workspace: Workspace, path: Path) -> None:
        self.workspace, self.path, self.clock = workspace, path, Clock()
        self.restart()

    def restart(self) -> None:
        self.watcher = Watcher(self.workspace, self.path, clock=self.clock)

    def pass_by(self, seconds: float = watch.SETTLE_SECONDS) -> None:
        self.watcher.sweep()
        self.clock.now += seconds
        self.watcher.sweep()

    def wait_for_refusal(self) -> None:
        self.pass_by()
        self.pass_by(watch.PATIENCE_SECONDS)

    def put(self, name: str, data: bytes) -> Path:
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return path

    def lying(self) -> set[str]:
        return {str(path.relative_to(self.path)) for path in self.path.rglob("*") if not path.is_dir()}

    @property
    def total(self) -> int:
        return self.workspace.worklist(LOCAL).total


@pytest.fixture
def folder(tmp_path: Path, migrated_sqlite: Path) -> Iterator[Folder]:
    path = tmp_path / "inbox"
    path.mkdir()
    workspace = workspace_at(tmp_path, migrated_sqlite)
    yield Folder(workspace, path)
    workspace.close()


def fail_to_move(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    """Let moves out of the folder fail; the workspace's own go on."""
    replace_file = os.replace

    def failing(source, target):
        if watch.TAKEN in Path(target).parts:
            raise error
        replace_file(source, target)

    monkeypatch.setattr(os, "replace", failing)


def test_a_file_is_taken_with_a_sentence_beside_it(folder):
    folder.put("a.dcm", encoded(draw(1)))
    folder.pass_by()
    (row,) = folder.workspace.worklist(LOCAL).rows
    assert folder.lying() == {"taken/a.dcm", "taken/a.dcm.txt"}
    assert f"Taken as case {row.case_id}." in (folder.path / "taken/a.dcm.txt").read_text("utf-8")
    assert [e.details["source"] for e in folder.workspace.events(LOCAL, action="received").events] == ["folder"]


def test_a_file_that_grows_is_left_alone_until_it_stops(folder):
    data = encoded(draw(1))
    path = folder.put("a.dcm", data[:100])
    for end in (500, 5000, len(data)):
        folder.pass_by(watch.SETTLE_SECONDS * 0.9)
        with path.open("ab") as file:
            file.write(data[path.stat().st_size : end])
        folder.watcher.sweep()
        assert folder.total == 0
    folder.pass_by()
    assert (folder.total, folder.lying()) == (1, {"taken/a.dcm", "taken/a.dcm.txt"})


def test_a_copy_that_stalls_is_not_refused_in_the_middle(folder):
    data = encoded(draw(1))
    path = folder.put("a.dcm", data[:9000])
    folder.pass_by()
    folder.pass_by(watch.PATIENCE_SECONDS / 2)
    assert folder.lying() == {"a.dcm"}
    with path.open("ab") as file:
        file.write(data[9000:])
    folder.pass_by()
    assert (folder.total, folder.lying()) == (1, {"taken/a.dcm", "taken/a.dcm.txt"})


def test_what_cannot_be_read_is_refused_with_its_reason_and_the_others_go_on(folder):
    folder.put("a.dcm", b"\x00" * 128 + b"DICM" + b"\xff" * 50)
    folder.put("b.dcm", encoded(draw(1)))
    folder.put("c.pdf", b"%PDF-1.7 nothing to see")
    folder.pass_by()
    assert folder.lying() == {"a.dcm", "c.pdf", "taken/b.dcm", "taken/b.dcm.txt"}
    folder.pass_by(watch.PATIENCE_SECONDS)
    assert folder.lying() == {
        *("refused/a.dcm", "refused/a.dcm.txt", "refused/c.pdf", "refused/c.pdf.txt"),
        *("taken/b.dcm", "taken/b.dcm.txt"),
    }
    assert "holds no image" in (folder.path / "refused/a.dcm.txt").read_text("utf-8")


def test_sub_folders_keep_their_names(folder):
    folder.put("study 1/series/IM0001", encoded(draw(1)))
    folder.pass_by()
    assert folder.lying() == {"taken/study 1/series/IM0001", "taken/study 1/series/IM0001.txt"}


def test_the_files_of_an_archive_are_received_each(folder):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("../../escaped.dcm", encoded(draw(1)))
        archive.writestr("b.dcm", encoded(draw(2)))
        archive.writestr("c.txt", "no stay")
    folder.put("study.zip", packed.getvalue())
    folder.pass_by()
    text = (folder.path / "taken/study.zip.txt").read_text("utf-8")
    assert folder.total == 2
    assert "2 files of the archive taken, 0 known already, 1 refused." in text
    assert not list(folder.path.parent.rglob("escaped*"))


def test_the_same_file_again_is_known_and_overwrites_nothing(folder):
    data = encoded(draw(1))
    for _ in range(2):
        folder.put("a.dcm", data)
        folder.pass_by()
    assert folder.total == 1
    assert folder.lying() == {"taken/a.dcm", "taken/a.dcm.txt", "taken/a (2).dcm", "taken/a (2).dcm.txt"}
    assert "Known already" in (folder.path / "taken/a (2).dcm.txt").read_text("utf-8")


def test_a_sentence_never_overwrites_a_file_of_its_name(folder):
    stay = "Time,Parameter,Value\n00:00,RecordID,1\n00:00,Age,60\n00:07,HR,80\n"
    folder.put("a.txt", stay.encode())
    folder.wait_for_refusal()
    folder.put("a", encoded(draw(1)))
    folder.pass_by()
    kept = [path.read_bytes() for path in folder.path.rglob("*") if path.is_file()]
    assert stay.encode() in kept
    assert encoded(draw(1))[:132] in [data[:132] for data in kept]


# ------------------------------------------------------------------------------------------------- restarts


def test_a_stop_between_receiving_and_moving_neither_loses_nor_doubles(folder, monkeypatch):
    folder.put("a.dcm", encoded(draw(1)))
    fail_to_move(monkeypatch, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        folder.pass_by()
    monkeypatch.undo()
    assert folder.total == 1
    assert "a.dcm" in folder.lying()
    folder.restart()
    folder.pass_by()
    assert folder.total == 1
    assert "a.dcm" not in folder.lying()


def test_files_that_came_while_nobody_watched_are_taken(folder):
    for seed in range(3):
        folder.put(f"{seed}.dcm", encoded(draw(seed)))
    folder.restart()
    folder.pass_by()
    assert folder.total == 3


# ---------------------------------------------------------------------------------------------- what goes wrong


@pytest.mark.parametrize("error", [Unavailable("The database is away."), OSError(28, "No space"), RuntimeError("x")])
def test_while_the_database_is_gone_the_file_waits_and_then_is_taken(folder, monkeypatch, error):
    folder.put("a.dcm", encoded(draw(1)))
    tries, receive = [], folder.workspace.receive

    def gone(*args, **values):
        tries.append(folder.clock.now)
        raise error

    monkeypatch.setattr(folder.workspace, "receive", gone)
    folder.pass_by()
    for _ in range(20):
        folder.clock.now += 1
        folder.watcher.sweep()
    assert folder.lying() == {"a.dcm"}
    assert len(tries) == 3  # at once, after 5 s, and 10 s later
    monkeypatch.setattr(folder.workspace, "receive", receive)
    folder.clock.now += watch.RETRY_SECONDS[1]
    folder.watcher.sweep()
    assert (folder.total, "a.dcm" in folder.lying()) == (1, False)


def test_a_file_that_cannot_be_moved_is_received_once(folder, monkeypatch):
    folder.put("a.dcm", encoded(draw(1)))
    calls, receive_all = [], folder.workspace.receive_all

    def counted(*args, **values):
        calls.append(args)
        return receive_all(*args, **values)

    monkeypatch.setattr(folder.workspace, "receive_all", counted)
    fail_to_move(monkeypatch, PermissionError(13, "Permission denied"))
    for _ in range(5):
        folder.pass_by()
    assert (folder.total, len(calls)) == (1, 1)


def test_a_file_beyond_the_limit_is_refused_unread(folder, monkeypatch):
    monkeypatch.setattr(watch, "settings", lambda: replace(settings(), max_file_mb=1))
    folder.put("big.dcm", bytes(1_100_000))
    folder.wait_for_refusal()
    assert "1 MB" in (folder.path / "refused/big.dcm.txt").read_text("utf-8")


def test_links_pipes_hidden_and_unfinished_files_are_passed_over(folder, tmp_path):
    secret = tmp_path / "secret.dcm"
    secret.write_bytes(encoded(draw(1)))
    (folder.path / "link.dcm").symlink_to(secret)
    (folder.path / "linked").symlink_to(tmp_path, target_is_directory=True)
    os.mkfifo(folder.path / "pipe")
    for name in (".hidden.dcm", "copying.dcm.part", "b.TMP", "~lock", "c.dcm~"):
        folder.put(name, encoded(draw(2)))
    before = folder.lying()
    folder.pass_by()
    assert (folder.total, folder.lying()) == (0, before)


def test_a_link_put_in_place_of_a_file_is_not_followed(folder, tmp_path):
    path = folder.put("a.dcm", encoded(draw(1)))
    folder.watcher.sweep()
    size = folder.watcher._waiting[path].size
    path.unlink()
    path.symlink_to(tmp_path / "secret.dcm")
    (tmp_path / "secret.dcm").write_bytes(encoded(draw(2)))
    with pytest.raises(OSError, match="symbolic links"):
        watch._content(path, size)


def test_names_with_markup_and_control_characters_are_only_names(folder):
    name = "<img src=x onerror=alert(1)>\n=1+1.dcm"
    folder.put(name, encoded(draw(1)))
    folder.pass_by()
    assert folder.total == 1
    assert f"taken/{name}" in folder.lying()


def test_no_name_of_a_file_is_logged(folder, monkeypatch, caplog):
    caplog.set_level("DEBUG")
    fail_to_move(monkeypatch, PermissionError(13, "Permission denied", "Drawn_Person.dcm"))
    folder.put("Drawn_Person.dcm", encoded(draw(1)))
    folder.pass_by()
    assert "cannot be moved" in caplog.text
    assert "Person" not in caplog.text


def test_a_missing_folder_is_waited_for(folder, caplog):
    folder.path.rmdir()
    folder.pass_by()
    folder.pass_by()
    assert caplog.text.count("not there") == 1
    folder.path.mkdir()
    folder.put("a.dcm", encoded(draw(1)))
    folder.pass_by()
    assert folder.total == 1


# ------------------------------------------------------------------------------------------------ in its thread


def eventually(true: Callable[[], bool], seconds: float = 15) -> bool:
    for _ in range(int(seconds * 20)):
        if true():
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize("told", [True, False], ids=["told by the system", "looking by itself"])
def test_the_thread_takes_what_comes_and_ends_when_stopped(folder, monkeypatch, told):
    if not told:
        monkeypatch.setattr(Watcher, "_observe", lambda self: None)
        monkeypatch.setattr(watch, "POLL_SECONDS", 0.1)
    watcher = Watcher(folder.workspace, folder.path, settle_seconds=0.2)
    watcher.start()
    try:
        folder.put("a.dcm", encoded(draw(1)))
        assert eventually(lambda: folder.lying() == {"taken/a.dcm", "taken/a.dcm.txt"})
        partial = folder.put("b.dcm.part", encoded(draw(2)))
        partial.rename(folder.path / "b.dcm")
        assert eventually(lambda: "taken/b.dcm" in folder.lying())
    finally:
        watcher.stop()
    folder.put("c.dcm", encoded(draw(3)))
    time.sleep(0.5)
    assert folder.total == 2
