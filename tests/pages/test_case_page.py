"""The case page: links, reading first, reviews and their conflicts, who else is there, exports, forgetting."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from drawn_cases import ANA, filled, radiograph, read_all
from streamlit.testing.v1 import AppTest

from medai_core.cases.access import LOCAL, Role, User
from medai_core.cases.answers import Export, Finding, Receipt, ReviewInput
from medai_core.cases.workspace import Workspace
from medai_core.errors import InputError, NotFound, say
from pages.ui import case_kit, signin
from pages.ui.case_end import GONE

PAGE = "pages/cases/case.py"
Said = Callable[[AppTest], str]


@pytest.fixture
def one(space: Workspace) -> Receipt:
    """A case with one study that a model has read."""
    return filled(space, LOCAL, 1)[0]


def opened(app: AppTest, case_id: str, **address: str) -> AppTest:
    for name, value in {"case": case_id, **address}.items():
        app.query_params[name] = value
    app.switch_page(PAGE).run()
    assert not app.exception
    return app


def field(app: AppTest, name: str, receipt: Receipt) -> str:
    return f"case_{name}_{receipt.study_id}"


def write(app: AppTest, receipt: Receipt, label: str = "viral", comment: str = "") -> None:
    app.selectbox(key=field(app, "label", receipt)).set_value(label)
    app.text_area(key=field(app, "comment", receipt)).set_value(comment)
    app.run()


def commit(app: AppTest, receipt: Receipt) -> None:
    app.button(key=field(app, "commit", receipt)).click().run()
    assert not app.exception


@pytest.mark.parametrize("case_id", ["", "f" * 32, "../../etc/passwd", "<script>", "1' OR 1=1"])
def test_a_bad_link_is_answered_plainly(app: AppTest, space: Workspace, said: Said, case_id: str) -> None:
    words = said(opened(app, case_id))
    assert ("There is no such case here" if case_id else "No case is open") in words


def test_the_case_of_another_department_does_not_exist(
    app: AppTest, space: Workspace, one: Receipt, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signin, "LOCAL", User("eve", "Eve", frozenset({Role.READER}), frozenset({"elsewhere"})))
    words = said(opened(app, one.case_id))
    assert "There is no such case here" in words and "Drawn" not in words


def test_the_model_s_answer_stands_beside_the_scan(app: AppTest, space: Workspace, one: Receipt, said: Said) -> None:
    words = said(opened(app, one.case_id))
    assert "Bacterial pneumonia" in words and "90.0%" in words and "Chest radiograph · version 1.0" in words
    assert "Drawn, H-0" in words
    assert space.worklist(LOCAL).rows[0].status == "reading"


def test_the_answer_is_explained_once_that_is_asked_for(
    app: AppTest, space: Workspace, one: Receipt, said: Said
) -> None:
    assert "Faithful for this scan" not in said(opened(app, one.case_id))
    app.session_state[f"case_explained_{one.object_id[:12]}"] = True
    words = said(app.run())
    assert not app.exception and "Faithful for this scan" in words and "A heat map is no localisation" in words
    assert "The answer is of version" not in words


def test_reading_first_hides_the_answer_until_the_reader_commits(
    app: AppTest, space: Workspace, one: Receipt, said: Said
) -> None:
    words = said(opened(app, one.case_id, first="1"))
    assert "Your reading comes first" in words and "90.0%" not in words
    assert not [part for part in app.expander if part.label == "Explanation"]
    assert not [button for button in app.button if "case_export_pdf" in (button.key or "")]
    write(app, one, comment="patchy <b>")
    commit(app, one)
    words = said(app)
    assert "Committed and kept" in words and "90.0%" in words and "Compare with the model" in words
    (review,) = space.case(LOCAL, one.case_id).studies[0].reviews
    assert review.first and review.label == "viral" and review.seconds is not None
    assert review.findings == {"comment": "patchy <b>"} and "patchy &lt;b&gt;" in words


def test_overruling_wants_a_reason(app: AppTest, space: Workspace, one: Receipt, said: Said) -> None:
    opened(app, one.case_id)
    write(app, one)
    app.button_group(key=field(app, "agrees", one)).set_value("overrule").run()
    commit(app, one)
    assert "Say why you overrule the model" in said(app)
    assert not space.case(LOCAL, one.case_id).studies[0].reviews
    app.text_input(key=field(app, "reason", one)).set_value("a device").run()
    commit(app, one)
    (review,) = space.case(LOCAL, one.case_id).studies[0].reviews
    assert review.agrees is False and review.reason == "a device" and not review.first


def test_a_judgement_against_one_s_own_finding_is_told(
    app: AppTest, space: Workspace, one: Receipt, said: Said
) -> None:
    opened(app, one.case_id)
    write(app, one, label="bacterial", comment="kept")
    app.button_group(key=field(app, "agrees", one)).set_value("overrule").run()
    app.text_input(key=field(app, "reason", one)).set_value("so").run()
    commit(app, one)
    assert "Your finding is the model's" in said(app) and not space.case(LOCAL, one.case_id).studies[0].reviews
    assert app.text_area(key=field(app, "comment", one)).value == "kept"


def test_further_findings_are_committed_shown_and_taken_up_again(
    app: AppTest, space: Workspace, one: Receipt, said: Said
) -> None:
    opened(app, one.case_id)
    write(app, one, label="viral")
    for k in range(3):
        app.button(key=field(app, "add_finding", one)).click().run()
        assert app.selectbox(key=field(app, f"also_label_{k}", one)).options[:3] == ["Normal", *BACTERIAL_VIRAL]
    app.selectbox(key=field(app, "also_label_0", one)).set_value("bacterial")
    app.button_group(key=field(app, "also_confidence_0", one)).set_value("low")
    app.text_input(key=field(app, "also_location_2", one)).set_value("<b>left</b>").run()
    assert app.button(key=field(app, "commit", one)).disabled, "a place of no finding"
    app.selectbox(key=field(app, "also_label_2", one)).set_value("other_finding").run()
    commit(app, one)
    (review,) = space.case(LOCAL, one.case_id).studies[0].reviews
    assert review.also == (Finding("bacterial", "", "low"), Finding("other_finding", "<b>left</b>", ""))
    assert "Also: <b>Other finding</b> · &lt;b&gt;left&lt;/b&gt;" in said(app)
    app.button(key=field(app, "again", one)).click().run()
    assert app.selectbox(key=field(app, "also_label_1", one)).value == "other_finding"
    app.button(key=field(app, "discard", one)).click().run()
    assert not app.exception and field(app, "also_label_0", one) not in [box.key for box in app.selectbox]


BACTERIAL_VIRAL = ["Bacterial pneumonia", "Viral pneumonia"]


def test_a_conflict_shows_both_and_loses_nothing(app: AppTest, space: Workspace, one: Receipt, said: Said) -> None:
    opened(app, one.case_id)
    write(app, one, comment="mine, half written")
    study = space.case(ANA, one.case_id).studies[0]
    space.review(ANA, one.study_id, ReviewInput("normal", {"comment": "hers"}), study.version)
    commit(app, one)
    words = said(app)
    assert "changed while you were writing" in words
    assert "hers" in words and "mine, half written" in words and "Ana &lt;b&gt;Silva&lt;/b&gt;" in words
    assert len(space.case(LOCAL, one.case_id).studies[0].reviews) == 1
    app.button(key=field(app, "go_on", one)).click().run()
    assert app.text_area(key=field(app, "comment", one)).value == "mine, half written"
    commit(app, one)
    assert [r.label for r in space.case(LOCAL, one.case_id).studies[0].reviews] == ["normal", "viral"]


def test_what_is_typed_stays_when_the_page_is_left(app: AppTest, space: Workspace, one: Receipt) -> None:
    opened(app, one.case_id)
    write(app, one, comment="half written")
    app.switch_page("pages/models/models.py").run()
    opened(app, one.case_id)
    assert app.text_area(key=field(app, "comment", one)).value == "half written"
    app.button(key=field(app, "discard", one)).click().run()
    assert not app.text_area(key=field(app, "comment", one)).value


def test_assigning_to_oneself_and_releasing(app: AppTest, space: Workspace, one: Receipt, said: Said) -> None:
    opened(app, one.case_id)
    write(app, one, comment="typed before")
    app.button(key=field(app, "assign", one)).click().run()
    assert space.worklist(LOCAL).rows[0].assignee == "local"
    assert "changed while you were writing" not in said(app)  # the reader's own doing
    app.button(key=field(app, "assign", one)).click().run()
    assert space.worklist(LOCAL).rows[0].assignee is None


def test_others_who_are_here_are_named(app: AppTest, space: Workspace, one: Receipt, said: Said) -> None:
    space.here(ANA, one.case_id)
    assert "Here now: **Ana <b>Silva</b>**" in said(opened(app, one.case_id))


def test_current_beside_prior(app: AppTest, space: Workspace) -> None:
    old = space.receive(LOCAL, radiograph(1, day="20230101"), "1.dcm")
    new = space.receive(LOCAL, radiograph(2, day="20240101"), "2.dcm")
    read_all(space)
    opened(app, old.case_id)
    assert (app.selectbox(key="case_study").value, app.selectbox(key="case_prior").value) == (
        new.study_id,
        old.study_id,
    )
    app.selectbox(key="case_prior").set_value("").run()
    assert app.selectbox(key="case_prior").value == "" and not app.exception
    opened(app, old.case_id, study=old.study_id)
    assert app.selectbox(key="case_study").value == old.study_id


def test_a_stay_shows_its_course_and_the_risk_as_kept(
    app: AppTest, space: Workspace, said: Said, fake_stay: bytes
) -> None:
    found = space.receive(LOCAL, fake_stay, "stay.txt")
    words = said(opened(app, found.case_id))
    assert "Waits for the model" in words and "followed for" in words
    app.session_state[case_kit.READ_FIRST] = True
    assert not app.run().exception


@pytest.fixture
def fake_stay() -> bytes:
    lines = ["minutes,parameter,value", "10,Lactate,2.5", *(f"{60 * k},HR,{70 + k}" for k in range(1, 30))]
    return "\n".join(lines).encode()


def test_an_export_is_made_on_click_and_tells_what_to_look_at(
    app: AppTest, space: Workspace, one: Receipt, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def export(
        _self: Workspace, user: User, study_id: str, kind: str, *, identified: bool, reveal: bool, translate: object
    ) -> Export:
        assert reveal and translate.__name__ == "tell"
        asked.append((kind, identified))
        if kind == "sr":
            raise InputError("No report of this.")
        return Export(b"%PDF", "x.pdf", "application/pdf", (say("Look at it first."),))

    monkeypatch.setattr(Workspace, "export", export)
    opened(app, one.case_id)
    assert not asked and not app.get("download_button")
    app.button(key=f"case_export_pdf_False_{one.study_id}").click().run()
    assert asked == [("pdf", False)] and "Look at it first." in said(app) and len(app.get("download_button")) == 1
    app.toggle(key=f"case_identified_{one.study_id}").set_value(True).run()
    assert "will name the patient" in said(app) and not app.get("download_button")
    app.button(key=f"case_export_sr_True_{one.study_id}").click().run()
    assert asked[1:] == [("sr", True)] and "No report of this." in said(app)


def test_forgetting_says_what_happens_and_does_it(app: AppTest, space: Workspace, one: Receipt, said: Said) -> None:
    opened(app, one.case_id)
    app.session_state["case_tabs"] = "Forget this case"
    app.run()
    assert "cannot be undone" in "".join(box.label for box in app.checkbox)
    button = f"case_forget_{one.case_id}"
    assert app.button(key=button).disabled and "studies: 1, files: 1" in said(app)
    app.selectbox(key=f"case_forget_reason_{one.case_id}").set_value("test")
    app.checkbox(key=f"case_forget_sure_{one.case_id}").check().run()
    app.button(key=button).click().run()
    assert not app.exception and "The case is forgotten" in said(app)
    with pytest.raises(NotFound):
        space.case(LOCAL, one.case_id)
    assert GONE not in app.session_state


def test_a_researcher_reads_nothing_that_names_the_patient(
    app: AppTest, space: Workspace, one: Receipt, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    space.review(LOCAL, one.study_id, ReviewInput("viral", {"comment": "Drawn is well"}), 1)
    monkeypatch.setattr(signin, "LOCAL", User("sam", "Sam", frozenset({Role.RESEARCHER})))
    words = said(opened(app, one.case_id))
    assert f"Arrived {space.store.now():%Y-%m} · assigned" in words
    assert "Drawn" not in words and "Only readers commit readings" in words
    assert not [toggle for toggle in app.toggle if "identified" in (toggle.key or "")]
