"""What is stored of a company's own roles, as values; and the statements."""

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from inhouse.store.rows import moment, names, read, text, written
from inhouse.store.tables import roles


@dataclass(frozen=True, slots=True)
class StoredRole:
    """A set of permissions under a name. `created` in seconds since the epoch."""

    name: str
    about: str
    permissions: tuple[str, ...]
    created: float


def all_roles(connection: sa.Connection) -> list[StoredRole]:
    """Every role of the company's own, by name."""
    rows = connection.execute(sa.select(roles).order_by(roles.c.name)).all()
    return [role for row in rows if (role := read(_role, row, "the role", row.name)) is not None]


def put(connection: sa.Connection, role: StoredRole) -> None:
    """Make it, or give it these permissions where it is there."""
    remove(connection, role.name)
    connection.execute(
        sa.insert(roles).values(
            name=role.name,
            about=role.about,
            permissions=written(role.permissions),
            created=role.created,
        )
    )


def remove(connection: sa.Connection, name: str) -> None:
    connection.execute(sa.delete(roles).where(roles.c.name == name))


def _role(row: sa.Row[Any]) -> StoredRole:
    return StoredRole(text(row.name), text(row.about), names(row.permissions), moment(row.created))
