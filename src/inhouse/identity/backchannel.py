"""Logout that the provider tells us of, without a browser (OpenID Connect Back-Channel Logout).

It posts a logout token, which names a session of its own, or a person. One that comes again ends
what has ended already; so none is remembered, and none counts for longer than minutes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from inhouse.identity.claims import MAX_TEXT_CHARS, second
from inhouse.identity.idtoken import ForClient, check_audience, session_of, signed_claims
from inhouse.identity.jws import MAX_BYTES, Denied, read_jws
from inhouse.identity.refused import Reason, Refused
from inhouse.identity.signed import Keys

EVENT = "http://schemas.openid.net/event/backchannel-logout"
TYPES = frozenset({"", "jwt", "logout+jwt"})
MAX_AGE_S = 300


@dataclass(frozen=True, slots=True)
class ToEnd:
    """Whose sessions end: those of one session at the provider, or, where that is empty, all of a
    person. What `Sessions.end_of_provider` takes."""

    issuer: str
    subject: str
    provider_session: str


async def to_end(form: bytes, client: ForClient, keys: Keys, now: float) -> ToEnd | Refused:
    """What the body of a logout request ends. A refusal is 400, as the standard has it."""
    try:
        jws = read_jws(_token(form))
        if jws.typ not in TYPES:
            raise Denied(Reason.KIND, "the token is no logout token")
        claims = await signed_claims(jws, client, keys, now)
        return claims if isinstance(claims, Refused) else judge_logout(claims, client, now)
    except Denied as error:
        return Refused(error.reason, error.sentence)


def judge_logout(claims: Mapping[str, Any], client: ForClient, now: float) -> ToEnd:
    """Raises Denied."""
    events = claims.get("events")
    if not isinstance(events, dict) or not isinstance(events.get(EVENT), dict):
        raise Denied(Reason.KIND, "the token is no logout token")
    if "nonce" in claims:  # an ID token cannot be used as one
        raise Denied(Reason.KIND, "the token is an ID token")
    if claims.get("iss") != client.expected.issuer:
        raise Denied(Reason.ISSUER, "the token is from another issuer")
    check_audience(claims, client.client_id)
    leeway_s, issued = client.expected.leeway_s, second(claims, "iat")
    ends = second(claims, "exp") if "exp" in claims else issued + MAX_AGE_S
    if not issued - leeway_s <= now < min(ends, issued + MAX_AGE_S) + leeway_s:
        raise Denied(Reason.EXPIRED, "the logout token is too old, or of the future")
    subject, session = claims.get("sub", ""), session_of(claims)
    if not isinstance(subject, str) or len(subject) > MAX_TEXT_CHARS or not (subject or session):
        raise Denied(Reason.CLAIMS, "the logout token names nobody")
    return ToEnd(client.expected.issuer, subject, session)


def _token(form: bytes) -> bytes:
    if len(form) > 2 * MAX_BYTES:
        raise Denied(Reason.MALFORMED, "the form is too large")
    try:
        pairs = parse_qsl(form.decode("ascii"), strict_parsing=True, max_num_fields=20)
    except ValueError as error:
        raise Denied(Reason.MALFORMED, "the body is no form") from error
    tokens = [value for name, value in pairs if name == "logout_token"]
    if len(tokens) != 1 or not tokens[0].isascii():
        raise Denied(Reason.MALFORMED, "the form has no logout_token, or several")
    return tokens[0].encode()
