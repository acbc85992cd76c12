"""What a clinician does with one stay: choose, scrub, ask what if, look why, download; bad files; two visitors."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from test_app import go

from pages.ui.icu_examples import EXAMPLES
from pages.ui.samples import icu_samples

Visitor = Callable[..., Page]
PAGE = "Follow a patient"


def risk(page: Page) -> str:
    """The risk now, as the headline shows it."""
    shown = page.locator(".st-key-icu_answer .main .value")
    shown.wait_for()
    return shown.inner_text()


def upload(page: Page, layout: str) -> None:
    name, kind, written = EXAMPLES[layout]
    page.locator("input[type=file]").set_input_files({"name": name, "mimeType": kind, "buffer": written()})


def now(page: Page, hour: int) -> None:
    expect(page.locator(".st-key-icu_answer")).to_contain_text(f"recorded up to hour {hour}")


def test_choose_scrub_what_if(visitor: Visitor) -> None:
    assert icu_samples(), "no demo stays in assets/samples"
    page = visitor()
    go(page, PAGE)
    page.locator(".st-key-icu_gallery").get_by_role("button", name="Open").first.click()
    expect(page.get_by_text("synthetic stay, no patient")).to_be_visible()
    now(page, 24)
    first = risk(page)
    expect(page.locator(".st-key-icu_course .js-plotly-plot")).to_be_visible()

    slider = page.get_by_role("slider", name="Now: hours since admission")
    slider.focus()
    slider.press("ArrowLeft")
    now(page, 23)
    page.get_by_role("button", name="+6 h").click()
    now(page, 29)
    page.get_by_role("button", name="−6 h").click()
    now(page, 23)
    page.get_by_role("button", name="+1 h").click()
    now(page, 24)
    assert risk(page) == first

    page.get_by_role("tab", name="What if").click()
    page.get_by_text("Shift all").click()
    value = page.get_by_role("spinbutton", name="Shift by")
    value.fill("40")
    value.press("Enter")
    page.get_by_role("button", name="Apply the change").click()
    expect(page.locator(".medai-delta")).to_contain_text("→")
    expect(page.get_by_text("Heart rate is shifted by +40 /min throughout")).to_be_visible()
    expect(page.get_by_text("Association, not effect").first).to_be_visible()
    assert risk(page) != first

    go(page, "Models")
    go(page, PAGE)
    page.get_by_role("tab", name="What if").click()
    page.get_by_role("button", name="Undo all").click()
    expect(page.locator(".medai-delta")).to_have_count(0)
    expect(page.locator(".st-key-icu_answer .main .value")).to_have_text(first)


def test_one_value_is_changed_another_deleted_and_one_edit_undone(visitor: Visitor) -> None:
    page = visitor()
    go(page, PAGE)
    page.locator(".st-key-icu_gallery").get_by_role("button", name="Open").first.click()
    now(page, 24)
    first = risk(page)
    page.get_by_role("tab", name="What if").click()
    value = page.get_by_role("spinbutton", name="New value")
    value.fill("190")
    value.press("Enter")
    page.get_by_role("button", name="Apply the change").click()
    listed = page.locator("[class*='st-key-icu_undo_']")
    expect(listed).to_have_count(2)  # the edit's own button, and the one for all
    expect(page.get_by_text(re.compile("Heart rate .*190"))).to_be_visible()
    expect(page.locator(".medai-delta")).to_contain_text("→")
    one_edit = risk(page)

    page.get_by_text("Delete", exact=True).click()
    page.get_by_role("button", name="Apply the change").click()
    expect(listed).to_have_count(3)
    page.locator(".st-key-icu_undo_1").get_by_role("button").click()
    expect(listed).to_have_count(2)
    assert risk(page) == one_edit
    page.locator(".st-key-icu_undo_0").get_by_role("button").click()
    expect(listed).to_have_count(0)
    expect(page.locator(".st-key-icu_answer .main .value")).to_have_text(first)


def test_upload_why_measured_download(visitor: Visitor, tmp_path: Path) -> None:
    page = visitor()
    go(page, PAGE)
    upload(page, "wide")
    now(page, 6)
    expect(page.get_by_text("converted or read in a particular way: 1")).to_be_visible()

    page.get_by_role("tab", name="Why").click()
    expect(page.get_by_text(re.compile("Additivity gap"))).to_be_visible()
    expect(page.locator(".st-key-icu_heat .js-plotly-plot")).to_be_visible()

    page.get_by_role("tab", name="What was measured").click()
    expect(page.locator(".st-key-icu_strip .js-plotly-plot")).to_be_visible()

    page.get_by_role("tab", name="Downloads").click()
    with page.expect_download() as download:
        page.get_by_role("button", name="Risk by hour, CSV").click()
    path = tmp_path / "risk.csv"
    download.value.save_as(path)
    rows = list(csv.DictReader(path.read_text("utf-8-sig").splitlines()))
    assert [row["hour"] for row in rows] == [str(hour) for hour in range(1, 7)]
    assert f"{float(rows[-1]['risk']):.1%}" == risk(page)


def test_a_bad_file_is_one_sentence(visitor: Visitor) -> None:
    page = visitor()
    go(page, PAGE)
    bad = b"minutes,parameter,value\n90,HR,90\n10,HR,80\n"
    page.locator("input[type=file]").set_input_files({"name": "bad.csv", "mimeType": "text/csv", "buffer": bad})
    expect(page.get_by_test_id("stAlert").first).to_contain_text("Row 3, column minutes: times must not run backwards")
    assert "Traceback" not in page.content()
    page.get_by_role("button", name="Close this stay").click()
    expect(page.locator("input[type=file]")).to_be_attached()


def test_two_visitors_follow_their_own_stays(visitor: Visitor) -> None:
    one, two = visitor(), visitor()
    for page, layout in ((one, "long"), (two, "fhir")):
        go(page, PAGE)
        upload(page, layout)
        risk(page)
    assert "stay-fhir" not in one.content() and "stay-long" not in two.content()
    one.get_by_role("button", name="Close this stay").click()
    expect(one.locator("input[type=file]")).to_be_attached()
    two.get_by_role("button", name="−1 h").click()
    now(two, 5)


@pytest.mark.parametrize("width", [1280, 768])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_no_tab_is_wider_than_the_window(visitor: Visitor, width: int, theme: str) -> None:
    page = visitor(width, theme)
    go(page, PAGE)
    upload(page, "long")
    risk(page)
    main = page.locator("[data-testid=stMain]")
    for name in ("Course", "What if", "What was measured", "Downloads"):
        page.get_by_role("tab", name=name).click()
        expect(page.get_by_role("tab", name=name)).to_have_attribute("aria-selected", "true")
        assert main.evaluate("e => e.scrollWidth <= e.clientWidth + 1"), f"{name} scrolls sideways"
