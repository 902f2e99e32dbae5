"""The compact form of a signed token (RFC 7515), read strictly, before any key is looked up.

    <header>.<payload>.<signature>     three parts, each canonical base64url

The header may say which key and which algorithm, and that it is an access token. A header that
brings a key, says where to fetch one, or asks for anything else, is refused.
"""

from dataclasses import dataclass
from typing import Any

from inhouse.identity.jwk import MAX_KID_CHARS
from inhouse.identity.refused import Reason
from inhouse.identity.strict import NotStrict, from_base64url, json_object

MAX_BYTES = 16_384  # of a token; Entra's largest has 200 groups, and less than this

FORBIDDEN = ("crit", "jwk", "jku", "x5u", "x5c", "b64", "zip", "cty", "enc")
"""Extensions that must be understood, keys from the sender, other encodings, tokens in tokens."""


class Denied(Exception):
    """A token that is refused, and why. It never leaves the room."""

    def __init__(self, reason: Reason, sentence: str) -> None:
        super().__init__(sentence)
        self.reason = reason
        self.sentence = sentence


@dataclass(frozen=True, slots=True)
class Jws:
    """A token in its parts. Nothing in it is proven."""

    alg: str
    kid: str
    typ: str  # in small letters, without "application/"; empty where there is none
    signed: bytes
    signature: bytes
    payload: bytes


def read_jws(token: bytes) -> Jws:
    """The parts of a compact JWS. Raises Denied."""
    if len(token) > MAX_BYTES:
        raise Denied(Reason.MALFORMED, f"the token is larger than {MAX_BYTES} bytes")
    parts = token.split(b".")
    if len(parts) != 3 or not all(parts):
        raise Denied(Reason.MALFORMED, "the token is no signed token of three parts")
    try:
        header = json_object(from_base64url(parts[0]))
        payload, signature = from_base64url(parts[1]), from_base64url(parts[2])
    except NotStrict as error:
        raise Denied(Reason.MALFORMED, f"a part of the token {error}") from error
    for name in FORBIDDEN:
        if name in header:
            raise Denied(Reason.HEADER, f"the token's header has '{name}', which is not taken")
    signed = token[: len(parts[0]) + 1 + len(parts[1])]
    alg = _text(header, "alg", Reason.ALGORITHM)
    return Jws(alg, _text(header, "kid", Reason.KEY), _typ(header), signed, signature, payload)


def _text(header: dict[str, Any], name: str, reason: Reason) -> str:
    value = header.get(name)
    if type(value) is not str or not 0 < len(value) <= MAX_KID_CHARS:
        raise Denied(reason, f"the token's header has no '{name}'")
    return value


def _typ(header: dict[str, Any]) -> str:
    """A media type, whose letters may be of either case, and which may leave out its beginning."""
    value = header.get("typ", "")
    if type(value) is not str or not value.isascii():
        raise Denied(Reason.KIND, "the token's 'typ' is no text")
    return value.lower().removeprefix("application/")
