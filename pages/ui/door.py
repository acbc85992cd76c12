"""Who may reach the app at all.

This stands in front of Streamlit's own server. With a provider set everybody is let in, as far as the sign-in page.
Without one there is no telling who a visitor is, so only this computer is answered: the server does not start on
another address, and every request is looked at as well, because a proxy or a tunnel may pass strangers on to a local
address. `MEDAI_OPEN=1` lifts both.
"""

from __future__ import annotations

import ipaddress
import logging
import sys
from collections.abc import Iterable, Mapping, MutableMapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import streamlit as st

from medai_core.errors import InputError, say
from medai_core.settings import settings
from pages.ui.language import LANGUAGES, catalogue
from pages.ui.way_back import App, Receive, Scope, Send, WayBack, end_of, header

KEYS = ("client_id", "client_secret", "server_metadata_url")
SHORTEST_SECRET = 32
log = logging.getLogger(__name__)

ONLY_HERE = say(
    "MedAI answers only visitors of the computer it runs on, because no sign-in is set up. README.md says under "
    "“Running it” how to set one up."
)


def guarded(app: App) -> App:
    """Return the app behind its door; end the process where it must not be served as it is set up."""
    try:
        check_start()
    except InputError as error:
        sys.exit(f"MedAI does not start. {error}")
    return Door(app)


def check_start() -> None:
    """Look at what is set up, before the first visitor.

    Raises
    ------
    InputError
        If sign-in is set up by half, or if there is none and the address is a public one.
    """
    address = st.get_option("server.address") or "0.0.0.0"
    if providers():
        if not (uri := st.secrets["auth"]["redirect_uri"]).startswith("https://") and not is_here(urlsplit(uri).netloc):
            log.warning("sign-in goes over plain HTTP: everybody on the way can read along")
    elif settings().open:
        log.warning("MEDAI_OPEN is 1: everybody who reaches this address is served without sign-in")
    elif not is_here(address):
        raise InputError(
            "Without sign-in `{name}` must be an address of this computer alone, such as localhost, got {value}. Set "
            "up sign-in, or set MEDAI_OPEN=1 to serve everybody without it.",
            name="server.address", value=repr(address),
        )  # fmt: skip


def providers() -> tuple[str, ...]:
    """Return the names of the sign-in providers in `secrets.toml`; ``default`` is the one without a name.

    Raises
    ------
    InputError
        If the file cannot be read, or what it says of sign-in is incomplete.
    """
    if not st.secrets.load_if_toml_exists():
        broken = [path for path in st.get_option("secrets.files") if Path(path).exists()]
        if broken:
            raise InputError("The file {file} cannot be read; its form must be TOML.", file=Path(broken[0]).name)
        return ()
    auth = st.secrets.get("auth")
    if auth is None:
        return ()
    _complete(auth, "auth", ("redirect_uri", "cookie_secret"))
    if len(auth["cookie_secret"]) < SHORTEST_SECRET:
        raise InputError(
            "`{name}` must have at least {least} characters, got {value}",
            name="auth.cookie_secret", least=SHORTEST_SECRET, value=len(auth["cookie_secret"]),
        )  # fmt: skip
    named = tuple(name for name, section in auth.items() if isinstance(section, Mapping) and name != "client_kwargs")
    for name in named:
        _complete(auth[name], f"auth.{name}", KEYS)
    if not named or "client_id" in auth:
        _complete(auth, "auth", KEYS)
    return (*(["default"] if "client_id" in auth and "default" not in named else []), *named)


def _complete(section: Mapping[str, Any], where: str, keys: Iterable[str]) -> None:
    for key in keys:
        if not isinstance(section.get(key), str) or not section[key]:
            raise InputError("secrets.toml must give `{name}` for sign-in", name=f"{where}.{key}")


def is_here(name: str) -> bool:
    """Whether an address or host name, with or without port, is this computer seen from itself."""
    host = name.strip().strip('"')
    host = host[1:].partition("]")[0] if host.startswith("[") else host
    host = host.partition(":")[0] if host.count(":") == 1 else host
    try:
        found = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host.lower().rstrip(".") == "localhost" or host.lower().rstrip(".").endswith(".localhost")
    mapped = getattr(found, "ipv4_mapped", None)
    return (mapped or found).is_loopback


def from_here(scope: Scope) -> bool:
    """Whether a request was sent from this computer to itself, as far as everything in it tells.

    Looked at are both ends of the connection, the host name that was asked for (a foreign name that resolves to this
    computer is an attack: DNS rebinding), the page that asked, and whom a proxy says it asks for.
    """
    ends = [end[0] for end in (scope.get("client"), scope.get("server")) if end and end[0]]
    headers = [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in scope["headers"]]
    names = [value for name, value in headers if name in ("host", "x-forwarded-host", "x-real-ip")]
    names += [part for name, value in headers if name == "x-forwarded-for" for part in value.split(",")]
    names += [urlsplit(value).netloc for name, value in headers if name == "origin"]
    return all(is_here(name) for name in ends + names) and "forwarded" not in dict(headers)


class Door:
    """An ASGI application in front of another."""

    def __init__(self, app: App) -> None:
        self.app = app
        self.sign_in = bool(providers())
        self.only_here = not self.sign_in and not settings().open

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Turn strangers away; accompany those who sign in or out; let the others pass."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
        elif self.only_here and not from_here(scope):
            await turn_away(scope, receive, send)
        elif scope["type"] == "websocket":
            await self.app(scope, receive, send)
        elif self.sign_in and (end := end_of(scope["path"])):
            await self.app(scope, receive, WayBack(scope, end, st.secrets["auth"]["redirect_uri"], send))
        else:
            await self.app(scope, receive, private(send))


async def turn_away(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer 403 with the reason, in the visitor's language."""
    log.warning("a visitor from elsewhere was turned away: no sign-in is set up")
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 1008})  # 403 to the browser
        return
    wanted = header(scope, b"accept-language")[:2].lower()
    language = next((code for code in LANGUAGES if wanted == code[:2]), "en")
    words = catalogue(language).gettext(ONLY_HERE.template).encode()
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(words)).encode())]
    await send({"type": "http.response.start", "status": 403, "headers": headers})
    await send({"type": "http.response.body", "body": words})


def private(send: Send) -> Send:
    """Keep addresses, which name cases, from other sites that a page links to."""

    async def sending(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", []), (b"referrer-policy", b"same-origin")]
        await send(message)

    return sending
