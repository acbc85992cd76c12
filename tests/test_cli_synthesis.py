"""The command ``synthesize``, with a generator that draws at once: no network is loaded here."""

from __future__ import annotations

import errno
import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from medai_core import cli, cli_synthesis, marks, registry
from medai_core.errors import ArtifactError, say
from medai_core.imaging import dataset, features
from medai_core.imaging.gate import marks_of
from medai_core.imaging.read import read_scan
from medai_core.synthesis import evaluate as synthesis_evaluate
from medai_core.synthesis import generator
from medai_core.synthesis.generator import Generated, SyntheticImage

LABELS = ("normal", "bacterial", "viral")
GENERATOR = "chest_xray_gan"
ASK = ("synthesize", "chest_xray", "--label", "viral", "--seed", "1")


class FakeGenerator:
    """Draws waves; withholds the second image of every seed."""

    labels = LABELS
    scan_model = "chest_xray"

    def generate(self, label, count, seed, *, truncation=1.0, progress=None):
        y, x = np.mgrid[:128, :128]
        images = []
        for index in [0, *range(2, count + 1)][:count]:
            rate = 8 + np.random.default_rng([seed, index]).uniform(0, 5)
            pixels = (120 + 60 * truncation * np.sin(x / rate) * np.cos(y / 14)).astype(np.uint8)
            about = ("chest_xray_gan", "1.0", label, seed, index, truncation, (), pixels)
            images.append(SyntheticImage(*about, 0.5, 40.0))
            progress(len(images), count)
        return Generated(tuple(images), 1)


@pytest.fixture(autouse=True)
def fake(monkeypatch) -> None:
    monkeypatch.setattr(generator, "load_generator", lambda model: FakeGenerator())
    monkeypatch.setattr(cli, "start_networks", lambda: None)


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(capsys, *arguments: str) -> tuple[int, list[dict], str]:
    """Exit status, JSON lines and stderr of a command; argparse leaves by an exception."""
    try:
        status = cli.main([*arguments, "--json"])
    except SystemExit as left:
        status = left.code
    captured = capsys.readouterr()
    return status, [json.loads(line) for line in captured.out.splitlines()], captured.err


def test_a_folder_of_marked_images(here, capsys):
    status, rows, said = run(capsys, *ASK, "--count", "3", "--out", "new/viral")
    names = [f"new/viral/chest_xray_gan_viral_seed1_{index:04d}.png" for index in (0, 2, 3)]
    assert (status, [row["file"] for row in rows]) == (0, names)
    assert {(row["label"], row["seed"]) for row in rows} == {("viral", 1)} and [row["index"] for row in rows] == [
        0,
        2,
        3,
    ]
    assert "1 image was withheld" in said
    assert sorted(map(str, Path("new").rglob("*"))) == ["new/viral", *names]  # and nothing temporary is left
    for name in names:
        found = marks_of(read_scan(Path(name).read_bytes()))
        assert (found.visible, found.metadata, found.watermark) == (True, True, True)


@pytest.mark.parametrize("kind", ["png", "dicom"])
def test_clean_leaves_out_the_visible_mark_alone(here, capsys, kind):
    _, (row,), _ = run(capsys, *ASK, "--count", "1", "--out", "new", "--clean", "--format", kind)
    found = marks_of(read_scan(Path(row["file"]).read_bytes()))
    assert (found.visible, found.metadata, found.watermark) == (False, True, True)


def test_the_same_seed_gives_the_same_files(here, capsys):
    for out, count in (("a", "2"), ("b", "4")):
        run(capsys, *ASK, "--count", count, "--out", out)
    made = {path.name: path.read_bytes() for path in Path("b").iterdir()}
    assert all(made[path.name] == path.read_bytes() for path in Path("a").iterdir()) and len(made) == 4
    run(capsys, *ASK, "--count", "1", "--out", "c", "--truncation", "0.5")
    assert next(Path("c").iterdir()).read_bytes() != made["chest_xray_gan_viral_seed1_0000.png"]


def test_lines_for_people(here, capsys):
    assert cli.main([*ASK, "--count", "1", "--out", "new"]) == 0
    name = "new/chest_xray_gan_viral_seed1_0000.png"
    assert capsys.readouterr().out == f"{name}: viral, seed 1, image 0\n"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"chest_xray": "foot"}, "must be one of chest_xray, brain_mri, got 'foot'"),
        ({"viral": "flu"}, "`--label` must be one of normal, bacterial, viral, got 'flu'"),
        ({"--count": "0"}, "must be a whole number from 1 to 1000, got '0'"),
        ({"--count": "10000"}, "must be a whole number from 1 to 1000, got '10000'"),
        ({"--count": "three"}, "must be a whole number from 1 to 1000, got 'three'"),
        ({"--seed": "one"}, "must be a whole number from 0 to 4294967295, got 'one'"),
        ({"--seed": "4294967296"}, "must be a whole number from 0 to 4294967295, got '4294967296'"),
        ({"--truncation": "nan"}, "must be a number from 0.1 to 1.5, got 'nan'"),
        ({"--truncation": "2"}, "must be a number from 0.1 to 1.5, got '2'"),
    ],
)
def test_wrong_usage_is_one_sentence_and_nothing_is_written(here, capsys, change, said):
    settings = {"--seed": "1", "--count": "2", "--truncation": "1", "--out": "new"}
    ask = [change.get(word, word) for word in ("synthesize", "chest_xray", "--label", "viral")]
    settings |= {name: value for name, value in change.items() if name in settings}
    status, rows, told = run(capsys, *ask, *(word for pair in settings.items() for word in pair))
    assert (status, rows) == (2, []) and said in told and "Traceback" not in told
    assert list(here.iterdir()) == []


def test_what_is_there_is_not_changed(here, capsys):
    folder = here / "mine"
    folder.mkdir()
    (folder / "thesis.txt").write_text("years of work")
    status, rows, said = run(capsys, *ASK, "--count", "2", "--out", "mine")
    assert (status, rows) == (1, []) and "mine holds files, and none of them is changed" in said
    status, rows, said = run(capsys, *ASK, "--count", "2", "--out", "mine/thesis.txt")
    assert (status, rows) == (1, []) and "is a file, and it is not changed" in said
    assert [path.name for path in here.rglob("*")] == ["mine", "thesis.txt"]
    assert (folder / "thesis.txt").read_text() == "years of work"


def test_an_empty_folder_is_filled(here, capsys):
    (here / "empty").mkdir()
    status, rows, _ = run(capsys, *ASK, "--count", "2", "--out", "empty")
    assert status == 0 and len(list((here / "empty").iterdir())) == len(rows) == 2


def test_files_that_came_meanwhile_are_not_overwritten(here, capsys, monkeypatch):
    def slow(pixels):
        (here / "new").mkdir(exist_ok=True)
        (here / "new/other.txt").write_text("of another program")
        return pixels

    monkeypatch.setattr(marks, "visible", slow)
    status, rows, said = run(capsys, *ASK, "--count", "2", "--out", "new")
    assert (status, rows) == (1, []) and "cannot be written" in said
    assert [path.name for path in here.rglob("*")] == ["new", "other.txt"]


@pytest.mark.parametrize("when", ["before", "while writing"])
def test_a_full_disk_is_one_sentence(here, capsys, monkeypatch, when):
    if when == "before":
        monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
    else:

        def full(path, data):
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(Path, "write_bytes", full)
    status, rows, said = run(capsys, *ASK, "--count", "2", "--out", "new")
    assert (status, rows) == (1, []) and "not enough space on the disk for 2 images in new" in said
    assert list(here.iterdir()) == []


def test_a_folder_that_may_not_be_written_is_one_sentence(here, capsys):
    (here / "file").write_text("no folder")
    status, _, said = run(capsys, *ASK, "--count", "2", "--out", "file/below")
    assert status == 1 and "The folder file/below cannot be written" in said and "Traceback" not in said


def test_a_generator_that_is_not_installed_is_one_sentence(here, capsys, monkeypatch):
    def missing(model):
        raise ArtifactError("The model {model} is not installed: its folder is missing from the assets", model=model)

    monkeypatch.setattr(generator, "load_generator", missing)
    status, _, said = run(capsys, *ASK, "--count", "2", "--out", "new")
    assert status == 1 and "chest_xray_gan is not installed" in said and list(here.iterdir()) == []


def test_a_generator_is_measured_through_the_scan_model(here, capsys, monkeypatch):
    scans = SimpleNamespace(images="images", labels="labels", groups="groups")
    asked = []

    def measure(generator, images, labels, groups, answers, progress):
        asked.append((images, labels, groups, answers))
        progress({"part": "figures", "epoch": 1, "of": 1, "doing": "Fréchet distance"})
        return [{"metric": "KID", "value": 0.5, "low": 0.4, "high": 0.6, "n": 3, "split": "synthetic"}]

    monkeypatch.setattr(dataset, "load_scans", lambda model, folder: asked.append((model, folder)) or scans)
    monkeypatch.setattr(features, "scan_answers", lambda model: f"answers of {model}")
    monkeypatch.setattr(synthesis_evaluate, "evaluate", measure)
    monkeypatch.setitem(registry.MODELS, GENERATOR, registry.Entry(GENERATOR, "generator", "synthesis", say("A")))
    status, rows, _ = run(capsys, "evaluate", GENERATOR, "data")
    assert (status, rows) == (0, [{"metric": "KID", "value": 0.5, "low": 0.4, "high": 0.6, "n": 3}])
    assert asked == [("chest_xray", Path("data")), ("images", "labels", "groups", "answers of chest_xray")]


def test_the_number_withheld_is_said():
    assert [cli_synthesis._withheld(n).split(":")[0].split(" as")[0] for n in (0, 1, 3)] == [
        "No image was withheld",
        "1 image was withheld",
        "3 images were withheld",
    ]
