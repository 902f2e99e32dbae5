"""Which grants an access review is about, and what a reviewer needs to know of each. Functions of
the state as it is when the review is opened."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from inhouse.errors import UsageError
from inhouse.identity.actor import Actor
from inhouse.identity.directory import roles_of
from inhouse.identity.ledger import named
from inhouse.identity.roles import check_role
from inhouse.identity.teams import find_team
from inhouse.identity.users import DAY_S, last_sign
from inhouse.store import reviews as store
from inhouse.store.grants import GROUP, TEAM, USER, StoredGrant
from inhouse.store.reviews import StoredItem, StoredReview
from inhouse.store.state import State

USE = "models:use"


@dataclass(frozen=True, slots=True)
class Scope:
    """Which grants: all; of a role; a team's and its members'; those that let somebody use a
    model; or those of users unseen for so many days."""

    kind: str = store.ALL
    of: str = ""

    def checked(self, state: State) -> "Scope":
        """This, with the id of what it names. Raises UsageError, NotThere."""
        if self.kind == store.ALL:
            return Scope()
        if self.kind == store.ROLE:
            check_role(state, self.of)
            return self
        if self.kind == store.TEAM:
            return Scope(store.TEAM, find_team(state, self.of).id)
        if self.kind == store.MODEL:
            return Scope(store.MODEL, named(self.of, "a model's name"))
        if self.kind == store.UNSEEN and self.of.isdecimal() and 0 < int(self.of) <= 3650:
            return self
        raise UsageError("a review is about all, a role, a team, a model, or 1 to 3650 days unseen")

    def described(self) -> str:
        if self.kind == store.UNSEEN:
            return f"unseen for {self.of} days"
        return f"{self.kind} {self.of}".strip()


EVERYTHING = Scope()


@dataclass(frozen=True, slots=True)
class Decider:
    """Who wants to decide: `id` as records call them, `user` None for whoever is local."""

    id: str
    user: str | None
    teams: frozenset[str]
    groups: frozenset[str]

    @classmethod
    def of(cls, actor: Actor, state: State) -> "Decider":
        teams = frozenset(m.team_id for m in state.memberships if m.user_id == actor.user)
        groups = frozenset[str]() if actor.principal is None else actor.principal.groups
        return cls(actor.id, actor.user, teams, groups)


def grants_of(state: State, scope: Scope, now: float) -> list[StoredGrant]:
    """Those that stand, oldest first."""
    wanted = _wanted(state, scope, now)
    return [grant for grant in state.grants if grant.stands(now) and wanted(grant)]


def items_for(state: State, review_id: str, grants: Iterable[StoredGrant]) -> list[StoredItem]:
    """What is kept of these grants, with the names that there are now."""
    users = {user.id: user for user in state.users}
    teams = {team.id: team.name for team in state.teams}
    used: dict[str, float] = {}
    for key in state.keys:
        if key.owner_id and key.last_used is not None:
            used[key.owner_id] = max(key.last_used, used.get(key.owner_id, 0.0))
    members: defaultdict[str, list[str]] = defaultdict(list)
    for member in state.memberships:
        if member.user_id in users:
            members[member.team_id].append(member.user_id)

    def item(position: int, grant: StoredGrant) -> StoredItem:
        name, people = grant.holder, []
        if grant.holder_kind == USER:
            people = [grant.holder]
            name = users[grant.holder].name if grant.holder in users else grant.holder
        elif grant.holder_kind == TEAM:
            people = members[grant.holder]
            name = teams.get(grant.holder, grant.holder)
        seen = [at for each in people if each in users and (at := users[each].last_seen)]
        last = [used[each] for each in people if each in used]
        giver = users.get(grant.given_by)
        in_team = (users[each].name for each in people) if grant.holder_kind == TEAM else ()
        return StoredItem(
            review_id=review_id, grant_id=grant.id, position=position,
            holder_kind=grant.holder_kind, holder=grant.holder, holder_name=name,
            members=tuple(sorted(in_team)), role=grant.role, models=grant.models,
            dialects=grant.dialects, purposes=grant.purposes, since=grant.created,
            until=grant.expires, given_by=grant.given_by,
            given_by_name=grant.given_by if giver is None else giver.name, why=grant.reason,
            origin=grant.origin, last_seen=max(seen, default=None),
            last_used=max(last, default=None),
        )  # fmt: skip

    return [item(position, grant) for position, grant in enumerate(grants, start=1)]


def when_ended(grant: StoredGrant | None, now: float) -> float | None:
    """When a grant ended; None where it stands. One that nobody finds any more ends now."""
    if grant is None:
        return now
    if grant.stands(now):
        return None
    ends = [at for at in (grant.revoked, grant.expires) if at is not None]
    return min(ends)


def why_not(review: StoredReview, item: StoredItem, who: Decider) -> str:
    """Why somebody may not decide on an item, by separation of duties; empty where they may."""
    if not review.separate:
        return ""
    mine = {USER: {who.user}, TEAM: who.teams, GROUP: who.groups}.get(item.holder_kind, ())
    if item.holder in mine:
        return "holds it"
    return "gave it" if item.given_by in (who.id, who.user) else ""


def _wanted(state: State, scope: Scope, now: float) -> Callable[[StoredGrant], bool]:
    if scope.kind == store.ROLE:
        return lambda grant: grant.role == scope.of
    if scope.kind == store.TEAM:
        members = {m.user_id for m in state.memberships if m.team_id == scope.of}
        return lambda grant: (
            grant.holder == scope.of
            if grant.holder_kind == TEAM
            else grant.holder_kind == USER and grant.holder in members
        )
    if scope.kind == store.MODEL:
        using = {name for name, has in roles_of(state.roles).items() if USE in has}
        return lambda grant: (
            grant.role in using and (grant.models is None or scope.of in grant.models)
        )
    if scope.kind == store.UNSEEN:
        before = now - int(scope.of) * DAY_S
        unseen = {user.id for user in state.users if last_sign(user) < before}
        return lambda grant: grant.holder_kind == USER and grant.holder in unseen
    return lambda grant: True
