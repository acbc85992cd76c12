"""What a researcher does: make labelled images, move a slider, take them away; the tour through the dashboard."""

from __future__ import annotations

import csv
import io
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

Visitor = Callable[..., Page]
# What a person still takes for an answer to the hand, on a machine of two cores that does nothing else: the slider's
# own delay, the way to the server and back, and the images.
PATIENT_SECONDS = 3.0


def go(page: Page, name: str) -> None:
    """Open a page by the side bar, which is folded on narrow windows."""
    folded = page.get_by_test_id("stExpandSidebarButton")
    if folded.is_visible():
        folded.click()
    page.get_by_test_id("stSidebarNav").get_by_role("link", name=name).click()
    expect(page.get_by_role("heading", name=name, level=1)).to_be_visible()


def make(page: Page) -> None:
    """Open the page of synthetic images and wait for the first ones."""
    go(page, "Make images")
    expect(page.locator(".medai-grid img").first).to_be_visible()


def test_make_and_download_a_zip(visitor: Visitor, tmp_path: Path) -> None:
    from medai_core import marks

    page = visitor()
    make(page)
    page.get_by_role("spinbutton", name="Images of each label").fill("2")
    page.get_by_role("spinbutton", name="Seed").fill("7")
    page.get_by_role("spinbutton", name="Seed").press("Enter")
    page.get_by_role("button", name="Make 6 images").click()
    expect(page.get_by_text("6 images in")).to_contain_text("seed 7")
    expect(page.locator(".medai-grid img")).to_have_count(6)

    with page.expect_download() as download:
        page.get_by_role("button", name="ZIP of PNG images").click()
    packed = zipfile.ZipFile(io.BytesIO(Path(download.value.path()).read_bytes()))
    rows = list(csv.DictReader(io.StringIO(packed.read("labels.csv").decode("utf-8-sig"))))
    assert [row["label"] for row in rows] == ["normal"] * 2 + ["bacterial"] * 2 + ["viral"] * 2
    for row in rows:
        picture = np.asarray(Image.open(io.BytesIO(packed.read(row["file"]))))
        found = marks.recognise(picture)
        assert picture.shape == (128, 128) and found.visible and found.watermark

    page.get_by_text("Without it, for training models").click()
    expect(page.get_by_role("button", name="ZIP of PNG images")).to_be_disabled()
    page.get_by_text("I use these for training models").click()
    with page.expect_download() as download:
        page.get_by_role("button", name="ZIP of PNG images").click()
    clean = zipfile.ZipFile(io.BytesIO(Path(download.value.path()).read_bytes()))
    found = marks.recognise(np.asarray(Image.open(io.BytesIO(clean.read(rows[0]["file"])))))
    assert found.watermark and not found.visible


def test_a_slider_answers(visitor: Visitor) -> None:
    page = visitor()
    make(page)
    page.get_by_role("tab", name="Look inside").click()
    first = page.locator(".medai-grid").nth(0).locator("img").nth(0)
    first.wait_for()
    slider = page.get_by_role("slider", name="Variety (truncation)")
    before = first.get_attribute("src")
    slider.focus()
    slider.press("ArrowLeft")
    expect(first).not_to_have_attribute("src", before)
    before = first.get_attribute("src")
    start = time.perf_counter()
    slider.press("ArrowLeft")
    expect(first).not_to_have_attribute("src", before)
    assert time.perf_counter() - start < PATIENT_SECONDS


def test_practise_by_keyboard(visitor: Visitor) -> None:
    page = visitor()
    go(page, "Real or synthetic?")
    page.get_by_role("button", name="Practise without own images").click()
    for place in range(1, 4):
        expect(page.get_by_text(f"Image {place} of 20")).to_be_visible()
        page.keyboard.press(str(place))
    expect(page.get_by_text("Image 4 of 20")).to_be_visible()
    page.get_by_role("button", name="Stop here").click()
    expect(page.get_by_text("Stopped after 3 of 20 images")).to_be_visible()
    with page.expect_download() as download:
        page.get_by_role("button", name="Download CSV").click()
    assert len(Path(download.value.path()).read_text("utf-8-sig").splitlines()) == 4


def test_the_tour_is_left_and_resumed(visitor: Visitor) -> None:
    page = visitor()
    page.get_by_role("button", name="Start the tour").click()
    bar = page.locator(".st-key-tour")
    expect(bar).to_contain_text("Tour, step 1 of")
    page.get_by_role("button", name="Next").click()
    expect(bar).to_contain_text("Tour, step 2 of")
    expect(page.get_by_role("heading", name="Read a scan", level=1)).to_be_visible()
    page.locator(".st-key-answer, .st-key-refusal").first.wait_for()
    page.get_by_role("button", name="Leave").click()
    expect(bar).to_have_count(0)
    page.get_by_test_id("stSidebarNav").get_by_role("link", name="Home").click()
    page.get_by_role("button", name="Resume at step 2").click()
    expect(bar).to_contain_text("Tour, step 2 of")
    assert "tour=2" in page.url


@pytest.mark.parametrize("width", [1280, 768])
def test_no_page_is_wider_than_the_window(visitor: Visitor, width: int) -> None:
    page = visitor(width)
    make(page)
    for name in ("Look inside", "How good are they?", "Is it anyone's copy?"):
        page.get_by_role("tab", name=name).click()
        expect(page.get_by_role("tab", name=name)).to_have_attribute("aria-selected", "true")
        expect(page.get_by_test_id("stApp")).to_have_attribute("data-test-script-state", "notRunning")
        fits(page, name)
    for name in ("Real or synthetic?", "Restore a radiograph"):
        go(page, name)
        fits(page, name)


def fits(page: Page, what: str) -> None:
    main = page.locator("[data-testid=stMain]")
    assert main.evaluate("e => e.scrollWidth <= e.clientWidth + 1"), f"{what} scrolls sideways"
