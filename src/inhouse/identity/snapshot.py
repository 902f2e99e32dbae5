"""The last good keys, on the disk: what a gateway starts with while its database is away.

    DATA/keys.snapshot    one line: HMAC-SHA256 of the rest, under the pepper
                          JSON: whose keys, as of when, and the keys, with digests alone

It is replaced whole with every change of the keys, and belongs to one database: one that was
changed by another's hand, or kept for another database, is no snapshot.
"""

import contextlib
import hmac
import os
import secrets
from collections.abc import Iterable
from pathlib import Path

import msgspec

from inhouse.store.keys import StoredKey

_SEAL = b"inhouse: the seal of key snapshots\n"
MAX_BYTES = 1_000_000_000


class Snapshot(msgspec.Struct, frozen=True):
    """The keys of a database at a moment."""

    database: str
    taken: float
    keys: tuple[StoredKey, ...]


def write(path: Path, pepper: bytes, snapshot: Snapshot) -> None:
    """Durable, and readable by its owner alone. Raises OSError."""
    content = msgspec.json.encode(snapshot)
    draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    file = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(file, "wb") as opened:
            opened.write(_seal(pepper, content) + b"\n" + content)
            opened.flush()
            os.fsync(opened.fileno())
        draft.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            draft.unlink()
        raise
    directory = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def read(path: Path, pepper: bytes, database: str) -> Snapshot | None:
    """The snapshot of `database`; None where there is none, or none that we wrote."""
    try:
        with path.open("rb") as opened:
            seal, _, content = opened.read(MAX_BYTES).partition(b"\n")
    except OSError:
        return None
    if not hmac.compare_digest(seal, _seal(pepper, content)):
        return None
    try:
        found = msgspec.json.decode(content, type=Snapshot)
    except (msgspec.DecodeError, RecursionError):  # sealed by a release that writes another form
        return None
    return found if found.database == database else None


def worth_keeping(keys: Iterable[StoredKey], now: float) -> tuple[StoredKey, ...]:
    """Those that may still be presented."""
    return tuple(key for key in keys if key.revoked is None and now < key.expires)


def _seal(pepper: bytes, content: bytes) -> bytes:
    return hmac.digest(pepper, _SEAL + content, "sha256").hex().encode()
