"""The workspace on the command line."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from drawn_dicom import draw, encoded

from medai_core import cli
from medai_core.cases import dicomweb, send
from medai_core.cases import workspace as module
from medai_core.cases.access import LOCAL
from medai_core.errors import Unavailable
from medai_core.settings import settings


@pytest.fixture
def home(sqlite_settings, tmp_path, monkeypatch, fresh_settings) -> Path:
    """A new workspace as the environment's, and some files to receive."""
    monkeypatch.setenv("MEDAI_DATA_DIR", str(sqlite_settings.data_dir))
    monkeypatch.chdir(tmp_path)
    settings.cache_clear()
    folder = tmp_path / "in"
    folder.mkdir()
    for k in range(2):
        (folder / f"{k}.dcm").write_bytes(encoded(draw(k, PatientName=f"Planted^Name{k}")))
    (folder / "x.txt").write_text("hello")
    yield folder
    module.open_workspace().close()
    module._opened.cache_clear()


def run(capsys, *arguments: str) -> tuple[int, list[dict], str]:
    status = cli.main([*arguments, "--json"])
    captured = capsys.readouterr()
    return status, [json.loads(line) for line in captured.out.splitlines()], captured.err


def test_received_listed_and_forgotten(home, capsys):
    status, rows, _ = run(capsys, "cases", "receive", "in", "gone")
    assert [(row["file"], row["status"]) for row in rows] == [
        ("in/0.dcm", "new"), ("in/1.dcm", "new"), ("in/x.txt", "refused"), ("gone", "error"),
    ]  # fmt: skip
    assert status == 1
    status, listed, _ = run(capsys, "cases", "list")
    assert status == 0 and {row["study"] for row in listed} == {row["study"] for row in rows[:2]}
    assert "Planted" not in json.dumps(listed) and all(row["patient"].startswith("P-") for row in listed)
    status, told, _ = run(capsys, "cases", "forget", rows[0]["case"], "0" * 32)
    assert (status, [row["status"] for row in told]) == (1, ["forgotten", "error"])
    assert len(run(capsys, "cases", "list")[1]) == 1
    assert cli.main(["cases", "list"]) == 0 and "DX" in capsys.readouterr().out
    assert run(capsys, "cases", "list", "--group", "elsewhere")[1] == []


def test_the_pacs_is_asked_and_told(home, capsys, monkeypatch):
    asked = []

    def found(_space, user, query):
        asked.append(query)
        return (dicomweb.RemoteStudy("1.2.3", "P1", "Planted^Name", "", "20240102", ("DX", "CR"), "Planted", 4),)

    def fetched(space, user, uid, group):
        if uid != "1.2.3":
            raise Unavailable("The PACS {host} does not answer.", host="pacs")
        yield space.receive(user, (home / "0.dcm").read_bytes(), "0.dcm", source="dicomweb", group=group)

    monkeypatch.setattr(dicomweb, "find_studies", found)
    monkeypatch.setattr(dicomweb, "fetch_study", fetched)
    status, rows, _ = run(capsys, "cases", "find", "--name", "Doe, J", "--days", "20240101-20240131")
    assert asked == [dicomweb.Query(patient_name="Doe^J*", study_date="20240101-20240131")]
    assert (status, rows) == (0, [
        {"uid": "1.2.3", "date": "20240102", "modality": "DX/CR", "files": 4, "here": False}
    ])  # fmt: skip
    assert cli.main(["cases", "find", "--patient", "P1"]) == 0
    assert capsys.readouterr().out == "1.2.3 20240102 DX/CR  4 files\n"
    status, rows, _ = run(capsys, "cases", "fetch", "1.2.3", "9.9")
    assert (status, [(row["file"], row["status"]) for row in rows]) == (1, [("1.2.3", "new"), ("9.9", "error")])
    study = rows[0]["study"]
    sent = []
    monkeypatch.setattr(send, "send_file", lambda data, to, _settings: sent.append((data[128:132], to)) or "1.2.840.1")
    monkeypatch.setattr(send, "destinations", lambda _settings: ("PACS",))
    status, rows, _ = run(capsys, "cases", "send", study, "0" * 32, "--to", "PACS")
    assert (status, [(row["study"], row["status"]) for row in rows]) == (1, [(study, "sent"), ("0" * 32, "error")])
    assert sent == [(b"DICM", "PACS")]
    status, rows, _ = run(capsys, "cases", "send", study, "--to", "ELSEWHERE")
    assert status == 1 and "must be one of PACS" in rows[0]["reason"]


@pytest.mark.parametrize(
    "wrong", [["receive"], ["forget"], ["fetch"], ["send"], ["list", "x"], ["find", "x"], ["serve", "x"]]
)
def test_wrong_use_is_told(home, capsys, wrong):
    status, rows, said = run(capsys, "cases", *wrong)
    assert (status, rows) == (1, []) and "takes" in said


def test_the_log_is_verified_and_exported(home, capsys, tmp_path):
    run(capsys, "cases", "receive", "in")
    status, (found,), _ = run(capsys, "audit", "verify")
    assert (status, found["ok"], found["problems"]) == (0, True, [])
    assert run(capsys, "audit", "verify", "--head", found["digest"])[0] == 0
    status, (other,), _ = run(capsys, "audit", "verify", "--head", "f" * 64)
    assert status == 1 and not other["ok"]
    assert run(capsys, "audit", "export")[0] == 1
    status, (row,), _ = run(capsys, "audit", "export", "--out", "log.csv")
    with open("log.csv", encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    assert (status, row["count"]) == (0, len(lines)) and {"received", "turned away"} <= {
        line["action"] for line in lines
    }
    assert run(capsys, "audit", "export", "--out", "log.csv")[0] == 1, "it is there already"


def test_saved_and_brought_back(home, capsys, tmp_path, monkeypatch):
    run(capsys, "cases", "receive", "in")
    status, (saved,), _ = run(capsys, "backup", "all.tar")
    assert (status, saved["cases"], saved["files"]) == (0, 2, 2)
    monkeypatch.setenv("MEDAI_KEY", (settings().data_dir / "key").read_text())
    monkeypatch.setenv("MEDAI_DATA_DIR", str(tmp_path / "new"))
    settings.cache_clear()
    assert run(capsys, "restore", "all.tar")[0] == 0
    assert module.open_workspace().worklist(LOCAL).total == 2
    assert run(capsys, "restore", "all.tar")[0] == 1, "it is not empty any more"


def test_serving_reads_what_arrives_until_it_is_stopped(home, capsys, monkeypatch):
    started = []

    class Part:
        def __init__(self, *_: object) -> None: ...

        def start(self) -> None:
            started.append("start")

        def stop(self) -> None:
            started.append("stop")

    def interrupted(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("medai_core.cases.worker.Worker", Part)
    monkeypatch.setattr("medai_core.cli.start_networks", lambda: None)
    monkeypatch.setattr("threading.Event.wait", interrupted)
    status = cli.main(["cases", "serve"])
    assert (status, started) == (cli.INTERRUPTED, ["start", "stop"])
    assert "What has arrived is kept" in capsys.readouterr().err
