"""Case: all studies of one patient, current beside prior, the model's reading and the reader's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import streamlit as st

from medai_core.cases.access import Action, User, allowed
from medai_core.errors import MedAIError, NotFound
from pages.ui import (
    case_answer,
    case_end,
    case_export,
    case_filters,
    case_head,
    case_kit,
    case_look,
    case_review,
    case_timeline,
    case_upload,
)
from pages.ui.case_kit import study_title, workspace
from pages.ui.frame import page
from pages.ui.language import _
from pages.ui.signin import current_user
from pages.ui.words import plain

if TYPE_CHECKING:
    from medai_core.cases.answers import Case, Object, Study

WATCH_SECONDS = 10.0
SEEN = "case_seen"
WIDE_PX, NARROW_PX = 520, 440


def main() -> None:
    page(_("Case"), _("All of one patient: studies side by side, what the models say, and what readers say."))
    case_kit.case_styles()
    user = current_user()
    first = case_head.top_bar(case_filters.link_back())
    if case_end.gone():
        return
    case_id = st.query_params.get("case", "")
    if not case_id:
        nothing_open()
        return
    try:
        case = workspace().case(user, case_id, reveal=not first)
    except NotFound as error:
        bad_link(error)
        return
    except MedAIError as error:
        case_kit.refused(error)
        return
    show(case, user, first)


def nothing_open() -> None:
    """Say how a case is opened."""
    st.info(_("No case is open. Open one from the worklist."), icon=":material/folder_open:")


def bad_link(error: MedAIError) -> None:
    """Answer a link to a case that is not there, or not for this reader: the words are the same."""
    case_kit.refused(error)
    st.caption(_("The link may be mistyped, the case may have been forgotten, or it may belong to another department."))


def show(case: Case, user: User, first: bool) -> None:
    """Show a case."""
    case_head.who(case)
    st.session_state[SEEN] = case
    st.fragment(watch, run_every=WATCH_SECONDS)(case, first)
    if not case.studies:
        st.info(_("This case holds no study."), icon=":material/folder_off:")
        return
    line = st.container()
    current, prior = case_head.choose(case)
    with line:
        case_timeline.time_line(case, current, prior)
    begin(current, user)
    case_head.standing(current, user)
    looks(current, prior, user)
    reading_and_review(current, user)
    more(case, current, user)


def watch(case: Case, first: bool) -> None:
    """Say who else is here, and show the case anew once anything of it changed; a fragment that comes back."""
    user = current_user()
    case_head.others(case, user)
    if st.session_state.pop(SEEN, None) is case:  # drawn with the page, which has just asked
        return
    try:
        now = workspace().case(user, case.case_id, reveal=not first)
    except MedAIError:
        st.rerun()  # the page says what happened to it
    if state(now) != state(case):
        st.rerun()


def state(case: Case) -> list[object]:
    """Return what a change of a case shows up in."""
    return [
        (one.study_id, one.version, one.status, one.model_state, one.assignee, len(one.readings), len(one.reviews),
         len(one.reports), len(one.objects), one.withheld)
        for one in case.studies
    ]  # fmt: skip


def begin(study: Study, user: User) -> None:
    """Say to the workspace that a reader has opened a study, once, so that the clock of the decision starts."""
    if not allowed(user, Action.REVIEW) or case_review.mine(study, user) is not None:
        return
    key = f"case_opened_{study.study_id}"
    if key in st.session_state and study.status in ("reading", "done"):
        return
    st.session_state[key] = True
    case_review.desk(study)
    with case_kit.answered():
        workspace().opened(user, study.study_id)
    if study.status in ("new", "refused"):
        st.rerun()


def looks(current: Study, prior: Study | None, user: User) -> None:
    """Show what a study looks like beside the model's reading of it, or two studies side by side."""
    if prior is not None:
        shown: list[Object] = []
        for column, study, side in zip(st.columns(2, gap="medium"), (current, prior), ("now", "prior"), strict=True):
            with column:
                st.markdown(f"**{plain(study_title(study))}**")
                one = case_look.chosen_object(study, side)
                shown.append(one)
                look(study, one, side, user, NARROW_PX)
                case_answer.reading_card(study, one, side)
                if study is current:
                    facts(study, one)
        case_look.explained(current, shown[0], user)
        return
    if current.kind == "stay":
        one = case_look.chosen_object(current, "now")
        left, right = st.columns([6, 5], gap="medium")
        with left:
            case_answer.reading_card(current, one, "now")
        with right:
            facts(current, one, unfolded=True)
        look(current, one, "now", user, 0)
        return
    left, right = st.columns([6, 5], gap="medium")
    with left:
        one = case_look.chosen_object(current, "now")
        look(current, one, "now", user, WIDE_PX)
    with right:
        case_answer.reading_card(current, one, "now")
        facts(current, one)
    case_look.explained(current, one, user)


def look(study: Study, one: Object, side: str, user: User, height_px: int) -> None:
    if study.kind == "stay":
        case_look.stay_look(one, user, study.withheld, side)
    else:
        case_look.look(study, one, side, user, height_px)


def facts(study: Study, one: Object, unfolded: bool = False) -> None:
    """Show whom the model is for, beside its answer."""
    if case_answer.reading_of(study, one) is not None:
        with st.expander(_("About this model"), icon=":material/fact_check:", expanded=unfolded):
            case_answer.model_facts(study, one)


def reading_and_review(study: Study, user: User) -> None:
    """Show the reader's form beside what readers committed before."""
    st.subheader(_("Your reading"), anchor=False)
    if allowed(user, Action.REVIEW):
        with st.container(border=True, key="case_review"):
            reading = max(study.readings, key=lambda one: (one.status == "read", one.urgency), default=None)
            case_review.review_panel(study, reading, user)
    else:
        st.caption(_("Only readers commit readings."))
    st.markdown(f"**{_('Readings committed')}**")
    case_review.history(study, user)


def more(case: Case, study: Study, user: User) -> None:
    """Show exports, adding files and forgetting, in tabs of which only the open one is computed."""
    panels: dict[str, tuple[str, Callable[[], None]]] = {}
    if allowed(user, Action.EXPORT):
        panels["export"] = (_("Export"), lambda: case_export.exports(study, user))
    if allowed(user, Action.RECEIVE):
        panels["add"] = (_("Add files"), lambda: case_upload.upload_box(user, case_id=case.case_id))
    if allowed(user, Action.FORGET):
        panels["forget"] = (_("Forget this case"), lambda: case_end.forgetting(case))
    if not panels:
        return
    shown = st.tabs([name for name, _draw in panels.values()], key="case_tabs", on_change="rerun")
    for tab, (_name, draw) in zip(shown, panels.values(), strict=True):
        if tab.open:
            with tab:
                draw()


main()
