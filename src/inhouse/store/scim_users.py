"""What is stored of persons whom the identity provider provisions, as values; and the statements.

The person is a row of `users`; here is what the provider said of them. Who was removed by the
provider stays, hidden from it: the name is free, and the person is not active.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from inhouse.store.rows import moment, moment_or_none, text, text_or_none, truth
from inhouse.store.tables import scim_groups, scim_members, scim_users, users
from inhouse.store.users import StoredUser, user_of


@dataclass(frozen=True, slots=True)
class ProvisionedUser:
    """The provider's word about one person. Times in seconds since the epoch."""

    user: StoredUser
    user_name: str
    external_id: str | None
    active: bool
    was_active: bool  # what `user.active` was before the provider said no
    profile: str  # JSON, to be shown
    created: float
    modified: float
    version: int
    removed: float | None = None


@dataclass(frozen=True, slots=True)
class Sought:
    """What a person or a group must be, all of it; None where it does not matter."""

    id: str | None = None
    name: str | None = None  # whatever its case
    external_id: str | None = None
    member: str | None = None  # of a group: a user's id


def folded(name: str) -> str:
    """The form in which two names are the same, whatever their case."""
    return name.casefold()


def by_id(connection: sa.Connection, user_id: str) -> ProvisionedUser | None:
    """Whoever it is, removed or not."""
    return _one(connection, scim_users.c.user_id == user_id)


def by_name(connection: sa.Connection, user_name: str) -> ProvisionedUser | None:
    """Who has the name now."""
    return _one(connection, scim_users.c.user_name_key == folded(user_name))


def person(connection: sa.Connection, issuer: str, subject: str) -> StoredUser | None:
    """The person of the provider's tokens, provisioned or not."""
    found = sa.select(users).where(users.c.issuer == issuer, users.c.subject == subject)
    row = connection.execute(found).first()
    return None if row is None else user_of(row)


def count(connection: sa.Connection, sought: Sought) -> int:
    found = sa.select(sa.func.count()).select_from(scim_users).where(*_is(sought))
    return int(connection.execute(found).scalar_one())


def page(
    connection: sa.Connection, sought: Sought, offset: int, limit: int
) -> list[ProvisionedUser]:
    """Those who were not removed, oldest first."""
    found = (
        _rows()
        .where(*_is(sought))
        .order_by(scim_users.c.created, scim_users.c.user_id)
        .offset(offset)
        .limit(limit)
    )
    return [_provisioned(row) for row in connection.execute(found).all()]


def known_of(connection: sa.Connection, user_ids: Iterable[str]) -> dict[str, str]:
    """Those of the ids that are persons who were not removed, and their names."""
    found = (
        sa.select(users.c.id, users.c.name)
        .join(scim_users, scim_users.c.user_id == users.c.id)
        .where(scim_users.c.removed.is_(None))
    )
    return {
        str(row.id): str(row.name)
        for some in in_parts(user_ids)
        for row in connection.execute(found.where(users.c.id.in_(some))).all()
    }


def groups_of(
    connection: sa.Connection, user_ids: Iterable[str]
) -> dict[str, list[tuple[str, str]]]:
    """The ids and names of the groups of each user."""
    found = (
        sa.select(scim_members.c.user_id, scim_groups.c.id, scim_groups.c.name)
        .join(scim_groups, scim_groups.c.id == scim_members.c.group_id)
        .order_by(scim_groups.c.name)
    )
    groups: dict[str, list[tuple[str, str]]] = {}
    for some in in_parts(user_ids):
        for row in connection.execute(found.where(scim_members.c.user_id.in_(some))).all():
            groups.setdefault(str(row.user_id), []).append((str(row.id), str(row.name)))
    return groups


def insert(connection: sa.Connection, provisioned: ProvisionedUser) -> None:
    """The word about a user who is there."""
    values = {"user_id": provisioned.user.id, **_values(provisioned)}
    connection.execute(sa.insert(scim_users).values(created=provisioned.created, **values))


def update(connection: sa.Connection, provisioned: ProvisionedUser) -> None:
    """Another word, with what follows from it for the user."""
    user = provisioned.user
    connection.execute(
        sa.update(scim_users).where(scim_users.c.user_id == user.id).values(_values(provisioned))
    )
    put_user(connection, user)


def put_user(connection: sa.Connection, user: StoredUser) -> None:
    """What the provider's word may change of a user."""
    connection.execute(
        sa.update(users)
        .where(users.c.id == user.id)
        .values(subject=user.subject, name=user.name, email=user.email, active=user.active)
    )


def says_no(connection: sa.Connection, user_id: str) -> bool:
    """Whether the provider said that the person has left."""
    found = sa.select(scim_users.c.active).where(scim_users.c.user_id == user_id)
    row = connection.execute(found).first()
    return row is not None and not truth(row.active)


def in_parts(ids: Iterable[str], size: int = 500) -> list[list[str]]:
    """Lists that one statement can take."""
    every = sorted(set(ids))
    return [every[at : at + size] for at in range(0, len(every), size)]


def _rows() -> sa.Select[Any]:
    word = [column.label(f"scim_{column.name}") for column in scim_users.c]
    return sa.select(users, *word).join(scim_users, scim_users.c.user_id == users.c.id)


def _one(connection: sa.Connection, condition: sa.ColumnElement[bool]) -> ProvisionedUser | None:
    row = connection.execute(_rows().where(condition)).first()
    return None if row is None else _provisioned(row)


def _is(sought: Sought) -> list[sa.ColumnElement[bool]]:
    conditions: list[sa.ColumnElement[bool]] = [scim_users.c.removed.is_(None)]
    if sought.id is not None:
        conditions.append(scim_users.c.user_id == sought.id)
    if sought.name is not None:
        conditions.append(scim_users.c.user_name_key == folded(sought.name))
    if sought.external_id is not None:
        conditions.append(scim_users.c.external_id == sought.external_id)
    return conditions


def _values(provisioned: ProvisionedUser) -> dict[str, object]:
    removed = provisioned.removed
    return {
        "user_name": provisioned.user_name,
        "user_name_key": folded(provisioned.user_name) if removed is None else None,
        "external_id": provisioned.external_id,
        "active": provisioned.active,
        "was_active": provisioned.was_active,
        "profile": provisioned.profile,
        "modified": provisioned.modified,
        "version": provisioned.version,
        "removed": removed,
    }


def _provisioned(row: sa.Row[Any]) -> ProvisionedUser:
    return ProvisionedUser(
        user=user_of(row),
        user_name=text(row.scim_user_name),
        external_id=text_or_none(row.scim_external_id),
        active=truth(row.scim_active),
        was_active=truth(row.scim_was_active),
        profile=text(row.scim_profile),
        created=moment(row.scim_created),
        modified=moment(row.scim_modified),
        version=int(row.scim_version),
        removed=moment_or_none(row.scim_removed),
    )
