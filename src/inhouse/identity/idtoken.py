"""ID tokens: who just logged in. Strictly for this client, this login, and the tokens beside it.

Nothing of them is remembered, and none is a credential: it is read once, when a code is redeemed.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from inhouse.config.people import OidcSection
from inhouse.identity.claims import MAX_TEXT_CHARS, Expected, Identity, second, whose
from inhouse.identity.jws import Denied, Jws, read_jws
from inhouse.identity.refused import Reason, Refused
from inhouse.identity.signed import Keys, claims_of, key_of
from inhouse.identity.strict import to_base64url

TYPES = frozenset({"", "jwt", "id_token+jwt"})
MAX_AGE_S = 300  # of an ID token, when its code is redeemed


@dataclass(frozen=True, slots=True)
class ForClient:
    """What an ID token must be, worked out once: that of one client, for one provider."""

    client_id: str
    algorithms: frozenset[str]
    expected: Expected

    @classmethod
    def of(cls, oidc: OidcSection, client_id: str) -> "ForClient":
        return cls(
            client_id,
            frozenset(oidc.algorithms),
            replace(Expected.of(oidc), audiences=frozenset({client_id})),
        )


@dataclass(frozen=True, slots=True)
class Person:
    """Who logged in, and what the provider calls the session there; empty where it does not say."""

    identity: Identity
    provider_session: str


async def person_of(
    token: bytes, client: ForClient, keys: Keys, now: float, *, nonce: str, access_token: str
) -> Person | Refused:
    """Whose the ID token is. `access_token` is the one that came with it."""
    try:
        jws = read_jws(token)
        if jws.typ not in TYPES:
            raise Denied(Reason.KIND, "the provider's ID token is a token of another kind")
        claims = await signed_claims(jws, client, keys, now)
        if isinstance(claims, Refused):
            return claims
        return judge_id_token(claims, jws.alg, client, now, nonce=nonce, access_token=access_token)
    except Denied as error:
        return Refused(error.reason, error.sentence)


async def signed_claims(
    jws: Jws, client: ForClient, keys: Keys, now: float
) -> dict[str, Any] | Refused:
    """What a token says that the provider signed. Raises Denied."""
    key = await key_of(jws, keys, client.algorithms, now)
    if isinstance(key, Refused):
        return key
    if not key.verifies(jws.signed, jws.signature):
        raise Denied(Reason.SIGNATURE, "the token's signature is not its issuer's")
    return claims_of(jws)


def judge_id_token(
    claims: Mapping[str, Any],
    alg: str,
    client: ForClient,
    now: float,
    *,
    nonce: str,
    access_token: str,
) -> Person:
    """Whose it is. Raises Denied."""
    if claims.get("typ", "ID") != "ID" or claims.get("token_use", "id") != "id":
        raise Denied(Reason.KIND, "the provider's ID token is a token of another kind")
    if "events" in claims:
        raise Denied(Reason.KIND, "the provider's ID token is a logout token")
    check_audience(claims, client.client_id)
    if claims.get("nonce") != nonce:
        raise Denied(Reason.KIND, "the provider's ID token is of another login")
    identity = whose(claims, client.expected, now)
    if second(claims, "iat") < now - MAX_AGE_S - client.expected.leeway_s:
        raise Denied(Reason.TIMES, "the provider's ID token is not a new one")
    if "at_hash" in claims and claims["at_hash"] != half_hash(access_token, alg):
        raise Denied(Reason.CLAIMS, "the provider's ID token came with another access token")
    return Person(identity, session_of(claims))


def check_audience(claims: Mapping[str, Any], client_id: str) -> None:
    """For this client and for no other one: another one would be told who logs in here, and could
    bring the token here."""
    audience = claims.get("aud")
    if audience not in (client_id, [client_id]):
        raise Denied(Reason.AUDIENCE, "the token is for another client, or for others too")
    if claims.get("azp", client_id) != client_id:
        raise Denied(Reason.AUDIENCE, "the token was asked for by another client")


def session_of(claims: Mapping[str, Any]) -> str:
    """The provider's name of the session; empty where it says none that we could keep."""
    sid = claims.get("sid")
    is_text = isinstance(sid, str) and len(sid) <= MAX_TEXT_CHARS and sid.isprintable()
    return str(sid) if is_text else ""


def half_hash(value: str, alg: str) -> str:
    """The left half of a token's hash, by the hash of the signature's algorithm (OpenID Connect
    Core 3.1.3.6); EdDSA's is SHA-512."""
    name = f"sha{alg[-3:]}" if alg[-3:] in {"256", "384", "512"} else "sha512"
    digest = hashlib.new(name, value.encode()).digest()
    return to_base64url(digest[: len(digest) // 2]).decode()
