"""A person's life by provisioning, on both databases: in, rights by a group, out."""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from tests.identity.conftest import written
from tests.identity.provisioning import ISSUER, Provider, eventually
from tests.store.harness import Server

from inhouse.config.schema import Config
from inhouse.errors import NegativeAnswer, NotPermitted
from inhouse.identity import snapshot
from inhouse.identity.actor import Actor
from inhouse.identity.keys import Keys
from inhouse.identity.ledger import Ledger
from inhouse.identity.pepper import pepper_path
from inhouse.identity.users import Users
from inhouse.identity.watch import KeyWatcher

LOCAL = Actor.local()
ANNA = "oid-anna"


def test_from_the_first_day_to_the_last(provider: Provider) -> None:
    anna = provider.user("anna", displayName="Anna A")
    group = provider.group("LLM users")
    provider.grants.give(LOCAL, "LLM users", "user", kind="group")
    key = provider.keys.create("anna's", user=anna).token.secret.reveal().encode()
    eventually(lambda: provider.comes(key))
    assert not provider.may_use(provider.comes(key))
    assert not provider.may_use(provider.logs_in(ANNA))

    add = {"op": "add", "path": "members", "value": [{"value": anna}]}
    assert provider.patch(f"/Groups/{group}", add).status == 204
    eventually(lambda: provider.may_use(provider.comes(key)))
    assert provider.may_use(provider.logs_in(ANNA))

    gone = {"op": "remove", "path": f'members[value eq "{anna}"]'}
    assert provider.patch(f"/Groups/{group}", gone).status == 204
    eventually(lambda: not provider.may_use(provider.comes(key)))
    assert not provider.may_use(provider.logs_in(ANNA, "LLM users")), "the token is older"

    provider.patch(f"/Groups/{group}", add)
    eventually(lambda: provider.may_use(provider.comes(key)))
    provider.patch(f"/Users/{anna}", {"op": "replace", "value": {"active": False}})
    eventually(lambda: provider.comes(key) is None)
    assert provider.logs_in(ANNA, "LLM users") is None

    provider.patch(f"/Users/{anna}", {"op": "replace", "value": {"active": True}})
    eventually(lambda: provider.may_use(provider.comes(key)))
    assert provider.send("DELETE", f"/Users/{anna}").status == 204
    eventually(lambda: provider.comes(key) is None)
    assert provider.logs_in(ANNA) is None
    assert provider.send("GET", f"/Users/{anna}").status == 404
    assert provider.members(group) == set()

    done = [(change.noun, change.action) for change in provider.changes()]
    assert done == [
        ("user", "created"), ("group", "created"), ("group", "added"), ("group", "taken away"),
        ("group", "added"), ("user", "deactivated"), ("user", "reactivated"),
        ("user", "deactivated"), ("group", "taken away"),
    ]  # fmt: skip
    end = provider.changes()[-2]
    assert (end.before["active"], end.after["active"]) == ("yes", "no")
    assert end.after["provider"] == "removed"


def test_a_mere_login_brings_nobody_back(provider: Provider) -> None:
    anna = provider.user("anna")
    provider.send("DELETE", f"/Users/{anna}")
    provider.watcher.follow()
    assert provider.logs_in(ANNA) is None
    provider.watcher._note_use()
    assert not provider.users.show(LOCAL, anna).user.active
    with pytest.raises(NegativeAnswer, match="the identity provider says that anna has left"):
        provider.users.reactivate(LOCAL, anna)


def test_who_is_hired_again_is_the_same_person(provider: Provider) -> None:
    anna = provider.user("anna")
    provider.send("DELETE", f"/Users/{anna}")
    assert provider.user("anna.new", externalId=ANNA) == anna
    assert provider.changes()[-1].action == "reactivated"
    assert provider.users.show(LOCAL, anna).user.active


def test_a_no_of_an_administrator_stays(provider: Provider) -> None:
    anna = provider.user("anna")
    provider.users.deactivate(LOCAL, anna)
    for active in (True, False, True):
        answer = provider.patch(f"/Users/{anna}", {"op": "replace", "value": {"active": active}})
        assert answer.body["active"] is active
        assert not provider.users.show(LOCAL, anna).user.active
    provider.users.reactivate(LOCAL, anna)
    assert provider.users.show(LOCAL, anna).user.active


def test_a_person_who_came_first_is_taken_over(provider: Provider) -> None:
    known = provider.users.first_seen(Actor.gateway(), ISSUER, ANNA, "anna", time.time())
    provider.grants.give(LOCAL, known.id, "admin")
    assert provider.user("anna", displayName="Anna A") == known.id
    change = provider.changes()[-1]
    assert (change.action, change.before["source"]) == ("changed", "oidc")
    assert provider.users.show(LOCAL, known.id).user.name == "Anna A"


def test_groups_of_tokens_count_where_the_provider_provisions_none(provider: Provider) -> None:
    provider.user("anna")
    provider.group("LLM users")
    for group in ("LLM users", "others"):
        provider.grants.give(LOCAL, group, "user", kind="group")
    provider.watcher.follow()
    for subject in (ANNA, "somebody-else"):
        assert not provider.may_use(provider.logs_in(subject, "LLM users"))
        assert provider.may_use(provider.logs_in(subject, "others"))


def test_a_grant_names_a_group_by_the_id_of_the_provider_too(provider: Provider) -> None:
    anna = provider.user("anna")
    sent = {"displayName": "LLM users", "externalId": "gid-1", "members": [{"value": anna}]}
    group = provider.send("POST", "/Groups", sent).body["id"]
    provider.grants.give(LOCAL, "gid-1", "user", kind="group")
    provider.watcher.follow()
    assert provider.may_use(provider.logs_in(ANNA))
    provider.patch(f"/Groups/{group}", {"op": "replace", "value": {"displayName": "renamed"}})
    provider.watcher.follow()
    assert provider.may_use(provider.logs_in(ANNA))
    provider.send("DELETE", f"/Groups/{group}")
    provider.watcher.follow()
    assert not provider.may_use(provider.logs_in(ANNA))


def test_what_is_shown_of_a_person_has_the_groups(provider: Provider) -> None:
    anna = provider.user("anna")
    provider.group("LLM users", anna)
    given = provider.grants.give(LOCAL, "LLM users", "user", kind="group")
    shown = provider.users.show(LOCAL, anna)
    assert "models:use" in shown.permissions
    assert [grant.id for grant in shown.grants] == [given.id]
    assert [grant.id for grant in provider.grants.list(LOCAL, user=anna)] == [given.id]


def test_nobody_gives_a_grant_to_a_group_that_they_are_in(provider: Provider) -> None:
    anna = provider.user("anna")
    provider.group("admins", anna)
    provider.grants.give(LOCAL, anna, "admin")
    provider.watcher.follow()
    principal = provider.logs_in(ANNA)
    assert principal is not None
    actor = Actor.of(principal, provider.watcher.directory.rights(principal, time.time()))
    with pytest.raises(NotPermitted, match="nobody gives themselves a grant"):
        provider.grants.give(actor, "admins", "operator", kind="group")
    provider.grants.give(actor, "others", "operator", kind="group")


def test_a_person_who_is_removed_here_is_forgotten_there(provider: Provider) -> None:
    anna = provider.user("anna")
    group = provider.group("LLM users", anna)
    provider.users.remove(LOCAL, anna)
    assert provider.send("GET", f"/Users/{anna}").status == 404
    assert provider.members(group) == set()
    assert provider.user("anna") != anna


def test_groups_are_in_the_snapshot(tmp_path: Path, postgresql: Server) -> None:
    config = written(tmp_path, postgresql.toml(postgresql.database()))
    watcher = KeyWatcher(config)
    watcher.start()
    try:
        provider = Provider(config, watcher)
        anna = provider.user("anna")
        provider.group("LLM users", anna)
        watcher.follow()
    finally:
        watcher.stop()
    name, pepper = provider.ledger.database.name, pepper_path(config).read_bytes()
    kept = snapshot.read(config.data / "keys.snapshot", pepper, name)
    assert kept is not None
    assert [(each.name, each.external_id) for each in kept.state.groups] == [("LLM users", None)]
    assert [each.user_id for each in kept.state.group_members] == [anna]


def test_without_the_log_nothing_is_changed(provider: Provider, config: Config) -> None:
    anna = provider.user("anna")
    group = provider.group("LLM users")
    actor = provider.actor
    config.audit_directory.rename(config.audit_directory.with_name("away"))
    config.audit_directory.write_text("a file where the log should be")
    member = {"Operations": [{"op": "add", "path": "members", "value": {"value": anna}}]}
    inactive = {"Operations": [{"op": "replace", "value": {"active": False}}]}
    for method, path, body in (
        ("POST", "/Users", {"userName": "b", "externalId": "b"}),
        ("PATCH", f"/Users/{anna}", inactive),
        ("DELETE", f"/Users/{anna}", None),
        ("POST", "/Groups", {"displayName": "g"}),
        ("PATCH", f"/Groups/{group}", member),
        ("DELETE", f"/Groups/{group}", None),
    ):
        assert provider.send(method, path, body, actor=actor).status == 503, (method, path)
    assert provider.send("GET", "/Users", actor=actor).body["totalResults"] == 1
    assert provider.send("GET", f"/Users/{anna}", actor=actor).body["active"] is True
    assert provider.send("GET", f"/Groups/{group}", actor=actor).body["members"] == []


def test_who_has_no_right_changes_nothing(config: Config, watcher: KeyWatcher) -> None:
    provider = Provider(config, watcher)
    other = Keys(config).create("batch").token.secret.reveal().encode()
    provider.watcher.follow()
    principal = provider.comes(other)
    assert principal is not None
    actor = Actor.of(principal, watcher.directory.rights(principal, time.time()))
    for method, path in (("GET", "/Users"), ("POST", "/Users"), ("GET", "/Schemas"), ("GET", "/x")):
        assert provider.send(method, path, {}, actor=actor).status == 403
    locked = replace(provider.actor, rights=actor.rights)
    assert provider.send("GET", "/Groups", actor=locked).status == 403


def test_an_import_takes_what_was_provisioned_along(config: Config, tmp_path: Path) -> None:
    old_place = tmp_path / "old"
    old_place.mkdir()
    old = written(old_place, "")
    watcher = KeyWatcher(old)
    watcher.start()
    try:
        provider = Provider(old, watcher)
        provider.group("LLM users", provider.user("anna"))
        gone = provider.user("boris")
        provider.send("DELETE", f"/Users/{gone}")
    finally:
        watcher.stop()
    config.secrets_directory.mkdir(parents=True, exist_ok=True)
    pepper = config.secrets_directory / pepper_path(old).name
    pepper.write_bytes(pepper_path(old).read_bytes())
    pepper.chmod(0o600)
    Keys(config).import_from(old.data / "inhouse.db")
    assert Ledger(config).state() == provider.ledger.state()
    with pytest.raises(NegativeAnswer, match="the identity provider says"):
        Users(Ledger(config)).reactivate(LOCAL, gone)


def test_many_at_once_make_one_person(provider: Provider) -> None:
    actor = provider.actor
    sent = {"userName": "anna", "externalId": ANNA}
    with ThreadPoolExecutor(4) as threads:
        answers = list(
            threads.map(lambda _: provider.send("POST", "/Users", sent, actor=actor), range(4))
        )
    assert sorted(answer.status for answer in answers) == [201, 409, 409, 409]
    anna = next(each.body["id"] for each in answers if each.status == 201)
    group = provider.group("g")
    add = {"Operations": [{"op": "add", "path": "members", "value": {"value": anna}}]}
    with ThreadPoolExecutor(4) as threads:
        path = f"/Groups/{group}"
        done = threads.map(lambda _: provider.send("PATCH", path, add, actor=actor), range(4))
        assert [answer.status for answer in done] == [204] * 4
    off = {"Operations": [{"op": "replace", "value": {"active": False}}]}
    with ThreadPoolExecutor(4) as threads:
        path = f"/Users/{anna}"
        done = threads.map(lambda _: provider.send("PATCH", path, off, actor=actor), range(4))
        assert {answer.headers["ETag"] for answer in done} == {'W/"2"'}
    assert provider.send("GET", f"/Groups/{group}").headers["ETag"] == 'W/"2"'
    actions = [change.action for change in provider.changes()]
    assert actions == ["created", "created", "added", "deactivated"]
