"""A real Chromium and a real server with the shipped models."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from medai_core import registry

ROOT = Path(__file__).parents[2]
START_SECONDS = 60
# Two slow cores load TensorFlow and three models; nothing waits this long that need not.
PATIENCE_MS = 90_000


def absent(reason: str) -> NoReturn:
    """Skip, or fail where all tests are to run: there a browser that is missing must not look like success."""
    if os.environ.get("CI") or os.environ.get("MEDAI_TEST_ALL"):
        pytest.fail(reason)
    pytest.skip(reason)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start the app as the README does, on a free port; return its address."""
    missing = [model for model, entry in registry.MODELS.items() if not entry.path.is_dir()]
    if missing:
        absent(f"the models {', '.join(missing)} are not in assets/models")
    port = free_port()
    command = [
        sys.executable, "-m", "streamlit", "run", "app.py", "--server.headless", "true", "--server.port", str(port),
        "--server.address", "localhost",
    ]  # fmt: skip
    folder = tmp_path_factory.mktemp("server")
    log, here = folder / "log.txt", os.environ | {"MEDAI_DATA_DIR": str(folder / "data")}
    with log.open("wb") as out:
        process = subprocess.Popen(command, cwd=ROOT, stdout=out, stderr=subprocess.STDOUT, env=here)
    address = f"http://localhost:{port}"
    try:
        wait_for(f"{address}/_stcore/health", process, log)
        yield address
    finally:
        process.terminate()
        process.wait(timeout=20)


def wait_for(address: str, process: subprocess.Popen, log: Path) -> None:
    """Return when the server answers."""
    for _ in range(START_SECONDS * 10):
        if process.poll() is not None:
            break
        try:
            with urllib.request.urlopen(address, timeout=1):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise RuntimeError(f"the server did not start:\n{log.read_text('utf-8', 'replace')[-3000:]}")


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Return Debian's Chromium, or the one Playwright installed."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        path = found or playwright.chromium.executable_path
        if not Path(path).exists():
            absent("no Chromium is installed: apt-get install chromium, or playwright install chromium")
        browser = playwright.chromium.launch(
            executable_path=path, args=["--no-sandbox", "--disable-background-networking"]
        )
        yield browser
        browser.close()


@pytest.fixture
def visitor(browser: Browser, server: str) -> Iterator[Callable[..., Page]]:
    """Return a function that opens the app as one more visitor, at its home page."""
    contexts = []

    def open_app(width: int = 1280, theme: str = "light") -> Page:
        context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme=theme, locale="en-US", accept_downloads=True
        )
        context.set_default_timeout(PATIENCE_MS)
        contexts.append(context)
        page = context.new_page()
        page.goto(server)
        page.get_by_role("heading", name="MedAI").wait_for()
        return page

    yield open_app
    for context in contexts:
        context.close()


@pytest.fixture(scope="session")
def samples() -> dict[str, bytes]:
    """Return shipped synthetic samples by label, as PNG."""
    from pages.ui.samples import samples

    found = {sample.label: sample.path.read_bytes() for sample in samples() if sample.path.suffix == ".png"}
    if not {"normal", "glioma"} <= set(found):
        absent("no samples in assets/samples")
    return found
