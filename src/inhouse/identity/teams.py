"""Teams: sets of users who share grants."""

from inhouse.errors import NegativeAnswer, NotPermitted
from inhouse.identity.actor import Actor
from inhouse.identity.ledger import Ledger, because, named, new_id, not_there
from inhouse.identity.users import find_user
from inhouse.store import grants as grant_store
from inhouse.store import teams as store
from inhouse.store.state import State
from inhouse.store.teams import Membership, StoredTeam
from inhouse.store.users import StoredUser


class Teams:
    """What may be done to teams."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def list(self, actor: Actor) -> list[tuple[StoredTeam, list[StoredUser]]]:
        """Every team and who is in it, by name."""
        actor.needs("teams:read")
        state = self._ledger.state()
        users = {user.id: user for user in state.users}
        return [
            (
                team,
                [
                    users[member.user_id]
                    for member in state.memberships
                    if member.team_id == team.id and member.user_id in users
                ],
            )
            for team in state.teams
        ]

    def create(self, actor: Actor, name: str, *, source: str = "local") -> StoredTeam:
        """An empty team."""
        actor.needs("teams:write")
        with self._ledger.change(actor) as change:
            team = StoredTeam(new_id("team_"), named(name, "a team's name"), change.now, source)
            if any(other.name == team.name for other in change.state.teams):
                raise NegativeAnswer(f"there is a team '{team.name}' already")
            after = {"name": team.name, "source": source}
            change.record(change.changed("team", "created", (team.id, team.name), after=after))
            store.insert(change.connection, team)
        return team

    def remove(self, actor: Actor, name: str, reason: str = "") -> StoredTeam:
        """End a team; its grants are revoked."""
        actor.needs("teams:write")
        with self._ledger.change(actor) as change:
            team = find_team(change.state, name)
            held = (grant_store.TEAM, team.id)
            grants = [
                grant
                for grant in change.state.grants
                if (grant.holder_kind, grant.holder) == held and grant.stands(change.now)
            ]
            members = ", ".join(m.user_id for m in change.state.memberships if m.team_id == team.id)
            change.record(
                change.changed(
                    "team", "removed", (team.id, team.name), before={"members": members},
                    reason=because(reason),
                ),
                *(
                    change.changed(
                        "grant", "revoked", (grant.id, f"{grant.role} of {team.name}"),
                        before={"role": grant.role},
                    )
                    for grant in grants
                ),
            )  # fmt: skip
            for grant in grants:
                grant_store.revoke(change.connection, grant.id, change.now, actor.id)
            store.remove(change.connection, team.id)
        return team

    def add(self, actor: Actor, team: str, user: str) -> None:
        """Put a user into a team; nobody puts in themselves."""
        actor.needs("teams:write")
        with self._ledger.change(actor) as change:
            found, member = find_team(change.state, team), find_user(change.state, user)
            if actor.is_user(member.id):
                raise NotPermitted("nobody adds themselves to a team; somebody else may")
            membership = Membership(found.id, member.id)
            if membership in change.state.memberships:
                raise NegativeAnswer(f"{member.name} is in the team '{found.name}' already")
            change.record(
                change.changed(
                    "team", "added", (found.id, found.name),
                    after={"user": member.id, "name": member.name},
                )
            )  # fmt: skip
            store.add(change.connection, membership, change.now)

    def take_away(self, actor: Actor, team: str, user: str) -> None:
        """Take a user out of a team."""
        actor.needs("teams:write")
        with self._ledger.change(actor) as change:
            found, member = find_team(change.state, team), find_user(change.state, user)
            membership = Membership(found.id, member.id)
            if membership not in change.state.memberships:
                raise NegativeAnswer(f"{member.name} is not in the team '{found.name}'")
            change.record(
                change.changed(
                    "team", "taken away", (found.id, found.name),
                    before={"user": member.id, "name": member.name},
                )
            )  # fmt: skip
            store.take_away(change.connection, membership)


def find_team(state: State, name: str) -> StoredTeam:
    """The team of that id, else of that name. Raises NotThere."""
    found = [t for t in state.teams if t.id == name] or [t for t in state.teams if t.name == name]
    if found:
        return found[0]
    raise not_there("team", name, (team.name for team in state.teams), "inhouse teams list")
