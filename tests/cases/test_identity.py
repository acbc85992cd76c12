"""From the claims of a token to somebody who may do something, or nothing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as any_

from medai_core.cases.access import LOCAL, SERVICE_USER, Role
from medai_core.cases.identity import MAX_NAME, MAX_SUBJECT, SignIn, read_claims
from medai_core.errors import InputError

NOW = datetime(2026, 3, 1, 8, tzinfo=UTC)
CLAIMS = {"iss": "https://sso.example/realms/h", "sub": "u1", "iat": NOW.timestamp(), "nonce": "n"}
CLAIMS |= {"exp": (NOW + timedelta(hours=10)).timestamp()}


def read(roles_claim: str = "roles", groups_claim: str = "groups", **changes: Any) -> SignIn:
    return read_claims(
        CLAIMS | changes, roles_claim=roles_claim, groups_claim=groups_claim, session_minutes=480, now=NOW
    )


@pytest.mark.parametrize(
    ("value", "roles"),
    [
        (["reader"], {Role.READER}),
        (["Reader ", "ADMINISTRATOR", "ward"], {Role.READER, Role.ADMINISTRATOR}),
        ("reader,researcher", {Role.READER, Role.RESEARCHER}),
        ("reader researcher", {Role.READER, Role.RESEARCHER}),
        ({"administrator": {"org": "x"}}, {Role.ADMINISTRATOR}),
        (["service"], set()),  # the program's own role is nobody's
        (["readers", "medai-reader", 7, None, ["reader"]], set()),
        (None, set()),
        (True, set()),
        (7, set()),
    ],
)
def test_roles_come_from_their_claim_and_no_others(value: object, roles: set[Role]) -> None:
    assert read(roles=value).user.roles == roles


def test_a_claim_may_be_nested_or_have_dots_in_its_name() -> None:
    assert read("realm_access.roles", realm_access={"roles": ["reader"]}).user.roles == {Role.READER}
    assert read("https://h.example/roles", **{"https://h.example/roles": ["reader"]}).user.roles == {Role.READER}
    assert read("a.b", **{"a.b": ["reader"], "a": {"b": ["administrator"]}}).user.roles == {Role.READER}
    assert read("realm_access.roles", realm_access="reader").user.roles == frozenset()


@pytest.mark.parametrize(
    ("changes", "groups"),
    [
        ({}, {"default"}),
        ({"groups": ["/radiology", "icu "]}, {"radiology", "icu"}),
        ({"groups": "Intensive Care, radiology"}, {"Intensive Care", "radiology"}),
        ({"groups": []}, set()),
        ({"groups": ["", "/"]}, set()),
        ({"groups": None}, set()),
    ],
)
def test_groups(changes: dict[str, object], groups: set[str]) -> None:
    assert read(**changes).user.groups == groups


def test_a_subject_is_that_of_its_issuer() -> None:
    one, other = read().user.subject, read(iss="https://other.example").user.subject
    assert one == "u1@sso.example/realms/h" and one != other
    reserved = {LOCAL.subject, SERVICE_USER.subject}
    assert not {read(sub=name).user.subject for name in reserved} & reserved
    long = {read(sub="x" * 250 + end).user.subject for end in "ab"}
    assert len(long) == 2 and all(len(subject) <= MAX_SUBJECT for subject in long)


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"name": "Rita Reader", "email": "r@h.example"}, "Rita Reader"),
        ({"name": "", "preferred_username": "rita"}, "rita"),
        ({"name": "\u202e\n", "email": "r@h.example"}, "r@h.example"),
        ({"name": "a\nb\x00c\u202ed"}, "abcd"),
        ({"name": "x" * 500}, "x" * MAX_NAME),
        ({}, "u1"),
    ],
)
def test_a_name_is_one_line_that_shows_all_of_itself(changes: dict[str, object], name: str) -> None:
    assert read(**changes).user.name == name


def test_a_sign_in_ends_after_its_minutes_or_with_its_token() -> None:
    long = read()
    assert long.until == NOW + timedelta(minutes=480)
    short = read(exp=(NOW + timedelta(minutes=5)).timestamp())
    assert short.until == NOW + timedelta(minutes=5)
    assert not short.over(NOW + timedelta(minutes=4, seconds=59)) and short.over(NOW + timedelta(minutes=5))


@pytest.mark.parametrize("name", ["iss", "sub", "iat", "exp"])
@pytest.mark.parametrize("value", [None, "", "  ", True, float("nan"), float("inf"), 1e300, [1], "a\nb"])
def test_claims_of_another_form_are_refused(name: str, value: object) -> None:
    with pytest.raises(InputError, match=f"`{name}` of the sign-in must be"):
        read(**{name: value})


def test_a_token_from_the_future_is_refused() -> None:
    read(iat=(NOW + timedelta(minutes=4)).timestamp())  # clocks differ
    with pytest.raises(InputError, match="`iat` of the sign-in must not lie in the future"):
        read(iat=(NOW + timedelta(minutes=6)).timestamp())


def test_each_sign_in_has_its_own_key() -> None:
    keys = {
        read().key, read(nonce="m").key, read(iat=NOW.timestamp() + 1).key, read(sub="u2").key, read(iss="http://x").key,
    }  # fmt: skip
    assert len(keys) == 5 and read(name="other").key in keys


simple = any_.none() | any_.booleans() | any_.floats() | any_.integers() | any_.text()
anything = any_.recursive(simple, lambda inner: any_.lists(inner) | any_.dictionaries(any_.text(), inner), max_leaves=8)


@given(any_.dictionaries(any_.sampled_from([*CLAIMS, "name", "roles", "groups"]), anything))
def test_no_claims_whatever_break_it_or_make_a_service(claims: dict[str, object]) -> None:
    try:
        found = read(**claims)
    except InputError:
        return
    assert found.user.roles <= set(Role) - {Role.SERVICE} and found.user.name.isprintable()
