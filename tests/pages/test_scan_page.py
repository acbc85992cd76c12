"""The scan page: result, refusal, error, explanation, viewer, reports, and what it keeps and forgets."""

from __future__ import annotations

import gc
import io
import logging
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file
from streamlit.testing.v1 import AppTest

from medai_core.errors import ArtifactError, InputError
from medai_core.imaging.read import read_scan
from medai_core.imaging.reading import Reading

PAGE = "pages/imaging/read_scan.py"
Said = Callable[[AppTest], str]


def upload(app: AppTest, data: bytes, name: str = "scan.png") -> AppTest:
    app.switch_page(PAGE).run()
    app.file_uploader[0].upload(name, data).run()
    assert not app.exception
    return app


def zipped(*files: tuple[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, data in files:
            archive.writestr(name, data)
    return packed.getvalue()


def away_and_back(app: AppTest) -> AppTest:
    app.switch_page("pages/models/models.py").run()
    app.switch_page(PAGE).run()
    assert not app.exception
    return app


def labelled(elements: list, label: str):
    return next(element for element in elements if element.label == label)


def tab(app: AppTest, name: str) -> AppTest:
    app.session_state[f"scan_tabs_{len(app.tabs)}_0"] = name
    app.run()
    assert not app.exception
    return app


def test_empty_page_asks_for_a_file(app: AppTest, said: Said) -> None:
    app.switch_page(PAGE).run()
    assert not app.exception
    assert len(app.file_uploader) == 1
    assert "Not a medical device" in said(app)


def test_sure_answer(app: AppTest, files: dict[str, bytes], said: Said) -> None:
    text = said(upload(app, files["sure"]))
    assert "most one case of ten" not in text and "Made to hold" not in text  # the bundle has no such figure
    for sentence in (
        "Bacterial pneumonia", "94.0%", "prediction set holds one label", "One label fits", "Operating point: balanced",
        "95.0%", "95% interval 92.0% to 97.0%", "Children of one to five years", "Adults.", "version 1.0",
        "0.981 (0.972–0.989)", "8-bit grey", "stretched to 224×224",
    ):  # fmt: skip
        assert sentence in text, sentence


def test_coverage_is_what_was_measured(
    app: AppTest, files: dict[str, bytes], said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pages.ui import loaders

    parts = {"test": 0.903, "held-out sessions": 0.871, "held-out session 1": 0.8}
    found = SimpleNamespace(**vars(loaders.bundle("chest_xray")))
    found.metrics = {
        "figures": [
            {"metric": "coverage of the prediction set", "value": value, "low": 0.5, "high": 0.95, "split": part}
            for part, value in parts.items()
        ]
    }
    monkeypatch.setattr(loaders, "bundle", lambda model: found)
    assert "measured: 90.3% (50.0%–95.0%) on test, 87.1% (50.0%–95.0%) on held-out sessions." in said(
        upload(app, files["sure"])
    )


def test_unsure_answer_is_referred(app: AppTest, files: dict[str, bytes], said: Said) -> None:
    text = said(upload(app, files["unsure"]))
    assert "holds 2 labels: Bacterial pneumonia or Viral pneumonia" in text
    assert "Refer to a reader" in text


def test_refusal_is_calm_and_shows_no_probability(app: AppTest, files: dict[str, bytes], said: Said) -> None:
    text = said(upload(app, files["refused"]))
    assert "This looks like a photograph" in text and "Not read" in text
    assert "Calibrated probability" not in text
    assert not app.error
    assert app.dataframe[0].value["Verdict"].tolist() == ["above the limit"]


def test_a_synthetic_image_is_read_only_as_a_demonstration(app: AppTest, files: dict[str, bytes], said: Said) -> None:
    text = said(upload(app, files["synthetic"]))
    assert "This image is synthetic" in text and "Calibrated probability" not in text
    assert "marked as synthetic (the file's own description), so it is not read as a patient's" in text
    assert "A person has to look" not in text and "Demonstration" not in text
    app.button(key="open_demonstration").click().run()
    text = said(app)
    assert not app.exception and "94.0%" in text and "opened as a demonstration" in text
    assert "Demonstration: this image is marked as synthetic and shows no patient." in text
    app.button(key="let_go").click().run()
    app.file_uploader[0].upload("again.png", files["synthetic"]).run()
    assert "This image is synthetic" in said(app)  # allowed for that file, not for all to come


@pytest.mark.parametrize("made", ["drawn", "generated"])
def test_a_built_in_sample_opens_as_a_demonstration(
    app: AppTest, files: dict[str, bytes], said: Said, made: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pages.ui import gallery
    from pages.ui.samples import Sample

    path = tmp_path / "lung.png"
    path.write_bytes(files["synthetic"])
    monkeypatch.setattr(gallery, "samples", lambda: (Sample(path, "viral", "chest_xray", "A lung", made),))
    app.switch_page(PAGE).run()
    assert ("made by a trained generator" in said(app)) == (made == "generated")
    app.button(key="scan_open_lung.png").click().run()
    text = said(app)
    assert not app.exception and "synthetic sample, no patient" in text and "94.0%" in text
    assert "Demonstration: this image is marked as synthetic and shows no patient." in text


@pytest.mark.parametrize("name", ["scan.png", "![x](http://example.org/x.png).png"])
def test_junk_is_one_sentence(app: AppTest, files: dict[str, bytes], name: str) -> None:
    upload(app, files["junk"], name)
    (error,) = app.error
    assert "not a scan" in error.value
    assert "![x](" not in error.value
    assert not app.tabs


def test_prevalence_moves_the_predictive_values(app: AppTest, files: dict[str, bytes], said: Said) -> None:
    upload(app, files["sure"])
    assert "54.0%" in said(app)  # sensitivity 0.95, specificity 0.91, prevalence 0.10
    app.slider(key="prevalence_chest_xray").set_value(50.0).run()
    assert "91.3%" in said(app)


def test_the_probability_moves_with_prevalence_and_says_what_it_was_calibrated_for(
    app: AppTest, files: dict[str, bytes], said: Said
) -> None:
    text = said(upload(app, files["sure"]))
    assert "calibrated for **50%** prevalence of pneumonia" in text
    assert "Both measured on held-out sessions" in text
    app.slider(key="prevalence_chest_xray").set_value(50.0).run()
    assert "At 50.0% prevalence, this scan's probability of pneumonia is **97.0%**" in said(app)
    app.slider(key="prevalence_chest_xray").set_value(10.0).run()
    assert "At 10.0% prevalence, this scan's probability of pneumonia is **78.2%**" in said(app)


def test_model_choice_is_handed_on(app: AppTest, files: dict[str, bytes], said: Said) -> None:
    upload(app, files["sure"])
    app.button_group(key="scan_model").set_value("brain_mri").run()
    assert "Meningioma" in said(app)


def test_explanation_says_what_it_is_worth(app: AppTest, files: dict[str, bytes], said: Said) -> None:
    upload(app, files["sure"])
    assert "A heat map is no localisation" in said(app)
    assert "Faithful for this scan" in said(app)
    app.button_group(key="map_method").set_value("shap").run()
    assert "Additivity gap 0.01 ± 0.03 log-odds" in said(app) and "base value −0.40" in said(app)
    app.slider(key="map_opacity").set_value(20).run()
    app.toggle(key="map_shown").set_value(False).run()
    assert not app.exception


def test_the_answer_stands_first_among_what_can_be_explained(
    app: AppTest, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    from pages.ui import loaders

    read = loaders.reader().read
    monkeypatch.setattr(loaders.reader(), "read", lambda *args, **how: replace(read(*args, **how), label="viral"))
    upload(app, files["sure"])
    box = labelled(app.selectbox, "Explain the answer")
    assert box.options == ["Viral pneumonia", "Bacterial pneumonia", "Normal", "Pneumonia"]
    assert box.value == "viral"


def test_the_label_to_explain_is_chosen_for_each_slice(app: AppTest) -> None:
    nib = pytest.importorskip("nibabel")
    volume = np.random.default_rng(0).integers(90, 200, (96, 100, 104)).astype(np.int16)
    upload(app, nib.Nifti1Image(volume, np.eye(4)).to_bytes(), "head.nii")
    first = labelled(app.selectbox, "Explain the answer")
    first.set_value("normal").run()
    labelled(app.slider, "Slice or frame").set_value(5).run()
    second = labelled(app.selectbox, "Explain the answer")
    assert (second.value, second.key == first.key) == ("bacterial", False)


@pytest.mark.parametrize("function", ["LINEAR", "SIGMOID"])
def test_a_curve_of_the_file_is_not_shown_as_a_window(app: AppTest, said: Said, function: str) -> None:
    ds = pydicom.dcmread(get_testdata_file("CT_small.dcm", download=False))
    ds.WindowCenter, ds.WindowWidth, ds.VOILUTFunction = 40, 400, function
    buffer = io.BytesIO()
    ds.save_as(buffer)
    upload(app, buffer.getvalue(), "ct.dcm")
    tab(app, "Viewer")
    assert ("its own curve (VOI LUT or sigmoid)" in said(app)) == (function == "SIGMOID")


def test_reports_can_be_downloaded(app: AppTest, files: dict[str, bytes]) -> None:
    tab(upload(app, files["sure"]), "Report")
    assert len(app.get("download_button")) == 2


def test_refusal_has_a_report_too(app: AppTest, files: dict[str, bytes]) -> None:
    tab(upload(app, files["refused"]), "Report")
    assert len(app.get("download_button")) == 2


def test_other_pages_do_not_lose_the_file_and_closing_forgets_it(
    app: AppTest, files: dict[str, bytes], said: Said
) -> None:
    upload(app, files["sure"], "kept.png")
    app.switch_page("pages/models/models.py").run()
    app.switch_page(PAGE).run()
    assert "kept.png" in said(app) and "Bacterial pneumonia" in said(app)
    app.button(key="let_go").click().run()
    assert "kept.png" not in said(app)
    assert len(app.file_uploader) == 1


def test_archive_offers_its_members(app: AppTest, files: dict[str, bytes], said: Said) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("a/first.png", files["sure"])
        archive.writestr("b/second.png", files["refused"])
    upload(app, packed.getvalue(), "study.zip")
    box = labelled(app.selectbox, "File in the archive")
    assert box.options == ["a/first.png", "b/second.png"]
    assert "Bacterial pneumonia" in said(app)
    box.set_value(1).run()
    assert "This looks like a photograph" in said(app)
    labelled(away_and_back(app).selectbox, "File in the archive")
    assert "This looks like a photograph" in said(app)


def test_a_bad_member_is_called_by_its_own_name(app: AppTest, files: dict[str, bytes]) -> None:
    upload(app, zipped(("good.png", files["sure"]), ("bad.png", files["junk"])), "study.zip")
    labelled(app.selectbox, "File in the archive").set_value(1).run()
    (error,) = app.error
    assert "bad" in error.value and "study" not in error.value


def test_an_archive_is_one_by_its_bytes(app: AppTest, files: dict[str, bytes], said: Said) -> None:
    upload(app, zipped(("study.zip", files["sure"])), "study.zip")
    assert labelled(app.selectbox, "File in the archive").options == ["study.zip"]
    assert "Bacterial pneumonia" in said(app)


def test_a_name_without_an_ending_can_be_uploaded(app: AppTest, files: dict[str, bytes], said: Said) -> None:
    for page in (PAGE, "pages/imaging/worklist.py"):
        app.switch_page(page).run()
        assert list(app.file_uploader[0].proto.type) == []
    assert "Bacterial pneumonia" in said(upload(app, files["sure"], "IM000001"))


def test_volume_has_slices_and_planes(app: AppTest) -> None:
    nib = pytest.importorskip("nibabel")

    from pages.ui import loaders

    volume = np.random.default_rng(0).integers(90, 200, (96, 100, 104)).astype(np.int16)
    upload(app, nib.Nifti1Image(volume, np.eye(4)).to_bytes(), "head.nii")
    app.slider[0].set_value(5).run()
    next(group for group in app.button_group if group.label == "Plane").set_value("coronal").run()
    assert not app.exception
    asked = loaders.reader().asked
    assert (4, "axial") in asked
    assert asked[-1][1] == "coronal"
    labelled(app.slider, "Slice or frame").set_value(9).run()
    away_and_back(app)
    assert next(group for group in app.button_group if group.label == "Plane").value == "coronal"
    assert labelled(app.slider, "Slice or frame").value == 9 and asked[-1] == (8, "coronal")


def test_a_view_of_a_volume_is_decoded_once(app: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    nib = pytest.importorskip("nibabel")
    from medai_core.imaging import read
    from pages.ui import loaders

    refused = Reading("refused", "photograph", None, "0" * 64)
    monkeypatch.setattr(loaders, "reading", lambda *args: refused)  # it decodes for itself
    decoded: list[tuple[int | None, str | None]] = []

    def counted(data: bytes, *, frame: int | None = None, plane: str | None = None, at_least: int | None = None):
        if data == head:  # the page decodes its samples as well
            decoded.append((frame, plane))
        return read_scan(data, frame=frame, plane=plane, at_least=at_least)

    monkeypatch.setattr(read, "read_scan", counted)
    volume = np.random.default_rng(0).integers(90, 200, (96, 100, 104)).astype(np.int16)
    head = nib.Nifti1Image(volume, np.eye(4)).to_bytes()
    upload(app, head, "head.nii")
    app.run()
    assert decoded == [(None, None)]
    labelled(app.slider, "Slice or frame").set_value(5).run()
    assert decoded == [(None, None), (4, None)]
    next(group for group in app.button_group if group.label == "Plane").set_value("coronal").run()
    assert decoded[2:] == [(None, "coronal")]


def test_what_was_loaded_costs_no_later_collection(monkeypatch: pytest.MonkeyPatch) -> None:
    from medai_core.imaging import reader
    from pages.ui import loaders

    gc.unfreeze()
    loaded = [[] for _ in range(1000)]
    monkeypatch.setattr(reader, "load_reader", lambda whole: loaded)
    try:
        assert loaders.load() is loaded and gc.get_freeze_count() > 1000
    finally:
        gc.unfreeze()


def test_a_load_that_fails_is_logged_and_said(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from medai_core.imaging import reader
    from pages.ui import loaders

    def broken(whole: bool) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(reader, "load_reader", broken)
    with caplog.at_level(logging.ERROR), pytest.raises(ArtifactError, match="the log of the server says why"):
        loaders.load()
    assert "no space left" in caplog.text
    monkeypatch.setattr(reader, "load_reader", lambda whole: (_ for _ in ()).throw(InputError("as it is")))
    with pytest.raises(InputError, match="as it is"):
        loaders.load()
