"""Pages are tested with a reader that answers at once and always the same, and without TensorFlow."""

from __future__ import annotations

import gc
import hashlib
import io
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import streamlit as st
from drawn_cases import drawn_workspace
from fake_generator import FakeGenerator, FakeRestorer
from fake_icu import fake_models
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from streamlit.testing.v1 import AppTest

from medai_core.cases.workspace import Workspace
from medai_core.errors import MedAIError, say
from medai_core.imaging.explain import Explanation
from medai_core.imaging.gate import marks_of, refuse_marked
from medai_core.imaging.reading import GateReport, GateSignal, OperatingPoint, Reading
from medai_core.metrics import Interval

APP = Path(__file__).parents[2] / "app.py"
LABELS = {"chest_xray": ("normal", "bacterial", "viral"), "brain_mri": ("glioma", "meningioma", "notumor", "pituitary")}


@pytest.fixture(scope="session", autouse=True)
def settled_heap() -> Iterator[None]:
    """Streamlit collects garbage in full after every run, which takes long where earlier tests loaded TensorFlow."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(scope="session", autouse=True)
def scanned_packages() -> Iterator[None]:
    """Streamlit reads the metadata of every installed package for each new test app: the first time says it all."""
    from streamlit.components.v2 import manifest_scanner

    found = manifest_scanner.scan_component_manifests()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(manifest_scanner, "scan_component_manifests", lambda: list(found))
        yield


@pytest.fixture
def space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workspace]:
    """An empty workspace, which the pages take for theirs."""
    made = drawn_workspace(tmp_path)
    monkeypatch.setattr("medai_core.cases.workspace.open_workspace", lambda: made)
    yield made
    made.close()


def png(shade: int, size: tuple[int, int] = (240, 200)) -> bytes:
    """Return a PNG whose brightness tells :class:`FakeReader` what to answer."""
    picture = np.full((size[1], size[0]), shade, np.uint8)
    picture[:: max(size[1] // 8, 1)] //= 2
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG")
    return buffer.getvalue()


def synthetic_png() -> bytes:
    """Return a bright PNG that says in its metadata, and there alone, that it is synthetic."""
    info = PngInfo()
    info.add_text("SyntheticData", "YES")
    buffer = io.BytesIO()
    Image.open(io.BytesIO(png(200))).save(buffer, "PNG", pnginfo=info)
    return buffer.getvalue()


FILES = {"sure": png(200), "unsure": png(120), "refused": png(10), "junk": b"no image at all " * 40}
FILES["synthetic"] = synthetic_png()


class FakeReader:
    """Bright images are read, middling ones leave two labels open, dark ones are refused."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, str | None]] = []

    def read(
        self,
        data: bytes,
        *,
        model: str = "auto",
        frame: int | None = None,
        plane: str | None = None,
        demonstration: bool = False,
    ) -> Reading:
        from medai_core.imaging.intake import MARKED, UNMARKED
        from medai_core.imaging.read import read_scan

        scan = read_scan(data, frame=frame, plane=plane)
        self.asked.append((scan.frame, scan.plane))
        grey = scan.display
        digest = hashlib.sha256(data).hexdigest()
        found = marks_of(scan)
        if found.any and not demonstration:
            report = refuse_marked(found)
            return Reading("refused", report.code, report.reason, digest, gate=report)
        said = (MARKED if found.any else UNMARKED,) if demonstration else ()
        small = np.asarray(Image.fromarray(grey).resize((128, 128)), np.float32) / 255
        gate = GateReport(
            True, "ok", None, (GateSignal("reconstruction", 0.01, 0.05),), {"chest_xray": 0.98}, small, small
        )
        if grey.mean() < 60:
            gate = GateReport(
                False,
                "photograph",
                None,
                (GateSignal("reconstruction", 0.4, 0.05),),
                {"photograph": 0.9},
                small,
                1 - small,
            )
            reason = say("The gate takes this for a {kind}.", kind="photograph")
            trace = (say("8-bit grey"),)
            return Reading("refused", gate.code, reason, digest, urgency=1.0, gate=gate, trace=trace, cautions=said)
        answer = self._read(digest, "chest_xray" if model == "auto" else model, grey.mean() < 150, gate, small)
        return replace(answer, cautions=said)

    def _read(self, digest: str, model: str, unsure: bool, gate: GateReport, small: np.ndarray) -> Reading:
        labels = LABELS[model]
        top, rest = (0.55, 0.45) if unsure else (0.94, 0.06)
        shares = dict.fromkeys(labels, rest / (len(labels) - 1)) | {labels[1]: top}
        finding = sum(p for label, p in shares.items() if label not in ("normal", "notumor"))
        point = OperatingPoint(
            "balanced", "pneumonia" if model == "chest_xray" else "tumour", 0.5,
            Interval(0.95, 0.92, 0.97), Interval(0.91, 0.88, 0.94),
        )  # fmt: skip
        return Reading(
            "read", "ok", None, digest, model, "1.0", shares, labels[1], labels[1:] if unsure else labels[1:2], unsure,
            finding, finding > 0.5, point, 1.0 if unsure else finding, gate,
            trace=(say("8-bit grey"), say("stretched to {via}×{via}, then {size}×{size}", via=224, size=128)),
            prepared=small,
        )  # fmt: skip

    def read_many(
        self, items: Iterable[tuple[str, bytes]], *, model: str = "auto", demonstration: bool = False
    ) -> Iterator[tuple[str, Reading | MedAIError]]:
        for name, data in items:
            try:
                yield name, self.read(data, model=model, demonstration=demonstration)
            except MedAIError as error:
                yield name, error

    def explain(self, reading: Reading, *, method: str = "grad_cam", label: str | None = None) -> Explanation:
        heat = np.linspace(0, 1, 128 * 128, dtype=np.float32).reshape(128, 128)
        gap = {"base_value": -0.4, "additivity_gap": 0.012, "additivity_error": 0.03} if method == "shap" else {}
        areas = {
            "deletion_auc": -1.31, "insertion_auc": 2.82, "random_deletion_auc": 0.55, "random_insertion_auc": 0.61,
        }  # fmt: skip
        signed = heat - 0.5 if method == "shap" else heat
        return Explanation(method, label or reading.label, signed, 1.7, **gap, **areas, faithful=True, seconds=0.01)


def fake_bundle(model: str) -> SimpleNamespace:
    """Return a bundle as the artifacts module would."""
    labels = list(LABELS.get(model, ("ok", "photograph")))
    figures = [
        {"metric": "AUC, pneumonia", "value": 0.981, "low": 0.972, "high": 0.989, "n": 620, "split": "test"},
        {"metric": "accuracy, all labels", "value": 0.934, "low": 0.912, "high": 0.953, "n": 620, "split": "test"},
        {
            "metric": "expected calibration error",
            "value": 0.021,
            "low": 0.015,
            "high": 0.034,
            "n": 620,
            "split": "test",
        },
    ]
    counts = [[80 if i == j else 4 for j in range(len(labels))] for i in range(len(labels))]
    return SimpleNamespace(
        id=model, version="1.0", size_mb=8.2, digest="ab" * 32, path=Path("bundle"),
        card={
            "name": model, "summary": "A network for tests.", "intended_use": ["Research."], "not_for": ["Adults."],
            "population": "Children of one to five years.", "failure_modes": ["Over-calls pneumonia on other devices."],
            "explanation_notes": ["Maps are coarse."], "libraries": {"keras": "3.15.1"},
            "training_data": {"name": "A set", "licence": "CC BY 4.0", "citation": "Someone 2018", "n_images": 5000},
            "split": {"method": "patient-grouped", "seed": 0, "train": 4000, "validation": 500, "test": 500},
        },
        preprocessing={
            "labels": labels, "positive": {"labels": labels[1:]}, "conformal": {"chosen_on": "held-out sessions"},
            "prevalence": {label: 0.5 if label == labels[0] else 0.5 / (len(labels) - 1) for label in labels},
        },
        metrics={
            "figures": figures, "baseline": [figures[0] | {"value": 0.95, "low": 0.93, "high": 0.96}],
            "reliability": [{"mean_probability": p, "observed": p**1.1, "n": 60} for p in (0.05, 0.3, 0.6, 0.95)],
            "confusion": {"labels": labels, "counts": counts},
            "roc": {"fpr": [0, 0.02, 0.1, 1], "tpr": [0, 0.8, 0.96, 1], "name": labels[-1]},
            "notes": ["Intervals by bootstrap over patients."],
        },
    )  # fmt: skip


@pytest.fixture(scope="session")
def files() -> dict[str, bytes]:
    """Return files by what :class:`FakeReader` makes of them."""
    return FILES


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> Iterator[AppTest]:
    """Return the whole app, on its home page, with the fake reader and fake bundles."""
    from pages.ui import case_worker, icu_loaders, loaders, synth_loaders, tabx_answer

    # All tests are one session to Streamlit: without this, a reading of one would be shown in the next.
    st.cache_data.clear()
    st.cache_resource.clear()
    monkeypatch.setattr(loaders, "load", FakeReader)
    monkeypatch.setattr(loaders, "warm", lambda ready: None)
    monkeypatch.setattr(loaders, "tidy", lambda: None)  # for servers: here the fixture above does it once
    monkeypatch.setattr(case_worker, "working", lambda: None)  # it would open the workspace of this computer
    monkeypatch.setattr(icu_loaders, "load", fake_models)
    monkeypatch.setattr(icu_loaders, "warm", lambda ready: None)
    monkeypatch.setattr(synth_loaders, "load", FakeGenerator)
    monkeypatch.setattr(synth_loaders, "load_restorer", FakeRestorer)
    monkeypatch.setattr(synth_loaders, "generator_ids", lambda: ["chest_xray_gan", "brain_mri_gan"])
    monkeypatch.setattr(synth_loaders, "restorer_ids", lambda: ["chest_xray_restorer"])
    monkeypatch.setattr(loaders, "bundle", fake_bundle)
    monkeypatch.setattr(tabx_answer, "unlikeness", lambda view: None)  # an autoencoder, which needs TensorFlow
    monkeypatch.setattr(loaders, "device", lambda: "CPU (2 cores)")
    loaders.loading().future.result()
    icu_loaders.loading().future.result()
    yield AppTest.from_file(str(APP), default_timeout=30).run()
    st.cache_resource.clear()


@pytest.fixture(scope="session")
def said() -> Callable[[AppTest], str]:
    """Return a function that returns everything a page says, for finding a sentence in it."""
    return words


def words(at: AppTest) -> str:
    kinds = (
        "title",
        "header",
        "subheader",
        "markdown",
        "caption",
        "error",
        "warning",
        "info",
        "success",
        "button",
        "metric",
    )
    found = [element for kind in kinds for element in at.get(kind)]
    texts = [str(getattr(element, "value", "")) + " " + str(getattr(element, "label", "")) for element in found]
    return "\n".join([*texts, *(str(element.proto.body) for element in at.get("html"))]).replace("\\", "")
