"""The case workspace as a reader uses it: arrival, walking by keyboard, reading first, overruling, exports."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, TimeoutError, expect

Visitor = Callable[..., Page]


def go(page: Page, name: str) -> None:
    """Open a page of the workspace by the side bar, which is folded on narrow windows."""
    folded = page.get_by_test_id("stExpandSidebarButton")
    if folded.is_visible():
        folded.click()
    page.get_by_test_id("stSidebarNav").get_by_role("link", name=name, exact=True).click()
    expect(page.get_by_role("heading", name=name, level=1)).to_be_visible()


def fits(page: Page, what: str) -> None:
    main = page.locator("[data-testid=stMain]")
    assert main.evaluate("e => e.scrollWidth <= e.clientWidth + 1"), f"{what} scrolls sideways"


def add(page: Page, samples: dict[str, bytes]) -> None:
    """Let two studies arrive; those that are here already are recognised."""
    page.get_by_text("Add studies", exact=True).click()
    files = [
        {"name": f"{label}.png", "mimeType": "image/png", "buffer": samples[label]} for label in ("normal", "glioma")
    ]
    page.locator("input[type=file]").set_input_files(files)
    page.get_by_role("button", name="Add the files: 2").click()
    expect(page.get_by_text("2 received").or_(page.get_by_text("2 already here"))).to_be_visible()
    page.get_by_role("button", name="Add more").click()


def choose(page: Page, field: str, option: str) -> None:
    """Choose an option; a list that was opened while the page was still being drawn closes, and is opened again."""
    expect(page.get_by_test_id("stApp")).to_have_attribute("data-test-script-state", "notRunning")
    wanted = page.get_by_role("option", name=option)
    for _ in range(5):
        page.get_by_role("combobox", name=field).click()
        try:
            wanted.wait_for(timeout=4000)
        except TimeoutError:
            continue
        break
    wanted.click()


def test_from_arrival_to_report(visitor: Visitor, samples: dict[str, bytes]) -> None:
    page = visitor()
    go(page, "Worklist")
    add(page, samples)
    expect(page.locator(".st-key-worklist_box")).to_contain_text("High")  # the list came by itself to the reading
    page.locator(".st-key-read_first_list label").last.click()
    expect(page.locator(".st-key-worklist_box")).to_contain_text("Withheld")
    page.get_by_role("heading", name="Worklist", level=1).click()  # keys are for a field as long as one has the focus
    page.keyboard.press("j")
    expect(page.locator(".st-key-worklist_box")).to_contain_text("▶")
    page.keyboard.press("o")
    expect(page.get_by_role("heading", name="Case", level=1)).to_be_visible()
    assert "case=" in page.url
    expect(page.get_by_text("Your reading comes first")).to_be_visible()

    choose(page, "Finding", "Other finding")
    page.get_by_label("Description").fill("seen by a test")
    page.get_by_role("button", name="Commit the reading").click()
    expect(page.get_by_text("Calibrated probability")).to_be_visible()
    expect(page.get_by_text("seen by a test")).to_be_visible()
    expect(page.get_by_text("read first", exact=False).first).to_be_visible()

    page.get_by_role("button", name="Compare with the model").click()
    page.get_by_text("I overrule it").click()
    page.get_by_label("Why you overrule it").fill("a test says so")
    page.get_by_role("button", name="Commit the reading").click()
    expect(page.get_by_text("overrules the model")).to_be_visible()

    page.locator("[class*=st-key-case_export_json_False] button").first.click()
    with page.expect_download() as download:
        page.locator("[class*=st-key-case_export_json_False][class*=_save] button").click()
    assert download.value.suggested_filename.endswith("-json.json")
    assert download.value.path().read_bytes().startswith(b"{")


def test_a_link_to_nothing_is_answered_plainly(visitor: Visitor, server: str) -> None:
    page = visitor()
    page.goto(f"{server}/case?case=%3Cscript%3Ealert(1)%3C/script%3E")
    expect(page.get_by_text("There is no such case here.")).to_be_visible()
    expect(page.get_by_role("link", name="Back to the worklist")).to_be_visible()


@pytest.mark.parametrize(("width", "theme"), [(1280, "dark"), (768, "light")])
def test_pages_of_the_workspace_fit(visitor: Visitor, samples: dict[str, bytes], width: int, theme: str) -> None:
    page = visitor(width, theme)
    go(page, "Worklist")
    add(page, samples)
    fits(page, "the worklist")
    page.keyboard.press("j")
    expect(page.locator(".st-key-worklist_box")).to_contain_text("▶")
    page.keyboard.press("o")
    expect(page.get_by_role("heading", name="Case", level=1)).to_be_visible()
    expect(page.get_by_text("Readings committed")).to_be_visible()
    fits(page, "the case")
    go(page, "Administration")
    page.get_by_role("tab", name="Audit log").click()
    page.get_by_role("button", name="Check the log").click()
    expect(page.get_by_text("The log is whole")).to_be_visible()
    fits(page, "the administration")
