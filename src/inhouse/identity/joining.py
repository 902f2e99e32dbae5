"""People who come and people who leave: everything that belongs to it in one step, one transaction
and one group of records, each of which names the step."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Protocol

from inhouse.audit.record import Changed, KeyChanged
from inhouse.errors import NegativeAnswer, NotPermitted
from inhouse.identity import grants, requests
from inhouse.identity.actor import Actor
from inhouse.identity.ledger import Change, Ledger, because, iso, new_id
from inhouse.identity.teams import find_team
from inhouse.identity.users import described, find_user, new_user
from inhouse.store import grants as grant_store
from inhouse.store import keys as key_store
from inhouse.store import requests as request_store
from inhouse.store import reviews as review_store
from inhouse.store import teams as team_store
from inhouse.store import users as user_store
from inhouse.store.grants import USER, StoredGrant
from inhouse.store.keys import StoredKey
from inhouse.store.requests import DENIED, OPEN, StoredRequest
from inhouse.store.teams import Membership, StoredTeam
from inhouse.store.users import StoredUser

LEFT = "whoever asked has left"


class Sessions(Protocol):
    """Where people are logged in; whoever keeps sessions hands this in."""

    def of(self, change: Change, user: StoredUser) -> list[str]:
        """The ids of those that are live."""

    def end(self, change: Change, ids: list[str]) -> None:
        """In the transaction of the change; the records are written already."""


class NoSessions:
    """Where nobody logs in."""

    def of(self, change: Change, user: StoredUser) -> list[str]:
        return []

    def end(self, change: Change, ids: list[str]) -> None:
        """There are none."""


@dataclass(frozen=True, slots=True)
class TakenAway:
    """What somebody who left had, and has no more. `reviews` are open ones that still name them as
    a reviewer: somebody else has to be put there."""

    id: str  # of the step, in each of its records
    user: StoredUser
    deactivated: bool  # they were active until now
    keys: tuple[str, ...]
    grants: tuple[StoredGrant, ...]
    teams: tuple[str, ...]  # names
    requests: tuple[str, ...]
    sessions: tuple[str, ...]
    reviews: tuple[str, ...]  # names


@dataclass(frozen=True, slots=True)
class Begun:
    """A user who is there, and what they were given."""

    id: str
    user: StoredUser
    teams: tuple[str, ...]
    grants: tuple[StoredGrant, ...]


class Joining:
    """Onboarding and offboarding."""

    def __init__(self, ledger: Ledger, sessions: Sessions | None = None) -> None:
        self._ledger = ledger
        self._sessions: Sessions = NoSessions() if sessions is None else sessions

    def offboard(self, actor: Actor, name: str, reason: str) -> TakenAway:
        """Deactivate a user, and take away keys, grants, teams, open requests and sessions. Their
        record and their past stay. What a group of the identity provider has, ends there.
        Raises NegativeAnswer where nothing is left to take away."""
        actor.needs("users:write")
        reason = because(reason, needed=True)
        with self._ledger.change(actor) as change:
            user = find_user(change.state, name)
            step, now = new_id("off_"), change.now
            state = change.state
            keys = [k for k in state.keys if k.owner_id == user.id and k.revoked is None]
            held = [
                g for g in state.grants
                if (g.holder_kind, g.holder) == (USER, user.id) and g.stands(now)
            ]  # fmt: skip
            theirs = {m.team_id for m in state.memberships if m.user_id == user.id}
            teams = [team for team in state.teams if team.id in theirs]
            asked = [
                each for each in request_store.all_requests(change.connection)
                if each.user_id == user.id and each.state == OPEN
            ]  # fmt: skip
            sessions = self._sessions.of(change, user)
            if not (user.active or keys or held or theirs or asked or sessions):
                raise NegativeAnswer(f"{user.name} is inactive and has nothing left")
            change.record(
                change.changed(
                    "user", "offboarded", (user.id, user.name), before=described(user),
                    after={
                        **described(replace(user, active=False)), "offboarding": step,
                        "keys": str(len(keys)), "grants": str(len(held)),
                        "teams": str(len(teams)), "requests": str(len(asked)),
                        "sessions": str(len(sessions)),
                    },
                    reason=reason,
                ),
                *(_ended_key(change, key, step) for key in keys),
                *(
                    grants.revoked(change, each, f"user {user.name}", reason, offboarding=step)
                    for each in held
                ),
                *(_left(change, team, user, step) for team in teams),
                *(_denied(change, each, user, step) for each in asked),
                *(
                    change.changed(
                        "session", "ended", (each, user.name), after={"offboarding": step}
                    )
                    for each in sessions
                ),
            )  # fmt: skip
            user_store.update(change.connection, replace(user, active=False))
            for key in keys:
                key_store.revoke(change.connection, key.id, now)
            grant_store.revoke_all(change.connection, [g.id for g in held], now, actor.id)
            team_store.leave_all(change.connection, user.id)
            for each in asked:
                request_store.decide(
                    change.connection,
                    replace(each, state=DENIED, decided=now, decided_by=actor.id, note=LEFT),
                )
            self._sessions.end(change, sessions)
            reviews = tuple(
                review.name
                for review in review_store.all_reviews(change.connection)
                if review.closed is None and user.id in (review.reviewers or ())
            )
        return TakenAway(
            step, replace(user, active=False), user.active, tuple(key.id for key in keys),
            tuple(held), tuple(team.name for team in teams), tuple(each.id for each in asked),
            tuple(sessions), reviews,
        )  # fmt: skip

    def onboard(
        self,
        actor: Actor,
        name: str,
        *,
        issuer: str = "",
        subject: str = "",
        email: str = "",
        teams: tuple[str, ...] = (),
        like: str = "",
        reason: str = "",
    ) -> Begun:
        """A new user in these teams; with `like`, also in that user's teams, and with grants of
        the same roles and bounds as that user's own, until the same day. Not what that one took in
        an emergency. Raises NegativeAnswer, NotThere, NotPermitted, UsageError."""
        actor.needs("users:write")
        if teams or like:
            actor.needs("teams:write")
        if like:
            actor.needs("grants:write")
        reason = because(reason)
        with self._ledger.change(actor) as change:
            step = new_id("onb_")
            user = new_user(change.now, name, issuer, subject, email)
            for other in change.state.users:
                if (other.issuer, other.subject) == (user.issuer, user.subject):
                    raise NegativeAnswer(
                        f"there is a {user.kind} '{other.name}' already: {other.id}"
                    )
            joined = {each.id: each for each in (find_team(change.state, team) for team in teams)}
            given: list[StoredGrant] = []
            if like:
                model = find_user(change.state, like)
                if actor.is_user(model.id):
                    raise NotPermitted("nobody hands on their own grants; name somebody else")
                theirs = {m.team_id for m in change.state.memberships if m.user_id == model.id}
                joined |= {team.id: team for team in change.state.teams if team.id in theirs}
                given = [_same(change, grant, user, reason) for grant in _own(change, model)]
            change.record(
                change.changed(
                    "user", "created", (user.id, user.name),
                    after={**described(user), "onboarding": step}, reason=reason,
                ),
                *(
                    change.changed(
                        "team", "added", (team.id, team.name),
                        after={"user": user.id, "name": user.name, "onboarding": step},
                    )
                    for team in joined.values()
                ),
                *(
                    change.changed(
                        "grant", "given", (grant.id, f"user {user.name}"),
                        after={**grants.described(grant), "onboarding": step}, reason=grant.reason,
                    )
                    for grant in given
                ),
            )  # fmt: skip
            user_store.insert(change.connection, user)
            for team in joined:
                team_store.add(change.connection, Membership(team, user.id), change.now)
            for grant in given:
                grant_store.insert(change.connection, grant)
        return Begun(step, user, tuple(team.name for team in joined.values()), tuple(given))


def _own(change: Change, user: StoredUser) -> Iterable[StoredGrant]:
    for grant in change.state.grants:
        mine = (grant.holder_kind, grant.holder) == (USER, user.id)
        if mine and grant.stands(change.now) and grant.origin != grants.BREAK_GLASS:
            yield grant


def _same(change: Change, grant: StoredGrant, user: StoredUser, reason: str) -> StoredGrant:
    return replace(
        grant, id=new_id("grt_"), holder=user.id, created=change.now, given_by=change.actor.id,
        reason=reason or f"as the grant {grant.id}", origin="given",
    )  # fmt: skip


def _ended_key(change: Change, key: StoredKey, step: str) -> KeyChanged:
    after = {"revoked": iso(change.now), "offboarding": step}
    return KeyChanged(change.now, "revoked", key.id, key.owner, change.actor.id, {}, after)


def _left(change: Change, team: StoredTeam, user: StoredUser, step: str) -> Changed:
    return change.changed(
        "team", "taken away", (team.id, team.name),
        before={"user": user.id, "name": user.name}, after={"offboarding": step},
    )  # fmt: skip


def _denied(change: Change, request: StoredRequest, user: StoredUser, step: str) -> Changed:
    return change.changed(
        "request", "denied", (request.id, user.name), before=requests.described(request),
        after={"offboarding": step}, reason=LEFT,
    )  # fmt: skip
