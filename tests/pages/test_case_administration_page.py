"""The administration page: figures, overruled counts, the audit log and its check, forgetting by id."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from drawn_cases import ANA, filled
from sqlalchemy import text
from streamlit.testing.v1 import AppTest

from medai_core.cases.access import LOCAL
from medai_core.cases.answers import ReviewInput
from medai_core.cases.workspace import Workspace
from medai_core.errors import NotFound, Unavailable
from pages.ui import case_worker

PAGE = "pages/cases/administration.py"
Said = Callable[[AppTest], str]


def opened(app: AppTest, tab: str = "Models") -> AppTest:
    app.switch_page(PAGE).run()
    app.session_state["admin_tabs"] = tab
    app.run()
    assert not app.exception
    return app


def test_figures_key_warning_and_overruled_counts(app: AppTest, space: Workspace, said: Said) -> None:
    receipts = filled(space, LOCAL, 3)
    for receipt, agrees in zip(receipts, (True, False, False), strict=True):
        label = "bacterial" if agrees else "viral"
        space.review(ANA, receipt.study_id, ReviewInput(label, {}, agrees, "because"), 1)
    opened(app)
    assert {m.label: m.value for m in app.metric}["Studies"] == "3"
    assert "The key lies in the same folder" in said(app)
    table = app.dataframe[0].value.iloc[0]
    assert (table["Agreed"], table["Overruled"], table["Share overruled"]) == (1, 2, "67% (n = 3)")
    assert "Drawn" not in said(app)


def test_the_log_is_paged_and_its_check_finds_an_edit(app: AppTest, space: Workspace, said: Said) -> None:
    filled(space, LOCAL, 30)
    opened(app, "Audit log")
    table = app.dataframe[-1].value
    assert len(table) == 50 and table["No."].is_monotonic_decreasing
    app.button(key="audit_verify").click().run()
    assert "The log is whole" in said(app)
    app.selectbox(key="audit_action").set_value("received").run()
    assert set(app.dataframe[-1].value["What"]) == {"received"}
    with space.store.writing() as session:
        for action in ("signed in", "association refused", "backed up"):
            space.store.record(session, ANA, action, "")
    app.selectbox(key="audit_action").set_value("association refused").run()
    assert app.dataframe[-1].value["What"].tolist() == ["connection of a device refused"]
    with space.store.database.writing() as session:
        session.execute(text("update events set actor = 'nobody' where seq = 3"))
    app.button(key="audit_verify").click().run()
    words = said(app)
    assert "tampered with" in words and "Line 3 of the log was changed" in words


def test_a_page_that_stops_lets_its_run_come_to_an_end(
    app: AppTest, space: Workspace, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else Streamlit keeps the live parts of the page before, and draws them once more over this one."""
    ended = []

    def away(_space: Workspace, _user: object) -> None:
        raise Unavailable("The database is away.")

    monkeypatch.setattr(Workspace, "overview", away)
    monkeypatch.setattr(case_worker, "working", lambda: ended.append(True))
    app.switch_page(PAGE).run()
    assert "The database is away" in said(app) and not app.exception and not app.tabs
    assert ended, "what stands after the page in the frame"


def test_a_case_is_forgotten_by_its_address(app: AppTest, space: Workspace, said: Said) -> None:
    (receipt,) = filled(space, LOCAL, 1)
    opened(app, "Forget a case")
    app.text_input(key="admin_forget").set_value(f"http://localhost/case?case={receipt.case_id}&study=1").run()
    app.selectbox(key=f"case_forget_reason_{receipt.case_id}").set_value("error")
    app.checkbox(key=f"case_forget_sure_{receipt.case_id}").check().run()
    app.button(key=f"case_forget_{receipt.case_id}").click().run()
    assert "The case is forgotten" in said(app)
    with pytest.raises(NotFound):
        space.case(LOCAL, receipt.case_id)
