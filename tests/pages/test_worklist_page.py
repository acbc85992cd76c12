"""The worklist page: many files, stopping, filters, CSV, opening a row."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Callable

import pytest
from streamlit.testing.v1 import AppTest

from medai_core.errors import InputError
from medai_core.imaging.reading import Reading
from pages.ui.queue import Queue, Row, Upload, safe_cell, to_csv

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
    queue = Queue([Upload(f"{n}.png", files["sure"]) for n in range(20)], "auto")
    queue.work(reader, slice_seconds=0.0)
    queue.work(reader, slice_seconds=0.0)
    queue.stop()
    assert queue.state == "stopped" and len(queue.rows) == 2
    queue.work(reader, slice_seconds=1.0)
    assert len(queue.rows) == 2


def test_stop_button_shows_the_rest_as_stopped(app: AppTest, files: dict[str, bytes], said: Said) -> None:
    start(app, {"sure.png": files["sure"]})
    queue = Queue([Upload("a.png", files["sure"]), Upload("b.png", files["sure"])], "auto")
    queue.stop()
    app.session_state["worklist"] = queue
    app.run()
    assert "Stopped" in said(app) and not app.exception


def test_many_slices_run_to_the_end(app: AppTest, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    work = Queue.work
    monkeypatch.setattr(Queue, "work", lambda self, reader, seconds: work(self, reader, 0.0))
    start(app, {f"{n}.png": files["sure"] for n in range(5)})
    assert app.session_state["worklist"].state == "done"
    assert len(app.dataframe[0].value) == 5 and not app.error


def test_what_was_not_read_stands_before_what_needs_no_look() -> None:
    def row(name: str, **outcome: object) -> Row:
        return Row(name, Upload(name, b""), 0, Reading(code="ok", reason=None, digest="", **outcome))

    queue = Queue([], "auto")
    queue.rows = [
        row("calm", status="read", above_threshold=False, urgency=0.1),
        Row("junk", Upload("junk", b""), 0, InputError("This is a text file, not a scan.")),
        row("refused", status="refused"),
        row("referred", status="read", above_threshold=False, urgency=0.5, refer=True),
        row("found", status="read", above_threshold=True, urgency=0.9),
    ]
    assert [row.name for row in queue.sorted_rows()] == ["found", "referred", "refused", "junk", "calm"]
    assert [row.needs_look for row in queue.sorted_rows()] == [True] * 4 + [False]
    assert queue.sorted_rows()[2].urgency is None


def test_filters(app: AppTest, files: dict[str, bytes]) -> None:
    start(app, {"a.png": files["sure"], "b.png": files["unsure"], "c.png": files["refused"]})
    app.button_group(key="filter_status").set_value(["read"]).run()
    assert app.dataframe[0].value["file"].tolist() == ["b.png", "a.png"]
    app.button_group(key="filter_status").set_value(["read", "refused", "error"]).run()
    app.toggle(key="filter_look").set_value(True).run()
    assert len(app.dataframe[0].value) == 3  # one referred, one above the threshold, one refused
    app.toggle(key="filter_look").set_value(False).run()
    app.text_input(key="filter_name").set_value("C.p").run()
    assert app.dataframe[0].value["file"].tolist() == ["c.png"]


def test_csv_has_every_field_and_no_formula(app: AppTest, files: dict[str, bytes]) -> None:
    start(app, {"=cmd|' /C calc'!A0.png": files["sure"], "junk.png": files["junk"]})
    text = to_csv(app.session_state["worklist"].sorted_rows()).decode("utf-8-sig")
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
    from pages.ui import uploads

    row: Row = app.session_state["worklist"].sorted_rows()[0]
    assert row.data() == files["unsure"]
    app.session_state[uploads.SCAN] = uploads.Held(row.name, row.data(), "0" * 64)
    app.session_state["opened_from_worklist"] = True
    app.run()
    assert not app.exception
    assert "second.png" in said(app) and "Read a scan" in said(app)


def test_the_list_survives_other_pages_and_can_be_cleared(app: AppTest, files: dict[str, bytes]) -> None:
    start(app, {"a.png": files["sure"]})
    app.switch_page("pages/home/home.py").run()
    app.switch_page(PAGE).run()
    assert app.dataframe[0].value["file"].tolist() == ["a.png"]
    app.button(key="start_over").click().run()
    assert not app.dataframe and len(app.file_uploader) == 1
