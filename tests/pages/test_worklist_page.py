"""The worklist page: many files, stopping, filters, CSV, opening a row."""

from __future__ import annotations

import csv
import io
import runpy
import threading
import time
import zipfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from medai_core.errors import InputError
from medai_core.imaging.reading import Reading
from pages.ui.queue import NotReached, Queue, Upload, safe_cell
from pages.ui.worklist_rows import ScanRow, by_urgency, to_csv

PAGE = "pages/imaging/worklist.py"
Said = Callable[[AppTest], str]


def start(app: AppTest, uploads: dict[str, bytes]) -> AppTest:
    app.switch_page(PAGE).run()
    for name, data in uploads.items():
        app.file_uploader[0].upload(name, data)
    app.run()
    app.button(key="start").click().run()
    for _ in range(50):
        if app.session_state["worklist"].state != "running":
            break
        app.run()
    assert not app.exception
    return app


def test_empty_page_has_nothing_to_start(app: AppTest) -> None:
    app.switch_page(PAGE).run()
    assert app.button(key="start").disabled


def test_table_is_sorted_by_urgency_and_one_bad_file_stops_nothing(app: AppTest, files: dict[str, bytes]) -> None:
    start(app, {"junk.png": files["junk"], "sure.png": files["sure"], "unsure.png": files["unsure"]})
    table = app.dataframe[0].value
    assert table["file"].tolist() == ["unsure.png", "sure.png", "junk.png"]
    assert table["result"].tolist() == ["Bacterial pneumonia", "Bacterial pneumonia", "Unreadable"]
    assert table["image"][0].startswith("data:image/png;base64,")
    assert table["note"][2]


def test_a_synthetic_image_is_a_refusal_that_can_be_opened(app: AppTest, files: dict[str, bytes], said: Said) -> None:
    start(app, {"made.png": files["synthetic"], "sure.png": files["sure"]})
    row = app.dataframe[0].value.set_index("file").loc["made.png"]
    assert (row["result"], row["look"], row["probability"]) == ("This image is synthetic", "Not read", "")
    assert "is not read as a patient's" in row["note"]
    app.selectbox(key="open_choice").select_index(1).run()
    app.button(key="open_chosen").click().run()
    assert not app.exception and app.button(key="open_demonstration")
    assert "This image is synthetic" in said(app)


def test_archives_are_unpacked_and_broken_members_listed(app: AppTest, files: dict[str, bytes]) -> None:
    inner, packed = io.BytesIO(), io.BytesIO()
    zipfile.ZipFile(inner, "w").close()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("one.png", files["sure"])
        archive.writestr("nested.zip", inner.getvalue())
        archive.writestr("two.png", files["refused"])
    start(app, {"study.zip": packed.getvalue()})
    assert {row.name: row.status for row in app.session_state["worklist"].rows} == {
        "one.png": "read", "nested.zip": "error", "two.png": "refused",
    }  # fmt: skip


def test_stop_keeps_what_is_done(app: AppTest, files: dict[str, bytes]) -> None:
    from pages.ui import loaders

    reader = loaders.reader()
    queue = Queue([Upload(f"{n}.png", files["sure"]) for n in range(20)], reader.read_many, ScanRow)
    queue.work(slice_seconds=0.0)
    queue.work(slice_seconds=0.0)
    queue.stop()
    assert queue.state == "stopped" and len(queue.rows) - queue.missed == 2
    before = list(queue.rows)
    queue.work(slice_seconds=1.0)
    assert queue.rows == before and queue.missed == 18


def test_a_stop_during_a_slice_ends_it_with_the_next_answer() -> None:
    begun, go_on = threading.Event(), threading.Event()

    def slow(items: Iterable[tuple[str, bytes]]) -> Iterator[tuple[str, object]]:
        for name, data in items:
            begun.set()
            go_on.wait(10)
            yield name, data

    queue = Queue([Upload(f"{n}.png", b"") for n in range(5)], slow, ScanRow)
    first = threading.Thread(target=queue.work, args=(60.0,))
    first.start()
    assert begun.wait(10)
    # As when the visitor clicks: another thread stops, and its run of the page asks for a slice of its own.
    stopping = threading.Thread(target=queue.stop)
    stopping.start()
    while queue.state == "running":
        stopping.join(0.01)
    second = threading.Thread(target=queue.work, args=(60.0,))
    second.start()
    go_on.set()
    for thread in (first, stopping, second):
        thread.join(10)
        assert not thread.is_alive()
    assert queue.state == "stopped" and queue.missed == 4 and [row.name for row in queue.rows[:1]] == ["0.png"]


def test_two_slices_at_once_wait_for_each_other() -> None:
    def slow(items: Iterable[tuple[str, bytes]]) -> Iterator[tuple[str, object]]:
        for name, data in items:
            time.sleep(0.02)
            yield name, data

    queue = Queue([Upload(f"{n}.png", b"") for n in range(20)], slow, ScanRow)
    threads = [threading.Thread(target=queue.work, args=(60.0,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert queue.state == "done" and [row.name for row in queue.rows] == [f"{n}.png" for n in range(20)]


def test_stop_button_lists_what_was_not_reached(
    app: AppTest, files: dict[str, bytes], said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pages.ui import loaders

    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("one.png", files["sure"])
        archive.writestr("two.png", files["sure"])
    uploads = [Upload("a.png", files["sure"]), Upload("b.png", files["sure"]), Upload("c.zip", packed.getvalue())]
    queue = Queue(uploads, loaders.reader().read_many, ScanRow)
    queue.work(slice_seconds=0.0)
    # The page stands still between two slices, as it does for a moment while files are read.
    monkeypatch.setattr(Queue, "work", lambda self, seconds: st.stop())
    app.session_state["worklist"] = queue
    app.switch_page(PAGE).run()
    app.button(key="stop").click().run()
    assert not app.exception and queue.state == "stopped"
    assert "Stopped" in said(app) and "1 files in" in said(app) and "3 files were not reached" in said(app)
    table = app.dataframe[0].value
    assert table["file"].tolist() == ["a.png", "b.png", "c.zip"]
    assert table["result"].tolist() == ["Bacterial pneumonia", "Not reached", "Not reached"]
    app.button_group(key="filter_status_0").set_value(["not_reached"]).run()
    assert app.dataframe[0].value["file"].tolist() == ["b.png", "c.zip"]
    rows = list(csv.DictReader(io.StringIO(to_csv(by_urgency(queue.rows)).decode("utf-8-sig"))))
    assert [row["status"] for row in rows] == ["read", "not_reached", "not_reached"]


def test_an_unexpected_error_stops_the_list_and_is_said(
    app: AppTest, files: dict[str, bytes], said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pages.ui import loaders

    read_many = loaders.reader().read_many

    def breaks(items: Iterable[tuple[str, bytes]], model: str) -> Iterator[tuple[str, object]]:
        for done, answer in enumerate(read_many(items, model=model)):
            if done:
                raise ZeroDivisionError
            yield answer

    monkeypatch.setattr(loaders.reader(), "read_many", breaks)
    start(app, {f"{n}.png": files["sure"] for n in range(3)})
    assert [error.value for error in app.error] == [
        r"The work stopped at an unexpected error; the log of the server says which\."
    ]
    assert app.dataframe[0].value["result"].tolist() == ["Bacterial pneumonia", "Not reached", "Not reached"]


def test_many_slices_run_to_the_end(app: AppTest, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    work = Queue.work
    monkeypatch.setattr(Queue, "work", lambda self, seconds: work(self, 0.0))
    start(app, {f"{n}.png": files["sure"] for n in range(5)})
    assert app.session_state["worklist"].state == "done"
    assert len(app.dataframe[0].value) == 5 and not app.error


def test_what_was_not_read_stands_before_what_needs_no_look() -> None:
    def row(name: str, **outcome: object) -> ScanRow:
        return ScanRow(name, Upload(name, b""), 0, Reading(code="ok", reason=None, digest="", **outcome))

    rows = [
        row("calm", status="read", above_threshold=False, urgency=0.1),
        ScanRow("junk", Upload("junk", b""), 0, InputError("This is a text file, not a scan.")),
        row("refused", status="refused"),
        row("referred", status="read", above_threshold=False, urgency=0.5, refer=True),
        row("found", status="read", above_threshold=True, urgency=0.9),
    ]
    assert [row.name for row in by_urgency(rows)] == ["found", "referred", "refused", "junk", "calm"]
    assert [row.needs_look for row in by_urgency(rows)] == [True] * 4 + [False]
    assert by_urgency(rows)[2].urgency is None


def test_filters(app: AppTest, files: dict[str, bytes]) -> None:
    start(app, {"a.png": files["sure"], "b.png": files["unsure"], "c.png": files["refused"]})
    app.button_group(key="filter_status_0").set_value(["read"]).run()
    assert app.dataframe[0].value["file"].tolist() == ["b.png", "a.png"]
    app.button_group(key="filter_status_0").set_value(["read", "refused", "error"]).run()
    app.toggle(key="filter_look_0").set_value(True).run()
    assert len(app.dataframe[0].value) == 3  # one referred, one above the threshold, one refused
    app.toggle(key="filter_look_0").set_value(False).run()
    app.text_input(key="filter_name_0").set_value("C.p").run()
    assert app.dataframe[0].value["file"].tolist() == ["c.png"]
    app.switch_page("pages/home/home.py").run()
    app.switch_page(PAGE).run()
    assert app.dataframe[0].value["file"].tolist() == ["c.png"]
    app.button(key="start_over").click().run()
    start(app, {"a.png": files["sure"]})
    assert len(app.dataframe[0].value) == 1


def test_csv_has_every_field_and_no_formula(app: AppTest, files: dict[str, bytes]) -> None:
    start(app, {"=cmd|' /C calc'!A0.png": files["sure"], "junk.png": files["junk"]})
    text = to_csv(by_urgency(app.session_state["worklist"].rows)).decode("utf-8-sig")
    rows = list(csv.DictReader(io.StringIO(text)))
    assert rows[0]["file"].startswith("'=cmd")
    assert rows[0]["label"] == "bacterial" and float(rows[0]["p_bacterial"]) == 0.94
    assert rows[1]["status"] == "error" and rows[1]["reason"]


def test_cells_that_spreadsheets_would_compute_are_quoted() -> None:
    for text in ("=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"):
        assert safe_cell(text) == "'" + text
    assert safe_cell("scan-1.png") == "scan-1.png"


def test_a_row_opens_on_the_scan_page(app: AppTest, files: dict[str, bytes], said: Said) -> None:
    start(app, {"first.png": files["sure"], "second.png": files["unsure"]})
    assert app.selectbox(key="open_choice").options == ["1 · second.png", "2 · first.png"]
    app.selectbox(key="open_choice").set_value(1).run()
    app.text_input(key="filter_name_0").set_value("sec").run()
    app.button(key="open_chosen").click().run()
    assert not app.exception
    assert "second.png" in said(app) and "**55.0%**" in said(app)


def test_a_click_in_the_table_opens_its_row(files: dict[str, bytes]) -> None:
    from pages.ui import uploads

    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("x.png", files["sure"])
    rows = [
        ScanRow("x.png", Upload("b.zip", packed.getvalue()), 0, InputError("Not of interest here.")),
        ScanRow("c.zip", Upload("c.zip", packed.getvalue()), -1, NotReached("Not reached.", n=1)),
    ]
    # AppTest cannot click in a table: the page's function is called with the state that a browser sends.
    page = runpy.run_path(str(Path(__file__).parents[2] / PAGE))
    for place, expected in enumerate([("x.png", files["sure"]), ("c.zip", packed.getvalue())]):
        st.session_state.pop(uploads.SCAN, None)
        st.session_state["click"] = SimpleNamespace(row=place)
        page["open_row"](rows, "click")
        assert (uploads.held_scan().name, uploads.held_scan().data) == expected
    del st.session_state[uploads.SCAN]


def test_the_list_survives_other_pages_and_can_be_cleared(app: AppTest, files: dict[str, bytes]) -> None:
    start(app, {"a.png": files["sure"]})
    app.switch_page("pages/home/home.py").run()
    app.switch_page(PAGE).run()
    assert app.dataframe[0].value["file"].tolist() == ["a.png"]
    app.button(key="start_over").click().run()
    assert not app.dataframe and len(app.file_uploader) == 1
