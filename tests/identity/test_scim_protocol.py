"""Filters, paths and operations as functions of values."""

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inhouse.identity.scim_filter import Path, Term, parse_filter, parse_path, sought
from inhouse.identity.scim_patch import Operation, operations, patched_group, patched_user
from inhouse.identity.scim_resources import USER_NAMES, canonical, document_of, person_of
from inhouse.identity.scim_schema import USER, ScimError
from inhouse.identity.scim_users import _applied, _word
from inhouse.store.scim_users import Sought
from inhouse.store.users import StoredUser

USERS = {"id": "id", "username": "name", "externalid": "external_id"}
ANNA = StoredUser("usr_a", "person", "https://idp", "a", "anna", None, True, 1.0)

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
names = st.sampled_from(["userName", "USERNAME", "externalId", f"{USER}:userName", "name.x"])
values = st.one_of(texts, st.booleans())
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
paths = st.sampled_from(
    ["active", "userName", "externalId", "displayName", "name", "name.givenName", "emails",
     'emails[type eq "work"]', 'emails[type eq "work"].value', "emails[primary eq true].value",
     "members", 'members[value eq "usr_1"]', "title", "id", "groups", "roles", "members.value"]
)  # fmt: skip
user_values = st.one_of(
    texts,
    st.booleans(),
    st.just("False"),
    st.lists(st.fixed_dictionaries({"value": texts, "type": st.just("work")}), max_size=3),
    st.fixed_dictionaries({"givenName": texts}),
    json_values,
)
ops = st.fixed_dictionaries(
    {"op": st.sampled_from(["add", "Replace", "REMOVE", "remove", "move"])},
    optional={"path": paths, "value": user_values},
)


@given(st.lists(st.tuples(names, values), min_size=1, max_size=8), st.booleans())
def test_a_filter_is_read_back(pairs: list[tuple[str, Any]], loud: bool) -> None:
    eq, joint = ("EQ", "  AND ") if loud else ("eq", " and ")
    text = joint.join(f"{name} {eq} {json.dumps(value)}" for name, value in pairs)
    if len(text) <= 1024:
        got = parse_filter(text)
        assert [term.value for term in got] == [value for _, value in pairs]
        assert [term.name for term in got] == [
            name.removeprefix(f"{USER}:").lower() for name, _ in pairs
        ]


@given(st.text(max_size=200))
def test_no_text_makes_a_filter_or_a_path_fail(text: str) -> None:
    for parse in (parse_filter, parse_path, lambda each: sought(each, USERS)):
        with contextlib.suppress(ScimError):
            parse(text)


@pytest.mark.parametrize(
    "text",
    [
        "", "userName", 'userName sw "a"', 'userName eq "a" or id eq "b"', 'not (userName eq "a")',
        '(userName eq "a")', "userName eq 'a'", "userName eq 5", "userName eq null", "userName pr",
        'userName eq "a" and', 'emails[type eq "work"] eq "a"', 'userName eq "a"id eq "b"',
        'userName eq "a" and ' * 9 + 'id eq "x"', f'userName eq "{"x" * 1100}"',
        'userName eq "\\x"',
        'userName eq "a" -- ', 'password eq "a"', "userName eq true", 'id eq "a"; drop table users',
    ],
)  # fmt: skip
def test_other_filters_are_refused(text: str) -> None:
    with pytest.raises(ScimError) as refused:
        sought(text, USERS)
    assert refused.value.scim_type == "invalidFilter"
    assert refused.value.status == 400


def test_what_filters_look_for() -> None:
    assert sought('userName eq "A" and externalId eq "e"', USERS) == Sought(
        name="A", external_id="e"
    )
    assert sought('userName eq "A" and username eq "a"', USERS) == Sought(name="a")
    assert sought('id eq "A" and id eq "a"', USERS) is None
    assert sought('userName eq "\\u0000"', USERS) is None
    assert sought(f'{USER}:userName eq "a\\"b"', USERS) == Sought(name='a"b')


def test_paths() -> None:
    work = (Term("type", "work"),)
    assert parse_path("name.givenName") == Path("name", "givenname")
    assert parse_path('emails[type eq "work"].value') == Path("emails", "value", work)
    assert parse_path('emails[ type eq "w]" ]') == Path("emails", "", (Term("type", "w]"),))
    assert parse_path(f"{USER}:name.familyName") == Path("name", "familyname")
    for wrong in ("", "a b", "a[", "a[]", "a[x]", 'a[b eq "c"', 'a[b eq "c"]d', "a..b c", "[a]"):
        with pytest.raises(ScimError):
            parse_path(wrong)


def user(*todo: dict[str, Any], **more: object) -> dict[str, Any]:
    before = canonical({"userName": "anna", "externalId": "e", **more}, USER_NAMES, "a user")
    return patched_user(before, "usr_a", operations({"Operations": list(todo)}))


def test_operations_on_a_user() -> None:
    email = {"value": "a@x", "type": "work"}
    home = {"value": "h@x", "type": "home"}
    work = 'emails[type eq "work"]'
    for todo, more, name, expected in (
        ({"op": "Add", "path": f"{work}.value", "value": "a@x"}, {}, "emails", [email]),
        ({"op": "Add", "path": "emails", "value": [email]}, {"emails": [email]}, "emails", [email]),
        ({"op": "replace", "path": "emails", "value": home}, {"emails": [email]}, "emails", [home]),
        ({"op": "remove", "path": work}, {"emails": [email, home]}, "emails", [home]),
        ({"op": "remove", "path": "emails"}, {"emails": [email, home]}, "emails", []),
        ({"op": "replace", "path": "name", "value": {"givenName": "B"}},
         {"name": {"familyName": "F"}}, "name", {"familyName": "F", "givenName": "B"}),
        ({"op": "remove", "path": "name.familyName"}, {"name": {"familyName": "F"}}, "name", {}),
        ({"op": "remove", "path": "displayName"}, {"displayName": "D"}, "displayName", None),
        ({"op": "REPLACE", "value": {f"{USER}:displayName": "D"}}, {}, "displayName", "D"),
        ({"op": "replace", "value": {"id": "usr_a", "active": "false"}}, {}, "active", "false"),
    ):  # fmt: skip
        assert user(todo, **more).get(name) == expected, todo


@pytest.mark.parametrize(
    ("todo", "scim_type"),
    [
        ({"op": "replace", "path": "id", "value": "usr_b"}, "mutability"),
        ({"op": "remove", "path": "id"}, "mutability"),
        ({"op": "replace", "value": {"id": "usr_b"}}, "mutability"),
        ({"op": "add", "path": "groups", "value": [{"value": "grp_admins"}]}, "mutability"),
        ({"op": "remove", "path": "active"}, "mutability"),
        ({"op": "replace", "path": "meta", "value": {}}, "mutability"),
        ({"op": "move", "path": "active", "value": True}, "invalidSyntax"),
        ({"op": ["add"], "path": "active"}, "invalidSyntax"),
        ({"op": "add", "path": 5, "value": True}, "invalidPath"),
        ({"op": "add", "path": "active[value eq true]", "value": True}, "invalidPath"),
        ({"op": "add", "path": "userName.x", "value": "x"}, "invalidPath"),
        ({"op": "add", "path": 'emails[x eq "y"].value', "value": "x"}, "invalidPath"),
        ({"op": "remove"}, "noTarget"),
        ({"op": "replace", "value": "x"}, "invalidValue"),
        ("active", "invalidSyntax"),
    ],
)
def test_operations_that_are_refused(todo: Any, scim_type: str) -> None:
    with pytest.raises(ScimError) as refused:
        user(todo)
    assert refused.value.scim_type == scim_type


@given(st.lists(ops, max_size=6))
def test_no_operations_break_a_user(todo: list[dict[str, Any]]) -> None:
    """Whatever they are, either an error of SCIM, or somebody who can be kept and told again."""
    try:
        person = person_of(user(*todo))
    except ScimError:
        return
    stored = _word(1.0, person, ANNA, True)
    assert person_of(document_of(stored)).profile == person.profile
    after = _applied(stored, person, 2.0)
    assert _applied(after, person, 3.0) is after
    assert after.user.id == ANNA.id
    assert after.user.subject == ANNA.subject


ids = st.sampled_from(["usr_1", "usr_2", "usr_3", "usr_4"])


@given(
    st.sets(ids),
    st.lists(st.tuples(st.sampled_from(["add", "remove", "replace", "one"]), st.sets(ids))),
)
def test_operations_on_members_are_those_on_a_set(
    before: set[str], todo: list[tuple[str, set[str]]]
) -> None:
    expected, sent = set(before), []
    for op, some in todo:
        value: Any = [{"value": each} for each in sorted(some)] * 2
        if op == "add":
            expected |= some
        elif op == "replace":
            expected = set(some)
        elif op == "remove":
            expected -= some
        elif some:
            one = min(some)
            expected -= {one}
            sent.append({"op": "remove", "path": f'members[value eq "{one}"]'})
        if op != "one":
            sent.append({"op": op, "path": "members", "value": value})
    if not sent:
        return
    edit = patched_group("grp_1", operations({"Operations": sent})).members
    base = set() if edit.replaced else before
    assert (base - edit.removed) | edit.added == expected


@given(st.lists(ops, min_size=1, max_size=6))
def test_no_operations_break_a_group(todo: list[dict[str, Any]]) -> None:
    with contextlib.suppress(ScimError):
        patched_group("grp_1", operations({"Operations": todo}))


def test_many_operations() -> None:
    one = {"op": "add", "path": "displayName", "value": "x"}
    assert len(operations({"Operations": [one] * 2000})) == 2000
    with pytest.raises(ScimError):
        operations({"Operations": [one] * 2001})
    with pytest.raises(ScimError):
        operations({"Operations": [{"op": "add", "value": {f"a{n}": 1 for n in range(2001)}}]})
    assert operations({"operations": [one]}) == [Operation("add", Path("displayname"), "x")]
