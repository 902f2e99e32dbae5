"""What is stored of API keys, as values; and the statements that read and change it."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from operator import attrgetter
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
from inhouse.store.tables import api_key_secrets, api_keys

DIGEST_BYTES = 32


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
    """One key. Times in seconds since the epoch; `models`, `dialects` and `purposes` are None for
    any."""

    id: str
    owner: str
    models: tuple[str, ...] | None
    created: float
    expires: float
    revoked: float | None = None
    last_used: float | None = None
    secrets: tuple[StoredSecret, ...] = ()
    owner_id: str | None = None  # whose it is; None where that user was removed
    dialects: tuple[str, ...] | None = None
    purposes: tuple[str, ...] | None = None


def all_keys(connection: sa.Connection) -> list[StoredKey]:
    """Every key that ever was, oldest first.

    A row that makes no sense is left out, and the log says so: its key does not work, and the
    others do.
    """
    secrets: dict[str, list[StoredSecret]] = {}
    for row in connection.execute(sa.select(api_key_secrets)):
        if (secret := read(_secret, row, "a secret of the key", row.key_id)) is not None:
            secrets.setdefault(row.key_id, []).append(secret)
    rows = connection.execute(sa.select(api_keys).order_by(api_keys.c.created)).all()
    return [
        key
        for row in rows
        if (key := read(partial(_key, secrets), row, "the key", row.id)) is not None
    ]


def insert(connection: sa.Connection, key: StoredKey) -> None:
    """A new key with its first secret."""
    connection.execute(
        sa.insert(api_keys).values(
            id=key.id,
            owner=key.owner,
            models=written(key.models),
            created=key.created,
            expires=key.expires,
            owner_id=key.owner_id,
            dialects=written(key.dialects),
            purposes=written(key.purposes),
        )
    )
    _add_secrets(connection, key.id, key.secrets)


def revoke(connection: sa.Connection, key_id: str, at: float) -> None:
    connection.execute(sa.update(api_keys).where(api_keys.c.id == key_id).values(revoked=at))


def leave_ownerless(connection: sa.Connection, user_id: str) -> None:
    """The keys of a user that is removed: they stay to be read, and stand for nobody."""
    connection.execute(
        sa.update(api_keys).where(api_keys.c.owner_id == user_id).values(owner_id=None)
    )


def rotate(connection: sa.Connection, key_id: str, new: StoredSecret, old_ends: float) -> None:
    """A new secret; those before it stop at `old_ends`, or earlier where they already did."""
    ends = api_key_secrets.c.ends
    connection.execute(
        sa.update(api_key_secrets)
        .where(api_key_secrets.c.key_id == key_id)
        .where(sa.or_(ends.is_(None), ends > old_ends))
        .values(ends=old_ends)
    )
    _add_secrets(connection, key_id, [new])


def note_use(connection: sa.Connection, last_used: dict[str, float]) -> None:
    """When keys were last used, by this gateway; another one may have seen them later. Not a
    change that watchers need to see."""
    noted = api_keys.c.last_used
    for key_id, at in last_used.items():
        connection.execute(
            sa.update(api_keys)
            .where(api_keys.c.id == key_id)
            .where(sa.or_(noted.is_(None), noted < at))
            .values(last_used=at)
        )


def has_secrets(connection: sa.Connection) -> bool:
    """Whether there is a digest that needs its pepper."""
    return connection.execute(sa.select(api_key_secrets.c.key_id).limit(1)).first() is not None


def _key(secrets: dict[str, list[StoredSecret]], row: sa.Row[Any]) -> StoredKey:
    return StoredKey(
        id=text(row.id),
        owner=text(row.owner),
        models=names_or_none(row.models),
        created=moment(row.created),
        expires=moment(row.expires),
        revoked=moment_or_none(row.revoked),
        last_used=moment_or_none(row.last_used),
        secrets=tuple(sorted(secrets.get(row.id, ()), key=attrgetter("created"))),
        owner_id=text_or_none(row.owner_id),
        dialects=names_or_none(row.dialects),
        purposes=names_or_none(row.purposes),
    )


def _secret(row: sa.Row[Any]) -> StoredSecret:
    digest = bytes(row.digest) if isinstance(row.digest, bytes) else b""
    if len(digest) != DIGEST_BYTES:
        raise ValueError(f"its digest is not {DIGEST_BYTES} bytes")
    return StoredSecret(digest, moment(row.created), moment_or_none(row.ends))


def _add_secrets(connection: sa.Connection, key_id: str, secrets: Iterable[StoredSecret]) -> None:
    for secret in secrets:
        connection.execute(
            sa.insert(api_key_secrets).values(
                key_id=key_id, digest=secret.digest, created=secret.created, ends=secret.ends
            )
        )
