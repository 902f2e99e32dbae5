"""The directory: whom credentials stand for, and what they may do, as the store changes."""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from inhouse.audit.read import records
from inhouse.audit.record import Changed
from inhouse.config.schema import Config
from inhouse.domain import Principal
from inhouse.identity.actor import Actor
from inhouse.identity.bounds import Bounds
from inhouse.identity.directory import Directory
from inhouse.identity.grants import Grants
from inhouse.identity.keys import Keys
from inhouse.identity.ledger import Ledger
from inhouse.identity.policy import Denied
from inhouse.identity.roles import Roles
from inhouse.identity.teams import Teams
from inhouse.identity.users import Users
from inhouse.identity.watch import KeyWatcher
from inhouse.store.grants import GROUP, TEAM, USER, StoredGrant
from inhouse.store.state import State
from inhouse.store.teams import Membership, StoredTeam
from inhouse.store.users import PERSON, StoredUser

LOCAL = Actor.local()
ISSUER = "https://login.example"
ANNA = StoredUser("usr_a", PERSON, ISSUER, "a-1", "anna", None, True, 1.0, source="oidc")
NO_GROUPS: frozenset[str] = frozenset()


def granted(kind: str, holder: str, role: str = "user", **more: object) -> StoredGrant:
    facts = {"id": f"grt_{kind}_{role}", "created": 1.0, "given_by": "local:anna", **more}
    return StoredGrant(holder_kind=kind, holder=holder, role=role, **facts)  # type: ignore[arg-type]


def directory(*grants: StoredGrant, **more: object) -> Directory:
    found = Directory(bytes(32), (("audit:read", "roles:write"),))
    found.replace(State(users=(ANNA,), grants=grants, **more))  # type: ignore[arg-type]
    return found


def came(found: Directory, *groups: str, subject: str = "a-1") -> Principal:
    person = found.person(ISSUER, subject, frozenset(groups), name="Anna A.", now=5.0)
    assert person is not None
    return person


def test_a_grant_of_ones_own_of_a_team_and_of_a_group() -> None:
    team = StoredTeam("team_t", "t", 1.0)
    found = directory(
        granted(TEAM, "team_t", "operator"),
        granted(GROUP, "auditors", "auditor"),
        granted(USER, ANNA.id),
        teams=(team,),
        memberships=(Membership("team_t", ANNA.id), Membership("team_gone", ANNA.id)),
    )
    anna = came(found, "auditors")
    assert (anna.user, anna.name, set(anna.teams)) == ("usr_a", "anna", {"team_t"})
    assert found.allows(anna, "engines:operate", 5.0) == "grt_team_operator"
    assert found.allows(anna, "audit:read", 5.0) == "grt_group_auditor"
    assert found.allows(anna, "models:use", 5.0, model="m") == "grt_user_user"
    assert found.allows(came(found), "audit:read", 5.0) is Denied.NO_GRANT


def test_a_person_who_was_never_seen_has_what_their_groups_have() -> None:
    found = directory(granted(GROUP, "staff"))
    boris = came(found, "staff", subject="b-2")
    assert (boris.user, boris.name) == ("", "Anna A.")
    assert found.allows(boris, "models:use", 5.0, model="m") == "grt_group_user"
    assert found.allows(came(found, subject="b-2"), "models:use", 5.0) is Denied.NO_GRANT
    assert found.take_seen().keys() == {(ISSUER, "b-2")}
    assert found.take_seen() == {}


def test_another_issuers_person_of_the_same_subject_is_another_person() -> None:
    found = directory(granted(USER, ANNA.id))
    other = found.person("https://other.example", "a-1", NO_GROUPS, name="anna", now=5.0)
    assert other is not None
    assert other.user == ""
    assert found.allows(other, "models:use", 5.0) is Denied.NO_GRANT


def test_who_is_inactive_is_nobody_whatever_their_groups() -> None:
    found = directory(granted(USER, ANNA.id), granted(GROUP, "staff"))
    anna = came(found, "staff")
    found.replace(State(users=(replace(ANNA, active=False),), grants=(granted(USER, ANNA.id),)))
    assert found.person(ISSUER, "a-1", frozenset({"staff"}), name="", now=5.0) is None
    assert found.allows(anna, "models:use", 5.0) is Denied.NO_GRANT
    found.replace(State(grants=(granted(USER, ANNA.id),)))
    assert found.allows(anna, "models:use", 5.0) is Denied.NO_GRANT


def test_a_grant_ends_on_time_and_mends_what_it_broke() -> None:
    found = directory(
        granted(USER, ANNA.id, "auditor"), granted(USER, ANNA.id, "admin", expires=10.0)
    )
    anna = came(found)
    assert found.allows(anna, "audit:read", 9.9) is Denied.SEPARATED
    assert found.allows(anna, "roles:write", 9.9) is Denied.SEPARATED
    assert found.allows(anna, "users:write", 9.9) == "grt_user_admin"
    assert found.allows(anna, "users:write", 10.0) is Denied.NO_GRANT
    assert found.allows(anna, "audit:read", 10.0) == "grt_user_auditor"


def test_a_role_of_the_companys_own_never_goes_before_a_built_in_one() -> None:
    from inhouse.store.roles import StoredRole

    wrong = StoredRole("service", "", ("grants:write",), 1.0)
    own = StoredRole("helpdesk", "", ("users:read",), 1.0)
    found = directory(
        granted(USER, ANNA.id, "service"), granted(USER, ANNA.id, "helpdesk"), roles=(wrong, own)
    )
    anna = came(found)
    assert found.rights(anna, 5.0).permissions == {"models:use", "users:read"}


# As the store changes


@pytest.fixture
def watcher(config: Config) -> Iterator[KeyWatcher]:
    watcher = KeyWatcher(config, poll_s=0.05)
    watcher.start()
    yield watcher
    watcher.stop()


def eventually(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_gateway_follows_users_grants_roles_and_teams(
    config: Config, watcher: KeyWatcher
) -> None:
    ledger = Ledger(config)
    users, grants, roles, teams = Users(ledger), Grants(ledger), Roles(ledger), Teams(ledger)
    found = watcher.directory
    secret = Keys(config).create("bot").token.secret.reveal().encode()
    eventually(lambda: found.check(secret, time.time()))
    bot = found.check(secret, time.time())
    assert bot is not None

    def may(permission: str = "models:use", model: str = "m") -> bool:
        answer = found.allows(bot, permission, time.time(), model=model)
        return not isinstance(answer, Denied)

    assert may()
    (grant,) = grants.list(LOCAL, user="bot")
    grants.revoke(LOCAL, grant.id)
    eventually(lambda: not may())
    assert found.check(secret, time.time()) is not None
    grants.give(LOCAL, "bot", "service", bounds=Bounds(models=("n",)))
    eventually(lambda: may(model="n"))
    assert not may()
    roles.put(LOCAL, "helpdesk", ("users:read",))
    teams.create(LOCAL, "desk")
    teams.add(LOCAL, "desk", "bot")
    given = grants.give(LOCAL, "desk", "helpdesk", kind=TEAM)
    eventually(lambda: may("users:read"))
    roles.put(LOCAL, "helpdesk", ("teams:read",))
    eventually(lambda: may("teams:read"))
    assert not may("users:read")
    teams.take_away(LOCAL, "desk", "bot")
    eventually(lambda: not may("teams:read"))
    assert given.id in {grant.id for grant in grants.list(LOCAL)}
    users.deactivate(LOCAL, "bot")
    eventually(lambda: found.check(secret, time.time()) is None)
    assert not may(model="n")
    users.reactivate(LOCAL, "bot")
    eventually(lambda: found.check(secret, time.time()))
    users.remove(LOCAL, "bot")
    eventually(lambda: found.check(secret, time.time()) is None)
    assert [key.owner_id for key in Keys(config).list()] == [None]
    assert [g for g in grants.list(LOCAL) if g.holder_kind == USER] == []


def test_who_comes_with_a_token_is_written_down_by_the_watcher(config: Config) -> None:
    watcher = KeyWatcher(config, poll_s=0.05)
    watcher.start()
    known = Users(Ledger(config)).create(LOCAL, "anna", issuer=ISSUER, subject="a-1")
    eventually(lambda: watcher.directory.user(known.id))
    for subject in ("a-1", "b-2"):
        watcher.directory.person(ISSUER, subject, NO_GROUPS, name="Somebody", now=50.0)
    watcher.stop()
    found = {user.subject: user for user in Users(Ledger(config)).list(LOCAL)}
    assert found["a-1"].last_seen == 50.0
    assert (found["b-2"].name, found["b-2"].source, found["b-2"].last_seen) == (
        "Somebody", "oidc", 50.0,
    )  # fmt: skip
    changes = [each for each in records(config.audit_directory) if isinstance(each, Changed)]
    assert (changes[-1].action, changes[-1].actor) == ("created", "gateway")


def test_broken_glass_alarms_every_gateway_once(
    config: Config, watcher: KeyWatcher, caplog: pytest.LogCaptureFixture
) -> None:
    Keys(config).create("bot")
    assert watcher.break_glass() == 0
    Grants(Ledger(config)).break_glass(LOCAL, "admin", reason="the disk is full", user="bot")
    eventually(lambda: watcher.break_glass() == 1)
    Users(Ledger(config)).create(LOCAL, "another")
    eventually(lambda: len(watcher.directory._view.users) == 2)
    said = [r for r in caplog.records if "BREAK-GLASS: bot has the role admin" in r.message]
    assert len(said) == 2  # whoever broke it, and the gateway
    assert all("the disk is full" in r.message and r.levelname == "ERROR" for r in said)


def test_a_key_that_is_used_makes_its_user_seen(config: Config, watcher: KeyWatcher) -> None:
    secret = Keys(config).create("bot").token.secret.reveal().encode()
    eventually(lambda: watcher.directory.check(secret, time.time()))
    watcher._note_use()
    (bot,) = Users(Ledger(config)).list(LOCAL)
    assert bot.last_seen is not None
