"""Base64url and JSON, of which there is one reading only: what two programs could read differently
is refused."""

import binascii
import json
from typing import Any, NoReturn

_TO_URL = bytes.maketrans(b"+/", b"-_")
_FROM_URL = bytes.maketrans(b"-_", b"+/")


class NotStrict(ValueError):
    """Bytes that are not of the form; the sentence says of which."""


def from_base64url(text: bytes) -> bytes:
    """The bytes of a canonical text: no padding, no white space, no unused bits, no other alphabet.

    Encoding it again and comparing tells all of these at once.
    """
    try:
        data = binascii.a2b_base64(text.translate(_FROM_URL) + b"=" * (-len(text) % 4))
    except binascii.Error as error:
        raise NotStrict("is not base64url") from error
    if to_base64url(data) != text:
        raise NotStrict("is not canonical base64url")
    return data


def to_base64url(data: bytes) -> bytes:
    return binascii.b2a_base64(data, newline=False).rstrip(b"=").translate(_TO_URL)


def json_object(data: bytes) -> dict[str, Any]:
    """A JSON object in UTF-8 with no name twice, at any depth, and no number that JSON has not."""
    try:
        value = _JSON.decode(data.decode())
    except NotStrict:
        raise
    except RecursionError as error:
        raise NotStrict("is nested too deep") from error
    except ValueError as error:
        raise NotStrict("is not JSON in UTF-8") from error
    if type(value) is not dict:
        raise NotStrict("is not a JSON object")
    return value


def _named_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    named = dict(pairs)
    if len(named) != len(pairs):
        raise NotStrict("names a member twice")
    return named


def _no_constant(name: str) -> NoReturn:
    raise NotStrict(f"holds {name}, which is no number")


_JSON = json.JSONDecoder(object_pairs_hook=_named_once, parse_constant=_no_constant)
