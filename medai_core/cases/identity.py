"""Who is acting, from the claims of an OpenID Connect ID token.

The token itself was verified before (signature, issuer, audience, nonce: OpenID Connect Core 1.0, 3.1.3.7); here its
claims become a :class:`~medai_core.cases.access.User` with roles, groups and an end.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from medai_core.cases.access import DEFAULT_GROUP, Role, User
from medai_core.errors import InputError

# The service is the program itself: nobody signs in as it.
ROLES = {role.value: role for role in Role if role is not Role.SERVICE}
DEFAULT_GROUPS = frozenset({DEFAULT_GROUP})
NAME_CLAIMS = ("name", "preferred_username", "email", "sub")
MAX_NAME = 120
MAX_SUBJECT = 128
# Clocks of provider and server may differ by this much.
LEEWAY = timedelta(minutes=5)
_MISSING = object()


@dataclass(frozen=True)
class SignIn:
    """One sign-in of one person.

    Attributes
    ----------
    user : User
        Subject, name, roles and groups; without any role the person may do nothing yet.
    since, until : datetime
        When it began and when it ends, in UTC.
    key : str
        The same for all windows of this sign-in and for no other: SHA-256, 64 hexadecimal digits.
    """

    user: User
    since: datetime
    until: datetime
    key: str

    def over(self, now: datetime | None = None) -> bool:
        """Whether it has ended."""
        return (now or datetime.now(UTC)) >= self.until


def read_claims(
    claims: Mapping[str, Any], *, roles_claim: str, groups_claim: str, session_minutes: int, now: datetime | None = None
) -> SignIn:
    """Return the sign-in that the claims of an ID token describe.

    Parameters
    ----------
    claims : Mapping
        The verified claims. ``iss``, ``sub``, ``iat`` and ``exp`` are needed (OpenID Connect Core 1.0, section 2).
    roles_claim, groups_claim : str
        Name of the claim, or its path with dots, such as ``realm_access.roles``.
    session_minutes : int
        A sign-in ends after this many minutes, or with its token if that is sooner.
    now : datetime, optional
        The time, with its zone; by default the clock's.

    Raises
    ------
    InputError
        If a claim that is needed is missing, has another form, or lies in the future.
    """
    issuer, subject = _text(claims, "iss"), _text(claims, "sub")
    since, expires = _time(claims, "iat"), _time(claims, "exp")
    if since > (now or datetime.now(UTC)) + LEEWAY:
        raise InputError("`{name}` of the sign-in must not lie in the future, got {value}", name="iat", value=since)
    user = User(
        subject=_subject(subject, issuer),
        name=_name(claims),
        roles=frozenset(ROLES[word.lower()] for word in _words(claims, roles_claim) if word.lower() in ROLES),
        groups=_groups(claims, groups_claim),
    )
    key = hashlib.sha256("\n".join([issuer, subject, str(claims["iat"]), str(claims.get("nonce"))]).encode())
    return SignIn(user, since, min(since + timedelta(minutes=session_minutes), expires), key.hexdigest())


def _subject(subject: str, issuer: str) -> str:
    """Return who it is among all providers: a subject is unique at its issuer only (OpenID Connect Core 1.0, 2)."""
    whole = f"{subject}@{issuer.partition('://')[2] or issuer}"
    return whole if len(whole) <= MAX_SUBJECT else hashlib.sha256(whole.encode()).hexdigest()


def _text(claims: Mapping[str, Any], name: str) -> str:
    value = claims.get(name)
    if not isinstance(value, str) or not value.strip() or not value.isprintable():
        raise InputError("`{name}` of the sign-in must be a text, got {value}", name=name, value=type(value).__name__)
    return value


def _time(claims: Mapping[str, Any], name: str) -> datetime:
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise InputError("`{name}` of the sign-in must be a time, got {value}", name=name, value=type(value).__name__)
    try:
        return datetime.fromtimestamp(value, UTC)
    except (OverflowError, OSError, ValueError):
        raise InputError("`{name}` of the sign-in must be a time, got {value}", name=name, value=value) from None


def _name(claims: Mapping[str, Any]) -> str:
    """Return what to call the person: one line, nothing in it that is not seen."""
    found = (str(claims[name]) for name in NAME_CLAIMS if claims.get(name))
    lines = ("".join(c for c in text if c.isprintable()).strip() for text in found)
    return next((line for line in lines if line), "")[:MAX_NAME]


def _groups(claims: Mapping[str, Any], claim: str) -> frozenset[str]:
    """Return the departments; a provider that knows of none puts everybody into the one that there is."""
    if _claim(claims, claim) is _MISSING:
        return DEFAULT_GROUPS
    return frozenset(word.strip("/") for word in _words(claims, claim, r",") if word.strip("/"))


def _claim(claims: Mapping[str, Any], path: str) -> Any:
    """Return a claim by its name, which may hold dots itself, or by the path to it."""
    if path in claims:
        return claims[path]
    found: Any = claims
    for part in path.split("."):
        if not isinstance(found, Mapping) or part not in found:
            return _MISSING
        found = found[part]
    return found


def _words(claims: Mapping[str, Any], claim: str, between: str = r"[,\s]") -> Iterable[str]:
    """Return the values of a claim that is a list, an object with the values as names, or one text."""
    value = _claim(claims, claim)
    if isinstance(value, str):
        value = re.split(between, value)
    if not isinstance(value, Iterable):
        return []
    return [word.strip() for word in value if isinstance(word, str) and word.strip()]
