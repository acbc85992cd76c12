"""The command ``icu`` and ``evaluate icu_mortality``, with a small model in place of the shipped one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from drawn_stays import METRICS, entries, physionet

from medai_core import cli
from medai_core.icu import evaluate
from medai_core.icu import forecaster as forecasting

KEYS = ["stay", "status", "reason", "hours", "risk", "mortality"]


@pytest.fixture(autouse=True)
def small_model(forecaster, monkeypatch):
    monkeypatch.setattr(forecasting, "load_forecaster", lambda: forecaster)
    monkeypatch.setattr(evaluate, "load_forecaster", lambda: forecaster)
    monkeypatch.setattr(cli, "start_networks", lambda: None)


def run(capsys, *arguments: str) -> tuple[int, list[dict], str]:
    status = cli.main([*arguments, "--json"])
    captured = capsys.readouterr()
    return status, [json.loads(line) for line in captured.out.splitlines()], captured.err


def test_icu_keeps_order_and_goes_on_after_bad_files(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("d").mkdir()
    Path("d/1.txt").write_bytes(physionet(entries(1), 11))
    Path("d/2.csv").write_bytes(b"hours,HR\n0,80\n4.5,90\n")
    Path("d/Outcomes-a.txt").write_text("RecordID,In-hospital_death\n11,0\n")
    Path("d/x.bin").write_bytes(b"\xff\x00junk")
    status, rows, _ = run(capsys, "icu", "d", "gone.txt")
    assert [(row["stay"], row["status"]) for row in rows] == [
        ("11", "read"), ("2", "read"), ("d/Outcomes-a.txt", "refused"), ("d/x.bin", "error"), ("gone.txt", "error"),
    ]  # fmt: skip
    assert status == 1 and all(list(row) == KEYS for row in rows)
    assert rows[0]["hours"] == list(range(1, 49)) and len(rows[0]["risk"]) == 48 and rows[1]["hours"] == [1, 2, 3, 4, 5]
    assert rows[0]["mortality"] == rows[0]["risk"][-1] and all(0 < p < 1 for row in rows for p in row["risk"])
    assert (rows[3]["risk"], rows[3]["mortality"]) == ([], None) and "must be text" in rows[3]["reason"]


def test_a_refusal_is_handled(tmp_path, capsys):
    (tmp_path / "Outcomes-a.txt").write_text("RecordID,In-hospital_death\n1,0\n")
    assert run(capsys, "icu", str(tmp_path))[0] == 0


def test_icu_without_json_is_readable(tmp_path, capsys):
    (tmp_path / "a.txt").write_bytes(physionet(entries(1), 11))
    (tmp_path / "b.csv").write_bytes(b"hours,HR\n0,80\n")
    (tmp_path / "c.csv").write_bytes(b"")
    assert cli.main(["icu", str(tmp_path)]) == 1
    first, second, third = capsys.readouterr().out.splitlines()
    assert first.startswith("11: risk of death in hospital 0.") and "after 48 h (hour 6 0." in first
    assert second.endswith("after 1 h") and third.endswith("error: The file is empty.")


def test_evaluate_prints_every_figure(small_data, capsys, monkeypatch):
    monkeypatch.setattr(evaluate, "RESAMPLES", 20)
    status, rows, _ = run(capsys, "evaluate", "icu_mortality", str(small_data))
    found = {row["metric"]: row for row in rows}
    assert status == 0 and all(list(row) == ["metric", "value", "low", "high", "n"] for row in rows)
    for method in ("SAPS-I", "SOFA", "trees", "network", "blend"):
        assert {f"{m}, {method}" for m in METRICS} <= set(found)
    assert found["AUROC, blend"]["n"] == 80 and found["AUROC, SOFA"]["n"] == 79
    assert (
        "AUROC, blend, men" in found
        and found["AUROC, blend, at hour 24"]["low"] <= found["AUROC, blend, at hour 24"]["high"]
    )
    assert cli.main(["evaluate", "icu_mortality", str(small_data)]) == 0
    assert "AUROC, blend" in capsys.readouterr().out
