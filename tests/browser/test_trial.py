"""What a clinician does with a trial: a patient under each treatment, what choosing is worth; and any explanation."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from test_app import go

Visitor = Callable[..., Page]
PAGE, EXPLORE = "Compare treatments", "Explore explanations"


def test_a_patient_under_each_treatment(visitor: Visitor) -> None:
    page = visitor()
    go(page, PAGE)
    expect(page.get_by_text("No treatment is recommended")).to_be_visible()
    expect(page.locator(".st-key-treat_curves .js-plotly-plot")).to_be_visible()
    table = page.locator(".medai-table").first
    before = table.text_content() or ""
    cells = page.get_by_role("spinbutton", name="CD4 count")
    cells.fill("450")
    cells.press("Enter")
    expect(table).not_to_have_text(before)
    go(page, "Models")
    go(page, PAGE)
    expect(page.get_by_role("spinbutton", name="CD4 count")).to_have_value("450")
    with page.expect_download() as download:
        page.get_by_role("button", name="Download the curves, CSV").click()
    assert download.value.suggested_filename == "treatment-curves.csv"
    page.get_by_role("radio", name="SVG", exact=True).click()
    chart = page.locator(".st-key-treat_curves[data-stale='false']")
    expect(chart).to_have_count(1)
    chart.hover()
    with page.expect_download() as download:
        chart.locator("[data-title^='Download plot']").first.click()
    assert download.value.suggested_filename == "medai-actg175-curves.svg"
    assert b"Event-free" in Path(download.value.path()).read_bytes()
    page.get_by_role("tab", name="Is choosing worth it?").click()
    expect(page.locator(".st-key-treat_gain .js-plotly-plot")).to_be_visible()
    page.get_by_role("tab", name="The whole trial").click()
    expect(page.get_by_text("Still watched and event-free")).to_be_visible()


def test_an_own_trial_needs_the_statement_and_can_be_stopped(visitor: Visitor) -> None:
    page = visitor()
    go(page, PAGE)
    page.get_by_text("My own randomised trial").click()
    page.get_by_role("button", name="Open a made-up trial").click()
    start = page.get_by_role("button", name="Compare the treatments")
    start.click()
    expect(page.get_by_test_id("stAlert").first).to_contain_text("only where chance assigned them")
    page.get_by_text("I state that chance alone").click()
    start.click()
    expect(page.get_by_text("Comparing survival models")).to_be_visible()
    page.get_by_role("button", name="Stop", exact=True).last.click()
    expect(page.get_by_text("Nothing was kept of the work")).to_be_visible()
    page.get_by_role("button", name="Close this trial").click()
    expect(page.locator("input[type=file]")).to_be_attached()


def test_explanations_of_every_kind_are_checked(visitor: Visitor) -> None:
    page = visitor()
    go(page, EXPLORE)
    expect(page.locator(".st-key-faithfulness .js-plotly-plot")).to_be_visible()
    for kind in ("Intensive care", "Clinical table", "Treatments of a trial"):
        page.get_by_role("main").get_by_text(kind, exact=True).first.click()
        expect(page.locator(".st-key-explore_insertion .js-plotly-plot")).to_be_visible()


@pytest.mark.parametrize("width", [1280, 768])
def test_nothing_is_wider_than_the_window(visitor: Visitor, width: int) -> None:
    page = visitor(width, "dark")
    main = page.locator("[data-testid=stMain]")
    for name, key in ((PAGE, "treat_drivers"), (EXPLORE, "faithfulness")):
        go(page, name)
        expect(page.locator(f".st-key-{key} .js-plotly-plot")).to_be_visible()
        assert main.evaluate("e => e.scrollWidth <= e.clientWidth + 1"), f"{name} scrolls sideways"
