"""Authenticate: one credential, one principal. Nothing but the request's head is looked at."""

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
    """The one credential of a request: `Authorization: Bearer KEY`, or Anthropic's `x-api-key`."""
    bearer = head.fields.get(b"authorization")
    api_key = head.fields.get(b"x-api-key")
    if bearer is None and api_key is None:
        raise Refusal(
            Code.MISSING_CREDENTIAL, 401, "an API key is needed: send 'Authorization: Bearer KEY'"
        )
    if bearer is not None and api_key is not None:
        raise Refusal(
            Code.SEVERAL_CREDENTIALS,
            401,
            "two credentials came, in 'Authorization' and in 'x-api-key'; send one",
        )
    if api_key is not None:
        return api_key.strip()
    assert bearer is not None  # for the type checker: one of the two is there
    if bearer[: len(_SCHEME)].lower() != _SCHEME:
        raise Refusal(
            Code.INVALID_CREDENTIAL, 401, "the Authorization header is not of the form 'Bearer KEY'"
        )
    return bearer[len(_SCHEME) :].strip()


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
