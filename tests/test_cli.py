"""The command line, with a reader that answers at once: no network is loaded here."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import subprocess
import sys
import zipfile
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import MagicMock

import pytest

from medai_core import cli, cli_train, registry, runtime
from medai_core.errors import ArtifactError, InputError, say
from medai_core.imaging import evaluate, reader
from medai_core.imaging.files import members
from medai_core.imaging.reading import Reading
from medai_core.settings import settings

SCAN_KEYS = ["file", "status", "reason", "model", "probabilities", "label", "prediction_set", "refer", "cautions"]
ROOT = Path(__file__).resolve().parents[1]
READ = Reading(
    "read", "ok", None, "0" * 64, model="chest_xray", label="viral", prediction_set=("bacterial", "viral"), refer=True,
    probabilities={"normal": 1 / 3, "bacterial": 1 / 3, "viral": 1 / 3},
)  # fmt: skip


class FakeReader:
    """Reads b"ok", refuses b"no", cannot read anything else; takes files in threes, as the real one in chunks."""

    def __init__(self) -> None:
        self.taken: list[str] = []
        self.asked: list[tuple[object, ...]] = []

    def read(self, data: bytes, *, model="auto", frame=None, plane=None, demonstration: bool = False) -> Reading:
        self.asked.append((model, frame, plane))
        if data.startswith(b"marked"):
            said = say("This image is marked as synthetic."), say("Demonstration: no patient.")
            if demonstration:
                return dataclasses.replace(READ, cautions=said[1:])
            return Reading("refused", "synthetic", said[0], "0" * 64)
        if data.startswith(b"ok"):
            return READ
        if data.startswith(b"no"):
            return Reading("refused", "blank", say("The image is blank."), "0" * 64)
        raise InputError("This is no scan.")

    def read_many(self, items, *, model: str = "auto", demonstration: bool = False):
        source = iter(items)
        while chunk := list(islice(source, 3)):
            self.taken += [name for name, _ in chunk]
            for name, data in chunk:
                try:
                    yield name, self.read(data, model=model, demonstration=demonstration)
                except InputError as error:
                    yield name, error


@pytest.fixture(autouse=True)
def fake(monkeypatch) -> FakeReader:
    made = FakeReader()
    monkeypatch.setattr(reader, "load_reader", lambda: made)
    monkeypatch.setattr(cli, "start_networks", lambda: None)
    monkeypatch.setattr(runtime, "device_name", lambda: "CPU (2 cores)")
    return made


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(path: Path, content: bytes | dict[str, bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, bytes):
        path.write_bytes(content)
        return
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in content.items():
            archive.writestr(name, data)


def run(capsys, *arguments: str) -> tuple[int, list[dict], str]:
    """Exit status, JSON lines and stderr of a command."""
    status = cli.main([*arguments, "--json"])
    captured = capsys.readouterr()
    return status, [json.loads(line) for line in captured.out.splitlines()], captured.err


# ---------------------------------------------------------------------------------------------------- scan


def test_scan_keeps_order_and_goes_on_after_bad_files(here, capsys):
    for name in ("b/2.dcm", "b/a/1.png", "b/10.png"):
        write(here / name, b"ok")
    write(here / "b/3.txt", b"junk")
    write(here / "c.zip", {"x/1.png": b"ok", "2.png": b"no", "3.zip": b"PK\x05\x06" + bytes(18)})
    status, rows, _ = run(capsys, "scan", "c.zip", "gone.png", "b", "also gone")
    assert [(row["file"], row["status"]) for row in rows] == [
        ("c.zip!/x/1.png", "read"),
        ("c.zip!/2.png", "refused"),
        ("c.zip!/3.zip", "error"),
        ("gone.png", "error"),
        ("b/10.png", "read"),
        ("b/2.dcm", "read"),
        ("b/3.txt", "error"),
        ("b/a/1.png", "read"),
        ("also gone", "error"),
    ]
    assert all(list(row) == SCAN_KEYS for row in rows)
    assert status == 1


def test_a_refusal_is_handled(here, capsys):
    write(here / "a.png", b"no")
    status, (row,), _ = run(capsys, "scan", "a.png")
    assert (status, row["status"], row["reason"], row["model"]) == (0, "refused", "The image is blank.", None)
    assert (row["probabilities"], row["label"], row["prediction_set"], row["refer"]) == ({}, None, [], False)


def test_a_reading_is_rounded_and_still_adds_up(here, capsys):
    write(here / "a.png", b"ok")
    _, (row,), _ = run(capsys, "scan", "a.png")
    assert sum(row["probabilities"].values()) == pytest.approx(1, abs=1e-12)
    assert set(row["probabilities"].values()) <= {0.333333, 0.333334}
    assert (row["label"], row["prediction_set"], row["refer"]) == ("viral", ["bacterial", "viral"], True)


@pytest.mark.parametrize("way", [[], ["--frame", "0"]])
def test_a_marked_image_is_read_as_a_demonstration_alone(here, capsys, way):
    write(here / "a.png", b"marked")
    status, (row,), _ = run(capsys, "scan", "a.png", *way)
    assert (status, row["status"], row["cautions"]) == (0, "refused", []) and "synthetic" in row["reason"]
    _, (row,), _ = run(capsys, "scan", "a.png", "--demonstration", *way)
    assert (row["status"], row["cautions"]) == ("read", ["Demonstration: no patient."])


def test_cautions_are_told(here, capsys, monkeypatch):
    caution = say("The file says the patient is an adult.")
    monkeypatch.setattr(FakeReader, "read", lambda self, data, **_: dataclasses.replace(READ, cautions=(caution,)))
    write(here / "a.png", b"ok")
    _, (row,), _ = run(capsys, "scan", "a.png")
    assert row["cautions"] == ["The file says the patient is an adult."]
    assert cli.main(["scan", "a.png"]) == 0
    assert capsys.readouterr().out.endswith("; The file says the patient is an adult.\n")


def test_what_is_no_file_of_a_folder_is_passed_over(here, capsys):
    write(here / "d/a.png", b"ok")
    write(here / "d/.DS_Store", b"junk")
    write(here / "d/.git/x.png", b"ok")
    (here / "d/loop").symlink_to(here / "d")
    (here / "d/link.png").symlink_to(here / "d/a.png")
    os.mkfifo(here / "d/pipe")
    status, rows, _ = run(capsys, "scan", "d")
    assert (status, [row["file"] for row in rows]) == (0, ["d/a.png", "d/link.png"])
    status, rows, _ = run(capsys, "scan", "d/.git/x.png", "d/pipe")
    assert [(row["file"], row["status"]) for row in rows] == [("d/.git/x.png", "read"), ("d/pipe", "error")]


def test_an_empty_folder_is_said_to_be_empty(here, capsys, caplog):
    (here / "empty").mkdir()
    assert run(capsys, "scan", "empty")[:2] == (0, [])
    assert "There are no files in empty" in caplog.text


def test_networks_are_not_loaded_for_nothing(capsys, monkeypatch):
    monkeypatch.setattr(reader, "load_reader", lambda: pytest.fail("loaded"))
    status, rows, _ = run(capsys, "scan", "/gone")
    assert (status, rows[0]["status"], rows[0]["reason"]) == (1, "error", "There is no such file or folder.")


def test_files_are_opened_as_they_are_needed_and_lines_flushed_as_they_come(here, fake, monkeypatch):
    for k in range(30):
        write(here / f"d/{k:02d}.png", b"ok")
    seen: list[int] = []

    class Out(io.StringIO):
        def flush(self) -> None:
            seen.append(len(fake.taken))

    monkeypatch.setattr(sys, "stdout", Out())
    assert cli.main(["scan", "d", "--json"]) == 0
    assert min(seen) == 3 and max(seen) == 30


def test_the_model_is_passed_on(here, fake, capsys):
    write(here / "a.png", b"ok")
    run(capsys, "scan", "a.png", "--model", "brain_mri")
    assert fake.asked == [("brain_mri", None, None)]


def test_frame_and_plane_are_passed_on(here, fake, capsys):
    write(here / "a.nii", b"ok")
    write(here / "b.nii", b"junk")
    status, rows, _ = run(capsys, "scan", "a.nii", "b.nii", "--frame", "7", "--plane", "coronal")
    assert fake.asked == [("auto", 7, "coronal")] * 2
    assert (status, [row["status"] for row in rows]) == (1, ["read", "error"])


def test_a_missing_model_is_one_sentence(here, capsys, monkeypatch):
    def absent():
        raise ArtifactError("The model {model} is not installed", model="scan_gate")

    write(here / "a.png", b"ok")
    monkeypatch.setattr(reader, "load_reader", absent)
    assert run(capsys, "scan", "a.png") == (1, [], "error: The model scan_gate is not installed\n")


def test_scan_without_json_is_readable(here, capsys):
    for name, content in (("a.png", b"ok"), ("b.png", b"no"), ("c.png", b"junk")):
        write(here / name, content)
    assert cli.main(["scan", "a.png", "b.png", "c.png"]) == 1
    assert capsys.readouterr().out.splitlines() == [
        "a.png: chest_xray: viral (normal 0.333, bacterial 0.333, viral 0.333); refer to a reader (bacterial or viral)",
        "b.png: refused: The image is blank.",
        "c.png: error: This is no scan.",
    ]


def test_prints_of_libraries_stay_out_of_the_results(here, capsys, fake, monkeypatch):
    write(here / "a.png", b"ok")
    monkeypatch.setattr(reader, "load_reader", lambda: print("Welcome!") or fake)
    status, rows, err = run(capsys, "scan", "a.png")
    assert (status, len(rows)) == (0, 1)
    assert "Welcome!" in err


def test_a_file_beyond_the_limit_is_not_read_whole(here, monkeypatch, fresh_settings):
    monkeypatch.setenv("MEDAI_MAX_FILE_MB", "1")
    settings.cache_clear()
    write(here / "big.bin", bytes(3_000_000))
    (member,) = members(["big.bin"])
    assert 1_000_000 < len(member.data) < 1_000_010


def test_an_archive_may_be_larger_than_a_file(here, monkeypatch, fresh_settings):
    monkeypatch.setenv("MEDAI_MAX_FILE_MB", "1")
    settings.cache_clear()
    write(here / "a.zip", {f"{k}.bin": os.urandom(600_000) for k in range(3)})
    assert [(m.name, len(m.data), m.error) for m in members(["a.zip"])] == [
        (f"a.zip!/{k}.bin", 600_000, None) for k in range(3)
    ]


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_odd_file_names_survive(here, options):
    name = b"\xff\xe5.png"
    command = [sys.executable, "-m", "medai_core", "scan", name, *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True)
    assert (done.returncode, done.stderr) == (1, b"")
    if options:
        assert os.fsencode(json.loads(done.stdout)["file"]) == name
    else:
        assert done.stdout.startswith(b"\\udcff\\udce5.png: error: ")


# ----------------------------------------------------------------------------------- models, evaluate, bench


def test_models(capsys, monkeypatch):
    def bundle(model_id: str) -> SimpleNamespace:
        if model_id == "brain_mri":
            raise ArtifactError("The bundle {bundle} is not the pinned one", bundle=model_id)
        return SimpleNamespace(version="1.2", size_mb=8.1234567)

    monkeypatch.setattr(registry, "bundle", bundle)
    status, rows, err = run(capsys, "models")
    assert [row["id"] for row in rows] == list(registry.MODELS)
    assert rows[0] == {
        "id": "chest_xray", "task": "classification", "version": "1.2", "digest_ok": True,
        "device": "CPU (2 cores)", "size_mb": 8.123457,
    }  # fmt: skip
    assert list(rows[1]) == list(rows[0]) and not rows[1]["digest_ok"]
    assert (status, "brain_mri is not the pinned one" in err) == (1, True)
    assert cli.main(["models"]) == 1
    assert "not usable" in capsys.readouterr().out.splitlines()[1]


def test_evaluate(capsys, monkeypatch):
    figure = {"metric": "AUC", "value": 0.98765432, "low": float("nan"), "high": 1.0, "n": 16, "split": "val"}
    monkeypatch.setattr(evaluate, "evaluate", lambda model, data: [figure | {"metric": f"{model} {data}"}])
    assert run(capsys, "evaluate", "chest_xray", "val")[:2] == (
        0, [{"metric": "chest_xray val", "value": 0.987654, "low": None, "high": 1.0, "n": 16}],
    )  # fmt: skip
    assert cli.main(["evaluate", "chest_xray", "val"]) == 0
    assert "0.9877" in capsys.readouterr().out


def test_evaluate_on_nothing_is_one_sentence(here, capsys):
    status, rows, err = run(capsys, "evaluate", "brain_mri", str(here))
    assert (status, rows, err.startswith("error: No labelled image was found below")) == (1, [], True)


def test_bench_lines(capsys, monkeypatch):
    row = {"what": "a", "median_ms": 1.0, "p95_ms": 2.0, "n": 3, "device": "CPU"}
    monkeypatch.setattr("medai_core.bench.bench", lambda note: iter([row]))
    assert run(capsys, "bench")[:2] == (0, [row])


# --------------------------------------------------------------------------------------------------- train


@pytest.fixture
def trained(here, monkeypatch) -> SimpleNamespace:
    """A trainer that reports three epochs and writes a folder; a private assets folder and table of digests."""
    made = SimpleNamespace(id="brain_mri", version="2", path=here / "out", size_mb=1.0, digest="ab" * 32)

    def train(data: Path, out: Path, progress) -> SimpleNamespace:
        made.path = out
        write(out / "card.yaml", b"id: brain_mri")
        for part, epoch in (("a", 1), ("a", 2), ("b", 1)):
            progress({"part": part, "epoch": epoch, "of": 2, "loss": 0.1234567})
        return made

    pins = here / "digests.json"
    pins.write_text("{}")
    monkeypatch.setattr(registry, "PINNED", pins)
    monkeypatch.setenv("MEDAI_ASSETS", str(here / "assets"))
    monkeypatch.setattr(cli_train, "trainer", lambda model: train)
    settings.cache_clear()
    registry._pinned.cache_clear()
    yield made
    settings.cache_clear()
    registry._pinned.cache_clear()


def test_training_reports_each_epoch_and_the_digest(trained, capsys):
    status, rows, err = run(capsys, "train", "brain_mri", "--data", ".", "--out", "out")
    assert (status, [(row["part"], row["epoch"], row["loss"]) for row in rows]) == (
        0, [("a", 1, 0.123457), ("a", 2, 0.123457), ("b", 1, 0.123457)],
    )  # fmt: skip
    assert trained.digest in err
    assert registry.MODELS["brain_mri"].digest is None


@pytest.mark.parametrize("out", ["out", "assets/models/brain_mri"])
def test_pinning_ships_the_bundle(trained, here, capsys, out):
    home = here / "assets/models/brain_mri"
    write(home / "old.txt", b"replaced unless training went there")
    assert run(capsys, "train", "brain_mri", "--data", ".", "--out", out, "--pin")[0] == 0
    assert registry.MODELS["brain_mri"].digest == trained.digest
    assert (home / "card.yaml").exists()
    assert (home / "old.txt").exists() == (out != "out")
    assert [path.name for path in home.parent.iterdir()] == ["brain_mri"]


def test_the_samples_are_rebuilt_by_a_command(capsys, monkeypatch):
    row = {"file": "a.png", "label": "viral", "model": "chest_xray", "title": "A radiograph"}
    fake = SimpleNamespace(make_samples=lambda out, sources: [row])
    monkeypatch.setitem(sys.modules, "medai_core.imaging.train_samples", fake)
    assert run(capsys, "train", "samples", "--out", "out")[:2] == (0, [row])
    assert cli.main(["train", "samples", "--out", "out"]) == 0
    assert capsys.readouterr().out == "a.png: A radiograph\n"


def test_the_sample_stays_are_rebuilt_by_a_command(capsys, monkeypatch):
    row = {"file": "a.txt", "label": "icu", "model": "icu_mortality", "title": "A stay"}

    def make_samples(data, out, progress):
        progress({"part": "courses", "epoch": 1, "of": 1, "loss": 20.0})
        return [row]

    monkeypatch.setitem(sys.modules, "medai_core.icu.train_samples", SimpleNamespace(make_samples=make_samples))
    status, rows, _ = run(capsys, "train", "icu_samples", "--data", ".", "--out", "out")
    assert (status, rows[0]["loss"], rows[1:]) == (0, 20.0, [row])
    assert cli.main(["train", "icu_samples", "--data", ".", "--out", "out"]) == 0
    assert capsys.readouterr().out.endswith("a.txt: A stay\n")


@pytest.mark.parametrize("model", registry.MODELS)
def test_every_model_has_a_trainer(model, monkeypatch):
    trainers = {
        "imaging.train_gate": "train_gate",
        "imaging.train_bundle": "train_scan_model",
        "icu.train": "train_icu_mortality",
        "icu.train_forecast": "train_icu_forecast",
        "tabular.train": "train_breast_cancer",
        "tabular.train_treatment": "train_actg175",
    }
    for module, function in trainers.items():
        fake = SimpleNamespace(**{function: lambda *arguments: arguments})
        monkeypatch.setitem(sys.modules, f"medai_core.{module}", fake)
    generators = {"chest_xray_gan": "chest_xray"}
    fake = SimpleNamespace(SCAN_MODELS=generators, train_generator=lambda model, *rest: ("data", *rest[-2:]))
    monkeypatch.setitem(sys.modules, "medai_core.synthesis.train_bundle", fake)
    restorer = SimpleNamespace(train_restorer=lambda *rest: ("data", *rest[-2:]))
    monkeypatch.setitem(sys.modules, "medai_core.synthesis.train_restorer", restorer)
    monkeypatch.setattr("medai_core.imaging.dataset.load_scans", lambda *arguments, **options: MagicMock())
    monkeypatch.setattr("medai_core.imaging.features.scan_answers", lambda model: None)
    assert cli_train.trainer(model)("data", "out", "progress")[-3:] == ("data", "out", "progress")


def test_an_interrupted_training_says_how_to_go_on(monkeypatch, capsys):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli_train, "trainer", lambda model: interrupted)
    assert cli.main(["train", "brain_mri", "--data", ".", "--out", "out"]) == 130
    assert "takes the training up where it stopped" in capsys.readouterr().err


# ------------------------------------------------------------------------------------------ usage and streams


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["read"],
        ["scan"],
        ["scan", "a.png", "--model", "scan_gate"],
        ["scan", "a.png", "--mod", "brain_mri"],
        ["evaluate", "chest_xray"],
        ["evaluate", "scan_gate", "."],
        ["train", "chest_xray", "--data", "."],
        ["train", "cat", "--data", ".", "--out", "."],
    ],
)
def test_wrong_usage(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(arguments)
    assert stop.value.code == 2
    assert capsys.readouterr().err.startswith("usage: python -m medai_core")


def test_a_closed_pipe_is_no_crash():
    names = " ".join(f"gone{k}" for k in range(5000))
    command = f"{sys.executable} -m medai_core scan {names} --json | head -n 1"
    done = subprocess.run(command, shell=True, cwd=ROOT, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["file"] == "gone0"
    assert "Traceback" not in done.stderr


def test_the_start_of_the_networks_is_quiet_unless_it_fails(capfd, monkeypatch):
    monkeypatch.undo()

    def configure(fail: bool) -> None:
        os.write(2, b"I0000 noise of native code\n")
        if fail:
            raise InputError("no GPU here")

    monkeypatch.setattr(runtime, "configure", lambda: configure(False))
    cli.start_networks()
    assert capfd.readouterr().err == ""
    monkeypatch.setattr(runtime, "configure", lambda: configure(True))
    with pytest.raises(InputError):
        cli.start_networks()
    assert "noise" in capfd.readouterr().err
