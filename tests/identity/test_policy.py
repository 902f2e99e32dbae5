"""The decision, whatever the grants are."""

from dataclasses import replace
from operator import attrgetter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inhouse.domain import Ceiling
from inhouse.errors import ConfigurationError
from inhouse.identity.permissions import PERMISSIONS, ROLES
from inhouse.identity.policy import (
    MOST_REMEMBERED,
    NOTHING,
    Denied,
    Pair,
    Rights,
    compiled,
    decide,
    pairs_of,
)
from inhouse.store.grants import USER, StoredGrant

BUILT_IN = {role.name: role.permissions for role in ROLES.values()}
MODELS, DIALECTS, PURPOSES = ("m", "n"), ("openai", "ollama"), ("support", "coding")
NOW = 100.0


def some(names: tuple[str, ...]) -> st.SearchStrategy[tuple[str, ...] | None]:
    return st.none() | st.lists(st.sampled_from(names), unique=True).map(tuple)


def bound(names: tuple[str, ...]) -> st.SearchStrategy[frozenset[str] | None]:
    return st.none() | st.frozensets(st.sampled_from(names))


grants = st.builds(
    StoredGrant,
    id=st.integers(0, 999).map("grt_{}".format),
    holder_kind=st.just(USER),
    holder=st.just("usr_a"),
    role=st.sampled_from([*BUILT_IN, "no-such-role"]),
    created=st.floats(0, NOW),
    given_by=st.just("local:anna"),
    models=some(MODELS),
    dialects=some(DIALECTS),
    purposes=some(PURPOSES),
    expires=st.none() | st.integers(0, 200).map(float),
    revoked=st.none() | st.floats(0, NOW),
)
lists_of_grants = st.lists(grants, max_size=5, unique_by=attrgetter("id"))
ceilings = st.builds(
    Ceiling,
    models=bound(MODELS),
    dialects=bound(DIALECTS),
    purposes=bound(PURPOSES),
    permissions=bound(tuple(PERMISSIONS)),
)
questions = st.tuples(
    st.sampled_from(list(PERMISSIONS)),
    st.none() | st.sampled_from((*MODELS, "other")),
    st.none() | st.sampled_from((*DIALECTS, "anthropic")),
    st.none() | st.sampled_from((*PURPOSES, "")),
)
pairs = st.lists(
    st.tuples(st.sampled_from(list(PERMISSIONS)), st.sampled_from(list(PERMISSIONS))).filter(
        lambda pair: pair[0] != pair[1]
    ),
    max_size=4,
)
Question = tuple[str, str | None, str | None, str | None]


def yes(rights: Rights, question: Question, ceiling: Ceiling | None = None) -> bool:
    return not isinstance(decide(rights, *question, ceiling), Denied)


@given(questions, ceilings)
def test_nothing_is_allowed_by_nothing(question: Question, ceiling: Ceiling) -> None:
    assert not yes(NOTHING, question)
    assert not yes(compiled([], BUILT_IN, [], NOW), question, ceiling)


@given(lists_of_grants, questions)
def test_whatever_is_allowed_a_standing_grant_allows_alone(
    held: list[StoredGrant], question: Question
) -> None:
    """Said by another way than the policy's own."""
    permission, model, dialect, purpose = question
    allowing = {
        grant.id
        for grant in held
        if grant.revoked is None
        and (grant.expires is None or grant.expires > NOW)
        and permission in BUILT_IN.get(grant.role, ())
        and all(
            names is None or (asked in names if asked is not None else len(names) > 0)
            for asked, names in (
                (model, grant.models),
                (dialect, grant.dialects),
                (purpose, grant.purposes),
            )
        )
    }
    answer = decide(compiled(held, BUILT_IN, [], NOW), *question)
    assert (answer in allowing) if allowing else isinstance(answer, Denied)


@given(lists_of_grants, questions, pairs, st.data())
def test_taking_a_grant_away_never_adds_a_right(
    held: list[StoredGrant], question: Question, separate: list[Pair], data: st.DataObject
) -> None:
    """But for what a broken pair of separated permissions had taken."""
    before = compiled(held, BUILT_IN, separate, NOW)
    kept = data.draw(st.lists(st.sampled_from(held), unique_by=id)) if held else []
    after = compiled(kept, BUILT_IN, separate, NOW)
    if yes(after, question) and not yes(before, question):
        assert any(question[0] in pair for pair in before.broken)
    if not separate:
        assert not yes(after, question) or yes(before, question)


@given(lists_of_grants, questions, ceilings)
def test_a_ceiling_never_adds_a_right(
    held: list[StoredGrant], question: Question, ceiling: Ceiling
) -> None:
    rights = compiled(held, BUILT_IN, [], NOW)
    assert yes(rights, question) or not yes(rights, question, ceiling)
    for part in ("models", "dialects", "purposes", "permissions"):
        tighter = replace(ceiling, **{part: frozenset()})
        assert not yes(rights, question, tighter) or yes(rights, question, ceiling)


@given(lists_of_grants, pairs)
def test_nobody_has_both_of_a_separated_pair(held: list[StoredGrant], separate: list[Pair]) -> None:
    rights = compiled(held, BUILT_IN, separate, NOW)
    alone = compiled(held, BUILT_IN, [], NOW)
    for first, second in separate:
        assert not {first, second} <= rights.permissions
        if {first, second} <= alone.permissions:
            assert {first, second}.isdisjoint(rights.permissions)
            assert (first, second) in rights.broken
            assert decide(rights, first) is Denied.SEPARATED
    taken = {permission for pair in rights.broken for permission in pair}
    assert rights.permissions == alone.permissions - taken


@given(lists_of_grants, questions)
def test_an_answer_is_the_same_the_second_time(held: list[StoredGrant], question: Question) -> None:
    rights = compiled(held, BUILT_IN, [], NOW)
    assert decide(rights, *question) == decide(rights, *question)


@given(lists_of_grants)
def test_rights_say_until_when_they_hold(held: list[StoredGrant]) -> None:
    rights = compiled(held, BUILT_IN, [], NOW)
    assert rights.until > NOW
    if rights.until < 200:
        just_before = (rights.until + NOW) / 2
        assert compiled(held, BUILT_IN, [], just_before).permissions == rights.permissions
        assert set(compiled(held, BUILT_IN, [], rights.until).grants) < set(rights.grants)


def test_what_is_remembered_is_bounded() -> None:
    rights = compiled([grant("user")], BUILT_IN, [], NOW)
    for number in range(MOST_REMEMBERED * 3):
        assert decide(rights, "models:use", "m", "openai", f"p{number}") == "grt_1"
        assert len(rights.remembered) <= MOST_REMEMBERED


def grant(role: str) -> StoredGrant:
    return StoredGrant("grt_1", USER, "usr_a", role, 1.0, "local:anna")


@pytest.mark.parametrize(
    "text", ["", "audit:read", "audit:read+", "audit:read+audit:read", "audit:read+rule:write"]
)
def test_a_pair_of_what_there_is_not_is_told(text: str) -> None:
    with pytest.raises(ConfigurationError, match="must be two permissions"):
        pairs_of([text])
