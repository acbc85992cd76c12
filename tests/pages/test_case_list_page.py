"""The worklist of the workspace: arriving, filters in the address, walking, pages, who may what."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from html import escape
from pathlib import Path
from types import SimpleNamespace

import pytest
from drawn_cases import filled, radiograph, read_all
from streamlit.testing.v1 import AppTest

from medai_core.cases.access import LOCAL, Role, User
from medai_core.cases.workspace import Workspace
from medai_core.errors import Unavailable
from pages.ui import case_filters, case_kit, case_rows, case_upload, signin

PAGE = "pages/cases/case_list.py"
Said = Callable[[AppTest], str]


def opened(app: AppTest, **address: str) -> AppTest:
    for name, value in address.items():
        app.query_params[name] = value
    app.switch_page(PAGE).run()
    assert not app.exception
    return app


def rows(app: AppTest) -> list[str]:
    return app.dataframe[-1].value["patient"].tolist()


def test_an_empty_list_says_how_studies_arrive_and_loads_the_samples(
    app: AppTest, space: Workspace, said: Said, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, files: dict[str, bytes]
) -> None:
    sample = tmp_path / "sample.png"
    sample.write_bytes(files["sure"])
    monkeypatch.setattr(case_upload, "samples", lambda: [type("S", (), {"path": sample})])
    words = said(opened(app))
    assert "Nothing has arrived yet" in words and "MEDAI_WATCH_DIR" in words
    app.button(key="worklist_samples").click().run()
    assert space.worklist(LOCAL).total == 1
    assert "1 received" in said(app)


def test_every_file_gets_a_receipt(app: AppTest, space: Workspace, files: dict[str, bytes], said: Said) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("inside.png", files["unsure"])
        archive.writestr("junk.bin", files["junk"])
    opened(app)
    for name, data in (("a.png", files["sure"]), ("again.png", files["sure"]), ("two.zip", packed.getvalue())):
        app.file_uploader[0].upload(name, data)
    app.run()
    app.button(key="case_upload_start").click().run()
    for _ in range(20):
        if app.session_state[case_upload.INTAKE].state == "done":
            break
        app.run()
    table = app.dataframe[0].value.set_index("File")
    assert table["Receipt"].to_dict() == {
        "a.png": "Received", "again.png": "Already here", "inside.png": "Received", "junk.bin": "Refused",
    }  # fmt: skip
    why = escape(table["Why"]["junk.bin"]).replace("\\", "")  # as `said` leaves them out
    assert f"junk.bin: {why}" in said(app) and space.worklist(LOCAL).total == 2
    app.button(key="case_upload_done").click().run()
    assert app.file_uploader and not app.exception


def test_a_workspace_that_is_away_keeps_the_files_to_be_sent_again(
    app: AppTest, space: Workspace, files: dict[str, bytes], said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened(app)
    app.file_uploader[0].upload("a.png", files["sure"])
    app.run()
    there = Workspace.receive

    def away(*args: object, **named: object) -> None:
        raise Unavailable("The disk is full.")

    monkeypatch.setattr(Workspace, "receive", away)
    app.button(key="case_upload_start").click().run()
    assert "The disk is full" in said(app) and "Nothing was lost" in said(app)
    monkeypatch.setattr(Workspace, "receive", there)
    app.button(key="case_upload_again").click().run()
    assert space.worklist(LOCAL).total == 1 and "1 received" in said(app)


def test_the_address_filters_and_is_written(app: AppTest, space: Workspace) -> None:
    first, second, _third = filled(space, LOCAL, 3)
    space.opened(LOCAL, first.study_id)
    opened(app, status="reading", sort="age")
    assert rows(app) == ["Drawn, H-0"]
    assert app.session_state[case_filters.SORT] == "age"
    app.button_group(key=case_filters.STATUS).set_value(["new"]).run()
    assert sorted(rows(app)) == ["Drawn, H-1", "Drawn, H-2"]
    assert app.query_params["status"] in (["new"], "new")
    app.text_input(key=case_filters.TEXT).set_value("H-1").run()
    assert rows(app) == ["Drawn, H-1"]
    assert not any("H-1" in str(value) for value in dict(app.query_params).values())  # no name in an address
    app.text_input(key=case_filters.TEXT).set_value("nobody").run()
    app.button(key="worklist_clear").click().run()
    assert len(rows(app)) == 3


def test_what_is_no_filter_in_an_address_is_passed_over(app: AppTest, space: Workspace) -> None:
    filled(space, LOCAL, 1)
    opened(app, status="new,<b>", modality="XYZ", who="root", sort="; drop", order="7", page="-4")
    assert rows(app) == ["Drawn, H-0"]


def test_walking_keeps_its_place_when_the_list_changes(app: AppTest, space: Workspace) -> None:
    filled(space, LOCAL, 3)
    opened(app)
    for _ in range(2):
        app.button(key="worklist_next").click().run()
    chosen = app.session_state[case_rows.CHOSEN]
    assert app.dataframe[-1].value["here"].tolist() == ["", "▶", ""]
    space.review(LOCAL, chosen, _review(), version_of(space, chosen))
    first = next(row for row in space.worklist(LOCAL).rows if row.study_id != chosen)
    space.forget(LOCAL, first.case_id)
    app.run()
    place = [row.study_id for row in space.worklist(LOCAL).rows].index(chosen)
    assert app.dataframe[-1].value["here"].tolist()[place] == "▶"


def version_of(space: Workspace, study_id: str) -> int:
    return next(row.version for row in space.worklist(LOCAL).rows if row.study_id == study_id)


def _review() -> object:
    from medai_core.cases.answers import ReviewInput

    return ReviewInput("normal")


def test_a_chosen_row_opens_its_case(app: AppTest, space: Workspace, said: Said) -> None:
    (receipt,) = filled(space, LOCAL, 1)
    opened(app)
    assert app.button(key="worklist_open").disabled
    app.button(key="worklist_next").click().run()
    app.button(key="worklist_open").click().run()
    assert not app.exception and "Drawn, H\\-0".replace("\\", "") in said(app)
    assert app.query_params["case"] in ([receipt.case_id], receipt.case_id)


def test_many_studies_come_in_pages(app: AppTest, space: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(space, LOCAL, 30)
    opened(app, page="2")
    assert len(rows(app)) == 5
    opened(app, page="99")
    assert len(rows(app)) == 5 and app.session_state[case_filters.PAGE] == 2


def test_the_list_is_as_it_was_when_one_comes_back(app: AppTest, space: Workspace) -> None:
    filled(space, LOCAL, 2)
    opened(app, status="new")
    app.text_input(key=case_filters.TEXT).set_value("nobody").run()  # nothing, so no pages either
    app.text_input(key=case_filters.TEXT).set_value("H-1").run()
    assert rows(app) == ["Drawn, H-1"]
    app.switch_page("pages/models/models.py").run()
    opened(app, status="new")
    assert rows(app) == ["Drawn, H-1"]


def test_read_first_withholds_what_the_model_says(app: AppTest, space: Workspace) -> None:
    filled(space, LOCAL, 1)
    opened(app)
    assert app.dataframe[-1].value["urgency"][0] == pytest.approx(0.96)
    app.toggle(key="read_first_list").set_value(True).run()
    table = app.dataframe[-1].value
    assert table["urgency"].isna().all() and table["word"][0] == "Withheld"


def test_read_first_the_order_tells_nothing_either(app: AppTest, space: Workspace) -> None:
    calm = space.receive(LOCAL, radiograph(1, patient="calm"), "1.dcm")
    read_all(space, {"normal": 0.9, "viral": 0.1})
    urgent = space.receive(LOCAL, radiograph(2, patient="urgent"), "2.dcm")
    read_all(space)
    opened(app, first="1", sort="urgency")
    assert rows(app) == ["Drawn, calm", "Drawn, urgent"] and app.dataframe[-1].value["urgency"].isna().all()
    by = app.selectbox(key=case_filters.SORT)
    assert by.value == "age" and "Urgency" not in by.options
    app.toggle(key="read_first_list").set_value(False).run()
    assert rows(app) == ["Drawn, urgent", "Drawn, calm"] and app.selectbox(key=case_filters.SORT).value == "urgency"
    assert calm.case_id != urgent.case_id


def test_a_researcher_sees_no_name_and_no_upload(
    app: AppTest, space: Workspace, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(space, LOCAL, 2)
    researcher = User("sam", "Sam", frozenset({Role.RESEARCHER}))
    monkeypatch.setattr(signin, "LOCAL", researcher)
    opened(app)
    assert all(name.startswith("P-") for name in rows(app)) and not app.file_uploader
    assert "Drawn" not in said(app) and "name" not in app.text_input(key=case_filters.TEXT).placeholder.lower()
    month = f"{space.store.now():%Y-%m}"
    assert app.dataframe[-1].value["age"].tolist() == [month, month]


def test_ages_and_urgency_are_words() -> None:
    assert [case_kit.age(s) for s in (5, 90, 7200, 200_000)] == ["< 1 min", "1 min", "2 h", "2 d"]
    assert case_kit.lasted(80) == "1 min 20 s" and case_kit.lasted(12.4) == "12 s"


def test_two_files_of_one_patient_are_one_case(app: AppTest, space: Workspace) -> None:
    one = space.receive(LOCAL, radiograph(1, day="20230101"), "1.dcm")
    two = space.receive(LOCAL, radiograph(2, day="20240101"), "2.dcm")
    assert one.case_id == two.case_id
    opened(app)
    assert rows(app) == ["Drawn, H-1", "Drawn, H-1"]


def test_a_click_on_a_row_that_just_moved_opens_no_other_patient(monkeypatch) -> None:
    state, said, now = {case_rows.CLICK: SimpleNamespace(row=0)}, [], [100.0]
    monkeypatch.setattr(case_rows.st, "session_state", state)
    monkeypatch.setattr(case_rows.st, "toast", said.append)
    monkeypatch.setattr(case_rows.time, "monotonic", lambda: now[0])
    mine, other = ("study 1", "case 1"), ("study 2", "case 2")
    case_rows.place_rows([mine])
    case_rows._clicked()
    assert state.pop(case_rows.GO) == mine and not said
    case_rows.place_rows([other, mine])  # a study arrived above
    now[0] += 0.5
    case_rows._clicked()
    assert case_rows.GO not in state and state[case_rows.CHOSEN] == "study 2" and len(said) == 1
    now[0] += 2
    case_rows.place_rows([other, mine])  # refreshed, but nothing moved
    case_rows._clicked()
    assert state[case_rows.GO] == other
