"""Sign-in by a real provider in a real browser: who sees what, and what happens when it does not work."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import oidc
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

ROOT = Path(__file__).parents[2]
PATIENCE_MS = 90_000
Enter = Callable[..., Page]


@pytest.fixture(scope="module")
def issuer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with oidc.provider(tmp_path_factory.mktemp("provider") / "log.txt", oidc.free_port()) as address:
        yield address


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory, issuer: str) -> Iterator[str]:
    with oidc.app(tmp_path_factory.mktemp("app"), issuer) as address:
        yield address


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    made = browser.new_context(viewport={"width": 1280, "height": 900}, locale="en-US")
    made.set_default_timeout(PATIENCE_MS)
    yield made
    made.close()


def sign_in(page: Page, person: str) -> None:
    """Press the button of the sign-in page and be somebody at the provider."""
    page.get_by_test_id("stMain").get_by_role("button", name="Sign in").click()
    page.get_by_role("button", name=person, exact=True).click()


def heading(page: Page, name: str) -> None:
    expect(page.get_by_role("heading", name=name, level=1, exact=True)).to_be_visible()


def open_as(context: BrowserContext, address: str, person: str) -> Page:
    page = context.new_page()
    page.goto(address)
    heading(page, "Sign in")
    expect(page.get_by_test_id("stSidebarNav")).to_have_count(0)
    sign_in(page, person)
    return page


@pytest.mark.parametrize(
    ("person", "name", "roles", "pages"),
    [
        ("reader", "Rita Reader", "Reader", {"Worklist", "Case"}),
        ("researcher", "Sam <b>Search</b> *er*", "Researcher", {"Worklist", "Case"}),
        ("administrator", "Ada Min", "Administrator", {"Worklist", "Administration"}),
    ],
)
def test_each_role_sees_its_pages(
    context: BrowserContext, app: str, person: str, name: str, roles: str, pages: set[str]
) -> None:
    page = open_as(context, app, person)
    heading(page, "MedAI")
    who = page.locator(".st-key-who")
    expect(who).to_contain_text(name)
    expect(who).to_contain_text(roles)
    menu = page.get_by_test_id("stSidebarNav")
    for title in ("Worklist", "Case", "Administration"):
        expect(menu.get_by_role("link", name=title, exact=True)).to_have_count(int(title in pages))
    expect(menu.get_by_role("link", name="Read a scan")).to_be_visible()


def test_somebody_without_a_role_is_told_what_to_ask_for(context: BrowserContext, app: str) -> None:
    page = open_as(context, f"{app}/read_scan", "nobody")
    heading(page, "No role yet")
    expect(page.get_by_text("You are signed in as No Body.")).to_be_visible()
    expect(page.get_by_role("table")).to_contain_text("Value of the claim “roles”")
    for role in ("reader", "researcher", "administrator"):
        expect(page.get_by_role("cell", name=role, exact=True)).to_be_visible()
    expect(page.get_by_test_id("stSidebarNav")).to_have_count(0)
    expect(page.locator("input[type=file]")).to_have_count(0)
    expect(page.get_by_role("button", name="Sign out")).to_be_visible()


def test_a_link_leads_back_to_its_page_with_its_query(context: BrowserContext, app: str) -> None:
    page = context.new_page()
    page.goto(f"{app}/case?case=4f2a&from=a%2Fb%3D&lang=zh")
    heading(page, "登录")
    page.get_by_test_id("stMain").get_by_role("button", name="登录").click()
    page.get_by_role("button", name="reader", exact=True).click()
    expect(page.locator(".st-key-who")).to_contain_text("Rita Reader")
    page.wait_for_url(f"{app}/case?case=4f2a&from=a%2Fb%3D&lang=zh")
    heading(page, "病例")


def test_a_link_without_the_right_is_answered_plainly(context: BrowserContext, app: str) -> None:
    page = open_as(context, f"{app}/administration", "researcher")
    heading(page, "Administration")
    expect(page.get_by_text("It needs one of these roles: Administrator. Yours: Researcher.")).to_be_visible()
    page.goto(f"{app}/no_such_page")
    expect(page.locator(".st-key-who")).to_be_visible()


def test_sign_out_holds_in_all_windows_and_for_a_kept_cookie(context: BrowserContext, app: str) -> None:
    first = open_as(context, app, "reader")
    heading(first, "MedAI")
    kept = context.cookies()
    second = context.new_page()
    second.goto(f"{app}/read_scan")
    heading(second, "Read a scan")
    first.get_by_role("button", name="Sign out").click()
    first.get_by_role("button", name="End session").click()
    heading(first, "Sign in")
    expect(first.get_by_text("You are signed out.")).to_be_visible()
    assert not [c for c in context.cookies() if c["name"] == "_streamlit_user"]
    second.get_by_role("radio", name="中文").click()
    heading(second, "登录")
    context.add_cookies(kept)
    third = context.new_page()
    third.goto(f"{app}/read_scan")
    heading(third, "Sign in")
    expect(third.get_by_text("You are signed out.")).to_be_visible()


def cookie(app: str, secret: str = oidc.SECRET, **changes: object) -> dict[str, str]:
    """Return a cookie as Streamlit keeps a sign-in, with changes, signed with a secret."""
    from streamlit.web.server.starlette.starlette_app_utils import create_signed_value

    now = time.time()
    claims = {"iss": "http://127.0.0.1", "sub": "reader", "name": "Rita Reader", "roles": ["reader"], "nonce": "n"}
    claims |= {"iat": now, "exp": now + 3600, "origin": app, "is_logged_in": True, "provider": "default"} | changes
    value = create_signed_value(secret, "_streamlit_user", json.dumps(claims)).decode()
    return {"name": "_streamlit_user", "value": value, "url": app}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, None),
        ({"secret": "another secret that signs just as well"}, "could not be verified"),
        ({"iat": time.time() - 481 * 60, "exp": time.time() + 9e6}, "Your session has ended"),
        ({"exp": time.time() - 1}, "Your session has ended"),
        ({"iat": time.time() + 9e5, "exp": time.time() + 9e6}, "must not lie in the future"),
        ({"sub": ""}, "`sub` of the sign-in must be a text"),
        ({"exp": None}, "`exp` of the sign-in must be a time"),
    ],
    ids=["as it is", "forged", "too long ago", "token over", "from the future", "of nobody", "without end"],
)
def test_a_cookie_counts_only_as_it_was_given(
    context: BrowserContext, app: str, changes: dict[str, object], words: str | None
) -> None:
    context.add_cookies([cookie(app, **changes)])
    page = context.new_page()
    page.goto(f"{app}/read_scan")
    if words is None:
        heading(page, "Read a scan")
    else:
        heading(page, "Sign in")
        expect(page.get_by_test_id("stAlert")).to_contain_text(words.replace("`", ""))
        expect(page.get_by_test_id("stSidebarNav")).to_have_count(0)


def test_a_page_left_open_is_closed_when_the_token_ends(context: BrowserContext, app: str) -> None:
    context.add_cookies([cookie(app, exp=time.time() + 15)])
    page = context.new_page()
    page.goto(f"{app}/read_scan?lang=en")
    heading(page, "Read a scan")
    heading(page, "Sign in")  # by itself
    expect(page.get_by_text("Your session has ended.")).to_be_visible()
    assert page.url == f"{app}/read_scan?lang=en"


def test_a_token_that_was_not_signed_by_the_provider_is_refused(context: BrowserContext, tmp_path: Path) -> None:
    port = oidc.free_port()
    with oidc.app(tmp_path, f"http://127.0.0.1:{port}") as app:
        page = context.new_page()
        page.goto(f"{app}/read_scan?lang=en")
        heading(page, "Sign in")
        # The provider does not run at all yet.
        page.get_by_test_id("stMain").get_by_role("button", name="Sign in").click()
        expect(page.get_by_text("The sign-in service does not answer.")).to_be_visible()
        assert page.url.startswith(f"{app}/read_scan?lang=en")
        with oidc.provider(tmp_path / "forged.txt", port, forged=True):
            sign_in(page, "reader")
            expect(page.get_by_text("it could not be verified")).to_be_visible()
            expect(page.get_by_test_id("stSidebarNav")).to_have_count(0)
        with oidc.provider(tmp_path / "over.txt", port, token_seconds=-600):
            sign_in(page, "reader")
            expect(page.get_by_text("it could not be verified")).to_be_visible()
        with oidc.provider(tmp_path / "right.txt", port):
            page.get_by_test_id("stMain").get_by_role("button", name="Sign in").click()
            page.get_by_role("button", name="Deny").click()
            expect(page.get_by_text("The sign-in was cancelled.")).to_be_visible()
            sign_in(page, "reader")
            heading(page, "Read a scan")
            assert page.url == f"{app}/read_scan?lang=en"
        # The provider is down again: that keeps nobody from signing out.
        page.get_by_role("button", name="Sign out").click()
        heading(page, "Sign in")
        expect(page.get_by_text("You are signed out.")).to_be_visible()


def test_a_public_address_needs_sign_in(tmp_path: Path) -> None:
    command = [
        sys.executable, "-m", "streamlit", "run", "app.py", "--server.headless", "true", "--server.address", "0.0.0.0",
        "--server.port", str(oidc.free_port()), "--secrets.files", str(tmp_path / "none.toml"),
    ]  # fmt: skip
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "MedAI does not start. Without sign-in `server.address` must be an address of this computer" in done.stderr
