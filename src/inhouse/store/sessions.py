"""What is stored of people's sessions, as values; and the statements that read and change it.

A session is found by the digest of its token. The token itself is with its browser alone.
"""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from inhouse.store.tables import sessions

log = logging.getLogger("inhouse.store")

DIGEST_BYTES = 32
KEPT_S = 86_400.0  # how long one that is over is still known


@dataclass(frozen=True, slots=True)
class StoredSession:
    """One session. Times in seconds since the epoch."""

    id: str
    digest: bytes
    issuer: str
    subject: str
    name: str
    roles: frozenset[str]
    groups: frozenset[str]
    provider_session: str  # empty where the provider named none
    created: float
    last_seen: float
    idle_s: float
    expires: float
    ended: float | None = None

    def __repr__(self) -> str:
        return f"StoredSession({self.id!r}, {self.issuer!r}, {self.subject!r})"


def live(connection: sa.Connection, now: float) -> list[StoredSession]:
    """Those that were not ended and have not expired, oldest first. Whether one was idle for too
    long is not judged here: another process may have seen it since.

    A row that makes no sense is left out, and the log says so: that person logs in again.
    """
    statement = (
        sa.select(sessions)
        .where(sessions.c.ended.is_(None))
        .where(sessions.c.expires > now)
        .order_by(sessions.c.created)
    )
    found = []
    for row in connection.execute(statement):
        try:
            found.append(_session(row))
        except (ValueError, TypeError, RecursionError) as error:
            log.error("a session in the store makes no sense and is left out: %s", error)
    return found


def insert(connection: sa.Connection, session: StoredSession) -> None:
    values = {name: getattr(session, name) for name in StoredSession.__slots__}
    values |= {name: json.dumps(sorted(values[name])) for name in ("roles", "groups")}
    connection.execute(sa.insert(sessions).values(values))


def end(connection: sa.Connection, ids: list[str], at: float) -> None:
    """End these, where they have not ended already."""
    connection.execute(
        sa.update(sessions)
        .where(sessions.c.id.in_(ids))
        .where(sessions.c.ended.is_(None))
        .values(ended=at)
    )


def forget(connection: sa.Connection, now: float) -> None:
    """Take away those that have been over for a while."""
    before = now - KEPT_S
    over = sa.or_(
        sessions.c.ended < before,
        sessions.c.expires < before,
        sessions.c.last_seen + sessions.c.idle_s < before,
    )
    connection.execute(sa.delete(sessions).where(over))


def note_seen(connection: sa.Connection, seen: Mapping[str, float]) -> None:
    """When sessions were last seen, by this process; another one may have seen them later. Not a
    change that watchers need to see."""
    for session_id, at in seen.items():
        connection.execute(
            sa.update(sessions)
            .where(sessions.c.id == session_id)
            .where(sessions.c.last_seen < at)
            .values(last_seen=at)
        )


def last_seen(connection: sa.Connection, now: float) -> dict[str, float]:
    """When live sessions were last seen, by whichever process."""
    rows = connection.execute(
        sa.select(sessions.c.id, sessions.c.last_seen)
        .where(sessions.c.ended.is_(None))
        .where(sessions.c.expires > now)
    )
    return {row.id: float(row.last_seen) for row in rows}


def _session(row: sa.Row[Any]) -> StoredSession:
    digest = bytes(row.digest)
    if len(digest) != DIGEST_BYTES:
        raise ValueError(f"its digest is not {DIGEST_BYTES} bytes")
    return StoredSession(
        id=row.id,
        digest=digest,
        issuer=row.issuer,
        subject=row.subject,
        name=row.name,
        roles=_names(row.roles),
        groups=_names(row.groups),
        provider_session=row.provider_session,
        created=float(row.created),
        last_seen=float(row.last_seen),
        idle_s=float(row.idle_s),
        expires=float(row.expires),
    )


def _names(text: str) -> frozenset[str]:
    found = json.loads(text)
    if isinstance(found, list) and all(isinstance(name, str) for name in found):
        return frozenset(found)
    raise ValueError("its roles or groups are no list of names")
