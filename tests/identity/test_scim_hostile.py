"""What a client that was stolen, or is mistaken, does not come by."""

import json
import time
from typing import Any

import pytest
from tests.identity.provisioning import ISSUER, Provider

from inhouse.config.schema import Config
from inhouse.identity.actor import Actor
from inhouse.identity.teams import Teams
from inhouse.identity.watch import KeyWatcher

LOCAL = Actor.local()


@pytest.fixture
def by_name(config: Config, watcher: KeyWatcher) -> Provider:
    """The 'sub' of a token is the userName, which can change."""
    return Provider(config, watcher, subject="userName")


@pytest.mark.parametrize(
    ("body", "status", "scim_type"),
    [
        (b"", 400, "invalidSyntax"),
        (b"{", 400, "invalidSyntax"),
        (b"\xff\xfe", 400, "invalidSyntax"),
        (b"[" * 100_000, 400, "invalidSyntax"),
        (b'{"name":' * 5_000 + b"1" + b"}" * 5_000, 400, "invalidSyntax"),
        (b'{"userName": "\\ud800"}', 400, "invalidSyntax"),
        (b" " * 4_194_305, 413, None),
        (b"[]", 400, "invalidSyntax"),
        ({}, 400, "invalidValue"),
        ({"userName": ""}, 400, "invalidValue"),
        ({"userName": None}, 400, "invalidValue"),
        ({"userName": 5}, 400, "invalidValue"),
        ({"userName": "a", "USERNAME": "b"}, 400, "invalidSyntax"),
        ({"userName": "x" * 201}, 400, "invalidValue"),
        ({"userName": "a\nb"}, 400, "invalidValue"),
        ({"userName": "a\u0000"}, 400, "invalidValue"),
        ({"userName": "a\u202eb"}, 400, "invalidValue"),
        ({"userName": "\u0390" * 200, "externalId": "e"}, 400, "invalidValue"),
        ({"userName": "a"}, 400, "invalidValue"),
        ({"userName": "a", "externalId": "e", "active": "no"}, 400, "invalidValue"),
        ({"userName": "a", "externalId": "e", "active": 1}, 400, "invalidValue"),
        ({"userName": "a", "externalId": "e", "name": "x"}, 400, "invalidSyntax"),
        ({"userName": "a", "externalId": "e", "emails": "x"}, 400, "invalidSyntax"),
        ({"userName": "a", "externalId": "e", "emails": [{}] * 21}, 400, "invalidValue"),
        ({"userName": "a", "externalId": ["e"]}, 400, "invalidValue"),
    ],
)
def test_users_that_are_none(
    local_provider: Provider, body: Any, status: int, scim_type: str | None
) -> None:
    answer = local_provider.send("POST", "/Users", body)
    assert (answer.status, answer.body.get("scimType")) == (status, scim_type), answer
    assert local_provider.changes() == []


def test_groups_that_are_none(local_provider: Provider) -> None:
    anna = local_provider.user("anna")
    group = local_provider.group("g")
    for body, status in (
        ({}, 400),
        ({"displayName": "G"}, 409),
        ({"displayName": "h", "members": [{"value": group, "type": "Group"}]}, 400),
        ({"displayName": "h", "members": [{"value": group}]}, 400),
        ({"displayName": "h", "members": [anna]}, 400),
        ({"displayName": "h", "members": [{"value": {"x": anna}}]}, 400),
        ({"displayName": "h", "members": [{"value": "usr_none"}]}, 400),
        ({"displayName": "h", "members": [{"value": anna}] * 10_001}, 413),
        ({"displayName": "h", "externalId": "g"}, 409),
    ):
        assert local_provider.send("POST", "/Groups", body).status == status, body
    twice = {"displayName": "h", "members": [{"value": anna}] * 9}
    made = local_provider.send("POST", "/Groups", twice)
    assert [each["value"] for each in made.body["members"]] == [anna]
    assert [c.action for c in local_provider.changes()[-2:]] == ["created", "added"]


@pytest.mark.parametrize(
    "path",
    [
        "/Users/../Groups", "/Users/%00", "/Users/a'%20or%20'1'='1", "/Users/" + "a" * 65,
        "/Users/\u00e9", "/nothing", "/", "/Users/x/y", "/Groups/%2e%2e", "/Users/usr_none",
    ],
)  # fmt: skip
def test_paths_that_lead_nowhere(provider: Provider, path: str) -> None:
    for method in ("GET", "DELETE"):
        assert provider.send(method, path).status == 404, (method, path)


@pytest.mark.parametrize(
    "query",
    [
        "filter=" + "a" * 9000, "&".join(["a=1"] * 30), "count=1&count=2", "count=1e9",
        "startIndex=99999999999", "filter=", "filter=userName%20eq%20%22a%22%20or%20id%20eq%201",
    ],
)  # fmt: skip
def test_queries_that_are_none(local_provider: Provider, query: str) -> None:
    assert local_provider.send("GET", f"/Users?{query}").status in (400, 414)


def test_filters_are_values_and_no_statements(provider: Provider) -> None:
    provider.user("anna")
    for value in (
        "' or '1'='1",
        "%",
        "_nna",
        "anna' --",
        '\\" or \\"',
        "\\u0000",
        "\\ud83d\\ude00",
    ):
        for name in ("userName", "externalId", "id"):
            found = provider.send("GET", f'/Users?filter={name} eq "{value}"'.replace("%", "%25"))
            assert (found.status, found.body["totalResults"]) == (200, 0), value


def test_services_and_local_people_are_out_of_reach(provider: Provider) -> None:
    admin = provider.users.create(LOCAL, "root", issuer="https://other.example", subject="oid-root")
    service = provider.users.create(LOCAL, "batch")
    own = provider.actor.user
    assert own is not None
    assert provider.send("GET", "/Users").body["totalResults"] == 0
    group = provider.group("g")
    off = {"op": "replace", "value": {"active": False}}
    for user in (admin.id, service.id, own):
        assert provider.send("GET", f"/Users/{user}").status == 404
        assert provider.patch(f"/Users/{user}", off).status == 404
        assert provider.send("PUT", f"/Users/{user}", {"userName": "x"}).status == 404
        assert provider.send("DELETE", f"/Users/{user}").status == 404
        add = {"op": "add", "path": "members", "value": {"value": user}}
        assert provider.patch(f"/Groups/{group}", add).status in (400, 403)
    assert provider.user("root") != admin.id, "of another issuer"
    assert provider.user("batch") != service.id
    assert all(provider.users.show(LOCAL, user).user.active for user in (admin.id, service.id))


def test_no_rights_can_be_sent(provider: Provider) -> None:
    rights: dict[str, Any] = {
        "roles": [{"value": "admin"}], "entitlements": ["admin"], "kind": "service",
        "source": "local", "issuer": "x", "subject": "oid-root", "groups": [{"value": "admins"}],
        "grants": [{"role": "admin"}], "id": "usr_mine", "meta": {"version": "1"},
    }  # fmt: skip
    anna = provider.user("anna", **rights)
    assert anna != "usr_mine"
    put = {"userName": "anna", "externalId": "oid-anna", **rights, "id": anna}
    assert provider.send("PUT", f"/Users/{anna}", put).status == 200
    patch = {name: rights[name] for name in ("roles", "entitlements", "subject", "issuer", "kind")}
    assert provider.patch(f"/Users/{anna}", {"op": "add", "value": patch}).status == 200
    shown = provider.users.show(LOCAL, anna)
    assert (shown.permissions, shown.grants) == ((), ())
    assert (shown.user.issuer, shown.user.subject) == (ISSUER, "oid-anna")
    assert (shown.user.kind, shown.user.source) == ("person", "scim")


def test_an_id_stays(local_provider: Provider) -> None:
    anna, group = local_provider.user("anna"), local_provider.group("g")
    bob = local_provider.user("bob")
    user = {"userName": "anna", "externalId": "oid-anna", "id": bob}
    for path, body in (
        (f"/Users/{anna}", user),
        (f"/Groups/{group}", {"displayName": "g", "id": "x"}),
    ):
        assert local_provider.send("PUT", path, body).body["scimType"] == "mutability"
        answer = local_provider.patch(path, {"op": "replace", "path": "id", "value": bob})
        assert answer.body["scimType"] == "mutability"


def test_nobody_is_made_somebody_else(provider: Provider) -> None:
    anna, bob = provider.user("anna"), provider.user("bob")
    for value in ("oid-bob", "new", "", None):
        step = {"op": "replace", "path": "externalId", "value": value}
        assert provider.patch(f"/Users/{anna}", step).status in (400, 409)
    taken = provider.patch(f"/Users/{anna}", {"op": "replace", "path": "userName", "value": "BOB"})
    assert taken.body["scimType"] == "uniqueness"
    assert provider.users.show(LOCAL, anna).user.subject == "oid-anna"
    assert provider.users.show(LOCAL, bob).user.subject == "oid-bob"


def rename(provider: Provider, user: str, name: str) -> int:
    step = {"op": "replace", "path": "userName", "value": name}
    return provider.patch(f"/Users/{user}", step).status


def test_a_rename_takes_no_rights_along(by_name: Provider) -> None:
    """Else a client's key would be worth what any person has: it renames one who has it."""
    anna, bob, carl, dora = (by_name.user(name) for name in ("anna", "bob", "carl", "dora"))
    by_name.grants.give(LOCAL, anna, "admin")
    by_name.keys.create("bob's", user=bob)
    teams = Teams(by_name.ledger)
    teams.create(LOCAL, "team")
    teams.add(LOCAL, "team", carl)
    for user in (anna, bob, carl):
        assert rename(by_name, user, "mallory") == 400
    assert rename(by_name, dora, "dora.married") == 200
    assert by_name.users.show(LOCAL, dora).user.subject == "dora.married"
    by_name.users.create(LOCAL, "known", issuer=ISSUER, subject="known")
    assert rename(by_name, dora, "known") == 409
    change = by_name.changes()[-1]
    assert (change.before["subject"], change.after["subject"]) == ("dora", "dora.married")


def test_a_name_that_is_given_again_is_not_the_old_person(by_name: Provider) -> None:
    anna = by_name.user("anna")
    by_name.grants.give(LOCAL, anna, "admin")
    by_name.send("DELETE", f"/Users/{anna}")
    again = {"userName": "anna", "externalId": "oid-of-another-anna"}
    for sent in (again, {"userName": "anna"}):
        answer = by_name.send("POST", "/Users", sent)
        assert (answer.status, answer.body["scimType"]) == (409, "uniqueness")
    assert not by_name.users.show(LOCAL, anna).user.active
    by_name.users.remove(LOCAL, anna)
    made = by_name.send("POST", "/Users", again)
    assert made.status == 201
    assert by_name.users.show(LOCAL, made.body["id"]).permissions == ()


def test_a_name_of_which_nothing_else_is_known_is_not_the_old_person(by_name: Provider) -> None:
    sent = {"userName": "anna"}
    anna = by_name.send("POST", "/Users", sent).body["id"]
    by_name.send("DELETE", f"/Users/{anna}")
    assert by_name.send("POST", "/Users", sent).status == 409


def test_the_same_person_is_back_under_their_name(by_name: Provider) -> None:
    anna = by_name.user("anna")
    by_name.send("DELETE", f"/Users/{anna}")
    assert by_name.user("anna") == anna


def test_the_last_administrator_leaves_as_everybody(provider: Provider) -> None:
    """The command line on the machine of the data needs no grant, and lets the next one in."""
    anna = provider.user("anna")
    provider.grants.give(LOCAL, anna, "admin")
    assert provider.send("DELETE", f"/Users/{anna}").status == 204
    change = provider.changes()[-1]
    assert (change.id, change.action) == (anna, "deactivated")
    bob = provider.user("bob")
    provider.grants.give(LOCAL, bob, "admin")
    assert "grants:write" in provider.users.show(LOCAL, bob).permissions


def test_who_provisions_adds_not_themselves(provider: Provider) -> None:
    anna = provider.user("anna")
    provider.grants.give(LOCAL, anna, "scim")
    group = provider.group("admins")
    provider.watcher.follow()
    principal = provider.logs_in("oid-anna")
    assert principal is not None
    actor = Actor.of(principal, provider.watcher.directory.rights(principal, time.time()))
    add = {"Operations": [{"op": "add", "path": "members", "value": {"value": anna}}]}
    assert provider.send("PATCH", f"/Groups/{group}", add, actor=actor).status == 403
    made = {"displayName": "more", "members": [{"value": anna}]}
    assert provider.send("POST", "/Groups", made, actor=actor).status == 403


def test_a_large_group(provider: Provider) -> None:
    """One PATCH and one PUT with many members are one transaction each."""
    users = [provider.user(f"user{n}") for n in range(40)]
    group = provider.group("g")
    todo = [{"op": "add", "path": "members", "value": [{"value": each}] * 200} for each in users]
    sent = {"Operations": todo}
    assert len(json.dumps(sent)) > 100_000
    assert provider.send("PATCH", f"/Groups/{group}", sent).status == 204
    assert provider.members(group) == set(users)
    half = [{"value": each} for each in users[::2]]
    answer = provider.send("PUT", f"/Groups/{group}", {"displayName": "g", "members": half})
    assert {each["value"] for each in answer.body["members"]} == set(users[::2])
