"""What a clinician does: upload, read, look closer, download; junk; two visitors at once."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

Visitor = Callable[..., Page]


def go(page: Page, name: str) -> None:
    """Open a page by the side bar, which is folded on narrow windows."""
    folded = page.get_by_test_id("stExpandSidebarButton")
    if folded.is_visible():
        folded.click()
    page.get_by_test_id("stSidebarNav").get_by_role("link", name=name).click()
    expect(page.get_by_role("heading", name=name, level=1)).to_be_visible()


def upload(page: Page, name: str, data: bytes) -> None:
    page.locator("input[type=file]").set_input_files({"name": name, "mimeType": "image/png", "buffer": data})


def upload_sample(page: Page, name: str, data: bytes) -> None:
    """Upload a synthetic sample and open it as what it is: it is refused as a patient's."""
    upload(page, name, data)
    expect(page.locator(".st-key-refusal")).to_contain_text("This image is synthetic")
    page.get_by_role("button", name="Open as a demonstration").click()


def answer(page: Page) -> str:
    card = page.locator(".st-key-answer")
    card.wait_for()
    return card.locator(".medai-answer").inner_text()


def test_upload_read_look_closer_download(visitor: Visitor, samples: dict[str, bytes], tmp_path: Path) -> None:
    page = visitor()
    go(page, "Read a scan")
    upload_sample(page, "child.png", samples["normal"])
    assert answer(page) == "Normal"
    expect(page.get_by_text("Demonstration: this image is marked as synthetic")).to_be_visible()
    expect(page.get_by_text("Operating point: balanced")).to_be_visible()
    expect(page.get_by_text("Not for", exact=True).first).to_be_visible()

    heat = page.locator(".st-key-lightbox_map img").nth(1)
    heat.wait_for()
    before = heat.get_attribute("src")
    slider = page.get_by_role("slider", name="Opacity")
    slider.focus()
    slider.press("ArrowLeft")
    expect(heat).not_to_have_attribute("src", before)

    page.get_by_role("tab", name="Viewer").click()
    expect(page.locator(".st-key-lightbox_viewer .js-plotly-plot")).to_be_visible()

    page.get_by_role("tab", name="Report").click()
    with page.expect_download() as download:
        page.get_by_role("button", name="Download PDF").click()
    pdf = tmp_path / "report.pdf"
    download.value.save_as(pdf)
    assert pdf.read_bytes().startswith(b"%PDF-") and download.value.suggested_filename == "child-reading.pdf"
    with page.expect_download() as download:
        page.get_by_role("button", name="Download JSON").click()
    download.value.save_as(tmp_path / "report.json")
    assert json.loads((tmp_path / "report.json").read_text("utf-8"))["answer"]["label"] == "normal"


def test_junk_is_one_sentence_and_no_traceback(visitor: Visitor) -> None:
    page = visitor()
    go(page, "Read a scan")
    upload(page, "scan.png", b"this is no image\n" * 200)
    alert = page.get_by_test_id("stAlert").first
    expect(alert).to_contain_text("not a scan")
    assert "Traceback" not in page.content()
    page.get_by_role("button", name="Close this file").click()
    expect(page.locator("input[type=file]")).to_be_attached()


def test_a_refusal_after_a_reading_shows_what_the_gate_measured(visitor: Visitor, samples: dict[str, bytes]) -> None:
    page = visitor()
    go(page, "Read a scan")
    upload_sample(page, "child.png", samples["normal"])
    answer(page)
    page.get_by_role("tab", name="Viewer").click()
    expect(page.locator(".st-key-lightbox_viewer .js-plotly-plot")).to_be_visible()
    page.get_by_role("button", name="Close this file").click()
    expect(page.get_by_role("button", name="Close this file")).to_have_count(0)
    upload_sample(page, "page.png", samples["refused"])
    expect(page.locator(".st-key-refusal")).to_contain_text("This looks like a document")
    expect(page.get_by_text("Its reconstruction")).to_be_visible()
    expect(page.locator(".st-key-answer")).to_have_count(0)


def test_two_visitors_see_nothing_of_each_other(visitor: Visitor, samples: dict[str, bytes]) -> None:
    one, two = visitor(), visitor()
    for page, name, label in ((one, "first-visitor.png", "normal"), (two, "second-visitor.png", "glioma")):
        go(page, "Read a scan")
        upload_sample(page, name, samples[label])
    assert answer(one) == "Normal"
    assert answer(two) == "Glioma"
    assert "second-visitor" not in one.content() and "first-visitor" not in two.content()
    for page, mine, other in ((one, "first-visitor", "second-visitor"), (two, "second-visitor", "first-visitor")):
        go(page, "Models")
        go(page, "Read a scan")
        answer(page)
        assert mine in page.content() and other not in page.content()
    # Closing one visitor's file leaves the other's alone.
    one.get_by_role("button", name="Close this file").click()
    expect(one.locator("input[type=file]")).to_be_attached()
    two.get_by_role("tab", name="Input check").click()
    assert answer(two) == "Glioma"
    third = visitor()
    go(third, "Read a scan")
    expect(third.locator("input[type=file]")).to_be_attached()
    assert "visitor.png" not in third.content()


def test_many_files_open_one(visitor: Visitor, samples: dict[str, bytes]) -> None:
    page = visitor()
    go(page, "Many scans")
    files = [
        {"name": f"{label}.png", "mimeType": "image/png", "buffer": data} for label, data in sorted(samples.items())
    ]
    files.append({"name": "junk.png", "mimeType": "image/png", "buffer": b"junk " * 100})
    page.locator("input[type=file]").set_input_files(files)
    page.get_by_role("button", name=f"Read {len(files)} files").click()
    page.locator(".st-key-csv").wait_for()
    with page.expect_download() as download:
        page.get_by_role("button", name="Download CSV").click()
    text = Path(download.value.path()).read_text("utf-8-sig")
    assert len(text.splitlines()) == len(files) + 1
    page.get_by_role("button", name="Open the file").click()
    expect(page.get_by_role("heading", name="Read a scan", level=1)).to_be_visible()
    expect(page.get_by_role("button", name="Close this file")).to_be_visible()


def test_a_sample_opens_from_the_home_page(visitor: Visitor, samples: dict[str, bytes]) -> None:
    page = visitor()
    page.get_by_role("button", name="Open").first.click()
    expect(page.get_by_text("synthetic sample, no patient")).to_be_visible()
    page.locator(".st-key-answer, .st-key-refusal").first.wait_for()
    expect(page.get_by_text("Demonstration: this image is marked as synthetic and shows no patient.")).to_be_visible()


@pytest.mark.parametrize("width", [1280, 768])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_no_page_is_wider_than_the_window(visitor: Visitor, width: int, theme: str) -> None:
    page = visitor(width, theme)
    fits(page, "Home")
    for name in ("Read a scan", "Many scans", "Models"):
        go(page, name)
        fits(page, name)


@pytest.mark.parametrize("width", [1280, 768])
def test_no_page_with_answers_is_wider_than_the_window(visitor: Visitor, samples: dict[str, bytes], width: int) -> None:
    page = visitor(width)
    go(page, "Read a scan")
    upload_sample(page, "a-file-name-that-is-rather-long-and-has-no-space-in-it-" * 3 + ".png", samples["normal"])
    answer(page)
    for name in ("Explanation", "Viewer", "Input check", "Report"):
        page.get_by_role("tab", name=name).click()
        expect(page.get_by_role("tab", name=name)).to_have_attribute("aria-selected", "true")
        expect(page.get_by_test_id("stApp")).to_have_attribute("data-test-script-state", "notRunning")
        fits(page, name)
    go(page, "Many scans")
    files = [{"name": f"{n}.png", "mimeType": "image/png", "buffer": samples["normal"]} for n in range(3)]
    page.locator("input[type=file]").set_input_files(files)
    page.get_by_role("button", name="Read 3 files").click()
    page.locator(".st-key-csv").wait_for()
    fits(page, "the worklist")


def fits(page: Page, what: str) -> None:
    main = page.locator("[data-testid=stMain]")
    assert main.evaluate("e => e.scrollWidth <= e.clientWidth + 1"), f"{what} scrolls sideways"


def test_chinese(visitor: Visitor) -> None:
    page = visitor()
    page.get_by_text("中文").click()
    expect(page.get_by_text("非医疗器械。").first).to_be_visible()
    assert "lang=zh" in page.url
