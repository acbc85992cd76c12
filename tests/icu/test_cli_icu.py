"""The commands ``icu``, ``forecast`` and ``evaluate`` of stays, with small models in place of the shipped ones."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from drawn_stays import METRICS, entries, physionet

from medai_core import cli, registry
from medai_core.icu import evaluate, forecast_evaluate, outlook
from medai_core.icu import forecaster as forecasting
from medai_core.icu.outlook import VARIABLES
from medai_core.icu.variables import SERIES

FAN = ["unit", "hours", "q05", "q25", "q50", "q75", "q95"]
KEYS = ["stay", "status", "reason", "hours", "risk", "mortality"]


@pytest.fixture(autouse=True)
def small_models(forecaster, outlooks, monkeypatch):
    monkeypatch.setattr(outlook, "load_outlooks", lambda: outlooks)
    monkeypatch.setattr(forecast_evaluate, "load_outlooks", lambda: outlooks)
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
    assert (
        rows[0]["reason"] == ""
        and rows[0]["mortality"] == rows[0]["risk"][-1]
        and all(0 < p < 1 for row in rows for p in row["risk"])
    )
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


def test_forecast_keeps_order_and_goes_on_after_bad_files(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("d").mkdir()
    Path("d/1.txt").write_bytes(physionet(entries(1), 11))
    Path("d/2.csv").write_bytes(b"hours,HR\n0,80\n4.5,90\n")
    Path("d/Outcomes-a.txt").write_text("RecordID,In-hospital_death\n11,0\n")
    Path("d/x.bin").write_bytes(b"\xff\x00junk")
    status, rows, _ = run(capsys, "forecast", "d", "gone.txt")
    assert [(row["stay"], row["status"], row["at"]) for row in rows] == [
        ("11", "read", 48), ("2", "read", 5), ("d/Outcomes-a.txt", "refused", None), ("d/x.bin", "error", None),
        ("gone.txt", "error", None),
    ]  # fmt: skip
    assert status == 1 and all(list(row) == ["stay", "status", "reason", "at", "variables"] for row in rows)
    assert rows[0]["reason"] == "" and rows[3]["variables"] == {} and "must be text" in rows[3]["reason"]
    for row in rows[:2]:
        assert list(row["variables"]) == list(VARIABLES)
        for name, fan in row["variables"].items():
            assert list(fan) == FAN and fan["unit"] == SERIES[name].unit
            assert fan["hours"] == list(range(row["at"] + 1, row["at"] + 13))
            assert all(sorted(fan[q][k] for q in FAN[2:]) == [fan[q][k] for q in FAN[2:]] for k in range(12))


@pytest.mark.parametrize("at", [1, 20, 47])
def test_a_forecast_uses_nothing_recorded_later(tmp_path, capsys, at):
    rows = entries(4)
    wild = [(minute, name, SERIES[name].high if minute > 60 * at else value) for minute, name, value in rows]
    for name, each in (("a", rows), ("b", wild), ("c", [row for row in rows if row[0] <= 60 * at])):
        (tmp_path / f"{name}.txt").write_bytes(physionet(each, 7))
    _, (whole, changed, cut), _ = run(capsys, "forecast", str(tmp_path), "--at", str(at), "--horizon", "24")
    assert whole == changed == cut and whole["variables"]["HR"]["hours"] == list(range(at + 1, at + 25))


def test_forecast_without_json_is_readable(tmp_path, capsys):
    (tmp_path / "a.txt").write_bytes(physionet(entries(1), 11))
    (tmp_path / "b.csv").write_bytes(b"")
    assert cli.main(["forecast", str(tmp_path), "--at", "30"]) == 1
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("11: from hour 30, at hour 42: HR ") and "Mg " in first
    assert second.endswith("error: The file is empty.")


@pytest.mark.parametrize(
    "wrong", [("--at", "0"), ("--at", "49"), ("--at", "x"), ("--horizon", "25"), ("--horizon", "")]
)
def test_impossible_hours_are_wrong_usage(capsys, wrong):
    with pytest.raises(SystemExit) as left:
        cli.main(["forecast", "a.txt", *wrong])
    assert left.value.code == 2 and "must be a whole number from 1 to" in capsys.readouterr().err


@pytest.mark.skipif("icu_forecast" not in registry.MODELS, reason="the model is not registered yet")
def test_evaluate_prints_every_figure_of_the_forecasts(small_data, capsys, monkeypatch):
    monkeypatch.setattr(forecast_evaluate, "RESAMPLES", 20)
    monkeypatch.setattr(forecast_evaluate, "LOOKED_FROM", (12, 24))
    status, rows, _ = run(capsys, "evaluate", "icu_forecast", str(small_data))
    found = {row["metric"]: row for row in rows}
    assert status == 0 and all(list(row) == ["metric", "value", "low", "high", "n"] for row in rows)
    for what in ("MAE", "pinball loss", "skill over the last value", "skill over the boosted trees"):
        assert (
            found[f"{what}, HR, 6 h"]["low"] <= found[f"{what}, HR, 6 h"]["value"] <= found[f"{what}, HR, 6 h"]["high"]
        )
    assert 0 < found["coverage of 90 %"]["value"] <= 1 and "pinball loss, Lactate, 24 h" in found
