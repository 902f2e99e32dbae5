"""API keys: listed, made, rotated, revoked, by identity's `Keys`, which also records it."""

import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from inhouse.console.call import Call
from inhouse.errors import Code, NegativeAnswer, NotPermitted, NotThere, Refusal, UsageError
from inhouse.identity.keys import (
    Keys,
    Made,
    live_secrets,
    old_secret_ends,
    state_of,
)
from inhouse.identity.ledger import MAX_NAME_CHARS
from inhouse.store.database import DatabaseAway
from inhouse.store.keys import StoredKey

State = Literal["active", "expired", "revoked"]
Name = Annotated[str, Meta(min_length=1, max_length=MAX_NAME_CHARS)]
Names = Annotated[list[Name], Meta(min_length=1, max_length=1000)]
When = Annotated[datetime, Meta(tz=True)]


class Key(msgspec.Struct, frozen=True):
    """An API key, without its secret. `user` is the id of whose it is, null where that user was
    removed; `models`, `dialects` and `purposes` are null where it may use any."""

    id: str
    owner: str
    user: str | None
    models: list[str] | None
    dialects: list[str] | None
    purposes: list[str] | None
    state: State
    created: When
    expires: When
    last_used: When | None
    secrets: int  # that work now: two while an overlap lasts
    old_secret_ends: When | None


class KeyPage(msgspec.Struct, frozen=True):
    """Keys, oldest first. `next` is the `after` of the next page; null where there is none."""

    data: list[Key]
    next: str | None


class KeyWithSecret(msgspec.Struct, frozen=True):
    """A key and its secret, which is shown this once."""

    key: Key
    secret: str
    notes: list[str]  # what the caller may not have meant


class KeyQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which keys."""

    limit: Annotated[int, Meta(ge=1, le=1000)] = 100
    after: Annotated[str, Meta(max_length=64)] | None = None  # the `next` of the page before
    state: State | None = None
    owner: Name | None = None


class NewKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A key's name; whose it is, by id or name (null: the service of that name, made where there is
    none); for what (null: any); until when (null: keys.expire_days from now)."""

    owner: Name
    user: Name | None = None
    models: Names | None = None
    dialects: Names | None = None
    purposes: Names | None = None
    expires: When | None = None


class Rotation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How long the old secret still works (null: keys.overlap_hours)."""

    overlap_s: Annotated[int, Meta(ge=0, le=31_536_000)] | None = None


def listed(call: Call, query: KeyQuery) -> KeyPage:
    found = [
        key
        for key in _every(call)
        if query.state in (None, state_of(key, call.now)) and query.owner in (None, key.owner)
    ]
    if query.after is not None:
        ids = [key.id for key in found]
        if query.after not in ids:
            raise Refusal(Code.INVALID_FIELD, 400, "'after' in the query is no 'next' of a page")
        found = found[ids.index(query.after) + 1 :]
    shown = found[: query.limit]
    following = shown[-1].id if len(found) > len(shown) else None
    return KeyPage([_shown(key, call.now) for key in shown], following)


def one(call: Call, key_id: str) -> Key:
    return _shown(_found(call, key_id), call.now)


def create(call: Call, body: NewKey) -> KeyWithSecret:
    models = None if body.models is None else tuple(dict.fromkeys(body.models))
    notes = [
        f"there is no model '{model}' in the configuration"
        for model in models or ()
        if model not in call.services.config.models
    ]
    expires = None if body.expires is None else body.expires.timestamp()
    with _told():
        made = _keys(call).create(
            body.owner,
            models=models,
            expires=expires,
            dialects=None if body.dialects is None else tuple(body.dialects),
            purposes=None if body.purposes is None else tuple(body.purposes),
            user=body.user or "",
        )
    if made.others:
        notes.append(f"{made.key.owner} has another key already: {', '.join(made.others)}")
    if made.may_nothing:
        notes.append("no grant allows its user to ask a model")
    return _with_secret(call, made, notes)


def rotate(call: Call, key_id: str, body: Rotation) -> KeyWithSecret:
    key = _live(call, key_id)
    with _told(
        f"the key {key.id} was rotated before, and not long ago, or is no longer live; with "
        "'overlap_s' it is rotated again: all secrets that it has now end with that overlap"
    ):
        made = _keys(call).rotate(key.id, overlap_s=body.overlap_s)
    return _with_secret(call, made, [])


def revoke(call: Call, key_id: str) -> Key:
    key = _live(call, key_id)
    with _told(f"the key {key.id} is no longer live"):  # somebody else was as quick
        revoked = _keys(call).revoke(key.id)
    _follow(call)
    return _shown(revoked, call.now)


def _keys(call: Call) -> Keys:
    """The service, over a connection of its own: it is used in this thread alone."""
    try:
        return Keys(call.services.config, make=False, actor=call.actor)
    except UsageError as error:
        raise Refusal(Code.STORE_UNAVAILABLE, 503, str(error), retry_after_s=5) from error


def _every(call: Call) -> list[StoredKey]:
    with _told():
        return _keys(call).list()


def _found(call: Call, key_id: str) -> StoredKey:
    for key in _every(call):
        if key.id == key_id:
            return key
    raise Refusal(Code.NOT_FOUND, 404, f"there is no key '{key_id}'")


def _live(call: Call, key_id: str) -> StoredKey:
    """The key of that id: never one of an owner of that name, which commands would find too."""
    key = _found(call, key_id)
    if key.revoked is not None:
        raise Refusal(Code.CONFLICT, 409, f"the key {key.id} is revoked")
    return key


@contextlib.contextmanager
def _told(conflict: str | None = None) -> Iterator[None]:
    """What a service says to a command, as an answer: what the caller asked for cannot be, or,
    where the error has a cause, the store or the log failed. `conflict`: what is said in place of
    a sentence that names a command's options."""
    try:
        yield
    except NotPermitted as error:
        raise Refusal(Code.NOT_ALLOWED, 403, str(error)) from error
    except NotThere as error:
        raise Refusal(Code.NOT_FOUND, 404, str(error)) from error
    except NegativeAnswer as error:
        raise Refusal(Code.CONFLICT, 409, conflict or str(error)) from error
    except UsageError as error:
        if isinstance(error, DatabaseAway) or error.__cause__ is not None:
            raise Refusal(Code.STORE_UNAVAILABLE, 503, str(error), retry_after_s=5) from error
        raise Refusal(Code.INVALID_FIELD, 400, str(error)) from error


def _with_secret(call: Call, made: Made, notes: list[str]) -> KeyWithSecret:
    _follow(call)
    now = max(call.now, made.key.secrets[-1].created)
    return KeyWithSecret(_shown(made.key, now), made.token.secret.reveal(), notes)


def _follow(call: Call) -> None:
    """This gateway goes by the change when the answer goes out; others within a second."""
    with contextlib.suppress(UsageError):  # its own watcher goes on trying, and says so
        call.services.follow_keys()


def _shown(key: StoredKey, now: float) -> Key:
    return Key(
        id=key.id,
        owner=key.owner,
        user=key.owner_id,
        models=_list(key.models),
        dialects=_list(key.dialects),
        purposes=_list(key.purposes),
        state=state_of(key, now),  # type: ignore[arg-type]  # it is one of the three
        created=_at(key.created),
        expires=_at(key.expires),
        last_used=None if key.last_used is None else _at(key.last_used),
        secrets=live_secrets(key, now),
        old_secret_ends=None if (ends := old_secret_ends(key, now)) is None else _at(ends),
    )


def _list(names: tuple[str, ...] | None) -> list[str] | None:
    return None if names is None else list(names)


def _at(seconds: float) -> datetime:
    return datetime.fromtimestamp(int(seconds), UTC)
