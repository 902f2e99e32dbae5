"""Authenticate: one credential, one principal. Nothing but the request's head is looked at."""

import hmac
from typing import Protocol

from inhouse.domain import Principal
from inhouse.errors import Code, Refusal
from inhouse.gateway.http1 import Head
from inhouse.identity.token import id_of

_SCHEME = b"bearer "


class Keys(Protocol):
    """What knows the keys: identity's KeyRing."""

    def check(self, presented: bytes, now: float) -> Principal | None: ...


def credential(head: Head) -> bytes:
    """The one credential of a request: `Authorization: Bearer KEY`, or Anthropic's `x-api-key`.

    Clients that serve both APIs send both, with one key: that is one credential.
    """
    authorization = head.fields.get(b"authorization")
    api_key = head.fields.get(b"x-api-key")
    if authorization is None and api_key is None:
        raise Refusal(
            Code.MISSING_CREDENTIAL, 401, "an API key is needed: send 'Authorization: Bearer KEY'"
        )
    if api_key is None:
        return _bearer(authorization or b"")
    if authorization is not None and not _same(authorization, api_key):
        raise Refusal(
            Code.SEVERAL_CREDENTIALS,
            401,
            "two different credentials came, in 'Authorization' and in 'x-api-key'; send one",
        )
    return api_key.strip()


def _bearer(authorization: bytes) -> bytes:
    if authorization[: len(_SCHEME)].lower() != _SCHEME:
        raise Refusal(
            Code.INVALID_CREDENTIAL, 401, "the Authorization header is not of the form 'Bearer KEY'"
        )
    return authorization[len(_SCHEME) :].strip()


def _same(authorization: bytes, api_key: bytes) -> bool:
    is_bearer = authorization[: len(_SCHEME)].lower() == _SCHEME
    return is_bearer and hmac.compare_digest(_bearer(authorization), api_key.strip())


def authenticate(head: Head, keys: Keys, now: float) -> Principal:
    """Who is asking, or 401. The sentence does not say which part of a key was wrong."""
    principal = keys.check(credential(head), now)
    if principal is None:
        raise Refusal(Code.INVALID_CREDENTIAL, 401, "the API key is unknown, expired or revoked")
    return principal


def claimed_key(head: Head) -> str | None:
    """The id in a refused key of the right form: whose it claims to be, for the record."""
    try:
        key_id = id_of(credential(head))
    except Refusal:
        return None
    return None if key_id is None else key_id.decode()
