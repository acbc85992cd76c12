"""The page of restoration: noise, regions, before and after, and the warning that never goes away."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
from page_kit import on_page, shown
from PIL import Image
from streamlit.testing.v1 import AppTest

from medai_core.imaging.gate import marks_of
from medai_core.imaging.read import read_scan
from pages.ui import restore_view
from pages.ui.restore_view import ELLIPSE, RECTANGLE, Region

PAGE = "pages/synthesis/restore.py"
Said = Callable[[AppTest], str]


@pytest.fixture
def page(app: AppTest) -> AppTest:
    return on_page(app, PAGE)


def opened(page: AppTest, data: bytes) -> AppTest:
    page.file_uploader[0].upload("scan.png", data).run()
    assert not page.exception
    return page


def test_the_warning_is_there_before_and_after(page: AppTest, files: dict[str, bytes]) -> None:
    assert "must not be read" in page.warning[0].value
    assert "must not be read" in opened(page, files["sure"]).warning[0].value


def test_noise_is_added_and_taken_away(page: AppTest, files: dict[str, bytes], said: Said) -> None:
    opened(page, files["sure"])
    first = shown(page)
    assert len(first) == 3 and "Full colour is" in said(page)
    page.slider(key="restore_strength").set_value(0.2).run()
    before, after, difference = shown(page)
    assert before == first[0] and after != first[1] and difference != first[2]
    page.slider(key="restore_added").set_value(0.2).run()
    assert shown(page)[0] != before


def test_a_visitors_own_image_is_shown_as_it_is_and_a_sample_with_noise(
    page: AppTest, files: dict[str, bytes], said: Said
) -> None:
    opened(page, files["sure"])
    assert page.slider(key="restore_added").value == 0 and "with the noise added" not in said(page)
    page.button(key="restore_let_go").click().run()
    next(button for button in page.button if str(button.key).startswith("restore_open_")).click().run()
    assert page.slider(key="restore_added").value == 0.1 and "Before, with the noise added" in said(page)


def test_a_region_is_filled_in(page: AppTest, files: dict[str, bytes]) -> None:
    opened(page, files["sure"])
    page.button_group(key="restore_what").set_value("region").run()
    assert not page.exception and len(page.get("plotly_chart")) == 1
    first = shown(page)
    page.slider(key="restore_across").set_value((10, 30)).run()
    assert shown(page)[0] == first[0] and shown(page)[1] != first[1]
    page.slider(key="restore_across").set_value((0, 100)).run()
    page.slider(key="restore_down").set_value((0, 100)).run()
    assert "The region covers 79% of the image; at most 25% can be filled in" in page.info[0].value and not shown(page)
    page.button(key="restore_let_go").click().run()
    assert len(page.file_uploader) == 1 and not shown(page)


def test_a_sample_opens(page: AppTest, said: Said) -> None:
    next(button for button in page.button if str(button.key).startswith("restore_open_")).click().run()
    assert not page.exception and "synthetic sample, no patient" in said(page) and len(shown(page)) == 3


def test_what_the_scan_page_refuses_is_restored_with_a_caution(page: AppTest, files: dict[str, bytes]) -> None:
    opened(page, files["refused"])
    (_always, caution) = page.warning
    assert "refuses this image: The gate takes this for a photograph" in caution.value and len(shown(page)) == 3
    page.button(key="restore_let_go").click().run()
    assert len(opened(page, files["sure"]).warning) == 1


def test_of_a_closed_image_nothing_is_kept(
    page: AppTest, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    from pages.ui import loaders

    forgotten: list[str] = []
    monkeypatch.setattr(loaders, "forget", lambda: forgotten.append("scan page"))
    opened(page, files["sure"])
    page.button(key="restore_let_go").click().run()
    assert "restore_held" not in page.session_state and forgotten == ["scan page"]


def test_junk_is_one_sentence(page: AppTest, files: dict[str, bytes]) -> None:
    opened(page, files["junk"])
    assert "not a scan" in page.error[0].value


def test_without_a_restorer_the_page_is_helpful(app: AppTest, said: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    from pages.ui import synth_loaders

    monkeypatch.setattr(synth_loaders, "restorer_ids", lambda: [])
    app.switch_page(PAGE).run()
    assert not app.exception and "No model of restoration is installed" in said(app) and not app.file_uploader


def test_regions() -> None:
    square = Region(RECTANGLE, (0.25, 0.75), (0.0, 0.5)).mask(8, 4)
    assert square[:4, 1:3].all() and square.sum() == 8
    disc = Region(ELLIPSE, (0.0, 1.0), (0.0, 1.0)).mask(100, 200)
    assert disc.mean() == pytest.approx(np.pi / 4, abs=0.01) and not disc[0, 0]
    for shape in (RECTANGLE, ELLIPSE):
        assert Region(shape, (1.0, 1.0), (0.5, 0.5)).mask(10, 10).sum() == 1


def test_a_box_drawn_on_the_image_becomes_the_region(monkeypatch: pytest.MonkeyPatch) -> None:
    state: dict[str, object] = {restore_view.PICK: {"selection": {"box": [{"x": [150, 50], "y": [-9, 20]}]}}}
    monkeypatch.setattr(restore_view.st, "session_state", state)
    restore_view.picked(height=100, width=200)
    assert state[restore_view.ACROSS] == (25, 75) and state[restore_view.DOWN] == (0, 20)
    state[restore_view.PICK] = {"selection": {"box": []}}
    restore_view.picked(height=100, width=200)
    assert state[restore_view.ACROSS] == (25, 75)


def test_the_difference_shows_where_and_in_which_direction() -> None:
    change = np.zeros((4, 4), np.int16)
    change[0, 0], change[1, 1] = 100, -50
    colours, scale = restore_view.difference_colours(change)
    assert scale == 100 and not colours[2, 2].any()
    assert colours[0, 0].tolist() == [230, 159, 0] and colours[1, 1].tolist() == [43, 90, 116]
    _colours, faint = restore_view.difference_colours(np.full((2, 2), 3, np.int16))
    assert faint == restore_view.LEAST_SCALE


def test_the_file_to_keep_is_recognised_as_synthetic() -> None:
    y, x = np.mgrid[-1:1:300j, -1:1:260j]
    after = (120 + 60 * np.cos(3 * x * y + x)).astype(np.uint8)
    data = restore_view.png_of(after, "chest_xray_restorer", None)
    described = Image.open(io.BytesIO(data)).text["Description"]
    assert described.startswith("Partly SYNTHETIC: noise taken out by chest_xray_restorer.")
    scan = read_scan(data)
    found = marks_of(scan)
    assert scan.display.shape == (300, 260) and found.visible and found.watermark and found.metadata
