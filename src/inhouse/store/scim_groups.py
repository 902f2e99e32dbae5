"""What is stored of groups that the identity provider provisions, as values; and the statements.

A group is named in grants by its name, or by the id that it has at the provider.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from inhouse.store.rows import moment, read, text, text_or_none
from inhouse.store.scim_users import Sought, folded, in_parts
from inhouse.store.tables import scim_groups, scim_members, users


@dataclass(frozen=True, slots=True)
class StoredGroup:
    """One group. Times in seconds since the epoch."""

    id: str
    name: str
    external_id: str | None
    created: float
    modified: float
    version: int = 1

    @property
    def names(self) -> tuple[str, ...]:
        """What a grant may call it."""
        return (self.name,) if self.external_id is None else (self.name, self.external_id)


@dataclass(frozen=True, slots=True)
class GroupMember:
    """One user in one group."""

    group_id: str
    user_id: str


def all_groups(connection: sa.Connection) -> list[StoredGroup]:
    """Every group, by name."""
    rows = connection.execute(sa.select(scim_groups).order_by(scim_groups.c.name)).all()
    return [group for row in rows if (group := read(_group, row, "the group", row.id)) is not None]


def all_group_members(connection: sa.Connection) -> list[GroupMember]:
    found = sa.select(scim_members.c.group_id, scim_members.c.user_id)
    rows = connection.execute(found.order_by(scim_members.c.group_id)).all()
    return [GroupMember(str(row.group_id), str(row.user_id)) for row in rows]


def by_id(connection: sa.Connection, group_id: str) -> StoredGroup | None:
    row = connection.execute(sa.select(scim_groups).where(scim_groups.c.id == group_id)).first()
    return None if row is None else _group(row)


def called(connection: sa.Connection, names: Iterable[str]) -> list[StoredGroup]:
    """Groups that a grant could mean by one of the names."""
    names = list(names)
    found = sa.select(scim_groups).where(
        sa.or_(
            scim_groups.c.name_key.in_([folded(name) for name in names]),
            scim_groups.c.external_id.in_(names),
        )
    )
    return [_group(row) for row in connection.execute(found).all()]


def count(connection: sa.Connection, sought: Sought) -> int:
    found = sa.select(sa.func.count()).select_from(scim_groups).where(*_is(sought))
    return int(connection.execute(found).scalar_one())


def page(
    connection: sa.Connection, sought: Sought, offset: int, limit: int
) -> list[tuple[StoredGroup, int]]:
    """Groups, oldest first, and how many are in each."""
    members = (
        sa.select(sa.func.count())
        .select_from(scim_members)
        .where(scim_members.c.group_id == scim_groups.c.id)
        .scalar_subquery()
    )
    found = (
        sa.select(scim_groups, members.label("members"))
        .where(*_is(sought))
        .order_by(scim_groups.c.created, scim_groups.c.id)
        .offset(offset)
        .limit(limit)
    )
    return [(_group(row), int(row.members)) for row in connection.execute(found).all()]


def members_of(
    connection: sa.Connection, group_ids: Iterable[str]
) -> dict[str, list[tuple[str, str]]]:
    """The ids and names of the users in each group."""
    found = (
        sa.select(scim_members.c.group_id, users.c.id, users.c.name)
        .join(users, users.c.id == scim_members.c.user_id)
        .order_by(users.c.id)
    )
    members: dict[str, list[tuple[str, str]]] = {}
    for some in in_parts(group_ids):
        for row in connection.execute(found.where(scim_members.c.group_id.in_(some))).all():
            members.setdefault(str(row.group_id), []).append((str(row.id), str(row.name)))
    return members


def present(connection: sa.Connection, group_id: str, user_ids: Iterable[str]) -> dict[str, str]:
    """Those of the users who are in the group, and their names."""
    found = (
        sa.select(users.c.id, users.c.name)
        .join(scim_members, scim_members.c.user_id == users.c.id)
        .where(scim_members.c.group_id == group_id)
    )
    return {
        str(row.id): str(row.name)
        for some in in_parts(user_ids)
        for row in connection.execute(found.where(users.c.id.in_(some))).all()
    }


def member_count(connection: sa.Connection, group_id: str) -> int:
    found = sa.select(sa.func.count()).where(scim_members.c.group_id == group_id)
    return int(connection.execute(found).scalar_one())


def insert(connection: sa.Connection, group: StoredGroup) -> None:
    values = {"id": group.id, "created": group.created, **_values(group)}
    connection.execute(sa.insert(scim_groups).values(values))


def update(connection: sa.Connection, group: StoredGroup) -> None:
    connection.execute(
        sa.update(scim_groups).where(scim_groups.c.id == group.id).values(_values(group))
    )


def remove(connection: sa.Connection, group_id: str) -> None:
    """The group, and who was in it."""
    connection.execute(sa.delete(scim_members).where(scim_members.c.group_id == group_id))
    connection.execute(sa.delete(scim_groups).where(scim_groups.c.id == group_id))


def add(connection: sa.Connection, group_id: str, user_ids: Iterable[str]) -> None:
    rows = [{"group_id": group_id, "user_id": user_id} for user_id in user_ids]
    if rows:
        connection.execute(sa.insert(scim_members), rows)


def take_away(connection: sa.Connection, group_id: str, user_ids: Iterable[str]) -> None:
    for some in in_parts(user_ids):
        connection.execute(
            sa.delete(scim_members)
            .where(scim_members.c.group_id == group_id)
            .where(scim_members.c.user_id.in_(some))
        )


def leave_all(connection: sa.Connection, user_id: str, at: float) -> list[StoredGroup]:
    """Take a user away from every group; from which."""
    inside = sa.select(scim_members.c.group_id).where(scim_members.c.user_id == user_id)
    found = sa.select(scim_groups).where(scim_groups.c.id.in_(inside)).order_by(scim_groups.c.id)
    left = [_group(row) for row in connection.execute(found).all()]
    connection.execute(
        sa.update(scim_groups)
        .where(scim_groups.c.id.in_(inside))
        .values(version=scim_groups.c.version + 1, modified=at)
    )
    connection.execute(sa.delete(scim_members).where(scim_members.c.user_id == user_id))
    return left


def _is(sought: Sought) -> list[sa.ColumnElement[bool]]:
    conditions: list[sa.ColumnElement[bool]] = []
    if sought.id is not None:
        conditions.append(scim_groups.c.id == sought.id)
    if sought.name is not None:
        conditions.append(scim_groups.c.name_key == folded(sought.name))
    if sought.external_id is not None:
        conditions.append(scim_groups.c.external_id == sought.external_id)
    if sought.member is not None:
        inside = sa.select(scim_members.c.group_id).where(scim_members.c.user_id == sought.member)
        conditions.append(scim_groups.c.id.in_(inside))
    return conditions


def _values(group: StoredGroup) -> dict[str, object]:
    return {
        "name": group.name,
        "name_key": folded(group.name),
        "external_id": group.external_id,
        "modified": group.modified,
        "version": group.version,
    }


def _group(row: sa.Row[Any]) -> StoredGroup:
    return StoredGroup(
        id=text(row.id),
        name=text(row.name),
        external_id=text_or_none(row.external_id),
        created=moment(row.created),
        modified=moment(row.modified),
        version=int(row.version),
    )
