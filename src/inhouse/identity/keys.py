"""The life of API keys: created, rotated, revoked. Each change is in the audit log first.

Where the log cannot be written, nothing is changed.
"""

import difflib
import getpass
import hmac
import time
from dataclasses import dataclass, replace
from pathlib import Path

from inhouse.audit.log import append_once
from inhouse.audit.record import KeyChanged
from inhouse.config.keyfile import read_or_create
from inhouse.config.schema import Config
from inhouse.errors import NegativeAnswer, UsageError
from inhouse.identity.token import Token, new_id, new_token
from inhouse.store import keys as store
from inhouse.store.database import Database
from inhouse.store.keys import StoredKey, StoredSecret
from inhouse.telemetry import Clock

DAY_S = 86_400
MAX_OWNER_CHARS = 200


def pepper_path(config: Config) -> Path:
    return config.secrets_directory / "pepper.key"


@dataclass(frozen=True, slots=True)
class Made:
    """A key and its secret, for the one moment in which it is shown."""

    key: StoredKey
    token: Token


class Keys:
    """The keys of one configuration."""

    def __init__(self, config: Config, *, clock: Clock = time.time) -> None:
        """Opens the store, making it where it is not there. Raises UsageError."""
        self._config = config
        self._clock = clock
        self._database = Database(config.store_url)
        self._pepper = read_or_create(pepper_path(config))

    def list(self) -> list[StoredKey]:
        """Every key that ever was, oldest first."""
        return store.all_keys(self._database)

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
        token = new_token(new_id())
        secret = StoredSecret(self._digest(token), now)
        key = StoredKey(token.key_id, owner, models, now, expires, secrets=(secret,))
        self._record("created", key, {}, _described(key))
        store.insert(self._database, key)
        return Made(key, token)

    def revoke(self, name: str) -> StoredKey:
        """End a key, by its id or the owner's name where that is the only one."""
        key = self._find(name)
        now = self._clock()
        revoked = replace(key, revoked=now)
        self._record("revoked", key, _described(key), _described(revoked))
        store.revoke(self._database, key.id, now)
        return revoked

    def rotate(self, name: str, *, overlap_s: float | None = None) -> Made:
        """A new secret for a key; the old one works for `overlap_s` more."""
        key = self._find(name)
        now = self._clock()
        if key.expires <= now:
            raise NegativeAnswer(f"the key {key.id} has expired; create a new one")
        if overlap_s is None:
            overlap_s = self._config.settings.keys.overlap_hours * 3600
        token = new_token(key.id)
        secret = StoredSecret(self._digest(token), now)
        after = {**_described(key), "old_secret_ends": _iso(now + overlap_s)}
        self._record("rotated", key, _described(key), after)
        store.rotate(self._database, key.id, secret, now + overlap_s)
        return Made(key, token)

    def _find(self, name: str) -> StoredKey:
        live = [key for key in self.list() if key.revoked is None]
        found = [key for key in live if key.id == name] or [k for k in live if k.owner == name]
        if len(found) == 1:
            return found[0]
        if found:
            ids = ", ".join(key.id for key in found)
            raise NegativeAnswer(f"'{name}' has several keys: {ids}; name one by its id")
        near = difflib.get_close_matches(name, [k.id for k in live] + [k.owner for k in live], n=3)
        hint = f"; near: {', '.join(near)}" if near else "; see: inhouse keys list"
        raise NegativeAnswer(f"there is no live key '{name}'{hint}")

    def _digest(self, token: Token) -> bytes:
        return hmac.digest(self._pepper, token.secret.reveal().encode(), "sha256")

    def _record(
        self, action: str, key: StoredKey, before: dict[str, str], after: dict[str, str]
    ) -> None:
        actor = f"os:{getpass.getuser()}"
        change = KeyChanged(self._clock(), action, key.id, key.owner, actor, before, after)
        append_once(self._config, change)


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
