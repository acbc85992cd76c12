"""Who may reach the app, and the way to the provider and back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from streamlit import config
from streamlit.runtime.secrets import Secrets

from medai_core.errors import InputError
from medai_core.settings import settings
from pages.ui import door, way_back

pytestmark = pytest.mark.usefixtures("fresh_settings")
SECRET = "x" * 32
WHOLE = {
    "redirect_uri": "https://medai.example/oauth2callback", "cookie_secret": SECRET, "client_id": "medai",
    "client_secret": "s", "server_metadata_url": "https://sso.example/.well-known/openid-configuration",
}  # fmt: skip
HERE = {"host": "localhost:8501"}
SetUp = Callable[..., None]


def toml(values: dict[str, str], name: str = "auth") -> str:
    return f"[{name}]\n" + "".join(f'{key} = "{value}"\n' for key, value in values.items())


@pytest.fixture
def set_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> SetUp:
    """Return a function that sets address, secrets and whether MEDAI_OPEN is 1."""

    def make(secrets: str | None = None, address: str | None = "localhost", opened: bool = False) -> None:
        file = tmp_path / "secrets.toml"
        if secrets is not None:
            file.write_text(secrets, "utf-8")
        options = {"secrets.files": [str(file)], "server.address": address}
        whole = config.get_option
        asked = lambda name: options[name] if name in options else whole(name)  # noqa: E731
        monkeypatch.setattr(config, "get_option", asked)
        monkeypatch.setattr(door.st, "get_option", asked)
        monkeypatch.setattr(door.st, "secrets", Secrets())
        monkeypatch.setenv("MEDAI_OPEN", "1" if opened else "0")
        settings.cache_clear()

    return make


def ask(
    path: str = "/",
    headers: dict[str, str] | None = None,
    client: str | None = "127.0.0.1",
    server: str = "127.0.0.1",
    kind: str = "http",
    answer: tuple[int, dict[str, str]] = (200, {}),
) -> list[dict[str, Any]]:
    """Return what is sent to a visitor by the door in front of an application with a fixed answer."""
    sent: list[dict[str, Any]] = []

    async def app(scope: dict[str, Any], receive: object, send: Callable[..., Any]) -> None:
        if kind == "websocket":
            await send({"type": "websocket.accept"})
            return
        found = [(name.split("#")[0].encode(), value.encode()) for name, value in answer[1].items()]
        await send({"type": "http.response.start", "status": answer[0], "headers": found})
        await send({"type": "http.response.body", "body": b"inside"})

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.connect"}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    path, _, query = path.partition("?")
    scope = {
        "type": kind, "path": path, "query_string": query.encode(), "client": (client, 1) if client else None,
        "server": (server, 8501), "headers": [(n.encode(), v.encode()) for n, v in (headers or HERE).items()],
    }  # fmt: skip
    # In a thread of its own: Playwright keeps a loop running in the thread of the tests once a browser was asked for.
    with ThreadPoolExecutor(1) as pool:
        pool.submit(asyncio.run, door.Door(app)(scope, receive, send)).result()
    return sent


@pytest.mark.parametrize(
    ("changes", "headers", "inside"),
    [
        ({}, {}, True),
        ({"client": "::1", "server": "::1"}, {"host": "[::1]:8501"}, True),
        ({"client": "::ffff:127.0.0.1"}, {"origin": "http://127.0.0.1:8501"}, True),
        ({"client": None}, {}, True),  # a Unix socket
        ({"client": "192.0.2.7"}, {}, False),
        ({"server": "192.0.2.1"}, {}, False),  # whoever says to be 127.0.0.1 there
        ({}, {"host": "rebound.example:8501"}, False),
        ({}, {"host": "127.0.0.1.example"}, False),
        ({}, {"origin": "https://medai.example"}, False),
        ({}, {"origin": "null"}, False),
        ({}, {"x-forwarded-for": "127.0.0.1, 203.0.113.5"}, False),
        ({}, {"x-real-ip": "203.0.113.5"}, False),
        ({}, {"x-forwarded-host": "medai.example"}, False),
        ({}, {"forwarded": "for=203.0.113.5"}, False),
    ],
)
@pytest.mark.parametrize("kind", ["http", "websocket"])
def test_without_sign_in_only_this_computer_is_answered(
    set_up: SetUp, changes: dict[str, Any], headers: dict[str, str], inside: bool, kind: str
) -> None:
    set_up()
    sent = ask(headers=HERE | headers, kind=kind, **changes)
    if kind == "websocket":
        assert sent == [{"type": "websocket.accept"} if inside else {"type": "websocket.close", "code": 1008}]
    else:
        assert sent[0]["status"] == (200 if inside else 403)
        assert (sent[1]["body"] == b"inside") == inside
    set_up(opened=True)
    assert ask(headers=HERE | headers, kind=kind, **changes)[0].get("status", 200) == 200


def test_the_reason_is_told_in_the_visitor_s_language(set_up: SetUp) -> None:
    set_up()
    english = ask(client="192.0.2.7")[1]["body"].decode()
    chinese = ask(client="192.0.2.7", headers=HERE | {"accept-language": "zh-CN,zh"})[1]["body"].decode()
    assert "answers only visitors of the computer" in english and "未设置登录" in chinese


def test_with_sign_in_everybody_reaches_the_sign_in_page(set_up: SetUp) -> None:
    set_up(toml(WHOLE), "0.0.0.0")
    door.check_start()
    sent = ask(client="192.0.2.7", headers={"host": "medai.example"})
    assert sent[0]["status"] == 200 and (b"referrer-policy", b"same-origin") in sent[0]["headers"]


@pytest.mark.parametrize("address", [None, "0.0.0.0", "::", "192.0.2.1", "medai.example"])
def test_a_public_address_needs_sign_in_or_a_word(set_up: SetUp, address: str | None) -> None:
    set_up(address=address)
    with pytest.raises(InputError, match="`server.address` must be an address of this computer alone"):
        door.check_start()
    with pytest.raises(SystemExit, match="MedAI does not start"):
        door.guarded(ask)
    set_up(address=address, opened=True)
    door.check_start()
    set_up(address="127.0.0.1")
    door.check_start()


@pytest.mark.parametrize(
    ("secrets", "problem"),
    [
        ("[auth\n", "secrets.toml cannot be read"),
        *[(toml({k: v for k, v in WHOLE.items() if k != gone}), f"must give `auth.{gone}`") for gone in WHOLE],
        (toml(WHOLE | {"cookie_secret": "short"}), "`auth.cookie_secret` must have at least 32 characters, got 5"),
        (toml(WHOLE | {"client_secret": ""}), "must give `auth.client_secret`"),
        (toml(WHOLE) + toml({"client_id": "x"}, "auth.ward"), "must give `auth.ward.client_secret`"),
    ],
)
def test_sign_in_that_is_set_up_by_half_is_not_no_sign_in(set_up: SetUp, secrets: str, problem: str) -> None:
    set_up(secrets)
    with pytest.raises(InputError) as error:
        door.check_start()
    assert problem in str(error.value)


def test_several_providers(set_up: SetUp) -> None:
    shared = {key: WHOLE[key] for key in ("redirect_uri", "cookie_secret")}
    own = {key: WHOLE[key] for key in door.KEYS}
    set_up(toml(shared) + toml(own, "auth.ward") + toml(own, "auth.campus"))
    assert door.providers() == ("ward", "campus")
    set_up(toml(WHOLE))
    assert door.providers() == ("default",)
    set_up('other = "secret"\n')
    assert door.providers() == ()


AT = {"host": "medai.example"}
CAME = AT | {"referer": "https://medai.example/case?case=4f2a&lang=zh&sign_in=out"}
AWAY = (302, {"location": "https://sso.example/authorize?x=1"})
HOME = (302, {"location": "/"})
SIGNED = (302, {"location": "/", "set-cookie": "_streamlit_user=abc; Path=/", "set-cookie#2": "other=1"})
REFUSED = (302, {"location": "/", "set-cookie": '_streamlit_user=""; Max-Age=0; Path=/'})


def cookie(path: str) -> dict[str, str]:
    return AT | {"cookie": f'odd="a;b; {way_back.COOKIE}={path}; last=1'}


@pytest.mark.parametrize(
    ("path", "headers", "answer", "location"),
    [
        ("/auth/login?provider=t", CAME, AWAY, AWAY[1]["location"]),
        ("/auth/login?provider=t", CAME, (400, {}), "/case?case=4f2a&lang=zh&sign_in=unavailable"),
        ("/auth/login?provider=t", AT, (500, {}), "/?sign_in=unavailable"),
        ("/oauth2callback?code=1&state=2", cookie("%2Fcase%3Fcase%3D4f2a"), SIGNED, "/case?case=4f2a"),
        ("/oauth2callback?code=1&state=2", cookie("%2Fcase%3Fcase%3D4f2a"), REFUSED, "/case?case=4f2a&sign_in=failed"),
        ("/oauth2callback?code=1&state=2", AT, (500, {}), "/?sign_in=failed"),
        ("/oauth2callback?error=access_denied", cookie("%2Fmodels"), HOME, "/models?sign_in=denied"),
        ("/oauth2callback?error=server_error", cookie("%2Fmodels"), HOME, "/models?sign_in=failed"),
        ("/oauth2callback", cookie("%2F%3Flang%3Dzh"), HOME, "/?lang=zh&sign_in=out"),
        ("/auth/logout", CAME, HOME, "/?lang=zh&sign_in=out"),
        ("/auth/logout", CAME, AWAY, AWAY[1]["location"]),
        ("/base/oauth2callback?code=1", AT, SIGNED, "/base/"),
        # Nothing leads away from the app.
        ("/oauth2callback?code=1", cookie("https%3A%2F%2Fevil.example"), SIGNED, "/"),
        ("/oauth2callback?code=1", cookie("%2F%2Fevil.example"), SIGNED, "/"),
        ("/oauth2callback?code=1", cookie("%2F%5Cevil.example"), SIGNED, "/"),
        ("/oauth2callback?code=1", cookie("%2Fa%0d%0aset-cookie:x"), SIGNED, "/"),
        ("/oauth2callback?code=1", cookie("%2F" + "a" * 3000), SIGNED, "/"),
        ("/auth/login", AT | {"referer": "https://evil.example/x"}, (400, {}), "/?sign_in=unavailable"),
    ],
)
def test_the_way_leads_back(
    set_up: SetUp, path: str, headers: dict[str, str], answer: tuple[int, dict[str, str]], location: str
) -> None:
    set_up(toml(WHOLE))
    start, *rest = ask(path, headers, "192.0.2.7", answer=answer)
    assert start["status"] == 302
    assert [value.decode() for name, value in start["headers"] if name == b"location"] == [location]
    assert answer[0] < 400 or [message["body"] for message in rest] == [b""]


@pytest.mark.parametrize("before", ["//elsewhere.example", "/a//b", "/a\r\nset-cookie: x=y", "/a;domain=example", "/é"])
@pytest.mark.parametrize("end", ["/auth/login", "/auth/logout", "/oauth2callback"])
def test_what_stands_before_a_stop_leads_nowhere_else(set_up: SetUp, before: str, end: str) -> None:
    set_up(toml(WHOLE))
    start, _body = ask(before + end, AT, "192.0.2.7", answer=(404, {}))
    assert start["status"] == 404
    assert not {b"location", b"set-cookie"} & {name for name, _value in start["headers"]}


def test_where_one_was_is_kept_while_away(set_up: SetUp) -> None:
    set_up(toml(WHOLE))
    start = ask("/auth/login?provider=t", CAME, answer=AWAY)[0]
    (kept,) = [value.decode() for name, value in start["headers"] if name == b"set-cookie"]
    told = "medai_way_back=%2Fcase%3Fcase%3D4f2a%26lang%3Dzh; Path=/oauth2callback; Max-Age=900; HttpOnly; SameSite=Lax"
    assert kept == f"{told}; Secure"
    start = ask("/oauth2callback?code=1&state=2", cookie("%2Fcase"), answer=SIGNED)[0]
    cookies = [value.decode() for name, value in start["headers"] if name == b"set-cookie"]
    assert cookies[0].startswith("_streamlit_user=abc") and cookies[-1].startswith("medai_way_back=;")
    set_up(toml(WHOLE | {"redirect_uri": "http://localhost:8501/oauth2callback"}))
    start = ask("/auth/login?provider=t", CAME, answer=AWAY)[0]
    assert b"Secure" not in dict(start["headers"])[b"set-cookie"], "a browser would not send it back"
