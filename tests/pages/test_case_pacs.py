"""The PACS on the pages: searching and fetching beside the upload, sending a report from a case."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date

import pytest
from drawn_cases import ANA, filled, radiograph
from streamlit.testing.v1 import AppTest

from medai_core.cases import dicomweb, send
from medai_core.cases.access import LOCAL, Role, User
from medai_core.cases.answers import ReviewInput
from medai_core.cases.dicomweb import Query, RemoteStudy
from medai_core.cases.workspace import Workspace
from medai_core.errors import InputError, MedAIError, Unavailable
from pages.ui import case_pacs, case_upload, signin

LIST, CASE = "pages/cases/case_list.py", "pages/cases/case.py"
NASTY = "Doe^<script>alert(1)</script> **bold** [x](http://evil)"
AWAY = Unavailable("The PACS {host} does not answer.", host="pacs.example")
Said = Callable[[AppTest], str]


class Pacs:
    """A PACS that answers at once with what it is given."""

    def __init__(self) -> None:
        self.studies: tuple[RemoteStudy, ...] = ()
        self.held: dict[str, list[bytes | MedAIError]] = {}
        self.asked: list[Query] = []
        self.taken: list[tuple[str, bytes]] = []
        self.error: MedAIError | None = None

    def find(self, query: Query) -> tuple[RemoteStudy, ...]:
        self.asked.append(query)
        self._fail()
        return self.studies

    def files(self, study_uid: str) -> Iterator[bytes]:
        for file in self.held[study_uid]:
            if isinstance(file, MedAIError):
                raise file
            yield file

    def take(self, data: bytes, destination: str, _settings: object) -> str:
        self._fail()
        self.taken.append((destination, data))
        return "1.2.3"

    def _fail(self) -> None:
        if self.error is not None:
            raise self.error


@pytest.fixture
def pacs(space: Workspace, monkeypatch: pytest.MonkeyPatch) -> Pacs:
    """A PACS beside the workspace, and a second one that reports can be sent to."""
    made = Pacs()
    space.store.settings = replace(
        space.store.settings, dicomweb_url="http://me:secret@pacs.example/dicom-web", dicom_peers="ARCHIVE@10.0.0.1:104"
    )
    monkeypatch.setattr(dicomweb, "Archive", lambda url: made)
    monkeypatch.setattr(send, "send_file", made.take)
    return made


def remote(uid: str, name: str = "Doe^Jane", **values: object) -> RemoteStudy:
    about = {"patient_id": "D-1", "accession": "", "study_date": "20240102", "modalities": ("DX", "SR")}
    return RemoteStudy(study_uid=uid, patient_name=name, **about | {"description": "Chest", "instances": 2} | values)


def searching(app: AppTest) -> AppTest:
    """Open the worklist at the search."""
    app.session_state["case_adding_tabs"] = "From the PACS"
    app.switch_page(LIST).run()
    assert not app.exception
    return app


def search(app: AppTest, number: str = "D-1") -> AppTest:
    searching(app)
    app.text_input(key="pacs_number").set_value(number)
    app.button(key="pacs_search").click().run()
    assert not app.exception
    return app


def fetch(app: AppTest, *rows: int) -> AppTest:
    """Tick rows and fetch them."""
    app.session_state[case_pacs.TABLE] = {"selection": {"rows": list(rows), "columns": [], "cells": []}}
    app.run()
    app.button(key="pacs_fetch").click().run()
    for _ in range(20):
        if app.session_state[case_upload.INTAKE].state != "running":
            break
        app.run()
    assert not app.exception
    return app


def test_without_a_pacs_both_pages_say_how_one_is_set_up(app: AppTest, space: Workspace, said: Said) -> None:
    (one,) = filled(space, LOCAL, 1)
    assert "MEDAI_DICOMWEB_URL: the address" in said(searching(app))
    app.query_params["case"] = one.case_id
    words = said(app.switch_page(CASE).run())
    assert "MEDAI_DICOM_PEERS, as AET@host:port" in words
    assert not [button for button in app.button if "case_send" in (button.key or "")]


def test_the_fields_become_a_query(app: AppTest, pacs: Pacs, said: Said) -> None:
    searching(app)
    app.text_input(key="pacs_name").set_value(" Doe, Jane ")
    app.date_input(key="pacs_days").set_value((date(2024, 1, 2), date(2024, 2, 3)))
    app.selectbox(key="pacs_modality").set_value("DX")
    app.button(key="pacs_search").click().run()
    assert pacs.asked == [Query(patient_name="Doe^Jane*", study_date="20240102-20240203", modality="DX")]
    assert "The PACS has no study that fits" in said(app)
    assert case_pacs.period((date(2024, 1, 2),)) == "20240102" and case_pacs.period(()) == ""


def test_an_empty_search_asks_nothing(app: AppTest, pacs: Pacs, said: Said) -> None:
    assert "what to look for" in said(search(app, "  ")) and not pacs.asked


def test_what_the_pacs_says_is_shown_as_it_is(app: AppTest, pacs: Pacs, said: Said) -> None:
    pacs.studies = (remote("1.1", NASTY, description="<img src=x onerror=alert(1)>", here=False), remote("1.2"))
    table = search(app).dataframe[0].value
    assert table["patient"].tolist() == [f"Doe, {NASTY[4:]}", "Doe, Jane"]
    assert table["day"].tolist() == ["2024-01-02"] * 2 and table["modality"][0] == "DX, SR"
    everything = said(app)
    assert "<script>" not in everything and "<img" not in everything, "a cell of the table, and nowhere else"
    assert not any("D-1" in str(value) for value in dict(app.query_params).values())


def test_chosen_studies_come_into_the_worklist(app: AppTest, space: Workspace, pacs: Pacs, said: Said) -> None:
    pacs.studies = (remote("1.1", NASTY), remote("1.2"), remote("1.3", instances=1))
    pacs.held = {"1.1": [radiograph(1), radiograph(2)], "1.3": [b"no DICOM" * 99]}
    search(app)
    assert app.button(key="pacs_fetch").disabled
    fetch(app, 0, 2)
    assert "2 received" in said(app) and "1 refused" in said(app) and "<script>" not in said(app)
    receipts = app.dataframe[0].value["File"].tolist()
    assert receipts[0] == "Doe, Jane · 2024-01-02 · Chest · 1" and receipts[1].endswith("· 1")
    assert space.worklist(LOCAL).total == 2
    assert {event.details["source"] for event in space.events(LOCAL, action="received").events} == {"dicomweb"}
    app.button(key="case_upload_done").click().run()
    assert app.dataframe[0].value["patient"].tolist()[1] == "Doe, Jane", "one comes back to what was found"


def test_a_pacs_that_is_away_is_told_and_can_be_asked_again(app: AppTest, pacs: Pacs, said: Said) -> None:
    pacs.error = AWAY
    words = said(search(app))
    assert "The PACS pacs.example does not answer. Nothing was lost: try again" in words and "secret" not in words
    assert app.text_input(key="pacs_number").value == "D-1"
    pacs.error, pacs.studies = None, (remote("1.1"),)
    app.button(key="pacs_search").click().run()
    assert len(app.dataframe[0].value) == 1


def test_what_came_before_the_pacs_went_away_stays(app: AppTest, space: Workspace, pacs: Pacs, said: Said) -> None:
    first = radiograph(1)
    pacs.studies, pacs.held = (remote("1.1"),), {"1.1": [first, AWAY]}
    fetch(search(app), 0)
    assert "does not answer" in said(app) and space.worklist(LOCAL).total == 1
    pacs.held = {"1.1": [first, radiograph(2)]}
    app.button(key="case_upload_again").click().run()
    for _ in range(20):
        if app.session_state[case_upload.INTAKE].state == "done":
            break
        app.run()
    assert "1 received · 1 already here" in said(app) and space.worklist(LOCAL).total == 2


def test_a_researcher_neither_searches_nor_sends(
    app: AppTest, space: Workspace, pacs: Pacs, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    (one,) = filled(space, LOCAL, 1)
    pacs.studies = (remote("1.1", "Secret^Name"),)
    researcher = User("sam", "Sam", frozenset({Role.RESEARCHER}))
    refused = case_pacs.search(researcher, Query("D-1"))
    assert not refused.studies and "do not allow" in str(refused.error), "the core says no, whatever a page shows"
    monkeypatch.setattr(signin, "LOCAL", researcher)
    searching(app)
    assert not [field for field in app.text_input if "pacs" in (field.key or "")]
    app.query_params["case"] = one.case_id
    assert "Send to a PACS" not in said(app.switch_page(CASE).run())


# ----------------------------------------------------------------------------------------------------- sending


@pytest.fixture
def case(app: AppTest, space: Workspace, pacs: Pacs) -> AppTest:
    """The page of a case that a model has read."""
    (one,) = filled(space, LOCAL, 1)
    app.query_params["case"] = one.case_id
    app.switch_page(CASE).run()
    assert not app.exception
    return app


def press(app: AppTest) -> AppTest:
    next(button for button in app.button if (button.key or "").startswith("case_send_button")).click().run()
    assert not app.exception
    return app


def chosen(app: AppTest, name: str) -> object:
    return next(box for box in app.selectbox if (box.key or "").startswith(f"case_send_{name}"))


def test_a_report_is_sent_where_the_reader_says(case: AppTest, space: Workspace, pacs: Pacs, said: Said) -> None:
    place = chosen(case, "to")
    assert place.options == ["ARCHIVE", "pacs.example (DICOMweb)"]
    place.set_value("DICOMweb").run()
    press(case)
    assert "Sent: pacs.example (DICOMweb) has confirmed that it has the DICOM report (SR)." in said(case)
    ((destination, data),) = pacs.taken
    assert destination == "DICOMweb" and b"Drawn^H-0" in data
    (event,) = space.events(LOCAL, action="report sent").events
    assert event.actor == "local" and dict(event.details) == {"kind": "sr", "destination": "DICOMweb"}


@pytest.mark.parametrize(
    "error",
    [Unavailable("The PACS {aet} does not answer.", aet="ARCHIVE"),
     InputError("The PACS {aet} did not take the report (status {status}).", aet="ARCHIVE", status="0xC000")],
)  # fmt: skip
def test_a_report_that_is_not_taken_can_be_sent_again(
    case: AppTest, space: Workspace, pacs: Pacs, said: Said, error: MedAIError
) -> None:
    pacs.error = error
    assert str(error) in said(press(case)) and not pacs.taken
    assert space.events(LOCAL, action="report not sent").total == 1
    pacs.error = None
    words = said(press(case))
    assert "Sent: ARCHIVE has confirmed" in words and str(error) not in words
    table = next(frame.value for frame in case.dataframe if "Outcome" in frame.value)
    assert table["Outcome"].tolist() == ["confirmed", "not taken"] and set(table["To"]) == {"ARCHIVE"}


def test_a_second_click_on_the_same_button_sends_nothing(case: AppTest, pacs: Pacs) -> None:
    first = next(button for button in case.button if (button.key or "").startswith("case_send_button"))
    first.click().run()
    first.click().run()
    assert len(pacs.taken) == 1


def test_reading_first_there_is_nothing_to_send(case: AppTest, pacs: Pacs, said: Said) -> None:
    case.toggle(key="read_first_case").set_value(True).run()
    assert "Send to a PACS" not in said(case)


# ------------------------------------------------------------------------------------------------------- names


def test_readers_are_called_by_their_names(app: AppTest, space: Workspace, said: Said) -> None:
    (one,) = filled(space, LOCAL, 1)
    ana = replace(ANA, subject="7f3a@idp.example")
    space.opened(ana, one.study_id)
    version = space.worklist(ana).rows[0].version
    space.assign(ana, one.study_id, ana.subject, version)
    space.export(ana, one.study_id, "json")
    app.switch_page(LIST).run()
    assert app.dataframe[-1].value["assignee"].tolist() == [ana.name]
    app.query_params["case"] = one.case_id
    words = said(app.switch_page(CASE).run())
    assert f"assigned to **{ana.name}**" in words and "7f3a" not in words
    made = next(frame.value for frame in app.dataframe if "By" in frame.value)
    assert made["By"].tolist() == [ana.name]
    space.review(ana, one.study_id, ReviewInput("viral"), space.worklist(ana).rows[0].version)
    report = space.export(ana, one.study_id, "sr", identified=True).data
    assert ana.name.encode() in report and b"7f3a" not in report
