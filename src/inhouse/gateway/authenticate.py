"""Authenticate: one credential, one principal. Nothing but the request's head is looked at.

An API key begins with `ihk_`; whatever else comes as bearer token is a provider's access token,
where there is a provider. A token that was checked before costs a digest; one that was not is
checked at once, and waits for the provider's keys only where its own is new.
"""

import hmac
import math
from typing import Protocol

from inhouse.domain import Principal
from inhouse.errors import Code, Refusal
from inhouse.gateway.http1 import Head
from inhouse.identity.refused import Refused
from inhouse.identity.token import KEY_BEGINS, id_of
from inhouse.identity.tokens import Tokens

_SCHEME = b"bearer "


class People(Protocol):
    """What knows whom a credential stands for: identity's Directory."""

    def check(self, presented: bytes, now: float) -> Principal | None: ...

    def person(
        self, issuer: str, subject: str, groups: frozenset[str], *, name: str, now: float
    ) -> Principal | None: ...


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


async def authenticate(head: Head, people: People, tokens: Tokens | None, now: float) -> Principal:
    """Who is asking, or 401. The sentence does not say which part of a key was wrong."""
    presented = credential(head)
    if tokens is not None and not presented.startswith(KEY_BEGINS):
        return await _holder(presented, people, tokens, now)
    principal = people.check(presented, now)
    if principal is None:
        raise Refusal(Code.INVALID_CREDENTIAL, 401, "the API key is unknown, expired or revoked")
    return principal


async def _holder(token: bytes, people: People, tokens: Tokens, now: float) -> Principal:
    """Whom an access token stands for. Its roles count as groups named `role:NAME`: what either is
    worth, the grants here say."""
    identity = tokens.remembered(token, now) or await tokens.check(token, now)
    if isinstance(identity, Refused):
        if identity.retry_after_s is None:
            raise Refusal(Code.INVALID_CREDENTIAL, 401, identity.sentence)
        wait_s = math.ceil(identity.retry_after_s)
        raise Refusal(Code.PROVIDER_AWAY, 503, identity.sentence, retry_after_s=wait_s)
    groups = identity.groups | {f"role:{role}" for role in identity.roles}
    principal = people.person(
        identity.issuer, identity.subject, groups, name=identity.name, now=now
    )
    if principal is None:
        raise Refusal(Code.INVALID_CREDENTIAL, 401, "the user of this token was deactivated")
    return principal


def claimed_key(head: Head) -> str | None:
    """The id in a refused key of the right form: whose it claims to be, for the record."""
    try:
        key_id = id_of(credential(head))
    except Refusal:
        return None
    return None if key_id is None else key_id.decode()
