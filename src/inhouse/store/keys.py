"""What is stored of API keys, as values; and the statements that read and change it."""

import json
from collections.abc import Iterable
from dataclasses import dataclass

import sqlalchemy as sa

from inhouse.store.database import Database
from inhouse.store.tables import api_key_secrets, api_keys, revision


@dataclass(frozen=True, slots=True)
class StoredSecret:
    """One secret of a key: its keyed digest, and when it stops after a rotation."""

    digest: bytes
    created: float
    ends: float | None = None

    def __repr__(self) -> str:
        return f"StoredSecret(***, ends={self.ends})"


@dataclass(frozen=True, slots=True)
class StoredKey:
    """One key. Times in seconds since the epoch; `models` is None for any."""

    id: str
    owner: str
    models: tuple[str, ...] | None
    created: float
    expires: float
    revoked: float | None = None
    last_used: float | None = None
    secrets: tuple[StoredSecret, ...] = ()


def all_keys(database: Database) -> list[StoredKey]:
    """Every key that ever was, oldest first."""
    with database.engine.connect() as connection:
        secrets: dict[str, list[StoredSecret]] = {}
        for row in connection.execute(sa.select(api_key_secrets)):
            found = StoredSecret(bytes(row.digest), row.created, row.ends)
            secrets.setdefault(row.key_id, []).append(found)
        rows = connection.execute(sa.select(api_keys).order_by(api_keys.c.created)).all()
    return [
        StoredKey(
            id=row.id,
            owner=row.owner,
            models=None if row.models is None else tuple(json.loads(row.models)),
            created=row.created,
            expires=row.expires,
            revoked=row.revoked,
            last_used=row.last_used,
            secrets=tuple(secrets.get(row.id, ())),
        )
        for row in rows
    ]


def insert(database: Database, key: StoredKey) -> None:
    """A new key with its first secret."""
    with database.engine.begin() as connection:
        connection.execute(
            sa.insert(api_keys).values(
                id=key.id,
                owner=key.owner,
                models=None if key.models is None else json.dumps(list(key.models)),
                created=key.created,
                expires=key.expires,
            )
        )
        _add_secrets(connection, key.id, key.secrets)
        _changed(connection)


def revoke(database: Database, key_id: str, at: float) -> None:
    with database.engine.begin() as connection:
        connection.execute(sa.update(api_keys).where(api_keys.c.id == key_id).values(revoked=at))
        _changed(connection)


def rotate(database: Database, key_id: str, new: StoredSecret, old_ends: float) -> None:
    """A new secret; those before it stop at `old_ends`, or earlier where they already did."""
    with database.engine.begin() as connection:
        ends = api_key_secrets.c.ends
        connection.execute(
            sa.update(api_key_secrets)
            .where(api_key_secrets.c.key_id == key_id)
            .where(sa.or_(ends.is_(None), ends > old_ends))
            .values(ends=old_ends)
        )
        _add_secrets(connection, key_id, [new])
        _changed(connection)


def note_use(database: Database, last_used: dict[str, float]) -> None:
    """When keys were last used. Not a change that watchers need to see."""
    with database.engine.begin() as connection:
        for key_id, at in last_used.items():
            connection.execute(
                sa.update(api_keys).where(api_keys.c.id == key_id).values(last_used=at)
            )


def revision_of(database: Database) -> int:
    """The number that goes up with every change."""
    with database.engine.connect() as connection:
        return int(connection.execute(sa.select(revision.c.value)).scalar_one())


def _add_secrets(connection: sa.Connection, key_id: str, secrets: Iterable[StoredSecret]) -> None:
    for secret in secrets:
        connection.execute(
            sa.insert(api_key_secrets).values(
                key_id=key_id, digest=secret.digest, created=secret.created, ends=secret.ends
            )
        )


def _changed(connection: sa.Connection) -> None:
    connection.execute(sa.update(revision).values(value=revision.c.value + 1))
