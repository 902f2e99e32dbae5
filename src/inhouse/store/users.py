"""What is stored of users, as values; and the statements that read and change it.

A user is issuer and subject, never an e-mail address. A service has no issuer, and its name is its
subject, so that no two services have one name.
"""

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from inhouse.store.rows import moment, moment_or_none, read, text, text_or_none, truth
from inhouse.store.tables import users

PERSON = "person"
SERVICE = "service"


@dataclass(frozen=True, slots=True)
class StoredUser:
    """One person or service. Times in seconds since the epoch."""

    id: str
    kind: str
    issuer: str
    subject: str
    name: str
    email: str | None
    active: bool
    created: float
    last_seen: float | None = None
    source: str = "local"


def all_users(connection: sa.Connection) -> list[StoredUser]:
    """Every user, oldest first."""
    rows = connection.execute(sa.select(users).order_by(users.c.created, users.c.id)).all()
    return [user for row in rows if (user := read(user_of, row, "the user", row.id)) is not None]


def insert(connection: sa.Connection, user: StoredUser) -> None:
    connection.execute(
        sa.insert(users).values(
            id=user.id, kind=user.kind, issuer=user.issuer, subject=user.subject, name=user.name,
            email=user.email, active=user.active, created=user.created,
            last_seen=user.last_seen, source=user.source,
        )
    )  # fmt: skip


def update(connection: sa.Connection, user: StoredUser) -> None:
    """What may change of a user: the name, the address, whether active."""
    connection.execute(
        sa.update(users)
        .where(users.c.id == user.id)
        .values(name=user.name, email=user.email, active=user.active)
    )


def remove(connection: sa.Connection, user_id: str) -> None:
    """Raises where they are still in a team."""
    connection.execute(sa.delete(users).where(users.c.id == user_id))


def note_seen(connection: sa.Connection, seen: dict[str, float]) -> None:
    """When users were last seen, by this gateway. Not a change that watchers need to see."""
    noted = users.c.last_seen
    for user_id, at in seen.items():
        connection.execute(
            sa.update(users)
            .where(users.c.id == user_id)
            .where(sa.or_(noted.is_(None), noted < at))
            .values(last_seen=at)
        )


def user_of(row: sa.Row[Any]) -> StoredUser:
    if row.kind not in (PERSON, SERVICE):
        raise ValueError("it is neither a person nor a service")
    return StoredUser(
        id=text(row.id),
        kind=row.kind,
        issuer=text(row.issuer),
        subject=text(row.subject),
        name=text(row.name),
        email=text_or_none(row.email),
        active=truth(row.active),
        created=moment(row.created),
        last_seen=moment_or_none(row.last_seen),
        source=text(row.source),
    )
