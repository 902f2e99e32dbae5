"""What is stored of requests for grants, as values; and the statements."""

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
from inhouse.store.tables import access_requests as requests

OPEN = "open"
APPROVED = "approved"
DENIED = "denied"
STATES = (OPEN, APPROVED, DENIED)


@dataclass(frozen=True, slots=True)
class StoredRequest:
    """What somebody asked for, and what became of it. `until`: when the grant shall end."""

    id: str
    user_id: str  # for whom
    asked_by: str
    role: str
    created: float
    reason: str
    models: tuple[str, ...] | None = None
    dialects: tuple[str, ...] | None = None
    purposes: tuple[str, ...] | None = None
    until: float | None = None
    state: str = OPEN
    decided: float | None = None
    decided_by: str | None = None
    note: str | None = None
    grant_id: str | None = None


def all_requests(connection: sa.Connection) -> list[StoredRequest]:
    """Every request that ever was, oldest first."""
    rows = connection.execute(sa.select(requests).order_by(requests.c.created)).all()
    return [each for row in rows if (each := read(_request, row, "the request", row.id))]


def insert(connection: sa.Connection, request: StoredRequest) -> None:
    connection.execute(
        sa.insert(requests).values(
            id=request.id, user_id=request.user_id, asked_by=request.asked_by, role=request.role,
            models=written(request.models), dialects=written(request.dialects),
            purposes=written(request.purposes), created=request.created, until=request.until,
            reason=request.reason, state=request.state,
        )
    )  # fmt: skip


def decide(connection: sa.Connection, request: StoredRequest) -> None:
    """What became of it."""
    connection.execute(
        sa.update(requests)
        .where(requests.c.id == request.id)
        .values(
            state=request.state,
            decided=request.decided,
            decided_by=request.decided_by,
            note=request.note,
            grant_id=request.grant_id,
        )
    )


def _request(row: sa.Row[Any]) -> StoredRequest:
    if row.state not in STATES:
        raise ValueError("its state is none")
    return StoredRequest(
        id=text(row.id),
        user_id=text(row.user_id),
        asked_by=text(row.asked_by),
        role=text(row.role),
        created=moment(row.created),
        reason=text(row.reason),
        models=names_or_none(row.models),
        dialects=names_or_none(row.dialects),
        purposes=names_or_none(row.purposes),
        until=moment_or_none(row.until),
        state=row.state,
        decided=moment_or_none(row.decided),
        decided_by=text_or_none(row.decided_by),
        note=text_or_none(row.note),
        grant_id=text_or_none(row.grant_id),
    )
