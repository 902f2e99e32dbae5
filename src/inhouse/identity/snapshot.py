"""The last good state, on the disk: what a gateway starts with while its database is away.

    DATA/keys.snapshot    one line: HMAC-SHA256 of the rest, under the pepper
                          JSON: of which database, as of when, and users, grants and keys, with
                          digests alone

It is replaced whole with every change, and belongs to one database: one that was changed by
another's hand, or kept for another database, is no snapshot.
"""

import contextlib
import hmac
import os
import secrets
from dataclasses import replace
from pathlib import Path

import msgspec

from inhouse.store.state import State

_SEAL = b"inhouse: the seal of key snapshots\n"
MAX_BYTES = 1_000_000_000


class Snapshot(msgspec.Struct, frozen=True):
    """What was in a database at a moment."""

    database: str
    taken: float
    state: State


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


def worth_keeping(state: State, now: float) -> State:
    """Without the keys that cannot be presented any more, and the grants that have ended."""
    return replace(
        state,
        keys=tuple(key for key in state.keys if key.revoked is None and now < key.expires),
        grants=tuple(grant for grant in state.grants if grant.stands(now)),
    )


def _seal(pepper: bytes, content: bytes) -> bytes:
    return hmac.digest(pepper, _SEAL + content, "sha256").hex().encode()
