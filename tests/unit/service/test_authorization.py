"""Access rules: properties that hold for every rule, account and space."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from innervate_service.auth import Identity
from innervate_service.authorization import (
    ANY,
    Access,
    AccessRule,
    AccountPattern,
    Permission,
    covers,
    space_problem,
)
from innervate_service.errors import InvalidArgument, PermissionDenied
from pydantic import ValidationError

OPERATOR = Identity("innervate-system", "innervate-operator")
NAMES = st.sampled_from(["a", "b", "ab", "a-b"])
SPACES = st.lists(NAMES, min_size=1, max_size=3).map("/".join)
PATTERNS = st.one_of(st.just(ANY), SPACES, SPACES.map("{}/*".format))
IDENTITIES = st.builds(Identity, NAMES, NAMES)
PERMISSIONS = st.sampled_from(Permission)
RULES = st.fixed_dictionaries(
    {
        "service_accounts": st.lists(
            st.builds(AccountPattern, namespace=NAMES, name=st.one_of(NAMES, st.just(ANY))),
            min_size=1,
            max_size=3,
        ),
        "spaces": st.lists(PATTERNS, min_size=1, max_size=3),
        "permissions": st.lists(PERMISSIONS, min_size=1, max_size=2),
    }
).map(lambda fields: AccessRule(**fields))
ACCESSES = st.builds(
    Access, namespace=NAMES, rules=st.lists(RULES, max_size=4).map(tuple), operator=st.just(OPERATOR)
)


def rule(namespace, name, space, *permissions):
    return AccessRule(
        service_accounts=(AccountPattern(namespace=namespace, name=name),),
        spaces=(space,),
        permissions=permissions,
    )


@given(NAMES, IDENTITIES, SPACES, PERMISSIONS)
def test_without_rules_an_account_owns_exactly_its_own_spaces(namespace, identity, space, permission):
    allowed = Access(namespace=namespace).allows(identity, space, permission)
    own = space.split("/")[0] == identity.account
    assert allowed == (identity.namespace == namespace and own)


@given(ACCESSES, RULES, IDENTITIES, SPACES, PERMISSIONS)
def test_with_rules_one_more_never_takes_anything_away(access, added, identity, space, permission):
    if not access.rules:
        return
    wider = Access(namespace=access.namespace, rules=(*access.rules, added), operator=OPERATOR)
    assert wider.allows(identity, space, permission) >= access.allows(identity, space, permission)


@given(ACCESSES, IDENTITIES, SPACES, PERMISSIONS)
def test_whatever_is_allowed_is_allowed_by_one_rule_alone(access, identity, space, permission):
    alone = [Access(namespace=access.namespace, rules=(one,)) for one in access.rules]
    if access.rules:
        assert access.allows(identity, space, permission) == any(
            one.allows(identity, space, permission) for one in alone
        )


@given(ACCESSES, IDENTITIES, SPACES, PERMISSIONS)
def test_whole_store_means_every_space(access, identity, space, permission):
    if access.allows_whole_store(identity, permission):
        assert access.allows(identity, space, permission)


@given(ACCESSES, SPACES, PERMISSIONS)
def test_the_operator_counts_and_does_nothing_else(access, space, permission):
    everything = Access(
        namespace=OPERATOR.namespace,
        rules=(*access.rules, rule(OPERATOR.namespace, ANY, ANY, *Permission)),
        operator=OPERATOR,
    )
    assert not everything.allows(OPERATOR, space, permission)
    assert not everything.allows_whole_store(OPERATOR, permission)
    everything.require_statistics(OPERATOR)
    with pytest.raises(PermissionDenied):
        everything.require(OPERATOR, space, permission)


@given(ACCESSES, IDENTITIES, SPACES, PERMISSIONS)
def test_require_agrees_with_allows_and_names_caller_space_and_permission(
    access, identity, space, permission
):
    if access.allows(identity, space, permission):
        assert access.require(identity, space, permission) == space
        return
    with pytest.raises(PermissionDenied) as refused:
        access.require(identity, space, permission)
    assert all(text in str(refused.value) for text in (str(identity), repr(space), permission))


@given(PATTERNS, SPACES, NAMES)
def test_a_pattern_covers_by_whole_segments(pattern, space, name):
    if covers(pattern, space) and pattern.endswith(("/*", ANY)):
        assert covers(pattern, f"{space}/{name}")
    assert not covers(f"{space}/*", space)
    assert not covers(f"{space}/*", f"{space}x/{name}")
    assert covers(f"{space}/*", f"{space}/{name}")
    assert not covers(space, f"{space}/{name}")


@given(IDENTITIES)
def test_an_empty_space_is_the_callers_own(identity):
    access = Access(namespace=identity.namespace)
    assert access.require(identity, "", Permission.WRITE) == identity.account


@given(st.text(max_size=40))
def test_any_text_is_a_space_or_refused_with_a_reason(text):
    access = Access(namespace="a", rules=(rule("a", "a", ANY, Permission.READ),))
    problem = space_problem(text)
    if text and problem is None:
        assert access.require(Identity("a", "a"), text, Permission.READ) == text
        assert "" not in text.split("/")
        assert not {".", ".."} & set(text.split("/"))
    elif text:
        with pytest.raises(InvalidArgument, match="space = "):
            access.require(Identity("a", "a"), text, Permission.READ)


@pytest.mark.parametrize("space", ["ö/日本", "a b", "a.b/c_d", "x" * 512])
def test_ordinary_names_of_any_script_are_spaces(space):
    assert space_problem(space) is None


@pytest.mark.parametrize(
    "space",
    [
        "",
        "/",
        "/a",
        "a/",
        "a//b",
        "a/../b",
        ".",
        "*",
        "a/*",
        " a",
        "a\n",
        "a\x00",
        "x" * 513,
        "a\u200b",
        "\ud800",
    ],
)
def test_names_that_mislead_are_none(space):
    assert space_problem(space) is not None


def test_the_statistics_of_the_store_are_for_those_who_may_read_everything():
    reader, agent = Identity("shop", "reader"), Identity("shop", "agent")
    access = Access(
        namespace="shop",
        rules=(rule("shop", "reader", ANY, Permission.READ), rule("shop", "agent", "x/*", *Permission)),
    )
    access.require_statistics(reader)
    with pytest.raises(PermissionDenied, match="shop/agent"):
        access.require_statistics(agent)


def test_another_namespace_is_let_in_by_a_rule_only():
    stranger = Identity("other", "agent")
    assert not Access(namespace="shop").allows(stranger, "agent", Permission.READ)
    access = Access(namespace="shop", rules=(rule("other", ANY, "support", Permission.READ),))
    assert access.allows(stranger, "support", Permission.READ)
    assert not access.allows(stranger, "support", Permission.WRITE)
    assert not access.allows(Identity("shop", "agent"), "agent", Permission.READ)


@pytest.mark.parametrize("pattern", ["", "/*", "a*", "*/a", "a/*/b", "a/", "**"])
def test_a_pattern_with_a_wildcard_elsewhere_is_refused(pattern):
    with pytest.raises(ValidationError):
        rule("shop", "agent", pattern, Permission.READ)


def test_rules_are_read_from_the_configuration():
    text = """{"serviceAccounts": [{"namespace": "shop", "name": "*"}],
               "spaces": ["support", "support/*"], "permissions": ["Read", "Write"]}"""
    access = Access(namespace="x", rules=(AccessRule.model_validate_json(text),))
    assert access.allows(Identity("shop", "any"), "support/tier-1", Permission.WRITE)
