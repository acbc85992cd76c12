"""Three visitors at once, by the code that measures twenty; and that it notices what does not belong."""

from __future__ import annotations

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from streamlit.proto.Element_pb2 import Element

from pages.ui.viewer import data_uri
from tests.load.drawn_visits import NAME, NOTE, file_of, mark_of, picture
from tests.load.served import Server, serving
from tests.load.visitors import Tally, Visitor, action_rows

THINK_SECONDS = (0.1, 0.3)


async def one_round(server: Server, tally: Tally) -> list[Visitor]:
    visitors = [Visitor(number, server.address, tally, THINK_SECONDS) for number in range(3)]
    await asyncio.gather(*(one.round() for one in visitors))
    await asyncio.gather(*(one.leave() for one in visitors))
    return visitors


async def crossing_refresh(server: Server, tally: Tally) -> list[str]:
    """What the list shows when its timer asked for it just before the address of a new filter reached the browser."""
    visitor = Visitor(9, server.address, tally, (0.0, 0.0))
    await visitor.enter("case_list")
    page = visitor.page
    await page.until(lambda: len(visitor.column("status")) == 3, "the list")
    before = page.query
    await page.choose("worklist_status", ["Refused"])
    await page.until(lambda: not visitor.column("status"), "nothing refused")
    assert page.query != before
    _pills, node = page.find("button_group", "worklist_status")
    page.query, runs = before, page.runs[node.fragment]
    await page._rerun(fragment_id=node.fragment, is_auto_rerun=True)
    await page.until(lambda: page.runs[node.fragment] > runs, "the refresh")
    found = visitor.column("status")
    await visitor.leave()
    return found


def test_visitors_at_once_see_their_own_and_no_errors(tmp_path: Path) -> None:
    (tmp_path / "assets").mkdir()  # without models, which take half a minute to load
    with serving(tmp_path, MEDAI_ASSETS=str(tmp_path / "assets")) as server:
        tally = Tally(server.cpu_seconds)
        # In a thread of its own: once a browser was asked for, Playwright keeps a loop running in that of the tests.
        with ThreadPoolExecutor(1) as pool:
            pool.submit(asyncio.run, one_round(server, tally)).result()
            assert not pool.submit(asyncio.run, crossing_refresh(server, tally)).result()
        assert not server.complaints() and server.memory_mb() > 50
    assert not tally.wrong
    each = {row["action"]: row["n"] for row in action_rows(tally, alone=False)}
    assert each["commit the review"] == each["open the case by its link"] == each["show all"] == 3
    assert tally.pictures >= 2 * 3  # of the case as opened, and by its link


@pytest.fixture
def visitor() -> Visitor:
    return Visitor(4, "", Tally(float), THINK_SECONDS, turn=2)


def html(words: str) -> Element:
    element = Element()
    element.html.body = words
    return element


def table(words: str, key: str) -> Element:
    element = Element()
    element.dataframe.id, element.dataframe.arrow_data.data = f"$$ID-0-{key}", words.encode()
    return element


def shown(drawn: tuple[int, int]) -> Element:
    element = Element()
    element.plotly_chart.id = "$$ID-0-case_view_now"
    element.plotly_chart.spec = json.dumps({"layout": {"images": [{"source": data_uri(picture(*drawn), 2500)}]}})
    return element


@pytest.mark.parametrize(
    "element",
    [
        html(f"<b>{NAME}03q02</b>"),
        html(f"{NAME}04q01, of another turn"),
        table(f"{NOTE}03q02", "worklist_table"),
        table(f"{NAME}03q02.png", "case_receipts"),
        shown((3, 2)),
    ],
)
def test_what_is_another_visitors_is_noticed(visitor: Visitor, element: Element) -> None:
    visitor.watch(element, None)
    assert [one["what"] for one in visitor.tally.wrong] == ["cross-talk"]


@pytest.mark.parametrize(
    "element", [html(f"{NAME}04q02 {NOTE}04q02"), table(f"{NAME}03q02", "worklist_table"), shown((4, 2))]
)
def test_what_belongs_there_is_not(visitor: Visitor, element: Element) -> None:
    visitor.watch(element, None)
    assert not visitor.tally.wrong


def test_an_error_on_the_page_is_noticed(visitor: Visitor) -> None:
    element = Element()
    element.exception.message = "something broke"
    visitor.watch(element, None)
    assert visitor.tally.wrong == [{"what": "error", "visitor": 4, "words": "something broke"}]


def test_files_are_all_distinct_and_carry_their_mark() -> None:
    files = [file_of(visitor, turn) for visitor in (0, 1, 2) for turn in (0, 1)]
    assert len({data for _name, data in files}) == 6 and {name[-3:] for name, _data in files} == {"dcm", "png"}
    assert mark_of(picture(19, 11)) == (19, 11)
