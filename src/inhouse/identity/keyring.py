"""The keys that requests are checked against: in memory, replaced whole when the store changes."""

import hmac
from collections.abc import Iterable

from inhouse.domain import Principal
from inhouse.identity.token import id_of
from inhouse.mac import Mac
from inhouse.store.keys import StoredKey

_NOBODY = bytes(32)


class Held:
    """One key in the ring: its digests, until when, and whom it stands for."""

    __slots__ = ("digests", "expires", "last_used", "principal")

    def __init__(self, key: StoredKey) -> None:
        self.digests = tuple(
            (secret.digest, key.expires if secret.ends is None else min(secret.ends, key.expires))
            for secret in key.secrets
        )
        self.expires = key.expires
        self.last_used = 0.0
        models = None if key.models is None else frozenset(key.models)
        self.principal = Principal(f"key:{key.id}", key.owner, models)


class KeyRing:
    """Checks presented keys. No I/O, no waiting, no exception whatever is presented."""

    def __init__(self, pepper: bytes) -> None:
        self._mac = Mac(pepper)
        self._held: dict[bytes, Held] = {}

    def __repr__(self) -> str:
        return f"KeyRing({len(self._held)} keys)"

    def __len__(self) -> int:
        return len(self._held)

    def replace(self, keys: Iterable[StoredKey]) -> None:
        """Hold these keys from now on; revoked ones are not held at all."""
        held = {key.id.encode(): Held(key) for key in keys if key.revoked is None}
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

    def used_since(self, since: float) -> dict[str, float]:
        """When keys were last used here, for those used after `since`."""
        return {
            key_id.decode(): held.last_used
            for key_id, held in self._held.items()
            if held.last_used > since
        }
