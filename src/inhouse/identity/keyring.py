"""The keys that requests are checked against: in memory, replaced whole when the store changes."""

import hmac
from collections.abc import Iterable, Mapping

from inhouse.domain import Ceiling, Principal
from inhouse.identity.token import id_of
from inhouse.mac import Mac
from inhouse.store.keys import StoredKey
from inhouse.store.users import StoredUser

_NOBODY = bytes(32)
_NO_TEAMS: frozenset[str] = frozenset()


class Held:
    """One key in the ring: its digests, until when, and whom it stands for."""

    __slots__ = ("digests", "expires", "last_used", "principal")

    def __init__(self, key: StoredKey, user: StoredUser | None, teams: frozenset[str]) -> None:
        self.digests = tuple(
            (secret.digest, key.expires if secret.ends is None else min(secret.ends, key.expires))
            for secret in key.secrets
        )
        self.expires = key.expires
        self.last_used = 0.0
        name = key.owner if user is None else user.name
        self.principal = Principal(
            f"key:{key.id}", name, key.owner_id or "", teams, ceiling=ceiling_of(key)
        )


class KeyRing:
    """Checks presented keys. No I/O, no waiting, no exception whatever is presented."""

    def __init__(self, pepper: bytes) -> None:
        self._mac = Mac(pepper)
        self._held: dict[bytes, Held] = {}

    def __repr__(self) -> str:
        return f"KeyRing({len(self._held)} keys)"

    def __len__(self) -> int:
        return len(self._held)

    def replace(
        self,
        keys: Iterable[StoredKey],
        users: Mapping[str, StoredUser] = {},
        teams_of: Mapping[str, frozenset[str]] = {},
    ) -> None:
        """Hold these keys from now on; revoked ones are not held at all."""
        held = {
            key.id.encode(): Held(
                key, users.get(key.owner_id or ""), teams_of.get(key.owner_id or "", _NO_TEAMS)
            )
            for key in keys
            if key.revoked is None
        }
        for key_id, old in self._held.items():
            if key_id in held:
                held[key_id].last_used = old.last_used
        self._held = held

    def check(self, presented: bytes, now: float) -> Principal | None:
        """Whom a key stands for at `now`; None for any that is not valid then.

        An unknown id costs what a known one does: one HMAC and one comparison.
        """
        key_id = id_of(presented)
        held = None if key_id is None else self._held.get(key_id)
        digest = self._mac.digest(presented)
        if held is None:
            hmac.compare_digest(digest, _NOBODY)
            return None
        for known, ends in held.digests:
            if hmac.compare_digest(digest, known) and now < ends:
                held.last_used = now
                return held.principal
        return None

    def used_since(self, since: float) -> tuple[dict[str, float], dict[str, float]]:
        """When keys, and the users whose they are, were last seen here; for those used after
        `since`."""
        keys: dict[str, float] = {}
        users: dict[str, float] = {}
        for key_id, held in self._held.items():
            if held.last_used > since:
                keys[key_id.decode()] = held.last_used
                user = held.principal.user
                users[user] = max(held.last_used, users.get(user, 0.0))
        return keys, users


def ceiling_of(key: StoredKey) -> Ceiling | None:
    """What a key allows at most; None where it sets no bound."""
    if key.models is None and key.dialects is None and key.purposes is None:
        return None
    return Ceiling(_bound(key.models), _bound(key.dialects), _bound(key.purposes))


def _bound(names: tuple[str, ...] | None) -> frozenset[str] | None:
    return None if names is None else frozenset(names)
