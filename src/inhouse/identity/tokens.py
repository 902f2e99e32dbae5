"""The check of access tokens. Those that passed are remembered, so that the next request costs a
digest and a look.

    token ──► remembered? ──yes──► whose it is
                 │ no
                 ▼
    parts, header (jws) ──► a key of that name and algorithm (jwks) ──► signature ──► claims
                                     │ unknown: fetched once, awaited for a moment

What is remembered ends with the token, with its key, with the provider's keys as a whole, and
after oidc.cache_s. Refusals are not remembered: anybody can make endless bad tokens.

For the gateway: an API key begins with `ihk_`; what else comes as bearer token is for here. Where
`remembered` says None, await `check`. A refusal is 401 with `WWW-Authenticate: Bearer
error="invalid_token"`, and 503 with Retry-After where it has `retry_after_s`.
"""

import hashlib
from collections import OrderedDict

from inhouse.config.people import OidcSection
from inhouse.identity.claims import Expected, Identity, judge
from inhouse.identity.jwk import Key
from inhouse.identity.jws import Denied, read_jws
from inhouse.identity.refused import Reason, Refused
from inhouse.identity.signed import Keys, claims_of, key_of


class Tokens:
    """Checks access tokens on one event loop."""

    def __init__(self, oidc: OidcSection, keys: Keys) -> None:
        self._expected = Expected.of(oidc)
        self._algorithms = frozenset(oidc.algorithms)
        self._keys = keys
        self._most = oidc.cached_tokens
        self._cache_s = oidc.cache_s
        self._remembered: OrderedDict[bytes, tuple[float, Key, Identity]] = OrderedDict()

    def __repr__(self) -> str:
        return f"Tokens({len(self._remembered)} remembered)"

    def __len__(self) -> int:
        return len(self._remembered)

    def remembered(self, token: bytes, now: float) -> Identity | None:
        """Whose a token is that was checked before and is good still; None is no refusal.

        It is found by the digest of all of it. That look need not take constant time: who does
        not have the token cannot come near its digest.
        """
        entry = self._remembered.get(hashlib.sha256(token).digest())
        if entry is None:
            return None
        until, key, identity = entry
        if now < until and now < key.until and now < self._keys.good_until:
            return identity
        return None

    async def check(self, token: bytes, now: float) -> Identity | Refused:
        """Whose a token is at `now`, in seconds since the epoch; or why it is refused.

        Waits for nothing, but, where the token's key is unknown, at most oidc.key_wait_s.
        """
        known = self.remembered(token, now)
        if known is not None:
            return known
        try:
            jws = read_jws(token)
            key = await key_of(jws, self._keys, self._algorithms, now)
            if isinstance(key, Refused):
                return key
            if not key.verifies(jws.signed, jws.signature):
                return Refused(Reason.SIGNATURE, "the token's signature is not its issuer's")
            identity = judge(claims_of(jws), jws.typ, self._expected, now)
        except Denied as error:
            return Refused(error.reason, error.sentence)
        self._remember(token, now, key, identity)
        return identity

    def _remember(self, token: bytes, now: float, key: Key, identity: Identity) -> None:
        if not self._most:
            return
        until = min(identity.expires + self._expected.leeway_s, now + self._cache_s)
        digest = hashlib.sha256(token).digest()
        self._remembered[digest] = (until, key, identity)
        self._remembered.move_to_end(digest)
        while len(self._remembered) > self._most:
            self._remembered.popitem(last=False)
