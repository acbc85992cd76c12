from __future__ import annotations

import dataclasses
import io
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from medai_core import bench, bench_cases, registry
from medai_core.cases.access import LOCAL
from medai_core.cases.workspace import Workspace
from medai_core.errors import InputError
from medai_core.imaging import reader
from medai_core.settings import Settings
from medai_core.tabular import breast_cancer


def test_a_row_is_what_the_command_line_promises():
    row = bench.summary("a thing", [1.0, 2.0, 3.0, 10.0], "CPU (2 cores)")
    assert row == {"what": "a thing", "median_ms": 2.5, "p95_ms": 8.95, "n": 4, "device": "CPU (2 cores)"}


def test_warm_runs_do_not_count():
    runs = []
    times = bench.timed(lambda: runs.append(1), n=4, warm=2)
    assert (len(runs), len(times)) == (6, 4)
    assert all(time >= 0 for time in times)


def test_the_drawn_radiograph_is_the_same_each_time_and_full_size():
    picture = bench.drawn_radiograph(150, 120)
    assert picture.shape == (120, 150)
    assert np.array_equal(picture, bench.drawn_radiograph(150, 120))
    decoded = Image.open(io.BytesIO(bench.jpeg(picture)))
    assert (decoded.size, decoded.mode, decoded.format) == ((1500, 1200), "L", "JPEG")


def test_a_refusal_does_not_spare_the_network():
    ran = []
    model = SimpleNamespace(predict=lambda images: ran.append(images.shape) or [0], answer=lambda one: {})
    fake = SimpleNamespace(model=lambda name: model)
    bench._finish(fake, SimpleNamespace(status="refused", prepared=np.zeros((128, 128))))
    bench._finish(fake, SimpleNamespace(status="refused", prepared=None))
    bench._finish(fake, SimpleNamespace(status="read", prepared=np.zeros((128, 128))))
    assert ran == [(1, 128, 128, 1)]
    with pytest.raises(InputError):
        bench._finish(fake, InputError("damaged"))


def test_a_shipped_sample_is_preferred_where_the_gate_lets_it_through(tmp_path, monkeypatch):
    (tmp_path / "samples").mkdir()
    (tmp_path / "samples/a.txt").write_text("no image")
    (tmp_path / "samples/b.png").write_bytes(bench.jpeg(bench.drawn_radiograph(150, 120), 150, 120))
    monkeypatch.setattr(bench, "settings", lambda: SimpleNamespace(assets_dir=tmp_path))
    strict = SimpleNamespace(read=lambda data, model, demonstration: SimpleNamespace(status="refused"))
    lenient = SimpleNamespace(read=lambda data, model, demonstration: SimpleNamespace(status="read"))
    assert bench.sample(strict)[1] is False
    data, accepted = bench.sample(lenient)
    assert accepted and Image.open(io.BytesIO(data)).size == (1500, 1200)


def test_all_of_it_in_small(monkeypatch):
    if len(registry.available()) < len(registry.MODELS):
        pytest.skip("the bundles are not trained yet")
    timed, table = bench.timed, breast_cancer.sample_table()
    few = dataclasses.replace(table, frame=table.frame.iloc[:20])
    monkeypatch.setattr(bench, "_starts", lambda *_: iter(()))
    monkeypatch.setattr(bench, "timed", lambda run, n, warm=3: timed(run, n, warm=0))
    monkeypatch.setattr(breast_cancer, "sample_table", lambda: few)
    counts = bench.Counts(
        readings=2, networks=2, cams=1, shaps=1, files=20, batches=1, stays=2, cohort=3, rows=2, tables=1, images=1,
        cases=3, pages=1, arrivals=1,
    )  # fmt: skip
    rows = list(bench.bench(lambda sentence: None, counts))
    assert all(list(row) == ["what", "median_ms", "p95_ms", "n", "device"] for row in rows)
    assert all(0 < row["median_ms"] <= row["p95_ms"] for row in rows)
    said = " ".join(row["what"] for row in rows)
    scans = ("JPEG → calibrated reading", "gate", "brain_mri network", "Grad-CAM, chest_xray", "SHAP", "20 files")
    for thing in (
        *scans,
        "stay file",
        "3 stays",
        "ICU: SHAP of one hour",
        "ICU: what-if answer",
        "table row",
        "SHAP of 20 table rows",
        "chest_xray_gan: 16 images",
        "worklist of 3 cases",
        "over C-STORE",
    ):
        assert thing in said


def test_the_bench_reads_by_the_public_face(monkeypatch):
    """The fast path timed is the one that pages and command line use."""
    calls = []
    fake = SimpleNamespace(
        read=lambda data, model, demonstration: calls.append("read") or SimpleNamespace(status="read"),
        read_many=lambda items, model, demonstration: ((name, SimpleNamespace(status="read")) for name, _ in items),
    )
    monkeypatch.setattr(reader, "load_reader", lambda: fake)
    data = bench.jpeg(bench.drawn_radiograph(150, 120))
    counts = bench.Counts(readings=2, files=5, batches=1)
    names = [what for what, times in bench._readings(fake, data, counts) if times]
    assert len(names) == 3 and calls == ["read"] * 5


def test_the_workspace_is_measured_as_it_is_used(tmp_path):
    """The worklist holds what was put in, and every file whose time is told is on the disk."""
    settings = Settings(data_dir=tmp_path, dicom_port=bench.free_port(), dicom_peers="BENCH@127.0.0.1:104")
    workspace = Workspace(settings)
    bench_cases.fill(workspace, 5)
    first = workspace.worklist(LOCAL)
    assert (first.total, first.rows[0].description) == (5, "Chest")
    assert [row.urgency for row in first.rows] == sorted((row.urgency for row in first.rows), reverse=True)
    times = bench_cases.arrival(workspace, 3)
    assert len(times) == 3 and min(times) > 0
    arrived = [row for row in workspace.worklist(LOCAL).rows if row.model_state == "waiting"]
    assert {row.patient for row in arrived} == {"Drawn, 0", "Drawn, 1", "Drawn, 2"}
    workspace.close()
