"""What may be done to users, teams, roles, grants and requests, by whom, and what is recorded."""

import time
from collections.abc import Callable
from typing import Any

import pytest

from inhouse.audit.log import append_once
from inhouse.audit.read import records
from inhouse.audit.record import Changed, KeyChanged
from inhouse.config.schema import Config
from inhouse.domain import Ceiling, Principal
from inhouse.errors import (
    AuditUnavailable,
    InhouseError,
    NegativeAnswer,
    NotPermitted,
    NotThere,
    UsageError,
)
from inhouse.identity.actor import Actor
from inhouse.identity.bounds import Bounds
from inhouse.identity.directory import View
from inhouse.identity.grants import Grants
from inhouse.identity.keys import DAY_S, Keys
from inhouse.identity.ledger import Ledger
from inhouse.identity.permissions import PERMISSIONS
from inhouse.identity.requests import MOST_OPEN, Requests
from inhouse.identity.roles import Roles
from inhouse.identity.teams import Teams
from inhouse.identity.users import Users
from inhouse.store.grants import GROUP, TEAM
from inhouse.store.users import PERSON, SERVICE

LOCAL = Actor.local()
ISSUER = "https://login.example"


class Office:
    """Everything that may be done, over one store."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.ledger = Ledger(config)
        self.users, self.teams = Users(self.ledger), Teams(self.ledger)
        self.roles, self.grants = Roles(self.ledger), Grants(self.ledger)
        self.requests = Requests(self.ledger)

    def person(self, name: str, *roles: str) -> str:
        """The id of a new person with these roles."""
        user = self.users.create(LOCAL, name, issuer=ISSUER, subject=f"sub-{name}")
        for role in roles:
            self.grants.give(LOCAL, user.id, role)
        return user.id

    def actor(self, user: str, ceiling: Ceiling | None = None) -> Actor:
        """Somebody who came with a credential."""
        state = self.ledger.state()
        view = View(state, self.ledger.separate)
        principal = Principal(f"oidc:{user}", view.users[user].name, user, ceiling=ceiling)
        return Actor.of(principal, view.rights(user, frozenset(), self.ledger.clock()))

    def changes(self) -> list[Changed]:
        found = records(self.config.audit_directory)
        return [each for each in found if isinstance(each, Changed)]

    def said(self) -> list[str]:
        return [f"{each.noun} {each.action}" for each in self.changes()]


@pytest.fixture
def office(config: Config) -> Office:
    return Office(config)


def test_a_users_life_is_recorded_with_before_and_after(office: Office) -> None:
    office.person("anna", "user")
    service = office.users.create(LOCAL, "billing", email="ops@example")
    assert (service.kind, service.issuer, service.subject) == (SERVICE, "", "billing")
    office.users.change(LOCAL, "anna", new_name="Anna A.", email="a@example")
    office.users.deactivate(LOCAL, "Anna A.", "left the company")
    office.users.reactivate(LOCAL, "Anna A.")
    office.users.remove(LOCAL, "Anna A.", "asked for it")
    assert office.said() == [
        "user created", "grant given", "user created", "user changed", "user deactivated",
        "user reactivated", "user removed", "grant revoked",
    ]  # fmt: skip
    changed, deactivated, removed = (office.changes()[at] for at in (3, 4, 6))
    assert (changed.before["name"], changed.after["name"]) == ("anna", "Anna A.")
    assert changed.after["email"] == "a@example"
    assert (deactivated.before["active"], deactivated.after["active"]) == ("yes", "no")
    assert (deactivated.reason, removed.reason) == ("left the company", "asked for it")
    assert all(each.actor == LOCAL.id for each in office.changes())
    assert [user.name for user in office.users.list(LOCAL)] == ["billing"]
    assert office.users.create(LOCAL, "Anna", issuer=ISSUER, subject="sub-anna").kind == PERSON


def test_who_is_there_already_and_who_is_not(office: Office) -> None:
    anna = office.person("anna")
    with pytest.raises(NegativeAnswer, match=rf"there is a person 'anna' already: {anna}"):
        office.person("anna")
    office.users.create(LOCAL, "anna")  # a service of that name is somebody else
    with pytest.raises(NegativeAnswer, match="'anna' is several users"):
        office.users.show(LOCAL, "anna")
    assert office.users.show(LOCAL, anna).user.kind == PERSON
    with pytest.raises(NotThere, match="there is no user 'ana'; near: anna"):
        office.users.deactivate(LOCAL, "ana")
    with pytest.raises(NegativeAnswer, match="anna is active already"):
        office.users.reactivate(LOCAL, anna)
    for name in ("", " ", "a\nb", "x" * 201):
        with pytest.raises(UsageError):
            office.users.create(LOCAL, name)
    with pytest.raises(UsageError, match="has an issuer and a subject"):
        office.users.create(LOCAL, "boris", issuer=ISSUER)


def test_show_says_what_it_comes_to(office: Office) -> None:
    anna = office.person("anna", "auditor")
    office.teams.create(LOCAL, "desk")
    office.teams.add(LOCAL, "desk", anna)
    office.grants.give(LOCAL, "desk", "admin", kind=TEAM)
    key = Keys(office.config).create("laptop", user=anna).key
    shown = office.users.show(LOCAL, anna)
    assert (shown.teams, [each.id for each in shown.keys]) == (("desk",), [key.id])
    assert sorted(grant.role for grant in shown.grants) == ["admin", "auditor"]
    assert shown.broken == (("audit:read", "grants:write"), ("audit:read", "roles:write"))
    assert {"audit:read", "grants:write", "roles:write"}.isdisjoint(shown.permissions)
    assert "users:write" in shown.permissions
    office.users.deactivate(LOCAL, anna)
    assert office.users.show(LOCAL, anna).permissions == ()


CHANGES: dict[str, tuple[str, Callable[[Office, Actor], object]]] = {
    "list users": ("users:read", lambda o, a: o.users.list(a)),
    "show another": ("users:read", lambda o, a: o.users.show(a, "other")),
    "unseen": ("users:read", lambda o, a: o.users.unseen(a)),
    "create": ("users:write", lambda o, a: o.users.create(a, "new")),
    "change": ("users:write", lambda o, a: o.users.change(a, "other", email="x")),
    "deactivate": ("users:write", lambda o, a: o.users.deactivate(a, "other")),
    "reactivate": ("users:write", lambda o, a: o.users.reactivate(a, "asleep")),
    "remove": ("users:write", lambda o, a: o.users.remove(a, "other")),
    "list teams": ("teams:read", lambda o, a: o.teams.list(a)),
    "create team": ("teams:write", lambda o, a: o.teams.create(a, "new")),
    "add": ("teams:write", lambda o, a: o.teams.add(a, "team", "asleep")),
    "take away": ("teams:write", lambda o, a: o.teams.take_away(a, "team", "other")),
    "remove team": ("teams:write", lambda o, a: o.teams.remove(a, "team")),
    "list roles": ("roles:read", lambda o, a: o.roles.list(a)),
    "put role": ("roles:write", lambda o, a: o.roles.put(a, "desk", ("users:read",))),
    "remove role": ("roles:write", lambda o, a: o.roles.remove(a, "idle")),
    "list grants": ("grants:read", lambda o, a: o.grants.list(a)),
    "give": ("grants:write", lambda o, a: o.grants.give(a, "other", "user")),
    "revoke": ("grants:write", lambda o, a: o.grants.revoke(a, some_grant(o))),
    "break glass": ("breakglass:use", lambda o, a: o.grants.break_glass(a, "admin", reason="x")),
    "ask": ("access:request", lambda o, a: o.requests.ask(a, "user", reason="x")),
    "approve": ("access:approve", lambda o, a: o.requests.approve(a, waiting(o))),
    "deny": ("access:approve", lambda o, a: o.requests.deny(a, waiting(o))),
    "list requests": ("access:read", lambda o, a: o.requests.list(a)),
    "own keys": ("keys:own", lambda o, a: keys(o, a).create("mine", user=a.user or "")),
    "keys of others": ("keys:write", lambda o, a: keys(o, a).create("key")),
    "revoke a key": ("keys:write", lambda o, a: keys(o, a).revoke("key")),
    "rotate a key": ("keys:write", lambda o, a: keys(o, a).rotate("key")),
}


SAID = {"list requests": "access:request", "own keys": "keys:write"}
"""Where another permission is the last that would do."""


def keys(office: Office, actor: Actor) -> Keys:
    return Keys(office.config, actor=actor, ledger=office.ledger)


def some_grant(office: Office) -> str:
    return office.grants.list(LOCAL, user="asleep")[0].id


def waiting(office: Office) -> str:
    return office.requests.list(LOCAL)[0].id


def furnished(office: Office) -> None:
    """What the table of changes speaks of."""
    for name in ("other", "asleep"):
        office.person(name, "user")
    office.users.deactivate(LOCAL, "asleep")
    office.teams.create(LOCAL, "team")
    office.teams.add(LOCAL, "team", "other")
    office.roles.put(LOCAL, "idle", ("users:read",))
    office.requests.ask(LOCAL, "auditor", reason="x", user="other")
    Keys(office.config).create("key")


@pytest.mark.parametrize("name", CHANGES)
def test_each_takes_one_permission_and_no_other_will_do(in_a_file: Config, name: str) -> None:
    office = Office(in_a_file)
    furnished(office)
    permission, change = CHANGES[name]
    every_other = tuple(
        each for each in PERMISSIONS
        if each != permission and not (permission == "access:read" and each.startswith("access:"))
        and not (permission == "keys:own" and each == "keys:write")
    )  # fmt: skip
    office.roles.put(LOCAL, "every-other", every_other)
    office.roles.put(LOCAL, "this-one", (permission,))
    wrong, right = office.person("wrong"), office.person("right")
    office.grants.give(LOCAL, wrong, "every-other")
    office.grants.give(LOCAL, right, "this-one")
    office.ledger.separate = ()
    before = office.said()
    with pytest.raises(NotPermitted, match=SAID.get(name, permission)):
        change(office, office.actor(wrong))
    with pytest.raises(NotPermitted, match=SAID.get(name, permission)):
        change(office, office.actor(right, Ceiling(permissions=frozenset({"models:use"}))))
    assert office.said() == before
    change(office, office.actor(right))


def test_everybody_sees_themselves_and_takes_back_their_own(office: Office) -> None:
    anna, boris = office.person("anna", "user"), office.person("boris", "user")
    actor = office.actor(anna)
    assert office.users.show(actor, anna).user.name == "anna"
    with pytest.raises(NotPermitted):
        office.users.show(actor, boris)
    assert [grant.role for grant in office.grants.list(actor, user=anna)] == ["user"]
    with pytest.raises(NotPermitted):
        office.grants.list(actor, user=boris)
    asked = office.requests.ask(actor, "operator", reason="on call")
    office.requests.ask(LOCAL, "operator", reason="on call", user=boris)
    assert [each.id for each in office.requests.list(actor)] == [asked.id]
    assert office.requests.deny(actor, asked.id).state == "denied"
    own = Keys(office.config, actor=actor).create("laptop", user=anna).key
    Keys(office.config).create("bot")
    assert [key.id for key in Keys(office.config, actor=actor).list()] == [own.id]


def test_nobody_gives_anything_to_themselves(office: Office) -> None:
    anna = office.person("anna", "admin")
    office.teams.create(LOCAL, "desk")
    office.teams.create(LOCAL, "hers")
    office.teams.add(LOCAL, "hers", anna)
    office.roles.put(LOCAL, "own", ("roles:write",))
    office.grants.give(LOCAL, anna, "own")
    actor = office.actor(anna)
    tries: list[Callable[[], object]] = [
        lambda: office.grants.give(actor, anna, "auditor"),
        lambda: office.grants.give(actor, "hers", "auditor", kind=TEAM),
        lambda: office.teams.add(actor, "desk", anna),
        lambda: office.roles.put(actor, "own", ("audit:read",)),
        lambda: office.requests.ask(actor, "user", reason="x", user="somebody-else"),
    ]
    office.users.create(LOCAL, "somebody-else")
    for attempt in tries:
        with pytest.raises(NotPermitted):
            attempt()
    request = office.requests.ask(actor, "auditor", reason="x")
    with pytest.raises(NotPermitted, match="nobody approves their own request"):
        office.requests.approve(actor, request.id)
    asked_for = office.requests.ask(LOCAL, "auditor", reason="x", user=anna)
    with pytest.raises(NotPermitted, match="nobody approves their own request"):
        office.requests.approve(LOCAL, asked_for.id)


def test_what_another_approves_becomes_a_grant(office: Office) -> None:
    anna, boss = office.person("anna", "user"), office.person("boss", "admin")
    until = time.time() + 3600
    asked = office.requests.ask(
        office.actor(anna), "operator", reason="on call",
        bounds=Bounds(models=("m",), purposes=("night",)), until=until,
    )  # fmt: skip
    grant = office.requests.approve(office.actor(boss), asked.id, "this week only")
    assert (grant.holder, grant.role, grant.models) == (anna, "operator", ("m",))
    assert (grant.expires, grant.purposes, grant.origin) == (until, ("night",), asked.id)
    assert grant.given_by == boss
    (decided,) = office.requests.list(LOCAL, every=True)
    assert (decided.state, decided.grant_id, decided.note) == (
        "approved", grant.id, "this week only",
    )  # fmt: skip
    for again in (office.requests.approve, office.requests.deny):
        with pytest.raises(NegativeAnswer, match="is approved already"):
            again(LOCAL, asked.id)
    assert office.said()[-3:] == ["request asked", "request approved", "grant given"]
    for _ in range(MOST_OPEN):
        office.requests.ask(office.actor(anna), "user", reason="x")
    with pytest.raises(NegativeAnswer, match="requests that wait already"):
        office.requests.ask(office.actor(anna), "user", reason="x")


def test_broken_glass_is_for_minutes_for_oneself_and_with_a_reason(office: Office) -> None:
    anna = office.person("anna", "operator")
    actor = office.actor(anna)
    with pytest.raises(UsageError, match="a reason is needed"):
        office.grants.break_glass(actor, "admin", reason=" ")
    with pytest.raises(UsageError, match="lives for 1 to 60 minutes"):
        office.grants.break_glass(actor, "admin", reason="x", minutes=61)
    other = office.person("other")
    with pytest.raises(NotPermitted, match="is for oneself"):
        office.grants.break_glass(actor, "admin", reason="x", user=other)
    grant = office.grants.break_glass(actor, "admin", reason="the disk is full", minutes=5)
    assert grant.expires is not None
    assert 290 < grant.expires - time.time() <= 300
    assert "users:write" in office.users.show(LOCAL, anna).permissions
    change = office.changes()[-1]
    assert (change.noun, change.action, change.reason) == (
        "grant", "break-glass", "the disk is full",
    )  # fmt: skip


def test_roles_that_come_with_it_stay_and_own_ones_go_when_nobody_has_them(
    office: Office,
) -> None:
    changes: list[Callable[[], object]] = [
        lambda: office.roles.put(LOCAL, "admin", ("users:read",)),
        lambda: office.roles.remove(LOCAL, "user"),
    ]
    for change in changes:
        with pytest.raises(NegativeAnswer, match="comes with Inhouse"):
            change()
    with pytest.raises(UsageError, match="'user:read' is no permission; near: users:read"):
        office.roles.put(LOCAL, "desk", ("user:read",))
    office.roles.put(LOCAL, "desk", ("users:read",))
    office.roles.put(LOCAL, "desk", ("teams:read", "users:read"), "the help desk")
    before, after = office.changes()[-1].before, office.changes()[-1].after
    assert (before["permissions"], after["permissions"]) == (
        "users:read", "teams:read, users:read",
    )  # fmt: skip
    grant = office.grants.give(LOCAL, "staff", "desk", kind=GROUP)
    with pytest.raises(NegativeAnswer, match=f"is given by {grant.id}"):
        office.roles.remove(LOCAL, "desk")
    office.grants.revoke(LOCAL, grant.id)
    office.roles.remove(LOCAL, "desk")
    with pytest.raises(NotThere, match="there is no role 'desk'"):
        office.grants.give(LOCAL, "staff", "desk", kind=GROUP)


WRONG: list[dict[str, Any]] = [
    {"bounds": Bounds(dialects=("grpc",))},
    {"bounds": Bounds(purposes=("Support",))},
    {"bounds": Bounds(models=("",))},
    {"bounds": Bounds(models=())},
    {"expires": 1.0},
    {"reason": "a\nb"},
    {"kind": "everybody"},
]


@pytest.mark.parametrize("wrong", WRONG, ids=str)
def test_a_grant_that_makes_no_sense_is_not_given(office: Office, wrong: dict[str, Any]) -> None:
    office.person("anna")
    with pytest.raises(UsageError):
        office.grants.give(LOCAL, "anna", "user", **wrong)
    assert office.grants.list(LOCAL) == []


def test_teams(office: Office) -> None:
    anna = office.person("anna")
    office.teams.create(LOCAL, "desk")
    with pytest.raises(NegativeAnswer, match="there is a team 'desk' already"):
        office.teams.create(LOCAL, "desk")
    office.teams.add(LOCAL, "desk", "anna")
    with pytest.raises(NegativeAnswer, match="is in the team 'desk' already"):
        office.teams.add(LOCAL, "desk", "anna")
    assert [(t.name, [u.id for u in us]) for t, us in office.teams.list(LOCAL)] == [
        ("desk", [anna])
    ]
    grant = office.grants.give(LOCAL, "desk", "user", kind=TEAM)
    office.teams.remove(LOCAL, "desk")
    (ended,) = office.grants.list(LOCAL, every=True)
    assert (ended.id, ended.revoked_by) == (grant.id, LOCAL.id)
    with pytest.raises(NotThere, match="there is no team 'desk'"):
        office.teams.take_away(LOCAL, "desk", "anna")


def test_who_was_not_seen_for_long(config: Config) -> None:
    now = [time.time() - 100 * DAY_S]
    office = Office(config)
    users = Users(Ledger(config, clock=lambda: now[0]))
    users.create(LOCAL, "old")
    users.first_seen(LOCAL, ISSUER, "x", "older", now[0] - 5)
    users.create(LOCAL, "asleep")
    users.deactivate(LOCAL, "asleep")
    users.first_seen(LOCAL, ISSUER, "y", "fresh", time.time())
    now[0] = time.time()
    assert [user.name for user in office.users.unseen(LOCAL)] == ["older", "old"]
    assert office.users.unseen(LOCAL, days=101) == []


def test_without_the_log_nothing_is_changed(office: Office) -> None:
    office.config.data.mkdir(exist_ok=True)
    office.config.audit_directory.write_text("a file where the log should be")
    changes: list[Callable[[], object]] = [
        lambda: office.users.create(LOCAL, "anna"),
        lambda: office.grants.give(LOCAL, "staff", "user", kind=GROUP),
        lambda: office.roles.put(LOCAL, "desk", ("users:read",)),
    ]
    for change in changes:
        with pytest.raises((UsageError, AuditUnavailable)):
            change()
    state = office.ledger.state()
    assert (state.users, state.grants, state.roles) == ((), (), ())


def test_a_change_that_fails_behind_its_record_is_told(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def interrupted(*arguments: Any) -> None:
        append_once(*arguments)
        calls.append(arguments)
        if len(calls) == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr("inhouse.identity.ledger.append_once", interrupted)
    with pytest.raises(KeyboardInterrupt):
        Keys(office.config).create("bot")
    assert office.said() == [
        "user created", "grant given", "user create-failed", "grant give-failed",
    ]  # fmt: skip
    found = records(office.config.audit_directory)
    assert [each.action for each in found if isinstance(each, KeyChanged)] == [
        "created", "create-failed",
    ]  # fmt: skip
    assert office.ledger.state().users == ()


def test_a_key_belongs_to_a_service_or_to_who_is_named(office: Office) -> None:
    made = Keys(office.config).create("bot", models=("m",), dialects=("ollama",), purposes=("x",))
    (bot,) = office.users.list(LOCAL)
    assert (bot.kind, bot.name, made.key.owner_id) == (SERVICE, "bot", bot.id)
    assert (made.key.dialects, made.key.purposes, made.may_nothing) == (("ollama",), ("x",), False)
    (grant,) = office.grants.list(LOCAL)
    assert (grant.holder, grant.role, grant.models, grant.expires) == (
        bot.id, "service", None, None,
    )  # fmt: skip
    assert Keys(office.config).create("bot").key.owner_id == bot.id
    assert len(office.grants.list(LOCAL)) == 1
    office.grants.revoke(LOCAL, grant.id)
    assert Keys(office.config).create("bot").may_nothing  # what was taken away stays away
    assert office.grants.list(LOCAL) == []
    anna = office.person("anna")
    assert Keys(office.config).create("laptop", user="anna").key.owner_id == anna
    office.users.deactivate(LOCAL, "bot")
    with pytest.raises(NegativeAnswer, match="bot is inactive"):
        Keys(office.config).create("bot")


def test_nobody_has_a_key_that_stands_for_another_person(office: Office) -> None:
    anna, boss = office.person("anna", "user"), office.person("boss", "admin")
    own = Keys(office.config, actor=office.actor(anna)).create("laptop", user=anna).key
    others = Keys(office.config, actor=office.actor(boss))
    attempts: list[Callable[[], object]] = [
        lambda: others.create("x", user=anna),
        lambda: others.rotate(own.id),
    ]
    for attempt in attempts:
        with pytest.raises(NotPermitted, match="by that person alone"):
            attempt()
    assert others.revoke(own.id).revoked is not None
    assert others.create("bot").key.owner_id is not None
    assert others.rotate("bot").key.owner == "bot"


def test_a_bounded_credential_makes_no_unbounded_one(office: Office) -> None:
    anna = office.person("anna", "user")
    for ceiling in (Ceiling(models=frozenset({"m"})), Ceiling(purposes=frozenset({"x"}))):
        with pytest.raises(NotPermitted, match="makes no keys"):
            keys(office, office.actor(anna, ceiling)).create("laptop", user=anna)
    scoped = office.actor(anna, Ceiling(permissions=frozenset({"keys:own"})))
    assert keys(office, scoped).create("laptop", user=anna).key.owner_id == anna
    with pytest.raises(UsageError, match="has 1 to 1000 of them"):
        Keys(office.config).create("bot", models=())


def test_who_is_not_known_yet_owns_nothing(office: Office) -> None:
    made = Keys(office.config).create("bot")
    office.users.remove(LOCAL, "bot")  # a key of nobody stays to be read
    office.grants.give(LOCAL, "staff", "user", kind=GROUP)
    state = office.ledger.state()
    stranger = Principal("oidc:x", "bot", groups=frozenset({"staff"}))
    rights = View(state, office.ledger.separate).rights("", stranger.groups, time.time())
    actor = Actor.of(stranger, rights)
    assert actor.may("keys:own")
    assert [key.id for key in Keys(office.config).list()] == [made.key.id]
    assert keys(office, actor).list() == []
    office.users.create(LOCAL, "bot")
    with pytest.raises(NotPermitted, match="everybody asks for themselves"):
        office.requests.ask(actor, "admin", reason="x")


def test_a_pair_in_the_configuration_that_is_none_is_told(config: Config) -> None:
    config.settings.access.separate.append("audit:read+everything")
    with pytest.raises(InhouseError, match="must be two permissions"):
        Ledger(config)
