"""The scan page: result, refusal, error, explanation, viewer, reports, and what it keeps and forgets."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable

import pytest
from streamlit.testing.v1 import AppTest

from medai_core.errors import ArtifactError

PAGE = "pages/imaging/read_scan.py"
Said = Callable[[AppTest], str]


def upload(app: AppTest, data: bytes, name: str = "scan.png") -> AppTest:
    app.switch_page(PAGE).run()
    app.file_uploader[0].upload(name, data).run()
    assert not app.exception
    return app


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
    for sentence in (
        "Bacterial pneumonia", "94.0%", "prediction set holds one label", "One label fits", "Operating point: balanced",
        "95.0%", "95% interval 92.0% to 97.0%", "Children of one to five years", "Adults.", "version 1.0",
        "0.981 (0.972–0.989)", "8-bit grey", "stretched to 224×224",
    ):  # fmt: skip
        assert sentence in text, sentence


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


def test_viewer_presets_and_reset(app: AppTest, files: dict[str, bytes]) -> None:
    tab(upload(app, files["sure"]), "Viewer")
    preset = next(box for box in app.selectbox if box.label == "Preset")
    level = next(slider for slider in app.slider if slider.label.startswith("Level"))
    before = level.value
    preset.set_value("contrast").run()
    level = next(slider for slider in app.slider if slider.label.startswith("Level"))
    assert level.value != before
    app.button(key="reset_view").click().run()
    level = next(slider for slider in app.slider if slider.label.startswith("Level"))
    assert level.value == before and not app.exception


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
    box = next(box for box in app.selectbox if box.label == "File in the archive")
    assert box.options == ["a/first.png", "b/second.png"]
    assert "Bacterial pneumonia" in said(app)
    box.set_value("b/second.png").run()
    assert "This looks like a photograph" in said(app)


def test_volume_has_slices_and_planes(app: AppTest) -> None:
    nib = pytest.importorskip("nibabel")
    import numpy as np

    from pages.ui import loaders

    volume = np.random.default_rng(0).integers(90, 200, (96, 100, 104)).astype(np.int16)
    upload(app, nib.Nifti1Image(volume, np.eye(4)).to_bytes(), "head.nii")
    app.slider[0].set_value(5).run()
    next(group for group in app.button_group if group.label == "Plane").set_value("coronal").run()
    assert not app.exception
    asked = loaders.reader().asked
    assert (4, "axial") in asked
    assert asked[-1][1] == "coronal"


def test_viewer_and_tags_work_where_no_reading_can_be_made(
    app: AppTest, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    from pages.ui import loaders

    def broken() -> None:
        raise ArtifactError("The model {model} is not installed", model="x")

    monkeypatch.setattr(loaders, "load", broken)
    loaders.loading.clear()
    upload(app, files["sure"])
    (error,) = app.error
    assert "not installed" in error.value
    assert [tab.label for tab in app.tabs] == ["Viewer", "DICOM tags"]


def test_dicom_values_that_identify_are_masked_until_asked_for(app: AppTest) -> None:
    pydicom = pytest.importorskip("pydicom")
    from pydicom.data import get_testdata_file

    path = get_testdata_file("CT_small.dcm", read=False)
    name = str(pydicom.dcmread(path).PatientName)
    with open(path, "rb") as file:
        data = file.read()
    tab(upload(app, data, "ct.dcm"), "DICOM tags")
    table = app.dataframe[-1].value
    assert not table["Value"].str.contains(name, regex=False).any()
    app.checkbox[0].check().run()
    assert app.dataframe[-1].value["Value"].str.contains(name, regex=False).any()
