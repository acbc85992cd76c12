"""What a researcher does with a table model: open own patients, save the waterfall, change a value, click a point."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Page, expect
from test_app import go

from medai_core.tabular.breast_cancer import FEATURES, sample_table

Visitor = Callable[..., Page]
PAGE = "Explain predictions"
SLOW_MS = 240_000
"""For the neural network's library, and for hundreds of explanations, on slow cores."""


def drawn_patients(n: int = 12) -> bytes:
    """Each value drawn by itself from its own column: nobody's row."""
    rng, frame = np.random.default_rng(0), sample_table().frame
    return frame[list(FEATURES)].apply(lambda column: rng.choice(column.to_numpy(), n)).to_csv(index=False).encode()


def start(page: Page) -> None:
    go(page, PAGE)
    page.locator(".st-key-tabx_waterfall .js-plotly-plot").first.wait_for()


def tab(page: Page, name: str) -> None:
    page.get_by_role("tab", name=name, exact=True).click()


def test_own_patients_to_a_saved_waterfall(visitor: Visitor, tmp_path: Path) -> None:
    page = visitor()
    start(page)
    page.get_by_role("radio", name="SVG", exact=True).click()
    page.get_by_role("button", name="Open other patients").click()
    page.locator("input[type=file]").set_input_files(
        {"name": "mine.csv", "mimeType": "text/csv", "buffer": drawn_patients()}
    )
    expect(page.get_by_role("spinbutton", name="Patient, 1 to 12")).to_be_visible()
    chart = page.locator(".st-key-tabx_waterfall[data-stale='false']")  # not what is left of the one before
    expect(chart).to_have_count(1)
    expect(chart.get_by_text("Log-odds of malignant").first).to_be_visible()
    chart.hover()
    with page.expect_download() as download:
        chart.locator("[data-title^='Download plot']").first.click()
    saved = tmp_path / download.value.suggested_filename
    download.value.save_as(saved)
    assert saved.suffix == ".svg" and "waterfall" in saved.name and b"Log-odds of malignant" in saved.read_bytes()


def test_change_undo_and_click_a_point(visitor: Visitor) -> None:
    page = visitor()
    start(page)
    tab(page, "What if")
    field = page.get_by_role("spinbutton", name="New value")
    field.fill("1")
    field.press("Tab")
    page.get_by_role("button", name="Apply the change").click()
    expect(page.locator(".st-key-tabx_answer")).to_contain_text("Values changed: 1")
    page.get_by_role("button", name="Undo all").click()
    expect(page.get_by_text("Nothing is changed yet")).to_be_visible()

    tab(page, "All patients")
    begin = page.get_by_role("button", name="Explain all patients")
    done = page.locator(".st-key-tabx_all_csv")
    expect(begin.or_(done).first).to_be_visible()
    if begin.is_visible():
        begin.click()
    done.wait_for(timeout=SLOW_MS)
    dot = page.locator("[class*=st-key-tabx_swarm] .scatterlayer .trace").first.locator(".point").first
    dot.wait_for()
    dot.scroll_into_view_if_needed()
    box = dot.bounding_box()
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    expect(page.get_by_role("tab", name="Why", exact=True)).to_have_attribute("aria-selected", "true")
    expect(page.get_by_role("spinbutton", name="Patient, 1 to 569")).not_to_have_value("1")


@pytest.mark.parametrize(("width", "theme"), [(1280, "light"), (768, "dark")])
def test_no_tab_is_wider_than_the_window(visitor: Visitor, width: int, theme: str) -> None:
    page = visitor(width, theme)
    start(page)
    main = page.locator("[data-testid=stMain]")
    for name, shown in (("Why", "tabx_force"), ("What if", "tabx_ice"), ("Every model", "tabx_agreement")):
        tab(page, name)
        page.locator(f".st-key-{shown} .js-plotly-plot").first.wait_for(timeout=SLOW_MS)
        assert main.evaluate("e => e.scrollWidth <= e.clientWidth + 1"), name
