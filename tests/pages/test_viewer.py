"""The viewer: window, zoom and pan, proportions, and DICOM tags."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from PIL import Image
from streamlit.testing.v1 import AppTest
from test_scan_page import away_and_back, labelled, tab, upload

from medai_core.errors import ArtifactError
from medai_core.imaging.read import read_scan


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


@pytest.mark.parametrize("preset", ["default", "full", "contrast"])
@pytest.mark.parametrize("kind", ["flat", "nearly flat"])
def test_a_flat_picture_can_be_viewed(app: AppTest, kind: str, preset: str) -> None:
    grey = np.full((300, 300), 130, np.uint8)
    grey[0, :3] = 130 if kind == "flat" else 255
    buffer = io.BytesIO()
    Image.fromarray(grey).save(buffer, "PNG")
    upload(app, buffer.getvalue())
    tab(app, "Viewer")
    labelled(app.selectbox, "Preset").set_value(preset).run()
    assert not app.exception
    width = labelled(app.slider, "Window (width)")
    assert width.min <= width.value <= width.max


def test_the_viewer_zooms_and_pans_without_a_mouse(app: AppTest, files: dict[str, bytes]) -> None:
    def ranges() -> list[list[float]]:
        (figure,) = [json.loads(chart.proto.spec) for chart in app.get("plotly_chart") if "images" in chart.proto.spec]
        return [figure["layout"][axis]["range"] for axis in ("xaxis", "yaxis")]

    tab(upload(app, files["sure"]), "Viewer")  # 240 × 200 pixels
    assert ranges() == [[0, 240], [200, 0]] and labelled(app.button, "Left").disabled
    labelled(app.slider, "Zoom").set_value(2.0).run()
    assert ranges() == [[60, 180], [150, 50]]
    labelled(app.button, "Left").click().run()
    labelled(app.button, "Down").click().run()
    assert ranges() == [[30, 150], [175, 75]]
    for _ in range(5):
        labelled(app.button, "Left").click().run()
    assert ranges()[0] == [0, 120]
    app.button(key="reset_view").click().run()
    assert ranges() == [[0, 240], [200, 0]] and not app.exception


def test_the_viewer_keeps_its_sliders_while_the_visitor_is_away(app: AppTest, files: dict[str, bytes]) -> None:
    tab(upload(app, files["sure"]), "Viewer")
    labelled(app.slider, "Window (width)").set_value(40.0).run()
    labelled(app.slider, "Zoom").set_value(3.0).run()
    tab(away_and_back(app), "Viewer")
    assert labelled(app.slider, "Window (width)").value == 40.0 and labelled(app.slider, "Zoom").value == 3.0


def test_pixels_that_are_not_square_are_shown_as_they_are(files: dict[str, bytes]) -> None:
    from pages.ui.viewer import in_proportion

    grey = read_scan(files["sure"]).display  # 200 × 240
    assert in_proportion(grey, None) is grey and in_proportion(grey, (0.5, 0.5)) is grey
    assert in_proportion(grey, (5.0, 1.0)).shape == (1000, 240)
    assert in_proportion(grey, (1.0, 2.0)).shape == (200, 480)
    assert max(in_proportion(grey, (5.0, 1.0), 512).shape) == 512


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
