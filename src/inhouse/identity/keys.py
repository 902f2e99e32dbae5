"""The life of API keys: created, rotated, revoked. Each change is in the audit log first.

Where the log cannot be written, nothing is changed.
"""

import contextlib
import difflib
import hmac
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from inhouse.audit.actor import actor
from inhouse.audit.log import append_once
from inhouse.audit.record import KeyChanged
from inhouse.config.owner import require_owner
from inhouse.config.place import SqliteFile
from inhouse.config.schema import Config
from inhouse.errors import AuditUnavailable, InhouseError, NegativeAnswer, UsageError
from inhouse.identity.pepper import pepper
from inhouse.identity.token import Token, new_id, new_token
from inhouse.store import keys as store
from inhouse.store.database import Transaction, database_at
from inhouse.store.keys import StoredKey, StoredSecret
from inhouse.store.move import copy_all, refuse_copy
from inhouse.telemetry import Clock

DAY_S = 86_400
MAX_DAYS = 3650
MAX_OWNER_CHARS = 200
JUST_NOW_S = 60  # a second rotation that soon is a second person's, or a repeated command
FAILED = {
    "created": "create-failed",
    "revoked": "revoke-failed",
    "rotated": "rotate-failed",
    "imported": "import-failed",
}


@dataclass(frozen=True, slots=True)
class Made:
    """A key and its secret, for the one moment in which it is shown."""

    key: StoredKey
    token: Token
    old_secret_ends: float | None = None  # after a rotation
    others: tuple[str, ...] = ()  # ids of the live keys that the owner has besides


class Keys:
    """The keys of one configuration. `made_store`: the store was not there before."""

    def __init__(self, config: Config, *, make: bool = True, clock: Clock = time.time) -> None:
        """Opens the store; made where it is not there and `make` says so. Raises UsageError."""
        require_owner(config.data)
        self._config = config
        self._clock = clock
        self._database = database_at(config.database)
        if not make and not self._database.exists():
            where = self._database.name if self._database.shared else config.data
            raise UsageError(f"there are no keys in {where}")
        self.made_store = self._database.open(make=make)
        self._pepper = pepper(config, self._database)

    def list(self) -> list[StoredKey]:
        """Every key that ever was, oldest first."""
        with self._database.reading() as connection:
            return store.all_keys(connection)

    def create(
        self, owner: str, *, models: tuple[str, ...] | None = None, expires: float | None = None
    ) -> Made:
        """A new key. `expires` in seconds since the epoch; keys.expire_days from now if None."""
        now = self._clock()
        owner = owner.strip()
        if not owner or len(owner) > MAX_OWNER_CHARS or not owner.isprintable():
            raise UsageError(f"an owner's name has 1 to {MAX_OWNER_CHARS} printable characters")
        if expires is None:
            expires = now + self._config.settings.keys.expire_days * DAY_S
        if expires <= now:
            raise UsageError("the key would have expired already; give it a time in the future")
        if expires > now + MAX_DAYS * DAY_S:
            raise UsageError(f"a key lives for at most {MAX_DAYS} days; give it an earlier end")
        token = new_token(new_id())
        secret = StoredSecret(self._digest(token), now)
        key = StoredKey(token.key_id, owner, models, now, expires, secrets=(secret,))
        with self._change("created") as change:
            others = [k.id for k in change.keys if k.owner == owner and _lives(k, now)]
            change.record(key, {}, _described(key))
            store.insert(change.connection, key)
        return Made(key, token, others=tuple(others))

    def revoke(self, name: str) -> StoredKey:
        """End a key, by its id or the owner's name where that is the only one."""
        now = self._clock()
        with self._change("revoked") as change:
            key = _find(change.keys, name, now)
            revoked = replace(key, revoked=now)
            change.record(key, _described(key), _described(revoked))
            store.revoke(change.connection, key.id, now)
        return revoked

    def rotate(self, name: str, *, overlap_s: float | None = None) -> Made:
        """A new secret for a key; the old one works for `overlap_s` more.

        A key that was rotated and still has its old secret is refused unless `overlap_s` is
        given: the secret of the rotation before would end unasked.
        """
        now = self._clock()
        with self._change("rotated") as change:
            key = _find(change.keys, name, now)
            if key.expires <= now:
                raise NegativeAnswer(f"the key {key.id} has expired; create a new one")
            if overlap_s is None:
                _refuse_second_rotation(key, now)
                overlap_s = self._config.settings.keys.overlap_hours * 3600
            ends = min(now + overlap_s, key.expires)
            token = new_token(key.id)
            secret = StoredSecret(self._digest(token), now)
            after = {**_described(key), "old_secret_ends": _iso(ends)}
            change.record(key, _described(key), after)
            store.rotate(change.connection, key.id, secret, ends)
            rotated = _find(store.all_keys(change.connection), key.id, now)
        return Made(rotated, token, old_secret_ends=ends)

    def import_from(self, file: Path) -> int:
        """Everything that a database of SQLite holds, into this empty one: how many keys. Raises
        NegativeAnswer where this one is not empty."""
        source = database_at(SqliteFile(file))
        if not source.exists():
            raise UsageError(f"there is no database {file}")
        source.open(make=False)
        with source.reading() as theirs, self._change("imported") as change:
            refuse_copy(theirs, change.connection)
            count = len(store.all_keys(theirs))
            change.note("", "", {}, {"from": str(file), "keys": str(count)})
            copy_all(theirs, change.connection)
        return count

    def _digest(self, token: Token) -> bytes:
        return hmac.digest(self._pepper, token.secret.reveal().encode(), "sha256")

    @contextlib.contextmanager
    def _change(self, action: str) -> "Iterator[_Change]":
        """A transaction in the store, with its record written before it is committed.

        Where the record is written and the commit fails, a record of that follows it.
        """
        recorded: list[KeyChanged] = []
        try:
            with self._database.changing() as connection:
                keys = store.all_keys(connection)
                yield _Change(action, connection, keys, self._config, self._clock(), recorded)
        except BaseException as error:  # whatever it is: the log must not say what is not so
            for change in recorded:
                self._take_back(change, error)
            raise

    def _take_back(self, change: KeyChanged, cause: BaseException) -> None:
        after = {"failed": str(cause) or type(cause).__name__}
        failed = KeyChanged(
            self._clock(), FAILED[change.action], change.key_id, change.owner, change.actor,
            change.before, after,
        )  # fmt: skip
        try:
            append_once(self._config, failed)
        except AuditUnavailable as error:
            raise UsageError(
                f"{cause}; the audit log says '{change.action}' of the key {change.key_id}, which "
                f"is not so, and it cannot be told: {error}"
            ) from cause


@dataclass(frozen=True, slots=True)
class _Change:
    """A change that is being made: the keys as they are, and where to write."""

    action: str
    connection: Transaction
    keys: list[StoredKey]
    config: Config
    now: float
    recorded: list[KeyChanged]

    def record(self, key: StoredKey, before: dict[str, str], after: dict[str, str]) -> None:
        """Durable on return. Raises AuditUnavailable, and then nothing is changed."""
        self.note(key.id, key.owner, before, after)

    def note(self, key_id: str, owner: str, before: dict[str, str], after: dict[str, str]) -> None:
        """As `record`, of no key that is here."""
        change = KeyChanged(self.now, self.action, key_id, owner, actor(), before, after)
        self.recorded.append(change)  # first: whatever comes between, a record of it follows
        try:
            append_once(self.config, change)
        except InhouseError:
            self.recorded.remove(change)  # it is not there
            raise


def _find(keys: list[StoredKey], name: str, now: float) -> StoredKey:
    """The key of that id, if it is not revoked; else the one live key of that owner."""
    unrevoked = [key for key in keys if key.revoked is None]
    live = [key for key in unrevoked if _lives(key, now)]
    found = [k for k in unrevoked if k.id == name] or [k for k in live if k.owner == name]
    if len(found) == 1:
        return found[0]
    if found:
        ids = ", ".join(key.id for key in found)
        raise NegativeAnswer(f"'{name}' has several keys: {ids}; name one by its id")
    near = difflib.get_close_matches(name, [k.id for k in live] + [k.owner for k in live], n=3)
    hint = f"; near: {', '.join(near)}" if near else "; see: inhouse keys list"
    raise NegativeAnswer(f"there is no live key '{name}'{hint}")


def _refuse_second_rotation(key: StoredKey, now: float) -> None:
    """Raise NegativeAnswer where an old secret still works, or the new one is seconds old."""
    old_until = old_secret_ends(key, now)
    if old_until is not None:
        raise NegativeAnswer(
            f"the key {key.id} was rotated already, and its old secret works until "
            f"{_iso(old_until)}; give --overlap to rotate it again: all secrets that it has now "
            "then end with that overlap"
        )
    if len(key.secrets) > 1 and now - key.secrets[-1].created < JUST_NOW_S:
        raise NegativeAnswer(
            f"the key {key.id} was rotated less than {JUST_NOW_S} s ago; give --overlap to rotate "
            "it again: the secret that it has now then ends with that overlap"
        )


def live_secrets(key: StoredKey, now: float) -> int:
    """How many secrets of a key work at `now`."""
    if state_of(key, now) != "active":
        return 0
    return sum(secret.ends is None or now < secret.ends for secret in key.secrets)


def old_secret_ends(key: StoredKey, now: float) -> float | None:
    """When the last of its old secrets stops; None where none of them works."""
    if state_of(key, now) != "active":
        return None
    ends = [secret.ends for secret in key.secrets if secret.ends is not None]
    return max((end for end in ends if now < end), default=None)


def _lives(key: StoredKey, now: float) -> bool:
    return state_of(key, now) == "active"


def state_of(key: StoredKey, now: float) -> str:
    """'active', 'expired' or 'revoked'."""
    if key.revoked is not None:
        return "revoked"
    return "active" if now < key.expires else "expired"


def _described(key: StoredKey) -> dict[str, str]:
    described = {
        "owner": key.owner,
        "models": "any" if key.models is None else ", ".join(key.models),
        "expires": _iso(key.expires),
    }
    return described if key.revoked is None else described | {"revoked": _iso(key.revoked)}


def _iso(at: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))
