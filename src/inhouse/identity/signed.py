"""Which of the provider's keys a token is signed with, whatever kind of token it is."""

from collections.abc import Collection, Mapping
from typing import Any, Protocol

from inhouse.identity.jwk import Key
from inhouse.identity.jwks import RETRY_S
from inhouse.identity.jws import Denied, Jws
from inhouse.identity.refused import Reason, Refused
from inhouse.identity.strict import NotStrict, json_object


class Keys(Protocol):
    """What knows the provider's keys: ProviderKeys."""

    @property
    def keys(self) -> Mapping[tuple[str, str], Key]: ...
    @property
    def good_until(self) -> float: ...
    @property
    def away_since(self) -> float | None: ...
    async def renewed(self) -> bool: ...


async def key_of(jws: Jws, keys: Keys, algorithms: Collection[str], now: float) -> Key | Refused:
    """The key that a token names. Waits for nothing, but, where that key is unknown, for the
    provider's newest keys, as `keys` allows."""
    if jws.alg not in algorithms:
        return Refused(Reason.ALGORITHM, "the token's 'alg' is none of oidc.algorithms")
    key = _known(jws, keys, now)
    if key is not None:
        return key
    if _names_another_alg(jws, keys, now):
        return Refused(Reason.ALGORITHM, "the token's key is for another 'alg'")
    newest = await keys.renewed()
    key = _known(jws, keys, now)
    if key is not None:
        return key
    if not newest or now >= keys.good_until or keys.away_since is not None:
        return Refused(
            Reason.PROVIDER,
            "the keys of the token's issuer cannot be had now; try again soon",
            RETRY_S,
        )
    return Refused(Reason.KEY, "the token's issuer has no such key")


def claims_of(jws: Jws) -> dict[str, Any]:
    """What a token says, once its signature was checked. Raises Denied."""
    try:
        return json_object(jws.payload)
    except NotStrict as error:
        raise Denied(Reason.MALFORMED, f"what the token says {error}") from error


def _known(jws: Jws, keys: Keys, now: float) -> Key | None:
    key = keys.keys.get((jws.kid, jws.alg))
    if key is None or now >= key.until or now >= keys.good_until:
        return None
    return key


def _names_another_alg(jws: Jws, keys: Keys, now: float) -> bool:
    if now >= keys.good_until or (jws.kid, jws.alg) in keys.keys:
        return False
    return any(kid == jws.kid for kid, _ in keys.keys)
