"""The form of an API key, so that people, scanners and the gateway recognise one.

    ihk_ab12CD34ef_<43 characters: 256 bits>_<6 characters: CRC-32 of what stands before>

All of it is base 62. The checksum lets a scanner, or a person's typing, be told apart from
chance without asking anybody.
"""

import re
import secrets
import zlib
from dataclasses import dataclass

from inhouse.config.secrets import Secret

PATTERN = r"ihk_[0-9A-Za-z]{10}_[0-9A-Za-z]{43}_[0-9A-Za-z]{6}"
"""The regular expression for scanners of leaked keys."""

KEY_BEGINS = b"ihk_"
_TOKEN = re.compile(rb"ihk_([0-9A-Za-z]{10})_[0-9A-Za-z]{43}_[0-9A-Za-z]{6}")
_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
ID_CHARS = 10
SECRET_BITS = 256
SECRET_CHARS = 43  # 62 ** 43 > 2 ** 256
CHECKSUM_CHARS = 6  # 62 ** 6 > 2 ** 32


@dataclass(frozen=True, slots=True)
class Token:
    """A key as its owner holds it: shown once, never stored."""

    key_id: str
    secret: Secret


def new_id() -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(ID_CHARS))


def new_token(key_id: str) -> Token:
    """A new secret for a key."""
    body = f"ihk_{key_id}_{_base62(secrets.randbits(SECRET_BITS), SECRET_CHARS)}"
    return Token(key_id, Secret(f"{body}_{_checksum(body)}"))


def id_of(presented: bytes) -> bytes | None:
    """The id in a key of the right form; None for anything else. Checks no secret."""
    match = _TOKEN.fullmatch(presented)
    return None if match is None else match.group(1)


def _checksum(body: str) -> str:
    return _base62(zlib.crc32(body.encode()), CHECKSUM_CHARS)


def _base62(number: int, chars: int) -> str:
    digits = []
    for _ in range(chars):
        number, digit = divmod(number, len(_ALPHABET))
        digits.append(_ALPHABET[digit])
    return "".join(reversed(digits))
