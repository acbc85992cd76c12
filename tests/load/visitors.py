"""Visitors who work on the case workspace at once: how long pages take, and whether anything of one shows at another.

Each visitor is a real session of the served app, over its websocket and its upload endpoint, and goes through a round
again and again: adds a file of its own, finds it in the worklist, opens the case, commits a review, opens the case
anew by its link, goes back and filters. Files are drawn here and name nobody; each carries its visitor's mark in its
text and in its pixels, and a mark seen where it does not belong is cross-talk.

    python -m tests.load.visitors --visitors 20 --seconds 120

Rows of JSON go to the standard output: one for each sample of the server's memory, each action, each thing that went
wrong, and a last one for all. The exit status is 1 if anything went wrong.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import io
import json
import math
import os
import random
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from urllib.parse import parse_qs

import numpy as np
import pyarrow as pa
from PIL import Image
from streamlit.proto.Alert_pb2 import Alert
from streamlit.proto.Element_pb2 import Element

from tests.load.drawn_visits import MARKS, NAME, NOTE, file_of, mark_of
from tests.load.page_session import PageError, PageSession, inner
from tests.load.served import Server, serving

QUIET_SECONDS, SAMPLE_SECONDS = 240, 2.0
CALM_SAMPLES, CALM_CPU_SECONDS = 5, 0.4  # an idle server takes 0.1 to 0.2 s of two
THINK_SECONDS = (2.0, 5.0)
MOST = 99  # a mark has two digits for them


# --------------------------------------------------------------------------------------------------- what is measured


@dataclass
class Tally:
    """What all visitors met with.

    Attributes
    ----------
    seconds : dict
        Of each action, from its sending to the end of the run that answers it.
    cpu_seconds : dict
        What the server computed meanwhile; of the action alone only where there is one visitor.
    wrong : list of dict
        Errors and cross-talk.
    missed : int
        Clicks on a row of the worklist that met another, because the list had moved.
    """

    cpu: Callable[[], float]
    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    cpu_seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    wrong: list[dict[str, object]] = field(default_factory=list)
    missed: int = 0
    pictures: int = 0
    refreshes: int = 0
    megabytes_in: float = 0.0

    def note(self, what: str, visitor: int, words: str) -> None:
        self.wrong.append({"what": what, "visitor": visitor, "words": words})


class TimeOver(Exception):
    """The visit is over."""


@dataclass
class Visitor:
    """One visitor with a page of its own."""

    number: int
    address: str
    tally: Tally
    think_seconds: tuple[float, float]
    until: float = math.inf
    turn: int = 0
    page: PageSession | None = None

    def __post_init__(self) -> None:
        self.random = random.Random(self.number)

    @property
    def name(self) -> str:
        return f"{NAME}{self.number:02d}q{self.turn:02d}"

    @property
    def note(self) -> str:
        return f"{NOTE}{self.number:02d}q{self.turn:02d}"

    async def stay(self) -> None:
        """Go round after round until the time is over; what goes wrong is noted, and the next round begun anew."""
        await asyncio.sleep(self.random.uniform(0, self.think_seconds[1]))
        while time.monotonic() < self.until:
            try:
                await self.round()
            except TimeOver:
                break
            except Exception as error:
                self.tally.note("error", self.number, f"{type(error).__name__}: {error}")
                await self.leave()
            self.turn += 1
        await self.leave()

    async def leave(self) -> None:
        if self.page is not None:
            self.tally.refreshes += self.page.refreshes
            self.tally.megabytes_in += self.page.bytes_in / 1e6
            await self.page.close()
            self.page = None

    async def enter(self, page: str, query: dict[str, str] | None = None) -> None:
        await self.leave()
        self.page = PageSession(self.address, self.watch)
        await self.page.open(page, query)

    async def does(self, action: str, doing: Callable[[], Awaitable[None]], there: Callable[[], bool]) -> None:
        """Do something, wait until the page has answered, and think."""
        if time.monotonic() > self.until:
            raise TimeOver
        cpu, begun = self.tally.cpu(), time.monotonic()
        await doing()
        await self.page.until(there, action)
        self.tally.seconds[action].append(time.monotonic() - begun)
        self.tally.cpu_seconds[action].append(self.tally.cpu() - cpu)
        await asyncio.sleep(self.random.uniform(*self.think_seconds))

    async def round(self) -> None:
        """Add, find, open, review, open by link, go back, filter."""
        if self.page is None:
            entering = partial(self.enter, "case_list")
            await self.does("open the worklist", entering, lambda: self.on("text_input", "worklist_text"))
        await self.add()
        await self.find()
        page = self.page
        await self.does(
            "open the case", partial(page.press, "worklist_open"), lambda: self.on("selectbox", "case_label_")
        )
        case = parse_qs(page.query)["case"][0]
        await self.review()
        link = partial(self.enter, "case", {"case": case})
        await self.does("open the case by its link", link, lambda: self.told(self.note))
        page = self.page
        back = partial(page.follow, "Back to the worklist")
        await self.does("go back", back, lambda: self.on("text_input", "worklist_text"))
        done = partial(page.choose, "worklist_status", ["Done"])
        await self.does("filter by status", done, lambda: all("Done" in one for one in self.column("status")))
        everything = partial(page.choose, "worklist_status", [])
        await self.does("show all", everything, lambda: bool(self.column("status")))

    async def add(self) -> None:
        """Upload a file of one's own, and put the receipt away."""
        page = self.page
        name, data = await asyncio.to_thread(file_of, self.number, self.turn)
        drop = partial(page.upload, "case_upload_", name, data)
        await self.does("drop a file", drop, lambda: self.on("button", "case_upload_start"))
        add = partial(page.press, "case_upload_start")
        await self.does("add it", add, lambda: self.on("button", "case_upload_done"))
        if not any("1 received" in one.body for one, _node in page.elements("markdown")):
            raise PageError("the file was not received")
        put = partial(page.press, "case_upload_done")
        await self.does("put the receipt away", put, lambda: self.on("file_uploader", "case_upload_"))

    async def find(self) -> None:
        """Find one's own study in the worklist, by the patient's name or as the newest, and choose it."""
        page = self.page
        if self.number % 3 == 2:
            newest = partial(page.type, "worklist_sort", "Waiting time", "selectbox")
            await self.does("sort", newest, lambda: self.on("button_group", "worklist_order"))
            upwards = partial(page.choose, "worklist_order", ["arrow_upward"])
            await self.does("turn the order", upwards, lambda: self.row() >= 0)
        else:
            search = partial(page.type, "worklist_text", self.name)
            await self.does("search by name", search, lambda: self.named() == {self.name})
        await self.click()
        while not self.column("here")[self.row()]:  # the list moved under the click
            self.tally.missed += 1
            await self.click()

    async def click(self) -> None:
        """Click on one's own row."""
        if self.row() < 0:
            raise PageError("the own study is not on the page")
        click = partial(self.page.select, "worklist_table", self.row(), "study")
        await self.does("choose a row", click, lambda: any(self.column("here")))

    async def review(self) -> None:
        """Fill in the form and commit it."""
        page = self.page
        finding = partial(page.type, "case_label_", "Other finding", "selectbox")
        await self.does("write a finding", finding, lambda: self.on("button", "case_commit_"))
        _form, node = page.find("text_area", "case_comment_")
        runs = page.runs[node.fragment]
        words = partial(page.type, "case_comment_", self.note, "text_area")
        await self.does("write a description", words, lambda: page.runs[node.fragment] > runs)
        await self.does("commit the review", partial(page.press, "case_commit_"), lambda: self.told(self.note))

    # ------------------------------------------------------------------------------------------ what is seen

    def on(self, kind: str, key: str) -> bool:
        return self.page.find(kind, key) is not None

    def told(self, words: str) -> bool:
        return any(words in one.body for one, _node in self.page.elements("html"))

    def column(self, name: str) -> list[str]:
        """The cells of a column of the worklist."""
        found = self.page.find("dataframe", "worklist_table")
        if found is None:
            return []
        return pa.ipc.open_stream(found[0].arrow_data.data).read_all()[name].to_pylist()

    def row(self) -> int:
        """Where the own study stands in the worklist, -1 where it does not."""
        cells = zip(self.column("patient"), self.column("study"), strict=True)
        return next((place for place, both in enumerate(cells) if any(self.name in str(one) for one in both)), -1)

    def named(self) -> set[str]:
        """All planted names in the worklist."""
        return {found.group().decode() for one in self.column("patient") for found in MARKS.finditer(one.encode())}

    def watch(self, element: Element, page: PageSession) -> None:
        """Look at an element as it arrives: at errors, and at marks that do not belong there."""
        found, kind = inner(element), element.WhichOneof("type")
        if kind == "exception" or (kind == "alert" and found.format == Alert.ERROR):
            self.tally.note("error", self.number, found.message if kind == "exception" else found.body)
        table = kind == "dataframe" and "worklist_table" in found.id
        for word, *mark in MARKS.findall(element.SerializeToString()):
            if tuple(map(int, mark)) != (self.number, self.turn) and not (table and word.decode() == NAME):
                self.tally.note("cross-talk", self.number, f"{word.decode()} of {mark} in a {kind}")
        if kind == "plotly_chart" and "case_view_" in found.id:
            self.look(json.loads(found.spec))

    def look(self, figure: dict) -> None:
        """Look whose picture is shown."""
        data = base64.b64decode(figure["layout"]["images"][0]["source"].partition(",")[2])
        mark = mark_of(np.asarray(Image.open(io.BytesIO(data)).convert("L")))
        self.tally.pictures += 1
        if mark != (self.number, self.turn):
            self.tally.note("cross-talk", self.number, f"the picture of {mark}")


async def quiet(server: Server) -> None:
    """Wait until the server has loaded its models, that is, computes next to nothing for a while."""
    until, last, calm = time.monotonic() + QUIET_SECONDS, server.cpu_seconds(), 0
    while calm < CALM_SAMPLES and time.monotonic() < until:
        await asyncio.sleep(SAMPLE_SECONDS)
        now = server.cpu_seconds()
        calm = calm + 1 if now - last < CALM_CPU_SECONDS else 0
        last = now


async def sample(server: Server, rows: list[dict[str, float]]) -> None:
    """Note memory and computing time every two seconds."""
    begun, cpu = time.monotonic(), server.cpu_seconds()
    while True:
        seconds = round(time.monotonic() - begun, 1)
        rows.append(
            {"second": seconds, "memory_mb": round(server.memory_mb(), 1),
             "cpu_s": round(server.cpu_seconds() - cpu, 2)}
        )  # fmt: skip
        await asyncio.sleep(SAMPLE_SECONDS)


# ----------------------------------------------------------------------------------------------------------- the run


async def load(
    server: Server, visitors: int, seconds: float, think_seconds: tuple[float, float], after: float = 0.0
) -> tuple[Tally, list[dict[str, float]]]:
    """Let so many visitors come at once for so long, after one who came first, when the models are loaded.

    Parameters
    ----------
    after : float
        Seconds for which memory is watched when they have left.
    """
    first = Visitor(visitors, server.address, Tally(server.cpu_seconds), (0.1, 0.2))
    await first.round()
    await first.leave()
    await quiet(server)
    tally, samples = Tally(server.cpu_seconds, wrong=first.tally.wrong), []
    sampling = asyncio.create_task(sample(server, samples))
    until = time.monotonic() + seconds
    await asyncio.gather(*(Visitor(one, server.address, tally, think_seconds, until).stay() for one in range(visitors)))
    await asyncio.sleep(after)
    sampling.cancel()
    tally.wrong += [{"what": "error", "visitor": None, "words": line} for line in server.complaints()]
    return tally, samples


def action_rows(tally: Tally, alone: bool) -> Iterator[dict[str, object]]:
    """A row for each action, and one for all."""
    for action, seconds in [*tally.seconds.items(), ("all", sum(tally.seconds.values(), []))]:
        p50, p95, most = np.percentile(seconds, [50, 95, 100]) * 1000
        row = {
            "action": action,
            "n": len(seconds),
            "median_ms": round(p50),
            "p95_ms": round(p95),
            "max_ms": round(most),
        }
        if alone and action != "all":
            row["server_cpu_ms"] = round(1000 * float(np.median(tally.cpu_seconds[action])))
        yield row


def summary(tally: Tally, samples: list[dict[str, float]], visitors: int, seconds: float) -> dict[str, object]:
    """One row for all."""
    there = [row for row in samples if row["second"] <= seconds]
    half = there[len(there) // 2 :]
    slope = np.polyfit([row["second"] / 60 for row in half], [row["memory_mb"] for row in half], 1)[0]
    everything = sum(tally.seconds.values(), [])
    wrong = [one["what"] for one in tally.wrong]
    return {
        "visitors": visitors, "seconds": seconds, "actions": len(everything), "refreshes": tally.refreshes,
        "missed_clicks": tally.missed, "pictures": tally.pictures,
        "errors": wrong.count("error"), "cross_talk": wrong.count("cross-talk"),
        "p95_ms": round(float(np.percentile(everything, 95)) * 1000),
        "cpu_share": round(there[-1]["cpu_s"] / there[-1]["second"] / (os.cpu_count() or 1), 2),
        "memory_first_mb": there[0]["memory_mb"], "memory_last_mb": there[-1]["memory_mb"],
        "memory_mb_per_minute": round(float(slope), 1), "received_mb": round(tally.megabytes_in, 1),
    }  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.load.visitors", description=__doc__.partition("\n")[0])
    parser.add_argument("--visitors", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--after", type=float, default=0, help="seconds for which memory is watched when all have left")
    given = parser.parse_args()
    if not 1 <= given.visitors <= MOST:
        parser.error(f"`--visitors` must be between 1 and {MOST}, got {given.visitors}")
    with tempfile.TemporaryDirectory() as folder, serving(Path(folder)) as server:
        tally, samples = asyncio.run(load(server, given.visitors, given.seconds, THINK_SECONDS, given.after))
    rows = [*samples, *action_rows(tally, given.visitors == 1), *tally.wrong]
    for row in [*rows, summary(tally, samples, given.visitors, given.seconds)]:
        print(json.dumps(row))
    return 1 if tally.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
