"""Grants: given, revoked, and taken in an emergency."""

import logging

from inhouse.audit.record import Changed
from inhouse.errors import NegativeAnswer, NotPermitted, NotThere, UsageError
from inhouse.identity.actor import Actor
from inhouse.identity.bounds import ANY, Bounds
from inhouse.identity.directory import View
from inhouse.identity.ledger import Change, Ledger, because, iso, named, new_id
from inhouse.identity.roles import check_role
from inhouse.identity.teams import find_team
from inhouse.identity.users import find_user
from inhouse.store import grants as store
from inhouse.store.grants import GROUP, KINDS, TEAM, USER, StoredGrant
from inhouse.store.state import State
from inhouse.store.teams import Membership

log = logging.getLogger("inhouse.identity")

BREAK_GLASS = "break-glass"


class Grants:
    """What may be done to grants."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def list(self, actor: Actor, *, user: str = "", every: bool = False) -> list[StoredGrant]:
        """Grants that stand, or all that ever were; of one user, their teams and provisioned
        groups, where one is named. Everybody may see their own."""
        if not (user and actor.is_user(user)):
            actor.needs("grants:read")
        state, now = self._ledger.state(), self._ledger.clock()
        found = [grant for grant in state.grants if every or grant.stands(now)]
        if not user:
            return found
        user = find_user(state, user).id
        teams = {member.team_id for member in state.memberships if member.user_id == user}
        groups = View(state, ()).groups(user, ())
        holders = {
            (USER, user),
            *((TEAM, team) for team in teams),
            *((GROUP, group) for group in groups),
        }
        return [grant for grant in found if (grant.holder_kind, grant.holder) in holders]

    def give(
        self,
        actor: Actor,
        holder: str,
        role: str,
        *,
        kind: str = USER,
        bounds: Bounds = ANY,
        expires: float | None = None,
        reason: str = "",
    ) -> StoredGrant:
        """A role for a user, a team or a group; nobody gives themselves anything."""
        actor.needs("grants:write")
        with self._ledger.change(actor) as change:
            found = find_holder(change.state, kind, holder)
            _refuse_oneself(change, kind, found)
            grant = new_grant(
                change, (kind, found), role, bounds=bounds, expires=expires, reason=reason
            )
            put(change, grant, "given")
        return grant

    def revoke(self, actor: Actor, grant_id: str, reason: str = "") -> StoredGrant:
        """End a grant. Every gateway goes by it within a second."""
        actor.needs("grants:write")
        with self._ledger.change(actor) as change:
            grant = {grant.id: grant for grant in change.state.grants}.get(grant_id)
            if grant is None:
                raise NotThere(f"there is no grant '{grant_id[:64]}'; see: inhouse grants list")
            if not grant.stands(change.now):
                raise NegativeAnswer(f"the grant {grant.id} has ended already")
            change.record(revoked(change, grant, holder_name(change.state, grant), reason))
            store.revoke(change.connection, grant.id, change.now, actor.id)
        return grant

    def break_glass(
        self, actor: Actor, role: str, *, reason: str, minutes: int | None = None, user: str = ""
    ) -> StoredGrant:
        """A grant for oneself, at once and for minutes (access.breakglass_minutes at most, and if
        None). It alarms: in the log of every gateway, in a metric, in a record of its own. Whoever
        is local says for whom."""
        actor.needs("breakglass:use")
        most = self._ledger.config.settings.access.breakglass_minutes
        minutes = most if minutes is None else minutes
        if not 1 <= minutes <= most:
            raise UsageError(
                f"a break-glass grant lives for 1 to {most} minutes (access.breakglass_minutes)"
            )
        reason = because(reason, needed=True)
        with self._ledger.change(actor) as change:
            found = find_user(change.state, user or actor.user or actor.name)
            if actor.user is not None and not actor.is_user(found.id):
                raise NotPermitted("a break-glass grant is for oneself")
            if not found.active:
                raise NegativeAnswer(f"{found.name} is inactive, and no grant is worth anything")
            grant = new_grant(
                change, (USER, found.id), role, expires=change.now + minutes * 60, reason=reason,
                origin=BREAK_GLASS,
            )  # fmt: skip
            put(change, grant, BREAK_GLASS)
        alarm(grant, found.name)
        return grant


def new_grant(
    change: Change,
    holder: tuple[str, str],
    role: str,
    *,
    bounds: Bounds = ANY,
    expires: float | None = None,
    reason: str = "",
    origin: str = "given",
) -> StoredGrant:
    """A grant that is not stored yet; `holder` is a kind and an id. Raises UsageError, NotThere."""
    check_role(change.state, role)
    if expires is not None and expires <= change.now:
        raise UsageError("the grant would have ended already; give it a time in the future")
    bounds = bounds.checked()
    return StoredGrant(
        id=new_id("grt_"),
        holder_kind=holder[0],
        holder=holder[1],
        role=role,
        created=change.now,
        given_by=change.actor.id,
        reason=because(reason),
        origin=origin,
        models=bounds.models,
        dialects=bounds.dialects,
        purposes=bounds.purposes,
        expires=expires,
    )


def put(change: Change, grant: StoredGrant, action: str) -> None:
    """Record a new grant, then store it."""
    name = holder_name(change.state, grant)
    record = change.changed(
        "grant", action, (grant.id, name), after=described(grant), reason=grant.reason
    )
    change.record(record)
    store.insert(change.connection, grant)


def revoked(
    change: Change, grant: StoredGrant, name: str, reason: str, **because_of: str
) -> Changed:
    """The record of a grant's end; `name` is the holder's, `because_of` what it is a part of."""
    return change.changed(
        "grant",
        "revoked",
        (grant.id, name),
        before=described(grant),
        after={"revoked": iso(change.now), **because_of},
        reason=because(reason),
    )


def alarm(grant: StoredGrant, name: str) -> None:
    """One line that whoever watches the log is woken by."""
    log.error(
        "BREAK-GLASS: %s has the role %s until %s by the grant %s: %s",
        name, grant.role, iso(grant.expires), grant.id, grant.reason,
    )  # fmt: skip


def find_holder(state: State, kind: str, holder: str) -> str:
    """The id of a user or a team, or the group's name. Raises NotThere, UsageError."""
    if kind == USER:
        return find_user(state, holder).id
    if kind == TEAM:
        return find_team(state, holder).id
    if kind == GROUP:
        return named(holder, "a group's name")
    raise UsageError(f"'{kind[:64]}' holds no grants; {', '.join(KINDS)} do")


def holder_name(state: State, grant: StoredGrant) -> str:
    """For people: the name of the user or the team."""
    named_ones = state.users if grant.holder_kind == USER else state.teams
    names = {each.id: each.name for each in named_ones}
    return f"{grant.holder_kind} {names.get(grant.holder, grant.holder)}"


def described(grant: StoredGrant) -> dict[str, str]:
    """For records."""
    return {
        "holder": f"{grant.holder_kind} {grant.holder}",
        "role": grant.role,
        **Bounds(grant.models, grant.dialects, grant.purposes).described(),
        "until": iso(grant.expires),
        "origin": grant.origin,
    }


def _refuse_oneself(change: Change, kind: str, holder: str) -> None:
    user = change.actor.user
    if user is None:
        return
    own_team = kind == TEAM and Membership(holder, user) in change.state.memberships
    principal = change.actor.principal
    told = () if principal is None else principal.groups
    groups = View(change.state, ()).groups(user, told) if kind == GROUP else ()
    own_group = holder in groups
    if own_team or own_group or (kind == USER and holder == user):
        raise NotPermitted("nobody gives themselves a grant; ask for it, or let somebody else")
