"""Figures on labelled images: the same as by hand, over patients, and through the reader that ships."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from drawn_scans import draw_chest, encode

from medai_core import metrics
from medai_core.errors import InputError
from medai_core.imaging import evaluate
from medai_core.imaging.dataset import LABELS
from medai_core.imaging.gate import SIGNALS
from medai_core.imaging.rule import Rule
from medai_core.imaging.train_bundle import FINDINGS

MODELS = ("chest_xray", "brain_mri")


def rule_of(model: str, conformal_threshold: float = 0.6) -> Rule:
    even = (1 / len(LABELS[model]),) * len(LABELS[model])
    return Rule(LABELS[model], *FINDINGS[model], 0.5, conformal_threshold, even)


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "bootstrap", partial(metrics.bootstrap, n=20))


def case(model: str, count: int = 200) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, len(LABELS[model]), count)
    logits = 1.5 * np.eye(len(LABELS[model]))[labels] + rng.normal(0, 1, (count, len(LABELS[model])))
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    return probabilities, labels, np.array([f"p{k // 2}" for k in range(count)])


@pytest.mark.parametrize("model", MODELS)
def test_figures_equal_those_by_hand(model: str) -> None:
    probabilities, labels, groups = case(model)
    rule = rule_of(model)
    rows = {row["metric"]: row for row in evaluate.scan_figures(rule, probabilities, labels, groups, "here")}
    name, ill_labels = FINDINGS[model]
    columns = [LABELS[model].index(label) for label in ill_labels]
    finding = [sum(row[columns]) for row in probabilities]
    ill = [label in columns for label in labels]
    cases = list(zip(finding, ill, strict=True))
    pairs = [(p > q) + (p == q) / 2 for p, a in cases for q, b in cases if a and not b]
    assert rows[f"AUC, {name}"]["value"] == pytest.approx(np.mean(pairs))
    hits = [p >= 0.5 for p, a in cases if a]
    assert rows[f"sensitivity, {name}"]["value"] == pytest.approx(np.mean(hits))
    assert rows[f"sensitivity, {name}"]["n"] == len(hits)
    clear = [p < 0.5 for p, a in cases if not a]
    assert rows[f"specificity, {name}"]["value"] == pytest.approx(np.mean(clear))
    within = [
        columns[int(np.argmax(row[columns]))] == label
        for row, label, a in zip(probabilities, labels, ill, strict=True)
        if a
    ]
    assert rows[f"accuracy among {name} labels"]["value"] == pytest.approx(np.mean(within))
    sets = [{k for k, p in enumerate(row) if 1 - p <= 0.6} or {*np.argsort(-row)[:2]} for row in probabilities]
    sets = [chosen | {answer} for chosen, answer in zip(sets, rule.answer(probabilities), strict=True)]
    covered = np.array([label in chosen for label, chosen in zip(labels, sets, strict=True)])
    by_label = [covered[labels == k].mean() for k in range(len(LABELS[model]))]
    assert rows["coverage of the prediction set"]["value"] == pytest.approx(np.mean(by_label))
    alone = [len(chosen) == 1 for chosen in sets]
    assert rows["answered alone (one label in the set)"]["value"] == pytest.approx(np.mean(alone))
    assert {row["split"] for row in rows.values()} == {"here"}


@pytest.mark.parametrize("model", MODELS)
def test_the_answer_is_on_the_side_of_the_threshold(model: str) -> None:
    probabilities = np.random.default_rng(1).dirichlet(np.ones(len(LABELS[model])), 500)
    rule = rule_of(model)
    answer, columns = rule.answer(probabilities), rule.columns
    above = rule.finding_probability(probabilities) >= 0.5
    np.testing.assert_array_equal(np.isin(answer, columns), above)
    for row, label, side in zip(probabilities, answer, above, strict=True):
        assert row[label] == max(p for k, p in enumerate(row) if (k in columns) == side)
    for label, chosen in zip(answer, rule.sets(probabilities), strict=True):
        assert label in chosen


def test_two_weak_labels_of_a_finding_outvote_a_stronger_one_without() -> None:
    rule, rows = rule_of("chest_xray"), np.array([[0.45, 0.3, 0.25], [0.6, 0.3, 0.1]])
    assert rule.answer(rows).tolist() == [1, 0]
    assert rule.sets(rows) == [(0, 1), (0,)], "an answer that is not the likeliest label must be referred"


@pytest.mark.parametrize("model", MODELS)
def test_some_answer_can_always_be_referred(model: str) -> None:
    doubtful = np.full((1, len(LABELS[model])), 1 / len(LABELS[model]))
    for threshold in (0.01, 0.1, 0.5, 0.9):
        assert len(rule_of(model, threshold).sets(doubtful)[0]) > 1


def test_calibration_is_judged_at_the_mix_of_the_part() -> None:
    rng = np.random.default_rng(3)
    stated, mix = np.array([0.5, 0.3, 0.2]), np.array([0.1, 0.6, 0.3])
    signal = rng.normal(0, 1, (60_000, 3))
    likelihood = np.exp(signal)
    truth = np.array([rng.choice(3, p=p) for p in likelihood * mix / (likelihood * mix).sum(1, keepdims=True)])
    probabilities = likelihood * stated / (likelihood * stated).sum(1, keepdims=True)
    counts = np.bincount(truth, minlength=3)
    # What is calibrated for the stated prevalence is off here, and right once moved to the mix of these cases.
    moved = evaluate.at_mix(probabilities, stated, (mix * 1000).astype(int))
    assert (
        metrics.expected_calibration_error(moved, truth)
        < 0.02
        < metrics.expected_calibration_error(probabilities, truth)
    )
    assert evaluate.at_mix(probabilities, stated, counts).sum(1) == pytest.approx(1)


def test_a_perfect_share_has_an_interval_with_width() -> None:
    labels, groups = np.repeat([0, 1, 2], 10), np.arange(30).astype(str)
    rows = {
        r["metric"]: r for r in evaluate.scan_figures(rule_of("chest_xray"), np.eye(3)[labels], labels, groups, "x")
    }
    found = rows["accuracy, all labels"]
    assert (found["value"], found["high"]) == (1, 1)
    assert found["low"] == pytest.approx(metrics.wilson(30, 30).low)


def test_one_sided_folders_have_no_auc() -> None:
    probabilities, labels, groups = case("chest_xray")
    for part in (labels == 0, labels > 0):
        rows = evaluate.scan_figures(rule_of("chest_xray"), probabilities[part], labels[part], groups[part], "here")
        names = {row["metric"] for row in rows}
        assert not any(name.startswith(("AUC", "sensitivity")) for name in names) and "Brier score" in names
        assert all(np.isfinite([row["value"], row["low"], row["high"]]).all() for row in rows)


def test_a_folder_is_read_by_the_shipped_reader(reader, monkeypatch, chest_folder: Path, chest_scans) -> None:
    monkeypatch.setattr(evaluate, "load_reader", lambda: reader)
    monkeypatch.chdir(chest_folder)
    rows = {row["metric"]: row for row in evaluate.evaluate("chest_xray", Path("."))}
    assert {row["split"] for row in rows.values()} == {"chest"}
    images = chest_scans.images[..., None].astype(np.float32) / 255
    model = reader.model("chest_xray")
    answer = model.rule.answer(model.predict(images))
    assert rows["accuracy, all labels"]["value"] == pytest.approx((answer == chest_scans.labels).mean())
    refused = [reader.read((chest_folder / name).read_bytes(), model="chest_xray").status for name in chest_scans.files]
    assert rows["refused by the gate"]["value"] == pytest.approx(np.mean(np.array(refused) == "refused"), abs=0.04)
    assert rows["refused by the gate"]["n"] == 64


def test_what_is_refused_before_the_network_counts_as_refused(reader, monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setattr(evaluate, "load_reader", lambda: reader)
    wide = replace(reader._limits, limits={"chest_xray": dict.fromkeys(SIGNALS, np.inf)})
    monkeypatch.setattr(reader, "_limits", wide)
    monkeypatch.setattr(metrics, "bootstrap", partial(metrics.bootstrap, n=5))
    (tmp_path / "NORMAL").mkdir()
    colour = np.random.default_rng(0).integers(0, 256, (10, 10, 3), np.uint8).repeat(30, 0).repeat(30, 1)
    for number, pixels in enumerate([draw_chest(0, 1), draw_chest(0, 2), draw_chest(0, 3), colour]):
        path = tmp_path / f"NORMAL/NORMAL2-IM-{1427 + number}-0001-0002.jpeg"
        path.write_bytes(encode(pixels))
    rows = {row["metric"]: row for row in evaluate.evaluate("chest_xray", tmp_path)}
    assert (rows["refused by the gate"]["value"], rows["refused by the gate"]["n"]) == (0.25, 4)


def test_a_share_has_its_interval_over_patients() -> None:
    hits = np.repeat(np.arange(20) % 4 == 0, 10)
    patients, images = evaluate.share(hits, np.repeat(np.arange(20), 10)), evaluate.share(hits, np.arange(200))
    assert patients.value == images.value == 0.25
    assert patients.high - patients.low > 2 * (images.high - images.low)
    assert evaluate.share(np.zeros(200, bool), np.repeat(np.arange(20), 10)) == metrics.wilson(0, 20)
    assert evaluate.share(np.ones(6, bool), np.arange(6)) == metrics.wilson(6, 6)


def test_only_scan_models_can_be_evaluated(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="must be one of chest_xray, brain_mri"):
        evaluate.evaluate("scan_gate", tmp_path)
