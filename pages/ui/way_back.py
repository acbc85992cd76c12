"""The way to the sign-in provider and back to the page where the visitor was."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

LOGIN, LOGOUT, CALLBACK = "/auth/login", "/auth/logout", "/oauth2callback"
STOP = re.compile(rf"(?:/[\w.~-]+)*({LOGIN}|{LOGOUT}|{CALLBACK})", re.ASCII)
"""What stands before a stop goes back into an address and a cookie: `//elsewhere.example` must not."""
OUTCOME = "sign_in"
COOKIE = "medai_way_back"
COOKIE_SECONDS = 900
LONGEST_PATH = 2000
USER_COOKIE = b"_streamlit_user="


def end_of(path: str) -> str | None:
    """Return which stop on the way a path is; none for every other path."""
    found = STOP.fullmatch(path)
    return found[1] if found else None


class WayBack:
    """What Streamlit answers on the way to the provider and back, led to where the visitor was.

    Streamlit itself always leads to the home page, and says nothing of what went wrong. Where the visitor came from
    is kept in a cookie of their browser while they are away.
    """

    def __init__(self, scope: Scope, end: str, redirect_uri: str, send: Send) -> None:
        self.scope, self.end, self.send = scope, end, send
        self.came = came_from(scope, redirect_uri)
        # Read at that address alone, which is https wherever a proxy or this server speaks it.
        self.secure = redirect_uri.startswith("https://")
        self.replaced = False

    async def __call__(self, message: MutableMapping[str, Any]) -> None:
        """Pass one message of the answer on, or another in its stead."""
        if message["type"] == "http.response.start":
            message = self.start(message)
        elif self.replaced:
            message = message | {"body": b""}
        await self.send(message)

    def start(self, message: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        """Return the beginning of the answer with the way back in it."""
        headers = [(name.lower(), value) for name, value in message.get("headers", [])]
        failed = message["status"] >= 400
        goes_home = failed or urlsplit(dict(headers).get(b"location", b"").decode("latin-1")).netloc == ""
        if self.end == LOGIN and not goes_home:
            return message | {"headers": [*headers, self.cookie(self.came, COOKIE_SECONDS)]}
        if self.end == LOGOUT and not goes_home:
            return message | {"headers": [*headers, self.cookie(self.home, COOKIE_SECONDS)]}
        where, outcome = self.destination(headers, failed)
        self.replaced = failed
        kept = [(n, v) for n, v in headers if n not in (b"location", b"content-length", b"content-type")]
        kept += [(b"location", with_outcome(where, outcome).encode()), (b"content-length", b"0")]
        return message | {"status": 302, "headers": [*kept, self.cookie("", 0)]}

    def destination(self, headers: Iterable[tuple[bytes, bytes]], failed: bool) -> tuple[str, str]:
        """Return where to go and what to say there: one of the words that the sign-in page knows, or nothing."""
        if self.end == LOGIN:
            return self.came, "unavailable"
        if self.end == LOGOUT:
            return self.home, "out"
        back = kept_way(self.scope) or self.base + "/"
        query = dict(parse_qsl(self.scope["query_string"].decode("latin-1")))
        if query.get("error"):
            return back, "denied" if query["error"] == "access_denied" else "failed"
        if "code" not in query:
            return back, "out"
        signed = any(n == b"set-cookie" and v.startswith(USER_COOKIE) and b'=""' not in v for n, v in headers)
        return back, "" if signed and not failed else "failed"

    def cookie(self, value: str, seconds: int) -> tuple[bytes, bytes]:
        """Return the header that keeps the way back, over https alone where the provider leads back by it."""
        text = f"{COOKIE}={quote(value, safe='')}; Path={self.base}{CALLBACK}; Max-Age={seconds}; HttpOnly"
        return b"set-cookie", f"{text}; SameSite=Lax{'; Secure' if self.secure else ''}".encode("ascii")

    @property
    def base(self) -> str:
        """What stands before every path where the app is not served at the root."""
        return self.scope["path"].removesuffix(self.end)

    @property
    def home(self) -> str:
        """The home page in the visitor's language."""
        chosen = dict(parse_qsl(urlsplit(self.came).query)).get("lang")
        return f"{self.base}/?{urlencode({'lang': chosen})}" if chosen else f"{self.base}/"


def came_from(scope: Scope, redirect_uri: str) -> str:
    """Return path and query of the page of ours that led here, or the home page."""
    came = urlsplit(header(scope, b"referer"))
    ours = {header(scope, b"host"), urlsplit(redirect_uri).netloc}
    path = came.path + (f"?{came.query}" if came.query else "")
    return without_outcome(path) if came.netloc in ours and is_path(path) else "/"


def kept_way(scope: Scope) -> str:
    """Return the way back from the visitor's cookie; nothing where it is none of ours."""
    pairs = (pair.strip().partition("=") for pair in header(scope, b"cookie").split(";"))
    path = next((unquote(value) for name, _, value in pairs if name == COOKIE), "")
    return path if is_path(path) else ""


def is_path(path: str) -> bool:
    """Whether this leads to a page of this app and nowhere else."""
    seen = path.isascii() and path.isprintable() and "\\" not in path and " " not in path
    return seen and path.startswith("/") and not path.startswith("//") and len(path) <= LONGEST_PATH


def with_outcome(path: str, outcome: str) -> str:
    """Return the address with a word about the sign-in for the page to explain."""
    return f"{path}{'&' if '?' in path else '?'}{OUTCOME}={outcome}" if outcome else path


def without_outcome(path: str) -> str:
    """Return the address without the word of an earlier try."""
    parts = urlsplit(path)
    kept = [part for part in parts.query.split("&") if part and not part.startswith(f"{OUTCOME}=")]
    return parts.path + (f"?{'&'.join(kept)}" if kept else "")


def header(scope: Scope, name: bytes) -> str:
    """Return a header of the request; an empty text where it has none."""
    return next((value.decode("latin-1") for found, value in scope["headers"] if found.lower() == name), "")
