"""The browser's side of one Streamlit page, without a browser: what is sent, what comes back, what is on the page.

Follows what Streamlit's own front end does: every run sends all widgets that were touched, fragments come back by their
timers, elements that a run did not make again leave the page, and elements that are kept are asked for by their hash.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import httpx
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ClientState_pb2 import ClientState
from streamlit.proto.Common_pb2 import FileURLs, UploadedFileInfo
from streamlit.proto.Delta_pb2 import Delta
from streamlit.proto.Element_pb2 import Element
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.proto.WidgetStates_pb2 import WidgetState
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

PATIENCE_SECONDS = 180.0
KEPT = 200  # elements whose hash a browser remembers
XSRF = "_streamlit_xsrf"
WHOLE_RUN, FRAGMENT_RUN = ForwardMsg.FINISHED_SUCCESSFULLY, ForwardMsg.FINISHED_FRAGMENT_RUN_SUCCESSFULLY


class PageError(Exception):
    """The server closed the page, answered an HTTP request with an error, or never came to what was waited for."""


@dataclass(frozen=True)
class Node:
    """One element of the page, the run that made it and the fragment it belongs to."""

    element: Element | None
    run: str
    fragment: str


@dataclass
class PageSession:
    """One visitor's page, from opening an address to leaving it.

    Attributes
    ----------
    address : str
        Of the server, as ``http://localhost:8501``.
    query : str
        What stands in the address bar behind the question mark.
    watch : callable
        Is given every element as it arrives, with the session.
    runs : Counter of str
        How many runs have ended, by the fragment that was asked for; "" for the whole page.
    refreshes : int
        How many times a fragment was asked for by its timer.
    bytes_in : int
        Received over the websocket, unpacked.
    """

    address: str
    watch: Callable[[Element, PageSession], None]
    query: str = ""
    nodes: dict[tuple[int, ...], Node] = field(default_factory=dict)
    runs: Counter[str] = field(default_factory=Counter)
    refreshes: int = 0
    bytes_in: int = 0
    _hash: str = ""
    _session: str = ""
    _run: str = ""
    _states: dict[str, WidgetState] = field(default_factory=dict)
    _kept: dict[str, ForwardMsg] = field(default_factory=dict)
    _timers: dict[str, asyncio.Task] = field(default_factory=dict)
    _ended: asyncio.Event = field(default_factory=asyncio.Event)
    _urls: asyncio.Queue[list[FileURLs]] = field(default_factory=asyncio.Queue)
    _socket: ClientConnection | None = None
    _listener: asyncio.Task | None = None
    _http: httpx.AsyncClient | None = None

    # ---------------------------------------------------------------------------------- opening and leaving

    async def open(self, page: str, query: dict[str, str] | None = None) -> None:
        """Open a page of the app as by a link."""
        kept = httpx.Limits(keepalive_expiry=1.0)  # the server closes a silent connection after five, maybe just then
        self._http = httpx.AsyncClient(base_url=self.address, timeout=PATIENCE_SECONDS, limits=kept)
        (await self._http.get(f"/{page}")).raise_for_status()
        (await self._http.get("/_stcore/health")).raise_for_status()
        token = self._http.cookies[XSRF]
        self._socket = await connect(
            self.address.replace("http", "ws", 1) + "/_stcore/stream", subprotocols=["streamlit", token],
            additional_headers={"Cookie": f"{XSRF}={token}"}, origin=self.address, max_size=None, ping_interval=None,
        )  # fmt: skip
        self._listener = asyncio.create_task(self._listen())
        self.query = urlencode(query or {})
        await self._rerun(page_name=page)

    async def close(self) -> None:
        """Leave the page, as by closing its tab."""
        self._stop_timers(list(self._timers))
        if self._listener is not None:
            self._listener.cancel()
            await asyncio.gather(self._listener, return_exceptions=True)
        if self._socket is not None:
            await self._socket.close()
        if self._http is not None:
            await self._http.aclose()

    # ------------------------------------------------------------------------------------------- what is there

    def elements(self, kind: str) -> Iterator[tuple[Any, Node]]:
        """All elements of a kind on the page, in the order in which they stand there."""
        for path in sorted(self.nodes):
            node = self.nodes[path]
            if node.element is not None and node.element.WhichOneof("type") == kind:
                yield getattr(node.element, kind), node

    def find(self, kind: str, key: str) -> tuple[Any, Node] | None:
        """The element of a kind whose key begins so; None where the page has none that can be used."""
        for found, node in self.elements(kind):
            if f"-{key}" in found.id and not getattr(found, "disabled", False):
                return found, node
        return None

    # ------------------------------------------------------------------------------------------------- doing

    async def press(self, key: str) -> None:
        """Press a button."""
        await self._touch("button", key, trigger_value=True)

    async def type(self, key: str, words: str, kind: str = "text_input") -> None:
        """Put words into a field, or choose an option of a list."""
        await self._touch(kind, key, string_value=words)

    async def choose(self, key: str, options: list[str]) -> None:
        """Choose among pills."""
        found, _node = self._needed("button_group", key)
        names = [f"{option.content_icon} {option.content}".strip() for option in found.options]
        chosen = [name for name in names if any(option in name for option in options)]
        await self._touch("button_group", key, string_array_value={"data": chosen})

    async def follow(self, label: str) -> None:
        """Follow a link within the app."""
        for link, _node in self.elements("page_link"):
            if link.label == label:
                self.query, self._hash = link.query_string, link.page_script_hash
                self._states.clear()
                await self._rerun()
                return
        raise PageError(f"no link {label!r} on the page")

    async def upload(self, key: str, name: str, data: bytes) -> None:
        """Drop a file into an uploader."""
        found, node = self._needed("file_uploader", key)
        asked = BackMsg()
        asked.file_urls_request.request_id = name
        asked.file_urls_request.file_names.append(name)
        asked.file_urls_request.session_id = self._session
        await self._socket.send(asked.SerializeToString())
        (urls,) = await asyncio.wait_for(self._urls.get(), PATIENCE_SECONDS)
        answer = await self._http.put(
            urls.upload_url, files={"file": (name, data)}, headers={"X-Xsrftoken": self._http.cookies[XSRF]}
        )
        if answer.status_code != 204:
            raise PageError(f"the upload was answered with {answer.status_code}")
        state = WidgetState(id=found.id)
        info = UploadedFileInfo(name=name, size=len(data), file_id=urls.file_id, file_urls=urls)
        state.file_uploader_state_value.uploaded_file_info.append(info)
        self._states[found.id] = state
        await self._rerun(fragment_id=node.fragment)

    async def select(self, key: str, row: int, column: str) -> None:
        """Click a cell of a table."""
        words = f'{{"selection": {{"rows": [], "columns": [], "cells": [[{row}, "{column}"]]}}}}'
        await self._touch("dataframe", key, string_value=words)

    async def until(self, there: Callable[[], bool], what: str) -> None:
        """Wait for the end of a run after which something holds."""
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while True:
                    await self._ended.wait()
                    self._ended.clear()
                    if self._listener.done():
                        raise PageError(
                            f"the page was closed while waiting for: {what}"
                        ) from self._listener.exception()
                    if there():
                        return
        except TimeoutError as error:
            raise PageError(f"waited {PATIENCE_SECONDS:g} s for: {what}") from error

    def _needed(self, kind: str, key: str) -> tuple[Any, Node]:
        found = self.find(kind, key)
        if found is None:
            raise PageError(f"no {kind} {key!r} on the page that can be used")
        return found

    async def _touch(self, kind: str, key: str, **value: Any) -> None:
        found, node = self._needed(kind, key)
        self._ended.clear()
        state = WidgetState(id=found.id, **value)
        once = "trigger_value" in value
        if not once:
            self._states[found.id] = state
        await self._rerun([state] if once else [], fragment_id=node.fragment)

    async def _rerun(self, once: list[WidgetState] | None = None, **asked: Any) -> None:
        """Ask for a run of the page, or of a fragment of it."""
        state = ClientState(query_string=self.query, page_script_hash=self._hash, **asked)
        state.widget_states.widgets.extend([*self._states.values(), *(once or [])])
        state.cached_message_hashes.extend(self._kept)
        info = state.context_info
        info.timezone, info.locale, info.url, info.color_scheme = "UTC", "en-US", self.address, "light"
        await self._socket.send(BackMsg(rerun_script=state).SerializeToString())

    # ---------------------------------------------------------------------------------------------- listening

    async def _listen(self) -> None:
        try:
            async for data in self._socket:
                self.bytes_in += len(data)
                self._take(ForwardMsg.FromString(data))
        finally:  # how it ended, if badly, is told to who waits
            self._ended.set()

    def _take(self, message: ForwardMsg) -> None:
        kind = message.WhichOneof("type")
        if kind == "ref_hash":
            kept = self._kept[message.ref_hash]
            kept.metadata.CopyFrom(message.metadata)
            message, kind = kept, "delta"
        elif message.metadata.cacheable:
            self._kept[message.hash] = message
        if kind == "delta":
            self._place(tuple(message.metadata.delta_path), message.delta)
        elif kind == "new_session":
            self._begin(message)
        elif kind == "script_finished":
            self._end(message)
        elif kind == "navigation" and message.navigation.page_script_hash != self._hash:
            self._hash = message.navigation.page_script_hash
            self._states.clear()
        elif kind == "page_info_changed":
            self.query = message.page_info_changed.query_string
        elif kind == "auto_rerun":
            self._repeat(message.auto_rerun.fragment_id, message.auto_rerun.interval)
        elif kind == "stop_auto_rerun":
            self._stop_timers(message.stop_auto_rerun.fragment_ids)
        elif kind == "file_urls_response":
            self._urls.put_nowait(list(message.file_urls_response.file_urls))

    def _begin(self, message: ForwardMsg) -> None:
        begun, run = message.new_session, message.metadata.run
        self._run = run.script_run_id
        self._session = begun.initialize.session_id or self._session
        if not run.fragment_ids:
            self._stop_timers(list(self._timers))

    def _place(self, path: tuple[int, ...], delta: Delta) -> None:
        element = delta.new_element if delta.HasField("new_element") else None
        self.nodes[path] = Node(element, self._run, delta.fragment_id)
        if element is None:
            return
        if getattr(inner(element), "set_value", False):  # the server says what it holds now, and remembers it itself
            self._states.pop(inner(element).id, None)
        self.watch(element, self)

    def _end(self, message: ForwardMsg) -> None:
        """Take from the page what the run did not make again."""
        run, status = message.metadata.run, message.script_finished
        if status not in (WHOLE_RUN, FRAGMENT_RUN):  # it is run again at once
            return
        again = set(run.fragment_ids)
        self.nodes = {
            path: node
            for path, node in self.nodes.items()
            if node.run == run.script_run_id or (again and node.fragment not in again)
        }
        self.runs.update(again or [""])
        if not again:
            shown = {inner(node.element).id for node in self.nodes.values() if hasattr(inner(node.element), "id")}
            self._states = {name: state for name, state in self._states.items() if name in shown}
            self._kept = dict(list(self._kept.items())[-KEPT:])
        self._ended.set()

    def _repeat(self, fragment: str, seconds: float) -> None:
        async def again() -> None:
            while True:
                await asyncio.sleep(seconds)
                self.refreshes += 1
                with contextlib.suppress(ConnectionClosed):  # the listener says so
                    await self._rerun(fragment_id=fragment, is_auto_rerun=True)

        self._stop_timers([fragment])
        self._timers[fragment] = asyncio.create_task(again())

    def _stop_timers(self, fragments: list[str]) -> None:
        for fragment in fragments:
            if timer := self._timers.pop(fragment, None):
                timer.cancel()


def inner(element: Element | None) -> Any:
    """What an element is: a button, a table…; None for one that holds nothing."""
    kind = element.WhichOneof("type") if element is not None else None
    return getattr(element, kind) if kind else None
