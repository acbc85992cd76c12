"""Who is at the page: the local user where no sign-in is set up, else the person whom the provider vouches for.

Streamlit verifies the provider's token and keeps its claims in a signed cookie of the browser, for 30 days and without
looking at the time again. When a sign-in ends is therefore asked here, on every run; so is whether it was signed out
in another window, which a cookie cannot know.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import streamlit as st

from medai_core.cases.access import LOCAL, Action, Role, User, allowed
from medai_core.cases.identity import SignIn, read_claims
from medai_core.errors import InputError
from medai_core.settings import settings
from pages.ui import door, frame
from pages.ui.language import _, tell
from pages.ui.way_back import OUTCOME
from pages.ui.words import plain

if TYPE_CHECKING:
    from medai_core.cases.visits import Visits

COOKIE = "_streamlit_user"
KNOWN = "signed_in"
LEFT = "signed_out"
TOLD = "sign_in_refused"
TICK_SECONDS = 30


@dataclass(frozen=True)
class Visitor:
    """Somebody at a page.

    Attributes
    ----------
    state : str
        ``local`` (no sign-in is set up), ``in``, ``out``, ``ended`` (time is over), ``left`` (signed out, here or in
        another window), ``unverified`` (the cookie or the claims are not what the provider gives).
    signed : SignIn or None
        The sign-in, also one that is over.
    problem : InputError or None
        What is wrong with the claims.
    """

    state: str
    signed: SignIn | None = None
    problem: InputError | None = None

    @property
    def user(self) -> User | None:
        """Who may act; None for somebody who has to sign in first."""
        if self.state == "local":
            return LOCAL
        return self.signed.user if self.signed is not None and self.state == "in" else None


def visitor() -> Visitor:
    """Return who is at the page now."""
    if not _set_up():
        return Visitor("local")
    claims = st.user.to_dict()
    if not claims.get("is_logged_in"):
        if st.session_state.get(LEFT):
            return Visitor("left")
        return Visitor("unverified" if COOKIE in st.context.cookies else "out")
    return judge(claims, left())


def judge(claims: Mapping[str, Any], left: Mapping[str, float], now: datetime | None = None) -> Visitor:
    """Return what verified claims make of a visitor; ``left`` holds the keys of sign-ins that were signed out."""
    setting = settings()
    try:
        signed = read_claims(
            claims, roles_claim=setting.roles_claim, groups_claim=setting.groups_claim,
            session_minutes=setting.session_minutes, now=now,
        )  # fmt: skip
    except InputError as error:
        return Visitor("unverified", problem=error)
    if signed.key in left:
        return Visitor("left", signed)
    return Visitor("ended" if signed.over(now) else "in", signed)


def current_user() -> User:
    """Return who is acting, for every call of the workspace; whoever is nobody any more is led to the sign-in page.

    Call it on every run, also of a fragment: a sign-in can end while a page is open.
    """
    user = visitor().user
    if user is None or not user.roles:
        if st.session_state.pop(KNOWN, None):
            st.rerun()  # the frame says why, instead of the page
        st.stop()
    return user


def enter() -> User | None:
    """Return who may use the app, or None where :func:`page` has to be shown instead of any other."""
    found = visitor()
    _note(found)
    may = found.user is not None and bool(found.user.roles)
    if may:
        st.session_state[KNOWN] = True
        st.query_params.pop(OUTCOME, None)
    return found.user if may else None


def may(user: User | None, action: Action) -> bool:
    """Whether somebody may do something; nobody may do anything."""
    return user is not None and allowed(user, action)


def who() -> None:
    """Say in the side bar who is signed in, with the button to sign out."""
    found = visitor()
    if found.state == "local":
        if settings().open:
            st.caption(f":material/lock_open: {_('Open to everybody who reaches this address: no sign-in is set up.')}")
        return
    if found.user is None:
        return
    with st.container(key="who", gap="small"):
        st.markdown(f":material/person: **{plain(found.user.name)}**")
        st.caption(roles_of(found.user))
        if st.button(_("Sign out"), icon=":material/logout:", key="sign_out", width="stretch"):
            leave(found.signed)
    _watch(found.signed)


def roles_of(user: User) -> str:
    """Return the roles in words."""
    return ", ".join(words for role, words in role_names().items() if role in user.roles) or _("No role")


def role_names() -> dict[Role, str]:
    """Return the word for each role that a person can have."""
    return {Role.READER: _("Reader"), Role.RESEARCHER: _("Researcher"), Role.ADMINISTRATOR: _("Administrator")}


def leave(signed: SignIn) -> None:
    """Sign out: at once in all windows of this sign-in, and at the provider where it offers that."""
    now = time.time()
    ended = left()
    for key in [key for key, until in list(ended.items()) if until < now]:
        ended.pop(key, None)  # over by themselves since
    ended[signed.key] = signed.until.timestamp()
    visits().note("signed out", signed.user, signed.key)
    st.session_state[LEFT] = True
    st.logout()
    st.stop()  # another run would take back what sends the browser to the provider


def _note(found: Visitor) -> None:
    """Leave the event of how somebody came in, or did not."""
    if found.state == "unverified":
        if not st.session_state.get(TOLD):
            st.session_state[TOLD] = True
            visits().refused("claims" if found.problem else "signature")
    elif found.state in ("in", "ended"):
        visits().note("signed in" if found.state == "in" else "session ended", found.signed.user, found.signed.key)


@st.cache_resource(show_spinner=False)
def visits() -> Visits:
    """Return who writes those events."""
    from medai_core.cases.visits import Visits
    from medai_core.cases.workspace import open_workspace

    return Visits(lambda: open_workspace().store)


@st.cache_resource(show_spinner=False)
def left() -> dict[str, float]:
    """Return the sign-ins that were signed out, with the time at which they would have ended: key → seconds."""
    return {}


def page() -> None:
    """Show, instead of the page that was asked for, why it is not shown and what to do."""
    found = visitor()
    if found.user is not None:
        _without_role(found.user)
        return
    frame.page(_("Sign in"), _("MedAI is open to people whom your organisation vouches for."))
    _explain(found)
    for name in door.providers():
        words = _("Sign in") if name == "default" else _("Sign in with {provider}").format(provider=name)
        if st.button(words, type="primary", icon=":material/login:", key=f"sign_in_{name}"):
            st.login(name)


def no_right(title: str, action: Action) -> None:
    """Show, instead of a page, that the signed-in person may not open it, and which roles may."""
    frame.page(title, _("This page is not open to you."))
    names = role_names()
    needed = ", ".join(names[role] for role in names if allowed(User("", "", frozenset({role})), action))
    words = _(
        "It needs one of these roles: {needed}. Yours: {roles}. Ask those who run MedAI here if you should have it."
    )
    st.info(words.format(needed=needed, roles=roles_of(current_user())), icon=":material/block:")


def _explain(found: Visitor) -> None:
    """Say what happened before, where something did."""
    outcome = st.query_params.get(OUTCOME)
    if outcome == "unavailable":
        st.error(
            _("The sign-in service does not answer. Try again in a moment; if it stays so, tell those who run it."),
            icon=":material/cloud_off:",
        )
    elif outcome == "denied":
        st.info(_("The sign-in was cancelled."), icon=":material/info:")
    elif outcome == "failed":
        st.error(_("The sign-in was not accepted: it could not be verified. Try again."), icon=":material/error:")
    elif found.state == "ended":
        words = _("Your session has ended. Sign in again to go on where you were.")
        st.info(words, icon=":material/timer_off:")
    elif found.state == "left" or outcome == "out":
        st.success(_("You are signed out."), icon=":material/check:")
    elif found.state == "unverified":
        words = _("Your sign-in could not be verified, so it does not count. Sign in again.")
        st.warning(f"{words} {tell(found.problem)}" if found.problem else words, icon=":material/gpp_maybe:")


def _without_role(user: User) -> None:
    """Tell somebody whom the provider knows and MedAI does not what to ask for."""
    frame.page(_("No role yet"), _("You are signed in as {name}.").format(name=user.name))
    words = _(
        "You have no role in MedAI, so nothing is open to you. Ask those who manage accounts in your organisation for "
        "one of these, and sign in again then:"
    )
    st.info(words, icon=":material/badge:")
    purpose = {
        Role.READER: _("clinicians who read and review cases"),
        Role.RESEARCHER: _("work on cases without identifying data"),
        Role.ADMINISTRATOR: _("running MedAI: storage, events, users"),
    }
    frame.table(
        [_("Role"), _("Value of the claim “{claim}”").format(claim=settings().roles_claim), _("For")],
        [[name, role.value, purpose[role]] for role, name in role_names().items()],
    )


def _watch(signed: SignIn) -> None:
    """Look again while the page is left alone, so that it does not stay on the screen when the sign-in is over."""
    seconds = (signed.until - datetime.now(UTC)).total_seconds()

    def look() -> None:
        if visitor().state != "in":
            st.rerun()

    st.fragment(look, run_every=max(1.0, min(TICK_SECONDS, seconds + 0.5)))()


@st.cache_resource(show_spinner=False)
def _set_up() -> bool:
    """Whether a provider is set; asked once, because the file is read at the start and not again."""
    return bool(door.providers())
