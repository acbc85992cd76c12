"""What a researcher does with many stays: upload, sort, filter, download, look at the map, open one, stop."""

from __future__ import annotations

import csv
import io
import random
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from test_app import go

Visitor = Callable[..., Page]
PAGE = "Many patients"


def stay(record: int, ill: bool) -> bytes:
    """A made-up stay of 24 hours and more, nobody's course; an ill one has a fast heart and a low pressure."""
    drawn = random.Random(record)
    lines = ["Time,Parameter,Value", f"00:00,RecordID,{record}", f"00:00,Age,{drawn.randint(30, 85)}"]
    for hour in range(drawn.randint(24, 47)):
        rows = {
            "HR": drawn.gauss(125 if ill else 75, 6),
            "MAP": drawn.gauss(58 if ill else 85, 5),
            "Temp": drawn.gauss(38.4 if ill else 37, 0.2),
        }
        if hour % 6 == 0:
            rows |= {"Lactate": drawn.gauss(6 if ill else 1.2, 0.2), "GCS": 6 if ill else 15}
        lines += [f"{hour:02d}:{10 + 5 * k},{name},{value:.1f}" for k, (name, value) in enumerate(rows.items())]
    return ("\n".join(lines) + "\n").encode()


def archive(count: int) -> dict[str, object]:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as packed:
        for k in range(count):
            packed.writestr(f"stay-{k}.txt", stay(k, ill=k % 4 == 0))
        packed.writestr("junk.txt", b"Time,Parameter,Value\n00:07,HR,fast\n")
    return {"name": "stays.zip", "mimeType": "application/zip", "buffer": buffer.getvalue()}


def score(page: Page, count: int) -> None:
    """Upload an archive and start."""
    go(page, PAGE)
    page.locator("input[type=file]").set_input_files(archive(count))
    page.get_by_role("button", name="Score the stays").click()


def metric(page: Page, name: str) -> str:
    return page.get_by_test_id("stMetric").filter(has_text=name).get_by_test_id("stMetricValue").inner_text()


def first_row(page: Page) -> None:
    """Click the button of the table's first row; the table is a canvas, so where it is drawn."""
    table = page.get_by_test_id("stDataFrame").first
    table.scroll_into_view_if_needed()
    box = table.bounding_box()
    page.mouse.click(box["x"] + 36, box["y"] + 36 + 20)


def is_open(page: Page) -> None:
    expect(page.get_by_role("heading", name="Follow a patient", level=1)).to_be_visible()
    expect(page.get_by_role("button", name="Close this stay")).to_be_visible()


def test_score_sort_filter_download_map_open(visitor: Visitor) -> None:
    page = visitor()
    score(page, 40)
    page.locator(".st-key-cohort_csv").wait_for()
    assert (metric(page, "Stays"), metric(page, "Unreadable")) == ("40", "1")

    page.get_by_label("Name contains").fill("stay-1")
    page.get_by_label("Name contains").press("Enter")
    expect(page.get_by_text("11 of 40 stays")).to_be_visible()
    with page.expect_download() as download:
        page.get_by_role("button", name="Download CSV").click()
    rows = list(csv.DictReader(io.StringIO(Path(download.value.path()).read_text("utf-8-sig"))))
    risks = [float(row["risk"]) for row in rows if row["status"] == "read"]
    assert len(risks) == 11 and risks == sorted(risks, reverse=True)
    assert [row["file"] for row in rows if row["status"] == "error"] == ["junk.txt"]

    first_row(page)
    is_open(page)
    expect(page.get_by_text(rows[0]["file"]).first).to_be_visible()
    go(page, PAGE)
    expect(page.get_by_text("11 of 40 stays")).to_be_visible()

    page.get_by_text("Map of the patients", exact=True).click()
    page.locator(".st-key-cohort_group_1").wait_for()
    page.locator(".scatterlayer .point").nth(39).wait_for()
    dot = page.locator(".scatterlayer .trace").first.locator(".point").first.bounding_box()
    page.mouse.click(dot["x"] + dot["width"] / 2, dot["y"] + dot["height"] / 2)
    is_open(page)
    # Back on the map nothing is chosen: it does not open the same patient again.
    go(page, PAGE)
    page.locator(".st-key-cohort_group_1").wait_for()
    expect(page.get_by_role("heading", name=PAGE, level=1)).to_be_visible()

    page.get_by_text("Not read", exact=True).click()
    expect(page.get_by_test_id("stDataFrame")).to_be_visible()
    page.get_by_role("button", name="New list").click()
    expect(page.locator("input[type=file]")).to_be_attached()


def test_stop_keeps_what_is_done(visitor: Visitor) -> None:
    page = visitor()
    score(page, 1500)
    page.get_by_text("Highest risks so far").wait_for()
    page.get_by_test_id("stMain").get_by_role("button", name="Stop").click()  # not Streamlit's own
    expect(page.get_by_text("Stopped. What was read until then is below.")).to_be_visible()
    assert 0 < int(metric(page, "Stays").replace(",", "")) < 1500


@pytest.mark.parametrize(("width", "theme"), [(1280, "light"), (768, "dark")])
def test_results_are_no_wider_than_the_window(visitor: Visitor, width: int, theme: str) -> None:
    page = visitor(width, theme)
    score(page, 20)
    page.locator(".st-key-cohort_csv").wait_for()
    main = page.locator("[data-testid=stMain]")
    assert main.evaluate("e => e.scrollWidth <= e.clientWidth + 1"), "the table"
    page.get_by_text("Map of the patients", exact=True).click()
    page.locator(".st-key-cohort_group_1").wait_for()
    assert main.evaluate("e => e.scrollWidth <= e.clientWidth + 1"), "the map"
