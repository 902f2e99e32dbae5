"""The life of API keys: created, rotated, revoked. Each change is in the audit log first.

Where the log cannot be written, nothing is changed.
"""

import difflib
import hmac
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from inhouse.audit.record import Changed, KeyChanged
from inhouse.config.place import SqliteFile
from inhouse.config.schema import Config
from inhouse.errors import NegativeAnswer, NotPermitted, NotThere, UsageError
from inhouse.identity import grants, users
from inhouse.identity.actor import Actor
from inhouse.identity.bounds import Bounds
from inhouse.identity.ledger import Change, Ledger, iso, listed, named
from inhouse.identity.pepper import pepper
from inhouse.identity.token import Token, new_id, new_token
from inhouse.store import grants as grant_store
from inhouse.store import keys as store
from inhouse.store import users as user_store
from inhouse.store.database import database_at
from inhouse.store.keys import StoredKey, StoredSecret
from inhouse.store.move import copy_all, refuse_copy
from inhouse.store.users import SERVICE, StoredUser
from inhouse.telemetry import Clock

DAY_S = 86_400
MAX_DAYS = 3650
JUST_NOW_S = 60  # a second rotation that soon is a second person's, or a repeated command


@dataclass(frozen=True, slots=True)
class Made:
    """A key and its secret, for the one moment in which it is shown."""

    key: StoredKey
    token: Token
    old_secret_ends: float | None = None  # after a rotation
    others: tuple[str, ...] = ()  # ids of the live keys of that name that there are besides
    may_nothing: bool = False  # whose it is has no grant that allows to ask a model


class Keys:
    """The keys of one configuration, as one actor may see and change them: whoever is local,
    unless said otherwise. `made_store`: the store was not there before."""

    def __init__(
        self,
        config: Config,
        *,
        make: bool = True,
        clock: Clock = time.time,
        actor: Actor | None = None,
        ledger: Ledger | None = None,
    ) -> None:
        """Opens the store, unless a ledger is handed in; made where it is not there and `make`
        says so. Raises UsageError."""
        self._config = config
        self._clock = clock
        self._actor = Actor.local() if actor is None else actor
        self._ledger = ledger or Ledger(config, make=make, clock=clock, what="keys")
        self.made_store = self._ledger.made_store
        self._pepper = pepper(config, self._ledger.database)

    def list(self) -> list[StoredKey]:
        """Every key that ever was, oldest first; one's own, without the permission to see
        others'."""
        with self._ledger.database.reading() as connection:
            found = store.all_keys(connection)
        if self._actor.may("keys:read"):
            return found
        self._actor.needs("keys:own")
        return [key for key in found if self._actor.is_user(key.owner_id or "")]

    def create(
        self,
        owner: str,
        *,
        models: tuple[str, ...] | None = None,
        expires: float | None = None,
        dialects: tuple[str, ...] | None = None,
        purposes: tuple[str, ...] | None = None,
        user: str = "",
    ) -> Made:
        """A new key under the name `owner`. It belongs to `user`, by id or name; without one, to
        the service of that name, which is made, with a grant of the role `service`, where there is
        none. `expires` in seconds since the epoch; keys.expire_days from now if None."""
        now = self._clock()
        owner = named(owner, "an owner's name")
        expires = self._end(now, expires)
        bounds = Bounds(models, dialects, purposes).checked()
        token = new_token(new_id())
        secret = StoredSecret(self._digest(token), now)
        key = StoredKey(
            token.key_id, owner, bounds.models, now, expires, secrets=(secret,),
            dialects=bounds.dialects, purposes=bounds.purposes,
        )  # fmt: skip
        with self._ledger.change(self._actor) as change:
            others = [k.id for k in change.state.keys if k.owner == owner and _lives(k, now)]
            whose, made = self._whose(change, owner, user)
            key = replace(key, owner_id=whose.id)
            records, grant = _made_service(change, whose) if made else ([], None)
            change.record(*records, _record(change, "created", key, {}, _described(key)))
            if grant is not None:
                user_store.insert(change.connection, whose)
                grant_store.insert(change.connection, grant)
            store.insert(change.connection, key)
            shown = users.shown(change.state, whose, self._ledger.separate, now)
        may = grant is not None or "models:use" in shown.permissions
        return Made(key, token, others=tuple(others), may_nothing=not may)

    def revoke(self, name: str) -> StoredKey:
        """End a key, by its id or the owner's name where that is the only one."""
        now = self._clock()
        with self._ledger.change(self._actor) as change:
            key = _find(change.state.keys, name, now)
            self._needs(key, change)
            revoked = replace(key, revoked=now)
            change.record(_record(change, "revoked", key, _described(key), _described(revoked)))
            store.revoke(change.connection, key.id, now)
        return revoked

    def rotate(self, name: str, *, overlap_s: float | None = None) -> Made:
        """A new secret for a key; the old one works for `overlap_s` more.

        A key that was rotated and still has its old secret is refused unless `overlap_s` is
        given: the secret of the rotation before would end unasked.
        """
        now = self._clock()
        with self._ledger.change(self._actor) as change:
            key = _find(change.state.keys, name, now)
            self._needs(key, change, shown=True)
            if key.expires <= now:
                raise NegativeAnswer(f"the key {key.id} has expired; create a new one")
            if overlap_s is None:
                _refuse_second_rotation(key, now)
                overlap_s = self._config.settings.keys.overlap_hours * 3600
            ends = min(now + overlap_s, key.expires)
            token = new_token(key.id)
            secret = StoredSecret(self._digest(token), now)
            after = {**_described(key), "old_secret_ends": iso(ends)}
            change.record(_record(change, "rotated", key, _described(key), after))
            store.rotate(change.connection, key.id, secret, ends)
            rotated = _find(store.all_keys(change.connection), key.id, now)
        return Made(rotated, token, old_secret_ends=ends)

    def import_from(self, file: Path) -> int:
        """Everything that a database of SQLite holds, into this empty one: how many keys. Raises
        NegativeAnswer where this one is not empty."""
        self._actor.needs("keys:write")
        source = database_at(SqliteFile(file))
        if not source.exists():
            raise UsageError(f"there is no database {file}")
        source.open(make=False)
        with source.reading() as theirs, self._ledger.change(self._actor) as change:
            refuse_copy(theirs, change.connection)
            count = len(store.all_keys(theirs))
            after = {"from": str(file), "keys": str(count)}
            change.record(KeyChanged(change.now, "imported", "", "", self._actor.id, {}, after))
            copy_all(theirs, change.connection)
        return count

    def _digest(self, token: Token) -> bytes:
        return hmac.digest(self._pepper, token.secret.reveal().encode(), "sha256")

    def _end(self, now: float, expires: float | None) -> float:
        if expires is None:
            expires = now + self._config.settings.keys.expire_days * DAY_S
        if expires <= now:
            raise UsageError("the key would have expired already; give it a time in the future")
        if expires > now + MAX_DAYS * DAY_S:
            raise UsageError(f"a key lives for at most {MAX_DAYS} days; give it an earlier end")
        return expires

    def _needs(self, key: StoredKey, change: Change, *, shown: bool = False) -> None:
        """Raise NotPermitted where the actor may not change this key, or, with `shown`, may not
        see a secret of it: nobody has one that stands for another person."""
        if self._actor.is_user(key.owner_id or "") and self._actor.may("keys:own"):
            return
        self._actor.needs("keys:write")
        users_there = change.state.users
        if shown and self._actor.user is not None and not _is_service(users_there, key.owner_id):
            raise NotPermitted("a person's key is made and rotated by that person alone")

    def _whose(self, change: Change, owner: str, user: str) -> tuple[StoredUser, bool]:
        """The user that a new key belongs to, and whether they have to be made."""
        actor = self._actor
        _refuse_bounded(actor)
        if user:
            found = users.find_user(change.state, user)
        else:
            services = (u for u in change.state.users if u.kind == SERVICE and u.subject == owner)
            existing = next(services, None)
            if existing is None:
                for permission in ("keys:write", "users:write", "grants:write"):
                    actor.needs(permission)
                return users.new_user(change.now, owner, source="key"), True
            found = existing
        if not (actor.is_user(found.id) and actor.may("keys:own")):
            actor.needs("keys:write")
            if actor.user is not None and found.kind != SERVICE:
                raise NotPermitted("a person's key is made and rotated by that person alone")
        if not found.active:
            raise NegativeAnswer(
                f"{found.name} is inactive, and no key of theirs would work; see: "
                f"inhouse users reactivate"
            )
        return found, False


def _refuse_bounded(actor: Actor) -> None:
    """A key that is for some models only must not make one that is for all."""
    ceiling = None if actor.principal is None else actor.principal.ceiling
    if ceiling is None:
        return
    if (ceiling.models, ceiling.dialects, ceiling.purposes) != (None, None, None):
        raise NotPermitted("a credential for some models, dialects or purposes makes no keys")


def _is_service(users_there: Iterable[StoredUser], user_id: str | None) -> bool:
    return any(user.id == user_id and user.kind == SERVICE for user in users_there)


def _made_service(
    change: Change, service: StoredUser
) -> "tuple[list[Changed], grant_store.StoredGrant]":
    """The grant of a service that a key is made for, and the records of both."""
    grant = grants.new_grant(
        change, (grant_store.USER, service.id), "service", reason="made with its first key",
        origin="key",
    )  # fmt: skip
    return [
        change.changed(
            "user", "created", (service.id, service.name), after=users.described(service)
        ),
        change.changed(
            "grant", "given", (grant.id, f"user {service.name}"),
            after=grants.described(grant), reason=grant.reason,
        ),
    ], grant  # fmt: skip


def _record(
    change: Change, action: str, key: StoredKey, before: dict[str, str], after: dict[str, str]
) -> KeyChanged:
    return KeyChanged(change.now, action, key.id, key.owner, change.actor.id, before, after)


def _find(keys: Iterable[StoredKey], name: str, now: float) -> StoredKey:
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
    raise NotThere(f"there is no live key '{name}'{hint}")


def _refuse_second_rotation(key: StoredKey, now: float) -> None:
    """Raise NegativeAnswer where an old secret still works, or the new one is seconds old."""
    old_until = old_secret_ends(key, now)
    if old_until is not None:
        raise NegativeAnswer(
            f"the key {key.id} was rotated already, and its old secret works until "
            f"{iso(old_until)}; give --overlap to rotate it again: all secrets that it has now "
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
        "user": key.owner_id or "nobody",
        "models": listed(key.models),
        "expires": iso(key.expires),
    }
    for what, names in (("dialects", key.dialects), ("purposes", key.purposes)):
        if names is not None:
            described[what] = listed(names)
    return described if key.revoked is None else described | {"revoked": iso(key.revoked)}
