"""Figures on labelled images: the same as by hand, over patients, and through the reader that ships."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest

from medai_core import metrics
from medai_core.errors import InputError
from medai_core.imaging import evaluate
from medai_core.imaging.dataset import LABELS

MODELS = ("chest_xray", "brain_mri")


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
    rows = {row["metric"]: row for row in evaluate.scan_figures(model, probabilities, labels, groups, "here", 0.6)}
    name, ill_labels = evaluate.FINDINGS[model]
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
    sets = [{k for k, p in enumerate(row) if 1 - p <= 0.6} | {int(row.argmax())} for row in probabilities]
    covered = [label in chosen for label, chosen in zip(labels, sets, strict=True)]
    assert rows["coverage of the prediction set"]["value"] == pytest.approx(np.mean(covered))
    alone = [len(chosen) == 1 for chosen in sets]
    assert rows["answered alone (one label in the set)"]["value"] == pytest.approx(np.mean(alone))
    assert {row["split"] for row in rows.values()} == {"here"}


@pytest.mark.parametrize("model", MODELS)
def test_the_answer_is_on_the_side_of_the_threshold(model: str) -> None:
    probabilities = np.random.default_rng(1).dirichlet(np.ones(len(LABELS[model])), 500)
    answer, columns = evaluate.predicted(model, probabilities), evaluate.finding_columns(model)
    above = evaluate.finding_of(model, probabilities) >= evaluate.THRESHOLD
    np.testing.assert_array_equal(np.isin(answer, columns), above)
    for row, label, side in zip(probabilities, answer, above, strict=True):
        assert row[label] == max(p for k, p in enumerate(row) if (k in columns) == side)


def test_two_weak_labels_of_a_finding_outvote_a_stronger_one_without() -> None:
    assert evaluate.predicted("chest_xray", np.array([[0.4, 0.35, 0.25], [0.6, 0.3, 0.1]])).tolist() == [1, 0]


def test_one_sided_folders_have_no_auc() -> None:
    probabilities, labels, groups = case("chest_xray")
    for part in (labels == 0, labels > 0):
        rows = evaluate.scan_figures("chest_xray", probabilities[part], labels[part], groups[part], "here", 0.6)
        names = {row["metric"] for row in rows}
        assert not any(name.startswith(("AUC", "sensitivity")) for name in names) and "Brier score" in names
        assert all(np.isfinite([row["value"], row["low"], row["high"]]).all() for row in rows)


def test_a_folder_is_read_by_the_shipped_reader(reader, monkeypatch, chest_folder: Path, chest_scans) -> None:
    monkeypatch.setattr(evaluate, "load_reader", lambda: reader)
    monkeypatch.chdir(chest_folder)
    rows = {row["metric"]: row for row in evaluate.evaluate("chest_xray", Path("."))}
    assert {row["split"] for row in rows.values()} == {"chest"}
    images = chest_scans.images[..., None].astype(np.float32) / 255
    answer = evaluate.predicted("chest_xray", reader.model("chest_xray").predict(images))
    assert rows["accuracy, all labels"]["value"] == pytest.approx((answer == chest_scans.labels).mean())
    refused = [reader.read((chest_folder / name).read_bytes(), model="chest_xray").status for name in chest_scans.files]
    assert rows["refused by the gate"]["value"] == pytest.approx(np.mean(np.array(refused) == "refused"), abs=0.04)
    assert rows["refused by the gate"]["n"] == 64


def test_only_scan_models_can_be_evaluated(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="must be one of chest_xray, brain_mri"):
        evaluate.evaluate("scan_gate", tmp_path)
