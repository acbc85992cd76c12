"""Who may do what. Decided here, never on a page."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from medai_core.errors import NotAllowed

DEFAULT_GROUP = "default"


class Role(StrEnum):
    """What a user is here as."""

    READER = "reader"
    RESEARCHER = "researcher"
    ADMINISTRATOR = "administrator"
    SERVICE = "service"


class Action(StrEnum):
    """What can be asked of the workspace; also the names under which refusals are logged."""

    RECEIVE = "receive"
    LIST = "list"
    VIEW = "view"
    SEE_IDENTITY = "see_identity"
    REVIEW = "review"
    ASSIGN = "assign"
    EXPORT = "export"
    EXPORT_IDENTIFIED = "export_identified"
    FORGET = "forget"
    AUDIT = "audit"
    ADMINISTER = "administer"


_ALLOWED = {
    Role.READER: {
        Action.RECEIVE,
        Action.LIST,
        Action.VIEW,
        Action.SEE_IDENTITY,
        Action.REVIEW,
        Action.ASSIGN,
        Action.EXPORT,
        Action.EXPORT_IDENTIFIED,
    },
    Role.RESEARCHER: {Action.LIST, Action.VIEW, Action.EXPORT},
    Role.ADMINISTRATOR: {Action.LIST, Action.ADMINISTER, Action.AUDIT, Action.FORGET},
    # The workspace itself: it takes files in, reads them by model, and sends reports back to where they belong.
    Role.SERVICE: {
        Action.RECEIVE,
        Action.LIST,
        Action.VIEW,
        Action.SEE_IDENTITY,
        Action.EXPORT,
        Action.EXPORT_IDENTIFIED,
        Action.FORGET,
    },
}


@dataclass(frozen=True)
class User:
    """Somebody who acts.

    Attributes
    ----------
    subject : str
        What the sign-in provider calls the user, never given to another.
    name : str
        For people.
    groups : frozenset[str]
        Departments whose cases the user sees.
    """

    subject: str
    name: str
    roles: frozenset[Role]
    groups: frozenset[str] = frozenset({DEFAULT_GROUP})

    @property
    def sees_all(self) -> bool:
        """Whether this is the workspace itself, which works for all groups."""
        return Role.SERVICE in self.roles

    def sees(self, group: str) -> bool:
        """Whether cases of a group are there at all for this user."""
        return self.sees_all or group in self.groups


LOCAL = User("local", "Local user", frozenset({Role.READER, Role.RESEARCHER, Role.ADMINISTRATOR}))
SERVICE_USER = User("service", "MedAI", frozenset({Role.SERVICE}))


def allowed(user: User, action: Action) -> bool:
    """Whether one of the user's roles may do this."""
    return any(action in _ALLOWED[role] for role in user.roles)


def knows_moments(user: User) -> bool:
    """Whether a user may know to the minute when a study arrived and was read.

    Others export without identity, with dates moved by days: the day of arrival, beside the moved day of the
    examination, would tell by how many. Who reads the log finds the moments there.
    """
    return allowed(user, Action.SEE_IDENTITY) or allowed(user, Action.AUDIT)


def told_of(user: User, at: datetime) -> datetime:
    """When something came or was read, as far as a user may know; see :func:`knows_moments`."""
    return at if knows_moments(user) else month_of(at)


def month_of(at: datetime) -> datetime:
    """The first moment of a month, in UTC."""
    return at.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)


def demand(user: User, action: Action) -> None:
    """Let an allowed action pass.

    Raises
    ------
    NotAllowed
        If none of the user's roles may do this.
    """
    if not allowed(user, action):
        roles = ", ".join(sorted(user.roles)) or "none"
        raise NotAllowed("Your roles ({roles}) do not allow this: {action}.", roles=roles, action=action.value)
