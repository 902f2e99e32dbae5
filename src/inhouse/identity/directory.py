"""Who there is and what they may do, as requests see it: in memory, replaced whole when the store
changes. No I/O, no waiting.

    State of the store ──replace──► one view: keys (KeyRing), users, teams, roles, grants
                                      │ rights of a user: compiled when first asked for,
                                      ▼ kept until the next change, or until a grant ends
    principal, permission, model ... ──► the grant's id, or why not

A view is never changed; requests on the loop and the watcher's thread see an old one or a new one.
"""

import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from inhouse.domain import Principal
from inhouse.identity.keyring import KeyRing
from inhouse.identity.permissions import ROLES
from inhouse.identity.policy import Denied, Pair, Rights, compiled, decide
from inhouse.store.grants import GROUP, TEAM, USER, StoredGrant
from inhouse.store.roles import StoredRole
from inhouse.store.state import State
from inhouse.store.users import StoredUser

log = logging.getLogger("inhouse.identity")

MOST_RIGHTS = 50_000  # users, and sets of groups of tokens, whose rights are kept
MOST_SEEN = 10_000  # persons whose sight waits to be written down

Person = tuple[str, str]
"""Issuer and subject."""
BUILT_IN: dict[str, frozenset[str]] = {role.name: role.permissions for role in ROLES.values()}


@dataclass(frozen=True, slots=True)
class Sight:
    """A person who came with a token, and when last."""

    name: str
    at: float


class View:
    """One state of the store, arranged for look-ups."""

    __slots__ = (
        "_kept", "_provisioned", "_separate", "by_person", "grants", "groups_of", "roles",
        "teams_of", "users",
    )  # fmt: skip

    def __init__(self, state: State, separate: tuple[Pair, ...]) -> None:
        self._separate = separate
        self.users = {user.id: user for user in state.users}
        self.by_person = {(u.issuer, u.subject): u for u in state.users if u.issuer}
        teams = {team.id for team in state.teams}
        teams_of: defaultdict[str, set[str]] = defaultdict(set)
        for member in state.memberships:
            if member.team_id in teams:
                teams_of[member.user_id].add(member.team_id)
        self.teams_of = {user: frozenset(found) for user, found in teams_of.items()}
        names = {group.id: group.names for group in state.groups}
        self._provisioned = frozenset(name for each in names.values() for name in each)
        groups_of: defaultdict[str, set[str]] = defaultdict(set)
        for inside in state.group_members:
            groups_of[inside.user_id].update(names.get(inside.group_id, ()))
        self.groups_of = {user: frozenset(found) for user, found in groups_of.items()}
        self.roles = roles_of(state.roles)
        grants: defaultdict[tuple[str, str], list[StoredGrant]] = defaultdict(list)
        for grant in state.grants:
            grants[grant.holder_kind, grant.holder].append(grant)
        self.grants = dict(grants)
        self._kept: dict[tuple[str, frozenset[str]], Rights] = {}

    def rights(self, user: str, groups: frozenset[str], now: float) -> Rights:
        """Of a user and the groups of a token; `user` is empty for a person not seen before."""
        kept = self._kept.get((user, groups))
        if kept is not None and now < kept.until:
            return kept
        rights = compiled(self._held(user, groups), self.roles, self._separate, now)
        if len(self._kept) >= MOST_RIGHTS:
            self._kept.clear()
        self._kept[user, groups] = rights
        return rights

    def _held(self, user: str, groups: Iterable[str]) -> list[StoredGrant]:
        if user and not self.is_active(user):
            return []
        holders = [(USER, user)] if user else []
        holders += [(TEAM, team) for team in self.teams_of.get(user, ())]
        holders += [(GROUP, group) for group in self.groups(user, groups)]
        return [grant for holder in holders for grant in self.grants.get(holder, ())]

    def groups(self, user: str, token: Iterable[str]) -> frozenset[str]:
        """The groups of a user, by every name that a grant may call them. Who is in a group that
        the provider provisions is what it provisioned, whatever a token says, which is older;
        of other groups the token is the word."""
        told = frozenset(token) - self._provisioned
        return told | self.groups_of.get(user, frozenset())

    def is_active(self, user: str) -> bool:
        found = self.users.get(user)
        return found is not None and found.active


class Directory:
    """What the gateway asks. `ring` checks keys."""

    def __init__(self, pepper: bytes, separate: tuple[Pair, ...] = ()) -> None:
        self.ring = KeyRing(pepper)
        self._separate = separate
        self._view = View(State(), separate)
        self._seen: dict[Person, Sight] = {}

    def __repr__(self) -> str:
        return f"Directory({len(self._view.users)} users, {len(self.ring)} keys)"

    def replace(self, state: State) -> None:
        """Go by this from now on. A key stands for its user while that one is active."""
        view = View(state, self._separate)
        active = [key for key in state.keys if key.owner_id and view.is_active(key.owner_id)]
        self._view = view  # first: whoever a new key stands for is there
        self.ring.replace(active, view.users, view.teams_of)

    def check(self, presented: bytes, now: float) -> Principal | None:
        """Whom an API key stands for at `now`; None for any that is not valid then."""
        return self.ring.check(presented, now)

    def person(
        self, issuer: str, subject: str, groups: frozenset[str], *, name: str, now: float
    ) -> Principal | None:
        """Whom a verified token stands for; None for a user who was deactivated.

        A person who was never seen has what their groups were granted. Nothing is made here: the
        watcher writes down that they came.
        """
        view = self._view
        user = view.by_person.get((issuer, subject))
        if user is not None and not user.active:
            return None
        if (issuer, subject) in self._seen or len(self._seen) < MOST_SEEN:
            self._seen[issuer, subject] = Sight(name, now)
        if user is None:
            return Principal(f"oidc:{subject}", name, groups=groups)
        teams = view.teams_of.get(user.id, frozenset())
        return Principal(f"oidc:{subject}", user.name, user.id, teams, groups)

    def rights(self, principal: Principal, now: float) -> Rights:
        """What a principal may do now, whatever it could when its request began."""
        return self._view.rights(principal.user, principal.groups, now)

    def allows(
        self,
        principal: Principal,
        permission: str,
        now: float,
        *,
        model: str | None = None,
        dialect: str | None = None,
        purpose: str | None = None,
    ) -> str | Denied:
        """The id of the grant that allows it, or why none does: see `policy.decide`."""
        rights = self.rights(principal, now)
        return decide(rights, permission, model, dialect, purpose, principal.ceiling)

    def user(self, user_id: str) -> StoredUser | None:
        return self._view.users.get(user_id)

    def take_seen(self) -> dict[Person, Sight]:
        """Who came with a token since this was last asked."""
        seen, self._seen = self._seen, {}
        return seen

    def known(self, person: Person) -> StoredUser | None:
        return self._view.by_person.get(person)


def roles_of(own: Iterable[StoredRole]) -> Mapping[str, frozenset[str]]:
    """The permissions of every role. A company's own never goes before a built-in one."""
    return {role.name: frozenset(role.permissions) for role in own} | BUILT_IN
