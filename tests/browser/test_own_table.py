"""What a researcher does with a table: upload it, see a leak, train, stop, read results, keep the model."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from playwright.sync_api import Page, expect

Visitor = Callable[..., Page]
# A few seconds of fits, on a machine that may be loading the models of all other pages meanwhile.
TRAINING_MS = 300_000


def drawn(n: int = 120) -> bytes:
    rng = np.random.default_rng(0)
    age, crp = rng.integers(20, 90, n), rng.lognormal(2, 1, n).round(1)
    ill = rng.random(n) < 1 / (1 + np.exp(-(0.1 * (age - 55) + np.log(crp) - 2)))
    code = np.where(ill, "x", rng.choice(["y", "z"], n))
    frame = pd.DataFrame({"age (years)": age, "crp": crp, "code": code, "outcome": np.where(ill, "yes", "no")})
    return frame.to_csv(index=False).encode()


def go(page: Page, name: str) -> None:
    """Open a page by the side bar, which is folded on narrow windows."""
    folded = page.get_by_test_id("stExpandSidebarButton")
    if folded.is_visible():
        folded.click()
    page.get_by_test_id("stSidebarNav").get_by_role("link", name=name).click()
    expect(page.get_by_role("heading", name=name, level=1)).to_be_visible()


def choose(page: Page, label: str, option: str) -> None:
    page.get_by_role("combobox", name=label).click()
    page.get_by_role("option", name=option, exact=True).click()


def test_from_a_csv_to_a_kept_model_and_answers(visitor: Visitor) -> None:
    page = visitor()
    go(page, "Train on a table")
    page.locator("input[type=file]").set_input_files(
        {"name": "drawn.csv", "mimeType": "text/csv", "buffer": drawn()}
    )  # fmt: skip
    expect(page.get_by_text("120 rows, 4 columns")).to_be_visible()
    page.get_by_role("tab", name="2 · Train").click()
    choose(page, "Column to predict", "outcome")
    expect(page.get_by_text("code alone gives the answer away")).to_be_visible()
    for family in ("Support vector machine", "Random forest", "Gradient-boosted trees", "Neural network", "Average"):
        page.get_by_role("button", name=family).click()
    expect(page.get_by_text("10-fold cross-validation")).to_be_visible()
    page.get_by_role("button", name="Train and compare").click()
    expect(page.get_by_role("heading", name="Leaderboard")).to_be_visible(timeout=TRAINING_MS)
    expect(page.get_by_text("ROC curve").first).to_be_visible()
    slider = page.get_by_role("slider")
    slider.focus()
    slider.press("ArrowRight")
    expect(slider).to_have_value("51")

    page.get_by_role("tab", name="My models").click()
    with page.expect_download() as download:
        page.get_by_role("button", name="Download (").click()
    packed = zipfile.ZipFile(io.BytesIO(Path(download.value.path()).read_bytes()))
    assert {"card.yaml", "digests.json", "metrics.json"} <= {name.split("/")[1] for name in packed.namelist()}

    page.get_by_role("tab", name="4 · New rows").click()
    expect(page.get_by_text("Columns this model needs")).to_be_visible()
    page.locator("input[type=file]").set_input_files(
        {"name": "new.csv", "mimeType": "text/csv", "buffer": drawn(20)}
    )  # fmt: skip
    with page.expect_download() as download:
        page.get_by_role("button", name="Download CSV").click()
    answers = pd.read_csv(download.value.path())
    assert len(answers) == 20 and answers["probability of yes"].between(0, 1).all()


def test_a_training_is_stopped_by_its_button(visitor: Visitor) -> None:
    page = visitor(768, "dark")
    go(page, "Train on a table")
    page.get_by_role("button", name="Breast masses").click()
    expect(page.get_by_text("569 rows, 31 columns")).to_be_visible()
    page.get_by_role("tab", name="2 · Train").click()
    page.get_by_role("button", name="Train and compare").click()
    stop = page.locator(".st-key-tabtrain_stop button")
    stop.click()
    expect(stop).to_be_disabled()
    expect(page.get_by_text("No model was complete").or_(page.get_by_text("Stopped."))).to_be_visible()
    main = page.locator("[data-testid=stMain]")
    assert main.evaluate("e => e.scrollWidth <= e.clientWidth + 1")
