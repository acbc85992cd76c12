"""The reader's own reading of a study: a form whose words are never lost, also when somebody else was quicker."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
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
    from medai_core.cases.answers import ModelReading, Review, ReviewInput, Study
    from medai_core.cases.folder import NamedStudy

LABELS = {
    "scan": ("normal", "bacterial", "viral", "notumor", "glioma", "meningioma", "pituitary", "other_finding"),
    "stay": ("low_risk", "raised_risk", "high_risk"),
    "row": ("benign", "malignant"),
}
FIELDS = ("label", "location", "confidence", "comment", "agrees", "reason")
CONFIDENCE = ("low", "moderate", "high")
MAX_TEXT, MAX_LINE = 5000, 200


@dataclass
class Desk:
    """What the session keeps of a reader's work on one study.

    Attributes
    ----------
    base : int
        Version of the study that the reader's words were written about.
    since : float
        When the reader opened the study in this session; seconds since the epoch.
    failure : MedAIError or None
        Why the last attempt to commit did not work.
    committed : bool
        Just now, so that the page says so once.
    open : bool
        Whether the form is open although this reader has committed before.
    """

    base: int
    since: float = field(default_factory=time.time)
    failure: MedAIError | None = None
    committed: bool = False
    open: bool = False


def desk(study: Study) -> Desk:
    """Return the reader's desk for a study; made when it is opened first."""
    return st.session_state.setdefault(f"case_desk_{study.study_id}", Desk(study.version))


def key(study: Study, name: str) -> str:
    """Return the key of a widget about a study; the draft lives in the session under these."""
    return f"case_{name}_{study.study_id}"


def draft(study: Study) -> dict[str, Any]:
    """Return what is typed and not committed."""
    return {name: st.session_state.get(key(study, name)) for name in FIELDS}


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


def review_panel(study: NamedStudy, reading: ModelReading | None, user: User) -> None:
    """Show the form, or that this reader has committed."""
    at, last = desk(study), mine(study, user)
    if not begun(study):
        at.base = study.version
    notices = st.container()
    with notices:
        if at.committed:
            st.success(_("Committed and kept."), icon=":material/check_circle:")
            at.committed = False
        if at.failure is not None and not isinstance(at.failure, Conflict):
            refused(at.failure)
            at.failure = None
    if at.base != study.version:
        conflict(study, at, user)
        return
    at.failure = None
    if last is not None and not at.open and not begun(study):
        done_already(study, at, last, reading)
        return
    form(study, reading, at)


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
        for name, value in values.items():
            st.session_state[key(study, name)] = value or ("" if name in ("location", "comment") else None)

    st.button(
        _("Compare with the model") if not compared else _("Review again"), on_click=again, key=key(study, "again"),
        icon=":material/compare_arrows:" if not compared else ":material/edit_note:",
        type="secondary" if compared else "primary",
    )  # fmt: skip


def form(study: Study, reading: ModelReading | None, at: Desk) -> None:
    """Show the form. Its fields are kept in the session as they are left, and stay when the page is."""
    keep = {"persist_state": "session"}
    left, right = st.columns(2, gap="medium")
    with left:
        st.selectbox(
            _("Finding"), LABELS[study.kind], index=None, format_func=label_word, key=key(study, "label"),
            accept_new_options=True, placeholder=_("Choose, or type your own"), **keep,
        )  # fmt: skip
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
    if reading is not None and reading.status == "read":
        compare(study, reading)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button(
            _("Commit the reading"), type="primary", icon=":material/done_all:", key=key(study, "commit"),
            on_click=commit, args=(study, not study.readings),
            disabled=not st.session_state.get(key(study, "label")),
        )  # fmt: skip
        if begun(study):
            st.button(
                _("Discard"), icon=":material/delete:", key=key(study, "discard"), on_click=discard, args=(study,)
            )
        st.caption(_("Open for {time}").format(time=lasted(time.time() - at.since)))


def compare(study: Study, reading: ModelReading) -> None:
    """Ask whether the reader agrees with the model, and why not."""
    words = _("The model says: {answer}")
    st.markdown(words.format(answer=f"**{plain(short(reading))}**"))
    left, right = st.columns([2, 5], gap="medium", vertical_alignment="bottom")
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
        first=first,
    )  # fmt: skip


def discard(study: Study) -> None:
    """Empty the form."""
    at = desk(study)
    at.failure, at.open = None, False
    for name in FIELDS:
        st.session_state[key(study, name)] = "" if name in ("location", "comment", "reason") else None


def conflict(study: NamedStudy, at: Desk, user: User) -> None:
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
    head = f"<b>{escape(label_word(given['label']))}</b>" if given["label"] else ""
    details = [given["location"] or "", confidence_word(given["confidence"] or "")]
    line = " · ".join([head, *(escape(one) for one in details if one)])
    judged = {"agree": _("I agree"), "overrule": _("I overrule it")}.get(given["agrees"] or "", "")
    rest = [judged, given["reason"] or "", given["comment"] or ""]
    return line + "".join(f'<br><span class="free">{escape(one)}</span>' for one in rest if one)


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
    details = [one.findings.get("location", ""), confidence_word(one.findings.get("confidence", ""))]
    said = [f"<b>{escape(label_word(one.label))}</b>", *(escape(str(part)) for part in details if part)]
    judged = {True: _("✓ agrees with the model"), False: _("✗ overrules the model")}.get(one.agrees, "")
    tags = [judged, _("read first") if one.first else "", ""]
    if one.seconds is not None:
        tags[2] = _("decided in {time}").format(time=lasted(one.seconds))
    parts = [" · ".join(said), " · ".join(escape(tag) for tag in tags if tag)]
    parts += [
        f'<span class="free">{escape(str(text))}</span>' for text in (one.reason, one.findings.get("comment")) if text
    ]
    when = f'<span class="when">{escape(who)} · {moment(one.at)}</span>'
    return "<li>" + "<br>".join([when, *(part for part in parts if part)]) + "</li>"
