"""The reader's own reading of a study: a form whose words are never lost, also when somebody else was quicker."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

import streamlit as st

from medai_core.errors import Conflict, MedAIError
from pages.ui.case_answer import short
from pages.ui.case_kit import lasted, moment, person, refused, workspace
from pages.ui.language import _
from pages.ui.signin import current_user
from pages.ui.words import label_name, plain

if TYPE_CHECKING:
    from medai_core.cases.access import User
    from medai_core.cases.answers import Finding, ModelReading, Review, ReviewInput, Study

LABELS = {
    "scan": ("normal", "bacterial", "viral", "notumor", "glioma", "meningioma", "pituitary", "other_finding"),
    "stay": ("low_risk", "raised_risk", "high_risk"),
    "row": ("benign", "malignant"),
}
FIELDS = ("label", "location", "confidence", "comment", "agrees", "reason")
FURTHER = ("label", "location", "confidence")
"""Fields of each finding beside the main one."""
CONFIDENCE = ("low", "moderate", "high")
MAX_TEXT, MAX_LINE = 5000, 200


@dataclass
class Desk:
    """What the session keeps of a reader's work on one study.

    Attributes
    ----------
    base : int
        Version of the study that the reader's words were written about.
    failure : MedAIError or None
        Why the last attempt to commit did not work.
    committed : bool
        Just now, so that the page says so once.
    open : bool
        Whether the form is open although this reader has committed before.
    ended : bool
        Whether the form was just left, by a review or without one, so that the page has to be drawn anew.
    """

    base: int
    failure: MedAIError | None = None
    committed: bool = False
    open: bool = False
    ended: bool = False


def desk(study: Study) -> Desk:
    """Return the reader's desk for a study; made when it is opened first."""
    return st.session_state.setdefault(f"case_desk_{study.study_id}", Desk(study.version))


def key(study: Study, name: str) -> str:
    """Return the key of a widget about a study; the draft lives in the session under these."""
    return f"case_{name}_{study.study_id}"


def draft(study: Study) -> dict[str, Any]:
    """Return what is typed and not committed."""
    return {name: st.session_state.get(key(study, name)) for name in FIELDS} | {"also": further(study)}


def further(study: Study) -> tuple[Finding, ...]:
    """Return the findings typed beside the main one, those left empty passed over."""
    from medai_core.cases.answers import Finding

    rows = [
        [(st.session_state.get(key(study, f"also_{name}_{k}")) or "").strip() for name in FURTHER]
        for k in range(st.session_state.get(key(study, "also"), 0))
    ]
    return tuple(Finding(*row) for row in rows if any(row))


def begun(study: Study) -> bool:
    """Whether anything is typed."""
    return any(draft(study).values())


def label_word(code: str) -> str:
    """Return the word for a label a reader may give."""
    own = {
        "low_risk": _("Low risk"), "raised_risk": _("Raised risk"), "high_risk": _("High risk"),
        "other_finding": _("Other finding"),
    }  # fmt: skip
    return own.get(code) or label_name(code)


def confidence_word(code: str) -> str:
    return {"low": _("Low"), "moderate": _("Moderate"), "high": _("High")}.get(code, code)


def mine(study: Study, user: User) -> Review | None:
    """Return the newest review of this reader."""
    return next((one for one in reversed(study.reviews) if one.reader == user.subject), None)


def review_panel(study: Study, reading: ModelReading | None, user: User) -> None:
    """Show the form, or that this reader has committed."""
    at, last = desk(study), mine(study, user)
    at.ended = False
    if not begun(study):
        at.base = study.version
    if at.committed:
        st.success(_("Committed and kept."), icon=":material/check_circle:")
        at.committed = False
    if at.base != study.version:
        at.failure = None
        conflict(study, at, user)
        return
    if last is not None and not at.open and not begun(study):
        done_already(study, at, last, reading)
        return
    st.fragment(form)(study, reading, at)


def done_already(study: Study, at: Desk, last: Review, reading: ModelReading | None) -> None:
    """Show what this reader committed, and what is left to say of the model's answer."""
    st.markdown(f":material/check_circle: **{plain(label_word(last.label))}** · {moment(last.at)}")
    compared = last.agrees is not None or reading is None or reading.status != "read"
    if not compared:
        words = _("The model's answer is shown now: {answer}. Say whether you agree with it.")
        st.info(words.format(answer=f"**{plain(short(reading))}**"), icon=":material/compare_arrows:")

    def again() -> None:
        at.open = True
        values = {"label": last.label, **{name: last.findings.get(name) for name in ("location", "confidence")}}
        values["comment"] = last.findings.get("comment", "")
        for k, one in enumerate(last.also):
            values |= {f"also_{name}_{k}": getattr(one, name) for name in FURTHER}
        fill(study, values)
        st.session_state[key(study, "also")] = len(last.also)

    st.button(
        _("Compare with the model") if not compared else _("Review again"), on_click=again, key=key(study, "again"),
        icon=":material/compare_arrows:" if not compared else ":material/edit_note:",
        type="secondary" if compared else "primary",
    )  # fmt: skip


def labels(study: Study, chosen: str | None) -> list[str]:
    """Return the findings to choose from: those the models tell apart in this study, where that may be known."""
    told = dict.fromkeys(one for reading in study.readings for one in reading.answer.get("probabilities", {}))
    found = [*told, "other_finding"] if told and study.kind == "scan" else list(LABELS[study.kind])
    return [*found, chosen] if chosen in LABELS[study.kind] and chosen not in found else found


def finding_box(study: Study, name: str, title: str) -> None:
    """Show the list of findings, to which the reader can add words of their own."""
    st.selectbox(
        title, labels(study, st.session_state.get(key(study, name))), index=None, format_func=label_word,
        key=key(study, name), accept_new_options=True, placeholder=_("Choose, or type your own"),
        persist_state="session",
    )  # fmt: skip


def further_findings(study: Study) -> None:
    """Show a row for each finding beside the main one, and the button that adds one."""
    from medai_core.cases.reviews import MAX_ALSO

    number = key(study, "also")
    count = st.session_state.setdefault(number, 0)
    for k in range(count):
        columns = st.columns(3 if study.kind == "scan" else 2, gap="small", vertical_alignment="top")
        with columns[0]:
            finding_box(study, f"also_label_{k}", _("Also: finding {n}").format(n=k + 2))
        if study.kind == "scan":
            columns[1].text_input(
                _("Location"), key=key(study, f"also_location_{k}"), max_chars=MAX_LINE, persist_state="session"
            )
        columns[-1].segmented_control(
            _("How sure are you?"), CONFIDENCE, format_func=confidence_word, key=key(study, f"also_confidence_{k}"),
            persist_state="session",
        )  # fmt: skip
    st.button(
        _("Add a finding"), icon=":material/add:", key=key(study, "add_finding"), disabled=count >= MAX_ALSO,
        on_click=lambda: st.session_state.update({number: count + 1}), help=_("A row left empty is passed over."),
    )  # fmt: skip


def form(study: Study, reading: ModelReading | None, at: Desk) -> None:
    """Show the form. Its fields are kept in the session as they are left, and stay when the page is.

    A fragment, so that what is typed redraws only this; once it is committed or discarded, the page is drawn anew.
    """
    failure, at.failure = at.failure, None
    if at.ended or isinstance(failure, Conflict):
        st.rerun()
    if failure is not None:
        refused(failure)
    keep = {"persist_state": "session"}
    left, right = st.columns(2, gap="medium")
    with left:
        finding_box(study, "label", _("Finding"))
        if study.kind == "scan":
            st.text_input(
                _("Location"), key=key(study, "location"), max_chars=MAX_LINE,
                placeholder=_("For example: left lower zone"), **keep,
            )  # fmt: skip
        st.segmented_control(
            _("How sure are you?"), CONFIDENCE, format_func=confidence_word, key=key(study, "confidence"), **keep
        )
    with right:
        st.text_area(
            _("Description"), key=key(study, "comment"), max_chars=MAX_TEXT, height=168,
            placeholder=_("What you see, in your own words"), **keep,
        )  # fmt: skip
    further_findings(study)
    if reading is not None and reading.status == "read":
        compare(study, reading)
    named = [st.session_state.get(key(study, "label")), *(one.label for one in further(study))]
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button(
            _("Commit the reading"), type="primary", icon=":material/done_all:", key=key(study, "commit"),
            on_click=commit, args=(study, not study.readings),
            disabled=not all(named), help=None if all(named) else _("Choose a finding first."),
        )  # fmt: skip
        if begun(study):
            st.button(
                _("Discard"), icon=":material/delete:", key=key(study, "discard"), on_click=discard, args=(study,)
            )


def compare(study: Study, reading: ModelReading) -> None:
    """Ask whether the reader agrees with the model, and why not."""
    words = _("The model says: {answer}")
    st.markdown(words.format(answer=f"**{plain(short(reading))}**"))
    left, right = st.columns([2, 5], gap="medium", vertical_alignment="top")
    names = {"agree": _("I agree"), "overrule": _("I overrule it")}
    with left:
        chosen = st.segmented_control(
            _("Your judgement"), list(names), format_func=names.__getitem__, key=key(study, "agrees"),
            persist_state="session",
        )  # fmt: skip
    with right:
        st.text_input(
            _("Why you overrule it") if chosen == "overrule" else _("Reason, if you want to give one"),
            key=key(study, "reason"), max_chars=MAX_LINE * 5, persist_state="session",
        )  # fmt: skip


def commit(study: Study, first: bool) -> None:
    """Commit the draft about the version it was written about."""
    at, given = desk(study), draft(study)
    try:
        if given["agrees"] == "overrule" and not (given["reason"] or "").strip():
            from medai_core.errors import InputError

            raise InputError("Say why you overrule the model: others learn from it.")
        workspace().review(current_user(), study.study_id, as_input(given, first), at.base)
    except MedAIError as error:
        at.failure = error
        return
    discard(study)
    at.committed, at.open = True, False


def as_input(given: dict[str, Any], first: bool) -> ReviewInput:
    """Return a draft as the workspace takes it."""
    from medai_core.cases.answers import ReviewInput

    findings = {
        name: given[name].strip() for name in ("location", "confidence", "comment") if (given[name] or "").strip()
    }
    agrees = {"agree": True, "overrule": False}.get(given["agrees"] or "")
    return ReviewInput(
        label=(given["label"] or "").strip(), findings=findings, agrees=agrees, reason=(given["reason"] or "").strip(),
        first=first, also=given["also"],
    )  # fmt: skip


def discard(study: Study) -> None:
    """Empty the form."""
    at = desk(study)
    at.failure, at.open, at.ended = None, False, True
    rows = range(st.session_state.get(key(study, "also"), 0))
    fill(study, dict.fromkeys([*FIELDS, *(f"also_{name}_{k}" for k in rows for name in FURTHER)]))
    st.session_state[key(study, "also")] = 0


def fill(study: Study, values: dict[str, str | None]) -> None:
    """Put values into the fields of the form, by their names."""
    for name, value in values.items():
        typed = name.startswith(("location", "comment", "reason", "also_location"))
        st.session_state[key(study, name)] = value or ("" if typed else None)


def conflict(study: Study, at: Desk, user: User) -> None:
    """Show what was committed meanwhile beside what is typed; nothing of either is lost."""
    st.warning(
        _("This study was changed while you were writing. Nothing was overwritten, and nothing of yours is lost."),
        icon=":material/sync_problem:",
    )
    theirs, yours = st.columns(2, gap="medium")
    with theirs, st.container(border=True, height="stretch"):
        st.markdown(f"**{_('Meanwhile')}**")
        later = [one for one in study.reviews if one.version > at.base]
        for one in later:
            st.html(f'<ol class="medai-steps">{review_item(one, user)}</ol>')
        if not later:
            words = _("It was assigned, or got a file: it is now assigned to {who} and holds {n} files.")
            assigned = plain(person(study.assignee, study.assignee_name, user))
            st.write(words.format(who=f"**{assigned}**", n=len(study.objects)))
    with yours, st.container(border=True, height="stretch"):
        st.markdown(f"**{_('Yours, not committed yet')}**")
        st.html(f'<ol class="medai-steps"><li>{draft_words(draft(study))}</li></ol>')
    with st.container(horizontal=True):
        st.button(
            _("Go on with mine"), type="primary", icon=":material/edit_note:", key=key(study, "go_on"),
            on_click=lambda: setattr(at, "base", study.version),
            help=_("Both stay in the history, yours after the other."),
        )  # fmt: skip
        st.button(_("Discard mine"), icon=":material/delete:", key=key(study, "drop"), on_click=discard, args=(study,))


def draft_words(given: dict[str, Any]) -> str:
    """Return a draft as HTML."""
    lines = [finding_words(given["label"], given["location"], given["confidence"]), *also_words(given["also"])]
    judged = {"agree": _("I agree"), "overrule": _("I overrule it")}.get(given["agrees"] or "", "")
    rest = [judged, reason_words(given["reason"]), given["comment"] or ""]
    return "<br>".join([*lines, *(f'<span class="free">{escape(one)}</span>' for one in rest if one)])


def finding_words(label: str | None, location: str | None, confidence: str | None) -> str:
    """Return a finding as HTML."""
    head = f"<b>{escape(label_word(label))}</b>" if label else ""
    details = [str(location or ""), confidence_word(str(confidence or ""))]
    return " · ".join([head, *(escape(one) for one in details if one)])


def also_words(findings: Sequence[Finding]) -> list[str]:
    """Return the findings beside the main one as HTML, a line for each."""
    return [f"{escape(_('Also'))}: {finding_words(one.label, one.location, one.confidence)}" for one in findings]


def reason_words(reason: str | None) -> str:
    return f"{_('Reason')}: {reason}" if reason else ""


def history(study: Study, user: User) -> None:
    """Show all that readers have committed, the newest first."""
    if not study.reviews:
        st.caption(_("Nobody has committed a reading yet."))
        return
    items = "".join(review_item(one, user) for one in reversed(study.reviews))
    st.html(f'<ol class="medai-steps">{items}</ol>')


def review_item(one: Review, user: User) -> str:
    """Return one review as an item of a list."""
    who = _("You") if one.reader == user.subject else one.reader_name
    said = finding_words(one.label, one.findings.get("location"), one.findings.get("confidence"))
    judged = {True: _("✓ agrees with the model"), False: _("✗ overrules the model")}.get(one.agrees, "")
    tags = [judged, _("read first") if one.first else "", ""]
    if one.seconds is not None:
        tags[2] = _("decided in {time}").format(time=lasted(one.seconds))
    parts = [said, *also_words(one.also), " · ".join(escape(tag) for tag in tags if tag)]
    free = (reason_words(one.reason), one.findings.get("comment"))
    parts += [f'<span class="free">{escape(str(text))}</span>' for text in free if text]
    when = f'<span class="when">{escape(who)} · {moment(one.at)}</span>'
    return "<li>" + "<br>".join([when, *(part for part in parts if part)]) + "</li>"
