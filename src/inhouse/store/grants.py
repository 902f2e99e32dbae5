"""What is stored of grants, as values; and the statements.

A grant that was revoked stays: the records of requests name the grant that allowed them.
"""

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from inhouse.store.rows import (
    moment,
    moment_or_none,
    names_or_none,
    read,
    text,
    text_or_none,
    written,
)
from inhouse.store.tables import grants

USER = "user"
TEAM = "team"
GROUP = "group"
KINDS = (USER, TEAM, GROUP)


@dataclass(frozen=True, slots=True)
class StoredGrant:
    """One role for one holder. Times in seconds since the epoch; None for any models, dialects or
    purposes, and for no end."""

    id: str
    holder_kind: str
    holder: str  # the id of a user or a team, or the name of a group
    role: str
    created: float
    given_by: str
    reason: str = ""
    origin: str = "given"
    models: tuple[str, ...] | None = None
    dialects: tuple[str, ...] | None = None
    purposes: tuple[str, ...] | None = None
    expires: float | None = None
    revoked: float | None = None
    revoked_by: str | None = None

    def stands(self, now: float) -> bool:
        """Whether it gives anything at `now`."""
        return self.revoked is None and (self.expires is None or now < self.expires)


def all_grants(connection: sa.Connection) -> list[StoredGrant]:
    """Every grant that ever was, oldest first."""
    rows = connection.execute(sa.select(grants).order_by(grants.c.created, grants.c.id)).all()
    return [grant for row in rows if (grant := read(_grant, row, "the grant", row.id)) is not None]


def insert(connection: sa.Connection, grant: StoredGrant) -> None:
    connection.execute(
        sa.insert(grants).values(
            id=grant.id, holder_kind=grant.holder_kind, holder=grant.holder, role=grant.role,
            models=written(grant.models), dialects=written(grant.dialects),
            purposes=written(grant.purposes), created=grant.created, expires=grant.expires,
            given_by=grant.given_by, reason=grant.reason, origin=grant.origin,
        )
    )  # fmt: skip


def revoke(connection: sa.Connection, grant_id: str, at: float, by: str) -> None:
    connection.execute(
        sa.update(grants)
        .where(grants.c.id == grant_id)
        .where(grants.c.revoked.is_(None))
        .values(revoked=at, revoked_by=by)
    )


def revoke_all(connection: sa.Connection, ids: list[str], at: float, by: str) -> None:
    """Many at once, in one statement."""
    if not ids:
        return
    connection.execute(
        sa.update(grants)
        .where(grants.c.id == sa.bindparam("which"))
        .where(grants.c.revoked.is_(None))
        .values(revoked=at, revoked_by=by),
        [{"which": each} for each in ids],
    )


def _grant(row: sa.Row[Any]) -> StoredGrant:
    if row.holder_kind not in KINDS:
        raise ValueError("its holder is neither a user, a team nor a group")
    return StoredGrant(
        id=text(row.id),
        holder_kind=row.holder_kind,
        holder=text(row.holder),
        role=text(row.role),
        created=moment(row.created),
        given_by=text(row.given_by),
        reason=text(row.reason),
        origin=text(row.origin),
        models=names_or_none(row.models),
        dialects=names_or_none(row.dialects),
        purposes=names_or_none(row.purposes),
        expires=moment_or_none(row.expires),
        revoked=moment_or_none(row.revoked),
        revoked_by=text_or_none(row.revoked_by),
    )
