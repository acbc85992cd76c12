"""The frame for each kind of visitor; tests/browser/test_signin.py does the same with a real provider."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from medai_core.cases.access import LOCAL, Role, User
from medai_core.cases.identity import SignIn
from medai_core.settings import settings
from pages.ui import signin
from pages.ui.signin import Visitor, judge

ROOT = Path(__file__).parents[2]
Said = Callable[[AppTest], str]
Become = Callable[[Visitor], None]
NOW = datetime(2026, 3, 1, 8, tzinfo=UTC)
CLAIMS = {"iss": "https://sso.example", "sub": "u1", "name": "Rita", "roles": ["reader"], "nonce": "n"}
CLAIMS |= {"iat": NOW.timestamp(), "exp": NOW.timestamp() + 36_000}


def signed(*roles: Role, name: str = "Rita *Reader*") -> SignIn:
    now = datetime.now(UTC)
    return SignIn(User("u1@sso.example", name, frozenset(roles)), now, now + timedelta(hours=1), "k" * 64)


class Noted:
    """Stands where events are written."""

    def __init__(self) -> None:
        self.events: list[tuple[str, ...]] = []

    def note(self, action: str, user: User, key: str) -> None:
        self.events.append((action, user.subject))

    def refused(self, why: str) -> None:
        self.events.append(("sign-in refused", why))


@pytest.fixture
def noted(monkeypatch: pytest.MonkeyPatch) -> Noted:
    made = Noted()
    monkeypatch.setattr(signin, "visits", lambda: made)
    monkeypatch.setattr(signin.door, "providers", lambda: ("default", "campus"))
    return made


@pytest.fixture
def become(monkeypatch: pytest.MonkeyPatch, noted: Noted) -> Become:
    return lambda found: monkeypatch.setattr(signin, "visitor", lambda: found)


@pytest.mark.parametrize(
    ("after", "changes", "state"),
    [
        (timedelta(minutes=479), {}, "in"),
        (timedelta(minutes=480), {}, "ended"),
        (timedelta(minutes=10), {"exp": NOW.timestamp() + 600}, "ended"),
        (timedelta(), {"sub": 7}, "unverified"),
        (timedelta(hours=-1), {}, "unverified"),
    ],
)
def test_a_sign_in_counts_while_it_lasts(after: timedelta, changes: dict[str, object], state: str) -> None:
    found = judge(CLAIMS | changes, {}, NOW + after)
    assert found.state == state and (found.user is not None) == (state == "in")


def test_a_sign_in_that_was_signed_out_counts_nowhere() -> None:
    key = judge(CLAIMS, {}, NOW).signed.key
    assert judge(CLAIMS, {key: 0.0}, NOW).state == "left"
    assert judge(CLAIMS | {"iat": NOW.timestamp() + 60}, {key: 0.0}, NOW + timedelta(minutes=2)).state == "in"


def test_without_a_provider_the_local_user_needs_no_sign_in(app: AppTest, said: Said) -> None:
    assert signin.visitor().user == LOCAL
    assert app.title[0].value == "MedAI" and "Sign" not in "".join(button.label for button in app.button)
    assert "no sign-in is set up" not in said(app)


@pytest.mark.usefixtures("fresh_settings")
def test_an_open_address_says_so_on_every_page(app: AppTest, said: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDAI_OPEN", "1")
    settings.cache_clear()
    assert "Open to everybody who reaches this address" in said(app.run())


def test_who_is_signed_in_is_said_as_it_is_written(app: AppTest, become: Become, noted: Noted, said: Said) -> None:
    become(Visitor("in", signed(Role.READER, Role.ADMINISTRATOR)))
    app.run()
    assert not app.exception and app.title[0].value == "MedAI"
    assert r"\*Reader\*" in "".join(element.value for element in app.sidebar.markdown)
    assert "Reader, Administrator" in said(app)
    assert noted.events[0] == ("signed in", "u1@sso.example")


@pytest.mark.parametrize(
    ("found", "words", "event"),
    [
        (Visitor("out"), None, None),
        (Visitor("ended", signed(Role.READER)), "Your session has ended.", ("session ended", "u1@sso.example")),
        (Visitor("left"), "You are signed out.", None),
        (Visitor("unverified"), "could not be verified", ("sign-in refused", "signature")),
        (judge(CLAIMS | {"sub": ""}, {}), "`sub` of the sign-in must be a text", ("sign-in refused", "claims")),
    ],
    ids=["out", "ended", "left", "forged", "of nobody"],
)
def test_nothing_is_shown_before_sign_in(
    app: AppTest, become: Become, noted: Noted, said: Said, found: Visitor, words: str | None,
    event: tuple[str, str] | None,
) -> None:  # fmt: skip
    become(found)
    app.switch_page("pages/cases/case.py").run()
    assert not app.exception and [title.value for title in app.title] == ["Sign in"]
    assert {"Sign in", "Sign in with campus"} <= {button.label for button in app.button}
    assert "Every result needs a qualified reader" in said(app)
    shown = "".join(box.value for box in (*app.error, *app.warning, *app.info, *app.success))
    assert (words or "") in shown and bool(shown) == bool(words)
    assert noted.events[:1] == ([event] if event else [])


@pytest.mark.parametrize(
    ("outcome", "words"),
    [
        ("unavailable", "does not answer"),
        ("denied", "was cancelled"),
        ("failed", "was not accepted"),
        ("out", "You are signed out."),
        ("<b>", ""),
    ],
)
def test_what_went_wrong_on_the_way_is_said(app: AppTest, become: Become, outcome: str, words: str) -> None:
    become(Visitor("out"))
    app.query_params["sign_in"] = outcome
    app.run()
    shown = "".join(box.value for box in (*app.error, *app.info, *app.success))
    assert words in shown and bool(shown) == bool(words)


def test_somebody_without_a_role_learns_what_to_ask_for(app: AppTest, become: Become, said: Said) -> None:
    become(Visitor("in", signed()))
    app.run()
    text = said(app)
    assert app.title[0].value == "No role yet" and "You have no role in MedAI" in text and "administrator" in text
    assert "Sign out" in {button.label for button in app.button}


@pytest.mark.parametrize(
    ("role", "page", "needed"),
    [
        (Role.RESEARCHER, "administration", "Administrator"),
        (Role.READER, "administration", "Administrator"),
        (Role.ADMINISTRATOR, "case", "Reader, Researcher"),
    ],
)
def test_a_link_without_the_right(app: AppTest, become: Become, said: Said, role: Role, page: str, needed: str) -> None:
    become(Visitor("in", signed(role)))
    app.switch_page(f"pages/cases/{page}.py").run()
    assert not app.exception
    assert f"It needs one of these roles: {needed}. Yours: {signin.role_names()[role]}." in said(app)


def test_a_sign_in_that_ends_during_a_run_leads_to_the_sign_in_page(
    app: AppTest, become: Become, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a fragment, which runs without the frame around it."""
    from pages.ui import frame

    whole, inside = frame.page, []

    def page(title: str, lead: str) -> None:
        if title == "Models":
            become(Visitor("ended", signed(Role.READER)))
            inside.append(signin.current_user())
        whole(title, lead)

    become(Visitor("in", signed(Role.READER)))
    app.run()
    monkeypatch.setattr(frame, "page", page)
    app.switch_page("pages/models/models.py").run()
    assert not inside and [title.value for title in app.title] == ["Sign in"]


FIRST_PAGE = """
import sys
import pages.ui.door
from streamlit.testing.v1 import AppTest
from pages.ui import case_worker, icu_loaders, loaders

for module in (case_worker, icu_loaders, loaders):
    name = "working" if module is case_worker else "loading"
    setattr(module, name, lambda: None)
loaders.reader_state = lambda: "loading"
loaders.tidy = lambda: None  # it waits for what is not loaded here
app = AppTest.from_file("app.py", default_timeout=60).run()
assert not app.exception and app.title[0].value == "MedAI"
print(*{"authlib", "httpx", "joserfc", "sqlalchemy"} & set(sys.modules))
"""


def test_the_first_page_waits_for_nothing_that_sign_in_needs() -> None:
    done = subprocess.run([sys.executable, "-c", FIRST_PAGE], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stdout + done.stderr[-2000:]
