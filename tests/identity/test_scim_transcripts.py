"""What Entra ID and Okta send, in their order and shape, as their documentation has it."""

import json
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa
from tests.identity.provisioning import GROUP, PATCH_OP, USER, Provider

from inhouse.config.schema import Config
from inhouse.identity.watch import KeyWatcher

ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
OID = "0a21f0f2-8d2a-4f8e-bf98-7363c4aed4ef"


def search(kind: str, text: str, more: str = "") -> str:
    return f"/{kind}?{more}filter={quote(text)}"


def test_entra_id(provider: Provider) -> None:
    # "Test connection": somebody who is surely not there
    nobody = provider.send("GET", search("Users", 'userName eq "d7f9c3a1-not-there"'))
    assert (nobody.status, nobody.body["totalResults"], nobody.body["Resources"]) == (200, 0, [])

    sent = {
        "schemas": [USER, ENTERPRISE],
        "externalId": OID,
        "userName": "Test_User@example.com",
        "active": True,
        "displayName": "Test User",
        "emails": [{"primary": True, "type": "work", "value": "test.user@example.com"}],
        "meta": {"resourceType": "User"},
        "name": {"formatted": "Test User", "familyName": "User", "givenName": "Test"},
        "roles": [],
        f"{ENTERPRISE}": {"department": "Research", "manager": {"value": "x"}},
    }
    made = provider.send("POST", "/Users", sent)
    assert made.status == 201
    user = made.body["id"]
    assert made.headers["Location"] == f"/scim/v2/Users/{user}"
    assert (made.body["userName"], made.body["externalId"]) == (sent["userName"], OID)
    assert made.body["meta"]["resourceType"] == "User"
    assert provider.send("POST", "/Users", sent).body["scimType"] == "uniqueness"

    found = provider.send("GET", search("Users", 'userName eq "test_user@EXAMPLE.com"'))
    assert [each["id"] for each in found.body["Resources"]] == [user]
    found = provider.send("GET", search("Users", f'externalId eq "{OID}"'))
    assert found.body["totalResults"] == 1

    changed = provider.patch(
        f"/Users/{user}",
        {"op": "Replace", "path": 'emails[type eq "work"].value', "value": "new@example.com"},
        {"op": "Replace", "path": "name.familyName", "value": "Newname"},
        {"op": "Add", "path": f"{ENTERPRISE}:department", "value": "Sales"},
        {"op": "Replace", "path": "displayName", "value": "Test Newname"},
    )
    assert changed.status == 200
    assert changed.body["name"]["familyName"] == "Newname"
    assert [each["value"] for each in changed.body["emails"]] == ["new@example.com"]
    flat = {"displayName": "Flat", "name.givenName": "Given", f"{ENTERPRISE}:division": "x"}
    changed = provider.patch(f"/Users/{user}", {"op": "replace", "value": flat})
    assert (changed.body["displayName"], changed.body["name"]["givenName"]) == ("Flat", "Given")

    group = provider.send(
        "POST", "/Groups",
        {"schemas": [GROUP], "externalId": "8aa1a0c0", "displayName": "LLM Users", "members": [],
         "meta": {"resourceType": "Group"}},
    ).body["id"]  # fmt: skip
    without = provider.send("GET", f"/Groups/{group}?excludedAttributes=members")
    assert without.status == 200
    assert "members" not in without.body
    cut = "excludedAttributes=members&"
    found = provider.send("GET", search("Groups", 'displayName eq "LLM Users"', cut))
    assert [each["id"] for each in found.body["Resources"]] == [group]

    add = {"op": "Add", "path": "members", "value": [{"$ref": None, "value": user}]}
    assert provider.patch(f"/Groups/{group}", add).status == 204
    inside = search("Groups", f'id eq "{group}" and members eq "{user}"', cut)
    assert provider.send("GET", inside).body["totalResults"] == 1
    rename = {"op": "Replace", "path": "displayName", "value": "LLM People"}
    assert provider.patch(f"/Groups/{group}", rename).status == 204
    remove = {"op": "Remove", "path": "members", "value": [{"$ref": None, "value": user}]}
    assert provider.patch(f"/Groups/{group}", remove).status == 204
    assert provider.send("GET", inside).body["totalResults"] == 0

    # assignment taken away: disabled, as text; thirty days after: deleted
    off = provider.patch(f"/Users/{user}", {"op": "Replace", "path": "active", "value": "False"})
    assert off.body["active"] is False
    assert provider.send("DELETE", f"/Users/{user}").status == 204
    assert provider.send("DELETE", f"/Users/{user}").status == 404
    assert provider.send("DELETE", f"/Groups/{group}").status == 204


def test_okta(config: Config, watcher: KeyWatcher) -> None:
    provider = Provider(config, watcher, subject="userName")
    first = provider.send("GET", "/Users?startIndex=1&count=2")
    assert (first.body["totalResults"], first.body["itemsPerPage"]) == (0, 0)
    assert provider.send("GET", "/Groups?startIndex=1&count=100").body["totalResults"] == 0

    name = "isaac.brock@example.com"
    asked = search("Users", f'userName eq "{name}"', "startIndex=1&count=100&")
    assert provider.send("GET", asked).body["Resources"] == []
    sent = {
        "schemas": [USER],
        "userName": name,
        "name": {"givenName": "Isaac", "familyName": "Brock"},
        "emails": [{"primary": True, "value": name, "type": "work"}],
        "displayName": "Isaac Brock",
        "locale": "en-US",
        "externalId": "00ujl29u0le5T6Aj10h7",
        "groups": [],
        "password": "1mz050nq",
        "active": True,
    }
    made = provider.send("POST", "/Users", sent)
    assert made.status == 201
    assert "password" not in made.body
    user = made.body["id"]

    # a changed profile: read, then put back whole
    read = provider.send("GET", f"/Users/{user}").body
    put = provider.send("PUT", f"/Users/{user}", {**read, "displayName": "Isaac B."})
    assert (put.status, put.body["displayName"]) == (200, "Isaac B.")
    assert put.body["meta"]["version"] != read["meta"]["version"]

    group = provider.send("POST", "/Groups", {"schemas": [GROUP], "displayName": "Band"}).body["id"]
    member = {"value": user, "display": name}
    assert provider.patch(
        f"/Groups/{group}", {"op": "add", "path": "members", "value": [member]}
    ).status == 204  # fmt: skip
    named = {"op": "replace", "value": {"id": group, "displayName": "The Band"}}
    assert provider.patch(f"/Groups/{group}", named).status == 204
    assert provider.members(group) == {user}
    assert provider.patch(
        f"/Groups/{group}", {"op": "remove", "path": f'members[value eq "{user}"]'}
    ).status == 204  # fmt: skip
    assert provider.members(group) == set()
    provider.patch(f"/Groups/{group}", {"op": "replace", "path": "members", "value": [member]})
    assert provider.members(group) == {user}

    ended = provider.patch(f"/Users/{user}", {"op": "replace", "value": {"active": False}})
    assert (ended.status, ended.body["active"]) == (200, False)
    secret = json.dumps([change.after for change in provider.changes()])
    assert "1mz050nq" not in secret


def test_keycloak(provider: Provider) -> None:
    """As the extension keycloak-scim sends: whole resources, by PUT."""
    kc = "f3c9a1de-0001-4c1b-9d55-6a2a0b1d3f10"
    sent = {
        "schemas": [USER],
        "externalId": kc,
        "userName": "anna",
        "displayName": "Anna A",
        "emails": [{"value": "anna@example.com", "primary": True}],
        "active": True,
        "roles": [{"value": "admin"}],
    }
    user = provider.send("POST", "/Users", sent).body["id"]
    whole = {**sent, "id": user, "active": False, "meta": {"location": f"Users/{user}"}}
    assert provider.send("PUT", f"/Users/{user}", whole).body["active"] is False
    back = provider.send("PUT", f"/Users/{user}", {**whole, "active": True})
    assert back.body["active"] is True

    member = {"value": user, "$ref": f"Users/{user}"}
    named = {"schemas": [GROUP], "externalId": "kc-group", "displayName": "llm-users"}
    group = provider.send("POST", "/Groups", named).body["id"]
    inside = {**named, "id": group, "members": [member]}
    assert provider.send("PUT", f"/Groups/{group}", inside).status == 200
    assert provider.members(group) == {user}
    assert provider.send("PUT", f"/Groups/{group}", {**named, "id": group}).status == 200
    assert provider.members(group) == set(), "the last one left"


def test_a_subject_that_is_our_own_id(config: Config, watcher: KeyWatcher) -> None:
    provider = Provider(config, watcher, subject="id")
    made = provider.send("POST", "/Users", {"userName": "anna"}).body["id"]
    provider.watcher.follow()
    principal = provider.logs_in(made)
    assert principal is not None
    assert principal.user == made


def test_what_is_sent_again_changes_and_records_nothing(provider: Provider) -> None:
    anna = provider.user("anna", displayName="Anna", emails=[{"value": "a@x", "type": "work"}])
    group = provider.group("g", anna)
    before = provider.changes()
    revision = provider.send("GET", f"/Users/{anna}").body["meta"]
    for _ in range(2):
        provider.patch(f"/Users/{anna}", {"op": "Replace", "path": "active", "value": "True"})
        again = {"op": "add", "path": 'emails[type eq "work"].value', "value": "a@x"}
        provider.patch(f"/Users/{anna}", again)
        provider.send("PUT", f"/Users/{anna}", provider.send("GET", f"/Users/{anna}").body)
        provider.patch(
            f"/Groups/{group}", {"op": "add", "path": "members", "value": {"value": anna}}
        )
        provider.patch(f"/Groups/{group}", {"op": "remove", "path": 'members[value eq "usr_no"]'})
        provider.send("PUT", f"/Groups/{group}", provider.send("GET", f"/Groups/{group}").body)
    assert provider.changes() == before
    assert provider.send("GET", f"/Users/{anna}").body["meta"] == revision


def test_discovery(local_provider: Provider) -> None:
    config = local_provider.send("GET", "/ServiceProviderConfig").body
    assert config["bulk"]["supported"] is False
    assert config["patch"]["supported"] is True
    types = local_provider.send("GET", "/ResourceTypes").body["Resources"]
    assert {each["endpoint"] for each in types} == {"/Users", "/Groups"}
    for each in types:
        assert local_provider.send("GET", f"/ResourceTypes/{each['id']}").body == each
        schema = local_provider.send("GET", f"/Schemas/{each['schema']}").body
        assert schema["id"] == each["schema"]
    bulk = {"schemas": [PATCH_OP], "Operations": []}
    for method, path in (("POST", "/Bulk"), ("GET", "/Me"), ("POST", "/Users/.search")):
        assert local_provider.send(method, path, bulk).status == 501
    assert local_provider.send("GET", "/Schemas/none").status == 404
    assert local_provider.send("GET", "/Schemas?filter=x").status == 403
    assert local_provider.send("DELETE", "/Schemas").headers == {"Allow": "GET"}
    assert local_provider.send("DELETE", "/Users").headers == {"Allow": "GET, POST"}


def test_pages(local_provider: Provider) -> None:
    users = [local_provider.user(f"user{n}") for n in range(7)]
    seen = []
    for start in (1, 4, 7, 10):
        page = local_provider.send("GET", f"/Users?startIndex={start}&count=3").body
        assert page["totalResults"] == 7
        assert page["itemsPerPage"] == len(page["Resources"])
        seen += [each["id"] for each in page["Resources"]]
    assert sorted(seen) == sorted(users)
    assert local_provider.send("GET", "/Users?count=0").body["Resources"] == []
    assert local_provider.send("GET", "/Users?startIndex=-5&count=-1").body["startIndex"] == 1
    assert local_provider.send("GET", "/Users?count=ten").body["scimType"] == "invalidValue"
    few = local_provider.send("GET", "/Users?count=1&attributes=userName").body["Resources"][0]
    assert set(few) == {"schemas", "id", "userName"}


def test_a_change_meanwhile_is_told(local_provider: Provider) -> None:
    anna = local_provider.user("anna")
    seen = local_provider.send("GET", f"/Users/{anna}").headers["ETag"]
    body = {"userName": "anna", "externalId": "oid-anna", "displayName": "A"}
    assert local_provider.send("PUT", f"/Users/{anna}", body, if_match=seen).status == 200
    for method in ("PUT", "DELETE"):
        late = local_provider.send(method, f"/Users/{anna}", body, if_match=seen)
        assert late.status == 412
    assert local_provider.send("DELETE", f"/Users/{anna}", if_match="*").status == 204


def test_a_page_costs_as_many_statements_whatever_is_on_it(local_provider: Provider) -> None:
    users = [local_provider.user(f"user{n}") for n in range(30)]
    for n in range(10):
        local_provider.group(f"group{n}", *users[n:])
    actor = local_provider.actor
    statements: list[str] = []

    def note(*executed: Any) -> None:
        statements.append(executed[2])

    engine = local_provider.ledger.database._engine
    sa.event.listen(engine, "before_cursor_execute", note)
    costs = []
    for path in ("/Users?count=2", "/Users?count=30", "/Groups?count=2", "/Groups?count=10"):
        statements.clear()
        assert local_provider.send("GET", path, actor=actor).body["itemsPerPage"] >= 2
        costs.append(len(statements))
    assert costs[0] == costs[1] < 8
    assert costs[2] == costs[3] < 8
