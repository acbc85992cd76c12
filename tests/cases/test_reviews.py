"""Reviews: the clock, agreement, reading first, presence, and nobody overwriting anybody."""

from __future__ import annotations

import threading

import pytest
from drawn_dicom import draw, encoded
from quick_reader import QuickReader
from sqlalchemy import select

from medai_core.cases.access import LOCAL, Role, User
from medai_core.cases.answers import Filter, Finding, ReviewInput
from medai_core.cases.reviews import release_left
from medai_core.cases.tables import ReviewRow
from medai_core.cases.worker import Worker
from medai_core.errors import Conflict, InputError

ANNA, BERT = (User(name.lower(), name, frozenset({Role.READER})) for name in ("Anna", "Bert"))


@pytest.fixture
def study(workspace) -> str:
    """A study that was read by model."""
    got = workspace.receive(LOCAL, encoded(draw(1, StudyID="urgent")), "a.dcm")
    Worker(workspace, QuickReader).work()
    return got.study_id


def shown(workspace, study_id: str, user: User = ANNA, **how):
    case_id = next(row.case_id for row in workspace.worklist(user).rows if row.study_id == study_id)
    return next(s for s in workspace.case(user, case_id, **how).studies if s.study_id == study_id)


def test_a_review_keeps_what_was_said_how_long_it_took_and_of_which_reading(workspace, study, clock):
    workspace.opened(ANNA, study)
    clock.move(seconds=75)
    workspace.opened(ANNA, study)  # looking again does not start the clock again
    clock.move(seconds=5)
    given = ReviewInput("normal", {"side": "left"}, False, "the heart hides it")
    made = workspace.review(ANNA, study, given, 1)
    after = shown(workspace, study)
    assert after.reviews == (made,) and after.status == "done" and after.version == made.version == 2
    assert (made.label, made.findings, made.agrees, made.reason) == (
        "normal",
        {"side": "left"},
        False,
        "the heart hides it",
    )
    assert made.seconds == 80 and made.reading_id == after.readings[0].reading_id
    (event,) = workspace.events(LOCAL, action="reviewed").events
    assert event.actor == "anna" and event.details["model_version"] == "1.0.0" and event.details["agrees"] is False
    assert "heart" not in repr(event)


@pytest.mark.parametrize(("label", "agrees"), [("viral", False), ("normal", True)])
def test_a_judgement_that_contradicts_the_finding_is_refused(workspace, study, label, agrees):
    (reading,) = shown(workspace, study).readings
    assert reading.label == "viral" and "normal" in reading.answer["probabilities"]
    with pytest.raises(InputError, match="Your finding is"):
        workspace.review(ANNA, study, ReviewInput(label, agrees=agrees, reason="so"), 1)
    assert not shown(workspace, study).reviews
    for number, own in enumerate(("a device", "other_finding"), 1):  # none of the model's: it may mean either
        assert workspace.review(ANNA, study, ReviewInput(own, agrees=agrees), number).agrees is agrees


def test_reading_first_nobody_tells_what_the_model_says(workspace, study):
    """Neither another reader's agreement, nor the reason for it."""
    workspace.review(ANNA, study, ReviewInput("viral", agrees=True, reason="as the model says"), 1)
    (told,) = shown(workspace, study, BERT, reveal=False).reviews
    assert (told.label, told.agrees, told.reason) == ("viral", None, "")
    workspace.review(BERT, study, ReviewInput("normal"), 2)
    assert shown(workspace, study, BERT, reveal=False).reviews[0].agrees is True


def test_a_stale_version_is_a_conflict_and_nothing_is_lost(workspace, study):
    first = workspace.review(ANNA, study, ReviewInput("viral"), 1)
    with pytest.raises(Conflict, match="Nothing was overwritten"):
        workspace.review(BERT, study, ReviewInput("normal"), 1)
    with pytest.raises(Conflict):
        workspace.assign(BERT, study, None, 1)
    assert shown(workspace, study).reviews == (first,)
    second = workspace.review(BERT, study, ReviewInput("normal"), first.version)
    assert shown(workspace, study).reviews == (first, second), "the earlier review stands beside the later one"


def test_of_two_at_once_one_gets_through(workspace, study):
    barrier, results = threading.Barrier(2), {}

    def commit(user: User) -> None:
        barrier.wait()
        try:
            results[user.name] = workspace.review(user, study, ReviewInput("normal"), 1)
        except Conflict as conflict:
            results[user.name] = conflict

    threads = [threading.Thread(target=commit, args=(user,)) for user in (ANNA, BERT)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(isinstance(result, Conflict) for result in results.values()) == [False, True]
    assert len(shown(workspace, study).reviews) == 1 and workspace.verify_audit(LOCAL).ok


def test_read_first_withholds_the_readings_until_the_own_review(workspace, study):
    before = shown(workspace, study, reveal=False)
    assert (before.readings, before.withheld) == ((), True)
    moments = workspace.case(ANNA, before.case_id, reveal=False).timeline
    assert [moment.kind for moment in moments] == ["arrived"]
    made = workspace.review(ANNA, study, ReviewInput("normal", first=True), 1)
    after = shown(workspace, study, reveal=False)
    assert made.first and not after.withheld and after.readings[0].label == "viral"
    assert shown(workspace, study, BERT, reveal=False).withheld, "the review of another opens nothing"


def test_first_counts_only_where_the_reading_was_not_shown(workspace, study):
    assert shown(workspace, study).readings
    assert not workspace.review(ANNA, study, ReviewInput("normal", first=True), 1).first
    assert workspace.review(BERT, study, ReviewInput("normal", first=True), 2).first
    assert workspace.events(LOCAL, action="saw readings", actor="anna").total == 1


def test_a_study_that_is_opened_is_being_read_until_it_is_left(workspace, study, clock):
    case_id = shown(workspace, study).case_id
    workspace.opened(ANNA, study)
    assert workspace.worklist(ANNA).rows[0].status == "reading"
    for _ in range(6):
        clock.move(seconds=29)
        workspace.here(ANNA, case_id)
        assert release_left(workspace.store) == 0
    clock.move(minutes=3)
    assert release_left(workspace.store) == 1
    assert workspace.worklist(ANNA).rows[0].status == "new"


def test_assigning_hands_a_study_over(workspace, study):
    workspace.worklist(BERT)
    version = workspace.assign(ANNA, study, "bert", 1)
    (row,) = workspace.worklist(ANNA, Filter(assignee="bert")).rows
    assert (row.status, row.version) == ("reading", version)
    workspace.assign(ANNA, study, None, version)
    assert workspace.worklist(ANNA).rows[0].status == "new"
    with pytest.raises(InputError, match="`subject` must be a user who has been here"):
        workspace.assign(ANNA, study, "nobody we know", version + 1)


def test_who_else_is_here(workspace, study, clock):
    case_id = shown(workspace, study).case_id
    assert workspace.here(ANNA, case_id) == ()
    clock.move(seconds=10)
    (anna,) = workspace.here(BERT, case_id)
    assert (anna.name, (clock() - anna.since).total_seconds()) == ("Anna", 10)
    clock.move(seconds=25)
    assert workspace.here(BERT, case_id) == (), "35 s after her last sign"
    assert [one.name for one in workspace.here(ANNA, case_id)] == ["Bert"]


def test_several_findings_and_own_words_are_kept_and_sealed(workspace, study):
    also = (Finding("normal", "heart", "high"), Finding("Qzx own words"))
    made = workspace.review(ANNA, study, ReviewInput("Qzx fracture", also=also), 1)
    assert (made.label, made.also) == ("Qzx fracture", also) and shown(workspace, study).reviews == (made,)
    with workspace.store.reading() as session:
        row = session.scalars(select(ReviewRow)).one()
        assert row.label == "other_finding" and b"Qzx" not in row.body, "what may be a name is not in clear"
    researcher = User("r", "R", frozenset({Role.RESEARCHER}))
    (seen,) = shown(workspace, study, researcher).reviews
    assert (seen.label, seen.also) == ("other_finding", (Finding("normal"), Finding("other_finding")))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (ReviewInput("x", also=(Finding(""),)), "`label` must have"),
        (ReviewInput("x", also=(Finding("y"),) * 21), "`also` must name at most 20"),
        (ReviewInput(" "), "`label` must have"),
        (ReviewInput("x" * 101), "`label`"),
        (ReviewInput("x", reason="y" * 10_001), "`reason`"),
    ],
)
def test_what_breaks_a_rule_is_told(sqlite_workspace, given, said):
    got = sqlite_workspace.receive(LOCAL, encoded(draw(1)), "a.dcm")
    with pytest.raises(InputError, match=said):
        sqlite_workspace.review(LOCAL, got.study_id, given, 1)
