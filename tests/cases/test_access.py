"""Who may do what."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from drawn_dicom import draw, encoded
from quick_reader import QuickReader

from medai_core.cases.access import LOCAL, SERVICE_USER, Action, Role, User, allowed, demand
from medai_core.cases.answers import Filter, ReviewInput
from medai_core.cases.worker import Worker
from medai_core.errors import NotAllowed, NotFound

READER = User("r", "Reader", frozenset({Role.READER}))
RESEARCHER = User("s", "Researcher", frozenset({Role.RESEARCHER}))
ADMINISTRATOR = User("a", "Administrator", frozenset({Role.ADMINISTRATOR}))
NOBODY = User("n", "Nobody", frozenset())
ELSEWHERE = User("e", "Reader", frozenset({Role.READER, Role.ADMINISTRATOR}), frozenset({"elsewhere"}))


@pytest.mark.parametrize(
    ("user", "may"),
    [
        (READER, {"receive", "list", "view", "see_identity", "review", "assign", "export", "export_identified"}),
        (RESEARCHER, {"list", "view", "export"}),
        (ADMINISTRATOR, {"list", "administer", "audit", "forget"}),
        (LOCAL, {action.value for action in Action}),
        (NOBODY, set()),
    ],
)
def test_each_role_may_do_its_part_alone(user, may):
    assert {action.value for action in Action if allowed(user, action)} == may


def test_the_service_neither_reviews_nor_administers():
    assert not any(allowed(SERVICE_USER, a) for a in (Action.REVIEW, Action.ASSIGN, Action.ADMINISTER, Action.AUDIT))


def test_a_refusal_names_roles_and_action():
    with pytest.raises(NotAllowed, match=r"Your roles \(researcher\) do not allow this: review\."):
        demand(RESEARCHER, Action.REVIEW)


CALLS = {
    "receive": lambda w, u, c, s, o: w.receive(u, b"x", "x"),
    "case": lambda w, u, c, s, o: w.case(u, c),
    "content": lambda w, u, c, s, o: w.content(u, o),
    "opened": lambda w, u, c, s, o: w.opened(u, s),
    "assign": lambda w, u, c, s, o: w.assign(u, s, None, 1),
    "review": lambda w, u, c, s, o: w.review(u, s, ReviewInput("normal"), 1),
    "here": lambda w, u, c, s, o: w.here(u, c),
    "export": lambda w, u, c, s, o: w.export(u, s, "json"),
    "export identified": lambda w, u, c, s, o: w.export(u, s, "json", identified=True),
    "forget": lambda w, u, c, s, o: w.forget(u, c),
    "worklist": lambda w, u, c, s, o: w.worklist(u),
    "overview": lambda w, u, c, s, o: w.overview(u),
    "events": lambda w, u, c, s, o: w.events(u),
    "verify": lambda w, u, c, s, o: w.verify_audit(u),
    "csv": lambda w, u, c, s, o: list(w.audit_csv(u)),
}
MAY = {
    READER: {
        "receive",
        "case",
        "content",
        "opened",
        "assign",
        "review",
        "here",
        "export",
        "export identified",
        "worklist",
    },
    RESEARCHER: {"case", "content", "here", "export", "worklist"},
    ADMINISTRATOR: {"forget", "worklist", "overview", "events", "verify", "csv"},
    NOBODY: set(),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("user", MAY, ids=lambda user: user.name)
def test_every_call_is_held_against_the_role(sqlite_workspace, user, call):
    got = sqlite_workspace.receive(LOCAL, encoded(draw(1)), "a.dcm")
    about = got.case_id, got.study_id, got.object_id
    if call in MAY[user]:
        CALLS[call](sqlite_workspace, user, *about)
        return
    with pytest.raises(NotAllowed):
        CALLS[call](sqlite_workspace, user, *about)
    (refused,) = sqlite_workspace.events(LOCAL, action="refused").events
    assert refused.actor == user.subject and refused.details["why"] == "NotAllowed"


def test_a_case_of_another_group_is_as_if_it_were_not_there(workspace):
    got = workspace.receive(READER, encoded(draw(1)), "a.dcm")
    said = []
    for case_id in (got.case_id, "0" * 32, "Jane Doe"):
        with pytest.raises(NotFound) as error:
            workspace.case(ELSEWHERE, case_id)
        said.append(str(error.value))
    assert len(set(said)) == 1
    assert workspace.worklist(ELSEWHERE).total == 0
    assert workspace.worklist(ELSEWHERE, Filter(group="default")).total == 0
    for call in ("opened", "assign", "review", "content", "here", "export", "forget"):
        with pytest.raises(NotFound):
            CALLS[call](workspace, ELSEWHERE, got.case_id, got.study_id, got.object_id)
    refused = workspace.events(LOCAL, action="refused").events
    assert len(refused) == 10 and {e.actor for e in refused} == {"e"}
    assert "Jane" not in "".join(workspace.audit_csv(LOCAL)), "what came in a link may be a name"


def test_a_group_named_star_is_no_master_key(sqlite_workspace):
    sqlite_workspace.receive(READER, encoded(draw(1)), "a.dcm")
    star = User("x", "X", frozenset({Role.READER}), frozenset({"*"}))
    assert sqlite_workspace.worklist(star).total == 0


def test_the_same_file_in_two_groups_is_two_cases_that_know_nothing_of_each_other(workspace):
    data = encoded(draw(1))
    first, second = workspace.receive(READER, data, "a.dcm"), workspace.receive(ELSEWHERE, data, "a.dcm")
    assert (first.status, second.status) == ("new", "new") and first.case_id != second.case_id
    workspace.forget(LOCAL, first.case_id)
    assert workspace.content(ELSEWHERE, second.object_id) == data, "the bytes are still needed"


def test_a_researcher_never_meets_an_identity(workspace):
    got = workspace.receive(READER, encoded(draw(1, PatientName="Zanzibar^Xenia", PatientID="Q77")), "Zanzibar.dcm")
    workspace.review(READER, got.study_id, ReviewInput("normal", {"a": "Zanzibar"}, reason="as Zanzibar said"), 1)
    case = workspace.case(RESEARCHER, got.case_id)
    page = workspace.worklist(RESEARCHER)
    shown = repr(case) + repr(page)
    assert "Zanzibar" not in shown and "Q77" not in shown and case.identity is None
    assert page.rows[0].patient == case.pseudonym
    data = workspace.content(RESEARCHER, got.object_id)
    assert b"Zanzibar" not in data and b"Q77" not in data and data[128:132] == b"DICM"
    assert workspace.worklist(RESEARCHER, Filter(text="zanzibar")).total == 0, "names cannot be tried"
    assert workspace.worklist(READER, Filter(text="zanzibar")).total == 1
    assert workspace.case(READER, got.case_id).identity.name == "Zanzibar, Xenia"


def test_who_exports_without_identity_knows_the_month_of_arrival_alone(workspace, clock):
    """A study often arrives on the day on which it is made: beside its moved day, that would tell by how many."""
    got = workspace.receive(READER, encoded(draw(1)), "a.dcm")
    Worker(workspace, QuickReader).work()
    clock.move(seconds=5)
    workspace.review(READER, got.study_id, ReviewInput("normal"), 1)
    month = clock().replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    told = []
    for user in (RESEARCHER, READER, replace(RESEARCHER, roles=RESEARCHER.roles | {Role.ADMINISTRATOR})):
        (row,), case = workspace.worklist(user).rows, workspace.case(user, got.case_id)
        (study,) = case.studies
        parts = (row, study, *study.objects)
        told.append(
            {one.arrived for one in parts} | {one.at for one in (*study.readings, *study.reviews, *case.timeline)}
        )
        assert row.age_seconds == (clock() - row.arrived).total_seconds()
    assert month < clock() and told[0] == {month}
    assert told[1] == told[2] == {clock() - timedelta(seconds=5), clock()}, "the log tells them to the second"
