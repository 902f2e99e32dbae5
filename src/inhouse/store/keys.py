"""What is stored of API keys, as values; and the statements that read and change it."""

import json
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from operator import attrgetter
from typing import Any, TypeVar

import sqlalchemy as sa

from inhouse.store.tables import api_key_secrets, api_keys

log = logging.getLogger("inhouse.store")

DIGEST_BYTES = 32
END_OF_TIME = 253_402_300_800  # the year 10000: later ones cannot be written out
T = TypeVar("T")


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


def all_keys(connection: sa.Connection) -> list[StoredKey]:
    """Every key that ever was, oldest first.

    A row that makes no sense is left out, and the log says so: its key does not work, and the
    others do.
    """
    secrets: dict[str, list[StoredSecret]] = {}
    for row in connection.execute(sa.select(api_key_secrets)):
        if (secret := _read(_secret, row, "a secret of the key", row.key_id)) is not None:
            secrets.setdefault(row.key_id, []).append(secret)
    rows = connection.execute(sa.select(api_keys).order_by(api_keys.c.created)).all()
    return [
        key
        for row in rows
        if (key := _read(partial(_key, secrets), row, "the key", row.id)) is not None
    ]


def insert(connection: sa.Connection, key: StoredKey) -> None:
    """A new key with its first secret."""
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


def revoke(connection: sa.Connection, key_id: str, at: float) -> None:
    connection.execute(sa.update(api_keys).where(api_keys.c.id == key_id).values(revoked=at))


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


def _read(read: Callable[[sa.Row[Any]], T], row: sa.Row[Any], what: str, name: object) -> T | None:
    try:
        return read(row)
    except (ValueError, TypeError, RecursionError) as error:
        log.error("%s %r in the store makes no sense and is left out: %s", what, name, error)
        return None


def _key(secrets: dict[str, list[StoredSecret]], row: sa.Row[Any]) -> StoredKey:
    return StoredKey(
        id=_text(row.id),
        owner=_text(row.owner),
        models=None if row.models is None else tuple(_text(name) for name in _list(row.models)),
        created=_moment(row.created),
        expires=_moment(row.expires),
        revoked=None if row.revoked is None else _moment(row.revoked),
        last_used=None if row.last_used is None else _moment(row.last_used),
        secrets=tuple(sorted(secrets.get(row.id, ()), key=attrgetter("created"))),
    )


def _secret(row: sa.Row[Any]) -> StoredSecret:
    digest = bytes(row.digest) if isinstance(row.digest, bytes) else b""
    if len(digest) != DIGEST_BYTES:
        raise ValueError(f"its digest is not {DIGEST_BYTES} bytes")
    ends = None if row.ends is None else _moment(row.ends)
    return StoredSecret(digest, _moment(row.created), ends)


def _moment(value: object) -> float:
    if isinstance(value, int | float) and 0 <= value < END_OF_TIME:
        return float(value)
    raise ValueError("a time of it is none")


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    raise ValueError("a name of it is no text")


def _list(text: object) -> list[object]:
    found = json.loads(_text(text))
    if isinstance(found, list):
        return found
    raise ValueError("its models are no list")


def _add_secrets(connection: sa.Connection, key_id: str, secrets: Iterable[StoredSecret]) -> None:
    for secret in secrets:
        connection.execute(
            sa.insert(api_key_secrets).values(
                key_id=key_id, digest=secret.digest, created=secret.created, ends=secret.ends
            )
        )
