"""What is stored of teams and who is in them, as values; and the statements."""

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from inhouse.store.rows import moment, read, text
from inhouse.store.tables import team_members, teams


@dataclass(frozen=True, slots=True)
class StoredTeam:
    """A set of users under a name. `created` in seconds since the epoch."""

    id: str
    name: str
    created: float
    source: str = "local"


@dataclass(frozen=True, slots=True)
class Membership:
    """One user in one team."""

    team_id: str
    user_id: str


def all_teams(connection: sa.Connection) -> list[StoredTeam]:
    """Every team, by name."""
    rows = connection.execute(sa.select(teams).order_by(teams.c.name)).all()
    return [team for row in rows if (team := read(_team, row, "the team", row.id)) is not None]


def all_memberships(connection: sa.Connection) -> list[Membership]:
    found = sa.select(team_members.c.team_id, team_members.c.user_id)
    rows = connection.execute(found.order_by(team_members.c.added)).all()
    return [Membership(str(row.team_id), str(row.user_id)) for row in rows]


def insert(connection: sa.Connection, team: StoredTeam) -> None:
    connection.execute(
        sa.insert(teams).values(
            id=team.id, name=team.name, created=team.created, source=team.source
        )
    )


def remove(connection: sa.Connection, team_id: str) -> None:
    """The team, and who was in it."""
    connection.execute(sa.delete(team_members).where(team_members.c.team_id == team_id))
    connection.execute(sa.delete(teams).where(teams.c.id == team_id))


def add(connection: sa.Connection, member: Membership, at: float) -> None:
    connection.execute(
        sa.insert(team_members).values(team_id=member.team_id, user_id=member.user_id, added=at)
    )


def take_away(connection: sa.Connection, member: Membership) -> None:
    connection.execute(
        sa.delete(team_members)
        .where(team_members.c.team_id == member.team_id)
        .where(team_members.c.user_id == member.user_id)
    )


def leave_all(connection: sa.Connection, user_id: str) -> None:
    """Take a user away from every team."""
    connection.execute(sa.delete(team_members).where(team_members.c.user_id == user_id))


def _team(row: sa.Row[Any]) -> StoredTeam:
    return StoredTeam(text(row.id), text(row.name), moment(row.created), text(row.source))
